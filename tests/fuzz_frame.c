/* A stream of frames: each is there whole or not at all, inside what was given; and no oneof opens
 * outside itself.
 *
 * Covers: proto/frame.c proto/wire.h.
 */
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_body(struct span body)
{
    uint32_t number, ignored = 0;
    struct span content;
    if (!frame_open(body, &number, &content, &ignored))
        return;
    assert(ignored < body.len || body.len == 0);
    if (number == 0) {
        assert(content.len == 0);
        return;
    }
    assert(content.at > body.at && content.at + content.len <= body.at + body.len);

    /* The prefix that we would write says the same. */
    uint8_t prefix[16];
    size_t prefix_size = frame_prefix_size(number, content.len);
    assert(prefix_size <= sizeof prefix);
    uint8_t *end = frame_prefix_write(prefix, number, content.len);
    assert((size_t)(end - prefix) == prefix_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {data, size}, body;
    for (;;) {
        struct span before = input;
        enum frame_status status = frame_take(&input, FRAME_BODY_SIZE_MAX, &body);
        if (status != FRAME_READY) {
            assert(input.at == before.at && input.len == before.len);
            break;
        }
        assert(body.len > 0 && body.len <= FRAME_BODY_SIZE_MAX);
        assert(body.at + body.len == input.at && input.at + input.len == data + size);

        /* One byte less, and the frame is not there yet. */
        struct span shorter = span_upto(before, before.len - input.len - 1), none;
        assert(frame_take(&shorter, FRAME_BODY_SIZE_MAX, &none) == FRAME_PARTIAL);
        open_body(body);
    }
    open_body(span_of(data, size));
    return 0;
}
