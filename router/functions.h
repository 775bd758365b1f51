/* functions: what every connection to Redis begins with: our function library, and a look at one
 * setting. Pure.
 *
 *     name, keys, arguments
 *     lahar_lease (lease) who, ms
 *         takes or renews a lease, or gives it back with ms 0.
 *         0: another holds it; 1: it was ours; 2: nobody held it
 *     lahar_raise (lease, fences) who, floor
 *         adds 1 to each fence, or more, so that it is not below floor; one that is gone begins
 *         with the quarters of a second since 2025, by Redis's clock. Their values, or NOTOWNER
 *     lahar_keep (lease, fences) who, epochs
 *         writes fences that are gone or lower anew. How many are higher, or NOTOWNER
 *     lahar_block (counter) floor, n, gap
 *         takes n numbers, not below floor + gap if the counter is below floor. The first
 *     lahar_gid (ids, fence) epoch, field, gid
 *         the GID of a user, made now if there is none. FENCED if the fence has another epoch
 *     lahar_site (sites, revision, ends) id, packed, floor, not_before
 *         writes a Site (without either) with the next revision and its not_before, or the one it
 *         had if that is later; packed empty: removes all but that. The revision; 0 if there was
 * nothing to remove; LOST if the revision is below floor, so data were lost lahar_site_kick (sites,
 * revision, ends) id, floor, not_before raises the not_before of what is there. The same answers
 *     lahar_sites (sites, revision)
 *         all ids and Sites, then the revision
 *     lahar_sites_restore (sites, revision, ends) floor, last, and of each id, packed, not_before,
 *     revision
 *         writes them if the revision is below floor, and then, if last is 1, a revision 1000 above
 *         floor, so that those who knew more notice it, too
 *     lahar_put (hash, fence) epoch, field, value
 *         writes a field; value empty: removes it. FENCED if the fence has another epoch
 *     lahar_swap (key) found, wanted
 *         writes what is wanted if what was found is still there (empty: nothing). What is there
 *         now
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
