#include "bench/pace.h"

#define NS_PER_S 1e9

void pace_set(struct pace *pace, double per_second, uint64_t now_ns, struct dice *dice)
{
    double gap_ns = per_second > 0 ? NS_PER_S / per_second : 0;
    if (gap_ns > 0 && (gap_ns < pace->gap_ns || gap_ns > pace->gap_ns))
        pace->due_ns = (double)now_ns + gap_ns * dice_share(dice);
    pace->gap_ns = gap_ns;
}

uint64_t pace_next_ns(const struct pace *pace)
{
    return pace->gap_ns > 0 ? (uint64_t)pace->due_ns : UINT64_MAX;
}

void pace_take(struct pace *pace, struct dice *dice)
{
    pace->due_ns += pace->even ? pace->gap_ns : dice_exponential(dice, pace->gap_ns);
}
