/* judge: whether what a user hears is what somebody of this run wrote to him, by the delivery
 * alone; what became of the message besides is for bench/book.h. Pure.
 */
#ifndef BENCH_JUDGE_H
#define BENCH_JUDGE_H

#include "bench/book.h"
#include "bench/member.h"

struct judge {
    const struct member *member;
    uint64_t devices[BOOK_DEVICES_MAX]; /* hashes of their names */
};

enum judge_verdict {
    JUDGE_FINE,
    JUDGE_NOTHING,   /* an empty delivery, which only moves dseq on */
    JUDGE_ALTERED,   /* its body, class or sender */
    JUDGE_FOREIGN,   /* of another run */
    JUDGE_MISROUTED, /* written to somebody else */
};

void judge_init(struct judge *judge, const struct member *member);
/* The stamp is only there with FINE. */
enum judge_verdict judge_deliver(const struct judge *judge, uint32_t user,
                                 const struct hot_deliver *deliver, struct referee_stamp *stamp);
/* It came under the mid that its sender's message has, so that a client library absorbs it. */
MUST_CHECK bool judge_is_replay(const struct judge *judge, const struct referee_stamp *stamp,
                                const struct hot_deliver *deliver);
/* The device that a message goes out from follows from its number, which both ends know. */
uint32_t judge_sending_device(const struct judge *judge, uint64_t number);

#endif
