/* nats-server: its client protocol, in text. A user subscribes to a subject of his own. The
 * server's first line (INFO) is of no use to us, so CONNECT does not wait for it. */
#include "bench/target.h"

#include "bench/wire_text.h"

#define NATS_PING 1u /* wants an answer */

static const char connect_line[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,"
                                   "\"name\":\"lahar-bench\",\"lang\":\"c\"}\r\nSUB ";

static size_t write_hello(uint8_t *at, const struct target_login *login)
{
    uint8_t *end = wire_text_put(at, span_text(connect_line));
    end = wire_text_put_name(end, login->number);
    /* The answer to this says that all before it was taken. */
    end = wire_text_put(end, span_text(" 1\r\nPING\r\n"));
    return (size_t)(end - at);
}

static size_t write_send(uint8_t *at, const struct hot_send *send, uint32_t tag)
{
    (void)tag;
    uint8_t *end = wire_text_put(at, span_text("PUB "));
    end = wire_text_put_name(end, send->to);
    *end++ = ' ';
    end = wire_text_put_number(end, send->body.len);
    end = wire_text_put(end, span_text("\r\n"));
    end = wire_text_put(end, send->body);
    end = wire_text_put(end, span_text("\r\n"));
    return (size_t)(end - at);
}

static size_t write_answer(uint8_t *at, const struct target_frame *frame)
{
    assert(frame->answer == NATS_PING);
    return (size_t)(wire_text_put(at, span_text("PONG\r\n")) - at);
}

/* "MSG subject sid [reply] len", then the body. */
static enum frame_status take_message(struct span *rest, struct span line,
                                      struct target_frame *frame)
{
    const uint8_t *space = memrchr(line.at, ' ', line.len);
    uint32_t len;
    if (!space || !wire_text_number(span_after(line, (size_t)(space - line.at) + 1), &len))
        return FRAME_INVALID;
    frame->event = TARGET_DELIVER;
    frame->is.deliver = (struct hot_deliver){.class = HOT_EPHEMERAL};
    return wire_text_body(rest, len, &frame->is.deliver.body);
}

static enum frame_status take(struct span *input, struct target_frame *frame)
{
    struct span rest = *input, line;
    enum frame_status status = wire_text_line(&rest, &line);
    if (status != FRAME_READY)
        return status;
    struct target_frame found = {.event = TARGET_IGNORED};
    if (wire_text_starts(line, "MSG ")) {
        status = take_message(&rest, line, &found);
    } else if (wire_text_starts(line, "PING")) {
        found.answer = NATS_PING;
    } else if (wire_text_starts(line, "PONG")) {
        found.event = TARGET_WELCOME;
    } else if (wire_text_starts(line, "-ERR")) {
        found.event = TARGET_ENDED;
        found.is.ended.text = line;
    } else if (!wire_text_starts(line, "INFO ") && !wire_text_starts(line, "+OK")) {
        return FRAME_INVALID;
    }
    if (status == FRAME_READY) {
        *frame = found;
        *input = rest;
    }
    return status;
}

const struct target wire_nats = {
    .name = "nats",
    .help = "nats-server: a subject for each user",
    .offers = {[HOT_EPHEMERAL] = true},
    .hello = write_hello,
    .send = write_send,
    .answer = write_answer,
    .take = take,
};
