/* functions: what every connection to Redis begins with: our function library, and a look at one
 * setting. Pure.
 *
 *     lahar_lease  1 lease           who, ms      takes or renews a lease; ms 0: gives it back. 0:
 * another holds it, 1: ours still, 2: nobody held it lahar_raise  1+n lease fences  who adds 1 to
 * each fence; their values. NOTOWNER unless who holds the lease lahar_keep   1+n lease fences  who,
 * epochs  writes fences that are gone or lower anew; how many are higher. NOTOWNER lahar_block  1
 * counter         floor, n     takes n numbers not below floor; the first lahar_gid    2 ids fence
 * epoch, field, gid   the GID of a user, made now if there is none. FENCED if the epoch is not the
 * fence's lahar_site   2 sites rev       id, packed   writes a Site with the next revision in it
 * (packed empty: removes it); the revision, or 0 if there was nothing to remove
 */
#ifndef ROUTER_FUNCTIONS_H
#define ROUTER_FUNCTIONS_H

#include "base/reply.h"

typedef bool functions_command_fn(void *ctx, const struct span *args, size_t count, uint64_t tag);

/* Before any other command of a connection. Tags are below 256. */
void functions_begin(functions_command_fn *command, void *ctx);
/* Tells the log what is wrong; raises hash-max-listpack-entries if it may. */
void functions_reply(functions_command_fn *command, void *ctx, uint64_t tag,
                     const struct reply *reply);

#endif
