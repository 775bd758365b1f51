/* conv: conversations: what one device sends to one recipient in one class, and in which order the
 * owner takes it (design, section 4: the sending half of the order rule).
 *
 *     session older than the last one seen ------------------------------------> OLD
 *     seq equals `settled`, or follows the last one taken or refused for good --> TAKE
 *     it follows one refused for good, and that one is not settled yet ---------> REFUSE_ONLY
 *     anything else ------------------------------------------------------------> GAP{expected}
 *
 * A newer session begins with nothing: only `settled`. So does a conversation that was reset,
 * because a message that it had taken ended without being delivered, and one that is not known
 * here.
 *
 * REFUSE_ONLY: a refusal whose answer is lost leaves the sender with a message that it will send
 * again, so nothing behind that may be delivered before it; it may only be refused too, until the
 * sender shows that it has heard.
 */
#ifndef ROUTER_CONV_H
#define ROUTER_CONV_H

#include "router/ring.h"

struct conv_key {
    uint64_t from, device, to;
    uint32_t class;
};

/* What a send says of its place. */
struct conv_place {
    uint64_t session, seq, settled;
};

struct conv {
    struct conv_key key;
    uint64_t session;
    uint64_t last;    /* taken or refused for good in this session; 0: only `settled` is taken */
    uint64_t settled; /* the highest seen in this session */
    bool refused;     /* `last` was refused, or follows what was, and the sender may not know */
    uint32_t index;
    uint64_t used_ms;
    uint64_t placed_ms; /* in by_age */
    struct ring by_age;
    /* The caller's: what was taken and has no outcome, in order; outcomes of this session, in
     * order. */
    struct ring pending, known;
};

enum conv_verdict { CONV_TAKE, CONV_REFUSE_ONLY, CONV_GAP, CONV_OLD };

struct conv_table;

struct conv_table *conv_table_new(uint32_t convs_max);
void conv_table_free(struct conv_table *table);

/* NULL: not known. */
struct conv *conv_find(const struct conv_table *table, const struct conv_key *key);
/* The key must not be known. NULL: full; conv_spare may be forgotten for it. */
struct conv *conv_make(struct conv_table *table, const struct conv_key *key, uint64_t now_ms);
/* For each send: costs no more than a store, so the age of the unused is found out when it is asked
 * for. */
static inline void conv_use(struct conv *conv, uint64_t now_ms)
{
    conv->used_ms = now_ms;
}
/* One that was not used after `before_ms` and has nothing pending; NULL: none is known (yet). */
struct conv *conv_idle(struct conv_table *table, uint64_t before_ms, uint64_t now_ms);
/* One with nothing pending that was not used for long, as far as a short look shows; NULL: none. */
struct conv *conv_spare(struct conv_table *table, uint64_t now_ms);
/* Nothing of it may be pending or known. */
void conv_forget(struct conv_table *table, struct conv *conv);

/* conv may be NULL: not known. A newer session counts from now on. `expected` is filled with GAP
 * and REFUSE_ONLY. */
MUST_CHECK enum conv_verdict conv_judge(struct conv *conv, const struct conv_place *place,
                                        uint64_t *expected);
/* After CONV_TAKE. */
void conv_taken(struct conv *conv, const struct conv_place *place);
/* After CONV_TAKE or CONV_REFUSE_ONLY: never will be, unless it is sent again. */
void conv_refused(struct conv *conv, const struct conv_place *place);
/* It was taken before and is pending or delivered: if it is next, it counts as taken in this
 * session too. */
void conv_seen(struct conv *conv, const struct conv_place *place);
/* A message that was taken ended undelivered: only `settled` is taken now. */
void conv_reset(struct conv *conv);

uint32_t conv_count(const struct conv_table *table);

#endif
