/* bars: from when on what a user shows to log in counts (not_before), and up to which its sessions
 * are over; of the users whose slots this shard owns. Pure: commands out, replies in.
 *
 *     <prefix>{<slot>}bars    hash: GID 8, device 8 (0: all of the user's)
 *                             -> not_before 8 (s since 1970), session 8; little-endian
 *
 * A bar is set by a kick. A token or a last full login from before not_before is too old, and so is
 * a ticket that names a session up to `session`; and none of these sessions is believed when an
 * edge announces it, however late, so that an Unbind which was lost heals itself. What is older
 * than any ticket or token can be is dropped, so memory is bounded by how many are kicked in that
 * time, and by bars_max.
 *
 * Memory first: what could not be written is written when Redis is back, and all of it on each new
 * connection, or when fences were gone, in case that Redis has lost it. Writing and removing are
 * fenced by the slot's epoch (lahar_put), so that a later owner, which loads them behind its fence,
 * knows of all that are there.
 */
#ifndef ROUTER_BARS_H
#define ROUTER_BARS_H

#include "base/reply.h"
#include "proto/gid.h"

struct bars;

struct bars_options {
    const char *prefix;
    uint32_t bars_max;
    uint32_t life_s; /* the longest that a ticket or a token is good for */
};

struct bars_actions {
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    bool (*may_write)(void *ctx);
    uint32_t (*epoch)(void *ctx, uint32_t slot);
    /* The end of bars_set; `error` is NULL if it is in Redis. */
    void (*written)(void *ctx, uint64_t token, const char *error);
};

struct bar {
    uint64_t not_before; /* s since 1970; 0: none */
    uint64_t session;
};

#define BARS_NO_TOKEN UINT64_MAX

struct bars *bars_new(const struct bars_options *options, const struct bars_actions *actions,
                      void *ctx);
void bars_free(struct bars *bars);

/* These slots are ours: loads them. Until then it is not known whom to refuse. */
void bars_own(struct bars *bars, const bool owned[GID_SLOTS]);
void bars_forget(struct bars *bars);
bool bars_ready(const struct bars *bars);

void bars_up(struct bars *bars);
void bars_down(struct bars *bars);
/* Redis has lost data, and our fences are in place again: writes all of it anew. */
void bars_restore(struct bars *bars);
void bars_reply(struct bars *bars, uint64_t tag, const struct reply *reply);

/* For a device (0: all of them), from now on; an older one is replaced. False: there is no room.
 * `written` follows, later or at once. */
MUST_CHECK bool bars_set(struct bars *bars, uint64_t gid, uint64_t device, const struct bar *bar,
                         uint64_t token);
/* What holds for this device. */
struct bar bars_find(const struct bars *bars, uint64_t gid, uint64_t device);

/* About every 100 ms. */
void bars_tick(struct bars *bars, uint64_t wall_ms);
uint64_t bars_count(const struct bars *bars);
/* How many were not remembered because bars_max were. */
uint64_t bars_beyond(const struct bars *bars);

#endif
