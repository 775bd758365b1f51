/* bed: one shard of the router in this process, whole, with a real Redis behind it; its edges, and
 * the links to them, are played. It owns all slots. */
#ifndef BENCH_BED_H
#define BENCH_BED_H

#include "base/span.h"

#define BED_EDGES_MAX 256u

struct bed;

struct bed_options {
    const char *redis_address;
    const char *prefix; /* of the keys */
    uint32_t edges;     /* numbers 1 to edges */
};

struct bed_events {
    /* A login was answered; session 0: refused. Comes from within bed_bind. */
    void (*on_bound)(void *ctx, uint64_t req, uint64_t session);
};

/* Connects, takes the lease, raises the epochs, loads the slots. Returns when the shard serves;
 * dies if it does not. */
struct bed *bed_new(const struct bed_options *options, const struct bed_events *events, void *ctx);
/* Gives the lease back, so that the next one need not wait for its end. */
void bed_free(struct bed *bed);

/* What an edge says: a login, a session's end. */
void bed_bind(struct bed *bed, uint32_t edge, uint64_t req, uint64_t gid, uint64_t device);
void bed_unbind(struct bed *bed, uint32_t edge, uint64_t gid, uint64_t device, uint64_t session);
/* One turn of the shard's loop; `wait`: there is nothing to be said before Redis answers. */
void bed_turn(struct bed *bed, bool wait);
/* Turns until Redis has answered all that it was told. */
void bed_settle(struct bed *bed);
/* Turns with nothing to do, so that free memory goes back to the kernel, here and in Redis. */
void bed_rest(struct bed *bed, uint32_t ms);
/* Writes that have not left yet. */
uint32_t bed_queued(const struct bed *bed);

struct bed_counts {
    uint64_t records;
    uint64_t loaded;          /* records that were there when it began to serve */
    double load_s, restart_s; /* for loading alone; with lease and epochs */
    uint64_t load_cpu_ns;     /* ours, while loading */
    uint64_t writes, commands;
    uint64_t dropped; /* writes that were given up, since Redis was too slow */
    size_t presence_bytes;
};
struct bed_counts bed_counts(const struct bed *bed);

/* How many records an edge has, and the exclusive or of their gid_session_mix. */
struct bed_sum {
    uint64_t count, mix;
};
struct bed_sum bed_sum(const struct bed *bed, uint32_t edge);

/* A figure of Redis's INFO; 0 if it has none of that name. */
uint64_t bed_redis_info(struct bed *bed, const char *section, const char *name);

#endif
