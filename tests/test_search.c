#include "bench/search.h"

#include <setjmp.h>
#include <stdarg.h>
// clang-format off
#include <cmocka.h>
// clang-format on

/* Looks for the limit of servers that keep every rate up to `limit`. */
static struct search_range look_for(double limit, double first, uint32_t *steps)
{
    struct search_range range = {0, 0};
    *steps = 0;
    for (double rate = first; rate > 0 && *steps < 1000; ++*steps)
        rate = search_next(&range, rate, rate <= limit);
    return range;
}

static void finds_any_limit_from_any_beginning_within_five_percent(void **state)
{
    (void)state;
    const double limits[] = {3, 999, 1000, 1001, 12345, 7e6};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        for (double first = 1; first < 2e7; first *= 3.7) {
            uint32_t steps;
            struct search_range range = look_for(limits[i], first, &steps);
            assert_true(range.kept <= limits[i] && range.failed > limits[i]);
            assert_true(range.failed / range.kept <= 1.05);
            /* Up or down by doubling, then four or five halvings. */
            assert_true(steps <= 24 + 1 + 5);
        }
    }
}

static void gives_up_where_nothing_is_kept(void **state)
{
    (void)state;
    uint32_t steps;
    struct search_range range = look_for(0, 1000, &steps);
    assert_true(range.kept == 0);
    assert_int_equal(steps, 10); /* 1000, 500, ... 1.95 */
}

static void does_not_go_up_without_end(void **state)
{
    (void)state;
    uint32_t steps;
    struct search_range range = look_for(1e30, 1000, &steps);
    assert_true(range.kept <= 1e8);
    assert_true(steps < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_any_limit_from_any_beginning_within_five_percent),
        cmocka_unit_test(gives_up_where_nothing_is_kept),
        cmocka_unit_test(does_not_go_up_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
