/* handle: what the frames of edges and of the lahar command do to a shard. */
#ifndef ROUTER_HANDLE_H
#define ROUTER_HANDLE_H

#include "router/shard_table.h"

/* A packed LinkFrame of a peer that is up. */
void handle_frame(struct shard *shard, uint32_t peer, struct span frame);
/* The end of a Resolve, for the edge with this number. */
void handle_resolved(struct shard *shard, uint32_t edge, uint64_t req,
                     enum identity_outcome outcome, uint64_t gid);

#endif
