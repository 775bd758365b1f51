/* idle: users log in and are held; with --rate, some of them write meanwhile. With
 * --tickets all leave and log in again in the end, each once, the others being connected. */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#include "bench/lead.h"

enum workload_end idle_lead(struct lead *lead);

#endif
