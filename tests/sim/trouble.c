/* trouble: what goes wrong, each with its weight. */
#include "router/shard_table.h"
#include "tests/sim/world.h"

#include <stdio.h>

static struct line *any_line(struct world *world)
{
    const struct phone *phone = &world->phones[world_any(world, world->phone_count)];
    struct line *line = phone->line == NONE ? NULL : &world->lines[phone->line];
    return line != NULL && !line->opening ? line : NULL;
}

static uint64_t until(struct world *world, uint64_t ms_max)
{
    /* Short ones more often. */
    if (world->hurried && world_any(world, 4) > 0)
        ms_max /= 6;
    return world->now_ms + 50 + world_any(world, 1 + world_any(world, ms_max));
}

static struct wire *any_wire(struct world *world)
{
    const struct edge_host *edge = &world->edges[world_any(world, WORLD_EDGES)];
    return edge->host.running ? &world->wires[edge->wires[world_any(world, WORLD_SHARDS)]] : NULL;
}

static void wire_loses(struct world *world)
{
    struct wire *wire = any_wire(world);
    if (wire != NULL)
        wire->deaf_until_ms[world_any(world, 2)] = until(world, 1000);
}

static void wire_is_cut(struct world *world)
{
    struct wire *wire = any_wire(world);
    if (wire == NULL)
        return;
    wire->cut_since_ms = world->now_ms;
    wire->cut_until_ms = until(world, 10000);
    pipe_clear(&wire->to[AT_EDGE]);
    pipe_clear(&wire->to[AT_SHARD]);
}

static struct shard_host *any_shard(struct world *world)
{
    struct shard_host *host = &world->shards[world_any(world, WORLD_SHARDS)];
    return host->host.running ? host : NULL;
}

static void shard_crashes(struct world *world)
{
    const struct shard_host *host = any_shard(world);
    if (host != NULL)
        shard_host_crash(world, host->index);
}

/* Deliveries expire while their edge hears nothing, nor does the sender of the outcome; then nobody
 * knows any more. */
static void shard_dies_unheard(struct world *world)
{
    const struct wire *wire = any_wire(world);
    if (wire == NULL || !world->shards[wire->shard].host.running)
        return;
    uint64_t heard_ms = world->now_ms + 200 + world_any(world, world->hurried ? 1200 : 6000);
    for (uint32_t edge = 0; edge < WORLD_EDGES; edge++)
        if (world->edges[edge].host.running)
            world->wires[world->edges[edge].wires[wire->shard]].deaf_until_ms[AT_EDGE] = heard_ms;
    world->shards[wire->shard].dies_ms = heard_ms + 50 + world_any(world, 300);
}

static void shard_leaves(struct world *world)
{
    struct shard_host *host = any_shard(world);
    if (host == NULL || host->leaves_ms != 0 || !host_awake(world, &host->host))
        return;
    host->leaves_ms = world->now_ms;
    shard_leave(host->shard);
}

static void shard_pauses(struct world *world)
{
    struct shard_host *host = any_shard(world);
    if (host != NULL)
        host->host.paused_ms = until(world, 8000);
}

static struct edge_host *any_edge(struct world *world)
{
    struct edge_host *host = &world->edges[world_any(world, WORLD_EDGES)];
    return host->host.running ? host : NULL;
}

static void edge_crashes(struct world *world)
{
    const struct edge_host *host = any_edge(world);
    if (host != NULL)
        edge_host_crash(world, host->index);
}

static void edge_leaves(struct world *world)
{
    struct edge_host *host = any_edge(world);
    if (host == NULL || !host_awake(world, &host->host))
        return;
    host->leaving = true;
    session_leave(host->table);
}

static void edge_pauses(struct world *world)
{
    struct edge_host *host = any_edge(world);
    if (host != NULL)
        host->host.paused_ms = until(world, 4000);
}

static void line_breaks(struct world *world)
{
    struct line *line = any_line(world);
    if (line != NULL)
        line_break(world, line);
}

/* The client finds out by itself, or gives up and comes anew; the edge may not know for long. */
static void line_vanishes(struct world *world)
{
    struct line *line = any_line(world);
    if (line == NULL)
        return;
    line->vanished = true;
    pipe_clear(&line->to_edge);
    pipe_clear(&line->to_phone);
}

static void line_is_slow(struct world *world)
{
    struct line *line = any_line(world);
    if (line != NULL)
        (world_any(world, 3) == 0 ? &line->to_phone : &line->to_edge)->held_ms = until(world, 9000);
}

static void phone_sleeps(struct world *world)
{
    world->phones[world_any(world, world->phone_count)].asleep_ms = until(world, 9000);
}

static void redis_goes_away(struct world *world)
{
    world->redis_away_ms = until(world, 6000);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (world->shards[i].host.running)
            shard_host_redis_lost(&world->shards[i]);
    if (world_any(world, 3) == 0)
        fake_redis_lose(world->redis, "}p");
}

/* What shards find when they are back is what the edges tell them; epochs begin anew. */
static void routers_and_redis_die(struct world *world)
{
    redis_goes_away(world);
    fake_redis_lose(world->redis, "}p");
    fake_redis_lose(world->redis, "}fence");
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (world->shards[i].host.running)
            shard_host_crash(world, i);
}

static void redis_is_lost(struct world *world)
{
    struct shard_host *host = any_shard(world);
    if (host != NULL)
        shard_host_redis_lost(host);
}

/* Another process took the shard's name, raised its fences, and died. */
static void shard_is_usurped(struct world *world)
{
    const struct shard_host *host = any_shard(world);
    if (host == NULL)
        return;
    char lease[32], fence[32];
    snprintf(lease, sizeof lease, "lahar:lease:%s", host->host.name);
    fake_redis_say(world->redis, (const char *const[]){"SET", lease, "usurper", "PX", "1500"}, 5,
                   world->now_ms);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        if (!host->host.running || (world->small_map && slot >= WORLD_SLOTS))
            break;
        bool second = slot >= (world->small_map ? world->split : GID_SLOTS / 2);
        if (second != (host->index == 1))
            continue;
        snprintf(fence, sizeof fence, "lahar:{%u}fence", slot);
        fake_redis_say(
            world->redis,
            (const char *const[]){"FCALL", "lahar_raise", "2", lease, fence, "usurper", "0"}, 7,
            world->now_ms);
    }
}

/* The map gives some slots to the other shard; each shard reads it when it connects to Redis next.
 */
static void slots_move(struct world *world)
{
    if (!world->moves)
        return;
    world->split = 32 + 32 * (uint32_t)world_any(world, 3);
    world_put_map(world);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (world->shards[i].host.running && world_any(world, 3) > 0)
            shard_host_redis_lost(&world->shards[i]);
}

/* By the command, at the shard that takes itself for the owner. */
static void user_is_kicked(struct world *world)
{
    struct user *user = &world->users[world_any(world, world->user_count)];
    Lahar__Link__V1__Kick kick = LAHAR__LINK__V1__KICK__INIT;
    kick.gid = user->gid;
    if (world_any(world, 3) == 0)
        kick.device = gid_device_hash(span_text("a"));
    for (uint32_t i = 0; i < WORLD_SHARDS && user->gid != 0; i++) {
        struct shard_host *host = &world->shards[i];
        if (!host_awake(world, &host->host) || !host->shard->serving ||
            !host->shard->owned[gid_slot(user->gid)])
            continue;
        user->kicked = true;
        world->kicks++;
        kick_request(host->shard->kick, EDGES_NO_PEER, world->kicks, &kick);
    }
}

static const struct {
    uint32_t weight;
    void (*happens)(struct world *);
    bool of_routers;
} faults[] = {
    {16, wire_loses, false},        {5, wire_is_cut, false},     {3, shard_crashes, true},
    {5, shard_dies_unheard, false}, {1, shard_leaves, true},     {3, shard_pauses, true},
    {2, edge_crashes, false},       {1, edge_leaves, false},     {2, edge_pauses, false},
    {6, line_breaks, false},        {3, line_vanishes, false},   {10, line_is_slow, false},
    {6, phone_sleeps, false},       {2, redis_goes_away, true},  {1, routers_and_redis_die, true},
    {3, redis_is_lost, true},       {1, shard_is_usurped, true}, {2, slots_move, false},
    {4, user_is_kicked, false}};

void trouble_step(struct world *world, uint32_t every_ms)
{
    if (world_any(world, every_ms / STEP_MS) != 0)
        return;
    uint32_t sum = 0;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sum += faults[i].weight;
    uint64_t dice = world_any(world, sum);
    size_t i = 0;
    while (dice >= faults[i].weight)
        dice -= faults[i++].weight;
    if (faults[i].of_routers || !world->routers)
        faults[i].happens(world);
}

void trouble_ends(struct world *world)
{
    world->faulty = world->talking = false;
    world->redis_away_ms = 0;
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++)
        wire->cut_until_ms = wire->deaf_until_ms[AT_EDGE] = wire->deaf_until_ms[AT_SHARD] = 0;
    for (struct line *line = world->lines; line < world->lines + WORLD_LINES; line++)
        line->to_edge.held_ms = line->to_phone.held_ms = 0;
    for (uint32_t i = 0; i < WORLD_SHARDS; i++) {
        world->shards[i].host.paused_ms = world->shards[i].dies_ms = 0;
        if (world->moves && world->shards[i].host.running)
            shard_host_redis_lost(&world->shards[i]);
    }
    for (uint32_t i = 0; i < WORLD_EDGES; i++)
        world->edges[i].host.paused_ms = 0;
    for (uint32_t i = 0; i < world->phone_count; i++)
        world->phones[i].asleep_ms = 0;
}
