/* workload: what the crowd is made to do; one row each in main.c. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench/crowd.h"
#include "bench/options.h"

#define WORKLOAD_KEEP_BYTES (64u * 1024u)

/* Exit codes. */
enum workload_end {
    WORKLOAD_DONE = 0,
    WORKLOAD_USAGE = 1,
    WORKLOAD_FAILED = 2, /* could not be run to its end, or a connection was lost */
    WORKLOAD_BROKEN = 3, /* a promise was broken */
};

/* As the command line wants it. */
struct crowd_options workload_crowd(const struct options *options);

#endif
