#include "bench/agenda.h"

#include "bench/dice.h"

#include <setjmp.h>
#include <stdarg.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void what_is_due_comes_in_the_order_of_its_times(void **state)
{
    (void)state;
    struct agenda agenda = {0};
    struct dice dice = {88172645463325252u};
    for (uint32_t i = 0; i < 1000; i++)
        agenda_add(&agenda, 1 + dice_below(&dice, 500), i);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t what;
        uint64_t next = agenda_next_ns(&agenda);
        assert_true(next >= last);
        assert_true(agenda_take(&agenda, next, &what));
        last = next;
    }
    agenda_free(&agenda);
}

static void nothing_is_taken_before_its_time(void **state)
{
    (void)state;
    struct agenda agenda = {0};
    uint32_t what = 0;
    assert_true(agenda_next_ns(&agenda) == UINT64_MAX);
    assert_false(agenda_take(&agenda, UINT64_MAX, &what));
    agenda_add(&agenda, 10, 7);
    assert_false(agenda_take(&agenda, 9, &what));
    assert_true(agenda_take(&agenda, 10, &what));
    assert_int_equal(what, 7);
    assert_false(agenda_take(&agenda, 11, &what));
    agenda_free(&agenda);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_due_comes_in_the_order_of_its_times),
        cmocka_unit_test(nothing_is_taken_before_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
