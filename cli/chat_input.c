#include "cli/chat_input.h"

#include "cli/chat_text.h"

#include <stdlib.h>

struct chat_input {
    char *text; /* CHAT_INPUT_BYTES_MAX */
    size_t len, cursor;
    char *cut;
    size_t cut_len;
    char *history[CHAT_INPUT_HISTORY_MAX]; /* the oldest first */
    size_t history_count;
    size_t at;   /* what of the history is shown; history_count: none */
    char *draft; /* what was being written when the history was entered */
};

static char *copy_of(struct span text)
{
    char *copy = malloc(text.len + 1);
    assert(copy);
    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    copy[text.len] = 0;
    return copy;
}

struct chat_input *chat_input_new(void)
{
    struct chat_input *input = calloc(1, sizeof *input);
    assert(input);
    input->text = malloc(CHAT_INPUT_BYTES_MAX);
    assert(input->text);
    return input;
}

void chat_input_free(struct chat_input *input)
{
    if (!input)
        return;
    for (size_t i = 0; i < input->history_count; i++)
        free(input->history[i]);
    free(input->draft);
    free(input->cut);
    free(input->text);
    free(input);
}

struct span chat_input_text(const struct chat_input *input)
{
    return span_of(input->text, input->len);
}

size_t chat_input_cursor(const struct chat_input *input)
{
    return input->cursor;
}

static struct span before(const struct chat_input *input)
{
    return span_upto(chat_input_text(input), input->cursor);
}

static struct span behind(const struct chat_input *input)
{
    return span_after(chat_input_text(input), input->cursor);
}

/* Cleaned together with the character before the cursor, on which a mark may come to stand; the
 * copy begins behind that one. */
static char *clean_behind(const struct chat_input *input, struct span text, size_t *len)
{
    size_t on = input->cursor > 0 ? chat_text_last(before(input)).bytes : 0;
    char *both = malloc(on + text.len + 1);
    assert(both);
    memcpy(both, input->text + input->cursor - on, on);
    if (text.len > 0)
        memcpy(both + on, text.at, text.len);
    char *clean = chat_text_clean(span_of(both, on + text.len), true, len);
    assert(*len >= on && memcmp(clean, both, on) == 0);
    free(both);
    *len -= on;
    memmove(clean, clean + on, *len);
    return clean;
}

bool chat_input_insert(struct chat_input *input, struct span text)
{
    size_t len;
    char *clean = clean_behind(input, text, &len);
    bool fits = len <= CHAT_INPUT_BYTES_MAX - input->len;
    if (fits) {
        char *at = input->text + input->cursor;
        memmove(at + len, at, input->len - input->cursor);
        memcpy(at, clean, len);
        input->len += len;
        input->cursor += len;
    }
    free(clean);
    return fits;
}

void chat_input_set(struct chat_input *input, struct span text)
{
    input->len = input->cursor = 0;
    while (text.len > 0) {
        struct chat_text_piece piece = chat_text_first(text);
        if (piece.bytes > CHAT_INPUT_BYTES_MAX - input->len)
            break;
        memcpy(input->text + input->len, text.at, piece.bytes);
        input->len += piece.bytes;
        text = span_after(text, piece.bytes);
    }
    input->cursor = input->len;
}

/* ---- moving ------------------------------------------------------------------------------------
 */

static void left(struct chat_input *input)
{
    if (input->cursor > 0)
        input->cursor -= chat_text_last(before(input)).bytes;
}

static void right(struct chat_input *input)
{
    if (input->cursor < input->len)
        input->cursor += chat_text_first(behind(input)).bytes;
}

/* Whatever is beyond ASCII counts as a letter. */
static bool is_word(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || (byte & 0x80) != 0;
}

static void word_left(struct chat_input *input)
{
    while (input->cursor > 0 && !is_word(input->text[input->cursor - 1]))
        input->cursor--;
    while (input->cursor > 0 && is_word(input->text[input->cursor - 1]))
        input->cursor--;
}

static void word_right(struct chat_input *input)
{
    while (input->cursor < input->len && !is_word(input->text[input->cursor]))
        input->cursor++;
    while (input->cursor < input->len && is_word(input->text[input->cursor]))
        input->cursor++;
}

static size_t line_begin(const struct chat_input *input, size_t at)
{
    while (at > 0 && input->text[at - 1] != '\n')
        at--;
    return at;
}

static size_t line_end(const struct chat_input *input, size_t at)
{
    while (at < input->len && input->text[at] != '\n')
        at++;
    return at;
}

static void home(struct chat_input *input)
{
    size_t begin = line_begin(input, input->cursor);
    input->cursor = begin == input->cursor ? 0 : begin;
}

static void end(struct chat_input *input)
{
    size_t here = line_end(input, input->cursor);
    input->cursor = here == input->cursor ? input->len : here;
}

/* To the same column of the line that begins at `begin`. */
static void to_line(struct chat_input *input, size_t begin)
{
    size_t line = line_begin(input, input->cursor);
    int column = chat_text_columns(span_of(input->text + line, input->cursor - line));
    size_t len = line_end(input, begin) - begin;
    input->cursor = begin + chat_text_fit(span_of(input->text + begin, len), column).len;
}

/* ---- history -----------------------------------------------------------------------------------
 */

static void show_history(struct chat_input *input, size_t at)
{
    if (input->at == input->history_count) {
        free(input->draft);
        input->draft = copy_of(chat_input_text(input));
    }
    input->at = at;
    chat_input_set(input,
                   span_text(at == input->history_count ? input->draft : input->history[at]));
}

static void up(struct chat_input *input)
{
    size_t begin = line_begin(input, input->cursor);
    if (begin > 0)
        to_line(input, line_begin(input, begin - 1));
    else if (input->at > 0)
        show_history(input, input->at - 1);
}

static void down(struct chat_input *input)
{
    size_t here = line_end(input, input->cursor);
    if (here < input->len)
        to_line(input, here + 1);
    else if (input->at < input->history_count)
        show_history(input, input->at + 1);
}

void chat_input_enter(struct chat_input *input)
{
    struct span text = chat_input_text(input);
    size_t count = input->history_count;
    bool again = count > 0 && span_equal(span_text(input->history[count - 1]), text);
    if (text.len > 0 && !again) {
        if (count == CHAT_INPUT_HISTORY_MAX) {
            free(input->history[0]);
            count--;
            memmove(input->history, input->history + 1, count * sizeof *input->history);
        }
        input->history[count] = copy_of(text);
        input->history_count = count + 1;
    }
    input->at = input->history_count;
    input->len = input->cursor = 0;
}

/* ---- cutting -----------------------------------------------------------------------------------
 */

/* Between `from` and the cursor, whichever comes first. */
static void take_out(struct chat_input *input, size_t from, bool keep)
{
    size_t begin = from < input->cursor ? from : input->cursor;
    size_t past = from < input->cursor ? input->cursor : from;
    if (keep && past > begin) {
        free(input->cut);
        input->cut_len = past - begin;
        input->cut = copy_of(span_of(input->text + begin, input->cut_len));
    }
    memmove(input->text + begin, input->text + past, input->len - past);
    input->len -= past - begin;
    input->cursor = begin;
}

/* The last mark of a character goes before the character does: so one mends a typing error. */
static void backspace(struct chat_input *input)
{
    size_t was = input->cursor;
    left(input);
    size_t begin = input->cursor;
    input->cursor = was;
    take_out(input, begin, false);
}

static void cut(struct chat_input *input, enum chat_input_edit edit)
{
    size_t was = input->cursor;
    if (edit == CHAT_INPUT_CUT_WORD) {
        word_left(input);
    } else if (edit == CHAT_INPUT_CUT_TO_HOME) {
        input->cursor = line_begin(input, was);
        if (input->cursor == was)
            left(input);
    } else {
        input->cursor = line_end(input, was);
        if (input->cursor == was)
            right(input);
    }
    take_out(input, was, true);
}

static void yank(struct chat_input *input)
{
    bool fits = !input->cut || chat_input_insert(input, span_of(input->cut, input->cut_len));
    (void)fits; /* the line is full: one sees that nothing comes */
}

void chat_input_edit(struct chat_input *input, enum chat_input_edit edit)
{
    size_t was = input->cursor;
    switch (edit) {
    case CHAT_INPUT_LEFT:
        left(input);
        break;
    case CHAT_INPUT_RIGHT:
        right(input);
        break;
    case CHAT_INPUT_WORD_LEFT:
        word_left(input);
        break;
    case CHAT_INPUT_WORD_RIGHT:
        word_right(input);
        break;
    case CHAT_INPUT_HOME:
        home(input);
        break;
    case CHAT_INPUT_END:
        end(input);
        break;
    case CHAT_INPUT_UP:
        up(input);
        break;
    case CHAT_INPUT_DOWN:
        down(input);
        break;
    case CHAT_INPUT_BACKSPACE:
        backspace(input);
        break;
    case CHAT_INPUT_DELETE:
        right(input);
        take_out(input, was, false);
        break;
    case CHAT_INPUT_CUT_WORD:
    case CHAT_INPUT_CUT_TO_HOME:
    case CHAT_INPUT_CUT_TO_END:
        cut(input, edit);
        break;
    case CHAT_INPUT_YANK:
        yank(input);
        break;
    }
}

/* ---- showing -----------------------------------------------------------------------------------
 */

/* The row that begins at `at`: broken anywhere, so that nothing moves while one writes. Returns
 * where the next begins; `len` is without the newline. */
static size_t next_row(struct span text, size_t at, int columns, size_t *len)
{
    struct span rest = span_after(text, at);
    const uint8_t *newline = rest.len ? memchr(rest.at, '\n', rest.len) : NULL;
    struct span line = newline ? span_upto(rest, (size_t)(newline - rest.at)) : rest;
    size_t fits = chat_text_fit(line, columns).len;
    if (fits == 0 && line.len > 0)
        fits = chat_text_first(line).bytes; /* wider than the field */
    *len = fits;
    return at + fits + (fits == line.len && newline ? 1 : 0);
}

size_t chat_input_rows(const struct chat_input *input, int columns, size_t height,
                       struct span *rows, size_t *cursor_row, int *cursor_column)
{
    assert(columns > 0 && height > 0);
    struct span text = chat_input_text(input);
    size_t at = 0, count = 0, len;
    bool open = true, found = false; /* open: a row follows even if no text does */
    while (open || at < text.len) {
        if (found && count == height)
            break;
        if (count == height) {
            memmove(rows, rows + 1, (height - 1) * sizeof *rows);
            count--;
        }
        size_t next = next_row(text, at, columns, &len);
        rows[count] = span_of(input->text + at, len);
        open = next > at + len ||
               (next == text.len && len > 0 && chat_text_columns(rows[count]) >= columns);
        bool here = input->cursor >= at && (input->cursor < next || (next == text.len && !open));
        if (here) {
            *cursor_row = count;
            *cursor_column = chat_text_columns(span_of(input->text + at, input->cursor - at));
            found = true;
        }
        count++;
        at = next;
    }
    assert(found);
    return count;
}
