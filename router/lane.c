#include "router/lane.h"

#include "base/left_out.h"

#include <stdlib.h>

#define ROOM_MIN 4u

struct lane_entry {
    uint32_t item, bytes;
};

static struct lane_entry *entry(const struct lane *lane, uint32_t i)
{
    assert(i < lane->count);
    return &lane->entries[(lane->head + i) & (lane->room - 1)];
}

void lane_open(struct lane *lane, uint64_t session, uint64_t device, uint32_t edge)
{
    lane->session = session;
    lane->device = device;
    lane->edge = edge;
    lane->live = lane->behind = false;
    lane->first = 1;
    lane->given_upto = lane->went_back_to = 0;
    lane->entries = NULL;
    lane->room = lane->head = lane->count = lane->given = lane->bytes = 0;
}

void lane_close(struct lane *lane)
{
    free(lane->entries);
    lane->entries = NULL;
    lane->room = lane->count = 0;
}

static void take_out(struct lane *lane, uint32_t i)
{
    for (; i + 1 < lane->count; i++)
        *entry(lane, i) = *entry(lane, i + 1);
    lane->count--;
}

void lane_announce(struct lane *lane, uint64_t dseq)
{
    bool known = lane->live && dseq + 1 >= lane->first && dseq < lane_next(lane);
    lane->went_back_to = 0;
    if (known) {
        lane->given = (uint32_t)(dseq + 1 - lane->first);
        return;
    }
    for (uint32_t i = 0; i < lane->count;) {
        if (entry(lane, i)->item == LANE_EMPTY)
            take_out(lane, i);
        else
            i++;
    }
    lane->live = true;
    lane->first = dseq + 1;
    lane->given_upto = dseq;
    lane->given = 0;
}

static void grow(struct lane *lane)
{
    uint32_t room = lane->room == 0 ? ROOM_MIN : lane->room * 2;
    struct lane_entry *entries = malloc(room * sizeof *entries);
    assert(entries != NULL);
    for (uint32_t i = 0; i < lane->count; i++)
        entries[i] = *entry(lane, i);
    free(lane->entries);
    lane->entries = entries;
    lane->room = room;
    lane->head = 0;
}

void lane_push(struct lane *lane, uint32_t item, uint32_t bytes)
{
    if (lane->count == lane->room)
        grow(lane);
    lane->count++;
    *entry(lane, lane->count - 1) = (struct lane_entry){item, bytes};
    lane->bytes += bytes;
}

enum lane_place lane_received(const struct lane *lane, uint64_t dseq)
{
    if (!lane->live || dseq >= lane_next(lane))
        return LANE_AHEAD;
    return dseq < lane->first ? LANE_OLD : LANE_MOVES;
}

enum lane_place lane_gap(struct lane *lane, uint64_t expected)
{
    if (!lane->live || expected > lane_next(lane))
        return LANE_AHEAD;
    if (expected < lane->first || expected >= lane->first + lane->given)
        return LANE_OLD;
    if (expected == lane->went_back_to && !LEFT_OUT(DAMPING))
        return LANE_DAMPED;
    lane->went_back_to = expected;
    lane->given = (uint32_t)(expected - lane->first);
    return LANE_MOVES;
}

void lane_retry(struct lane *lane)
{
    lane->given = 0;
    lane->went_back_to = 0;
}

uint32_t lane_pop(struct lane *lane)
{
    struct lane_entry oldest = *entry(lane, 0);
    lane->head = (lane->head + 1) & (lane->room - 1);
    lane->count--;
    lane->first++;
    lane->bytes -= oldest.bytes;
    if (lane->given > 0)
        lane->given--;
    return oldest.item;
}

uint32_t lane_at(const struct lane *lane, uint32_t i)
{
    return entry(lane, i)->item;
}

bool lane_clear(struct lane *lane, uint32_t item)
{
    uint32_t i = 0;
    while (i < lane->count && entry(lane, i)->item != item)
        i++;
    if (i == lane->count)
        return false;
    lane->bytes -= entry(lane, i)->bytes;
    *entry(lane, i) = (struct lane_entry){LANE_EMPTY, 0};
    if (!lane->live)
        take_out(lane, i);
    return true;
}

bool lane_give(const struct lane *lane, uint32_t *item, uint64_t *dseq)
{
    if (!lane->live || lane->given == lane->count)
        return false;
    *item = entry(lane, lane->given)->item;
    *dseq = lane->first + lane->given;
    return true;
}

bool lane_gave(struct lane *lane)
{
    assert(lane->given < lane->count);
    uint64_t dseq = lane->first + lane->given++;
    if (dseq <= lane->given_upto)
        return true;
    lane->given_upto = dseq;
    return false;
}

uint32_t lane_filled(const struct lane *lane)
{
    uint32_t filled = 0;
    for (uint32_t i = 0; i < lane->count; i++)
        filled += entry(lane, i)->item != LANE_EMPTY;
    return filled;
}
