#include "edge/session_table.h"

#include "proto/client.pb-c.h"

#include <stdlib.h>

#define CHUNK (1u << SESSION_CHUNK_SHIFT)
#define ARENA_BYTES_MAX (1024u * 1024u)
#define SCRATCH_BYTES (FRAME_LINK_SIZE_MAX + HOT_OVERHEAD_MAX)
#define HINTS_MAX 16u
/* A heartbeat may be late by this much before it counts as missed. */
#define IDLE_GRACE_MS 5000u

/* --- the table -------------------------------------------------------------------------------- */

static void copy_options(struct session_table *table, const struct session_options *options)
{
    assert(options->conns_max > 0 && options->shards > 0);
    assert(options->sends_in_flight > 0 && options->sends_in_flight <= UINT16_MAX);
    assert(options->sends_burst <= BUCKET_BURST_MAX);
    assert(options->hint_count <= HINTS_MAX);
    table->options = *options;
    table->options.edge_name = strdup(options->edge_name);
    assert(table->options.edge_name != NULL);
    table->options.cluster_name = NULL; /* verify's, not ours */
    table->options.shard_names = NULL;  /* the routes have them */
}

struct session_table *session_table_new(const struct session_options *options,
                                        const struct session_actions *actions, void *ctx,
                                        struct metrics *metrics)
{
    struct session_table *table = calloc(1, sizeof *table);
    assert(table != NULL);
    copy_options(table, options);
    table->actions = *actions;
    table->ctx = ctx;
    table->metrics = metrics;
    table->arena = arena_new(ARENA_BYTES_MAX);
    table->out = arena_new(ARENA_BYTES_MAX);
    table->sites = sites_new();
    table->shares = share_table_new();
    table->recall = recall_new();
    table->waiting_first = table->waiting_last = SESSION_NOWHERE;
    table->chunks = calloc((options->conns_max + CHUNK - 1) / CHUNK, sizeof(struct session *));
    table->uplinks = calloc(options->shards + 1, sizeof *table->uplinks);
    table->scratch = malloc(SCRATCH_BYTES);
    assert(table->chunks != NULL && table->uplinks != NULL && table->scratch != NULL);
    table->routes = route_table_new(options->shard_names, options->shards);
    if (options->limits == NULL)
        table->own_limits = limits_new(&(struct limits_options){0}, metrics);
    table->limits = options->limits == NULL ? table->own_limits : options->limits;
    map_init(&table->by_session);
    pool_init(&table->sendings, sending_block_size(options->sends_in_flight), options->conns_max);
    return table;
}

void session_table_free(struct session_table *table)
{
    if (table == NULL)
        return;
    for (uint32_t place = 0; place < table->places_used; place++)
        login_forget(table, session_at(table, place));
    for (uint32_t i = 0; i < table->chunk_count; i++)
        free(table->chunks[i]);
    free(table->chunks);
    pool_free(&table->sendings);
    limits_free(table->own_limits);
    map_free(&table->by_session);
    route_table_free(table->routes);
    sites_free(table->sites);
    share_table_free(table->shares);
    ticket_keys_forget(&table->ticket_keys);
    recall_free(table->recall);
    arena_free(table->arena);
    arena_free(table->out);
    wheel_free(table->wheel);
    free(table->scratch);
    free(table->uplinks);
    free((char *)(uintptr_t)table->options.edge_name);
    free(table);
}

void session_time(struct session_table *table, uint64_t now_ms, uint64_t wall_ms)
{
    assert(now_ms >= table->now_ms);
    table->wall_ms = wall_ms;
    table->now_ms = now_ms;
    limits_time(table->limits, now_ms);
    if (table->wheel != NULL)
        return;
    table->wheel = wheel_new(now_ms);
    table->second_ms = now_ms + SESSION_SECOND_MS;
    for (uint32_t shard = 0; shard <= table->options.shards; shard++)
        table->uplinks[shard].away_ms = now_ms;
}

struct session_key {
    uint64_t gid, session;
};

static bool same_session(const void *ctx, uint32_t index, const void *key)
{
    const struct session *s = session_at(ctx, index);
    const struct session_key *wanted = key;
    return s->session == wanted->session && s->gid == wanted->gid;
}

struct session *session_find(const struct session_table *table, uint64_t gid, uint64_t session)
{
    struct session_key key = {gid, session};
    uint32_t place =
        map_find(&table->by_session, session_hash(gid, session), same_session, table, &key);
    return place == MAP_NONE ? NULL : session_at(table, place);
}

uint64_t session_req(const struct session *s)
{
    return (uint64_t)s->generation << 32 | s->place;
}

struct session *session_waiting(const struct session_table *table, uint64_t req,
                                enum session_state state)
{
    uint32_t place = (uint32_t)req;
    if (place >= table->places_used)
        return NULL;
    struct session *s = session_at(table, place);
    return s->generation == (uint32_t)(req >> 32) && s->state == state ? s : NULL;
}

uint32_t session_count(const struct session_table *table)
{
    return table->bound;
}

uint32_t session_origin(const struct session_table *table, struct span origin)
{
    if (sites_revision(table->sites) == 0)
        return CONN_ORIGIN_LATER;
    return sites_origin(table->sites, origin);
}

uint32_t session_logging_in(const struct session_table *table)
{
    return table->logging_in;
}

uint64_t session_map_epoch(const struct session_table *table)
{
    return route_map_epoch(table->routes);
}

/* --- what a client is told -------------------------------------------------------------------- */

void session_say(struct session_table *table, const struct session *s,
                 Lahar__V1__ServerFrame *frame)
{
    arena_reset(table->out);
    struct span packed = unpack_frame(table->out, &frame->base);
    assert(packed.len > 0);
    table->actions.send(table->ctx, session_conn(s), packed);
}

static void say_error(struct session_table *table, const struct session *s, enum end_reason reason)
{
    Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    error.reason = reason;
    error.text = unpack_data(span_text(reasons_end_text(reason)));
    if (reason == END_BUSY || reason == END_SITE_FULL)
        error.reconnect_after_ms =
            limits_retry_ms(table->limits, table->actions.random(table->ctx));
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_ERROR;
    frame.error = &error;
    session_say(table, s, &frame);
}

static void say_goaway(struct session_table *table, const struct session *s, enum end_reason reason)
{
    Lahar__V1__Goaway goaway = LAHAR__V1__GOAWAY__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    goaway.reason = reason;
    ProtobufCBinaryData hints[HINTS_MAX];
    for (; goaway.n_hints < table->options.hint_count; goaway.n_hints++)
        hints[goaway.n_hints] = unpack_data(span_text(table->options.hints[goaway.n_hints]));
    goaway.hints = hints;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY;
    frame.goaway = &goaway;
    session_say(table, s, &frame);
}

static void say_pong(struct session_table *table, struct session *s, struct span content)
{
    const Lahar__V1__Ping *ping =
        unpack_message(&lahar__v1__ping__descriptor, table->arena, content);
    if (ping == NULL) {
        session_end(table, s, END_BAD_FRAME, true);
        return;
    }
    Lahar__V1__Pong pong = LAHAR__V1__PONG__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    pong.nonce = ping->nonce;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_PONG;
    frame.pong = &pong;
    session_say(table, s, &frame);
}

static void say_welcome(struct session_table *table, const struct session *s)
{
    Lahar__V1__Limits limits = LAHAR__V1__LIMITS__INIT;
    uint8_t ticket[TICKET_SIZE_MAX];
    Lahar__V1__Welcome welcome = LAHAR__V1__WELCOME__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    limits.frame_bytes = FRAME_BODY_SIZE_MAX;
    limits.body_bytes = FRAME_PAYLOAD_SIZE_MAX;
    limits.sends_in_flight = table->options.sends_in_flight;
    welcome.proto = 1;
    welcome.gid = s->gid;
    welcome.session = s->session;
    welcome.ticket = unpack_data(span_of(ticket, login_ticket(table, s, ticket)));
    welcome.heartbeat_ms = table->options.heartbeat_ms;
    welcome.limits = &limits;
    welcome.edge = unpack_data(span_text(table->options.edge_name));
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_WELCOME;
    frame.welcome = &welcome;
    session_say(table, s, &frame);
}

/* --- beginning and ending --------------------------------------------------------------------- */

void session_deadline(struct session_table *table, struct session *s, uint64_t due_ms)
{
    wheel_set(table->wheel, &s->timer, due_ms);
}

static uint64_t idle_ms(const struct session_table *table)
{
    return (uint64_t)table->options.heartbeat_ms * 2 + IDLE_GRACE_MS;
}

void session_begin(struct session_table *table, struct session *s)
{
    assert(s->state == SESSION_BINDING && s->session != 0);
    session_turns(table, s, SESSION_BOUND);
    struct bucket_rate rate = {table->options.sends_per_s, table->options.sends_burst};
    s->rate = bucket_full(rate, (uint32_t)table->now_ms);
    s->heard_ms = (uint32_t)table->now_ms;
    map_add(&table->by_session, session_hash(s->gid, s->session), s->place);
    table->bound++;
    announce_begun(table, s);
    session_count_one(table, EDGE_METRIC_LOGINS);
    session_deadline(table, s, table->now_ms + idle_ms(table));
    say_welcome(table, s);
}

static void say_unbind(struct session_table *table, const struct session *s, enum end_reason reason)
{
    Lahar__Link__V1__Unbind unbind = LAHAR__LINK__V1__UNBIND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    unbind.gid = s->gid;
    unbind.device = s->device;
    unbind.session = s->session;
    unbind.reason = reason;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND;
    frame.unbind = &unbind;
    /* Away: its shard forgets all our sessions, and this one is not announced to the next. */
    (void)uplink_say(table, uplink_of(table, s->slot), &frame);
}

/* All but the conn: what others know of the session and what is counted for it. */
static void let_go(struct session_table *table, struct session *s)
{
    wheel_cancel(table->wheel, &s->timer);
    login_forget(table, s);
    quota_leave(table, s);
    if (s->state == SESSION_BOUND) {
        sending_forget(table, s);
        deliver_forget(table, s);
        announce_ended(table, s);
        map_remove(&table->by_session, session_hash(s->gid, s->session), s->place);
        table->bound--;
    }
    session_turns(table, s, SESSION_ENDED);
}

void session_end(struct session_table *table, struct session *s, enum end_reason reason, bool error)
{
    assert(s->state != SESSION_FREE && s->state != SESSION_ENDED);
    if (s->state == SESSION_BOUND)
        say_unbind(table, s, reason);
    let_go(table, s);
    if (error)
        say_error(table, s, reason);
    table->actions.close(table->ctx, session_conn(s), reason);
}

void session_end_unbound(struct session_table *table, struct session *s, enum end_reason reason)
{
    assert(s->state == SESSION_BOUND);
    let_go(table, s);
    say_error(table, s, reason);
    table->actions.close(table->ctx, session_conn(s), reason);
}

void session_depart(struct session_table *table, struct session *s, enum end_reason reason,
                    uint64_t wait_ms)
{
    if (s->depart != SESSION_STAYS)
        return;
    s->depart = SESSION_DEPARTS;
    s->ending = (uint8_t)reason;
    session_deadline(table, s, table->now_ms + wait_ms);
}

/* --- from the conn table ---------------------------------------------------------------------- */

static struct session *place_for(struct session_table *table, uint32_t place)
{
    assert(place < table->options.conns_max);
    while (place >> SESSION_CHUNK_SHIFT >= table->chunk_count) {
        struct session *chunk = calloc(CHUNK, sizeof *chunk);
        assert(chunk != NULL);
        table->chunks[table->chunk_count++] = chunk;
    }
    if (place >= table->places_used)
        table->places_used = place + 1;
    return session_at(table, place);
}

void session_opened(struct session_table *table, struct conn_id id, const struct conn_from *from)
{
    assert(table->wheel != NULL && id.generation != 0);
    arena_reset(table->arena);
    struct session *s = place_for(table, id.slot);
    assert(s->state == SESSION_FREE);
    *s = (struct session){.place = id.slot,
                          .generation = id.generation,
                          .origin = from->origin,
                          .address = from->address,
                          .state = SESSION_FRESH,
                          .heard_ms = (uint32_t)table->now_ms,
                          .sendings = POOL_NONE};
    table->opened++;
    uint32_t hello_ms = table->options.hello_ms;
    if (table->leaving)
        session_end(table, s, END_EDGE_LEAVING, true);
    else
        session_deadline(table, s,
                         table->now_ms + hello_ms -
                             (from->waited_ms < hello_ms ? from->waited_ms : hello_ms));
}

static struct session *of_conn(const struct session_table *table, struct conn_id id)
{
    if (id.slot >= table->places_used)
        return NULL;
    struct session *s = session_at(table, id.slot);
    return s->state != SESSION_FREE && s->generation == id.generation ? s : NULL;
}

void session_closed(struct session_table *table, struct conn_id id, enum end_reason reason)
{
    struct session *s = of_conn(table, id);
    assert(s != NULL);
    arena_reset(table->arena);
    if (s->state == SESSION_BOUND)
        say_unbind(table, s, reason);
    let_go(table, s);
    session_turns(table, s, SESSION_FREE);
    table->opened--;
}

enum { FROM_HELLO = 1, FROM_SEND = 2, FROM_RECEIVED = 3, FROM_PING = 4, FROM_BYE = 5 };
static_assert((int)FROM_HELLO == LAHAR__V1__CLIENT_FRAME__FRAME_HELLO &&
                  (int)FROM_SEND == LAHAR__V1__CLIENT_FRAME__FRAME_SEND &&
                  (int)FROM_RECEIVED == LAHAR__V1__CLIENT_FRAME__FRAME_RECEIVED &&
                  (int)FROM_PING == LAHAR__V1__CLIENT_FRAME__FRAME_PING &&
                  (int)FROM_BYE == LAHAR__V1__CLIENT_FRAME__FRAME_BYE,
              "as in client.proto");

static void client_says(struct session_table *table, struct session *s, uint32_t number,
                        struct span content)
{
    bool bound = s->state == SESSION_BOUND;
    if (number == FROM_SEND && bound) {
        sending_send(table, s, content);
    } else if (number == FROM_RECEIVED && bound) {
        deliver_received(table, s, content);
    } else if (number == FROM_PING && bound) {
        say_pong(table, s, content);
    } else if (number == FROM_HELLO && s->state == SESSION_FRESH) {
        login_hello(table, s, content);
    } else if (number == FROM_BYE) {
        session_end(table, s, END_BYE, false);
    } else if (number >= FROM_HELLO && number <= FROM_BYE) {
        session_end(table, s, END_BAD_SEQUENCE, true);
    } else {
        session_count_one(table, EDGE_METRIC_FRAMES_UNKNOWN);
    }
}

size_t session_bytes(struct session_table *table, struct conn_id id, struct span bytes)
{
    struct session *s = of_conn(table, id);
    if (s == NULL || s->state == SESSION_ENDED)
        return bytes.len;
    s->heard_ms = (uint32_t)table->now_ms;
    struct span input = bytes;
    while (s->state != SESSION_ENDED) {
        size_t size_max = s->state == SESSION_BOUND ? FRAME_BODY_SIZE_MAX : FRAME_HELLO_SIZE_MAX;
        struct span body, content;
        uint32_t number, ignored = 0;
        enum frame_status status = frame_take(&input, size_max, &body);
        if (status == FRAME_PARTIAL)
            return bytes.len - input.len;
        arena_reset(table->arena);
        if (status == FRAME_INVALID && s->state != SESSION_BOUND)
            limits_refused(table->limits, LIMIT_HELLO_BYTES);
        if (status == FRAME_INVALID || !frame_open(body, &number, &content, &ignored)) {
            session_end(table, s, END_BAD_FRAME, true);
            break;
        }
        if (ignored > 0)
            metrics_add(table->metrics, EDGE_METRIC_FRAMES_UNKNOWN, ignored);
        client_says(table, s, number, content);
    }
    return bytes.len;
}

/* --- from the link ---------------------------------------------------------------------------- */

void session_link_up(struct session_table *table, uint32_t shard)
{
    assert(shard < table->options.shards && table->wheel != NULL);
    arena_reset(table->arena);
    uplink_up(table, shard);
}

void session_link_frame(struct session_table *table, uint32_t shard, struct span frame)
{
    assert(shard < table->options.shards);
    arena_reset(table->arena);
    uplink_frame(table, shard, frame);
}

void session_link_down(struct session_table *table, uint32_t shard)
{
    assert(shard < table->options.shards);
    arena_reset(table->arena);
    uplink_down(table, shard);
}

const char *session_not_ready(const struct session_table *table)
{
    return table->leaving ? "this edge is leaving" : uplink_not_ready(table);
}

/* --- time ------------------------------------------------------------------------------------- */

static void deadline(struct session_table *table, struct session *s)
{
    if (s->depart == SESSION_DEPARTS) {
        s->depart = SESSION_TOLD;
        say_goaway(table, s, (enum end_reason)s->ending);
        session_deadline(table, s, table->now_ms + SESSION_CLOSE_AFTER_MS);
    } else if (s->depart == SESSION_TOLD) {
        session_end(table, s, (enum end_reason)s->ending, false);
    } else if (s->state == SESSION_BOUND) {
        uint32_t silent_ms = (uint32_t)table->now_ms - s->heard_ms;
        if (silent_ms < idle_ms(table))
            session_deadline(table, s, table->now_ms + idle_ms(table) - silent_ms);
        else
            session_end(table, s, END_IDLE, true);
    } else if (s->state == SESSION_FRESH) {
        limits_refused(table->limits, LIMIT_HELLO_MS);
        session_end(table, s, END_HELLO_TIMEOUT, true);
    } else {
        session_count_one(table, EDGE_METRIC_LOGINS_LATE);
        session_end(table, s, END_BUSY, true);
    }
}

static void show_limit(struct session_table *table, enum limit limit, uint64_t now, uint64_t max)
{
    metrics_set(table->metrics, EDGE_METRIC_LIMIT_NOW(limit), now);
    metrics_set(table->metrics, EDGE_METRIC_LIMIT(limit), max);
}

static void show_limits(struct session_table *table, uint32_t in_flight, uint32_t fresh)
{
    const struct session_options *options = &table->options;
    struct metrics *metrics = table->metrics;
    show_limit(table, LIMIT_SENDS_IN_FLIGHT, in_flight, options->sends_in_flight);
    show_limit(table, LIMIT_HELLO_MS, fresh, options->hello_ms);
    show_limit(table, LIMIT_HELLO_BYTES, fresh, FRAME_HELLO_SIZE_MAX);
    show_limit(table, LIMIT_LOGIN_MS, table->logging_in, options->login_ms);
    show_limit(table, LIMIT_LOGINS_WAITING, table->logging_in, options->logins_waiting);
    metrics_set(metrics, EDGE_METRIC_LIMIT(LIMIT_SENDS), options->sends_per_s);
    metrics_set(metrics, EDGE_METRIC_LIMIT_REJECTED(LIMIT_LOGIN_MS),
                metrics_get(metrics, EDGE_METRIC_LOGINS_LATE));
}

/* In flight is counted here, by walking, so that a lost count elsewhere would show. */
static void set_gauges(struct session_table *table)
{
    uint64_t sends = 0, deliveries = 0;
    uint32_t logging_in = 0, fresh = 0, most_in_flight = 0, most_sent = 0;
    struct bucket_rate rate = {table->options.sends_per_s, table->options.sends_burst};
    for (uint32_t place = 0; place < table->places_used; place++) {
        const struct session *s = session_at(table, place);
        logging_in += session_logs_in(s);
        fresh += s->state == SESSION_FRESH;
        if (s->state != SESSION_BOUND)
            continue;
        most_in_flight = s->in_flight > most_in_flight ? s->in_flight : most_in_flight;
        uint32_t sent = bucket_used(s->rate, rate, (uint32_t)table->now_ms);
        most_sent = sent > most_sent ? sent : most_sent;
        sends += s->in_flight;
        deliveries += s->dseq_let - s->dseq_acked;
    }
    assert(logging_in == table->logging_in);
    show_limits(table, most_in_flight, fresh);
    metrics_set(table->metrics, EDGE_METRIC_LIMIT_NOW(LIMIT_SENDS), most_sent);
    metrics_set(table->metrics, EDGE_METRIC_SENDS_IN_FLIGHT, sends);
    metrics_set(table->metrics, EDGE_METRIC_DELIVERIES_IN_FLIGHT, deliveries);
    metrics_set(table->metrics, EDGE_METRIC_SESSIONS, table->bound);
    metrics_set(table->metrics, EDGE_METRIC_SITES, sites_revision(table->sites));
}

bool session_turn_end(struct session_table *table)
{
    if (table->waiting_first != SESSION_NOWHERE)
        login_go_on(table);
    quota_turn(table);
    return table->waiting_first == SESSION_NOWHERE;
}

void session_tick(struct session_table *table)
{
    assert(table->wheel != NULL);
    for (;;) {
        struct wheel_timer *timer = wheel_expire(table->wheel, table->now_ms);
        if (timer == NULL)
            break;
        static_assert(offsetof(struct session, timer) == 0, "a session is its timer");
        arena_reset(table->arena);
        deadline(table, (struct session *)(void *)timer);
    }
    uplink_tick(table);
    recall_tick(table);
    if (table->now_ms >= table->second_ms) {
        table->second_ms = table->now_ms + SESSION_SECOND_MS;
        uplink_second(table);
        quota_second(table);
        set_gauges(table);
    }
}

static uint64_t drain_ms(const struct session_table *table)
{
    uint32_t per_s = table->options.drain_per_s;
    uint64_t ms = per_s == 0 ? 0 : (uint64_t)table->bound * 1000 / per_s;
    return ms < table->options.drain_ms ? ms : table->options.drain_ms;
}

void session_leave(struct session_table *table)
{
    if (table->leaving)
        return;
    table->leaving = true;
    uint64_t spread = drain_ms(table) + 1;
    for (uint32_t place = 0; place < table->places_used; place++) {
        struct session *s = session_at(table, place);
        arena_reset(table->arena);
        if (s->state == SESSION_BOUND) {
            session_depart(table, s, END_EDGE_LEAVING, table->actions.random(table->ctx) % spread);
        } else if (s->state != SESSION_FREE && s->state != SESSION_ENDED) {
            session_end(table, s, END_EDGE_LEAVING, true);
        }
    }
}

bool session_left(const struct session_table *table)
{
    return table->leaving && table->opened == 0;
}
