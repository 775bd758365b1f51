/* session_table: what the parts of session share, and nobody else includes.
 *
 *     session.c    the table: opening, closing, deadlines, what a client says
 *     login.c      Hello to Bound            recall.c     sites that take back what they admitted
 *     sending.c    the sending half           deliver.c    the delivering half
 *     uplink.c     towards shards             announce.c   Owned, rounds, digests
 *     route.c      slot -> shard and epoch   quota.c      limits of sites
 *
 * A session's place is its conn's slot; places lie in chunks that do not move. What only some
 * sessions need is not in struct session: `login` while a site is looked up, a block of `sendings`
 * while sends are in flight.
 */
#ifndef EDGE_SESSION_TABLE_H
#define EDGE_SESSION_TABLE_H

#include "base/arena.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/wheel.h"
#include "edge/edge_metrics.h"
#include "edge/route.h"
#include "edge/session.h"
#include "edge/share.h"
#include "edge/ticket.h"
#include "proto/frame.h"
#include "proto/link.pb-c.h"
#include "proto/unpack.h"

#define SESSION_CHUNK_SHIFT 8u
#define SESSION_NOWHERE UINT32_MAX
#define SESSION_RETRY_MS 1000u       /* a gap that is still there is told again */
#define SESSION_BUSY_RETRY_MS 500u   /* what BUSY tells */
#define SESSION_CLOSE_AFTER_MS 1000u /* from Goaway to the end */
#define SESSION_SECOND_MS 1000u

enum session_state {
    SESSION_FREE,
    SESSION_FRESH,
    SESSION_WAITING, /* for its turn to have its token checked */
    SESSION_LOOKUP,
    SESSION_RESOLVING,
    SESSION_BINDING,
    SESSION_BOUND,
    SESSION_ENDED, /* closed by us; the conn's on_closed is still to come */
};

enum session_depart { SESSION_STAYS, SESSION_DEPARTS, SESSION_TOLD };

struct session {
    struct wheel_timer timer; /* the one deadline of this state; heartbeats never touch it */
    uint64_t gid, device;
    uint64_t session;              /* BINDING: the one that its ticket names, or 0 */
    uint64_t dseq_let, dseq_acked; /* in flight to the client: the difference */
    uint64_t gap_place;            /* for which a gap was told last, at gap_ms; 0: none */
    struct login *login;           /* in WAITING and LOOKUP only */
    uint32_t heard_ms, gap_ms;     /* the lowest bits */
    uint32_t issued_at;            /* s since 1970: the token of the last full login; 0: not yet */
    uint32_t place, generation;    /* the conn's */
    uint32_t origin, address;      /* struct conn_from */
    uint32_t site;                 /* its index; 0: it counts for none yet */
    struct bucket rate;            /* of sends */
    uint32_t sendings;             /* block in the pool; POOL_NONE: no send in flight */
    uint16_t in_flight;
    uint16_t slot;  /* of what is waited for: user hash, then GID */
    uint8_t state;  /* enum session_state */
    uint8_t depart; /* enum session_depart */
    uint8_t ending; /* with depart: enum end_reason */
    uint8_t hops;   /* how often Resolve or Bind came back */
};

/* One shard, seen from here. */
struct uplink {
    bool up, owned; /* owned: it has said which slots it serves since it came up */
    bool cut;       /* its sessions have been told to go */
    bool announcing;
    uint64_t away_ms; /* since when, while not up */
    uint32_t round, cursor;
    uint64_t announced;
    uint64_t count, mix; /* of BOUND sessions of its slots */
};

struct session_table {
    struct session_options options; /* texts are copies */
    struct session_actions actions;
    void *ctx;
    struct metrics *metrics;
    struct limits *limits, *own_limits; /* own: where none were given */
    uint64_t now_ms, wall_ms;
    struct wheel *wheel; /* NULL until the time is known */
    struct arena *arena; /* for what one event brings */
    struct arena *out;   /* for one frame that goes out: a peer may have used up the other */
    struct sites *sites;
    struct share_table *shares;
    struct ticket_keys ticket_keys;
    uint32_t waiting_first, waiting_last; /* places of those in WAITING; SESSION_NOWHERE: none */
    struct recall *recall;
    struct session **chunks;
    uint32_t chunk_count, places_used; /* places below this were used at least once */
    uint32_t opened, bound, logging_in;
    struct map by_session;
    struct pool sendings;
    struct route_table *routes;
    struct uplink *uplinks; /* one a shard, then one for shards that we do not know: never up */
    uint32_t number;        /* the edge number; 0: none yet */
    uint32_t asked;         /* the shard that was asked for one */
    bool started, leaving;
    uint64_t second_ms; /* when a second's work is next due */
    uint64_t up_since_ms;
    uint8_t *scratch; /* one frame of any kind */
};

/* --- session.c */

static inline struct session *session_at(const struct session_table *table, uint32_t place)
{
    assert(place < table->places_used);
    return &table->chunks[place >> SESSION_CHUNK_SHIFT][place & ((1u << SESSION_CHUNK_SHIFT) - 1)];
}

/* Between Hello and Welcome. */
static inline bool session_logs_in(const struct session *s)
{
    return s->state > SESSION_FRESH && s->state < SESSION_BOUND;
}

/* Every change of state but the first. */
static inline void session_turns(struct session_table *table, struct session *s,
                                 enum session_state state)
{
    table->logging_in -= session_logs_in(s);
    s->state = (uint8_t)state;
    table->logging_in += session_logs_in(s);
}

static inline struct conn_id session_conn(const struct session *s)
{
    return (struct conn_id){s->place, s->generation};
}

static inline uint64_t session_hash(uint64_t gid, uint64_t session)
{
    return gid_session_mix(gid, 0, session);
}

/* NULL if it is not here (or not any more). */
struct session *session_find(const struct session_table *table, uint64_t gid, uint64_t session);
/* The request number of a session's login, and the session that still waits for that answer in
 * `state`, or NULL. */
uint64_t session_req(const struct session *s);
struct session *session_waiting(const struct session_table *table, uint64_t req,
                                enum session_state state);

/* Ends a session at once: ledgers, map, Unbind to its owner, the conn. With `error` the client is
 * told why first. */
void session_end(struct session_table *table, struct session *s, enum end_reason reason,
                 bool error);
/* The same when the owner has ended it: no Unbind. */
void session_end_unbound(struct session_table *table, struct session *s, enum end_reason reason);
/* Goaway after `wait_ms`, the end SESSION_CLOSE_AFTER_MS later. */
void session_depart(struct session_table *table, struct session *s, enum end_reason reason,
                    uint64_t wait_ms);
void session_deadline(struct session_table *table, struct session *s, uint64_t due_ms);
/* BOUND from now on: its fields are set, its Welcome is sent. */
void session_begin(struct session_table *table, struct session *s);

/* Packs a ServerFrame (not hot) for the client. */
void session_say(struct session_table *table, const struct session *s,
                 Lahar__V1__ServerFrame *frame);

static inline void session_count_one(struct session_table *table, size_t metric)
{
    metrics_add(table->metrics, metric, 1);
}

/* --- login.c */
void login_hello(struct session_table *table, struct session *s, struct span content);
void login_site_found(struct session_table *table, struct span content);
void login_resolved(struct session_table *table, struct span content);
void login_bound(struct session_table *table, uint32_t shard, struct span content);
/* What came back from a shard that does not own its slot. */
void login_bind_returned(struct session_table *table, struct span content);
void login_resolve_returned(struct session_table *table, struct span content);
void login_forget(struct session_table *table, struct session *s);
/* Those that wait have their tokens checked, as many as may. */
void login_go_on(struct session_table *table);
/* A ticket for a session that is BOUND; how long it is, 0: none can be given. */
size_t login_ticket(const struct session_table *table, const struct session *s,
                    uint8_t out[TICKET_SIZE_MAX]);

/* --- recall.c */
struct recall *recall_new(void);
void recall_free(struct recall *recall);
/* A shard says what a site is now. If that is news, all its sessions from before its not_before
 * end, over a few ticks, and then all shards are told how many. False if the message breaks a
 * limit. */
MUST_CHECK bool recall_take_site(struct session_table *table, const Lahar__Link__V1__Site *said);
void recall_tick(struct session_table *table);

/* --- sending.c */
void sending_send(struct session_table *table, struct session *s, struct span content);
void sending_answer(struct session_table *table, struct span content);
void sending_returned(struct session_table *table, struct span content);
/* All that is in flight ends unknown. */
void sending_forget(struct session_table *table, struct session *s);
size_t sending_block_size(uint32_t sends_in_flight);

/* --- deliver.c */
void deliver_frame(struct session_table *table, uint32_t shard, struct span content);
void deliver_received(struct session_table *table, struct session *s, struct span content);
/* All that is in flight ends dropped. */
void deliver_forget(struct session_table *table, struct session *s);

/* --- uplink.c */
void uplink_up(struct session_table *table, uint32_t shard);
void uplink_down(struct session_table *table, uint32_t shard);
void uplink_frame(struct session_table *table, uint32_t shard, struct span frame);
const char *uplink_not_ready(const struct session_table *table);
void uplink_tick(struct session_table *table);
void uplink_second(struct session_table *table);
/* Packs a LinkFrame (not hot, needs no credit) for a shard; false if it is away. */
bool uplink_say(struct session_table *table, uint32_t shard, Lahar__Link__V1__LinkFrame *frame);
/* A frame that is packed already. */
enum link_sent uplink_forward(struct session_table *table, uint32_t shard, enum link_kind kind,
                              struct span frame);
/* Any shard that is up, in turn; options.shards if none is. */
uint32_t uplink_any(const struct session_table *table);

static inline uint32_t uplink_of(const struct session_table *table, uint32_t slot)
{
    return route_shard(table->routes, slot);
}

/* --- quota.c */
/* One more of that site: false, and the session is refused, if it may have no more. */
MUST_CHECK bool quota_enter(struct session_table *table, struct session *s,
                            const struct site *site);
void quota_leave(struct session_table *table, struct session *s);
/* One send: 0, or how long to wait, in ms. */
MUST_CHECK uint32_t quota_send(struct session_table *table, const struct session *s);
/* A site is new or has changed, or is gone; SiteShare; once a second. */
void quota_site(struct session_table *table, struct span id);
void quota_share(struct session_table *table, struct span content);
void quota_turn(struct session_table *table);
void quota_second(struct session_table *table);

/* --- announce.c */
void announce_owned(struct session_table *table, uint32_t shard, struct span content);
void announce_go_on(struct session_table *table, uint32_t shard);
void announce_digest(struct session_table *table, uint32_t shard);
/* A session of one of the shard's slots begins, or ends. */
void announce_begun(struct session_table *table, const struct session *s);
void announce_ended(struct session_table *table, const struct session *s);
/* Slots have changed hands: counts and mixes from the sessions. */
void announce_recount(struct session_table *table);

#endif
