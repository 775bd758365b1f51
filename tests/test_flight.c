/* flight: sends and their outcomes. What concerns several devices and sessions is in
 * test_recipient.c. */
#include "tests/flight_stage.h"

#define BERT_AT UINT64_C(21) /* Bert's session */

static struct stage *with_bert_online(void)
{
    struct stage *stage = stage_new();
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    return stage;
}

static void a_send_is_delivered_and_acknowledged_by_the_recipients_device(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0, delivery = 0;
    stage_anna(stage, 1, 1, 1);
    stage_expect_delivery(stage, &delivery, BERT_AT, 1, 1);
    assert_int_equal(stage->deliveries[0].edge, E2);
    assert_int_equal(stage->deliveries[0].to, BERT);
    assert_int_equal(stage->answered, 0);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 1));
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    assert_int_equal(stage->answers[0].edge, E1);
    assert_int_equal(stage->answers[0].gid, ANNA);
    assert_int_equal(stage->answers[0].session, 11);
    assert_int_equal(flight_sends_in_flight(stage->flight), 0);
    assert_int_equal(flight_deliveries_in_flight(stage->flight), 0);
    stage_free(stage);
}

static void received_is_cumulative(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, n, 1);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 2));
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    stage_expect_answer(stage, &answer, 2, NACK_NONE);
    assert_int_equal(stage->answered, 2);
    assert_int_equal(flight_sends_in_flight(stage->flight), 1);
    stage_free(stage);
}

static void a_known_message_is_silent_while_pending_then_answered_again(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 1, 1, 1);
    assert_int_equal(stage->delivered, 1);
    assert_int_equal(stage->answered, 0);
    assert_int_equal(flight_counts(stage->flight)->repeated, 1);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 1));
    stage_anna(stage, 1, 1, 1);
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    assert_int_equal(stage->delivered, 1);
    stage_free(stage);
}

static void a_sender_that_came_back_elsewhere_is_answered_there(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    struct stage_send send = {ANNA, PHONE, 11, BERT, 1, 1, 1, 0, E1};
    stage_send(stage, &send);
    send.session = 12;
    send.edge = E3;
    stage_send(stage, &send);
    /* A frame of the old session that floats on does not take that back. */
    send.session = 11;
    send.edge = E1;
    stage_send(stage, &send);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 1));
    assert_int_equal(stage->answered, 1);
    assert_int_equal(stage->answers[0].edge, E3);
    assert_int_equal(stage->answers[0].session, 12);
    stage_free(stage);
}

static void out_of_order_is_told_what_is_expected(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 3, 3, 1);
    stage_expect_answer(stage, &answer, 3, NACK_SEQ_GAP);
    assert_int_equal(stage->answers[0].expected, 2);
    assert_int_equal(stage->delivered, 1);
    stage_free(stage);
}

static void a_frame_of_an_older_session_is_silent(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    stage_send(stage, &(struct stage_send){ANNA, PHONE, 12, BERT, 1, 1, 1, 0, 0});
    stage_send(stage, &(struct stage_send){ANNA, PHONE, 11, BERT, 2, 2, 2, 0, 0});
    assert_int_equal(stage->answered, 0);
    assert_int_equal(stage->delivered, 1);
    assert_int_equal(flight_counts(stage->flight)->old_session, 1);
    stage_free(stage);
}

static void after_a_new_session_what_is_pending_counts_in_its_order(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    for (uint64_t n = 1; n <= 3; n++)
        stage_send(stage, &(struct stage_send){ANNA, PHONE, 12, BERT, n, n, 1, 0, 0});
    assert_int_equal(stage->answered, 0);
    assert_int_equal(stage->delivered, 3);
    assert_int_equal(stage->deliveries[2].number, 3);
    stage_free(stage);
}

static void nobody_there_is_offline_at_once_and_not_remembered(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    stage_expect_answer(stage, &answer, 1, NACK_OFFLINE);
    stage_expect_answer(stage, &answer, 2, NACK_OFFLINE);
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    stage_anna(stage, 1, 1, 1);
    assert_int_equal(stage->delivered, 1);
    stage_free(stage);
}

static void nothing_is_delivered_past_a_refusal_that_may_be_unheard(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage_expect_answer(stage, &answer, 1, NACK_OFFLINE);
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    stage_anna(stage, 2, 2, 1);
    stage_expect_answer(stage, &answer, 2, NACK_SEQ_GAP);
    assert_int_equal(stage->answers[1].expected, 1);
    stage_anna(stage, 2, 2, 2);
    assert_int_equal(stage->delivered, 1);
    stage_free(stage);
}

static void without_credit_it_is_busy_and_not_taken(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0, delivery = 0;
    stage->no_credit[E2] = true;
    stage_anna(stage, 1, 1, 1);
    stage_expect_answer(stage, &answer, 1, NACK_BUSY);
    assert_int_equal(stage->answers[0].retry_after_ms, 250);
    assert_int_equal(flight_sends_in_flight(stage->flight), 0);
    assert_int_equal(flight_counts(stage->flight)->made, 0);
    stage_anna(stage, 2, 2, 1);
    stage_expect_answer(stage, &answer, 2, NACK_SEQ_GAP);
    stage->no_credit[E2] = false;
    stage_anna(stage, 1, 1, 1);
    stage_expect_delivery(stage, &delivery, BERT_AT, 1, 1);
    stage_free(stage);
}

static void unanswered_it_ends_unknown_and_that_is_remembered(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage_wait(stage, 4999);
    assert_int_equal(stage->answered, 0);
    stage_wait(stage, 1);
    stage_expect_answer(stage, &answer, 1, NACK_NO_ANSWER);
    assert_int_equal(flight_counts(stage->flight)->expired, 1);
    stage_anna(stage, 1, 1, 1);
    stage_expect_answer(stage, &answer, 1, NACK_NO_ANSWER);
    /* A late acknowledgement changes nothing. */
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 1));
    assert_int_equal(stage->answered, answer);
    stage_free(stage);
}

static void what_is_behind_an_expired_one_in_its_conversation_ends_with_it(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage->now += 2000;
    stage_anna(stage, 2, 2, 1);
    stage_send(stage, &(struct stage_send){CARL, DESK, 31, BERT, 9, 1, 1, 0, 0});
    stage_wait(stage, 3000);
    stage_expect_answer(stage, &answer, 1, NACK_NO_ANSWER);
    stage_expect_answer(stage, &answer, 2, NACK_NO_ANSWER);
    assert_int_equal(stage->answered, 2);
    assert_int_equal(flight_sends_in_flight(stage->flight), 1);
    stage_free(stage);
}

static void after_an_expiry_only_the_senders_oldest_is_taken(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    stage_wait(stage, 5000);
    stage_expect_answer(stage, &answer, 1, NACK_NO_ANSWER);
    stage_anna(stage, 2, 2, 1);
    stage_expect_answer(stage, &answer, 2, NACK_SEQ_GAP);
    assert_int_equal(stage->answers[1].expected, 1);
    stage_anna(stage, 2, 2, 2);
    assert_int_equal(stage->deliveries[stage->delivered - 1].number, 2);
    stage_free(stage);
}

static void outcomes_and_conversations_are_forgotten_in_time(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    stage_anna(stage, 1, 1, 1);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 1));
    stage_wait(stage, 59999);
    stage_anna(stage, 1, 1, 1);
    assert_int_equal(stage->answered, 2);
    stage_wait(stage, 1);
    stage_anna(stage, 1, 1, 1); /* as a new owner would take it */
    assert_int_equal(stage->answered, 2);
    assert_int_equal(stage->deliveries[stage->delivered - 1].number, 1);
    assert_int_equal(flight_sends_in_flight(stage->flight), 1);
    stage_wait(stage, 70000);
    stage_wait(stage, 70000);
    stage_anna(stage, 7, 7, 3);
    assert_int_equal(stage->answers[stage->answered - 1].expected, 3);
    stage_free(stage);
}

static void what_the_sender_has_settled_is_forgotten(void **state)
{
    (void)state;
    struct flight_options options = stage_options;
    options.outcomes_max = 4;
    struct stage *stage = stage_with(&options);
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    for (uint64_t n = 1; n <= 20; n++) {
        stage_anna(stage, n, n, n);
        assert_true(stage_received(stage, E2, BERT, BERT_AT, n));
    }
    assert_int_equal(flight_counts(stage->flight)->forgotten_early, 0);
    for (uint64_t n = 21; n <= 30; n++) {
        stage_anna(stage, n, n, 20);
        assert_true(stage_received(stage, E2, BERT, BERT_AT, n));
    }
    assert_int_equal(flight_counts(stage->flight)->forgotten_early, 7);
    stage_free(stage);
}

static void also_what_was_sent_in_an_earlier_session(void **state)
{
    (void)state;
    struct flight_options options = stage_options;
    options.outcomes_max = 4;
    struct stage *stage = stage_with(&options);
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, 10 + n, 11);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 3));
    for (uint64_t n = 1; n <= 3; n++)
        stage_send(stage, &(struct stage_send){ANNA, PHONE, 12, BERT, n, n, 1, 0, 0});
    for (uint64_t n = 4; n <= 8; n++) {
        stage_send(stage, &(struct stage_send){ANNA, PHONE, 12, BERT, n, n, n, 0, 0});
        assert_true(stage_received(stage, E2, BERT, BERT_AT, n));
    }
    assert_int_equal(flight_counts(stage->flight)->forgotten_early, 0);
    stage_free(stage);
}

static void past_the_limits_it_is_busy_or_forgets_but_never_what_is_pending(void **state)
{
    (void)state;
    struct flight_options options = stage_options;
    options.pending_max = 3;
    options.convs_max = 2;
    struct stage *stage = stage_with(&options);
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    for (uint64_t i = 0; i < 4; i++) /* others, one after another, are offline */
        stage_send(stage, &(struct stage_send){CARL, DESK, 31, CARL + i, 50 + i, 1, 1, 0, 0});
    for (uint64_t i = 0; i < 4; i++)
        stage_expect_answer(stage, &answer, 50 + i, NACK_OFFLINE);
    assert_int_equal(flight_counts(stage->flight)->forgotten_early, 3);
    stage_send(stage, &(struct stage_send){CARL, DESK, 31, BERT, 60, 1, 1, 0, 0});
    stage_send(stage, &(struct stage_send){CARL, TABLET, 32, BERT, 61, 1, 1, 0, 0});
    stage_expect_answer(stage, &answer, 61, NACK_BUSY);
    stage_anna(stage, 3, 3, 1);
    stage_expect_answer(stage, &answer, 3, NACK_BUSY);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 3));
    assert_int_equal(flight_counts(stage->flight)->acked, 3);
    stage_free(stage);
}

static void bodies_have_a_limit_too(void **state)
{
    (void)state;
    struct flight_options options = stage_options;
    options.pending_bytes_max = 3000;
    struct stage *stage = stage_with(&options);
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, BERT_AT, E2, true, 0);
    struct stage_send send = {ANNA, PHONE, 11, BERT, 1, 1, 1, 2000, 0};
    stage_send(stage, &send);
    send.number = send.seq = 2;
    stage_send(stage, &send);
    stage_expect_answer(stage, &answer, 2, NACK_BUSY);
    assert_true(stage_received(stage, E2, BERT, BERT_AT, 1));
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    stage_send(stage, &send);
    assert_int_equal(stage->delivered, 2);
    stage_free(stage);
}

static void a_refusal_by_the_shard_counts_in_the_order(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    size_t answer = 0;
    uint8_t cmid[GID_CMID_SIZE], body[8];
    struct hot_link_send send;
    for (uint64_t n = 1; n <= 2; n++) {
        stage_build(&(struct stage_send){ANNA, PHONE, 11, BERT, n, n, 1, 0, 0}, cmid, body, &send);
        flight_refuse(stage->flight, E1, &send, NACK_NO_USER, stage->now);
        stage_expect_answer(stage, &answer, n, NACK_NO_USER);
    }
    stage_build(&(struct stage_send){ANNA, PHONE, 11, BERT, 4, 4, 1, 0, 0}, cmid, body, &send);
    flight_refuse(stage->flight, E1, &send, NACK_NO_USER, stage->now);
    stage_expect_answer(stage, &answer, 4, NACK_SEQ_GAP);
    stage_build(&(struct stage_send){ANNA, PHONE, 11, BERT, 3, 3, 3, 0, 0}, cmid, body, &send);
    flight_refuse(stage->flight, E1, &send, NACK_BUSY, stage->now);
    stage_expect_answer(stage, &answer, 3, NACK_BUSY);
    stage_anna(stage, 4, 4, 3);
    stage_expect_answer(stage, &answer, 4, NACK_SEQ_GAP);
    stage_anna(stage, 3, 3, 3);
    stage_anna(stage, 4, 4, 3);
    assert_int_equal(stage->delivered, 2);
    stage_check_ledgers(stage);
    stage_free(stage);
}

static void nonsense_is_ignored_and_counted(void **state)
{
    (void)state;
    struct stage *stage = with_bert_online();
    uint8_t cmid[GID_CMID_SIZE], body[8];
    struct hot_link_send send;
    stage_build(&(struct stage_send){ANNA, PHONE, 11, BERT, 1, 1, 1, 0, 0}, cmid, body, &send);
    send.send.cmid.len = 0;
    flight_send(stage->flight, E1, &send, stage->now, 0);
    stage_anna(stage, 1, 0, 0);
    stage_anna(stage, 1, 1, 2);
    assert_int_equal(flight_counts(stage->flight)->malformed, 3);
    assert_int_equal(stage->answered + stage->delivered, 0);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_is_delivered_and_acknowledged_by_the_recipients_device),
        cmocka_unit_test(received_is_cumulative),
        cmocka_unit_test(a_known_message_is_silent_while_pending_then_answered_again),
        cmocka_unit_test(a_sender_that_came_back_elsewhere_is_answered_there),
        cmocka_unit_test(out_of_order_is_told_what_is_expected),
        cmocka_unit_test(a_frame_of_an_older_session_is_silent),
        cmocka_unit_test(after_a_new_session_what_is_pending_counts_in_its_order),
        cmocka_unit_test(nobody_there_is_offline_at_once_and_not_remembered),
        cmocka_unit_test(nothing_is_delivered_past_a_refusal_that_may_be_unheard),
        cmocka_unit_test(without_credit_it_is_busy_and_not_taken),
        cmocka_unit_test(unanswered_it_ends_unknown_and_that_is_remembered),
        cmocka_unit_test(what_is_behind_an_expired_one_in_its_conversation_ends_with_it),
        cmocka_unit_test(after_an_expiry_only_the_senders_oldest_is_taken),
        cmocka_unit_test(outcomes_and_conversations_are_forgotten_in_time),
        cmocka_unit_test(what_the_sender_has_settled_is_forgotten),
        cmocka_unit_test(also_what_was_sent_in_an_earlier_session),
        cmocka_unit_test(past_the_limits_it_is_busy_or_forgets_but_never_what_is_pending),
        cmocka_unit_test(bodies_have_a_limit_too),
        cmocka_unit_test(a_refusal_by_the_shard_counts_in_the_order),
        cmocka_unit_test(nonsense_is_ignored_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
