/* identity: (site, user) -> GID, for the slots of gid_user_hash that this shard owns. Pure:
 * commands out, replies in.
 *
 *     <prefix>{<slot>}ids     hash: site, a zero byte, user -> the GID, 8 bytes little-endian
 *     <prefix>gids            the next number not in any block; lahar_block takes some
 *
 * Found ones are remembered (a bounded cache, the longest unused forgotten first). A new one is
 * made by lahar_gid (fenced by the slot's epoch) with a number from our block. A block is used from
 * the second poll after it was taken on, so that by the time a number is handed out all shards have
 * read that it is (see NO_USER); until then those who need one wait. The next block is taken when
 * half of this one is left; blocks grow while they last a few polls only. A number whose fate is
 * not known is not used again: a crash leaves a gap, never two GIDs for one user or one for two. A
 * counter that Redis has lost goes on far above all that any shard can have taken, and the log says
 * so.
 */
#ifndef ROUTER_IDENTITY_H
#define ROUTER_IDENTITY_H

#include "base/reply.h"
#include "proto/gid.h"

struct identity;

#define IDENTITY_BLOCK 1000u
#define IDENTITY_BLOCK_MAX (64u * IDENTITY_BLOCK)

struct identity_options {
    const char *prefix;
    uint32_t cache_max;   /* users */
    uint32_t pending_max; /* look-ups in flight, and users who wait for a number */
};

enum identity_outcome { IDENTITY_OK, IDENTITY_BUSY, IDENTITY_NO_USER };

struct identity_actions {
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    void (*resolved)(void *ctx, uint32_t edge, uint64_t req, enum identity_outcome outcome,
                     uint64_t gid);
    /* False: fenced writes are not allowed now. */
    bool (*may_write)(void *ctx);
    uint32_t (*epoch)(void *ctx, uint32_t slot);
};

struct identity *identity_new(const struct identity_options *options,
                              const struct identity_actions *actions, void *ctx);
void identity_free(struct identity *identity);

/* Answers through `resolved`, at once or later, exactly once. Site at most 32 bytes, user at most
 * 128. */
void identity_resolve(struct identity *identity, uint32_t edge, uint64_t req, struct span site,
                      struct span user, bool may_create);
/* Redis is up: takes a first block. Down: what is pending is BUSY (replies come as NULL, and who
 * waits is told). */
void identity_up(struct identity *identity);
void identity_down(struct identity *identity);
void identity_reply(struct identity *identity, uint64_t tag, const struct reply *reply);
/* The next number not yet in any block, as read by control about once a second. */
void identity_poll(struct identity *identity, uint64_t next_gid);
/* Whether this GID's number was ever in a block; true while that was not read on
 * this connection to Redis. */
bool identity_handed_out(const struct identity *identity, uint64_t gid);

/* Those that wait for Redis, and how many were refused because pending_max did. */
void identity_waiting(const struct identity *identity, uint64_t *waiting, uint64_t *refused);

#endif
