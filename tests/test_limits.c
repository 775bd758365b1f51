/* limits: each at its limit and one beyond it; addresses are forgotten when nothing is left of
 * them. */
#include "edge/edge_metrics.h"
#include "edge/limits.h"
#include "tests/limit_expect.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct world {
    struct limits_options options;
    struct metrics_registry *registry;
    struct metrics *metrics;
    struct limits *limits;
    uint64_t now;
};

static void begin(struct world *world)
{
    world->now = 1000;
    world->limits = limits_new(&world->options, world->metrics);
    limits_time(world->limits, world->now);
}

static void pass(struct world *world, uint64_t ms)
{
    for (uint64_t end = world->now + ms; world->now < end;) {
        world->now += end - world->now < 100 ? end - world->now : 100;
        limits_time(world->limits, world->now);
        limits_tick(world->limits);
    }
}

static uint64_t rejected(const struct world *world, enum limit limit)
{
    return metrics_get(world->metrics, EDGE_METRIC_LIMIT_REJECTED(limit));
}

static uint64_t current(const struct world *world, enum limit limit)
{
    return metrics_get(world->metrics, EDGE_METRIC_LIMIT_NOW(limit));
}

static enum limit enter(struct world *world, const char *text, uint32_t *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = 77};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = 99};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return limits_enter(world->limits, (const struct sockaddr *)&in, address);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return limits_enter(world->limits, (const struct sockaddr *)&in6, address);
}

static uint32_t enter_ok(struct world *world, const char *text)
{
    uint32_t address;
    assert_int_equal(enter(world, text, &address), LIMIT_NONE);
    return address;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert(world != NULL);
    world->registry = metrics_registry_new(edge_metrics_table(), EDGE_METRICS);
    world->metrics = metrics_registry_worker(world->registry, "e1/0");
    world->options.addresses_max = 1000;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    limits_free(world->limits);
    metrics_registry_free(world->registry);
    free(world);
    return 0;
}

static void as_many_connections_from_an_address_as_allowed_and_not_one_more(void **state)
{
    struct world *world = *state;
    world->options.address_connections = 3;
    begin(world);
    uint32_t first = enter_ok(world, "10.0.0.1"), address = 7;
    assert_int_equal(enter_ok(world, "10.0.0.1"), first);
    assert_int_equal(enter_ok(world, "10.0.0.1"), first);
    assert_int_equal(enter(world, "10.0.0.1", &address), LIMIT_ADDRESS_CONNECTIONS);
    assert_int_equal(address, LIMITS_NOBODY);
    assert_int_equal(rejected(world, LIMIT_ADDRESS_CONNECTIONS), 1);
    assert_int_not_equal(enter_ok(world, "10.0.0.2"), first);
    limits_leave(world->limits, first);
    assert_int_equal(enter_ok(world, "10.0.0.1"), first);
    assert_int_equal(enter(world, "10.0.0.1", &address), LIMIT_ADDRESS_CONNECTIONS);
    pass(world, 200);
    EXPECT_LIMIT(world->metrics, EDGE, ADDRESS_CONNECTIONS, 3, 3, 2);
    assert_int_equal(limits_end(LIMIT_ADDRESS_CONNECTIONS), END_ADDRESS_FULL);
}

static void an_ipv6_client_is_its_64_and_a_mapped_one_its_ipv4(void **state)
{
    struct world *world = *state;
    begin(world);
    uint32_t home = enter_ok(world, "2001:db8:1:2::1");
    assert_int_equal(enter_ok(world, "2001:db8:1:2:ffff:ffff:ffff:ffff"), home);
    assert_int_not_equal(enter_ok(world, "2001:db8:1:3::1"), home);
    assert_int_equal(enter_ok(world, "::ffff:10.0.0.1"), enter_ok(world, "10.0.0.1"));
    assert_int_not_equal(enter_ok(world, "a00:1::"), enter_ok(world, "10.0.0.1"));
}

static void who_has_no_address_is_nobody(void **state)
{
    struct world *world = *state;
    world->options.address_connections = 1;
    begin(world);
    struct sockaddr none = {.sa_family = AF_UNIX};
    for (int i = 0; i < 3; i++) {
        uint32_t address = 7;
        assert_int_equal(limits_enter(world->limits, i ? &none : NULL, &address), LIMIT_NONE);
        assert_int_equal(address, LIMITS_NOBODY);
        limits_leave(world->limits, address);
    }
}

static void an_address_is_forgotten_when_it_is_gone_and_its_buckets_are_full(void **state)
{
    struct world *world = *state;
    world->options.address_accepts = (struct bucket_rate){1, 2};
    begin(world);
    uint32_t address = enter_ok(world, "10.0.0.1");
    pass(world, 10000);
    assert_int_equal(current(world, LIMIT_ADDRESSES), 1);
    limits_leave(world->limits, enter_ok(world, "10.0.0.1"));
    limits_leave(world->limits, address);
    pass(world, 900); /* what it did is still of account */
    assert_int_equal(current(world, LIMIT_ADDRESSES), 1);
    assert_int_equal(current(world, LIMIT_ADDRESS_ACCEPTS), 1);
    pass(world, 300);
    assert_int_equal(current(world, LIMIT_ADDRESSES), 0);
}

static void the_table_of_addresses_is_bounded_and_who_comes_after_is_let_in(void **state)
{
    struct world *world = *state;
    world->options.address_connections = 1;
    begin(world);
    char text[32];
    uint32_t address;
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "10.1.%u.%u", i / 256, i % 256);
        assert_int_not_equal(enter_ok(world, text), LIMITS_NOBODY);
    }
    assert_int_equal(rejected(world, LIMIT_ADDRESSES), 0);
    assert_int_equal(enter_ok(world, "10.2.0.0"), LIMITS_NOBODY);
    assert_int_equal(enter_ok(world, "10.2.0.0"), LIMITS_NOBODY);
    assert_int_equal(rejected(world, LIMIT_ADDRESSES), 2);
    assert_int_equal(enter(world, "10.1.0.7", &address), LIMIT_ADDRESS_CONNECTIONS);
    pass(world, 2000);
    EXPECT_LIMIT(world->metrics, EDGE, ADDRESSES, 1000, 1000, 2);
}

static void a_crowd_of_addresses_comes_and_goes_and_leaves_nothing(void **state)
{
    struct world *world = *state;
    world->options.addresses_max = 100000;
    world->options.address_logins = (struct bucket_rate){10, 10};
    begin(world);
    char text[32];
    uint32_t *addresses = calloc(20000, sizeof *addresses);
    assert_non_null(addresses);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20000; i++) {
            (void)snprintf(text, sizeof text, "2001:db8:%x:%x::1", round, i);
            addresses[i] = enter_ok(world, text);
            assert_int_equal(limits_login(world->limits, addresses[i], LIMITS_FULL), LIMIT_NONE);
        }
        for (unsigned i = 0; i < 20000; i++)
            limits_leave(world->limits, addresses[i]);
        pass(world, 5000);
        assert_int_equal(current(world, LIMIT_ADDRESSES), 0);
    }
    free(addresses);
}

/* --- rates ------------------------------------------------------------------------------------ */

static enum limit ask(struct world *world, enum limit limit, uint32_t address)
{
    uint32_t unused;
    switch (limit) {
    case LIMIT_ACCEPTS:
        return limits_accept(world->limits);
    case LIMIT_HANDSHAKES:
        return limits_handshake(world->limits);
    case LIMIT_LOGINS:
    case LIMIT_ADDRESS_LOGINS:
        return limits_login(world->limits, address, LIMITS_FULL);
    case LIMIT_TICKETS:
        return limits_login(world->limits, address, LIMITS_BY_TICKET);
    case LIMIT_ADDRESS_ACCEPTS:
        return enter(world, "10.0.0.1", &unused);
    case LIMIT_ADDRESS_SENDS:
        return limits_send(world->limits, address) == 0 ? LIMIT_NONE : LIMIT_ADDRESS_SENDS;
    default:
        fail();
        return LIMIT_NONE;
    }
}

static struct bucket_rate *rate_of(struct world *world, enum limit limit)
{
    struct limits_options *options = &world->options;
    switch (limit) {
    case LIMIT_ACCEPTS:
        return &options->accepts;
    case LIMIT_HANDSHAKES:
        return &options->handshakes;
    case LIMIT_LOGINS:
        return &options->logins;
    case LIMIT_TICKETS:
        return &options->tickets;
    case LIMIT_ADDRESS_ACCEPTS:
        return &options->address_accepts;
    case LIMIT_ADDRESS_LOGINS:
        return &options->address_logins;
    default:
        return &options->address_sends;
    }
}

static void each_rate_gives_its_burst_then_its_rate(void **state)
{
    struct world *world = *state;
    static const enum limit all[] = {
        LIMIT_ACCEPTS,         LIMIT_HANDSHAKES,     LIMIT_LOGINS,       LIMIT_TICKETS,
        LIMIT_ADDRESS_ACCEPTS, LIMIT_ADDRESS_LOGINS, LIMIT_ADDRESS_SENDS};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        enum limit limit = all[i];
        world->options = (struct limits_options){.addresses_max = 10};
        *rate_of(world, limit) = (struct bucket_rate){10, 25};
        begin(world);
        uint64_t before = rejected(world, limit);
        uint32_t address = limit == LIMIT_ADDRESS_ACCEPTS ? 0 : enter_ok(world, "10.0.0.1");
        for (int n = 0; n < 25; n++)
            assert_int_equal(ask(world, limit, address), LIMIT_NONE);
        assert_int_equal(ask(world, limit, address), limit);
        assert_int_equal(rejected(world, limit) - before, 1);
        pass(world, 300);
        for (int n = 0; n < 3; n++)
            assert_int_equal(ask(world, limit, address), LIMIT_NONE);
        assert_int_equal(ask(world, limit, address), limit);
        limits_free(world->limits);
        world->limits = NULL;
    }
}

static void one_address_does_not_use_up_what_another_has(void **state)
{
    struct world *world = *state;
    world->options.address_sends = (struct bucket_rate){10, 10};
    world->options.address_logins = (struct bucket_rate){10, 10};
    world->options.logins = (struct bucket_rate){15, 15};
    begin(world);
    uint32_t loud = enter_ok(world, "10.0.0.1"), other = enter_ok(world, "10.0.0.2");
    for (int i = 0; i < 1000; i++) {
        (void)!limits_send(world->limits, loud);
        (void)!limits_login(world->limits, loud, LIMITS_FULL);
    }
    assert_int_equal(limits_send(world->limits, other), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(limits_login(world->limits, other, LIMITS_FULL), LIMIT_NONE);
}

static void a_turn_has_so_many_signature_checks(void **state)
{
    struct world *world = *state;
    world->options.checks_a_turn = 4;
    begin(world);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 4; i++)
            assert_true(limits_check(world->limits));
        limits_time(world->limits, world->now); /* it is still the same turn */
        assert_false(limits_check(world->limits));
        limits_time(world->limits, ++world->now);
    }
}

static void without_limits_nothing_is_refused(void **state)
{
    struct world *world = *state;
    world->options = (struct limits_options){0};
    begin(world);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(limits_accept(world->limits), LIMIT_NONE);
        assert_int_equal(limits_handshake(world->limits), LIMIT_NONE);
        uint32_t address = enter_ok(world, "10.0.0.1");
        assert_int_equal(limits_login(world->limits, address, LIMITS_FULL), LIMIT_NONE);
        assert_true(limits_check(world->limits));
        assert_int_equal(limits_send(world->limits, address), 0);
    }
}

/* What came in the last second; of an address, what has not grown back since. */
static void each_rate_shows_what_was_taken_and_refused(void **state)
{
    struct world *world = *state;
    const struct bucket_rate rate = {1, 25};
    world->options.accepts = world->options.handshakes = world->options.tickets = rate;
    world->options.address_accepts = world->options.address_logins = rate;
    world->options.address_sends = rate;
    world->options.logins = (struct bucket_rate){1, 50}; /* those of the address are among them */
    begin(world);
    pass(world, 1000);
    uint32_t address = enter_ok(world, "10.0.0.1");
    for (int n = 1; n < 26; n++)
        assert_int_equal(ask(world, LIMIT_ADDRESS_ACCEPTS, 0),
                         n < 25 ? LIMIT_NONE : LIMIT_ADDRESS_ACCEPTS);
    static const enum limit all[] = {LIMIT_ADDRESS_LOGINS, LIMIT_ADDRESS_SENDS, LIMIT_ACCEPTS,
                                     LIMIT_HANDSHAKES,     LIMIT_LOGINS,        LIMIT_TICKETS};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int n = 0; n < 26; n++)
            assert_int_equal(ask(world, all[i], i < 2 ? address : LIMITS_NOBODY),
                             n < 25 ? LIMIT_NONE : all[i]);
    pass(world, 1000);
    EXPECT_LIMIT(world->metrics, EDGE, ACCEPTS, 25, 1, 1);
    EXPECT_LIMIT(world->metrics, EDGE, HANDSHAKES, 25, 1, 1);
    EXPECT_LIMIT(world->metrics, EDGE, LOGINS, 50, 1, 1);
    EXPECT_LIMIT(world->metrics, EDGE, TICKETS, 25, 1, 1);
    EXPECT_LIMIT(world->metrics, EDGE, ADDRESS_ACCEPTS, 24, 1, 1);
    EXPECT_LIMIT(world->metrics, EDGE, ADDRESS_LOGINS, 24, 1, 1);
    EXPECT_LIMIT(world->metrics, EDGE, ADDRESS_SENDS, 24, 1, 1);
}

/* --- overload and the crowd ------------------------------------------------------------------- */

static void overload_refuses_accepts_then_logins_too(void **state)
{
    struct world *world = *state;
    begin(world);
    for (enum limits_class class = LIMITS_CALM; class <= LIMITS_NO_EPHEMERAL; class ++) {
        limits_set_class(world->limits, class);
        assert_int_equal(limits_accept(world->limits),
                         class >= LIMITS_NO_ACCEPTS ? LIMIT_OVERLOAD : LIMIT_NONE);
        assert_int_equal(limits_login(world->limits, LIMITS_NOBODY, LIMITS_BY_TICKET),
                         class >= LIMITS_NO_LOGINS ? LIMIT_OVERLOAD : LIMIT_NONE);
    }
    assert_int_equal(rejected(world, LIMIT_OVERLOAD), 5);
}

static void who_is_refused_is_told_his_turn_in_the_line(void **state)
{
    struct world *world = *state;
    world->options.tickets = (struct bucket_rate){100, 1};
    begin(world);
    assert_in_range(limits_retry_ms(world->limits, 7), 1000, 2000);
    uint32_t before = 0;
    for (int i = 0; i < 20000; i++) {
        (void)!limits_login(world->limits, LIMITS_NOBODY, LIMITS_BY_TICKET);
        uint32_t told = limits_retry_ms(world->limits, 0);
        assert_in_range(told, before, 60000);
        before = told;
        if (i == 3000) /* 30 s of people before him, and he will come somewhat late */
            assert_in_range(told, 17000, 19500);
    }
    assert_int_equal(before, 60000);
    pass(world, 130000); /* the line has moved on */
    assert_in_range(limits_retry_ms(world->limits, 7), 1000, 2000);
}

static void what_one_address_or_site_asks_too_much_makes_nobody_else_wait(void **state)
{
    struct world *world = *state;
    begin(world);
    static const enum limit own[] = {LIMIT_ADDRESS_ACCEPTS, LIMIT_ADDRESS_LOGINS,
                                     LIMIT_SITE_LOGINS};
    for (int i = 0; i < 30000; i++)
        limits_refused(world->limits, own[i % 3]);
    assert_in_range(limits_retry_ms(world->limits, 7), 1000, 2000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(as_many_connections_from_an_address_as_allowed_and_not_one_more),
        TEST(an_ipv6_client_is_its_64_and_a_mapped_one_its_ipv4),
        TEST(who_has_no_address_is_nobody),
        TEST(an_address_is_forgotten_when_it_is_gone_and_its_buckets_are_full),
        TEST(the_table_of_addresses_is_bounded_and_who_comes_after_is_let_in),
        TEST(a_crowd_of_addresses_comes_and_goes_and_leaves_nothing),
        TEST(each_rate_gives_its_burst_then_its_rate),
        TEST(each_rate_shows_what_was_taken_and_refused),
        TEST(one_address_does_not_use_up_what_another_has),
        TEST(a_turn_has_so_many_signature_checks),
        TEST(without_limits_nothing_is_refused),
        TEST(overload_refuses_accepts_then_logins_too),
        TEST(who_is_refused_is_told_his_turn_in_the_line),
        TEST(what_one_address_or_site_asks_too_much_makes_nobody_else_wait),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
