/* frame: where one message ends and the next begins, and which one it is.
 *
 * On a byte stream each message travels in protobuf's delimited form:
 *
 *     +-----------------------+------------------------+
 *     | length, varint, 1..3  | body, `length` bytes   |
 *     +-----------------------+------------------------+
 *
 * The body is one packed ClientFrame, ServerFrame or LinkFrame: a oneof, so nearly always one
 * field, whose number says the type and whose content is the message. Pure: it allocates nothing,
 * keeps nothing and does no I/O.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include "base/span.h"

/* No client may make us hold more than this; a longer body ends its connection. */
#define FRAME_BODY_SIZE_MAX (64u * 1024u)
/* The same before Welcome. */
#define FRAME_HELLO_SIZE_MAX (4u * 1024u)
/* On a link a frame may carry a client's frame and our stamp. */
#define FRAME_LINK_SIZE_MAX (72u * 1024u)
/* What the body of a message may have. */
#define FRAME_PAYLOAD_SIZE_MAX (60u * 1024u)

/* The most bytes that a permitted length takes. */
#define FRAME_HEAD_SIZE_MAX 3u

enum frame_status {
    FRAME_READY,   /* one whole frame was taken */
    FRAME_PARTIAL, /* the rest has yet to arrive; nothing was taken */
    FRAME_INVALID, /* the peer broke the protocol; the stream is lost */
};

/* Takes the first frame off `input`; a length of 0 or over `size_max` is invalid and judged before
 * its body is awaited. Only on FRAME_READY is anything changed: `body` then borrows from the same
 * bytes, and `input` starts at the next frame. */
MUST_CHECK enum frame_status frame_take(struct span *input, size_t size_max, struct span *body);

/* Opens a oneof: the number and content of its last length-delimited field. Fields of other wire
 * types and earlier fields are skipped and added to `ignored` (may be NULL). False if the bytes are
 * not protobuf's; an empty oneof gives number 0. */
MUST_CHECK bool frame_open(struct span body, uint32_t *number, struct span *content,
                           uint32_t *ignored);

/* The bytes that head and oneof tag take before a message of `len` bytes in field `number`, and
 * writing them; returns where the message goes. */
size_t frame_prefix_size(uint32_t number, size_t len);
uint8_t *frame_prefix_write(uint8_t *at, uint32_t number, size_t len);
#define FRAME_PREFIX_SIZE_MAX 9u

#endif
