/* The bare relay: bench/relay.h says how it is spoken to. */
#include "bench/target.h"

#include "proto/wire.h"

static size_t write_frame(uint8_t *at, uint64_t address, struct span body)
{
    uint8_t *end = wire_write_varint(at, sizeof address + body.len);
    end = wire_write_fixed64(end, address);
    if (body.len > 0)
        memcpy(end, body.at, body.len);
    return (size_t)(end - at) + body.len;
}

static size_t write_hello(uint8_t *at, const struct target_login *login)
{
    return write_frame(at, login->number, (struct span){0});
}

static size_t write_send(uint8_t *at, const struct hot_send *send, uint32_t tag)
{
    (void)tag;
    return write_frame(at, send->to, send->body);
}

static enum frame_status take(struct span *input, struct target_frame *frame)
{
    struct span body;
    uint64_t address;
    enum frame_status status = frame_take(input, FRAME_BODY_SIZE_MAX, &body);
    if (status != FRAME_READY)
        return status;
    if (wire_read_fixed64(body.at, body.at + body.len, &address) == NULL)
        return FRAME_INVALID;
    body = span_after(body, sizeof address);
    *frame = (struct target_frame){.event = TARGET_IGNORED};
    if (body.len == 0) {
        frame->event = TARGET_WELCOME;
        frame->is.welcome.gid = address;
        frame->is.welcome.heartbeat_ms = 0;
    } else {
        frame->event = TARGET_DELIVER;
        frame->is.deliver =
            (struct hot_deliver){.from = address, .class = HOT_EPHEMERAL, .body = body};
    }
    return FRAME_READY;
}

const struct target wire_relay = {
    .name = "relay",
    .help = "the bare relay (lahar-bench relay)",
    .names_sender = true,
    .offers = {[HOT_EPHEMERAL] = true},
    .hello = write_hello,
    .send = write_send,
    .take = take,
};
