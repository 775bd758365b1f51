/* core: who was here comes back by ticket, and only who has none, or no good one, asks for a token.
 */
#include "tests/core_world.h"

/* What the Hello of the next connection shows: "token N", "ticket X", or both. */
static const char *next_hello(struct world *world)
{
    static char shown[400];
    struct span content;
    uint32_t connects = world->connects;
    for (int i = 0; i < 100 && world->connects == connects; i++)
        pass_until_due(world);
    world->bytes_len = 0;
    core_opened(world->core, world->now);
    assert_int_equal(hear(world, &content), KIND(HELLO));
    const Lahar__V1__Hello *hello =
        unpack_message(&lahar__v1__hello__descriptor, world->arena, content);
    assert_non_null(hello);
    size_t len = (size_t)snprintf(shown, sizeof shown, "%.*s", (int)hello->token.len,
                                  (const char *)hello->token.data);
    if (hello->resume != NULL) {
        assert_int_equal(hello->resume->mseq, 0);
        snprintf(shown + len, sizeof shown - len, "ticket %.*s", (int)hello->resume->ticket.len,
                 (const char *)hello->resume->ticket.data);
    }
    arena_reset(world->arena);
    return shown;
}

static void comes_back_with_the_ticket_of_the_last_welcome(void **state)
{
    struct world *world = *state;
    world->gives_ticket = "one";
    assert_string_equal(next_hello(world), "token 1");
    say_welcome(world, 1);
    assert_string_equal(world->ticket, "one");
    lose(world);
    world->gives_ticket = "two";
    assert_string_equal(next_hello(world), "ticket one");
    say_welcome(world, 2);
    assert_string_equal(world->ticket, "two");
    lose(world);
    assert_string_equal(next_hello(world), "ticket two");
    assert_int_equal(world->tokens, 1);
}

static void a_lost_connection_or_a_busy_cluster_says_nothing_against_it(void **state)
{
    static const enum end_reason reasons[] = {END_BUSY, END_EDGE_LEAVING, END_CUT_OFF, END_IDLE,
                                              END_NO_SESSION};
    struct world *world = *state;
    world->gives_ticket = "one";
    (void)next_hello(world);
    say_welcome(world, 1);
    lose(world);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        assert_string_equal(next_hello(world), "ticket one");
        say_error(world, reasons[i], 0);
    }
    assert_int_equal(world->tickets_told, 1);
}

static void a_refused_ticket_is_followed_by_a_token_at_once(void **state)
{
    struct world *world = *state;
    world->gives_ticket = "one";
    (void)next_hello(world);
    say_welcome(world, 1);
    for (int i = 0; i < 8; i++) { /* so that jitter has grown */
        lose(world);
        assert_string_equal(next_hello(world), "ticket one");
    }
    uint64_t refused_ms = world->now;
    say_error(world, END_TOKEN_REQUIRED, 0);
    assert_string_equal(world->ticket, "");
    assert_int_equal(core_state(world->core), LAHAR_CONNECTING);
    assert_string_equal(next_hello(world), "token 2");
    assert_true(world->now - refused_ms <= 1000);
    say_error(world, END_TOKEN_REQUIRED, 0);
    assert_string_equal(next_hello(world), "token 3");
}

static void what_keeps_it_away_takes_the_ticket_too(void **state)
{
    static const enum end_reason reasons[] = {END_KICKED, END_REPLACED, END_TOKEN_REFUSED};
    struct world *world = *state;
    world->gives_ticket = "one";
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        (void)next_hello(world);
        say_welcome(world, i + 1);
        say_error(world, reasons[i], 0);
        assert_int_equal(core_state(world->core), LAHAR_AWAY);
        assert_string_equal(world->ticket, "");
        core_reconnect(world->core, world->now);
    }
    assert_string_equal(next_hello(world), "token 4");
}

static void begins_with_the_one_that_the_application_kept(void **state)
{
    struct world *world = *state;
    core_free(world->core);
    world->begins_with_ticket = "kept";
    world->core = make_core(world);
    assert_string_equal(next_hello(world), "ticket kept");
    assert_int_equal(world->tokens, 0);
    say_error(world, END_TOKEN_REQUIRED, 0);
    assert_int_equal(world->tickets_told, 1);
    assert_string_equal(next_hello(world), "token 1");
}

static void one_that_is_too_long_is_none(void **state)
{
    static char long_one[258];
    struct world *world = *state;
    memset(long_one, 'x', sizeof long_one - 1);
    core_free(world->core);
    world->begins_with_ticket = long_one;
    world->core = make_core(world);
    assert_string_equal(next_hello(world), "token 1");
    world->gives_ticket = long_one;
    say_welcome(world, 1);
    assert_int_equal(world->tickets_told, 0);
    lose(world);
    assert_string_equal(next_hello(world), "token 2");
}

/* It would be another cluster's, or none are given any more. */
static void a_welcome_without_one_ends_the_last(void **state)
{
    struct world *world = *state;
    world->gives_ticket = "one";
    (void)next_hello(world);
    say_welcome(world, 1);
    lose(world);
    world->gives_ticket = NULL;
    (void)next_hello(world);
    say_welcome(world, 2);
    assert_string_equal(world->ticket, "");
    lose(world);
    assert_string_equal(next_hello(world), "token 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back_with_the_ticket_of_the_last_welcome, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lost_connection_or_a_busy_cluster_says_nothing_against_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_ticket_is_followed_by_a_token_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_keeps_it_away_takes_the_ticket_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(begins_with_the_one_that_the_application_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_too_long_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_welcome_without_one_ends_the_last, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
