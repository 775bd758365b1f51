/* lahar, transport, websocket: the public functions over WebSocket, on real sockets and real TLS.
 */
#include "tests/lahar_world.h"

#include "client/websocket.h"

static void send_text(struct world *world, const char *text)
{
    assert_int_equal(lahar_send(world->lahar, PEER, LAHAR_CONFIRMED, text, strlen(text), NULL),
                     LAHAR_OK);
}

static void talks(struct world *world)
{
    struct span content;
    send_text(world, "hello");
    struct hot_send send = hear_send(world);
    assert_true(span_equal(send.body, span_text("hello")));
    say_ack(world, send.cmid);
    TURN_UNTIL(world, world->outcomes == 1);
    assert_int_equal(world->last_outcome.outcome, LAHAR_DELIVERED);
    say_deliver(world, 1, span_text("hi"));
    TURN_UNTIL(world, world->messages == 1);
    assert_string_equal(world->last_message, "hi");
    assert_int_equal(hear(world, &content), KIND(RECEIVED));
}

static void talks_over_ws(void **state)
{
    struct world *world = *state;
    world->server.websocket = true;
    begin(world, "ws://127.0.0.1:%/a/path?x=1");
    go_online(world);
    talks(world);
    char host[64];
    snprintf(host, sizeof host, "127.0.0.1:%u", world->server.port);
    assert_string_equal(world->server.host, host);
    assert_string_equal(world->server.path, "/a/path?x=1");
}

static void talks_over_wss_to_the_name_in_the_certificate(void **state)
{
    struct world *world = *state;
    world->server.websocket = true;
    use_certificate(world, make_good_certificate(world));
    begin(world, "wss://localhost:%");
    go_online(world);
    talks(world);
    assert_string_equal(world->server.sni, "localhost");
    assert_string_equal(world->server.path, "/");
}

static void refuses_the_certificate_of_another_over_wss(void **state)
{
    struct world *world = *state;
    world->server.websocket = true;
    use_certificate(world,
                    make_certificate(world, world->ca, "edge", "DNS:elsewhere", -3600, 3600));
    begin(world, "wss://localhost:%");
    TURN_UNTIL(world, lahar_why(world->lahar)[0] != '\0');
    assert_string_equal(lahar_why(world->lahar), "certificate");
}

/* What the server says comes as one message, in parts of `step` bytes, with a ping between them. */
static void say_in_fragments(struct world *world, struct span bytes, size_t step)
{
    struct server *server = &world->server;
    uint8_t head[WS_HEAD_SIZE_MAX];
    enum ws_opcode opcode = WS_OP_BINARY;
    while (bytes.len > 0) {
        size_t len = bytes.len < step ? bytes.len : step;
        size_t size = ws_head_write(head, opcode, len, NULL);
        if (len < bytes.len)
            head[0] &= 0x7f;
        server_write_raw(server, span_of(head, size));
        server_write_raw(server, span_upto(bytes, len));
        server_write_raw(server, span_of("\x89\x02ok", 4));
        opcode = WS_OP_CONTINUATION;
        bytes = span_after(bytes, len);
    }
}

static void takes_messages_in_fragments_with_pings_between(void **state)
{
    struct world *world = *state;
    uint8_t mid[LAHAR_ID_SIZE] = {1}, bytes[HOT_OVERHEAD_MAX + 300], body[300];
    memset(body, 'x', sizeof body);
    world->server.websocket = true;
    begin(world, "ws://127.0.0.1:%/");
    go_online(world);
    struct hot_deliver deliver = {.dseq = 1,
                                  .from = PEER,
                                  .class = HOT_CONFIRMED,
                                  .mid = span_of(mid, sizeof mid),
                                  .body = span_of(body, sizeof body)};
    say_in_fragments(world, span_of(bytes, hot_deliver_write(bytes, &deliver)), 7);
    TURN_UNTIL(world, world->messages == 1 && world->server.pongs > 40);
    assert_int_equal(world->bytes_in_messages, sizeof body);
    assert_int_equal(world->server.last_pong_len, 2);
    assert_memory_equal(world->server.last_pong, "ok", 2);
}

static void carries_the_largest_messages_in_small_pieces(void **state)
{
    struct world *world = *state;
    static uint8_t body[FRAME_PAYLOAD_SIZE_MAX];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 31 + i / 251);
    world->server.websocket = true;
    use_certificate(world, make_good_certificate(world));
    begin(world, "wss://localhost:%");
    go_online(world);
    assert_int_equal(lahar_send(world->lahar, PEER, LAHAR_CONFIRMED, body, sizeof body, NULL),
                     LAHAR_OK);
    struct hot_send send = hear_send(world);
    assert_true(span_equal(send.body, span_of(body, sizeof body)));
    for (uint32_t i = 1; i <= 3; i++)
        say_deliver(world, i, span_of(body, sizeof body));
    TURN_UNTIL(world, world->messages == 3);
    assert_int_equal(world->bytes_in_messages, 3 * sizeof body);
}

static void what_comes_right_behind_the_answer_is_read(void **state)
{
    struct world *world = *state;
    world->server.websocket = true;
    world->server.mute = true;
    begin(world, "ws://127.0.0.1:%/");
    TURN_UNTIL(world, world->server.fd >= 0);
    /* The answer and a goodbye in one piece, before the client has said anything. */
    struct server *server = &world->server;
    while (!server->upgraded) {
        uint8_t *at = buf_reserve(&server->raw, 4096);
        ssize_t got = recv(server->fd, at, 4096, 0);
        buf_commit(&server->raw, got > 0 ? (size_t)got : 0);
        struct ws_upgrade request;
        if (ws_upgrade_parse(buf_span(&server->raw), &request) == WS_UPGRADE_OK) {
            uint8_t bytes[WS_UPGRADE_ANSWER_SIZE_MAX + 64];
            char accept[WS_UPGRADE_ACCEPT_SIZE];
            ws_upgrade_accept(request.key, server_sha1, accept);
            size_t len = ws_upgrade_answer_write(bytes, accept);
            Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
            Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
            error.reason = END_BAD_DEVICE;
            frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_ERROR;
            frame.error = &error;
            struct span said = unpack_frame(world->arena, &frame.base);
            len += ws_head_write(bytes + len, WS_OP_BINARY, said.len, NULL);
            memcpy(bytes + len, said.at, said.len);
            server_write(server, span_of(bytes, len + said.len));
            server->upgraded = true;
        }
        turn(world);
    }
    TURN_UNTIL(world, lahar_why(world->lahar)[0] != '\0');
    assert_string_equal(lahar_why(world->lahar), "bad_device");
}

static void the_code_of_a_close_says_why(void **state)
{
    struct world *world = *state;
    uint8_t bytes[WS_CONTROL_SIZE_MAX];
    world->server.websocket = true;
    world->options.reconnect_min_ms = world->options.reconnect_max_ms = 60000;
    begin(world, "ws://127.0.0.1:%/");
    go_online(world);
    server_write_raw(&world->server,
                     span_of(bytes, ws_close_write(bytes, 4000 + END_SLOW_READER, "", NULL)));
    TURN_UNTIL(world, lahar_state(world->lahar) != LAHAR_ONLINE);
    assert_string_equal(lahar_why(world->lahar), "slow_reader");
    assert_string_equal(lahar_why_text(world->lahar), reasons_end_text(END_SLOW_READER));
    TURN_UNTIL(world, world->server.close_code != 0);
    assert_int_equal(world->server.close_code, 4000 + END_SLOW_READER);
}

static void a_server_that_breaks_the_protocol_is_told_so_and_left(void **state)
{
    struct world *world = *state;
    world->server.websocket = true;
    world->options.reconnect_min_ms = world->options.reconnect_max_ms = 60000;
    begin(world, "ws://127.0.0.1:%/");
    go_online(world);
    server_write_raw(&world->server, span_of("\x81\x02hi", 4));
    TURN_UNTIL(world, world->server.close_code != 0);
    assert_int_equal(world->server.close_code, WS_CODE_UNSUPPORTED);
    TURN_UNTIL(world, lahar_state(world->lahar) != LAHAR_ONLINE);
    assert_string_equal(lahar_why(world->lahar), "ws_text");
}

static void closes_when_freed(void **state)
{
    struct world *world = *state;
    struct server *server = &world->server;
    struct span content;
    server->websocket = true;
    begin(world, "ws://127.0.0.1:%/");
    go_online(world);
    lahar_free(world->lahar);
    world->lahar = NULL;
    for (uint64_t give_up = now_ms() + WAIT_MS; server->close_code == 0;) {
        struct pollfd ready = {server->fd, POLLIN, 0};
        assert_true(now_ms() < give_up && poll(&ready, 1, 1000) >= 0);
        server_read(server);
    }
    assert_int_equal(server->close_code, WS_CODE_NORMAL);
    assert_int_equal(hear(world, &content), KIND(BYE));
}

static void says_why_an_upgrade_came_to_nothing(void **state)
{
    static const struct {
        const char *answer, *why;
    } cases[] = {
        {"HTTP/1.1 404 Not Found\r\n\r\n", "upgrade_no_websocket"},
        {"HTTP/1.1 403 Forbidden\r\n\r\n", "upgrade_forbidden"},
        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", "upgrade_unavailable"},
        {"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
         "upgrade_bad_accept"},
        {"\x04\x4a\x02\x08\x0c\r\n", "upgrade_no_websocket"},
    };
    struct world *world = *state;
    world->server.websocket = true;
    world->options.reconnect_min_ms = world->options.reconnect_max_ms = 60000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world->server.answer = cases[i].answer;
        begin(world, "ws://127.0.0.1:%/");
        TURN_UNTIL(world, lahar_why(world->lahar)[0] != '\0');
        assert_string_equal(lahar_why(world->lahar), cases[i].why);
        lahar_free(world->lahar);
        world->lahar = NULL;
        server_hang_up(&world->server);
    }
}

static void goes_from_a_server_without_websocket_to_one_of_another_kind(void **state)
{
    struct world *world = *state;
    uint16_t port;
    int silent = listen_somewhere(&port); /* takes connections and never answers */
    char servers[96];
    snprintf(servers, sizeof servers, "ws://127.0.0.1:%u/,tcp://127.0.0.1:%%", port);
    world->options.connect_timeout_ms = 300;
    begin(world, servers);
    for (uint64_t give_up = now_ms() + WAIT_MS; buf_len(&world->server.in) == 0;) {
        assert_true(now_ms() < give_up);
        turn(world);
    }
    world->options.connect_timeout_ms = WAIT_MS;
    go_online(world);
    close(silent);
}

/* ---- websocket alone ------------------------------------------------------------------------- */

static uint64_t count_up(void *ctx)
{
    uint64_t *random = ctx;
    return *random = *random * 6364136223846793005u + 1442695040888963407u;
}

static void each_message_has_a_mask_of_its_own(void **state)
{
    (void)state;
    uint64_t random = 1;
    struct websocket ws = {.random = count_up, .ctx = &random};
    struct buf out = {0};
    ws_reader_init(&ws.reader, WS_CLIENT);
    websocket_send(&ws, &out, span_text("abc"));
    websocket_send(&ws, &out, span_text("abc"));
    assert_int_equal(buf_len(&out), 2 * (6 + 3));
    assert_memory_not_equal(out.bytes + 2, out.bytes + 11, 4);
    websocket_close(&ws, &out, WS_CODE_NORMAL);
    uint32_t len = buf_len(&out);
    websocket_send(&ws, &out, span_text("too late"));
    websocket_close(&ws, &out, WS_CODE_NORMAL);
    assert_int_equal(buf_len(&out), len);
    buf_free(&out);
}

static void payload_moves_up_and_what_is_not_whole_follows_it(void **state)
{
    (void)state;
    uint64_t random = 1;
    struct websocket ws = {.random = count_up, .ctx = &random};
    struct buf out = {0};
    struct websocket_end end;
    ws_reader_init(&ws.reader, WS_CLIENT);
    char bytes[] = "old\x82\x03"
                   "abc\x89\x01p\x02\x02"
                   "de\x80\x01"
                   "f\x89\x05"
                   "ha";
    size_t clear = 3, len = sizeof bytes - 1;
    assert_true(websocket_read(&ws, (uint8_t *)bytes, &clear, &len, &out, &end));
    assert_int_equal(clear, 9);
    assert_int_equal(len, 13);
    assert_memory_equal(bytes, "oldabcdef\x89\x05ha", 13);
    assert_int_equal(buf_len(&out), 2 + 4 + 1); /* a pong */
    buf_free(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(talks_over_ws),
        TEST(talks_over_wss_to_the_name_in_the_certificate),
        TEST(refuses_the_certificate_of_another_over_wss),
        TEST(takes_messages_in_fragments_with_pings_between),
        TEST(carries_the_largest_messages_in_small_pieces),
        TEST(what_comes_right_behind_the_answer_is_read),
        TEST(the_code_of_a_close_says_why),
        TEST(a_server_that_breaks_the_protocol_is_told_so_and_left),
        TEST(closes_when_freed),
        TEST(says_why_an_upgrade_came_to_nothing),
        TEST(goes_from_a_server_without_websocket_to_one_of_another_kind),
        cmocka_unit_test(each_message_has_a_mask_of_its_own),
        cmocka_unit_test(payload_moves_up_and_what_is_not_whole_follows_it),
    };
    return cmocka_run_group_tests_name("lahar_websocket", tests, NULL, NULL);
}
