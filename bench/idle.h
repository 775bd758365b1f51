/* idle: users log in and are held. */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#include "bench/workload.h"

enum workload_end idle_run(const struct options *options);

#endif
