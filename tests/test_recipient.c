/* recipient: several devices and sessions of a user, seen through flight. */
#include "tests/flight_stage.h"

static struct stage *with_two_devices(uint32_t second_edge)
{
    struct stage *stage = stage_new();
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    stage_begin(stage, BERT, DESK, 22, second_edge, true, 40);
    return stage;
}

static void devices_on_one_edge_share_a_delivery(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E2);
    size_t delivery = 0;
    stage_anna(stage, 1, 1, 1);
    stage_expect_delivery(stage, &delivery, 21, 1, 1);
    stage_expect_delivery(stage, &delivery, 22, 41, 1);
    assert_int_equal(stage->frames, 1);
    assert_int_equal(stage->deliveries[0].together, 2);
    stage_free(stage);
}

static void devices_on_two_edges_get_one_delivery_each(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    stage_anna(stage, 1, 1, 1);
    assert_int_equal(stage->frames, 2);
    assert_int_equal(stage->deliveries[0].edge, E2);
    assert_int_equal(stage->deliveries[1].edge, E3);
    stage_free(stage);
}

static void the_first_device_to_acknowledge_decides_and_the_others_still_get_it(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    size_t answer = 0;
    stage_anna(stage, 1, 1, 1);
    assert_true(stage_received(stage, E3, BERT, 22, 41));
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    assert_int_equal(flight_sends_in_flight(stage->flight), 0);
    assert_int_equal(flight_deliveries_in_flight(stage->flight), 1);
    assert_true(stage_gap(stage, E2, BERT, 21, 1));
    assert_int_equal(stage->deliveries[2].session, 21);
    assert_int_equal(stage->deliveries[2].number, 1);
    assert_true(stage_received(stage, E2, BERT, 21, 1));
    assert_int_equal(stage->answered, 1);
    assert_int_equal(flight_counts(stage->flight)->acknowledged, 2);
    stage_free(stage);
}

static void after_its_time_what_a_slow_device_has_not_taken_is_empty(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    assert_true(stage_received(stage, E3, BERT, 22, 42));
    stage_wait(stage, 5000);
    assert_int_equal(stage->answered, 2);
    assert_int_equal(flight_counts(stage->flight)->expired, 2);
    assert_int_equal(flight_deliveries_in_flight(stage->flight), 0);
    size_t delivery = stage->delivered;
    stage->now += 1;
    stage_wait(stage, 1000); /* the timer goes back to the first number */
    stage_expect_delivery(stage, &delivery, 21, 1, 0);
    stage_expect_delivery(stage, &delivery, 21, 2, 0);
    stage_anna(stage, 3, 3, 3);
    stage_expect_delivery(stage, &delivery, 21, 3, 3);
    stage_free(stage);
}

static void a_gap_and_then_the_timer_deliver_again(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, n, 1);
    size_t delivery = stage->delivered;
    assert_true(stage_gap(stage, E2, BERT, 21, 2));
    assert_true(stage_gap(stage, E2, BERT, 21, 2));
    stage_expect_delivery(stage, &delivery, 21, 2, 2);
    stage_expect_delivery(stage, &delivery, 21, 3, 3);
    assert_int_equal(stage->delivered, delivery);
    assert_int_equal(flight_counts(stage->flight)->gaps, 1);
    assert_int_equal(flight_counts(stage->flight)->gaps_damped, 1);
    assert_true(stage_received(stage, E3, BERT, 22, 43));
    stage_wait(stage, 1000);
    for (uint64_t n = 1; n <= 3; n++)
        stage_expect_delivery(stage, &delivery, 21, n, n);
    assert_int_equal(stage->delivered, delivery);
    assert_int_equal(flight_counts(stage->flight)->redelivered, 5);
    assert_true(stage_gap(stage, E2, BERT, 21, 2));
    assert_int_equal(flight_counts(stage->flight)->gaps, 2);
    stage_free(stage);
}

static void progress_puts_the_timer_off(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, n, 1);
    for (uint64_t n = 1; n <= 2; n++) {
        stage_wait(stage, 800);
        assert_true(stage_received(stage, E2, BERT, 21, n));
    }
    stage_wait(stage, 800);
    assert_int_equal(flight_counts(stage->flight)->redelivered, 0);
    stage_wait(stage, 200);
    assert_int_equal(flight_counts(stage->flight)->redelivered, 1);
    stage_free(stage);
}

static void what_an_edge_cannot_know_is_refused_and_counted(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    stage_anna(stage, 1, 1, 1);
    assert_false(stage_received(stage, E3, BERT, 21, 1)); /* another edge's session */
    assert_false(stage_received(stage, E2, BERT, 99, 1));
    assert_false(stage_received(stage, E2, BERT, 21, 2)); /* ahead */
    assert_false(stage_received(stage, E2, CARL, 21, 1));
    assert_false(stage_gap(stage, E2, BERT, 21, 3));
    assert_false(stage_gap(stage, E2, BERT, 99, 1));
    assert_int_equal(flight_counts(stage->flight)->received_refused, 6);
    assert_int_equal(stage->answered, 0);
    assert_true(stage_received(stage, E2, BERT, 21, 0));
    assert_true(stage_received(stage, E3, BERT, 22, 12)); /* old ones are not */
    stage_free(stage);
}

static void a_session_without_a_lane_may_repeat_what_is_behind_it(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    assert_true(stage_received(stage, E3, BERT, 22, 40));
    assert_true(stage_gap(stage, E3, BERT, 22, 41));
    assert_false(stage_received(stage, E3, BERT, 22, 41));
    assert_false(stage_received(stage, E2, BERT, 22, 40));
    stage_free(stage);
}

static void a_new_session_inherits_what_the_replaced_one_had(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    size_t answer = 0;
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, n, 1);
    assert_true(stage_received(stage, E2, BERT, 21, 1));
    assert_true(stage_received(stage, E3, BERT, 22, 42)); /* 2 is delivered, but not to the phone */
    size_t delivery = stage->delivered;
    stage_begin(stage, BERT, PHONE, 31, E3, true, 0);
    stage_expect_delivery(stage, &delivery, 31, 1, 2);
    stage_expect_delivery(stage, &delivery, 31, 2, 3);
    assert_int_equal(flight_counts(stage->flight)->superseded, 2);
    assert_false(stage_received(stage, E2, BERT, 21, 3));
    assert_true(stage_received(stage, E3, BERT, 31, 2));
    for (uint64_t n = 1; n <= 3; n++)
        stage_expect_answer(stage, &answer, n, NACK_NONE);
    stage_free(stage);
}

static void a_device_that_is_new_gets_what_is_pending(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, n, 1);
    assert_true(stage_received(stage, E2, BERT, 21, 1));
    size_t delivery = stage->delivered;
    stage_begin(stage, BERT, DESK, 22, E3, true, 0);
    stage_expect_delivery(stage, &delivery, 22, 1, 2);
    stage_expect_delivery(stage, &delivery, 22, 2, 3);
    assert_int_equal(stage->delivered, delivery);
    stage_free(stage);
}

static void what_was_given_waits_for_the_user_to_come_back(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    stage_anna(stage, 1, 1, 1);
    stage_end(stage, BERT, 21);
    assert_int_equal(flight_counts(stage->flight)->session_gone, 1);
    assert_int_equal(stage->answered, 0);
    stage_anna(stage, 2, 2, 1);
    stage_expect_answer(stage, &answer, 2, NACK_OFFLINE);
    stage_wait(stage, 3000);
    size_t delivery = stage->delivered;
    stage_begin(stage, BERT, PHONE, 31, E3, true, 0);
    stage_expect_delivery(stage, &delivery, 31, 1, 1);
    assert_true(stage_received(stage, E3, BERT, 31, 1));
    stage_expect_answer(stage, &answer, 1, NACK_NONE);
    stage_free(stage);
}

static void and_ends_unknown_if_the_user_does_not(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    stage_anna(stage, 1, 1, 1);
    stage_end(stage, BERT, 21);
    stage_wait(stage, 5000);
    stage_expect_answer(stage, &answer, 1, NACK_NO_ANSWER);
    assert_int_equal(flight_sends_in_flight(stage->flight), 0);
    stage_free(stage);
}

static void a_likely_session_keeps_what_comes_until_it_is_announced(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t delivery = 0;
    stage_begin(stage, BERT, PHONE, 21, E2, false, UINT32_MAX);
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    assert_int_equal(stage->delivered + stage->answered, 0);
    assert_int_equal(flight_deliveries_in_flight(stage->flight), 2);
    stage_begin(stage, BERT, PHONE, 21, E2, true, 17);
    stage_expect_delivery(stage, &delivery, 21, 18, 1);
    stage_expect_delivery(stage, &delivery, 21, 19, 2);
    assert_true(stage_received(stage, E2, BERT, 21, 19));
    assert_int_equal(flight_counts(stage->flight)->acked, 2);
    stage_free(stage);
}

static void a_likely_session_that_is_dropped_was_offline(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, 21, E2, false, UINT32_MAX);
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    stage_end(stage, BERT, 21);
    stage_expect_answer(stage, &answer, 1, NACK_OFFLINE);
    stage_expect_answer(stage, &answer, 2, NACK_OFFLINE);
    assert_int_equal(flight_counts(stage->flight)->session_gone, 2);
    /* Definite, so judged anew, and from the oldest on. */
    stage_begin(stage, BERT, DESK, 22, E2, true, 0);
    stage_anna(stage, 2, 2, 1);
    stage_expect_answer(stage, &answer, 2, NACK_SEQ_GAP);
    stage_anna(stage, 1, 1, 1);
    assert_int_equal(stage->delivered, 1);
    stage_free(stage);
}

static void a_likely_session_that_stays_silent_was_offline_too(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, 21, E2, false, UINT32_MAX);
    stage_anna(stage, 1, 1, 1);
    stage_wait(stage, 5000);
    stage_expect_answer(stage, &answer, 1, NACK_OFFLINE);
    stage_wait(stage, 20000);
    /* Its lane is forgotten, and had no number to give back. */
    assert_int_equal(stage->kept_session, 0);
    stage_user(stage, BERT)->sessions[0].live = true;
    stage_user(stage, BERT)->sessions[0].dseq = 3;
    assert_true(stage_received(stage, E2, BERT, 21, 3));
    stage_begin(stage, BERT, PHONE, 21, E2, true, 3);
    assert_int_equal(stage->delivered, 0);
    stage_free(stage);
}

static void while_nobody_knows_yet_messages_wait(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0, delivery = 0;
    stage_user(stage, BERT)->unknown = true;
    stage_user(stage, CARL)->unknown = true;
    for (uint64_t n = 1; n <= 2; n++) {
        stage_anna(stage, n, n, 1);
        stage_send(stage, &(struct stage_send){ANNA, PHONE, 11, CARL, 50 + n, n, 1, 0, 0});
    }
    assert_int_equal(stage->delivered + stage->answered, 0);
    stage_begin(stage, BERT, PHONE, 21, E2, true, 5);
    stage_expect_delivery(stage, &delivery, 21, 6, 1);
    stage_expect_delivery(stage, &delivery, 21, 7, 2);
    stage_user(stage, BERT)->unknown = stage_user(stage, CARL)->unknown = false;
    flight_all_known(stage->flight, stage->now);
    stage_expect_answer(stage, &answer, 51, NACK_OFFLINE);
    stage_expect_answer(stage, &answer, 52, NACK_OFFLINE);
    assert_int_equal(flight_sends_in_flight(stage->flight), 2);
    stage_free(stage);
}

static void what_waits_has_a_limit_and_an_end(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_user(stage, BERT)->unknown = true;
    for (uint64_t n = 1; n <= 9; n++)
        stage_anna(stage, n, n, 1);
    stage_expect_answer(stage, &answer, 9, NACK_BUSY);
    stage_wait(stage, 5000);
    for (uint64_t n = 1; n <= 8; n++)
        stage_expect_answer(stage, &answer, n, NACK_OFFLINE);
    stage_free(stage);
}

static void the_bytes_of_what_waits_have_a_limit_too(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_user(stage, BERT)->unknown = true;
    struct stage_send send = {ANNA, PHONE, 11, BERT, 1, 1, 1, 3000, 0};
    stage_send(stage, &send);
    stage->now += 1000;
    stage_send(stage, &(struct stage_send){CARL, DESK, 31, BERT, 9, 1, 1, 8, 0});
    send.number = send.seq = 2;
    stage_send(stage, &send);
    stage_expect_answer(stage, &answer, 2, NACK_BUSY);
    stage_wait(stage, 4000);
    stage_expect_answer(stage, &answer, 1, NACK_OFFLINE);
    send.settled = 2;
    stage_send(stage, &send);
    assert_int_equal(stage->answered, answer);
    assert_int_equal(flight_sends_in_flight(stage->flight), 2);
    stage_free(stage);
}

static void a_full_lane_is_left_out_and_all_full_is_busy(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    size_t answer = 0;
    for (uint64_t n = 1; n <= 8; n++)
        stage_anna(stage, n, n, 1);
    assert_true(stage_received(stage, E3, BERT, 22, 48));
    answer = 8;
    size_t delivery = stage->delivered;
    for (uint64_t n = 9; n <= 16; n++) {
        stage_anna(stage, n, n, 9);
        stage_expect_delivery(stage, &delivery, 22, 40 + n, n);
    }
    assert_int_equal(stage->delivered, delivery);
    stage_anna(stage, 17, 17, 9);
    stage_expect_answer(stage, &answer, 17, NACK_BUSY);
    assert_true(stage_received(stage, E3, BERT, 22, 49));
    stage_expect_answer(stage, &answer, 9, NACK_NONE);
    stage_anna(stage, 17, 17, 10);
    stage_expect_delivery(stage, &delivery, 22, 57, 17);
    assert_int_equal(stage->delivered, delivery);
    stage_free(stage);
}

/* Its sender may have to send it again, when what followed it was acknowledged long ago. */
static void nothing_overtakes_what_a_full_lane_has_left_out(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    for (uint64_t n = 1; n <= 8; n++)
        stage_anna(stage, n, n, 1);
    assert_true(stage_received(stage, E3, BERT, 22, 48));
    stage_anna(stage, 9, 9, 9); /* 21 is full */
    stage_anna(stage, 10, 10, 9);
    size_t delivery = stage->delivered;
    assert_true(stage_received(stage, E2, BERT, 21, 1));
    stage_expect_delivery(stage, &delivery, 21, 9, 9);
    stage_anna(stage, 11, 11, 9);
    stage_expect_delivery(stage, &delivery, 22, 51, 11);
    assert_true(stage_received(stage, E2, BERT, 21, 8));
    stage_expect_delivery(stage, &delivery, 21, 10, 10);
    stage_expect_delivery(stage, &delivery, 21, 11, 11);
    assert_int_equal(stage->delivered, delivery);
    stage_free(stage);
}

static void what_a_full_lane_has_missed_for_good_does_not_come_after_what_followed(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    for (uint64_t n = 1; n <= 8; n++)
        stage_anna(stage, n, n, 1);
    assert_true(stage_received(stage, E3, BERT, 22, 48));
    stage_anna(stage, 9, 9, 9); /* 21 is full */
    assert_true(stage_received(stage, E3, BERT, 22, 49));
    assert_true(stage_received(stage, E2, BERT, 21, 8));
    stage_anna(stage, 10, 10, 9);
    assert_true(stage_received(stage, E2, BERT, 21, 9)); /* that is 10 */
    size_t delivery = stage->delivered;
    stage_begin(stage, BERT, PHONE, 31, E2, true, 0);
    assert_int_equal(stage->delivered, delivery);
    stage_free(stage);
}

static void the_bytes_of_a_lane_have_a_limit(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0;
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    struct stage_send send = {ANNA, PHONE, 11, BERT, 1, 1, 1, 5000, 0};
    stage_send(stage, &send); /* one always fits */
    assert_int_equal(stage->delivered, 1);
    send.number = send.seq = 2;
    send.bytes = 8;
    stage_send(stage, &send);
    stage_expect_answer(stage, &answer, 2, NACK_BUSY);
    stage_free(stage);
}

static void an_edge_without_credit_gets_it_later_if_another_took_it(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    size_t delivery = 0;
    stage->no_credit[E2] = true;
    stage_anna(stage, 1, 1, 1);
    stage_anna(stage, 2, 2, 1);
    stage_expect_delivery(stage, &delivery, 22, 41, 1);
    stage_expect_delivery(stage, &delivery, 22, 42, 2);
    stage->no_credit[E2] = false;
    stage_anna(stage, 3, 3, 1);
    stage_expect_delivery(stage, &delivery, 21, 1, 1);
    stage_expect_delivery(stage, &delivery, 21, 2, 2);
    stage_expect_delivery(stage, &delivery, 21, 3, 3);
    stage_expect_delivery(stage, &delivery, 22, 43, 3);
    assert_int_equal(flight_counts(stage->flight)->redelivered, 0);
    stage_free(stage);
}

static void what_could_not_be_given_is_not_overtaken(void **state)
{
    (void)state;
    struct stage *stage = with_two_devices(E3);
    size_t delivery = 0;
    stage->body_max[E2] = 100;
    struct stage_send send = {ANNA, PHONE, 11, BERT, 1, 1, 1, 1000, 0};
    stage_send(stage, &send);
    send = (struct stage_send){ANNA, PHONE, 11, BERT, 2, 2, 1, 8, 0};
    stage_send(stage, &send);
    stage_expect_delivery(stage, &delivery, 22, 41, 1);
    stage_expect_delivery(stage, &delivery, 22, 42, 2);
    assert_int_equal(stage->delivered, delivery);
    stage->body_max[E2] = 0;
    stage_wait(stage, 1000);
    stage_expect_delivery(stage, &delivery, 21, 1, 1);
    stage_expect_delivery(stage, &delivery, 21, 2, 2);
    stage_free(stage);
}

static void to_oneself_means_to_ones_other_devices(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    size_t answer = 0, delivery = 0;
    stage_begin(stage, ANNA, PHONE, 11, E1, true, 0);
    struct stage_send send = {ANNA, PHONE, 11, ANNA, 1, 1, 1, 0, 0};
    stage_send(stage, &send);
    stage_expect_answer(stage, &answer, 1, NACK_OFFLINE);
    stage_begin(stage, ANNA, DESK, 12, E2, true, 0);
    send.number = send.seq = send.settled = 2;
    stage_send(stage, &send);
    stage_expect_delivery(stage, &delivery, 12, 1, 2);
    stage_begin(stage, ANNA, PHONE, 13, E3, true, 0);
    stage_begin(stage, ANNA, TABLET, 14, E3, true, 0);
    stage_expect_delivery(stage, &delivery, 14, 1, 2);
    assert_int_equal(stage->delivered, delivery);
    stage_free(stage);
}

static void a_lane_that_is_idle_gives_its_number_back(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    stage_begin(stage, BERT, PHONE, 21, E2, true, 6);
    stage_anna(stage, 1, 1, 1);
    assert_true(stage_received(stage, E2, BERT, 21, 7));
    stage_wait(stage, 9999);
    assert_int_equal(stage->kept_session, 0);
    stage_wait(stage, 1);
    assert_int_equal(stage->kept_session, 21);
    assert_int_equal(stage->kept_dseq, 7);
    stage_anna(stage, 2, 2, 2);
    assert_int_equal(stage->deliveries[1].dseq, 8);
    stage_free(stage);
}

static void announced_again_it_goes_on_where_the_edge_is(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    stage_begin(stage, BERT, PHONE, 21, E2, true, 0);
    for (uint64_t n = 1; n <= 3; n++)
        stage_anna(stage, n, n, 1);
    size_t delivery = stage->delivered;
    stage_begin(stage, BERT, PHONE, 21, E2, true, 1);
    stage_expect_delivery(stage, &delivery, 21, 2, 2);
    stage_expect_delivery(stage, &delivery, 21, 3, 3);
    assert_true(stage_received(stage, E2, BERT, 21, 3));
    assert_int_equal(flight_counts(stage->flight)->acked, 3);
    stage_free(stage);
}

/* ---- anything, in any order ---- */

static uint64_t any(uint64_t *rng, uint64_t below)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return (*rng >> 11) % below;
}

static void any_step(struct stage *stage, uint64_t *rng)
{
    uint64_t gid = ANNA + any(rng, 4), session = 100 + any(rng, 12) + (gid - ANNA) * 100;
    uint32_t edge = 1 + (uint32_t)(session % 3);
    uint64_t seq = 1 + any(rng, 12);
    stage->delivered = stage->answered = 0;
    switch (any(rng, 12)) {
    case 0:
        stage_begin(stage, gid, 501 + session % 3, session, edge, any(rng, 4) > 0,
                    (uint32_t)any(rng, 30));
        break;
    case 1:
        stage_end(stage, gid, session);
        break;
    case 2:
        stage_user(stage, gid)->unknown = any(rng, 2);
        break;
    case 3:
        stage->no_credit[edge] = any(rng, 2);
        break;
    case 4:
        stage_wait(stage, any(rng, 3000));
        break;
    case 5:
    case 6:
        (void)stage_received(stage, edge, gid, session, any(rng, 60));
        break;
    case 7:
        (void)stage_gap(stage, edge, gid, session, any(rng, 60));
        break;
    case 8:
        flight_all_known(stage->flight, stage->now);
        stage_check_ledgers(stage);
        break;
    default:
        stage_send(stage, &(struct stage_send){ANNA + any(rng, 4), 501 + any(rng, 2),
                                               10 + any(rng, 3), gid, any(rng, 500), seq,
                                               seq - any(rng, 2), 1 + any(rng, 900) + 8, edge});
    }
}

static void whatever_happens_the_ledgers_come_out(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t rng = seed * UINT64_C(0x9e3779b97f4a7c15);
        struct stage *stage = stage_new();
        for (uint32_t step = 0; step < 3000; step++)
            any_step(stage, &rng);
        const struct flight_counts *c = flight_counts(stage->flight);
        assert_true(c->made > 100 && c->superseded > 0 && c->expired > 0 && c->session_gone > 0);
        for (uint64_t gid = ANNA; gid < ANNA + 4; gid++)
            while (stage_user(stage, gid)->count > 0)
                stage_end(stage, gid, stage_user(stage, gid)->sessions[0].session);
        stage->delivered = stage->answered = 0;
        stage_wait(stage, 5000);
        assert_int_equal(flight_sends_in_flight(stage->flight), 0);
        assert_int_equal(flight_deliveries_in_flight(stage->flight), 0);
        stage_free(stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_on_one_edge_share_a_delivery),
        cmocka_unit_test(devices_on_two_edges_get_one_delivery_each),
        cmocka_unit_test(the_first_device_to_acknowledge_decides_and_the_others_still_get_it),
        cmocka_unit_test(after_its_time_what_a_slow_device_has_not_taken_is_empty),
        cmocka_unit_test(a_gap_and_then_the_timer_deliver_again),
        cmocka_unit_test(progress_puts_the_timer_off),
        cmocka_unit_test(what_an_edge_cannot_know_is_refused_and_counted),
        cmocka_unit_test(a_session_without_a_lane_may_repeat_what_is_behind_it),
        cmocka_unit_test(a_new_session_inherits_what_the_replaced_one_had),
        cmocka_unit_test(a_device_that_is_new_gets_what_is_pending),
        cmocka_unit_test(what_was_given_waits_for_the_user_to_come_back),
        cmocka_unit_test(and_ends_unknown_if_the_user_does_not),
        cmocka_unit_test(a_likely_session_keeps_what_comes_until_it_is_announced),
        cmocka_unit_test(a_likely_session_that_is_dropped_was_offline),
        cmocka_unit_test(a_likely_session_that_stays_silent_was_offline_too),
        cmocka_unit_test(while_nobody_knows_yet_messages_wait),
        cmocka_unit_test(what_waits_has_a_limit_and_an_end),
        cmocka_unit_test(the_bytes_of_what_waits_have_a_limit_too),
        cmocka_unit_test(a_full_lane_is_left_out_and_all_full_is_busy),
        cmocka_unit_test(nothing_overtakes_what_a_full_lane_has_left_out),
        cmocka_unit_test(what_a_full_lane_has_missed_for_good_does_not_come_after_what_followed),
        cmocka_unit_test(the_bytes_of_a_lane_have_a_limit),
        cmocka_unit_test(an_edge_without_credit_gets_it_later_if_another_took_it),
        cmocka_unit_test(what_could_not_be_given_is_not_overtaken),
        cmocka_unit_test(to_oneself_means_to_ones_other_devices),
        cmocka_unit_test(a_lane_that_is_idle_gives_its_number_back),
        cmocka_unit_test(announced_again_it_goes_on_where_the_edge_is),
        cmocka_unit_test(whatever_happens_the_ledgers_come_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
