#include "bench/referee.h"

#include <setjmp.h>
#include <stdarg.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define LEN_MAX 300u

static const struct referee_stamp stamp = {
    .run = 0x1122334455667788, .number = 42, .sent_ns = 123456789, .sender = 7, .recipient = 9};

static void what_was_stamped_is_read_again_at_any_length(void **state)
{
    (void)state;
    for (size_t len = REFEREE_BODY_MIN; len <= LEN_MAX; len++) {
        uint8_t body[LEN_MAX];
        struct referee_stamp read;
        referee_write(body, len, &stamp);
        assert_true(referee_read(span_of(body, len), &read));
        assert_memory_equal(&read, &stamp, sizeof stamp);
    }
}

static void any_changed_bit_shows(void **state)
{
    (void)state;
    const size_t lens[] = {REFEREE_BODY_MIN, 51, 100};
    for (size_t i = 0; i < 3; i++)
        for (size_t bit = 0; bit < lens[i] * 8; bit++) {
            uint8_t body[LEN_MAX];
            struct referee_stamp read;
            referee_write(body, lens[i], &stamp);
            body[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(referee_read(span_of(body, lens[i]), &read));
        }
}

static void a_body_that_was_cut_or_grew_shows(void **state)
{
    (void)state;
    uint8_t body[LEN_MAX] = {0};
    struct referee_stamp read;
    referee_write(body, 100, &stamp);
    for (size_t len = 0; len <= LEN_MAX; len++)
        if (len != 100)
            assert_false(referee_read(span_of(body, len), &read));
}

static void the_filling_of_one_message_does_not_pass_for_anothers(void **state)
{
    (void)state;
    uint8_t one[100], other[100];
    struct referee_stamp read, next = stamp;
    next.number++;
    referee_write(one, sizeof one, &stamp);
    referee_write(other, sizeof other, &next);
    memcpy(one + REFEREE_BODY_MIN, other + REFEREE_BODY_MIN, sizeof one - REFEREE_BODY_MIN);
    assert_false(referee_read(span_of(one, sizeof one), &read));
}

static void ids_tell_sender_and_number_of_their_own_run_only(void **state)
{
    (void)state;
    uint8_t cmid[16];
    uint32_t sender;
    uint64_t number;
    referee_cmid(cmid, &stamp);
    assert_true(referee_cmid_read(span_of(cmid, 16), stamp.run, &sender, &number));
    assert_int_equal(sender, stamp.sender);
    assert_int_equal(number, stamp.number);
    assert_false(referee_cmid_read(span_of(cmid, 16), stamp.run + 1, &sender, &number));
    assert_false(referee_cmid_read(span_of(cmid, 15), stamp.run, &sender, &number));
}

static void loss_breaks_the_promise_of_confirmed_but_not_of_ephemeral(void **state)
{
    (void)state;
    const struct referee_counts counts = {.sent = 10, .delivered = 9, .lost = 1};
    assert_int_equal(referee_broken(&counts, HOT_EPHEMERAL, true), 0);
    assert_int_equal(referee_broken(&counts, HOT_CONFIRMED, true), 1);
}

static void loss_breaks_no_promise_where_an_acknowledgement_says_nothing_of_arrival(void **state)
{
    (void)state;
    const struct referee_counts counts = {.sent = 10, .delivered = 9, .lost = 1};
    assert_int_equal(referee_broken(&counts, HOT_CONFIRMED, false), 0);
}

static void refusals_resends_and_replays_break_nothing(void **state)
{
    (void)state;
    const struct referee_counts counts = {.sent = 10,
                                          .resent = 1,
                                          .unknown = 1,
                                          .replayed = 1,
                                          .busy = 1,
                                          .late = 1,
                                          .refused = {[NACK_OFFLINE] = 1}};
    assert_int_equal(referee_broken(&counts, HOT_CONFIRMED, true), 0);
}

static void each_of_the_forbidden_ones_counts_in_any_class(void **state)
{
    (void)state;
    const struct referee_counts each[] = {
        {.doubled = 1}, {.misrouted = 1}, {.altered = 1}, {.out_of_order = 1}, {.false_nacks = 1}};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        assert_int_equal(referee_broken(&each[i], HOT_EPHEMERAL, true), 1);
        assert_int_equal(referee_broken(&each[i], HOT_CONFIRMED, true), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stamped_is_read_again_at_any_length),
        cmocka_unit_test(any_changed_bit_shows),
        cmocka_unit_test(a_body_that_was_cut_or_grew_shows),
        cmocka_unit_test(the_filling_of_one_message_does_not_pass_for_anothers),
        cmocka_unit_test(ids_tell_sender_and_number_of_their_own_run_only),
        cmocka_unit_test(loss_breaks_the_promise_of_confirmed_but_not_of_ephemeral),
        cmocka_unit_test(loss_breaks_no_promise_where_an_acknowledgement_says_nothing_of_arrival),
        cmocka_unit_test(refusals_resends_and_replays_break_nothing),
        cmocka_unit_test(each_of_the_forbidden_ones_counts_in_any_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
