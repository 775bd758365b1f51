#include "edge/session_table.h"

#include "base/left_out.h"

static void say_no_session(struct session_table *table, uint32_t shard, uint64_t gid,
                           uint64_t session)
{
    Lahar__Link__V1__NoSession no_session = LAHAR__LINK__V1__NO_SESSION__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    no_session.gid = gid;
    no_session.session = session;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_NO_SESSION;
    frame.no_session = &no_session;
    (void)uplink_say(table, shard, &frame);
}

/* Once for a place: what follows it tells nothing new, until the place moves or a while has passed.
 */
static void say_gap(struct session_table *table, uint32_t shard, struct session *s, uint32_t epoch)
{
    uint64_t expected = s->dseq_let + 1;
    bool told = s->gap_place == expected && (uint32_t)table->now_ms - s->gap_ms < SESSION_RETRY_MS;
    if (told && !LEFT_OUT(DAMPING))
        return;
    s->gap_place = expected;
    s->gap_ms = (uint32_t)table->now_ms;
    Lahar__Link__V1__DeliveryGap gap = LAHAR__LINK__V1__DELIVERY_GAP__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    gap.gid = s->gid;
    gap.session = s->session;
    gap.expected = expected;
    gap.epoch = epoch;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP;
    frame.delivery_gap = &gap;
    if (uplink_say(table, shard, &frame))
        session_count_one(table, EDGE_METRIC_GAPS_TOLD);
}

/* Needs no credit; if it is lost, the owner delivers again and is told again. */
static void say_received(struct session_table *table, uint32_t shard, const struct session *s)
{
    uint8_t frame[HOT_OVERHEAD_MAX];
    struct hot_received received = {s->gid, s->session, s->dseq_acked};
    size_t size = hot_link_received_write(frame, &received);
    (void)uplink_forward(table, shard, LINK_FREE, span_of(frame, size));
}

static void hand_over(struct session_table *table, const struct session *s,
                      const struct hot_link_deliver *from, uint64_t dseq)
{
    struct hot_deliver deliver = {.dseq = dseq,
                                  .from = from->from,
                                  .sent_at = from->sent_at,
                                  .class = from->class,
                                  .mid = from->mid,
                                  .body = from->body};
    if (from->mid.len == 0 && dseq > 0) /* empty: it only moves dseq on */
        deliver = (struct hot_deliver){.dseq = dseq};
    size_t size = hot_deliver_write(table->scratch, &deliver);
    table->actions.send(table->ctx, session_conn(s), span_of(table->scratch, size));
}

/* The gate: only the next one passes. Returns how the delivery ended, or EDGE_METRICS if it is in
 * flight now. */
static size_t numbered(struct session_table *table, uint32_t shard, struct session *s,
                       const struct hot_link_deliver *deliver, uint64_t dseq)
{
    if (dseq <= s->dseq_let) {
        if (dseq <= s->dseq_acked)
            say_received(table, shard, s);
        return EDGE_METRIC_DELIVERIES_OLD;
    }
    if (dseq > s->dseq_let + 1 && !LEFT_OUT(DSEQ)) {
        say_gap(table, shard, s, deliver->epoch);
        return EDGE_METRIC_DROPPED_GAP;
    }
    s->dseq_let = dseq;
    hand_over(table, s, deliver, dseq);
    return EDGE_METRICS;
}

static bool well_formed(const struct hot_link_deliver *deliver)
{
    bool is_numbered = deliver->class != HOT_EPHEMERAL;
    return deliver->class < HOT_CLASSES && deliver->body.len <= FRAME_PAYLOAD_SIZE_MAX &&
           deliver->dseqs == (is_numbered ? deliver->sessions : 0);
}

void deliver_frame(struct session_table *table, uint32_t shard, struct span content)
{
    UNINITIALIZED struct hot_link_deliver deliver;
    if (!hot_link_deliver_read(content, &deliver) || !well_formed(&deliver)) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    metrics_add(table->metrics, EDGE_METRIC_DELIVERIES, deliver.sessions);
    uint32_t epoch = route_epoch(table->routes, gid_slot(deliver.to));
    if ((epoch == 0 || deliver.epoch != epoch) && !LEFT_OUT(EPOCH)) {
        metrics_add(table->metrics, EDGE_METRIC_DROPPED_EPOCH, deliver.sessions);
        return;
    }
    for (uint32_t i = 0; i < deliver.sessions; i++) {
        struct session *s = session_find(table, deliver.to, deliver.session[i]);
        size_t end = EDGE_METRIC_DELIVERIES_PASSED;
        if (s == NULL) {
            say_no_session(table, shard, deliver.to, deliver.session[i]);
            end = EDGE_METRIC_DROPPED_GONE;
        } else if (deliver.dseqs == 0) {
            hand_over(table, s, &deliver, 0);
        } else {
            end = numbered(table, shard, s, &deliver, deliver.dseq[i]);
        }
        if (end != EDGE_METRICS)
            session_count_one(table, end);
    }
}

void deliver_received(struct session_table *table, struct session *s, struct span content)
{
    struct hot_received received;
    if (!hot_received_read(content, &received)) {
        session_end(table, s, END_BAD_FRAME, true);
    } else if (received.dseq > s->dseq_let) {
        session_end(table, s, END_BAD_SEQUENCE, true);
    } else if (received.dseq > s->dseq_acked) {
        metrics_add(table->metrics, EDGE_METRIC_DELIVERIES_ACKED, received.dseq - s->dseq_acked);
        s->dseq_acked = received.dseq;
        say_received(table, uplink_of(table, s->slot), s);
    }
}

void deliver_forget(struct session_table *table, struct session *s)
{
    metrics_add(table->metrics, EDGE_METRIC_DROPPED_CLOSED, s->dseq_let - s->dseq_acked);
    s->dseq_acked = s->dseq_let;
}
