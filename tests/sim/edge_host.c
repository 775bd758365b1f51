/* edge_host: what edge/worker.c is for a session table, over simulated links and connections. A
 * token is the user's name, of the site "game". */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 100u
#define RESTART_MS 6000u

static void on_send(void *ctx, struct conn_id id, struct span bytes)
{
    struct edge_host *host = ctx;
    line_edge_sends(host->world, host->index, id, bytes);
}

static void on_close(void *ctx, struct conn_id id, enum end_reason reason)
{
    struct edge_host *host = ctx;
    if (reason == END_BAD_FRAME || reason == END_BAD_SEQUENCE || reason == END_BAD_VERSION)
        world_wrong(host->world, "a client and its edge do not understand each other", "%s",
                    reasons_end_label(reason));
    line_edge_closes(host->world, host->index, id, reason);
}

static enum link_sent on_forward(void *ctx, uint32_t shard, enum link_kind kind, struct span frame)
{
    struct edge_host *host = ctx;
    return mesh_send(host->world, host->wires[shard], AT_EDGE, kind, frame);
}

static enum token_verdict on_verify(void *ctx, const struct sites *sites, struct span token,
                                    uint64_t now_s, struct token_claims *claims)
{
    (void)ctx;
    *claims =
        (struct token_claims){.site_len = 4, .user_len = (uint8_t)token.len, .issued_at = now_s};
    memcpy(claims->site, "game", 4);
    memcpy(claims->user, token.at, token.len);
    return sites_find(sites, span_text("game")) == NULL ? TOKEN_UNKNOWN_SITE : TOKEN_OK;
}

static uint64_t on_random(void *ctx)
{
    struct edge_host *host = ctx;
    return world_any(host->world, UINT64_MAX);
}

static void set_time(struct edge_host *host)
{
    session_time(host->table, host->world->now_ms, world_wall(host->world));
}

void edge_host_start(struct world *world, uint32_t edge)
{
    static const char *const shards[WORLD_SHARDS] = {"r1/0", "r2/0"};
    struct edge_host *host = &world->edges[edge];
    snprintf(host->host.name, sizeof host->host.name, "e%u/0", edge + 1);
    const struct session_options options = {.conns_max = WORLD_LINES,
                                            .edge_name = host->host.name,
                                            .cluster_name = "simulated",
                                            .shard_names = shards,
                                            .shards = WORLD_SHARDS,
                                            .heartbeat_ms = 4000,
                                            .hello_ms = 5000,
                                            .login_ms = 3000,
                                            .ticket_s = 86400,
                                            .cut_off_ms = 8000,
                                            .sends_in_flight = 32,
                                            .sends_per_s = world->seed % 3 == 0 ? 20 : 0,
                                            .sends_burst = 60,
                                            .drain_ms = 500};
    const struct session_actions actions = {.send = on_send,
                                            .close = on_close,
                                            .forward = on_forward,
                                            .verify = on_verify,
                                            .random = on_random};
    host->world = world;
    host->index = edge;
    host->metrics.values = calloc(EDGE_METRICS, sizeof *host->metrics.values);
    assert(host->metrics.values != NULL);
    host->table = session_table_new(&options, &actions, host, &host->metrics);
    host->host.incarnation = world_any(world, UINT64_MAX) | 1;
    host->host.running = true;
    host->host.paused_ms = 0;
    host->host.clock_ms = 1000000;
    host->host.ticked_ms = world->now_ms;
    host->leaving = false;
    set_time(host);
    mesh_edge_begins(world, edge);
}

void edge_host_crash(struct world *world, uint32_t edge)
{
    struct edge_host *host = &world->edges[edge];
    host->host.running = false;
    line_edge_gone(world, edge);
    mesh_edge_gone(world, edge);
    session_table_free(host->table);
    free(host->metrics.values);
    host->table = NULL;
    host->metrics.values = NULL;
    host->starts_ms = world->now_ms + world_any(world, world->hurried ? 500 : RESTART_MS);
}

void edge_host_step(struct edge_host *host)
{
    struct world *world = host->world;
    if (!host->host.running) {
        if (world->now_ms >= host->starts_ms)
            edge_host_start(world, host->index);
        return;
    }
    if (host->host.paused_ms > world->now_ms)
        return;
    set_time(host);
    uint64_t passed_ms = world->now_ms - host->host.ticked_ms;
    if (passed_ms < TICK_MS)
        return;
    host->host.ticked_ms = world->now_ms;
    host->host.clock_ms += passed_ms < LINK_HEARTBEAT_MS ? passed_ms : LINK_HEARTBEAT_MS;
    session_tick(host->table);
    mesh_tick(world, &host->host);
    if (session_left(host->table)) {
        audit_ledgers(world);
        edge_host_crash(world, host->index);
    }
}
