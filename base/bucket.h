/* bucket: a token bucket of 8 bytes. Pure; time is given in ms and may wrap at 2^32, which an
 * untouched bucket does not notice (it is then fuller or emptier by less than a full one). */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include "base/span.h"

struct bucket {
    uint32_t milli, at_ms; /* thousandths of a token that are left, as of when */
};

struct bucket_rate {
    uint32_t per_s; /* 0: no limit */
    uint32_t burst; /* at least 1, at most BUCKET_BURST_MAX */
};

#define BUCKET_BURST_MAX (UINT32_MAX / 1000)

static inline struct bucket bucket_full(struct bucket_rate rate, uint32_t now_ms)
{
    return (struct bucket){rate.burst * 1000, now_ms};
}

static inline void bucket_fill(struct bucket *bucket, struct bucket_rate rate, uint32_t now_ms)
{
    uint64_t milli = bucket->milli + (uint64_t)(now_ms - bucket->at_ms) * rate.per_s;
    uint64_t full = (uint64_t)rate.burst * 1000;
    bucket->milli = (uint32_t)(milli < full ? milli : full);
    bucket->at_ms = now_ms;
}

/* 0 without a limit or if there is a token; else how long to wait for one, in ms. */
MUST_CHECK static inline uint32_t bucket_wait(struct bucket *bucket, struct bucket_rate rate,
                                              uint32_t now_ms)
{
    if (rate.per_s == 0)
        return 0;
    bucket_fill(bucket, rate, now_ms);
    return bucket->milli >= 1000 ? 0 : (1000 - bucket->milli + rate.per_s - 1) / rate.per_s;
}

/* The same, and takes the token. */
MUST_CHECK static inline uint32_t bucket_take(struct bucket *bucket, struct bucket_rate rate,
                                              uint32_t now_ms)
{
    uint32_t wait_ms = bucket_wait(bucket, rate, now_ms);
    if (wait_ms == 0 && rate.per_s != 0)
        bucket->milli -= 1000;
    return wait_ms;
}

/* Nothing was taken for so long that nobody can tell it from a new one. */
MUST_CHECK static inline bool bucket_is_full(struct bucket *bucket, struct bucket_rate rate,
                                             uint32_t now_ms)
{
    if (rate.per_s == 0)
        return true;
    bucket_fill(bucket, rate, now_ms);
    return bucket->milli == rate.burst * 1000;
}

/* How much of the burst is used up. */
static inline uint32_t bucket_used(struct bucket bucket, struct bucket_rate rate, uint32_t now_ms)
{
    if (rate.per_s == 0)
        return 0;
    bucket_fill(&bucket, rate, now_ms);
    return rate.burst - bucket.milli / 1000;
}

#endif
