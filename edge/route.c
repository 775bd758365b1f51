#include "edge/route.h"

#include <stdlib.h>

/* By slot; what each frame asks for first lies close together. */
struct route_table {
    uint16_t shard[GID_SLOTS];
    uint32_t epoch[GID_SLOTS];          /* the slot's */
    uint64_t slot_map_epoch[GID_SLOTS]; /* of the map that said so */
    uint64_t map_epoch;                 /* of the newest whole map */
    uint32_t shards;
    char (*names)[SLOTMAP_NAME_MAX + 1];
};

struct route_table *route_table_new(const char *const *names, uint32_t shards)
{
    struct route_table *routes = calloc(1, sizeof *routes);
    assert(routes != NULL && shards > 0 && shards < UINT16_MAX);
    routes->shards = shards;
    routes->names = calloc(shards, sizeof *routes->names);
    assert(routes->names != NULL);
    for (uint32_t i = 0; i < shards; i++) {
        size_t len = strlen(names[i]);
        assert(len <= SLOTMAP_NAME_MAX);
        memcpy(routes->names[i], names[i], len + 1);
    }
    struct slotmap *even = slotmap_new_even(names, shards);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++)
        routes->shard[slot] = (uint16_t)slotmap_owner(even, slot);
    slotmap_free(even);
    return routes;
}

void route_table_free(struct route_table *routes)
{
    if (routes == NULL)
        return;
    free(routes->names);
    free(routes);
}

uint32_t route_shard(const struct route_table *routes, uint32_t slot)
{
    assert(slot < GID_SLOTS);
    return routes->shard[slot];
}

uint32_t route_epoch(const struct route_table *routes, uint32_t slot)
{
    assert(slot < GID_SLOTS);
    return routes->epoch[slot];
}

uint64_t route_map_epoch(const struct route_table *routes)
{
    return routes->map_epoch;
}

uint32_t route_find(const struct route_table *routes, struct span name)
{
    uint32_t shard = 0;
    while (shard < routes->shards && !span_equal(span_text(routes->names[shard]), name))
        shard++;
    return shard;
}

enum route_news route_take_map(struct route_table *routes, struct span packed)
{
    struct slotmap *map = slotmap_unpack(packed);
    if (map == NULL)
        return ROUTE_BAD;
    uint64_t epoch = slotmap_epoch(map);
    if (epoch <= routes->map_epoch) {
        slotmap_free(map);
        return ROUTE_OLD;
    }
    uint32_t ours[SLOTMAP_SHARDS_MAX];
    assert(slotmap_shards(map) <= SLOTMAP_SHARDS_MAX);
    for (size_t i = 0; i < slotmap_shards(map); i++)
        ours[i] = route_find(routes, span_text(slotmap_name(map, i)));
    routes->map_epoch = epoch;
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        if (routes->slot_map_epoch[slot] > epoch)
            continue;
        routes->slot_map_epoch[slot] = epoch;
        routes->shard[slot] = (uint16_t)ours[slotmap_owner(map, slot)];
    }
    slotmap_free(map);
    return ROUTE_TAKEN;
}

enum route_news route_take_slot(struct route_table *routes, uint32_t slot, uint64_t map_epoch,
                                uint32_t shard)
{
    if (slot >= GID_SLOTS || shard > routes->shards)
        return ROUTE_BAD;
    if (map_epoch <= routes->slot_map_epoch[slot])
        return ROUTE_OLD;
    routes->slot_map_epoch[slot] = map_epoch;
    if (routes->shard[slot] == shard)
        return ROUTE_OLD;
    routes->shard[slot] = (uint16_t)shard;
    return ROUTE_TAKEN;
}

enum route_news route_take_owned(struct route_table *routes, uint32_t slot, uint32_t epoch,
                                 uint32_t shard)
{
    if (slot >= GID_SLOTS || shard >= routes->shards || epoch == 0)
        return ROUTE_BAD;
    uint32_t known = routes->epoch[slot];
    if (epoch < known || (epoch == known && shard != routes->shard[slot]))
        return ROUTE_OLD;
    routes->epoch[slot] = epoch;
    routes->shard[slot] = (uint16_t)shard;
    return ROUTE_TAKEN;
}
