/* cost: what other processes use of CPU and memory, read from /proc. */
#ifndef BENCH_COST_H
#define BENCH_COST_H

#include "base/span.h"

#include <sys/types.h>

#define COST_PIDS_MAX 64u

struct cost_pids {
    pid_t pid[COST_PIDS_MAX];
    uint32_t count;
};

/* "1,2,3"; false if it is no such list, or too long. */
MUST_CHECK bool cost_parse(const char *text, struct cost_pids *pids);

struct cost_sample {
    uint64_t cpu_ns[COST_PIDS_MAX];   /* of all threads */
    uint64_t resident[COST_PIDS_MAX]; /* bytes */
};

/* What each has used until now; 0 for one that is gone. */
void cost_take(const struct cost_pids *pids, struct cost_sample *sample);
/* CPU time of all between two samples. */
uint64_t cost_cpu_ns(const struct cost_pids *pids, const struct cost_sample *before,
                     const struct cost_sample *after);
/* Our own CPU time. */
uint64_t cost_own_cpu_ns(void);
/* The program's name, as the kernel has it, in `out`; "?" if it is gone. */
void cost_name(pid_t pid, char out[32]);

#endif
