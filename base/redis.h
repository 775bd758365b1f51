/* redis: one pipelined connection to Redis, over unix socket or TCP, for one loop.
 *
 *     DOWN --connect, AUTH, SELECT, PING--> UP --error, timeout--> DOWN, again after 100 ms to 2 s
 *
 * A host's name is looked up anew for each attempt, by a thread of its own: the loop does not wait.
 * Commands of one turn leave in one write at its end. Replies come in the order of the commands.
 * When the connection is lost every command without a reply is told so with reply NULL, in order,
 * and then on_down is called: whether Redis carried them out is unknown. No command is ever
 * repeated by this module. Ups, downs and failed attempts are logged here, with the reason.
 */
#ifndef BASE_REDIS_H
#define BASE_REDIS_H

#include "base/loop.h"
#include "base/reply.h"

/* What waits to be written, and what one reply may take; far more than any use of ours. */
#define REDIS_UNSENT_BYTES_MAX (64u * 1024u * 1024u)
#define REDIS_REPLY_BYTES_MAX (64u * 1024u * 1024u)

struct redis;

struct redis_options {
    const char *address;  /* "unix:/path" or "tcp:host:port" */
    const char *password; /* NULL: no AUTH */
    uint32_t database;
    uint32_t timeout_ms;   /* no reply for so long while some are due: the connection is given up */
    uint32_t commands_max; /* in flight; beyond it redis_send refuses */
};

/* All calls back come from turns of the loop, never from inside a call of this module. on_down
 * comes only after an on_up. */
struct redis_events {
    void (*on_up)(void *ctx);
    void (*on_down)(void *ctx, const char *why);
};

/* Called once for each command that redis_send took. Never from inside redis_send. */
typedef void redis_reply_fn(void *ctx, uint64_t tag, const struct reply *reply);

struct redis *redis_new(struct loop *loop, const struct redis_options *options,
                        const struct redis_events *events, void *ctx);
/* Calls nobody back. The loop must still exist, and must not turn again. */
void redis_free(struct redis *redis);

/* "unix:/path" or "tcp:host:port" ("tcp:[::1]:6379"), else false. For checking a configuration. */
MUST_CHECK bool redis_address_valid(const char *address);

/* Queues a command (`args` are copied). False, and nothing happens, when DOWN, when commands_max
 * are in flight, or when REDIS_UNSENT_BYTES_MAX would wait. */
MUST_CHECK bool redis_send(struct redis *redis, const struct span *args, size_t count,
                           redis_reply_fn *on_reply, void *ctx, uint64_t tag);
bool redis_is_up(const struct redis *redis);
uint32_t redis_in_flight(const struct redis *redis);

#endif
