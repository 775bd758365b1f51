/* backoff: when the client library tries again: full jitter, from min to max, doubled with each
 * attempt; never before the time that a server told, and then with as much of it again as jitter.
 * Pure. */
#ifndef CLIENT_BACKOFF_H
#define CLIENT_BACKOFF_H

#include "base/span.h"

struct backoff {
    uint32_t min_ms, max_ms;
};

/* `attempts`: that failed since the last good connection. `told_ms`: 0 if nothing was told.
 * `random` any 64 bits. */
static inline uint64_t backoff_ms(struct backoff backoff, uint32_t attempts, uint64_t told_ms,
                                  uint64_t random)
{
    uint64_t ceiling = backoff.min_ms;
    for (uint32_t i = 0; i < attempts && ceiling < backoff.max_ms; i++)
        ceiling *= 2;
    if (ceiling > backoff.max_ms)
        ceiling = backoff.max_ms;
    uint64_t spread = told_ms > ceiling ? told_ms : ceiling;
    return told_ms + random % (spread + 1);
}

#endif
