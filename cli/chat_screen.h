/* chat_screen: the terminal. ncurses is this file's secret; there can be one at a time.
 *
 *     +--------------+----------------------------------------+
 *     | conversations| with whom                              |
 *     |  bob       2 |                                        |
 *     |  last line   |   the conversation (chat_pane)         |
 *     |  ...         |                                        |
 *     +--------------+----------------------------------------+
 *     | who I am, which edge; or why not, and when again      |
 *     | > what is being written                               |
 *     +-------------------------------------------------------+
 *
 * In less than CHAT_SCREEN_LIST_FROM columns the list is left out. Colours only if the terminal has
 * them and NO_COLOR is not set. The terminal is given back as it was by chat_screen_free and, if
 * the program dies of a signal (an assert too), by a handler; what was written to stderr meanwhile
 * appears then.
 */
#ifndef CLI_CHAT_SCREEN_H
#define CLI_CHAT_SCREEN_H

#include "cli/chat_input.h"
#include "cli/chat_pane.h"

#define CHAT_SCREEN_LIST_FROM 60
#define CHAT_SCREEN_COLUMNS_MIN 20
#define CHAT_SCREEN_ROWS_MIN 5

struct chat_screen;

enum chat_key {
    CHAT_KEY_NONE,      /* nothing there */
    CHAT_KEY_CHARACTER, /* see `text`: one or several pasted */
    CHAT_KEY_EDIT,      /* see `edit` */
    CHAT_KEY_ENTER,
    CHAT_KEY_TAB,
    CHAT_KEY_PAGE_UP,
    CHAT_KEY_PAGE_DOWN,
    CHAT_KEY_TO_END,
    CHAT_KEY_NEXT, /* conversation */
    CHAT_KEY_PREVIOUS,
    CHAT_KEY_NTH, /* see `number`, from 1 */
    CHAT_KEY_UNREAD,
    CHAT_KEY_HELP,
    CHAT_KEY_REDRAW,
    CHAT_KEY_ESCAPE,
    CHAT_KEY_INTERRUPT,    /* Ctrl-C */
    CHAT_KEY_END_OF_INPUT, /* Ctrl-D */
    CHAT_KEY_SUSPEND,      /* Ctrl-Z */
    CHAT_KEY_IGNORED,      /* one that means nothing here */
};

struct chat_press {
    enum chat_key key;
    enum chat_input_edit edit;
    int number;
    struct span text; /* borrowed until the next call */
    bool more;        /* of what is pasted: the rest of it follows */
};

enum chat_light { CHAT_LIGHT_GOOD, CHAT_LIGHT_WAITING, CHAT_LIGHT_BAD };

struct chat_view {
    const struct chat_model *model;
    const struct chat_names *names;
    const struct chat_input *input;
    lahar_gid self;
    enum chat_light light;
    const char *status; /* who I am, by which edge; or what is wrong */
    const char *notice; /* said for a moment; "": nothing */
    uint64_t now_ms;    /* against which typing marks are held */
};

/* NULL: standard input or output is no terminal that ncurses can use; `why` says so. */
struct chat_screen *chat_screen_new(const char **why);
void chat_screen_free(struct chat_screen *screen);

void chat_screen_draw(struct chat_screen *screen, const struct chat_view *view);
/* The next key that is there; never waits longer than it takes to tell Esc from a sequence. */
struct chat_press chat_screen_key(struct chat_screen *screen);
/* The terminal's size has changed. */
void chat_screen_resize(struct chat_screen *screen);
/* Forgets what it believes to stand there. */
void chat_screen_redraw(struct chat_screen *screen);
/* Gives the terminal back, stops the process group as Ctrl-Z does, and takes it again. */
void chat_screen_suspend(struct chat_screen *screen);
/* The field of the conversation: for chat_pane_scroll. */
void chat_screen_pane(const struct chat_screen *screen, const struct chat_view *view,
                      struct chat_pane *pane);

#endif
