/* search: the highest rate of an open loop at which a share of 99 % of all messages comes to its
 * end within --p99-us. From --rate (or 1,000 a second) up by doubling until it is not kept, then by
 * halving the range until it is 5 % wide. A step that fails is made once more, since machines are
 * noisy; messages that have not come to an end yet count as too slow. At last the found rate is
 * measured like any other run.
 */
#ifndef BENCH_SEARCH_H
#define BENCH_SEARCH_H

#include "bench/lead.h"

enum workload_end search_lead(struct lead *lead);

/* The way from rate to rate; pure. 0 in `kept` or `failed`: none yet. */
struct search_range {
    double kept, failed;
};
/* What became of the last rate; returns the next one, 0: found (range->kept), or there is none. */
double search_next(struct search_range *range, double rate, bool kept);

#endif
