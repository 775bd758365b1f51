/* runner: one shard on a thread of its own: its loop, its end of the links, its connection to Redis
 * and its core, put together. */
#ifndef ROUTER_RUNNER_H
#define ROUTER_RUNNER_H

#include "base/conf.h"
#include "base/metrics.h"
#include "base/ops.h"
#include "proto/link.h"

struct runner;

struct runner_options {
    const struct conf *conf;        /* all that is not said here */
    const char *name;               /* of the shard, "r1/0" */
    const char *endpoint;           /* where it listens */
    const char *const *shard_names; /* all of the cluster */
    uint32_t shards;
    struct metrics *metrics;
    struct ops_worker *ops;
};

/* What the options point at must outlive the runner. Dies if the endpoint cannot be bound. */
struct runner *runner_new(struct link_net *net, const struct runner_options *options);
/* Begins the thread. */
void runner_start(struct runner *runner);
/* From any thread: give the lease back and end. */
void runner_leave(struct runner *runner);
/* Waits for the end of its thread, and frees. */
void runner_free(struct runner *runner);

#endif
