#include "cli/chat_draw.h"

#include "cli/chat_text.h"

#include <curses.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_ROWS_MAX 8
#define PROMPT_COLUMNS 2 /* "> " */
#define LINE_SIZE 512

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WAIT, COLOUR_BAD, COLOUR_NAMES };
#define NAME_COLOURS 6

void chat_draw_colours(void)
{
    static const short names[NAME_COLOURS] = {COLOR_CYAN,    COLOR_GREEN, COLOR_YELLOW,
                                              COLOR_MAGENTA, COLOR_BLUE,  COLOR_RED};
    const char *off = getenv("NO_COLOR");
    if ((off && *off) || !has_colors() || start_color() == ERR || use_default_colors() == ERR)
        return;
    init_pair(COLOUR_GOOD, COLOR_GREEN, -1);
    init_pair(COLOUR_WAIT, COLOR_YELLOW, -1);
    init_pair(COLOUR_BAD, COLOR_RED, -1);
    for (short i = 0; i < NAME_COLOURS; i++)
        init_pair((short)(COLOUR_NAMES + i), names[i], -1);
}

static void style(attr_t attributes, int colour)
{
    /* A pair that was not made is the default one. */
    attr_set(attributes, (short)colour, NULL);
}

static int colour_of(lahar_gid gid)
{
    return gid == 0 ? COLOUR_NONE
                    : COLOUR_NAMES + (int)((gid * 0x9e3779b97f4a7c15u >> 32) % NAME_COLOURS);
}

/* ---- text --------------------------------------------------------------------------------------
 */

/* As much of clean text as fits; returns its columns. */
static int put(int y, int x, struct span text, int columns)
{
    wchar_t wide[256];
    int len = 0, used = 0;
    if (columns <= 0 || move(y, x) == ERR)
        return 0;
    text = chat_text_fit(text, columns);
    while (text.len > 0) {
        struct chat_text_piece piece = chat_text_first(text);
        used += piece.columns;
        for (struct span rest = span_upto(text, piece.bytes); rest.len > 0;) {
            uint32_t point;
            rest = span_after(rest, chat_text_decode(rest, &point));
            wide[len++] = (wchar_t)point;
            if (len == sizeof wide / sizeof *wide) {
                addnwstr(wide, len);
                len = 0;
            }
        }
        text = span_after(text, piece.bytes);
    }
    addnwstr(wide, len);
    return used;
}

/* The same, shortened with dots if it is too long. */
static int put_short(int y, int x, const char *text, int columns)
{
    char shown[LINE_SIZE];
    if (columns <= 0)
        return 0;
    chat_text_shorten(span_text(text), columns, shown, sizeof shown);
    return put(y, x, span_text(shown), columns);
}

/* A bar over a part of a row, with text at its left and its right. */
static void put_bar(int y, int x, int columns, const char *left, const char *right)
{
    int room = columns - 2, right_columns = chat_text_columns(span_text(right));
    for (int i = 0; i < columns; i++)
        mvaddch(y, x + i, ' ');
    if (right_columns > 0 && right_columns < room / 2) {
        put(y, x + columns - 1 - right_columns, span_text(right), right_columns);
        room -= right_columns + 1;
    }
    put_short(y, x + 1, left, room);
}

/* ---- parts -------------------------------------------------------------------------------------
 */

void chat_draw_layout(struct chat_draw_layout *layout, const struct chat_view *view, int rows,
                      int columns)
{
    struct span unused[INPUT_ROWS_MAX];
    size_t row, most = rows >= 24 ? INPUT_ROWS_MAX : rows >= 12 ? 4 : 2;
    int column, list = columns / 4;
    list = list < 20 ? 20 : list > 32 ? 32 : list;
    layout->list = columns >= CHAT_SCREEN_LIST_FROM ? list : 0;
    layout->columns = columns - layout->list;
    int field = columns > PROMPT_COLUMNS + 2 ? columns - PROMPT_COLUMNS - 1 : 1;
    layout->input = (int)chat_input_rows(view->input, field, most, unused, &row, &column);
    layout->height = rows - 2 - layout->input;
    if (layout->height < 0)
        layout->height = 0;
}

static void name_of(const struct chat_view *view, lahar_gid gid, char out[CHAT_NAMES_SIZE])
{
    if (gid == 0)
        snprintf(out, CHAT_NAMES_SIZE, "lahar");
    else
        chat_pane_name(view->names, view->self, gid, out);
}

static bool is_typing(const struct chat_view *view, const struct chat_conversation *conversation)
{
    return conversation->typing_until_ms > view->now_ms;
}

static void draw_title(const struct chat_view *view, int x, int columns)
{
    char left[LINE_SIZE], right[64] = "", name[CHAT_NAMES_SIZE], gid[LAHAR_GID_TEXT_SIZE];
    const struct chat_conversation *open = chat_model_current(view->model);
    uint32_t unread = chat_model_unread(view->model);
    name_of(view, open->gid, name);
    if (open->gid == 0)
        snprintf(left, sizeof left, "lahar chat");
    else if (strcmp(name, lahar_gid_format(open->gid, gid)) == 0)
        snprintf(left, sizeof left, "%s%s", name, is_typing(view, open) ? "  is typing …" : "");
    else
        snprintf(left, sizeof left, "%s (%s)%s", name, gid,
                 is_typing(view, open) ? "  is typing …" : "");
    if (unread > 0)
        snprintf(right, sizeof right, "%u unread", unread);
    style(A_REVERSE | A_BOLD, COLOUR_NONE);
    put_bar(0, x, columns, left, right);
}

/* The last line of a conversation, as one line. */
static void last_line(const struct chat_view *view, const struct chat_conversation *conversation,
                      char out[LINE_SIZE])
{
    if (is_typing(view, conversation)) {
        snprintf(out, LINE_SIZE, "typing …");
        return;
    }
    *out = 0;
    if (conversation->count == 0)
        return;
    const struct chat_message *last = &conversation->messages[conversation->count - 1];
    size_t len = last->text.len < LINE_SIZE / 2 ? last->text.len : LINE_SIZE / 2;
    char *line = chat_text_clean(span_upto(last->text, len), false, NULL);
    bool ours = last->mark != CHAT_MARK_THEIRS && last->mark != CHAT_MARK_NOTE;
    /* What the cut left of a character is no text: measured, it would be a sign. */
    chat_text_shorten(span_text(line), 40, out, LINE_SIZE - 8);
    free(line);
    if (ours) {
        memmove(out + 2, out, strlen(out) + 1);
        memcpy(out, "> ", 2);
    }
}

static void draw_entry(const struct chat_view *view, const struct chat_conversation *conversation,
                       int y, int rows, int columns)
{
    char name[CHAT_NAMES_SIZE], unread[16] = "", line[LINE_SIZE];
    bool open = conversation == chat_model_current(view->model);
    attr_t reverse = open ? A_REVERSE : 0;
    name_of(view, conversation->gid, name);
    if (conversation->unread > 0)
        snprintf(unread, sizeof unread, conversation->unread > 999 ? "999+" : "%u",
                 conversation->unread);
    style(reverse | (conversation->unread > 0 || open ? A_BOLD : 0),
          open ? COLOUR_NONE : colour_of(conversation->gid));
    if (open)
        put_bar(y, 0, columns, "", "");
    int room = columns - 2 - (int)strlen(unread) - (*unread != 0);
    put_short(y, 1, name, room);
    if (*unread) {
        style(reverse | A_BOLD, COLOUR_WAIT);
        put(y, columns - 1 - (int)strlen(unread), span_text(unread), (int)strlen(unread));
    }
    if (rows < 2)
        return;
    last_line(view, conversation, line);
    style(A_DIM, COLOUR_NONE);
    put_short(y + 1, 2, line, columns - 3);
}

/* Around the one that is open, if not all have room. */
static void draw_list(const struct chat_view *view, int height, int columns)
{
    int each = height >= 16 ? 2 : 1, fit = height / each;
    int count = (int)chat_model_count(view->model), first = 0;
    for (int i = 0; i < count; i++)
        if (chat_model_at(view->model, (size_t)i) == chat_model_current(view->model) && i >= fit)
            first = i - fit + 1;
    for (int i = first; i < count && i - first < fit; i++)
        draw_entry(view, chat_model_at(view->model, (size_t)i), 1 + (i - first) * each, each,
                   columns - 1);
    style(A_DIM, COLOUR_NONE);
    for (int y = 1; y <= height; y++)
        put(y, columns - 1, span_text("│"), 1);
    style(A_REVERSE | A_BOLD, COLOUR_NONE);
    put_bar(0, 0, columns, "conversations", "");
}

static void draw_mark(int y, int x, enum chat_mark mark)
{
    static const struct {
        const char *sign;
        attr_t attributes;
        enum colour colour;
    } marks[] = {
        [CHAT_MARK_SENDING] = {"…", A_DIM, COLOUR_NONE},
        [CHAT_MARK_KEPT] = {"•", 0, COLOUR_GOOD},
        [CHAT_MARK_DELIVERED] = {"✓", 0, COLOUR_GOOD},
        [CHAT_MARK_REFUSED] = {"✗", A_BOLD, COLOUR_BAD},
        [CHAT_MARK_UNKNOWN] = {"?", A_BOLD, COLOUR_WAIT},
    };
    if ((size_t)mark >= sizeof marks / sizeof *marks || !marks[mark].sign)
        return;
    style(marks[mark].attributes, (int)marks[mark].colour);
    put(y, x, span_text(marks[mark].sign), 1);
}

static void draw_divider(int y, int x, int columns, const char *label)
{
    int used = chat_text_columns(span_text(label)) + 2;
    bool fresh = strcmp(label, "new") == 0;
    style(fresh ? A_BOLD : A_DIM, fresh ? COLOUR_WAIT : COLOUR_NONE);
    for (int i = 0; i < columns; i++)
        put(y, x + i, span_text("─"), 1);
    if (used + 4 > columns)
        return;
    int at = x + (columns - used) / 2;
    put(y, at, span_text(" "), 1);
    put(y, at + 1, span_text(label), used - 2);
    put(y, at + used - 1, span_text(" "), 1);
}

static void draw_row(const struct chat_row *row, int y, int x, int columns)
{
    if (row->kind == CHAT_ROW_DIVIDER) {
        draw_divider(y, x, columns, row->label);
        return;
    }
    style(A_DIM, COLOUR_NONE);
    put(y, x, span_text(row->when), columns);
    style(A_BOLD, colour_of(row->from));
    put(y, x + 6, span_text(row->label), columns - 6);
    if (row->kind == CHAT_ROW_REASON)
        style(0, COLOUR_BAD);
    else
        style(0, COLOUR_NONE);
    int used = put(y, x + row->indent, row->text, columns - row->indent);
    draw_mark(y, x + row->indent + used + (used > 0), row->mark);
}

static void draw_status(const struct chat_view *view, int y, int columns)
{
    static const enum colour colours[] = {
        [CHAT_LIGHT_GOOD] = COLOUR_NONE,
        [CHAT_LIGHT_WAITING] = COLOUR_WAIT,
        [CHAT_LIGHT_BAD] = COLOUR_BAD,
    };
    const char *right = chat_model_current(view->model)->bottom_serial ? "▼ PgDn" : "F1 help";
    bool notice = *view->notice != 0;
    style(A_REVERSE, notice ? COLOUR_NONE : (int)colours[view->light]);
    put_bar(y, 0, columns, notice ? view->notice : view->status, right);
}

static void draw_input(const struct chat_view *view, int y, int rows, int columns)
{
    struct span lines[INPUT_ROWS_MAX];
    size_t row = 0;
    int column = 0;
    int field = columns > PROMPT_COLUMNS + 2 ? columns - PROMPT_COLUMNS - 1 : 1;
    size_t count = chat_input_rows(view->input, field, (size_t)rows, lines, &row, &column);
    style(A_BOLD, COLOUR_NONE);
    put(y, 0, span_text("> "), 2);
    style(0, COLOUR_NONE);
    for (size_t i = 0; i < count; i++)
        put(y + (int)i, PROMPT_COLUMNS, lines[i], field);
    move(y + (int)row, PROMPT_COLUMNS + column);
}

void chat_draw_all(const struct chat_view *view, const struct chat_pane *pane,
                   struct chat_row *lines, int rows, int columns)
{
    struct chat_draw_layout layout;
    style(0, COLOUR_NONE);
    erase();
    if (rows < CHAT_SCREEN_ROWS_MIN || columns < CHAT_SCREEN_COLUMNS_MIN) {
        put_short(0, 0, "too small", columns);
        refresh();
        return;
    }
    chat_draw_layout(&layout, view, rows, columns);
    size_t count = chat_pane_rows(pane, lines);
    if (layout.list)
        draw_list(view, layout.height, layout.list);
    draw_title(view, layout.list, layout.columns);
    int y = 1 + layout.height - (int)count; /* the last stands above the input */
    for (size_t i = 0; i < count; i++)
        draw_row(&lines[i], y + (int)i, layout.list, layout.columns);
    draw_status(view, rows - 1 - layout.input, columns);
    draw_input(view, rows - layout.input, layout.input, columns);
    refresh();
}
