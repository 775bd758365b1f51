/* chat_input: the line that is being written: text, cursor, history, what was cut last. Pure.
 *
 * The text is kept clean (chat_text.h): what is typed or pasted cannot hold a control character.
 * Cursor and deletions go by whole characters with their marks. It may have several lines.
 */
#ifndef CLI_CHAT_INPUT_H
#define CLI_CHAT_INPUT_H

#include "base/span.h"

#define CHAT_INPUT_BYTES_MAX (60u * 1024u)
#define CHAT_INPUT_HISTORY_MAX 100u

struct chat_input;

enum chat_input_edit {
    CHAT_INPUT_LEFT,
    CHAT_INPUT_RIGHT,
    CHAT_INPUT_WORD_LEFT,
    CHAT_INPUT_WORD_RIGHT,
    CHAT_INPUT_HOME, /* of the line; again: of the text */
    CHAT_INPUT_END,
    CHAT_INPUT_UP, /* a line up; on the first line: what was entered before */
    CHAT_INPUT_DOWN,
    CHAT_INPUT_BACKSPACE,
    CHAT_INPUT_DELETE,
    CHAT_INPUT_CUT_WORD, /* before the cursor */
    CHAT_INPUT_CUT_TO_HOME,
    CHAT_INPUT_CUT_TO_END,
    CHAT_INPUT_YANK, /* what was cut last */
};

struct chat_input *chat_input_new(void);
void chat_input_free(struct chat_input *input);

/* Borrowed until the next change. */
struct span chat_input_text(const struct chat_input *input);
/* Bytes before the cursor. */
size_t chat_input_cursor(const struct chat_input *input);

/* False: no room, nothing was inserted. */
MUST_CHECK bool chat_input_insert(struct chat_input *input, struct span text);
void chat_input_edit(struct chat_input *input, enum chat_input_edit edit);
/* Replaces the text; the cursor goes to its end. What is over the limit is left out. */
void chat_input_set(struct chat_input *input, struct span text);
/* The text goes into the history, and the line is empty. */
void chat_input_enter(struct chat_input *input);

/* How it stands in a field of so many columns: rows (borrowed), the row and column of the cursor.
 * With more rows than `height` those around the cursor. Returns how many. */
size_t chat_input_rows(const struct chat_input *input, int columns, size_t height,
                       struct span *rows, size_t *cursor_row, int *cursor_column);

#endif
