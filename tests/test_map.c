/* map: against an array that says of each key where it is. */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 3000u

static uint64_t random_state = 88172645463325252;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* The object at an index holds the key of that number. */
static bool same(const void *ctx, uint32_t index, const void *key)
{
    const uint32_t *keys = ctx, *wanted = key;
    return keys[index] == *wanted;
}

static uint64_t hash_well(uint32_t key)
{
    uint64_t hash = (key + 1) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return hash ^ hash >> 32;
}

/* All homes are near the end of the table, or at a few places: long runs that go round. */
static uint64_t hash_badly(uint32_t key)
{
    return (UINT64_C(0xfffffff0) + key % 16) << 32 | hash_well(key) >> 32;
}

static void check_all(const struct map *map, uint64_t (*hash)(uint32_t), const uint32_t *keys,
                      const bool *stored)
{
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t found = map_find(map, hash(key), same, keys, &key);
        assert_int_equal(found, stored[key] ? KEYS - 1 - key : MAP_NONE);
    }
}

static void check_load(const struct map *map)
{
    if (map->count == 0)
        return;
    uint32_t cells = map->mask + 1;
    assert_true(map->count <= cells / 4 * 3);
    assert_true(cells <= 8 || map->count >= cells / 16 * 3);
}

static void against_the_model(uint64_t (*hash)(uint32_t), uint32_t keys_used, uint32_t steps)
{
    static uint32_t keys[KEYS];
    static bool stored[KEYS];
    memset(stored, 0, sizeof stored);
    for (uint32_t key = 0; key < KEYS; key++)
        keys[KEYS - 1 - key] = key; /* so an index is not its key */
    struct map map;
    map_init(&map);
    uint32_t count = 0;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t key = (uint32_t)(random_u64() % keys_used);
        bool filling = step / (steps / 8) % 2 == 0;
        if (stored[key] && random_u64() % 4 < (filling ? 1 : 3)) {
            map_remove(&map, hash(key), KEYS - 1 - key);
            stored[key] = false;
            count--;
        } else if (!stored[key] && random_u64() % 4 < (filling ? 3 : 1)) {
            map_add(&map, hash(key), KEYS - 1 - key);
            stored[key] = true;
            count++;
        }
        assert_int_equal(map.count, count);
        check_load(&map);
        if (step % (steps / 50) == 0)
            check_all(&map, hash, keys, stored);
    }
    for (uint32_t key = 0; key < KEYS; key++)
        if (stored[key]) {
            map_remove(&map, hash(key), KEYS - 1 - key);
            stored[key] = false;
        }
    check_all(&map, hash, keys, stored);
    assert_true(map.mask + 1 <= 8);
    map_free(&map);
}

static void behaves_like_an_array_of_all_keys(void **state)
{
    (void)state;
    against_the_model(hash_well, KEYS, 200000);
}

static void behaves_so_when_hashes_collide_and_runs_go_round(void **state)
{
    (void)state;
    against_the_model(hash_badly, 150, 100000);
}

static void an_empty_map_holds_no_memory_and_finds_nothing(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    assert_null(map.cells);
    uint32_t key = 1;
    assert_int_equal(map_find(&map, 1, same, &key, &key), MAP_NONE);
    map_free(&map);
}

static bool any(const void *ctx, uint32_t index, const void *key)
{
    (void)ctx;
    return *(const uint32_t *)key == UINT32_MAX || *(const uint32_t *)key == index;
}

static void one_hash_may_be_stored_with_many_indices(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    uint64_t hash = hash_well(42);
    for (uint32_t index = 0; index < 100; index++)
        map_add(&map, hash, index);
    for (uint32_t index = 0; index < 100; index++)
        assert_int_equal(map_find(&map, hash, any, NULL, &index), index);
    for (uint32_t index = 0; index < 100; index += 2)
        map_remove(&map, hash, index);
    for (uint32_t index = 0; index < 100; index++)
        assert_int_equal(map_find(&map, hash, any, NULL, &index),
                         index % 2 == 0 ? MAP_NONE : index);
    uint32_t whatever = UINT32_MAX;
    assert_int_equal(map_find(&map, hash, any, NULL, &whatever) % 2, 1);
    map_free(&map);
}

static bool never(const void *ctx, uint32_t index, const void *key)
{
    (void)index;
    (void)key;
    ++**(uint32_t *const *)ctx;
    return false;
}

static void asks_only_about_objects_of_the_same_hash(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    for (uint32_t index = 0; index < 100; index++)
        map_add(&map, hash_well(index), index);
    uint32_t asked = 0, *counter = &asked;
    for (uint32_t key = 0; key < 200; key++)
        assert_int_equal(map_find(&map, hash_well(key), never, &counter, NULL), MAP_NONE);
    assert_int_equal(asked, 100);
    map_free(&map);
}

static void one_index_may_be_stored_under_two_hashes(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    const uint64_t first = UINT64_C(1) << 32, second = UINT64_C(9) << 32; /* neighbours in 8 */
    uint32_t index = 5;
    map_add(&map, first, index);
    map_add(&map, second, index);
    map_remove(&map, second, index);
    assert_int_equal(map_find(&map, first, any, NULL, &index), index);
    assert_int_equal(map_find(&map, second, any, NULL, &index), MAP_NONE);
    map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array_of_all_keys),
        cmocka_unit_test(behaves_so_when_hashes_collide_and_runs_go_round),
        cmocka_unit_test(an_empty_map_holds_no_memory_and_finds_nothing),
        cmocka_unit_test(one_hash_may_be_stored_with_many_indices),
        cmocka_unit_test(asks_only_about_objects_of_the_same_hash),
        cmocka_unit_test(one_index_may_be_stored_under_two_hashes),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
