#include "client/seen.h"

#include <stdlib.h>

static uint64_t mid_hash(const uint8_t *mid)
{
    uint64_t hash; /* a mid is a hash already */
    memcpy(&hash, mid, sizeof hash);
    return hash;
}

static bool same_mid(const void *ctx, uint32_t index, const void *key)
{
    const struct seen *seen = ctx;
    return memcmp(seen->mids[index], key, GID_MID_SIZE) == 0;
}

void seen_init(struct seen *seen)
{
    *seen = (struct seen){0};
    map_init(&seen->map);
}

void seen_free(struct seen *seen)
{
    map_free(&seen->map);
    free(seen->mids);
    seen_init(seen);
}

bool seen_before(const struct seen *seen, const uint8_t mid[GID_MID_SIZE])
{
    return map_find(&seen->map, mid_hash(mid), same_mid, seen, mid) != MAP_NONE;
}

void seen_add(struct seen *seen, const uint8_t mid[GID_MID_SIZE])
{
    if (seen->next == seen->room && seen->room < SEEN_MAX) {
        uint32_t room = seen->room ? seen->room * 4 : 16;
        void *grown = realloc(seen->mids, (size_t)room * GID_MID_SIZE);
        if (!grown)
            return; /* forgetting is what the library would do after a restart, too */
        seen->mids = grown;
        seen->room = room;
    }
    if (seen->next == seen->room) {
        seen->next = 0;
        seen->full = true;
    }
    if (seen->full)
        map_remove(&seen->map, mid_hash(seen->mids[seen->next]), seen->next);
    memcpy(seen->mids[seen->next], mid, GID_MID_SIZE);
    map_add(&seen->map, mid_hash(mid), seen->next++);
}
