/* keyring: the keys of tickets. Pure: commands out, replies in, randomness given.
 *
 *     <prefix>ticket_keys     a packed TicketKeys
 *
 * Redis has them, so that all routers push the same; each keeps a copy, so that tickets go on while
 * Redis is away and are found again when it has lost them. Two are valid at a time. A shard that
 * finds the newest older than rotate_s makes the next, which edges have for KEYRING_GRACE_S before
 * any of them seals with it; the one before the newest goes then. So a key seals for rotate_s and
 * opens for as long again, less the grace: rotate_s should be a little more than tickets live.
 *
 * Whoever changes the record names what was there (lahar_swap), so of several shards one wins, and
 * the others take what it wrote. A revision is the time at which the newest key was made; what is
 * older than ours is a loss and is written over. A shard that knows of none and finds none waits
 * KEYRING_POLLS before it makes the first, so that one that does know comes before it.
 *
 * Nothing of a key but its id goes into the log.
 */
#ifndef ROUTER_KEYRING_H
#define ROUTER_KEYRING_H

#include "base/reply.h"

struct keyring;

#define KEYRING_GRACE_S 60u
#define KEYRING_POLLS 2u
#define KEYRING_SECRET_SIZE 32u

struct keyring_options {
    const char *prefix;
    uint32_t rotate_s;
};

struct keyring_actions {
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    /* Not to be guessed by anybody. */
    void (*random)(void *ctx, void *at, size_t len);
    /* There are others now than before. */
    void (*changed)(void *ctx);
};

struct keyring *keyring_new(const struct keyring_options *options,
                            const struct keyring_actions *actions, void *ctx);
/* Wipes its copy of them; those that went to Redis and edges lay in buffers of others. */
void keyring_free(struct keyring *keyring);

/* About once a second while Redis is up. */
void keyring_poll(struct keyring *keyring, uint64_t wall_ms);
/* NULL: the connection went away before the answer came. */
void keyring_reply(struct keyring *keyring, uint64_t tag, const struct reply *reply);

/* As they are pushed: a packed TicketKeys; empty: none are known. Borrowed until the next call. */
struct span keyring_packed(const struct keyring *keyring);
/* 0: none are known. */
uint64_t keyring_revision(const struct keyring *keyring);

#endif
