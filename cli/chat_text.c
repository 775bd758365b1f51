#include "cli/chat_text.h"

#include <stdlib.h>
#include <wchar.h>

#define REPLACEMENT 0xfffdu
#define DOTTED_CIRCLE 0x25ccu /* carries a mark that has nothing to stand on */

/* ---- UTF-8 -------------------------------------------------------------------------------------
 */

static bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t chat_text_decode(struct span text, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    assert(text.len > 0);
    uint8_t head = text.at[0];
    *point = head;
    if (head < 0x80)
        return 1;
    *point = REPLACEMENT;
    size_t len = head >= 0xf0 ? 4 : head >= 0xe0 ? 3 : 2;
    if (head < 0xc2 || head > 0xf4 || text.len < len)
        return 1;
    uint32_t value = head & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if (!is_tail(text.at[i]))
            return 1;
        value = value << 6 | (text.at[i] & 0x3fu);
    }
    if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 1;
    *point = value;
    return len;
}

size_t chat_text_encode(uint32_t point, char out[4])
{
    assert(point <= 0x10ffff);
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80u | (point & 0x3fu));
    out[0] = (char)((0xf00u >> len & 0xffu) | point);
    return len;
}

/* ---- cleaning ----------------------------------------------------------------------------------
 */

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t count, uint32_t point)
{
    for (size_t i = 0; i < count; i++)
        if (point >= ranges[i].first && point <= ranges[i].last)
            return true;
    return false;
}

/* Nobody misses them, and terminals disagree about their width. */
static bool is_left_out(uint32_t point)
{
    static const struct range ranges[] = {
        {0xad, 0xad},       {0x34f, 0x34f},     {0x200b, 0x200b},
        {0x2060, 0x2064},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
        {0x1f3fb, 0x1f3ff}, {0xe0020, 0xe007f}, {0xe0100, 0xe01ef},
    };
    return is_in(ranges, sizeof ranges / sizeof *ranges, point);
}

/* They act on the text around them, or look like nothing: shown, so that one sees the attempt. */
static bool is_refused(uint32_t point)
{
    static const struct range ranges[] = {
        {0x80, 0x9f},       {0x600, 0x605},     {0x61c, 0x61c},      {0x6dd, 0x6dd},
        {0x70f, 0x70f},     {0x115f, 0x1160},   {0x17b4, 0x17b5},    {0x180b, 0x180f},
        {0x200e, 0x200f},   {0x202a, 0x202e},   {0x2065, 0x206f},    {0x2800, 0x2800},
        {0x3164, 0x3164},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},    {0x110bd, 0x110cd},
        {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
    };
    return is_in(ranges, sizeof ranges / sizeof *ranges, point) || (point & 0xfffe) == 0xfffe ||
           (point >= 0xe000 && point <= 0xf8ff);
}

/* A copy that grows as it is written. */
struct cleaner {
    char *out;
    size_t len;
    bool lines;
    uint32_t newlines, marks, before; /* `before`: the last character written; 0: none, newline */
};

static void put(struct cleaner *cleaner, uint32_t point)
{
    cleaner->len += chat_text_encode(point, cleaner->out + cleaner->len);
    cleaner->before = point == '\n' ? 0 : point;
    cleaner->marks = 0;
}

static void put_newline(struct cleaner *cleaner)
{
    if (!cleaner->lines)
        put(cleaner, ' ');
    else if (++cleaner->newlines > CHAT_TEXT_LINES_MAX)
        put(cleaner, 0x2424); /* ␤ */
    else
        put(cleaner, '\n');
}

static void put_mark(struct cleaner *cleaner, uint32_t point)
{
    if (cleaner->marks >= CHAT_TEXT_MARKS_MAX)
        return;
    if (cleaner->before == 0 || cleaner->before == ' ')
        put(cleaner, DOTTED_CIRCLE);
    uint32_t marks = cleaner->marks + 1, before = cleaner->before;
    put(cleaner, point);
    cleaner->marks = marks;
    cleaner->before = before;
}

/* Joiners mean something in the scripts from Arabic to Sinhala; elsewhere they glue symbols. */
static bool joins_letters(const struct cleaner *cleaner)
{
    return cleaner->before >= 0x600 && cleaner->before <= 0xdff;
}

static void put_clean(struct cleaner *cleaner, uint32_t point)
{
    if (point == '\n' || point == 0x2028 || point == 0x2029 || point == 0x85)
        put_newline(cleaner);
    else if (point == '\t')
        put(cleaner, ' ');
    else if (point < 0x20)
        put(cleaner, 0x2400 + point);
    else if (point < 0x7f)
        put(cleaner, point);
    else if (point == 0x7f)
        put(cleaner, 0x2421);
    else if (point == 0x200c || point == 0x200d) {
        if (joins_letters(cleaner))
            put_mark(cleaner, point);
    } else if (is_left_out(point))
        return;
    else if (is_refused(point) || wcwidth((wchar_t)point) < 0)
        put(cleaner, REPLACEMENT);
    else if (wcwidth((wchar_t)point) == 0)
        put_mark(cleaner, point);
    else
        put(cleaner, point);
}

char *chat_text_clean(struct span text, bool lines, size_t *len)
{
    /* One byte becomes at most one character of three; a mark brings a circle: six for two. */
    struct cleaner cleaner = {.out = malloc(text.len * 3 + 1), .lines = lines};
    assert(cleaner.out);
    while (text.len > 0) {
        uint32_t point;
        text = span_after(text, chat_text_decode(text, &point));
        if (point == '\r') {
            if (text.len > 0 && text.at[0] == '\n')
                text = span_after(text, 1);
            point = '\n';
        }
        put_clean(&cleaner, point);
    }
    cleaner.out[cleaner.len] = 0;
    if (len)
        *len = cleaner.len;
    return cleaner.out;
}

/* ---- measuring ---------------------------------------------------------------------------------
 */

static int width_of(uint32_t point)
{
    int width = point == '\n' ? 0 : wcwidth((wchar_t)point);
    return width < 0 ? 1 : width;
}

struct chat_text_piece chat_text_first(struct span text)
{
    uint32_t point;
    struct chat_text_piece piece = {chat_text_decode(text, &point), width_of(point)};
    if (point == '\n')
        return piece;
    while (piece.bytes < text.len) {
        size_t bytes = chat_text_decode(span_after(text, piece.bytes), &point);
        if (point == '\n' || width_of(point) > 0)
            break;
        piece.bytes += bytes;
    }
    return piece;
}

struct chat_text_piece chat_text_last(struct span text)
{
    assert(text.len > 0);
    size_t begin = text.len;
    uint32_t point;
    do {
        begin--;
        while (begin > 0 && is_tail(text.at[begin]))
            begin--;
        (void)chat_text_decode(span_after(text, begin), &point);
    } while (begin > 0 && point != '\n' && width_of(point) == 0);
    struct chat_text_piece piece = chat_text_first(span_after(text, begin));
    /* Marks that have nothing but a newline to stand on are by themselves. */
    if (piece.bytes < text.len - begin)
        piece = (struct chat_text_piece){text.len - begin - piece.bytes, 0};
    return piece;
}

int chat_text_columns(struct span text)
{
    int columns = 0;
    while (text.len > 0) {
        struct chat_text_piece piece = chat_text_first(text);
        columns += piece.columns;
        text = span_after(text, piece.bytes);
    }
    return columns;
}

struct span chat_text_fit(struct span text, int columns)
{
    size_t fits = 0;
    while (fits < text.len) {
        struct chat_text_piece piece = chat_text_first(span_after(text, fits));
        if (piece.columns > columns)
            break;
        columns -= piece.columns;
        fits += piece.bytes;
    }
    return span_upto(text, fits);
}

void chat_text_shorten(struct span text, int columns, char *out, size_t room)
{
    static const char more[] = "…";
    assert(room >= sizeof more);
    struct span fits = chat_text_fit(text, columns);
    bool whole = fits.len == text.len && fits.len < room;
    if (!whole) {
        fits = chat_text_fit(text, columns > 0 ? columns - 1 : 0);
        while (fits.len > room - sizeof more)
            fits = span_upto(fits, fits.len - chat_text_last(fits).bytes);
    }
    memcpy(out, fits.at, fits.len);
    out[fits.len] = 0;
    if (!whole && columns > 0)
        memcpy(out + fits.len, more, sizeof more);
}

/* ---- rows --------------------------------------------------------------------------------------
 */

static struct span take_row(struct span *rest, size_t row, size_t used)
{
    struct span taken = span_upto(*rest, row);
    *rest = span_after(*rest, used);
    return taken;
}

struct span chat_text_row(struct span *rest, int columns)
{
    size_t at = 0, row = 0, next = 0; /* the last place to break: the row's end, and what follows */
    int used = 0;
    while (at < rest->len) {
        uint8_t byte = rest->at[at];
        if (byte == '\n')
            return take_row(rest, at, at + 1);
        struct chat_text_piece piece = chat_text_first(span_after(*rest, at));
        if (used + piece.columns > columns && at > 0) {
            if (byte == ' ')
                return take_row(rest, at, at + 1);
            return next > 0 ? take_row(rest, row, next) : take_row(rest, at, at);
        }
        used += piece.columns;
        if (byte == ' ') {
            row = at;
            next = at + piece.bytes;
        }
        at += piece.bytes;
        if (piece.columns == 2)
            row = next = at;
    }
    return take_row(rest, at, at);
}
