/* wire: protobuf's encoding, field by field, for what is read and written by hand.
 *
 *     field = tag (varint: number << 3 | type), then
 *             VARINT 1..10 bytes | FIXED64 8 bytes | FIXED32 4 bytes | BYTES length (varint) and so
 * many
 *
 * A reader takes where it stands and where the bytes end, and returns where it stands then; NULL if
 * they are malformed, and then its result is not set. It accepts what protobuf-c accepts: at most
 * 10 bytes of varint, 5 of tag or length, longer than needed or not; no groups. A writer takes
 * where to write, with room enough, and returns where it stands then; wire_put_* leave out what is
 * zero or empty, as proto3 does.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "base/span.h"

#include <endian.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define WIRE_TAG(number, type) ((uint64_t)(number) << 3 | (type))

static inline const uint8_t *wire_read_long(const uint8_t *at, const uint8_t *end,
                                            unsigned bytes_max, uint64_t *value)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 7 * bytes_max && at != end; shift += 7) {
        uint8_t byte = *at++;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return at;
        }
    }
    return NULL;
}

static inline const uint8_t *wire_read_varint(const uint8_t *at, const uint8_t *end,
                                              uint64_t *value)
{
    if (at != end && *at < 0x80) {
        *value = *at;
        return at + 1;
    }
    return wire_read_long(at, end, 10, value);
}

/* The lower half of a varint, as protobuf has it for uint32 and enums. */
static inline const uint8_t *wire_read_u32(const uint8_t *at, const uint8_t *end, uint32_t *value)
{
    uint64_t whole;
    at = wire_read_varint(at, end, &whole);
    if (at != NULL)
        *value = (uint32_t)whole;
    return at;
}

/* There is no field 0; but in a tag longer than needed protobuf-c lets it pass as an unknown one.
 */
static inline const uint8_t *wire_read_tag(const uint8_t *at, const uint8_t *end, uint64_t *tag)
{
    if (at != end && *at < 0x80) {
        *tag = *at;
        return *at < WIRE_TAG(1, 0) ? NULL : at + 1;
    }
    return wire_read_long(at, end, 5, tag);
}

static inline const uint8_t *wire_read_fixed64(const uint8_t *at, const uint8_t *end,
                                               uint64_t *value)
{
    uint64_t little;
    if ((size_t)(end - at) < sizeof little)
        return NULL;
    memcpy(&little, at, sizeof little);
    *value = le64toh(little);
    return at + sizeof little;
}

static inline const uint8_t *wire_read_bytes(const uint8_t *at, const uint8_t *end,
                                             struct span *bytes)
{
    uint64_t len;
    if (at != end && *at < 0x80)
        len = *at++;
    else if ((at = wire_read_long(at, end, 5, &len)) == NULL)
        return NULL;
    if (len > (size_t)(end - at))
        return NULL;
    *bytes = (struct span){at, (size_t)len};
    return at + len;
}

/* Past the value of a field with this tag. */
static inline const uint8_t *wire_skip(const uint8_t *at, const uint8_t *end, uint64_t tag)
{
    uint64_t value;
    struct span bytes;
    switch (tag & 7) {
    case WIRE_VARINT:
        return wire_read_varint(at, end, &value);
    case WIRE_FIXED64:
        return end - at < 8 ? NULL : at + 8;
    case WIRE_BYTES:
        return wire_read_bytes(at, end, &bytes);
    case WIRE_FIXED32:
        return end - at < 4 ? NULL : at + 4;
    default:
        return NULL;
    }
}

static inline size_t wire_varint_size(uint64_t value)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

static inline uint8_t *wire_write_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static inline uint8_t *wire_write_fixed64(uint8_t *at, uint64_t value)
{
    uint64_t little = htole64(value);
    memcpy(at, &little, sizeof little);
    return at + sizeof little;
}

static inline uint8_t *wire_put_varint(uint8_t *at, uint32_t number, uint64_t value)
{
    if (value == 0)
        return at;
    at = wire_write_varint(at, WIRE_TAG(number, WIRE_VARINT));
    return wire_write_varint(at, value);
}

/* protobuf has an enum for an int32, and writes what is over INT32_MAX as a negative one. */
static inline uint8_t *wire_put_enum(uint8_t *at, uint32_t number, uint32_t value)
{
    return wire_put_varint(at, number, (uint64_t)(int64_t)(int32_t)value);
}

static inline uint8_t *wire_put_fixed64(uint8_t *at, uint32_t number, uint64_t value)
{
    if (value == 0)
        return at;
    at = wire_write_varint(at, WIRE_TAG(number, WIRE_FIXED64));
    return wire_write_fixed64(at, value);
}

static inline uint8_t *wire_put_bytes(uint8_t *at, uint32_t number, struct span bytes)
{
    if (bytes.len == 0)
        return at;
    at = wire_write_varint(at, WIRE_TAG(number, WIRE_BYTES));
    at = wire_write_varint(at, bytes.len);
    memcpy(at, bytes.at, bytes.len);
    return at + bytes.len;
}

#endif
