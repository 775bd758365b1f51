#include "cli/chat_pane.h"

#include "cli/chat_text.h"

#include <stdio.h>
#include <time.h>

#define WHEN_COLUMNS 6
#define MARK_COLUMNS 2 /* kept free behind the text */

void chat_pane_name(const struct chat_names *names, lahar_gid self, lahar_gid gid,
                    char out[CHAT_NAMES_SIZE])
{
    char number[LAHAR_GID_TEXT_SIZE];
    const char *name = chat_names_of(names, gid);
    if (*name == 0)
        name = gid == self ? "you" : lahar_gid_format(gid, number);
    snprintf(out, CHAT_NAMES_SIZE, "%s", name);
}

static struct tm local(uint64_t at_ms)
{
    time_t at = (time_t)(at_ms / 1000);
    struct tm local = {0};
    localtime_r(&at, &local);
    return local;
}

static bool is_new_day(const struct chat_conversation *conversation, size_t index)
{
    if (index == 0)
        return true;
    struct tm day = local(conversation->messages[index].at_ms);
    struct tm before = local(conversation->messages[index - 1].at_ms);
    return day.tm_yday != before.tm_yday || day.tm_year != before.tm_year;
}

/* ---- one message -------------------------------------------------------------------------------
 */

/* Counts the rows of a message and writes those from `first` on that have room. */
struct writer {
    struct chat_row *rows; /* NULL: count only */
    size_t first, room;
    size_t count;
};

/* Where the next row goes; NULL: it is only counted. */
static struct chat_row *next(struct writer *writer)
{
    size_t place = writer->count++;
    if (!writer->rows || place < writer->first || place - writer->first >= writer->room)
        return NULL;
    return &writer->rows[place - writer->first];
}

static void put_divider(struct writer *writer, const char *label)
{
    struct chat_row *row = next(writer);
    if (!row)
        return;
    *row = (struct chat_row){.kind = CHAT_ROW_DIVIDER};
    snprintf(row->label, sizeof row->label, "%s", label);
}

static void put_dividers(struct writer *writer, const struct chat_pane *pane, size_t index)
{
    char day[64];
    const struct chat_message *message = &pane->conversation->messages[index];
    if (is_new_day(pane->conversation, index)) {
        struct tm at = local(message->at_ms);
        strftime(day, sizeof day, "%A, %e %B %Y", &at);
        put_divider(writer, day);
    }
    if (pane->conversation->new_from == message->serial)
        put_divider(writer, "new");
}

/* Rows of `text`; the first of them has `head`'s time and name. */
static void put_text(struct writer *writer, const struct chat_row *head, struct span text,
                     int columns, int indent)
{
    int at = head->indent;
    bool first = true;
    while (first || text.len > 0) {
        struct span part = text;
        if (text.len > 0)
            part = chat_text_row(&text, columns - at - MARK_COLUMNS);
        struct chat_row *row = next(writer);
        if (row) {
            *row = first ? *head : (struct chat_row){.kind = head->kind, .from = head->from};
            row->indent = at;
            row->text = part;
            row->mark = text.len == 0 ? head->mark : CHAT_MARK_THEIRS;
        }
        first = false;
        at = indent;
    }
}

static void put_message(struct writer *writer, const struct chat_pane *pane, size_t index)
{
    const struct chat_message *message = &pane->conversation->messages[index];
    bool wide = pane->columns >= CHAT_PANE_WIDE, note = message->mark == CHAT_MARK_NOTE;
    char name[CHAT_NAMES_SIZE];
    struct chat_row head = {
        .kind = note ? CHAT_ROW_NOTE : CHAT_ROW_TEXT,
        .from = message->from == pane->self ? 0 : message->from,
        .mark = note ? CHAT_MARK_THEIRS : message->mark,
        .indent = WHEN_COLUMNS,
    };
    struct tm at = local(message->at_ms);
    strftime(head.when, sizeof head.when, "%H:%M", &at);
    if (!note) {
        lahar_gid from = message->from ? message->from : pane->self;
        if (message->mark == CHAT_MARK_THEIRS)
            chat_pane_name(pane->names, pane->self, from, name);
        else
            snprintf(name, sizeof name, "you");
        chat_text_shorten(span_text(name), CHAT_PANE_NAME_COLUMNS, head.label, sizeof head.label);
        head.indent +=
            wide ? CHAT_PANE_NAME_COLUMNS + 1 : chat_text_columns(span_text(head.label)) + 1;
    }
    int indent = wide || note ? head.indent : 2;
    if (pane->columns - head.indent - MARK_COLUMNS < 4)
        head.indent = WHEN_COLUMNS, indent = 2, head.label[0] = 0;
    put_dividers(writer, pane, index);
    put_text(writer, &head, message->text, pane->columns, indent);
    if (message->mark == CHAT_MARK_REFUSED || message->mark == CHAT_MARK_UNKNOWN) {
        head = (struct chat_row){.kind = CHAT_ROW_REASON, .indent = indent};
        put_text(writer, &head, span_text(message->reason), pane->columns, indent);
    }
}

static size_t count_rows(const struct chat_pane *pane, size_t index)
{
    struct writer writer = {0};
    put_message(&writer, pane, index);
    return writer.count;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

/* The message at the bottom, and how many of its rows are below it. */
static size_t find_bottom(const struct chat_pane *pane, size_t *below)
{
    const struct chat_conversation *conversation = pane->conversation;
    size_t index = conversation->count - 1;
    *below = 0;
    if (conversation->bottom_serial == 0)
        return index;
    while (index > 0 && conversation->messages[index].serial > conversation->bottom_serial)
        index--;
    size_t count = count_rows(pane, index);
    if (conversation->messages[index].serial == conversation->bottom_serial)
        *below = conversation->bottom_rows < count ? conversation->bottom_rows : count - 1;
    return index;
}

size_t chat_pane_rows(const struct chat_pane *pane, struct chat_row *rows)
{
    assert(pane->columns >= CHAT_PANE_COLUMNS_MIN);
    if (pane->conversation->count == 0 || pane->height == 0)
        return 0;
    size_t below, index = find_bottom(pane, &below), free = pane->height;
    while (true) {
        size_t count = count_rows(pane, index) - below;
        size_t taken = count < free ? count : free;
        struct writer writer = {
            .rows = rows + (free - taken), .first = count - taken, .room = taken};
        put_message(&writer, pane, index);
        free -= taken;
        below = 0;
        if (free == 0 || index == 0)
            break;
        index--;
    }
    memmove(rows, rows + free, (pane->height - free) * sizeof *rows);
    return pane->height - free;
}

void chat_pane_scroll(const struct chat_pane *pane, struct chat_conversation *conversation,
                      long rows)
{
    assert(pane->conversation == conversation);
    if (conversation->count == 0)
        return;
    size_t below, index = find_bottom(pane, &below), total = 0;
    for (size_t i = 0; i < conversation->count; i++)
        total += count_rows(pane, i);
    for (size_t i = conversation->count - 1; i > index; i--)
        below += count_rows(pane, i);
    size_t most = total > pane->height ? total - pane->height : 0;
    long wanted = (long)below + rows;
    below = wanted < 0 ? 0 : (size_t)wanted < most ? (size_t)wanted : most;
    conversation->bottom_serial = 0;
    if (below == 0)
        return;
    index = conversation->count - 1;
    for (size_t count; below >= (count = count_rows(pane, index)); index--)
        below -= count;
    conversation->bottom_serial = conversation->messages[index].serial;
    conversation->bottom_rows = below;
}
