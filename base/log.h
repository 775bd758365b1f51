/* log: one JSON object a line on stderr, for changes of state, never per message.
 *
 *     log_info("link_up", LOG_TEXT("peer", name), LOG_NUMBER("shards", n));
 *     {"time":"2026-01-31T12:00:00.000Z","level":"info","program":"lahar-edge","thread":"e1/0",
 *      "event":"link_up","peer":"r1/0","shards":4}
 *
 * Each event (told apart by its name's address, so names are literals) is written at most
 * LOG_BURST times a second and thread; how many were held back is told by the next one that passes
 * ("suppressed":n). Any bytes may be logged: what is not UTF-8 or is a control character is escaped
 * (\u00XX, byte by byte). What would make a line longer than 4 KiB is cut, which "truncated":true
 * tells. One of the two globals of the house; safe from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/span.h"

#define LOG_BURST 10u

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_IS_TEXT, LOG_IS_SPAN, LOG_IS_NUMBER, LOG_IS_UNSIGNED, LOG_IS_HEX } is;
    union {
        const char *text;
        struct span span;
        int64_t number;
        uint64_t unsigned_number;
    } value;
};

#define LOG_TEXT(n, v) ((struct log_field){.name = (n), .is = LOG_IS_TEXT, .value.text = (v)})
#define LOG_SPAN(n, v) ((struct log_field){.name = (n), .is = LOG_IS_SPAN, .value.span = (v)})
#define LOG_NUMBER(n, v) ((struct log_field){.name = (n), .is = LOG_IS_NUMBER, .value.number = (v)})
#define LOG_UNSIGNED(n, v)                                                                         \
    ((struct log_field){.name = (n), .is = LOG_IS_UNSIGNED, .value.unsigned_number = (v)})
/* Sixteen hex digits, as a JSON string. */
#define LOG_HEX(n, v)                                                                              \
    ((struct log_field){.name = (n), .is = LOG_IS_HEX, .value.unsigned_number = (v)})

/* The program's name and the least level written; until then "lahar" and LOG_INFO. */
void log_open(const char *program);
void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error"; false for anything else. */
MUST_CHECK bool log_parse_level(const char *text, enum log_level *level);
/* Names the calling thread in its lines from now on; the text must outlive it. */
void log_thread(const char *name);

void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_WRITE(level, event, ...)                                                               \
    log_write(level, event, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})
#define log_debug(...) LOG_WRITE(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_WRITE(LOG_INFO, __VA_ARGS__)
#define log_warn(...) LOG_WRITE(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_WRITE(LOG_ERROR, __VA_ARGS__)

/* A bad start: says in plain text on stderr what to change, exits with status 1. Only before a loop
 * runs. */
__attribute__((noreturn, format(printf, 1, 2))) void log_die(const char *format, ...);

/* Appends `text` to `out` (of `room` bytes) as a JSON string with its quotes; returns the bytes
 * written, or 0 if there is no room. Also what the commands print their objects with. */
size_t log_json_string(char *out, size_t room, struct span text);

#endif
