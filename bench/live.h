/* live: what a run does just now, in one to three lines on a terminal, redrawn in place.
 *
 *     struct live *live = live_open(!options->json);        NULL if stderr is no terminal
 *     ... ten times a second:  live_show(live, &numbers);   cumulative numbers; rates are its work
 *     live_close(live);                                     the lines are gone, the report follows
 *
 * For the process that does not generate load: a terminal that is slow stops who writes to it. What
 * is changed of the terminal (its cursor is hidden) is undone by live_close and before the process
 * ends or stops by a signal that it does not catch itself. Open it after the generators have been
 * forked. NO_COLOR is honoured.
 */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include "bench/hist.h"

#define LIVE_TEXT_MAX 2048u

struct live;

/* From the beginning until now; what a workload does not have stays 0 and is not shown. */
struct live_numbers {
    const char *title; /* "unicast, lahar, confirmed" */
    const char *phase; /* "logins", "warm-up", "measuring", "draining": the bar is of the phase */
    double progress;   /* 0 to 1; less than 0: not known */
    uint64_t left_ns;  /* of the phase; 0: not known */
    uint64_t now_ns;
    uint64_t users, online, connections_lost;
    uint64_t logins, sent, delivered;
    uint64_t lost, unknown, broken; /* of the referee; `broken`: promises */
    uint64_t server_cpu_ns, own_cpu_ns;
    bool has_server_cpu;        /* there are server processes whose cost is known */
    const struct hist *latency; /* of all; NULL: none. It may be cleared in between. */
};

/* NULL if it is not wanted, or stderr is no terminal that can do it; then the others do nothing. */
struct live *live_open(bool wanted);
/* Draws at most ten times a second, however often it is called. */
void live_show(struct live *live, const struct live_numbers *now);
void live_close(struct live *live);

/* --- the text; pure ----------------------------------------------------------------------------
 */

struct live_style {
    uint32_t width; /* columns */
    bool colour, utf8;
};

/* Writes the lines, separated by '\n', each at most `width` columns, and a 0; returns the bytes
 * before it. Rates are those from `before` to `now`; `recent` are the latencies in between. */
size_t live_text(char out[LIVE_TEXT_MAX], const struct live_numbers *before,
                 const struct live_numbers *now, const struct hist *recent,
                 const struct live_style *style);

#endif
