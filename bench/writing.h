/* writing: messages go out: from whom, to whom, and when the next one does in a closed loop. Part
 * of traffic. */
#ifndef BENCH_WRITING_H
#define BENCH_WRITING_H

#include "bench/traffic_table.h"

enum sent { SENT, SENT_TO_NOBODY, SENT_NOTHING };

/* To somebody at random. NOTHING: he is away or has no room for one more just now. */
enum sent writing_send(struct traffic *traffic, uint32_t sender, uint64_t due_ns);
/* For the first time or again. */
void writing_transmit(struct traffic *traffic, struct book_slot *slot);
/* One of the user's places in the closed loop is free, at once or after the think time. */
void writing_next(struct traffic *traffic, uint32_t user);
void writing_think(struct traffic *traffic, uint32_t user);

#endif
