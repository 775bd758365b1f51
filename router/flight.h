/* flight: the CONFIRMED messages that one shard holds, from send to outcome. It is the owner's part of the order rule (design,
 * section 4): sending half in conv.h, delivering half in lane.h. Pure; soft state only: a new owner begins with nothing.
 *
 *     send --known mid--> the outcome remembered (silent while pending)
 *          --seq out of order--> SEQ_GAP{expected}        --of an older session--> silent
 *          --no session--> OFFLINE     --unknown yet whether there is one--> waits
 *          --no edge has credit, or a limit is reached--> BUSY, not taken
 *          --> pending in the lane of each session of the recipient
 *     first Received that covers it in any lane --> DELIVERED;   5 s after the send was taken --> NO_ANSWER
 *
 * A lane belongs to one session: dseq counts up from what the edge announced; entries wait until Received covers them;
 * DeliveryGap and a timer (RETRY_MS without progress) go back to a place, each place once until something moved. When a
 * message expires, those behind it of the same conversation that have no outcome yet expire with it; in each lane what
 * expired becomes an empty delivery; the conversation then takes only `settled`. A new session of the recipient's device
 * inherits the lane of the one it replaces (renumbered); a device that is new gets what is pending for the user.
 *
 * Outcomes are remembered for outcome_ms after they were decided, or until the sender's `settled` has passed them; conversations until idle
 * for as long. Past the limits the oldest are forgotten first (counted as early): harmless, as for a new owner; what is
 * pending is never forgotten.
 *
 * Ledger of deliveries (lane entries made): acknowledged, superseded (inherited by a new session), dropped by reason (expired, session
 * gone); in flight is walked.
 */
#ifndef ROUTER_FLIGHT_H
#define ROUTER_FLIGHT_H

#include "proto/hot.h"
#include "proto/reasons.h"

struct flight;

#define FLIGHT_DEVICES_MAX 10u

struct flight_options {
    uint32_t confirm_ms;      /* 5000 */
    uint32_t outcome_ms;      /* 60000 */
    uint32_t retry_ms;        /* 1000: lane timer */
    uint32_t busy_retry_ms;   /* what BUSY tells */
    uint32_t lane_entries_max; /* 64 unacknowledged a session */
    uint32_t lane_bytes_max;   /* 128 KiB */
    uint32_t pending_max;      /* messages a shard */
    uint32_t outcomes_max;
    uint32_t convs_max;
    uint64_t pending_bytes_max; /* bodies a shard */
};

/* A session of the recipient, as the shard's presence has it. */
struct flight_session {
    uint64_t device, session;
    uint32_t edge;    /* its number; the shard knows the link */
    bool live;        /* announced: deliveries may go out; else they wait in the lane until it is, or is dropped */
    uint32_t dseq;    /* the last delivery's number, if live */
};

struct flight_actions {
    /* The sessions of a user; returns how many (at most FLIGHT_DEVICES_MAX). `unknown`: one may yet be announced. */
    size_t (*sessions)(void *ctx, uint64_t gid, struct flight_session *out, bool *unknown);
    /* One LinkDeliver for one edge (epoch is the callee's to fill in). False: no credit, or the edge is away. */
    bool (*deliver)(void *ctx, uint32_t edge, struct hot_link_deliver *deliver);
    /* To the edge worker that the send came from. */
    void (*answer)(void *ctx, uint32_t edge, const struct hot_answer *answer);
    /* A lane is forgotten while its session lives: its last dseq goes back to presence. */
    void (*keep_dseq)(void *ctx, uint64_t gid, uint64_t device, uint64_t session, uint32_t dseq);
};

/* Ends of sends and deliveries, once: id, label for the metrics. */
struct flight_counts {
    uint64_t acked;                    /* answers DELIVERED, also repeated ones for known mids */
    uint64_t nacked[16];               /* by enum nack_reason */
    uint64_t unknown;                  /* NO_ANSWER given */
    uint64_t repeated;                 /* of a message still pending: silent */
    uint64_t old_session;              /* refused silently */
    uint64_t made, acknowledged, superseded, expired, session_gone;
    uint64_t redelivered;              /* entries sent again after a gap or timer (not made anew) */
    uint64_t gaps, gaps_damped;
    uint64_t received_refused;         /* for a session or number that is not there */
    uint64_t forgotten_early;
};

struct flight *flight_new(const struct flight_options *options,
                          const struct flight_actions *actions, void *ctx);
void flight_free(struct flight *flight);

/* A LinkSend of class CONFIRMED from the edge worker `edge`, at `now_ms` (monotonic); `sent_at` is wall clock. */
void flight_send(struct flight *flight, uint32_t edge, const struct hot_link_send *send,
                 uint64_t now_ms, uint64_t sent_at);

/* A session of `gid` was bound (dseq 0) or announced (dseq as the edge told). `replaced` is the session of the same device that it
 * follows, or 0. */
void flight_session_begun(struct flight *flight, uint64_t gid, const struct flight_session *session,
                          uint64_t replaced, uint64_t now_ms);
/* It ended without a successor; what is pending waits for one until it expires. */
void flight_session_ended(struct flight *flight, uint64_t gid, uint64_t session, uint64_t now_ms);
/* Nothing is unknown any more for users without a session: those who wait for one are OFFLINE. */
void flight_all_known(struct flight *flight, uint64_t now_ms);

/* False: no such session or number here, refused (and counted). */
bool flight_received(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                     uint64_t dseq, uint64_t now_ms);
bool flight_gap(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                uint64_t expected, uint64_t now_ms);

/* About every 100 ms. */
void flight_tick(struct flight *flight, uint64_t now_ms);

const struct flight_counts *flight_counts(const struct flight *flight);
/* By walking: messages pending, and lane entries not acknowledged. */
uint64_t flight_sends_in_flight(const struct flight *flight);
uint64_t flight_deliveries_in_flight(const struct flight *flight);

#endif
