/* unicast: users write to each other in random pairs: bench/traffic.h says how. */
#ifndef BENCH_UNICAST_H
#define BENCH_UNICAST_H

#include "bench/lead.h"

enum workload_end unicast_lead(struct lead *lead);

#endif
