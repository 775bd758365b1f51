/* arena: memory for one turn. Taken bit by bit, given back all at once, never more than a limit. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/span.h"

struct arena;

struct arena *arena_new(size_t bytes_max);
void arena_free(struct arena *arena);

/* 16-byte aligned, not zeroed; NULL when the limit would be passed. */
MUST_CHECK void *arena_take(struct arena *arena, size_t size);
/* All that was taken is gone. Keeps one block of at most 64 KiB for the next turn. */
void arena_reset(struct arena *arena);

#endif
