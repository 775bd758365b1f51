/* share: what an edge worker may take for a site of the limits that hold for the whole cluster.
 * Pure.
 *
 * Sites go by their index (edge/sites.h). The shard that shares a site's limits out
 * (router/shares.h) is told once a second what was wanted, and at once when there is nothing left
 * of the share or some of it was given up, and says how much of it this worker may take.
 *
 * Until it has said so, the worker goes by a 64th of the limit, at least 1; so it does when nobody
 * has used the site for SHARE_IDLE_MS, since the shard has given its share to others. When the
 * shard has not said anything for SHARE_SILENCE_MS, it goes by what that said last or an even part
 * among the edges that it named, whichever is less. So while an edge is cut off from that shard the
 * cluster may take up to twice the limit: the others get the edge's share after 6 s, and it keeps
 * an even part.
 */
#ifndef EDGE_SHARE_H
#define EDGE_SHARE_H

#include "edge/limits.h"

struct share_table;

#define SHARE_SILENCE_MS 4000u
#define SHARE_FIRST_PART 64u
#define SHARE_ASK_MS 100u    /* no more often than that out of turn */
#define SHARE_IDLE_MS 10000u /* a site that nobody uses is no longer told about */

enum share_kind { SHARE_SENDS, SHARE_LOGINS, SHARE_CONNECTIONS, SHARE_KINDS };

/* By kind: sends a second, logins a second, connections. */
struct share_amounts {
    uint32_t of[SHARE_KINDS];
};

struct share_use {
    uint32_t site;
    struct share_amounts held, wanted;
    uint32_t connections;
};

struct share_table *share_table_new(void);
void share_table_free(struct share_table *table);

/* A site's limits for the cluster; 0: none of that kind. */
void share_limit(struct share_table *table, uint32_t site, const struct share_amounts *limit,
                 uint64_t now_ms);
/* The shard has said what this worker may take, and that it shares with so many edges (itself
 * included). */
void share_told(struct share_table *table, uint32_t site, const struct share_amounts *share,
                uint32_t edges, uint64_t now_ms);

/* One login, and the connection that it would be: LIMIT_NONE, LIMIT_SITE_LOGINS or
 * LIMIT_SITE_CONNECTIONS. When it was let in, share_leave must follow some day. */
MUST_CHECK enum limit share_login(struct share_table *table, uint32_t site, uint64_t now_ms);
void share_leave(struct share_table *table, uint32_t site);
/* One send: 0, or how long to wait, in ms. */
MUST_CHECK uint32_t share_send(struct share_table *table, uint32_t site, uint64_t now_ms);

/* Once a second, from cursor 0 on: what is to be told of one site after the other; false when all
 * have been. What was wanted is counted anew. */
MUST_CHECK bool share_next(struct share_table *table, uint32_t *cursor, uint64_t now_ms,
                           struct share_use *use);
/* At the end of a turn, until it is false: what is to be told of a site out of turn. */
MUST_CHECK bool share_ask(struct share_table *table, uint64_t now_ms, struct share_use *use);
/* What was used in the second that share_next has last told of, and held, of the site that is
 * nearest to its share. */
void share_fullest(const struct share_table *table, struct share_amounts *used,
                   struct share_amounts *held);

#endif
