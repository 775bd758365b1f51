#include "client/core.h"

#include "base/arena.h"
#include "base/left_out.h"
#include "client/backoff.h"
#include "client/outbox.h"
#include "client/seen.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/gid.h"
#include "proto/hot.h"
#include "proto/unpack.h"

#include <stdlib.h>

#define TOKEN_SIZE_MAX 2048u
#define TICKET_SIZE_MAX 256u /* today's have at most 128 */
#define STEADY_MS 10000u /* a connection that lasted so long was a good one: jitter begins anew */
#define UNPACK_SIZE_MAX (256u * 1024u)

/* So long a login of ours that was not answered may still be on its way, be bound after the one
 * that followed it, and replace that. */
#define LOST_LOGIN_MS 15000u

enum phase { WAITING, CONNECTING, LOGIN, ONLINE, AWAY };

struct core {
    struct core_options options;
    struct core_actions actions;
    void *ctx;
    char *device, *client;
    struct outbox *outbox;
    struct seen seen;
    enum phase phase;
    uint32_t life;     /* counts connections: a callback may have ended the one we were in */
    uint32_t attempts; /* since the last good connection */
    uint64_t phase_ms; /* when this phase began */
    uint64_t due_ms;   /* WAITING: connect; CONNECTING, LOGIN: give up; ONLINE: next heartbeat */
    uint64_t after_ms; /* the server asked us to stay away for so long */
    uint64_t spoke_ms, heard_ms;
    bool awaiting_pong;
    uint64_t lost_login_ms; /* until when REPLACED may be our own doing; 0: it is not */
    enum lahar_state state_told;
    uint64_t gid, session;
    uint64_t dseq, dseq_told; /* handed out, and acknowledged */
    uint64_t now_ms; /* of the event being handled, for what the application calls from callbacks */
    uint32_t heartbeat_ms;
    uint32_t end_reason; /* told by the server for this connection, or 0 */
    const char *why, *why_text;
    char edge[65];
    size_t ticket_len; /* 0: none */
    uint8_t ticket[TICKET_SIZE_MAX];
};

/* ---- states ---- */

static void tell_state(struct core *core)
{
    if (core->state_told == core_state(core))
        return;
    core->state_told = core_state(core);
    core->actions.on_state(core->ctx, core->state_told);
}

/* A value below `limit`, or 0. */
static uint64_t below(struct core *core, uint64_t limit)
{
    return limit ? core->actions.random(core->ctx) % limit : 0;
}

/* The last thing that its caller does: the application may do something from on_state. */
static void enter(struct core *core, enum phase phase, uint64_t due_ms)
{
    core->phase = phase;
    core->phase_ms = core->now_ms;
    core->due_ms = due_ms;
    tell_state(core);
}

static void wait_for_next_try(struct core *core)
{
    struct backoff backoff = {core->options.reconnect_min_ms, core->options.reconnect_max_ms};
    uint64_t wait_ms =
        backoff_ms(backoff, core->attempts, core->after_ms, core->actions.random(core->ctx));
    if (core->attempts < 32)
        core->attempts++;
    enter(core, WAITING, core->now_ms + wait_ms);
}

/* Another one has logged in with our name, or a login of our own that we had given up; which, shows
 * when we come back: once. */
static bool replaced_by_ourselves(struct core *core)
{
    bool ours = core->end_reason == END_REPLACED && core->now_ms < core->lost_login_ms;
    core->lost_login_ms = ours ? 0 : core->lost_login_ms;
    return ours;
}

static void keep_ticket(struct core *core, struct span ticket)
{
    if (ticket.len > sizeof core->ticket)
        ticket.len = 0; /* it is not of a kind that we know */
    if (ticket.len == 0 && core->ticket_len == 0)
        return;
    core->ticket_len = ticket.len;
    if (ticket.len > 0)
        memcpy(core->ticket, ticket.at, ticket.len);
    if (core->actions.on_ticket != NULL)
        core->actions.on_ticket(core->ctx, ticket);
}

/* Whatever does not say that we may come back as we are says that the ticket is worth nothing. To
 * show a token instead is not another try at the same. */
static void judge_ticket(struct core *core)
{
    if (core->end_reason == 0 || reasons_end_next(core->end_reason) == END_NEXT_BACK)
        return;
    if (core->ticket_len > 0 && core->end_reason == END_TOKEN_REQUIRED)
        core->attempts = 0;
    keep_ticket(core, (struct span){0});
}

/* The connection is over; what follows depends on what the server said of it. */
static void ended(struct core *core, const char *why, const char *why_text)
{
    if (core->phase == AWAY || core->phase == WAITING)
        return;
    if (core->phase == ONLINE && core->now_ms - core->phase_ms >= STEADY_MS)
        core->attempts = 0;
    if (core->phase == LOGIN)
        core->lost_login_ms = core->now_ms + LOST_LOGIN_MS;
    core->life++;
    core->session = 0;
    outbox_close(core->outbox);
    core->why = why;
    core->why_text = why_text;
    if (core->end_reason) {
        core->why = reasons_end_label(core->end_reason);
        core->why_text = reasons_end_text(core->end_reason);
    }
    judge_ticket(core);
    bool away = core->end_reason && reasons_end_next(core->end_reason) == END_NEXT_AWAY;
    if (away && !replaced_by_ourselves(core))
        enter(core, AWAY, UINT64_MAX);
    else
        wait_for_next_try(core);
}

static void send_bytes(struct core *core, struct span bytes)
{
    core->spoke_ms = core->now_ms;
    core->actions.send(core->ctx, bytes);
}

/* What was handed out must not come again because the connection ends. */
static void acknowledge(struct core *core)
{
    if (core->phase != ONLINE || core->dseq == core->dseq_told)
        return;
    uint8_t received[HOT_OVERHEAD_MAX];
    size_t len = hot_received_write(received, &(struct hot_received){.dseq = core->dseq});
    core->dseq_told = core->dseq;
    send_bytes(core, span_of(received, len));
}

static void give_up(struct core *core, const char *why, const char *why_text)
{
    acknowledge(core);
    core->actions.disconnect(core->ctx);
    ended(core, why, why_text);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send_frame(struct core *core, const Lahar__V1__ClientFrame *frame)
{
    uint8_t bytes[FRAME_HELLO_SIZE_MAX + FRAME_HEAD_SIZE_MAX];
    struct arena *arena = arena_new(sizeof bytes * 2);
    struct span packed = unpack_frame(arena, &frame->base);
    assert(packed.len > 0);
    send_bytes(core, packed);
    arena_free(arena);
}

static void send_hello(struct core *core)
{
    char token[TOKEN_SIZE_MAX];
    bool by_ticket = core->ticket_len > 0;
    size_t len = by_ticket ? 0 : core->actions.token(core->ctx, token, sizeof token);
    if (!by_ticket && (len == 0 || len > sizeof token)) {
        core->actions.disconnect(core->ctx);
        core->why = "no_token";
        core->why_text = "the application has no token to log in with";
        enter(core, AWAY, UINT64_MAX);
        return;
    }
    Lahar__V1__Hello hello = LAHAR__V1__HELLO__INIT;
    hello.proto = 1;
    hello.client = unpack_data(span_text(core->client));
    hello.token = unpack_data(span_of(token, len));
    Lahar__V1__Resume resume = LAHAR__V1__RESUME__INIT;
    resume.ticket = unpack_data(span_of(core->ticket, core->ticket_len));
    hello.resume = by_ticket ? &resume : NULL;
    hello.device = unpack_data(span_text(core->device));
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_HELLO;
    frame.hello = &hello;
    send_frame(core, &frame);
}

static void send_ping(struct core *core)
{
    Lahar__V1__Ping ping = LAHAR__V1__PING__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_PING;
    frame.ping = &ping;
    send_frame(core, &frame);
}

static void transmit(void *ctx, const struct hot_send *send)
{
    struct core *core = ctx;
    uint8_t small[1024];
    size_t room = HOT_OVERHEAD_MAX + send->body.len;
    uint8_t *bytes = room <= sizeof small ? small : malloc(room);
    assert(bytes);
    size_t len = hot_send_write(bytes, send);
    send_bytes(core, span_of(bytes, len));
    if (bytes != small)
        free(bytes);
}

static bool has_room(void *ctx)
{
    const struct core *core = ctx;
    return core->actions.has_room(core->ctx);
}

static void tell_outcome(void *ctx, const struct lahar_result_of_send *result)
{
    struct core *core = ctx;
    core->actions.on_outcome(core->ctx, result);
}

/* ---- hearing ---- */

static bool on_welcome(struct core *core, const Lahar__V1__Welcome *welcome)
{
    if (core->phase != LOGIN || welcome->proto != 1 || !gid_valid(welcome->gid))
        return false;
    core->gid = welcome->gid;
    core->session = welcome->session;
    core->dseq = core->dseq_told = 0;
    core->heartbeat_ms = welcome->heartbeat_ms >= 100 ? welcome->heartbeat_ms : 30000;
    size_t len = welcome->edge.len < sizeof core->edge ? welcome->edge.len : sizeof core->edge - 1;
    if (len)
        memcpy(core->edge, welcome->edge.data, len);
    core->edge[len] = 0;
    keep_ticket(core, unpack_span(welcome->ticket));
    outbox_open(core->outbox, core->now_ms);
    /* The first heartbeat at a random part of it: those who log in together would beat together. */
    enter(core, ONLINE, core->now_ms + 1 + below(core, core->heartbeat_ms));
    return true;
}

static bool on_deliver(struct core *core, struct span content)
{
    struct hot_deliver deliver;
    if (core->phase != ONLINE || !hot_deliver_read(content, &deliver) ||
        deliver.class >= HOT_CLASSES)
        return false;
    if (deliver.dseq) {
        if (deliver.dseq <= core->dseq)
            return true;
        /* Received is cumulative: it would acknowledge what never came. */
        if (deliver.dseq > core->dseq + 1 && !LEFT_OUT(DSEQ))
            return false;
        core->dseq = deliver.dseq;
        if (deliver.mid.len == 0)
            return true; /* an empty delivery: only its number counts */
        if (seen_before(&core->seen, deliver.mid.at))
            return true;
    }
    struct lahar_message message = {
        .from = deliver.from,
        .group = deliver.group,
        .message_class = (enum lahar_class)deliver.class,
        .sent_at_ms = deliver.sent_at,
        .body = deliver.body.at,
        .body_size = deliver.body.len,
    };
    if (deliver.dseq) {
        memcpy(message.id, deliver.mid.at, GID_MID_SIZE);
        seen_add(&core->seen, deliver.mid.at);
    }
    core->actions.on_message(core->ctx, &message);
    return true;
}

/* Goaway and Error: the reason is kept for when the connection has ended, which is now. */
static bool on_farewell(struct core *core, uint32_t reason, uint32_t after_ms)
{
    core->end_reason = reason;
    core->after_ms =
        after_ms < core->options.reconnect_max_ms ? after_ms : core->options.reconnect_max_ms;
    give_up(core, "ended", "the server ended the connection");
    return true;
}

static bool on_rare(struct core *core, const Lahar__V1__ServerFrame *frame)
{
    switch (frame->frame_case) {
    case LAHAR__V1__SERVER_FRAME__FRAME_WELCOME:
        return on_welcome(core, frame->welcome);
    case LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY:
        for (size_t i = 0; i < frame->goaway->n_hints && core->actions.hint != NULL; i++)
            core->actions.hint(core->ctx, unpack_span(frame->goaway->hints[i]));
        return on_farewell(core, frame->goaway->reason, frame->goaway->reconnect_after_ms);
    case LAHAR__V1__SERVER_FRAME__FRAME_ERROR:
        return on_farewell(core, frame->error->reason, frame->error->reconnect_after_ms);
    default:
        return true; /* Pong has done its work by being heard; what is unknown is ignored */
    }
}

static bool on_frame(struct core *core, struct span body)
{
    uint32_t number;
    struct span content;
    if (!frame_open(body, &number, &content, NULL))
        return false;
    struct hot_ack ack;
    struct hot_nack nack;
    switch (number) {
    case LAHAR__V1__SERVER_FRAME__FRAME_DELIVER:
        return on_deliver(core, content);
    case LAHAR__V1__SERVER_FRAME__FRAME_SEND_ACK:
        if (core->phase != ONLINE || !hot_ack_read(content, &ack))
            return false;
        outbox_ack(core->outbox, &ack);
        return true;
    case LAHAR__V1__SERVER_FRAME__FRAME_SEND_NACK:
        if (core->phase != ONLINE || !hot_nack_read(content, &nack))
            return false;
        outbox_nack(core->outbox, &nack, core->now_ms);
        return true;
    default: {
        struct arena *arena = arena_new(UNPACK_SIZE_MAX);
        const Lahar__V1__ServerFrame *frame =
            unpack_message(&lahar__v1__server_frame__descriptor, arena, body);
        bool fine = frame && on_rare(core, frame);
        arena_free(arena);
        return fine;
    }
    }
}

size_t core_bytes(struct core *core, struct span bytes, uint64_t now_ms)
{
    core->now_ms = core->heard_ms = now_ms;
    if (core->phase != LOGIN && core->phase != ONLINE)
        return bytes.len;
    core->awaiting_pong = false;
    uint32_t life = core->life;
    struct span rest = bytes, body;
    enum frame_status status;
    while ((status = frame_take(&rest, FRAME_BODY_SIZE_MAX, &body)) == FRAME_READY) {
        bool fine = on_frame(core, body);
        if (life != core->life)
            return bytes.len;
        if (!fine) {
            status = FRAME_INVALID;
            break;
        }
    }
    if (status == FRAME_INVALID) {
        give_up(core, "bad_frame", "the server sent what cannot be read");
        return bytes.len;
    }
    acknowledge(core);
    outbox_pump(core->outbox, now_ms);
    return bytes.len - rest.len;
}

/* ---- events ---- */

struct core *core_new(const struct core_options *options, const struct core_actions *actions,
                      void *ctx, uint64_t now_ms)
{
    struct core *core = calloc(1, sizeof *core);
    if (!core)
        return NULL;
    core->options = *options;
    core->actions = *actions;
    core->ctx = ctx;
    core->device = strdup(options->device);
    core->client = strdup(options->client ? options->client : "");
    seen_init(&core->seen);
    core->why = core->why_text = "";
    core->ticket_len = options->ticket.len <= sizeof core->ticket ? options->ticket.len : 0;
    if (core->ticket_len > 0)
        memcpy(core->ticket, options->ticket.at, core->ticket_len);
    core->outbox = outbox_new(
        &(struct outbox_options){.sends_max = options->sends_max,
                                 .retry_ms = options->retry_ms,
                                 .timeout_ms = options->send_timeout_ms},
        &(struct outbox_actions){.transmit = transmit, .has_room = has_room, .ended = tell_outcome},
        core);
    core->phase = WAITING;
    core->now_ms = core->due_ms = now_ms;
    if (core->device && core->client && core->outbox)
        return core;
    core_free(core);
    return NULL;
}

void core_free(struct core *core)
{
    if (!core)
        return;
    outbox_free(core->outbox);
    seen_free(&core->seen);
    free(core->device);
    free(core->client);
    free(core);
}

void core_opened(struct core *core, uint64_t now_ms)
{
    core->now_ms = now_ms;
    if (core->phase != CONNECTING)
        return;
    enter(core, LOGIN, core->due_ms); /* one time limit for connection and login together */
    send_hello(core);
}

void core_lost(struct core *core, const char *why, const char *why_text, uint64_t now_ms)
{
    core->now_ms = now_ms;
    ended(core, why, why_text);
}

static void heartbeat(struct core *core, uint64_t now_ms)
{
    if (core->awaiting_pong) {
        give_up(core, "no_answer", "the server did not answer a heartbeat");
        return;
    }
    core->due_ms = now_ms + core->heartbeat_ms;
    if (now_ms - core->spoke_ms < core->heartbeat_ms / 2 &&
        now_ms - core->heard_ms < core->heartbeat_ms / 2)
        return;
    core->awaiting_pong = true;
    send_ping(core);
}

void core_tick(struct core *core, uint64_t now_ms)
{
    core->now_ms = now_ms;
    tell_state(core);
    if (core->due_ms <= now_ms) {
        if (core->phase == WAITING) {
            core->end_reason = 0;
            core->after_ms = 0;
            enter(core, CONNECTING, now_ms + core->options.connect_timeout_ms);
            core->actions.connect(core->ctx);
        } else if (core->phase == ONLINE) {
            heartbeat(core, now_ms);
        } else if (core->phase != AWAY) {
            give_up(core, "timeout", "connecting and logging in took too long");
        }
    }
    outbox_tick(core->outbox, now_ms);
}

uint64_t core_due_ms(const struct core *core)
{
    uint64_t due = outbox_due_ms(core->outbox);
    return core->due_ms < due ? core->due_ms : due;
}

enum lahar_result core_send(struct core *core, lahar_gid to, enum lahar_class message_class,
                            struct span body, uint8_t id[LAHAR_ID_SIZE], uint64_t now_ms)
{
    static const uint8_t zero[LAHAR_ID_SIZE];
    uint8_t made[LAHAR_ID_SIZE] = {0};
    core->now_ms = now_ms;
    if (!gid_valid(to) || body.len > FRAME_PAYLOAD_SIZE_MAX || message_class > LAHAR_EPHEMERAL)
        return LAHAR_INVALID;
    if (core->phase == AWAY)
        return LAHAR_ENDED;
    if (message_class == LAHAR_EPHEMERAL) {
        if (core->phase == ONLINE && !has_room(core))
            return LAHAR_FULL;
        if (core->phase == ONLINE)
            transmit(core, &(struct hot_send){.to = to, .class = HOT_EPHEMERAL, .body = body});
        return LAHAR_OK;
    }
    uint8_t *use = id ? id : made;
    if (memcmp(use, zero, LAHAR_ID_SIZE) == 0) {
        const uint64_t half[2] = {core->actions.random(core->ctx), core->actions.random(core->ctx)};
        memcpy(use, half, sizeof half);
    }
    enum lahar_result result = outbox_add(core->outbox, to, message_class, body, use, now_ms);
    if (result == LAHAR_OK)
        outbox_pump(core->outbox, now_ms);
    return result;
}

uint64_t core_retry_due_ms(const struct core *core)
{
    return core->phase == WAITING ? core->due_ms : UINT64_MAX;
}

void core_reconnect(struct core *core, uint64_t now_ms)
{
    core->now_ms = now_ms;
    if (core->phase != AWAY && core->phase != WAITING)
        return;
    core->attempts = 0;
    core->phase = WAITING; /* on_state hears of it from core_tick */
    core->phase_ms = core->due_ms = now_ms;
}

void core_bye(struct core *core)
{
    if (core->phase != ONLINE)
        return;
    Lahar__V1__Bye bye = LAHAR__V1__BYE__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_BYE;
    frame.bye = &bye;
    send_frame(core, &frame);
}

size_t core_waiting(const struct core *core)
{
    return outbox_waiting(core->outbox);
}

enum lahar_state core_state(const struct core *core)
{
    return core->phase == ONLINE ? LAHAR_ONLINE
           : core->phase == AWAY ? LAHAR_AWAY
                                 : LAHAR_CONNECTING;
}

const char *core_why(const struct core *core)
{
    return core->why;
}

const char *core_why_text(const struct core *core)
{
    return core->why_text;
}

lahar_gid core_self(const struct core *core)
{
    return core->gid;
}

const char *core_edge(const struct core *core)
{
    return core->phase == ONLINE ? core->edge : "";
}

uint64_t core_session(const struct core *core)
{
    return core->session;
}
