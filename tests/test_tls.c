/* tls: conns over TLS carry the same bytes as clear ones, whatever OpenSSL keeps to itself, and no
 * handshake holds the others up. */
#include "edge/conn_table.h"
#include "tests/limit_expect.h"
#include "tests/tls_world.h"

#include <signal.h>

static void tls_carries_bytes_both_ways(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    assert_string_equal(SSL_get_version(client.ssl), "TLSv1.3");
    assert_int_equal(SSL_write(client.ssl, "hello", 5), 5);
    uint8_t got[5];
    hear_tls(world, &client, got, sizeof got);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(world->opened, 1);
    assert_int_equal(world->last_listener, world->tls);
    assert_int_equal(count(world, EDGE_METRIC_HANDSHAKES), 1);
    assert_int_equal(count(world, EDGE_METRIC_BYTES_IN), 5);
    assert_int_equal(count(world, EDGE_METRIC_BYTES_OUT), 5);
    assert_false(SSL_session_reused(client.ssl));
    hang_up(&client);
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_PEER_LEFT);
}

static void tls_1_2_is_spoken_and_1_1_is_not(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
    assert_true(shake(world, &client));
    assert_string_equal(SSL_get_version(client.ssl), "TLSv1.2");
    AWAIT(world, world->opened == 1);
    hang_up(&client);
    AWAIT(world, world->closed == 1);

    client = dial_tls(world);
    SSL_set_security_level(client.ssl, 0);
    SSL_set_min_proto_version(client.ssl, TLS1_1_VERSION);
    SSL_set_max_proto_version(client.ssl, TLS1_1_VERSION);
    assert_false(shake(world, &client));
    AWAIT(world, count(world, EDGE_METRIC_CLOSED_TLS_FAILED) == 1);
    assert_int_equal(world->opened, 1);
    hang_up(&client);
}

static void tls_echo_survives_any_split(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    size_t len = 1024 * 1024, sent = 0, back = 0;
    uint8_t *bytes = random_bytes(len), *got = malloc(len);
    while (back < len) {
        size_t part = 1 + rand_u64() % (rand_u64() % 4 == 0 ? 60000 : 200), n;
        if (part > len - sent)
            part = len - sent;
        if (part > 0 && sent - back < 100000 &&
            SSL_write_ex(client.ssl, bytes + sent, part, &n) == 1)
            sent += n;
        loop_turn(world->loop, 0);
        if (SSL_read_ex(client.ssl, got + back, len - back, &n) == 1)
            back += n;
        ERR_clear_error();
        assert_int_equal(world->closed, 0);
    }
    assert_memory_equal(got, bytes, len);
    free(bytes);
    free(got);
    hang_up(&client);
}

/* The last records of a burst lie in the stream, not in the socket: nothing will tell of them
 * again. */
static void nothing_stays_behind_in_the_stream(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    for (int round = 0; round < 50; round++) {
        world->heard_len = 0;
        size_t records = 1 + rand_u64() % 300, total = 0;
        for (size_t i = 0; i < records; i++) {
            uint8_t bytes[700] = {0};
            size_t n, len = 1 + rand_u64() % sizeof bytes;
            assert_int_equal(SSL_write_ex(client.ssl, bytes, len, &n), 1);
            total += n;
        }
        AWAIT(world, world->heard_len == total);
    }
    hang_up(&client);
}

static void what_comes_with_the_peers_end_is_heard_and_so_is_the_end(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    turns(world, 3);
    assert_int_equal(SSL_write(client.ssl, "last words", 10), 10);
    shutdown(client.fd, SHUT_WR); /* TLS itself says nothing of an end */
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->heard_len, 10);
    assert_int_equal(world->last_reason, END_PEER_LEFT);
    hang_up(&client);
}

static void bytes_that_come_with_the_end_of_the_handshake_are_heard(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    /* Finished and the first record leave in one segment. */
    int on = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    assert_true(shake(world, &client));
    assert_int_equal(SSL_write(client.ssl, "early", 5), 5);
    on = 0;
    setsockopt(client.fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    AWAIT(world, world->heard_len == 5);
    hang_up(&client);
}

static void tls_queue_is_written_before_an_orderly_end(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    conn_send(world->table, world->last, span_text("last words"));
    conn_close(world->table, world->last, END_REPLACED);
    AWAIT(world, world->closed == 1);
    uint8_t got[32];
    hear_tls(world, &client, got, 10);
    assert_memory_equal(got, "last words", 10);
    int result = SSL_read(client.ssl, got, sizeof got);
    assert_int_equal(SSL_get_error(client.ssl, result), SSL_ERROR_ZERO_RETURN);
    hang_up(&client);
}

static void a_tls_peer_that_does_not_read_is_closed_at_the_limit(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    uint8_t bytes[4096] = {0};
    size_t sent = 0;
    while (world->closed == 0) {
        conn_send(world->table, world->last, span_of(bytes, sizeof bytes));
        sent += sizeof bytes;
        loop_turn(world->loop, 0);
        assert_true(sent < 64u * 1024 * 1024);
    }
    assert_int_equal(world->last_reason, END_SLOW_READER);
    hang_up(&client);
}

static void a_blocked_tls_queue_goes_on_when_the_peer_reads(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    size_t len = 0;
    uint8_t *all = random_bytes(8 * 1024 * 1024);
    /* Up to half of the queue's limit behind what the kernel took. */
    for (uint64_t written = 0; len < 7u * 1024 * 1024; len += 4096) {
        conn_send(world->table, world->last, span_of(all + len, 4096));
        loop_turn(world->loop, 0);
        written = count(world, EDGE_METRIC_BYTES_OUT);
        if (len + 4096 - written > world->options.out_bytes_max / 2) {
            len += 4096;
            break;
        }
    }
    assert_int_equal(world->closed, 0);
    uint8_t *got = malloc(len);
    hear_tls(world, &client, got, len);
    assert_memory_equal(got, all, len);
    free(got);
    free(all);
    hang_up(&client);
}

static void garbage_instead_of_tls_fails_and_is_never_opened(void **state)
{
    struct world *world = *state;
    int fd = dial_port(conn_table_port(world->table, world->tls), 0);
    say(fd, "GET / HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    AWAIT(world, count(world, EDGE_METRIC_CLOSED_TLS_FAILED) == 1);
    for (int i = 0; i < 50; i++) {
        int other = dial_port(conn_table_port(world->table, world->tls), 0);
        uint8_t bytes[300];
        rand_bytes(bytes, sizeof bytes);
        bytes[0] = 0x16; /* looks like a handshake at first */
        bytes[1] = 3;
        bytes[2] = 1;
        bytes[3] = 0;
        bytes[4] = (uint8_t)(bytes[4] | 1);
        assert_int_equal(send(other, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
        AWAIT(world, count(world, EDGE_METRIC_CLOSED_TLS_FAILED) == (uint64_t)i + 2);
        close(other);
    }
    assert_int_equal(world->opened, 0);
    assert_int_equal(world->closed, 0);
    close(fd);
}

static void a_peer_that_leaves_during_the_handshake_is_one_that_left(void **state)
{
    struct world *world = *state;
    int fd = dial_port(conn_table_port(world->table, world->tls), 0);
    AWAIT(world, count(world, EDGE_METRIC_ACCEPTED) == 1);
    close(fd);
    AWAIT(world, count(world, EDGE_METRIC_CLOSED_PEER_LEFT) == 1);
    assert_int_equal(world->closed, 0);
}

static void garbage_in_an_open_stream_ends_it(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    uint8_t bytes[100];
    memset(bytes, 0x17, sizeof bytes);
    assert_int_equal(send(client.fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_IO_ERROR);
    hang_up(&client);

    /* And nobody else's: the error queue of OpenSSL is one for all. */
    client = dial_tls(world);
    assert_true(shake(world, &client));
    assert_int_equal(SSL_write(client.ssl, "hello", 5), 5);
    AWAIT(world, world->heard_len == 5);
    hang_up(&client);
}

static void an_error_that_others_left_behind_is_not_taken_for_ours(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    const uint8_t begin_of_a_record[] = {0x17, 3, 3};
    assert_int_equal(send(client.fd, begin_of_a_record, sizeof begin_of_a_record, 0), 3);
    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    AWAIT(world, ERR_peek_error() == 0);
    turns(world, 3);
    assert_int_equal(world->closed, 0);
    hang_up(&client);
}

static void a_renegotiation_is_refused(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    assert_int_equal(SSL_renegotiate(client.ssl), 1);
    assert_false(shake(world, &client) && SSL_num_renegotiations(client.ssl) > 0);
    hang_up(&client);
    AWAIT(world, world->closed == 1);
}

/* The records that the client would send for its next handshake, in TLS 1.2 two of them at least.
 */
static size_t second_hello(struct client *client, uint8_t *at, size_t room)
{
    BIO *socket = SSL_get_wbio(client->ssl), *memory = BIO_new(BIO_s_mem());
    BIO_up_ref(socket);
    SSL_set0_wbio(client->ssl, memory);
    assert_int_equal(SSL_renegotiate(client->ssl), 1);
    SSL_do_handshake(client->ssl);
    int len = BIO_read(memory, at, (int)room);
    SSL_set0_wbio(client->ssl, socket);
    ERR_clear_error();
    assert_true(len > 5 && (size_t)len < room);
    return (size_t)len;
}

static uint32_t turns_within(struct world *world, uint32_t ms)
{
    uint32_t count = 0;
    for (uint64_t end_ms = now_ms() + ms; now_ms() < end_ms; count++)
        loop_turn(world->loop, 1000);
    return count;
}

static void half_a_handshake_message_does_not_make_writing_spin(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    SSL_set_max_send_fragment(client.ssl, 512);
    uint8_t hello[4096];
    char name[251];
    memset(name, 'n', sizeof name - 1);
    name[250] = '\0';
    SSL_set_tlsext_host_name(client.ssl, name);
    SSL_set_cipher_list(client.ssl, "ALL:COMPLEMENTOFALL:@SECLEVEL=0");
    size_t len = second_hello(&client, hello, sizeof hello);
    size_t first = 5u + ((size_t)hello[3] << 8 | hello[4]);
    assert_true(first < len);

    assert_int_equal(send(client.fd, hello, first, 0), first);
    turns(world, 10);
    conn_send(world->table, world->last, span_text("waits"));
    assert_true(turns_within(world, 500) < 50);
    assert_int_equal(count(world, EDGE_METRIC_BYTES_OUT), 0);
    assert_int_equal(world->closed, 0);

    assert_int_equal(send(client.fd, hello + first, len - first, 0), len - first);
    AWAIT(world, count(world, EDGE_METRIC_BYTES_OUT) == 5);
    hang_up(&client);
}

/* Each update asks for an answer, and the client reads none. */
static void a_flood_of_key_updates_does_not_make_reading_spin(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls_rcvbuf(world, 4096);
    assert_true(shake(world, &client));
    AWAIT(world, world->opened == 1);
    uint64_t heard = 0;
    for (uint32_t in_vain = 0; in_vain < 200; in_vain++) {
        size_t n;
        (void)SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED);
        (void)SSL_write_ex(client.ssl, "x", 1, &n);
        ERR_clear_error();
        loop_turn(world->loop, 1);
        if (count(world, EDGE_METRIC_BYTES_IN) > heard)
            in_vain = 0;
        heard = count(world, EDGE_METRIC_BYTES_IN);
    }
    assert_true(turns_within(world, 500) < 50);
    hang_up(&client);
}

static void key_updates_are_answered(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    struct client client = dial_tls(world);
    assert_true(shake(world, &client));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(client.ssl, "again", 5), 5);
        uint8_t got[5];
        hear_tls(world, &client, got, sizeof got);
        assert_memory_equal(got, "again", 5);
    }
    hang_up(&client);
}

static void other_certificates_are_served_and_old_streams_kept(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    struct client old = dial_tls(world);
    assert_true(shake(world, &old));
    char *subject = subject_of(&old);
    assert_string_equal(subject, "/CN=first");
    OPENSSL_free(subject);

    make_certificate(world->certificate, world->key, &(struct certificate_made){.name = "second"});
    struct certs *certs = load(world);
    conn_table_set_certs(world->table, certs);
    certs_free(certs);
    struct client new = dial_tls(world);
    assert_true(shake(world, &new));
    subject = subject_of(&new);
    assert_string_equal(subject, "/CN=second");
    OPENSSL_free(subject);
    hang_up(&new);

    uint8_t got[5];
    assert_int_equal(SSL_write(old.ssl, "hello", 5), 5);
    hear_tls(world, &old, got, sizeof got);
    hang_up(&old);
}

static int set_up_tls_narrow(void **state)
{
    assert_int_equal(set_up_tls(state), 0);
    struct world *world = *state;
    end(world);
    world->options.sndbuf_bytes = 8 * 1024;
    begin(world);
    return 0;
}

static int set_up_tls_hasty(void **state)
{
    assert_int_equal(set_up_tls(state), 0);
    struct world *world = *state;
    end(world);
    world->options.handshake_ms = 200;
    world->limited = true; /* what it refuses is counted there */
    begin(world);
    return 0;
}

static void a_handshake_that_takes_too_long_is_ended(void **state)
{
    struct world *world = *state;
    uint64_t before = now_ms();
    int fd = dial_port(conn_table_port(world->table, world->tls), 0);
    hears_exactly_then_the_end(world, fd, "");
    assert_true(now_ms() - before >= 200);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_TLS_TIMEOUT), 1);
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_HANDSHAKE_MS) == 200 &&
                     count(world, EDGE_METRIC_LIMIT_NOW_HANDSHAKE_MS) == 0);
    int next = dial_port(conn_table_port(world->table, world->tls), 0);
    world->table->options.handshake_ms = 60000; /* it is seen under the clock */
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_HANDSHAKE_MS) == 1);
    EXPECT_LIMIT(world->metrics, EDGE, HANDSHAKE_MS, 1, 60000, 1);
    close(next);
    assert_int_equal(world->opened, 0);
    assert_int_equal(world->closed, 0);
    close(fd);
}

static void an_open_tls_conn_has_no_deadline(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    if (!shake(world, &client))
        skip(); /* a very slow machine */
    AWAIT(world, world->opened == 1);
    uint64_t before = now_ms();
    while (now_ms() < before + 600)
        loop_turn(world->loop, 50);
    assert_int_equal(world->closed, 0);
    hang_up(&client);
}

static void many_handshakes_at_once_all_come_through(void **state)
{
    struct world *world = *state;
    struct client clients[CONNS_MAX];
    for (size_t i = 0; i < CONNS_MAX; i++) {
        clients[i] = dial_tls(world);
        assert_int_equal(SSL_do_handshake(clients[i].ssl), -1);
    }
    for (size_t i = 0; i < CONNS_MAX; i++)
        assert_true(shake(world, &clients[i]));
    AWAIT(world, world->opened == CONNS_MAX);
    for (size_t i = 0; i < CONNS_MAX; i++)
        hang_up(&clients[i]);
    AWAIT(world, world->closed == CONNS_MAX);
}

/* Both wait for the turn's end: the echo, and 63 handshakes whose time is over. */
static void a_crowd_that_is_ended_holds_nobody_up(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int friend = dial_open(world), crowd[CONNS_MAX - 1];
    for (size_t i = 0; i < CONNS_MAX - 1; i++)
        crowd[i] = dial_port(conn_table_port(world->table, world->tls), 0);
    AWAIT(world, conn_count(world->table) == CONNS_MAX);
    uint64_t most = 0, before = 0;
    while (conn_count(world->table) > 1) {
        loop_turn(world->loop, 50);
        uint64_t late = count(world, EDGE_METRIC_CLOSED_TLS_TIMEOUT);
        most = late - before > most ? late - before : most;
        before = late;
    }
    assert_int_equal(before, CONNS_MAX - 1);
    assert_true(most <= 8);
    say(friend, "still here");
    uint8_t got[10];
    assert_int_equal(hear(world, friend, got, sizeof got), sizeof got);
    for (size_t i = 0; i < CONNS_MAX - 1; i++)
        close(crowd[i]);
    close(friend);
}

/* All of them have said their piece before the first turn. */
static void handshakes_that_wait_come_in_turn(void **state)
{
    struct world *world = *state;
    enum { CROWD = CONNS_MAX - 1 };
    struct client clients[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        clients[i] = dial_tls(world);
        assert_int_equal(SSL_do_handshake(clients[i].ssl), -1);
    }
    AWAIT(world, conn_count(world->table) == CROWD);
    /* One of those who wait leaves, and its slot is not missed. */
    hang_up(&clients[CROWD - 1]);
    clients[CROWD - 1] = dial_tls(world);
    for (size_t i = 0; i < CROWD; i++)
        assert_true(shake(world, &clients[i]));
    AWAIT(world, world->opened == CROWD);
    for (size_t i = 0; i < CROWD; i++)
        hang_up(&clients[i]);
}

/* A step of a handshake with somebody who has gone is lost. */
static void who_leaves_while_waiting_to_shake_hands_goes_before_its_turn(void **state)
{
    struct world *world = *state;
    enum { CROWD = 16 };
    int crowd[CROWD];
    for (int i = 0; i < CROWD; i++)
        crowd[i] = dial_port(conn_table_port(world->table, world->tls), 0);
    AWAIT(world, conn_count(world->table) == CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(send(crowd[i], "\x16", 1, MSG_NOSIGNAL), 1);
    loop_turn(world->loop, 5); /* most begin to wait */
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    /* Two or so a turn have their turn; 8 a turn are ended. */
    for (int i = 0; i < 4; i++)
        loop_turn(world->loop, 5);
    assert_int_equal(conn_count(world->table), 0);
    assert_int_equal(count(world, EDGE_METRIC_ENDED(END_PEER_LEFT)), CROWD);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* for the clients of the tests: SSL_write has no MSG_NOSIGNAL */
    const struct CMUnitTest tests[] = {
        TEST(tls_carries_bytes_both_ways, set_up_tls),
        TEST(tls_1_2_is_spoken_and_1_1_is_not, set_up_tls),
        TEST(tls_echo_survives_any_split, set_up_tls),
        TEST(nothing_stays_behind_in_the_stream, set_up_tls),
        TEST(what_comes_with_the_peers_end_is_heard_and_so_is_the_end, set_up_tls),
        TEST(bytes_that_come_with_the_end_of_the_handshake_are_heard, set_up_tls),
        TEST(tls_queue_is_written_before_an_orderly_end, set_up_tls),
        TEST(a_tls_peer_that_does_not_read_is_closed_at_the_limit, set_up_tls),
        TEST(a_blocked_tls_queue_goes_on_when_the_peer_reads, set_up_tls),
        TEST(garbage_instead_of_tls_fails_and_is_never_opened, set_up_tls),
        TEST(a_peer_that_leaves_during_the_handshake_is_one_that_left, set_up_tls),
        TEST(garbage_in_an_open_stream_ends_it, set_up_tls),
        TEST(an_error_that_others_left_behind_is_not_taken_for_ours, set_up_tls),
        TEST(a_renegotiation_is_refused, set_up_tls),
        TEST(half_a_handshake_message_does_not_make_writing_spin, set_up_tls),
        TEST(a_flood_of_key_updates_does_not_make_reading_spin, set_up_tls_narrow),
        TEST(key_updates_are_answered, set_up_tls),
        TEST(other_certificates_are_served_and_old_streams_kept, set_up_tls),
        TEST(a_handshake_that_takes_too_long_is_ended, set_up_tls_hasty),
        TEST(an_open_tls_conn_has_no_deadline, set_up_tls_hasty),
        TEST(many_handshakes_at_once_all_come_through, set_up_tls),
        TEST(handshakes_that_wait_come_in_turn, set_up_tls),
        TEST(who_leaves_while_waiting_to_shake_hands_goes_before_its_turn, set_up_tls),
        TEST(a_crowd_that_is_ended_holds_nobody_up, set_up_tls_hasty),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
