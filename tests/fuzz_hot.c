/* Every reader gets the bytes; protobuf-c must agree, and what was read must come back when
 * written.
 *
 * Covers: proto/hot.c proto/wire.h.
 */
#include "tests/hot_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FRAME_LINK_SIZE_MAX - HOT_OVERHEAD_MAX)
        return 0;
    for (size_t i = 0; i < HOT_KINDS; i++)
        (void)hot_check_read(&hot_kinds[i], span_of(data, size));
    return 0;
}
