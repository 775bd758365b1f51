/* Redis pub/sub in RESP3 (github.com/redis/redis-specifications), which lets one connection both
 * subscribe and publish. A user subscribes to a channel of his own; what PUBLISH returns, a count
 * of subscribers, is nobody's acknowledgement and is passed over. */
#include "bench/target.h"

#include "bench/wire_text.h"

#define VALUES_MAX 4096u /* in one reply */

static uint8_t *put_bulk_head(uint8_t *at, size_t len)
{
    *at++ = '$';
    at = wire_text_put_number(at, len);
    return wire_text_put(at, span_text("\r\n"));
}

static uint8_t *put_name(uint8_t *at, uint64_t number)
{
    at = put_bulk_head(at, 1 + wire_text_digits(number));
    at = wire_text_put_name(at, number);
    return wire_text_put(at, span_text("\r\n"));
}

static size_t write_hello(uint8_t *at, const struct target_login *login)
{
    uint8_t *end = wire_text_put(at, span_text("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"
                                               "*2\r\n$9\r\nSUBSCRIBE\r\n"));
    return (size_t)(put_name(end, login->number) - at);
}

static size_t write_send(uint8_t *at, const struct hot_send *send, uint32_t tag)
{
    (void)tag;
    uint8_t *end = wire_text_put(at, span_text("*3\r\n$7\r\nPUBLISH\r\n"));
    end = put_name(end, send->to);
    end = put_bulk_head(end, send->body.len);
    end = wire_text_put(end, send->body);
    return (size_t)(wire_text_put(end, span_text("\r\n")) - at);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* One value: its type, its text if it has any, and how many values it is followed by. */
struct value {
    uint8_t type;
    uint32_t children;
    struct span text;
};

static enum frame_status take_value(struct span *rest, struct value *value)
{
    struct span line;
    uint32_t len = 0;
    enum frame_status status = wire_text_line(rest, &line);
    if (status != FRAME_READY)
        return status;
    if (line.len == 0)
        return FRAME_INVALID;
    *value = (struct value){.type = line.at[0], .text = span_after(line, 1)};
    switch (value->type) {
    case '+':
    case '-':
    case ':':
    case ',':
    case '#':
    case '(':
    case '_':
        return FRAME_READY;
    default:
        break;
    }
    if (!wire_text_number(value->text, &len))
        return FRAME_INVALID; /* a null of RESP2 does not come in RESP3 */
    switch (value->type) {
    case '$':
    case '=':
    case '!':
        return wire_text_body(rest, len, &value->text);
    case '*':
    case '~':
    case '>':
    case '%':
        value->children = value->type == '%' ? 2 * len : len;
        return len <= VALUES_MAX ? FRAME_READY : FRAME_INVALID;
    default:
        return FRAME_INVALID;
    }
}

static enum frame_status skip_values(struct span *rest, uint32_t count)
{
    struct value value;
    enum frame_status status = FRAME_READY;
    while (count > 0 && status == FRAME_READY) {
        status = take_value(rest, &value);
        if (status == FRAME_READY)
            count += value.children;
        if (count > VALUES_MAX)
            return FRAME_INVALID;
        count--;
    }
    return status;
}

/* "message", channel, body; or what came of SUBSCRIBE. */
static enum frame_status take_push(struct span *rest, uint32_t count, struct target_frame *frame)
{
    struct value kind, channel, body;
    if (count < 3)
        return FRAME_INVALID;
    enum frame_status status = take_value(rest, &kind);
    if (status == FRAME_READY)
        status = take_value(rest, &channel);
    if (status == FRAME_READY)
        status = take_value(rest, &body);
    if (status == FRAME_READY)
        status = skip_values(rest, count - 3 + body.children);
    if (status != FRAME_READY)
        return status;
    if (span_equal(kind.text, span_text("message"))) {
        frame->event = TARGET_DELIVER;
        frame->is.deliver = (struct hot_deliver){.class = HOT_EPHEMERAL, .body = body.text};
    } else if (span_equal(kind.text, span_text("subscribe"))) {
        frame->event = TARGET_WELCOME;
    }
    return FRAME_READY;
}

static enum frame_status take(struct span *input, struct target_frame *frame)
{
    struct span rest = *input;
    struct value value;
    enum frame_status status = take_value(&rest, &value);
    if (status != FRAME_READY)
        return status;
    struct target_frame found = {.event = TARGET_IGNORED};
    if (value.type == '>') {
        status = take_push(&rest, value.children, &found);
    } else if (value.type == '-' || value.type == '!') {
        found.event = TARGET_ENDED;
        found.is.ended.text = value.text;
    } else {
        status = skip_values(&rest, value.children);
    }
    if (status == FRAME_READY) {
        *frame = found;
        *input = rest;
    }
    return status;
}

const struct target wire_resp = {
    .name = "redis",
    .help = "Redis pub/sub: a channel for each user",
    .offers = {[HOT_EPHEMERAL] = true},
    .hello = write_hello,
    .send = write_send,
    .take = take,
};
