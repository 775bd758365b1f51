#include "proto/unpack.h"

#include "proto/wire.h"

static void *take(void *arena, size_t size)
{
    return arena_take(arena, size > 0 ? size : 1);
}

static void leave(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

void *unpack_message(const ProtobufCMessageDescriptor *type, struct arena *arena,
                     struct span packed)
{
    ProtobufCAllocator allocator = {.alloc = take, .free = leave, .allocator_data = arena};
    return protobuf_c_message_unpack(type, &allocator, packed.len, packed.at);
}

struct span unpack_frame(struct arena *arena, const ProtobufCMessage *frame)
{
    size_t size = protobuf_c_message_get_packed_size(frame);
    assert(size > 0); /* a frame says something */

    uint8_t *begin = arena_take(arena, wire_varint_size(size) + size);
    if (begin == NULL)
        return (struct span){0};
    uint8_t *at = wire_write_varint(begin, size);
    at += protobuf_c_message_pack(frame, at);
    return span_of(begin, (size_t)(at - begin));
}
