/* pool: objects of one size under a limit, at addresses that do not move, named by an index.
 *
 * Memory grows in chunks and is kept until the pool is freed. The lowest free chunk is not sought:
 * the most recently returned object is handed out first (it is warm). */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/span.h"

#define POOL_NONE UINT32_MAX
#define POOL_CHUNK_SHIFT 6 /* 64 objects a chunk */

struct pool {
    uint8_t **chunks;
    uint32_t *free_list; /* a stack of indices */
    uint32_t free_count, free_room;
    uint32_t used_high; /* indices below this were handed out at least once */
    uint32_t in_use;
    uint32_t objects_max;
    uint32_t chunk_count;
    size_t object_size;
};

void pool_init(struct pool *pool, size_t object_size, uint32_t objects_max);
void pool_free(struct pool *pool);

/* An index, its object zeroed; POOL_NONE when objects_max are in use. */
MUST_CHECK uint32_t pool_take(struct pool *pool);
void pool_give(struct pool *pool, uint32_t index);

static inline void *pool_at(const struct pool *pool, uint32_t index)
{
    assert(index < pool->used_high);
    return pool->chunks[index >> POOL_CHUNK_SHIFT] +
           (index & ((1u << POOL_CHUNK_SHIFT) - 1)) * pool->object_size;
}

#endif
