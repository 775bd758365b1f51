/* flight: the CONFIRMED messages that one shard holds, from send to outcome. It is the owner's part
 * of the order rule (design, section 4): sending half in conv.h, delivering half in lane.h, users
 * and their lanes in recipient.h, remembered outcomes in outcome.h. Pure; soft state only: a new
 * owner begins with nothing.
 *
 *     send --known mid--> the outcome remembered (silent while pending)
 *          --of an older session--> silent        --seq out of order--> SEQ_GAP{expected}
 *          --no session--> OFFLINE       --unknown yet whether there is one--> waits
 *          --no edge has credit, or a limit is reached--> BUSY, not taken
 *          --> pending in the lane of each session of the recipient that has room; one that has not
 *              takes nothing behind it before it was given or delivered elsewhere
 *     first Received that covers it in any lane --> DELIVERED
 *     confirm_ms after it was taken --> NO_ANSWER, or OFFLINE if no edge ever got it
 *
 * A lane belongs to one session: dseq counts up from what the edge announced; entries wait until
 * Received covers them; DeliveryGap and a timer (retry_ms without progress) go back to a place,
 * each place once until something moved. When a message ends without being delivered, those behind
 * it of the same conversation end with it; in each lane what expired becomes an empty delivery; the
 * conversation then takes only `settled`. A message that one device acknowledged stays in the
 * other lanes until they did too, or it expires there.
 *
 * A new session of the recipient's device inherits the lane of the one it replaces (renumbered);
 * one that is new gets what is pending for the user. A session that is not live (likely) keeps its
 * entries without numbers until it is announced. When the user's last session ends, what an edge
 * was given waits for a new one until it expires; what none was given ends OFFLINE, unless a
 * session may yet be announced.
 *
 * Outcomes are remembered for outcome_ms after they were decided, or until the sender's `settled`
 * has passed them; conversations until idle for as long. Past the limits the oldest are forgotten
 * first (counted as early): harmless, as for a new owner; what is pending is never forgotten.
 * OFFLINE and the like are definite and not remembered: a send that comes again is judged anew.
 *
 * Ledgers: sends == acked + nacked + unknown + repeated + old_session + malformed + in flight;
 * deliveries made == acknowledged + superseded (inherited by a new session) + expired +
 * session_gone + in flight. In flight is walked.
 */
#ifndef ROUTER_FLIGHT_H
#define ROUTER_FLIGHT_H

#include "proto/hot.h"
#include "proto/reasons.h"

struct flight;

#define FLIGHT_DEVICES_MAX 10u

struct flight_options {
    uint32_t confirm_ms;       /* 5000 */
    uint32_t outcome_ms;       /* 60000 */
    uint32_t retry_ms;         /* 1000: lane timer */
    uint32_t busy_retry_ms;    /* what BUSY tells */
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
    uint32_t edge; /* its number; the shard knows the link */
    bool live; /* announced: deliveries may go out; else they wait in the lane until it is, or is
                  dropped */
    uint32_t dseq; /* the last delivery's number, if live; not read while flight keeps it */
};

struct flight_actions {
    /* Called from inside the functions below; must not call back. The sessions of a user; returns
     * how many (at most FLIGHT_DEVICES_MAX). `unknown`: one may yet be announced. */
    size_t (*sessions)(void *ctx, uint64_t gid, struct flight_session *out, bool *unknown);
    /* One LinkDeliver for one edge (epoch is the callee's to fill in). False: no credit, or the
     * edge is away. */
    bool (*deliver)(void *ctx, uint32_t edge, struct hot_link_deliver *deliver);
    /* To the edge worker that the send came from. */
    void (*answer)(void *ctx, uint32_t edge, const struct hot_answer *answer);
    /* A lane is forgotten while its session lives: its last dseq goes back to presence. */
    void (*keep_dseq)(void *ctx, uint64_t gid, uint64_t device, uint64_t session, uint32_t dseq);
};

/* Ends of sends and deliveries, once: id, label for the metrics. */
struct flight_counts {
    uint64_t sends;       /* flight_send and flight_refuse */
    uint64_t acked;       /* answers DELIVERED, also repeated ones for known mids */
    uint64_t nacked[16];  /* by enum nack_reason, but NO_ANSWER */
    uint64_t unknown;     /* NO_ANSWER given */
    uint64_t repeated;    /* of a message still pending: silent */
    uint64_t old_session; /* refused silently */
    uint64_t malformed;   /* without a cmid, or with impossible numbers: ignored */
    uint64_t made, acknowledged, superseded, expired, session_gone;
    uint64_t redelivered; /* entries sent again after a gap or timer (not made anew) */
    uint64_t gaps, gaps_damped;
    uint64_t received_refused; /* for a session or number that is not there */
    uint64_t forgotten_early;
    uint64_t early_outcomes; /* those of them that were outcomes; the others were conversations */
    /* BUSY because of a limit: lanes of the recipient, messages, their bytes, an edge's credit. */
    uint64_t full_lanes, full_pending, full_bytes, full_credit;
};

/* What counts towards the limits now. */
struct flight_levels {
    uint64_t pending, bytes, outcomes, convs, most_unacknowledged;
};

struct flight *flight_new(const struct flight_options *options,
                          const struct flight_actions *actions, void *ctx);
void flight_free(struct flight *flight);

/* A LinkSend of class CONFIRMED from the edge worker `edge`, at `now_ms` (monotonic); `sent_at` is
 * wall clock. */
void flight_send(struct flight *flight, uint32_t edge, const struct hot_link_send *send,
                 uint64_t now_ms, uint64_t sent_at);

/* The same, but the shard knows that it is refused, and why: for good, so it counts in the order,
 * except BUSY. What is known of the message, or out of order, is answered as by flight_send. */
void flight_refuse(struct flight *flight, uint32_t edge, const struct hot_link_send *send,
                   enum nack_reason reason, uint64_t now_ms);

/* A session of `gid` was bound (dseq 0) or announced (dseq as the edge told). `replaced` is the
 * session of the same device that it follows, or 0. */
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
struct flight_levels flight_levels(const struct flight *flight);
/* By walking: messages pending, and lane entries not acknowledged. */
uint64_t flight_sends_in_flight(const struct flight *flight);
uint64_t flight_deliveries_in_flight(const struct flight *flight);

#endif
