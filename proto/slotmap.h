/* slotmap: which shard owns which slot, as routers decide it and edges are told.
 *
 * Shards are numbered as in the list that the map was made from; names ("r1/0") are what counts
 * between processes. Pure.
 */
#ifndef PROTO_SLOTMAP_H
#define PROTO_SLOTMAP_H

#include "proto/gid.h"

#define SLOTMAP_SHARDS_MAX 1024u
#define SLOTMAP_NAME_MAX 32u
#define SLOTMAP_NONE UINT32_MAX

struct slotmap;

/* Slots in equal runs, in the order of `names`; epoch 1. Asserts 1 to SLOTMAP_SHARDS_MAX valid
 * names, all different. */
struct slotmap *slotmap_new_even(const char *const *names, size_t count);
/* NULL if the bytes are not a whole map (each slot owned once, names valid and different). */
MUST_CHECK struct slotmap *slotmap_unpack(struct span packed);
/* malloc'ed; the packed SlotMap message. */
struct span slotmap_pack(const struct slotmap *map);
void slotmap_free(struct slotmap *map);

uint64_t slotmap_epoch(const struct slotmap *map);
size_t slotmap_shards(const struct slotmap *map);
const char *slotmap_name(const struct slotmap *map, size_t shard);
/* Its number, or SLOTMAP_NONE. */
uint32_t slotmap_find(const struct slotmap *map, struct span name);
uint32_t slotmap_owner(const struct slotmap *map, uint32_t slot);

/* "name/number": letters of [A-Za-z0-9._-], a slash, a decimal number without leading zeros; at
 * most SLOTMAP_NAME_MAX bytes. */
MUST_CHECK bool slotmap_name_valid(struct span name);

/* One entry of the setting cluster.shards, "r1/0=tcp://10.0.0.1:7801" (or ipc://PATH). The spans
 * borrow from `entry`. */
MUST_CHECK bool slotmap_parse_entry(struct span entry, struct span *name, struct span *address);

#endif
