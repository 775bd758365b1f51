#include "edge/session_table.h"

#include "proto/client.pb-c.h"

#include <stdlib.h>

#define CLIENT_NAME_MAX 64u
#define HOPS_MAX 3u

/* What is kept of a Hello while it waits for its turn, or its site is looked up: at most
 * options.logins_waiting of them. */
struct login {
    uint32_t before, after; /* places, in WAITING */
    bool ticket;            /* `pass` is one, else a token */
    uint16_t pass_len;
    uint8_t device_len;
    uint8_t device[32];
    uint8_t pass[];
};

static struct span device_of(const struct login *login)
{
    return span_of(login->device, login->device_len);
}

static struct span pass_of(const struct login *login)
{
    return span_of(login->pass, login->pass_len);
}

static struct login *keep(struct session *s, struct span pass, struct span device, bool ticket)
{
    assert(pass.len <= TOKEN_SIZE_MAX && device.len <= sizeof s->login->device);
    s->login = malloc(sizeof *s->login + pass.len);
    assert(s->login != NULL);
    *s->login = (struct login){.before = SESSION_NOWHERE,
                               .after = SESSION_NOWHERE,
                               .ticket = ticket,
                               .pass_len = (uint16_t)pass.len,
                               .device_len = (uint8_t)device.len};
    memcpy(s->login->device, device.at, device.len);
    memcpy(s->login->pass, pass.at, pass.len);
    return s->login;
}

/* Out of the line, if it stands in it. What it kept is the caller's. */
static struct login *step_out(struct session_table *table, struct session *s)
{
    struct login *login = s->login;
    s->login = NULL;
    if (login == NULL || s->state != SESSION_WAITING)
        return login;
    if (login->before == SESSION_NOWHERE)
        table->waiting_first = login->after;
    else
        session_at(table, login->before)->login->after = login->after;
    if (login->after == SESSION_NOWHERE)
        table->waiting_last = login->before;
    else
        session_at(table, login->after)->login->before = login->before;
    return login;
}

void login_forget(struct session_table *table, struct session *s)
{
    free(step_out(table, s));
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
    bind.resume = s->session;
    bind.issued_at = s->issued_at;
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

/* What was shown is no longer good, as only the owner knows. */
static void refuse_old(struct session_table *table, struct session *s)
{
    if (s->session == 0) {
        refuse(table, s, END_TOKEN_EXPIRED);
        return;
    }
    session_count_one(table, EDGE_METRIC_TICKET(TICKET_TOO_OLD));
    refuse(table, s, END_TOKEN_REQUIRED);
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
    } else if (bound->status == LAHAR__LINK__V1__BOUND__STATUS__TOO_OLD) {
        refuse_old(table, s);
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

/* --- sites ------------------------------------------------------------------------------------ */

enum looked_up { NOT_YET, FOUND, FOUND_NONE };

/* The site is not in our table: any shard can tell. The Hello waits with us. */
static void look_up(struct session_table *table, struct session *s, struct span site,
                    struct span pass, struct span device, bool ticket)
{
    Lahar__Link__V1__SiteLookup lookup = LAHAR__LINK__V1__SITE_LOOKUP__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    lookup.req = session_req(s);
    lookup.id = unpack_data(site);
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_LOOKUP;
    frame.site_lookup = &lookup;
    session_turns(table, s, SESSION_LOOKUP);
    if (uplink_say(table, uplink_any(table), &frame))
        (void)keep(s, pass, device, ticket);
    else
        refuse(table, s, END_BUSY);
}

/* Whether an unknown site is worth asking for. */
static bool may_look_up(struct session_table *table, struct span site, enum looked_up looked_up)
{
    bool valid = sites_id_valid(site);
    if (looked_up == FOUND_NONE && valid)
        sites_missing(table->sites, site, table->now_ms);
    return looked_up == NOT_YET && valid && !sites_is_missing(table->sites, site, table->now_ms);
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* Clients learn only that a token is refused or has expired. */
static enum end_reason reason_of(enum token_verdict verdict)
{
    return verdict == TOKEN_EXPIRED ? END_TOKEN_EXPIRED : END_TOKEN_REFUSED;
}

static uint64_t now_s(const struct session_table *table)
{
    return table->wall_ms / 1000;
}

static void check_token(struct session_table *table, struct session *s, struct span token,
                        struct span device, enum looked_up looked_up)
{
    struct token_claims claims = {0};
    enum token_verdict verdict =
        table->actions.verify(table->ctx, table->sites, token, now_s(table), &claims);
    struct span id = span_of(claims.site, claims.site_len);
    session_count_one(table, EDGE_METRIC_TOKEN(verdict));
    if (verdict == TOKEN_UNKNOWN_SITE) {
        if (may_look_up(table, id, looked_up))
            look_up(table, s, id, token, device, false);
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
    const struct site *site = sites_find(table->sites, id);
    if (site != NULL && !sites_origin_allowed(site, s->origin)) {
        refuse(table, s, END_ORIGIN_REFUSED);
        return;
    }
    if (site != NULL && !quota_enter(table, s, site))
        return;
    s->device = gid_device_hash(device);
    /* By a site's clock that is ahead it was issued later than now. */
    uint64_t issued_at = claims.issued_at < now_s(table) ? claims.issued_at : now_s(table);
    s->issued_at = (uint32_t)issued_at;
    ask_resolve(table, s, &claims);
}

/* --- the line of those who wait ----------------------------------------------------------------
 */

static void wait_in_line(struct session_table *table, struct session *s, struct span token,
                         struct span device)
{
    session_count_one(table, EDGE_METRIC_LOGINS_PARKED);
    struct login *login = keep(s, token, device, false);
    session_turns(table, s, SESSION_WAITING);
    login->before = table->waiting_last;
    if (table->waiting_last == SESSION_NOWHERE)
        table->waiting_first = s->place;
    else
        session_at(table, table->waiting_last)->login->after = s->place;
    table->waiting_last = s->place;
}

void login_go_on(struct session_table *table)
{
    while (table->waiting_first != SESSION_NOWHERE && limits_check(table->limits)) {
        struct session *s = session_at(table, table->waiting_first);
        struct login *login = step_out(table, s);
        arena_reset(table->arena);
        check_token(table, s, pass_of(login), device_of(login), NOT_YET);
        free(login);
    }
}

/* --- tickets ---------------------------------------------------------------------------------- */

size_t login_ticket(const struct session_table *table, const struct session *s,
                    uint8_t out[TICKET_SIZE_MAX])
{
    const struct site *site = sites_at(table->sites, s->site);
    if (table->options.ticket_s == 0 || site == NULL)
        return 0;
    struct ticket ticket = {.gid = s->gid,
                            .device = s->device,
                            .session = s->session,
                            .issued_at = s->issued_at,
                            .expires_at = s->issued_at + table->options.ticket_s,
                            .site_len = site->id_len};
    memcpy(ticket.site, site->id, site->id_len);
    return ticket_seal(&table->ticket_keys, &ticket, now_s(table), out);
}

static enum ticket_verdict judge_ticket(struct session_table *table, struct span sealed,
                                        struct span device, struct ticket *ticket,
                                        const struct site **site)
{
    enum ticket_verdict verdict =
        ticket_open(&table->ticket_keys, sealed, gid_device_hash(device), now_s(table), ticket);
    if (verdict != TICKET_OK)
        return verdict;
    *site = sites_find(table->sites, span_of(ticket->site, ticket->site_len));
    if (*site == NULL)
        return TICKET_UNKNOWN_SITE;
    return ticket->issued_at < (*site)->not_before ? TICKET_NOT_BEFORE : TICKET_OK;
}

static void check_ticket(struct session_table *table, struct session *s, struct span sealed,
                         struct span device, enum looked_up looked_up)
{
    struct ticket ticket;
    const struct site *site = NULL;
    enum ticket_verdict verdict = judge_ticket(table, sealed, device, &ticket, &site);
    struct span id = span_of(ticket.site, ticket.site_len);
    if (verdict == TICKET_UNKNOWN_SITE && may_look_up(table, id, looked_up)) {
        look_up(table, s, id, sealed, device, true);
        return;
    }
    session_count_one(table, EDGE_METRIC_TICKET(verdict));
    if (verdict != TICKET_OK) {
        refuse(table, s, verdict == TICKET_NO_KEYS ? END_BUSY : END_TOKEN_REQUIRED);
        return;
    }
    if (!sites_origin_allowed(site, s->origin)) {
        refuse(table, s, END_ORIGIN_REFUSED);
        return;
    }
    if (!quota_enter(table, s, site))
        return;
    s->gid = ticket.gid;
    s->device = ticket.device;
    s->session = ticket.session;
    s->issued_at = ticket.issued_at;
    s->slot = (uint16_t)gid_slot(s->gid);
    ask_bind(table, s);
}

/* --- Hello ------------------------------------------------------------------------------------ */

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
    if (hello->resume != NULL)
        return hello->token.len > 0 ? END_BAD_FRAME : END_NONE;
    if (hello->token.len == 0)
        return END_TOKEN_REQUIRED;
    if (hello->token.len > TOKEN_SIZE_MAX)
        return END_TOKEN_REFUSED;
    return END_NONE;
}

static enum end_reason admit(struct session_table *table, const struct session *s, bool ticket)
{
    uint32_t waiting_max = table->options.logins_waiting;
    if (waiting_max != 0 && table->logging_in >= waiting_max) {
        limits_refused(table->limits, LIMIT_LOGINS_WAITING);
        return END_BUSY;
    }
    enum limit limit =
        limits_login(table->limits, s->address, ticket ? LIMITS_BY_TICKET : LIMITS_FULL);
    return limit == LIMIT_NONE ? END_NONE : limits_end(limit);
}

void login_hello(struct session_table *table, struct session *s, struct span content)
{
    const Lahar__V1__Hello *hello =
        unpack_message(&lahar__v1__hello__descriptor, table->arena, content);
    enum end_reason reason = hello == NULL ? END_BAD_FRAME : judge(table, hello);
    bool ticket = reason == END_NONE && hello->resume != NULL;
    if (reason == END_NONE)
        reason = admit(table, s, ticket);
    if (reason != END_NONE) {
        refuse(table, s, reason);
        return;
    }
    struct span device = unpack_span(hello->device);
    session_deadline(table, s, table->now_ms + table->options.login_ms);
    if (ticket)
        check_ticket(table, s, unpack_span(hello->resume->ticket), device, NOT_YET);
    else if (table->waiting_first == SESSION_NOWHERE && limits_check(table->limits))
        check_token(table, s, unpack_span(hello->token), device, NOT_YET);
    else
        wait_in_line(table, s, unpack_span(hello->token), device);
}

void login_site_found(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__SiteFound *found =
        unpack_message(&lahar__link__v1__site_found__descriptor, table->arena, content);
    if (found == NULL || (found->site != NULL && !recall_take_site(table, found->site))) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    struct session *s = session_waiting(table, found->req, SESSION_LOOKUP);
    if (s == NULL)
        return;
    if (found->busy) {
        refuse(table, s, END_BUSY);
        return;
    }
    struct login *login = step_out(table, s);
    enum looked_up looked_up = found->site != NULL ? FOUND : FOUND_NONE;
    if (login->ticket)
        check_ticket(table, s, pass_of(login), device_of(login), looked_up);
    else
        check_token(table, s, pass_of(login), device_of(login), looked_up);
    free(login);
}
