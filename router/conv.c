#include "router/conv.h"

#include "base/left_out.h"
#include "base/map.h"
#include "base/pool.h"
#include "proto/gid.h"

#include <stdlib.h>

#define LOOKS_MAX 64u /* at a time */

struct conv_table {
    struct pool pool;
    struct map map;
    struct ring by_age; /* by when they were last looked at for their age */
};

static uint64_t hash_of(const struct conv_key *key)
{
    /* The map reads the upper half, which the odd constant changes with the class. */
    return gid_session_mix(key->to, key->from, key->device) + key->class * 0x9e3779b97f4a7c15u;
}

static struct conv *at(const struct conv_table *table, uint32_t index)
{
    return pool_at(&table->pool, index);
}

static bool same(const void *ctx, uint32_t index, const void *wanted)
{
    const struct conv_key *a = &at(ctx, index)->key, *b = wanted;
    return a->from == b->from && a->device == b->device && a->to == b->to && a->class == b->class;
}

struct conv_table *conv_table_new(uint32_t convs_max)
{
    struct conv_table *table = calloc(1, sizeof *table);
    assert(table != NULL);
    pool_init(&table->pool, sizeof(struct conv), convs_max);
    map_init(&table->map);
    ring_init(&table->by_age);
    return table;
}

void conv_table_free(struct conv_table *table)
{
    if (table == NULL)
        return;
    map_free(&table->map);
    pool_free(&table->pool);
    free(table);
}

struct conv *conv_find(const struct conv_table *table, const struct conv_key *key)
{
    uint32_t index = map_find(&table->map, hash_of(key), same, table, key);
    return index == MAP_NONE ? NULL : at(table, index);
}

struct conv *conv_make(struct conv_table *table, const struct conv_key *key, uint64_t now_ms)
{
    uint32_t index = pool_take(&table->pool);
    if (index == POOL_NONE)
        return NULL;
    struct conv *conv = at(table, index);
    conv->key = *key;
    conv->index = index;
    conv->used_ms = conv->placed_ms = now_ms;
    ring_init(&conv->pending);
    ring_init(&conv->known);
    ring_add(&table->by_age, &conv->by_age);
    map_add(&table->map, hash_of(key), index);
    return conv;
}

void conv_forget(struct conv_table *table, struct conv *conv)
{
    assert(ring_empty(&conv->pending) && ring_empty(&conv->known));
    ring_remove(&conv->by_age);
    map_remove(&table->map, hash_of(&conv->key), conv->index);
    pool_give(&table->pool, conv->index);
}

static void place_last(struct conv_table *table, struct conv *conv, uint64_t now_ms)
{
    conv->placed_ms = now_ms;
    ring_move(&table->by_age, &conv->by_age);
}

struct conv *conv_idle(struct conv_table *table, uint64_t before_ms, uint64_t now_ms)
{
    for (uint32_t looks = 0; looks < LOOKS_MAX && !ring_empty(&table->by_age); looks++) {
        struct conv *conv = RING_OF(table->by_age.next, struct conv, by_age);
        if (conv->placed_ms > before_ms)
            return NULL;
        if (conv->used_ms <= before_ms && ring_empty(&conv->pending))
            return conv;
        place_last(table, conv, now_ms);
    }
    return NULL;
}

struct conv *conv_spare(struct conv_table *table, uint64_t now_ms)
{
    struct conv *spare = NULL;
    for (uint32_t looks = 0; looks < LOOKS_MAX && !ring_empty(&table->by_age); looks++) {
        struct conv *conv = RING_OF(table->by_age.next, struct conv, by_age);
        bool pending = !ring_empty(&conv->pending);
        if (!pending && conv->used_ms <= conv->placed_ms)
            return conv;
        if (!pending && spare == NULL)
            spare = conv;
        place_last(table, conv, now_ms);
    }
    return spare;
}

static void begin_session(struct conv *conv, uint64_t session)
{
    conv->session = session;
    conv->last = conv->settled = 0;
    conv->refused = false;
}

enum conv_verdict conv_judge(struct conv *conv, const struct conv_place *place, uint64_t *expected)
{
    if (conv != NULL && place->session < conv->session)
        return CONV_OLD;
    if (conv != NULL && place->session > conv->session)
        begin_session(conv, place->session);
    uint64_t last = conv == NULL ? 0 : conv->last;
    uint64_t settled = place->settled;
    /* What was overtaken on its way may be answered and forgotten: it must not be taken again. */
    if (conv != NULL && conv->settled > settled)
        settled = conv->settled;
    else if (conv != NULL)
        conv->settled = settled;
    if (LEFT_OUT(SEQ) || place->seq == settled)
        return CONV_TAKE;
    bool follows = last != 0 && place->seq == last + 1 && place->seq > settled;
    if (follows && !conv->refused)
        return CONV_TAKE;
    /* Past a refusal one place is named, whatever comes: with two, each would look like news. */
    bool from_settled = last < settled || (conv != NULL && conv->refused);
    *expected = from_settled ? settled : last + 1;
    return follows ? CONV_REFUSE_ONLY : CONV_GAP;
}

void conv_taken(struct conv *conv, const struct conv_place *place)
{
    conv->session = place->session;
    conv->last = place->seq;
    conv->refused = false;
    if (conv->settled < place->settled)
        conv->settled = place->settled;
}

void conv_refused(struct conv *conv, const struct conv_place *place)
{
    conv_taken(conv, place);
    conv->refused = true;
}

void conv_seen(struct conv *conv, const struct conv_place *place)
{
    uint64_t expected;
    if (place->seq > conv->last || place->session > conv->session)
        if (conv_judge(conv, place, &expected) == CONV_TAKE && place->seq > conv->last)
            conv_taken(conv, place);
}

void conv_reset(struct conv *conv)
{
    conv->last = 0;
}

uint32_t conv_count(const struct conv_table *table)
{
    return table->pool.in_use;
}
