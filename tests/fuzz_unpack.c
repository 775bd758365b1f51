/* Every message that is not hot: from any bytes there is a message within the arena's limit or
 * none; what is packed again is read again, and packs the same. The first byte says which type, the
 * second how much memory there is.
 *
 * Covers: proto/unpack.c.
 */
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/link.pb-c.h"
#include "proto/unpack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &lahar__v1__client_frame__descriptor,
    &lahar__v1__server_frame__descriptor,
    &lahar__link__v1__link_frame__descriptor,
    &lahar__link__v1__batch_head__descriptor,
    &lahar__v1__hello__descriptor,
    &lahar__v1__welcome__descriptor,
    &lahar__v1__goaway__descriptor,
    &lahar__link__v1__site__descriptor,
    &lahar__link__v1__owned__descriptor,
    &lahar__link__v1__announce__descriptor,
    &lahar__link__v1__slot_map__descriptor,
    &lahar__link__v1__not_owner__descriptor,
    &lahar__link__v1__admin_request__descriptor,
    &lahar__link__v1__admin_reply__descriptor,
    &lahar__link__v1__link_deliver__descriptor,
    &lahar__link__v1__site_found__descriptor,
};
#define TYPES (sizeof types / sizeof types[0])

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % TYPES];
    struct arena *arena = arena_new((size_t)data[1] * 512);
    struct arena *enough = arena_new(8u * 1024u * 1024u);
    struct span packed = span_of(data + 2, size - 2);
    const ProtobufCMessage *scarce = unpack_message(type, arena, packed);
    const ProtobufCMessage *message = unpack_message(type, enough, packed);
    assert(scarce == NULL || message != NULL);
    if (message != NULL &&
        protobuf_c_message_get_packed_size(message) > 0) { /* nobody says nothing */
        size_t len = protobuf_c_message_get_packed_size(message);
        struct span frame = unpack_frame(enough, message), body;
        assert(frame.len >= len);
        enum frame_status status = len > FRAME_LINK_SIZE_MAX
                                       ? FRAME_INVALID
                                       : frame_take(&frame, FRAME_LINK_SIZE_MAX, &body);
        if (status == FRAME_READY) {
            assert(frame.len == 0 && body.len == len);
            const ProtobufCMessage *again = unpack_message(type, enough, body);
            /* NULL: it had an unknown field 0, which protobuf-c reads in a long tag only. */
            if (again != NULL) {
                uint8_t *second = malloc(len);
                assert(second != NULL && protobuf_c_message_get_packed_size(again) == len);
                protobuf_c_message_pack(again, second);
                assert(memcmp(second, body.at, len) == 0);
                free(second);
            }
        } else {
            assert(len > FRAME_LINK_SIZE_MAX);
        }
        (void)unpack_frame(arena, message);
    }
    arena_free(arena);
    arena_free(enough);
    return 0;
}
