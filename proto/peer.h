/* peer: those whom a link talks with, by number, and for one that listens by routing id and role. A
 * part of link; nothing else uses it. Pure but for the memory.
 */
#ifndef PROTO_PEER_H
#define PROTO_PEER_H

#include "base/map.h"
#include "base/pool.h"
#include "proto/pair.h"
#include "proto/zap.h"

#define PEER_NONE POOL_NONE
#define PEER_TABLE_MAX 65536u

struct peer {
    struct pair pair;
    bool used;
    bool touched;   /* visit it at the end of the turn */
    bool head_due;  /* send a head even without frames */
    bool answering; /* with our name */
    bool stuck;     /* ZeroMQ had no room; the queue waits */
    bool barred;    /* its key is not allowed any more */
    bool down_due;  /* on_down is owed */
    enum keys_role role;
    uint64_t heard_ms; /* on the link's own clock */
    uint64_t head_at_ms;
    uint8_t id[ZAP_ID_SIZE];
    char key[KEYS_Z85_SIZE]; /* "" without CURVE */
};

struct peer_table {
    struct pool pool;
    struct map by_id;
    uint64_t salt; /* routing ids are the peers' choice */
    uint64_t window;
};

void peer_table_init(struct peer_table *table, uint64_t salt, uint64_t window);
void peer_table_free(struct peer_table *table);

/* Indices below this may be in use: see `used`. */
static inline uint32_t peer_end(const struct peer_table *table)
{
    return table->pool.used_high;
}

static inline struct peer *peer_at(const struct peer_table *table, uint32_t index)
{
    return pool_at(&table->pool, index);
}

/* A new peer, its pair away, without id; PEER_NONE when there is no room. */
uint32_t peer_new(struct peer_table *table);
/* The one with this id and role, made if need be. */
uint32_t peer_find(struct peer_table *table, const uint8_t id[ZAP_ID_SIZE], enum keys_role role);
/* One that peer_find made. */
void peer_forget(struct peer_table *table, uint32_t index);

#endif
