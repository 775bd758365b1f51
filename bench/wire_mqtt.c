/* An MQTT 3.1.1 broker (OASIS standard, 2014), such as mosquitto. A user subscribes to a topic of
 * his own. QoS 0 is EPHEMERAL; QoS 1 stands for CONFIRMED, though its PUBACK only says that the
 * broker has the message. */
#include "bench/target.h"

#include "bench/wire_text.h"
#include "proto/wire.h"

enum packet { CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9 };

#define HEAD_CONNECT 0x10
#define HEAD_PUBLISH 0x30
#define HEAD_PUBACK 0x40
#define HEAD_SUBSCRIBE 0x82
#define QOS_SHIFT 1
#define LEVEL_3_1_1 4
#define CLEAN_SESSION 0x02
#define REFUSED 0x80
#define LENGTH_BYTES_MAX 4
#define PACKET_SIZE_MAX (WIRE_TEXT_BODY_MAX + 1024u)
#define NAME_SIZE_MAX (1 + WIRE_TEXT_DIGITS_MAX)

/* --- writing ---------------------------------------------------------------------------------- */

static uint8_t *put_u16(uint8_t *at, uint32_t value)
{
    assert(value <= UINT16_MAX);
    *at++ = (uint8_t)(value >> 8);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_name(uint8_t *at, uint64_t number)
{
    uint8_t *end = wire_text_put_name(at + 2, number);
    put_u16(at, (uint32_t)(end - at - 2));
    return end;
}

static size_t write_hello(uint8_t *at, const struct target_login *login)
{
    const uint8_t connect[] = {0, 4, 'M', 'Q', 'T', 'T', LEVEL_3_1_1, CLEAN_SESSION, 0, 0};
    size_t name = 3 + wire_text_digits(login->number);
    uint8_t *end = at;
    *end++ = HEAD_CONNECT;
    *end++ = (uint8_t)(sizeof connect + name);
    end = wire_text_put(end, span_of(connect, sizeof connect));
    end = put_name(end, login->number);
    *end++ = HEAD_SUBSCRIBE;
    *end++ = (uint8_t)(2 + name + 1);
    end = put_u16(end, 1);
    end = put_name(end, login->number);
    *end++ = 1; /* at most QoS 1: each message comes as it was sent */
    return (size_t)(end - at);
}

static size_t write_send(uint8_t *at, const struct hot_send *send, uint32_t tag)
{
    uint8_t topic[2 + NAME_SIZE_MAX], *end = at;
    size_t topic_len = (size_t)(put_name(topic, send->to) - topic);
    bool acknowledged = send->class != HOT_EPHEMERAL;
    *end++ = (uint8_t)(HEAD_PUBLISH | (acknowledged ? 1 << QOS_SHIFT : 0));
    end = wire_write_varint(end, topic_len + (acknowledged ? 2 : 0) + send->body.len);
    end = wire_text_put(end, span_of(topic, topic_len));
    if (acknowledged)
        end = put_u16(end, tag);
    return (size_t)(wire_text_put(end, send->body) - at);
}

/* `answer` is the id of the packet that was delivered. */
static size_t write_answer(uint8_t *at, const struct target_frame *frame)
{
    at[0] = HEAD_PUBACK;
    at[1] = 2;
    put_u16(at + 2, frame->answer);
    return 4;
}

/* --- reading ---------------------------------------------------------------------------------- */

static uint32_t get_u16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static bool read_publish(uint32_t flags, struct span content, struct target_frame *frame)
{
    uint32_t qos = flags >> QOS_SHIFT & 3;
    size_t head = content.len < 2 ? SIZE_MAX : 2 + get_u16(content.at) + (qos > 0 ? 2 : 0);
    if (qos > 1 || content.len < head)
        return false;
    frame->event = TARGET_DELIVER;
    frame->answer = qos > 0 ? get_u16(content.at + head - 2) : 0;
    frame->is.deliver = (struct hot_deliver){
        .class = qos > 0 ? HOT_CONFIRMED : HOT_EPHEMERAL,
        .body = span_after(content, head),
    };
    return qos == 0 || frame->answer != 0;
}

static bool read_ended(struct target_frame *frame, const char *why)
{
    frame->event = TARGET_ENDED;
    frame->is.ended.text = span_text(why);
    return true;
}

static bool read_packet(uint8_t head, struct span content, struct target_frame *frame)
{
    *frame = (struct target_frame){.event = TARGET_IGNORED};
    switch (head >> 4) {
    case PUBLISH:
        return read_publish(head & 0xf, content, frame);
    case PUBACK:
        frame->event = TARGET_ACK;
        frame->tag = content.len == 2 ? get_u16(content.at) : 0;
        return frame->tag != 0;
    case CONNACK:
        if (content.len != 2)
            return false;
        return content.at[1] == 0 || read_ended(frame, "the broker refused CONNECT");
    case SUBACK:
        if (content.len != 3)
            return false;
        if (content.at[2] & REFUSED)
            return read_ended(frame, "the broker refused SUBSCRIBE");
        frame->event = TARGET_WELCOME;
        return true;
    default:
        return false; /* nothing else was asked for */
    }
}

static enum frame_status take(struct span *input, struct target_frame *frame)
{
    struct target_frame found;
    uint64_t len = 0;
    if (input->len < 2)
        return FRAME_PARTIAL;
    const uint8_t *end = input->at + input->len;
    const uint8_t *at = wire_read_long(input->at + 1, end, LENGTH_BYTES_MAX, &len);
    if (!at)
        return input->len > LENGTH_BYTES_MAX ? FRAME_INVALID : FRAME_PARTIAL;
    if (len > PACKET_SIZE_MAX)
        return FRAME_INVALID;
    if ((size_t)(end - at) < len)
        return FRAME_PARTIAL;
    if (!read_packet(input->at[0], span_of(at, len), &found))
        return FRAME_INVALID;
    *frame = found;
    *input = span_after(*input, (size_t)(at - input->at) + len);
    return FRAME_READY;
}

const struct target wire_mqtt = {
    .name = "mqtt",
    .help = "an MQTT 3.1.1 broker: a topic for each user; confirmed is QoS 1",
    .offers = {[HOT_CONFIRMED] = true, [HOT_EPHEMERAL] = true},
    .hello = write_hello,
    .send = write_send,
    .answer = write_answer,
    .take = take,
};
