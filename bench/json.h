/* json: members of one object on stdout, each with its comma before it. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include "bench/hist.h"

void json_text(const char *name, const char *value);
void json_count(const char *name, uint64_t value);
void json_real(const char *name, double value);
/* {"count":..,"p50":..,...,"max":..}, in microseconds; `curve`: about 40 points of it too. */
void json_latency(const char *name, const struct hist *hist, bool curve);

#endif
