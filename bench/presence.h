/* presence: many users' records through the router's own code into a real Redis: what a record
 * costs there, what a session costs in the router, how fast they are written and loaded.
 *
 *     fill       every device of every user logs in
 *     change     at random: to another edge, out, or in again
 *     reload     the shard is thrown away, a new one loads its slots
 *     verify     each edge's records: their count, and the exclusive or over them
 *
 * All in one process beside Redis; nothing goes over sockets but what goes to Redis.
 */
#ifndef BENCH_PRESENCE_H
#define BENCH_PRESENCE_H

#include "bench/lead.h"

enum workload_end presence_lead(struct lead *lead);

#endif
