/* map: from the hash of a key to the index of an object that holds the key (open addressing,
 * linear probing, backward-shift deletion; 8 bytes a cell, load between 3/8 and 3/4, down to 3/16
 * while objects go).
 *
 * The map never sees a key: look-ups are given the hash (all 64 bits well mixed) and a predicate
 * that compares. The same hash may be stored several times with different indices.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/span.h"

#define MAP_NONE UINT32_MAX

struct map {
    struct map_cell {
        uint32_t hash;  /* upper half of the hash */
        uint32_t index; /* MAP_NONE: free */
    } * cells;
    uint32_t mask; /* cells - 1, cells a power of two */
    uint32_t count;
};

/* True if the object at `index` has the key that is looked for. */
typedef bool map_same_fn(const void *ctx, uint32_t index, const void *key);

void map_init(struct map *map);
void map_free(struct map *map);

/* The index of the first stored object with this hash for which `same` holds, or MAP_NONE. */
MUST_CHECK uint32_t map_find(const struct map *map, uint64_t hash, map_same_fn *same,
                             const void *ctx, const void *key);
void map_add(struct map *map, uint64_t hash, uint32_t index);
/* `index` must be stored under `hash`. Shrinks when few are left. */
void map_remove(struct map *map, uint64_t hash, uint32_t index);

#endif
