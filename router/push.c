#include "router/push.h"

#include "proto/unpack.h"
#include "proto/wire.h"

#include <stdlib.h>

#define BEHIND_MAX 3u
#define AGAIN_MS 2000u /* and no sooner after they were pushed the last time */

void push_frame(struct shard *shard, uint32_t peer, Lahar__Link__V1__LinkFrame *frame)
{
    arena_reset(shard->out);
    struct span packed = unpack_frame(shard->out, &frame->base);
    assert(packed.len > 0);
    shard_give(shard, peer, packed);
}

/* A frame whose message is packed already. */
static void push_packed(struct shard *shard, uint32_t peer, uint32_t number, struct span packed)
{
    size_t prefix = frame_prefix_size(number, packed.len);
    uint8_t *at = malloc(prefix + packed.len);
    assert(at != NULL);
    memcpy(frame_prefix_write(at, number, packed.len), packed.at, packed.len);
    shard_give(shard, peer, span_of(at, prefix + packed.len));
    free(at);
}

void push_who(struct shard *shard, uint32_t peer)
{
    Lahar__Link__V1__EdgeNumber nobody = LAHAR__LINK__V1__EDGE_NUMBER__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_NUMBER;
    frame.edge_number = &nobody;
    push_frame(shard, peer, &frame);
}

void push_map(struct shard *shard, uint32_t peer)
{
    const struct slotmap *map = control_map(shard->control);
    if (map == NULL)
        return;
    struct span packed = slotmap_pack(map);
    push_packed(shard, peer, LAHAR__LINK__V1__LINK_FRAME__FRAME_MAP, packed);
    free((void *)(uintptr_t)packed.at);
}

void push_map_to_all(struct shard *shard)
{
    for (uint32_t peer = 0; peer < shard->peers_room; peer++)
        if (shard->peers[peer].up)
            push_map(shard, peer);
}

void push_ticket_keys(struct shard *shard, uint32_t peer)
{
    struct span packed = keyring_packed(shard->keyring);
    if (packed.len > 0)
        push_packed(shard, peer, LAHAR__LINK__V1__LINK_FRAME__FRAME_TICKET_KEYS, packed);
}

void push_ticket_keys_to_all(struct shard *shard)
{
    for (uint32_t peer = 0; peer < shard->peers_room; peer++)
        if (roster_edge(shard->roster, peer) != NULL)
            push_ticket_keys(shard, peer);
}

static void push_site(struct shard *shard, struct edge *edge, struct span packed, uint64_t revision)
{
    push_packed(shard, edge->peer, LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE, packed);
    if (revision > edge->sites_told)
        edge->sites_told = revision;
}

static void push_gone(struct shard *shard, struct edge *edge, struct span id, uint64_t revision)
{
    Lahar__Link__V1__SiteGone gone = LAHAR__LINK__V1__SITE_GONE__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    gone.id = unpack_data(id);
    gone.revision = revision;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_GONE;
    frame.site_gone = &gone;
    push_frame(shard, edge->peer, &frame);
    if (revision > edge->sites_told)
        edge->sites_told = revision;
}

void push_sites(struct shard *shard, struct edge *edge)
{
    uint32_t cursor = 0;
    struct sitebook_site site;
    edge->sites_told = 0;
    edge->sites_behind = 0;
    edge->sites_pushed_ms = shard->now_ms;
    while (sitebook_walk(shard->sitebook, &cursor, &site)) {
        if (site.packed.len > 0)
            push_site(shard, edge, site.packed, site.revision);
        else /* it may have been away when that happened */
            push_gone(shard, edge, site.id, site.revision);
    }
}

void push_site_to_all(struct shard *shard, struct span id, struct span packed, uint64_t revision)
{
    for (uint32_t peer = 0; peer < shard->peers_room; peer++) {
        struct edge *edge = roster_edge(shard->roster, peer);
        if (edge == NULL)
            continue;
        if (packed.len > 0)
            push_site(shard, edge, packed, revision);
        else
            push_gone(shard, edge, id, revision);
    }
}

void push_check_sites(struct shard *shard, struct edge *edge, uint64_t revision)
{
    if (revision >= edge->sites_told) {
        edge->sites_behind = 0;
    } else if (++edge->sites_behind >= BEHIND_MAX &&
               shard->now_ms - edge->sites_pushed_ms >= AGAIN_MS) {
        shard_count(shard, ROUTER_METRIC_SITES_AGAIN);
        push_sites(shard, edge);
    }
}

void push_site_found(struct shard *shard, uint32_t peer, uint64_t req, struct span id)
{
    Lahar__Link__V1__SiteFound found = LAHAR__LINK__V1__SITE_FOUND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    struct span packed = sitebook_find(shard->sitebook, id);
    found.req = req;
    found.busy = !sitebook_ready(shard->sitebook) || (packed.len == 0 && !shard->redis_up);
    if (packed.len > 0)
        found.site = unpack_message(&lahar__link__v1__site__descriptor, shard->arena, packed);
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_FOUND;
    frame.site_found = &found;
    push_frame(shard, peer, &frame);
}

static struct shares_amounts amounts(const Lahar__Link__V1__SiteLimits *from)
{
    if (from == NULL)
        return (struct shares_amounts){{0}};
    return (struct shares_amounts){{from->sends_per_s, from->logins_per_s, from->connections}};
}

void push_share(struct shard *shard, const struct edge *edge, const Lahar__Link__V1__SiteUse *said)
{
    struct span packed = sitebook_find(shard->sitebook, unpack_span(said->id));
    const Lahar__Link__V1__Site *site =
        packed.len == 0 ? NULL
                        : unpack_message(&lahar__link__v1__site__descriptor, shard->arena, packed);
    if (site == NULL || site->limits == NULL)
        return; /* the edge will hear of it */
    struct shares_amounts limit = amounts(site->limits), share;
    struct shares_use use = {amounts(said->held), amounts(said->wanted), said->connections};
    Lahar__Link__V1__SiteShare answer = LAHAR__LINK__V1__SITE_SHARE__INIT;
    Lahar__Link__V1__SiteLimits share_out = LAHAR__LINK__V1__SITE_LIMITS__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    if (!shares_use(shard->shares, unpack_span(said->id), &limit, edge->number, &use, shard->now_ms,
                    &share, &answer.edges))
        return;
    share_out.sends_per_s = share.of[SHARES_SENDS];
    share_out.logins_per_s = share.of[SHARES_LOGINS];
    share_out.connections = share.of[SHARES_CONNECTIONS];
    answer.id = said->id;
    answer.share = &share_out;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_SHARE;
    frame.site_share = &answer;
    push_frame(shard, edge->peer, &frame);
}
