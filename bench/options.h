/* options: the command line of lahar-bench, one table for parsing and help. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/cost.h"
#include "bench/target.h"

/* What one generator process holds at most, with room for what is not a connection. */
#define OPTIONS_PROCESS_CONNS_MAX 19000u
#define OPTIONS_SPARE_FILES 300u

struct options {
    const char *workload;
    const struct target *target;
    const char *servers, *ca, *site, *key, *cluster, *device, *listen, *label, *redis_address;
    enum hot_class message_class;
    struct cost_pids pids, redis;
    uint32_t users, first, devices, processes, sources, slots, p99_us, kill_pid;
    uint32_t in_flight, think_ms, bytes, seconds, warmup, logins_at_once, login_timeout;
    double rate, offline_share;
    bool even, tickets, json;
    bool comes_back; /* of the workload's row */
};

/* Says on stderr what is wrong and exits with 1, or prints the help and exits with 0. */
void options_parse(struct options *options, int argc, char **argv);
/* How many generator processes hold these connections; raises the limit of open files as far as it
 * may. Dies if `processes` are too few. */
void options_settle_processes(struct options *options);

#endif
