/* websock: behind a whole conn table, over real sockets: a session sees the same clear bytes as
 * over TCP, and every offence against WebSocket ends the conn with the code that the RFC has for
 * it. */
#include "tests/tls_world.h"
#include "tests/ws_client.h"

static int set_up(void **state)
{
    struct world *world = make();
    begin(world);
    *state = world;
    return 0;
}

/* ---- upgrade ---- */

static void the_upgrade_is_answered_as_in_the_rfc(void **state)
{
    struct world *world = *state;
    char answer[512];
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    say(fd, WS_REQUEST("Origin: https://game.example\r\n"));
    world->origin = 7;
    ws_hears_answer(world, fd, answer, sizeof answer);
    assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
    assert_non_null(strstr(answer, "\r\nSec-WebSocket-Accept: " WS_ACCEPT "\r\n"));
    assert_non_null(strstr(answer, "\r\nSec-WebSocket-Protocol: lahar.v1\r\n"));
    assert_int_equal(world->opened, 1);
    assert_int_equal(world->last_listener, world->ws);
    assert_int_equal(world->last_from.origin, 7);
    assert_int_equal(count(world, EDGE_METRIC_UPGRADES), 1);
    close(fd);
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_PEER_LEFT);
}

static void an_upgrade_may_come_byte_by_byte(void **state)
{
    struct world *world = *state;
    const char *request = WS_REQUEST("");
    char answer[512];
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    for (size_t i = 0; i < strlen(request); i++) {
        assert_int_equal(world->opened, 0);
        assert_int_equal(send(fd, request + i, 1, 0), 1);
        AWAIT(world, count(world, EDGE_METRIC_BYTES_IN) == i + 1);
    }
    ws_hears_answer(world, fd, answer, sizeof answer);
    assert_int_equal(world->opened, 1);
    assert_int_equal(world->last_from.origin, 0);
    close(fd);
}

static void frames_right_behind_the_request_are_heard(void **state)
{
    struct world *world = *state;
    uint8_t bytes[1024];
    size_t len = strlen(WS_REQUEST(""));
    memcpy(bytes, WS_REQUEST(""), len);
    len += ws_frame(bytes + len, FIN | BINARY, "hello", 5);
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    assert_int_equal(send(fd, bytes, len, 0), len);
    AWAIT(world, world->heard_len == 5);
    assert_memory_equal(world->heard, "hello", 5);
    close(fd);
}

static void hears_refusal(struct world *world, int fd, const char *status)
{
    char got[1024] = "";
    ssize_t len = hear(world, fd, (uint8_t *)got, sizeof got - 1);
    assert_true(len > 0);
    if (strncmp(got, "HTTP/1.1 ", 9) != 0 || strncmp(got + 9, status, 3) != 0)
        fail_msg("%s was expected: %s", status, got);
    assert_non_null(strstr(got, "\r\nContent-Type: text/plain"));
    const char *body = strstr(got, "\r\n\r\n");
    assert_non_null(body);
    assert_true(strlen(body) > 4 + 10); /* it says something */
}

/* proto/ws_upgrade.h has the whole table; here: that it holds over sockets, and how conns end. */
static void what_is_no_upgrade_is_refused_with_a_reason(void **state)
{
    struct world *world = *state;
    static const char *const cases[][2] = {
        {"400", "hello there\r\n\r\n"},
        {"400", "\x0a\x0a\x08\x01\r\n\r\n"},
        {"405", "POST / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"505", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"},
        {"426", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"400", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {"400", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
        {"426", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " WS_KEY "\r\n"
                "Sec-WebSocket-Protocol: lahar.v1\r\n\r\n"},
        {"400", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " WS_KEY "\r\n"
                "Sec-WebSocket-Protocol: lahar.v2\r\n\r\n"},
        {"400", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"
                "Sec-WebSocket-Protocol: lahar.v1\r\n\r\n"},
        {"400", WS_REQUEST("Content-Length: 5\r\n")},
        {"400", WS_REQUEST("Origin: a b\r\n")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial_port(conn_table_port(world->table, world->ws), 0);
        say(fd, cases[i][1]);
        hears_refusal(world, fd, cases[i][0]);
        assert_int_equal(count(world, EDGE_METRIC_ENDED(END_UPGRADE_REFUSED)), i + 1);
        close(fd);
    }
    assert_int_equal(world->opened, 0);
    assert_int_equal(conn_count(world->table), 0);
    assert_int_equal(count(world, EDGE_METRIC_UPGRADE(WS_UPGRADE_BAD_METHOD)), 1);
    assert_int_equal(count(world, EDGE_METRIC_UPGRADE_BAD_VERSION), 1);
}

static void a_head_of_more_than_4_kib_is_refused(void **state)
{
    struct world *world = *state;
    char head[5000];
    memset(head, 'x', sizeof head);
    memcpy(head, "GET / HTTP/1.1\r\nX: ", 19);
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    assert_int_equal(send(fd, head, 4095, 0), 4095);
    AWAIT(world, count(world, EDGE_METRIC_BYTES_IN) == 4095);
    turns(world, 3);
    assert_int_equal(conn_count(world->table), 1);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    hears_refusal(world, fd, "431");
    close(fd);
}

static int set_up_hasty(void **state)
{
    struct world *world = make();
    world->options.hello_ms = 300;
    begin(world);
    *state = world;
    return 0;
}

static void an_upgrade_that_takes_too_long_is_ended(void **state)
{
    struct world *world = *state;
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    uint64_t began = now_ms();
    say(fd, "GET / HTTP/1.1\r\n");
    hears_refusal(world, fd, "408");
    assert_true(now_ms() - began >= 290);
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_HELLO_TIMEOUT), 1);
    close(fd);
}

static void what_the_upgrade_took_is_not_given_to_the_hello_again(void **state)
{
    struct world *world = *state;
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    say(fd, "GET");
    AWAIT(world, count(world, EDGE_METRIC_BYTES_IN) == 3);
    uint64_t began = now_ms();
    while (now_ms() < began + 100)
        loop_turn(world->loop, 5);
    say(fd, WS_REQUEST("") + 3);
    AWAIT(world, world->opened == 1);
    assert_in_range(world->last_from.waited_ms, 90, 300);
    close(fd);
}

static void an_origin_that_no_site_lists_is_refused(void **state)
{
    struct world *world = *state;
    int fd = dial_port(conn_table_port(world->table, world->ws), 0);
    say(fd, WS_REQUEST("Origin: https://evil.example\r\n"));
    hears_refusal(world, fd, "403");
    assert_int_equal(count(world, EDGE_METRIC_ENDED(END_ORIGIN_REFUSED)), 1);
    close(fd);
    world->origin = CONN_ORIGIN_LATER;
    fd = dial_port(conn_table_port(world->table, world->ws), 0);
    say(fd, WS_REQUEST("Origin: https://early.example\r\n"));
    hears_refusal(world, fd, "503");
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_BUSY), 1);
    assert_int_equal(world->opened, 0);
    close(fd);
}

static int set_up_small(void **state)
{
    struct world *world = make();
    world->options.conns_max = 1;
    begin(world);
    *state = world;
    return 0;
}

static void a_full_table_says_so_in_http(void **state)
{
    struct world *world = *state;
    int first = ws_dial(world), second = dial_port(conn_table_port(world->table, world->ws), 0);
    hears_refusal(world, second, "503");
    assert_int_equal(count(world, EDGE_METRIC_CLOSED_EDGE_FULL), 1);
    close(first);
    close(second);
    AWAIT(world, conn_count(world->table) == 0);
    first = ws_dial(world); /* what a WebSocket needs was given back, too */
    close(first);
}

/* ---- messages ---- */

static void payload_is_heard_without_its_frames(void **state)
{
    struct world *world = *state;
    int fd = ws_dial(world);
    ws_say(fd, FIN | BINARY, "one", 3);
    ws_say(fd, BINARY, "t", 1);
    ws_say(fd, FIN | PONG, "unasked", 7);
    ws_say(fd, CONTINUATION, "", 0);
    ws_say(fd, FIN | CONTINUATION, "wo", 2);
    ws_say(fd, FIN | BINARY, "", 0);
    ws_say(fd, FIN | BINARY, "three", 5);
    AWAIT(world, world->heard_len == 11);
    assert_memory_equal(world->heard, "onetwothree", 11);
    assert_int_equal(world->closed, 0);
    close(fd);
}

/* Several messages, fragments and pings in one stream, cut at every point. */
static void messages_cut_anywhere_come_whole(void **state)
{
    struct world *world = *state;
    world->mode = WHOLE_LINES;
    uint8_t stream[256];
    size_t len = ws_frame(stream, FIN | BINARY, "one\ntwo\n", 8);
    len += ws_frame(stream + len, BINARY, "thr", 3);
    len += ws_frame(stream + len, FIN | PING, "are you there", 13);
    len += ws_frame(stream + len, FIN | CONTINUATION, "ee\n", 3);
    for (size_t cut = 1; cut < len; cut++) {
        uint8_t pong[32];
        size_t pong_len;
        int fd = ws_dial(world);
        uint64_t in = count(world, EDGE_METRIC_BYTES_IN);
        world->heard_len = 0;
        assert_int_equal(send(fd, stream, cut, 0), cut);
        AWAIT(world, count(world, EDGE_METRIC_BYTES_IN) == in + cut);
        assert_int_equal(send(fd, stream + cut, len - cut, 0), len - cut);
        AWAIT(world, world->heard_len == 14);
        assert_memory_equal(world->heard, "one\ntwo\nthree\n", 14);
        assert_int_equal(ws_hear(world, fd, pong, sizeof pong, &pong_len), FIN | PONG);
        assert_int_equal(pong_len, 13);
        assert_memory_equal(pong, "are you there", 13);
        close(fd);
        AWAIT(world, conn_count(world->table) == 0);
    }
}

static void an_echo_survives_any_split_and_size(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int fd = ws_dial(world);
    size_t total = 1024 * 1024, sent = 0, back = 0, waits = 0, at = 0;
    uint8_t *bytes = random_bytes(total), *got = malloc(70000), *frame = malloc(70000 + 14);
    while (back < total) {
        if (waits == at && sent < total && sent - back < 100000) {
            size_t part = rand_u64() % 3 == 0 ? rand_u64() % 65537 : rand_u64() % 300;
            part = part < total - sent ? part : total - sent;
            waits = ws_frame(frame, FIN | BINARY, bytes + sent, part);
            sent += part;
            at = 0;
        }
        if (at < waits) {
            ssize_t n = send(fd, frame + at, 1 + rand_u64() % (waits - at), MSG_NOSIGNAL);
            at += n > 0 ? (size_t)n : 0;
        }
        loop_turn(world->loop, 0);
        uint8_t head;
        while (recv(fd, &head, 1, MSG_PEEK) == 1) {
            size_t len;
            assert_int_equal(ws_hear(world, fd, got, 70000, &len), FIN | BINARY);
            assert_memory_equal(got, bytes + back, len);
            back += len;
        }
    }
    assert_int_equal(world->closed, 0);
    free(bytes);
    free(got);
    free(frame);
    close(fd);
}

static void a_frame_in_many_pieces_is_heard_once_and_whole(void **state)
{
    struct world *world = *state;
    world->mode = WHOLE_LINES;
    int fd = ws_dial(world);
    size_t len = 60000, stream_len = 0, sent = 0;
    uint8_t *line = random_bytes(len), *stream = malloc(4 * len);
    for (size_t i = 0; i < len; i++)
        line[i] = line[i] == '\n' ? ' ' : line[i];
    line[19] = line[len - 1] = '\n'; /* a short one first */
    for (size_t at = 0; at < len;) {
        size_t part = 1 + rand_u64() % (rand_u64() % 2 == 0 ? 20 : 3000);
        part = part < len - at ? part : len - at;
        stream_len += ws_frame(stream + stream_len,
                               (at == 0 ? BINARY : CONTINUATION) | (at + part == len ? FIN : 0),
                               line + at, part);
        stream_len += ws_frame(stream + stream_len, FIN | PONG, line, rand_u64() % 126);
        at += part;
        assert_true(stream_len < 3 * len);
    }
    while (sent < stream_len) {
        ssize_t n = send(fd, stream + sent, 1 + rand_u64() % 40 % (stream_len - sent), 0);
        sent += n > 0 ? (size_t)n : 0;
        loop_turn(world->loop, 0);
    }
    AWAIT(world, world->heard_len == len);
    assert_memory_equal(world->heard, line, len);
    assert_int_equal(world->closed, 0);
    free(line);
    free(stream);
    close(fd);
}

static void what_is_sent_in_a_turn_leaves_as_one_message(void **state)
{
    struct world *world = *state;
    static const size_t sizes[] = {1, 2, 125, 126, 127, 65535, 65536, 70000};
    uint8_t *bytes = random_bytes(70000), *got = malloc(70000);
    int fd = ws_dial(world);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len;
        uint64_t writes = count(world, EDGE_METRIC_WRITES);
        conn_send(world->table, world->last, span_of(bytes, 1));
        for (size_t at = 1; sizes[i] <= 65535 && at < sizes[i]; at++)
            conn_send(world->table, world->last, span_of(bytes + at, 1));
        if (sizes[i] > 65535) { /* more than one frame of ours has: alone in its message */
            assert_int_equal(ws_hear(world, fd, got, 70000, &len), FIN | BINARY);
            conn_send(world->table, world->last, span_of(bytes, sizes[i]));
        }
        assert_int_equal(ws_hear(world, fd, got, 70000, &len), FIN | BINARY);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(got, bytes, len);
        assert_true(sizes[i] > 65535 || count(world, EDGE_METRIC_WRITES) == writes + 1);
    }
    free(bytes);
    free(got);
    close(fd);
}

static void a_turn_with_more_than_a_message_holds_leaves_as_several(void **state)
{
    struct world *world = *state;
    uint8_t *bytes = random_bytes(40000), *got = malloc(70000);
    int fd = ws_dial(world);
    for (int i = 0; i < 3; i++)
        conn_send(world->table, world->last, span_of(bytes, 30000));
    static const size_t expected[] = {60000, 30000};
    for (size_t i = 0; i < 2; i++) {
        size_t len;
        assert_int_equal(ws_hear(world, fd, got, 70000, &len), FIN | BINARY);
        assert_int_equal(len, expected[i]);
        assert_memory_equal(got, bytes, 30000);
    }
    assert_int_equal(count(world, EDGE_METRIC_WRITES), 2); /* the upgrade, and all of it */
    free(bytes);
    free(got);
    close(fd);
}

static void messages_for_a_blocked_peer_come_whole_in_the_end(void **state)
{
    struct world *world = *state;
    int fd = ws_dial_rcvbuf(world, 4096);
    uint8_t *bytes = random_bytes(2000), *got = malloc(70000);
    size_t sent = 0, back = 0;
    /* Until the kernel takes no more, and then some that waits with us. */
    while (sent < 4000000 && count(world, EDGE_METRIC_BYTES_OUT) + 100000 > sent) {
        for (size_t i = 0; i < 10; i++, sent += 1 + sent % 2000)
            conn_send(world->table, world->last, span_of(bytes, 1 + sent % 2000));
        loop_turn(world->loop, 0);
    }
    assert_int_equal(world->closed, 0);
    for (size_t at = 0; back < sent;) {
        size_t len;
        assert_int_equal(ws_hear(world, fd, got, 70000, &len), FIN | BINARY);
        back += len;
        for (size_t i = 0; i < len;) { /* the pieces as they were sent */
            size_t part = 1 + at % 2000;
            assert_true(i + part <= len);
            assert_memory_equal(got + i, bytes, part);
            i += part;
            at += part;
        }
    }
    assert_int_equal(back, sent);
    free(bytes);
    free(got);
    close(fd);
}

/* ---- control frames and offences ---- */

static void pings_are_answered_until_too_much_waits(void **state)
{
    struct world *world = *state;
    int fd = ws_dial_rcvbuf(world, 4096);
    uint8_t payload[125], *frames = malloc(1000 * 140);
    size_t len = 0, sent;
    memset(payload, 'p', sizeof payload);
    for (int i = 0; i < 1000; i++)
        len += ws_frame(frames + len, FIN | PING, payload, sizeof payload);
    uint64_t in = count(world, EDGE_METRIC_BYTES_IN);
    for (int round = 0; round < 100; round++)
        for (sent = 0; sent < len;) {
            ssize_t n = send(fd, frames + sent, len - sent, MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
            loop_turn(world->loop, 0);
        }
    AWAIT(world, count(world, EDGE_METRIC_BYTES_IN) == in + 100 * len);
    assert_int_equal(world->closed, 0);
    turns(world, 3);
    assert_true(conn_queued(world->table) <= 4096 + 131);
    uint8_t got[125];
    size_t got_len;
    assert_int_equal(ws_hear(world, fd, got, sizeof got, &got_len), FIN | PONG);
    assert_int_equal(got_len, sizeof payload);
    assert_memory_equal(got, payload, got_len);
    free(frames);
    close(fd);
}

static void a_close_is_answered_and_is_a_peer_that_left(void **state)
{
    struct world *world = *state;
    int fd = ws_dial(world);
    ws_say(fd, FIN | BINARY, "last", 4);
    ws_say(fd, FIN | CLOSE, "\x03\xe8thank you", 11);
    ws_hears_close(world, fd, 1000, "");
    assert_int_equal(world->heard_len, 4);
    assert_int_equal(world->last_reason, END_PEER_LEFT);
    close(fd);
    fd = ws_dial(world);
    uint8_t got[8];
    size_t len;
    ws_say(fd, FIN | CLOSE, "", 0);
    assert_int_equal(ws_hear(world, fd, got, sizeof got, &len), FIN | CLOSE);
    assert_int_equal(len, 0);
    close(fd);
}

static void our_close_says_why_after_all_that_was_queued(void **state)
{
    struct world *world = *state;
    int fd = ws_dial(world);
    uint8_t got[32];
    size_t len;
    conn_send(world->table, world->last, span_text("last "));
    conn_send(world->table, world->last, span_text("words"));
    conn_close(world->table, world->last, END_KICKED);
    assert_int_equal(ws_hear(world, fd, got, sizeof got, &len), FIN | BINARY);
    assert_int_equal(len, 10);
    assert_memory_equal(got, "last words", 10);
    ws_hears_close(world, fd, 4000 + END_KICKED, "kicked");
    assert_int_equal(world->last_reason, END_KICKED);
    close(fd);
}

static void offences_end_with_the_code_of_the_rfc(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *what, *bytes;
        size_t len;
        uint32_t code;
        enum end_reason reason;
    } cases[] = {
#define CASE(what, bytes, code, reason) {what, bytes, sizeof bytes - 1, code, reason}
        CASE("text", "\x81\x81\0\0\0\0a", 1003, END_WS_TEXT),
        CASE("no mask",
             "\x82\x01"
             "a",
             1002, END_WS_BROKEN),
        CASE("reserved bit", "\xc2\x81\0\0\0\0a", 1002, END_WS_BROKEN),
        CASE("reserved opcode", "\x83\x81\0\0\0\0a", 1002, END_WS_BROKEN),
        CASE("nothing to continue", "\x80\x81\0\0\0\0a", 1002, END_WS_BROKEN),
        CASE("fragmented ping", "\x09\x80\0\0\0\0", 1002, END_WS_BROKEN),
        CASE("long ping", "\x89\xfe\0\x7e\0\0\0\0", 1002, END_WS_BROKEN),
        CASE("length not minimal", "\x82\xfe\0\x7d\0\0\0\0", 1002, END_WS_BROKEN),
        CASE("too big", "\x82\xff\0\0\0\0\0\x01\0\x01\0\0\0\0", 1009, END_WS_BROKEN),
        CASE("close of one byte", "\x88\x81\0\0\0\0a", 1002, END_WS_BROKEN),
        CASE("close that is not UTF-8", "\x88\x83\0\0\0\0\x03\xe8\xff", 1007, END_WS_BROKEN),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = ws_dial(world);
        uint32_t closed = world->closed;
        assert_int_equal(send(fd, cases[i].bytes, cases[i].len, 0), cases[i].len);
        ws_hears_close(world, fd, cases[i].code, "");
        assert_int_equal(world->closed, closed + 1);
        assert_int_equal(world->last_reason, cases[i].reason);
        close(fd);
    }
    assert_int_equal(world->heard_len, 0);
}

static void a_message_that_ends_within_a_frame_is_a_bad_frame(void **state)
{
    struct world *world = *state;
    world->mode = WHOLE_LINES;
    int fd = ws_dial(world);
    ws_say(fd, FIN | BINARY, "one\ntw", 6);
    ws_hears_close(world, fd, 4000 + END_BAD_FRAME, "bad_frame");
    assert_int_equal(world->heard_len, 4);
    assert_int_equal(world->last_reason, END_BAD_FRAME);
    close(fd);
}

static void nothing_is_heard_after_the_end(void **state)
{
    struct world *world = *state;
    world->close_on_bytes = END_BAD_SEQUENCE;
    int fd = ws_dial(world);
    uint8_t frames[64], got[32];
    size_t len = ws_frame(frames, FIN | BINARY, "one", 3);
    len += ws_frame(frames + len, FIN | BINARY, "two", 3);
    len += ws_frame(frames + len, FIN | PING, "", 0);
    assert_int_equal(send(fd, frames, len, 0), len);
    assert_int_equal(ws_hear(world, fd, got, sizeof got, &len), FIN | BINARY);
    assert_memory_equal(got, "goodbye", 7);
    ws_hears_close(world, fd, 4000 + END_BAD_SEQUENCE, "bad_sequence");
    assert_int_equal(world->offers, 1);
    close(fd);
}

/* ---- over TLS ---- */

/* Reads at least `least` bytes, or to the end. */
static size_t hear_wss(struct world *world, SSL *ssl, char *at, size_t room, size_t least)
{
    uint64_t give_up = now_ms() + WAIT_MS;
    size_t got = 0;
    while (got < least) {
        size_t n = 0;
        if (SSL_read_ex(ssl, at + got, room - got, &n) != 1) {
            if (SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN)
                break;
            loop_turn(world->loop, 1);
        }
        got += n;
        assert_true(now_ms() < give_up);
    }
    return got;
}

static SSL *dial_wss(struct world *world, SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    SSL_set_fd(ssl, dial_port(conn_table_port(world->table, world->wss), 0));
    uint64_t give_up = now_ms() + WAIT_MS;
    while (SSL_connect(ssl) != 1) {
        loop_turn(world->loop, 1);
        assert_true(now_ms() < give_up);
    }
    return ssl;
}

static void over_tls_it_is_the_same(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = dial_wss(world, ctx);
    char got[512];
    uint8_t frame[32];
    size_t len = strlen(WS_REQUEST(""));
    assert_int_equal(SSL_write(ssl, WS_REQUEST(""), 20), 20);
    turns(world, 3);
    assert_int_equal(SSL_write(ssl, WS_REQUEST("") + 20, (int)len - 20), len - 20);
    assert_true(hear_wss(world, ssl, got, sizeof got, 1) > 12);
    assert_memory_equal(got, "HTTP/1.1 101 ", 13);
    assert_int_equal(world->last_listener, world->wss);
    len = ws_frame(frame, FIN | BINARY, "hello", 5);
    assert_int_equal(SSL_write(ssl, frame, (int)len), len);
    assert_int_equal(hear_wss(world, ssl, got, sizeof got, 7), 7);
    assert_memory_equal(got, "\x82\x05hello", 7);
    conn_close(world->table, world->last, END_IDLE);
    assert_int_equal(hear_wss(world, ssl, got, sizeof got, sizeof got), 8);
    assert_memory_equal(got, "\x88\x06\x0f\xa3idle", 8);
    assert_int_equal(SSL_get_shutdown(ssl), SSL_RECEIVED_SHUTDOWN);
    close(SSL_get_fd(ssl));
    SSL_free(ssl);

    ssl = dial_wss(world, ctx);
    assert_int_equal(SSL_write(ssl, "nonsense\r\n\r\n", 12), 12);
    len = hear_wss(world, ssl, got, sizeof got, sizeof got);
    assert_true(len > 12);
    assert_memory_equal(got, "HTTP/1.1 400 ", 13);
    assert_int_equal(SSL_get_shutdown(ssl), SSL_RECEIVED_SHUTDOWN);
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_upgrade_is_answered_as_in_the_rfc, set_up),
        TEST(an_upgrade_may_come_byte_by_byte, set_up),
        TEST(frames_right_behind_the_request_are_heard, set_up),
        TEST(what_is_no_upgrade_is_refused_with_a_reason, set_up),
        TEST(a_head_of_more_than_4_kib_is_refused, set_up),
        TEST(an_upgrade_that_takes_too_long_is_ended, set_up_hasty),
        TEST(what_the_upgrade_took_is_not_given_to_the_hello_again, set_up),
        TEST(an_origin_that_no_site_lists_is_refused, set_up),
        TEST(a_full_table_says_so_in_http, set_up_small),
        TEST(payload_is_heard_without_its_frames, set_up),
        TEST(messages_cut_anywhere_come_whole, set_up),
        TEST(an_echo_survives_any_split_and_size, set_up),
        TEST(a_frame_in_many_pieces_is_heard_once_and_whole, set_up),
        TEST(what_is_sent_in_a_turn_leaves_as_one_message, set_up),
        TEST(a_turn_with_more_than_a_message_holds_leaves_as_several, set_up),
        TEST(messages_for_a_blocked_peer_come_whole_in_the_end, set_up),
        TEST(pings_are_answered_until_too_much_waits, set_up),
        TEST(a_close_is_answered_and_is_a_peer_that_left, set_up),
        TEST(our_close_says_why_after_all_that_was_queued, set_up),
        TEST(offences_end_with_the_code_of_the_rfc, set_up),
        TEST(a_message_that_ends_within_a_frame_is_a_bad_frame, set_up),
        TEST(nothing_is_heard_after_the_end, set_up),
        TEST(over_tls_it_is_the_same, set_up_tls),
    };
    return cmocka_run_group_tests_name("websock", tests, NULL, NULL);
}
