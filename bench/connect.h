/* connect: users log in, leave and log in again, --logins of them at a time. */
#ifndef BENCH_CONNECT_H
#define BENCH_CONNECT_H

#include "bench/lead.h"

enum workload_end connect_lead(struct lead *lead);

#endif
