/* overload: one number for how much more a thread has to do than it can, 0 to 100, made every
 * OVERLOAD_MS from what it measures, and the class of things to refuse because of it. Pure.
 *
 * A signal is something that is felt as delay or memory (how long turns take, what waits) with the
 * value at which it is as bad as can be. The worst one counts. The level follows half of the way up
 * each time and an eighth of the way down, so that one long turn is no overload and one short one
 * no end of it. A class begins at its threshold and ends OVERLOAD_HYSTERESIS below.
 */
#ifndef BASE_OVERLOAD_H
#define BASE_OVERLOAD_H

#include "base/span.h"

#define OVERLOAD_MS 100u
#define OVERLOAD_CLASSES_MAX 4u
#define OVERLOAD_HYSTERESIS 15u
#define OVERLOAD_MAX 100u

struct overload {
    uint32_t thresholds[OVERLOAD_CLASSES_MAX]; /* of class 1, 2, ...: growing; 0: no more classes */
    uint32_t milli;                            /* the level in thousandths */
    uint32_t class;                            /* 0: nothing is refused */
    /* How long turns took since the last time. */
    uint64_t turns_us, squares_us;
};

struct overload_signal {
    uint64_t now, full; /* full 0: it does not count */
};

/* A turn is over that took so long, waiting for work not included. */
void overload_turn(struct overload *overload, uint64_t us);
/* How long what comes at any moment waits for the turn under way to end, twice (so: how long turns
 * are, but nothing if they are rare), over the last `interval_us`; and begins anew. */
uint64_t overload_turns_us(struct overload *overload, uint64_t interval_us);

/* The time has come again. True if the class has changed. */
bool overload_feed(struct overload *overload, const struct overload_signal *signals, size_t count);

static inline uint32_t overload_level(const struct overload *overload)
{
    return overload->milli / 1000;
}

/* 0 to 100: one signal alone. */
uint32_t overload_of(struct overload_signal signal);

#endif
