/* whole: clients, edges, shards and Redis in one process: the real client core, session table and
 * shard, over links, connections, clocks and a Redis that are simulated, with faults from a seed.
 * First there is trouble, then calm, and in the end a roll call.
 *
 * Every send must end, and truly: what was acknowledged was handed out before, what was refused
 * never is. Nobody is handed anything twice, out of order, altered, or that was for somebody else.
 * When all is calm nothing is in flight, the ledgers come out, presence is the same at edges, in
 * shards and in Redis, and what is sent arrives everywhere.
 *
 *     whole [SEEDS [PART [FIRST [LEVEL]]]]
 *
 * PART is left out of the rule, and then something wrong must be found. With a LEVEL of the log
 * (0 to 3) what is wrong is shown in full.
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
void world_put_map(struct world *world)
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
        world_put_map(world);
    put_site(world);
    for (uint32_t i = 0; i < world->user_count; i++)
        put_user(world, &world->users[i], &name, &gid);
    if (world->small_map)
        redis_set(world, span_text("lahar:gids"), span_text("40000"));
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
    world->routers = seed % 16 >= 11 && seed % 16 <= 12;
    world->split = WORLD_SLOTS / 2;
    world->loss = world->routers ? 0 : losses[world_any(world, 4)];
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
            trouble_step(world, every_ms);
        step(world);
    }
    trouble_ends(world);
    wait_for_calm(world, CALM_MS);
    for (uint32_t i = 0; i < 3 && world->wrong == NULL; i++)
        call_roll(world);
}

/* ---- the program ---- */

static enum left_out part_of(const char *name)
{
    static const char *const names[] = {"nothing", "dseq",    "seq",   "busy",    "epoch",
                                        "skip",    "cascade", "reset", "damping", "bar"};
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
