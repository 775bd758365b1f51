#include "bench/workload.h"

struct crowd_options workload_crowd(const struct options *options)
{
    return (struct crowd_options){
        .target = options->target,
        .servers = options->servers,
        .ca = options->ca,
        .site = options->site,
        .key = options->key,
        .cluster = options->cluster,
        .device = options->device,
        .users = options->users,
        .first = options->first,
        .logins_at_once = options->logins_at_once,
        .keep_bytes = WORKLOAD_KEEP_BYTES,
    };
}
