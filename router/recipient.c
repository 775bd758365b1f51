#include "router/recipient.h"

#include "base/left_out.h"
#include "base/map.h"
#include "base/pool.h"

#include <stdlib.h>

/* Lanes outlive their last entry: the next message finds its lane, and a Received said twice is
 * known. */
#define LINGER_MS 10000u

struct recipient_table {
    struct flight_options options;
    struct flight_actions actions;
    void *ctx;
    struct flight_counts *counts;
    struct pool recipients, messages, lanes;
    struct map by_gid;
    struct ring by_age;                /* messages */
    struct ring moving, waiting, idle; /* lanes: with entries, the same but not live, without */
    uint64_t next_order;
    uint64_t body_bytes;
};

/* ---- users ---- */

static struct recipient *recipient_at(const struct recipient_table *table, uint32_t index)
{
    return pool_at(&table->recipients, index);
}

static bool same_gid(const void *ctx, uint32_t index, const void *gid)
{
    return recipient_at(ctx, index)->gid == *(const uint64_t *)gid;
}

struct recipient_table *recipient_table_new(const struct flight_options *options,
                                            const struct flight_actions *actions, void *ctx,
                                            struct flight_counts *counts)
{
    struct recipient_table *table = calloc(1, sizeof *table);
    assert(table != NULL && options->retry_ms > 0);
    *table = (struct recipient_table){
        .options = *options, .actions = *actions, .ctx = ctx, .counts = counts};
    /* Users and lanes are limited by the messages and sessions that need them. */
    pool_init(&table->recipients, sizeof(struct recipient), UINT32_C(1) << 31);
    pool_init(&table->messages, sizeof(struct message), options->pending_max);
    pool_init(&table->lanes, sizeof(struct lane), UINT32_C(1) << 31);
    map_init(&table->by_gid);
    ring_init(&table->by_age);
    ring_init(&table->moving);
    ring_init(&table->waiting);
    ring_init(&table->idle);
    return table;
}

static void close_lanes(struct ring *head)
{
    for (struct ring *link = head->next; link != head; link = link->next)
        lane_close(RING_OF(link, struct lane, by_time));
}

void recipient_table_free(struct recipient_table *table)
{
    if (table == NULL)
        return;
    close_lanes(&table->moving);
    close_lanes(&table->waiting);
    close_lanes(&table->idle);
    for (struct ring *link = table->by_age.next; link != &table->by_age; link = link->next)
        free(RING_OF(link, struct message, by_age)->body);
    map_free(&table->by_gid);
    pool_free(&table->recipients);
    pool_free(&table->messages);
    pool_free(&table->lanes);
    free(table);
}

struct recipient *recipient_find(const struct recipient_table *table, uint64_t gid)
{
    uint32_t index = map_find(&table->by_gid, gid_hash(gid), same_gid, table, &gid);
    return index == MAP_NONE ? NULL : recipient_at(table, index);
}

struct recipient *recipient_make(struct recipient_table *table, uint64_t gid)
{
    struct recipient *recipient = recipient_find(table, gid);
    if (recipient != NULL)
        return recipient;
    uint32_t index = pool_take(&table->recipients);
    assert(index != POOL_NONE);
    recipient = recipient_at(table, index);
    recipient->gid = gid;
    recipient->index = index;
    ring_init(&recipient->lanes);
    ring_init(&recipient->pending);
    map_add(&table->by_gid, gid_hash(gid), index);
    return recipient;
}

void recipient_done(struct recipient_table *table, struct recipient *recipient)
{
    if (!ring_empty(&recipient->lanes) || !ring_empty(&recipient->pending))
        return;
    map_remove(&table->by_gid, gid_hash(recipient->gid), recipient->index);
    pool_give(&table->recipients, recipient->index);
}

/* ---- messages ---- */

struct message *recipient_message(struct recipient_table *table, const struct hot_link_send *send,
                                  const uint8_t mid[GID_MID_SIZE], uint64_t now_ms,
                                  uint64_t sent_at)
{
    size_t bytes = send->send.body.len;
    if (table->body_bytes + bytes > table->options.pending_bytes_max) {
        table->counts->full_bytes++;
        return NULL;
    }
    uint32_t index = pool_take(&table->messages);
    if (index == POOL_NONE) {
        table->counts->full_pending++;
        return NULL;
    }
    struct message *message = pool_at(&table->messages, index);
    message->index = index;
    message->from = send->from;
    message->device = send->device;
    message->sent_at = sent_at;
    message->taken_ms = now_ms;
    message->order = ++table->next_order;
    memcpy(message->mid, mid, GID_MID_SIZE);
    memcpy(message->cmid, send->send.cmid.at, GID_CMID_SIZE);
    message->bytes = (uint32_t)bytes;
    message->body = malloc(bytes + (bytes == 0));
    assert(message->body != NULL);
    if (bytes > 0)
        memcpy(message->body, send->send.body.at, bytes);
    table->body_bytes += bytes;
    ring_add(&table->by_age, &message->by_age);
    ring_init(&message->in_recipient);
    ring_init(&message->in_conv);
    return message;
}

void recipient_drop(struct recipient_table *table, struct message *message)
{
    assert(!message->pending && message->lanes == 0);
    ring_remove(&message->by_age);
    table->body_bytes -= message->bytes;
    free(message->body);
    pool_give(&table->messages, message->index);
}

void recipient_release(struct recipient_table *table, struct message *message)
{
    if (!message->pending && message->lanes == 0)
        recipient_drop(table, message);
}

static void add_pending(struct recipient *recipient, struct message *message)
{
    message->pending = true;
    message->to = recipient;
    ring_add(&recipient->pending, &message->in_recipient);
    recipient->pending_count++;
    recipient->pending_bytes += message->bytes;
}

bool recipient_wait(struct recipient_table *table, struct recipient *recipient,
                    struct message *message)
{
    const struct flight_options *options = &table->options;
    if (recipient->pending_count >= options->lane_entries_max ||
        (recipient->pending_count > 0 &&
         recipient->pending_bytes + message->bytes > options->lane_bytes_max)) {
        table->counts->full_lanes++;
        return false;
    }
    add_pending(recipient, message);
    return true;
}

void recipient_settle(struct recipient_table *table, struct message *message)
{
    assert(message->pending);
    message->pending = false;
    ring_remove(&message->in_recipient);
    message->to->pending_count--;
    message->to->pending_bytes -= message->bytes;
    recipient_release(table, message);
}

struct message *recipient_next(const struct recipient_table *table, const struct message *message)
{
    const struct ring *link = message == NULL ? &table->by_age : &message->by_age;
    return link->next == &table->by_age ? NULL : RING_OF(link->next, struct message, by_age);
}

static struct message *message_at(const struct recipient_table *table, uint32_t index)
{
    return pool_at(&table->messages, index);
}

/* ---- lanes ---- */

struct lane *recipient_lane(const struct recipient *recipient, uint64_t session)
{
    for (struct ring *link = recipient->lanes.next; link != &recipient->lanes; link = link->next) {
        struct lane *lane = RING_OF(link, struct lane, in_recipient);
        if (lane->session == session)
            return lane;
    }
    return NULL;
}

/* In the ring that fits what is in it, with the timer begun anew. */
static void set_timer(struct recipient_table *table, struct lane *lane, uint64_t now_ms)
{
    struct ring *head = &table->idle;
    lane->due_ms = now_ms + LINGER_MS;
    if (lane->count > 0) {
        head = lane->live ? &table->moving : &table->waiting;
        lane->due_ms = now_ms + table->options.retry_ms;
    }
    ring_move(head, &lane->by_time);
}

void recipient_clear(struct recipient_table *table, struct message *message, uint64_t now_ms)
{
    struct recipient *recipient = message->to;
    for (struct ring *link = recipient->lanes.next; link != &recipient->lanes; link = link->next) {
        struct lane *lane = RING_OF(link, struct lane, in_recipient);
        if (message->lanes == 0 || !lane_clear(lane, message->index))
            continue;
        message->lanes--;
        table->counts->expired++;
        if (lane->count == 0)
            set_timer(table, lane, now_ms);
    }
    assert(message->lanes == 0);
    recipient_release(table, message);
}

static void enter(struct recipient_table *table, struct lane *lane, struct message *message,
                  uint64_t now_ms)
{
    bool first = lane->count == 0;
    lane_push(lane, message->index, message->bytes);
    lane->last_order = message->order;
    message->lanes++;
    table->counts->made++;
    if (first)
        set_timer(table, lane, now_ms);
}

static bool fits(const struct recipient_table *table, const struct lane *lane,
                 const struct message *message)
{
    return lane->count < table->options.lane_entries_max &&
           (lane->count == 0 || lane->bytes + message->bytes <= table->options.lane_bytes_max);
}

/* To these lanes, all of one edge, each with its number. No message: an empty delivery. */
static bool deliver(struct recipient_table *table, struct message *message,
                    struct lane *const *lanes, const uint64_t *dseqs, uint32_t count)
{
    UNINITIALIZED struct hot_link_deliver deliver; /* filled only as far as it is read */
    deliver.to = lanes[0]->to->gid;
    deliver.epoch = 0;
    deliver.class = HOT_CONFIRMED;
    deliver.sessions = deliver.dseqs = count;
    for (uint32_t i = 0; i < count; i++) {
        deliver.session[i] = lanes[i]->session;
        deliver.dseq[i] = dseqs[i];
    }
    deliver.from = deliver.sent_at = 0;
    deliver.mid = deliver.body = (struct span){0};
    if (message != NULL) {
        deliver.from = message->from;
        deliver.sent_at = message->sent_at;
        deliver.mid = span_of(message->mid, GID_MID_SIZE);
        deliver.body = span_of(message->body, message->bytes);
    }
    if (!table->actions.deliver(table->ctx, lanes[0]->edge, &deliver))
        return false;
    if (message != NULL)
        message->given = true;
    return true;
}

void recipient_pump(struct recipient_table *table, struct lane *lane)
{
    uint32_t item;
    uint64_t dseq;
    while (lane_give(lane, &item, &dseq)) {
        struct message *message = item == LANE_EMPTY ? NULL : message_at(table, item);
        bool hole = message == NULL && LEFT_OUT(SKIP);
        if (!hole && !deliver(table, message, &lane, &dseq, 1))
            return;
        if (lane_gave(lane) && message != NULL)
            table->counts->redelivered++;
    }
}

/* What waits for the user and is not in the lane yet, as far as it has room: leaving one out and
 * taking the next would break the order. Never what the device itself has sent. */
static void catch_up(struct recipient_table *table, struct lane *lane, uint64_t now_ms)
{
    struct recipient *recipient = lane->to;
    struct ring *head = &recipient->pending;
    lane->behind = false;
    for (struct ring *link = head->next; link != head; link = link->next) {
        struct message *message = RING_OF(link, struct message, in_recipient);
        bool own = message->from == recipient->gid && message->device == lane->device;
        if (own || message->order <= lane->last_order)
            continue;
        lane->behind = !fits(table, lane, message);
        if (lane->behind)
            return;
        enter(table, lane, message, now_ms);
    }
}

static struct lane *make_lane(struct recipient_table *table, struct recipient *recipient,
                              const struct flight_session *session, uint64_t now_ms)
{
    uint32_t index = pool_take(&table->lanes);
    assert(index != POOL_NONE);
    struct lane *lane = pool_at(&table->lanes, index);
    lane_open(lane, session->session, session->device, session->edge);
    lane->index = index;
    lane->to = recipient;
    ring_init(&lane->by_time);
    ring_init(&lane->in_recipient);
    ring_add(&recipient->lanes, &lane->in_recipient);
    if (session->live)
        lane_announce(lane, session->dseq);
    set_timer(table, lane, now_ms);
    return lane;
}

static void forget_lane(struct recipient_table *table, struct lane *lane)
{
    lane_close(lane);
    ring_remove(&lane->by_time);
    ring_remove(&lane->in_recipient);
    pool_give(&table->lanes, lane->index);
}

struct message *recipient_pop(struct recipient_table *table, struct lane *lane)
{
    uint32_t item = lane_pop(lane);
    if (item == LANE_EMPTY)
        return NULL;
    struct message *message = message_at(table, item);
    message->lanes--;
    return message;
}

void recipient_moved(struct recipient_table *table, struct lane *lane, uint64_t now_ms)
{
    if (lane->behind)
        catch_up(table, lane, now_ms);
    set_timer(table, lane, now_ms);
    recipient_pump(table, lane);
}

/* ---- sessions ---- */

/* Its entries become those of the session that follows it. */
static void inherit(struct recipient_table *table, struct lane *old, struct lane *lane,
                    uint64_t now_ms)
{
    while (old->count > 0) {
        struct message *message = recipient_pop(table, old);
        if (message == NULL)
            continue;
        table->counts->superseded++;
        enter(table, lane, message, now_ms);
    }
    if (lane->last_order < old->last_order)
        lane->last_order = old->last_order;
    forget_lane(table, old);
}

void recipient_begin(struct recipient_table *table, struct recipient *recipient,
                     const struct flight_session *session, uint64_t replaced, uint64_t now_ms)
{
    struct lane *lane = recipient_lane(recipient, session->session);
    if (lane == NULL)
        lane = make_lane(table, recipient, session, now_ms);
    else if (session->live)
        lane_announce(lane, session->dseq);
    struct lane *old = replaced == 0 ? NULL : recipient_lane(recipient, replaced);
    if (old != NULL && old != lane)
        inherit(table, old, lane, now_ms);
    catch_up(table, lane, now_ms);
    recipient_moved(table, lane, now_ms);
}

void recipient_end(struct recipient_table *table, struct lane *lane)
{
    while (lane->count > 0) {
        struct message *message = recipient_pop(table, lane);
        if (message == NULL)
            continue;
        table->counts->session_gone++;
        recipient_release(table, message);
    }
    forget_lane(table, lane);
}

static struct lane *lane_for(struct recipient_table *table, struct recipient *recipient,
                             const struct flight_session *session, uint64_t now_ms)
{
    struct lane *lane = recipient_lane(recipient, session->session);
    if (lane == NULL || (session->live && !lane->live)) {
        recipient_begin(table, recipient, session, 0, now_ms);
        lane = recipient_lane(recipient, session->session);
    } else {
        if (lane->behind)
            catch_up(table, lane, now_ms);
        if (lane->given < lane->count)
            recipient_pump(table, lane);
    }
    return lane;
}

/* One delivery for each edge. Marks in `taken` whose edge took it. */
static bool deliver_by_edge(struct recipient_table *table, struct message *message,
                            struct lane *const *lanes, size_t count, bool *taken)
{
    bool any = false;
    bool done[FLIGHT_DEVICES_MAX] = {false};
    for (size_t i = 0; i < count; i++) {
        struct lane *together[FLIGHT_DEVICES_MAX];
        uint64_t dseqs[FLIGHT_DEVICES_MAX];
        size_t which[FLIGHT_DEVICES_MAX];
        uint32_t n = 0;
        for (size_t j = i; j < count; j++) {
            if (done[j] || lanes[j]->edge != lanes[i]->edge || !lanes[j]->live ||
                lanes[j]->given < lanes[j]->count)
                continue;
            done[j] = true;
            which[n] = j;
            dseqs[n] = lane_next(lanes[j]);
            together[n++] = lanes[j];
        }
        if (n == 0 || !deliver(table, message, together, dseqs, n))
            continue;
        any = true;
        for (uint32_t k = 0; k < n; k++)
            taken[which[k]] = true;
    }
    return any;
}

bool recipient_offer(struct recipient_table *table, struct recipient *recipient,
                     struct message *message, const struct flight_session *sessions, size_t count,
                     uint64_t now_ms)
{
    assert(count <= FLIGHT_DEVICES_MAX);
    struct lane *lanes[FLIGHT_DEVICES_MAX];
    bool taken[FLIGHT_DEVICES_MAX] = {false};
    size_t n = 0;
    bool waits = false;
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = lane_for(table, recipient, &sessions[i], now_ms);
        lane->behind = lane->behind || !fits(table, lane, message);
        if (lane->behind)
            continue;
        lanes[n++] = lane;
        waits |= !lane->live;
    }
    if (!deliver_by_edge(table, message, lanes, n, taken) && !waits) {
        table->counts->full_lanes += n == 0;
        table->counts->full_credit += n > 0;
        return false;
    }
    add_pending(recipient, message);
    for (size_t i = 0; i < n; i++) {
        enter(table, lanes[i], message, now_ms);
        if (taken[i])
            (void)lane_gave(lanes[i]);
    }
    return true;
}

/* ---- time ---- */

void recipient_tick(struct recipient_table *table, uint64_t now_ms)
{
    while (!ring_empty(&table->moving)) {
        struct lane *lane = RING_OF(table->moving.next, struct lane, by_time);
        if (lane->due_ms > now_ms)
            break;
        lane_retry(lane);
        recipient_moved(table, lane, now_ms);
    }
    while (!ring_empty(&table->idle)) {
        struct lane *lane = RING_OF(table->idle.next, struct lane, by_time);
        if (lane->due_ms > now_ms)
            break;
        struct recipient *recipient = lane->to;
        if (lane->live)
            table->actions.keep_dseq(table->ctx, recipient->gid, lane->device, lane->session,
                                     (uint32_t)(lane->first - 1));
        forget_lane(table, lane);
        recipient_done(table, recipient);
    }
}

uint64_t recipient_pending(const struct recipient_table *table)
{
    uint64_t pending = 0;
    for (struct ring *link = table->by_age.next; link != &table->by_age; link = link->next)
        pending += RING_OF(link, struct message, by_age)->pending;
    return pending;
}

static uint64_t entries_in(const struct ring *head)
{
    uint64_t entries = 0;
    for (struct ring *link = head->next; link != head; link = link->next)
        entries += lane_filled(RING_OF(link, struct lane, by_time));
    return entries;
}

uint64_t recipient_entries(const struct recipient_table *table)
{
    return entries_in(&table->moving) + entries_in(&table->waiting) + entries_in(&table->idle);
}

static uint64_t most_in(const struct ring *head)
{
    uint64_t most = 0;
    for (const struct ring *link = head->next; link != head; link = link->next) {
        const struct lane *lane = RING_OF((struct ring *)(uintptr_t)link, struct lane, by_time);
        most = lane->count > most ? lane->count : most;
    }
    return most;
}

void recipient_levels(const struct recipient_table *table, struct flight_levels *levels)
{
    uint64_t moving = most_in(&table->moving), waiting = most_in(&table->waiting);
    levels->pending = table->messages.in_use;
    levels->bytes = table->body_bytes;
    levels->most_unacknowledged = moving > waiting ? moving : waiting;
}
