/* idle: users log in and are held; with --rate, some of them write meanwhile. */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#include "bench/lead.h"

enum workload_end idle_lead(struct lead *lead);

#endif
