/* hist: a log-linear histogram of durations in nanoseconds.
 *
 * Below 2^HIST_BITS ns every value has a bucket of its own, above it each power of two has
 * 2^HIST_BITS of them: what it says is at most 0.8 % too high, from 1 ns to 18 minutes (longer ones
 * count as that). Histograms of several processes are merged by adding them.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include "base/span.h"

#define HIST_BITS 7u
#define HIST_TOP 40u /* values from 2^HIST_TOP ns on count as 2^HIST_TOP - 1 */
#define HIST_BUCKETS ((HIST_TOP - HIST_BITS + 1) << HIST_BITS)

struct hist {
    uint64_t count, max;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_clear(struct hist *hist);
void hist_add(struct hist *hist, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);
/* Takes off what it had at an earlier moment. */
void hist_subtract(struct hist *from, const struct hist *earlier);
/* The least duration that `share` (0 to 1) of all values do not exceed; 0 if there are none. */
uint64_t hist_at(const struct hist *hist, double share);

#endif
