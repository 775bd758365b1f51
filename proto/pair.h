/* pair: two incarnations that talk over a link, as one end sees them: who is known to whom, the
 * accounts of both directions, and the frames that wait to be sent.
 *
 *     PAIR_AWAY --pair_hear says up, pair_rise--> PAIR_UP --pair_hear says down, pair_fall-->
 * PAIR_AWAY
 *
 * While away the accounts are kept, so that the same two go on where they were and every frame that
 * was lost meanwhile is counted. A new incarnation of either end begins new ones. Pure.
 */
#ifndef PROTO_PAIR_H
#define PROTO_PAIR_H

#include "base/buf.h"
#include "proto/batch.h"
#include "proto/credit.h"
#include "proto/link.h"

enum pair_state { PAIR_AWAY, PAIR_UP };

struct pair {
    enum pair_state state;
    uint64_t theirs; /* their incarnation, 0: not known */
    uint64_t window;
    struct credit_in in;
    struct credit_out out;
    struct buf queue;                 /* whole frames, a run without a gap that begins at */
    uint64_t queue_byte, queue_frame; /* this position */
    uint32_t queue_frames;
    uint32_t load; /* what their last head told */
    uint64_t map_epoch;
    uint8_t name[BATCH_NAME_MAX];
    uint8_t name_len;
};

void pair_init(struct pair *pair, uint64_t window);
void pair_free(struct pair *pair);

/* What a batch means, in the order in which to act. */
struct pair_heard {
    bool down;   /* it was up and is not any more */
    bool up;     /* call pair_rise */
    bool take;   /* its frames are for us, counted in both account and counts */
    bool answer; /* they do not know us, or do not know that we know them: send a head */
};
struct pair_heard pair_hear(struct pair *pair, uint64_t mine, const struct batch_head *head,
                            size_t bytes, uint32_t frames, struct link_counts *counts);

void pair_rise(struct pair *pair);
/* The peer is gone; what waits is dropped, and missed by the peer should it return. */
void pair_fall(struct pair *pair, struct link_counts *counts);
/* Our own incarnation is another one now: all that was between the two is over. */
void pair_end(struct pair *pair, struct link_counts *counts);

/* Counts a frame, and queues it unless more than `queue_bytes_max` would wait or one before it was
 * dropped while others still wait; then it is dropped. */
void pair_queue(struct pair *pair, struct span frame, size_t queue_bytes_max,
                struct link_counts *counts);

/* The next batch: at most `size_max` bytes of what waits, or nothing (a head alone). */
struct pair_batch {
    struct span frames;
    uint32_t count;
    uint64_t first_byte, first_frame;
};
struct pair_batch pair_next(const struct pair *pair, size_t size_max);
/* It left. The queue keeps at most `keep` bytes of memory when empty. */
void pair_sent(struct pair *pair, const struct pair_batch *batch, size_t keep);

#endif
