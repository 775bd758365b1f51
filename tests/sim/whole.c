/* whole: clients, edges, shards and Redis in one process: the real client core, session table and
 * shard, over links, connections, clocks and a Redis that are simulated, with faults from a seed.
 * First there is trouble, then calm, and in the end a roll call.
 *
 * Every send must end, and truly: what was acknowledged was handed out before, what was refused
 * never is. Nobody is handed anything twice, out of order, altered, or that was for somebody else.
 * When all is calm nothing is in flight, the ledgers come out, presence is the same at edges, in
 * shards and in Redis, and what is sent arrives everywhere.
 *
 *     whole [SEEDS [PART [FIRST [LEVEL]]]]     PART leaves a part of the rule out, and then
 * something wrong must be found
 */
#include "base/left_out.h"
#include "base/log.h"
#include "proto/link.pb-c.h"
#include "tests/sim/world.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define START_MS 3000u
#define CALM_MS 70000u
#define ROLL_CALL_MS 10000u
#define WIRE_BYTES_MAX (1024u * 1024u)

enum left_out left_out;

/* What an assert that fires during a run says of it. */
static char running[64];

/* ---- chance ---- */

uint64_t world_any(struct world *world, uint64_t below)
{
    uint64_t x = world->rng += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % below;
}

bool world_chance(struct world *world, uint32_t of_100000)
{
    return of_100000 > 0 && world_any(world, 100000) < of_100000;
}

uint64_t world_arrival(struct world *world)
{
    return world->now_ms + world_any(world, world->latency_ms + 1);
}

void world_wrong(struct world *world, const char *what, const char *format, ...)
{
    if (world->wrong != NULL)
        return;
    world->wrong = what;
    va_list args;
    va_start(args, format);
    vsnprintf(world->detail, sizeof world->detail, format, args);
    va_end(args);
}

/* ---- what is in Redis at first ---- */

static void redis_set(struct world *world, struct span key, struct span value)
{
    const struct span args[] = {span_text("SET"), key, value};
    fake_redis_reply_free(fake_redis_do(world->redis, args, 3, world->now_ms));
}

static void redis_hset(struct world *world, struct span key, struct span field, struct span value)
{
    const struct span args[] = {span_text("HSET"), key, field, value};
    fake_redis_reply_free(fake_redis_do(world->redis, args, 4, world->now_ms));
}

static ProtobufCBinaryData data_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

/* Most slots belong to a shard that nobody knows, or loading would take most of the time. */
static void put_map(struct world *world)
{
    ProtobufCBinaryData names[] = {data_of("r1/0"), data_of("r2/0"), data_of("r9/0")};
    uint32_t begins[] = {0, world->split, WORLD_SLOTS, GID_SLOTS};
    Lahar__Link__V1__SlotRun runs[3], *run_list[3];
    for (uint32_t i = 0; i < 3; i++) {
        runs[i] = (Lahar__Link__V1__SlotRun)LAHAR__LINK__V1__SLOT_RUN__INIT;
        runs[i].first = begins[i];
        runs[i].count = begins[i + 1] - begins[i];
        runs[i].shard = i;
        run_list[i] = &runs[i];
    }
    Lahar__Link__V1__SlotMap map = LAHAR__LINK__V1__SLOT_MAP__INIT;
    uint8_t packed[256];
    map.epoch = ++world->map_epoch;
    map.n_shards = map.n_runs = 3;
    map.shards = names;
    map.runs = run_list;
    assert(lahar__link__v1__slot_map__get_packed_size(&map) <= sizeof packed);
    size_t len = lahar__link__v1__slot_map__pack(&map, packed);
    redis_set(world, span_text("lahar:map"), span_of(packed, len));
}

static void put_site(struct world *world)
{
    uint8_t key[32] = {1}, packed[128];
    Lahar__Link__V1__SiteKey site_key = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&site_key};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    site_key.kid = data_of("k");
    site_key.ed25519 = (ProtobufCBinaryData){sizeof key, key};
    site.id = site.name = data_of("game");
    site.revision = 1;
    site.keys = keys;
    site.n_keys = 1;
    assert(lahar__link__v1__site__get_packed_size(&site) <= sizeof packed);
    size_t len = lahar__link__v1__site__pack(&site, packed);
    redis_hset(world, span_text("lahar:sites"), span_text("game"), span_of(packed, len));
    redis_set(world, span_text("lahar:sites_rev"), span_text("1"));
}

/* With a small map users have names and GIDs whose slots are owned. */
static void put_user(struct world *world, struct user *user, uint32_t *name, uint64_t *gid)
{
    uint32_t slot;
    char key[32];
    uint8_t field[32] = "game";
    do {
        snprintf(user->name, sizeof user->name, "u%u", ++*name);
        slot = (uint32_t)(gid_user_hash(span_text("game"), span_text(user->name)) % GID_SLOTS);
    } while (world->small_map && slot >= WORLD_SLOTS);
    if (!world->small_map)
        return;
    while (gid_slot(++*gid) >= WORLD_SLOTS)
        ;
    size_t len = strlen(user->name);
    memcpy(field + 5, user->name, len);
    snprintf(key, sizeof key, "lahar:{%u}ids", slot);
    redis_hset(world, span_text(key), span_of(field, 5 + len), span_of(gid, sizeof *gid));
}

static void fill_redis(struct world *world)
{
    uint32_t name = (uint32_t)world_any(world, 10000);
    uint64_t gid = GID_FIRST_USER + world_any(world, 5000);
    if (world->small_map)
        put_map(world);
    put_site(world);
    for (uint32_t i = 0; i < world->user_count; i++)
        put_user(world, &world->users[i], &name, &gid);
    if (world->small_map)
        redis_set(world, span_text("lahar:gids"), span_text("40000"));
}

/* ---- trouble ---- */

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
    char key[32];
    snprintf(key, sizeof key, "lahar:lease:%s", host->host.name);
    fake_redis_say(world->redis, (const char *const[]){"SET", key, "usurper", "PX", "1500"}, 5,
                   world->now_ms);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        if (!host->host.running || (world->small_map && slot >= WORLD_SLOTS))
            break;
        bool second = slot >= (world->small_map ? world->split : GID_SLOTS / 2);
        if (second != (host->index == 1))
            continue;
        snprintf(key, sizeof key, "lahar:{%u}fence", slot);
        fake_redis_say(world->redis, (const char *const[]){"INCRBY", key, "1"}, 3, world->now_ms);
    }
}

/* The map gives some slots to the other shard; each shard reads it when it connects to Redis next.
 */
static void slots_move(struct world *world)
{
    if (!world->moves)
        return;
    world->split = 32 + 32 * (uint32_t)world_any(world, 3);
    put_map(world);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (world->shards[i].host.running && world_any(world, 3) > 0)
            shard_host_redis_lost(&world->shards[i]);
}

static const struct {
    uint32_t weight;
    void (*happens)(struct world *);
} faults[] = {{16, wire_loses},  {5, wire_is_cut},     {3, shard_crashes}, {5, shard_dies_unheard},
              {1, shard_leaves}, {3, shard_pauses},    {2, edge_crashes},  {1, edge_leaves},
              {2, edge_pauses},  {6, line_breaks},     {3, line_vanishes}, {10, line_is_slow},
              {6, phone_sleeps}, {2, redis_goes_away}, {3, redis_is_lost}, {1, shard_is_usurped},
              {2, slots_move}};

static void trouble(struct world *world, uint32_t every_ms)
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
    faults[i].happens(world);
}

/* Whatever was begun ends. */
static void calm_down(struct world *world)
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

/* ---- a run ---- */

static void step(struct world *world)
{
    world->now_ms += STEP_MS;
    for (uint32_t i = 0; i < WORLD_EDGES; i++)
        edge_host_step(&world->edges[i]);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        shard_host_step(&world->shards[i]);
    mesh_read(world);
    line_read(world);
    for (uint32_t i = 0; i < world->phone_count; i++)
        phone_step(&world->phones[i]);
    line_turn_end(world);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (host_awake(world, &world->shards[i].host))
            shard_turn_end(world->shards[i].shard);
    mesh_flush(world);
    if (world->longest_wire > WIRE_BYTES_MAX)
        world_wrong(world, "a storm of repeats", "%u bytes on one link", world->longest_wire);
}

static void make_phones(struct world *world)
{
    for (uint32_t user = 0; user < world->user_count; user++) {
        uint32_t first = world->phone_count;
        phone_init(world, &world->phones[world->phone_count++], user, "a");
        uint64_t dice = world_any(world, 6);
        if (dice < 2)
            phone_init(world, &world->phones[world->phone_count++], user, dice == 0 ? "b" : "a");
        world->phones[first].alone = world->phone_count == first + 1;
        if (dice == 1) /* the same device again, in time */
            world->phones[first + 1].starts_ms += world_any(world, 30000);
    }
    for (uint32_t i = 0; i < world->phone_count; i++)
        for (uint32_t j = 0; j < 2; j++)
            world->phones[i].friends[j] = (uint32_t)world_any(world, world->user_count);
}

static void begin(struct world *world, uint64_t seed)
{
    static const uint32_t losses[] = {0, 300, 2000, 8000};
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->rng = seed * UINT64_C(0x2545f4914f6cdd1d);
    world->now_ms = 1000000;
    world->small_map = seed % 16 != 15;
    world->moves = world->small_map && seed % 8 >= 5 && seed % 8 <= 6;
    world->hurried = seed % 2 == 1;
    world->split = WORLD_SLOTS / 2;
    world->loss = losses[world_any(world, 4)];
    world->no_credit = world_any(world, 3) == 0 ? 3000 : 0;
    world->window = world_any(world, 3) == 0 ? 4096 : 1024 * 1024;
    world->latency_ms = world_any(world, 2) ? 8 : 60;
    world->sends_per_s = 1 + (uint32_t)world_any(world, 3);
    world->user_count = 2 + (uint32_t)world_any(world, world->hurried ? 2 : WORLD_USERS - 1);
    world->letters = calloc(WORLD_LETTERS, sizeof *world->letters);
    assert(world->letters != NULL);
    world->redis = fake_redis_new();
    fill_redis(world);
    make_phones(world);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        shard_host_start(world, i);
    for (uint32_t i = 0; i < WORLD_EDGES; i++)
        edge_host_start(world, i);
}

static void finish(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_EDGES; i++)
        if (world->edges[i].host.running)
            edge_host_crash(world, i);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (world->shards[i].host.running)
            shard_host_crash(world, i);
    for (uint32_t i = 0; i < world->phone_count; i++)
        core_free(world->phones[i].core);
    line_free(world);
    mesh_free(world);
    fake_redis_free(world->redis);
    free(world->letters);
}

static void wait_for_calm(struct world *world, uint32_t ms_max)
{
    const char *why = "";
    uint64_t end_ms = world->now_ms + ms_max;
    while (world->wrong == NULL && why != NULL && world->now_ms < end_ms) {
        for (uint32_t i = 0; i < 40; i++)
            step(world);
        why = audit_calm(world);
    }
    if (why != NULL)
        world_wrong(world, "it does not calm down", "%s", why);
    audit_ledgers(world);
}

/* Everyone who is online sends to everyone else, and all devices get it. */
static void call_roll(struct world *world)
{
    uint32_t first = world->letter_count;
    for (uint32_t i = 0; i < world->phone_count; i++)
        for (uint32_t to = 0; phone_online(&world->phones[i]) && to < world->user_count; to++)
            if (to != world->phones[i].user)
                phone_sends(&world->phones[i], to, LAHAR_CONFIRMED, 20, true);
    wait_for_calm(world, ROLL_CALL_MS);
    for (uint32_t n = first; n < world->letter_count && world->wrong == NULL; n++)
        for (uint32_t i = 0; i < world->phone_count; i++) {
            const struct phone *phone = &world->phones[i];
            if (phone->user == world->letters[n].to && phone_online(phone) &&
                !world->letters[n].handed[i])
                world_wrong(world, "one of the devices was left out", "%u of phone %u at phone %u",
                            world->letters[n].number, world->letters[n].phone, i);
        }
}

static void run(struct world *world, uint64_t seed)
{
    static const uint32_t paces[] = {100, 250, 500, 1500, 4000};
    begin(world, seed);
    uint32_t every_ms = paces[world_any(world, 4) + !world->hurried];
    uint64_t faults_ms = world->now_ms + START_MS;
    uint64_t calm_ms = faults_ms + 15000 + world_any(world, world->hurried ? 10000 : 30000);
    world->talking = true;
    while (world->wrong == NULL && world->now_ms < calm_ms) {
        world->faulty = world->now_ms >= faults_ms;
        if (world->faulty)
            trouble(world, every_ms);
        step(world);
    }
    calm_down(world);
    wait_for_calm(world, CALM_MS);
    for (uint32_t i = 0; i < 3 && world->wrong == NULL; i++)
        call_roll(world);
}

/* ---- the program ---- */

static enum left_out part_of(const char *name)
{
    static const char *const names[] = {"nothing", "dseq",    "seq",   "busy",   "epoch",
                                        "skip",    "cascade", "reset", "damping"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum left_out)i;
    fprintf(stderr, "whole: there is no part %s\n", name);
    exit(2);
}

static void on_abort(int signal)
{
    (void)signal;
    (void)!write(STDOUT_FILENO, running, strlen(running));
    _exit(left_out != LEFT_OUT_NOTHING ? 0 : 1);
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 50, wrong = 0;
    left_out = argc > 2 ? part_of(argv[2]) : LEFT_OUT_NOTHING;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    log_set_level(argc > 4 ? (enum log_level)atoi(argv[4]) : LOG_ERROR);
    signal(SIGABRT, on_abort);
    struct world *world = malloc(sizeof *world);
    assert(world != NULL);
    uint64_t letters = 0, outcomes[4] = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        snprintf(running, sizeof running, "seed %llu: an assert fired\n", (unsigned long long)seed);
        run(world, seed);
        letters += world->letter_count;
        for (size_t i = 0; i < 4; i++)
            outcomes[i] += world->outcomes[i];
        if (world->wrong != NULL) {
            printf("seed %llu: %s (%s) after %.3f s\n", (unsigned long long)seed, world->wrong,
                   world->detail, (double)(world->now_ms - 1000000) / 1000);
            if (argc > 4)
                audit_show(world);
            fflush(stdout);
            wrong++;
        }
        finish(world);
        if (wrong > 0 && left_out != LEFT_OUT_NOTHING)
            break;
    }
    free(world);
    printf("%llu of %llu seeds went wrong; %llu messages: %llu delivered, %llu refused, %llu "
           "unknown\n",
           (unsigned long long)wrong, (unsigned long long)seeds, (unsigned long long)letters,
           (unsigned long long)outcomes[LAHAR_DELIVERED],
           (unsigned long long)outcomes[LAHAR_REFUSED],
           (unsigned long long)outcomes[LAHAR_UNKNOWN]);
    return (left_out != LEFT_OUT_NOTHING) == (wrong > 0) ? 0 : 1;
}
