#include "bench/pace.h"

#include <setjmp.h>
#include <stdarg.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define NS_PER_S UINT64_C(1000000000)

static struct dice dice = {88172645463325252u};

static uint64_t due_within(struct pace *pace, uint64_t until_ns)
{
    uint64_t count = 0;
    for (; pace_next_ns(pace) < until_ns; count++)
        pace_take(pace, &dice);
    return count;
}

static void a_rate_is_kept_on_average_whether_even_or_not(void **state)
{
    (void)state;
    for (int even = 0; even < 2; even++) {
        struct pace pace = {.even = even == 1};
        pace_set(&pace, 10000, NS_PER_S, &dice);
        uint64_t count = due_within(&pace, 101 * NS_PER_S);
        assert_in_range(count, even ? 999999 : 995000, even ? 1000001 : 1005000);
    }
}

static void being_looked_at_late_moves_nothing(void **state)
{
    (void)state;
    struct pace pace = {.even = true};
    pace_set(&pace, 1000, 0, &dice);
    uint64_t first = pace_next_ns(&pace);
    /* A second late: a thousand are due, each at its own time. */
    for (uint32_t i = 0; i < 1000; i++) {
        assert_in_range(pace_next_ns(&pace), first + i * 1000000u - 1, first + i * 1000000u + 1);
        pace_take(&pace, &dice);
    }
}

static void the_same_rate_again_changes_nothing_and_another_one_drops_what_is_due(void **state)
{
    (void)state;
    struct pace pace = {.even = true};
    pace_set(&pace, 1000, 0, &dice);
    uint64_t due = pace_next_ns(&pace);
    pace_set(&pace, 1000, NS_PER_S, &dice);
    assert_int_equal(pace_next_ns(&pace), due);
    pace_set(&pace, 2000, NS_PER_S, &dice);
    assert_true(pace_next_ns(&pace) >= NS_PER_S);
}

static void without_a_rate_nothing_falls_due(void **state)
{
    (void)state;
    struct pace pace = {0};
    assert_true(pace_next_ns(&pace) == UINT64_MAX);
    pace_set(&pace, 1000, 0, &dice);
    pace_set(&pace, 0, 0, &dice);
    assert_true(pace_next_ns(&pace) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_kept_on_average_whether_even_or_not),
        cmocka_unit_test(being_looked_at_late_moves_nothing),
        cmocka_unit_test(the_same_rate_again_changes_nothing_and_another_one_drops_what_is_due),
        cmocka_unit_test(without_a_rate_nothing_falls_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
