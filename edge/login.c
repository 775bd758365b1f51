#include "edge/session_table.h"

#include "proto/client.pb-c.h"

#include <stdlib.h>

#define CLIENT_NAME_MAX 64u
#define HOPS_MAX 3u

/* What is kept of a Hello while its site is looked up. */
struct login {
    uint16_t token_len;
    uint8_t device_len;
    uint8_t device[32];
    uint8_t token[];
};

void login_forget(struct session *s)
{
    free(s->login);
    s->login = NULL;
}

static void refuse(struct session_table *table, struct session *s, enum end_reason reason)
{
    session_end(table, s, reason, true);
}

/* --- GID and session -------------------------------------------------------------------------- */

static void ask_bind(struct session_table *table, struct session *s)
{
    Lahar__Link__V1__Bind bind = LAHAR__LINK__V1__BIND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    bind.req = session_req(s);
    bind.gid = s->gid;
    bind.device = s->device;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND;
    frame.bind = &bind;
    session_turns(table, s, SESSION_BINDING);
    if (table->number == 0 || !uplink_say(table, uplink_of(table, s->slot), &frame))
        refuse(table, s, END_BUSY);
}

static void ask_resolve(struct session_table *table, struct session *s,
                        const struct token_claims *claims)
{
    struct span site = span_of(claims->site, claims->site_len);
    struct span user = span_of(claims->user, claims->user_len);
    const struct site *known = sites_find(table->sites, site);
    Lahar__Link__V1__Resolve resolve = LAHAR__LINK__V1__RESOLVE__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    resolve.req = session_req(s);
    resolve.site = unpack_data(site);
    resolve.user = unpack_data(user);
    resolve.may_create = known != NULL && !known->closed;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE;
    frame.resolve = &resolve;
    session_turns(table, s, SESSION_RESOLVING);
    s->slot = (uint16_t)(gid_user_hash(site, user) % GID_SLOTS);
    if (table->number == 0 || !uplink_say(table, uplink_of(table, s->slot), &frame))
        refuse(table, s, END_BUSY);
}

void login_resolved(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__Resolved *resolved =
        unpack_message(&lahar__link__v1__resolved__descriptor, table->arena, content);
    if (resolved == NULL) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    struct session *s = session_waiting(table, resolved->req, SESSION_RESOLVING);
    if (s == NULL)
        return; /* it has gone meanwhile */
    if (resolved->status == LAHAR__LINK__V1__RESOLVED__STATUS__NO_USER) {
        refuse(table, s, END_TOKEN_REFUSED);
    } else if (resolved->status != LAHAR__LINK__V1__RESOLVED__STATUS__OK) {
        refuse(table, s, END_BUSY);
    } else if (!gid_valid(resolved->gid) || gid_kind(resolved->gid) != GID_USER) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        refuse(table, s, END_BUSY);
    } else {
        s->gid = resolved->gid;
        s->slot = (uint16_t)gid_slot(s->gid);
        s->hops = 0;
        ask_bind(table, s);
    }
}

/* The owner holds a session for a client that has gone: it must not stay. */
static void unbind_late(struct session_table *table, uint32_t shard,
                        const Lahar__Link__V1__Bound *bound)
{
    Lahar__Link__V1__Unbind unbind = LAHAR__LINK__V1__UNBIND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    unbind.gid = bound->gid;
    unbind.device = bound->device;
    unbind.session = bound->session;
    unbind.reason = END_PEER_LEFT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND;
    frame.unbind = &unbind;
    (void)uplink_say(table, shard, &frame);
}

void login_bound(struct session_table *table, uint32_t shard, struct span content)
{
    const Lahar__Link__V1__Bound *bound =
        unpack_message(&lahar__link__v1__bound__descriptor, table->arena, content);
    if (bound == NULL) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    bool ok = bound->status == LAHAR__LINK__V1__BOUND__STATUS__OK;
    if (ok && session_find(table, bound->gid, bound->session) != NULL)
        return; /* said twice */
    struct session *s = session_waiting(table, bound->req, SESSION_BINDING);
    if (s == NULL) {
        if (ok)
            unbind_late(table, shard, bound);
    } else if (bound->status == LAHAR__LINK__V1__BOUND__STATUS__TOO_MANY_DEVICES) {
        refuse(table, s, END_TOO_MANY_DEVICES);
    } else if (!ok) {
        refuse(table, s, END_BUSY);
    } else if (bound->gid != s->gid || bound->device != s->device || bound->session == 0) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        refuse(table, s, END_BUSY);
    } else if (gid_session_epoch(bound->session) < route_epoch(table->routes, s->slot)) {
        /* From an earlier owner; the present one does not know it and was not told it. */
        unbind_late(table, shard, bound);
        refuse(table, s, END_BUSY);
    } else {
        s->session = bound->session;
        session_begin(table, s);
    }
}

/* A frame that comes back is sent on to where the slot is known to be by now, so many times. */
static bool one_more_hop(struct session_table *table, struct session *s)
{
    if (s->hops == HOPS_MAX) {
        session_count_one(table, EDGE_METRIC_GIVEN_UP);
        refuse(table, s, END_BUSY);
        return false;
    }
    s->hops++;
    session_count_one(table, EDGE_METRIC_REROUTED);
    return true;
}

void login_bind_returned(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__Bind *bind =
        unpack_message(&lahar__link__v1__bind__descriptor, table->arena, content);
    struct session *s = bind == NULL ? NULL : session_waiting(table, bind->req, SESSION_BINDING);
    if (s != NULL && one_more_hop(table, s))
        ask_bind(table, s);
}

void login_resolve_returned(struct session_table *table, struct span content)
{
    Lahar__Link__V1__Resolve *resolve =
        unpack_message(&lahar__link__v1__resolve__descriptor, table->arena, content);
    struct session *s =
        resolve == NULL ? NULL : session_waiting(table, resolve->req, SESSION_RESOLVING);
    if (s == NULL || !one_more_hop(table, s))
        return;
    /* The user's id is not kept here: the frame goes on as it was. */
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE;
    frame.resolve = resolve;
    if (!uplink_say(table, uplink_of(table, s->slot), &frame))
        refuse(table, s, END_BUSY);
}

/* --- Hello and the token ---------------------------------------------------------------------- */

/* The site is not in our table: any shard can tell. The Hello waits with us. */
static void look_up(struct session_table *table, struct session *s, struct span site,
                    struct span token, struct span device)
{
    Lahar__Link__V1__SiteLookup lookup = LAHAR__LINK__V1__SITE_LOOKUP__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    lookup.req = session_req(s);
    lookup.id = unpack_data(site);
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_LOOKUP;
    frame.site_lookup = &lookup;
    session_turns(table, s, SESSION_LOOKUP);
    if (!uplink_say(table, uplink_any(table), &frame)) {
        refuse(table, s, END_BUSY);
        return;
    }
    s->login = malloc(sizeof *s->login + token.len);
    assert(s->login != NULL);
    s->login->token_len = (uint16_t)token.len;
    s->login->device_len = (uint8_t)device.len;
    memcpy(s->login->device, device.at, device.len);
    memcpy(s->login->token, token.at, token.len);
}

/* Clients learn only that a token is refused or has expired. */
static enum end_reason reason_of(enum token_verdict verdict)
{
    return verdict == TOKEN_EXPIRED ? END_TOKEN_EXPIRED : END_TOKEN_REFUSED;
}

enum looked_up { NOT_YET, FOUND, FOUND_NONE };

static void check_token(struct session_table *table, struct session *s, struct span token,
                        struct span device, enum looked_up looked_up)
{
    struct token_claims claims = {0};
    enum token_verdict verdict =
        table->actions.verify(table->ctx, table->sites, token, table->wall_ms / 1000, &claims);
    session_count_one(table, EDGE_METRIC_TOKEN(verdict));
    if (verdict == TOKEN_UNKNOWN_SITE) {
        struct span site = span_of(claims.site, claims.site_len);
        bool valid = sites_id_valid(site);
        if (looked_up == FOUND_NONE && valid)
            sites_missing(table->sites, site, table->now_ms);
        if (looked_up == NOT_YET && valid && !sites_is_missing(table->sites, site, table->now_ms))
            look_up(table, s, site, token, device);
        else
            refuse(table, s, END_TOKEN_REFUSED);
        return;
    }
    if (verdict != TOKEN_OK) {
        refuse(table, s, reason_of(verdict));
        return;
    }
    if (claims.device_len > 0 && !span_equal(span_of(claims.device, claims.device_len), device)) {
        refuse(table, s, END_TOKEN_REFUSED);
        return;
    }
    const struct site *site = sites_find(table->sites, span_of(claims.site, claims.site_len));
    if (site != NULL && !sites_origin_allowed(site, s->origin)) {
        refuse(table, s, END_ORIGIN_REFUSED);
        return;
    }
    if (site != NULL && !quota_enter(table, s, site))
        return;
    s->device = gid_device_hash(device);
    ask_resolve(table, s, &claims);
}

static enum end_reason judge(const struct session_table *table, const Lahar__V1__Hello *hello)
{
    if (table->leaving)
        return END_EDGE_LEAVING;
    if (hello->proto != 1)
        return END_BAD_VERSION;
    if (hello->client.len > CLIENT_NAME_MAX)
        return END_BAD_FRAME;
    if (!gid_device_valid(unpack_span(hello->device)))
        return END_BAD_DEVICE;
    if (hello->resume != NULL || hello->token.len == 0)
        return END_TOKEN_REQUIRED;
    if (hello->token.len > TOKEN_SIZE_MAX)
        return END_TOKEN_REFUSED;
    return END_NONE;
}

void login_hello(struct session_table *table, struct session *s, struct span content)
{
    const Lahar__V1__Hello *hello =
        unpack_message(&lahar__v1__hello__descriptor, table->arena, content);
    enum end_reason reason = hello == NULL ? END_BAD_FRAME : judge(table, hello);
    if (reason != END_NONE) {
        refuse(table, s, reason);
        return;
    }
    uint32_t waiting_max = table->options.logins_waiting;
    if (waiting_max != 0 && table->logging_in >= waiting_max) {
        limits_refused(table->limits, LIMIT_LOGINS_WAITING);
        refuse(table, s, END_BUSY);
        return;
    }
    session_deadline(table, s, table->now_ms + table->options.login_ms);
    check_token(table, s, unpack_span(hello->token), unpack_span(hello->device), NOT_YET);
}

void login_site_found(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__SiteFound *found =
        unpack_message(&lahar__link__v1__site_found__descriptor, table->arena, content);
    if (found == NULL || (found->site != NULL && !sites_put(table->sites, found->site))) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    if (found->site != NULL)
        quota_site(table, unpack_span(found->site->id));
    struct session *s = session_waiting(table, found->req, SESSION_LOOKUP);
    if (s == NULL)
        return;
    if (found->busy) {
        refuse(table, s, END_BUSY);
        return;
    }
    struct login *login = s->login;
    s->login = NULL;
    check_token(table, s, span_of(login->token, login->token_len),
                span_of(login->device, login->device_len),
                found->site != NULL ? FOUND : FOUND_NONE);
    free(login);
}
