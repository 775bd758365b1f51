/* route: which shard a slot's frames go to, and with which epoch that shard owns it, as far as this
 * edge has heard.
 *
 * Shards are numbered as in the edge's own list; `shards` itself (one past the last) stands for a
 * shard that the list does not have. Three things teach: a whole SlotMap, one slot of it in a
 * NotOwner, and Owned, by which a shard says it of itself. Of the first two only what is newer than
 * the map known for that slot counts; of Owned only a higher epoch. Pure.
 */
#ifndef EDGE_ROUTE_H
#define EDGE_ROUTE_H

#include "proto/slotmap.h"

struct route_table;

/* Until a map is heard: slots in even runs, in the order of `names`. */
struct route_table *route_table_new(const char *const *names, uint32_t shards);
void route_table_free(struct route_table *routes);

uint32_t route_shard(const struct route_table *routes, uint32_t slot);
/* 0: nobody has said Owned yet. */
uint32_t route_epoch(const struct route_table *routes, uint32_t slot);
/* The newest whole map taken; 0: none yet. */
uint64_t route_map_epoch(const struct route_table *routes);
/* Its number, or `shards`. */
uint32_t route_find(const struct route_table *routes, struct span name);

enum route_news { ROUTE_OLD, ROUTE_TAKEN, ROUTE_BAD };

/* A packed SlotMap. */
MUST_CHECK enum route_news route_take_map(struct route_table *routes, struct span packed);
/* From a NotOwner: with this map the slot is `shard`'s. */
MUST_CHECK enum route_news route_take_slot(struct route_table *routes, uint32_t slot,
                                           uint64_t map_epoch, uint32_t shard);
/* `shard` says that it owns the slot with this epoch. OLD: somebody has said so with a higher one.
 */
MUST_CHECK enum route_news route_take_owned(struct route_table *routes, uint32_t slot,
                                            uint32_t epoch, uint32_t shard);

#endif
