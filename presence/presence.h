/* presence: which sessions a user has, and on which edges; one shard's memory of it.
 *
 * Records lie in one small open-addressing table a slot (32 bytes a record; load 0.64 to 0.8 while
 * it grows), so that growing never stops the shard for long and a slot can be walked, written and
 * dropped by itself. All records of a GID lie in one probe run. Pure memory; Redis is store.h's.
 * What a record is worth is the shard's to judge: it knows which edges live.
 */
#ifndef PRESENCE_PRESENCE_H
#define PRESENCE_PRESENCE_H

#include "base/span.h"

#ifdef LAHAR_SMALL /* as GID_SLOTS */
#define PRESENCE_SLOTS 64u
#else
#define PRESENCE_SLOTS 16384u
#endif
/* dseq of a record whose edge has not announced it yet: loaded from Redis, only likely. */
#define PRESENCE_LIKELY UINT32_MAX
#define PRESENCE_EDGE_MAX (UINT32_MAX >> 5)
#define PRESENCE_MARKS 32u

struct presence;

struct presence_record {
    uint64_t gid;
    uint64_t device; /* hash of its name */
    uint64_t session;
    uint32_t edge : 27; /* number of the edge worker, never 0 */
    uint32_t mark : 5;  /* the holder's: which round of announcing has confirmed it */
    uint32_t dseq; /* the last delivery's number while nobody else keeps it, or PRESENCE_LIKELY */
};

/* gid_hash: the layer above has it. */
typedef uint64_t presence_hash_fn(uint64_t gid);

struct presence *presence_new(presence_hash_fn *hash);
void presence_free(struct presence *presence);

uint64_t presence_hash(const struct presence *presence, uint64_t gid);
/* The lowest bits of the hash. */
static inline uint32_t presence_slot(uint64_t hash)
{
    return (uint32_t)hash % PRESENCE_SLOTS;
}

/* Adds a record or replaces the one of this GID and device. `slot` and `hash` are gid_slot and
 * gid_hash of the GID (the caller has both at hand). */
void presence_put(struct presence *presence, uint32_t slot, uint64_t hash,
                  const struct presence_record *record);
/* NULL if there is none. Borrowed until the next put or remove in that slot; all but gid and device
 * may be changed. */
MUST_CHECK struct presence_record *presence_find(struct presence *presence, uint32_t slot,
                                                 uint64_t hash, uint64_t gid, uint64_t device);
/* Copies up to `room` records of a GID; returns how many it has. */
size_t presence_list(const struct presence *presence, uint32_t slot, uint64_t hash, uint64_t gid,
                     struct presence_record *out, size_t room);
/* False if there is none. */
bool presence_remove(struct presence *presence, uint32_t slot, uint64_t hash, uint64_t gid,
                     uint64_t device);

/* Walks a slot: start with cursor 0; false at the end. The record just given may be removed: then
 * all are still seen, some perhaps twice. After any other put or remove in that slot some may be
 * missed. */
MUST_CHECK bool presence_walk(const struct presence *presence, uint32_t slot, uint32_t *cursor,
                              struct presence_record *out);
void presence_drop_slot(struct presence *presence, uint32_t slot);

uint64_t presence_count(const struct presence *presence);
uint32_t presence_slot_count(const struct presence *presence, uint32_t slot);
/* Bytes held. */
size_t presence_bytes(const struct presence *presence);

#endif
