#include "router/shares.h"

#include "base/map.h"
#include "base/pool.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SITE_ID_MAX 32u

struct edge_use {
    uint32_t edge;
    uint64_t heard_ms;
    struct shares_use use;
    struct shares_amounts granted; /* told last */
};

struct site {
    uint32_t count, room;
    struct edge_use *edges;
    uint8_t id_len;
    uint8_t id[SITE_ID_MAX];
};

struct shares {
    struct pool sites;
    struct map by_id;
    uint64_t refused;
    uint64_t listen_until_ms;
    uint64_t turn;    /* whose turn it is where there are fewer units than edges */
    uint64_t *sorted; /* room for one of each edge */
};

struct shares *shares_new(void)
{
    struct shares *shares = calloc(1, sizeof *shares);
    assert(shares != NULL);
    pool_init(&shares->sites, sizeof(struct site), SHARES_SITES_MAX);
    map_init(&shares->by_id);
    shares->sorted = calloc(SHARES_EDGES_MAX, sizeof *shares->sorted);
    assert(shares->sorted != NULL);
    return shares;
}

static uint64_t hash_of(struct span id)
{
    return XXH3_64bits(id.at, id.len);
}

static void forget(struct shares *shares, uint32_t index)
{
    struct site *site = pool_at(&shares->sites, index);
    map_remove(&shares->by_id, hash_of(span_of(site->id, site->id_len)), index);
    free(site->edges);
    *site = (struct site){0};
    pool_give(&shares->sites, index);
}

void shares_free(struct shares *shares)
{
    if (shares == NULL)
        return;
    for (uint32_t i = 0; i < shares->sites.used_high; i++)
        free(((struct site *)pool_at(&shares->sites, i))->edges);
    map_free(&shares->by_id);
    pool_free(&shares->sites);
    free(shares->sorted);
    free(shares);
}

uint64_t shares_refused(const struct shares *shares)
{
    return shares->refused;
}

uint32_t shares_sites(const struct shares *shares)
{
    return shares->sites.in_use;
}

static bool same_id(const void *ctx, uint32_t index, const void *key)
{
    const struct shares *shares = ctx;
    const struct site *site = pool_at(&shares->sites, index);
    return span_equal(span_of(site->id, site->id_len), *(const struct span *)key);
}

static struct site *find_or_add(struct shares *shares, struct span id)
{
    uint32_t index = map_find(&shares->by_id, hash_of(id), same_id, shares, &id);
    if (index != MAP_NONE)
        return pool_at(&shares->sites, index);
    if (id.len == 0 || id.len > SITE_ID_MAX || (index = pool_take(&shares->sites)) == POOL_NONE)
        return NULL;
    struct site *site = pool_at(&shares->sites, index);
    site->id_len = (uint8_t)id.len;
    memcpy(site->id, id.at, id.len);
    map_add(&shares->by_id, hash_of(id), index);
    return site;
}

static struct edge_use *edge_of(struct site *site, uint32_t edge)
{
    for (uint32_t i = 0; i < site->count; i++)
        if (site->edges[i].edge == edge)
            return &site->edges[i];
    if (site->count == SHARES_EDGES_MAX)
        return NULL;
    if (site->count == site->room) {
        site->room = site->room == 0 ? 4 : site->room * 2;
        site->edges = realloc(site->edges, site->room * sizeof *site->edges);
        assert(site->edges != NULL);
    }
    struct edge_use *use = &site->edges[site->count++];
    *use = (struct edge_use){.edge = edge};
    return use;
}

/* --- the fair division ------------------------------------------------------------------------ */

static uint32_t floor_of(uint32_t limit, uint32_t edges)
{
    return limit / (SHARES_FLOOR_PART * edges);
}

static uint64_t wants(const struct edge_use *edge, enum shares_kind kind, uint32_t floor)
{
    uint64_t wanted = edge->use.wanted.of[kind];
    return wanted > floor ? wanted : floor;
}

static int ascending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Whether one of the units that are not enough for all `among` is his; `rank`: his place there. */
static bool lucky(const struct shares *shares, uint32_t rank, uint32_t among, uint64_t units)
{
    return (rank + among - shares->turn * units % among) % among < units;
}

/* His place among those who want more than that. */
static uint32_t rank_of(const struct site *site, uint32_t place, enum shares_kind kind,
                        uint32_t floor, uint64_t than)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < place; i++)
        rank += wants(&site->edges[i], kind, floor) > than;
    return rank;
}

/* How much the `place`th edge should have. */
static uint32_t target(const struct shares *shares, const struct site *site, uint32_t place,
                       enum shares_kind kind, uint32_t limit)
{
    uint32_t n = site->count, floor = floor_of(limit, n);
    uint64_t left = limit;
    for (uint32_t i = 0; i < n; i++)
        shares->sorted[i] = wants(&site->edges[i], kind, floor);
    uint64_t wanted = shares->sorted[place];
    qsort(shares->sorted, n, sizeof *shares->sorted, ascending);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t even = left / (n - i);
        if (shares->sorted[i] <= even) {
            left -= shares->sorted[i];
            continue;
        }
        /* From here on nobody gets what he wants. */
        if (wanted <= even)
            return (uint32_t)wanted;
        uint32_t rank = rank_of(site, place, kind, floor, even);
        return (uint32_t)even + lucky(shares, rank, n - i, left % (n - i));
    }
    return (uint32_t)(wanted + left / n) + lucky(shares, place, n, left % n);
}

/* What the others may be using, whatever they were told. */
static uint64_t others(const struct site *site, uint32_t place, enum shares_kind kind)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < site->count; i++) {
        const struct edge_use *edge = &site->edges[i];
        uint32_t most = edge->use.held.of[kind];
        most = edge->granted.of[kind] > most ? edge->granted.of[kind] : most;
        if (kind == SHARES_CONNECTIONS && edge->use.connections > most)
            most = edge->use.connections;
        sum += i == place ? 0 : most;
    }
    return sum;
}

static uint32_t grant(const struct shares *shares, const struct site *site, uint32_t place,
                      enum shares_kind kind, uint32_t limit)
{
    uint32_t fair = target(shares, site, place, kind, limit);
    uint64_t taken = others(site, place, kind);
    uint64_t free_now = taken < limit ? limit - taken : 0;
    /* Floors of a crowd of newcomers must not add up, either. */
    uint64_t roof = limit + limit / SHARES_FLOOR_PART, floor = floor_of(limit, site->count);
    if (taken + floor > roof)
        floor = taken < roof ? roof - taken : 0;
    if (free_now < floor)
        free_now = floor;
    return fair < free_now ? fair : (uint32_t)free_now;
}

void shares_listen(struct shares *shares, uint64_t now_ms)
{
    shares->listen_until_ms = now_ms + SHARES_LISTEN_MS;
}

bool shares_use(struct shares *shares, struct span id, const struct shares_amounts *limit,
                uint32_t number, const struct shares_use *use, uint64_t now_ms,
                struct shares_amounts *share, uint32_t *edges)
{
    struct site *site = find_or_add(shares, id);
    struct edge_use *edge = site == NULL ? NULL : edge_of(site, number);
    if (edge == NULL) {
        shares->refused++;
        return false;
    }
    edge->use = *use;
    edge->heard_ms = now_ms;
    bool listening = now_ms < shares->listen_until_ms;
    uint32_t place = (uint32_t)(edge - site->edges);
    for (enum shares_kind kind = 0; kind < SHARES_KINDS; kind++) {
        uint32_t of = limit->of[kind];
        uint32_t now = use->held.of[kind] < of ? use->held.of[kind] : of;
        edge->granted.of[kind] = listening ? now : grant(shares, site, place, kind, of);
    }
    *share = edge->granted;
    *edges = site->count;
    return true;
}

void shares_tick(struct shares *shares, uint64_t now_ms)
{
    shares->turn = now_ms / SHARES_TURN_MS;
    for (uint32_t i = 0; i < shares->sites.used_high; i++) {
        struct site *site = pool_at(&shares->sites, i);
        if (site->id_len == 0)
            continue;
        for (uint32_t n = site->count; n-- > 0;)
            if (now_ms - site->edges[n].heard_ms >= SHARES_SILENCE_MS)
                site->edges[n] = site->edges[--site->count];
        if (site->count == 0)
            forget(shares, i);
    }
}
