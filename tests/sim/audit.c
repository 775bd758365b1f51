/* audit: what must hold, seen from inside: ledgers at any time; when all is calm nothing in flight,
 * and presence the same at the edges, in the shards and in Redis. */
#include "edge/session_table.h"
#include "router/roster_table.h"
#include "router/shard_table.h"
#include "tests/sim/world.h"

#include <endian.h>
#include <stdio.h>

/* ---- ledgers ---- */

static void audit_edge(struct world *world, const struct edge_host *host)
{
    const struct session_table *table = host->table;
    const struct metrics *metrics = &host->metrics;
    uint64_t sends = 0, deliveries = 0;
    for (uint32_t place = 0; place < table->places_used; place++) {
        const struct session *s = session_at(table, place);
        sends += s->in_flight;
        deliveries += s->dseq_let - s->dseq_acked;
    }
    static const enum edge_metric send_ends[] = {EDGE_METRIC_SENDS_ACKED, EDGE_METRIC_SENDS_UNKNOWN,
                                                 EDGE_METRIC_SENDS_SHED, EDGE_METRIC_SENDS_PASSED,
                                                 EDGE_METRIC_SENDS_REPEATED};
    static const enum edge_metric delivery_ends[] = {
        EDGE_METRIC_DELIVERIES_ACKED, EDGE_METRIC_DELIVERIES_PASSED, EDGE_METRIC_DELIVERIES_OLD,
        EDGE_METRIC_DROPPED_GAP,      EDGE_METRIC_DROPPED_EPOCH,     EDGE_METRIC_DROPPED_GONE,
        EDGE_METRIC_DROPPED_CLOSED};
    for (size_t i = 0; i < sizeof send_ends / sizeof *send_ends; i++)
        sends += metrics_get(metrics, send_ends[i]);
    for (size_t reason = 1; reason < NACK_REASONS; reason++)
        sends += metrics_get(metrics, EDGE_METRIC_NACK(reason));
    for (size_t i = 0; i < sizeof delivery_ends / sizeof *delivery_ends; i++)
        deliveries += metrics_get(metrics, delivery_ends[i]);
    if (sends != metrics_get(metrics, EDGE_METRIC_SENDS))
        world_wrong(world, "an edge's ledger of sends", "%s", host->host.name);
    if (deliveries != metrics_get(metrics, EDGE_METRIC_DELIVERIES))
        world_wrong(world, "an edge's ledger of deliveries", "%s", host->host.name);
    if (metrics_get(metrics, EDGE_METRIC_LINK_BAD) > 0)
        world_wrong(world, "an edge could not read a shard", "%s", host->host.name);
}

static bool is_doubted(const struct roster *roster, const struct presence_record *record)
{
    return roster_doubts(edges_find(roster->edges, record->edge), record);
}

/* As it was told last: all of it at one time. */
static void audit_shard(struct world *world, const struct shard_host *host)
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
    const struct metrics *metrics = &host->metrics;
    uint64_t sends = 0, deliveries = 0;
    for (size_t i = 0; i < sizeof send_ends / sizeof *send_ends; i++)
        sends += metrics_get(metrics, send_ends[i]);
    for (size_t reason = 1; reason < NACK_REASONS; reason++)
        sends += metrics_get(metrics, ROUTER_METRIC_SENDS_NACKED_BUSY + reason - 1);
    for (size_t i = 0; i < sizeof delivery_ends / sizeof *delivery_ends; i++)
        deliveries += metrics_get(metrics, delivery_ends[i]);
    if (sends != metrics_get(metrics, ROUTER_METRIC_SENDS))
        world_wrong(world, "a shard's ledger of sends", "%s", host->host.name);
    if (deliveries != metrics_get(metrics, ROUTER_METRIC_DELIVERIES))
        world_wrong(world, "a shard's ledger of deliveries", "%s", host->host.name);
    if (metrics_get(metrics, ROUTER_METRIC_LINK_BAD) > 0)
        world_wrong(world, "a shard could not read an edge", "%s", host->host.name);
    if (metrics_get(metrics, ROUTER_METRIC_STORE_ERRORS) > 0)
        world_wrong(world, "Redis refused presence", "%s", host->host.name);
}

void audit_ledgers(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_EDGES; i++)
        if (world->edges[i].host.running)
            audit_edge(world, &world->edges[i]);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        if (world->shards[i].host.running)
            audit_shard(world, &world->shards[i]);
}

/* ---- presence ---- */

/* The shard's record of a session that an edge holds. */
static bool recorded(struct world *world, const struct edge_host *host, const struct session *s)
{
    uint64_t hash = gid_hash(s->gid);
    for (uint32_t i = 0; i < WORLD_SHARDS; i++) {
        const struct shard *shard = world->shards[i].shard;
        if (!shard->owned[gid_slot(s->gid)])
            continue;
        const struct presence_record *record =
            presence_find(shard->roster->presence, presence_slot(hash), hash, s->gid, s->device);
        return record != NULL && record->session == s->session &&
               record->edge == host->table->number && !is_doubted(shard->roster, record);
    }
    return false;
}

static bool in_redis(const struct world *world, const struct presence_record *record)
{
    char key[64];
    uint64_t hash = gid_hash(record->gid);
    snprintf(key, sizeof key, "lahar:{%u}p%u", presence_slot(hash),
             (uint32_t)(hash / PRESENCE_SLOTS) % 16);
    uint64_t field[2] = {htole64(record->gid), htole64(record->device)};
    uint32_t edge = htole32(record->edge);
    uint64_t session = htole64(record->session);
    uint8_t value[12];
    memcpy(value, &edge, 4);
    memcpy(value + 4, &session, 8);
    return span_equal(fake_redis_field(world->redis, span_text(key), span_of(field, 16)),
                      span_of(value, 12));
}

static const char *audit_presence(struct world *world)
{
    uint64_t held = 0, records = 0;
    for (uint32_t i = 0; i < WORLD_EDGES; i++) {
        const struct session_table *table = world->edges[i].table;
        for (uint32_t place = 0; place < table->places_used; place++) {
            const struct session *s = session_at(table, place);
            if (s->state != SESSION_BOUND)
                continue;
            held++;
            if (!recorded(world, &world->edges[i], s))
                return "a session is not recorded";
        }
    }
    for (uint32_t i = 0; i < WORLD_SHARDS; i++) {
        const struct roster *roster = world->shards[i].shard->roster;
        records += presence_count(roster->presence);
        for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++) {
            struct presence_record record;
            for (uint32_t cursor = 0; presence_slot_count(roster->presence, slot) > 0 &&
                                      presence_walk(roster->presence, slot, &cursor, &record);)
                if (!in_redis(world, &record))
                    return "a record is not in Redis";
        }
    }
    if (records != held)
        return "records of sessions that no edge holds";
    return fake_redis_fields(world->redis, "}p") == records ? NULL : "Redis has records of nobody";
}

/* ---- kicks ---- */

/* What Redis has is what an owner has said is done. */
static const char *audit_bar(const struct world *world, const struct session *s, uint64_t device)
{
    char key[64];
    uint64_t field[2] = {htole64(s->gid), htole64(device)}, bar[2];
    snprintf(key, sizeof key, "lahar:{%u}bars", gid_slot(s->gid));
    struct span value = fake_redis_field(world->redis, span_text(key), span_of(field, 16));
    if (value.len != sizeof bar)
        return NULL;
    memcpy(bar, value.at, sizeof bar);
    if (s->session <= le64toh(bar[1]))
        return "a session that was ended for good goes on";
    return s->issued_at < le64toh(bar[0]) ? "a login with what is too old was let in" : NULL;
}

static const char *audit_kicks(const struct world *world)
{
    const char *why = NULL;
    for (uint32_t i = 0; i < WORLD_EDGES; i++) {
        const struct session_table *table = world->edges[i].table;
        for (uint32_t place = 0; place < table->places_used && why == NULL; place++) {
            const struct session *s = session_at(table, place);
            if (s->state == SESSION_BOUND)
                why = audit_bar(world, s, 0);
            if (s->state == SESSION_BOUND && why == NULL)
                why = audit_bar(world, s, s->device);
        }
    }
    return why;
}

/* ---- all is calm ---- */

static const char *audit_running(const struct world *world)
{
    for (uint32_t i = 0; i < WORLD_EDGES; i++)
        if (!world->edges[i].host.running || session_not_ready(world->edges[i].table) != NULL)
            return "an edge is not ready";
    for (uint32_t i = 0; i < WORLD_SHARDS; i++) {
        const struct shard_host *host = &world->shards[i];
        if (!host->host.running || shard_not_ready(host->shard) != NULL)
            return "a shard is not ready";
        if (host->first != NULL)
            return "Redis has not answered";
        if (flight_sends_in_flight(host->shard->flight) > 0)
            return "sends are in flight";
        if (flight_deliveries_in_flight(host->shard->flight) > 0)
            return "deliveries are in flight";
    }
    return NULL;
}

const char *audit_calm(struct world *world)
{
    const char *why = audit_running(world);
    for (uint32_t i = 0; i < world->phone_count && why == NULL; i++) {
        const struct phone *phone = &world->phones[i];
        if (phone->core == NULL || core_state(phone->core) == LAHAR_CONNECTING)
            why = "a client is not online";
        else if (core_waiting(phone->core) > 0)
            why = "a send has no outcome";
        else if (phone->alone && !phone_online(phone))
            why = "a client stays away";
        else if (phone_online(phone) &&
                 (phone->line == NONE || world->lines[phone->line].vanished ||
                  !world->lines[phone->line].edge_open))
            why = "a client does not know that its connection is gone";
    }
    if (why == NULL)
        why = audit_presence(world);
    return why != NULL ? why : audit_kicks(world);
}

/* ---- for who looks for what went wrong ---- */

static void show_shard(const struct shard_host *host)
{
    if (!host->host.running)
        return;
    const struct roster *roster = host->shard->roster;
    printf("%s: %s\n", host->host.name, shard_not_ready(host->shard));
    for (const struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;)
        printf("  edge %u %s peer %d round %u%s%s, holds %u, doubted %u\n", edge->number,
               edge->name, (int)edge->peer, edge->round, edge->announcing ? " announcing" : "",
               edge->trusted ? " trusted" : "", (uint32_t)edge->count, (uint32_t)edge->doubted);
    for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++) {
        struct presence_record record;
        for (uint32_t cursor = 0; presence_walk(roster->presence, slot, &cursor, &record);)
            printf("  %llu device %04x session %llx edge %u dseq %d%s\n",
                   (unsigned long long)record.gid, (uint32_t)record.device & 0xffff,
                   (unsigned long long)record.session, record.edge, (int)record.dseq,
                   is_doubted(roster, &record) ? " doubted" : "");
    }
}

void audit_show(const struct world *world)
{
    for (uint32_t i = 0; i < WORLD_EDGES; i++) {
        const struct session_table *table = world->edges[i].table;
        if (!world->edges[i].host.running)
            continue;
        printf("%s: number %u, %s\n", world->edges[i].host.name, table->number,
               session_not_ready(table));
        for (uint32_t place = 0; place < table->places_used; place++) {
            const struct session *s = session_at(table, place);
            if (s->state != SESSION_FREE)
                printf("  %llu device %04x session %llx state %u phone %u let %llu acked %llu, %u "
                       "sends\n",
                       (unsigned long long)s->gid, (uint32_t)s->device & 0xffff,
                       (unsigned long long)s->session, s->state, world->lines[place].phone,
                       (unsigned long long)s->dseq_let, (unsigned long long)s->dseq_acked,
                       s->in_flight);
        }
    }
    for (uint32_t i = 0; i < WORLD_SHARDS; i++)
        show_shard(&world->shards[i]);
}
