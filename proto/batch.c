#include "proto/batch.h"

#include "proto/frame.h"
#include "proto/wire.h"

/* Fields of BatchHead. */
enum {
    PROTO = 1,
    FROM = 2,
    TO = 3,
    FIRST_BYTE = 4,
    FIRST_FRAME = 5,
    CREDIT = 6,
    MAP_EPOCH = 7,
    LOAD = 8,
    ROLE = 9,
    NAME = 10,
};

size_t batch_head_write(uint8_t at[BATCH_HEAD_SIZE_MAX], const struct batch_head *head)
{
    assert(head->name.len <= BATCH_NAME_MAX);
    uint8_t *end = at + 1; /* the length, always below 128, comes last */
    end = wire_put_varint(end, PROTO, BATCH_PROTO);
    end = wire_put_fixed64(end, FROM, head->from);
    end = wire_put_fixed64(end, TO, head->to);
    end = wire_put_varint(end, FIRST_BYTE, head->first_byte);
    end = wire_put_varint(end, FIRST_FRAME, head->first_frame);
    end = wire_put_varint(end, CREDIT, head->credit);
    end = wire_put_varint(end, MAP_EPOCH, head->map_epoch);
    end = wire_put_varint(end, LOAD, head->load);
    end = wire_put_varint(end, ROLE, head->role);
    end = wire_put_bytes(end, NAME, head->name);
    size_t size = (size_t)(end - at);
    assert(size <= BATCH_HEAD_SIZE_MAX);
    at[0] = (uint8_t)(size - 1);
    return size;
}

static const uint8_t *read_field(const uint8_t *at, const uint8_t *end, struct batch_head *head,
                                 uint32_t *proto)
{
    uint64_t tag;
    at = wire_read_tag(at, end, &tag);
    if (at == NULL)
        return NULL;
    switch (tag) {
    case WIRE_TAG(PROTO, WIRE_VARINT):
        return wire_read_u32(at, end, proto);
    case WIRE_TAG(FROM, WIRE_FIXED64):
        return wire_read_fixed64(at, end, &head->from);
    case WIRE_TAG(TO, WIRE_FIXED64):
        return wire_read_fixed64(at, end, &head->to);
    case WIRE_TAG(FIRST_BYTE, WIRE_VARINT):
        return wire_read_varint(at, end, &head->first_byte);
    case WIRE_TAG(FIRST_FRAME, WIRE_VARINT):
        return wire_read_varint(at, end, &head->first_frame);
    case WIRE_TAG(CREDIT, WIRE_VARINT):
        return wire_read_varint(at, end, &head->credit);
    case WIRE_TAG(MAP_EPOCH, WIRE_VARINT):
        return wire_read_varint(at, end, &head->map_epoch);
    case WIRE_TAG(LOAD, WIRE_VARINT):
        return wire_read_u32(at, end, &head->load);
    case WIRE_TAG(ROLE, WIRE_VARINT):
        return wire_read_u32(at, end, &head->role);
    case WIRE_TAG(NAME, WIRE_BYTES):
        return wire_read_bytes(at, end, &head->name);
    default:
        if (tag >> 3 <= NAME) /* number 0, or a known field of another type */
            return NULL;
        return wire_skip(at, end, tag);
    }
}

static bool read_head(struct span input, struct batch_head *head)
{
    const uint8_t *at = input.at, *end = input.at + input.len;
    uint32_t proto = 0;
    *head = (struct batch_head){0};
    while (at != end && at != NULL)
        at = read_field(at, end, head, &proto);
    return at != NULL && proto == BATCH_PROTO && head->from != 0 &&
           head->name.len <= BATCH_NAME_MAX;
}

bool batch_open(struct span message, struct batch_head *head, struct span *frames, uint32_t *count)
{
    struct span body;
    if (frame_take(&message, BATCH_HEAD_READ_SIZE_MAX, &body) != FRAME_READY ||
        !read_head(body, head))
        return false;
    *frames = message;
    for (*count = 0; message.len > 0; ++*count)
        if (frame_take(&message, FRAME_LINK_SIZE_MAX, &body) != FRAME_READY)
            return false;
    return true;
}

bool batch_next(struct span *frames, struct span *body)
{
    if (frames->len == 0)
        return false;
    /* Good already, so that only the length is to be read. */
    size_t head = 0, length = 0;
    do {
        assert(head < FRAME_HEAD_SIZE_MAX && head < frames->len);
        length |= (size_t)(frames->at[head] & 0x7f) << 7 * head;
    } while (frames->at[head++] & 0x80);
    *body = span_upto(span_after(*frames, head), length);
    *frames = span_after(*frames, head + length);
    return true;
}

struct span batch_fit(struct span frames, size_t size_max, uint32_t *count)
{
    struct span rest = frames, body;
    *count = 0;
    for (size_t fits = 0;; fits = (size_t)(rest.at - frames.at), ++*count)
        if (!batch_next(&rest, &body) || (size_t)(rest.at - frames.at) > size_max)
            return span_upto(frames, fits);
}
