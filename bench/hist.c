#include "bench/hist.h"

#define IN_ROW (UINT64_C(1) << HIST_BITS)

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < IN_ROW)
        return (uint32_t)ns;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - HIST_BITS;
    return ((shift + 1) << HIST_BITS) + (uint32_t)((ns >> shift) - IN_ROW);
}

/* The highest value that the bucket holds. */
static uint64_t top_of(uint32_t bucket)
{
    if (bucket < IN_ROW)
        return bucket;
    uint32_t shift = (bucket >> HIST_BITS) - 1;
    uint64_t first = (bucket & (IN_ROW - 1)) + IN_ROW;
    return ((first + 1) << shift) - 1;
}

void hist_clear(struct hist *hist)
{
    memset(hist, 0, sizeof *hist);
}

void hist_add(struct hist *hist, uint64_t ns)
{
    if (ns >= UINT64_C(1) << HIST_TOP)
        ns = (UINT64_C(1) << HIST_TOP) - 1;
    hist->buckets[bucket_of(ns)]++;
    hist->count++;
    if (ns > hist->max)
        hist->max = ns;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    for (uint32_t i = 0; i < HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max > into->max)
        into->max = from->max;
}

void hist_subtract(struct hist *from, const struct hist *earlier)
{
    uint64_t max = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        assert(from->buckets[i] >= earlier->buckets[i]);
        from->buckets[i] -= earlier->buckets[i];
        if (from->buckets[i] > 0)
            max = top_of(i);
    }
    from->count -= earlier->count;
    if (max < from->max)
        from->max = max;
}

uint64_t hist_at(const struct hist *hist, double share)
{
    uint64_t rank = (uint64_t)((double)hist->count * share);
    if ((double)rank < (double)hist->count * share || rank == 0)
        rank++;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen >= rank)
            return top_of(i) < hist->max ? top_of(i) : hist->max;
    }
    return hist->max;
}
