#include "proto/peer.h"

void peer_table_init(struct peer_table *table, uint64_t salt, uint64_t window)
{
    *table = (struct peer_table){.salt = salt, .window = window};
    pool_init(&table->pool, sizeof(struct peer), PEER_TABLE_MAX);
    map_init(&table->by_id);
}

void peer_table_free(struct peer_table *table)
{
    for (uint32_t i = 0; i < peer_end(table); i++)
        if (peer_at(table, i)->used)
            pair_free(&peer_at(table, i)->pair);
    map_free(&table->by_id);
    pool_free(&table->pool);
}

uint32_t peer_new(struct peer_table *table)
{
    uint32_t index = pool_take(&table->pool);
    if (index == POOL_NONE)
        return PEER_NONE;
    struct peer *peer = peer_at(table, index);
    peer->used = true;
    pair_init(&peer->pair, table->window);
    return index;
}

static uint64_t hash_of(const struct peer_table *table, const uint8_t id[ZAP_ID_SIZE],
                        enum keys_role role)
{
    uint64_t half[2];
    memcpy(half, id, sizeof half);
    uint64_t mix = (half[0] ^ table->salt) * UINT64_C(0x9e3779b97f4a7c15);
    mix = (mix ^ mix >> 32 ^ half[1]) * UINT64_C(0xd6e8feb86659fd93) + role;
    mix = (mix ^ mix >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mix ^ mix >> 32;
}

struct identity {
    const uint8_t *id;
    enum keys_role role;
};

static bool is_same(const void *ctx, uint32_t index, const void *key)
{
    const struct peer *peer = peer_at(ctx, index);
    const struct identity *identity = key;
    return peer->role == identity->role && memcmp(peer->id, identity->id, ZAP_ID_SIZE) == 0;
}

uint32_t peer_find(struct peer_table *table, const uint8_t id[ZAP_ID_SIZE], enum keys_role role)
{
    struct identity identity = {id, role};
    uint64_t hash = hash_of(table, id, role);
    uint32_t index = map_find(&table->by_id, hash, is_same, table, &identity);
    if (index != MAP_NONE)
        return index;
    index = peer_new(table);
    if (index == PEER_NONE)
        return index;
    struct peer *peer = peer_at(table, index);
    memcpy(peer->id, id, ZAP_ID_SIZE);
    peer->role = role;
    map_add(&table->by_id, hash, index);
    return index;
}

void peer_forget(struct peer_table *table, uint32_t index)
{
    struct peer *peer = peer_at(table, index);
    assert(peer->used && peer->pair.state == PAIR_AWAY && !peer->touched && !peer->down_due);
    map_remove(&table->by_id, hash_of(table, peer->id, peer->role), index);
    pair_free(&peer->pair);
    peer->used = false;
    pool_give(&table->pool, index);
}
