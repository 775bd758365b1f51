/* ticket: what a client shows to come back without a token, sealed and opened. Pure.
 *
 *     key id 4 | gid 8 | device 8 | session 8 | issued at 4 | expires at 4 | length of site 1 |
 *     site 1 to 32 | MAC 32
 *
 * Numbers are little-endian. The MAC is BLAKE2b (RFC 7693) keyed with the key of that id, over all
 * before it; it is compared in constant time, and nothing but the key id is believed before. What
 * is in a ticket is no secret: its bearer knows it all.
 *
 * Keys are made by a router and the same on all edges, two at most: any of them opens, the newest
 * whose time has come seals (router/keyring.h). So a ticket can be opened for at least as long as a
 * key seals.
 */
#ifndef EDGE_TICKET_H
#define EDGE_TICKET_H

#include "edge/sites.h"

#define TICKET_SIZE_MAX 128u
#define TICKET_KEYS_MAX 2u
#define TICKET_SECRET_SIZE 32u

struct ticket {
    uint64_t gid, device, session;
    uint32_t issued_at;  /* s since 1970: the token of the last full login was */
    uint32_t expires_at; /* the same however often it is renewed */
    uint8_t site_len;
    uint8_t site[SITES_ID_MAX];
};

struct ticket_key {
    uint32_t id;
    uint64_t seals_from; /* s since 1970 */
    uint8_t secret[TICKET_SECRET_SIZE];
};

struct ticket_keys {
    uint64_t revision;
    uint32_t count; /* 0: none yet */
    struct ticket_key keys[TICKET_KEYS_MAX];
};

enum ticket_verdict {
#define TICKET_VERDICT(name, label) TICKET_##name,
#include "edge/ticket_verdicts.h"
    TICKET_VERDICTS,
};

/* Takes keys that a router pushed, unless ours are as new. False if they are none. */
MUST_CHECK bool ticket_keys_take(struct ticket_keys *keys, const Lahar__Link__V1__TicketKeys *from);
/* Forgets them: zeroes. */
void ticket_keys_forget(struct ticket_keys *keys);

/* How long it is; 0: there are no keys. */
MUST_CHECK size_t ticket_seal(const struct ticket_keys *keys, const struct ticket *ticket,
                              uint64_t now_s, uint8_t out[TICKET_SIZE_MAX]);
/* OK, MALFORMED, NO_KEYS, UNKNOWN_KEY, BAD_MAC, EXPIRED, or OTHER_DEVICE (it is not `device`'s).
 * `ticket` is zero unless OK. */
MUST_CHECK enum ticket_verdict ticket_open(const struct ticket_keys *keys, struct span sealed,
                                           uint64_t device, uint64_t now_s, struct ticket *ticket);

#endif
