/* flight_stage: a flight between presence, edges and senders made of arrays, for the tests of
 * flight and recipient. */
#ifndef TESTS_FLIGHT_STAGE_H
#define TESTS_FLIGHT_STAGE_H

#include "proto/gid.h"
#include "router/flight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define STAGE_USERS 8u
#define STAGE_EDGES 4u
#define STAGE_LOG 4096u
#define ANNA UINT64_C(10001)
#define BERT UINT64_C(10002)
#define CARL UINT64_C(10003)
#define PHONE UINT64_C(501) /* devices */
#define DESK UINT64_C(502)
#define TABLET UINT64_C(503)
#define E1 1u /* the sender's edge; the recipients' are E2 and E3 */
#define E2 2u
#define E3 3u

struct stage_user {
    struct flight_session sessions[FLIGHT_DEVICES_MAX];
    size_t count;
    bool unknown;
};

struct stage_delivery {
    uint64_t to, session, dseq, number; /* number: of the message, 0: empty */
    uint32_t edge, together;            /* sessions in the same LinkDeliver */
};

struct stage_answer {
    uint64_t gid, session, number, expected;
    uint32_t edge, level, reason, retry_after_ms;
};

struct stage {
    struct flight *flight;
    uint64_t now;
    struct stage_user users[STAGE_USERS]; /* of GIDs from ANNA on */
    bool no_credit[STAGE_EDGES];
    size_t body_max[STAGE_EDGES]; /* credit for no more than this; 0: any */
    struct stage_delivery deliveries[STAGE_LOG];
    struct stage_answer answers[STAGE_LOG];
    size_t delivered, answered, frames; /* frames: LinkDelivers */
    uint64_t kept_dseq, kept_session;
};

static inline struct stage_user *stage_user(struct stage *stage, uint64_t gid)
{
    assert_in_range(gid, ANNA, ANNA + STAGE_USERS - 1);
    return &stage->users[gid - ANNA];
}

static inline size_t stage_sessions(void *ctx, uint64_t gid, struct flight_session *out,
                                    bool *unknown)
{
    struct stage_user *user = stage_user(ctx, gid);
    memcpy(out, user->sessions, user->count * sizeof *out);
    *unknown = user->unknown;
    return user->count;
}

static inline bool stage_deliver(void *ctx, uint32_t edge, struct hot_link_deliver *deliver)
{
    struct stage *stage = ctx;
    assert_int_equal(deliver->class, HOT_CONFIRMED);
    assert_int_equal(deliver->sessions, deliver->dseqs);
    assert_true(deliver->sessions > 0);
    if (stage->no_credit[edge] ||
        (stage->body_max[edge] > 0 && deliver->body.len > stage->body_max[edge]))
        return false;
    stage->frames++;
    for (uint32_t i = 0; i < deliver->sessions; i++) {
        assert_true(stage->delivered < STAGE_LOG);
        struct stage_delivery *d = &stage->deliveries[stage->delivered++];
        *d = (struct stage_delivery){.to = deliver->to,
                                     .session = deliver->session[i],
                                     .dseq = deliver->dseq[i],
                                     .edge = edge,
                                     .together = deliver->sessions};
        assert_int_equal(deliver->mid.len, deliver->body.len == 0 ? 0 : GID_MID_SIZE);
        if (deliver->body.len >= 8)
            memcpy(&d->number, deliver->body.at, 8);
    }
    return true;
}

static inline void stage_answer(void *ctx, uint32_t edge, const struct hot_answer *answer)
{
    struct stage *stage = ctx;
    assert_true(stage->answered < STAGE_LOG);
    assert_int_equal(answer->cmid.len, GID_CMID_SIZE);
    assert_true((answer->level != 0) != (answer->reason != 0));
    struct stage_answer *a = &stage->answers[stage->answered++];
    *a = (struct stage_answer){
        answer->gid,    answer->session,       0, answer->expected_seq, edge, answer->level,
        answer->reason, answer->retry_after_ms};
    memcpy(&a->number, answer->cmid.at, 8);
}

static inline void stage_keep_dseq(void *ctx, uint64_t gid, uint64_t device, uint64_t session,
                                   uint32_t dseq)
{
    struct stage *stage = ctx;
    stage->kept_session = session;
    stage->kept_dseq = dseq;
    struct stage_user *user = stage_user(stage, gid);
    for (size_t i = 0; i < user->count; i++)
        if (user->sessions[i].device == device && user->sessions[i].session == session)
            user->sessions[i].dseq = dseq;
}

static const struct flight_options stage_options = {
    .confirm_ms = 5000,
    .outcome_ms = 60000,
    .retry_ms = 1000,
    .busy_retry_ms = 250,
    .lane_entries_max = 8,
    .lane_bytes_max = 4096,
    .pending_max = 64,
    .outcomes_max = 64,
    .convs_max = 64,
    .pending_bytes_max = 64 * 1024,
};

static inline struct stage *stage_with(const struct flight_options *options)
{
    const struct flight_actions actions = {stage_sessions, stage_deliver, stage_answer,
                                           stage_keep_dseq};
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    stage->now = 100000;
    stage->flight = flight_new(options, &actions, stage);
    return stage;
}

static inline struct stage *stage_new(void)
{
    return stage_with(&stage_options);
}

/* Sends ended in one way each, and deliveries too. */
static inline void stage_check_ledgers(const struct stage *stage)
{
    const struct flight_counts *c = flight_counts(stage->flight);
    uint64_t nacked = 0;
    for (size_t i = 0; i < 16; i++)
        nacked += c->nacked[i];
    assert_int_equal(c->sends, c->acked + nacked + c->unknown + c->repeated + c->old_session +
                                   c->malformed + flight_sends_in_flight(stage->flight));
    assert_int_equal(c->made, c->acknowledged + c->superseded + c->expired + c->session_gone +
                                  flight_deliveries_in_flight(stage->flight));
}

static inline void stage_free(struct stage *stage)
{
    stage_check_ledgers(stage);
    flight_free(stage->flight);
    free(stage);
}

/* A send of message `number`, whose cmid and body it is. */
struct stage_send {
    uint64_t from, device, session, to, number, seq, settled;
    size_t bytes; /* of the body; 0: 8 */
    uint32_t edge;
};

static inline void stage_build(const struct stage_send *from, uint8_t *cmid, uint8_t *body,
                               struct hot_link_send *send)
{
    memset(cmid, 0, GID_CMID_SIZE);
    memcpy(cmid, &from->number, 8);
    memcpy(body, &from->number, 8);
    *send = (struct hot_link_send){.from = from->from,
                                   .device = from->device,
                                   .session = from->session,
                                   .send = {.to = from->to,
                                            .seq = from->seq,
                                            .settled = from->settled,
                                            .class = HOT_CONFIRMED,
                                            .cmid = span_of(cmid, GID_CMID_SIZE),
                                            .body = span_of(body, from->bytes ? from->bytes : 8)}};
}

static inline void stage_send(struct stage *stage, const struct stage_send *from)
{
    static uint8_t body[8192];
    uint8_t cmid[GID_CMID_SIZE];
    struct hot_link_send send;
    assert_true(from->bytes <= sizeof body);
    stage_build(from, cmid, body, &send);
    flight_send(stage->flight, from->edge ? from->edge : E1, &send, stage->now, 1700000000000);
    /* Nothing that was passed in may be kept. */
    memset(cmid, 0xee, sizeof cmid);
    memset(body, 0xee, sizeof body);
    stage_check_ledgers(stage);
}

/* Anna's phone to Bert. */
static inline void stage_anna(struct stage *stage, uint64_t number, uint64_t seq, uint64_t settled)
{
    stage_send(stage, &(struct stage_send){ANNA, PHONE, 11, BERT, number, seq, settled, 0, 0});
}

/* Presence learns of a session and, as the shard does, flight too. */
static inline void stage_begin(struct stage *stage, uint64_t gid, uint64_t device, uint64_t session,
                               uint32_t edge, bool live, uint32_t dseq)
{
    struct stage_user *user = stage_user(stage, gid);
    uint64_t replaced = 0;
    size_t i = 0;
    while (i < user->count && user->sessions[i].device != device)
        i++;
    if (i < user->count && user->sessions[i].session != session)
        replaced = user->sessions[i].session;
    if (i == user->count)
        user->count++;
    assert_true(user->count <= FLIGHT_DEVICES_MAX);
    user->sessions[i] = (struct flight_session){device, session, edge, live, dseq};
    flight_session_begun(stage->flight, gid, &user->sessions[i], replaced, stage->now);
    stage_check_ledgers(stage);
}

static inline void stage_end(struct stage *stage, uint64_t gid, uint64_t session)
{
    struct stage_user *user = stage_user(stage, gid);
    for (size_t i = 0; i < user->count; i++)
        if (user->sessions[i].session == session)
            user->sessions[i--] = user->sessions[--user->count];
    flight_session_ended(stage->flight, gid, session, stage->now);
    stage_check_ledgers(stage);
}

static inline void stage_wait(struct stage *stage, uint64_t ms)
{
    stage->now += ms;
    flight_tick(stage->flight, stage->now);
    stage_check_ledgers(stage);
}

static inline bool stage_received(struct stage *stage, uint32_t edge, uint64_t gid,
                                  uint64_t session, uint64_t dseq)
{
    bool known = flight_received(stage->flight, edge, gid, session, dseq, stage->now);
    stage_check_ledgers(stage);
    return known;
}

static inline bool stage_gap(struct stage *stage, uint32_t edge, uint64_t gid, uint64_t session,
                             uint64_t expected)
{
    bool known = flight_gap(stage->flight, edge, gid, session, expected, stage->now);
    stage_check_ledgers(stage);
    return known;
}

/* The next answer is this one: DELIVERED if reason is NACK_NONE. */
static inline void stage_expect_answer(struct stage *stage, size_t *at, uint64_t number,
                                       enum nack_reason reason)
{
    assert_true(*at < stage->answered);
    const struct stage_answer *a = &stage->answers[(*at)++];
    assert_int_equal(a->number, number);
    assert_int_equal(a->reason, reason);
    assert_int_equal(a->level, reason == NACK_NONE ? HOT_LEVEL_DELIVERED : 0);
}

static inline void stage_expect_delivery(struct stage *stage, size_t *at, uint64_t session,
                                         uint64_t dseq, uint64_t number)
{
    assert_true(*at < stage->delivered);
    const struct stage_delivery *d = &stage->deliveries[(*at)++];
    assert_int_equal(d->session, session);
    assert_int_equal(d->dseq, dseq);
    assert_int_equal(d->number, number);
}

#endif
