#include "router/edges.h"

#include "base/map.h"
#include "base/pool.h"

#include <stdlib.h>

#define WAIT_MIN_MS 500u
#define WAIT_MAX_MS 8000u
#define RECENT 256u /* a power of two */

struct edges {
    struct pool pool;
    struct map by_number;
    uint8_t *used;               /* by index */
    struct edge *recent[RECENT]; /* found last, by the lower bits of their numbers: each message
                                    asks for an edge two to five times */
    uint32_t *of_peer;
    uint32_t peers_room;
    uint32_t highest;
};

struct edges *edges_new(void)
{
    struct edges *edges = calloc(1, sizeof *edges);
    assert(edges != NULL);
    pool_init(&edges->pool, sizeof(struct edge), EDGES_MAX);
    map_init(&edges->by_number);
    edges->used = calloc(EDGES_MAX, 1);
    assert(edges->used != NULL);
    return edges;
}

void edges_free(struct edges *edges)
{
    if (edges == NULL)
        return;
    pool_free(&edges->pool);
    map_free(&edges->by_number);
    free(edges->used);
    free(edges->of_peer);
    free(edges);
}

static uint64_t number_hash(uint32_t number)
{
    return number * UINT64_C(0x9e3779b97f4a7c15);
}

static bool same_number(const void *ctx, uint32_t index, const void *key)
{
    const struct edge *edge = pool_at(&((const struct edges *)ctx)->pool, index);
    return edge->number == *(const uint32_t *)key;
}

struct edge *edges_find(struct edges *edges, uint32_t number)
{
    struct edge **recent = &edges->recent[number % RECENT];
    if (*recent != NULL && (*recent)->number == number)
        return *recent;
    uint32_t index = map_find(&edges->by_number, number_hash(number), same_number, edges, &number);
    if (index == MAP_NONE)
        return NULL;
    *recent = pool_at(&edges->pool, index);
    return *recent;
}

struct edge *edges_of_peer(const struct edges *edges, uint32_t peer)
{
    if (peer >= edges->peers_room || edges->of_peer[peer] == POOL_NONE)
        return NULL;
    return pool_at(&edges->pool, edges->of_peer[peer]);
}

struct edge *edges_make(struct edges *edges, uint32_t number, uint64_t now_ms)
{
    assert(number != 0);
    struct edge *edge = edges_find(edges, number);
    if (edge != NULL)
        return edge;
    uint32_t index = pool_take(&edges->pool);
    if (index == POOL_NONE)
        return NULL;
    edge = pool_at(&edges->pool, index);
    edge->number = number;
    edge->peer = EDGES_NO_PEER;
    edge->silent_since_ms = now_ms;
    edge->index = index;
    edges->used[index] = 1;
    map_add(&edges->by_number, number_hash(number), index);
    edges_saw(edges, number);
    return edge;
}

void edges_forget(struct edges *edges, struct edge *edge)
{
    assert(edge->peer == EDGES_NO_PEER);
    edges->used[edge->index] = 0;
    edges->recent[edge->number % RECENT] = NULL;
    map_remove(&edges->by_number, number_hash(edge->number), edge->index);
    pool_give(&edges->pool, edge->index);
}

struct edge *edges_next(const struct edges *edges, const struct edge *edge)
{
    for (uint32_t index = edge == NULL ? 0 : edge->index + 1; index < edges->pool.used_high;
         index++)
        if (edges->used[index])
            return pool_at(&edges->pool, index);
    return NULL;
}

uint32_t edges_highest(const struct edges *edges)
{
    return edges->highest;
}

void edges_saw(struct edges *edges, uint32_t number)
{
    if (number > edges->highest && number <= EDGES_NUMBER_MAX)
        edges->highest = number;
}

static void untrust(struct edge *edge)
{
    edge->trusted = edge->announcing = false;
    edge->differed = edge->sites_behind = 0;
}

void edges_attach(struct edges *edges, struct edge *edge, uint32_t peer, struct span name)
{
    assert(edge->peer == EDGES_NO_PEER && edges_of_peer(edges, peer) == NULL);
    if (peer >= edges->peers_room) {
        uint32_t room = edges->peers_room == 0 ? 64 : edges->peers_room;
        while (room <= peer)
            room *= 2;
        edges->of_peer = realloc(edges->of_peer, room * sizeof *edges->of_peer);
        assert(edges->of_peer != NULL);
        for (uint32_t i = edges->peers_room; i < room; i++)
            edges->of_peer[i] = POOL_NONE;
        edges->peers_room = room;
    }
    edges->of_peer[peer] = edge->index;
    edge->peer = peer;
    size_t len = name.len < LINK_NAME_MAX ? name.len : LINK_NAME_MAX;
    memset(edge->name, 0, sizeof edge->name);
    if (len > 0) /* NULL if it has none */
        memcpy(edge->name, name.at, len);
    untrust(edge);
}

void edges_detach(struct edges *edges, struct edge *edge, uint64_t now_ms)
{
    assert(edge->peer != EDGES_NO_PEER);
    edges->of_peer[edge->peer] = POOL_NONE;
    edge->peer = EDGES_NO_PEER;
    edge->silent_since_ms = now_ms;
    untrust(edge);
}

void edges_round_begin(struct edge *edge, uint64_t now_ms)
{
    /* An edge with very many sessions, or a slow one, gets more time with each attempt. */
    if (!edge->announcing)
        edge->wait_ms = WAIT_MIN_MS;
    else if (edge->wait_ms < WAIT_MAX_MS)
        edge->wait_ms *= 2;
    edge->announcing = true;
    edge->round++;
    edge->announced = 0;
    edge->differed = 0;
    edge->round_began_ms = edge->heard_ms = now_ms;
}

bool edges_round_late(const struct edge *edge, uint64_t now_ms)
{
    return edge->announcing && now_ms - edge->heard_ms >= edge->wait_ms;
}

bool edges_round_came(struct edge *edge, uint32_t round, uint64_t sessions, uint64_t now_ms)
{
    if (!edge->announcing || round != edge->round)
        return false;
    edge->announced += sessions;
    edge->heard_ms = now_ms;
    return true;
}

bool edges_round_done(struct edge *edge, uint32_t round, uint64_t sessions)
{
    if (!edge->announcing || round != edge->round || sessions != edge->announced)
        return false;
    edge->announcing = false;
    edge->trusted = true;
    edge->named = false;
    return true;
}
