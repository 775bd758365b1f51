/* A whole shard: edges, operators and strangers say messages which are nearly right, Redis answers
 * well, wrongly, late or not at all, time passes, links come and go. The ledgers hold at the end,
 * and once all edges have been gone for long nothing is in flight and no record is left.
 *
 * Starting takes a shard longer than a script, so one serves many scripts, until one has made its
 * Redis lie or has taken its lease.
 *
 * Covers: router/shard.c router/handle.c router/push.c router/roster.c router/census.c
 * router/edges.c router/admin.c router/flight.c router/conv.c router/recipient.c router/lane.c
 * router/outcome.c router/identity.c router/sitebook.c router/control.c.
 * Small world: yes. Longest input: 768.
 */
#ifdef LAHAR_SMALL
#define SHARDS 4u
#else
#define SHARDS 256u /* few slots to a shard: it is up soon */
#endif
#include "tests/script.h"
#include "tests/shard_world.h"

#include "base/log.h"
#include "router/shard_table.h"

#define EDGES 3u
#define ADMIN 4u /* and peers that nobody expects: 3, 5 to 7 */
#define GIDS 3u
#define ADMIN_WRITES_MAX 40u
#define PLAYED_MAX 200u

struct play {
    struct world world;
    struct script script;
    uint64_t gids[GIDS];
    uint32_t rounds[EDGES];
    uint64_t seq[GIDS];
    uint32_t admin_writes, played;
    bool standing; /* from the script before */
    bool spoilt;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *type_of(uint32_t number)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&lahar__link__v1__link_frame__descriptor, number);
    assert(field != NULL);
    return field->descriptor;
}

/* What the shard says is read by protobuf-c, and what it speaks of may come back. */
static void hear(struct play *play)
{
    struct world *world = &play->world;
    for (uint32_t i = 0; i < world->heard_count; i++) {
        struct heard *heard = &world->heard[i];
        const ProtobufCMessageDescriptor *type = type_of(heard->number);
        ProtobufCMessage *message =
            protobuf_c_message_unpack(type, NULL, heard->bytes.len, heard->bytes.at);
        assert(message != NULL && message->n_unknown_fields == 0);
        if (heard->number == FRAME(OWNED) && heard->peer < EDGES)
            play->rounds[heard->peer] = ((const Lahar__Link__V1__Owned *)message)->round;
        script_hear(&play->script, message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    world_forget_heard(world);
}

static void say_frame(struct play *play, uint32_t peer)
{
    size_t len;
    uint8_t *packed = script_packed(&play->script, &lahar__link__v1__link_frame__descriptor, &len);
    bool writes = peer == ADMIN && ++play->admin_writes > ADMIN_WRITES_MAX;
    world_set_time(&play->world);
    if (play->world.up[peer] && !writes)
        shard_link_frame(play->world.shard, peer, span_of(packed, len));
    free(packed);
}

static void set_link(struct play *play, uint32_t peer, bool up)
{
    if (play->world.up[peer] == up)
        return;
    if (!up)
        world_link_down(&play->world, peer);
    else
        world_link_up(&play->world, peer,
                      peer < EDGES    ? KEYS_EDGE
                      : peer == ADMIN ? KEYS_ADMIN
                                      : (enum keys_role)(peer % KEYS_ROLES));
}

/* An edge as it should be: says who it is, and answers the round that it was asked for. */
static void be_edge(struct play *play, uint32_t peer)
{
    set_link(play, peer, true);
    world_hello(&play->world, peer, 3 + peer);
    hear(play);
    if (play->rounds[peer] != 0)
        world_done(&play->world, peer, play->rounds[peer], 0);
}

static void bind(struct play *play, uint32_t peer, uint8_t which)
{
    if (!play->world.up[peer])
        return;
    SAY(&play->world, peer, BIND, bind, Bind, BASE(bind), .req = 99,
        .gid = play->gids[which % GIDS], .device = 1 + which / GIDS % 4);
}

/* As the edge would stamp it, from a session that the script has heard of. */
static void say_send(struct play *play, uint32_t peer, uint8_t which)
{
    uint8_t cmid[GID_CMID_SIZE] = {1, which, script_byte(&play->script)};
    uint32_t to = which % GIDS;
    if (!play->world.up[peer])
        return;
    struct hot_link_send send = {
        .from = script_number(&play->script),
        .device = 1 + which / GIDS % 4,
        .session = script_number(&play->script),
        .send = {.to = play->gids[to],
                 .seq = ++play->seq[to],
                 .settled = which & 0x40 ? play->seq[to] : 1,
                 .class = which & 0x80 ? HOT_EPHEMERAL : HOT_CONFIRMED,
                 .cmid = span_of(cmid, sizeof cmid),
                 .body = span_text("hello")},
    };
    world_send_message(&play->world, peer, &send);
}

/* All that the holder of this session was given, acknowledged. */
static void received(struct play *play, uint32_t peer)
{
    uint8_t bytes[HOT_OVERHEAD_MAX];
    struct hot_received said = {script_number(&play->script), script_number(&play->script),
                                script_number(&play->script)};
    struct span rest = span_of(bytes, hot_link_received_write(bytes, &said)), body;
    enum frame_status status = frame_take(&rest, sizeof bytes, &body);
    assert(status == FRAME_READY);
    if (play->world.up[peer])
        shard_link_frame(play->world.shard, peer, body);
}

/* A reply that nothing of ours would give. */
static void answer_wrongly(void *ctx, uint64_t tag, const struct reply *right)
{
    struct play *play = ctx;
    struct reply element = {.kind = (enum reply_kind)(script_byte(&play->script) % REPLY_ARRAY),
                            .integer = (int64_t)script_number(&play->script),
                            .text = script_text(&play->script)};
    const struct reply *elements[] = {&element, &element, &element};
    struct reply wrong = element;
    uint8_t how = script_byte(&play->script);
    if (how & 0x80)
        wrong = (struct reply){.kind = REPLY_ARRAY, .at = elements, .len = how % 4};
    shard_redis_reply(play->world.shard, tag, how & 0x40 ? right : &wrong);
}

static void redis_event(struct play *play, uint8_t which)
{
    static const char *const keys[] = {"t:gids", "t:map", "t:edges", "t:lease:r1/0"};
    struct world *world = &play->world;
    uint64_t counter;
    char number[24];
    play->spoilt = play->spoilt || which % 6 > 2;
    switch (which % 6) {
    case 0:
        if (world->redis.up)
            world_redis_down(world);
        break;
    case 1:
        if (!world->redis.up)
            world_redis_up(world);
        break;
    case 2:
        world->redis.failing = which & 0x80;
        break;
    case 3:
        if (world->redis.up)
            fake_redis_answer(&world->redis, answer_wrongly, play, false);
        break;
    case 4:                                           /* somebody else was there */
        counter = script_number(&play->script) >> 12; /* what a counter may come to */
        snprintf(number, sizeof number, "%llu", (unsigned long long)counter);
        fake_set_text(&world->redis, keys[which / 6 % 4], number);
        break;
    default:
        fake_redis_flush(&world->redis);
    }
}

static void step(struct play *play)
{
    struct world *world = &play->world;
    uint8_t what = script_byte(&play->script), which = what >> 4;
    uint32_t peer = which % PEERS, edge = which % EDGES;
    switch (what & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
        say_frame(play, peer);
        break;
    case 4:
        set_link(play, peer, which & 8);
        break;
    case 5:
        be_edge(play, edge);
        break;
    case 6:
        bind(play, edge, script_byte(&play->script));
        break;
    case 7:
    case 8:
        say_send(play, edge, script_byte(&play->script));
        break;
    case 9:
        received(play, edge);
        break;
    case 10:
        world->no_credit[peer] = which & 8;
        break;
    case 11:
        world_pass_quickly(world, 100u << which % 9);
        break;
    case 12:
        redis_event(play, script_byte(&play->script));
        break;
    case 13:
        if (which == 0xf && script_byte(&play->script) == 0xee)
            play->spoilt = true, shard_leave(world->shard);
        break;
    default:
        world_turn(world);
    }
    hear(play);
}

static uint64_t sum(const struct world *world, const enum router_metric *ids, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += metrics_get(world->metrics, ids[i]);
    return total;
}

static void check_ledgers(struct world *world)
{
    static const enum router_metric send_ends[] = {
        ROUTER_METRIC_SENDS_ACKED,        ROUTER_METRIC_SENDS_UNKNOWN,
        ROUTER_METRIC_SENDS_PASSED,       ROUTER_METRIC_SENDS_SHED,
        ROUTER_METRIC_SENDS_SHED_OFFLINE, ROUTER_METRIC_SENDS_REPEATED,
        ROUTER_METRIC_SENDS_OLD_SESSION,  ROUTER_METRIC_SENDS_MALFORMED,
        ROUTER_METRIC_SENDS_IN_FLIGHT};
    static const enum router_metric delivery_ends[] = {
        ROUTER_METRIC_DELIVERIES_ACKED, ROUTER_METRIC_DELIVERIES_PASSED,
        ROUTER_METRIC_DELIVERIES_OLD,   ROUTER_METRIC_DELIVERIES_EXPIRED,
        ROUTER_METRIC_DELIVERIES_GONE,  ROUTER_METRIC_DELIVERIES_IN_FLIGHT};
    uint64_t ends = sum(world, send_ends, sizeof send_ends / sizeof *send_ends);
    for (size_t reason = 1; reason < NACK_REASONS; reason++)
        ends += metrics_get(world->metrics, ROUTER_METRIC_SENDS_NACKED_BUSY + reason - 1);
    assert(ends == metrics_get(world->metrics, ROUTER_METRIC_SENDS));
    assert(sum(world, delivery_ends, sizeof delivery_ends / sizeof *delivery_ends) ==
           metrics_get(world->metrics, ROUTER_METRIC_DELIVERIES));
}

static void end(struct play *play)
{
    struct world *world = &play->world;
    world_pass_in_steps(world, 1000, 500); /* counts are copied each second */
    hear(play);
    check_ledgers(world);
    for (uint32_t peer = 0; peer < PEERS; peer++)
        set_link(play, peer, false);
    world->redis.failing = false;
    if (!world->redis.up)
        world_redis_up(world);
    world_pass_in_steps(world, 3000,
                        500); /* longer than a CONFIRMED waits and an edge's records stay */
    hear(play);
    check_ledgers(world);
    assert(metrics_get(world->metrics, ROUTER_METRIC_SENDS_IN_FLIGHT) == 0);
    assert(metrics_get(world->metrics, ROUTER_METRIC_DELIVERIES_IN_FLIGHT) == 0);
    bool calm = !play->spoilt && world_ready(world) && world->renewed == 0;
    assert(!calm || metrics_get(world->metrics, ROUTER_METRIC_RECORDS) == 0);
    play->standing = calm && ++play->played < PLAYED_MAX;
    if (play->standing)
        return;
    world_stop(world);
    world_forget_heard(world);
    fake_redis_close(&world->redis);
    arena_free(world->arena);
}

static void begin(struct play *play)
{
    struct world *world = &play->world;
    struct metrics_registry *registry = world->registry;
    struct metrics *metrics = world->metrics;
    if (registry == NULL) { /* the table of metrics is checked each time one is made */
        registry = metrics_registry_new(router_metrics_table(), ROUTER_METRICS);
        metrics = metrics_registry_worker(registry, "r1/0");
    }
    for (size_t id = 0; id < ROUTER_METRICS; id++)
        metrics_set(metrics, id, 0);
    *world = (struct world){
        .now_ms = 1000000, .options = world_options(), .registry = registry, .metrics = metrics};
    world->options.flight.confirm_ms = 1000;
    world->options.flight.outcome_ms = 2000;
    world->options.announce_ms = world->options.likely_ms = 300;
    world->options.sweep_after_ms = 300;
    map_init(&world->redis.by_name);
    world->arena = arena_new(1024u * 1024u);
    world_start(world, 7);
    world_redis_up(world);
    world_await_ready(world);
    fake_set_text(&world->redis, "t:gids", "9000000");
    world_pass(world, 2500);
    play->played = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct play play;
    static const char *const texts[] = {"0123456789abcdef",
                                        "e1/0",
                                        "game",
                                        "ann",
                                        "r1/0",
                                        "kid",
                                        "0123456789abcdef0123456789abcdef"};
    log_set_level(LOG_ERROR);
    if (!play.standing)
        begin(&play);
    memset(&play.script, 0, sizeof play.script);
    memset(play.rounds, 0, sizeof play.rounds);
    memset(play.seq, 0, sizeof play.seq);
    memset(play.world.no_credit, 0, sizeof play.world.no_credit);
    play.admin_writes = 0;
    play.spoilt = false;
    play.script.rest = span_of(data, size);
    for (uint32_t i = 0; i < GIDS; i++) {
        play.gids[i] = world_gid(i);
        script_know(&play.script, play.gids[i]);
    }
    script_know(&play.script, world_foreign_gid());
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        script_know_text(&play.script, span_text(texts[i]));
    for (uint32_t peer = 0; peer < 2; peer++)
        be_edge(&play, peer);
    set_link(&play, ADMIN, true);
    world_pass(&play.world, 100);
    hear(&play);
    while (!script_ended(&play.script))
        step(&play);
    end(&play);
    return 0;
}
