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

#include "base/span.h"

#include <sys/types.h>

struct presence_plan {
    const char *redis_address;
    pid_t redis; /* its process */
    uint64_t users;
    uint32_t devices; /* of each */
    uint64_t changes; /* 0: a tenth of the records */
    /* Only users of slots below it; 0: of all. With a sixteenth of the slots, three million records
     * lie as fifty million do in all. */
    uint32_t slots;
    void (*say)(const char *phase, uint64_t done, uint64_t of); /* about once a second; or NULL */
};

struct presence_figures {
    uint64_t records;                     /* after the changes */
    bool whole;                           /* each record came back */
    double redis_bytes, redis_used_bytes; /* a record: resident, and by INFO used_memory */
    double router_bytes;                  /* resident, a record, while all are in */
    double table_bytes;                   /* of them those of presence's own tables */
    double fill_writes, change_writes;    /* a second of Redis's CPU, that of all its threads */
    double fill_s, change_s, load_s, restart_s;
    double fill_cpu_us, change_cpu_us, load_cpu_us; /* of ours, a record; those who log in too */
    double load_records;                            /* a second */
    uint64_t dropped;
};

/* Dies if Redis is no use. The keys "lahar:..." of that Redis must be gone. */
void presence_measure(const struct presence_plan *plan, struct presence_figures *figures);

#endif
