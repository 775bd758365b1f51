/* session: what a client may say, what it is told, and what its edge must remember for it.
 *
 *            Hello            Resolved            Bound
 *     FRESH -------> RESOLVING -------> BINDING -------> BOUND
 *
 * Before that a Hello may be WAITING for its turn, when there are more signatures to check than
 * limits allow, or in LOOKUP, for a site not yet known. A Hello with a ticket goes from FRESH to
 * BINDING: it costs neither a signature check nor a Resolve. The owner has the last word on it: it
 * refuses one that names an older session than the device's last.
 *
 * Pure: the conns, the links, the clock and randomness are the caller's; the simulator runs the
 * same object. One table a worker; a session is named by its conn. Frames of one turn go out
 * through the actions at once (they only queue).
 *
 * Sending half: stamps the client's Send and forwards it to the owner of slot(to); nacks only what
 * it could not give to the link; remembers up to 32 sends in flight a session so that each accepted
 * send ends once in the ledger: acked, nacked by reason, unknown, shed, passed on, or repeated (the
 * same cmid while the first is in flight).
 *
 * Delivering half: lets only the next dseq of the slot's current epoch through; on a gap drops and
 * says DeliveryGap once for that place, again when something moved or RETRY_MS later; answers a
 * repeated delivery that the client has acknowledged with the last LinkReceived again. A delivery
 * for a session that is not here is answered NoSession. Ledger of deliveries: made, acknowledged,
 * passed on (EPHEMERAL), superseded (repeats), dropped by reason; in flight is walked.
 *
 * Towards shards: on link up says EdgeHello; once it has a number and was told Owned, announces its
 * sessions of those slots (1,000 a frame, then AnnounceDone with the count); takes deliveries of
 * these slots with that epoch only; sends Digest each second. A login that is not answered in
 * login_ms is ended as BUSY, and a Bound that comes too late is unbound. Cut off from a shard for
 * cut_off_ms: Goaway(CUT_OFF) to the sessions of its slots, then they are closed.
 */
#ifndef EDGE_SESSION_H
#define EDGE_SESSION_H

#include "edge/conn.h"
#include "edge/limits.h"
#include "edge/token.h"
#include "proto/hot.h"
#include "proto/link.h"
#include "proto/slotmap.h"

struct session_table;

struct session_options {
    uint32_t conns_max;
    const char *edge_name;          /* "e1/0" */
    const char *cluster_name;       /* audience of tokens */
    const char *const *shard_names; /* the link's peer number is the index here */
    uint32_t shards;
    uint32_t heartbeat_ms;             /* 30000; two missed and the session ends */
    uint32_t hello_ms;                 /* 10000 */
    uint32_t login_ms;                 /* 3000 */
    uint32_t ticket_s;                 /* how long tickets are good; 0: none are given */
    uint32_t cut_off_ms;               /* 15000 */
    uint32_t sends_in_flight;          /* 32 */
    uint32_t sends_per_s, sends_burst; /* per device: 20, 60; 0: no limit */
    uint32_t logins_waiting;           /* between Hello and Welcome; 0: no limit */
    struct limits *limits;             /* the worker's, borrowed; NULL: they allow everything */
    uint32_t drain_per_s;              /* leaving: Goaways a second; 0: all at once */
    uint32_t drain_ms;                 /* over how long at most, then more a second */
    const char *const *hints;          /* told with Goaway: where else to go; borrowed */
    uint32_t hint_count;
};

struct session_actions {
    void (*send)(void *ctx, struct conn_id id, struct span bytes);
    void (*close)(void *ctx, struct conn_id id, enum end_reason reason);
    /* A whole delimited LinkFrame for a shard. */
    enum link_sent (*forward)(void *ctx, uint32_t shard, enum link_kind kind, struct span frame);
    enum token_verdict (*verify)(void *ctx, const struct sites *sites, struct span token,
                                 uint64_t now_s, struct token_claims *claims);
    uint64_t (*random)(void *ctx);
};

struct session_table *session_table_new(const struct session_options *options,
                                        const struct session_actions *actions, void *ctx,
                                        struct metrics *metrics);
void session_table_free(struct session_table *table);

/* The time of the events that follow: monotonic, and wall clock, both in ms. */
void session_time(struct session_table *table, uint64_t now_ms, uint64_t wall_ms);

/* From the conn table: see struct conn_events. */
void session_opened(struct session_table *table, struct conn_id id, const struct conn_from *from);
size_t session_bytes(struct session_table *table, struct conn_id id, struct span bytes);
void session_closed(struct session_table *table, struct conn_id id, enum end_reason reason);

/* From the link. */
void session_link_up(struct session_table *table, uint32_t shard);
void session_link_frame(struct session_table *table, uint32_t shard, struct span frame);
void session_link_down(struct session_table *table, uint32_t shard);

/* End of the turn: logins whose turn it is go on. False if some wait on, for the next turn. */
MUST_CHECK bool session_turn_end(struct session_table *table);
/* About every 100 ms: deadlines, digests, gauges. */
void session_tick(struct session_table *table);

/* Leaving: no logins any more; Goaway(EDGE_LEAVING) to all, drain_per_s of them a second, each
 * closed 1 s later unless it left before. True from session_left on when nobody is left. */
void session_leave(struct session_table *table);
bool session_left(const struct session_table *table);

/* NULL, or what logins wait for: a literal for /readyz. */
const char *session_not_ready(const struct session_table *table);
/* Those that are bound. */
uint32_t session_count(const struct session_table *table);
/* What sites_origin says of an origin; CONN_ORIGIN_LATER: no site is known here yet. */
uint32_t session_origin(const struct session_table *table, struct span origin);
/* Those between Hello and Welcome. */
uint32_t session_logging_in(const struct session_table *table);
/* The newest slot map taken, for the heads of batches; 0: none yet. */
uint64_t session_map_epoch(const struct session_table *table);

#endif
