/* pace: when the messages of an open loop fall due. They do so whatever became of those before them
 * and however late they are looked at. Pure. */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include "base/span.h"
#include "bench/dice.h"

struct pace {
    double gap_ns; /* on average; 0: nothing falls due */
    double due_ns; /* the next one */
    bool even;     /* all gaps are the same, not exponential */
};

/* So many a second from now on; the same rate as before changes nothing. What was due at the old
 * rate and was not taken is dropped with it. */
void pace_set(struct pace *pace, double per_second, uint64_t now_ns, struct dice *dice);
/* When the next one falls due; UINT64_MAX: never. */
uint64_t pace_next_ns(const struct pace *pace);
/* That one is done with. */
void pace_take(struct pace *pace, struct dice *dice);

#endif
