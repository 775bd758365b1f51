/* arena: never more than its limit, never the same byte twice. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t random_state = 88172645463325252;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void what_is_taken_is_aligned_and_nobody_elses(void **state)
{
    (void)state;
    enum { PIECES = 300 };
    struct arena *arena = arena_new(64u << 20);
    for (uint32_t turn = 0; turn < 20; turn++) {
        uint8_t *at[PIECES];
        size_t size[PIECES];
        for (uint32_t i = 0; i < PIECES; i++) {
            size[i] = (size_t)(random_u64() % (1u << random_u64() % 18));
            at[i] = arena_take(arena, size[i]);
            assert_non_null(at[i]);
            assert_int_equal((uintptr_t)at[i] % 16, 0);
            memset(at[i], (int)(i % 251), size[i]);
        }
        for (uint32_t i = 0; i < PIECES; i++)
            for (size_t j = 0; j < size[i]; j++)
                assert_int_equal(at[i][j], i % 251);
        arena_reset(arena);
    }
    arena_free(arena);
}

static void refuses_what_would_pass_the_limit_and_only_that(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1000);
    assert_null(arena_take(arena, 1001));
    assert_null(arena_take(arena, SIZE_MAX));
    assert_null(arena_take(arena, SIZE_MAX - 7));
    assert_non_null(arena_take(arena, 512));
    assert_null(arena_take(arena, 512));
    assert_non_null(arena_take(arena, 480));
    assert_null(arena_take(arena, 16));
    arena_reset(arena);
    assert_non_null(arena_take(arena, 512));
    arena_free(arena);
}

static void a_limit_holds_across_blocks(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1u << 20);
    for (uint32_t turn = 0; turn < 3; turn++) {
        size_t taken = 0;
        while (arena_take(arena, 1600) != NULL)
            taken += 1600;
        assert_in_range(taken, (1u << 20) - 1600, 1u << 20);
        arena_reset(arena);
    }
    arena_free(arena);
}

static void even_nothing_and_endless_nothings_count(void **state)
{
    (void)state;
    struct arena *arena = arena_new(160);
    const void *first = arena_take(arena, 0);
    assert_non_null(first);
    assert_ptr_not_equal(arena_take(arena, 0), first);
    for (uint32_t i = 2; i < 10; i++)
        assert_non_null(arena_take(arena, 0));
    assert_null(arena_take(arena, 0));
    arena_free(arena);
}

static void a_reset_keeps_the_block_for_the_next_turn(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1u << 20);
    void *large = arena_take(arena, 500000);
    assert_non_null(large);
    const void *small = arena_take(arena, 100);
    assert_non_null(small);
    arena_reset(arena);
    assert_ptr_equal(arena_take(arena, 100), small);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_is_aligned_and_nobody_elses),
        cmocka_unit_test(refuses_what_would_pass_the_limit_and_only_that),
        cmocka_unit_test(a_limit_holds_across_blocks),
        cmocka_unit_test(even_nothing_and_endless_nothings_count),
        cmocka_unit_test(a_reset_keeps_the_block_for_the_next_turn),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
