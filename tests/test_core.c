/* core: every arrow of its picture, against a server that is written down in the test. */
#include "tests/core_world.h"

#include <malloc.h>

/* ---- login ----------------------------------------------------------------------------------- */

static void connects_when_it_is_told_the_time_first(void **state)
{
    struct world *world = *state;
    assert_int_equal(core_due_ms(world->core), world->now);
    assert_int_equal(world->connects, 0);
    assert_string_equal(core_why(world->core), "");
    tick(world);
    tick(world);
    assert_int_equal(world->connects, 1);
}

static void says_hello_first_and_only_hello(void **state)
{
    struct world *world = *state;
    struct span content;
    send_text(world, LAHAR_CONFIRMED, "early");
    tick(world);
    core_opened(world->core, world->now);
    assert_int_equal(hear(world, &content), KIND(HELLO));
    const Lahar__V1__Hello *hello =
        unpack_message(&lahar__v1__hello__descriptor, world->arena, content);
    assert_non_null(hello);
    assert_int_equal(hello->proto, 1);
    assert_true(span_equal(unpack_span(hello->token), span_text("token 1")));
    assert_true(span_equal(unpack_span(hello->device), span_text("desk")));
    assert_true(span_equal(unpack_span(hello->client), span_text("test 1")));
    assert_heard_nothing(world);
    say_welcome(world, 5);
    assert_int_equal(hear_send(world).seq, 1);
    assert_int_equal(core_self(world->core), SELF);
    assert_int_equal(core_session(world->core), 5);
    assert_string_equal(core_edge(world->core), "e1/0");
    assert_int_equal(world->states_count, 1);
    assert_int_equal(world->states[0], LAHAR_ONLINE);
}

static void asks_for_a_new_token_at_each_login(void **state)
{
    struct world *world = *state;
    open_connection(world);
    say_error(world, END_TOKEN_EXPIRED, 0);
    assert_int_equal(core_state(world->core), LAHAR_CONNECTING);
    assert_string_equal(core_why(world->core), "token_expired");
    go_online(world, 1);
    assert_int_equal(world->tokens, 2);
}

static void without_a_token_it_stays_away(void **state)
{
    struct world *world = *state;
    world->no_token = true;
    tick(world);
    core_opened(world->core, world->now);
    assert_int_equal(core_state(world->core), LAHAR_AWAY);
    assert_string_equal(core_why(world->core), "no_token");
    assert_int_equal(world->disconnects, 1);
    assert_heard_nothing(world);
    world->no_token = false;
    core_reconnect(world->core, world->now);
    go_online(world, 1);
}

static void connecting_and_login_have_one_time_limit(void **state)
{
    struct world *world = *state;
    tick(world);
    pass(world, 6000);
    core_opened(world->core, world->now);
    pass(world, 3999);
    assert_int_equal(world->disconnects, 0);
    pass(world, 1);
    assert_int_equal(world->disconnects, 1);
    assert_string_equal(core_why(world->core), "timeout");
    go_online(world, 1);
}

static void what_is_no_welcome_does_not_log_in(void **state)
{
    struct world *world = *state;
    open_connection(world);
    say_deliver(world, 1, 1, "early");
    assert_int_equal(world->messages_count, 0);
    assert_string_equal(core_why(world->core), "bad_frame");
    open_connection(world);
    say_welcome_of(world, 2, 1);
    assert_int_equal(core_state(world->core), LAHAR_CONNECTING);
    assert_int_equal(world->disconnects, 2);
}

/* ---- coming back ----------------------------------------------------------------------------- */

/* How long it waits after a loss, with randomness at one end of its range. */
static uint64_t wait_after_loss(struct world *world, uint64_t random)
{
    open_connection(world);
    world->random = random;
    lose(world);
    uint64_t due = core_due_ms(world->core);
    world->random = 0;
    return due - world->now;
}

static void comes_back_with_full_jitter_up_to_a_limit(void **state)
{
    struct world *world = *state;
    const uint64_t ceilings[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++)
        assert_int_equal(wait_after_loss(world, ceilings[i]), ceilings[i]);
    assert_string_equal(core_why_text(world->core), "the server closed the connection");
    assert_int_equal(core_session(world->core), 0);
    core_reconnect(world->core, world->now); /* begins anew */
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++)
        assert_int_equal(wait_after_loss(world, ceilings[i] + 1), 0);
}

static void a_good_connection_makes_the_jitter_begin_anew(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 5; i++)
        (void)wait_after_loss(world, 0);
    go_online(world, 1);
    pass(world, 9990);
    world->random = 20000;
    lose(world);
    assert_true(core_due_ms(world->core) - world->now == 20000); /* not yet */
    world->random = 0;
    go_online(world, 2);
    pass(world, 10000);
    world->random = 1001; /* just over the ceiling */
    lose(world);
    assert_int_equal(core_due_ms(world->core), world->now);
}

static void where_the_server_says_to_go_is_handed_on(void **state)
{
    struct world *world = *state;
    Lahar__V1__Goaway goaway = LAHAR__V1__GOAWAY__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    ProtobufCBinaryData hints[] = {unpack_data(span_text("tls://a:1")),
                                   unpack_data(span_text("tls://b:2"))};
    goaway.reason = END_EDGE_LEAVING;
    goaway.hints = hints;
    goaway.n_hints = 2;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY;
    frame.goaway = &goaway;
    say_bytes(world, unpack_frame(world->arena, &frame.base));
    assert_string_equal(world->hints, "tls://a:1 tls://b:2 ");
    assert_int_equal(world->disconnects, 1);
}

static void the_server_says_how_long_to_stay_away(void **state)
{
    struct world *world = *state;
    world->random = 0;
    say_goaway(world, END_EDGE_LEAVING, 5000);
    assert_int_equal(world->disconnects, 1);
    assert_string_equal(core_why(world->core), "edge_leaving");
    assert_int_equal(core_due_ms(world->core) - world->now, 5000);
    go_online(world, 2);
    world->random = 5000;
    say_error(world, END_BUSY, 5000);
    assert_int_equal(core_due_ms(world->core) - world->now, 10000);
    go_online(world, 3);
    world->random = 0;
    say_goaway(world, END_EDGE_LEAVING, UINT32_MAX);
    assert_int_equal(core_due_ms(world->core) - world->now, 60000);
    go_online(world, 4);
    lose(world);
    assert_string_equal(core_why(world->core), "closed"); /* nothing is left of the Goaway */
    assert_true(core_due_ms(world->core) - world->now <= 60000);
}

static void stays_away_after_the_reasons_that_say_so_and_no_others(void **state)
{
    struct world *world = *state;
    for (uint32_t reason = 1; reason < END_REASONS + 2; reason++) {
        bool away = reasons_end_next(reason) == END_NEXT_AWAY;
        say_error(world, reason, 0);
        assert_string_equal(core_why(world->core), reasons_end_label(reason));
        assert_string_equal(core_why_text(world->core), reasons_end_text(reason));
        assert_int_equal(core_state(world->core), away ? LAHAR_AWAY : LAHAR_CONNECTING);
        assert_int_equal(core_due_ms(world->core) == UINT64_MAX, away);
        if (away) {
            pass(world, 3600000);
            assert_int_equal(try_send(world, PEER, LAHAR_STORED, span_text("x"), NULL),
                             LAHAR_ENDED);
            core_reconnect(world->core, world->now);
            assert_int_equal(core_due_ms(world->core), world->now);
        }
        go_online(world, reason + 1);
    }
}

static void the_application_may_reconnect_from_inside_on_state(void **state)
{
    struct world *world = *state;
    world->reconnect_when_away = true;
    say_error(world, END_REPLACED, 0);
    assert_int_equal(core_state(world->core), LAHAR_CONNECTING);
    assert_int_equal(core_due_ms(world->core), world->now);
    tick(world);
    assert_int_equal(world->states_count, 3);
    core_opened(world->core, world->now);
    say_welcome(world, 2);
    assert_int_equal(world->states_count, 4);
    const enum lahar_state expected[] = {LAHAR_ONLINE, LAHAR_AWAY, LAHAR_CONNECTING, LAHAR_ONLINE};
    assert_memory_equal(world->states, expected, sizeof expected);
}

/* Its Bind may have waited somewhere while the next login went through. */
static void comes_back_once_when_a_lost_login_of_its_own_may_have_replaced_it(void **state)
{
    struct world *world = *state;
    lose(world);
    open_connection(world);
    lose(world);
    go_online(world, 2);
    say_error(world, END_REPLACED, 0);
    assert_int_equal(core_state(world->core), LAHAR_CONNECTING);
    go_online(world, 3);
    say_error(world, END_REPLACED, 0);
    assert_int_equal(core_state(world->core), LAHAR_AWAY);

    core_reconnect(world->core, world->now);
    open_connection(world);
    lose(world);
    go_online(world, 4);
    pass(world, 15000);
    say_error(world, END_REPLACED, 0);
    assert_int_equal(core_state(world->core), LAHAR_AWAY);
}

static void reconnect_cuts_the_wait_short_and_disturbs_no_connection(void **state)
{
    struct world *world = *state;
    core_reconnect(world->core, world->now);
    assert_int_equal(core_state(world->core), LAHAR_ONLINE);
    world->random = 900;
    lose(world);
    assert_true(core_due_ms(world->core) > world->now);
    core_reconnect(world->core, world->now);
    assert_int_equal(core_due_ms(world->core), world->now);
    assert_int_equal(world->states_count, 2);
    go_online(world, 2);
}

static void says_when_it_tries_again_and_only_while_it_waits_for_that(void **state)
{
    struct world *world = *state;
    assert_int_equal(core_retry_due_ms(world->core), UINT64_MAX);
    world->random = 900;
    lose(world);
    assert_int_equal(core_retry_due_ms(world->core), world->now + 900);
    pass(world, 900);
    assert_int_equal(core_retry_due_ms(world->core), UINT64_MAX);
}

static void a_late_event_of_a_connection_that_was_given_up_is_ignored(void **state)
{
    struct world *world = *state;
    say_error(world, END_REPLACED, 0);
    lose(world);
    core_opened(world->core, world->now);
    assert_string_equal(core_why(world->core), "replaced");
    assert_int_equal(core_state(world->core), LAHAR_AWAY);
    say_deliver(world, 1, 1, "late");
    assert_int_equal(world->messages_count, 0);
    core_reconnect(world->core, world->now);
    lose(world);
    assert_true(core_due_ms(world->core) <= world->now);
}

/* ---- heartbeats ------------------------------------------------------------------------------ */

static void pings_when_it_is_quiet_and_gives_up_without_an_answer(void **state)
{
    struct world *world = *state;
    struct span content;
    for (int i = 0; i < 3; i++) {
        pass(world, HEARTBEAT_MS);
        assert_int_equal(hear(world, &content), KIND(PING));
        say_pong(world);
    }
    assert_int_equal(world->disconnects, 0);
    pass(world, HEARTBEAT_MS);
    assert_int_equal(hear(world, &content), KIND(PING));
    pass(world, HEARTBEAT_MS);
    assert_int_equal(world->disconnects, 1);
    assert_string_equal(core_why(world->core), "no_answer");
    go_online(world, 2);
    pass(world, HEARTBEAT_MS);
    assert_int_equal(hear(world, &content), KIND(PING));
}

static void the_first_heartbeat_comes_at_a_random_part_of_it(void **state)
{
    struct world *world = *state;
    struct span content;
    lose(world);
    open_connection(world);
    world->random = 20000;
    say_welcome(world, 2);
    assert_int_equal(core_due_ms(world->core), world->now + 20001);
    pass_until_due(world);
    assert_int_equal(hear(world, &content), KIND(PING));
    assert_int_equal(core_due_ms(world->core), world->now + HEARTBEAT_MS);
}

static void any_traffic_counts_as_a_heartbeat(void **state)
{
    struct world *world = *state;
    pass_until_due(world); /* the first one */
    world->bytes_len = 0;
    say_pong(world);
    pass(world, HEARTBEAT_MS - 1000);
    send_text(world, LAHAR_EPHEMERAL, "typing");
    say_deliver(world, 0, 0, "typing");
    world->bytes_len = 0;
    pass(world, 1000);
    assert_heard_nothing(world);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void hands_a_message_out_and_acknowledges_it_afterwards(void **state)
{
    struct world *world = *state;
    say_deliver(world, 1, 77, "hello");
    assert_int_equal(world->messages_count, 1);
    assert_string_equal(world->messages[0], "hello");
    assert_int_equal(world->message_ids[0], 77);
    assert_int_equal(world->bytes_len_in_callback, 0);
    assert_hears_received(world, 1);
}

static void one_received_acknowledges_all_that_came_at_once(void **state)
{
    struct world *world = *state;
    uint8_t bytes[1024];
    size_t len = 0;
    for (uint32_t i = 1; i <= 5; i++)
        len += write_deliver(bytes + len, i, i, "x");
    say_bytes(world, span_of(bytes, len));
    assert_int_equal(world->messages_count, 5);
    assert_hears_received(world, 5);
    assert_heard_nothing(world);
}

static void a_part_of_a_frame_waits_for_the_rest(void **state)
{
    struct world *world = *state;
    uint8_t bytes[256];
    size_t first = write_deliver(bytes, 1, 1, "one");
    size_t both = first + write_deliver(bytes + first, 2, 2, "two");
    for (size_t cut = 1; cut < first; cut++)
        assert_int_equal(core_bytes(world->core, span_of(bytes, cut), world->now), 0);
    assert_int_equal(core_bytes(world->core, span_of(bytes, both - 1), world->now), first);
    assert_hears_received(world, 1);
    say_bytes(world, span_of(bytes + first, both - first));
    assert_hears_received(world, 2);
    assert_string_equal(world->messages[1], "two");
}

static void a_message_that_was_handed_out_is_only_acknowledged(void **state)
{
    struct world *world = *state;
    say_deliver(world, 1, 77, "hello");
    lose(world);
    go_online(world, 2);
    say_deliver(world, 1, 77, "hello");
    assert_int_equal(world->messages_count, 1);
    assert_hears_received(world, 1);
    say_deliver(world, 2, 77, "hello");
    assert_int_equal(world->messages_count, 1);
    assert_hears_received(world, 2);
}

static void an_empty_delivery_is_acknowledged_and_not_handed_out(void **state)
{
    struct world *world = *state;
    say_deliver(world, 1, 0, "");
    assert_int_equal(world->messages_count, 0);
    assert_hears_received(world, 1);
    say_deliver(world, 2, 5, "x");
    assert_int_equal(world->messages_count, 1);
}

static void a_repeated_number_is_ignored_and_a_gap_ends_the_connection(void **state)
{
    struct world *world = *state;
    say_deliver(world, 1, 1, "one");
    assert_hears_received(world, 1);
    say_deliver(world, 1, 2, "again");
    assert_heard_nothing(world);
    say_deliver(world, 3, 3, "three");
    assert_int_equal(world->messages_count, 1);
    assert_int_equal(world->disconnects, 1);
    assert_string_equal(core_why(world->core), "bad_frame");
    assert_heard_nothing(world);
}

static void what_came_before_a_farewell_is_acknowledged(void **state)
{
    struct world *world = *state;
    uint8_t bytes[256];
    size_t len = write_deliver(bytes, 1, 1, "last");
    struct span packed = pack_goaway(world, END_EDGE_LEAVING, 0);
    memcpy(bytes + len, packed.at, packed.len);
    len += packed.len;
    len += write_deliver(bytes + len, 2, 2, "never");
    say_bytes(world, span_of(bytes, len));
    assert_string_equal(core_why(world->core), "edge_leaving");
    assert_int_equal(world->messages_count, 1);
    assert_hears_received(world, 1);
    assert_int_equal(world->disconnects, 1);
}

static void ephemeral_messages_have_no_id_and_are_never_acknowledged(void **state)
{
    struct world *world = *state;
    say_deliver(world, 0, 55, "typing");
    say_deliver(world, 0, 55, "typing");
    assert_int_equal(world->messages_count, 2);
    assert_int_equal(world->message_ids[0], 0);
    assert_heard_nothing(world);
}

static void the_application_may_send_from_inside_a_message(void **state)
{
    struct world *world = *state;
    world->send_on_message = true;
    say_deliver(world, 1, 1, "hello");
    struct hot_send send = hear_send(world);
    assert_true(span_equal(send.body, span_text("reply")));
    assert_hears_received(world, 1);
}

static void bytes_that_are_no_protocol_end_the_connection(void **state)
{
    struct world *world = *state;
    const char *bad[] = {"\xff\xff\xff\xff\xff", "\x02\xff\xff", "\x00\x01", "\x04\x22\x02\x0b\x0b",
                         "\x04\x22\x02\x30\x03" /* a class of no meaning */};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t disconnects = world->disconnects;
        (void)core_bytes(world->core, span_of(bad[i], 5), world->now);
        assert_int_equal(world->disconnects, disconnects + 1);
        assert_string_equal(core_why(world->core), "bad_frame");
        go_online(world, i + 2);
    }
}

static void frames_of_later_versions_are_ignored(void **state)
{
    struct world *world = *state;
    const uint8_t unknown[] = {5, 0xfa, 0x01, 2, 8, 1}; /* field 31 of ServerFrame */
    say_bytes(world, span_of(unknown, sizeof unknown));
    assert_int_equal(core_state(world->core), LAHAR_ONLINE);
}

static void ten_thousand_idle_cores_are_small(void **state)
{
    struct world *world = *state;
    enum { CORES = 10000 };
    struct core **cores = calloc(CORES, sizeof(struct core *));
    struct mallinfo2 before = mallinfo2();
    for (size_t i = 0; i < CORES; i++)
        cores[i] = make_core(world);
    size_t used = mallinfo2().uordblks - before.uordblks; /* 0 under the sanitizers */
    assert_true(used / CORES < 2048);
    for (size_t i = 0; i < CORES; i++)
        core_free(cores[i]);
    free(cores);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define ONLINE_CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up_online, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(connects_when_it_is_told_the_time_first),
        CLAIM(says_hello_first_and_only_hello),
        CLAIM(asks_for_a_new_token_at_each_login),
        CLAIM(without_a_token_it_stays_away),
        CLAIM(connecting_and_login_have_one_time_limit),
        CLAIM(what_is_no_welcome_does_not_log_in),
        CLAIM(comes_back_with_full_jitter_up_to_a_limit),
        CLAIM(a_good_connection_makes_the_jitter_begin_anew),
        ONLINE_CLAIM(the_server_says_how_long_to_stay_away),
        ONLINE_CLAIM(where_the_server_says_to_go_is_handed_on),
        ONLINE_CLAIM(stays_away_after_the_reasons_that_say_so_and_no_others),
        ONLINE_CLAIM(the_application_may_reconnect_from_inside_on_state),
        ONLINE_CLAIM(comes_back_once_when_a_lost_login_of_its_own_may_have_replaced_it),
        ONLINE_CLAIM(reconnect_cuts_the_wait_short_and_disturbs_no_connection),
        ONLINE_CLAIM(says_when_it_tries_again_and_only_while_it_waits_for_that),
        ONLINE_CLAIM(a_late_event_of_a_connection_that_was_given_up_is_ignored),
        ONLINE_CLAIM(pings_when_it_is_quiet_and_gives_up_without_an_answer),
        ONLINE_CLAIM(the_first_heartbeat_comes_at_a_random_part_of_it),
        ONLINE_CLAIM(any_traffic_counts_as_a_heartbeat),
        ONLINE_CLAIM(hands_a_message_out_and_acknowledges_it_afterwards),
        ONLINE_CLAIM(one_received_acknowledges_all_that_came_at_once),
        ONLINE_CLAIM(a_part_of_a_frame_waits_for_the_rest),
        ONLINE_CLAIM(a_message_that_was_handed_out_is_only_acknowledged),
        ONLINE_CLAIM(an_empty_delivery_is_acknowledged_and_not_handed_out),
        ONLINE_CLAIM(a_repeated_number_is_ignored_and_a_gap_ends_the_connection),
        ONLINE_CLAIM(what_came_before_a_farewell_is_acknowledged),
        ONLINE_CLAIM(ephemeral_messages_have_no_id_and_are_never_acknowledged),
        ONLINE_CLAIM(the_application_may_send_from_inside_a_message),
        ONLINE_CLAIM(bytes_that_are_no_protocol_end_the_connection),
        ONLINE_CLAIM(frames_of_later_versions_are_ignored),
        CLAIM(ten_thousand_idle_cores_are_small),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
