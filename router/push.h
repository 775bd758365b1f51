/* push: what edges and the lahar command are told without asking: the slot map, the sites and
 * the keys of tickets. */
#ifndef ROUTER_PUSH_H
#define ROUTER_PUSH_H

#include "router/shard_table.h"

/* Packs a frame and sends it; see shard_give. */
void push_frame(struct shard *shard, uint32_t peer, Lahar__Link__V1__LinkFrame *frame);

/* Asks an edge that has not said hello since its link came up to do so. */
void push_who(struct shard *shard, uint32_t peer);
/* The map, to one or to all that are up. */
void push_map(struct shard *shard, uint32_t peer);
void push_map_to_all(struct shard *shard);

/* The keys of tickets, to one edge or to all. */
void push_ticket_keys(struct shard *shard, uint32_t peer);
void push_ticket_keys_to_all(struct shard *shard);

/* All sites to one edge; one that changed (packed empty: is gone) to all. */
void push_sites(struct shard *shard, struct edge *edge);
void push_site_to_all(struct shard *shard, struct span id, struct span packed, uint64_t revision);
/* An edge says how far it has come: what was lost on the way is pushed again. */
void push_check_sites(struct shard *shard, struct edge *edge, uint64_t revision);
/* The answer to SiteUse, of a site whose slot is ours. */
void push_share(struct shard *shard, const struct edge *edge, const Lahar__Link__V1__SiteUse *said);
/* The answer to a SiteLookup. */
void push_site_found(struct shard *shard, uint32_t peer, uint64_t req, struct span id);

#endif
