#include "bench/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static struct hist *new_hist(void)
{
    struct hist *hist = malloc(sizeof *hist);
    assert_non_null(hist);
    hist_clear(hist);
    return hist;
}

static void an_empty_histogram_says_zero(void **state)
{
    (void)state;
    struct hist *hist = new_hist();
    assert_int_equal(hist_at(hist, 0.5), 0);
    assert_int_equal(hist->max, 0);
    free(hist);
}

static void what_it_says_is_never_too_low_and_at_most_a_128th_too_high(void **state)
{
    (void)state;
    struct hist *hist = new_hist();
    for (uint64_t ns = 1; ns < UINT64_C(1) << HIST_TOP; ns += ns / 37 + 1) {
        hist_clear(hist);
        hist_add(hist, ns);
        hist_add(hist, (UINT64_C(1) << HIST_TOP) - 1); /* else the maximum would correct it */
        uint64_t said = hist_at(hist, 0.5);
        assert_true(said >= ns);
        assert_true(said - ns <= ns / 128);
    }
    free(hist);
}

static void shares_are_counted_from_below(void **state)
{
    (void)state;
    struct hist *hist = new_hist();
    for (uint64_t ns = 1; ns <= 100; ns++)
        hist_add(hist, ns);
    assert_int_equal(hist_at(hist, 0.5), 50);
    assert_int_equal(hist_at(hist, 0.99), 99);
    assert_int_equal(hist_at(hist, 0.991), 100);
    assert_int_equal(hist_at(hist, 1), 100);
    assert_int_equal(hist_at(hist, 0), 1);
    free(hist);
}

static void nothing_is_said_beyond_the_highest_value_seen(void **state)
{
    (void)state;
    struct hist *hist = new_hist();
    hist_add(hist, 1000000001);
    assert_int_equal(hist_at(hist, 0.999), 1000000001);
    assert_int_equal(hist->max, 1000000001);
    free(hist);
}

static void what_is_too_long_counts_as_the_longest(void **state)
{
    (void)state;
    struct hist *hist = new_hist();
    hist_add(hist, UINT64_MAX);
    assert_int_equal(hist->count, 1);
    assert_int_equal(hist_at(hist, 0.5), (UINT64_C(1) << HIST_TOP) - 1);
    free(hist);
}

static void merged_ones_say_what_one_of_all_values_says(void **state)
{
    (void)state;
    struct hist *one = new_hist(), *other = new_hist(), *all = new_hist();
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 10000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        hist_add(i % 3 ? one : other, random >> 30);
        hist_add(all, random >> 30);
    }
    hist_merge(one, other);
    assert_memory_equal(one, all, sizeof *all);
    free(one);
    free(other);
    free(all);
}

static void what_is_taken_off_leaves_what_came_since(void **state)
{
    (void)state;
    struct hist *now = calloc(1, sizeof *now), *earlier = calloc(1, sizeof *earlier);
    assert_true(now != NULL && earlier != NULL);
    hist_add(now, 1000000);
    *earlier = *now;
    hist_add(now, 50);
    hist_add(now, 60);
    hist_subtract(now, earlier);
    assert_int_equal(now->count, 2);
    assert_int_equal(now->max, 60);
    assert_int_equal(hist_at(now, 0.5), 50);
    hist_subtract(now, now);
    assert_int_equal(now->count + now->max, 0);
    free(now);
    free(earlier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_says_zero),
        cmocka_unit_test(what_it_says_is_never_too_low_and_at_most_a_128th_too_high),
        cmocka_unit_test(shares_are_counted_from_below),
        cmocka_unit_test(nothing_is_said_beyond_the_highest_value_seen),
        cmocka_unit_test(what_is_too_long_counts_as_the_longest),
        cmocka_unit_test(merged_ones_say_what_one_of_all_values_says),
        cmocka_unit_test(what_is_taken_off_leaves_what_came_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
