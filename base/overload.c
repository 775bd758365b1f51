#include "base/overload.h"

#define MILLI_MAX (OVERLOAD_MAX * 1000u)
#define UP_PART 2u
#define DOWN_PART 8u

void overload_turn(struct overload *overload, uint64_t us)
{
    overload->turns_us += us;
    overload->squares_us += us * us;
}

uint64_t overload_turns_us(struct overload *overload, uint64_t interval_us)
{
    /* A turn that was longer than the interval began before it. */
    uint64_t over = overload->turns_us > interval_us ? overload->turns_us : interval_us;
    uint64_t us = over == 0 ? 0 : overload->squares_us / over;
    overload->turns_us = overload->squares_us = 0;
    return us;
}

static uint32_t milli_of(struct overload_signal signal)
{
    if (signal.full == 0)
        return 0;
    if (signal.now >= signal.full)
        return MILLI_MAX;
    return (uint32_t)((double)signal.now / (double)signal.full * MILLI_MAX);
}

uint32_t overload_of(struct overload_signal signal)
{
    return milli_of(signal) / 1000;
}

static uint32_t class_of(const struct overload *overload)
{
    uint32_t level = overload_level(overload), class = 0;
    for (uint32_t i = 0; i < OVERLOAD_CLASSES_MAX && overload->thresholds[i] != 0; i++) {
        uint32_t threshold = overload->thresholds[i];
        if (i < overload->class)
            threshold = threshold > OVERLOAD_HYSTERESIS ? threshold - OVERLOAD_HYSTERESIS : 1;
        if (level >= threshold)
            class = i + 1;
    }
    return class;
}

bool overload_feed(struct overload *overload, const struct overload_signal *signals, size_t count)
{
    uint32_t worst = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t milli = milli_of(signals[i]);
        worst = milli > worst ? milli : worst;
    }
    if (worst >= overload->milli)
        overload->milli += (worst - overload->milli + UP_PART - 1) / UP_PART;
    else
        overload->milli -= (overload->milli - worst + DOWN_PART - 1) / DOWN_PART;
    uint32_t before = overload->class;
    overload->class = class_of(overload);
    return overload->class != before;
}
