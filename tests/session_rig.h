/* session_rig: a session table between scripted clients and scripted shards, for the tests of the
 * edge's session core. Time stands still until it is moved; whatever the table sends is kept until
 * the test takes it. */
#ifndef TESTS_SESSION_RIG_H
#define TESTS_SESSION_RIG_H

#include "base/log.h"
#include "edge/session_table.h"
#include "proto/client.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define RIG_SHARDS 4u
#ifndef RIG_CONNS
#define RIG_CONNS 4096u
#endif
#define RIG_QUEUE 512u
#define RIG_GID UINT64_C(10001)

struct rig_frames {
    uint8_t *bytes;
    size_t begin, end, room;
};

struct rig {
    struct session_table *table;
    struct metrics metrics;
    uint64_t now_ms;
    uint32_t generation;
    uint64_t random;
    struct rig_frames to_client[RIG_CONNS];
    enum end_reason
        closed[RIG_CONNS]; /* by the table; the conn's on_closed is the test's to give */
    struct rig_frames to_shard[RIG_SHARDS];
    enum link_sent credited, free; /* what the link says from now on */
    enum token_verdict verdict;
    struct conn_from from; /* where the next client comes from */
    struct token_claims claims;
};

static inline void rig_keep(struct rig_frames *frames, struct span bytes)
{
    if (bytes.len == 0)
        return;
    if (frames->begin == frames->end)
        frames->begin = frames->end = 0;
    if (frames->end + bytes.len > frames->room) {
        frames->room = (frames->end + bytes.len) * 2;
        frames->bytes = realloc(frames->bytes, frames->room);
        assert(frames->bytes != NULL);
    }
    memcpy(frames->bytes + frames->end, bytes.at, bytes.len);
    frames->end += bytes.len;
}

/* The next whole frame; empty if there is none. */
static inline struct span rig_take(struct rig_frames *frames, size_t size_max)
{
    struct span body = {NULL, 0};
    if (frames->begin == frames->end)
        return body;
    struct span input = {frames->bytes + frames->begin, frames->end - frames->begin};
    enum frame_status status = frame_take(&input, size_max, &body);
    assert(status == FRAME_READY);
    frames->begin = frames->end - input.len;
    return body;
}

/* --- the table's actions */

static inline void rig_on_send(void *ctx, struct conn_id id, struct span bytes)
{
    struct rig *rig = ctx;
    rig_keep(&rig->to_client[id.slot], bytes);
}

static inline void rig_on_close(void *ctx, struct conn_id id, enum end_reason reason)
{
    struct rig *rig = ctx;
    assert(rig->closed[id.slot] == END_NONE);
    rig->closed[id.slot] = reason;
}

static inline enum link_sent rig_on_forward(void *ctx, uint32_t shard, enum link_kind kind,
                                            struct span frame)
{
    struct rig *rig = ctx;
    assert(shard < RIG_SHARDS);
    enum link_sent sent = kind == LINK_CREDITED ? rig->credited : rig->free;
    if (sent == LINK_QUEUED)
        rig_keep(&rig->to_shard[shard], frame);
    return sent;
}

static inline enum token_verdict rig_on_verify(void *ctx, const struct sites *sites,
                                               struct span token, uint64_t now_s,
                                               struct token_claims *claims)
{
    struct rig *rig = ctx;
    (void)token;
    (void)now_s;
    *claims = rig->claims;
    if (rig->verdict == TOKEN_UNKNOWN_SITE &&
        sites_find(sites, span_of(claims->site, claims->site_len)) != NULL)
        return TOKEN_OK;
    return rig->verdict;
}

static inline uint64_t rig_on_random(void *ctx)
{
    struct rig *rig = ctx;
    rig->random = rig->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return rig->random >> 16;
}

/* --- making and ending */

static inline void rig_claim(struct rig *rig, const char *site, const char *user,
                             const char *device)
{
    struct token_claims *claims = &rig->claims;
    *claims = (struct token_claims){.site_len = (uint8_t)strlen(site),
                                    .user_len = (uint8_t)strlen(user),
                                    .device_len = (uint8_t)strlen(device)};
    memcpy(claims->site, site, claims->site_len);
    memcpy(claims->user, user, claims->user_len);
    memcpy(claims->device, device, claims->device_len);
}

static inline struct session_options rig_options(void)
{
    static const char *const names[RIG_SHARDS] = {"r1/0", "r1/1", "r2/0", "r2/1"};
    return (struct session_options){.conns_max = RIG_CONNS,
                                    .edge_name = "e1/0",
                                    .cluster_name = "test",
                                    .shard_names = names,
                                    .shards = RIG_SHARDS,
                                    .heartbeat_ms = 30000,
                                    .hello_ms = 10000,
                                    .login_ms = 3000,
                                    .ticket_s = 86400,
                                    .cut_off_ms = 15000,
                                    .sends_in_flight = 32,
                                    .drain_per_s = 10,
                                    .drain_ms = 30000};
}

static inline struct rig *rig_new(const struct session_options *options)
{
    static const struct session_actions actions = {
        .send = rig_on_send,
        .close = rig_on_close,
        .forward = rig_on_forward,
        .verify = rig_on_verify,
        .random = rig_on_random,
    };
    log_set_level(LOG_ERROR);
    struct rig *rig = calloc(1, sizeof *rig);
    assert(rig != NULL);
    rig->metrics.values = calloc(EDGE_METRICS, sizeof *rig->metrics.values);
    assert(rig->metrics.values != NULL);
    rig->now_ms = 1000000;
    rig_claim(rig, "game", "alice", "");
    struct session_options standard = rig_options();
    rig->table = session_table_new(options ? options : &standard, &actions, rig, &rig->metrics);
    session_time(rig->table, rig->now_ms, rig->now_ms + 5);
    return rig;
}

static inline void rig_free(struct rig *rig)
{
    session_table_free(rig->table);
    for (uint32_t i = 0; i < RIG_CONNS; i++)
        free(rig->to_client[i].bytes);
    for (uint32_t i = 0; i < RIG_SHARDS; i++)
        free(rig->to_shard[i].bytes);
    free(rig->metrics.values);
    free(rig);
}

static inline uint64_t rig_count(const struct rig *rig, size_t metric)
{
    return metrics_get(&rig->metrics, metric);
}

/* Moves time on in steps, ticking. */
static inline void rig_pass_in_steps(struct rig *rig, uint64_t ms, uint64_t step_ms)
{
    for (uint64_t end = rig->now_ms + ms; rig->now_ms < end;) {
        rig->now_ms = rig->now_ms + step_ms < end ? rig->now_ms + step_ms : end;
        session_time(rig->table, rig->now_ms, rig->now_ms + 5);
        session_tick(rig->table);
    }
}

/* As often as a worker ticks. */
static inline void rig_pass(struct rig *rig, uint64_t ms)
{
    rig_pass_in_steps(rig, ms, 100);
}

/* As when the worker was kept waiting: few ticks for a long time, which is soon done. */
static inline void rig_pass_quickly(struct rig *rig, uint64_t ms)
{
    rig_pass_in_steps(rig, ms, ms <= 400 ? 100 : ms / 4);
}

/* Both ledgers, in flight by walking. */
static inline bool rig_ledgers_hold(const struct rig *rig)
{
    uint64_t sends = 0, deliveries = 0, bound = 0;
    for (uint32_t place = 0; place < rig->table->places_used; place++) {
        const struct session *s = session_at(rig->table, place);
        sends += s->in_flight;
        deliveries += s->dseq_let - s->dseq_acked;
        bound += s->state == SESSION_BOUND;
    }
    sends += rig_count(rig, EDGE_METRIC_SENDS_ACKED) + rig_count(rig, EDGE_METRIC_SENDS_UNKNOWN) +
             rig_count(rig, EDGE_METRIC_SENDS_SHED) + rig_count(rig, EDGE_METRIC_SENDS_PASSED) +
             rig_count(rig, EDGE_METRIC_SENDS_REPEATED);
    for (uint32_t reason = 1; reason < NACK_REASONS; reason++)
        sends += rig_count(rig, EDGE_METRIC_NACK(reason));
    deliveries +=
        rig_count(rig, EDGE_METRIC_DELIVERIES_ACKED) +
        rig_count(rig, EDGE_METRIC_DELIVERIES_PASSED) + rig_count(rig, EDGE_METRIC_DELIVERIES_OLD) +
        rig_count(rig, EDGE_METRIC_DROPPED_GAP) + rig_count(rig, EDGE_METRIC_DROPPED_EPOCH) +
        rig_count(rig, EDGE_METRIC_DROPPED_GONE) + rig_count(rig, EDGE_METRIC_DROPPED_CLOSED);
    return sends == rig_count(rig, EDGE_METRIC_SENDS) &&
           deliveries == rig_count(rig, EDGE_METRIC_DELIVERIES) &&
           bound == session_count(rig->table);
}

/* --- clients */

static inline struct conn_id rig_open(struct rig *rig, uint32_t place)
{
    struct conn_id id = {place, ++rig->generation};
    rig->closed[place] = END_NONE;
    rig->to_client[place].begin = rig->to_client[place].end = 0;
    session_opened(rig->table, id, &rig->from);
    return id;
}

static inline void rig_close(struct rig *rig, struct conn_id id)
{
    enum end_reason reason = rig->closed[id.slot];
    session_closed(rig->table, id, reason == END_NONE ? END_PEER_LEFT : reason);
}

static inline void rig_delimit(struct rig_frames *out, const ProtobufCMessage *message)
{
    uint8_t head[10];
    size_t len = protobuf_c_message_get_packed_size(message), heads = 0;
    for (size_t rest = len; heads == 0 || rest > 0; rest >>= 7)
        head[heads++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    uint8_t *packed = malloc(len + 1);
    assert(packed != NULL);
    protobuf_c_message_pack(message, packed);
    rig_keep(out, span_of(head, heads));
    rig_keep(out, span_of(packed, len));
    free(packed);
}

static inline void rig_say(struct rig *rig, struct conn_id id, const Lahar__V1__ClientFrame *frame)
{
    struct rig_frames out = {0};
    rig_delimit(&out, &frame->base);
    size_t used = session_bytes(rig->table, id, span_of(out.bytes, out.end));
    assert(used == out.end);
    free(out.bytes);
}

static inline void rig_hello(struct rig *rig, struct conn_id id, const char *device)
{
    Lahar__V1__Hello hello = LAHAR__V1__HELLO__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    hello.proto = 1;
    hello.client = unpack_data(span_text("test 1"));
    hello.token = unpack_data(span_text("a.b.c"));
    hello.device = unpack_data(span_text(device));
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_HELLO;
    frame.hello = &hello;
    rig_say(rig, id, &frame);
}

static inline void rig_received(struct rig *rig, struct conn_id id, uint64_t dseq)
{
    Lahar__V1__Received received = LAHAR__V1__RECEIVED__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    received.dseq = dseq;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_RECEIVED;
    frame.received = &received;
    rig_say(rig, id, &frame);
}

/* A send with a cmid of its own for each `n`. */
static inline void rig_send(struct rig *rig, struct conn_id id, uint64_t to, Lahar__V1__Class class,
                            uint32_t n, size_t body)
{
    uint8_t cmid[GID_CMID_SIZE] = {0};
    memcpy(cmid, &n, sizeof n);
    cmid[15] = 1;
    uint8_t *bytes = calloc(1, body + 1);
    assert(bytes != NULL);
    Lahar__V1__Send send = LAHAR__V1__SEND__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    send.to = to;
    send.cmid = unpack_data(span_of(cmid, sizeof cmid));
    send.class_ = class;
    send.seq = n;
    send.settled = 1;
    send.body = unpack_data(span_of(bytes, body));
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_SEND;
    frame.send = &send;
    rig_say(rig, id, &frame);
    free(bytes);
}

/* The next frame that the client was sent, NULL if there is none; for the test to free. */
static inline Lahar__V1__ServerFrame *rig_heard(struct rig *rig, struct conn_id id)
{
    struct span body = rig_take(&rig->to_client[id.slot], FRAME_BODY_SIZE_MAX);
    if (body.len == 0)
        return NULL;
    Lahar__V1__ServerFrame *frame = lahar__v1__server_frame__unpack(NULL, body.len, body.at);
    assert(frame != NULL);
    return frame;
}

/* --- shards */

static inline uint32_t rig_owner(uint64_t gid)
{
    return gid_slot(gid) / (GID_SLOTS / RIG_SHARDS);
}

/* The next frame that the shard was sent, NULL if there is none; for the test to free. */
static inline Lahar__Link__V1__LinkFrame *rig_told(struct rig *rig, uint32_t shard)
{
    struct span body = rig_take(&rig->to_shard[shard], FRAME_LINK_SIZE_MAX);
    if (body.len == 0)
        return NULL;
    Lahar__Link__V1__LinkFrame *frame =
        lahar__link__v1__link_frame__unpack(NULL, body.len, body.at);
    assert(frame != NULL);
    return frame;
}

static inline void rig_drop(Lahar__Link__V1__LinkFrame *frame)
{
    lahar__link__v1__link_frame__free_unpacked(frame, NULL);
}

static inline void rig_forget_told(struct rig *rig)
{
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        rig->to_shard[shard].begin = rig->to_shard[shard].end = 0;
}

static inline bool rig_nothing_told(const struct rig *rig)
{
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        if (rig->to_shard[shard].begin != rig->to_shard[shard].end)
            return false;
    return true;
}

static inline void rig_answer(struct rig *rig, uint32_t shard, Lahar__Link__V1__LinkFrame *frame)
{
    size_t len = lahar__link__v1__link_frame__get_packed_size(frame);
    uint8_t *packed = malloc(len + 1);
    assert(packed != NULL);
    lahar__link__v1__link_frame__pack(frame, packed);
    session_link_frame(rig->table, shard, span_of(packed, len));
    free(packed);
}

#define RIG_ANSWER(rig, shard, field, case_, message)                                              \
    do {                                                                                           \
        Lahar__Link__V1__LinkFrame rig_frame_ = LAHAR__LINK__V1__LINK_FRAME__INIT;                 \
        rig_frame_.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_##case_;                        \
        rig_frame_.field = (message);                                                              \
        rig_answer((rig), (shard), &rig_frame_);                                                   \
    } while (0)

static inline void rig_number(struct rig *rig, uint32_t shard, uint32_t number)
{
    Lahar__Link__V1__EdgeNumber given = LAHAR__LINK__V1__EDGE_NUMBER__INIT;
    given.number = number;
    RIG_ANSWER(rig, shard, edge_number, EDGE_NUMBER, &given);
}

static inline void rig_owned(struct rig *rig, uint32_t shard, uint32_t round, uint32_t first,
                             uint32_t count, uint32_t epoch)
{
    Lahar__Link__V1__SlotRun run = LAHAR__LINK__V1__SLOT_RUN__INIT;
    Lahar__Link__V1__SlotRun *runs[] = {&run};
    Lahar__Link__V1__Owned owned = LAHAR__LINK__V1__OWNED__INIT;
    run.first = first;
    run.count = count;
    run.epoch = epoch;
    owned.round = round;
    owned.n_runs = 1;
    owned.runs = runs;
    RIG_ANSWER(rig, shard, owned, OWNED, &owned);
}

/* All shards up, a number given, slots owned in even runs with `epoch`. */
static inline void rig_cluster(struct rig *rig, uint32_t epoch)
{
    uint32_t run = GID_SLOTS / RIG_SHARDS;
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        session_link_up(rig->table, shard);
    rig_number(rig, 0, 7);
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        rig_owned(rig, shard, 1, shard * run, run, epoch);
    rig_forget_told(rig);
}

static inline void rig_resolved(struct rig *rig, struct conn_id id,
                                Lahar__Link__V1__Resolved__Status status, uint64_t gid)
{
    Lahar__Link__V1__Resolved resolved = LAHAR__LINK__V1__RESOLVED__INIT;
    resolved.req = (uint64_t)id.generation << 32 | id.slot;
    resolved.status = status;
    resolved.gid = gid;
    RIG_ANSWER(rig, 0, resolved, RESOLVED, &resolved);
}

static inline void rig_bound(struct rig *rig, struct conn_id id,
                             Lahar__Link__V1__Bound__Status status, uint64_t gid,
                             const char *device, uint64_t session)
{
    Lahar__Link__V1__Bound bound = LAHAR__LINK__V1__BOUND__INIT;
    bound.req = (uint64_t)id.generation << 32 | id.slot;
    bound.status = status;
    bound.gid = gid;
    bound.device = gid_device_hash(span_text(device));
    bound.session = session;
    RIG_ANSWER(rig, rig_owner(gid), bound, BOUND, &bound);
}

/* From nothing to a bound session; frames on the way are thrown away. */
static inline struct conn_id rig_login(struct rig *rig, uint32_t place, uint64_t gid,
                                       uint64_t session)
{
    struct conn_id id = rig_open(rig, place);
    rig_hello(rig, id, "phone");
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, gid);
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, gid, "phone", session);
    Lahar__V1__ServerFrame *welcome = rig_heard(rig, id);
    assert(welcome != NULL && welcome->frame_case == LAHAR__V1__SERVER_FRAME__FRAME_WELCOME);
    lahar__v1__server_frame__free_unpacked(welcome, NULL);
    rig_forget_told(rig);
    return id;
}

/* A session number of the epoch of the rig's cluster. */
static inline uint64_t rig_session(uint32_t epoch, uint32_t n)
{
    return (uint64_t)epoch << 32 | n;
}

/* One delivery for one session; dseq 0: EPHEMERAL. `empty`: without mid. */
static inline void rig_deliver(struct rig *rig, uint64_t gid, uint64_t session, uint32_t epoch,
                               uint64_t dseq, bool empty)
{
    uint8_t mid[GID_MID_SIZE] = {9};
    Lahar__Link__V1__LinkDeliver deliver = LAHAR__LINK__V1__LINK_DELIVER__INIT;
    deliver.to = gid;
    deliver.epoch = epoch;
    deliver.n_session = 1;
    deliver.session = &session;
    deliver.n_dseq = dseq > 0;
    deliver.dseq = &dseq;
    if (!empty)
        deliver.mid = unpack_data(span_of(mid, sizeof mid));
    deliver.from = RIG_GID + 77;
    deliver.class_ = dseq > 0 ? LAHAR__V1__CLASS__CONFIRMED : LAHAR__V1__CLASS__EPHEMERAL;
    deliver.sent_at = 1;
    deliver.body = unpack_data(span_text(empty ? "" : "hello"));
    RIG_ANSWER(rig, rig_owner(gid), deliver, DELIVER, &deliver);
}

#endif
