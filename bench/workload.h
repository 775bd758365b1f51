/* workload: what the users are made to do; one row each in workload.c.
 *
 * A run has a parent, which leads, and its generator processes, which hold the connections:
 *
 *     parent     lead_login, lead_warm_up, lead_measure ... lead_drain     bench/lead.h
 *     member     one loop of turns that follows the phase it reads         bench/team.h
 *
 * To add one: write foo.h and foo.c with its two functions, add a row to the table in workload.c,
 * and to the table in options.c the options that only it has (and their fields in options.h); name
 * all that are not common to every workload in the row's `options`, for the others are refused.
 *
 *   - `member` is run in each generator process, which ends with it. traffic_member
 * (bench/traffic.h) does for whatever logs users in and has them write to each other, or holds
 * them: the leader sets phase, rate and window. NULL: there are no generator processes.
 *   - `lead` is run in the parent and fills the report. What the report has no place for a workload
 *     adds itself by report->more (bench/report.h).
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench/options.h"

/* Exit codes. */
enum workload_end {
    WORKLOAD_DONE = 0,
    WORKLOAD_USAGE = 1,
    WORKLOAD_FAILED = 2, /* could not be run to its end, or a connection was lost */
    WORKLOAD_BROKEN = 3, /* a promise was broken */
};

struct lead;
struct member;

struct workload {
    const char *name, *help;
    const char *options; /* those it takes beside the common ones, by blanks */
    bool comes_back;     /* users who lose their connection log in again; else the run fails */
    void (*member)(struct member *member);
    enum workload_end (*lead)(struct lead *lead);
};

/* All of them, in order; NULL after the last one. */
const struct workload *workload_at(size_t index);
/* NULL: there is none of that name. */
const struct workload *workload_find(const char *name);

/* From the forks to the report on stdout. */
enum workload_end workload_run(const struct workload *workload, const struct options *options);

#endif
