/* sites: the tenants whose tokens this edge accepts, as routers push them. Pure memory. */
#ifndef EDGE_SITES_H
#define EDGE_SITES_H

#include "base/span.h"
#include "proto/link.pb-c.h"

struct sites;

#define SITES_KEYS_MAX 8u
#define SITES_ID_MAX 32u
#define SITES_ORIGINS_MAX 64u
#define SITES_ORIGIN_BYTES_MAX 256u
#define SITES_MISSING_MS 10000u /* how long "there is none" is believed */

struct sites_key {
    uint8_t kid_len;
    uint8_t kid[64];
    uint8_t ed25519[32];
};

struct site {
    uint32_t index; /* above 0, and this id's for ever */
    uint8_t id_len;
    uint8_t id[SITES_ID_MAX];
    uint32_t sends_per_s, logins_per_s, connections; /* of the whole cluster; 0: no limit */
    bool closed;                                     /* no users are made on first sight */
    uint64_t revision;
    uint64_t not_before; /* s since 1970 */
    uint32_t key_count;
    struct sites_key keys[SITES_KEYS_MAX];
    bool any_origin; /* "*" is among its origins */
    uint32_t origin_count;
    uint32_t origins[SITES_ORIGINS_MAX]; /* their numbers */
};

struct sites *sites_new(void);
void sites_free(struct sites *sites);

/* Takes a pushed site over, unless it has a newer one of that id. False if the message breaks a
 * limit. */
MUST_CHECK bool sites_put(struct sites *sites, const Lahar__Link__V1__Site *site);
void sites_remove(struct sites *sites, struct span id, uint64_t revision);
/* Borrowed until the next put or remove; NULL if unknown. */
const struct site *sites_find(const struct sites *sites, struct span id);
/* The one of that index, likewise. */
const struct site *sites_at(const struct sites *sites, uint32_t index);
/* The highest revision seen. */
uint64_t sites_revision(const struct sites *sites);

/* Remembers that a look-up found none; and whether one did within the last SITES_MISSING_MS. At
 * most 1,024 are kept. */
void sites_missing(struct sites *sites, struct span id, uint64_t now_ms);
bool sites_is_missing(const struct sites *sites, struct span id, uint64_t now_ms);

/* The number of a browser's Origin ("https://game.example"): above 0 if any site admits its pages
 * (RFC 6454; case and one slash at the end do not matter), else 0. A number never becomes another
 * origin's. */
uint32_t sites_origin(const struct sites *sites, struct span origin);
/* May pages of that origin log in to this site? 0: there was no Origin header, so it is no browser,
 * and nothing can be said against it. */
MUST_CHECK bool sites_origin_allowed(const struct site *site, uint32_t origin);

/* 1 to 32 of [a-z0-9-]. */
MUST_CHECK bool sites_id_valid(struct span id);

#endif
