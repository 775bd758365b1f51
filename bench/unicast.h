/* unicast: users write to each other in random pairs, in a closed loop: each has in_flight messages
 * on their way, and writes the next one when one has come to its end.
 *
 *     EPHEMERAL   ends when it arrives; lost if it has not after 5 s
 *     CONFIRMED   ends with its SendAck or a final SendNack. A user's messages in flight are for
 * different recipients, so each is the oldest without an answer of its conversation: settled = seq,
 *                 and seq counts all sends of the session, which grows in each conversation too.
 *                 No answer for 2 s, BUSY or SEQ_GAP: sent again under the same id.
 */
#ifndef BENCH_UNICAST_H
#define BENCH_UNICAST_H

#include "bench/workload.h"

enum workload_end unicast_run(const struct options *options);

#endif
