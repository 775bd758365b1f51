#include "bench/workload.h"

#include "bench/connect.h"
#include "bench/idle.h"
#include "bench/lead.h"
#include "bench/presence.h"
#include "bench/relay.h"
#include "bench/search.h"
#include "bench/storm.h"
#include "bench/traffic.h"
#include "bench/unicast.h"

static enum workload_end serve_relay(struct lead *lead)
{
    relay_run(lead_options(lead)->listen);
}

#define OPEN_LOOP "rate even offline-share "

static const struct workload workloads[] = {
    {"unicast", "users write to each other in random pairs, closed or open loop",
     OPEN_LOOP "in-flight think-ms", false, traffic_member, unicast_lead},
    {"idle", "users log in and are held: memory and CPU of a connection", OPEN_LOOP "tickets",
     false, traffic_hold, idle_lead},
    {"connect", "users log in, leave and log in again: logins per second", "tickets", false,
     traffic_come_and_go, connect_lead},
    {"search", "the highest rate of an open loop that keeps a p99", "rate even p99-us", false,
     traffic_member, search_lead},
    {"storm", "a server process is killed, and all its users return to the others",
     OPEN_LOOP "kill-pid", true, traffic_hold, storm_lead},
    {"presence", "a shard in this process and a real Redis: what a record costs, loading",
     "redis-address slots", false, NULL, presence_lead},
    {"relay", "a server, not a workload: the floor to compare with", "listen", false, NULL,
     serve_relay},
};

const struct workload *workload_at(size_t index)
{
    return index < sizeof workloads / sizeof *workloads ? &workloads[index] : NULL;
}

const struct workload *workload_find(const char *name)
{
    const struct workload *workload;
    for (size_t i = 0; (workload = workload_at(i)) != NULL; i++)
        if (strcmp(workload->name, name) == 0)
            return workload;
    return NULL;
}

enum workload_end workload_run(const struct workload *workload, const struct options *options)
{
    return lead_run(workload, options);
}
