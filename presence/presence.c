#include "presence/presence.h"

#include <stdlib.h>

#define CELLS_MIN 4u
/* A table is at most so full: 4 of 5 cells. */
#define LOAD_MAX 4u
#define LOAD_OF 5u

struct table {
    struct presence_record *cells; /* edge 0: free */
    uint32_t room;
    uint32_t count;
};

struct presence {
    presence_hash_fn *hash;
    uint64_t count;
    uint64_t room;
    struct table tables[PRESENCE_SLOTS];
};

static_assert(sizeof(struct presence_record) == 32, "two records a cache line");

struct presence *presence_new(presence_hash_fn *hash)
{
    assert(hash != NULL);
    struct presence *presence = calloc(1, sizeof *presence);
    assert(presence != NULL);
    presence->hash = hash;
    return presence;
}

void presence_free(struct presence *presence)
{
    if (presence == NULL)
        return;
    for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++)
        free(presence->tables[slot].cells);
    free(presence);
}

uint64_t presence_hash(const struct presence *presence, uint64_t gid)
{
    return presence->hash(gid);
}

/* The slot is in the lowest bits, and the bucket in Redis in the next: the highest are still
 * unused. */
static uint32_t home_of(const struct table *table, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * table->room >> 32);
}

static uint32_t next_cell(const struct table *table, uint32_t at)
{
    return at + 1 == table->room ? 0 : at + 1;
}

static void place(struct table *table, uint64_t hash, const struct presence_record *record)
{
    uint32_t at = home_of(table, hash);
    while (table->cells[at].edge != 0)
        at = next_cell(table, at);
    table->cells[at] = *record;
}

static void resize(struct presence *presence, struct table *table, uint32_t room)
{
    assert(room > table->count);
    struct table old = *table;
    table->cells = calloc(room, sizeof *table->cells);
    assert(table->cells != NULL);
    table->room = room;
    for (uint32_t at = 0; at < old.room; at++)
        if (old.cells[at].edge != 0)
            place(table, presence->hash(old.cells[at].gid), &old.cells[at]);
    free(old.cells);
    presence->room = presence->room - old.room + room;
}

/* 4, 5, 6 or 7 times a power of two: with cells of 32 bytes just the sizes that jemalloc rounds up
 * to, so nothing is left over behind a table, and growing takes a seventh to a quarter more. */
static uint32_t round_up(uint64_t room)
{
    uint64_t step = 1;
    while (8 * step <= room)
        step *= 2;
    room = (room + step - 1) / step * step;
    assert(room < UINT32_MAX);
    return room < CELLS_MIN ? CELLS_MIN : (uint32_t)room;
}

static void make_room(struct presence *presence, struct table *table)
{
    uint64_t room = table->room, count = (uint64_t)table->count + 1;
    if (count * LOAD_OF > room * LOAD_MAX) {
        resize(presence, table, round_up(room + 1));
    } else if (room > CELLS_MIN && count * 10 < room * 3) {
        /* Only here, never when something is removed: walks that remove rely on it. */
        uint32_t fewer = round_up(count * 8 / 5);
        if (fewer < table->room)
            resize(presence, table, fewer);
    }
}

/* The cell of this GID and device, or `room` if there is none. */
static uint32_t find_cell(const struct table *table, uint64_t hash, uint64_t gid, uint64_t device)
{
    if (table->count == 0)
        return table->room;
    for (uint32_t at = home_of(table, hash); table->cells[at].edge != 0; at = next_cell(table, at))
        if (table->cells[at].gid == gid && table->cells[at].device == device)
            return at;
    return table->room;
}

void presence_put(struct presence *presence, uint32_t slot, uint64_t hash,
                  const struct presence_record *record)
{
    assert(slot == presence_slot(hash));
    assert(record->edge != 0);
    struct table *table = &presence->tables[slot];
    uint32_t at = find_cell(table, hash, record->gid, record->device);
    if (at != table->room) {
        table->cells[at] = *record;
        return;
    }
    make_room(presence, table);
    place(table, hash, record);
    table->count++;
    presence->count++;
}

struct presence_record *presence_find(struct presence *presence, uint32_t slot, uint64_t hash,
                                      uint64_t gid, uint64_t device)
{
    assert(slot == presence_slot(hash));
    struct table *table = &presence->tables[slot];
    uint32_t at = find_cell(table, hash, gid, device);
    return at == table->room ? NULL : &table->cells[at];
}

size_t presence_list(const struct presence *presence, uint32_t slot, uint64_t hash, uint64_t gid,
                     struct presence_record *out, size_t room)
{
    assert(slot == presence_slot(hash));
    const struct table *table = &presence->tables[slot];
    if (table->count == 0)
        return 0;
    size_t count = 0;
    for (uint32_t at = home_of(table, hash); table->cells[at].edge != 0;
         at = next_cell(table, at)) {
        if (table->cells[at].gid != gid)
            continue;
        if (count < room)
            out[count] = table->cells[at];
        count++;
    }
    return count;
}

/* Moves into the gap what a look-up would no longer reach across it. */
static void close_gap(struct presence *presence, struct table *table, uint32_t gap)
{
    uint32_t room = table->room;
    for (uint32_t at = next_cell(table, gap); table->cells[at].edge != 0;
         at = next_cell(table, at)) {
        uint32_t home = home_of(table, presence->hash(table->cells[at].gid));
        uint32_t from_home = at >= home ? at - home : at + room - home;
        uint32_t from_gap = at >= gap ? at - gap : at + room - gap;
        if (from_home >= from_gap) {
            table->cells[gap] = table->cells[at];
            gap = at;
        }
    }
    table->cells[gap] = (struct presence_record){0};
}

bool presence_remove(struct presence *presence, uint32_t slot, uint64_t hash, uint64_t gid,
                     uint64_t device)
{
    assert(slot == presence_slot(hash));
    struct table *table = &presence->tables[slot];
    uint32_t at = find_cell(table, hash, gid, device);
    if (at == table->room)
        return false;
    if (table->count == 1) {
        presence_drop_slot(presence, slot);
        return true;
    }
    table->count--;
    presence->count--;
    close_gap(presence, table, at);
    return true;
}

/* Cells are walked downwards, so that closing a gap only moves what was seen already; the run that
 * begins at cell 0 is walked first, because closing a gap at the end takes from it. */
#define WALK_FIRST_RUN (UINT32_C(1) << 31)

bool presence_walk(const struct presence *presence, uint32_t slot, uint32_t *cursor,
                   struct presence_record *out)
{
    assert(slot < PRESENCE_SLOTS);
    const struct table *table = &presence->tables[slot];
    if (table->count == 0)
        return false;
    uint32_t first_free = 0;
    while (table->cells[first_free].edge != 0)
        first_free++;
    if (*cursor == 0)
        *cursor = WALK_FIRST_RUN | first_free;
    if (*cursor & WALK_FIRST_RUN) {
        uint32_t left = *cursor & ~WALK_FIRST_RUN;
        if (left > first_free)
            left = first_free;
        if (left > 0) {
            *cursor = WALK_FIRST_RUN | (left - 1);
            *out = table->cells[left - 1];
            return true;
        }
        *cursor = table->room;
    }
    if (*cursor > table->room)
        *cursor = table->room;
    while (*cursor > first_free + 1) {
        uint32_t at = --*cursor;
        if (table->cells[at].edge != 0) {
            *out = table->cells[at];
            return true;
        }
    }
    return false;
}

void presence_drop_slot(struct presence *presence, uint32_t slot)
{
    assert(slot < PRESENCE_SLOTS);
    struct table *table = &presence->tables[slot];
    presence->count -= table->count;
    presence->room -= table->room;
    free(table->cells);
    *table = (struct table){0};
}

uint64_t presence_count(const struct presence *presence)
{
    return presence->count;
}

uint32_t presence_slot_count(const struct presence *presence, uint32_t slot)
{
    assert(slot < PRESENCE_SLOTS);
    return presence->tables[slot].count;
}

size_t presence_bytes(const struct presence *presence)
{
    return sizeof *presence + (size_t)presence->room * sizeof(struct presence_record);
}
