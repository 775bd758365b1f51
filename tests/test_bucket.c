/* bucket: as much as its rate and its burst, never more, at any speed of asking. */
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct bucket_rate rate = {20, 60};

static uint32_t take_all(struct bucket *bucket, struct bucket_rate of, uint32_t now_ms)
{
    uint32_t taken = 0;
    while (taken < 100000 && bucket_take(bucket, of, now_ms) == 0)
        taken++;
    return taken;
}

static void gives_its_burst_and_not_one_more(void **state)
{
    (void)state;
    struct bucket bucket = bucket_full(rate, 5);
    assert_int_equal(take_all(&bucket, rate, 5), 60);
    assert_int_equal(bucket_take(&bucket, rate, 5), 50);
}

static void says_how_long_until_the_next(void **state)
{
    (void)state;
    for (uint32_t per_s = 1; per_s < 3000; per_s++) {
        struct bucket_rate of = {per_s, 1};
        struct bucket bucket = bucket_full(of, 0);
        assert_int_equal(bucket_take(&bucket, of, 0), 0);
        uint32_t wait_ms = bucket_wait(&bucket, of, 0);
        assert_in_range(wait_ms, 1, 1000);
        if (wait_ms > 1)
            assert_int_not_equal(bucket_wait(&bucket, of, wait_ms - 1), 0);
        assert_int_equal(bucket_take(&bucket, of, wait_ms), 0);
    }
}

static void never_gives_more_than_rate_and_burst(void **state)
{
    (void)state;
    uint32_t seed = 1;
    struct bucket bucket = bucket_full(rate, UINT32_MAX - 5000);
    uint64_t taken = 0, passed_ms = 0;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        passed_ms += seed >> 27;
        taken += bucket_take(&bucket, rate, UINT32_MAX - 5000 + (uint32_t)passed_ms) == 0;
        assert_true(taken * 1000 <= 60000 + passed_ms * 20);
    }
    assert_true(taken * 1000 + 2000 >= passed_ms * 20);
}

static void without_a_rate_everything_goes(void **state)
{
    (void)state;
    struct bucket_rate none = {0, 0};
    struct bucket bucket = {0};
    assert_int_equal(take_all(&bucket, none, 7), 100000);
    assert_true(bucket_is_full(&bucket, none, 7));
}

static void is_full_again_after_the_time_of_its_burst(void **state)
{
    (void)state;
    struct bucket bucket = bucket_full(rate, 0);
    assert_int_equal(take_all(&bucket, rate, 0), 60);
    assert_false(bucket_is_full(&bucket, rate, 2999));
    assert_true(bucket_is_full(&bucket, rate, 3000));
    assert_int_equal(take_all(&bucket, rate, 1000000), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_its_burst_and_not_one_more),
        cmocka_unit_test(says_how_long_until_the_next),
        cmocka_unit_test(never_gives_more_than_rate_and_burst),
        cmocka_unit_test(without_a_rate_everything_goes),
        cmocka_unit_test(is_full_again_after_the_time_of_its_burst),
    };
    return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
