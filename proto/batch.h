/* batch: one ZeroMQ message of a link, read and written by hand.
 *
 *     +-----------+-------+-------+- - -
 *     | BatchHead | frame | frame |          each in protobuf's delimited form (proto/link.proto)
 *     +-----------+-------+-------+- - -
 *
 * Pure: reading borrows from the input, nothing is allocated.
 */
#ifndef PROTO_BATCH_H
#define PROTO_BATCH_H

#include "base/span.h"

#define BATCH_PROTO 1u
#define BATCH_NAME_MAX 32u
#define BATCH_HEAD_SIZE_MAX 127u       /* as written by us, with its length */
#define BATCH_HEAD_READ_SIZE_MAX 1024u /* with what later versions may add */

struct batch_head {
    uint64_t from, to;
    uint64_t first_byte, first_frame;
    uint64_t credit;
    uint64_t map_epoch;
    uint32_t load;
    uint32_t role;
    struct span name; /* at most BATCH_NAME_MAX */
};

/* Writes a delimited head of version BATCH_PROTO, returns its size. */
size_t batch_head_write(uint8_t at[BATCH_HEAD_SIZE_MAX], const struct batch_head *head);

/* Opens a whole message: its head, and what follows as `frames`, of which there are `count`. False,
 * with everything undefined, unless all of it is well-formed: a head of our version with a `from`,
 * then whole frames of permitted sizes to the last byte. */
MUST_CHECK bool batch_open(struct span message, struct batch_head *head, struct span *frames,
                           uint32_t *count);

/* The body of the next frame of a batch that batch_open found good; false at its end. */
MUST_CHECK bool batch_next(struct span *frames, struct span *body);

/* The longest run of whole frames at the start of `frames` (good as above) that has at most
 * `size_max` bytes, and how many they are. */
struct span batch_fit(struct span frames, size_t size_max, uint32_t *count);

#endif
