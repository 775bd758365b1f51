#include "proto/hot.h"

#include "proto/frame.h"
#include "proto/wire.h"

/* The fields' numbers in the two oneofs, and each tag below, as proto/client.proto and
 * proto/link.proto give them. All of a message's numbers run from 1 without a hole, so one number
 * tells the known ones. */
enum { CLIENT_SEND = 2, CLIENT_RECEIVED = 3 };
enum { SERVER_SEND_ACK = 2, SERVER_SEND_NACK = 3, SERVER_DELIVER = 4 };
enum { LINK_SEND = 7, LINK_RECEIVED = 8, LINK_DELIVER = 24, LINK_ANSWER = 25 };

#define VARINT(number) WIRE_TAG(number, WIRE_VARINT)
#define FIXED64(number) WIRE_TAG(number, WIRE_FIXED64)
#define BYTES(number) WIRE_TAG(number, WIRE_BYTES)

/* What no case of a message has taken: a field that it does not know is skipped; one that it knows,
 * up to `last`, has the wrong type. */
static const uint8_t *skip_unknown(const uint8_t *at, const uint8_t *end, uint64_t tag,
                                   uint32_t last)
{
    uint64_t number = tag >> 3;
    return number >= 1 && number <= last ? NULL : wire_skip(at, end, tag);
}

static bool id_or_none(struct span id)
{
    return id.len == 0 || id.len == 16;
}

bool hot_send_read(struct span content, struct hot_send *send)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *send = (struct hot_send){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case FIXED64(1):
            at = wire_read_fixed64(at, end, &send->to);
            break;
        case BYTES(2):
            at = wire_read_bytes(at, end, &send->cmid);
            break;
        case VARINT(3):
            at = wire_read_u32(at, end, &send->class);
            break;
        case VARINT(4):
            at = wire_read_varint(at, end, &send->seq);
            break;
        case VARINT(5):
            at = wire_read_varint(at, end, &send->settled);
            break;
        case BYTES(6):
            at = wire_read_bytes(at, end, &send->body);
            break;
        default:
            at = skip_unknown(at, end, tag, 6);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(send->cmid);
}

bool hot_link_send_read(struct span content, struct hot_link_send *send)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *send = (struct hot_link_send){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case FIXED64(1):
            at = wire_read_fixed64(at, end, &send->from);
            break;
        case FIXED64(2):
            at = wire_read_fixed64(at, end, &send->device);
            break;
        case FIXED64(3):
            at = wire_read_fixed64(at, end, &send->session);
            break;
        case VARINT(4):
            at = wire_read_u32(at, end, &send->hops);
            break;
        case FIXED64(5):
            at = wire_read_fixed64(at, end, &send->send.to);
            break;
        case VARINT(6):
            at = wire_read_u32(at, end, &send->send.class);
            break;
        case BYTES(7):
            at = wire_read_bytes(at, end, &send->send.cmid);
            break;
        case VARINT(8):
            at = wire_read_varint(at, end, &send->send.seq);
            break;
        case VARINT(9):
            at = wire_read_varint(at, end, &send->send.settled);
            break;
        case BYTES(10):
            at = wire_read_bytes(at, end, &send->send.body);
            break;
        default:
            at = skip_unknown(at, end, tag, 10);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(send->send.cmid);
}

/* One element of a column; then, packed, a run of them. `read` is wire_read_fixed64 or _varint. */
static inline const uint8_t *
read_element(const uint8_t *at, const uint8_t *end, uint64_t *column, uint32_t *count,
             const uint8_t *(*read)(const uint8_t *, const uint8_t *, uint64_t *))
{
    if (*count == HOT_SESSIONS_MAX)
        return NULL;
    at = read(at, end, &column[*count]);
    if (at != NULL)
        ++*count;
    return at;
}

static inline const uint8_t *
read_run(const uint8_t *at, const uint8_t *end, uint64_t *column, uint32_t *count,
         const uint8_t *(*read)(const uint8_t *, const uint8_t *, uint64_t *))
{
    struct span run;
    const uint8_t *after = wire_read_bytes(at, end, &run);
    if (after == NULL)
        return NULL;
    for (at = run.at; at != after;)
        if ((at = read_element(at, after, column, count, read)) == NULL)
            return NULL;
    return after;
}

bool hot_link_deliver_read(struct span content, struct hot_link_deliver *deliver)
{
    const uint8_t *at = content.at, *end = at + content.len;
    /* Not all of it: the columns are a kilobyte, of which few bytes are used. */
    deliver->to = deliver->from = deliver->sent_at = 0;
    deliver->epoch = deliver->class = deliver->sessions = deliver->dseqs = 0;
    deliver->mid = deliver->body = (struct span){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case FIXED64(1):
            at = wire_read_fixed64(at, end, &deliver->to);
            break;
        case VARINT(2):
            at = wire_read_u32(at, end, &deliver->epoch);
            break;
        case FIXED64(3):
            at = read_element(at, end, deliver->session, &deliver->sessions, wire_read_fixed64);
            break;
        case BYTES(3):
            at = read_run(at, end, deliver->session, &deliver->sessions, wire_read_fixed64);
            break;
        case VARINT(4):
            at = read_element(at, end, deliver->dseq, &deliver->dseqs, wire_read_varint);
            break;
        case BYTES(4):
            at = read_run(at, end, deliver->dseq, &deliver->dseqs, wire_read_varint);
            break;
        case BYTES(5):
            at = wire_read_bytes(at, end, &deliver->mid);
            break;
        case FIXED64(6):
            at = wire_read_fixed64(at, end, &deliver->from);
            break;
        case VARINT(7):
            at = wire_read_u32(at, end, &deliver->class);
            break;
        case FIXED64(8):
            at = wire_read_fixed64(at, end, &deliver->sent_at);
            break;
        case BYTES(9):
            at = wire_read_bytes(at, end, &deliver->body);
            break;
        default:
            at = skip_unknown(at, end, tag, 9);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(deliver->mid) && (deliver->dseqs == 0 || deliver->dseqs == deliver->sessions);
}

bool hot_deliver_read(struct span content, struct hot_deliver *deliver)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *deliver = (struct hot_deliver){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case VARINT(1):
            at = wire_read_varint(at, end, &deliver->dseq);
            break;
        case BYTES(2):
            at = wire_read_bytes(at, end, &deliver->mid);
            break;
        case VARINT(3):
            at = wire_read_varint(at, end, &deliver->mseq);
            break;
        case FIXED64(4):
            at = wire_read_fixed64(at, end, &deliver->from);
            break;
        case FIXED64(5):
            at = wire_read_fixed64(at, end, &deliver->group);
            break;
        case VARINT(6):
            at = wire_read_u32(at, end, &deliver->class);
            break;
        case FIXED64(7):
            at = wire_read_fixed64(at, end, &deliver->sent_at);
            break;
        case BYTES(8):
            at = wire_read_bytes(at, end, &deliver->body);
            break;
        default:
            at = skip_unknown(at, end, tag, 8);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(deliver->mid);
}

bool hot_answer_read(struct span content, struct hot_answer *answer)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *answer = (struct hot_answer){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case FIXED64(1):
            at = wire_read_fixed64(at, end, &answer->gid);
            break;
        case FIXED64(2):
            at = wire_read_fixed64(at, end, &answer->session);
            break;
        case BYTES(3):
            at = wire_read_bytes(at, end, &answer->cmid);
            break;
        case VARINT(4):
            at = wire_read_u32(at, end, &answer->level);
            break;
        case VARINT(5):
            at = wire_read_u32(at, end, &answer->reason);
            break;
        case BYTES(6):
            at = wire_read_bytes(at, end, &answer->mid);
            break;
        case VARINT(7):
            at = wire_read_u32(at, end, &answer->retry_after_ms);
            break;
        case VARINT(8):
            at = wire_read_varint(at, end, &answer->expected_seq);
            break;
        default:
            at = skip_unknown(at, end, tag, 8);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(answer->cmid) && id_or_none(answer->mid);
}

bool hot_received_read(struct span content, struct hot_received *received)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *received = (struct hot_received){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        if (tag == VARINT(1))
            at = wire_read_varint(at, end, &received->dseq);
        else
            at = skip_unknown(at, end, tag, 1);
        if (at == NULL)
            return false;
    }
    return true;
}

bool hot_link_received_read(struct span content, struct hot_received *received)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *received = (struct hot_received){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case FIXED64(1):
            at = wire_read_fixed64(at, end, &received->gid);
            break;
        case FIXED64(2):
            at = wire_read_fixed64(at, end, &received->session);
            break;
        case VARINT(3):
            at = wire_read_varint(at, end, &received->dseq);
            break;
        default:
            at = skip_unknown(at, end, tag, 3);
        }
        if (at == NULL)
            return false;
    }
    return true;
}

bool hot_ack_read(struct span content, struct hot_ack *ack)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *ack = (struct hot_ack){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case BYTES(1):
            at = wire_read_bytes(at, end, &ack->cmid);
            break;
        case VARINT(2):
            at = wire_read_u32(at, end, &ack->level);
            break;
        case BYTES(3):
            at = wire_read_bytes(at, end, &ack->mid);
            break;
        default:
            at = skip_unknown(at, end, tag, 3);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(ack->cmid) && id_or_none(ack->mid);
}

bool hot_nack_read(struct span content, struct hot_nack *nack)
{
    const uint8_t *at = content.at, *end = at + content.len;
    *nack = (struct hot_nack){0};
    while (at != end) {
        uint64_t tag;
        if ((at = wire_read_tag(at, end, &tag)) == NULL)
            return false;
        switch (tag) {
        case BYTES(1):
            at = wire_read_bytes(at, end, &nack->cmid);
            break;
        case VARINT(2):
            at = wire_read_u32(at, end, &nack->reason);
            break;
        case VARINT(3):
            at = wire_read_u32(at, end, &nack->retry_after_ms);
            break;
        case VARINT(4):
            at = wire_read_varint(at, end, &nack->expected_seq);
            break;
        default:
            at = skip_unknown(at, end, tag, 4);
        }
        if (at == NULL)
            return false;
    }
    return id_or_none(nack->cmid);
}

/* A message is written behind room for the longest prefix, all but its body, which comes last; then
 * it is known how long the prefix is, and the little that was written moves up to it. Cheaper than
 * to add up the fields' sizes first, and each message is said once. */
static uint8_t *begin(uint8_t *at)
{
    return at + FRAME_PREFIX_SIZE_MAX;
}

static size_t finish(uint8_t *at, uint32_t number, const uint8_t *end, uint32_t body_number,
                     struct span body)
{
    const uint8_t *fields = at + FRAME_PREFIX_SIZE_MAX;
    size_t size = (size_t)(end - fields), body_size = 0;
    if (body.len > 0)
        body_size = wire_varint_size(WIRE_TAG(body_number, WIRE_BYTES)) +
                    wire_varint_size(body.len) + body.len;

    uint8_t *to = frame_prefix_write(at, number, size + body_size);
    memmove(to, fields, size);
    to = wire_put_bytes(to + size, body_number, body);
    return (size_t)(to - at);
}

static size_t finish_bodyless(uint8_t *at, uint32_t number, const uint8_t *end)
{
    return finish(at, number, end, 0, (struct span){0});
}

size_t hot_send_write(uint8_t *at, const struct hot_send *send)
{
    uint8_t *end = begin(at);
    end = wire_put_fixed64(end, 1, send->to);
    end = wire_put_bytes(end, 2, send->cmid);
    end = wire_put_enum(end, 3, send->class);
    end = wire_put_varint(end, 4, send->seq);
    end = wire_put_varint(end, 5, send->settled);
    return finish(at, CLIENT_SEND, end, 6, send->body);
}

size_t hot_received_write(uint8_t *at, const struct hot_received *received)
{
    uint8_t *end = begin(at);
    end = wire_put_varint(end, 1, received->dseq);
    return finish_bodyless(at, CLIENT_RECEIVED, end);
}

size_t hot_deliver_write(uint8_t *at, const struct hot_deliver *deliver)
{
    uint8_t *end = begin(at);
    end = wire_put_varint(end, 1, deliver->dseq);
    end = wire_put_bytes(end, 2, deliver->mid);
    end = wire_put_varint(end, 3, deliver->mseq);
    end = wire_put_fixed64(end, 4, deliver->from);
    end = wire_put_fixed64(end, 5, deliver->group);
    end = wire_put_enum(end, 6, deliver->class);
    end = wire_put_fixed64(end, 7, deliver->sent_at);
    return finish(at, SERVER_DELIVER, end, 8, deliver->body);
}

size_t hot_ack_write(uint8_t *at, const struct hot_ack *ack)
{
    uint8_t *end = begin(at);
    end = wire_put_bytes(end, 1, ack->cmid);
    end = wire_put_enum(end, 2, ack->level);
    end = wire_put_bytes(end, 3, ack->mid);
    return finish_bodyless(at, SERVER_SEND_ACK, end);
}

size_t hot_nack_write(uint8_t *at, const struct hot_nack *nack)
{
    uint8_t *end = begin(at);
    end = wire_put_bytes(end, 1, nack->cmid);
    end = wire_put_varint(end, 2, nack->reason);
    end = wire_put_varint(end, 3, nack->retry_after_ms);
    end = wire_put_varint(end, 4, nack->expected_seq);
    return finish_bodyless(at, SERVER_SEND_NACK, end);
}

size_t hot_link_send_write(uint8_t *at, const struct hot_link_send *send)
{
    uint8_t *end = begin(at);
    end = wire_put_fixed64(end, 1, send->from);
    end = wire_put_fixed64(end, 2, send->device);
    end = wire_put_fixed64(end, 3, send->session);
    end = wire_put_varint(end, 4, send->hops);
    end = wire_put_fixed64(end, 5, send->send.to);
    end = wire_put_enum(end, 6, send->send.class);
    end = wire_put_bytes(end, 7, send->send.cmid);
    end = wire_put_varint(end, 8, send->send.seq);
    end = wire_put_varint(end, 9, send->send.settled);
    return finish(at, LINK_SEND, end, 10, send->send.body);
}

static uint8_t *put_columns(uint8_t *at, const struct hot_link_deliver *deliver)
{
    if (deliver->sessions > 0) {
        at = wire_write_varint(at, BYTES(3));
        at = wire_write_varint(at, deliver->sessions * sizeof deliver->session[0]);
        for (uint32_t i = 0; i < deliver->sessions; i++)
            at = wire_write_fixed64(at, deliver->session[i]);
    }
    if (deliver->dseqs > 0) {
        size_t size = 0;
        for (uint32_t i = 0; i < deliver->dseqs; i++)
            size += wire_varint_size(deliver->dseq[i]);
        at = wire_write_varint(at, BYTES(4));
        at = wire_write_varint(at, size);
        for (uint32_t i = 0; i < deliver->dseqs; i++)
            at = wire_write_varint(at, deliver->dseq[i]);
    }
    return at;
}

size_t hot_link_deliver_write(uint8_t *at, const struct hot_link_deliver *deliver)
{
    assert(deliver->sessions <= HOT_SESSIONS_MAX);
    assert(deliver->dseqs == 0 || deliver->dseqs == deliver->sessions);

    uint8_t *end = begin(at);
    end = wire_put_fixed64(end, 1, deliver->to);
    end = wire_put_varint(end, 2, deliver->epoch);
    end = put_columns(end, deliver);
    end = wire_put_bytes(end, 5, deliver->mid);
    end = wire_put_fixed64(end, 6, deliver->from);
    end = wire_put_enum(end, 7, deliver->class);
    end = wire_put_fixed64(end, 8, deliver->sent_at);
    return finish(at, LINK_DELIVER, end, 9, deliver->body);
}

size_t hot_answer_write(uint8_t *at, const struct hot_answer *answer)
{
    uint8_t *end = begin(at);
    end = wire_put_fixed64(end, 1, answer->gid);
    end = wire_put_fixed64(end, 2, answer->session);
    end = wire_put_bytes(end, 3, answer->cmid);
    end = wire_put_enum(end, 4, answer->level);
    end = wire_put_varint(end, 5, answer->reason);
    end = wire_put_bytes(end, 6, answer->mid);
    end = wire_put_varint(end, 7, answer->retry_after_ms);
    end = wire_put_varint(end, 8, answer->expected_seq);
    return finish_bodyless(at, LINK_ANSWER, end);
}

size_t hot_link_received_write(uint8_t *at, const struct hot_received *received)
{
    uint8_t *end = begin(at);
    end = wire_put_fixed64(end, 1, received->gid);
    end = wire_put_fixed64(end, 2, received->session);
    end = wire_put_varint(end, 3, received->dseq);
    return finish_bodyless(at, LINK_RECEIVED, end);
}
