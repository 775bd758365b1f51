/* chat_draw: what stands where on the screen: see chat_screen.h, whose other half this is. */
#ifndef CLI_CHAT_DRAW_H
#define CLI_CHAT_DRAW_H

#include "cli/chat_screen.h"

/* Where the parts are; rows from the top: title, conversation, status, input. */
struct chat_draw_layout {
    int list;            /* columns of the list with the line beside it; 0: there is none */
    int columns, height; /* of the conversation */
    int input;           /* rows of the input */
};

void chat_draw_layout(struct chat_draw_layout *layout, const struct chat_view *view, int rows,
                      int columns);
/* If the terminal has colours, and they are wanted. Before the first drawing. */
void chat_draw_colours(void);
/* `lines`: room for as many as there are rows. */
void chat_draw_all(const struct chat_view *view, const struct chat_pane *pane,
                   struct chat_row *lines, int rows, int columns);

#endif
