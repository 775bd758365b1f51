/* shares: how the limits of sites, which hold for the whole cluster, are shared out among edge
 * workers. Pure; time in ms is given. One a shard, for the sites whose slot it owns.
 *
 * Each edge worker that has to do with a site says once a second what share it goes by, what it
 * wanted, and what it holds; it is told its new share at once. A share is the edge's part of a fair
 * division by what is wanted: all get what they want if there is enough, and the rest evenly on
 * top; if not, nobody gets more than he wants while another gets less than him (max-min). Nobody
 * gets less than the floor, limit / (8 * edges), so that who wants nothing now can begin. Units
 * that are not enough for all go round, every SHARES_TURN_MS.
 *
 * Shares never add up to more than the limit, except for floors: limit * 9/8 (SHARES_EXCESS) at
 * most. For that, what an edge has given up counts as its own until it says that it goes by the
 * smaller share; and who has just become the owner of slots only listens for SHARES_LISTEN_MS,
 * leaving each edge what it has. An edge not heard for SHARES_SILENCE_MS no longer counts. What an
 * edge does that has not heard its share: edge/share.h.
 */
#ifndef ROUTER_SHARES_H
#define ROUTER_SHARES_H

#include "base/span.h"

struct shares;

#define SHARES_LISTEN_MS 2500u
#define SHARES_SILENCE_MS 6000u
#define SHARES_TURN_MS 3000u
#define SHARES_FLOOR_PART 8u
#define SHARES_SITES_MAX 10000u
#define SHARES_EDGES_MAX 4096u /* of one site */

enum shares_kind { SHARES_SENDS, SHARES_LOGINS, SHARES_CONNECTIONS, SHARES_KINDS };

/* By kind: sends a second, logins a second, connections. As a limit 0 is none. */
struct shares_amounts {
    uint32_t of[SHARES_KINDS];
};

struct shares_use {
    struct shares_amounts held; /* the share that it goes by */
    struct shares_amounts
        wanted;           /* taken and refused in the last second; connections and refused */
    uint32_t connections; /* that it has */
};

struct shares *shares_new(void);
void shares_free(struct shares *shares);

/* Slots have become ours: others may have given shares that we know nothing of. */
void shares_listen(struct shares *shares, uint64_t now_ms);
/* What an edge said of a site; its share from now on, and among how many. False when there are too
 * many sites or edges: it goes on with what it has. */
MUST_CHECK bool shares_use(struct shares *shares, struct span site,
                           const struct shares_amounts *limit, uint32_t edge,
                           const struct shares_use *use, uint64_t now_ms,
                           struct shares_amounts *share, uint32_t *edges);
/* About once a second: forgets edges that are silent, and sites without edges. */
void shares_tick(struct shares *shares, uint64_t now_ms);

/* How often a use was not answered because there are too many. */
uint64_t shares_refused(const struct shares *shares);
uint32_t shares_sites(const struct shares *shares);

#endif
