/* wheel: many timers, few of which ever fire: a hierarchical timing wheel (Varghese and Lauck,
 * 1987).
 *
 * Timers are embedded in what they time, which must not move; setting and cancelling take constant
 * time. A zeroed timer is idle. Pure: time is given, in milliseconds, and never goes back.
 * Resolution is WHEEL_TICK_MS: a timer fires at its time or up to one tick later, never before.
 */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include "base/span.h"

#define WHEEL_TICK_MS 16u

struct wheel;

struct wheel_timer {
    struct wheel_timer *next, *prev; /* next == NULL: idle */
    uint32_t due_tick;
};

struct wheel *wheel_new(uint64_t now_ms);
void wheel_free(struct wheel *wheel);

/* Sets or moves a timer. `due_ms` may lie in the past (fires at the next advance) or up to 24 days
 * ahead. */
void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t due_ms);
/* Cancelling an idle timer is harmless. */
void wheel_cancel(struct wheel *wheel, struct wheel_timer *timer);
static inline bool wheel_pending(const struct wheel_timer *timer)
{
    return timer->next != NULL;
}

/* Takes one timer that is due at `now_ms` off the wheel, NULL when there is none left. The caller
 * loops; timers set or cancelled between the calls are honoured. */
MUST_CHECK struct wheel_timer *wheel_expire(struct wheel *wheel, uint64_t now_ms);

#endif
