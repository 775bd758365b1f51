/* conv: the sending half of the order rule. */
#include "router/conv.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

static const struct conv_key key = {10001, 7, 10002, 1};

static struct conv *fresh(struct conv_table *table)
{
    struct conv *conv = conv_make(table, &key, 0);
    assert_non_null(conv);
    return conv;
}

static enum conv_verdict judge(struct conv *conv, uint64_t session, uint64_t seq, uint64_t settled,
                               uint64_t *expected)
{
    const struct conv_place place = {session, seq, settled};
    return conv_judge(conv, &place, expected);
}

static void take(struct conv *conv, uint64_t session, uint64_t seq, uint64_t settled)
{
    uint64_t expected;
    assert_int_equal(judge(conv, session, seq, settled, &expected), CONV_TAKE);
    conv_taken(conv, &(struct conv_place){session, seq, settled});
}

static void refuse(struct conv *conv, uint64_t session, uint64_t seq, uint64_t settled)
{
    uint64_t expected;
    enum conv_verdict verdict = judge(conv, session, seq, settled, &expected);
    assert_true(verdict == CONV_TAKE || verdict == CONV_REFUSE_ONLY);
    conv_refused(conv, &(struct conv_place){session, seq, settled});
}

static void gap(struct conv *conv, uint64_t session, uint64_t seq, uint64_t settled, uint64_t want)
{
    uint64_t expected = 0;
    assert_int_equal(judge(conv, session, seq, settled, &expected), CONV_GAP);
    assert_int_equal(expected, want);
}

static void an_unknown_one_takes_only_what_is_settled(void **state)
{
    (void)state;
    uint64_t expected = 0;
    assert_int_equal(judge(NULL, 5, 9, 9, &expected), CONV_TAKE);
    gap(NULL, 5, 9, 7, 7);
}

static void takes_what_follows_and_names_what_is_missing(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    take(conv, 1, 1, 1);
    take(conv, 1, 2, 1);
    gap(conv, 1, 4, 1, 3);
    take(conv, 1, 3, 1);
    take(conv, 1, 4, 2);
    conv_table_free(table);
}

static void takes_the_senders_oldest_whatever_came_before(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    take(conv, 1, 1, 1);
    take(conv, 1, 6, 6);
    take(conv, 1, 7, 6);
    conv_table_free(table);
}

static void what_the_sender_has_settled_is_not_taken_again(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    take(conv, 1, 1, 1);
    take(conv, 1, 2, 2);
    take(conv, 1, 3, 3);
    gap(conv, 1, 1, 1, 4);
    conv_reset(conv);
    gap(conv, 1, 2, 2, 3);
    take(conv, 1, 3, 3);
    gap(conv, 1, 12, 9, 9);
    gap(conv, 1, 4, 3, 9); /* it would follow, but the sender has settled it */
    conv_table_free(table);
}

static void an_older_session_is_told_apart_and_changes_nothing(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    uint64_t expected;
    take(conv, 5, 1, 1);
    assert_int_equal(judge(conv, 4, 2, 2, &expected), CONV_OLD);
    conv_seen(conv, &(struct conv_place){4, 2, 2});
    take(conv, 5, 2, 1);
    conv_table_free(table);
}

static void a_newer_session_counts_from_the_moment_it_is_seen(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    uint64_t expected;
    take(conv, 5, 1, 1);
    take(conv, 5, 2, 1);
    gap(conv, 6, 3, 1, 1);
    assert_int_equal(judge(conv, 5, 3, 1, &expected), CONV_OLD);
    take(conv, 6, 1, 1);
    take(conv, 6, 2, 1);
    conv_table_free(table);
}

static void after_a_reset_only_what_is_settled_is_taken(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    take(conv, 1, 1, 1);
    take(conv, 1, 2, 1);
    conv_reset(conv);
    gap(conv, 1, 3, 1, 1);
    take(conv, 1, 3, 3);
    conv_table_free(table);
}

static void a_refusal_counts_in_the_order_of_refusals(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    refuse(conv, 1, 1, 1);
    refuse(conv, 1, 2, 1);
    gap(conv, 1, 4, 1, 1);
    refuse(conv, 1, 3, 1);
    conv_table_free(table);
}

static void nothing_overtakes_a_refusal_that_the_sender_may_not_have_heard(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    uint64_t expected = 0;
    refuse(conv, 1, 1, 1);
    assert_int_equal(judge(conv, 1, 2, 1, &expected), CONV_REFUSE_ONLY);
    assert_int_equal(expected, 1);
    take(conv, 1, 2, 2);
    take(conv, 1, 3, 2);
    conv_table_free(table);
}

static void what_is_known_counts_in_a_new_session_if_it_is_next(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(4);
    struct conv *conv = fresh(table);
    take(conv, 1, 4, 4);
    conv_seen(conv, &(struct conv_place){2, 2, 1});
    gap(conv, 2, 3, 1, 1);
    conv_seen(conv, &(struct conv_place){2, 1, 1});
    conv_seen(conv, &(struct conv_place){2, 2, 1});
    take(conv, 2, 3, 1);
    /* It never takes the order back. */
    conv_seen(conv, &(struct conv_place){2, 1, 1});
    take(conv, 2, 4, 1);
    conv_table_free(table);
}

static struct conv *nth(struct conv_table *table, uint64_t n, uint64_t now_ms)
{
    struct conv_key k = key;
    k.to += n;
    return conv_make(table, &k, now_ms);
}

static void one_that_is_used_or_pending_is_not_idle(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(3);
    struct ring link;
    struct conv *pending = nth(table, 0, 10), *used = nth(table, 1, 10), *idle = nth(table, 2, 10);
    ring_add(&pending->pending, &link);
    conv_use(used, 50);
    assert_null(conv_idle(table, 9, 60));
    assert_ptr_equal(conv_idle(table, 10, 60), idle);
    conv_forget(table, idle);
    assert_null(conv_idle(table, 10, 60));
    ring_remove(&link);
    assert_ptr_equal(conv_idle(table, 60, 120), pending);
    conv_forget(table, pending);
    assert_ptr_equal(conv_idle(table, 60, 120), used);
    assert_null(conv_find(table, &(struct conv_key){key.from, key.device, key.to, key.class}));
    conv_table_free(table);
}

static void when_it_is_full_the_unused_are_spared_first_and_the_pending_never(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(3);
    struct ring links[3];
    struct conv *convs[3];
    for (uint32_t i = 0; i < 3; i++)
        convs[i] = nth(table, i, 10);
    assert_null(nth(table, 3, 20));
    ring_add(&convs[0]->pending, &links[0]);
    conv_use(convs[1], 20);
    assert_ptr_equal(conv_spare(table, 30), convs[2]);
    conv_use(convs[2], 40);
    assert_ptr_equal(conv_spare(table, 50), convs[1]); /* not used since it was looked at */
    ring_add(&convs[1]->pending, &links[1]);
    ring_add(&convs[2]->pending, &links[2]);
    assert_null(conv_spare(table, 60));
    ring_remove(&links[1]);
    conv_forget(table, convs[1]);
    assert_non_null(nth(table, 3, 70));
    conv_table_free(table);
}

static void each_part_of_the_key_makes_another_conversation(void **state)
{
    (void)state;
    struct conv_table *table = conv_table_new(8);
    (void)fresh(table);
    const struct conv_key others[] = {
        {10009, 7, 10002, 1}, {10001, 8, 10002, 1}, {10001, 7, 10003, 1}, {10001, 7, 10002, 0}};
    for (size_t i = 0; i < 4; i++)
        assert_null(conv_find(table, &others[i]));
    conv_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_one_takes_only_what_is_settled),
        cmocka_unit_test(takes_what_follows_and_names_what_is_missing),
        cmocka_unit_test(takes_the_senders_oldest_whatever_came_before),
        cmocka_unit_test(what_the_sender_has_settled_is_not_taken_again),
        cmocka_unit_test(an_older_session_is_told_apart_and_changes_nothing),
        cmocka_unit_test(a_newer_session_counts_from_the_moment_it_is_seen),
        cmocka_unit_test(after_a_reset_only_what_is_settled_is_taken),
        cmocka_unit_test(a_refusal_counts_in_the_order_of_refusals),
        cmocka_unit_test(nothing_overtakes_a_refusal_that_the_sender_may_not_have_heard),
        cmocka_unit_test(what_is_known_counts_in_a_new_session_if_it_is_next),
        cmocka_unit_test(one_that_is_used_or_pending_is_not_idle),
        cmocka_unit_test(when_it_is_full_the_unused_are_spared_first_and_the_pending_never),
        cmocka_unit_test(each_part_of_the_key_makes_another_conversation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
