/* shard_table: what shard.c, handle.c and push.c share, and nobody else sees. */
#ifndef ROUTER_SHARD_TABLE_H
#define ROUTER_SHARD_TABLE_H

#include "base/arena.h"
#include "proto/frame.h"
#include "proto/hot.h"
#include "router/admin.h"
#include "router/bars.h"
#include "router/identity.h"
#include "router/keyring.h"
#include "router/kick.h"
#include "router/roster.h"
#include "router/router_metrics.h"
#include "router/shard.h"
#include "router/shares.h"
#include "router/sitebook.h"

/* The top byte of a tag says whose command it was. */
#define SHARD_TAG_SHIFT 56
enum shard_module {
    SHARD_FUNCTIONS = 1,
    SHARD_CONTROL,
    SHARD_IDENTITY,
    SHARD_SITEBOOK,
    SHARD_ROSTER,
    SHARD_KEYRING,
    SHARD_BARS,
};

struct shard_peer {
    bool up;
    enum keys_role role;
};

struct shard {
    struct shard_options options;
    struct shard_actions actions;
    void *ctx;
    struct metrics *metrics;
    uint64_t now_ms, wall_ms;
    bool redis_up, serving;
    bool writing;       /* presence, on this connection to Redis */
    uint64_t second_ms; /* when the last second began */

    struct control *control;
    struct identity *identity;
    struct sitebook *sitebook;
    struct roster *roster;
    struct flight *flight;
    struct admin *admin;
    struct keyring *keyring;
    struct bars *bars;
    struct kick *kick;
    struct shares *shares;

    struct shard_peer *peers; /* by number */
    uint32_t peers_room;

    struct router_metrics_sends sends;
    struct flight_counts flight_past; /* of flights that were given up */

    bool owned[GID_SLOTS];
    Lahar__Link__V1__SlotRun *runs, **run_list;

    struct arena *arena; /* of what is read */
    struct arena *out;   /* of one frame that is written */
    uint8_t scratch[FRAME_LINK_SIZE_MAX + HOT_OVERHEAD_MAX + 20 * HOT_SESSIONS_MAX];
};

static inline void shard_count(struct shard *shard, enum router_metric id)
{
    metrics_add(shard->metrics, id, 1);
}

/* A frame that needs no credit, to a peer that may be away. */
static inline void shard_give(struct shard *shard, uint32_t peer, struct span frame)
{
    if (peer != EDGES_NO_PEER && frame.len > 0)
        (void)!shard->actions.send(shard->ctx, peer, LINK_FREE, frame);
}

#endif
