/* sitebook: the sites (tenants) as they stand in Redis, for pushing to edges. Pure: commands out,
 * replies in.
 *
 *     <prefix>sites       hash: id -> packed Site (its revision and not_before inside; of a removed
 *                         one only these, so that everybody hears of it some day)
 *     <prefix>sites_rev   counts every change
 *     <prefix>sites_end   hash: id -> its not_before, also of removed sites, and how many bytes of
 *                         the record that and the revision take
 *
 * All change in one step and are read in one, within Redis (router/functions.h): a kick changes
 * what is there, not what is known here, so it takes back no other shard's change, nor does one
 * take back a kick. A revision below ours means that Redis has lost data: what is known here stays
 * and is written back, and until then changes are refused, so that no reader takes the first one
 * for all there is.
 */
#ifndef ROUTER_SITEBOOK_H
#define ROUTER_SITEBOOK_H

#include "base/reply.h"
#include "proto/link.pb-c.h"

struct sitebook;

#define SITEBOOK_SITES_MAX 10000u
#define SITEBOOK_WRITES_MAX 64u /* in flight */

struct sitebook_actions {
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    /* `packed` is a Site message: new or changed; or `packed` is empty: the site is gone. */
    void (*changed)(void *ctx, struct span id, struct span packed, uint64_t revision);
    /* Ends of sitebook_put and sitebook_remove; `error` is NULL if it is in Redis now. */
    void (*written)(void *ctx, uint64_t token, const char *error);
};

struct sitebook *sitebook_new(const char *prefix, const struct sitebook_actions *actions,
                              void *ctx);
void sitebook_free(struct sitebook *book);

/* The revision in Redis, about once a second: reads all anew if it is not ours. On a new connection
 * to Redis replies to what was asked on the old one have come, as NULL. */
void sitebook_poll(struct sitebook *book, uint64_t revision);
void sitebook_reply(struct sitebook *book, uint64_t tag, const struct reply *reply);

/* Raises the site's not_before in Redis; `written` as with sitebook_put. */
void sitebook_not_before(struct sitebook *book, struct span id, uint64_t not_before,
                         uint64_t token);
/* Adds or replaces, but never takes a not_before back, not even of a site removed since (and counts
 * the revision up); `written` is called once, later or at once. The site must have a valid id and 1
 * to 8 keys of 32 bytes with a kid of 1 to 64: else `written` names what is wrong. */
void sitebook_put(struct sitebook *book, const Lahar__Link__V1__Site *site, uint64_t token);
void sitebook_remove(struct sitebook *book, struct span id, uint64_t token);

/* Has it been read once? */
bool sitebook_ready(const struct sitebook *book);
uint64_t sitebook_revision(const struct sitebook *book);
/* The packed Site, empty if there is none. */
struct span sitebook_find(const struct sitebook *book, struct span id);
struct sitebook_site {
    struct span id, packed; /* packed is empty: it was removed */
    uint64_t revision;
};
/* Walks all: start with cursor 0; false at the end. */
MUST_CHECK bool sitebook_walk(const struct sitebook *book, uint32_t *cursor,
                              struct sitebook_site *site);

#endif
