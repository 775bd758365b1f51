/* shard_host: what router/runner.c is for a shard, over simulated links and a connection to the
 * fake Redis. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 100u
#define RESTART_MS 4000u
#define COMMANDS_MAX 100000u
#define LEAVE_MS 300u

static enum link_sent on_send(void *ctx, uint32_t peer, enum link_kind kind, struct span frame)
{
    struct shard_host *host = ctx;
    return mesh_send(host->world, peer, AT_SHARD, kind, frame);
}

static void on_map_epoch(void *ctx, uint64_t epoch)
{
    (void)ctx, (void)epoch;
}

static void on_random(void *ctx, void *at, size_t len)
{
    struct shard_host *host = ctx;
    uint8_t *bytes = at;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)world_any(host->world, 256);
}

/* The link does it at the end of the turn. */
static void on_renew(void *ctx)
{
    struct shard_host *host = ctx;
    host->host.incarnation = world_any(host->world, UINT64_MAX) | 1;
    host->renewed = true;
}

/* ---- Redis ---- */

static bool on_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct shard_host *host = ctx;
    struct world *world = host->world;
    if (!host->redis_up || host->commands >= COMMANDS_MAX)
        return false;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += args[i].len;
    struct command *command = malloc(sizeof *command + count * sizeof *args + bytes);
    assert(command != NULL);
    struct span *copies = (struct span *)(void *)(command + 1);
    uint8_t *at = (uint8_t *)(copies + count);
    for (size_t i = 0; i < count; i++) {
        copies[i] = span_of(at, args[i].len);
        if (args[i].len > 0)
            memcpy(at, args[i].at, args[i].len);
        at += args[i].len;
    }
    uint64_t done_ms = world_arrival(world), due_ms = done_ms + STEP_MS;
    *command = (struct command){
        .tag = tag, .done_ms = done_ms, .due_ms = due_ms, .count = count, .args = copies};
    if (host->last != NULL && host->last->done_ms > done_ms)
        command->done_ms = host->last->done_ms;
    if (host->last != NULL && host->last->due_ms > due_ms)
        command->due_ms = host->last->due_ms;
    *(host->last != NULL ? &host->last->next : &host->first) = command;
    host->last = command;
    host->commands++;
    return true;
}

static void carry_out(struct shard_host *host, uint64_t now_ms)
{
    for (struct command *command = host->first; command != NULL; command = command->next) {
        if (command->done_ms > now_ms)
            break;
        if (command->reply == NULL)
            command->reply = fake_redis_do(host->world->redis, command->args, command->count,
                                           host->world->now_ms);
    }
}

static struct command *take_command(struct shard_host *host)
{
    struct command *command = host->first;
    host->first = command->next;
    if (host->first == NULL)
        host->last = NULL;
    host->commands--;
    return command;
}

static void free_command(struct command *command)
{
    fake_redis_reply_free(command->reply);
    free(command);
}

static void read_replies(struct shard_host *host)
{
    carry_out(host, host->world->now_ms);
    while (host->first != NULL && host->first->due_ms <= host->world->now_ms) {
        struct command *command = take_command(host);
        shard_redis_reply(host->shard, command->tag, command->reply);
        free_command(command);
    }
}

/* What had left may have been carried out. */
void shard_host_redis_lost(struct shard_host *host)
{
    if (!host->redis_up || host->redis_broken)
        return;
    host->redis_broken = true;
    if (world_any(host->world, 2))
        carry_out(host, UINT64_MAX);
}

static void notice_loss(struct shard_host *host)
{
    host->redis_up = host->redis_broken = false;
    host->redis_at_ms =
        host->world->now_ms + 100 + world_any(host->world, host->world->hurried ? 300 : 2000);
    while (host->first != NULL) {
        struct command *command = take_command(host);
        shard_redis_reply(host->shard, command->tag, NULL);
        free_command(command);
    }
    shard_redis_down(host->shard);
}

/* ---- life ---- */

static struct shard_options options_of(const struct shard_host *host)
{
    static const char *const shards[WORLD_SHARDS] = {"r1/0", "r2/0"};
    bool hurried = host->world->hurried;
    return (struct shard_options){.control = {.prefix = "lahar:",
                                              .shard_names = shards,
                                              .shards = WORLD_SHARDS,
                                              .name = host->host.name,
                                              .incarnation = host->host.incarnation,
                                              .lease_ms = hurried ? 1200 : 3000,
                                              .renew_ms = hurried ? 300 : 1000},
                                  .flight = {.confirm_ms = hurried ? 800 : 5000,
                                             .outcome_ms = 60000,
                                             .retry_ms = hurried ? 200 : 1000,
                                             .busy_retry_ms = hurried ? 100 : 500,
                                             .lane_entries_max = 16,
                                             .lane_bytes_max = 16 * 1024,
                                             .pending_max = 2000,
                                             .outcomes_max = 10000,
                                             .convs_max = 1000,
                                             .pending_bytes_max = 1024 * 1024},
                                  .devices_max = 4,
                                  .announce_ms = 2000,
                                  .likely_ms = 6000,
                                  .sweep_after_ms = 15000,
                                  .sweep_per_s = 1000,
                                  .identity_cache_max = 4,
                                  .kicks_max = 100,
                                  .ticket_rotate_s = 600};
}

static void set_time(struct shard_host *host)
{
    shard_time(host->shard, host->world->now_ms, world_wall(host->world));
}

void shard_host_start(struct world *world, uint32_t shard)
{
    struct shard_host *host = &world->shards[shard];
    snprintf(host->host.name, sizeof host->host.name, "r%u/0", shard + 1);
    host->world = world;
    host->index = shard;
    host->host.incarnation = world_any(world, UINT64_MAX) | 1;
    host->metrics.values = calloc(ROUTER_METRICS, sizeof *host->metrics.values);
    assert(host->metrics.values != NULL);
    const struct shard_options options = options_of(host);
    host->shard = shard_new(&options,
                            &(struct shard_actions){.send = on_send,
                                                    .command = on_command,
                                                    .random = on_random,
                                                    .map_epoch = on_map_epoch,
                                                    .renew = on_renew},
                            host, &host->metrics);
    host->host.running = true;
    host->host.paused_ms = 0;
    host->host.clock_ms = 1000000;
    host->host.ticked_ms = world->now_ms;
    host->redis_up = host->redis_broken = host->renewed = false;
    host->redis_at_ms = world->now_ms + world_any(world, 300);
    host->leaves_ms = host->dies_ms = 0;
    set_time(host);
    mesh_shard_begins(world, shard);
}

void shard_host_crash(struct world *world, uint32_t shard)
{
    struct shard_host *host = &world->shards[shard];
    if (host->redis_up && !host->redis_broken && world_any(world, 2))
        carry_out(host, UINT64_MAX);
    while (host->first != NULL)
        free_command(take_command(host));
    mesh_shard_gone(world, shard);
    host->host.running = false;
    shard_free(host->shard);
    free(host->metrics.values);
    host->shard = NULL;
    host->metrics.values = NULL;
    host->starts_ms = world->now_ms + world_any(world, world->hurried ? 300 : RESTART_MS);
}

static void see_redis(struct shard_host *host)
{
    struct world *world = host->world;
    if (host->redis_broken) {
        notice_loss(host);
    } else if (!host->redis_up && host->redis_at_ms <= world->now_ms &&
               world->redis_away_ms <= world->now_ms) {
        host->redis_up = true;
        shard_redis_up(host->shard);
    } else if (host->redis_up) {
        read_replies(host);
    }
}

static void tick(struct shard_host *host)
{
    struct world *world = host->world;
    uint64_t passed_ms = world->now_ms - host->host.ticked_ms;
    if (passed_ms < TICK_MS)
        return;
    host->host.ticked_ms = world->now_ms;
    host->host.clock_ms += passed_ms < LINK_HEARTBEAT_MS ? passed_ms : LINK_HEARTBEAT_MS;
    shard_tick(host->shard);
    mesh_tick(world, &host->host);
}

void shard_host_step(struct shard_host *host)
{
    struct world *world = host->world;
    if (!host->host.running) {
        if (world->now_ms >= host->starts_ms)
            shard_host_start(world, host->index);
        return;
    }
    if (host->dies_ms != 0 && host->dies_ms <= world->now_ms) {
        shard_host_crash(world, host->index);
        return;
    }
    if (host->host.paused_ms > world->now_ms)
        return;
    set_time(host);
    see_redis(host);
    tick(host);
    shard_turn_end(host->shard);
    if (host->renewed)
        mesh_renewed(world, host->index);
    host->renewed = false;
    if (host->leaves_ms == 0 || host->leaves_ms + LEAVE_MS > world->now_ms)
        return;
    audit_ledgers(world);
    shard_host_crash(world, host->index);
}
