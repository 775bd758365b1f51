#include "router/kick.h"

#include "base/log.h"
#include "proto/unpack.h"

#include <stdlib.h>

#define WAITING_MAX 64u
#define SITE_ID_MAX 32u

enum stage { STAGE_FREE, STAGE_WRITING, STAGE_TELLING };

struct waiting {
    enum stage stage;
    uint32_t peer; /* EDGES_NO_PEER: nobody waits any more */
    uint64_t req;
    uint64_t kicked;
    /* Of a site. */
    uint64_t not_before, until_ms;
    uint32_t edges;   /* that have not answered yet */
    uint8_t *awaited; /* which they are: a bit for each index */
    uint8_t site_len;
    uint8_t site[SITE_ID_MAX];
};

struct kick {
    struct kick_parts parts;
    struct kick_actions actions;
    void *ctx;
    uint64_t now_ms, wall_ms;
    struct waiting waiting[WAITING_MAX];
};

struct kick *kick_new(const struct kick_parts *parts, const struct kick_actions *actions, void *ctx)
{
    struct kick *kick = calloc(1, sizeof *kick);
    assert(kick != NULL);
    kick->parts = *parts;
    kick->actions = *actions;
    kick->ctx = ctx;
    return kick;
}

void kick_free(struct kick *kick)
{
    if (kick == NULL)
        return;
    for (uint32_t i = 0; i < WAITING_MAX; i++)
        free(kick->waiting[i].awaited);
    free(kick);
}

void kick_time(struct kick *kick, uint64_t now_ms, uint64_t wall_ms)
{
    kick->now_ms = now_ms;
    kick->wall_ms = wall_ms;
}

static void finish(struct kick *kick, struct waiting *waiting, const char *error)
{
    struct waiting copy = *waiting;
    free(waiting->awaited);
    *waiting = (struct waiting){.stage = STAGE_FREE};
    if (copy.peer != EDGES_NO_PEER)
        kick->actions.done(kick->ctx, copy.peer, copy.req, error, copy.kicked);
}

/* What was issued in this very second is over, too. */
static uint64_t from_now_on(const struct kick *kick)
{
    return kick->wall_ms / 1000 + 1;
}

/* --- a user ----------------------------------------------------------------------------------- */

static void kick_user(struct kick *kick, struct waiting *waiting, uint64_t gid, uint64_t device)
{
    struct bar bar = {.not_before = from_now_on(kick)};
    if (!gid_valid(gid) || gid_kind(gid) != GID_USER) {
        finish(kick, waiting, "that is no GID of a user");
        return;
    }
    if (!kick->actions.owns(kick->ctx, gid_slot(gid))) {
        finish(kick, waiting, "this shard does not own that GID");
        return;
    }
    waiting->kicked = roster_kick(kick->parts.roster, gid, device, &bar.session);
    log_info("kick", LOG_UNSIGNED("gid", gid), LOG_HEX("device", device),
             LOG_UNSIGNED("sessions", waiting->kicked));
    uint64_t token = KICK_TOKENS | (uint64_t)(waiting - kick->waiting);
    if (!bars_set(kick->parts.bars, gid, device, &bar, token))
        finish(kick, waiting,
               "its sessions were ended, but it may log in again as before: as many "
               "users were kicked lately as are remembered (limits.kicks)");
}

/* --- a site ----------------------------------------------------------------------------------- */

static void await_edges(struct kick *kick, struct waiting *waiting)
{
    waiting->awaited = calloc(1, EDGES_MAX / 8);
    assert(waiting->awaited != NULL);
    for (const struct edge *edge = NULL;
         (edge = roster_next_edge(kick->parts.roster, edge)) != NULL;) {
        if (edge->peer == EDGES_NO_PEER)
            continue;
        waiting->awaited[edge->index / 8] |= (uint8_t)(1u << edge->index % 8);
        waiting->edges++;
    }
}

static void kick_site(struct kick *kick, struct waiting *waiting, struct span site)
{
    if (site.len > sizeof waiting->site) {
        finish(kick, waiting, "a site's id has 1 to 32 of a-z 0-9 -");
        return;
    }
    waiting->not_before = from_now_on(kick);
    waiting->site_len = (uint8_t)site.len;
    memcpy(waiting->site, site.at, site.len);
    await_edges(kick, waiting);
    log_info("kick", LOG_SPAN("site", site));
    sitebook_not_before(kick->parts.book, site, waiting->not_before,
                        KICK_TOKENS | (uint64_t)(waiting - kick->waiting));
}

static void settle_site(struct kick *kick, struct waiting *waiting)
{
    if (waiting->edges == 0)
        finish(kick, waiting, NULL);
    else if (kick->now_ms >= waiting->until_ms)
        finish(kick, waiting,
               "the site's sessions are being ended, but not all edges have said so yet; ask "
               "again to see how many are left");
}

/* Each edge may say it more than once. */
static void has_answered(struct waiting *waiting, const struct edge *edge)
{
    uint8_t *byte = &waiting->awaited[edge->index / 8], bit = (uint8_t)(1u << edge->index % 8);
    waiting->edges -= (*byte & bit) != 0;
    *byte &= (uint8_t)~bit;
}

void kick_site_told(struct kick *kick, const struct edge *edge, struct span site,
                    uint64_t not_before, uint64_t count)
{
    for (uint32_t i = 0; i < WAITING_MAX; i++) {
        struct waiting *waiting = &kick->waiting[i];
        if (waiting->stage == STAGE_FREE || waiting->site_len == 0 ||
            not_before < waiting->not_before ||
            !span_equal(site, span_of(waiting->site, waiting->site_len)))
            continue;
        waiting->kicked += count;
        has_answered(waiting, edge);
        if (waiting->stage == STAGE_TELLING)
            settle_site(kick, waiting);
    }
}

/* --- events ----------------------------------------------------------------------------------- */

void kick_request(struct kick *kick, uint32_t peer, uint64_t req, const Lahar__Link__V1__Kick *what)
{
    struct waiting *free = NULL;
    for (uint32_t i = 0; i < WAITING_MAX; i++) {
        struct waiting *waiting = &kick->waiting[i];
        if (waiting->stage == STAGE_FREE)
            free = waiting;
        else if (waiting->peer == peer && waiting->req == req)
            return;
    }
    if (free == NULL) {
        kick->actions.done(kick->ctx, peer, req, "too many at once; try again", 0);
        return;
    }
    *free = (struct waiting){.stage = STAGE_WRITING, .peer = peer, .req = req};
    if (what->site.len > 0)
        kick_site(kick, free, unpack_span(what->site));
    else
        kick_user(kick, free, what->gid, what->device);
}

void kick_written(struct kick *kick, uint64_t token, const char *error)
{
    uint64_t index = token & ~KICK_TOKENS;
    assert(index < WAITING_MAX);
    struct waiting *waiting = &kick->waiting[index];
    if (waiting->stage != STAGE_WRITING)
        return;
    if (error != NULL || waiting->site_len == 0) {
        finish(kick, waiting, error);
        return;
    }
    waiting->stage = STAGE_TELLING;
    waiting->until_ms = kick->now_ms + KICK_SITE_MS;
    settle_site(kick, waiting);
}

void kick_link_down(struct kick *kick, uint32_t peer)
{
    for (uint32_t i = 0; i < WAITING_MAX; i++)
        if (kick->waiting[i].stage != STAGE_FREE && kick->waiting[i].peer == peer)
            kick->waiting[i].peer = EDGES_NO_PEER;
}

void kick_tick(struct kick *kick)
{
    for (uint32_t i = 0; i < WAITING_MAX; i++)
        if (kick->waiting[i].stage == STAGE_TELLING)
            settle_site(kick, &kick->waiting[i]);
}
