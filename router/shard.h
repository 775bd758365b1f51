/* shard: the owner of some slots: dispatches what edges, Redis and the clock bring to those that
 * know what to do.
 *
 *     shard ---- control     by what right (map, lease, epochs)
 *           ---- identity    (site, user) -> GID             ---- presence, store   who is where
 *           ---- sitebook    sites, pushed to edges          ---- flight            CONFIRMED
 *           ---- edges       the edge workers: alive, their announcements, audits
 *           ---- keyring     keys of tickets, likewise       ---- bars              not_before
 *           ---- admin       whereis, sites                  ---- kick              of users, sites
 *
 * Pure: links, Redis, clock and randomness are the caller's; the simulator runs the same object.
 *
 * A shard takes frames of sessions only from the edge worker to which the session is bound, refuses
 * others (counted; a session that is not the device's last is answered Unbind), and sends frames of
 * slots it does not own back as NotOwner. While it is not owner it answers nothing but link heads,
 * so edges find it "not up" for their logins: BUSY.
 *
 * Starting: control raises the epochs, the store loads, edges that are up are told Owned and
 * announce; for announce_ms from then on, or until every edge named in the loaded records has
 * announced, a user without a session is unknown, not offline. A record loaded and not announced
 * within likely_ms is dropped. Time in which the shard itself stood still does not count.
 *
 * An edge that is silent (link down) has all its sessions offline at once; after sweep_after_ms its
 * records are removed from memory and Redis, at most sweep_per_s a second. An edge's Digest that
 * differs from ours three times running starts a new round of announcing (at most one in 10 s an
 * edge); what is not announced in it is dropped; differences are counted as drift.
 */
#ifndef ROUTER_SHARD_H
#define ROUTER_SHARD_H

#include "base/metrics.h"
#include "base/reply.h"
#include "proto/link.h"
#include "router/control.h"
#include "router/flight.h"

struct shard;

struct shard_options {
    struct control_options control;
    struct flight_options flight;
    uint32_t devices_max;    /* 10 */
    uint64_t sessions_max;   /* 0: no limit */
    uint32_t announce_ms;    /* 2000 */
    uint32_t likely_ms;      /* 6000 */
    uint32_t sweep_after_ms; /* 15000 */
    uint32_t sweep_per_s;    /* 1000 */
    uint32_t identity_cache_max;
    uint32_t kicks_max;       /* users kicked lately that are remembered: 100,000 */
    uint32_t ticket_rotate_s; /* see keyring.h: 90,000 */
};

struct shard_actions {
    enum link_sent (*send)(void *ctx, uint32_t peer, enum link_kind kind, struct span frame);
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    /* Bytes that nobody can guess. */
    void (*random)(void *ctx, void *at, size_t len);
    /* The map changed: heads tell its epoch from now on. */
    void (*map_epoch)(void *ctx, uint64_t epoch);
    /* Stepped down: the link begins a new incarnation. */
    void (*renew)(void *ctx);
};

struct shard *shard_new(const struct shard_options *options, const struct shard_actions *actions,
                        void *ctx, struct metrics *metrics);
void shard_free(struct shard *shard);

void shard_time(struct shard *shard, uint64_t now_ms, uint64_t wall_ms);

void shard_link_up(struct shard *shard, uint32_t peer, enum keys_role role, uint64_t incarnation,
                   struct span name);
void shard_link_frame(struct shard *shard, uint32_t peer, struct span frame);
void shard_link_down(struct shard *shard, uint32_t peer);

void shard_redis_up(struct shard *shard);
void shard_redis_down(struct shard *shard);
void shard_redis_reply(struct shard *shard, uint64_t tag, const struct reply *reply);

/* About every 100 ms. */
void shard_tick(struct shard *shard);
/* End of the turn. */
void shard_turn_end(struct shard *shard);

/* Leaving: gives the lease back. */
void shard_leave(struct shard *shard);
const char *shard_not_ready(const struct shard *shard);

#endif
