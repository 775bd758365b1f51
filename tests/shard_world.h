/* A shard between edges that do what the test says, with a Redis in memory and a clock that the
 * test turns. */
#ifndef TESTS_SHARD_WORLD_H
#define TESTS_SHARD_WORLD_H

#include "proto/frame.h"
#include "proto/hot.h"
#include "proto/unpack.h"
#include "router/router_metrics.h"
#include "router/shard.h"
#include "tests/fake_redis.h"

#ifndef SHARDS
#define SHARDS 64u
#endif
#define PEERS 8u
#define NO_PEER UINT32_MAX
#define FRAMES_MAX 4096u

/* A frame that the shard sent. */
struct heard {
    uint32_t peer, number;
    enum link_kind kind;
    bool taken;
    struct fake_bytes bytes; /* the LinkFrame's content */
};

struct world {
    uint64_t now_ms;
    struct fake_redis redis;
    struct shard_options options;
    struct shard *shard;
    struct metrics_registry *registry;
    struct metrics *metrics;
    bool up[PEERS], no_credit[PEERS];
    struct heard heard[FRAMES_MAX];
    uint32_t heard_count;
    uint32_t renewed, random;
    uint64_t map_epoch;
    struct arena *arena;
};

static inline const char *const *world_shards(void)
{
    static char names[SHARDS][8];
    static const char *list[SHARDS];
    for (uint32_t i = 0; i < SHARDS; i++) {
        snprintf(names[i], sizeof names[i], "r1/%u", i);
        list[i] = names[i];
    }
    return list;
}

static inline enum link_sent world_send(void *ctx, uint32_t peer, enum link_kind kind,
                                        struct span frame)
{
    struct world *world = ctx;
    assert_true(peer < PEERS);
    if (!world->up[peer])
        return LINK_AWAY;
    if (kind == LINK_CREDITED && world->no_credit[peer])
        return LINK_NO_CREDIT;
    struct span body, content, rest = frame;
    assert_int_equal(frame_take(&rest, FRAME_LINK_SIZE_MAX, &body), FRAME_READY);
    assert_int_equal(rest.len, 0);
    assert_true(world->heard_count < FRAMES_MAX);
    struct heard *heard = &world->heard[world->heard_count++];
    *heard = (struct heard){.peer = peer, .kind = kind};
    assert_true(frame_open(body, &heard->number, &content, NULL));
    heard->bytes = fake_copy(content);
    return LINK_QUEUED;
}

static inline bool world_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return fake_redis_command(&((struct world *)ctx)->redis, args, count, tag);
}

static inline void world_map_epoch(void *ctx, uint64_t epoch)
{
    ((struct world *)ctx)->map_epoch = epoch;
}

/* Different each time, which is all that a test needs. */
static inline void world_random(void *ctx, void *at, size_t len)
{
    struct world *world = ctx;
    uint8_t *bytes = at;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(++world->random * 2654435761u >> 24);
}

static inline void world_renew(void *ctx)
{
    ((struct world *)ctx)->renewed++;
}

static inline void world_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    shard_redis_reply(((struct world *)ctx)->shard, tag, reply);
}

static inline void world_set_time(struct world *world)
{
    world->redis.now_ms = world->now_ms;
    shard_time(world->shard, world->now_ms, 1700000000000 + world->now_ms);
}

/* A turn: what Redis has to say, then its end. */
static inline void world_turn(struct world *world)
{
    world_set_time(world);
    if (world->redis.up)
        fake_redis_answer(&world->redis, world_reply, world, false);
    shard_turn_end(world->shard);
}

static inline void world_pass_in_steps(struct world *world, uint32_t ms, uint32_t step_ms)
{
    for (uint32_t passed = 0; passed < ms; passed += step_ms) {
        world->now_ms += step_ms;
        world_set_time(world);
        shard_tick(world->shard);
        world_turn(world);
    }
}

/* Time passes, tick by tick. */
static inline void world_pass(struct world *world, uint32_t ms)
{
    world_pass_in_steps(world, ms, 100);
}

/* As when the shard was kept waiting: few ticks for a long time, which is soon done. */
static inline void world_pass_quickly(struct world *world, uint32_t ms)
{
    world_pass_in_steps(world, ms, ms <= 400 ? 100 : ms / 4);
}

static inline struct shard_options world_options(void)
{
    return (struct shard_options){
        .control = {.prefix = "t:",
                    .shard_names = world_shards(),
                    .shards = SHARDS,
                    .name = "r1/0",
                    .incarnation = 7,
                    .lease_ms = 3000,
                    .renew_ms = 1000},
        .flight = {.confirm_ms = 5000,
                   .outcome_ms = 60000,
                   .retry_ms = 1000,
                   .busy_retry_ms = 500,
                   .lane_entries_max = 64,
                   .lane_bytes_max = 128 * 1024,
                   .pending_max = 1000,
                   .outcomes_max = 1000,
                   .convs_max = 1000,
                   .pending_bytes_max = 1024 * 1024},
        .devices_max = 10,
        .announce_ms = 2000,
        .likely_ms = 6000,
        .sweep_after_ms = 15000,
        .sweep_per_s = 1000,
        .identity_cache_max = 100,
        .kicks_max = 10,
        .ticket_rotate_s = 90000,
    };
}

static inline void world_redis_up(struct world *world)
{
    world->redis.up = true;
    world_set_time(world);
    shard_redis_up(world->shard);
}

static inline void world_redis_down(struct world *world)
{
    world->redis.up = false;
    world_set_time(world);
    fake_redis_answer(&world->redis, world_reply, world, true);
    shard_redis_down(world->shard);
}

/* With the metrics that it has. */
static inline void world_start(struct world *world, uint64_t incarnation)
{
    const struct shard_actions actions = {.send = world_send,
                                          .command = world_command,
                                          .random = world_random,
                                          .map_epoch = world_map_epoch,
                                          .renew = world_renew};
    world->options.control.incarnation = incarnation;
    world->shard = shard_new(&world->options, &actions, world, world->metrics);
    world_set_time(world);
}

/* A new process in the place of the old: what it had in memory is gone. */
static inline void world_begin(struct world *world, uint64_t incarnation)
{
    world->registry = metrics_registry_new(router_metrics_table(), ROUTER_METRICS);
    world->metrics = metrics_registry_worker(world->registry, "r1/0");
    world_start(world, incarnation);
}

static inline void world_stop(struct world *world)
{
    shard_free(world->shard);
    world->redis.up = false;
    /* Replies to nobody. */
    struct fake_redis *redis = &world->redis;
    for (size_t at = 0; at < redis->queued; at++) {
        for (size_t i = 0; i < redis->queue[at]->count; i++)
            free(redis->queue[at]->args[i].at);
        free(redis->queue[at]);
    }
    redis->queued = 0;
    memset(world->up, 0, sizeof world->up);
}

static inline void world_end(struct world *world)
{
    world_stop(world);
    metrics_registry_free(world->registry);
}

static inline bool world_ready(const struct world *world)
{
    return shard_not_ready(world->shard) == NULL;
}

static inline void world_await_ready(struct world *world)
{
    for (uint32_t i = 0; !world_ready(world); i++) {
        if (i == 1000)
            fail_msg("not ready: %s", shard_not_ready(world->shard));
        world_pass(world, 100);
    }
}

static inline void world_open(struct world *world)
{
    *world = (struct world){.now_ms = 1000000, .options = world_options()};
    map_init(&world->redis.by_name);
    world->arena = arena_new(1024u * 1024u);
    world_begin(world, 7);
    world_redis_up(world);
    world_await_ready(world);
}

static inline void world_forget_heard(struct world *world)
{
    for (uint32_t i = 0; i < world->heard_count; i++)
        free(world->heard[i].bytes.at);
    world->heard_count = 0;
}

static inline void world_close(struct world *world)
{
    world_end(world);
    world_forget_heard(world);
    fake_redis_close(&world->redis);
    arena_free(world->arena);
}

static inline uint64_t world_metric(struct world *world, enum router_metric id)
{
    world_pass(world, 1000); /* they are copied each second */
    return metrics_get(world->metrics, id);
}

/* --- what edges hear ---------------------------------------------------------------------------
 */

/* The next frame of this kind for a peer that was not taken yet; NULL: none. */
static inline struct heard *world_next(struct world *world, uint32_t peer, uint32_t number)
{
    for (uint32_t i = 0; i < world->heard_count; i++) {
        struct heard *heard = &world->heard[i];
        if (heard->taken || heard->number != number || heard->peer != peer)
            continue;
        heard->taken = true;
        return heard;
    }
    return NULL;
}

static inline void *world_take(struct world *world, uint32_t peer, uint32_t number,
                               const ProtobufCMessageDescriptor *type)
{
    struct heard *heard = world_next(world, peer, number);
    if (heard == NULL)
        return NULL;
    void *message = unpack_message(type, world->arena, fake_span(heard->bytes));
    assert_non_null(message);
    return message;
}

#define FRAME(NAME) LAHAR__LINK__V1__LINK_FRAME__FRAME_##NAME
#define TAKE(world, peer, NAME, type)                                                              \
    world_take(world, peer, FRAME(NAME), &lahar__link__v1__##type##__descriptor)

/* --- what edges say ----------------------------------------------------------------------------
 */

static inline void world_say(struct world *world, uint32_t peer, Lahar__Link__V1__LinkFrame *frame)
{
    uint8_t *packed = malloc(lahar__link__v1__link_frame__get_packed_size(frame));
    assert_non_null(packed);
    size_t len = lahar__link__v1__link_frame__pack(frame, packed);
    world_set_time(world);
    shard_link_frame(world->shard, peer, span_of(packed, len));
    free(packed);
}

#define SAY(world, peer, NAME, field, type, ...)                                                   \
    do {                                                                                           \
        Lahar__Link__V1__##type said_ = {__VA_ARGS__};                                             \
        Lahar__Link__V1__LinkFrame frame_ = LAHAR__LINK__V1__LINK_FRAME__INIT;                     \
        frame_.frame_case = FRAME(NAME);                                                           \
        frame_.field = &said_;                                                                     \
        world_say(world, peer, &frame_);                                                           \
    } while (0)

#define BASE(type) .base = PROTOBUF_C_MESSAGE_INIT(&lahar__link__v1__##type##__descriptor)

static inline void world_link_up(struct world *world, uint32_t peer, enum keys_role role)
{
    world->up[peer] = true;
    world_set_time(world);
    shard_link_up(world->shard, peer, role, 100 + peer, span_text("e1/0"));
}

static inline void world_link_down(struct world *world, uint32_t peer)
{
    world->up[peer] = false;
    world_set_time(world);
    shard_link_down(world->shard, peer);
}

static inline void world_hello(struct world *world, uint32_t peer, uint32_t number)
{
    char name[8];
    snprintf(name, sizeof name, "e%u/0", peer + 1);
    SAY(world, peer, EDGE_HELLO, edge_hello, EdgeHello, BASE(edge_hello), .number = number,
        .name = unpack_data(span_text(name)));
}

/* What an edge announces. */
struct said {
    uint64_t gid, device, session, dseq;
};

static inline void world_announce(struct world *world, uint32_t peer, uint32_t round,
                                  const struct said *said, size_t count)
{
    uint64_t columns[4][64];
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++) {
        columns[0][i] = said[i].gid;
        columns[1][i] = said[i].device;
        columns[2][i] = said[i].session;
        columns[3][i] = said[i].dseq;
    }
    SAY(world, peer, ANNOUNCE, announce, Announce, BASE(announce), .round = round, .n_gid = count,
        .gid = columns[0], .n_device = count, .device = columns[1], .n_session = count,
        .session = columns[2], .n_dseq = count, .dseq = columns[3]);
}

static inline void world_done(struct world *world, uint32_t peer, uint32_t round, uint64_t count)
{
    SAY(world, peer, ANNOUNCE_DONE, announce_done, AnnounceDone, BASE(announce_done),
        .round = round, .count = count);
}

/* The round that the last Owned to this edge asked for; 0: there was none since. */
static inline uint32_t world_round(struct world *world, uint32_t peer)
{
    uint32_t round = 0;
    const Lahar__Link__V1__Owned *owned;
    while ((owned = TAKE(world, peer, OWNED, owned)) != NULL)
        round = owned->round;
    return round;
}

/* An edge comes up with these sessions and announces them. */
static inline void world_edge(struct world *world, uint32_t peer, uint32_t number,
                              const struct said *said, size_t count)
{
    world_link_up(world, peer, KEYS_EDGE);
    world_hello(world, peer, number);
    uint32_t round = world_round(world, peer);
    assert_int_not_equal(round, 0);
    if (count > 0)
        world_announce(world, peer, round, said, count);
    world_done(world, peer, round, count);
}

static inline uint64_t world_bind(struct world *world, uint32_t peer, uint64_t gid, uint64_t device)
{
    SAY(world, peer, BIND, bind, Bind, BASE(bind), .req = 99, .gid = gid, .device = device);
    const Lahar__Link__V1__Bound *bound = TAKE(world, peer, BOUND, bound);
    assert_non_null(bound);
    assert_true(bound->req == 99 && bound->gid == gid && bound->device == device);
    return bound->status == LAHAR__LINK__V1__BOUND__STATUS__OK ? bound->session : 0;
}

static inline void world_send_message(struct world *world, uint32_t peer,
                                      const struct hot_link_send *send)
{
    static uint8_t bytes[FRAME_LINK_SIZE_MAX];
    struct span rest = span_of(bytes, hot_link_send_write(bytes, send)), body;
    assert_int_equal(frame_take(&rest, FRAME_LINK_SIZE_MAX, &body), FRAME_READY);
    world_set_time(world);
    shard_link_frame(world->shard, peer, body);
}

/* GIDs whose slots are ours: the n-th of them. And one that is not. */
static inline uint64_t world_gid(uint32_t n)
{
    for (uint64_t gid = GID_FIRST_USER;; gid++)
        if (gid_slot(gid) < GID_SLOTS / SHARDS && n-- == 0)
            return gid;
}

static inline uint64_t world_foreign_gid(void)
{
    uint64_t gid = GID_FIRST_USER;
    while (gid_slot(gid) < GID_SLOTS / SHARDS)
        gid++;
    return gid;
}

#endif
