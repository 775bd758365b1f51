#include "router/outcome.h"

#include "base/map.h"
#include "base/pool.h"

#include <stdlib.h>

struct outcome_table {
    struct pool pool;
    struct map map;
    struct ring by_age; /* the decided ones, the oldest decision first */
    uint32_t decided, decided_max;
};

/* A mid is a hash itself. */
static uint64_t hash_of(const uint8_t mid[GID_MID_SIZE])
{
    uint64_t hash;
    memcpy(&hash, mid, sizeof hash);
    return hash;
}

static struct outcome *at(const struct outcome_table *table, uint32_t index)
{
    return pool_at(&table->pool, index);
}

static bool same(const void *ctx, uint32_t index, const void *mid)
{
    return memcmp(at(ctx, index)->mid, mid, GID_MID_SIZE) == 0;
}

struct outcome_table *outcome_table_new(uint32_t pending_max, uint32_t decided_max)
{
    struct outcome_table *table = calloc(1, sizeof *table);
    assert(table != NULL && decided_max > 0);
    pool_init(&table->pool, sizeof(struct outcome), pending_max + decided_max);
    map_init(&table->map);
    ring_init(&table->by_age);
    table->decided_max = decided_max;
    return table;
}

void outcome_table_free(struct outcome_table *table)
{
    if (table == NULL)
        return;
    map_free(&table->map);
    pool_free(&table->pool);
    free(table);
}

struct outcome *outcome_find(const struct outcome_table *table, const uint8_t mid[GID_MID_SIZE])
{
    uint32_t index = map_find(&table->map, hash_of(mid), same, table, mid);
    return index == MAP_NONE ? NULL : at(table, index);
}

struct outcome *outcome_add(struct outcome_table *table, const uint8_t mid[GID_MID_SIZE])
{
    uint32_t index = pool_take(&table->pool);
    assert(index != POOL_NONE);
    struct outcome *outcome = at(table, index);
    memcpy(outcome->mid, mid, GID_MID_SIZE);
    outcome->index = index;
    ring_init(&outcome->by_age);
    ring_init(&outcome->in_conv);
    map_add(&table->map, hash_of(mid), index);
    return outcome;
}

uint32_t outcome_decide(struct outcome_table *table, struct outcome *outcome,
                        enum outcome_state state, uint64_t now_ms)
{
    assert(outcome->state == OUTCOME_PENDING && state != OUTCOME_PENDING);
    uint32_t forgotten = 0;
    if (table->decided == table->decided_max) {
        outcome_forget(table, RING_OF(table->by_age.next, struct outcome, by_age));
        forgotten = 1;
    }
    outcome->state = state;
    outcome->message = NULL;
    outcome->decided_ms = now_ms;
    ring_add(&table->by_age, &outcome->by_age);
    table->decided++;
    return forgotten;
}

void outcome_forget(struct outcome_table *table, struct outcome *outcome)
{
    if (outcome->state != OUTCOME_PENDING)
        table->decided--;
    ring_remove(&outcome->by_age);
    ring_remove(&outcome->in_conv);
    map_remove(&table->map, hash_of(outcome->mid), outcome->index);
    pool_give(&table->pool, outcome->index);
}

void outcome_forget_until(struct outcome_table *table, uint64_t decided_ms)
{
    while (!ring_empty(&table->by_age)) {
        struct outcome *oldest = RING_OF(table->by_age.next, struct outcome, by_age);
        if (oldest->decided_ms > decided_ms)
            return;
        outcome_forget(table, oldest);
    }
}

uint32_t outcome_decided(const struct outcome_table *table)
{
    return table->decided;
}
