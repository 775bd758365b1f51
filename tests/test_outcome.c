/* outcome: what is known of messages. */
#include "router/outcome.h"

// clang-format off
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

struct mid {
    uint8_t bytes[GID_MID_SIZE];
};

static struct mid mid_of(uint64_t n)
{
    struct mid mid;
    uint8_t cmid[GID_CMID_SIZE] = {0};
    memcpy(cmid, &n, sizeof n);
    gid_mid(10001, 7, cmid, mid.bytes);
    return mid;
}

static struct outcome *add(struct outcome_table *table, uint64_t n)
{
    struct mid mid = mid_of(n);
    return outcome_add(table, mid.bytes);
}

static struct outcome *find(struct outcome_table *table, uint64_t n)
{
    struct mid mid = mid_of(n);
    return outcome_find(table, mid.bytes);
}

static void knows_what_is_pending_and_what_was_decided(void **state)
{
    (void)state;
    struct outcome_table *table = outcome_table_new(4, 4);
    assert_null(find(table, 1));
    struct outcome *outcome = add(table, 1);
    assert_ptr_equal(find(table, 1), outcome);
    assert_int_equal(outcome->state, OUTCOME_PENDING);
    assert_int_equal(outcome_decide(table, outcome, OUTCOME_DELIVERED, 5), 0);
    assert_int_equal(find(table, 1)->state, OUTCOME_DELIVERED);
    assert_int_equal(outcome_decided(table), 1);
    outcome_table_free(table);
}

static void forgets_by_the_age_of_the_decision(void **state)
{
    (void)state;
    struct outcome_table *table = outcome_table_new(4, 4);
    struct outcome *a = add(table, 1), *b = add(table, 2), *c = add(table, 3);
    assert_int_equal(outcome_decide(table, b, OUTCOME_DELIVERED, 10), 0);
    assert_int_equal(outcome_decide(table, a, OUTCOME_NO_ANSWER, 20), 0);
    outcome_forget_until(table, 9);
    assert_ptr_equal(find(table, 2), b);
    outcome_forget_until(table, 10);
    assert_null(find(table, 2));
    assert_ptr_equal(find(table, 1), a);
    outcome_forget_until(table, 1000);
    assert_null(find(table, 1));
    assert_ptr_equal(find(table, 3), c);
    assert_int_equal(outcome_decided(table), 0);
    outcome_table_free(table);
}

static void past_the_limit_the_oldest_decision_goes_and_nothing_pending(void **state)
{
    (void)state;
    struct outcome_table *table = outcome_table_new(100, 3);
    struct outcome *first = add(table, 0);
    uint32_t forgotten = 0;
    for (uint64_t n = 1; n <= 10; n++)
        forgotten += outcome_decide(table, add(table, n), OUTCOME_DELIVERED, n);
    assert_int_equal(forgotten, 7);
    assert_null(find(table, 7));
    assert_non_null(find(table, 8));
    assert_ptr_equal(find(table, 0), first);
    outcome_table_free(table);
}

static void forgetting_leaves_the_callers_ring_too(void **state)
{
    (void)state;
    struct outcome_table *table = outcome_table_new(2, 2);
    struct ring head;
    ring_init(&head);
    struct outcome *a = add(table, 1), *b = add(table, 2);
    ring_add(&head, &a->in_conv);
    ring_add(&head, &b->in_conv);
    outcome_forget(table, a);
    assert_ptr_equal(head.next, &b->in_conv);
    assert_int_equal(outcome_decided(table), 0);
    assert_int_equal(outcome_decide(table, b, OUTCOME_DELIVERED, 1), 0);
    outcome_forget_until(table, 1);
    assert_true(ring_empty(&head));
    outcome_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_is_pending_and_what_was_decided),
        cmocka_unit_test(forgets_by_the_age_of_the_decision),
        cmocka_unit_test(past_the_limit_the_oldest_decision_goes_and_nothing_pending),
        cmocka_unit_test(forgetting_leaves_the_callers_ring_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
