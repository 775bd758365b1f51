/* referee: what was said and what became of it. Pure.
 *
 * A body carries run, sender, recipient, number, time and a check over these, then a filling that
 * follows from the number: any change shows. The same stamp always gives the same body, so that a
 * message can be sent again without being kept.
 */
#ifndef BENCH_REFEREE_H
#define BENCH_REFEREE_H

#include "proto/hot.h"
#include "proto/reasons.h"

#define REFEREE_BODY_MIN 48u

struct referee_stamp {
    uint64_t run, number, sent_ns;
    uint32_t sender, recipient;
};

/* `len` bytes, at least REFEREE_BODY_MIN. */
void referee_write(uint8_t *body, size_t len, const struct referee_stamp *stamp);
/* False if it is not a body as referee_write makes them. */
MUST_CHECK bool referee_read(struct span body, struct referee_stamp *stamp);

/* The id of a message, and from it sender and number; false if it is not of this run. */
void referee_cmid(uint8_t cmid[16], const struct referee_stamp *stamp);
MUST_CHECK bool referee_cmid_read(struct span cmid, uint64_t run, uint32_t *sender,
                                  uint64_t *number);

/* Of one class. sent = delivered + lost + refused + unknown + to_offline + in flight. */
struct referee_counts {
    uint64_t sent, resent;
    uint64_t acknowledged;
    uint64_t completed;  /* acknowledged; EPHEMERAL: arrived */
    uint64_t delivered;  /* arrived for the first time */
    uint64_t lost;       /* EPHEMERAL: did not arrive in time; others: acknowledged without having
                            arrived, which breaks the promise if the acknowledgement was one of it */
    uint64_t late;       /* arrived after having been given up */
    uint64_t replayed;   /* came again under the same mid: the client library absorbs it */
    uint64_t unknown;    /* no final answer, or one that says so */
    uint64_t missing;    /* further devices of the recipient that did not get it in time */
    uint64_t to_offline; /* EPHEMERAL to users who are not there: must vanish */
    uint64_t busy, gaps;
    uint64_t refused[NACK_REASONS];
    /* None of these may ever be. */
    uint64_t doubled, misrouted, altered, out_of_order, false_nacks;
    uint64_t foreign; /* of another run */
};

/* How many promises of the class were broken. `ack_is_delivery`: see bench/target.h; without it
 * an acknowledged message may be lost like an EPHEMERAL one. */
uint64_t referee_broken(const struct referee_counts *counts, enum hot_class message_class,
                        bool ack_is_delivery);

#endif
