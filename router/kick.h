/* kick: sessions that an operator ends, and what was issued before. Pure.
 *
 *     a user, or one device of it: by the owner of slot(gid), which ends the sessions, and keeps
 *                                  from when on the user counts anew (bars.h)
 *     a site:                      by any shard: the site's not_before is raised, and each edge
 *                                  ends the site's sessions and says how many there were
 *
 * What is asked again while it is being done is not done again.
 */
#ifndef ROUTER_KICK_H
#define ROUTER_KICK_H

#include "router/roster.h"
#include "router/sitebook.h"

struct kick;

/* A token of the sitebook's is ours from here on. */
#define KICK_TOKENS (UINT64_C(1) << 32)
#define KICK_SITE_MS 4000u /* so long for all edges to answer */

struct kick_parts {
    struct sitebook *book;
    struct roster *roster;
    struct bars *bars;
};

struct kick_actions {
    bool (*owns)(void *ctx, uint32_t slot);
    /* The end of a request; `error` may be NULL. */
    void (*done)(void *ctx, uint32_t peer, uint64_t req, const char *error, uint64_t kicked);
};

struct kick *kick_new(const struct kick_parts *parts, const struct kick_actions *actions,
                      void *ctx);
void kick_free(struct kick *kick);

void kick_time(struct kick *kick, uint64_t now_ms, uint64_t wall_ms);
void kick_request(struct kick *kick, uint32_t peer, uint64_t req,
                  const Lahar__Link__V1__Kick *what);
/* From sitebook and bars. */
void kick_written(struct kick *kick, uint64_t token, const char *error);
/* That edge has ended `count` sessions of that site. */
void kick_site_told(struct kick *kick, const struct edge *edge, struct span site,
                    uint64_t not_before, uint64_t count);
/* Nobody waits there any more. */
void kick_link_down(struct kick *kick, uint32_t peer);
/* About every 100 ms. */
void kick_tick(struct kick *kick);

#endif
