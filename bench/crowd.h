/* crowd: many users of one cluster in one process: logged in, kept alive, and what they hear.
 *
 * Users are numbered 0 to users - 1; on a site they are called "u<first + number>". They log in a
 * bounded number at a time, each on server (number mod servers). A ping goes out for each user once
 * in four fifths of a heartbeat, the users in turn, so that pings never bunch.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "bench/target.h"

struct crowd;

struct crowd_options {
    const struct target *target;
    const char *servers, *ca;
    const char *site, *key, *cluster, *device;
    uint32_t users, first;
    uint32_t logins_at_once;
    uint32_t keep_bytes; /* see bench/net.h */
};

struct crowd_events {
    void (*on_deliver)(void *ctx, uint32_t user, const struct hot_deliver *deliver);
    void (*on_ack)(void *ctx, uint32_t user, const struct hot_ack *ack);
    void (*on_nack)(void *ctx, uint32_t user, const struct hot_nack *nack);
};

/* Dies if what the options name cannot be used. */
struct crowd *crowd_new(const struct crowd_options *options, const struct crowd_events *events,
                        void *ctx);
void crowd_free(struct crowd *crowd);

/* Logs all in. False after `timeout_ms`, or when one is refused or lost; crowd_why says more. */
MUST_CHECK bool crowd_login(struct crowd *crowd, uint32_t timeout_ms);
const char *crowd_why(const struct crowd *crowd);

/* One turn: reads, callbacks, Received for what was delivered, heartbeats, writes. */
void crowd_turn(struct crowd *crowd, int wait_ms);

/* Goes out at the end of the turn. `tag`: see bench/target.h. */
void crowd_send(struct crowd *crowd, uint32_t user, const struct hot_send *send, uint32_t tag);

uint64_t crowd_gid(const struct crowd *crowd, uint32_t user);
uint32_t crowd_users(const struct crowd *crowd);
uint64_t crowd_now_ns(const struct crowd *crowd);

struct crowd_counts {
    uint64_t online, lost; /* lost: connections that ended after their login */
    uint64_t replayed_dseq, skipped_dseq;
    uint64_t bytes_in, bytes_out;
};
struct crowd_counts crowd_counts(const struct crowd *crowd);

#endif
