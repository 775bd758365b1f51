/* pool: against a model that remembers what was handed out. */
#include "base/pool.h"

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

static void refuses_beyond_its_limit_and_recovers(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 24, 65);
    for (uint32_t i = 0; i < 65; i++)
        assert_int_equal(pool_take(&pool), i);
    assert_int_equal(pool_take(&pool), POOL_NONE);
    assert_int_equal(pool.in_use, 65);
    pool_give(&pool, 7);
    assert_int_equal(pool_take(&pool), 7);
    assert_int_equal(pool_take(&pool), POOL_NONE);
    pool_free(&pool);
}

static void hands_out_the_most_recently_returned_first(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 1, 100);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(pool_take(&pool), i);
    pool_give(&pool, 3);
    pool_give(&pool, 8);
    assert_int_equal(pool_take(&pool), 8);
    assert_int_equal(pool_take(&pool), 3);
    assert_int_equal(pool_take(&pool), 10);
    pool_free(&pool);
}

static void a_limit_of_none_gives_none(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool, 8, 0);
    assert_int_equal(pool_take(&pool), POOL_NONE);
    pool_free(&pool);
}

static void behaves_like_a_set_of_objects(void **state)
{
    (void)state;
    enum { MAX = 1000, SIZE = 40 };
    struct pool pool;
    pool_init(&pool, SIZE, MAX);
    uint8_t *at[MAX] = {0};
    static uint8_t filled[MAX];
    uint32_t in_use = 0;
    const uint8_t zero[SIZE] = {0};
    for (uint32_t step = 0; step < 200000; step++) {
        bool filling = step / 5000 % 2 == 0;
        if (random_u64() % 8 < (filling ? 5 : 3)) {
            uint32_t index = pool_take(&pool);
            if (in_use == MAX) {
                assert_int_equal(index, POOL_NONE);
                continue;
            }
            assert_true(index < MAX);
            assert_null(at[index]);
            at[index] = pool_at(&pool, index);
            assert_memory_equal(at[index], zero, SIZE);
            filled[index] = (uint8_t)(random_u64() | 1);
            memset(at[index], filled[index], SIZE);
            in_use++;
        } else {
            uint32_t index = (uint32_t)(random_u64() % MAX);
            if (at[index] == NULL)
                continue;
            assert_ptr_equal(pool_at(&pool, index), at[index]); /* it never moved */
            uint8_t expected[SIZE];
            memset(expected, filled[index], SIZE);
            assert_memory_equal(at[index], expected, SIZE);
            pool_give(&pool, index);
            at[index] = NULL;
            in_use--;
        }
        assert_int_equal(pool.in_use, in_use);
    }
    pool_free(&pool);
    assert_int_equal(pool_take(&pool), 0); /* as new */
    pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_beyond_its_limit_and_recovers),
        cmocka_unit_test(hands_out_the_most_recently_returned_first),
        cmocka_unit_test(a_limit_of_none_gives_none),
        cmocka_unit_test(behaves_like_a_set_of_objects),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
