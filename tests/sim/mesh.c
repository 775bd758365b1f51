/* mesh: links as proto/link.h promises them, with the real pair, batches and credit, over a network
 * that loses batches, is cut for a while, and tells only the side that connects when a process has
 * died. */
#include "proto/batch.h"
#include "proto/frame.h"
#include "tests/sim/world.h"

#define FRAMES_MAX (LINK_BATCH_SIZE_MAX - BATCH_HEAD_SIZE_MAX)
#define EDGE_SILENCE_MS 3000u
#define SHARD_SILENCE_MS 6000u
#define FORGET_MS 10000u
#define CUT_SEEN_MS 2000u /* heartbeats of the connection itself */

struct host *mesh_host(struct world *world, const struct wire *wire, enum side side)
{
    return side == AT_EDGE ? &world->edges[wire->edge].host : &world->shards[wire->shard].host;
}

static bool listens(enum side side)
{
    return side == AT_SHARD;
}

/* Is there somebody at this end who may act now? */
static bool acts(struct world *world, const struct wire *wire, enum side side)
{
    if (side == AT_EDGE && wire->edge_gone)
        return false;
    return host_awake(world, mesh_host(world, wire, side)) &&
           (side == AT_EDGE || wire->ends[side].known);
}

/* ---- what the hosts are told ---- */

static void tell_up(struct world *world, struct wire *wire, enum side side)
{
    struct pair *pair = &wire->ends[side].pair;
    pair_rise(pair);
    if (side == AT_EDGE)
        session_link_up(world->edges[wire->edge].table, wire->shard);
    else
        shard_link_up(world->shards[wire->shard].shard, (uint32_t)(wire - world->wires), KEYS_EDGE,
                      pair->theirs, span_of(pair->name, pair->name_len));
}

static void tell_down(struct world *world, const struct wire *wire, enum side side)
{
    if (side == AT_EDGE)
        session_link_down(world->edges[wire->edge].table, wire->shard);
    else
        shard_link_down(world->shards[wire->shard].shard, (uint32_t)(wire - world->wires));
}

static void tell_frame(struct world *world, const struct wire *wire, enum side side,
                       struct span frame)
{
    if (side == AT_EDGE)
        session_link_frame(world->edges[wire->edge].table, wire->shard, frame);
    else
        shard_link_frame(world->shards[wire->shard].shard, (uint32_t)(wire - world->wires), frame);
}

static void fall(struct world *world, struct wire *wire, enum side side)
{
    struct pair *pair = &wire->ends[side].pair;
    if (pair->state != PAIR_UP)
        return;
    pair_fall(pair, &world->link_counts);
    tell_down(world, wire, side);
}

/* ---- sending ---- */

static bool cut(const struct world *world, const struct wire *wire)
{
    return wire->cut_until_ms > world->now_ms;
}

static bool arrives(struct world *world, const struct wire *wire, enum side at)
{
    return wire->joined && !cut(world, wire) && wire->deaf_until_ms[at] <= world->now_ms &&
           !(world->faulty && world_chance(world, world->loss));
}

static void send_batch(struct world *world, struct wire *wire, enum side side)
{
    uint8_t *bytes = world->batch;
    struct wire_end *end = &wire->ends[side];
    const struct host *host = mesh_host(world, wire, side);
    struct pair_batch batch = pair_next(&end->pair, FRAMES_MAX);
    bool named = end->answering || (!listens(side) && end->pair.state == PAIR_AWAY);
    struct batch_head head = {.from = host->incarnation,
                              .to = end->pair.theirs,
                              .first_byte = batch.first_byte,
                              .first_frame = batch.first_frame,
                              .credit = credit_in_grant(&end->pair.in),
                              .role = listens(side) ? KEYS_ROUTER : KEYS_EDGE,
                              .name = named ? span_text(host->name) : (struct span){0}};
    size_t len = batch_head_write(bytes, &head);
    if (batch.frames.len > 0)
        memcpy(bytes + len, batch.frames.at, batch.frames.len);
    enum side other = side == AT_EDGE ? AT_SHARD : AT_EDGE;
    struct pipe *pipe = &wire->to[other];
    if (arrives(world, wire, other))
        pipe_push(pipe, span_of(bytes, len + batch.frames.len), world_arrival(world));
    if (pipe->bytes > world->longest_wire)
        world->longest_wire = (uint32_t)pipe->bytes;
    pair_sent(&end->pair, &batch, 0);
    end->head_due = end->answering = false;
    end->head_at_ms = world->now_ms + LINK_HEARTBEAT_MS;
}

static void flush(struct world *world, struct wire *wire, enum side side)
{
    struct wire_end *end = &wire->ends[side];
    while (end->pair.queue_frames > 0 || end->head_due)
        send_batch(world, wire, side);
}

enum link_sent mesh_send(struct world *world, uint32_t index, enum side side, enum link_kind kind,
                         struct span frame)
{
    struct wire *wire = &world->wires[index];
    struct pair *pair = &wire->ends[side].pair;
    if (!wire->used || pair->state != PAIR_UP)
        return LINK_AWAY;
    if (kind == LINK_CREDITED && (!credit_out_allows(&pair->out, frame.len) ||
                                  (world->faulty && world_chance(world, world->no_credit))))
        return LINK_NO_CREDIT;
    if (buf_len(&pair->queue) + frame.len > FRAMES_MAX)
        flush(world, wire, side);
    pair_queue(pair, frame, SIZE_MAX, &world->link_counts);
    return LINK_QUEUED;
}

void mesh_flush(struct world *world)
{
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++)
        for (enum side side = AT_EDGE; wire->used && side <= AT_SHARD; side++)
            if (acts(world, wire, side))
                flush(world, wire, side);
}

/* ---- hearing ---- */

static void hear(struct world *world, struct wire *wire, enum side side, struct span bytes)
{
    struct wire_end *end = &wire->ends[side];
    const struct host *host = mesh_host(world, wire, side);
    uint64_t incarnation = host->incarnation;
    struct batch_head head;
    struct span frames, body;
    uint32_t count = 0;
    bool good = batch_open(bytes, &head, &frames, &count);
    assert(good);
    if (!end->known) {
        end->known = true;
        pair_init(&end->pair, world->window);
    }
    end->heard_ms = host->clock_ms;
    struct pair_heard heard =
        pair_hear(&end->pair, incarnation, &head, frames.len, count, &world->link_counts);
    if (heard.down)
        tell_down(world, wire, side);
    if (heard.up)
        tell_up(world, wire, side);
    if (heard.answer || (listens(side) && head.name.len > 0))
        end->answering = end->head_due = true;
    while (heard.take && host->incarnation == incarnation && batch_next(&frames, &body))
        tell_frame(world, wire, side, body);
    if (credit_in_grant_due(&end->pair.in) && end->pair.state == PAIR_UP)
        end->head_due = true;
}

static bool may_hear(struct world *world, const struct wire *wire, enum side side)
{
    return wire->used && host_awake(world, mesh_host(world, wire, side)) &&
           !(side == AT_EDGE && wire->edge_gone);
}

void mesh_read(struct world *world)
{
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++)
        for (enum side side = AT_EDGE; wire->used && side <= AT_SHARD; side++) {
            struct packet *packet;
            while (may_hear(world, wire, side) &&
                   (packet = pipe_take(&wire->to[side], world->now_ms)) != NULL) {
                hear(world, wire, side, span_of(packet->bytes, packet->len));
                free(packet);
            }
        }
}

/* ---- time ---- */

static void free_wire(struct wire *wire)
{
    pair_free(&wire->ends[AT_EDGE].pair);
    pair_free(&wire->ends[AT_SHARD].pair);
    pipe_clear(&wire->to[AT_EDGE]);
    pipe_clear(&wire->to[AT_SHARD]);
    *wire = (struct wire){0};
}

static void see_cut(struct world *world, struct wire *wire)
{
    if (cut(world, wire)) {
        if (wire->joined && world->now_ms - wire->cut_since_ms >= CUT_SEEN_MS) {
            wire->joined = false;
            fall(world, wire, AT_EDGE);
        }
    } else if (!wire->joined && world->shards[wire->shard].host.running) {
        wire->joined = wire->ends[AT_EDGE].head_due = true;
    }
}

static void tick_end(struct world *world, struct wire *wire, enum side side)
{
    struct wire_end *end = &wire->ends[side];
    uint64_t silent_ms = mesh_host(world, wire, side)->clock_ms - end->heard_ms;
    if (side == AT_EDGE)
        see_cut(world, wire);
    if (silent_ms > (side == AT_EDGE ? EDGE_SILENCE_MS : SHARD_SILENCE_MS))
        fall(world, wire, side);
    if (side == AT_SHARD && silent_ms > FORGET_MS && end->pair.state == PAIR_AWAY) {
        pair_free(&end->pair);
        *end = (struct wire_end){0};
        if (wire->edge_gone)
            free_wire(wire);
        return;
    }
    if (world->now_ms >= end->head_at_ms && (side == AT_EDGE || end->pair.state == PAIR_UP))
        end->head_due = true;
}

void mesh_tick(struct world *world, struct host *host)
{
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++)
        for (enum side side = AT_EDGE; wire->used && side <= AT_SHARD; side++)
            if (mesh_host(world, wire, side) == host && acts(world, wire, side))
                tick_end(world, wire, side);
}

/* ---- lives ---- */

void mesh_edge_begins(struct world *world, uint32_t edge)
{
    for (uint32_t shard = 0; shard < WORLD_SHARDS; shard++) {
        uint32_t index = 0;
        while (index < WORLD_WIRES && world->wires[index].used)
            index++;
        assert(index < WORLD_WIRES);
        struct wire *wire = &world->wires[index];
        *wire = (struct wire){.used = true, .edge = edge, .shard = shard};
        wire->joined = world->shards[shard].host.running;
        wire->ends[AT_EDGE].known = wire->ends[AT_EDGE].head_due = true;
        pair_init(&wire->ends[AT_EDGE].pair, world->window);
        world->edges[edge].wires[shard] = index;
    }
}

/* What it had sent may still arrive. */
void mesh_edge_gone(struct world *world, uint32_t edge)
{
    for (uint32_t shard = 0; shard < WORLD_SHARDS; shard++) {
        struct wire *wire = &world->wires[world->edges[edge].wires[shard]];
        wire->edge_gone = true;
        wire->joined = false;
        pair_free(&wire->ends[AT_EDGE].pair);
        pipe_clear(&wire->to[AT_EDGE]);
        if (world_any(world, 2))
            pipe_clear(&wire->to[AT_SHARD]);
        if (!wire->ends[AT_SHARD].known && wire->to[AT_SHARD].count == 0)
            free_wire(wire);
    }
}

void mesh_shard_begins(struct world *world, uint32_t shard)
{
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++)
        if (wire->used && wire->shard == shard && !cut(world, wire))
            wire->joined = wire->ends[AT_EDGE].head_due = true;
}

void mesh_shard_gone(struct world *world, uint32_t shard)
{
    bool told = world_any(world, 5) > 0; /* else the machine died, not the process */
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++) {
        if (!wire->used || wire->shard != shard)
            continue;
        pair_free(&wire->ends[AT_SHARD].pair);
        wire->ends[AT_SHARD] = (struct wire_end){0};
        wire->joined = false;
        pipe_clear(&wire->to[AT_SHARD]);
        if (world_any(world, 2))
            pipe_clear(&wire->to[AT_EDGE]);
        if (wire->edge_gone)
            free_wire(wire);
        else if (told && host_awake(world, &world->edges[wire->edge].host))
            fall(world, wire, AT_EDGE);
    }
}

void mesh_renewed(struct world *world, uint32_t shard)
{
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++) {
        struct wire_end *end = &wire->ends[AT_SHARD];
        if (!wire->used || wire->shard != shard || !end->known)
            continue;
        bool was_up = end->pair.state == PAIR_UP;
        pair_end(&end->pair, &world->link_counts);
        if (was_up)
            tell_down(world, wire, AT_SHARD);
        end->answering = end->head_due = end->pair.theirs != 0;
    }
}

void mesh_free(struct world *world)
{
    for (struct wire *wire = world->wires; wire < world->wires + WORLD_WIRES; wire++)
        if (wire->used)
            free_wire(wire);
}
