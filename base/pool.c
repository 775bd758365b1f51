#include "base/pool.h"

#include <stdlib.h>

#define CHUNK_OBJECTS (1u << POOL_CHUNK_SHIFT)
#define CACHE_LINE 64

static_assert(CHUNK_OBJECTS % CACHE_LINE == 0, "a chunk of any object is whole cache lines");

void pool_init(struct pool *pool, size_t object_size, uint32_t objects_max)
{
    assert(object_size > 0 && object_size <= SIZE_MAX / CHUNK_OBJECTS);
    assert(objects_max <= UINT32_C(1) << 31);
    *pool = (struct pool){.object_size = object_size, .objects_max = objects_max};
}

void pool_free(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->chunk_count; i++)
        free(pool->chunks[i]);
    free(pool->chunks);
    free(pool->free_list);
    *pool = (struct pool){.object_size = pool->object_size, .objects_max = pool->objects_max};
}

static void add_chunk(struct pool *pool)
{
    /* Room for the pointers doubles: it is a power of two whenever it is full. */
    uint32_t count = pool->chunk_count;
    if ((count & (count - 1)) == 0) {
        size_t room = count == 0 ? 1 : (size_t)count * 2;
        pool->chunks = realloc(pool->chunks, room * sizeof *pool->chunks);
        assert(pool->chunks != NULL);
    }
    uint8_t *chunk = aligned_alloc(CACHE_LINE, pool->object_size * CHUNK_OBJECTS);
    assert(chunk != NULL);
    pool->chunks[pool->chunk_count++] = chunk;
}

uint32_t pool_take(struct pool *pool)
{
    if (pool->in_use == pool->objects_max)
        return POOL_NONE;
    uint32_t index;
    if (pool->free_count > 0) {
        index = pool->free_list[--pool->free_count];
    } else {
        index = pool->used_high++;
        if (index >> POOL_CHUNK_SHIFT == pool->chunk_count)
            add_chunk(pool);
    }
    pool->in_use++;
    memset(pool_at(pool, index), 0, pool->object_size);
    return index;
}

void pool_give(struct pool *pool, uint32_t index)
{
    assert(index < pool->used_high);
    assert(pool->in_use > 0);
    if (pool->free_count == pool->free_room) {
        pool->free_room = pool->free_room == 0 ? CHUNK_OBJECTS : pool->free_room * 2;
        pool->free_list = realloc(pool->free_list, pool->free_room * sizeof *pool->free_list);
        assert(pool->free_list != NULL);
    }
    pool->free_list[pool->free_count++] = index;
    pool->in_use--;
}
