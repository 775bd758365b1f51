/* lane: the delivering half of the order rule. */
#include "router/lane.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

static void open_at(struct lane *lane, uint64_t dseq)
{
    lane_open(lane, 77, 5, 3);
    lane_announce(lane, dseq);
}

/* Gives all that is to be given; returns the numbers as one: 567 for 5, 6, 7. */
static uint64_t give_all(struct lane *lane)
{
    uint64_t seen = 0, dseq;
    uint32_t item;
    while (lane_give(lane, &item, &dseq)) {
        seen = seen * 10 + dseq;
        (void)lane_gave(lane);
    }
    return seen;
}

static void push(struct lane *lane, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        lane_push(lane, 100 + i, 10);
}

static void numbers_go_on_from_what_was_announced(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 4);
    assert_int_equal(lane_next(&lane), 5);
    push(&lane, 3);
    assert_int_equal(give_all(&lane), 567);
    assert_int_equal(lane.bytes, 30);
    lane_close(&lane);
}

static void acknowledged_ones_leave_in_order(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 0);
    push(&lane, 3);
    assert_int_equal(give_all(&lane), 123);
    assert_int_equal(lane_received(&lane, 2), LANE_MOVES);
    assert_int_equal(lane_pop(&lane), 100);
    assert_int_equal(lane_pop(&lane), 101);
    assert_int_equal(lane.first, 3);
    assert_int_equal(lane_next(&lane), 4);
    assert_int_equal(lane.bytes, 10);
    assert_int_equal(give_all(&lane), 0);
    lane_close(&lane);
}

static void an_old_number_is_ignored_and_one_ahead_is_told_apart(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 4);
    push(&lane, 2);
    assert_int_equal(lane_received(&lane, 4), LANE_OLD);
    assert_int_equal(lane_received(&lane, 7), LANE_AHEAD);
    assert_int_equal(lane_gap(&lane, 4), LANE_OLD);
    assert_int_equal(lane_gap(&lane, 7), LANE_OLD);
    assert_int_equal(lane_gap(&lane, 8), LANE_AHEAD);
    lane_close(&lane);
}

static void a_gap_goes_back_once_for_each_place(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 0);
    push(&lane, 4);
    assert_int_equal(give_all(&lane), 1234);
    assert_int_equal(lane_gap(&lane, 2), LANE_MOVES);
    assert_int_equal(give_all(&lane), 234);
    assert_int_equal(lane_gap(&lane, 2), LANE_DAMPED);
    assert_int_equal(give_all(&lane), 0);
    assert_int_equal(lane_gap(&lane, 3), LANE_MOVES);
    assert_int_equal(give_all(&lane), 34);
    lane_retry(&lane);
    assert_int_equal(give_all(&lane), 1234);
    assert_int_equal(lane_gap(&lane, 3), LANE_MOVES);
    lane_close(&lane);
}

static void says_whether_a_number_is_given_again(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 0);
    push(&lane, 1);
    assert_false(lane_gave(&lane));
    lane_retry(&lane);
    assert_true(lane_gave(&lane));
    lane_close(&lane);
}

static void what_expired_keeps_its_number_and_is_empty(void **state)
{
    (void)state;
    struct lane lane;
    uint32_t item;
    uint64_t dseq;
    open_at(&lane, 0);
    push(&lane, 3);
    assert_true(lane_clear(&lane, 100));
    assert_false(lane_clear(&lane, 100));
    assert_int_equal(lane_next(&lane), 4);
    assert_int_equal(lane.bytes, 20);
    assert_int_equal(lane_filled(&lane), 2);
    assert_true(lane_give(&lane, &item, &dseq));
    assert_int_equal(item, LANE_EMPTY);
    assert_int_equal(dseq, 1);
    lane_close(&lane);
}

static void before_it_is_announced_nothing_is_numbered_or_given(void **state)
{
    (void)state;
    struct lane lane;
    lane_open(&lane, 77, 5, 3);
    push(&lane, 3);
    assert_int_equal(give_all(&lane), 0);
    assert_int_equal(lane_received(&lane, 1), LANE_AHEAD);
    assert_int_equal(lane_gap(&lane, 1), LANE_AHEAD);
    assert_true(lane_clear(&lane, 101));
    assert_int_equal(lane.count, 2);
    lane_announce(&lane, 6);
    assert_int_equal(lane_at(&lane, 0), 100);
    assert_int_equal(lane_at(&lane, 1), 102);
    assert_int_equal(give_all(&lane), 78);
    lane_close(&lane);
}

static void announced_again_it_goes_back_to_what_the_edge_let_through(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 0);
    push(&lane, 4);
    assert_int_equal(give_all(&lane), 1234);
    lane_announce(&lane, 2);
    assert_int_equal(lane.first, 1);
    assert_int_equal(give_all(&lane), 34);
    lane_announce(&lane, 4);
    assert_int_equal(give_all(&lane), 0);
    assert_int_equal(lane_gap(&lane, 2), LANE_MOVES);
    lane_announce(&lane, 1);
    assert_int_equal(give_all(&lane), 234);
    assert_int_equal(lane_gap(&lane, 2), LANE_MOVES); /* news again */
    lane_close(&lane);
}

static void announced_with_a_number_it_never_gave_it_numbers_anew(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 0);
    push(&lane, 3);
    assert_int_equal(give_all(&lane), 123);
    assert_true(lane_clear(&lane, 101));
    lane_announce(&lane, 5);
    assert_int_equal(give_all(&lane), 67);
    lane_close(&lane);
}

static void the_ring_keeps_the_order_while_it_grows_and_turns(void **state)
{
    (void)state;
    struct lane lane;
    open_at(&lane, 0);
    uint32_t in = 0, out = 0;
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < round % 13; i++)
            lane_push(&lane, in++, 1);
        for (uint32_t i = 0; i < round % 11 && lane.count > 0; i++)
            assert_int_equal(lane_pop(&lane), out++);
        assert_int_equal(lane.count, in - out);
        assert_int_equal(lane.bytes, in - out);
        assert_int_equal(lane_next(&lane), in + 1);
    }
    assert_true(lane.room > 4);
    lane_close(&lane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_go_on_from_what_was_announced),
        cmocka_unit_test(acknowledged_ones_leave_in_order),
        cmocka_unit_test(an_old_number_is_ignored_and_one_ahead_is_told_apart),
        cmocka_unit_test(a_gap_goes_back_once_for_each_place),
        cmocka_unit_test(says_whether_a_number_is_given_again),
        cmocka_unit_test(what_expired_keeps_its_number_and_is_empty),
        cmocka_unit_test(before_it_is_announced_nothing_is_numbered_or_given),
        cmocka_unit_test(announced_again_it_goes_back_to_what_the_edge_let_through),
        cmocka_unit_test(announced_with_a_number_it_never_gave_it_numbers_anew),
        cmocka_unit_test(the_ring_keeps_the_order_while_it_grows_and_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
