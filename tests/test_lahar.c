/* lahar, transport, servers: the public functions, over real sockets and real TLS. */
#include "tests/lahar_world.h"

#include <signal.h>
#include <sys/time.h>

static void send_text(struct world *world, const char *text)
{
    assert_int_equal(lahar_send(world->lahar, PEER, LAHAR_CONFIRMED, text, strlen(text), NULL),
                     LAHAR_OK);
}

static void talks(struct world *world)
{
    struct span content;
    struct hot_received received;
    go_online(world);
    assert_int_equal(lahar_self(world->lahar), SELF);
    send_text(world, "hello");
    assert_int_equal(lahar_waiting(world->lahar), 1);
    struct hot_send send = hear_send(world);
    assert_true(span_equal(send.body, span_text("hello")));
    say_ack(world, send.cmid);
    TURN_UNTIL(world, world->outcomes == 1);
    assert_int_equal(world->last_outcome.outcome, LAHAR_DELIVERED);
    assert_int_equal(lahar_waiting(world->lahar), 0);
    say_deliver(world, 1, span_text("hi"));
    TURN_UNTIL(world, world->messages == 1);
    assert_string_equal(world->last_message, "hi");
    assert_int_equal(hear(world, &content), KIND(RECEIVED));
    assert_true(hot_received_read(content, &received));
    assert_int_equal(received.dseq, 1);
}

static void talks_over_tcp(void **state)
{
    struct world *world = *state;
    begin(world, "tcp://127.0.0.1:%");
    talks(world);
    assert_int_equal(world->result_in_callback, LAHAR_INVALID); /* lahar_process in a callback */
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static void talks_over_tls_to_the_name_in_the_certificate_and_says_it(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    begin(world, "tls://localhost:%");
    talks(world);
    assert_string_equal(world->server.sni, "localhost");
    assert_true(SSL_version(world->server.ssl) >= TLS1_2_VERSION);
}

static void talks_over_tls_to_the_address_in_the_certificate(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    begin(world, "tls://127.0.0.1:%");
    talks(world);
    assert_string_equal(world->server.sni, "");
}

static void talks_over_tls_1_2(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    SSL_CTX_set_max_proto_version(world->server.tls, TLS1_2_VERSION);
    begin(world, "tls://localhost:%");
    talks(world);
}

/* It goes away, says why, and gave away no byte of the token. */
static void assert_refuses(struct world *world, const char *servers, const char *why)
{
    begin(world, servers);
    TURN_UNTIL(world, lahar_why(world->lahar)[0] != '\0');
    assert_string_equal(lahar_why(world->lahar), why);
    assert_true(strlen(lahar_why_text(world->lahar)) > 5);
    assert_int_equal(lahar_state(world->lahar), LAHAR_CONNECTING);
    assert_int_equal(world->tokens, 0);
    assert_int_equal(buf_len(&world->server.in), 0);
}

static void refuses_a_certificate_for_another_name(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_certificate(world, world->ca, "localhost",
                                            "DNS:other.example,IP:127.0.0.2", -3600, 3600));
    assert_refuses(world, "tls://localhost:%", "certificate");
    assert_string_equal(lahar_why_text(world->lahar), "hostname mismatch");
}

static void refuses_a_certificate_for_another_address(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_certificate(world, world->ca, "127.0.0.1",
                                            "DNS:127.0.0.1,IP:127.0.0.2", -3600, 3600));
    assert_refuses(world, "tls://127.0.0.1:%", "certificate");
}

static void refuses_a_certificate_of_an_unknown_authority(void **state)
{
    struct world *world = *state;
    use_certificate(world,
                    make_certificate(world, world->other_ca, "edge", "DNS:localhost", -3600, 3600));
    assert_refuses(world, "tls://localhost:%", "certificate");
}

static void refuses_a_certificate_that_signed_itself(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_certificate(world, NULL, "edge", "DNS:localhost", -3600, 3600));
    assert_refuses(world, "tls://localhost:%", "certificate");
}

static void refuses_a_certificate_that_the_system_does_not_know(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    world->options.ca_file = NULL;
    assert_refuses(world, "tls://localhost:%", "certificate");
}

static void refuses_a_certificate_whose_time_is_over_or_has_not_come(void **state)
{
    struct world *world = *state;
    use_certificate(world,
                    make_certificate(world, world->ca, "edge", "DNS:localhost", -7200, -3600));
    assert_refuses(world, "tls://localhost:%", "certificate");
    assert_string_equal(lahar_why_text(world->lahar), "certificate has expired");
    lahar_free(world->lahar);
    use_certificate(world, make_certificate(world, world->ca, "edge", "DNS:localhost", 3600, 7200));
    assert_refuses(world, "tls://localhost:%", "certificate");
}

static void refuses_tls_before_1_2_and_what_is_no_tls(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    SSL_CTX_set_security_level(world->server.tls, 0);
    SSL_CTX_set_max_proto_version(world->server.tls, TLS1_1_VERSION);
    assert_refuses(world, "tls://localhost:%", "tls");
    lahar_free(world->lahar);
    SSL_CTX_free(world->server.tls);
    world->server.tls = NULL;
    server_hang_up(&world->server);
    begin(world, "tls://localhost:%");
    uint32_t accepted = world->server.accepted;
    TURN_UNTIL(world, world->server.accepted > accepted);
    server_write(&world->server, span_text("220 I am a mail server\r\n"));
    TURN_UNTIL(world, lahar_why(world->lahar)[0] != '\0');
    assert_string_equal(lahar_why(world->lahar), "tls");
    assert_int_equal(world->tokens, 0);
}

static void takes_any_certificate_only_if_told_to(void **state)
{
    struct world *world = *state;
    use_certificate(world,
                    make_certificate(world, NULL, "edge", "DNS:other.example", -7200, -3600));
    world->options.tls_insecure = true;
    begin(world, "tls://localhost:%");
    talks(world);
}

/* ---- losses ---------------------------------------------------------------------------------- */

static void comes_back_and_sends_again_with_the_same_id(void **state)
{
    struct world *world = *state;
    uint8_t id[LAHAR_ID_SIZE] = {0};
    begin(world, "tcp://127.0.0.1:%");
    int fd = lahar_fd(world->lahar);
    go_online(world);
    for (int i = 0; i < 5; i++) {
        memset(id, 0, sizeof id);
        assert_int_equal(lahar_send(world->lahar, PEER, LAHAR_STORED, "hello", 5, id), LAHAR_OK);
        assert_memory_equal(hear_send(world).cmid.at, id, sizeof id);
        if (i % 2 == 0)
            server_hang_up(&world->server);
        else
            server_reset(&world->server);
        TURN_UNTIL(world, lahar_state(world->lahar) == LAHAR_CONNECTING);
        assert_string_equal(lahar_why(world->lahar), "closed");
        go_online(world);
        struct hot_send send = hear_send(world);
        assert_memory_equal(send.cmid.at, id, sizeof id);
        assert_int_equal(send.seq, 1);
        say_ack(world, send.cmid);
        TURN_UNTIL(world, lahar_waiting(world->lahar) == 0);
        assert_int_equal(lahar_fd(world->lahar), fd);
    }
}

static void writing_to_a_dead_connection_raises_no_signal(void **state)
{
    struct world *world = *state;
    for (int tls = 0; tls < 2; tls++) {
        if (tls)
            use_certificate(world, make_good_certificate(world));
        begin(world, tls ? "tls://localhost:%" : "tcp://127.0.0.1:%");
        go_online(world);
        server_reset(&world->server);
        for (int i = 0; i < 20; i++) {
            (void)lahar_send(world->lahar, PEER, LAHAR_EPHEMERAL, "x", 1, NULL);
            (void)lahar_process(world->lahar);
        }
        TURN_UNTIL(world, lahar_why(world->lahar)[0] != '\0');
        lahar_free(world->lahar);
        world->lahar = NULL;
    }
}

static void stays_away_when_replaced_until_told_to_come_back(void **state)
{
    struct world *world = *state;
    begin(world, "tcp://127.0.0.1:%");
    go_online(world);
    say_error(world, END_REPLACED);
    TURN_UNTIL(world, lahar_state(world->lahar) == LAHAR_AWAY);
    assert_string_equal(lahar_why(world->lahar), "replaced");
    assert_int_equal(lahar_timeout_ms(world->lahar), -1);
    assert_int_equal(lahar_run(world->lahar, -1), LAHAR_ENDED);
    assert_int_equal(lahar_send(world->lahar, PEER, LAHAR_STORED, "x", 1, NULL), LAHAR_ENDED);
    lahar_reconnect(world->lahar);
    server_hang_up(&world->server);
    go_online(world);
}

static void goes_to_another_server_if_one_is_down(void **state)
{
    struct world *world = *state;
    uint16_t port;
    close(listen_somewhere(&port)); /* nobody is there now */
    char pattern[128];
    /* One refuses, one name is not known, one address can be no peer's. */
    snprintf(pattern, sizeof pattern,
             "tcp://127.0.0.1:%u,tcp://127.0.0.1:%%,tcp://a..b:1,tcp://255.255.255.255:1", port);
    for (int i = 0; i < 10; i++) {
        begin(world, pattern);
        go_online(world); /* at the first try: else `why` would say so */
        assert_string_equal(lahar_why(world->lahar), "");
        lahar_free(world->lahar);
        world->lahar = NULL;
        server_hang_up(&world->server);
    }
}

static void goes_to_another_server_if_one_is_silent(void **state)
{
    struct world *world = *state;
    uint16_t port;
    int silent = listen_somewhere(&port);
    char pattern[128];
    use_certificate(world, make_good_certificate(world));
    world->options.connect_timeout_ms = 1500; /* a third of it for each address */
    snprintf(pattern, sizeof pattern, "tls://localhost:%u,tls://localhost:%u,tls://localhost:%%",
             port, port);
    for (int i = 0; i < 3; i++) {
        begin(world, pattern);
        go_online(world);
        lahar_free(world->lahar);
        world->lahar = NULL;
        server_hang_up(&world->server);
    }
    close(silent);
}

static void says_why_nobody_could_be_reached(void **state)
{
    struct world *world = *state;
    char pattern[64];
    uint16_t port;
    close(listen_somewhere(&port));
    snprintf(pattern, sizeof pattern, "tcp://127.0.0.1:%u", port);
    assert_refuses(world, pattern, "connect");
    assert_string_equal(lahar_why_text(world->lahar), "Connection refused");
    lahar_free(world->lahar);
    assert_refuses(world, "tcp://a..b:1", "resolve");
    lahar_free(world->lahar);
    assert_refuses(world, "tcp://255.255.255.255:1", "connect");
}

static void a_server_that_says_nothing_is_left_in_time(void **state)
{
    struct world *world = *state;
    world->options.connect_timeout_ms = 500;
    world->server.mute = true;
    begin(world, "tcp://127.0.0.1:%");
    TURN_UNTIL(world, world->server.accepted >= 2);
    assert_string_equal(lahar_why(world->lahar), "timeout");
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void carries_the_largest_messages_both_ways(struct world *world)
{
    static uint8_t big[LAHAR_BODY_SIZE_MAX];
    struct span content;
    enum { COUNT = 100 };
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 31 + i / 251);
    go_online(world);
    world->server.deaf = true;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(lahar_send(world->lahar, PEER, LAHAR_CONFIRMED, big, sizeof big, NULL),
                         LAHAR_OK);
    for (int i = 0; i < 20; i++)
        (void)lahar_process(world->lahar);
    world->server.deaf = false;
    while (world->outcomes < COUNT) {
        struct hot_send send = hear_send(world);
        assert_int_equal(send.body.len, sizeof big);
        assert_memory_equal(send.body.at, big, sizeof big);
        say_ack(world, send.cmid);
        TURN_UNTIL(world, world->outcomes == COUNT || buf_len(&world->server.in) > 0);
    }
    for (uint32_t i = 1; i <= COUNT; i++) {
        say_deliver(world, i, span_of(big, sizeof big));
        TURN_UNTIL(world, world->messages == i);
        while (hear(world, &content) != KIND(RECEIVED))
            ; /* a repeated send, if it was slow */
    }
    assert_int_equal(world->bytes_in_messages, COUNT * sizeof big);
}

static void carries_the_largest_messages_over_tcp(void **state)
{
    struct world *world = *state;
    begin(world, "tcp://127.0.0.1:%");
    carries_the_largest_messages_both_ways(world);
}

static void carries_the_largest_messages_over_tls(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    begin(world, "tls://localhost:%");
    carries_the_largest_messages_both_ways(world);
}

static void a_slow_line_refuses_ephemeral_and_queues_no_more(void **state)
{
    struct world *world = *state;
    static uint8_t big[LAHAR_BODY_SIZE_MAX];
    begin(world, "tcp://127.0.0.1:%");
    go_online(world);
    world->server.deaf = true;
    enum lahar_result result = LAHAR_OK;
    for (int i = 0; i < 1000 && result == LAHAR_OK; i++) {
        result = lahar_send(world->lahar, PEER, LAHAR_EPHEMERAL, big, sizeof big, NULL);
        (void)lahar_process(world->lahar);
    }
    assert_int_equal(result, LAHAR_FULL);
    assert_int_equal(lahar_state(world->lahar), LAHAR_ONLINE);
    assert_true(lahar_timeout_ms(world->lahar) > 0);
    struct pollfd ready = {lahar_fd(world->lahar), POLLIN, 0};
    assert_int_equal(poll(&ready, 1, 0), 0); /* it waits without turning in circles */
    server_read(&world->server);
    assert_int_equal(poll(&ready, 1, WAIT_MS), 1); /* and goes on when the line does */
    world->server.deaf = false;
    TURN_UNTIL(world, lahar_send(world->lahar, PEER, LAHAR_EPHEMERAL, "x", 1, NULL) == LAHAR_OK);
}

static void everything_that_came_with_one_record_is_handed_out(void **state)
{
    struct world *world = *state;
    use_certificate(world, make_good_certificate(world));
    begin(world, "tls://localhost:%");
    go_online(world);
    uint8_t bytes[64 * 1024];
    size_t len = 0;
    for (uint64_t i = 1; i <= 500; i++) {
        uint8_t mid[LAHAR_ID_SIZE] = {(uint8_t)i, (uint8_t)(i >> 8)};
        struct hot_deliver deliver = {.dseq = i,
                                      .from = PEER,
                                      .class = HOT_CONFIRMED,
                                      .mid = span_of(mid, sizeof mid),
                                      .body = span_text("x")};
        len += hot_deliver_write(bytes + len, &deliver);
    }
    server_write(&world->server, span_of(bytes, len));
    TURN_UNTIL(world, world->messages == 500);
}

/* ---- the caller's loop ----------------------------------------------------------------------- */

static void an_idle_connection_asks_for_nothing(void **state)
{
    struct world *world = *state;
    begin(world, "tcp://127.0.0.1:%");
    struct pollfd ready = {lahar_fd(world->lahar), POLLIN, 0};
    assert_int_equal(lahar_timeout_ms(world->lahar), 0);
    go_online(world);
    (void)lahar_process(world->lahar);
    assert_int_equal(poll(&ready, 1, 0), 0);
    assert_true(lahar_timeout_ms(world->lahar) > 0);
    send_text(world, "x");
    assert_int_equal(poll(&ready, 1, 0), 1); /* what is queued wakes a loop that waits already */
    assert_int_equal(lahar_process(world->lahar), LAHAR_OK);
    assert_int_equal(poll(&ready, 1, 0), 0);
    say_deliver(world, 1, span_text("hi"));
    assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
}

static void on_alarm(int number)
{
    (void)number;
}

static void run_waits_as_long_as_told_or_until_a_signal(void **state)
{
    struct world *world = *state;
    begin(world, "tcp://127.0.0.1:%");
    go_online(world);
    uint64_t start = now_ms();
    assert_int_equal(lahar_run(world->lahar, 50), LAHAR_OK);
    assert_true(now_ms() - start >= 49);
    assert_int_equal(lahar_run(world->lahar, 0), LAHAR_OK);
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval soon = {.it_value.tv_usec = 20000, .it_interval.tv_usec = 20000};
    const struct itimerval never = {0};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    assert_int_equal(lahar_run(world->lahar, -1), LAHAR_OK);
    setitimer(ITIMER_REAL, &never, NULL);
}

static void says_goodbye_when_freed(void **state)
{
    struct world *world = *state;
    for (int tls = 0; tls < 2; tls++) {
        if (tls)
            use_certificate(world, make_good_certificate(world));
        begin(world, tls ? "tls://localhost:%" : "tcp://127.0.0.1:%");
        go_online(world);
        lahar_free(world->lahar);
        world->lahar = NULL;
        struct pollfd ready = {world->server.fd, POLLIN, 0};
        assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
        server_read(&world->server);
        const uint8_t bye[] = {2, KIND(BYE) << 3 | 2, 0};
        assert_true(span_equal(buf_span(&world->server.in), span_of(bye, sizeof bye)));
        server_hang_up(&world->server);
    }
}

static void wrong_options_are_named(void **state)
{
    struct world *world = *state;
    const struct lahar_options good = {
        .servers = "tcp://127.0.0.1:1", .device = "desk", .token = give_token};
    struct {
        struct lahar_options options;
        const char *name;
    } cases[] = {
        {good, "servers"}, {good, "servers"},          {good, "servers"},
        {good, "servers"}, {good, "device"},           {good, "token"},
        {good, "ca_file"}, {good, "reconnect_min_ms"}, {good, "client"},
    };
    const char *long_name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    cases[0].options.servers = NULL;
    cases[1].options.servers = "";
    cases[2].options.servers = "127.0.0.1:1";
    cases[3].options.servers = "tcp://127.0.0.1:1,";
    cases[4].options.device = "my desk";
    cases[5].options.token = NULL;
    cases[6].options.servers = "tls://localhost:1";
    cases[6].options.ca_file = "/nonexistent/ca.pem";
    cases[7].options.reconnect_min_ms = 10;
    cases[7].options.reconnect_max_ms = 5;
    cases[8].options.client = long_name;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = NULL;
        assert_null(lahar_new(&cases[i].options, &why));
        assert_int_equal(strncmp(why, cases[i].name, strlen(cases[i].name)), 0);
        assert_null(lahar_new(&cases[i].options, NULL));
    }
    (void)world;
}

static void gids_have_a_text(void **state)
{
    char text[LAHAR_GID_TEXT_SIZE];
    lahar_gid gid;
    assert_string_equal(lahar_gid_format(10001, text), "10001");
    assert_true(lahar_gid_parse("g42", &gid));
    assert_string_equal(lahar_gid_format(gid, text), "g42");
    assert_false(lahar_gid_parse("010001", &gid));
    assert_string_equal(lahar_version(), LAHAR_VERSION);
    (void)state;
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(talks_over_tcp),
        CLAIM(talks_over_tls_to_the_name_in_the_certificate_and_says_it),
        CLAIM(talks_over_tls_to_the_address_in_the_certificate),
        CLAIM(talks_over_tls_1_2),
        CLAIM(refuses_a_certificate_for_another_name),
        CLAIM(refuses_a_certificate_for_another_address),
        CLAIM(refuses_a_certificate_of_an_unknown_authority),
        CLAIM(refuses_a_certificate_that_signed_itself),
        CLAIM(refuses_a_certificate_that_the_system_does_not_know),
        CLAIM(refuses_a_certificate_whose_time_is_over_or_has_not_come),
        CLAIM(refuses_tls_before_1_2_and_what_is_no_tls),
        CLAIM(takes_any_certificate_only_if_told_to),
        CLAIM(comes_back_and_sends_again_with_the_same_id),
        CLAIM(writing_to_a_dead_connection_raises_no_signal),
        CLAIM(stays_away_when_replaced_until_told_to_come_back),
        CLAIM(goes_to_another_server_if_one_is_down),
        CLAIM(goes_to_another_server_if_one_is_silent),
        CLAIM(says_why_nobody_could_be_reached),
        CLAIM(a_server_that_says_nothing_is_left_in_time),
        CLAIM(carries_the_largest_messages_over_tcp),
        CLAIM(carries_the_largest_messages_over_tls),
        CLAIM(a_slow_line_refuses_ephemeral_and_queues_no_more),
        CLAIM(everything_that_came_with_one_record_is_handed_out),
        CLAIM(an_idle_connection_asks_for_nothing),
        CLAIM(run_waits_as_long_as_told_or_until_a_signal),
        CLAIM(says_goodbye_when_freed),
        CLAIM(wrong_options_are_named),
        CLAIM(gids_have_a_text),
    };
    return cmocka_run_group_tests_name("lahar", tests, NULL, NULL);
}
