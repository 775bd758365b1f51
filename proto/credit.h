/* credit: the account that two ends of a link keep of one direction (design: absolute byte credit).
 *
 * Positions count the bytes and frames of this pair of incarnations from 0. The sender stamps each
 * batch with the position at which it begins; the receiver takes a gap as lost. Credit is absolute
 * ("you may come up to byte N") and said again in every batch, so neither a lost batch nor a lost
 * grant leaks any. Pure.
 */
#ifndef PROTO_CREDIT_H
#define PROTO_CREDIT_H

#include "base/span.h"

struct credit_out {
    uint64_t bytes, frames; /* sent so far */
    uint64_t limit;         /* the highest grant heard */
};

struct credit_in {
    uint64_t bytes, frames; /* received or known lost so far */
    uint64_t window;
    uint64_t granted; /* the highest grant said */
    uint64_t bytes_lost, frames_lost;
};

void credit_out_init(struct credit_out *out);
void credit_in_init(struct credit_in *in, uint64_t window);

/* May `size` more bytes that need credit be sent? Before the first grant: no. */
static inline bool credit_out_allows(const struct credit_out *out, uint64_t size)
{
    return out->bytes + size <= out->limit;
}
void credit_out_sent(struct credit_out *out, uint64_t bytes, uint64_t frames);
void credit_out_granted(struct credit_out *out, uint64_t limit);

enum credit_verdict {
    CREDIT_IN_ORDER,
    CREDIT_LOST,      /* a stretch before this batch is missing; counted */
    CREDIT_RESTARTED, /* the sender counts from an earlier place: it has forgotten us */
};

/* A batch that begins at this position; then what it held. */
enum credit_verdict credit_in_batch(struct credit_in *in, uint64_t first_byte,
                                    uint64_t first_frame);
void credit_in_took(struct credit_in *in, uint64_t bytes, uint64_t frames);
/* The grant to say now; remembers that it was said. */
uint64_t credit_in_grant(struct credit_in *in);
/* True when half the window was used since the last grant: time to say one even without other news.
 */
bool credit_in_grant_due(const struct credit_in *in);

#endif
