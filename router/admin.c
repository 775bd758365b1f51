#include "router/admin.h"

#include "base/log.h"
#include "proto/gid.h"
#include "proto/unpack.h"

#include <stdlib.h>

#define WAITING_MAX (2u * SITEBOOK_WRITES_MAX)
#define RECORDS_MAX 64u
/* A reply stays well below a frame. */
#define REPLY_BYTES_MAX (32u * 1024u)
#define REPLY_SITES_MAX 100u

struct waiting {
    bool used;
    uint32_t peer;
    uint64_t req;
};

struct admin {
    struct sitebook *book;
    struct roster *roster;
    struct kick *kick;
    struct arena *arena;
    struct admin_actions actions;
    void *ctx;
    struct waiting waiting[WAITING_MAX]; /* for a change; the token is the index */
};

struct admin *admin_new(struct sitebook *book, struct roster *roster, struct kick *kick,
                        struct arena *arena, const struct admin_actions *actions, void *ctx)
{
    struct admin *admin = calloc(1, sizeof *admin);
    assert(admin != NULL);
    admin->book = book;
    admin->roster = roster;
    admin->kick = kick;
    admin->arena = arena;
    admin->actions = *actions;
    admin->ctx = ctx;
    return admin;
}

void admin_free(struct admin *admin)
{
    free(admin);
}

static void reply(struct admin *admin, uint32_t peer, Lahar__Link__V1__AdminReply *said)
{
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_ADMIN_REPLY;
    frame.admin_reply = said;
    admin->actions.say(admin->ctx, peer, &frame);
}

void admin_kicked(struct admin *admin, uint32_t peer, uint64_t req, const char *error,
                  uint64_t kicked)
{
    Lahar__Link__V1__AdminReply said = LAHAR__LINK__V1__ADMIN_REPLY__INIT;
    said.req = req;
    said.last = true;
    said.kicked = kicked;
    if (error != NULL)
        said.error = unpack_data(span_text(error));
    reply(admin, peer, &said);
}

static void finish(struct admin *admin, uint32_t peer, uint64_t req, const char *error)
{
    admin_kicked(admin, peer, req, error, 0);
}

/* A place to wait for the sitebook; WAITING_MAX: told that there is none. */
static uint32_t wait_place(struct admin *admin, uint32_t peer, uint64_t req)
{
    for (uint32_t i = 0; i < WAITING_MAX; i++) {
        if (admin->waiting[i].used)
            continue;
        admin->waiting[i] = (struct waiting){true, peer, req};
        return i;
    }
    finish(admin, peer, req, "too many changes of sites at once; try again");
    return WAITING_MAX;
}

void admin_written(struct admin *admin, uint64_t token, const char *error)
{
    assert(token < WAITING_MAX);
    struct waiting *waiting = &admin->waiting[token];
    waiting->used = false;
    if (waiting->peer != EDGES_NO_PEER)
        finish(admin, waiting->peer, waiting->req, error);
}

void admin_link_down(struct admin *admin, uint32_t peer)
{
    for (uint32_t i = 0; i < WAITING_MAX; i++)
        if (admin->waiting[i].used && admin->waiting[i].peer == peer)
            admin->waiting[i].peer = EDGES_NO_PEER;
}

static void list_sites(struct admin *admin, uint32_t peer, uint64_t req)
{
    Lahar__Link__V1__AdminReply said = LAHAR__LINK__V1__ADMIN_REPLY__INIT;
    Lahar__Link__V1__Site *sites[REPLY_SITES_MAX];
    uint32_t cursor = 0;
    size_t bytes = 0;
    struct sitebook_site one;
    said.req = req;
    said.sites = sites;
    arena_reset(admin->arena);
    while (sitebook_walk(admin->book, &cursor, &one)) {
        if (one.packed.len == 0)
            continue;
        if (said.n_sites == REPLY_SITES_MAX || bytes + one.packed.len > REPLY_BYTES_MAX) {
            reply(admin, peer, &said);
            arena_reset(admin->arena);
            said.n_sites = bytes = 0;
        }
        Lahar__Link__V1__Site *site =
            unpack_message(&lahar__link__v1__site__descriptor, admin->arena, one.packed);
        if (site == NULL)
            continue;
        sites[said.n_sites++] = site;
        bytes += one.packed.len;
    }
    said.last = true;
    reply(admin, peer, &said);
}

static void whereis(struct admin *admin, uint32_t peer, uint64_t req, uint64_t gid)
{
    if (!gid_valid(gid) || !admin->actions.owns(admin->ctx, gid_slot(gid))) {
        finish(admin, peer, req,
               gid_valid(gid) ? "this shard does not own that GID" : "that is no GID");
        return;
    }
    struct presence_record records[RECORDS_MAX];
    enum roster_worth worth[RECORDS_MAX];
    Lahar__Link__V1__Whereabouts places[RECORDS_MAX], *list[RECORDS_MAX];
    Lahar__Link__V1__AdminReply said = LAHAR__LINK__V1__ADMIN_REPLY__INIT;
    size_t count = roster_list(admin->roster, gid_hash(gid), gid, records, worth, RECORDS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *name = roster_edge_name(admin->roster, records[i].edge);
        places[i] = (Lahar__Link__V1__Whereabouts)LAHAR__LINK__V1__WHEREABOUTS__INIT;
        places[i].device = records[i].device;
        places[i].session = records[i].session;
        places[i].edge_number = records[i].edge;
        places[i].edge = unpack_data(span_text(name));
        places[i].online = worth[i] == ROSTER_LIVE;
        list[i] = &places[i];
    }
    said.req = req;
    said.sessions = list;
    said.n_sessions = count;
    said.last = true;
    reply(admin, peer, &said);
}

static void change(struct admin *admin, uint32_t peer, const Lahar__Link__V1__AdminRequest *request)
{
    bool put = request->what_case == LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_PUT;
    struct span id = unpack_span(put ? request->site_put->id : request->site_remove);
    log_info(put ? "site_put" : "site_remove", LOG_SPAN("site", id));
    uint32_t token = wait_place(admin, peer, request->req);
    if (token == WAITING_MAX)
        return;
    if (put)
        sitebook_put(admin->book, request->site_put, token);
    else
        sitebook_remove(admin->book, id, token);
}

void admin_request(struct admin *admin, uint32_t peer, const Lahar__Link__V1__AdminRequest *request)
{
    switch (request->what_case) {
    case LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_PUT:
    case LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_REMOVE:
        change(admin, peer, request);
        break;
    case LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_LIST:
        if (sitebook_ready(admin->book))
            list_sites(admin, peer, request->req);
        else
            finish(admin, peer, request->req, "the sites were not read yet; try again");
        break;
    case LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_WHEREIS:
        whereis(admin, peer, request->req, request->whereis);
        break;
    case LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_KICK:
        kick_request(admin->kick, peer, request->req, request->kick);
        break;
    default:
        finish(admin, peer, request->req, "this router does not know that request");
    }
}
