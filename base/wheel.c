#include "base/wheel.h"

#include <stdlib.h>

/* Six levels of 64 slots: a slot of level n spans 64^n ticks. A timer lies on the level of the
 * highest bit in which its tick differs from the wheel's, so all of a lower level comes before all
 * of a higher one. Each level has a word of bits for its slots in use: time passes from one slot in
 * use to the next, however many ticks lie between. A bit may outlive its slot's last timer; then
 * the slot is visited for nothing, once. */
#define LEVELS 6u
#define SLOT_BITS 6u
#define SLOTS (1u << SLOT_BITS)

/* More than 24 days from the true time: the wheel itself may lag behind it, after a pause. */
#define AHEAD_MAX (UINT64_C(1) << 31)

static_assert(UINT64_C(24) * 24 * 3600 * 1000 / WHEEL_TICK_MS < AHEAD_MAX / 2,
              "24 days and a long pause must fit a timer's 32 bits");
static_assert(AHEAD_MAX <= UINT64_C(1) << (LEVELS * SLOT_BITS), "and the levels");

struct wheel {
    uint64_t tick;          /* whatever is due up to this tick is in `due` */
    struct wheel_timer due; /* the head of a ring, like those of the slots */
    uint64_t used[LEVELS];
    struct wheel_timer slots[LEVELS][SLOTS];
};

static void ring_init(struct wheel_timer *head)
{
    head->next = head->prev = head;
}

static void ring_add(struct wheel_timer *head, struct wheel_timer *timer)
{
    timer->next = head;
    timer->prev = head->prev;
    head->prev->next = timer;
    head->prev = timer;
}

static void ring_remove(struct wheel_timer *timer)
{
    timer->next->prev = timer->prev;
    timer->prev->next = timer->next;
    timer->next = timer->prev = NULL;
}

struct wheel *wheel_new(uint64_t now_ms)
{
    struct wheel *wheel = calloc(1, sizeof *wheel);
    assert(wheel != NULL);
    wheel->tick = now_ms / WHEEL_TICK_MS;
    ring_init(&wheel->due);
    for (uint32_t level = 0; level < LEVELS; level++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            ring_init(&wheel->slots[level][slot]);
    return wheel;
}

void wheel_free(struct wheel *wheel)
{
    free(wheel);
}

static void place(struct wheel *wheel, struct wheel_timer *timer, uint64_t due)
{
    if (due <= wheel->tick) {
        ring_add(&wheel->due, timer);
        return;
    }
    uint32_t level = (63u - (uint32_t)__builtin_clzll(due ^ wheel->tick)) / SLOT_BITS;
    if (level >= LEVELS)
        level = LEVELS - 1; /* the highest goes round */
    uint32_t slot = (uint32_t)(due >> (level * SLOT_BITS)) % SLOTS;
    ring_add(&wheel->slots[level][slot], timer);
    wheel->used[level] |= UINT64_C(1) << slot;
}

void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t due_ms)
{
    uint64_t due = due_ms / WHEEL_TICK_MS + (due_ms % WHEEL_TICK_MS != 0);
    assert(due < wheel->tick + AHEAD_MAX);
    if (timer->next != NULL) {
        if (timer->due_tick == (uint32_t)due)
            return;
        ring_remove(timer);
    }
    timer->due_tick = (uint32_t)due;
    place(wheel, timer, due);
}

void wheel_cancel(struct wheel *wheel, struct wheel_timer *timer)
{
    (void)wheel;
    if (timer->next != NULL)
        ring_remove(timer);
}

/* The first slot in use: its level, and the tick at which it begins. */
static bool next_slot(const struct wheel *wheel, uint32_t *level, uint64_t *begin)
{
    for (uint32_t l = 0; l < LEVELS; l++) {
        if (wheel->used[l] == 0)
            continue;
        uint64_t hand = wheel->tick >> (l * SLOT_BITS);
        uint32_t turned = (uint32_t)hand % SLOTS;
        uint64_t ahead = wheel->used[l] >> turned | wheel->used[l] << (SLOTS - turned) % SLOTS;
        *level = l;
        *begin = (hand + (uint32_t)__builtin_ctzll(ahead)) << (l * SLOT_BITS);
        return true;
    }
    return false;
}

static void empty_slot(struct wheel *wheel, uint32_t level)
{
    uint32_t slot = (uint32_t)(wheel->tick >> (level * SLOT_BITS)) % SLOTS;
    wheel->used[level] &= ~(UINT64_C(1) << slot);
    struct wheel_timer *head = &wheel->slots[level][slot];
    while (head->next != head) {
        struct wheel_timer *timer = head->next;
        ring_remove(timer);
        uint64_t due = wheel->tick + (uint32_t)(timer->due_tick - (uint32_t)wheel->tick);
        place(wheel, timer, due);
    }
}

struct wheel_timer *wheel_expire(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t now = now_ms / WHEEL_TICK_MS;
    assert(now >= wheel->tick);
    uint32_t level;
    uint64_t begin;
    while (wheel->tick < now) {
        if (!next_slot(wheel, &level, &begin) || begin > now) {
            wheel->tick = now;
            break;
        }
        wheel->tick = begin;
        empty_slot(wheel, level);
    }
    struct wheel_timer *timer = wheel->due.next;
    if (timer == &wheel->due)
        return NULL;
    ring_remove(timer);
    return timer;
}
