#include "edge/session_table.h"

#include "base/log.h"

/* At first one waits so long for the shards that are still coming, so that early logins do not meet
 * BUSY. */
#define START_MS 5000u

enum link_sent uplink_forward(struct session_table *table, uint32_t shard, enum link_kind kind,
                              struct span frame)
{
    if (!table->uplinks[shard].up)
        return LINK_AWAY;
    return table->actions.forward(table->ctx, shard, kind, frame);
}

bool uplink_say(struct session_table *table, uint32_t shard, Lahar__Link__V1__LinkFrame *frame)
{
    if (shard >= table->options.shards || !table->uplinks[shard].up)
        return false;
    arena_reset(table->out);
    struct span packed = unpack_frame(table->out, &frame->base);
    assert(packed.len > 0);
    return uplink_forward(table, shard, LINK_FREE, packed) == LINK_QUEUED;
}

uint32_t uplink_any(const struct session_table *table)
{
    uint32_t shards = table->options.shards;
    uint32_t start = (uint32_t)(table->actions.random(table->ctx) % shards);
    for (uint32_t i = 0; i < shards; i++)
        if (table->uplinks[(start + i) % shards].up)
            return (start + i) % shards;
    return shards;
}

/* --- who we are ------------------------------------------------------------------------------- */

static void say_hello(struct session_table *table, uint32_t shard)
{
    Lahar__Link__V1__EdgeHello hello = LAHAR__LINK__V1__EDGE_HELLO__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    hello.number = table->number;
    hello.name = unpack_data(span_text(table->options.edge_name));
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO;
    frame.edge_hello = &hello;
    (void)uplink_say(table, shard, &frame);
}

/* One shard at a time, or each would give us another number. */
static void ask_number(struct session_table *table)
{
    for (uint32_t i = 1; i <= table->options.shards; i++) {
        uint32_t shard = (table->asked + i) % table->options.shards;
        if (!table->uplinks[shard].up)
            continue;
        table->asked = shard;
        say_hello(table, shard);
        return;
    }
}

static bool any_up(const struct session_table *table)
{
    for (uint32_t shard = 0; shard < table->options.shards; shard++)
        if (table->uplinks[shard].up)
            return true;
    return false;
}

void uplink_up(struct session_table *table, uint32_t shard)
{
    struct uplink *uplink = &table->uplinks[shard];
    assert(!uplink->up);
    bool first = !any_up(table);
    uplink->up = true;
    uplink->owned = uplink->cut = uplink->announcing = false;
    if (table->up_since_ms == 0)
        table->up_since_ms = table->now_ms;
    if (table->number != 0) {
        say_hello(table, shard);
    } else if (first) {
        table->asked = shard;
        say_hello(table, shard);
    }
}

void uplink_down(struct session_table *table, uint32_t shard)
{
    struct uplink *uplink = &table->uplinks[shard];
    assert(uplink->up);
    uplink->up = uplink->owned = uplink->announcing = false;
    uplink->away_ms = table->now_ms;
    if (table->number == 0 && table->asked == shard)
        ask_number(table);
}

static void take_number(struct session_table *table, uint32_t shard, struct span content)
{
    const Lahar__Link__V1__EdgeNumber *given =
        unpack_message(&lahar__link__v1__edge_number__descriptor, table->arena, content);
    if (given == NULL) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    if (given->number == 0) { /* it lost the link, which we never noticed */
        table->uplinks[shard].owned = table->uplinks[shard].announcing = false;
        say_hello(table, shard);
        return;
    }
    if (table->number != 0)
        return; /* asked twice, and both answered: we keep the first */
    table->number = given->number;
    log_info("edge_number", LOG_UNSIGNED("number", table->number));
    for (uint32_t other = 0; other < table->options.shards; other++)
        if (table->uplinks[other].up)
            say_hello(table, other);
}

/* --- what shards say -------------------------------------------------------------------------- */

static void take_map(struct session_table *table, struct span content)
{
    switch (route_take_map(table->routes, content)) {
    case ROUTE_BAD:
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        break;
    case ROUTE_TAKEN:
        log_info("map_taken", LOG_UNSIGNED("epoch", route_map_epoch(table->routes)));
        announce_recount(table);
        break;
    case ROUTE_OLD:
        break;
    }
}

static void unbind(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__Unbind *said =
        unpack_message(&lahar__link__v1__unbind__descriptor, table->arena, content);
    if (said == NULL) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    struct session *s = session_find(table, said->gid, said->session);
    bool known = reasons_end_known(said->reason);
    if (s != NULL)
        session_end_unbound(table, s, known ? (enum end_reason)said->reason : END_NO_SESSION);
}

static void take_site(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__Site *said =
        unpack_message(&lahar__link__v1__site__descriptor, table->arena, content);
    if (said == NULL || !recall_take_site(table, said))
        session_count_one(table, EDGE_METRIC_LINK_BAD);
}

static void take_ticket_keys(struct session_table *table, struct span content)
{
    uint64_t before = table->ticket_keys.revision;
    const Lahar__Link__V1__TicketKeys *said =
        unpack_message(&lahar__link__v1__ticket_keys__descriptor, table->arena, content);
    if (said == NULL || !ticket_keys_take(&table->ticket_keys, said))
        session_count_one(table, EDGE_METRIC_LINK_BAD);
    else if (table->ticket_keys.revision != before)
        log_info("ticket_keys", LOG_UNSIGNED("revision", table->ticket_keys.revision));
}

static void drop_site(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__SiteGone *gone =
        unpack_message(&lahar__link__v1__site_gone__descriptor, table->arena, content);
    if (gone == NULL)
        session_count_one(table, EDGE_METRIC_LINK_BAD);
    else
        sites_remove(table->sites, unpack_span(gone->id), gone->revision);
}

/* --- not the owner ---------------------------------------------------------------------------- */

/* What has no count of hops is sent on only away from the shard that sent it back: each round then
 * needs a newer map. */
static void send_on(struct session_table *table, uint32_t from, uint32_t slot, struct span frame)
{
    uint8_t *at = table->scratch;
    size_t head = 0;
    size_t len = frame.len;
    do {
        at[head++] = (uint8_t)((len & 0x7f) | (len > 0x7f ? 0x80 : 0));
        len >>= 7;
    } while (len > 0);
    memcpy(at + head, frame.at, frame.len);
    uint32_t to = uplink_of(table, slot);
    bool sent = to != from &&
                uplink_forward(table, to, LINK_FREE, span_of(at, head + frame.len)) == LINK_QUEUED;
    session_count_one(table, sent ? EDGE_METRIC_REROUTED : EDGE_METRIC_GIVEN_UP);
}

static void returned(struct session_table *table, uint32_t shard, uint32_t slot, struct span frame)
{
    uint32_t number;
    struct span content;
    if (frame.len > FRAME_LINK_SIZE_MAX || !frame_open(frame, &number, &content, NULL)) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    switch (number) {
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND:
        sending_returned(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND:
        login_bind_returned(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE:
        login_resolve_returned(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND:
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_RECEIVED:
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP:
        send_on(table, shard, slot, frame);
        break;
    default:
        session_count_one(table, EDGE_METRIC_GIVEN_UP);
    }
}

static void not_owner(struct session_table *table, uint32_t shard, struct span content)
{
    const Lahar__Link__V1__NotOwner *said =
        unpack_message(&lahar__link__v1__not_owner__descriptor, table->arena, content);
    if (said == NULL || said->slot >= GID_SLOTS) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    uint32_t owner = route_find(table->routes, unpack_span(said->owner));
    if (said->owner.len > 0 &&
        route_take_slot(table->routes, said->slot, said->map_epoch, owner) == ROUTE_TAKEN)
        announce_recount(table);
    returned(table, shard, said->slot, unpack_span(said->frame));
}

void uplink_frame(struct session_table *table, uint32_t shard, struct span frame)
{
    uint32_t number, ignored = 0;
    struct span content;
    if (!frame_open(frame, &number, &content, &ignored)) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    if (ignored > 0)
        metrics_add(table->metrics, EDGE_METRIC_LINK_UNKNOWN, ignored);
    switch (number) {
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVER:
        deliver_frame(table, shard, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_ANSWER:
        sending_answer(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_NUMBER:
        take_number(table, shard, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_OWNED:
        announce_owned(table, shard, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVED:
        login_resolved(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_BOUND:
        login_bound(table, shard, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND:
        unbind(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_NOT_OWNER:
        not_owner(table, shard, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE:
        take_site(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_GONE:
        drop_site(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_TICKET_KEYS:
        take_ticket_keys(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_MAP:
        take_map(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_SHARE:
        quota_share(table, content);
        break;
    case LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_FOUND:
        login_site_found(table, content);
        break;
    default:
        session_count_one(table, EDGE_METRIC_LINK_UNKNOWN);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

/* Connected but unreachable is the worst state of all: they find an edge that is not cut off. Over
 * a while, so that they do not all arrive there at once. */
static void cut_off(struct session_table *table, uint32_t shard)
{
    uint32_t told = 0;
    for (uint32_t place = 0; place < table->places_used; place++) {
        struct session *s = session_at(table, place);
        if (s->state != SESSION_BOUND || uplink_of(table, s->slot) != shard)
            continue;
        session_depart(table, s, END_CUT_OFF,
                       table->actions.random(table->ctx) % SESSION_CLOSE_AFTER_MS);
        told++;
    }
    if (told > 0)
        log_warn("cut_off", LOG_UNSIGNED("shard", shard), LOG_UNSIGNED("sessions", told));
}

void uplink_tick(struct session_table *table)
{
    for (uint32_t shard = 0; shard <= table->options.shards; shard++) {
        struct uplink *uplink = &table->uplinks[shard];
        if (uplink->announcing) {
            arena_reset(table->arena);
            announce_go_on(table, shard);
        }
        if (uplink->up || uplink->cut ||
            table->now_ms - uplink->away_ms < table->options.cut_off_ms)
            continue;
        uplink->cut = true;
        cut_off(table, shard);
    }
}

/* All shards have said what they own, or enough time was given to those that may not come. */
static bool has_started(const struct session_table *table)
{
    if (table->number == 0)
        return false;
    uint32_t ready = 0;
    for (uint32_t shard = 0; shard < table->options.shards; shard++)
        ready += table->uplinks[shard].owned;
    return ready == table->options.shards ||
           (ready > 0 && table->now_ms - table->up_since_ms >= START_MS);
}

void uplink_second(struct session_table *table)
{
    uint32_t up = 0;
    for (uint32_t shard = 0; shard < table->options.shards; shard++) {
        struct uplink *uplink = &table->uplinks[shard];
        up += uplink->up;
        if (!uplink->up || table->number == 0)
            continue;
        arena_reset(table->arena);
        /* Our hello may have been lost with its batch. */
        if (!uplink->owned)
            say_hello(table, shard);
        else if (!uplink->announcing)
            announce_digest(table, shard);
    }
    if (table->number == 0 && up > 0)
        ask_number(table);
    if (!table->started)
        table->started = has_started(table);
    metrics_set(table->metrics, EDGE_METRIC_SHARDS_UP, up);
}

const char *uplink_not_ready(const struct session_table *table)
{
    if (!any_up(table))
        return "no shard is up";
    if (table->number == 0)
        return "no shard has given this edge its number yet";
    if (!table->started)
        return "not all shards have said yet which slots they own";
    return NULL;
}
