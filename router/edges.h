/* edges: the edge workers that one shard has heard of, by number.
 *
 *     SILENT --EdgeHello--> ANNOUNCING --all came--> TRUSTED --audit--> ANNOUNCING, still trusted
 *        ^--------------------- link down ---------------------'
 *
 * Announcing goes in rounds: Owned is said with the round's number; it is over when AnnounceDone
 * counts as many sessions as came. If nothing comes for a while, or they differ, a new round
 * begins. Pure tables; what is said, and the records, are roster's.
 */
#ifndef ROUTER_EDGES_H
#define ROUTER_EDGES_H

#include "presence/presence.h"
#include "proto/link.h"

#define EDGES_MAX 65536u
#define EDGES_NO_PEER UINT32_MAX
/* Above it a number that is said or read does not count as given, so that some are always left. */
#define EDGES_NUMBER_MAX (PRESENCE_EDGE_MAX - (1u << 20))

struct edges;

/* An edge worker. Lives until edges_forget; its fields are the holder's to read, and to write where
 * it says so. */
struct edge {
    uint32_t number;
    uint32_t peer; /* of its link; EDGES_NO_PEER: silent */
    uint64_t silent_since_ms;
    char name[LINK_NAME_MAX + 1];

    /* Its records here; doubted ones among them have another mark than it has: they are not yet
     * confirmed in the round. `marks` of them may have been used since none was doubted. Roster's.
     */
    uint64_t count, mix, doubted;
    uint32_t mark, marks;
    bool named; /* by records that were loaded */

    bool trusted; /* a round was completed since its link came up */
    bool announcing;
    uint32_t round;
    uint64_t announced; /* in this round */
    uint64_t round_began_ms;
    uint64_t heard_ms; /* something of this round */
    uint32_t wait_ms;  /* so long is waited for more */

    /* Of the audit. Roster's and shard's. */
    uint32_t differed;
    bool changed; /* sessions came or went since the last digest */
    uint32_t sites_behind;
    uint64_t sites_told, sites_pushed_ms;

    uint32_t index; /* ours */
};

struct edges *edges_new(void);
void edges_free(struct edges *edges);

/* NULL if it was never heard of. */
struct edge *edges_find(struct edges *edges, uint32_t number);
/* The one whose link this is, or NULL. */
struct edge *edges_of_peer(const struct edges *edges, uint32_t peer);
/* Finds it or makes a silent one; NULL when EDGES_MAX are known. */
struct edge *edges_make(struct edges *edges, uint32_t number, uint64_t now_ms);
/* Only a silent one. */
void edges_forget(struct edges *edges, struct edge *edge);
/* The first after `edge` (NULL: of all); NULL at the end. It may be forgotten meanwhile. */
struct edge *edges_next(const struct edges *edges, const struct edge *edge);
/* No number above it was ever seen, up to EDGES_NUMBER_MAX. */
uint32_t edges_highest(const struct edges *edges);
void edges_saw(struct edges *edges, uint32_t number);

/* Its link came up, or went. Nothing it announced before counts any more. */
void edges_attach(struct edges *edges, struct edge *edge, uint32_t peer, struct span name);
void edges_detach(struct edges *edges, struct edge *edge, uint64_t now_ms);

/* A new round; say Owned with its number. */
void edges_round_begin(struct edge *edge, uint64_t now_ms);
/* It waits in vain: begin a new one. */
bool edges_round_late(const struct edge *edge, uint64_t now_ms);
/* So many sessions came; false: not of this round. */
MUST_CHECK bool edges_round_came(struct edge *edge, uint32_t round, uint64_t sessions,
                                 uint64_t now_ms);
/* It says that it is done; true: and all have come. False: something is missing (or an old round).
 */
MUST_CHECK bool edges_round_done(struct edge *edge, uint32_t round, uint64_t sessions);

#endif
