/* admin: what the lahar command asks of a shard. Pure.
 *
 * whereis and a kick of a user are answered by the owner of the GID only; sites by any shard that
 * has read them. A shard
 * that cannot answer yet is silent, and the command asks again.
 */
#ifndef ROUTER_ADMIN_H
#define ROUTER_ADMIN_H

#include "base/arena.h"
#include "router/kick.h"
#include "router/roster.h"
#include "router/sitebook.h"

struct admin;

struct admin_actions {
    void (*say)(void *ctx, uint32_t peer, Lahar__Link__V1__LinkFrame *frame);
    bool (*owns)(void *ctx, uint32_t slot);
};

struct admin *admin_new(struct sitebook *book, struct roster *roster, struct kick *kick,
                        struct arena *arena, const struct admin_actions *actions, void *ctx);
void admin_free(struct admin *admin);

void admin_request(struct admin *admin, uint32_t peer,
                   const Lahar__Link__V1__AdminRequest *request);
/* The end of a change of the sitebook's; `token` is what admin gave it. */
void admin_written(struct admin *admin, uint64_t token, const char *error);
/* The end of a kick. */
void admin_kicked(struct admin *admin, uint32_t peer, uint64_t req, const char *error,
                  uint64_t kicked);
/* Nobody waits there any more. */
void admin_link_down(struct admin *admin, uint32_t peer);

#endif
