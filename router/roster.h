/* roster: who is where, and what that is worth. It has presence, its store and the edges, and keeps
 * them in step; what edges say of themselves comes through census.h. Pure.
 *
 * A record is, by its edge:
 *
 *     LIVE    its edge is up and has announced or bound it
 *     MAYBE   its edge may yet announce it: loaded a short while ago, or the link just came up
 *     SILENT  its edge is away: offline, until it is heard again or the record is swept
 *     GONE    it was not announced: swept soon
 *
 * An audit doubts the records of an edge without taking their worth away until it is over.
 */
#ifndef ROUTER_ROSTER_H
#define ROUTER_ROSTER_H

#include "base/reply.h"
#include "presence/store.h"
#include "proto/link.pb-c.h"
#include "router/bars.h"
#include "router/edges.h"
#include "router/flight.h"

struct roster;

#define ROSTER_QUEUE_MAX 100000u /* writes to Redis that wait */

struct roster_options {
    const char *prefix;
    uint32_t devices_max;
    uint64_t sessions_max; /* that are recorded; 0: no limit */
    uint32_t announce_ms;
    uint32_t likely_ms;
    uint32_t sweep_after_ms;
    uint32_t sweep_per_s;
    const struct bars *bars; /* borrowed */
};

struct roster_actions {
    bool (*command)(void *ctx, const struct span *args, size_t count, uint64_t tag);
    /* Of a slot that is ours; 0: it is not. */
    uint32_t (*epoch)(void *ctx, uint32_t slot);
    /* A frame to an edge; it may be lost. */
    void (*say)(void *ctx, uint32_t peer, Lahar__Link__V1__LinkFrame *frame);
    /* See flight_session_begun, flight_session_ended, flight_all_known. */
    void (*begun)(void *ctx, uint64_t gid, const struct flight_session *session, uint64_t replaced);
    void (*ended)(void *ctx, uint64_t gid, uint64_t session);
    void (*all_known)(void *ctx);
    /* The loaded records are in memory: now it may serve. */
    void (*loaded)(void *ctx);
};

enum roster_worth { ROSTER_LIVE, ROSTER_MAYBE, ROSTER_SILENT, ROSTER_GONE };

enum roster_bound { ROSTER_BOUND, ROSTER_BUSY, ROSTER_TOO_MANY, ROSTER_TOO_OLD };

/* What a client has shown to log in. */
struct roster_shown {
    uint64_t session;   /* that its ticket names; 0: a token */
    uint64_t issued_at; /* s since 1970: the token, or that of the ticket's last full login */
};

struct roster_counts {
    uint64_t bound, unbound, replaced, too_many, too_old, announced, no_session, kicked;
    uint64_t full;      /* binds and announcements past sessions_max */
    uint64_t strangers; /* edges past EDGES_MAX */
    uint64_t refused;   /* frames about sessions that the edge does not hold */
    uint64_t swept;     /* records removed because their edge is gone or did not announce them */
    uint64_t rounds, rounds_again;
    uint64_t drift;   /* digests that differed from ours */
    uint64_t unowned; /* announced sessions of slots that are not ours */
};

struct roster *roster_new(const struct roster_options *options,
                          const struct roster_actions *actions, void *ctx);
void roster_free(struct roster *roster);

void roster_time(struct roster *roster, uint64_t now_ms);
void roster_redis_up(struct roster *roster);
void roster_redis_down(struct roster *roster);
void roster_reply(struct roster *roster, uint64_t tag, const struct reply *reply);

/* These slots are ours from now on: loads them. Every edge that is up is asked to announce once
 * they are loaded. `runs` are said in Owned; borrowed until roster_forget. */
void roster_own(struct roster *roster, const bool owned[PRESENCE_SLOTS],
                Lahar__Link__V1__SlotRun **runs, size_t run_count);
/* None is ours any more. Edges stay known. */
void roster_forget(struct roster *roster);

/* NULL: this peer has not said hello. */
struct edge *roster_edge(const struct roster *roster, uint32_t peer);
/* The first after `edge` (NULL: of all); NULL at the end. */
const struct edge *roster_next_edge(const struct roster *roster, const struct edge *edge);
/* The link of an edge by its number, or EDGES_NO_PEER. */
uint32_t roster_peer(const struct roster *roster, uint32_t number);
/* "" if it was never heard. */
const char *roster_edge_name(const struct roster *roster, uint32_t number);

/* When it is BOUND: tell the edge so, then begin it: what waits for the user must come behind
 * Bound, or the edge knows no such session. */
enum roster_bound roster_bind(struct roster *roster, struct edge *edge, uint64_t gid,
                              uint64_t device, const struct roster_shown *shown, uint64_t *session,
                              uint64_t *replaced);
void roster_begin(struct roster *roster, const struct edge *edge, uint64_t gid, uint64_t device,
                  uint64_t session, uint64_t replaced);
/* Ends the sessions of a user's device (0: of all): their edges are told KICKED. How many; no
 * session given so far is above `last`. */
uint32_t roster_kick(struct roster *roster, uint64_t gid, uint64_t device, uint64_t *last);
/* These are refused, and false, unless this edge holds the session. */
bool roster_unbind(struct roster *roster, const struct edge *edge, uint64_t gid, uint64_t device,
                   uint64_t session);
bool roster_no_session(struct roster *roster, const struct edge *edge, uint64_t gid,
                       uint64_t session);
bool roster_holds(struct roster *roster, const struct edge *edge, uint64_t gid, uint64_t session);

/* The records of a user and their worth; returns how many, at most `room`. */
size_t roster_list(const struct roster *roster, uint64_t hash, uint64_t gid,
                   struct presence_record *records, enum roster_worth *worth, size_t room);
/* For flight. */
size_t roster_sessions(const struct roster *roster, uint64_t gid,
                       struct flight_session out[FLIGHT_DEVICES_MAX], bool *unknown);
void roster_keep_dseq(struct roster *roster, uint64_t gid, uint64_t device, uint64_t session,
                      uint32_t dseq);

/* About every 100 ms. */
void roster_tick(struct roster *roster);
void roster_turn_end(struct roster *roster);

const struct roster_counts *roster_counts(const struct roster *roster);
const struct store_counts *roster_store_counts(const struct roster *roster);
uint64_t roster_records(const struct roster *roster);
/* The most devices that a user had of those who came since this was last asked. */
uint32_t roster_most_devices(struct roster *roster);
size_t roster_bytes(const struct roster *roster);

struct roster_edges {
    uint64_t up, silent, records_silent;
};
struct roster_edges roster_edges(const struct roster *roster);

#endif
