/* unpack: every message that is not hot, through protobuf-c and an arena with a limit, so that a
 * hostile frame cannot unfold into megabytes. */
#ifndef PROTO_UNPACK_H
#define PROTO_UNPACK_H

#include "base/arena.h"

#include <protobuf-c/protobuf-c.h>

/* The message, borrowed until the arena is reset (bytes fields are copies in the arena). NULL if
 * the bytes are not such a message or the arena's limit would be passed. */
MUST_CHECK void *unpack_message(const ProtobufCMessageDescriptor *type, struct arena *arena,
                                struct span packed);

/* Packs a message as a whole delimited frame, into memory of the arena; the span is empty if the
 * arena has no room. */
struct span unpack_frame(struct arena *arena, const ProtobufCMessage *frame);

static inline struct span unpack_span(ProtobufCBinaryData data)
{
    return (struct span){data.data, data.len};
}

static inline ProtobufCBinaryData unpack_data(struct span span)
{
    return (ProtobufCBinaryData){.len = span.len, .data = (uint8_t *)(uintptr_t)span.at};
}

#endif
