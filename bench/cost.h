/* cost: what other processes, and the kernel for their sockets, use of CPU and memory. */
#ifndef BENCH_COST_H
#define BENCH_COST_H

#include "base/span.h"

#include <sys/types.h>

#define COST_PIDS_MAX 256u

struct cost_pids {
    pid_t pid[COST_PIDS_MAX];
    uint32_t count;
};

/* Adds "1,2,3"; false if it is no such list, or too long. */
MUST_CHECK bool cost_parse(const char *text, struct cost_pids *pids);
/* Adds all processes of these programs ("lahar-edge,lahar-router"); false if there are none of one
 * of them, or too many. */
MUST_CHECK bool cost_find(const char *names, struct cost_pids *pids);

struct cost_sample {
    uint64_t cpu_ns[COST_PIDS_MAX];   /* of all threads, those that ended too */
    uint64_t resident[COST_PIDS_MAX]; /* bytes */
};

/* What each has used until now; 0 for one that is gone. */
void cost_take(const struct cost_pids *pids, struct cost_sample *sample);
/* The CPU time only, which is cheap. */
void cost_take_cpu(const struct cost_pids *pids, struct cost_sample *sample);
/* CPU time between two samples: of one by its place in the list, and of all. */
uint64_t cost_cpu_of(uint32_t place, const struct cost_sample *before,
                     const struct cost_sample *after);
uint64_t cost_cpu_ns(const struct cost_pids *pids, const struct cost_sample *before,
                     const struct cost_sample *after);
/* By how much all that are left have grown; less than 0: shrunk. */
double cost_grown(const struct cost_pids *pids, const struct cost_sample *before,
                  const struct cost_sample *after);

/* Of one process; 0 if it is gone. The share is its memory with what it shares counted in part. */
uint64_t cost_process_cpu_ns(pid_t pid);
uint64_t cost_process_share(pid_t pid);
uint64_t cost_own_cpu_ns(void);
/* What the kernel holds for sockets, of all namespaces: socket buffers, and the slabs that grow
 * with connections. Without leave to read /proc/slabinfo all slabs. 0: not known. */
uint64_t cost_kernel_bytes(void);

/* The program's name, as the kernel has it, in `out`; "?" if it is gone. */
void cost_name(pid_t pid, char out[32]);

#endif
