/* store: presence records in Redis, behind memory. Pure: commands out, replies in.
 *
 *     key    <prefix>{<slot>}p<b>       b: 0 to 15, four bits of the GID's hash: 262,144 hashes
 *     field  GID, device                16 bytes, little-endian
 *     value  edge, session              12 bytes, little-endian
 *
 * Buckets stay listpacks while they have at most 512 entries (hash-max-listpack-entries; the router
 * checks it). Writes queue here and leave at the end of the turn in few commands (one HSET and one
 * HDEL per bucket touched, at most 64 fields each); a later write of a field replaces the queued
 * one. Past queue_max, or while Redis is away, the queue is dropped and each slot is marked: when
 * Redis is up again all slots are written anew from memory. A bucket is written under another name
 * (its key and "~") and renamed, so that a reader never sees a half; at most commands_max commands
 * are in flight.
 */
#ifndef PRESENCE_STORE_H
#define PRESENCE_STORE_H

#include "base/reply.h"
#include "presence/presence.h"

struct store;

struct store_options {
    const char *prefix;    /* "lahar:" */
    uint32_t queue_max;    /* records: 100,000 */
    uint32_t commands_max; /* in flight: 512 */
};

struct store_actions {
    /* False: Redis is away or full; the store tries again at a later turn. Tags are below 2^56. */
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    /* While loading: a record found, likely only. The callee puts it into memory. */
    void (*loaded)(void *ctx, uint32_t slot, const struct presence_record *record);
    void (*load_done)(void *ctx);
};

/* `memory` is read when slots are written anew. */
struct store *store_new(const struct store_options *options, struct presence *memory,
                        const struct store_actions *actions, void *ctx);
void store_free(struct store *store);

/* Redis is up: whatever it holds may be old, all owned slots are to be written anew (but not before
 * a load is done). Down: replies in flight come as NULL. */
void store_up(struct store *store);
void store_down(struct store *store);
void store_reply(struct store *store, uint64_t tag, const struct reply *reply);

/* Which slots are ours; reads them all (HGETALL per bucket, pipelined), calls loaded for each
 * record, then load_done. After a load that ran on a connection that stayed up nothing needs
 * writing anew. A record may be told twice if Redis went away meanwhile. */
void store_load(struct store *store, const bool owned[PRESENCE_SLOTS]);
/* No slot is ours any more; what is queued is dropped. */
void store_forget(struct store *store);

void store_put(struct store *store, uint32_t slot, uint64_t hash,
               const struct presence_record *record);
void store_remove(struct store *store, uint32_t slot, uint64_t hash, uint64_t gid, uint64_t device);

/* End of the turn: lets commands out. */
void store_flush(struct store *store);
/* About once a second: what Redis refused with an error may be tried again. */
void store_retry(struct store *store);

struct store_counts {
    uint64_t writes; /* fields written or removed */
    uint64_t commands;
    uint64_t dropped;       /* queued writes given up for writing anew */
    uint64_t slots_written; /* written anew */
    uint64_t errors;        /* error replies */
    uint32_t queued;
    uint32_t slots_to_write;
};
const struct store_counts *store_counts(const struct store *store);

#endif
