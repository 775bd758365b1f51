#include "router/flight.h"

#include "base/left_out.h"
#include "proto/gid.h"
#include "router/conv.h"
#include "router/outcome.h"
#include "router/recipient.h"

#include <stdlib.h>

struct flight {
    struct flight_options options;
    struct flight_actions actions;
    void *ctx;
    struct flight_counts counts;
    struct conv_table *convs;
    struct outcome_table *outcomes;
    struct recipient_table *recipients;
};

/* A send as it is judged. */
struct attempt {
    const struct hot_link_send *send;
    uint64_t now_ms;
    uint32_t edge;
    struct conv_key key;
    struct conv_place place;
    struct conv *conv; /* NULL: not known */
    enum conv_verdict verdict;
    uint64_t expected;
    uint8_t mid[GID_MID_SIZE];
};

struct flight *flight_new(const struct flight_options *options,
                          const struct flight_actions *actions, void *ctx)
{
    struct flight *flight = calloc(1, sizeof *flight);
    assert(flight != NULL);
    flight->options = *options;
    flight->actions = *actions;
    flight->ctx = ctx;
    flight->convs = conv_table_new(options->convs_max);
    flight->outcomes = outcome_table_new(options->pending_max, options->outcomes_max);
    flight->recipients = recipient_table_new(options, actions, ctx, &flight->counts);
    return flight;
}

void flight_free(struct flight *flight)
{
    if (flight == NULL)
        return;
    recipient_table_free(flight->recipients);
    outcome_table_free(flight->outcomes);
    conv_table_free(flight->convs);
    free(flight);
}

/* ---- answers ---- */

static void answer_delivered(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                             const uint8_t *cmid, const uint8_t *mid)
{
    flight->counts.acked++;
    const struct hot_answer answer = {.gid = gid,
                                      .session = session,
                                      .cmid = span_of(cmid, GID_CMID_SIZE),
                                      .level = HOT_LEVEL_DELIVERED,
                                      .mid = span_of(mid, GID_MID_SIZE)};
    flight->actions.answer(flight->ctx, edge, &answer);
}

static void answer_refused(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                           const uint8_t *cmid, enum nack_reason reason, uint64_t expected)
{
    if (reason == NACK_NO_ANSWER)
        flight->counts.unknown++;
    else
        flight->counts.nacked[reason]++;
    const struct hot_answer answer = {.gid = gid,
                                      .session = session,
                                      .cmid = span_of(cmid, GID_CMID_SIZE),
                                      .reason = reason,
                                      .retry_after_ms =
                                          reason == NACK_BUSY ? flight->options.busy_retry_ms : 0,
                                      .expected_seq = expected};
    flight->actions.answer(flight->ctx, edge, &answer);
}

static void nack(struct flight *flight, const struct attempt *attempt, enum nack_reason reason,
                 uint64_t expected)
{
    const struct hot_link_send *send = attempt->send;
    answer_refused(flight, attempt->edge, send->from, send->session, send->send.cmid.at, reason,
                   expected);
}

/* ---- conversations ---- */

/* Outcomes of an earlier session have numbers that no longer count. */
static void let_go_of_known(struct conv *conv)
{
    while (!ring_empty(&conv->known))
        ring_remove(conv->known.next);
}

/* The attempt's conversation, made if it is not known. NULL: there is no room. */
static struct conv *conv_for(struct flight *flight, struct attempt *attempt)
{
    if (attempt->conv != NULL)
        return attempt->conv;
    attempt->conv = conv_make(flight->convs, &attempt->key, attempt->now_ms);
    if (attempt->conv != NULL)
        return attempt->conv;
    struct conv *spare = conv_spare(flight->convs, attempt->now_ms);
    if (spare == NULL)
        return NULL;
    let_go_of_known(spare);
    conv_forget(flight->convs, spare);
    flight->counts.forgotten_early++;
    attempt->conv = conv_make(flight->convs, &attempt->key, attempt->now_ms);
    return attempt->conv;
}

/* What the sender has settled will not be asked for again. */
static void forget_settled(struct flight *flight, struct conv *conv)
{
    while (!ring_empty(&conv->known)) {
        struct outcome *oldest = RING_OF(conv->known.next, struct outcome, in_conv);
        if (oldest->state == OUTCOME_PENDING || oldest->seq >= conv->settled)
            return;
        outcome_forget(flight->outcomes, oldest);
    }
}

static void remember_in_conv(struct conv *conv, struct outcome *outcome, uint64_t seq)
{
    if (!ring_empty(&outcome->in_conv))
        return;
    outcome->seq = seq;
    ring_add(&conv->known, &outcome->in_conv);
}

/* ---- how a message ends ---- */

static void decide(struct flight *flight, struct outcome *outcome, enum outcome_state state,
                   uint64_t now_ms)
{
    uint32_t forgotten = outcome_decide(flight->outcomes, outcome, state, now_ms);
    flight->counts.forgotten_early += forgotten;
    flight->counts.early_outcomes += forgotten;
}

static void leave(struct flight *flight, struct message *message, uint64_t now_ms)
{
    ring_remove(&message->in_conv);
    conv_use(message->conv, now_ms);
    recipient_settle(flight->recipients, message);
}

static void end_delivered(struct flight *flight, struct message *message, uint64_t now_ms)
{
    answer_delivered(flight, message->edge, message->from, message->session, message->cmid,
                     message->mid);
    decide(flight, message->outcome, OUTCOME_DELIVERED, now_ms);
    leave(flight, message, now_ms);
}

static void end_one_unanswered(struct flight *flight, struct message *message, uint64_t now_ms)
{
    enum nack_reason reason = message->given ? NACK_NO_ANSWER : NACK_OFFLINE;
    answer_refused(flight, message->edge, message->from, message->session, message->cmid, reason,
                   0);
    if (reason == NACK_NO_ANSWER)
        decide(flight, message->outcome, OUTCOME_NO_ANSWER, now_ms);
    else
        outcome_forget(flight->outcomes, message->outcome);
    recipient_clear(flight->recipients, message, now_ms);
    leave(flight, message, now_ms);
}

/* With it ends what is behind it in its conversation, and the next one must be the sender's oldest
 * without an answer: the sender may send this one again, and nothing that follows it may have
 * arrived by then. */
static void end_unanswered(struct flight *flight, struct message *message, uint64_t now_ms)
{
    struct conv *conv = message->conv;
    struct ring *link = &message->in_conv;
    while (link != &conv->pending) {
        struct message *ending = RING_OF(link, struct message, in_conv);
        link = LEFT_OUT(CASCADE) ? &conv->pending : link->next;
        end_one_unanswered(flight, ending, now_ms);
    }
    if (!LEFT_OUT(RESET))
        conv_reset(conv);
}

/* ---- sends ---- */

static bool well_formed(const struct hot_link_send *send)
{
    return send->send.cmid.len == GID_CMID_SIZE && send->send.seq > 0 &&
           send->send.settled <= send->send.seq;
}

/* A send whose message is known is answered with what is known. */
static void again(struct flight *flight, struct attempt *attempt, struct outcome *outcome)
{
    const struct hot_link_send *send = attempt->send;
    struct conv *conv = attempt->conv;
    if (outcome->state == OUTCOME_PENDING) {
        struct message *message = outcome->message;
        if (send->session >= message->session) {
            message->edge = attempt->edge;
            message->session = send->session;
        }
        flight->counts.repeated++;
    } else if (outcome->state == OUTCOME_DELIVERED) {
        answer_delivered(flight, attempt->edge, send->from, send->session, send->send.cmid.at,
                         attempt->mid);
    } else {
        nack(flight, attempt, NACK_NO_ANSWER, 0);
    }
    if (conv == NULL)
        return;
    if (outcome->state != OUTCOME_NO_ANSWER)
        conv_seen(conv, &attempt->place);
    if (conv->session == send->session) {
        remember_in_conv(conv, outcome, send->send.seq);
        forget_settled(flight, conv);
    }
}

/* False: answered, or ignored. */
static bool judge(struct flight *flight, struct attempt *attempt)
{
    const struct hot_link_send *send = attempt->send;
    flight->counts.sends++;
    if (!well_formed(send)) {
        flight->counts.malformed++;
        return false;
    }
    attempt->key = (struct conv_key){send->from, send->device, send->send.to, send->send.class};
    attempt->place = (struct conv_place){send->session, send->send.seq, send->send.settled};
    gid_mid(send->from, send->device, send->send.cmid.at, attempt->mid);
    attempt->conv = conv_find(flight->convs, &attempt->key);
    if (attempt->conv != NULL) {
        conv_use(attempt->conv, attempt->now_ms);
        if (send->session > attempt->conv->session)
            let_go_of_known(attempt->conv);
    }
    struct outcome *outcome = outcome_find(flight->outcomes, attempt->mid);
    if (outcome != NULL) {
        again(flight, attempt, outcome);
        return false;
    }
    attempt->verdict = conv_judge(attempt->conv, &attempt->place, &attempt->expected);
    if (attempt->verdict == CONV_OLD) {
        flight->counts.old_session++;
        return false;
    }
    if (attempt->conv != NULL)
        forget_settled(flight, attempt->conv);
    if (attempt->verdict == CONV_GAP) {
        nack(flight, attempt, NACK_SEQ_GAP, attempt->expected);
        return false;
    }
    return true;
}

/* For good: it counts in the order. */
static void refuse(struct flight *flight, struct attempt *attempt, enum nack_reason reason)
{
    struct conv *conv = conv_for(flight, attempt);
    if (conv != NULL)
        conv_refused(conv, &attempt->place);
    nack(flight, attempt, reason, 0);
}

static void busy(struct flight *flight, struct attempt *attempt)
{
    if (LEFT_OUT(BUSY) && conv_for(flight, attempt) != NULL)
        conv_taken(attempt->conv, &attempt->place);
    nack(flight, attempt, NACK_BUSY, 0);
}

/* Those of the recipient that are to get it: what a device sends to its own user is for the others.
 */
static size_t sessions_for(struct flight *flight, const struct hot_link_send *send,
                           struct flight_session *sessions, bool *unknown)
{
    size_t all = flight->actions.sessions(flight->ctx, send->send.to, sessions, unknown);
    assert(all <= FLIGHT_DEVICES_MAX);
    size_t count = 0;
    for (size_t i = 0; i < all; i++)
        if (send->from != send->send.to || sessions[i].device != send->device)
            sessions[count++] = sessions[i];
    return count;
}

static struct message *place(struct flight *flight, const struct attempt *attempt,
                             const struct flight_session *sessions, size_t count, uint64_t sent_at)
{
    struct recipient_table *recipients = flight->recipients;
    struct message *message =
        recipient_message(recipients, attempt->send, attempt->mid, attempt->now_ms, sent_at);
    if (message == NULL)
        return NULL;
    struct recipient *to = recipient_make(recipients, attempt->send->send.to);
    bool placed = count > 0
                      ? recipient_offer(recipients, to, message, sessions, count, attempt->now_ms)
                      : recipient_wait(recipients, to, message);
    if (placed)
        return message;
    recipient_drop(recipients, message);
    recipient_done(recipients, to);
    return NULL;
}

static void take(struct flight *flight, struct attempt *attempt, uint64_t sent_at)
{
    UNINITIALIZED struct flight_session sessions[FLIGHT_DEVICES_MAX];
    bool unknown = false;
    size_t count = sessions_for(flight, attempt->send, sessions, &unknown);
    if (count == 0 && !unknown) {
        refuse(flight, attempt, NACK_OFFLINE);
        return;
    }
    if (attempt->verdict == CONV_REFUSE_ONLY) {
        nack(flight, attempt, NACK_SEQ_GAP, attempt->expected);
        return;
    }
    struct conv *conv = conv_for(flight, attempt);
    struct message *message =
        conv == NULL ? NULL : place(flight, attempt, sessions, count, sent_at);
    if (message == NULL) {
        busy(flight, attempt);
        return;
    }
    message->edge = attempt->edge;
    message->session = attempt->place.session;
    message->conv = conv;
    message->outcome = outcome_add(flight->outcomes, attempt->mid);
    message->outcome->message = message;
    ring_add(&conv->pending, &message->in_conv);
    conv_taken(conv, &attempt->place);
    remember_in_conv(conv, message->outcome, attempt->place.seq);
}

void flight_send(struct flight *flight, uint32_t edge, const struct hot_link_send *send,
                 uint64_t now_ms, uint64_t sent_at)
{
    struct attempt attempt = {.send = send, .now_ms = now_ms, .edge = edge};
    if (judge(flight, &attempt))
        take(flight, &attempt, sent_at);
}

void flight_refuse(struct flight *flight, uint32_t edge, const struct hot_link_send *send,
                   enum nack_reason reason, uint64_t now_ms)
{
    struct attempt attempt = {.send = send, .now_ms = now_ms, .edge = edge};
    if (!judge(flight, &attempt))
        return;
    if (reason == NACK_BUSY)
        busy(flight, &attempt);
    else
        refuse(flight, &attempt, reason);
}

/* ---- sessions ---- */

/* Ends those of a user without lanes that no edge ever got. What ends with one of them
 * comes after it in the ring, so the link before it stays good. */
static void end_stranded(struct flight *flight, struct recipient *recipient, uint64_t now_ms)
{
    struct ring *head = &recipient->pending, *before = head;
    while (before->next != head) {
        struct message *message = RING_OF(before->next, struct message, in_recipient);
        if (message->given)
            before = before->next;
        else
            end_unanswered(flight, message, now_ms);
    }
}

void flight_session_begun(struct flight *flight, uint64_t gid, const struct flight_session *session,
                          uint64_t replaced, uint64_t now_ms)
{
    struct recipient *recipient = recipient_find(flight->recipients, gid);
    if (recipient != NULL)
        recipient_begin(flight->recipients, recipient, session, replaced, now_ms);
}

void flight_session_ended(struct flight *flight, uint64_t gid, uint64_t session, uint64_t now_ms)
{
    struct recipient *recipient = recipient_find(flight->recipients, gid);
    struct lane *lane = recipient == NULL ? NULL : recipient_lane(recipient, session);
    if (lane == NULL)
        return;
    recipient_end(flight->recipients, lane);
    if (ring_empty(&recipient->lanes) && !ring_empty(&recipient->pending)) {
        struct flight_session sessions[FLIGHT_DEVICES_MAX];
        bool unknown = false;
        (void)flight->actions.sessions(flight->ctx, gid, sessions, &unknown);
        if (!unknown)
            end_stranded(flight, recipient, now_ms);
    }
    recipient_done(flight->recipients, recipient);
}

void flight_all_known(struct flight *flight, uint64_t now_ms)
{
    struct message *before = NULL, *message;
    while ((message = recipient_next(flight->recipients, before)) != NULL) {
        struct recipient *recipient = message->to;
        if (!message->pending || message->given || !ring_empty(&recipient->lanes)) {
            before = message;
            continue;
        }
        end_stranded(flight, recipient, now_ms);
        recipient_done(flight->recipients, recipient);
    }
}

/* ---- what edges say ---- */

/* The session's lane, if it is of this edge. Else NULL, and `known` tells whether the session is.
 */
static struct lane *lane_of(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                            uint64_t dseq, bool *known)
{
    struct recipient *recipient = recipient_find(flight->recipients, gid);
    struct lane *lane = recipient == NULL ? NULL : recipient_lane(recipient, session);
    if (lane != NULL) {
        *known = lane->edge == edge;
        return *known ? lane : NULL;
    }
    struct flight_session sessions[FLIGHT_DEVICES_MAX];
    bool unknown = false;
    size_t count = flight->actions.sessions(flight->ctx, gid, sessions, &unknown);
    *known = false;
    for (size_t i = 0; i < count; i++)
        *known |= sessions[i].session == session && sessions[i].edge == edge && sessions[i].live &&
                  dseq <= sessions[i].dseq;
    return NULL;
}

static bool refused(struct flight *flight)
{
    flight->counts.received_refused++;
    return false;
}

bool flight_received(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                     uint64_t dseq, uint64_t now_ms)
{
    bool known;
    struct lane *lane = lane_of(flight, edge, gid, session, dseq, &known);
    if (lane == NULL)
        return known || refused(flight);
    enum lane_place where = lane_received(lane, dseq);
    if (where == LANE_AHEAD)
        return refused(flight);
    if (where == LANE_OLD)
        return true;
    while (lane->count > 0 && lane->first <= dseq) {
        struct message *message = recipient_pop(flight->recipients, lane);
        if (message == NULL)
            continue;
        flight->counts.acknowledged++;
        if (message->pending)
            end_delivered(flight, message, now_ms);
        else
            recipient_release(flight->recipients, message);
    }
    recipient_moved(flight->recipients, lane, now_ms);
    return true;
}

bool flight_gap(struct flight *flight, uint32_t edge, uint64_t gid, uint64_t session,
                uint64_t expected, uint64_t now_ms)
{
    (void)now_ms;
    bool known;
    struct lane *lane = lane_of(flight, edge, gid, session, expected - 1, &known);
    if (lane == NULL)
        return known || refused(flight);
    switch (lane_gap(lane, expected)) {
    case LANE_AHEAD:
        return refused(flight);
    case LANE_DAMPED:
        flight->counts.gaps_damped++;
        return true;
    case LANE_OLD:
        return true;
    case LANE_MOVES:
        flight->counts.gaps++;
        recipient_pump(flight->recipients, lane);
        return true;
    }
    return true;
}

/* ---- time ---- */

void flight_tick(struct flight *flight, uint64_t now_ms)
{
    for (;;) {
        struct message *message = recipient_next(flight->recipients, NULL);
        if (message == NULL || message->taken_ms + flight->options.confirm_ms > now_ms)
            break;
        struct recipient *recipient = message->to;
        if (message->pending)
            end_unanswered(flight, message, now_ms);
        else
            recipient_clear(flight->recipients, message, now_ms);
        recipient_done(flight->recipients, recipient);
    }
    recipient_tick(flight->recipients, now_ms);
    if (now_ms < flight->options.outcome_ms)
        return;
    uint64_t old_ms = now_ms - flight->options.outcome_ms;
    outcome_forget_until(flight->outcomes, old_ms);
    struct conv *conv;
    while ((conv = conv_idle(flight->convs, old_ms, now_ms)) != NULL) {
        let_go_of_known(conv);
        conv_forget(flight->convs, conv);
    }
}

struct flight_levels flight_levels(const struct flight *flight)
{
    struct flight_levels levels = {.outcomes = outcome_decided(flight->outcomes),
                                   .convs = conv_count(flight->convs)};
    recipient_levels(flight->recipients, &levels);
    return levels;
}

const struct flight_counts *flight_counts(const struct flight *flight)
{
    return &flight->counts;
}

uint64_t flight_sends_in_flight(const struct flight *flight)
{
    return recipient_pending(flight->recipients);
}

uint64_t flight_deliveries_in_flight(const struct flight *flight)
{
    return recipient_entries(flight->recipients);
}
