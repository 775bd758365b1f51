#include "base/map.h"

#include <stdlib.h>

#define CELLS_MIN 8u
#define CELLS_MAX (UINT32_C(1) << 31)

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_free(struct map *map)
{
    free(map->cells);
    *map = (struct map){0};
}

static void put(struct map *map, struct map_cell cell)
{
    uint32_t at = cell.hash & map->mask;
    while (map->cells[at].index != MAP_NONE)
        at = (at + 1) & map->mask;
    map->cells[at] = cell;
}

static void resize(struct map *map, uint32_t cells)
{
    assert(cells >= CELLS_MIN && cells <= CELLS_MAX);
    struct map old = *map;
    map->cells = malloc(cells * sizeof *map->cells);
    assert(map->cells != NULL);
    memset(map->cells, 0xff, cells * sizeof *map->cells); /* MAP_NONE everywhere */
    map->mask = cells - 1;
    for (uint32_t i = 0; old.cells != NULL && i <= old.mask; i++)
        if (old.cells[i].index != MAP_NONE)
            put(map, old.cells[i]);
    free(old.cells);
}

uint32_t map_find(const struct map *map, uint64_t hash, map_same_fn *same, const void *ctx,
                  const void *key)
{
    if (map->count == 0)
        return MAP_NONE;
    uint32_t upper = (uint32_t)(hash >> 32);
    for (uint32_t at = upper & map->mask;; at = (at + 1) & map->mask) {
        struct map_cell cell = map->cells[at];
        if (cell.index == MAP_NONE)
            return MAP_NONE;
        if (cell.hash == upper && same(ctx, cell.index, key))
            return cell.index;
    }
}

void map_add(struct map *map, uint64_t hash, uint32_t index)
{
    assert(index != MAP_NONE);
    if (map->cells == NULL)
        resize(map, CELLS_MIN);
    else if (map->count >= (map->mask + 1) / 4 * 3)
        resize(map, (map->mask + 1) * 2);
    put(map, (struct map_cell){(uint32_t)(hash >> 32), index});
    map->count++;
}

/* Closes the gap at `gap` with what a look-up would no longer reach across it. */
static void shift_back(struct map *map, uint32_t gap)
{
    uint32_t at = gap;
    for (;;) {
        at = (at + 1) & map->mask;
        struct map_cell cell = map->cells[at];
        if (cell.index == MAP_NONE)
            break;
        uint32_t from_home = (at - cell.hash) & map->mask;
        uint32_t from_gap = (at - gap) & map->mask;
        if (from_home >= from_gap) {
            map->cells[gap] = cell;
            gap = at;
        }
    }
    map->cells[gap].index = MAP_NONE;
}

void map_remove(struct map *map, uint64_t hash, uint32_t index)
{
    assert(map->count > 0 && index != MAP_NONE);
    uint32_t upper = (uint32_t)(hash >> 32);
    uint32_t at = upper & map->mask;
    while (map->cells[at].index != index || map->cells[at].hash != upper) {
        assert(map->cells[at].index != MAP_NONE);
        at = (at + 1) & map->mask;
    }
    shift_back(map, at);
    map->count--;

    /* At half of the least load that growing leaves, so that neither follows the other at once. */
    uint32_t cells = map->mask + 1;
    if (cells > CELLS_MIN && map->count < cells / 16 * 3)
        resize(map, cells / 2);
}
