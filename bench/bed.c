#include "bench/bed.h"

#include "base/log.h"
#include "base/rand.h"
#include "base/redis.h"
#include "bench/cost.h"
#include "proto/unpack.h"
#include "router/shard_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS 100u
#define COMMANDS_MAX 100000u
#define REDIS_TIMEOUT_MS 60000u
#define START_MS 900000u
#define LEAVE_MS 5000u
#define ARENA_BYTES (64u * 1024u)

struct bed {
    struct bed_options options;
    struct bed_events events;
    void *ctx;
    const char *names[1];
    struct loop *loop;
    struct redis *redis;
    struct shard *shard;
    struct metrics_registry *registry;
    struct arena *arena;
    struct bed_counts counts;

    const char *info; /* of INFO: what is looked for */
    uint64_t info_value;
    bool info_awaited;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void set_time(struct bed *bed)
{
    uint64_t now_ms = loop_now_ms(bed->loop);
    shard_time(bed->shard, now_ms, now_ms);
}

/* --- what the shard asks for ------------------------------------------------------------------ */

static enum link_sent on_send(void *ctx, uint32_t peer, enum link_kind kind, struct span frame)
{
    (void)peer, (void)kind;
    struct bed *bed = ctx;
    struct span body, content;
    uint32_t number;
    if (frame_take(&frame, FRAME_LINK_SIZE_MAX, &body) != FRAME_READY ||
        !frame_open(body, &number, &content, NULL))
        log_die("the shard sent what is no frame");
    if (number != LAHAR__LINK__V1__LINK_FRAME__FRAME_BOUND)
        return LINK_QUEUED;
    arena_reset(bed->arena);
    const Lahar__Link__V1__Bound *bound =
        unpack_message(&lahar__link__v1__bound__descriptor, bed->arena, content);
    assert(bound != NULL);
    bool taken = bound->status == LAHAR__LINK__V1__BOUND__STATUS__OK;
    bed->events.on_bound(bed->ctx, bound->req, taken ? bound->session : 0);
    return LINK_QUEUED;
}

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct bed *bed = ctx;
    set_time(bed);
    shard_redis_reply(bed->shard, tag, reply);
}

static bool on_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct bed *bed = ctx;
    return redis_send(bed->redis, args, count, on_reply, bed, tag);
}

static void on_map_epoch(void *ctx, uint64_t epoch)
{
    (void)ctx, (void)epoch;
}

static void on_renew(void *ctx)
{
    (void)ctx;
    log_die("another process has taken the shard's name");
}

/* --- what is brought to it -------------------------------------------------------------------- */

static void on_redis_up(void *ctx)
{
    struct bed *bed = ctx;
    set_time(bed);
    shard_redis_up(bed->shard);
}

static void on_redis_down(void *ctx, const char *why)
{
    (void)ctx;
    log_die("lost Redis: %s", why);
}

static void on_tick(void *ctx)
{
    struct bed *bed = ctx;
    set_time(bed);
    shard_tick(bed->shard);
}

static void on_turn_end(void *ctx)
{
    struct bed *bed = ctx;
    set_time(bed);
    shard_turn_end(bed->shard);
}

static void say(struct bed *bed, uint32_t edge, Lahar__Link__V1__LinkFrame *frame)
{
    arena_reset(bed->arena);
    struct span rest = unpack_frame(bed->arena, &frame->base), body;
    if (frame_take(&rest, FRAME_LINK_SIZE_MAX, &body) != FRAME_READY)
        assert(!"a frame of ours");
    shard_link_frame(bed->shard, edge - 1, body);
}

static void edges_up(struct bed *bed)
{
    for (uint32_t edge = 1; edge <= bed->options.edges; edge++) {
        char name[16];
        Lahar__Link__V1__EdgeHello hello = LAHAR__LINK__V1__EDGE_HELLO__INIT;
        Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
        snprintf(name, sizeof name, "e%u/0", edge);
        shard_link_up(bed->shard, edge - 1, KEYS_EDGE, edge, span_text(name));
        hello.number = edge;
        hello.name = unpack_data(span_text(name));
        frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO;
        frame.edge_hello = &hello;
        say(bed, edge, &frame);
    }
}

void bed_bind(struct bed *bed, uint32_t edge, uint64_t req, uint64_t gid, uint64_t device)
{
    Lahar__Link__V1__Bind bind = LAHAR__LINK__V1__BIND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    bind.req = req;
    bind.gid = gid;
    bind.device = device;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND;
    frame.bind = &bind;
    say(bed, edge, &frame);
}

void bed_unbind(struct bed *bed, uint32_t edge, uint64_t gid, uint64_t device, uint64_t session)
{
    Lahar__Link__V1__Unbind unbind = LAHAR__LINK__V1__UNBIND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    unbind.gid = gid;
    unbind.device = device;
    unbind.session = session;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND;
    frame.unbind = &unbind;
    say(bed, edge, &frame);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_random(void *ctx, void *at, size_t len)
{
    (void)ctx;
    rand_bytes(at, len);
}

static void new_shard(struct bed *bed)
{
    bed->names[0] = "bench/0";
    bed->registry = metrics_registry_new(router_metrics_table(), ROUTER_METRICS);
    /* As the router has them by default, but for the time in which edges must have announced what
     * was loaded: ours never do. */
    bed->shard = shard_new(&(struct shard_options){.control = {.prefix = bed->options.prefix,
                                                               .shard_names = bed->names,
                                                               .shards = 1,
                                                               .name = bed->names[0],
                                                               .incarnation = rand_u64() | 1,
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
                                                   .devices_max = FLIGHT_DEVICES_MAX,
                                                   .announce_ms = 2000,
                                                   .likely_ms = 3600000,
                                                   .sweep_after_ms = 15000,
                                                   .sweep_per_s = 1000,
                                                   .identity_cache_max = 100,
                                                   .kicks_max = 100,
                                                   .ticket_rotate_s = 90000},
                           &(struct shard_actions){.send = on_send,
                                                   .command = on_command,
                                                   .random = on_random,
                                                   .map_epoch = on_map_epoch,
                                                   .renew = on_renew},
                           bed, metrics_registry_worker(bed->registry, bed->names[0]));
}

static void await_serving(struct bed *bed)
{
    uint64_t began_ns = now_ns(), owner_ns = 0;
    bool linked = false;
    while (!bed->shard->serving) {
        if (now_ns() - began_ns > START_MS * UINT64_C(1000000))
            log_die("the shard does not serve: %s", shard_not_ready(bed->shard));
        loop_turn(bed->loop, -1);
        if (control_map(bed->shard->control) != NULL && !linked)
            edges_up(bed);
        linked = control_map(bed->shard->control) != NULL;
        if (control_not_ready(bed->shard->control) == NULL && owner_ns == 0) {
            owner_ns = now_ns();
            bed->counts.load_cpu_ns = cost_own_cpu_ns();
        }
    }
    bed->counts.load_cpu_ns = cost_own_cpu_ns() - bed->counts.load_cpu_ns;
    bed->counts.load_s = (double)(now_ns() - owner_ns) / 1e9;
    bed->counts.restart_s = (double)(now_ns() - began_ns) / 1e9;
    bed->counts.loaded = roster_records(bed->shard->roster);
}

struct bed *bed_new(const struct bed_options *options, const struct bed_events *events, void *ctx)
{
    assert(options->edges > 0 && options->edges <= BED_EDGES_MAX);
    struct bed *bed = calloc(1, sizeof *bed);
    assert(bed != NULL);
    bed->options = *options;
    bed->events = *events;
    bed->ctx = ctx;
    bed->arena = arena_new(ARENA_BYTES);
    bed->loop = loop_new();
    new_shard(bed);
    loop_at_turn_end(bed->loop, on_turn_end, bed);
    bed->redis =
        redis_new(bed->loop,
                  &(struct redis_options){.address = options->redis_address,
                                          .timeout_ms = REDIS_TIMEOUT_MS,
                                          .commands_max = COMMANDS_MAX},
                  &(struct redis_events){.on_up = on_redis_up, .on_down = on_redis_down}, bed);
    loop_every(bed->loop, TICK_MS, on_tick, bed);
    set_time(bed);
    await_serving(bed);
    return bed;
}

void bed_free(struct bed *bed)
{
    if (bed == NULL)
        return;
    shard_leave(bed->shard);
    uint64_t until_ns = now_ns() + LEAVE_MS * UINT64_C(1000000);
    do
        loop_turn(bed->loop, 10);
    while (redis_in_flight(bed->redis) > 0 && now_ns() < until_ns);
    redis_free(bed->redis);
    shard_free(bed->shard);
    loop_free(bed->loop);
    metrics_registry_free(bed->registry);
    arena_free(bed->arena);
    free(bed);
}

void bed_turn(struct bed *bed, bool wait)
{
    loop_turn(bed->loop, wait ? -1 : 0);
}

void bed_rest(struct bed *bed, uint32_t ms)
{
    uint64_t until_ns = now_ns() + ms * UINT64_C(1000000);
    while (now_ns() < until_ns) {
        loop_turn(bed->loop, 10);
        /* The allocator looks at its clock when memory is taken and given back. */
        for (uint32_t i = 0; i < 1000; i++) {
            void *volatile page = malloc(64 * 1024);
            free(page);
        }
    }
}

uint32_t bed_queued(const struct bed *bed)
{
    return roster_store_counts(bed->shard->roster)->queued;
}

void bed_settle(struct bed *bed)
{
    const struct store_counts *counts = roster_store_counts(bed->shard->roster);
    while (counts->queued > 0 || counts->slots_to_write > 0 || redis_in_flight(bed->redis) > 0)
        loop_turn(bed->loop, 10);
}

/* --- figures ---------------------------------------------------------------------------------- */

struct bed_counts bed_counts(const struct bed *bed)
{
    const struct store_counts *of_store = roster_store_counts(bed->shard->roster);
    struct bed_counts counts = bed->counts;
    counts.records = roster_records(bed->shard->roster);
    counts.writes = of_store->writes;
    counts.commands = of_store->commands;
    counts.dropped = of_store->dropped + of_store->errors;
    counts.presence_bytes = roster_bytes(bed->shard->roster);
    return counts;
}

struct bed_sum bed_sum(const struct bed *bed, uint32_t edge)
{
    const struct edge *found = roster_edge(bed->shard->roster, edge - 1);
    if (found == NULL)
        return (struct bed_sum){0};
    return (struct bed_sum){found->count, found->mix};
}

static void on_info(void *ctx, uint64_t tag, const struct reply *reply)
{
    (void)tag;
    struct bed *bed = ctx;
    bed->info_awaited = false;
    if (reply == NULL || reply->kind != REPLY_BULK)
        return;
    /* The reader ends a text with a NUL; lines are "name:value". */
    const char *at = memmem(reply->text.at, reply->text.len, bed->info, strlen(bed->info));
    if (at != NULL && at[strlen(bed->info)] == ':')
        bed->info_value = strtoull(at + strlen(bed->info) + 1, NULL, 10);
}

uint64_t bed_redis_info(struct bed *bed, const char *section, const char *name)
{
    bed->info = name;
    bed->info_value = 0;
    struct span args[] = {span_text("INFO"), span_text(section)};
    bed->info_awaited = redis_send(bed->redis, args, 2, on_info, bed, 0);
    while (bed->info_awaited)
        loop_turn(bed->loop, 10);
    return bed->info_value;
}
