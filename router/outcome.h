/* outcome: what is known of messages by their mid: pending, or how they ended, so that a send that
 * comes again is answered with the truth and never taken twice.
 *
 *     outcome_add: PENDING --outcome_decide--> DELIVERED, NO_ANSWER --time, settled, too many-->
 * forgotten
 *                     '------outcome_forget (it ended in what need not be remembered)----------->
 * forgotten
 *
 * Decided ones are forgotten in the order of their decision; past decided_max the oldest goes
 * first. */
#ifndef ROUTER_OUTCOME_H
#define ROUTER_OUTCOME_H

#include "proto/gid.h"
#include "router/ring.h"

enum outcome_state { OUTCOME_PENDING, OUTCOME_DELIVERED, OUTCOME_NO_ANSWER };

struct outcome {
    uint8_t mid[GID_MID_SIZE];
    struct ring by_age; /* in that of the decided */
    uint64_t decided_ms;
    enum outcome_state state;
    uint32_t index;
    /* The caller's: its place among the outcomes of its conversation's session, and while PENDING
     * its message. */
    struct ring in_conv;
    uint64_t seq;
    void *message;
};

struct outcome_table;

struct outcome_table *outcome_table_new(uint32_t pending_max, uint32_t decided_max);
void outcome_table_free(struct outcome_table *table);

/* NULL: nothing is known. */
struct outcome *outcome_find(const struct outcome_table *table, const uint8_t mid[GID_MID_SIZE]);
/* PENDING; the mid must not be known, and fewer than pending_max be pending. */
struct outcome *outcome_add(struct outcome_table *table, const uint8_t mid[GID_MID_SIZE]);
/* Returns how many were forgotten to make room (0 or 1). */
MUST_CHECK uint32_t outcome_decide(struct outcome_table *table, struct outcome *outcome,
                                   enum outcome_state state, uint64_t now_ms);
/* Leaves the caller's ring too. */
void outcome_forget(struct outcome_table *table, struct outcome *outcome);
/* Those decided at or before `decided_ms`. */
void outcome_forget_until(struct outcome_table *table, uint64_t decided_ms);

uint32_t outcome_decided(const struct outcome_table *table);

#endif
