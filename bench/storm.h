/* storm: a server process dies, and all its users return to the other servers, with backoff and
 * jitter, as clients do (bench/crowd.h); meanwhile all who are there write to each other at --rate.
 * For --seconds before it is killed and as long after it, or until all are back.
 */
#ifndef BENCH_STORM_H
#define BENCH_STORM_H

#include "bench/lead.h"

enum workload_end storm_lead(struct lead *lead);

#endif
