/* recipient: users to whom something is on its way: their messages, and a lane for each session
 * that is to get them.
 *
 *     message --recipient_offer--> an entry in the lane of each session that has room
 *                                  (every edge gets one LinkDeliver for all its sessions)
 *             --recipient_wait---> in no lane yet
 *     a lane that begins gets what is pending for the user, in order: what its predecessor had
 * first a lane that is empty for a while is forgotten; its last number goes back to presence
 *
 * For flight.c alone: it decides what becomes of the messages. A message is held while it is
 * pending or an entry of some lane stands for it. Counts made, superseded, expired, session_gone,
 * redelivered; the caller the rest.
 */
#ifndef ROUTER_RECIPIENT_H
#define ROUTER_RECIPIENT_H

#include "proto/gid.h"
#include "router/flight.h"
#include "router/lane.h"

struct recipient {
    uint64_t gid;
    struct ring lanes;
    struct ring pending; /* messages without an outcome, as they were taken */
    uint32_t pending_count, pending_bytes;
    uint32_t index;
};

struct message {
    struct ring by_age; /* in that of all messages held */
    struct ring in_recipient;
    struct recipient *to;
    uint64_t from, device; /* the sender's */
    uint64_t sent_at, taken_ms;
    uint64_t order; /* grows with each message taken */
    uint8_t mid[GID_MID_SIZE];
    uint8_t *body;
    uint32_t bytes;
    uint32_t lanes; /* entries that stand for it */
    uint32_t index;
    bool pending;
    bool given; /* to an edge, ever: it may have arrived */
    /* The caller's, while it is pending: whom to answer, and its conversation. */
    uint32_t edge;
    uint64_t session;
    uint8_t cmid[GID_CMID_SIZE];
    struct ring in_conv;
    struct conv *conv;
    struct outcome *outcome;
};

struct recipient_table;

struct recipient_table *recipient_table_new(const struct flight_options *options,
                                            const struct flight_actions *actions, void *ctx,
                                            struct flight_counts *counts);
void recipient_table_free(struct recipient_table *table);

/* NULL: nothing is on its way to this user. */
struct recipient *recipient_find(const struct recipient_table *table, uint64_t gid);
struct recipient *recipient_make(struct recipient_table *table, uint64_t gid);
/* Forgets the user if there is nothing to know of it. */
void recipient_done(struct recipient_table *table, struct recipient *recipient);

/* A copy of what is sent, pending in nothing yet. NULL: a limit is reached. */
struct message *recipient_message(struct recipient_table *table, const struct hot_link_send *send,
                                  const uint8_t mid[GID_MID_SIZE], uint64_t now_ms,
                                  uint64_t sent_at);
/* To these sessions, which are the user's, not the sender's own. False: none can take it now;
 * nothing happened. */
MUST_CHECK bool recipient_offer(struct recipient_table *table, struct recipient *recipient,
                                struct message *message, const struct flight_session *sessions,
                                size_t count, uint64_t now_ms);
/* Until a session begins. False: too many wait. */
MUST_CHECK bool recipient_wait(struct recipient_table *table, struct recipient *recipient,
                               struct message *message);
/* It has an outcome. What its lanes hold stays there. Frees it if none does. */
void recipient_settle(struct recipient_table *table, struct message *message);
/* Its lanes' entries for it become empty ones. Frees it if it has an outcome. */
void recipient_clear(struct recipient_table *table, struct message *message, uint64_t now_ms);
/* One that was never offered or was refused. */
void recipient_drop(struct recipient_table *table, struct message *message);

/* Of all that are held the one taken next after this one; of NULL the first. NULL: none. */
struct message *recipient_next(const struct recipient_table *table, const struct message *message);

struct lane *recipient_lane(const struct recipient *recipient, uint64_t session);
/* Pops the oldest entry. The message it stood for, borrowed until recipient_settle or
 * recipient_release; NULL: it was empty. */
struct message *recipient_pop(struct recipient_table *table, struct lane *lane);
/* Frees it if it has an outcome and no lane holds it. */
void recipient_release(struct recipient_table *table, struct message *message);
/* After entries were popped: the lane's timer, and what could not be given before. */
void recipient_moved(struct recipient_table *table, struct lane *lane, uint64_t now_ms);
/* Gives whatever is to be given, as long as the edge takes it. */
void recipient_pump(struct recipient_table *table, struct lane *lane);

void recipient_begin(struct recipient_table *table, struct recipient *recipient,
                     const struct flight_session *session, uint64_t replaced, uint64_t now_ms);
void recipient_end(struct recipient_table *table, struct lane *lane);

/* Retries, and forgets lanes that are not needed. */
void recipient_tick(struct recipient_table *table, uint64_t now_ms);

/* By walking. */
uint64_t recipient_pending(const struct recipient_table *table);
uint64_t recipient_entries(const struct recipient_table *table);
/* Its part of them. */
void recipient_levels(const struct recipient_table *table, struct flight_levels *levels);

#endif
