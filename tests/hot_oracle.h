/* hot_oracle: protobuf-c as the judge of hot. For each message of hot.h: its reader and writer, its
 * type, and the one claim that both the test and the fuzz target make. */
#ifndef TESTS_HOT_ORACLE_H
#define TESTS_HOT_ORACLE_H

#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/hot.h"
#include "proto/link.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

union hot_any {
    struct hot_send send;
    struct hot_link_send link_send;
    struct hot_link_deliver link_deliver;
    struct hot_deliver deliver;
    struct hot_answer answer;
    struct hot_received received;
    struct hot_ack ack;
    struct hot_nack nack;
};

struct hot_kind {
    const char *name;
    const ProtobufCMessageDescriptor *frame, *type;
    uint32_t number; /* of the message in the frame's oneof */
    bool (*read)(struct span content, void *hot);
    size_t (*write)(uint8_t *at, const void *hot);
    size_t (*body_len)(const void *hot); /* and room for the columns */
};

#define HOT_KIND(name, body_size)                                                                  \
    static bool read_##name(struct span content, void *hot)                                        \
    {                                                                                              \
        return hot_##name##_read(content, hot);                                                    \
    }                                                                                              \
    static size_t write_##name(uint8_t *at, const void *hot)                                       \
    {                                                                                              \
        return hot_##name##_write(at, hot);                                                        \
    }                                                                                              \
    static size_t body_len_##name(const void *any)                                                 \
    {                                                                                              \
        const union hot_any *hot = any;                                                            \
        (void)hot;                                                                                 \
        return body_size;                                                                          \
    }
HOT_KIND(send, hot->send.body.len)
HOT_KIND(received, 0)
HOT_KIND(deliver, hot->deliver.body.len)
HOT_KIND(ack, 0)
HOT_KIND(nack, 0)
HOT_KIND(link_send, hot->link_send.send.body.len)
HOT_KIND(link_deliver, hot->link_deliver.body.len + 20 * hot->link_deliver.sessions)
HOT_KIND(answer, 0)
HOT_KIND(link_received, 0)
#undef HOT_KIND

#define HOT_CLIENT(hot, message, number)                                                           \
    {                                                                                              \
#hot, &lahar__v1__client_frame__descriptor, &lahar__v1__##message##__descriptor, number,   \
            read_##hot, write_##hot, body_len_##hot                                                \
    }
#define HOT_SERVER(hot, message, number)                                                           \
    {                                                                                              \
#hot, &lahar__v1__server_frame__descriptor, &lahar__v1__##message##__descriptor, number,   \
            read_##hot, write_##hot, body_len_##hot                                                \
    }
#define HOT_LINK(hot, message, number)                                                             \
    {                                                                                              \
#hot, &lahar__link__v1__link_frame__descriptor, &lahar__link__v1__##message##__descriptor, \
            number, read_##hot, write_##hot, body_len_##hot                                        \
    }
static const struct hot_kind hot_kinds[] = {
    HOT_CLIENT(send, send, LAHAR__V1__CLIENT_FRAME__FRAME_SEND),
    HOT_CLIENT(received, received, LAHAR__V1__CLIENT_FRAME__FRAME_RECEIVED),
    HOT_SERVER(deliver, deliver, LAHAR__V1__SERVER_FRAME__FRAME_DELIVER),
    HOT_SERVER(ack, send_ack, LAHAR__V1__SERVER_FRAME__FRAME_SEND_ACK),
    HOT_SERVER(nack, send_nack, LAHAR__V1__SERVER_FRAME__FRAME_SEND_NACK),
    HOT_LINK(link_send, link_send, LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND),
    HOT_LINK(link_deliver, link_deliver, LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVER),
    HOT_LINK(answer, answer, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANSWER),
    HOT_LINK(link_received, link_received, LAHAR__LINK__V1__LINK_FRAME__FRAME_RECEIVED),
};
#define HOT_KINDS (sizeof hot_kinds / sizeof hot_kinds[0])

#define HOT_CHECK(claim) ((claim) ? (void)0 : hot_violated(kind->name, #claim))

static inline void hot_violated(const char *name, const char *claim)
{
    fprintf(stderr, "%s: violated: %s\n", name, claim);
    abort();
}

/* What hot judges beyond protobuf: ids of 16 bytes or none, and the two columns of a LinkDeliver.
 */
static inline bool hot_sizes_good(const ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const void *member = (const uint8_t *)message + field->offset;
        size_t len =
            field->type == PROTOBUF_C_TYPE_BYTES ? ((const ProtobufCBinaryData *)member)->len : 0;
        if (strcmp(field->name, "body") != 0 && len != 0 && len != 16)
            return false;
    }
    if (message->descriptor != &lahar__link__v1__link_deliver__descriptor)
        return true;
    const Lahar__Link__V1__LinkDeliver *deliver = (const void *)message;
    return deliver->n_session <= HOT_SESSIONS_MAX &&
           (deliver->n_dseq == 0 || deliver->n_dseq == deliver->n_session);
}

/* The frame that hot writes is the one that protobuf-c writes, and is read back as what was
 * written. `message` may have unknown fields: they are not written again. */
static inline void hot_check_write(const struct hot_kind *kind, const union hot_any *hot,
                                   ProtobufCMessage *message)
{
    unsigned unknown = message->n_unknown_fields;
    message->n_unknown_fields = 0;
    size_t len = protobuf_c_message_get_packed_size(message);
    size_t expected_len = frame_prefix_size(kind->number, len) + len;
    uint8_t *expected = malloc(expected_len);
    protobuf_c_message_pack(message, frame_prefix_write(expected, kind->number, len));
    message->n_unknown_fields = unknown;

    size_t room = HOT_OVERHEAD_MAX + kind->body_len(hot);
    uint8_t *written = malloc(room), *rewritten = malloc(room);
    size_t written_len = kind->write(written, hot);
    HOT_CHECK(written_len <= room && written_len == expected_len);
    HOT_CHECK(memcmp(written, expected, expected_len) == 0);

    union hot_any again;
    uint32_t number;
    struct span frame = {written, written_len}, body, content;
    HOT_CHECK(frame_take(&frame, FRAME_LINK_SIZE_MAX, &body) == FRAME_READY && frame.len == 0);
    HOT_CHECK(frame_open(body, &number, &content, NULL) && number == kind->number);
    HOT_CHECK(kind->read(content, &again));
    HOT_CHECK(kind->write(rewritten, &again) == written_len);
    HOT_CHECK(memcmp(rewritten, written, written_len) == 0);

    ProtobufCMessage *opened = protobuf_c_message_unpack(kind->frame, NULL, body.len, body.at);
    HOT_CHECK(opened != NULL && protobuf_c_message_get_packed_size(opened) == body.len);
    HOT_CHECK(opened->n_unknown_fields == 0);
    protobuf_c_message_free_unpacked(opened, NULL);
    free(rewritten);
    free(written);
    free(expected);
}

/* hot reads what protobuf-c reads, as far as the sizes are good, and understands the same by it.
 * Tells whether it was read. */
static inline bool hot_check_read(const struct hot_kind *kind, struct span content)
{
    union hot_any hot;
    memset(&hot, 0xa5, sizeof hot);
    bool read = kind->read(content, &hot);
    ProtobufCMessage *message =
        protobuf_c_message_unpack(kind->type, NULL, content.len, content.at);
    HOT_CHECK(read == (message != NULL && hot_sizes_good(message)));
    if (read)
        hot_check_write(kind, &hot, message);
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
    return read;
}

#endif
