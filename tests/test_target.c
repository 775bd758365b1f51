/* The rows of target: what each writes is what its protocol says, and what a server writes is
 * understood however the network cuts it. */
#include "bench/target.h"

#include "proto/client.pb-c.h"
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEEN_MAX 8u

/* A stream as a server writes it, and what is to be read from it. */
struct seen {
    enum target_event event;
    uint32_t answer, tag;
    const char *text; /* body of a delivery, or the server's words */
};

struct stream {
    const char *target;
    struct span bytes;
    uint32_t count;
    struct seen seen[SEEN_MAX];
};

#define BYTES(literal)                                                                             \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static const struct stream streams[] = {
    {"relay",
     BYTES("\x08\x07\0\0\0\0\0\0\0\x0a\x09\0\0\0\0\0\0\0hi"),
     2,
     {{TARGET_WELCOME, 0, 0, NULL}, {TARGET_DELIVER, 0, 0, "hi"}}},
    {"nats",
     BYTES("INFO {\"server_id\":\"N\"}\r\nPONG\r\nMSG u7 1 5\r\nhe\r\no\r\nPING\r\n+OK\r\n"
           "MSG u7 1 reply.to 0\r\n\r\n-ERR 'Slow Consumer'\r\n"),
     7,
     {{TARGET_IGNORED, 0, 0, NULL},
      {TARGET_WELCOME, 0, 0, NULL},
      {TARGET_DELIVER, 0, 0, "he\r\no"},
      {TARGET_IGNORED, 1, 0, NULL},
      {TARGET_IGNORED, 0, 0, NULL},
      {TARGET_DELIVER, 0, 0, ""},
      {TARGET_ENDED, 0, 0, "-ERR 'Slow Consumer'"}}},
    {"mqtt",
     BYTES("\x20\x02\0\0"
           "\x90\x03\0\x01\x01"
           "\x30\x06\0\x02u7hi"
           "\x32\x08\0\x02u7\x12\x34yo"
           "\x40\x02\x02\x01"
           "\x90\x03\0\x01\x80"),
     6,
     {{TARGET_IGNORED, 0, 0, NULL},
      {TARGET_WELCOME, 0, 0, NULL},
      {TARGET_DELIVER, 0, 0, "hi"},
      {TARGET_DELIVER, 0x1234, 0, "yo"},
      {TARGET_ACK, 0, 0x201, NULL},
      {TARGET_ENDED, 0, 0, "the broker refused SUBSCRIBE"}}},
    {"mqtt", BYTES("\x20\x02\0\x05"), 1, {{TARGET_ENDED, 0, 0, "the broker refused CONNECT"}}},
    {"redis",
     BYTES("%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*1\r\n%"
           "1\r\n+a\r\n_\r\n"
           ">3\r\n$9\r\nsubscribe\r\n$2\r\nu7\r\n:1\r\n"
           ">3\r\n$7\r\nmessage\r\n$2\r\nu7\r\n$4\r\nh\r\ni\r\n"
           ":1\r\n"
           ">4\r\n$8\r\npmessage\r\n$2\r\nu*\r\n$2\r\nu7\r\n$2\r\nno\r\n"
           "-ERR unknown command\r\n"),
     6,
     {{TARGET_IGNORED, 0, 0, NULL},
      {TARGET_WELCOME, 0, 0, NULL},
      {TARGET_DELIVER, 0, 0, "h\r\ni"},
      {TARGET_IGNORED, 0, 0, NULL},
      {TARGET_IGNORED, 0, 0, NULL},
      {TARGET_ENDED, 0, 0, "ERR unknown command"}}},
};
#define STREAMS (sizeof streams / sizeof *streams)

static void assert_seen(const struct seen *seen, const struct target_frame *frame)
{
    assert_int_equal(frame->event, seen->event);
    assert_int_equal(frame->answer, seen->answer);
    if (seen->event == TARGET_ACK)
        assert_int_equal(frame->tag, seen->tag);
    struct span text = {0};
    if (seen->event == TARGET_DELIVER)
        text = frame->is.deliver.body;
    else if (seen->event == TARGET_ENDED)
        text = frame->is.ended.text;
    assert_true(span_equal(text, seen->text ? span_text(seen->text) : (struct span){0}));
}

/* Each piece is offered in memory of just its size, so that reading past it shows. */
static void offer(const struct stream *stream, size_t cut)
{
    const struct target *target = target_find(stream->target);
    size_t from = 0;
    uint32_t count = 0;
    for (size_t upto = cut;; upto = stream->bytes.len) {
        size_t len = upto - from;
        uint8_t *copy = malloc(len + 1);
        assert_non_null(copy);
        uint8_t *piece = copy + 1; /* its end is the end of the allocation */
        memcpy(piece, stream->bytes.at + from, len);
        struct span input = {piece, len}, before = input;
        struct target_frame frame = {.event = TARGET_ENDED, .answer = 77};
        enum frame_status status;
        while ((status = target->take(&input, &frame)) == FRAME_READY) {
            assert_true(count < stream->count);
            assert_true(input.len < before.len);
            assert_seen(&stream->seen[count++], &frame);
            before = input;
        }
        assert_int_equal(status, FRAME_PARTIAL);
        assert_ptr_equal(input.at, before.at);
        assert_int_equal(input.len, before.len);
        from += len - input.len;
        free(copy);
        if (upto == stream->bytes.len)
            break;
    }
    assert_int_equal(count, stream->count);
    assert_int_equal(from, stream->bytes.len);
}

static void what_a_server_writes_is_understood_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < STREAMS; i++)
        for (size_t cut = 0; cut <= streams[i].bytes.len; cut++)
            offer(&streams[i], cut);
}

/* Of Lahar the frames are written by those who are tested elsewhere. */
static void lahars_frames_are_understood_wherever_they_are_cut(void **state)
{
    (void)state;
    static const uint8_t id[16] = "0123456789abcdef";
    uint8_t bytes[1024], *end = bytes;
    Lahar__V1__Welcome welcome = LAHAR__V1__WELCOME__INIT;
    welcome.gid = 7;
    welcome.heartbeat_ms = 30000;
    uint8_t packed[64];
    size_t len = lahar__v1__welcome__pack(&welcome, packed);
    end = frame_prefix_write(end, LAHAR__V1__SERVER_FRAME__FRAME_WELCOME, len);
    memcpy(end, packed, len);
    end += len;
    end += hot_deliver_write(end,
                             &(struct hot_deliver){.dseq = 1, .from = 9, .body = span_text("hi")});
    end += hot_ack_write(end,
                         &(struct hot_ack){.cmid = span_of(id, 16), .level = HOT_LEVEL_DELIVERED});
    end += hot_nack_write(end, &(struct hot_nack){.cmid = span_of(id, 16), .reason = 1});
    const struct stream stream = {
        "lahar",
        span_of(bytes, (size_t)(end - bytes)),
        4,
        {{TARGET_WELCOME, 0, 0, NULL},
         {TARGET_DELIVER, 0, 0, "hi"},
         {TARGET_ACK, 0, 0, NULL},
         {TARGET_NACK, 0, 0, NULL}},
    };
    for (size_t cut = 0; cut <= stream.bytes.len; cut++)
        offer(&stream, cut);
}

static void what_breaks_a_protocol_is_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        struct span bytes;
    } broken[] = {
        {"nats", BYTES("HELLO\r\n")},
        {"nats", BYTES("PONG\n")},
        {"nats", BYTES("MSG u7 1 x\r\n")},
        {"nats", BYTES("MSG u7 1 99999999\r\n")},
        {"nats", BYTES("MSG u7 1 2\r\nhi!\r\n")},
        {"nats", BYTES("MSG u7 1 1234567890\r\n")},
        {"mqtt", BYTES("\x10\x00")},                 /* not a server's packet */
        {"mqtt", BYTES("\x30\xff\xff\xff\x7f")},     /* 256 MiB */
        {"mqtt", BYTES("\x30\xff\xff\xff\xff\x01")}, /* a length that never ends */
        {"mqtt", BYTES("\x30\x01\0")},               /* no topic */
        {"mqtt", BYTES("\x30\x03\0\x09u")},          /* a topic past the end */
        {"mqtt", BYTES("\x34\x06\0\x02u7\0\x01")},   /* QoS 2 was not subscribed to */
        {"mqtt", BYTES("\x32\x06\0\x02u7\0\0")},     /* id 0 */
        {"mqtt", BYTES("\x40\x02\0\0")},             /* id 0 */
        {"mqtt", BYTES("\x20\x01\0")},
        {"mqtt", BYTES("\x90\x02\0\x01")},
        {"redis", BYTES("hello\r\n")},
        {"redis", BYTES("\r\n")},
        {"redis", BYTES("$-1\r\n")},
        {"redis", BYTES("$2\r\nhi!\r\n")},
        {"redis", BYTES("$99999999\r\n")},
        {"redis", BYTES("*99999999\r\n")},
        {"redis", BYTES(">1\r\n$7\r\nmessage\r\n")},
        {"redis", BYTES("*2\r\n*3000\r\n*3000\r\n")},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct span input = broken[i].bytes;
        struct target_frame frame;
        enum frame_status status = target_find(broken[i].target)->take(&input, &frame);
        if (status != FRAME_INVALID)
            fail_msg("%s, number %zu: %d", broken[i].target, i, status);
        assert_ptr_equal(input.at, broken[i].bytes.at);
    }
}

static void a_line_that_never_ends_is_invalid(void **state)
{
    (void)state;
    static uint8_t bytes[40 * 1024];
    memset(bytes, 'x', sizeof bytes);
    static const char *const names[] = {"nats", "redis"};
    for (size_t i = 0; i < 2; i++) {
        struct span input = span_of(bytes, sizeof bytes);
        struct target_frame frame;
        assert_int_equal(target_find(names[i])->take(&input, &frame), FRAME_INVALID);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void assert_written(const uint8_t *at, size_t len, struct span wanted)
{
    assert_int_equal(len, wanted.len);
    assert_memory_equal(at, wanted.at, len);
}

static void a_user_subscribes_to_himself_as_he_logs_in(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        struct span wanted;
    } rows[] = {
        {"relay", BYTES("\x08\xbf\x0c\0\0\0\0\0\0")},
        {"nats", BYTES("CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,"
                       "\"name\":\"lahar-bench\",\"lang\":\"c\"}\r\nSUB u3263 1\r\nPING\r\n")},
        {"mqtt", BYTES("\x10\x11\0\x04MQTT\x04\x02\0\0\0\x05u3263"
                       "\x82\x0a\0\x01\0\x05u3263\x01")},
        {"redis",
         BYTES("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nu3263\r\n")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t at[TARGET_OVERHEAD_MAX];
        const struct target_login login = {.number = 3263, .device = span_text("bench")};
        assert_written(at, target_find(rows[i].target)->hello(at, &login), rows[i].wanted);
    }
}

static void a_message_goes_out_as_its_protocol_wants_it(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        enum hot_class class;
        struct span wanted;
    } rows[] = {
        {"relay", HOT_EPHEMERAL, BYTES("\x0b\x0a\0\0\0\0\0\0\0h\r\n")},
        {"nats", HOT_EPHEMERAL, BYTES("PUB u10 3\r\nh\r\n\r\n")},
        {"mqtt", HOT_EPHEMERAL, BYTES("\x30\x08\0\x03u10h\r\n")},
        {"mqtt", HOT_CONFIRMED, BYTES("\x32\x0a\0\x03u10\x01\x02h\r\n")},
        {"redis", HOT_EPHEMERAL, BYTES("*3\r\n$7\r\nPUBLISH\r\n$3\r\nu10\r\n$3\r\nh\r\n\r\n")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t at[TARGET_OVERHEAD_MAX];
        const struct hot_send send = {.to = 10, .class = rows[i].class, .body = span_text("h\r\n")};
        assert_written(at, target_find(rows[i].target)->send(at, &send, 0x102), rows[i].wanted);
    }
}

static void what_wants_an_answer_gets_it(void **state)
{
    (void)state;
    uint8_t at[TARGET_OVERHEAD_MAX];
    struct span ping = BYTES("PING\r\n"), publish = BYTES("\x32\x07\0\x02u7\x12\x34x");
    struct target_frame frame;
    assert_int_equal(wire_nats.take(&ping, &frame), FRAME_READY);
    assert_written(at, wire_nats.answer(at, &frame), (struct span)BYTES("PONG\r\n"));
    assert_int_equal(wire_mqtt.take(&publish, &frame), FRAME_READY);
    assert_written(at, wire_mqtt.answer(at, &frame), (struct span)BYTES("\x40\x02\x12\x34"));
}

static void no_row_writes_more_than_it_may(void **state)
{
    (void)state;
    static uint8_t body[FRAME_PAYLOAD_SIZE_MAX];
    static const uint8_t cmid[16] = "0123456789abcdef";
    uint8_t *at = malloc(TARGET_OVERHEAD_MAX + sizeof body); /* the sanitizer watches its end */
    assert_non_null(at);
    const struct target *target;
    for (size_t i = 0; (target = target_at(i)) != NULL; i++) {
        const struct target_login login = {.number = UINT32_MAX,
                                           .device = span_text("0123456789abcdef0123456789abcdef")};
        assert_true(target->hello(at, &login) <= TARGET_OVERHEAD_MAX);
        for (uint32_t class = 0; class < HOT_CLASSES; class ++) {
            const struct hot_send send = {
                .to = UINT64_MAX,
                .seq = UINT64_MAX,
                .settled = UINT64_MAX,
                .class = class,
                .cmid = span_of(cmid, class == HOT_EPHEMERAL ? 0 : sizeof cmid),
                .body = span_of(body, sizeof body),
            };
            if (target->offers[class])
                assert_true(target->send(at, &send, 65535) <= TARGET_OVERHEAD_MAX + sizeof body);
        }
    }
    free(at);
}

static void a_message_is_only_sent_again_where_its_id_goes_with_it(void **state)
{
    (void)state;
    const struct target *target;
    for (size_t i = 0; (target = target_at(i)) != NULL; i++) {
        uint8_t at[TARGET_OVERHEAD_MAX + 8];
        const struct span id = span_text("0123456789abcdef");
        const struct hot_send send = {.to = 1,
                                      .class = HOT_CONFIRMED,
                                      .seq = 1,
                                      .settled = 1,
                                      .cmid = id,
                                      .body = span_text("body")};
        size_t len = target->offers[HOT_CONFIRMED] ? target->send(at, &send, 1) : 0;
        assert_int_equal(target->takes_resends, memmem(at, len, id.at, id.len) != NULL);
    }
}

static void each_row_is_found_by_its_name(void **state)
{
    (void)state;
    const struct target *target;
    size_t count = 0;
    for (; (target = target_at(count)) != NULL; count++) {
        assert_ptr_equal(target_find(target->name), target);
        assert_true(target->offers[HOT_EPHEMERAL]);
    }
    assert_int_equal(count, 5);
    assert_null(target_find("smoke-signals"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_server_writes_is_understood_wherever_it_is_cut),
        cmocka_unit_test(lahars_frames_are_understood_wherever_they_are_cut),
        cmocka_unit_test(what_breaks_a_protocol_is_invalid),
        cmocka_unit_test(a_line_that_never_ends_is_invalid),
        cmocka_unit_test(a_user_subscribes_to_himself_as_he_logs_in),
        cmocka_unit_test(a_message_goes_out_as_its_protocol_wants_it),
        cmocka_unit_test(what_wants_an_answer_gets_it),
        cmocka_unit_test(no_row_writes_more_than_it_may),
        cmocka_unit_test(a_message_is_only_sent_again_where_its_id_goes_with_it),
        cmocka_unit_test(each_row_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
