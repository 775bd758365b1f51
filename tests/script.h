/* script: any bytes as a sequence of events and of messages that are nearly right.
 *
 * Whoever plays a script takes bytes for what to do next; a script that has ended gives zeros. A
 * message of any type is made from its descriptor, so that new fields are played with from the day
 * they exist: a bit for each field says whether it is there, then come the values. Numbers are
 * small, any, or of those that the core under test has spoken of; so are texts.
 */
#ifndef TESTS_SCRIPT_H
#define TESTS_SCRIPT_H

#include "base/span.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#define SCRIPT_KNOWN 64u
#define SCRIPT_TEXTS 16u
#define SCRIPT_ELEMENTS_MAX 4u
#define SCRIPT_DEPTH_MAX 4u

struct script {
    struct span rest;
    uint64_t known[SCRIPT_KNOWN];
    uint32_t known_count; /* ever; the newest stay */
    uint8_t texts[SCRIPT_TEXTS][64];
    uint8_t text_lens[SCRIPT_TEXTS];
    uint32_t text_count;
};

static inline bool script_ended(const struct script *script)
{
    return script->rest.len == 0;
}

static inline uint8_t script_byte(struct script *script)
{
    if (script->rest.len == 0)
        return 0;
    uint8_t byte = script->rest.at[0];
    script->rest = span_after(script->rest, 1);
    return byte;
}

static inline struct span script_bytes(struct script *script, size_t len)
{
    struct span bytes = span_upto(script->rest, len < script->rest.len ? len : script->rest.len);
    script->rest = span_after(script->rest, bytes.len);
    return bytes;
}

static inline void script_know(struct script *script, uint64_t value)
{
    if (value > 64)
        script->known[script->known_count++ % SCRIPT_KNOWN] = value;
}

static inline void script_know_text(struct script *script, struct span text)
{
    if (text.len == 0 || text.len > sizeof script->texts[0])
        return;
    uint32_t at = script->text_count++ % SCRIPT_TEXTS;
    memcpy(script->texts[at], text.at, text.len);
    script->text_lens[at] = (uint8_t)text.len;
}

static inline uint64_t script_number(struct script *script)
{
    uint8_t how = script_byte(script);
    uint32_t count = script->known_count < SCRIPT_KNOWN ? script->known_count : SCRIPT_KNOWN;
    if (how < 0x60)
        return how;
    if (how < 0xe0)
        return count == 0 ? 0 : script->known[(how - 0x60) % count];
    if (how < 0xf0) /* next to one that is known */
        return (count == 0 ? 0 : script->known[(how - 0xe0) % count]) + 1;
    uint64_t value = 0;
    struct span raw = script_bytes(script, how < 0xf8 ? 4 : 8);
    if (raw.len > 0)
        memcpy(&value, raw.at, raw.len);
    return value;
}

/* Borrowed from the script. */
static inline struct span script_text(struct script *script)
{
    uint8_t how = script_byte(script);
    uint32_t count = script->text_count < SCRIPT_TEXTS ? script->text_count : SCRIPT_TEXTS;
    if (how < 0x80 && count > 0)
        return span_of(script->texts[how % count], script->text_lens[how % count]);
    return script_bytes(script, how & 0x3f);
}

/* ---- messages ---- */

static inline size_t script_size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return 8;
    default:
        return 4; /* bool, enums and uint32 */
    }
}

static inline ProtobufCMessage *
script_message(struct script *script, const ProtobufCMessageDescriptor *type, unsigned depth);

static inline void script_value(struct script *script, const ProtobufCFieldDescriptor *field,
                                void *at, unsigned depth)
{
    uint64_t number;
    uint32_t half;
    struct span text;
    ProtobufCBinaryData data = {0};
    ProtobufCMessage *message;
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        text = script_text(script);
        data.len = text.len;
        data.data = malloc(text.len + 1);
        assert(data.data != NULL);
        if (text.len > 0)
            memcpy(data.data, text.at, text.len);
        memcpy(at, &data, sizeof data);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        message = script_message(script, field->descriptor, depth + 1);
        memcpy(at, &message, sizeof(ProtobufCMessage *));
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        number = script_number(script);
        memcpy(at, &number, sizeof number);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        half = script_byte(script) & 1;
        memcpy(at, &half, sizeof(protobuf_c_boolean));
        break;
    default:
        half = (uint32_t)script_number(script);
        memcpy(at, &half, sizeof half);
    }
}

/* One field of a message that was initialised. */
static inline void script_field(struct script *script, const ProtobufCFieldDescriptor *field,
                                ProtobufCMessage *message, unsigned depth)
{
    uint8_t *at = (uint8_t *)message;
    uint32_t chosen = 0;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        memcpy(&chosen, at + field->quantifier_offset, sizeof chosen);
    if (chosen != 0)
        return; /* the members of a oneof share their place */
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        script_value(script, field, at + field->offset, depth);
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            memcpy(at + field->quantifier_offset, &field->id, sizeof(uint32_t));
        return;
    }
    size_t count = script_byte(script) % (SCRIPT_ELEMENTS_MAX + 1),
           size = script_size_of(field->type);
    uint8_t *elements = calloc(count + 1, size);
    assert(elements != NULL);
    for (size_t i = 0; i < count; i++)
        script_value(script, field, elements + i * size, depth);
    memcpy(at + field->quantifier_offset, &count, sizeof count);
    memcpy(at + field->offset, &elements, sizeof(uint8_t *));
}

/* Of a oneof's frame one member, of any other message each field whose bit is set. To be freed with
 * protobuf_c_message_free_unpacked. */
static inline ProtobufCMessage *
script_message(struct script *script, const ProtobufCMessageDescriptor *type, unsigned depth)
{
    ProtobufCMessage *message = calloc(1, type->sizeof_message);
    assert(message != NULL);
    type->message_init(message);
    if (type->n_fields == 0 || depth > SCRIPT_DEPTH_MAX)
        return message;
    if (type->fields[0].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        script_field(script, &type->fields[script_byte(script) % type->n_fields], message, depth);
        return message;
    }
    uint32_t there = 0;
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (i % 8 == 0)
            there = ~(uint32_t)script_byte(script); /* of a script that has ended: all */
        if (there >> i % 8 & 1)
            script_field(script, &type->fields[i], message, depth);
    }
    return message;
}

/* A packed message, of exactly its size so that a read past the end is seen, sometimes spoilt: a
 * byte changed, the end cut off, or its beginning said twice. The caller frees. */
static inline uint8_t *script_packed(struct script *script, const ProtobufCMessageDescriptor *type,
                                     size_t *len)
{
    ProtobufCMessage *message = script_message(script, type, 0);
    size_t whole = protobuf_c_message_get_packed_size(message);
    uint8_t spoilt = script_byte(script), at = script_byte(script);
    uint8_t *packed = malloc(whole * 2 + 1);
    assert(packed != NULL);
    *len = protobuf_c_message_pack(message, packed);
    protobuf_c_message_free_unpacked(message, NULL);
    if (spoilt >= 0xf0 && *len > 0) {
        packed[at % *len] ^= (uint8_t)(1u << (spoilt & 7));
    } else if (spoilt >= 0xe8) {
        *len = at < *len ? *len - at : 0;
    } else if (spoilt >= 0xe0) {
        memmove(packed + *len, packed, *len);
        *len *= 2;
    }
    uint8_t *exact = malloc(*len + (*len == 0));
    assert(exact != NULL);
    if (*len > 0)
        memcpy(exact, packed, *len);
    free(packed);
    return exact;
}

/* Keeps what a message that was sent speaks of. */
static inline void script_hear(struct script *script, const ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const uint8_t *at = (const uint8_t *)message + field->offset;
        uint32_t number = 0;
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            memcpy(&number, (const uint8_t *)message + field->quantifier_offset, sizeof number);
        if (field->label == PROTOBUF_C_LABEL_REPEATED ||
            number != (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? field->id : 0))
            continue;
        const ProtobufCMessage *inner;
        ProtobufCBinaryData data;
        uint64_t value;
        switch (field->type) {
        case PROTOBUF_C_TYPE_MESSAGE:
            memcpy(&inner, at, sizeof(ProtobufCMessage *));
            if (inner != NULL)
                script_hear(script, inner);
            break;
        case PROTOBUF_C_TYPE_BYTES:
            memcpy(&data, at, sizeof data);
            script_know_text(script, span_of(data.data, data.len));
            break;
        case PROTOBUF_C_TYPE_UINT64:
        case PROTOBUF_C_TYPE_FIXED64:
            memcpy(&value, at, sizeof value);
            script_know(script, value);
            break;
        default:
            break;
        }
    }
}

#endif
