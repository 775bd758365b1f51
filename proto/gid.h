/* gid: the number of a user across all sites, and what follows from it.
 *
 *     63      60 59      53 52                                    0
 *    +----------+----------+---------------------------------------+
 *    |   kind   |    0     |   number, 0 < number < 2^53           |
 *    +----------+----------+---------------------------------------+
 *
 * As text: digits for users, else g (group), s (service) or x (contact on another network) before
 * the digits. All hashes are xxh3 (64 or 128 bits, seed 0), for ever: tests/test_gid.c has the
 * vectors.
 */
#ifndef PROTO_GID_H
#define PROTO_GID_H

#include "base/span.h"

#ifdef LAHAR_SMALL /* for fuzzers of whole cores: what walks all slots would be all they do */
#define GID_SLOTS 64u
#else
#define GID_SLOTS 16384u
#endif
#define GID_FIRST_USER 10001u
#define GID_TEXT_SIZE 20u /* with the NUL */

enum gid_kind { GID_USER, GID_GROUP, GID_SERVICE, GID_FOREIGN, GID_KINDS };

static inline uint32_t gid_kind(uint64_t gid)
{
    return (uint32_t)(gid >> 60);
}

/* A known kind, and a number in range. */
MUST_CHECK bool gid_valid(uint64_t gid);
/* Exactly one GID in its text form without leading zeros, nothing before or after. */
MUST_CHECK bool gid_parse(struct span text, uint64_t *gid);
/* Writes the text with a NUL; returns `out`. An invalid GID is written as "?" and 16 hex digits. */
const char *gid_format(uint64_t gid, char out[GID_TEXT_SIZE]);

/* xxh3_64 of the 8 bytes, little-endian. */
uint64_t gid_hash(uint64_t gid);
/* gid_hash(gid) mod GID_SLOTS. */
uint32_t gid_slot(uint64_t gid);

/* xxh3_64 over site, a zero byte, user: the owner of gid_slot(of this) keeps the user's GID. */
uint64_t gid_user_hash(struct span site, struct span user);
/* xxh3_64 of the site's id, mod GID_SLOTS: its owner shares out what the site may take. */
uint32_t gid_site_slot(struct span site);
/* xxh3_64 of a device's name. */
uint64_t gid_device_hash(struct span name);
/* 1 to 32 of [A-Za-z0-9._-]. */
MUST_CHECK bool gid_device_valid(struct span name);
/* xxh3_64 of gid, device and session, for digests that are added by exclusive or. */
uint64_t gid_session_mix(uint64_t gid, uint64_t device, uint64_t session);

#define GID_MID_SIZE 16u
#define GID_CMID_SIZE 16u

/* The identity of a message: xxh3_128, canonical bytes, over from, device (little-endian) and cmid.
 */
void gid_mid(uint64_t from, uint64_t device, const uint8_t cmid[GID_CMID_SIZE],
             uint8_t mid[GID_MID_SIZE]);

/* A session is the slot's epoch (upper half), then a counter: it grows over every change of owner.
 */
static inline uint32_t gid_session_epoch(uint64_t session)
{
    return (uint32_t)(session >> 32);
}

#endif
