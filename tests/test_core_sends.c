/* core: what becomes of what the application sends. */
#include "tests/core_world.h"

static void a_send_ends_in_what_the_server_says(void **state)
{
    struct world *world = *state;
    uint8_t id[LAHAR_ID_SIZE] = {0};
    world->random = 0x1234;
    assert_int_equal(try_send(world, PEER, LAHAR_CONFIRMED, span_text("hi"), id), LAHAR_OK);
    assert_int_equal(id[0], 0x34);
    struct hot_send send = hear_send(world);
    assert_memory_equal(send.cmid.at, id, sizeof id);
    assert_true(span_equal(send.body, span_text("hi")));
    assert_int_equal(core_waiting(world->core), 1);
    say_ack(world, send.cmid);
    assert_int_equal(world->outcomes_count, 1);
    assert_int_equal(world->outcomes[0].outcome, LAHAR_DELIVERED);
    assert_int_equal(world->outcomes[0].to, PEER);
    assert_int_equal(world->outcomes[0].message_id[0], 9);
    assert_int_equal(core_waiting(world->core), 0);
    send_text(world, LAHAR_CONFIRMED, "again");
    send = hear_send(world);
    say_nack(world, (struct hot_nack){.cmid = send.cmid, .reason = NACK_OFFLINE});
    assert_int_equal(world->outcomes[1].outcome, LAHAR_REFUSED);
    assert_string_equal(world->outcomes[1].reason, "offline");
}

static void what_is_unsettled_is_sent_again_in_the_next_session(void **state)
{
    struct world *world = *state;
    send_text(world, LAHAR_CONFIRMED, "one");
    send_text(world, LAHAR_CONFIRMED, "two");
    uint8_t first[LAHAR_ID_SIZE];
    struct hot_send send = hear_send(world);
    memcpy(first, send.cmid.at, sizeof first);
    (void)hear_send(world);
    lose(world);
    send_text(world, LAHAR_CONFIRMED, "three");
    assert_heard_nothing(world);
    go_online(world, 2);
    const char *bodies[] = {"one", "two", "three"};
    for (uint64_t i = 0; i < 3; i++) {
        send = hear_send(world);
        assert_int_equal(send.seq, i + 1);
        assert_true(span_equal(send.body, span_text(bodies[i])));
        assert_int_equal(memcmp(send.cmid.at, first, sizeof first) == 0, i == 0);
    }
    assert_heard_nothing(world);
}

static void busy_and_gaps_reach_the_outbox(void **state)
{
    struct world *world = *state;
    send_text(world, LAHAR_CONFIRMED, "one");
    struct hot_send send = hear_send(world);
    say_nack(world,
             (struct hot_nack){.cmid = send.cmid, .reason = NACK_BUSY, .retry_after_ms = 700});
    pass(world, 699);
    world->bytes_len = 0; /* a heartbeat */
    pass(world, 1);
    send = hear_send(world);
    say_nack(world,
             (struct hot_nack){.cmid = send.cmid, .reason = NACK_SEQ_GAP, .expected_seq = 1});
    assert_int_equal(hear_send(world).seq, 1);
    assert_int_equal(world->outcomes_count, 0);
}

static void ephemeral_goes_out_at_once_outside_the_window_or_not_at_all(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 40; i++)
        send_text(world, LAHAR_CONFIRMED, "x");
    for (int i = 0; i < 32; i++)
        (void)hear_send(world);
    assert_heard_nothing(world);
    send_text(world, LAHAR_EPHEMERAL, "typing");
    struct hot_send send = hear_send(world);
    assert_int_equal(send.class, HOT_EPHEMERAL);
    assert_int_equal(send.seq, 0);
    assert_int_equal(send.cmid.len, 0);
    world->no_room = true;
    assert_int_equal(try_send(world, PEER, LAHAR_EPHEMERAL, span_text("typing"), NULL), LAHAR_FULL);
    world->no_room = false;
    lose(world);
    send_text(world, LAHAR_EPHEMERAL, "typing");
    assert_heard_nothing(world);
    assert_int_equal(core_waiting(world->core), 40);
}

static void sends_wait_while_the_line_has_no_room(void **state)
{
    struct world *world = *state;
    world->no_room = true;
    send_text(world, LAHAR_CONFIRMED, "x");
    pass(world, 1);
    assert_heard_nothing(world);
    assert_true(core_due_ms(world->core) > world->now);
    world->no_room = false;
    tick(world);
    assert_int_equal(hear_send(world).seq, 1);
}

static void overdue_sends_end_while_it_connects_or_stays_away(void **state)
{
    struct world *world = *state;
    send_text(world, LAHAR_CONFIRMED, "x");
    say_error(world, END_KICKED, 0);
    assert_int_equal(core_due_ms(world->core), world->now + 30000);
    pass(world, 30000);
    assert_int_equal(world->outcomes_count, 1);
    assert_string_equal(world->outcomes[0].reason, "timeout");
}

static void arguments_out_of_their_limits_are_refused(void **state)
{
    struct world *world = *state;
    static uint8_t big[LAHAR_BODY_SIZE_MAX + 1];
    uint8_t id[LAHAR_ID_SIZE] = {1};
    assert_int_equal(try_send(world, 0, LAHAR_STORED, span_text("x"), NULL), LAHAR_INVALID);
    assert_int_equal(try_send(world, PEER, LAHAR_EPHEMERAL + 1, span_text("x"), NULL),
                     LAHAR_INVALID);
    assert_int_equal(try_send(world, PEER, LAHAR_STORED, span_of(big, sizeof big), NULL),
                     LAHAR_INVALID);
    assert_int_equal(try_send(world, PEER, LAHAR_STORED, span_of(big, sizeof big - 1), id),
                     LAHAR_OK);
    assert_int_equal(hear_send(world).body.len, LAHAR_BODY_SIZE_MAX);
    assert_int_equal(try_send(world, PEER, LAHAR_STORED, span_text("x"), id), LAHAR_INVALID);
    assert_int_equal(try_send(world, PEER, LAHAR_STORED, (struct span){0}, NULL), LAHAR_OK);
}

static void the_application_may_send_from_inside_outcomes_and_states(void **state)
{
    struct world *world = *state;
    send_text(world, LAHAR_CONFIRMED, "one");
    struct hot_send send = hear_send(world);
    world->send_on_outcome = true;
    say_ack(world, send.cmid);
    assert_true(span_equal(hear_send(world).body, span_text("next")));
    world->send_on_outcome = true;
    world->send_on_online = true;
    lose(world);
    go_online(world, 2);
    assert_true(span_equal(hear_send(world).body, span_text("next")));
    assert_true(span_equal(hear_send(world).body, span_text("here")));
    pass(world, 30000); /* the outcome of "next" is unknown, and the application sends anew */
    assert_int_equal(core_waiting(world->core), 1);
}

static void says_goodbye_when_online_only(void **state)
{
    struct world *world = *state;
    struct span content;
    core_bye(world->core);
    assert_int_equal(hear(world, &content), KIND(BYE));
    lose(world);
    core_bye(world->core);
    assert_heard_nothing(world);
}

#define ONLINE_CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up_online, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONLINE_CLAIM(a_send_ends_in_what_the_server_says),
        ONLINE_CLAIM(what_is_unsettled_is_sent_again_in_the_next_session),
        ONLINE_CLAIM(busy_and_gaps_reach_the_outbox),
        ONLINE_CLAIM(ephemeral_goes_out_at_once_outside_the_window_or_not_at_all),
        ONLINE_CLAIM(sends_wait_while_the_line_has_no_room),
        ONLINE_CLAIM(overdue_sends_end_while_it_connects_or_stays_away),
        ONLINE_CLAIM(arguments_out_of_their_limits_are_refused),
        ONLINE_CLAIM(the_application_may_send_from_inside_outcomes_and_states),
        ONLINE_CLAIM(says_goodbye_when_online_only),
    };
    return cmocka_run_group_tests_name("core_sends", tests, NULL, NULL);
}
