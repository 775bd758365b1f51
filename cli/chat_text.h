/* chat_text: text for a terminal: what others wrote made harmless, measured in columns, broken into
 * rows.
 *
 * *Cleaned* text is UTF-8 in which every character but the newline takes part in the line it stands
 * in and nothing else: no control character (so no escape sequence), nothing that turns the
 * direction of writing around, no invisible character, no more than CHAT_TEXT_MARKS_MAX combining
 * marks on a letter. What asked for more is shown as a sign of its own (␛ for an escape, � for what
 * is no UTF-8, has no width, or would turn the line around) or, where nothing is missed (variation
 * selectors, joiners of symbols, about whose width terminals disagree), left out.
 *
 * Columns are those of wcwidth, so LC_CTYPE must be set to UTF-8. Pure otherwise.
 */
#ifndef CLI_CHAT_TEXT_H
#define CLI_CHAT_TEXT_H

#include "base/span.h"

#define CHAT_TEXT_MARKS_MAX 3u
#define CHAT_TEXT_LINES_MAX 500u /* newlines beyond that are shown as signs */

/* The character at the beginning of `text` (not empty) and its bytes; a byte that is no UTF-8 is
 * one character U+FFFD. */
size_t chat_text_decode(struct span text, uint32_t *point);
/* Returns the bytes written; `point` must be one that UTF-8 can say. */
size_t chat_text_encode(uint32_t point, char out[4]);

/* A cleaned copy with a NUL behind it, to be freed; `len` (may be NULL) is without the NUL. With
 * `lines` CR LF, CR, U+2028 and U+2029 become newlines, else all of these and newlines spaces. */
char *chat_text_clean(struct span text, bool lines, size_t *len);

/* A character of cleaned text with the marks on it. A newline has no columns. */
struct chat_text_piece {
    size_t bytes;
    int columns; /* 0, 1, 2 */
};

/* The first and the last of cleaned text that is not empty. */
struct chat_text_piece chat_text_first(struct span text);
struct chat_text_piece chat_text_last(struct span text);

int chat_text_columns(struct span text);
/* As much of its beginning as fits into so many columns. */
struct span chat_text_fit(struct span text, int columns);
/* Copies what fits into `columns`, with … at its end if that is not all; out gets a NUL, and less
 * text if its room is short (at least 4). */
void chat_text_shorten(struct span text, int columns, char *out, size_t room);

/* Takes the next row of at most `columns` (at least 1) from `rest`, which is not empty: up to a
 * newline, else broken behind a space or a wide character, else anywhere. Newlines and spaces at a
 * break are in no row. A character that is wider than the row has one of its own. */
struct span chat_text_row(struct span *rest, int columns);

#endif
