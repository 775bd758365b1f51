/* chat_pane: how a conversation stands in a field of rows and columns: which rows, what is in them,
 * and where it is scrolled to. Pure, but for the time zone.
 *
 *     21:04 bob        what he wrote, broken into rows that
 *                      begin where the first one does
 *     21:05 you        what we wrote ✓
 *
 * In less than CHAT_PANE_WIDE columns the rows after the first begin further left.
 */
#ifndef CLI_CHAT_PANE_H
#define CLI_CHAT_PANE_H

#include "cli/chat_model.h"
#include "cli/chat_names.h"

#define CHAT_PANE_WIDE 50
#define CHAT_PANE_COLUMNS_MIN 20
#define CHAT_PANE_NAME_COLUMNS 10
#define CHAT_PANE_LABEL_SIZE CHAT_NAMES_SIZE

enum chat_row_kind {
    CHAT_ROW_TEXT,
    CHAT_ROW_NOTE,   /* of the program */
    CHAT_ROW_REASON, /* why the message above was not delivered */
    CHAT_ROW_DIVIDER,
};

struct chat_row {
    enum chat_row_kind kind;
    char when[8];                     /* "21:04" at column 0, or "" */
    char label[CHAT_PANE_LABEL_SIZE]; /* a name at column 6, what a divider says, or "" */
    lahar_gid from;                   /* whose name it is; 0: our own */
    int indent;                       /* the column at which the text begins */
    struct span text;                 /* borrowed from the model */
    enum chat_mark mark;              /* to be shown behind the text; THEIRS: nothing */
};

struct chat_pane {
    const struct chat_conversation *conversation;
    const struct chat_names *names;
    lahar_gid self;
    int columns; /* at least CHAT_PANE_COLUMNS_MIN */
    size_t height;
};

/* A nickname, "you", or the GID in digits. */
void chat_pane_name(const struct chat_names *names, lahar_gid self, lahar_gid gid,
                    char out[CHAT_NAMES_SIZE]);
/* The rows to show, from the top; at most `height`. */
size_t chat_pane_rows(const struct chat_pane *pane, struct chat_row *rows);
/* Scrolls by so many rows, upwards if positive; stops at both ends. */
void chat_pane_scroll(const struct chat_pane *pane, struct chat_conversation *conversation,
                      long rows);

#endif
