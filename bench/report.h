/* report: what a run has shown, for people or (--json) as one object for machines. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/crowd.h"
#include "bench/hist.h"
#include "bench/options.h"
#include "bench/referee.h"

/* What was measured between two moments. */
struct report_span {
    uint64_t ns;
    uint64_t own_cpu_ns;
    struct cost_sample before, after;             /* of options.pids */
    struct cost_sample redis_before, redis_after; /* of options.redis */
};

void report_begin(const struct options *options, struct report_span *span, uint64_t now_ns);
void report_end(const struct options *options, struct report_span *span, uint64_t now_ns);

struct report_unicast {
    struct report_span span;
    struct referee_counts whole;  /* from the first message to the last */
    struct referee_counts within; /* within the span */
    struct crowd_counts crowd;
    struct hist latency;
};
void report_unicast(const struct options *options, const struct report_unicast *report);

struct report_idle {
    struct report_span login, held;
    struct crowd_counts crowd;
};
void report_idle(const struct options *options, const struct report_idle *report);

#endif
