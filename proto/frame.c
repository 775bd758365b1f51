#include "proto/frame.h"

#include "proto/wire.h"

#define LENGTH_END (1u << (7 * FRAME_HEAD_SIZE_MAX))

static_assert(FRAME_LINK_SIZE_MAX < LENGTH_END, "a length must fit its field");

/* Reads a length of at most FRAME_HEAD_SIZE_MAX bytes; `head_size` is set on FRAME_READY. */
static enum frame_status read_length(struct span input, uint32_t *length, size_t *head_size)
{
    *length = 0;
    for (size_t i = 0; i < FRAME_HEAD_SIZE_MAX; i++) {
        if (i == input.len)
            return FRAME_PARTIAL;
        *length |= (uint32_t)(input.at[i] & 0x7f) << (7 * i);
        if (!(input.at[i] & 0x80)) {
            *head_size = i + 1;
            return FRAME_READY;
        }
    }
    return FRAME_INVALID;
}

enum frame_status frame_take(struct span *input, size_t size_max, struct span *body)
{
    assert(input != NULL);
    assert(body != NULL);
    assert(size_max < LENGTH_END);

    uint32_t length;
    size_t head_size;
    enum frame_status status = read_length(*input, &length, &head_size);
    if (status != FRAME_READY)
        return status;

    /* Judge the length before waiting for the body, or a peer could announce a megabyte and keep a
     * buffer pinned until its idle timeout. */
    if (length == 0 || length > size_max)
        return FRAME_INVALID;

    struct span rest = span_after(*input, head_size);
    if (rest.len < length)
        return FRAME_PARTIAL;

    *body = span_upto(rest, length);
    *input = span_after(rest, length);
    return FRAME_READY;
}

bool frame_open(struct span body, uint32_t *number, struct span *content, uint32_t *ignored)
{
    const uint8_t *at = body.at, *end = body.len == 0 ? at : at + body.len; /* NULL if empty */
    uint32_t fields = 0;
    bool found = false;

    *number = 0;
    *content = (struct span){0};
    while (at != end) {
        uint64_t tag;
        at = wire_read_tag(at, end, &tag);
        /* A field 0 would look like an empty oneof. */
        if (at == NULL || tag >> 3 == 0)
            return false;
        if ((tag & 7) == WIRE_BYTES) {
            at = wire_read_bytes(at, end, content);
            *number = (uint32_t)(tag >> 3);
            found = true;
        } else {
            at = wire_skip(at, end, tag);
        }
        if (at == NULL)
            return false;
        fields++;
    }
    if (ignored != NULL)
        *ignored += fields - found;
    return true;
}

/* Of the oneof's one field: its tag, its length and its content. */
static size_t body_size(uint32_t number, size_t len)
{
    return wire_varint_size(WIRE_TAG(number, WIRE_BYTES)) + wire_varint_size(len) + len;
}

size_t frame_prefix_size(uint32_t number, size_t len)
{
    size_t size = body_size(number, len);
    return wire_varint_size(size) + size - len;
}

uint8_t *frame_prefix_write(uint8_t *at, uint32_t number, size_t len)
{
    at = wire_write_varint(at, body_size(number, len));
    at = wire_write_varint(at, WIRE_TAG(number, WIRE_BYTES));
    return wire_write_varint(at, len);
}
