#include "router/handle.h"

#include "proto/gid.h"
#include "proto/unpack.h"
#include "router/census.h"
#include "router/push.h"

#define HOPS_MAX 3u
/* What NotOwner adds to the frame that it carries back. */
#define GIVE_BACK_OVERHEAD 256u
#define RECORDS_MAX 16u /* of one user, on the hot path: more than may be connected */

static_assert(RECORDS_MAX >= FLIGHT_DEVICES_MAX, "all devices of a user are reached");

/* --- not ours --------------------------------------------------------------------------------- */

static void give_back(struct shard *shard, uint32_t peer, uint32_t slot, struct span frame)
{
    Lahar__Link__V1__NotOwner said = LAHAR__LINK__V1__NOT_OWNER__INIT;
    Lahar__Link__V1__LinkFrame link_frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    const struct slotmap *map = control_map(shard->control);
    /* No frame that is meant well is nearly as long as a link takes. */
    if (frame.len > FRAME_LINK_SIZE_MAX - GIVE_BACK_OVERHEAD) {
        shard_count(shard, ROUTER_METRIC_LINK_BAD);
        return;
    }
    shard_count(shard, ROUTER_METRIC_RETURNED);
    said.map_epoch = slotmap_epoch(map);
    said.slot = slot;
    said.owner = unpack_data(span_text(slotmap_name(map, slotmap_owner(map, slot))));
    said.frame = unpack_data(frame);
    link_frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_NOT_OWNER;
    link_frame.not_owner = &said;
    push_frame(shard, peer, &link_frame);
}

/* Whether the slot is ours; else the frame went back. */
static bool ours(struct shard *shard, uint32_t peer, uint32_t slot, struct span frame)
{
    if (shard->owned[slot])
        return true;
    give_back(shard, peer, slot, frame);
    return false;
}

/* --- sends ------------------------------------------------------------------------------------ */

static void answer_refused(struct shard *shard, uint32_t peer, const struct hot_link_send *send,
                           enum nack_reason reason)
{
    struct hot_answer answer = {
        .gid = send->from,
        .session = send->session,
        .cmid = send->send.cmid,
        .reason = (uint32_t)reason,
        .retry_after_ms = reason == NACK_BUSY ? shard->options.flight.busy_retry_ms : 0,
    };
    shard_give(shard, peer, span_of(shard->scratch, hot_answer_write(shard->scratch, &answer)));
}

/* One frame for all of the user's sessions that are on the edge of records[first]; 0: no credit.
 * Those sessions are marked as done by edge 0. */
static uint32_t deliver_to_edge(struct shard *shard, struct hot_link_deliver *deliver,
                                struct presence_record *records, size_t first, size_t count)
{
    uint32_t edge = records[first].edge;
    deliver->sessions = 0;
    for (size_t i = first; i < count; i++) {
        if (records[i].edge != edge)
            continue;
        deliver->session[deliver->sessions++] = records[i].session;
        records[i].edge = 0;
    }
    size_t len = hot_link_deliver_write(shard->scratch, deliver);
    assert(len <= sizeof shard->scratch);
    enum link_sent sent = shard->actions.send(shard->ctx, roster_peer(shard->roster, edge),
                                              LINK_CREDITED, span_of(shard->scratch, len));
    return sent == LINK_QUEUED ? deliver->sessions : 0;
}

static void send_ephemeral(struct shard *shard, const struct hot_link_send *send, uint64_t hash)
{
    UNINITIALIZED struct presence_record records[RECORDS_MAX];
    UNINITIALIZED enum roster_worth worth[RECORDS_MAX];
    UNINITIALIZED struct hot_link_deliver deliver;
    uint64_t to = send->send.to;
    size_t count = roster_list(shard->roster, hash, to, records, worth, RECORDS_MAX), live = 0;
    for (size_t i = 0; i < count; i++)
        if (worth[i] == ROSTER_LIVE && (to != send->from || records[i].device != send->device))
            records[live++] = records[i];
    if (live == 0) {
        shard->sends.shed_offline++;
        return;
    }
    deliver.to = to;
    deliver.epoch = control_epoch(shard->control, presence_slot(hash));
    deliver.class = HOT_EPHEMERAL;
    deliver.dseqs = 0;
    deliver.from = send->from;
    deliver.sent_at = shard->wall_ms;
    deliver.mid = (struct span){0};
    deliver.body = send->send.body;
    uint32_t reached = 0;
    for (size_t i = 0; i < live; i++)
        if (records[i].edge != 0)
            reached += deliver_to_edge(shard, &deliver, records, i, live);
    shard->sends.deliveries += reached;
    if (reached > 0)
        shard->sends.passed_on++;
    else
        shard->sends.shed_credit++;
}

/* NACK_NONE: it may go on. */
static enum nack_reason judge_recipient(const struct shard *shard, uint64_t to, uint64_t hash)
{
    if (!gid_valid(to))
        return NACK_NO_USER;
    if (gid_kind(to) != GID_USER)
        return NACK_UNSUPPORTED;
    struct presence_record record;
    enum roster_worth worth;
    if (!identity_handed_out(shard->identity, to) &&
        roster_list(shard->roster, hash, to, &record, &worth, 1) == 0)
        return NACK_NO_USER;
    return NACK_NONE;
}

static void send_confirmed(struct shard *shard, const struct edge *edge,
                           const struct hot_link_send *send, uint64_t hash)
{
    enum nack_reason refused = judge_recipient(shard, send->send.to, hash);
    if (refused != NACK_NONE)
        flight_refuse(shard->flight, edge->number, send, refused, shard->now_ms);
    else
        flight_send(shard->flight, edge->number, send, shard->now_ms, shard->wall_ms);
}

static void on_send(struct shard *shard, uint32_t peer, const struct edge *edge, struct span frame,
                    struct span content)
{
    struct hot_link_send send;
    if (!hot_link_send_read(content, &send) || send.send.body.len > FRAME_PAYLOAD_SIZE_MAX) {
        shard_count(shard, ROUTER_METRIC_LINK_BAD);
        return;
    }
    uint64_t hash = gid_hash(send.send.to);
    uint32_t slot = presence_slot(hash);
    if (!shard->owned[slot]) {
        if (send.hops < HOPS_MAX) {
            give_back(shard, peer, slot, frame);
            return;
        }
        shard_count(shard, ROUTER_METRIC_HOPS);
        if (send.send.class != HOT_EPHEMERAL)
            answer_refused(shard, peer, &send, NACK_BUSY);
        return;
    }
    shard->sends.accepted++;
    switch (send.send.class) {
    case HOT_EPHEMERAL:
        send_ephemeral(shard, &send, hash);
        break;
    case HOT_CONFIRMED:
        send_confirmed(shard, edge, &send, hash);
        break;
    default:
        shard->sends.nacked[NACK_UNSUPPORTED]++;
        answer_refused(shard, peer, &send, NACK_UNSUPPORTED);
    }
}

static void on_received(struct shard *shard, uint32_t peer, const struct edge *edge,
                        struct span frame, struct span content)
{
    struct hot_received received;
    if (!hot_link_received_read(content, &received)) {
        shard_count(shard, ROUTER_METRIC_LINK_BAD);
        return;
    }
    if (ours(shard, peer, gid_slot(received.gid), frame) &&
        roster_holds(shard->roster, edge, received.gid, received.session))
        (void)flight_received(shard->flight, edge->number, received.gid, received.session,
                              received.dseq, shard->now_ms);
}

/* --- sessions --------------------------------------------------------------------------------- */

static void on_resolve(struct shard *shard, uint32_t peer, const struct edge *edge,
                       struct span frame, const Lahar__Link__V1__Resolve *said)
{
    struct span site = unpack_span(said->site), user = unpack_span(said->user);
    if (site.len == 0 || site.len > 32 || user.len == 0 || user.len > 128) {
        shard_count(shard, ROUTER_METRIC_LINK_BAD);
        return;
    }
    uint32_t slot = (uint32_t)(gid_user_hash(site, user) % GID_SLOTS);
    if (ours(shard, peer, slot, frame))
        identity_resolve(shard->identity, edge->number, said->req, site, user, said->may_create);
}

void handle_resolved(struct shard *shard, uint32_t edge, uint64_t req,
                     enum identity_outcome outcome, uint64_t gid)
{
    static const enum router_metric counters[] = {[IDENTITY_OK] = ROUTER_METRIC_RESOLVED,
                                                  [IDENTITY_BUSY] = ROUTER_METRIC_RESOLVED_BUSY,
                                                  [IDENTITY_NO_USER] =
                                                      ROUTER_METRIC_RESOLVED_NO_USER};
    Lahar__Link__V1__Resolved said = LAHAR__LINK__V1__RESOLVED__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    shard_count(shard, counters[outcome]);
    said.req = req;
    said.gid = gid;
    if (outcome == IDENTITY_BUSY)
        said.status = LAHAR__LINK__V1__RESOLVED__STATUS__BUSY;
    else if (outcome == IDENTITY_NO_USER)
        said.status = LAHAR__LINK__V1__RESOLVED__STATUS__NO_USER;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVED;
    frame.resolved = &said;
    push_frame(shard, roster_peer(shard->roster, edge), &frame);
}

static void on_bind(struct shard *shard, uint32_t peer, struct edge *edge, struct span frame,
                    const Lahar__Link__V1__Bind *said)
{
    Lahar__Link__V1__Bound bound = LAHAR__LINK__V1__BOUND__INIT;
    Lahar__Link__V1__LinkFrame answer = LAHAR__LINK__V1__LINK_FRAME__INIT;
    if (!ours(shard, peer, gid_slot(said->gid), frame))
        return;
    bound.req = said->req;
    bound.gid = said->gid;
    bound.device = said->device;
    uint64_t replaced = 0;
    const struct roster_shown shown = {said->resume, said->issued_at};
    bool user = gid_valid(said->gid) && gid_kind(said->gid) == GID_USER;
    switch (user && bars_ready(shard->bars)
                ? roster_bind(shard->roster, edge, said->gid, said->device, &shown, &bound.session,
                              &replaced)
                : ROSTER_BUSY) {
    case ROSTER_BOUND:
        bound.status = LAHAR__LINK__V1__BOUND__STATUS__OK;
        break;
    case ROSTER_BUSY:
        bound.status = LAHAR__LINK__V1__BOUND__STATUS__BUSY;
        break;
    case ROSTER_TOO_MANY:
        bound.status = LAHAR__LINK__V1__BOUND__STATUS__TOO_MANY_DEVICES;
        break;
    case ROSTER_TOO_OLD:
        bound.status = LAHAR__LINK__V1__BOUND__STATUS__TOO_OLD;
        break;
    }
    answer.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_BOUND;
    answer.bound = &bound;
    push_frame(shard, peer, &answer);
    if (bound.status == LAHAR__LINK__V1__BOUND__STATUS__OK)
        roster_begin(shard->roster, edge, said->gid, said->device, bound.session, replaced);
}

static void on_gap(struct shard *shard, uint32_t peer, const struct edge *edge, struct span frame,
                   const Lahar__Link__V1__DeliveryGap *said)
{
    uint32_t slot = gid_slot(said->gid);
    if (!ours(shard, peer, slot, frame))
        return;
    /* A gap in what an owner before us gave says nothing of what we give. */
    if (said->epoch == control_epoch(shard->control, slot) &&
        roster_holds(shard->roster, edge, said->gid, said->session))
        (void)flight_gap(shard->flight, edge->number, said->gid, said->session, said->expected,
                         shard->now_ms);
}

/* --- dispatch --------------------------------------------------------------------------------- */

static void *unpack(struct shard *shard, const ProtobufCMessageDescriptor *type,
                    struct span content)
{
    void *message = unpack_message(type, shard->arena, content);
    if (message == NULL)
        shard_count(shard, ROUTER_METRIC_LINK_BAD);
    return message;
}

#define UNPACK(type) unpack(shard, &lahar__link__v1__##type##__descriptor, content)

/* What an edge says of itself and asks at any time. */
static bool handle_always(struct shard *shard, uint32_t peer, uint32_t number, struct span content)
{
    if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO) {
        const Lahar__Link__V1__EdgeHello *said = UNPACK(edge_hello);
        if (said == NULL || said->name.len > LINK_NAME_MAX)
            return true;
        bool fresh = census_hello(shard->roster, peer, said->number, unpack_span(said->name));
        if (fresh) {
            push_map(shard, peer);
            push_ticket_keys(shard, peer);
            push_sites(shard, roster_edge(shard->roster, peer));
        }
        return true;
    }
    if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_LOOKUP) {
        const Lahar__Link__V1__SiteLookup *said = UNPACK(site_lookup);
        if (said != NULL)
            push_site_found(shard, peer, said->req, unpack_span(said->id));
        return true;
    }
    return false;
}

static void handle_session(struct shard *shard, uint32_t peer, struct edge *edge, uint32_t number,
                           struct span frame, struct span content)
{
    const Lahar__Link__V1__Unbind *unbind;
    const Lahar__Link__V1__NoSession *none;
    const void *said;
    switch (number) {
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE:
        if ((said = UNPACK(resolve)) != NULL)
            on_resolve(shard, peer, edge, frame, said);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND:
        if ((said = UNPACK(bind)) != NULL)
            on_bind(shard, peer, edge, frame, said);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND:
        if ((unbind = UNPACK(unbind)) != NULL && ours(shard, peer, gid_slot(unbind->gid), frame))
            (void)roster_unbind(shard->roster, edge, unbind->gid, unbind->device, unbind->session);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP:
        if ((said = UNPACK(delivery_gap)) != NULL)
            on_gap(shard, peer, edge, frame, said);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_NO_SESSION:
        if ((none = UNPACK(no_session)) != NULL && ours(shard, peer, gid_slot(none->gid), frame))
            (void)roster_no_session(shard->roster, edge, none->gid, none->session);
        break;
    default:
        shard_count(shard, ROUTER_METRIC_LINK_UNKNOWN);
    }
}

/* What nearly all frames are, before all else. */
static bool handle_hot(struct shard *shard, uint32_t peer, const struct edge *edge, uint32_t number,
                       struct span frame, struct span content)
{
    if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND)
        on_send(shard, peer, edge, frame, content);
    else if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_RECEIVED)
        on_received(shard, peer, edge, frame, content);
    else
        return false;
    return true;
}

static void handle_edge(struct shard *shard, uint32_t peer, struct edge *edge, uint32_t number,
                        struct span frame, struct span content)
{
    const Lahar__Link__V1__Announce *announce;
    const Lahar__Link__V1__AnnounceDone *done;
    const Lahar__Link__V1__Digest *digest;
    const Lahar__Link__V1__SiteUse *use;
    const Lahar__Link__V1__SiteKicked *kicked;
    switch (number) {
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE:
        if ((announce = UNPACK(announce)) != NULL)
            census_announce(shard->roster, edge, announce);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE:
        if ((done = UNPACK(announce_done)) != NULL)
            census_announce_done(shard->roster, edge, done->round, done->count);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_DIGEST:
        if ((digest = UNPACK(digest)) == NULL)
            break;
        census_digest(shard->roster, edge, digest->count, digest->mix);
        push_check_sites(shard, edge, digest->sites_revision);
        if (digest->tickets_revision < keyring_revision(shard->keyring))
            push_ticket_keys(shard, peer);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_USE:
        if ((use = UNPACK(site_use)) != NULL &&
            ours(shard, peer, gid_site_slot(unpack_span(use->id)), frame))
            push_share(shard, edge, use);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_KICKED:
        if ((kicked = UNPACK(site_kicked)) != NULL)
            kick_site_told(shard->kick, edge, unpack_span(kicked->id), kicked->not_before,
                           kicked->count);
        break;
    default:
        handle_session(shard, peer, edge, number, frame, content);
    }
}

static void handle_admin(struct shard *shard, uint32_t peer, uint32_t number, struct span content)
{
    const Lahar__Link__V1__AdminRequest *request;
    if (number != LAHAR__LINK__V1__LINK_FRAME__FRAME_ADMIN_REQUEST)
        shard_count(shard, ROUTER_METRIC_REFUSED_ROLE);
    else if ((request = UNPACK(admin_request)) != NULL)
        admin_request(shard->admin, peer, request);
}

/* Its link may have been down for us alone; then it knows nothing of it and says no hello. It is
 * asked once a second, when it wants to be audited. */
static void handle_stranger(struct shard *shard, uint32_t peer, uint32_t number)
{
    shard_count(shard, ROUTER_METRIC_REFUSED_STRANGER);
    if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_DIGEST)
        push_who(shard, peer);
}

void handle_frame(struct shard *shard, uint32_t peer, struct span frame)
{
    uint32_t number, ignored = 0;
    struct span content;
    if (!frame_open(frame, &number, &content, &ignored)) {
        shard_count(shard, ROUTER_METRIC_LINK_BAD);
        return;
    }
    if (ignored > 0)
        metrics_add(shard->metrics, ROUTER_METRIC_LINK_UNKNOWN, ignored);
    struct edge *edge = roster_edge(shard->roster, peer);
    bool served = shard->serving && edge != NULL && shard->peers[peer].role == KEYS_EDGE;
    if (served && handle_hot(shard, peer, edge, number, frame, content))
        return;
    arena_reset(shard->arena);
    if (shard->peers[peer].role == KEYS_ADMIN) {
        handle_admin(shard, peer, number, content);
        return;
    }
    if (shard->peers[peer].role != KEYS_EDGE) {
        shard_count(shard, ROUTER_METRIC_REFUSED_ROLE);
        return;
    }
    if (handle_always(shard, peer, number, content))
        return;
    if (edge == NULL)
        handle_stranger(shard, peer, number);
    else if (!shard->serving)
        shard_count(shard, ROUTER_METRIC_NOT_SERVED);
    else
        handle_edge(shard, peer, edge, number, frame, content);
}
