#include "edge/session_table.h"

#define HOPS_MAX 3u
/* A send that nobody answered for so long will not be answered: its owner decides within 5 s. It
 * ends as unknown when its room is needed, so that lost answers do not close the window for good.
 */
#define STALE_MS 30000u

struct sending {
    uint8_t cmid[GID_CMID_SIZE];
    uint32_t since_ms;
    bool repeated; /* given to the link more than once: only the owner knows what became of it */
};

size_t sending_block_size(uint32_t sends_in_flight)
{
    return sends_in_flight * sizeof(struct sending);
}

static struct sending *block_of(const struct session_table *table, const struct session *s)
{
    return s->in_flight == 0 ? NULL : pool_at(&table->sendings, s->sendings);
}

static struct sending *find(const struct session_table *table, const struct session *s,
                            struct span cmid)
{
    struct sending *block = block_of(table, s);
    for (uint32_t i = 0; i < s->in_flight; i++)
        if (memcmp(block[i].cmid, cmid.at, GID_CMID_SIZE) == 0)
            return &block[i];
    return NULL;
}

static void add(struct session_table *table, struct session *s, struct span cmid)
{
    if (s->in_flight == 0) {
        s->sendings = pool_take(&table->sendings);
        assert(s->sendings != POOL_NONE); /* as many blocks as sessions */
    }
    struct sending *block = pool_at(&table->sendings, s->sendings);
    struct sending *sending = &block[s->in_flight++];
    memcpy(sending->cmid, cmid.at, GID_CMID_SIZE);
    sending->since_ms = (uint32_t)table->now_ms;
    sending->repeated = false;
}

static void take_off(struct session_table *table, struct session *s, struct sending *sending)
{
    struct sending *block = block_of(table, s);
    *sending = block[--s->in_flight];
    if (s->in_flight == 0) {
        pool_give(&table->sendings, s->sendings);
        s->sendings = POOL_NONE;
    }
}

void sending_forget(struct session_table *table, struct session *s)
{
    if (s->in_flight == 0)
        return;
    metrics_add(table->metrics, EDGE_METRIC_SENDS_UNKNOWN, s->in_flight);
    s->in_flight = 0;
    pool_give(&table->sendings, s->sendings);
    s->sendings = POOL_NONE;
}

static bool window_full(struct session_table *table, struct session *s)
{
    if (s->in_flight < table->options.sends_in_flight)
        return false;
    struct sending *block = block_of(table, s);
    for (uint32_t i = s->in_flight; i-- > 0;) {
        if ((uint32_t)table->now_ms - block[i].since_ms < STALE_MS)
            continue;
        session_count_one(table, EDGE_METRIC_SENDS_UNKNOWN);
        take_off(table, s, &block[i]);
    }
    if (s->in_flight < table->options.sends_in_flight)
        return false;
    limits_refused(table->limits, LIMIT_SENDS_IN_FLIGHT);
    return true;
}

/* 0, or how long to wait for one send to be free. */
static uint32_t over_rate(struct session_table *table, struct session *s)
{
    struct bucket_rate rate = {table->options.sends_per_s, table->options.sends_burst};
    uint32_t wait_ms = bucket_take(&s->rate, rate, (uint32_t)table->now_ms);
    if (wait_ms != 0) {
        limits_refused(table->limits, LIMIT_SENDS);
        return wait_ms;
    }
    wait_ms = limits_send(table->limits, s->address);
    return wait_ms != 0 ? wait_ms : quota_send(table, s);
}

static bool too_much(struct session_table *table)
{
    if (limits_class(table->limits) < LIMITS_NO_EPHEMERAL)
        return false;
    limits_refused(table->limits, LIMIT_OVERLOAD_SENDS);
    return true;
}

static void say_nack(struct session_table *table, const struct session *s,
                     const struct hot_nack *nack)
{
    uint8_t frame[HOT_OVERHEAD_MAX];
    size_t size = hot_nack_write(frame, nack);
    table->actions.send(table->ctx, session_conn(s), span_of(frame, size));
}

/* We may refuse only what the link was not given. */
static void refuse(struct session_table *table, const struct session *s,
                   const struct hot_send *send, enum nack_reason reason, uint32_t retry_after_ms)
{
    if (send->class == HOT_EPHEMERAL) {
        session_count_one(table, EDGE_METRIC_SENDS_SHED);
        return;
    }
    session_count_one(table, EDGE_METRIC_NACK(reason));
    struct hot_nack nack = {send->cmid, reason, retry_after_ms, 0};
    say_nack(table, s, &nack);
}

static enum link_sent forward(struct session_table *table, const struct hot_link_send *stamped)
{
    size_t size = hot_link_send_write(table->scratch, stamped);
    enum link_sent sent = uplink_forward(table, uplink_of(table, gid_slot(stamped->send.to)),
                                         LINK_CREDITED, span_of(table->scratch, size));
    if (sent == LINK_NO_CREDIT)
        limits_refused(table->limits, LIMIT_CREDIT);
    return sent;
}

static enum nack_reason judge(const struct hot_send *send)
{
    if (send->body.len > FRAME_PAYLOAD_SIZE_MAX)
        return NACK_TOO_BIG;
    if (send->class >= HOT_CLASSES || gid_kind(send->to) != GID_USER)
        return NACK_UNSUPPORTED;
    return gid_valid(send->to) ? NACK_NONE : NACK_NO_USER;
}

void sending_send(struct session_table *table, struct session *s, struct span content)
{
    struct hot_link_send stamped = {.from = s->gid, .device = s->device, .session = s->session};
    struct hot_send *send = &stamped.send;
    if (!hot_send_read(content, send) || (send->class != HOT_EPHEMERAL && send->cmid.len == 0)) {
        session_end(table, s, END_BAD_FRAME, true);
        return;
    }
    session_count_one(table, EDGE_METRIC_SENDS);
    enum nack_reason reason = judge(send);
    if (reason != NACK_NONE) {
        refuse(table, s, send, reason, 0);
        return;
    }
    uint32_t wait_ms = over_rate(table, s);
    if (send->class == HOT_EPHEMERAL) {
        bool takes = wait_ms == 0 && !too_much(table);
        bool passed = takes && forward(table, &stamped) == LINK_QUEUED;
        session_count_one(table, passed ? EDGE_METRIC_SENDS_PASSED : EDGE_METRIC_SENDS_SHED);
        return;
    }
    struct sending *first = find(table, s, send->cmid);
    if (first != NULL) {
        session_count_one(table, EDGE_METRIC_SENDS_REPEATED);
        if (wait_ms == 0 && forward(table, &stamped) == LINK_QUEUED)
            first->repeated = true;
        return;
    }
    if (wait_ms > 0)
        refuse(table, s, send, NACK_BUSY, wait_ms);
    else if (window_full(table, s) || forward(table, &stamped) != LINK_QUEUED)
        refuse(table, s, send, NACK_BUSY, SESSION_BUSY_RETRY_MS);
    else
        add(table, s, send->cmid);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void ended(struct session_table *table, uint32_t level, uint32_t reason)
{
    if (level != HOT_LEVEL_NONE)
        session_count_one(table, EDGE_METRIC_SENDS_ACKED);
    else if (reason != NACK_NONE && reason < NACK_REASONS)
        session_count_one(table, EDGE_METRIC_NACK(reason));
    else /* a newer router's reason: unknown is always true */
        session_count_one(table, EDGE_METRIC_SENDS_UNKNOWN);
}

void sending_answer(struct session_table *table, struct span content)
{
    struct hot_answer answer;
    if (!hot_answer_read(content, &answer) || answer.cmid.len == 0) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    struct session *s = session_find(table, answer.gid, answer.session);
    if (s == NULL) {
        session_count_one(table, EDGE_METRIC_ANSWERS_LATE);
        return;
    }
    struct sending *sending = find(table, s, answer.cmid);
    if (sending != NULL) {
        ended(table, answer.level, answer.reason);
        take_off(table, s, sending);
    }
    /* Also what we no longer wait for: it may be what the client lacks. */
    if (answer.level == HOT_LEVEL_NONE) {
        struct hot_nack nack = {answer.cmid, answer.reason, answer.retry_after_ms,
                                answer.expected_seq};
        say_nack(table, s, &nack);
        return;
    }
    uint8_t frame[HOT_OVERHEAD_MAX];
    struct hot_ack ack = {answer.cmid, answer.level, answer.mid};
    size_t size = hot_ack_write(frame, &ack);
    table->actions.send(table->ctx, session_conn(s), span_of(frame, size));
}

void sending_returned(struct session_table *table, struct span content)
{
    struct hot_link_send stamped;
    if (!hot_link_send_read(content, &stamped)) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    struct session *s = session_find(table, stamped.from, stamped.session);
    bool ephemeral = stamped.send.class == HOT_EPHEMERAL;
    struct sending *sending = s == NULL || ephemeral || stamped.send.cmid.len == 0
                                  ? NULL
                                  : find(table, s, stamped.send.cmid);
    bool waited_for = s != NULL && (ephemeral || sending != NULL);
    bool may_hop = stamped.hops < HOPS_MAX;
    stamped.hops++;
    if (waited_for && may_hop && forward(table, &stamped) == LINK_QUEUED) {
        session_count_one(table, EDGE_METRIC_REROUTED);
        return;
    }
    session_count_one(table, EDGE_METRIC_GIVEN_UP);
    if (sending == NULL || sending->repeated)
        return;
    take_off(table, s, sending);
    refuse(table, s, &stamped.send, NACK_BUSY, SESSION_BUSY_RETRY_MS);
}
