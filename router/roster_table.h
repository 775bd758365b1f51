/* roster_table: what roster.c and census.c share, and nobody else sees. */
#ifndef ROUTER_ROSTER_TABLE_H
#define ROUTER_ROSTER_TABLE_H

#include "router/roster.h"

/* Tags from here on are the census's, those below the store's. */
#define ROSTER_TAG_CENSUS (UINT64_C(1) << 55)

enum roster_state { ROSTER_NOTHING, ROSTER_LOADING, ROSTER_SERVING };

struct roster_kicked {
    uint64_t gid, device, session;
    uint32_t edge, times; /* yet to say */
};

struct roster {
    struct roster_options options;
    struct roster_actions actions;
    void *ctx;
    uint64_t now_ms;
    enum roster_state state;
    struct presence *presence;
    struct store *store;
    struct edges *edges;
    uint32_t most_devices; /* of a user, since it was last told */
    struct roster_counts counts;

    Lahar__Link__V1__SlotRun **runs; /* what Owned says */
    size_t run_count;
    uint64_t awake_ms, ticked_ms; /* a clock that stands still when we do */
    uint64_t loaded_ms;           /* on that clock */
    bool any_loaded, all_known;
    uint32_t sessions_given[PRESENCE_SLOTS]; /* since the epochs were raised */

    struct roster_kicked *kicked; /* sessions ended by kicks, whose Unbind is said again */
    uint32_t kicked_count;

    uint32_t sweep_slot; /* where sweeping goes on */
    uint64_t retry_ms;
    uint16_t connection; /* counts Redis's ups */
};

/* Not confirmed in the last round of its edge. */
static inline bool roster_doubts(const struct edge *edge, const struct presence_record *record)
{
    return record->mark != edge->mark;
}

/* Adds a record, or replaces `old` (NULL: none) by it: in memory, in the store, in what is counted
 * of its edge. */
void roster_put(struct roster *roster, uint64_t hash, const struct presence_record *old,
                const struct presence_record *record);
/* Whether one more device of this user may be connected; and one more session recorded. */
bool roster_has_room(struct roster *roster, uint64_t hash, uint64_t gid, uint64_t device);
bool roster_is_full(struct roster *roster);
/* Removes it everywhere; its session has ended. */
void roster_drop(struct roster *roster, uint64_t hash, const struct presence_record *record);
enum roster_worth roster_worth_of(const struct roster *roster,
                                  const struct presence_record *record);
struct flight_session roster_to_session(const struct presence_record *record, bool live);
/* To an edge that may be NULL or silent. */
void roster_say_unbind(struct roster *roster, const struct edge *edge,
                       const struct presence_record *of, enum end_reason reason);

#endif
