/* control: by what right a shard serves: the slot map, its lease, its slots' epochs. Pure: commands
 * out, replies in.
 *
 *     NO_REDIS -> MAP -> LEASE -> RAISE -> OWNER          lease lost to another process -> LEASE
 * (stepped down)
 *
 *     <prefix>map                 the SlotMap, written once by SET NX
 *     <prefix>lease:<shard>       who holds the name: 16 hex digits of the incarnation, PX
 * lease_ms, renewed each second <prefix>{<slot>}fence       the slot's epoch; only a function
 * raises it, and each fenced write must name it <prefix>gids                the next GID number not
 * yet taken in a block (see identity.h) <prefix>sites, sites_rev    see sitebook.h <prefix>edges
 * the last edge number given
 *
 * Redis functions: see functions.h; they are loaded before control_up. Raising and keeping are
 * refused unless the lease is ours. Nobody's lease counts as ended before Redis has been readable
 * for a whole lease time (Redis itself times it). One second before ours ends unrenewed we stop
 * what the store fences (fenced writes not allowed) and go on otherwise. When Redis is back and
 * nobody took the name, the lease is taken again and the fences are checked (lahar_keep: written
 * anew if they are gone, stepped down if one is higher); so too when a renewal finds that nobody
 * held it.
 */
#ifndef ROUTER_CONTROL_H
#define ROUTER_CONTROL_H

#include "base/reply.h"
#include "proto/slotmap.h"

struct control;

struct control_options {
    const char *prefix;
    const char *const *shard_names; /* cluster.shards, for the first map */
    uint32_t shards;
    const char *name; /* ours */
    uint64_t incarnation;
    uint32_t lease_ms; /* 3000 */
    uint32_t renew_ms; /* 1000 */
};

struct control_actions {
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    /* The map was read, or is newer than before. Borrowed until the next. */
    void (*on_map)(void *ctx, const struct slotmap *map);
    /* All epochs are raised: control_epoch is true of them. Now load, then serve. */
    void (*on_owner)(void *ctx);
    /* Nobody had held our lease, or Redis was away, so it may have lost data: our fences are in
     * place again. */
    void (*on_restored)(void *ctx);
    /* Another process serves under this name now: forget everything, wait. */
    void (*on_stepped_down)(void *ctx);
    /* <prefix>gids and sites_rev as just read: about once a second while Redis is up. */
    void (*on_poll)(void *ctx, uint64_t next_gid, uint64_t sites_revision);
};

struct control *control_new(const struct control_options *options,
                            const struct control_actions *actions, void *ctx);
void control_free(struct control *control);

void control_up(struct control *control, uint64_t now_ms);
void control_down(struct control *control, uint64_t now_ms);
void control_reply(struct control *control, uint64_t tag, const struct reply *reply,
                   uint64_t now_ms);
void control_tick(struct control *control, uint64_t now_ms);

bool control_owns(const struct control *control, uint32_t slot);
uint32_t control_epoch(const struct control *control, uint32_t slot);
/* Writes that the store fences may be tried now. */
bool control_may_write(const struct control *control, uint64_t now_ms);
const struct slotmap *control_map(const struct control *control); /* NULL until read */
/* NULL when OWNER; else what it waits for, a literal. */
const char *control_not_ready(const struct control *control);

/* Gives the lease back (leaving): best effort. */
void control_release(struct control *control);

#endif
