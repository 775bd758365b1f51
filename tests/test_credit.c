/* credit: whatever is lost, the two accounts agree again and no credit leaks. */
#include "proto/credit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WINDOW 1000u

static void allows_nothing_before_the_first_grant(void **state)
{
    (void)state;
    struct credit_out out;
    credit_out_init(&out);
    assert_false(credit_out_allows(&out, 1));
    credit_out_granted(&out, 10);
    assert_true(credit_out_allows(&out, 10));
    assert_false(credit_out_allows(&out, 11));
}

static void an_older_grant_takes_nothing_back(void **state)
{
    (void)state;
    struct credit_out out;
    credit_out_init(&out);
    credit_out_granted(&out, 500);
    credit_out_granted(&out, 400);
    assert_true(credit_out_allows(&out, 500));
}

static void frames_that_need_no_credit_use_it_all_the_same(void **state)
{
    (void)state;
    struct credit_out out;
    credit_out_init(&out);
    credit_out_granted(&out, 100);
    credit_out_sent(&out, 150, 3);
    assert_false(credit_out_allows(&out, 1));
    credit_out_granted(&out, 160);
    assert_true(credit_out_allows(&out, 10));
}

static void a_gap_is_a_loss_and_the_next_is_in_order(void **state)
{
    (void)state;
    struct credit_in in;
    credit_in_init(&in, WINDOW);
    assert_int_equal(credit_in_batch(&in, 0, 0), CREDIT_IN_ORDER);
    credit_in_took(&in, 100, 2);
    assert_int_equal(credit_in_batch(&in, 250, 5), CREDIT_LOST);
    assert_int_equal(in.bytes_lost, 150);
    assert_int_equal(in.frames_lost, 3);
    credit_in_took(&in, 50, 1);
    assert_int_equal(credit_in_batch(&in, 300, 6), CREDIT_IN_ORDER);
    assert_int_equal(in.frames_lost, 3);
    assert_int_equal(credit_in_grant(&in), 300 + WINDOW);
}

static void an_earlier_place_is_a_restart_and_changes_nothing(void **state)
{
    (void)state;
    struct credit_in in;
    credit_in_init(&in, WINDOW);
    credit_in_took(&in, 100, 2);
    struct credit_in before = in;
    assert_int_equal(credit_in_batch(&in, 99, 2), CREDIT_RESTARTED);
    assert_int_equal(credit_in_batch(&in, 100, 1), CREDIT_RESTARTED);
    assert_int_equal(credit_in_batch(&in, 0, 0), CREDIT_RESTARTED);
    assert_memory_equal(&in, &before, sizeof in);
}

static void a_grant_is_due_when_half_the_window_was_used(void **state)
{
    (void)state;
    struct credit_in in;
    credit_in_init(&in, WINDOW);
    assert_true(credit_in_grant_due(&in)); /* none was said yet */
    assert_int_equal(credit_in_grant(&in), WINDOW);
    credit_in_took(&in, WINDOW / 2 - 1, 1);
    assert_false(credit_in_grant_due(&in));
    credit_in_took(&in, 1, 1);
    assert_true(credit_in_grant_due(&in));
    assert_int_equal(credit_in_grant(&in), WINDOW + WINDOW / 2);
    assert_false(credit_in_grant_due(&in));
}

/* Of batches and of grants every third or so is lost; what matters is only that some arrive. */
static void credit_survives_any_loss(void **state)
{
    (void)state;
    struct credit_out out;
    struct credit_in in;
    credit_out_init(&out);
    credit_in_init(&in, WINDOW);
    uint64_t received = 0, stalls = 0, dice = 1;
    for (int round = 0; round < 100000; round++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t size = 1 + (dice >> 40) % 300, at = out.bytes, frame = out.frames;
        if (credit_out_allows(&out, size)) {
            credit_out_sent(&out, size, 1);
            stalls = 0;
        } else {
            size = 0; /* a head alone */
            assert_true(++stalls < 200);
        }
        if ((dice >> 33) % 3 != 0) {
            assert_int_not_equal(credit_in_batch(&in, at, frame), CREDIT_RESTARTED);
            credit_in_took(&in, size, size > 0);
            received += size > 0;
        }
        if ((dice >> 50) % 3 != 0)
            credit_out_granted(&out, credit_in_grant(&in));
        assert_true(out.bytes <= in.bytes + WINDOW);
    }
    (void)credit_in_batch(&in, out.bytes, out.frames);
    assert_int_equal(received + in.frames_lost, out.frames);
    assert_true(in.frames_lost > out.frames / 4);
    credit_out_granted(&out, credit_in_grant(&in));
    assert_true(credit_out_allows(&out, WINDOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_nothing_before_the_first_grant),
        cmocka_unit_test(an_older_grant_takes_nothing_back),
        cmocka_unit_test(frames_that_need_no_credit_use_it_all_the_same),
        cmocka_unit_test(a_gap_is_a_loss_and_the_next_is_in_order),
        cmocka_unit_test(an_earlier_place_is_a_restart_and_changes_nothing),
        cmocka_unit_test(a_grant_is_due_when_half_the_window_was_used),
        cmocka_unit_test(credit_survives_any_loss),
    };
    return cmocka_run_group_tests_name("credit", tests, NULL, NULL);
}
