/* overload: the level follows what is felt, and classes come and go with room between. */
#include "base/overload.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct overload fresh(void)
{
    return (struct overload){.thresholds = {70, 85, 95}};
}

static bool feed(struct overload *overload, uint64_t percent)
{
    struct overload_signal signals[] = {{percent, 100}, {0, 100}, {1000, 0}};
    return overload_feed(overload, signals, 3);
}

static void the_worst_signal_counts(void **state)
{
    (void)state;
    struct overload overload = fresh();
    struct overload_signal signals[] = {{10, 100}, {900, 1000}, {1, 7}};
    for (int i = 0; i < 30; i++)
        (void)overload_feed(&overload, signals, 3);
    assert_in_range(overload_level(&overload), 89, 90);
}

static void what_is_past_its_full_value_counts_as_full(void **state)
{
    (void)state;
    struct overload_signal past = {UINT64_MAX, 7}, none = {5, 0};
    assert_int_equal(overload_of(past), 100);
    assert_int_equal(overload_of(none), 0);
}

static void one_moment_is_no_overload(void **state)
{
    (void)state;
    struct overload overload = fresh();
    assert_false(feed(&overload, 100));
    for (int i = 0; i < 50; i++)
        assert_false(feed(&overload, 0));
    assert_int_equal(overload_level(&overload), 0);
}

static void half_a_second_of_it_is(void **state)
{
    (void)state;
    struct overload overload = fresh();
    for (int i = 0; i < 5; i++)
        (void)feed(&overload, 100);
    assert_int_equal(overload.class, 3);
}

static void classes_come_in_their_order(void **state)
{
    (void)state;
    struct overload overload = fresh();
    for (uint32_t percent = 0; percent <= 100; percent++) {
        for (int i = 0; i < 40; i++)
            (void)feed(&overload, percent);
        int wanted = (percent >= 70) + (percent >= 85) + (percent >= 95);
        assert_int_equal(overload.class, wanted);
    }
}

static void a_class_ends_well_below_where_it_began(void **state)
{
    (void)state;
    struct overload overload = fresh();
    int changes = 0;
    for (int i = 0; i < 40; i++)
        changes += feed(&overload, 71);
    assert_int_equal(changes, 1);
    /* Around the threshold nothing changes. */
    for (int i = 0; i < 400; i++)
        changes += feed(&overload, 57 + (uint64_t)i % 20);
    assert_int_equal(changes, 1);
    for (int i = 0; i < 40; i++)
        changes += feed(&overload, 50);
    assert_int_equal(changes, 2);
    assert_int_equal(overload.class, 0);
}

static void without_thresholds_nothing_is_refused(void **state)
{
    (void)state;
    struct overload overload = {0};
    for (int i = 0; i < 40; i++)
        assert_false(feed(&overload, 100));
    assert_int_equal(overload_level(&overload), 100);
}

static void turns_count_by_how_long_one_waits_for_them(void **state)
{
    (void)state;
    struct overload overload = fresh();
    for (int i = 0; i < 10; i++)
        overload_turn(&overload, 10000);
    assert_int_equal(overload_turns_us(&overload, 100000), 10000);
    overload_turn(&overload, 10000); /* busy for a tenth of the time only */
    assert_int_equal(overload_turns_us(&overload, 100000), 1000);
    overload_turn(&overload, 400000); /* it began before the interval */
    assert_int_equal(overload_turns_us(&overload, 100000), 400000);
    assert_int_equal(overload_turns_us(&overload, 100000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worst_signal_counts),
        cmocka_unit_test(what_is_past_its_full_value_counts_as_full),
        cmocka_unit_test(one_moment_is_no_overload),
        cmocka_unit_test(half_a_second_of_it_is),
        cmocka_unit_test(classes_come_in_their_order),
        cmocka_unit_test(a_class_ends_well_below_where_it_began),
        cmocka_unit_test(without_thresholds_nothing_is_refused),
        cmocka_unit_test(turns_count_by_how_long_one_waits_for_them),
    };
    return cmocka_run_group_tests_name("overload", tests, NULL, NULL);
}
