/* crowd: the users of one generator process: logged in, kept alive, and what they hear.
 *
 * Users have their numbers over all processes; on a site they are called "u<base + number>". Each
 * has a connection for each of his devices ("bench", "bench2", ...), at first on server (connection
 * mod servers), or in blocks, a server each. They log in a bounded number at a time; tokens are
 * made before they connect. A ping goes out for each connection once in a heartbeat, all in turn,
 * so that pings never bunch.
 *
 * A connection that is lost fails the run (crowd_why), unless `comes_back`: then it logs in again
 * as clients do, on another server, after a random part of 1 s that doubles with each failure in a
 * row, up to 60 s. So does, in any case, one whose login is refused as BUSY. With comes_back, or
 * with `tickets`, who logs in again does so by the ticket of his last welcome.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "bench/hist.h"
#include "bench/target.h"

struct crowd;

#define CROWD_DEVICES_MAX 8u

struct crowd_options {
    const struct target *target;
    const char *servers, *ca;
    const char *site, *key, *cluster, *device;
    uint32_t base;             /* added to a user's number to make his name */
    uint32_t first, users;     /* the users with devices */
    uint32_t gone_first, gone; /* those who log in once and leave */
    uint32_t devices;
    uint32_t logins_at_once;
    uint32_t keep_bytes, sources; /* see bench/net.h */
    int wake_fd;
    uint32_t in_blocks_of; /* 0, or the connections of all processes, cut into a block a server */
    bool comes_back;
    bool tickets; /* who logs in again does so by ticket, as with comes_back */
};

/* Users are told by number, devices from 0. */
struct crowd_events {
    void (*on_deliver)(void *ctx, uint32_t user, uint32_t device,
                       const struct hot_deliver *deliver);
    void (*on_ack)(void *ctx, uint32_t user, uint32_t tag, const struct hot_ack *ack);
    void (*on_nack)(void *ctx, uint32_t user, uint32_t tag, const struct hot_nack *nack);
    /* Logged in, at first or again, with this address; a gone one leaves at once. */
    void (*on_online)(void *ctx, uint32_t user, uint32_t device, uint64_t gid, uint32_t server);
    void (*on_lost)(void *ctx, uint32_t user, uint32_t device);
};

/* Durations, from connecting to the welcome and from the loss of a connection to that. */
struct crowd_hists {
    struct hist *logins, *back;
};

/* Dies if what the options name cannot be used. */
struct crowd *crowd_new(const struct crowd_options *options, const struct crowd_events *events,
                        const struct crowd_hists *hists, void *ctx);
void crowd_free(struct crowd *crowd);

/* Logs all in, in the turns to come; done when they are, and the gone ones are gone. */
void crowd_login(struct crowd *crowd);
MUST_CHECK bool crowd_is_in(const struct crowd *crowd);
/* Once all are in: everybody leaves and logs in again, in turn, without end, until crowd_rest. */
void crowd_come_and_go(struct crowd *crowd);
/* Once all are in: each leaves and logs in again, in turn, once; then crowd_is_in. */
void crowd_again(struct crowd *crowd);
void crowd_rest(struct crowd *crowd);
/* Empty unless something went wrong; then what. */
const char *crowd_why(const struct crowd *crowd);

/* One turn: waits at most so long; reads, callbacks, Received for what was delivered, heartbeats,
 * logins, writes. */
void crowd_turn(struct crowd *crowd, uint64_t wait_ns);

/* Goes out at the end of the turn. `tag`: see bench/target.h. Nowhere if he is not online. */
void crowd_send(struct crowd *crowd, uint32_t user, uint32_t device, const struct hot_send *send,
                uint32_t tag);
MUST_CHECK bool crowd_is_online(const struct crowd *crowd, uint32_t user, uint32_t device);

/* The server that his device logs in on at first; after a loss it is another one. */
uint8_t crowd_home(const struct crowd *crowd, uint32_t user, uint32_t device);

uint64_t crowd_now_ns(const struct crowd *crowd);
/* Reads the clock now. */
uint64_t crowd_clock_ns(struct crowd *crowd);

struct crowd_counts {
    uint64_t online, lost; /* connections; lost: ended after their login */
    uint64_t logins, back;
    uint64_t by_ticket;    /* of the logins */
    uint64_t no_ticket;    /* tickets that were refused: a token follows */
    uint64_t refused;      /* logins, as BUSY: they are tried again */
    uint64_t out_of_order; /* deliveries whose dseq does not follow the one before it */
};
struct crowd_counts crowd_counts(const struct crowd *crowd);

#endif
