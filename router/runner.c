#include "router/runner.h"

#include "base/log.h"
#include "base/overload.h"
#include "base/rand.h"
#include "base/redis.h"
#include "router/router_metrics.h"
#include "router/shard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS 100u
#define SECOND_MS 1000u
#define LEAVE_MS 300u /* for the lease to be given back */
#define COMMANDS_MAX 100000u
#define PENDING_BYTES_MAX (8u * 1024u * 1024u)

struct runner {
    struct runner_options options;
    struct loop *loop;
    struct link *link;
    struct redis *redis;
    struct shard *shard;
    struct overload overload;
    uint64_t felt_us; /* when overload was judged last */
    uint64_t incarnation;
    uint64_t leaving_ms; /* 0: not */
    atomic_bool leave;
    pthread_t thread;
};

static uint32_t number(const struct runner_options *options, const char *key)
{
    return (uint32_t)conf_number(options->conf, key);
}

static void set_time(struct runner *runner)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    shard_time(runner->shard, loop_now_ms(runner->loop),
               (uint64_t)wall.tv_sec * 1000u + (uint64_t)wall.tv_nsec / 1000000u);
}

/* ---- what the shard asks for ---- */

static enum link_sent send_frame(void *ctx, uint32_t peer, enum link_kind kind, struct span frame)
{
    struct runner *runner = ctx;
    return link_send(runner->link, peer, kind, frame);
}

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct runner *runner = ctx;
    set_time(runner);
    shard_redis_reply(runner->shard, tag, reply);
}

static bool send_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct runner *runner = ctx;
    return redis_send(runner->redis, args, count, on_reply, runner, tag);
}

static void get_random(void *ctx, void *at, size_t len)
{
    (void)ctx;
    rand_bytes(at, len);
}

static void tell_map_epoch(void *ctx, uint64_t epoch)
{
    struct runner *runner = ctx;
    link_set_map_epoch(runner->link, epoch);
}

static void renew(void *ctx)
{
    struct runner *runner = ctx;
    runner->incarnation = rand_u64() | 1;
    link_renew(runner->link, runner->incarnation);
}

/* ---- what is brought to the shard ---- */

static void on_link_up(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                       struct span name)
{
    struct runner *runner = ctx;
    set_time(runner);
    shard_link_up(runner->shard, peer, role, incarnation, name);
}

static void on_link_frame(void *ctx, uint32_t peer, struct span frame)
{
    struct runner *runner = ctx;
    shard_link_frame(runner->shard, peer, frame);
}

static void on_link_down(void *ctx, uint32_t peer)
{
    struct runner *runner = ctx;
    set_time(runner);
    shard_link_down(runner->shard, peer);
}

static void on_redis_up(void *ctx)
{
    struct runner *runner = ctx;
    set_time(runner);
    shard_redis_up(runner->shard);
}

static void on_redis_down(void *ctx, const char *why)
{
    (void)why;
    struct runner *runner = ctx;
    set_time(runner);
    shard_redis_down(runner->shard);
}

static void judge_load(struct runner *runner)
{
    uint64_t now_us = loop_now_us(runner->loop);
    struct overload_signal turns = {overload_turns_us(&runner->overload, now_us - runner->felt_us),
                                    (uint64_t)number(&runner->options, "overload.turn_ms") * 1000};
    runner->felt_us = now_us;
    (void)overload_feed(&runner->overload, &turns, 1);
    uint32_t level = overload_level(&runner->overload);
    link_set_load(runner->link, level);
    metrics_set(runner->options.metrics, ROUTER_METRIC_OVERLOAD, level);
}

static void on_turn_over(void *ctx)
{
    struct runner *runner = ctx;
    overload_turn(&runner->overload, loop_spent_us(runner->loop));
}

static void on_tick(void *ctx)
{
    struct runner *runner = ctx;
    set_time(runner);
    judge_load(runner);
    shard_tick(runner->shard);
    if (!atomic_load_explicit(&runner->leave, memory_order_relaxed))
        return;
    if (runner->leaving_ms == 0) {
        runner->leaving_ms = loop_now_ms(runner->loop);
        shard_leave(runner->shard);
    } else if (loop_now_ms(runner->loop) - runner->leaving_ms >= LEAVE_MS) {
        loop_stop(runner->loop);
    }
}

static void on_second(void *ctx)
{
    struct runner *runner = ctx;
    router_metrics_link(runner->options.metrics, link_counts(runner->link));
    ops_beat(runner->options.ops, loop_now_ms(runner->loop));
    ops_ready(runner->options.ops, runner->leaving_ms ? "leaving" : shard_not_ready(runner->shard));
}

static void on_turn_end(void *ctx)
{
    struct runner *runner = ctx;
    set_time(runner);
    shard_turn_end(runner->shard);
}

/* ---- life ---- */

static struct shard_options shard_options(const struct runner *runner)
{
    const struct runner_options *options = &runner->options;
    return (struct shard_options){
        .control = {.prefix = conf_text(options->conf, "redis.prefix"),
                    .shard_names = options->shard_names,
                    .shards = options->shards,
                    .name = options->name,
                    .incarnation = runner->incarnation,
                    .lease_ms = number(options, "lease.ms"),
                    .renew_ms = number(options, "lease.renew_ms")},
        .flight = {.confirm_ms = number(options, "confirm.ms"),
                   .outcome_ms = number(options, "confirm.outcome_ms"),
                   .retry_ms = number(options, "confirm.retry_ms"),
                   .busy_retry_ms = number(options, "limits.busy_retry_ms"),
                   .lane_entries_max = number(options, "limits.unacknowledged"),
                   .lane_bytes_max = number(options, "limits.unacknowledged_bytes"),
                   .pending_max = number(options, "limits.pending"),
                   .outcomes_max = number(options, "limits.outcomes"),
                   .convs_max = number(options, "limits.conversations"),
                   .pending_bytes_max =
                       (uint64_t)conf_number(options->conf, "limits.pending_bytes")},
        .devices_max = number(options, "limits.devices"),
        .sessions_max = number(options, "limits.sessions"),
        .announce_ms = number(options, "presence.announce_ms"),
        .likely_ms = number(options, "presence.likely_ms"),
        .sweep_after_ms = number(options, "presence.sweep_after_ms"),
        .sweep_per_s = number(options, "presence.sweep_per_s"),
        .identity_cache_max = number(options, "limits.identities"),
        .kicks_max = number(options, "limits.kicks"),
        .ticket_rotate_s = number(options, "tickets.rotate_s"),
    };
}

struct runner *runner_new(struct link_net *net, const struct runner_options *options)
{
    struct runner *runner = calloc(1, sizeof *runner);
    assert(runner);
    runner->options = *options;
    runner->incarnation = rand_u64() | 1;
    runner->loop = loop_new();
    const struct shard_options of_shard = shard_options(runner);
    runner->shard = shard_new(&of_shard,
                              &(struct shard_actions){.send = send_frame,
                                                      .command = send_command,
                                                      .random = get_random,
                                                      .map_epoch = tell_map_epoch,
                                                      .renew = renew},
                              runner, options->metrics);
    /* In the order in which a turn ends: the core first, then what it has queued leaves. */
    loop_at_turn_end(runner->loop, on_turn_end, runner);
    const char *password = conf_text(options->conf, "redis.password");
    runner->redis =
        redis_new(runner->loop,
                  &(struct redis_options){.address = conf_text(options->conf, "redis.address"),
                                          .password = *password ? password : NULL,
                                          .database = number(options, "redis.database"),
                                          .timeout_ms = number(options, "redis.timeout_ms"),
                                          .commands_max = COMMANDS_MAX},
                  &(struct redis_events){.on_up = on_redis_up, .on_down = on_redis_down}, runner);
    runner->link = link_new(
        net, runner->loop,
        &(struct link_options){.name = options->name,
                               .incarnation = runner->incarnation,
                               .window_bytes = (uint64_t)conf_number(options->conf, "link.window"),
                               .silence_ms = number(options, "link.silence_ms"),
                               .frames_a_turn = number(options, "link.frames_a_turn"),
                               .pending_bytes_max = PENDING_BYTES_MAX},
        &(struct link_events){
            .on_up = on_link_up, .on_frame = on_link_frame, .on_down = on_link_down},
        runner);
    metrics_set(options->metrics, ROUTER_METRIC_LIMIT_CREDIT,
                (uint64_t)conf_number(options->conf, "link.window"));
    loop_at_turn_end(runner->loop, on_turn_over, runner);
    link_fault_drop_every(runner->link, number(options, "link.fault_drop_every"));
    set_time(runner);
    link_bind(runner->link, options->endpoint);
    loop_every(runner->loop, TICK_MS, on_tick, runner);
    loop_every(runner->loop, SECOND_MS, on_second, runner);
    return runner;
}

static void *run(void *ctx)
{
    struct runner *runner = ctx;
    log_thread(runner->options.name);
    loop_run(runner->loop);
    return NULL;
}

void runner_start(struct runner *runner)
{
    int error = pthread_create(&runner->thread, NULL, run, runner);
    if (error)
        log_die("no thread for shard %s: %s; raise the limit of processes", runner->options.name,
                strerror(error));
}

void runner_leave(struct runner *runner)
{
    atomic_store_explicit(&runner->leave, true, memory_order_relaxed);
    loop_wake(runner->loop);
}

void runner_free(struct runner *runner)
{
    pthread_join(runner->thread, NULL);
    link_free(runner->link);
    redis_free(runner->redis);
    shard_free(runner->shard);
    loop_free(runner->loop);
    free(runner);
}
