/* lane: what was numbered for one session of a recipient and is not acknowledged yet (design,
 * section 4: the delivering half of the order rule).
 *
 *     first                    first + given             first + count
 *       | given to the edge, unacknowledged | not given yet |          numbers (dseq) follow one
 * another
 *       '--lane_received pops from here     '--lane_give goes on here  '--lane_push adds here
 *
 * Going back (lane_gap, lane_retry) only moves `given`. A gap is answered once for each place: a
 * second notice of the same place is DAMPED until the place moved or a timer fired. An entry whose
 * message expired stays, empty, so that its number is used.
 *
 * A lane that is not live (its edge has not announced the session) keeps entries without numbers;
 * lane_announce gives them theirs. Pure numbers: what an entry stands for is the caller's.
 */
#ifndef ROUTER_LANE_H
#define ROUTER_LANE_H

#include "router/ring.h"

#define LANE_EMPTY UINT32_MAX /* the entry's message expired */

struct recipient;

struct lane {
    uint64_t session, device;
    uint64_t first;             /* the number of the oldest entry, or of the next one */
    uint64_t given_upto;        /* the highest number ever given */
    uint64_t went_back_to;      /* the place that the last notice of a gap named; 0: none */
    struct lane_entry *entries; /* a ring, its size a power of two */
    uint32_t room, head, count;
    uint32_t given;
    uint32_t bytes;
    uint32_t edge;
    bool live;
    /* The caller's. */
    bool behind; /* something had no room: nothing may overtake it */
    struct recipient *to;
    struct ring in_recipient, by_time;
    uint64_t due_ms;     /* of the retry, or of being forgotten */
    uint64_t last_order; /* of the last message that was pushed */
    uint32_t index;
};

/* Not live, nothing in it. */
void lane_open(struct lane *lane, uint64_t session, uint64_t device, uint32_t edge);
void lane_close(struct lane *lane);

/* The edge let through everything up to `dseq` and will let the next one through: numbers go on
 * from there, entries that have others are numbered anew unless that is one of them. Empty entries
 * without a number vanish. */
void lane_announce(struct lane *lane, uint64_t dseq);

/* The number that the next entry gets. */
static inline uint64_t lane_next(const struct lane *lane)
{
    return lane->first + lane->count;
}

void lane_push(struct lane *lane, uint32_t item, uint32_t bytes);

/* Where a number that an edge names lies. */
enum lane_place {
    LANE_AHEAD, /* not numbered yet: the edge cannot know it */
    LANE_OLD,   /* nothing is to be done */
    LANE_DAMPED,
    LANE_MOVES,
};

/* MOVES: lane_pop what is up to `dseq`. */
MUST_CHECK enum lane_place lane_received(const struct lane *lane, uint64_t dseq);
/* MOVES: the next to be given is `expected` again. */
MUST_CHECK enum lane_place lane_gap(struct lane *lane, uint64_t expected);
/* Nothing moved for a while: the next to be given is the oldest one, and no place is damped. */
void lane_retry(struct lane *lane);

/* The oldest entry, which there must be. Returns what it stands for. */
MUST_CHECK uint32_t lane_pop(struct lane *lane);
/* What the entry that is i-th from the oldest stands for. */
MUST_CHECK uint32_t lane_at(const struct lane *lane, uint32_t i);
/* Empties the entry that stands for `item`; takes it out if it has no number yet. False: none does.
 */
bool lane_clear(struct lane *lane, uint32_t item);

/* False: nothing is left to give, or the lane is not live. */
MUST_CHECK bool lane_give(const struct lane *lane, uint32_t *item, uint64_t *dseq);
/* That one was given. True: again. */
bool lane_gave(struct lane *lane);

/* Entries that are not empty, by walking. */
uint32_t lane_filled(const struct lane *lane);

#endif
