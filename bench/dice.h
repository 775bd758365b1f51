/* dice: quick random numbers (xorshift), for what need not be secret. Any seed but 0. */
#ifndef BENCH_DICE_H
#define BENCH_DICE_H

#include <math.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_roll(struct dice *dice)
{
    dice->state ^= dice->state << 13;
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return dice->state;
}

static inline uint32_t dice_below(struct dice *dice, uint32_t below)
{
    return (uint32_t)((dice_roll(dice) >> 32) * below >> 32);
}

/* More than 0, at most 1. */
static inline double dice_share(struct dice *dice)
{
    return (double)((dice_roll(dice) >> 11) + 1) / (double)(UINT64_C(1) << 53);
}

/* Exponentially distributed. */
static inline double dice_exponential(struct dice *dice, double mean)
{
    return -log(dice_share(dice)) * mean;
}

#endif
