#include "base/arena.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#define ALIGNMENT 16u
#define BLOCK_BYTES (64u * 1024u)
/* What is larger gets a block of its own, and the open block stays in use. */
#define SMALL_BYTES_MAX (BLOCK_BYTES / 4)

struct block {
    struct block *next;
    size_t size; /* of all of it */
};

static_assert(sizeof(struct block) % ALIGNMENT == 0, "what follows a block's head is aligned");

struct arena {
    size_t bytes_max, taken;
    struct block *open; /* bits are taken from here; older blocks follow it */
    size_t used;        /* of the open block, with its head */
};

struct arena *arena_new(size_t bytes_max)
{
    assert(bytes_max <= SIZE_MAX / 2); /* so that rounding up cannot overflow */
    struct arena *arena = calloc(1, sizeof *arena);
    assert(arena != NULL);
    arena->bytes_max = bytes_max;
    return arena;
}

static void free_block(struct block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block, block->size);
    free(block);
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    while (arena->open != NULL) {
        struct block *next = arena->open->next;
        free_block(arena->open);
        arena->open = next;
    }
    free(arena);
}

static struct block *new_block(size_t size)
{
    struct block *block = malloc(size);
    assert(block != NULL);
    block->next = NULL;
    block->size = size;
    ASAN_POISON_MEMORY_REGION(block + 1, size - sizeof *block);
    return block;
}

/* Behind the open block, so that the rest of that is not lost. */
static void *take_large(struct arena *arena, size_t size)
{
    struct block *block = new_block(sizeof *block + size);
    if (arena->open == NULL) {
        arena->open = block;
        arena->used = block->size;
    } else {
        block->next = arena->open->next;
        arena->open->next = block;
    }
    return block + 1;
}

void *arena_take(struct arena *arena, size_t size)
{
    size_t left = arena->bytes_max - arena->taken;
    if (size > left)
        return NULL;
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded > left)
        return NULL;
    arena->taken += rounded;

    void *at;
    if (rounded > SMALL_BYTES_MAX) {
        at = take_large(arena, rounded);
    } else {
        if (arena->open == NULL || arena->open->size - arena->used < rounded) {
            struct block *block = new_block(BLOCK_BYTES);
            block->next = arena->open;
            arena->open = block;
            arena->used = sizeof *block;
        }
        at = (uint8_t *)arena->open + arena->used;
        arena->used += rounded;
    }
    ASAN_UNPOISON_MEMORY_REGION(at, size);
    return at;
}

void arena_reset(struct arena *arena)
{
    struct block *kept = NULL;
    size_t used =
        arena->used; /* only that is poisoned again: most often a small part of the block */
    while (arena->open != NULL) {
        struct block *block = arena->open;
        arena->open = block->next;
        if (kept == NULL && block->size == BLOCK_BYTES)
            kept = block;
        else
            free_block(block);
        if (kept == NULL)
            used = BLOCK_BYTES;
    }
    arena->taken = 0;
    arena->used = sizeof *kept;
    arena->open = kept;
    if (kept != NULL) {
        kept->next = NULL;
        ASAN_POISON_MEMORY_REGION(kept + 1, used - sizeof *kept);
    }
}
