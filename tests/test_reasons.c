/* reasons: the two tables, as peers and operators meet them. Numbers and labels are for ever. */
#include "proto/reasons.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void numbers_do_not_change(void **state)
{
    (void)state;
    assert_int_equal(NACK_BUSY, 1);
    assert_int_equal(NACK_SEQ_GAP, 2);
    assert_int_equal(NACK_NO_ANSWER, 5);
    assert_int_equal(NACK_QUOTA, 9);
    assert_int_equal(END_PEER_LEFT, 1);
    assert_int_equal(END_TOKEN_REFUSED, 13);
    assert_int_equal(END_REPLACED, 16);
    assert_int_equal(END_KICKED, 17);
    assert_int_equal(END_NO_SESSION, 23);
}

static void a_reason_says_what_its_row_says(void **state)
{
    (void)state;
    assert_string_equal(reasons_nack_label(NACK_SEQ_GAP), "seq_gap");
    assert_string_equal(reasons_nack_text(NACK_OFFLINE), "no device of the recipient is connected");
    assert_string_equal(reasons_end_label(END_SLOW_READER), "slow_reader");
    assert_string_equal(reasons_end_text(END_REPLACED), "this device logged in elsewhere");
}

static void only_no_answer_leaves_open_what_happened(void **state)
{
    (void)state;
    for (uint32_t reason = 1; reason < NACK_REASONS; reason++)
        assert_int_equal(reasons_nack_outcome(reason),
                         reason == NACK_NO_ANSWER ? NACK_IS_UNKNOWN : NACK_IS_DEFINITE);
}

static void who_was_replaced_kicked_or_refused_stays_away(void **state)
{
    (void)state;
    assert_int_equal(reasons_end_next(END_REPLACED), END_NEXT_AWAY);
    assert_int_equal(reasons_end_next(END_KICKED), END_NEXT_AWAY);
    assert_int_equal(reasons_end_next(END_TOKEN_REFUSED), END_NEXT_AWAY);
    assert_int_equal(reasons_end_next(END_TOKEN_REQUIRED), END_NEXT_FRESH);
    assert_int_equal(reasons_end_next(END_EDGE_LEAVING), END_NEXT_BACK);
}

static void a_number_outside_the_table_is_unknown(void **state)
{
    (void)state;
    const uint32_t numbers[] = {0, NACK_REASONS, END_REASONS, 1000, UINT32_MAX};
    for (size_t i = 0; i < 5; i++) {
        if (numbers[i] == 0 || numbers[i] >= NACK_REASONS) {
            assert_string_equal(reasons_nack_label(numbers[i]), "unknown");
            assert_string_equal(reasons_nack_text(numbers[i]), "unknown");
            assert_int_equal(reasons_nack_outcome(numbers[i]), NACK_IS_UNKNOWN);
        }
        if (numbers[i] == 0 || numbers[i] >= END_REASONS) {
            assert_false(reasons_end_known(numbers[i]));
            assert_string_equal(reasons_end_label(numbers[i]), "unknown");
            assert_string_equal(reasons_end_text(numbers[i]), "unknown");
            assert_int_equal(reasons_end_next(numbers[i]), END_NEXT_BACK);
        }
    }
}

static void labels_are_there_and_differ(void **state)
{
    (void)state;
    for (uint32_t a = 1; a < NACK_REASONS; a++)
        for (uint32_t b = 0; b < a; b++)
            assert_string_not_equal(reasons_nack_label(a), reasons_nack_label(b));
    for (uint32_t a = 1; a < END_REASONS; a++)
        for (uint32_t b = 0; b < a && reasons_end_known(a); b++)
            assert_string_not_equal(reasons_end_label(a), reasons_end_label(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_do_not_change),
        cmocka_unit_test(a_reason_says_what_its_row_says),
        cmocka_unit_test(only_no_answer_leaves_open_what_happened),
        cmocka_unit_test(who_was_replaced_kicked_or_refused_stays_away),
        cmocka_unit_test(a_number_outside_the_table_is_unknown),
        cmocka_unit_test(labels_are_there_and_differ),
    };
    return cmocka_run_group_tests_name("reasons", tests, NULL, NULL);
}
