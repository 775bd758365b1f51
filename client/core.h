/* core: the client's half of the protocol, without sockets or a clock: what the library says, hears
 * and remembers.
 *
 *     WAITING --connect due--> CONNECTING --transport open--> LOGIN (Hello) --Welcome--> ONLINE
 *        ^------------------------- any loss -------------------------------------------'
 *     A Hello shows the ticket of the last Welcome, if there is one: a token is asked for only when
 *     there is none, or it is no longer good (any end whose reason does not say "come back").
 *     AWAY: after an end whose reason says so (proto/end_reasons.h); but REPLACED soon after a
 * login that was never answered may be that one's doing: then it comes back, once
 *
 * Pure: time and randomness are given. It is the sender's and the recipient's part of the order
 * rule (design, section 4): `seq` per session, class and recipient; `settled`; at most 32 in flight
 * a connection; SEQ_GAP goes back to expected_seq once until something moved; BUSY waits
 * retry_after and goes on from there (what is behind it waits too); no answer for RETRY_MS: all
 * unsettled of that conversation again; a new session sends all unsettled again, in order, from
 * seq 1. On receipt: mids that were seen (the last 1,024) are acknowledged but not handed out
 * again; Received follows the callback.
 */
#ifndef CLIENT_CORE_H
#define CLIENT_CORE_H

#include "base/span.h"
#include "client/lahar.h"
#include "proto/reasons.h"

struct core;

struct core_options {
    const char *device, *client;
    struct span ticket; /* from an earlier life; may be empty */
    uint32_t sends_max, send_timeout_ms, connect_timeout_ms;
    uint32_t reconnect_min_ms, reconnect_max_ms;
    uint32_t retry_ms; /* 2000 */
};

struct core_actions {
    /* Open a connection to a server (any); core_opened or core_lost follows. */
    void (*connect)(void *ctx);
    void (*disconnect)(void *ctx);
    /* Where to go next, as the server that leaves says; before the disconnect. May be NULL. */
    void (*hint)(void *ctx, struct span server);
    /* Whole delimited frames; queued by the callee. */
    void (*send)(void *ctx, struct span bytes);
    /* False: so much is queued that sends should wait. core_tick when that changes. */
    bool (*has_room)(void *ctx);
    size_t (*token)(void *ctx, char *out, size_t room);
    uint64_t (*random)(void *ctx);
    void (*on_state)(void *ctx, enum lahar_state state);
    void (*on_message)(void *ctx, const struct lahar_message *message);
    void (*on_outcome)(void *ctx, const struct lahar_result_of_send *result);
    /* The ticket for coming back; empty: the last one is no longer good. May be NULL. */
    void (*on_ticket)(void *ctx, struct span ticket);
};

struct core *core_new(const struct core_options *options, const struct core_actions *actions,
                      void *ctx, uint64_t now_ms);
void core_free(struct core *core);

void core_opened(struct core *core, uint64_t now_ms);
/* Returns how many bytes were used; the rest is offered again with what follows it. */
size_t core_bytes(struct core *core, struct span bytes, uint64_t now_ms);
/* The connection is gone, or could not be made: a label and a text for people, both static. */
void core_lost(struct core *core, const char *why, const char *why_text, uint64_t now_ms);
void core_tick(struct core *core, uint64_t now_ms);
/* When core_tick has something to do, UINT64_MAX if never. */
uint64_t core_due_ms(const struct core *core);

enum lahar_result core_send(struct core *core, lahar_gid to, enum lahar_class message_class,
                            struct span body, uint8_t id[LAHAR_ID_SIZE], uint64_t now_ms);
/* When it connects again; UINT64_MAX if it does not wait for that. */
uint64_t core_retry_due_ms(const struct core *core);
void core_reconnect(struct core *core, uint64_t now_ms);
void core_bye(struct core *core);

size_t core_waiting(const struct core *core);
enum lahar_state core_state(const struct core *core);
const char *core_why(const struct core *core);
const char *core_why_text(const struct core *core);
lahar_gid core_self(const struct core *core);
const char *core_edge(const struct core *core);
uint64_t core_session(const struct core *core);

#endif
