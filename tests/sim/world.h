/* world: what the parts of the whole simulator share.
 *
 *     whole.c        the phases of a run, and its verdict
 *     trouble.c      what goes wrong meanwhile
 *     phone.c        a device: the real client core, and an application
 *     line.c         its connection to an edge
 *     edge_host.c    an edge: the real session table
 *     mesh.c         links between edges and shards
 *     shard_host.c   a router's shard: the real one
 *     fake_redis.c   Redis
 *     tally.c        who sent what, and who was handed what
 *     audit.c        what must hold in the end
 *
 * Time goes in steps of STEP_MS. All randomness comes from the seed.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/buf.h"
#include "client/core.h"
#include "edge/edge_metrics.h"
#include "edge/session.h"
#include "proto/pair.h"
#include "router/router_metrics.h"
#include "router/shard.h"
#include "tests/sim/fake_redis.h"
#include "tests/sim/pipe.h"

#define STEP_MS 5u
#define WORLD_SHARDS 2u
#define WORLD_EDGES 2u
#define WORLD_USERS 6u
#define WORLD_PHONES (2 * WORLD_USERS)
#define WORLD_LINES 96u
#define WORLD_WIRES 64u
#define WORLD_SLOTS 128u /* that are owned at all, in a world with a small map */
#define WORLD_LETTERS 6000u
#define NONE UINT32_MAX

/* A process: its clock stands still while it is paused. */
struct host {
    bool running;
    uint64_t incarnation, clock_ms, ticked_ms, second_ms, paused_ms;
    char name[16];
};

enum side { AT_EDGE, AT_SHARD };

struct wire_end {
    struct pair pair;
    bool known; /* the shard's end: it has heard of this edge worker */
    bool head_due, answering;
    uint64_t heard_ms, head_at_ms;
};

/* One edge worker and one shard. Its index is the peer's number for the shard. */
struct wire {
    bool used, joined;
    bool edge_gone; /* the edge has died; the shard may not know */
    uint32_t edge, shard;
    uint64_t cut_since_ms, cut_until_ms;
    uint64_t deaf_until_ms[2]; /* nothing arrives at that side */
    struct wire_end ends[2];   /* by side */
    struct pipe to[2];         /* on the way to that side */
};

struct command {
    struct command *next;
    uint64_t tag, done_ms, due_ms; /* carried out, and answered */
    struct reply *reply;           /* NULL: not carried out yet */
    size_t count;
    struct span *args;
};

struct shard_host {
    struct host host;
    struct world *world;
    uint32_t index;
    struct shard *shard;
    struct metrics metrics;
    bool redis_up, renewed;
    bool redis_broken;    /* the connection is, but nobody has noticed */
    uint64_t redis_at_ms; /* when it is connected again */
    uint64_t starts_ms;   /* while not running */
    uint64_t dies_ms;     /* 0: not on purpose */
    uint64_t leaves_ms;   /* 0: it stays */
    struct command *first, *last;
    uint32_t commands;
};

struct edge_host {
    struct host host;
    struct world *world;
    uint32_t index;
    struct session_table *table;
    struct metrics metrics;
    uint32_t wires[WORLD_SHARDS];
    uint64_t starts_ms;
    bool leaving;
};

/* A client's connection. Its index is the conn's slot on its edge. */
struct line {
    bool used;
    bool opening, phone_open, edge_open;
    bool vanished; /* neither end hears the other, nor knows */
    uint32_t phone, edge, generation;
    uint64_t opens_ms;
    enum end_reason edge_closes; /* at the end of the step */
    struct pipe to_edge, to_phone;
    struct buf at_edge, at_phone; /* arrived, not used yet */
};

struct phone {
    struct world *world;
    uint32_t index, user;
    char device[8];
    bool alone; /* its user has no other one, nor did it ever log in twice */
    struct core *core;
    uint32_t line;
    uint64_t starts_ms, asleep_ms, back_ms, app_ms;
    uint64_t online_ms; /* since when; 0: it is not */
    uint32_t friends[2];
    uint32_t sent;
    uint32_t heard[WORLD_PHONES]; /* the last number of each sender that was handed out here */
};

struct user {
    char name[16];
    uint64_t gid; /* 0: nobody has logged in yet */
    bool kicked;
};

/* A message. */
struct letter {
    uint32_t phone, number, to; /* sender, its how many-th to anybody, recipient's user */
    enum lahar_class class;
    uint32_t size;
    bool ended, roll_call;
    enum lahar_outcome outcome;
    uint64_t sent_ms, window_ms;
    uint32_t window_count; /* how often it was transmitted since */
    bool handed[WORLD_PHONES];
    bool handed_any;
    uint8_t id[LAHAR_ID_SIZE];
    uint8_t message_id[LAHAR_ID_SIZE];
};

struct world {
    uint64_t seed, rng, now_ms;
    bool faulty, talking, small_map, moves;
    bool routers;      /* trouble with routers and Redis only: who is connected is never offline */
    bool hurried;      /* what takes seconds takes tenths of them: more happens in the same time */
    const char *wrong; /* the first thing that went wrong */
    char detail[160];

    struct fake_redis *redis;
    uint64_t redis_away_ms;
    uint64_t map_epoch;
    uint32_t split; /* first slot of the second shard, with a small map */

    struct shard_host shards[WORLD_SHARDS];
    struct edge_host edges[WORLD_EDGES];
    struct wire wires[WORLD_WIRES];
    struct line lines[WORLD_LINES];
    struct phone phones[WORLD_PHONES];
    uint32_t phone_count;
    struct user users[WORLD_USERS];
    uint32_t user_count;
    uint32_t generation;
    struct link_counts link_counts;

    /* Of this seed. */
    uint32_t loss, no_credit; /* of 100,000 batches, credited frames */
    uint64_t window;
    uint32_t latency_ms;
    uint32_t sends_per_s;

    struct letter *letters;
    uint32_t letter_count, ended_count, outcomes[4];
    uint32_t longest_wire, most_repeats;
    uint32_t kicks;
    uint8_t batch[LINK_BATCH_SIZE_MAX]; /* one that is being written */
};

/* --- whole.c */
uint64_t world_any(struct world *world, uint64_t below);
bool world_chance(struct world *world, uint32_t of_100000);
/* When what leaves now arrives. */
uint64_t world_arrival(struct world *world);
/* Something is wrong; only the first counts. */
void world_wrong(struct world *world, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The map says who owns which slots; each time with a higher epoch. */
void world_put_map(struct world *world);

static inline uint64_t world_wall(const struct world *world)
{
    return UINT64_C(1700000000000) + world->now_ms;
}

static inline bool host_awake(const struct world *world, const struct host *host)
{
    return host->running && host->paused_ms <= world->now_ms;
}

/* --- trouble.c */
/* Something goes wrong about every `every_ms`. */
void trouble_step(struct world *world, uint32_t every_ms);
/* Whatever was begun ends. */
void trouble_ends(struct world *world);

/* --- mesh.c */
struct host *mesh_host(struct world *world, const struct wire *wire, enum side side);
void mesh_edge_begins(struct world *world, uint32_t edge);
void mesh_edge_gone(struct world *world, uint32_t edge);
void mesh_shard_begins(struct world *world, uint32_t shard);
void mesh_shard_gone(struct world *world, uint32_t shard);
/* The shard's host has a new incarnation. */
void mesh_renewed(struct world *world, uint32_t shard);
enum link_sent mesh_send(struct world *world, uint32_t wire, enum side side, enum link_kind kind,
                         struct span frame);
void mesh_read(struct world *world);
void mesh_tick(struct world *world, struct host *host);
void mesh_flush(struct world *world);
void mesh_free(struct world *world);

/* --- line.c */
/* To any edge. */
void line_open(struct world *world, struct phone *phone);
void line_phone_sends(struct world *world, struct phone *phone, struct span bytes);
void line_phone_closes(struct world *world, struct phone *phone);
void line_edge_sends(struct world *world, uint32_t edge, struct conn_id id, struct span bytes);
void line_edge_closes(struct world *world, uint32_t edge, struct conn_id id,
                      enum end_reason reason);
/* Both ends hear of it. */
void line_break(struct world *world, struct line *line);
void line_edge_gone(struct world *world, uint32_t edge);
void line_read(struct world *world);
void line_turn_end(struct world *world);
void line_free(struct world *world);

/* --- phone.c */
void phone_init(struct world *world, struct phone *phone, uint32_t user, const char *device);
void phone_start(struct phone *phone);
void phone_step(struct phone *phone);
/* One message, perhaps. */
void phone_sends(struct phone *phone, uint32_t to, enum lahar_class class, uint32_t size,
                 bool roll_call);
bool phone_online(const struct phone *phone);

/* --- edge_host.c */
void edge_host_start(struct world *world, uint32_t edge);
void edge_host_crash(struct world *world, uint32_t edge);
void edge_host_step(struct edge_host *host);

/* --- shard_host.c */
void shard_host_start(struct world *world, uint32_t shard);
void shard_host_crash(struct world *world, uint32_t shard);
/* The connection breaks; it is noticed when the host acts next. */
void shard_host_redis_lost(struct shard_host *host);
void shard_host_step(struct shard_host *host);

/* --- tally.c */
/* What a client transmits. */
void tally_transmitted(struct phone *phone, struct span bytes);
/* The body of a letter; of `letter->size` bytes. */
void tally_body(const struct world *world, uint32_t index, uint8_t *body);
struct letter *tally_letter(struct world *world, uint32_t *index);
void tally_handed(struct phone *phone, const struct lahar_message *message);
void tally_ended(struct phone *phone, const struct lahar_result_of_send *result);

/* --- audit.c */
/* NULL, or what is not yet as it must be when all is calm. */
const char *audit_calm(struct world *world);
/* What must hold at any time. */
void audit_ledgers(struct world *world);
void audit_show(const struct world *world);

#endif
