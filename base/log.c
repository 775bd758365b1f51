#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A pipe takes as much in one piece (PIPE_BUF), so lines of several threads do not mix. */
#define LINE_BYTES_MAX 4096u
#define TRUNCATED ",\"truncated\":true"
#define TAIL_BYTES (sizeof TRUNCATED "}\n")
#define EVENTS_MAX 64u /* told apart a thread; what is beyond them shares one budget */

struct line {
    char bytes[LINE_BYTES_MAX];
    size_t len;
    bool truncated;
};

struct budget {
    const char *event;
    uint64_t written_ms[LOG_BURST]; /* a ring of the last times; 0: never */
    uint32_t next;
    uint32_t held_back;
};

static struct {
    _Atomic(const char *) program;
    _Atomic(enum log_level) level;
} shared = {"lahar", LOG_INFO};

static _Thread_local const char *thread_name;
static _Thread_local struct budget budgets[EVENTS_MAX + 1];

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_open(const char *program)
{
    atomic_store(&shared.program, program);
}

void log_set_level(enum log_level level)
{
    assert(level <= LOG_ERROR);
    atomic_store(&shared.level, level);
}

bool log_parse_level(const char *text, enum log_level *level)
{
    for (enum log_level l = LOG_DEBUG; l <= LOG_ERROR; l++)
        if (strcmp(text, level_names[l]) == 0) {
            *level = l;
            return true;
        }
    return false;
}

void log_thread(const char *name)
{
    thread_name = name;
}

void log_die(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", atomic_load(&shared.program), text);
    exit(1);
}

/* The length of the UTF-8 sequence that `text` begins with; 0 if it begins with none. */
static size_t utf8_len(struct span text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.at[0];
    *code = first;
    if (first < 0x80)
        return 1;
    size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.len < len)
        return 0;
    *code = first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((text.at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (text.at[i] & 0x3fu);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[len] || *code > 0x10ffff || surrogate ? 0 : len;
}

/* Writes a control character, or a byte that is no UTF-8, as JSON would have it; returns its
 * length. */
static size_t escape(char out[6], uint32_t code)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = "btn?fr"; /* 8 to 13; JSON has no \v */
    out[0] = '\\';
    if (code == '"' || code == '\\') {
        out[1] = (char)code;
        return 2;
    }
    if (code >= '\b' && code <= '\r' && code != '\v') {
        out[1] = letters[code - '\b'];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[code >> 4];
    out[5] = hex[code & 15];
    return 6;
}

size_t log_json_string(char *out, size_t room, struct span text)
{
    size_t len = 0;
    if (room < 2)
        return 0;
    out[len++] = '"';
    while (text.len > 0) {
        uint32_t code;
        size_t taken = utf8_len(text, &code);
        char escaped[6];
        const void *piece = text.at;
        size_t size = taken;
        if (taken == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '"' ||
            code == '\\') {
            size = escape(escaped, taken == 0 ? text.at[0] : code);
            piece = escaped;
        }
        if (room - len < size + 1)
            return 0;
        memcpy(out + len, piece, size);
        len += size;
        text = span_after(text, taken == 0 ? 1 : taken);
    }
    out[len++] = '"';
    return len;
}

static size_t line_room(const struct line *line)
{
    return LINE_BYTES_MAX - TAIL_BYTES - line->len;
}

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
                                                           ...)
{
    size_t room = line_room(line);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line->bytes + line->len, room, format, args);
    va_end(args);
    if (len >= 0 && (size_t)len < room)
        line->len += (size_t)len;
    else
        line->truncated = true; /* what was written lies beyond line->len */
}

/* As much of `text` as there is room for. */
static void line_add_text(struct line *line, const char *name, struct span text)
{
    size_t before = line->len;
    line_add(line, ",\"%s\":", name);
    if (line->len == before)
        return;
    for (;;) {
        size_t len = log_json_string(line->bytes + line->len, line_room(line), text);
        if (len > 0) {
            line->len += len;
            return;
        }
        line->truncated = true;
        if (text.len == 0)
            break;
        text = span_upto(text, text.len / 2);
        while (text.len > 0 && (text.at[text.len] & 0xc0) == 0x80)
            text = span_upto(text, text.len - 1); /* not in the middle of a character */
    }
    line->len = before;
}

static void line_add_field(struct line *line, const struct log_field *field)
{
    switch (field->is) {
    case LOG_IS_TEXT:
        line_add_text(line, field->name,
                      span_text(field->value.text == NULL ? "" : field->value.text));
        break;
    case LOG_IS_SPAN:
        line_add_text(line, field->name, field->value.span);
        break;
    case LOG_IS_NUMBER:
        line_add(line, ",\"%s\":%lld", field->name, (long long)field->value.number);
        break;
    case LOG_IS_UNSIGNED:
        line_add(line, ",\"%s\":%llu", field->name,
                 (unsigned long long)field->value.unsigned_number);
        break;
    case LOG_IS_HEX:
        line_add(line, ",\"%s\":\"%016llx\"", field->name,
                 (unsigned long long)field->value.unsigned_number);
        break;
    }
}

static void line_begin(struct line *line, enum log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    line->len = 0;
    line->truncated = false;
    line_add(line, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"level\":\"%s\"",
             utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
             (int)(now.tv_nsec / 1000000), level_names[level]);
    line_add_text(line, "program", span_text(atomic_load(&shared.program)));
    if (thread_name != NULL)
        line_add_text(line, "thread", span_text(thread_name));
    line_add_text(line, "event", span_text(event));
}

static void line_write(struct line *line)
{
    if (line->truncated) {
        memcpy(line->bytes + line->len, TRUNCATED, sizeof TRUNCATED - 1);
        line->len += sizeof TRUNCATED - 1;
    }
    memcpy(line->bytes + line->len, "}\n", 2);
    /* One write a line; where the log itself fails there is nobody to tell. */
    ssize_t written = write(STDERR_FILENO, line->bytes, line->len + 2);
    (void)written;
}

static struct budget *budget_of(const char *event)
{
    uint32_t first = (uint32_t)(((uintptr_t)event * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    for (uint32_t i = 0; i < EVENTS_MAX; i++) {
        struct budget *budget = &budgets[(first + i) % EVENTS_MAX];
        if (budget->event == NULL)
            budget->event = event;
        if (budget->event == event)
            return budget;
    }
    return &budgets[EVENTS_MAX];
}

/* False if LOG_BURST lines were written in the second before now. */
static bool budget_take(struct budget *budget)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t *oldest_ms = &budget->written_ms[budget->next];
    if (*oldest_ms != 0 && now_ms - *oldest_ms < 1000) {
        budget->held_back++;
        return false;
    }
    *oldest_ms = now_ms;
    budget->next = (budget->next + 1) % LOG_BURST;
    return true;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    assert(level <= LOG_ERROR);
    if (level < atomic_load_explicit(&shared.level, memory_order_relaxed))
        return;
    struct budget *budget = budget_of(event);
    if (!budget_take(budget))
        return;
    int saved = errno;
    struct line line;
    line_begin(&line, level, event);
    if (budget->held_back > 0)
        line_add(&line, ",\"suppressed\":%u", budget->held_back);
    budget->held_back = 0;
    for (const struct log_field *field = fields; field->name != NULL; field++)
        line_add_field(&line, field);
    line_write(&line);
    errno = saved;
}
