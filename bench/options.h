/* options: the command line of lahar-bench, one table for parsing and help. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/cost.h"
#include "bench/target.h"

struct options {
    const char *workload;
    const struct target *target;
    const char *servers, *ca, *site, *key, *cluster, *device, *listen;
    enum hot_class message_class;
    struct cost_pids pids, redis;
    uint32_t users, first, in_flight, bytes, seconds, warmup, logins_at_once, login_timeout;
    bool json;
};

/* Says on stderr what is wrong and exits with 1, or prints the help and exits with 0. */
void options_parse(struct options *options, int argc, char **argv);

#endif
