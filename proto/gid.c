#include "proto/gid.h"

#include "proto/wire.h"

#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NUMBER_END (UINT64_C(1) << 53)
#define KIND_SHIFT 60

/* What stands before the digits, by kind. */
static const char letters[GID_KINDS] = {0, 'g', 's', 'x'};

bool gid_valid(uint64_t gid)
{
    uint64_t number = gid & ((UINT64_C(1) << KIND_SHIFT) - 1);
    return gid_kind(gid) < GID_KINDS && number > 0 && number < NUMBER_END;
}

bool gid_parse(struct span text, uint64_t *gid)
{
    uint64_t kind = GID_USER, number = 0;
    for (uint64_t k = GID_USER + 1; k < GID_KINDS; k++)
        if (text.len > 0 && text.at[0] == letters[k])
            kind = k;
    struct span digits = span_after(text, kind == GID_USER ? 0 : 1);
    if (digits.len == 0 || digits.at[0] == '0')
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(digits.at[i] - '0');
        if (number >= NUMBER_END)
            return false;
    }
    *gid = kind << KIND_SHIFT | number;
    return true;
}

const char *gid_format(uint64_t gid, char out[GID_TEXT_SIZE])
{
    uint64_t number = gid & (NUMBER_END - 1);
    if (!gid_valid(gid))
        snprintf(out, GID_TEXT_SIZE, "?%016llx", (unsigned long long)gid);
    else if (gid_kind(gid) == GID_USER)
        snprintf(out, GID_TEXT_SIZE, "%llu", (unsigned long long)number);
    else
        snprintf(out, GID_TEXT_SIZE, "%c%llu", letters[gid_kind(gid)], (unsigned long long)number);
    return out;
}

uint64_t gid_hash(uint64_t gid)
{
    uint8_t bytes[8];
    wire_write_fixed64(bytes, gid);
    return XXH3_64bits(bytes, sizeof bytes);
}

uint32_t gid_slot(uint64_t gid)
{
    return (uint32_t)(gid_hash(gid) % GID_SLOTS);
}

uint32_t gid_site_slot(struct span site)
{
    return (uint32_t)(XXH3_64bits(site.at, site.len) % GID_SLOTS);
}

uint64_t gid_user_hash(struct span site, struct span user)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, site.at, site.len);
    XXH3_64bits_update(&state, "", 1);
    XXH3_64bits_update(&state, user.at, user.len);
    return XXH3_64bits_digest(&state);
}

uint64_t gid_device_hash(struct span name)
{
    return XXH3_64bits(name.at, name.len);
}

bool gid_device_valid(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.at[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-')
            return false;
    }
    return name.len >= 1 && name.len <= 32;
}

uint64_t gid_session_mix(uint64_t gid, uint64_t device, uint64_t session)
{
    uint8_t bytes[24];
    uint8_t *at = wire_write_fixed64(bytes, gid);
    at = wire_write_fixed64(at, device);
    wire_write_fixed64(at, session);
    return XXH3_64bits(bytes, sizeof bytes);
}

void gid_mid(uint64_t from, uint64_t device, const uint8_t cmid[GID_CMID_SIZE],
             uint8_t mid[GID_MID_SIZE])
{
    uint8_t bytes[16 + GID_CMID_SIZE];
    uint8_t *at = wire_write_fixed64(bytes, from);
    at = wire_write_fixed64(at, device);
    memcpy(at, cmid, GID_CMID_SIZE);

    XXH128_canonical_t canonical;
    static_assert(sizeof canonical == GID_MID_SIZE, "a mid is one xxh3_128");
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, sizeof bytes));
    memcpy(mid, &canonical, GID_MID_SIZE);
}
