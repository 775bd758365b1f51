/* Lahar itself: proto/client.proto in the delimited form. */
#include "bench/target.h"

#include "proto/client.pb-c.h"
#include "proto/unpack.h"
#include "proto/wire.h"

static size_t write_hello(uint8_t *at, const struct target_login *login)
{
    uint8_t hello[FRAME_HELLO_SIZE_MAX], *end = hello;
    assert(login->token.len + login->device.len < sizeof hello / 2);
    end = wire_put_varint(end, 1, 1);
    end = wire_put_bytes(end, 2, span_text("lahar-bench/" LAHAR_VERSION));
    if (login->ticket.len > 0) {
        uint8_t resume[FRAME_HELLO_SIZE_MAX / 2];
        assert(login->ticket.len < sizeof resume / 2);
        uint8_t *resume_end = wire_put_bytes(resume, 1, login->ticket);
        end = wire_put_bytes(end, 4, span_of(resume, (size_t)(resume_end - resume)));
    } else {
        end = wire_put_bytes(end, 3, login->token);
    }
    end = wire_put_bytes(end, 5, login->device);
    size_t len = (size_t)(end - hello);
    uint8_t *to = frame_prefix_write(at, LAHAR__V1__CLIENT_FRAME__FRAME_HELLO, len);
    memcpy(to, hello, len);
    return (size_t)(to - at) + len;
}

static size_t write_send(uint8_t *at, const struct hot_send *send, uint32_t tag)
{
    (void)tag;
    return hot_send_write(at, send);
}

static size_t write_received(uint8_t *at, uint64_t dseq)
{
    return hot_received_write(at, &(struct hot_received){.dseq = dseq});
}

static size_t write_ping(uint8_t *at)
{
    return (size_t)(frame_prefix_write(at, LAHAR__V1__CLIENT_FRAME__FRAME_PING, 0) - at);
}

/* protobuf-c copies; the caller's bytes stay. */
static struct span lying_in(struct span content, ProtobufCBinaryData copy)
{
    if (copy.len == 0)
        return (struct span){0};
    const uint8_t *at = memmem(content.at, content.len, copy.data, copy.len);
    assert(at != NULL);
    return span_of(at, copy.len);
}

static bool read_welcome(struct span content, struct target_frame *frame)
{
    Lahar__V1__Welcome *welcome = lahar__v1__welcome__unpack(NULL, content.len, content.at);
    if (!welcome)
        return false;
    frame->event = TARGET_WELCOME;
    frame->is.welcome.gid = welcome->gid;
    frame->is.welcome.heartbeat_ms = welcome->heartbeat_ms;
    frame->is.welcome.ticket = lying_in(content, welcome->ticket);
    lahar__v1__welcome__free_unpacked(welcome, NULL);
    return true;
}

static bool read_error(struct span content, struct target_frame *frame)
{
    Lahar__V1__Error *error = lahar__v1__error__unpack(NULL, content.len, content.at);
    if (!error)
        return false;
    frame->event = TARGET_ENDED;
    frame->is.ended.reason = error->reason;
    lahar__v1__error__free_unpacked(error, NULL);
    return true;
}

static bool read_goaway(struct span content, struct target_frame *frame)
{
    Lahar__V1__Goaway *goaway = lahar__v1__goaway__unpack(NULL, content.len, content.at);
    if (!goaway)
        return false;
    frame->event = TARGET_ENDED;
    frame->is.ended.reason = goaway->reason;
    lahar__v1__goaway__free_unpacked(goaway, NULL);
    return true;
}

static bool read_frame(struct span body, struct target_frame *frame)
{
    uint32_t number;
    struct span content;
    if (!frame_open(body, &number, &content, NULL))
        return false;
    *frame = (struct target_frame){.event = TARGET_IGNORED};
    switch (number) {
    case LAHAR__V1__SERVER_FRAME__FRAME_DELIVER:
        frame->event = TARGET_DELIVER;
        return hot_deliver_read(content, &frame->is.deliver);
    case LAHAR__V1__SERVER_FRAME__FRAME_SEND_ACK:
        frame->event = TARGET_ACK;
        return hot_ack_read(content, &frame->is.ack);
    case LAHAR__V1__SERVER_FRAME__FRAME_SEND_NACK:
        frame->event = TARGET_NACK;
        return hot_nack_read(content, &frame->is.nack);
    case LAHAR__V1__SERVER_FRAME__FRAME_WELCOME:
        return read_welcome(content, frame);
    case LAHAR__V1__SERVER_FRAME__FRAME_ERROR:
        return read_error(content, frame);
    case LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY:
        return read_goaway(content, frame);
    default:
        return true;
    }
}

static enum frame_status take(struct span *input, struct target_frame *frame)
{
    struct span body;
    enum frame_status status = frame_take(input, FRAME_BODY_SIZE_MAX, &body);
    if (status == FRAME_READY && !read_frame(body, frame))
        return FRAME_INVALID;
    return status;
}

const struct target wire_lahar = {
    .name = "lahar",
    .help = "this cluster",
    .tokens = true,
    .tickets = true,
    .names_sender = true,
    .takes_resends = true,
    .ack_is_delivery = true,
    .offers = {[HOT_CONFIRMED] = true, [HOT_EPHEMERAL] = true},
    .hello = write_hello,
    .send = write_send,
    .received = write_received,
    .ping = write_ping,
    .take = take,
};
