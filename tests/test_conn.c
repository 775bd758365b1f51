/* conn: over real sockets, what one side sends the other side gets, whole and in order, and every
 * conn ends once, for one reason. */
#include "edge/acceptor.h"
#include "proto/client.pb-c.h"
#include "tests/conn_world.h"
#include "tests/limit_expect.h"

static int set_up(void **state)
{
    struct world *world = make();
    begin(world);
    *state = world;
    return 0;
}

/* ---- TCP ---- */

static void bytes_come_as_they_were_sent_and_are_counted(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    assert_int_equal(world->last_listener, world->tcp);
    say(fd, "hello");
    AWAIT(world, world->heard_len == 5);
    assert_memory_equal(world->heard, "hello", 5);
    conn_send(world->table, world->last, span_text("hi"));
    uint8_t got[2];
    assert_int_equal(hear(world, fd, got, 2), 2);
    assert_memory_equal(got, "hi", 2);
    assert_int_equal(count(world, EDGE_METRIC_BYTES_IN), 5);
    assert_int_equal(count(world, EDGE_METRIC_BYTES_OUT), 2);
    assert_int_equal(count(world, EDGE_METRIC_CONNS), 1);
    close(fd);
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_PEER_LEFT);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_PEER_LEFT), 1);
}

static void what_is_left_over_is_offered_again_with_what_follows(void **state)
{
    struct world *world = *state;
    world->mode = WHOLE_LINES;
    int fd = dial_open(world);
    const char *text = "one\ntwo\nthree\n";
    for (size_t i = 0; i < strlen(text); i++) {
        size_t offers = world->offers;
        assert_int_equal(send(fd, text + i, 1, 0), 1);
        AWAIT(world, world->offers > offers);
        const char *upto = memrchr(text, '\n', i + 1);
        assert_int_equal(world->heard_len, upto == NULL ? 0 : upto - text + 1);
    }
    assert_memory_equal(world->heard, text, strlen(text));
    close(fd);
}

static void an_echo_survives_any_split(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int fd = dial_open(world);
    size_t len = 1024 * 1024, sent = 0, back = 0;
    uint8_t *bytes = random_bytes(len), *got = malloc(len);
    while (back < len) {
        size_t part = 1 + rand_u64() % (rand_u64() % 4 == 0 ? 60000 : 200);
        if (part > len - sent)
            part = len - sent;
        /* Not more on the way than the out queue takes: the client is a slow reader otherwise. */
        if (part > 0 && sent - back < 100000) {
            ssize_t n = send(fd, bytes + sent, part, MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
        }
        loop_turn(world->loop, 0);
        ssize_t n = recv(fd, got + back, len - back, 0);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        back += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(got, bytes, len);
    assert_int_equal(count(world, EDGE_METRIC_BYTES_OUT), len);
    free(bytes);
    free(got);
    close(fd);
}

static void lines_longer_than_a_read_come_whole(void **state)
{
    struct world *world = *state;
    world->mode = WHOLE_LINES;
    int fd = dial_open(world);
    size_t line = 64 * 1024, len = 16 * line, sent = 0;
    uint8_t *bytes = malloc(len);
    memset(bytes, 'x', len);
    for (size_t i = line - 1; i < len; i += line)
        bytes[i] = '\n';
    while (world->heard_len < len) {
        if (sent < len) {
            ssize_t n = send(fd, bytes + sent, 1 + rand_u64() % 100000 % (len - sent), 0);
            sent += n > 0 ? (size_t)n : 0;
        }
        loop_turn(world->loop, 0);
        assert_int_equal(world->closed, 0);
    }
    assert_memory_equal(world->heard, bytes, len);
    free(bytes);
    close(fd);
}

/* The window must have grown beyond one read, so first the peer is a fast one for a while. */
static void all_that_waits_is_heard_however_much_it_is(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    size_t len = 1024 * 1024, sent = 0;
    uint8_t *bytes = random_bytes(len);
    while (world->heard_len < HEARD_MAX - len) {
        size_t part = HEARD_MAX - len - sent;
        ssize_t n = send(fd, bytes, part < 20000 ? part : 20000, 0);
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(world->loop, 0);
    }
    size_t waits = 0, idle = 0;
    while (idle < 1000 && waits < len) {
        ssize_t n = send(fd, bytes + waits, len - waits, 0);
        waits += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
    }
    AWAIT(world, world->heard_len == sent + waits);
    assert_memory_equal(world->heard + sent, bytes, waits);
    assert_int_equal(world->closed, 0);
    free(bytes);
    close(fd);
}

static void more_left_over_than_allowed_is_a_bad_frame(void **state)
{
    struct world *world = *state;
    world->mode = KEEP;
    int fd = dial_open(world);
    uint8_t *bytes = random_bytes(world->options.in_bytes_max + 1);
    size_t sent = 0;
    while (sent < world->options.in_bytes_max) {
        ssize_t n = send(fd, bytes + sent, world->options.in_bytes_max - sent, 0);
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(world->loop, 0);
    }
    AWAIT(world, count(world, EDGE_METRIC_BYTES_IN) == sent);
    turns(world, 3);
    assert_int_equal(world->closed, 0);
    assert_int_equal(send(fd, bytes, 1, 0), 1);
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_BAD_FRAME);
    free(bytes);
    close(fd);
}

static void many_sends_of_one_turn_are_one_write(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    for (int i = 0; i < 100; i++)
        conn_send(world->table, world->last, span_text("abcdefghij"));
    uint8_t got[1000];
    assert_int_equal(hear(world, fd, got, sizeof got), sizeof got);
    assert_int_equal(count(world, EDGE_METRIC_WRITES), 1);
    close(fd);
}

static void what_was_queued_before_the_close_arrives_and_then_the_end(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    conn_send(world->table, world->last, span_text("last words"));
    conn_close(world->table, world->last, END_KICKED);
    conn_close(world->table, world->last, END_IDLE);
    conn_send(world->table, world->last, span_text("too late"));
    assert_int_equal(world->closed, 0);
    hears_exactly_then_the_end(world, fd, "last words");
    assert_int_equal(world->closed, 1);
    assert_int_equal(world->last_reason, END_KICKED);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_KICKED), 1);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_IDLE), 0);
    close(fd);
}

static void closing_inside_on_bytes_still_says_goodbye(void **state)
{
    struct world *world = *state;
    world->close_on_bytes = END_BAD_SEQUENCE;
    int fd = dial_open(world);
    say(fd, "what");
    hears_exactly_then_the_end(world, fd, "goodbye");
    assert_int_equal(world->last_reason, END_BAD_SEQUENCE);
    close(fd);
}

/* Without a last read the kernel would answer with a reset, and the client may lose the words
 * before it. */
static void unread_input_does_not_turn_the_end_into_a_reset(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    say(fd, "you have not read this");
    conn_send(world->table, world->last, span_text("last words"));
    conn_close(world->table, world->last, END_IDLE);
    hears_exactly_then_the_end(world, fd, "last words");
    assert_int_equal(world->offers, 0);
    close(fd);
}

static void what_comes_before_the_peers_end_is_still_heard(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int fd = dial_open(world);
    say(fd, "ping");
    shutdown(fd, SHUT_WR);
    hears_exactly_then_the_end(world, fd, "ping");
    assert_int_equal(world->last_reason, END_PEER_LEFT);
    close(fd);
}

static void a_reset_is_a_peer_that_left(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_PEER_LEFT);
}

static void a_stale_id_is_ignored_though_its_slot_lives_again(void **state)
{
    struct world *world = *state;
    int first = dial_open(world);
    struct conn_id old = world->last;
    close(first);
    AWAIT(world, world->closed == 1);

    int second = dial_open(world);
    assert_int_equal(world->last.slot, old.slot);
    assert_int_not_equal(world->last.generation, old.generation);
    conn_send(world->table, old, span_text("for the dead"));
    conn_close(world->table, old, END_KICKED);
    char peer[64];
    assert_string_equal(conn_peer(world->table, old, peer), "");
    conn_send(world->table, (struct conn_id){0}, span_text("for nobody"));
    conn_send(world->table, (struct conn_id){UINT32_MAX, 1}, span_text("for nobody"));
    conn_close(world->table, (struct conn_id){0}, END_KICKED);
    turns(world, 3);
    assert_int_equal(world->closed, 1);

    conn_send(world->table, world->last, span_text("for the living"));
    conn_close(world->table, world->last, END_KICKED);
    hears_exactly_then_the_end(world, second, "for the living");
    close(second);
}

static void what_is_sent_after_the_turn_has_ended_does_not_wait_for_an_event(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    turns(world, 1);
    assert_int_not_equal(loop_wait_ms(world->loop), 0);
    conn_send(world->table, world->last, span_text("now"));
    assert_int_equal(loop_wait_ms(world->loop), 0);
    close(fd);
}

static int server_side_of(int client)
{
    struct sockaddr_in own, peer;
    socklen_t len = sizeof own;
    assert_int_equal(getsockname(client, (struct sockaddr *)&own, &len), 0);
    for (int fd = 3; fd < 1024; fd++) {
        len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_port == own.sin_port)
            return fd;
    }
    fail_msg("no such socket");
    return -1;
}

static void accepted_sockets_have_the_options_of_their_listener(void **state)
{
    struct world *world = *state;
    int client = dial_open(world), fd = server_side_of(client), value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
    assert_int_equal(value, 1);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &len), 0);
    assert_int_equal(value, 2 * world->options.sndbuf_bytes); /* the kernel doubles it */
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(client);
}

static void closing_makes_the_id_stale_at_once_and_frees_the_slot_later(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    conn_close(world->table, world->last, END_KICKED);
    char peer[64];
    assert_string_equal(conn_peer(world->table, world->last, peer), "");
    assert_int_equal(conn_count(world->table), 1);
    AWAIT(world, world->closed == 1);
    assert_int_equal(conn_count(world->table), 0);
    close(fd);
}

#define CROWD 60u

static void a_crowd_that_ends_at_once_goes_some_a_turn_and_all_go(void **state)
{
    struct world *world = *state;
    struct conn_id ids[CROWD];
    int fds[CROWD];
    for (uint32_t i = 0; i < CROWD; i++) {
        fds[i] = dial_open(world);
        ids[i] = world->last;
    }
    for (uint32_t i = 0; i < CROWD; i++)
        conn_close(world->table, ids[i], END_KICKED);
    uint32_t taken = 0, before = 0;
    for (; world->closed < CROWD && taken < CROWD; taken++) {
        loop_turn(world->loop, 0);
        assert_true(world->closed - before <= 8);
        before = world->closed;
        assert_int_equal(conn_count(world->table), CROWD - before);
    }
    assert_int_equal(world->closed, CROWD);
    assert_true(taken <= CROWD / 8 + 1);
    for (uint32_t i = 0; i < CROWD; i++)
        close(fds[i]);
}

static void slots_that_were_used_come_before_new_ones(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 200; i++) {
        int a = dial_open(world), b = dial_open(world);
        assert_true(world->last.slot < 2);
        close(a);
        close(b);
        AWAIT(world, conn_count(world->table) == 0);
    }
}

static void on_closed_may_speak_to_others(void **state)
{
    struct world *world = *state;
    int stays = dial_open(world);
    world->other = world->last;
    world->send_on_closed = true;
    int leaves = dial_open(world);
    close(leaves);
    uint8_t got[7];
    assert_int_equal(hear(world, stays, got, sizeof got), sizeof got);
    assert_memory_equal(got, "it left", 7);
    close(stays);
}

static void the_peers_address_is_known(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    char expected[64], peer[64];
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", (unsigned)ntohs(own.sin_port));
    assert_string_equal(conn_peer(world->table, world->last, peer), expected);
    close(fd);
}

/* ---- limits ---- */

static void one_byte_over_the_queue_is_a_slow_reader(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    struct conn_id id = world->last;
    uint8_t *bytes = random_bytes(world->options.out_bytes_max + 1);
    conn_send(world->table, id, span_of(bytes, world->options.out_bytes_max));
    uint8_t *got = malloc(world->options.out_bytes_max);
    assert_int_equal(hear(world, fd, got, world->options.out_bytes_max),
                     world->options.out_bytes_max);
    assert_memory_equal(got, bytes, world->options.out_bytes_max);
    conn_send(world->table, id, span_of(bytes, world->options.out_bytes_max + 1));
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_SLOW_READER);
    free(bytes);
    free(got);
    close(fd);
}

static void a_peer_that_does_not_read_is_closed_at_the_limit(void **state)
{
    struct world *world = *state;
    uint32_t opened = world->opened;
    int fd = dial_port(conn_table_port(world->table, world->tcp), 4096);
    AWAIT(world, world->opened == opened + 1);
    uint8_t bytes[4096] = {0};
    size_t sent = 0;
    while (world->closed == 0) {
        conn_send(world->table, world->last, span_of(bytes, sizeof bytes));
        sent += sizeof bytes;
        loop_turn(world->loop, 0);
        assert_true(sent < 64u * 1024 * 1024);
    }
    assert_int_equal(world->last_reason, END_SLOW_READER);
    assert_true(sent > world->options.out_bytes_max);
    /* While it is blocked nothing is written in vain. */
    assert_true(count(world, EDGE_METRIC_WRITES) <
                (sent - world->options.out_bytes_max / 2) / sizeof bytes);
    close(fd);
}

static void more_than_the_queue_in_one_turn_reaches_a_peer_that_reads(void **state)
{
    struct world *world = *state;
    int fd = dial_open(world);
    uint8_t *bytes = random_bytes(100000), *got = malloc(400000);
    for (int i = 0; i < 4; i++)
        conn_send(world->table, world->last, span_of(bytes, 100000));
    assert_int_equal(hear(world, fd, got, 400000), 400000);
    for (int i = 0; i < 4; i++)
        assert_memory_equal(got + i * 100000, bytes, 100000);
    assert_int_equal(world->closed, 0);
    free(bytes);
    free(got);
    close(fd);
}

static int set_up_hasty(void **state)
{
    struct world *world = make();
    world->options.progress_ms = 300;
    world->options.sndbuf_bytes = 16 * 1024;
    begin(world);
    *state = world;
    return 0;
}

static void a_peer_that_takes_nothing_for_too_long_is_a_slow_reader(void **state)
{
    struct world *world = *state;
    uint32_t opened = world->opened;
    int fd = dial_port(conn_table_port(world->table, world->tcp), 4096);
    AWAIT(world, world->opened == opened + 1);
    uint8_t *bytes = random_bytes(200000);
    uint64_t before = now_ms();
    conn_send(world->table, world->last, span_of(bytes, 200000));
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_SLOW_READER);
    assert_true(now_ms() - before >= 300);
    free(bytes);
    close(fd);
}

static void a_peer_that_reads_slowly_but_steadily_is_left_alone(void **state)
{
    struct world *world = *state;
    uint32_t opened = world->opened;
    int fd = dial_port(conn_table_port(world->table, world->tcp), 4096);
    AWAIT(world, world->opened == opened + 1);
    size_t len = 250000, got = 0;
    uint8_t *bytes = random_bytes(len), *back = malloc(len);
    conn_send(world->table, world->last, span_of(bytes, len));
    uint64_t began = now_ms(), next = began;
    while (got < len) {
        /* For twice as long as it would take a peer that stands still. */
        if (now_ms() >= next || now_ms() > began + 900) {
            ssize_t n = recv(fd, back + got, now_ms() > began + 900 ? len - got : 4096, 0);
            got += n > 0 ? (size_t)n : 0;
            next = now_ms() + 20;
        }
        loop_turn(world->loop, 1);
        assert_int_equal(world->closed, 0);
        assert_true(now_ms() < began + WAIT_MS);
    }
    assert_memory_equal(back, bytes, len);
    free(bytes);
    free(back);
    close(fd);
}

static int set_up_small(void **state)
{
    struct world *world = make();
    world->options.conns_max = 2;
    world->limited = true; /* what it refuses is counted there */
    begin(world);
    *state = world;
    return 0;
}

static void a_full_table_turns_away_with_an_error_frame_and_keeps_the_others(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int a = dial_open(world), b = dial_open(world), c = dial(world);
    say(c, "may I");
    uint8_t got[256];
    ssize_t len = hear(world, c, got, sizeof got);
    assert_true(len > 1);
    assert_int_equal(got[0], len - 1);
    Lahar__V1__ServerFrame *frame = lahar__v1__server_frame__unpack(NULL, (size_t)len - 1, got + 1);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_ERROR);
    assert_int_equal(frame->error->reason, END_EDGE_FULL);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_int_equal(world->opened, 2);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_EDGE_FULL), 1);
    assert_int_equal(world->closed, 0);
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_CONNECTIONS) == 2);
    EXPECT_LIMIT(world->metrics, EDGE, CONNECTIONS, 2, 2, 1);

    say(a, "a");
    assert_int_equal(hear(world, a, got, 1), 1);
    close(b);
    AWAIT(world, world->closed == 1);
    int d = dial_open(world);
    close(a);
    close(c);
    close(d);
}

static void after_the_stop_nobody_gets_in_and_those_inside_stay(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int fd = dial_open(world);
    uint16_t port = conn_table_port(world->table, world->tcp);
    conn_table_stop_accepting(world->table);
    assert_int_equal(conn_table_port(world->table, world->tcp), port);
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(late, (const struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ECONNREFUSED);
    say(fd, "still here");
    uint8_t got[10];
    assert_int_equal(hear(world, fd, got, sizeof got), sizeof got);
    close(late);
    close(fd);
}

static void two_workers_share_a_port(void **state)
{
    struct world *world = *state;
    char address[64];
    (void)snprintf(address, sizeof address, "tcp://127.0.0.1:%u",
                   (unsigned)conn_table_port(world->table, world->tcp));
    uint32_t second = conn_table_listen(world->table, address);
    assert_int_equal(conn_table_port(world->table, second),
                     conn_table_port(world->table, world->tcp));
}

static void knows_an_address_when_it_sees_one(void **state)
{
    (void)state;
    struct acceptor_address address;
    const char *good[] = {"tcp://0.0.0.0:7700", "tls://[::]:7701", "tcp://127.0.0.1:0",
                          "tcp://[::1]:65535"};
    const char *bad[] = {"",
                         "tcp://",
                         "0.0.0.0:7700",
                         "http://0.0.0.0:7700",
                         "tcp://0.0.0.0",
                         "tcp://0.0.0.0:",
                         "tcp://:7700",
                         "tcp://0.0.0.0:65536",
                         "tcp://0.0.0.0:-1",
                         "tcp://0.0.0.0:7 700",
                         "tcp://0.0.0.0:0x10",
                         "tcp://::1:7700",
                         "tcp://[127.0.0.1]:7700",
                         "tcp://[::1:7700",
                         "tcp://localhost:7700",
                         "tcp://1.2.3:7700",
                         "tcp://0.0.0.0:000001",
                         "TCP://0.0.0.0:7700"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(acceptor_parse(good[i], &address));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (acceptor_parse(bad[i], &address))
            fail_msg("taken for an address: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_as_they_were_sent_and_are_counted, set_up),
        TEST(what_is_left_over_is_offered_again_with_what_follows, set_up),
        TEST(an_echo_survives_any_split, set_up),
        TEST(lines_longer_than_a_read_come_whole, set_up),
        TEST(all_that_waits_is_heard_however_much_it_is, set_up),
        TEST(more_left_over_than_allowed_is_a_bad_frame, set_up),
        TEST(many_sends_of_one_turn_are_one_write, set_up),
        TEST(what_was_queued_before_the_close_arrives_and_then_the_end, set_up),
        TEST(closing_inside_on_bytes_still_says_goodbye, set_up),
        TEST(unread_input_does_not_turn_the_end_into_a_reset, set_up),
        TEST(what_comes_before_the_peers_end_is_still_heard, set_up),
        TEST(a_reset_is_a_peer_that_left, set_up),
        TEST(a_stale_id_is_ignored_though_its_slot_lives_again, set_up),
        TEST(what_is_sent_after_the_turn_has_ended_does_not_wait_for_an_event, set_up),
        TEST(accepted_sockets_have_the_options_of_their_listener, set_up_hasty),
        TEST(closing_makes_the_id_stale_at_once_and_frees_the_slot_later, set_up),
        TEST(a_crowd_that_ends_at_once_goes_some_a_turn_and_all_go, set_up),
        TEST(slots_that_were_used_come_before_new_ones, set_up),
        TEST(on_closed_may_speak_to_others, set_up),
        TEST(the_peers_address_is_known, set_up),
        TEST(one_byte_over_the_queue_is_a_slow_reader, set_up),
        TEST(a_peer_that_does_not_read_is_closed_at_the_limit, set_up),
        TEST(more_than_the_queue_in_one_turn_reaches_a_peer_that_reads, set_up),
        TEST(a_peer_that_takes_nothing_for_too_long_is_a_slow_reader, set_up_hasty),
        TEST(a_peer_that_reads_slowly_but_steadily_is_left_alone, set_up_hasty),
        TEST(a_full_table_turns_away_with_an_error_frame_and_keeps_the_others, set_up_small),
        TEST(after_the_stop_nobody_gets_in_and_those_inside_stay, set_up),
        TEST(two_workers_share_a_port, set_up),
        cmocka_unit_test(knows_an_address_when_it_sees_one),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
