/* entry: who comes in and how: PROXY headers before anything else that is spoken, limits before
 * anything is spent, and deadlines for who dribbles. Over real sockets. */
#include "tests/tls_world.h"
#include "tests/ws_client.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
/* Of client 192.0.2.7:12345. */
#define HEADER SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x30\x39\x1e\x14"
#define HEADER_LEN (sizeof HEADER - 1)

static struct world *make_proxied(const char *from)
{
    struct world *world = make();
    world->mode = ECHO;
    world->options.proxy_count = 1;
    assert_true(proxy_net_parse(from, &world->net));
    return world;
}

static int set_up(void **state)
{
    struct world *world = make_proxied("127.0.0.0/8");
    begin(world);
    *state = world;
    return 0;
}

static int set_up_elsewhere(void **state)
{
    struct world *world = make_proxied("10.0.0.0/8");
    begin(world);
    *state = world;
    return 0;
}

static int dial_proxied(struct world *world, uint32_t listener)
{
    return dial_port(conn_table_port(world->table, listener), 0);
}

static void say_bytes(int fd, const void *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

/* ---- PROXY ---- */

static void a_header_cut_anywhere_lets_the_client_in(void **state)
{
    struct world *world = *state;
    const char all[] = HEADER "hello";
    for (size_t cut = 1; cut < sizeof all - 1; cut++) {
        uint8_t got[5];
        int fd = dial_proxied(world, world->tcp_proxied);
        uint32_t opened = world->opened;
        say_bytes(fd, all, cut);
        turns(world, 2);
        assert_int_equal(world->opened, opened + (cut >= HEADER_LEN));
        say_bytes(fd, all + cut, sizeof all - 1 - cut);
        assert_int_equal(hear(world, fd, got, 5), 5);
        assert_memory_equal(got, "hello", 5);
        assert_int_equal(world->last_listener, world->tcp_proxied);
        close(fd);
        AWAIT(world, conn_count(world->table) == 0);
    }
}

static void a_header_that_ends_early_opens_nothing(void **state)
{
    struct world *world = *state;
    for (size_t len = 0; len < HEADER_LEN; len++) {
        int fd = dial_proxied(world, world->tcp_proxied);
        say_bytes(fd, HEADER, len);
        shutdown(fd, SHUT_WR);
        uint64_t left = count(world, EDGE_METRIC_CLOSED_PEER_LEFT);
        AWAIT(world, count(world, EDGE_METRIC_CLOSED_PEER_LEFT) > left);
        close(fd);
    }
    assert_int_equal(world->opened, 0);
}

static void what_is_no_header_is_closed_at_its_first_wrong_byte(void **state)
{
    struct world *world = *state;
    static const char *const wrong[] = {"h", "\r\n\r\nx", "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"};
    for (size_t i = 0; i < 3; i++) {
        uint8_t rest;
        int fd = dial_proxied(world, world->tcp_proxied);
        say(fd, wrong[i]);
        assert_true(hear(world, fd, &rest, 1) <= 0);
        assert_int_equal(count(world, EDGE_METRIC_ENDED(END_PROXY_FAILED)), i + 1);
        close(fd);
    }
    assert_int_equal(world->opened, 0);
}

static void only_listed_addresses_may_be_proxies(void **state)
{
    struct world *world = *state;
    uint8_t rest;
    int fd = dial_proxied(world, world->tcp_proxied);
    assert_int_equal(send(fd, HEADER, HEADER_LEN, MSG_NOSIGNAL), HEADER_LEN);
    assert_true(hear(world, fd, &rest, 1) <= 0);
    assert_int_equal(count(world, EDGE_METRIC_ENDED(END_PROXY_UNLISTED)), 1);
    assert_int_equal(world->opened, 0);
    close(fd);
    fd = dial_open(world); /* other listeners do not care */
    close(fd);
}

static void a_websocket_may_be_behind_a_proxy(void **state)
{
    struct world *world = *state;
    char answer[512];
    uint8_t bytes[1024], got[8];
    size_t len = HEADER_LEN, got_len;
    memcpy(bytes, HEADER, len);
    memcpy(bytes + len, WS_REQUEST(""), strlen(WS_REQUEST("")));
    len += strlen(WS_REQUEST(""));
    len += ws_frame(bytes + len, FIN | BINARY, "hello", 5);
    int fd = dial_proxied(world, world->ws_proxied);
    say_bytes(fd, bytes, len);
    ws_hears_answer(world, fd, answer, sizeof answer);
    assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
    assert_int_equal(ws_hear(world, fd, got, sizeof got, &got_len), FIN | BINARY);
    assert_memory_equal(got, "hello", 5);
    close(fd);
}

static int set_up_tls_proxied(void **state)
{
    struct world *world = make_proxied("127.0.0.1");
    begin_tls(world);
    world->tls = world->tls_proxied;
    *state = world;
    return 0;
}

/* Not a byte of what follows the header may be taken from TLS. */
static void tls_begins_right_behind_the_header(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    say_bytes(client.fd, HEADER, HEADER_LEN);
    assert_true(shake(world, &client));
    uint8_t got[5];
    assert_int_equal(SSL_write(client.ssl, "hello", 5), 5);
    hear_tls(world, &client, got, sizeof got);
    assert_memory_equal(got, "hello", 5);
    hang_up(&client);
}

/* A message of 128 KiB that never ends, as OpenSSL would take it. */
static void a_handshake_has_16_kib_and_not_one_more(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    uint8_t record[5 + 8192] = {0x16, 3, 1, 0x20, 0, 1, 1, 0xff, 0xff};
    say_bytes(client.fd, HEADER, HEADER_LEN);
    say_bytes(client.fd, record, sizeof record);
    memset(record + 5, 'x', 4);
    say_bytes(client.fd, record, sizeof record - 10);
    turns(world, 5);
    assert_int_equal(conn_count(world->table), 1);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_TLS_FAILED), 0);
    say_bytes(client.fd, record, 1);
    AWAIT(world, conn_count(world->table) == 0);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_TLS_FAILED), 1);
    hang_up(&client);
}

/* ---- limits ---- */

static int set_up_limited(void **state)
{
    struct world *world = make_proxied("127.0.0.1");
    world->limited = true;
    world->limits.addresses_max = 100;
    world->limits.address_connections = 3;
    begin(world);
    *state = world;
    return 0;
}

static void an_address_has_so_many_connections_and_not_one_more(void **state)
{
    struct world *world = *state;
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = dial_open(world);
    int more = dial(world);
    uint8_t got[64];
    assert_true(hear(world, more, got, sizeof got) > 1); /* an Error */
    assert_int_equal(count(world, EDGE_METRIC_ENDED(END_ADDRESS_FULL)), 1);
    close(more);
    close(fds[0]);
    AWAIT(world, world->closed == 1);
    fds[0] = dial_open(world);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    AWAIT(world, conn_count(world->table) == 0);
}

static int set_up_for_all(void **state)
{
    struct world *world = make_proxied("127.0.0.1");
    world->limited = true;
    world->limits.addresses_max = 100;
    world->limits.address_accepts = (struct bucket_rate){1, 3};
    world->limits.accepts = (struct bucket_rate){1, 4};
    begin(world);
    *state = world;
    return 0;
}

static void one_address_does_not_use_up_what_is_for_all(void **state)
{
    struct world *world = *state;
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = dial(world);
    AWAIT(world, count(world, EDGE_METRIC_ACCEPTED) == 8);
    assert_in_range(count(world, EDGE_METRIC_LIMIT_REJECTED(LIMIT_ADDRESS_ACCEPTS)), 4, 5);
    assert_int_equal(count(world, EDGE_METRIC_LIMIT_REJECTED(LIMIT_ACCEPTS)), 0);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    AWAIT(world, conn_count(world->table) == 0);
}

static void nor_does_one_behind_a_proxy(void **state)
{
    struct world *world = *state;
    char header[HEADER_LEN];
    int fds[8];
    memcpy(header, HEADER, HEADER_LEN);
    for (int i = 0; i < 8; i++) {
        fds[i] = dial_proxied(world, world->tcp_proxied);
        say_bytes(fds[i], header, HEADER_LEN);
    }
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_REJECTED(LIMIT_ADDRESS_ACCEPTS)) >= 4 &&
                     count(world, EDGE_METRIC_ACCEPTED) == 8);
    turns(world, 5);
    assert_int_equal(count(world, EDGE_METRIC_LIMIT_REJECTED(LIMIT_ACCEPTS)), 0);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    AWAIT(world, conn_count(world->table) == 0);
}

static void behind_a_proxy_the_clients_address_counts_not_the_proxys(void **state)
{
    struct world *world = *state;
    char header[HEADER_LEN];
    int fds[8];
    uint8_t got[64];
    memcpy(header, HEADER, HEADER_LEN);
    for (int i = 0; i < 6; i++) { /* more than one address may have */
        header[16] = (char)i;
        fds[i] = dial_proxied(world, world->tcp_proxied);
        say_bytes(fds[i], header, HEADER_LEN);
        AWAIT(world, world->opened == (uint32_t)i + 1);
    }
    for (int i = 6; i < 8; i++) { /* the third of this address */
        fds[i] = dial_proxied(world, world->tcp_proxied);
        say_bytes(fds[i], header, HEADER_LEN);
        AWAIT(world, world->opened == (uint32_t)i + 1);
    }
    int more = dial_proxied(world, world->tcp_proxied);
    say_bytes(more, header, HEADER_LEN);
    assert_true(hear(world, more, got, sizeof got) > 1); /* an Error */
    assert_int_equal(count(world, EDGE_METRIC_ENDED(END_ADDRESS_FULL)), 1);
    close(more);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    AWAIT(world, conn_count(world->table) == 0);
    assert_int_equal(world->closed, 8);
}

static int set_up_hasty(void **state)
{
    struct world *world = make_proxied("127.0.0.1");
    world->options.handshake_ms = 300;
    begin_tls(world);
    *state = world;
    return 0;
}

static void a_header_that_does_not_come_is_not_awaited_for_long(void **state)
{
    struct world *world = *state;
    uint8_t rest;
    int fd = dial_proxied(world, world->tcp_proxied);
    uint64_t began = now_ms();
    say_bytes(fd, HEADER, HEADER_LEN - 1);
    assert_true(hear(world, fd, &rest, 1) <= 0);
    assert_true(now_ms() - began >= 290);
    assert_int_equal(count(world, EDGE_METRIC_ENDED(END_PROXY_FAILED)), 1);
    close(fd);
}

static void turns_until(struct world *world, uint64_t at_ms)
{
    while (now_ms() < at_ms)
        loop_turn(world->loop, 5);
}

/* Else a client behind a balancer would have twice the time. Another one, who comes 100 ms later,
 * tells the time. */
static void header_and_handshake_have_one_deadline(void **state)
{
    struct world *world = *state;
    uint64_t began = now_ms();
    int fd = dial_proxied(world, world->tls_proxied);
    say_bytes(fd, HEADER, HEADER_LEN - 1);
    turns_until(world, began + 100);
    int clock = dial_proxied(world, world->tcp_proxied);
    turns_until(world, began + 200);
    say_bytes(fd, HEADER + HEADER_LEN - 1, 1);
    AWAIT(world, conn_count(world->table) < 2);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_TLS_TIMEOUT), 1);
    close(fd);
    close(clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_header_cut_anywhere_lets_the_client_in, set_up),
        TEST(a_header_that_ends_early_opens_nothing, set_up),
        TEST(what_is_no_header_is_closed_at_its_first_wrong_byte, set_up),
        TEST(only_listed_addresses_may_be_proxies, set_up_elsewhere),
        TEST(a_websocket_may_be_behind_a_proxy, set_up),
        TEST(tls_begins_right_behind_the_header, set_up_tls_proxied),
        TEST(a_handshake_has_16_kib_and_not_one_more, set_up_tls_proxied),
        TEST(an_address_has_so_many_connections_and_not_one_more, set_up_limited),
        TEST(one_address_does_not_use_up_what_is_for_all, set_up_for_all),
        TEST(nor_does_one_behind_a_proxy, set_up_for_all),
        TEST(a_header_that_does_not_come_is_not_awaited_for_long, set_up_hasty),
        TEST(header_and_handshake_have_one_deadline, set_up_hasty),
        TEST(behind_a_proxy_the_clients_address_counts_not_the_proxys, set_up_limited),
    };
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
