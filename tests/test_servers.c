/* servers: everybody gets a turn, in an order of chance. */
#include "client/servers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t next_random(void *ctx)
{
    uint64_t *random = ctx;
    return (*random = *random * 6364136223846793005u + 1442695040888963407u) >> 32;
}

/* The ports of one round, in the order in which they are tried. */
static size_t play_a_round(struct servers *servers, uint16_t ports[8])
{
    struct servers_target target;
    const char *why;
    size_t count = 0;
    servers_begin(servers);
    while (servers_next(servers, &target, &why) == SERVERS_TRY) {
        const struct sockaddr_in *address = (const void *)target.address;
        assert_int_equal(target.family, AF_INET);
        assert_true(count < 8);
        ports[count++] = ntohs(address->sin_port);
    }
    return count;
}

static void each_round_goes_to_every_server_once(void **state)
{
    uint64_t random = 1;
    struct servers *servers =
        servers_new("tcp://127.0.0.1:1,tcp://127.0.0.1:2,tcp://127.0.0.1:3", next_random, &random);
    (void)state;
    for (int i = 0; i < 20; i++) {
        uint16_t ports[8];
        assert_int_equal(play_a_round(servers, ports), 3);
        assert_int_equal(1u << ports[0] | 1u << ports[1] | 1u << ports[2], 0xe);
    }
    servers_free(servers);
}

static void hint(struct servers *servers, const char *text)
{
    servers_hint(servers, span_text(text));
}

static void hints_come_first_and_once(void **state)
{
    uint64_t random = 1;
    struct servers *servers =
        servers_new("tcp://127.0.0.1:1,tcp://127.0.0.1:2", next_random, &random);
    uint16_t ports[8];
    uint32_t first[7] = {0};
    (void)state;
    for (int i = 0; i < 100; i++) {
        hint(servers, "tcp://127.0.0.1:5");
        hint(servers, "ws://127.0.0.1:6/path");
        assert_int_equal(play_a_round(servers, ports), 4);
        assert_int_equal(1u << ports[0] | 1u << ports[1], 0x60);
        assert_int_equal(1u << ports[2] | 1u << ports[3], 0x6);
        first[ports[0]]++;
        assert_int_equal(play_a_round(servers, ports), 2);
    }
    assert_true(first[5] > 20 && first[6] > 20);
    servers_free(servers);
}

static void hints_that_are_no_servers_of_our_kind_are_passed_over(void **state)
{
    uint64_t random = 1;
    struct servers *clear = servers_new("tcp://127.0.0.1:1", next_random, &random);
    struct servers *tls = servers_new("tls://127.0.0.1:1", next_random, &random);
    uint16_t ports[8];
    (void)state;
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "127.0.0.1:7",
                                      "tcp://127.0.0.1:99999",
                                      "http://127.0.0.1:7",
                                      "tcp://127.0.0.1:7,tcp://127.0.0.1:8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        hint(clear, bad[i]);
    hint(clear, "tls://127.0.0.1:7");
    hint(tls, "tcp://127.0.0.1:7"); /* would be read by whoever listens */
    hint(tls, "ws://127.0.0.1:7");
    assert_int_equal(play_a_round(clear, ports), 1);
    assert_int_equal(play_a_round(tls, ports), 1);
    for (int i = 0; i < 100; i++)
        hint(tls, "wss://127.0.0.1:7");
    assert_int_equal(play_a_round(tls, ports), 1 + SERVERS_HINTS_MAX);
    servers_free(clear);
    hint(tls, "wss://127.0.0.1:7/left/over");
    servers_free(tls);
}

static void every_server_is_first_sometimes(void **state)
{
    uint32_t first[4] = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t random = seed;
        uint16_t ports[8];
        struct servers *servers = servers_new(
            "tcp://127.0.0.1:1,tcp://127.0.0.1:2,tcp://127.0.0.1:3", next_random, &random);
        (void)play_a_round(servers, ports);
        first[ports[0]]++;
        servers_free(servers);
    }
    for (int port = 1; port <= 3; port++)
        assert_in_range(first[port], 50, 150);
}

static void what_was_tried_first_is_not_first_again_before_the_others(void **state)
{
    uint64_t random = 7;
    struct servers_target target;
    const char *why;
    struct servers *servers =
        servers_new("tcp://127.0.0.1:1,tcp://127.0.0.1:2,tcp://127.0.0.1:3", next_random, &random);
    (void)state;
    for (int i = 0; i < 10; i++) {
        uint32_t seen = 0;
        for (int turn = 0; turn < 3; turn++) {
            servers_begin(servers);
            assert_int_equal(servers_next(servers, &target, &why), SERVERS_TRY);
            const struct sockaddr_in *address = (const void *)target.address;
            seen |= 1u << ntohs(address->sin_port);
        }
        assert_int_equal(seen, 0xe);
    }
    servers_free(servers);
}

static void says_scheme_and_name_as_they_were_written(void **state)
{
    uint64_t random = 1;
    struct servers_target target;
    const char *why;
    struct servers *servers = servers_new("tls://[::1]:7701", next_random, &random);
    (void)state;
    assert_true(servers_any_tls(servers));
    servers_begin(servers);
    assert_int_equal(servers_next(servers, &target, &why), SERVERS_TRY);
    assert_string_equal(target.host, "::1");
    assert_true(target.tls);
    assert_int_equal(target.family, AF_INET6);
    assert_int_equal(servers_next(servers, &target, &why), SERVERS_END);
    servers_free(servers);
    servers = servers_new("tcp://127.0.0.1:1", next_random, &random);
    assert_false(servers_any_tls(servers));
    servers_free(servers);
}

static void a_name_that_is_not_known_does_not_end_the_round(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t random = seed;
        struct servers_target target;
        const char *why = NULL;
        uint32_t tries = 0, unknown = 0;
        enum servers_step step;
        struct servers *servers =
            servers_new("tcp://a..b:1,tcp://127.0.0.1:2", next_random, &random);
        servers_begin(servers);
        while ((step = servers_next(servers, &target, &why)) != SERVERS_END) {
            tries += step == SERVERS_TRY;
            unknown += step == SERVERS_UNKNOWN;
        }
        assert_int_equal(tries, 1);
        assert_int_equal(unknown, 1);
        assert_non_null(why);
        servers_free(servers);
    }
}

static void what_is_no_list_of_servers_is_refused(void **state)
{
    const char *bad[] = {"",
                         ",",
                         "tcp://",
                         "tcp://127.0.0.1",
                         "tcp://:1",
                         "tcp://127.0.0.1:x",
                         "tcp://127.0.0.1:65536",
                         "TCP://127.0.0.1:1",
                         "http://127.0.0.1:1",
                         "127.0.0.1:1",
                         "tcp://127.0.0.1:1,",
                         "tcp://127.0.0.1:1, tcp://127.0.0.1:2",
                         "tcp://::1:1"};
    uint64_t random = 1;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(servers_new(bad[i], next_random, &random));
}

static void expect_target(const char *text, const char *host, const char *port, const char *path,
                          bool tls)
{
    uint64_t random = 1;
    struct servers_target target;
    const char *why;
    struct servers *servers = servers_new(text, next_random, &random);
    assert_non_null(servers);
    servers_begin(servers);
    assert_int_equal(servers_next(servers, &target, &why), SERVERS_TRY);
    assert_string_equal(target.host, host);
    assert_string_equal(target.port, port);
    assert_int_equal(target.tls, tls);
    assert_int_equal(servers_any_tls(servers), tls);
    if (path == NULL)
        assert_null(target.path);
    else
        assert_string_equal(target.path, path);
    servers_free(servers);
}

static void a_websocket_has_a_path_and_a_port_of_its_own(void **state)
{
    (void)state;
    expect_target("tcp://127.0.0.1:7", "127.0.0.1", "7", NULL, false);
    expect_target("ws://127.0.0.1:7", "127.0.0.1", "7", "/", false);
    expect_target("ws://127.0.0.1:7/a/b:8?c=d", "127.0.0.1", "7", "/a/b:8?c=d", false);
    expect_target("ws://127.0.0.1", "127.0.0.1", "80", "/", false);
    expect_target("wss://127.0.0.1/x", "127.0.0.1", "443", "/x", true);
    expect_target("wss://[::1]", "::1", "443", "/", true);
    expect_target("ws://[::1]:9/", "::1", "9", "/", false);
}

static void what_is_no_server_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",       "tcp://",           "tcp://a",         "tcp://a:1/x", "tls://a",
        "ws://",  "ws:///x",          "ws://a:x/",       "ws://a:1/ b", "http://a/",
        "wss:",   "ws://a:1/#x",      "ws://[::1/",      "WS://a:1",    "tcp://a:1,ws://",
        "ws://:", "ws://a:1/x,wss//", "ws://a:1/\x01,x",
    };
    uint64_t random = 1;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (servers_new(wrong[i], next_random, &random) != NULL)
            fail_msg("taken: %s", wrong[i]);
    char longest[1200] = "ws://a:1/";
    memset(longest + 9, 'x', 1023);
    struct servers *servers = servers_new(longest, next_random, &random);
    assert_non_null(servers);
    servers_free(servers);
    longest[9 + 1023] = 'x';
    assert_null(servers_new(longest, next_random, &random));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_round_goes_to_every_server_once),
        cmocka_unit_test(hints_come_first_and_once),
        cmocka_unit_test(hints_that_are_no_servers_of_our_kind_are_passed_over),
        cmocka_unit_test(every_server_is_first_sometimes),
        cmocka_unit_test(what_was_tried_first_is_not_first_again_before_the_others),
        cmocka_unit_test(says_scheme_and_name_as_they_were_written),
        cmocka_unit_test(a_name_that_is_not_known_does_not_end_the_round),
        cmocka_unit_test(what_is_no_list_of_servers_is_refused),
        cmocka_unit_test(a_websocket_has_a_path_and_a_port_of_its_own),
        cmocka_unit_test(what_is_no_server_is_refused),
    };
    return cmocka_run_group_tests_name("servers", tests, NULL, NULL);
}
