/* valid_messages: at least one of every frame that there is, of either protocol, made from its
 * descriptor: empty, full, each field alone, and texts of many sizes. What hostile peers send is
 * made of these. */
#ifndef TESTS_VALID_MESSAGES_H
#define TESTS_VALID_MESSAGES_H

#include "base/span.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

struct valid_message {
    uint32_t number; /* of its member in the oneof */
    uint8_t *at;     /* the frame's body */
    size_t len;
};

struct valid_messages {
    struct valid_message *list;
    size_t count, room;
};

#define VALID_LONG 1000u
#define VALID_DEPTH_MAX 3u

enum valid_way { VALID_EMPTY, VALID_SMALL, VALID_LARGE };

static inline ProtobufCMessage *valid_make(const ProtobufCMessageDescriptor *type,
                                           enum valid_way way, size_t text_len, unsigned only,
                                           unsigned depth);

static inline void valid_value(const ProtobufCFieldDescriptor *field, void *at, enum valid_way way,
                               size_t text_len, unsigned depth)
{
    uint64_t number = way == VALID_LARGE ? UINT64_MAX : 1;
    uint32_t half = way == VALID_LARGE ? UINT32_MAX : 1;
    ProtobufCBinaryData data;
    ProtobufCMessage *message;
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        data.len = text_len;
        data.data = malloc(text_len + 1);
        assert(data.data != NULL);
        memset(data.data, 'a', text_len + 1);
        memcpy(at, &data, sizeof data);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        message = valid_make(field->descriptor, way, text_len, UINT32_MAX, depth + 1);
        memcpy(at, &message, sizeof(ProtobufCMessage *));
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(at, &number, sizeof number);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        memset(at, 1, sizeof(protobuf_c_boolean));
        break;
    default:
        memcpy(at, &half, sizeof half);
    }
}

static inline size_t valid_size_of(ProtobufCType type)
{
    return type == PROTOBUF_C_TYPE_BYTES     ? sizeof(ProtobufCBinaryData)
           : type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(ProtobufCMessage *)
           : type == PROTOBUF_C_TYPE_UINT64 || type == PROTOBUF_C_TYPE_FIXED64 ? 8
                                                                               : 4;
}

static inline void valid_field(const ProtobufCFieldDescriptor *field, ProtobufCMessage *message,
                               enum valid_way way, size_t text_len, unsigned depth)
{
    uint8_t *at = (uint8_t *)message;
    uint32_t chosen = 0;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy(&chosen, at + field->quantifier_offset, sizeof chosen);
    if (chosen != 0)
        return; /* the members of a oneof share their place */
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        valid_value(field, at + field->offset, way, text_len, depth);
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            memcpy(at + field->quantifier_offset, &field->id, sizeof(uint32_t));
        return;
    }
    size_t count = 2, size = valid_size_of(field->type);
    uint8_t *elements = calloc(count, size);
    assert(elements != NULL);
    for (size_t i = 0; i < count; i++)
        valid_value(field, elements + i * size, way, text_len, depth);
    memcpy(at + field->quantifier_offset, &count, sizeof count);
    memcpy(at + field->offset, &elements, sizeof(uint8_t *));
}

/* `only`: the one field that is there; UINT32_MAX: all are. */
static inline ProtobufCMessage *valid_make(const ProtobufCMessageDescriptor *type,
                                           enum valid_way way, size_t text_len, unsigned only,
                                           unsigned depth)
{
    ProtobufCMessage *message = calloc(1, type->sizeof_message);
    assert(message != NULL);
    type->message_init(message);
    for (unsigned i = 0; way != VALID_EMPTY && depth <= VALID_DEPTH_MAX && i < type->n_fields; i++)
        if (only == UINT32_MAX || only == i)
            valid_field(&type->fields[i], message, way, text_len, depth);
    return message;
}

static inline void valid_add(struct valid_messages *messages,
                             const ProtobufCMessageDescriptor *frame, unsigned member,
                             ProtobufCMessage *content)
{
    const ProtobufCFieldDescriptor *field = &frame->fields[member];
    ProtobufCMessage *whole = calloc(1, frame->sizeof_message);
    assert(whole != NULL);
    frame->message_init(whole);
    memcpy((uint8_t *)whole + field->offset, &content, sizeof(ProtobufCMessage *));
    memcpy((uint8_t *)whole + field->quantifier_offset, &field->id, sizeof(uint32_t));
    if (messages->count == messages->room) {
        messages->room = messages->room * 2 + 64;
        messages->list = realloc(messages->list, messages->room * sizeof *messages->list);
        assert(messages->list != NULL);
    }
    struct valid_message *message = &messages->list[messages->count++];
    message->number = field->id;
    message->len = protobuf_c_message_get_packed_size(whole);
    message->at = malloc(message->len + 1);
    assert(message->at != NULL);
    protobuf_c_message_pack(whole, message->at);
    protobuf_c_message_free_unpacked(whole, NULL);
}

/* All of one protocol's frames. */
static inline struct valid_messages valid_messages_of(const ProtobufCMessageDescriptor *frame)
{
    static const size_t text_lens[] = {0, 1, 15, 16, 17, 32, 33, 127, 128, VALID_LONG};
    struct valid_messages messages = {0};
    for (unsigned member = 0; member < frame->n_fields; member++) {
        const ProtobufCMessageDescriptor *type = frame->fields[member].descriptor;
        bool has_text = false;
        for (unsigned i = 0; i < type->n_fields; i++)
            has_text = has_text || type->fields[i].type == PROTOBUF_C_TYPE_BYTES;
        valid_add(&messages, frame, member, valid_make(type, VALID_EMPTY, 0, UINT32_MAX, 0));
        valid_add(&messages, frame, member, valid_make(type, VALID_SMALL, 16, UINT32_MAX, 0));
        valid_add(&messages, frame, member, valid_make(type, VALID_LARGE, 16, UINT32_MAX, 0));
        for (unsigned i = 0; type->n_fields > 1 && i < type->n_fields; i++)
            valid_add(&messages, frame, member, valid_make(type, VALID_SMALL, 16, i, 0));
        for (size_t i = 0; has_text && i < sizeof text_lens / sizeof text_lens[0]; i++)
            valid_add(&messages, frame, member,
                      valid_make(type, VALID_SMALL, text_lens[i], UINT32_MAX, 0));
    }
    return messages;
}

static inline void valid_messages_free(struct valid_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++)
        free(messages->list[i].at);
    free(messages->list);
    *messages = (struct valid_messages){0};
}

/* ---- what is done to one ---- */

enum valid_spoilt {
    VALID_CUT,     /* at byte `at`, the length in the head made right again */
    VALID_FLIPPED, /* bit `at` */
    VALID_UNKNOWN, /* an unknown field of each wire type behind it */
    VALID_UNKNOWN_FIRST,
    VALID_DOUBLED,     /* its content's fields twice */
    VALID_TWICE,       /* the member of the oneof twice */
    VALID_LONG_VARINT, /* its tag longer than needed */
    VALID_OVERLONG,    /* its content says that it is longer than it is */
    VALID_SPOILTS,
};

/* How many places `spoilt` can be at in a message of this length. */
static inline size_t valid_places(enum valid_spoilt spoilt, size_t len)
{
    return spoilt == VALID_CUT ? len : spoilt == VALID_FLIPPED ? (len < 64 ? len : 64) * 8 : 1;
}

/* Where the content of the (one) member begins. */
static inline size_t valid_content_at(const struct valid_message *message)
{
    size_t at = 0;
    while (message->at[at++] & 0x80)
        ;
    while (message->at[at++] & 0x80)
        ;
    return at;
}

static inline size_t valid_varint(uint8_t *at, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    return n;
}

/* Into `out`, which has room for twice the message and 64 bytes; returns the length. */
static inline size_t valid_spoil(const struct valid_message *message, enum valid_spoilt spoilt,
                                 size_t at, uint8_t *out)
{
    static const uint8_t unknown[] = {0xf8, 0x3f, 1,    0xf9, 0x3f, 1,   2,    3,    4, 5, 6, 7,
                                      8,    0xfa, 0x3f, 2,    'h',  'i', 0xfd, 0x3f, 1, 2, 3, 4};
    size_t content = valid_content_at(message), len = message->len - content, head = 0;
    switch (spoilt) {
    case VALID_CUT:
        memcpy(out, message->at, at);
        return at;
    case VALID_FLIPPED:
        memcpy(out, message->at, message->len);
        out[at / 8] ^= (uint8_t)(1u << at % 8);
        return message->len;
    case VALID_UNKNOWN_FIRST:
        memcpy(out, unknown, sizeof unknown);
        memcpy(out + sizeof unknown, message->at, message->len);
        return sizeof unknown + message->len;
    case VALID_UNKNOWN: /* within the member, as a later version would have it */
        head = valid_varint(out, (uint64_t)message->number << 3 | 2);
        head += valid_varint(out + head, len + sizeof unknown);
        memcpy(out + head, message->at + content, len);
        memcpy(out + head + len, unknown, sizeof unknown);
        return head + len + sizeof unknown;
    case VALID_DOUBLED:
        head = valid_varint(out, (uint64_t)message->number << 3 | 2);
        head += valid_varint(out + head, len * 2);
        memcpy(out + head, message->at + content, len);
        memcpy(out + head + len, message->at + content, len);
        return head + len * 2;
    case VALID_TWICE:
        memcpy(out, message->at, message->len);
        memcpy(out + message->len, message->at, message->len);
        return message->len * 2;
    case VALID_LONG_VARINT:
        head = valid_varint(out, (uint64_t)message->number << 3 | 2);
        out[head - 1] |= 0x80;
        out[head++] = 0;
        head += valid_varint(out + head, len);
        memcpy(out + head, message->at + content, len);
        return head + len;
    default:
        head = valid_varint(out, (uint64_t)message->number << 3 | 2);
        head += valid_varint(out + head, len + 1);
        memcpy(out + head, message->at + content, len);
        return head + len;
    }
}

#endif
