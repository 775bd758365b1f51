/* What batch_open accepts can be walked to its end, and its head comes back as written.
 *
 * Covers: proto/batch.c.
 */
#include "proto/batch.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch_head head, again;
    struct span frames, rest, body;
    uint32_t count, walked = 0, fitted;
    if (!batch_open(span_of(data, size), &head, &frames, &count))
        return 0;

    for (rest = frames; batch_next(&rest, &body); walked++)
        assert(body.len > 0 && body.len <= FRAME_LINK_SIZE_MAX);
    assert(walked == count);
    assert(batch_fit(frames, frames.len, &fitted).len == frames.len && fitted == count);
    if (frames.len > 0)
        assert(batch_fit(frames, frames.len - 1, &fitted).len < frames.len && fitted == count - 1);

    uint8_t packed[BATCH_HEAD_SIZE_MAX];
    struct span whole = span_of(packed, batch_head_write(packed, &head));
    bool good = batch_open(whole, &again, &rest, &walked);
    assert(good && rest.len == 0 && walked == 0);
    assert(again.from == head.from && again.to == head.to && again.credit == head.credit);
    assert(again.first_byte == head.first_byte && again.first_frame == head.first_frame);
    assert(again.map_epoch == head.map_epoch && again.load == head.load);
    assert(again.role == head.role && span_equal(again.name, head.name));
    return 0;
}
