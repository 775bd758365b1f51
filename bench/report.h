/* report: what a run has shown, for people or (--json) as one object on one line for machines. What
 * a workload did not measure stays 0 and is left out.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/hist.h"
#include "bench/options.h"
#include "bench/team.h"

/* What was measured between two moments. */
struct report_span {
    uint64_t began_ns, ns;                        /* ns: 0 until it has ended */
    double rate;                                  /* of its open loop; 0: a closed one */
    uint64_t own_cpu_ns;                          /* of the generator processes */
    struct team_counts counts_before, counts;     /* counts: in between */
    struct cost_sample before, after;             /* of options.pids */
    struct cost_sample redis_before, redis_after; /* of options.redis */
};

/* `team` may be NULL. */
void report_begin(const struct options *options, const struct team *team, struct report_span *span);
void report_end(const struct options *options, const struct team *team, struct report_span *span);

struct report {
    struct report_span logins;   /* all users at the beginning */
    struct report_span measured; /* the messages, or the time in which they were held; without it
                                    nothing is printed */
    struct team_counts whole;    /* from the first login to the last message */
    struct hist latency;         /* of the messages that were due in `measured` */
    struct hist late;            /* open loop: how late they went out, those due in `measured` */
    struct hist login_latency;
    uint64_t kernel_before, kernel_after; /* bytes; before the logins, at the end of `measured` */
    uint64_t own_resident;                /* of the generator processes, then */
    bool messages;                        /* it is about messages */
    bool held;                            /* it is about connections that only stay */
    bool comes_and_goes; /* it is about logins: the counts of `measured` have them */
    /* What only this workload has: more JSON members, each with its comma before it (bench/json.h),
     * or lines of text. */
    struct {
        void (*json)(const void *ctx);
        void (*text)(const void *ctx);
        const void *ctx;
    } more;
};

/* How many promises were broken. */
uint64_t report_broken(const struct options *options, const struct report *report);
/* On stdout. */
void report_print(const struct options *options, const struct report *report);

#endif
