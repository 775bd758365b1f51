/* traffic: what a generator process does: its users log in, write to random others of all
 * processes, and what comes of it is judged.
 *
 *     closed loop   (rate 0) each user has in_flight messages on their way, and writes the next one
 *                   when one has come to its end, or the think time after that
 *     open loop     messages fall due at the set rate whatever became of those before them, and
 *                   their latency counts from then; how late they went out is told (TEAM_LATE)
 *
 *     EPHEMERAL     ends when it arrives; lost if it has not after 5 s
 *     CONFIRMED     ends with its acknowledgement or a final refusal. A user's messages in flight
 *                   are for different recipients, so each is the oldest without an answer of its
 *                   conversation: settled = seq, and seq counts all sends of the process, which
 *                   grows in each conversation too. No answer for 2 s, BUSY or SEQ_GAP: sent again
 *                   under the same id; unknown after 30 s.
 *
 * Which of the two loops it is the rate decides that is set when WARMUP begins; afterwards an open
 * one's rate may change at any time, down to 0. Without --in-flight and rate it only holds its
 * users.
 */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include "bench/member.h"

/* Until DONE. For the row of a workload. */
void traffic_member(struct member *member);
/* The same, with users that leave and log in again between WARMUP and DRAIN, and write nothing. */
void traffic_come_and_go(struct member *member);
/* The same, with users that only stay, and write if a rate is set. */
void traffic_hold(struct member *member);

/* How many slots a member needs for messages of these options. */
uint32_t traffic_slots(const struct options *options, uint32_t member_users);

#endif
