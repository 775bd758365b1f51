/* census: which edge workers there are, and what they say they hold: hellos, rounds of announcing,
 * audits, and the sweeping of what nobody holds any more. A part of roster; see edges.h for the
 * states. */
#ifndef ROUTER_CENSUS_H
#define ROUTER_CENSUS_H

#include "router/roster.h"

/* An edge says who it is, first or again; number 0: it gets one. True: it is new on this link, and
 * has a number. */
MUST_CHECK bool census_hello(struct roster *roster, uint32_t peer, uint32_t number,
                             struct span name);
void census_link_down(struct roster *roster, uint32_t peer);
void census_reply(struct roster *roster, uint64_t tag, const struct reply *reply);

/* Asks an edge that is up to announce its sessions. */
void census_begin_round(struct roster *roster, struct edge *edge);
void census_announce(struct roster *roster, struct edge *edge,
                     const Lahar__Link__V1__Announce *announce);
void census_announce_done(struct roster *roster, struct edge *edge, uint32_t round, uint64_t count);
/* What the edge says it holds; if it goes on differing from what we have, it must announce. */
void census_digest(struct roster *roster, struct edge *edge, uint64_t count, uint64_t mix);

/* About every 100 ms, by roster_tick. */
void census_tick(struct roster *roster);

#endif
