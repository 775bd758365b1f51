/* A core without a network: what it says and tells is kept, and the test says what the server says.
 */
#ifndef TESTS_CORE_WORLD_H
#define TESTS_CORE_WORLD_H

#include "base/arena.h"
#include "client/core.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/hot.h"
#include "proto/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SELF 10001u
#define PEER 10002u
#define HEARTBEAT_MS 30000u
#define HEARD_MAX 256u
#define STATES_MAX 256u
#define KIND(name) LAHAR__V1__CLIENT_FRAME__FRAME_##name

struct world {
    struct core *core;
    struct arena *arena;
    uint64_t now;
    uint64_t random; /* what the next call gives; then it grows */
    uint32_t connects, disconnects, tokens;
    bool no_room, no_token;
    const char *gives_ticket, *begins_with_ticket; /* NULL: none */
    char ticket[300];                              /* as told last */
    uint32_t tickets_told;
    char hints[100]; /* each with a blank behind it */
    /* What the server heard of this connection. */
    uint8_t bytes[1u << 20];
    size_t bytes_len;
    /* What the application was told. */
    enum lahar_state states[STATES_MAX];
    uint32_t states_count;
    char messages[HEARD_MAX][16];
    uint8_t message_ids[HEARD_MAX];
    uint32_t messages_count;
    struct lahar_result_of_send outcomes[HEARD_MAX];
    uint32_t outcomes_count;
    bool reconnect_when_away, send_on_message, send_on_outcome, send_on_online;
    size_t bytes_len_in_callback;
};

static inline void do_hint(void *ctx, struct span server)
{
    struct world *world = ctx;
    size_t len = strlen(world->hints);
    assert_int_equal(world->disconnects, 0);
    snprintf(world->hints + len, sizeof world->hints - len, "%.*s ", (int)server.len,
             (const char *)server.at);
}

static inline void do_connect(void *ctx)
{
    struct world *world = ctx;
    world->connects++;
}

static inline void do_disconnect(void *ctx)
{
    struct world *world = ctx;
    world->disconnects++;
}

static inline void do_send(void *ctx, struct span bytes)
{
    struct world *world = ctx;
    assert_true(world->bytes_len + bytes.len <= sizeof world->bytes);
    memcpy(world->bytes + world->bytes_len, bytes.at, bytes.len);
    world->bytes_len += bytes.len;
}

static inline bool has_room(void *ctx)
{
    const struct world *world = ctx;
    return !world->no_room;
}

static inline size_t give_token(void *ctx, char *out, size_t room)
{
    struct world *world = ctx;
    assert_true(room >= 2048);
    if (world->no_token)
        return 0;
    return (size_t)snprintf(out, room, "token %u", ++world->tokens);
}

static inline uint64_t next_random(void *ctx)
{
    struct world *world = ctx;
    return world->random++;
}

static inline enum lahar_result try_send(struct world *world, uint64_t to, enum lahar_class class,
                                         struct span body, uint8_t *id)
{
    return core_send(world->core, to, class, body, id, world->now);
}

static inline void lose(struct world *world)
{
    world->now += 3; /* an event may come between ticks */
    core_lost(world->core, "closed", "the server closed the connection", world->now);
}

static inline void send_text(struct world *world, enum lahar_class class, const char *text)
{
    assert_int_equal(try_send(world, PEER, class, span_text(text), NULL), LAHAR_OK);
}

static inline void on_state(void *ctx, enum lahar_state state)
{
    struct world *world = ctx;
    assert_int_equal(state, core_state(world->core));
    assert_true(world->states_count < STATES_MAX);
    world->states[world->states_count++] = state;
    if (state == LAHAR_AWAY && world->reconnect_when_away)
        core_reconnect(world->core, world->now);
    if (state == LAHAR_ONLINE && world->send_on_online)
        send_text(world, LAHAR_EPHEMERAL, "here");
}

static inline void on_message(void *ctx, const struct lahar_message *message)
{
    struct world *world = ctx;
    world->bytes_len_in_callback = world->bytes_len;
    snprintf(world->messages[world->messages_count], sizeof world->messages[0], "%.*s",
             (int)message->body_size, (const char *)message->body);
    world->message_ids[world->messages_count++] = message->id[0];
    if (world->send_on_message)
        send_text(world, LAHAR_CONFIRMED, "reply");
}

static inline void on_outcome(void *ctx, const struct lahar_result_of_send *result)
{
    struct world *world = ctx;
    world->outcomes[world->outcomes_count++] = *result;
    if (world->send_on_outcome) {
        world->send_on_outcome = false;
        send_text(world, LAHAR_CONFIRMED, "next");
    }
}

static inline void on_ticket(void *ctx, struct span ticket)
{
    struct world *world = ctx;
    assert_true(ticket.len < sizeof world->ticket);
    snprintf(world->ticket, sizeof world->ticket, "%.*s", (int)ticket.len, (const char *)ticket.at);
    world->tickets_told++;
}

static inline struct core *make_core(struct world *world)
{
    const struct core_options options = {
        .device = "desk",
        .client = "test 1",
        .ticket = span_text(world->begins_with_ticket ? world->begins_with_ticket : ""),
        .sends_max = 100,
        .send_timeout_ms = 30000,
        .connect_timeout_ms = 10000,
        .reconnect_min_ms = 1000,
        .reconnect_max_ms = 60000,
        .retry_ms = 2000,
    };
    const struct core_actions actions = {
        .connect = do_connect,
        .disconnect = do_disconnect,
        .hint = do_hint,
        .send = do_send,
        .has_room = has_room,
        .token = give_token,
        .random = next_random,
        .on_state = on_state,
        .on_message = on_message,
        .on_outcome = on_outcome,
        .on_ticket = on_ticket,
    };
    struct core *core = core_new(&options, &actions, world, world->now);
    assert_non_null(core);
    return core;
}

static inline int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->arena = arena_new(1u << 20);
    world->now = 100000;
    world->core = make_core(world);
    *state = world;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    core_free(world->core);
    arena_free(world->arena);
    free(world);
    return 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* Takes the next frame that the server heard; its number, or 0. */
static inline uint32_t hear(struct world *world, struct span *content)
{
    static uint8_t kept[FRAME_LINK_SIZE_MAX];
    struct span input = span_of(world->bytes, world->bytes_len), body;
    uint32_t number = 0;
    if (world->bytes_len == 0)
        return 0;
    assert_int_equal(frame_take(&input, FRAME_BODY_SIZE_MAX, &body), FRAME_READY);
    assert_true(frame_open(body, &number, content, NULL));
    memcpy(kept, content->at, content->len);
    *content = span_of(kept, content->len);
    memmove(world->bytes, input.at, input.len);
    world->bytes_len = input.len;
    return number;
}

static inline void assert_heard_nothing(struct world *world)
{
    assert_int_equal(world->bytes_len, 0);
}

static inline struct hot_send hear_send(struct world *world)
{
    struct span content;
    struct hot_send send;
    assert_int_equal(hear(world, &content), KIND(SEND));
    assert_true(hot_send_read(content, &send));
    return send;
}

static inline void assert_hears_received(struct world *world, uint64_t dseq)
{
    struct span content;
    struct hot_received received;
    assert_int_equal(hear(world, &content), KIND(RECEIVED));
    assert_true(hot_received_read(content, &received));
    assert_int_equal(received.dseq, dseq);
}

static inline void say_bytes(struct world *world, struct span bytes)
{
    assert_int_equal(core_bytes(world->core, bytes, world->now), bytes.len);
}

static inline void say_frame(struct world *world, const Lahar__V1__ServerFrame *frame)
{
    struct span bytes = unpack_frame(world->arena, &frame->base);
    assert_true(bytes.len > 0);
    say_bytes(world, bytes);
    arena_reset(world->arena);
}

static inline void say_welcome_of(struct world *world, uint32_t proto, uint64_t session)
{
    Lahar__V1__Welcome welcome = LAHAR__V1__WELCOME__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    welcome.proto = proto;
    welcome.gid = SELF;
    welcome.session = session;
    welcome.heartbeat_ms = HEARTBEAT_MS;
    welcome.edge = unpack_data(span_text("e1/0"));
    if (world->gives_ticket)
        welcome.ticket = unpack_data(span_text(world->gives_ticket));
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_WELCOME;
    frame.welcome = &welcome;
    say_frame(world, &frame);
}

static inline void say_welcome(struct world *world, uint64_t session)
{
    say_welcome_of(world, 1, session);
}

static inline void say_error(struct world *world, uint32_t reason, uint32_t after_ms)
{
    Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    error.reason = reason;
    error.reconnect_after_ms = after_ms;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_ERROR;
    frame.error = &error;
    say_frame(world, &frame);
}

/* Borrowed until the arena is reset. */
static inline struct span pack_goaway(struct world *world, uint32_t reason, uint32_t after_ms)
{
    Lahar__V1__Goaway goaway = LAHAR__V1__GOAWAY__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    goaway.reason = reason;
    goaway.reconnect_after_ms = after_ms;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY;
    frame.goaway = &goaway;
    return unpack_frame(world->arena, &frame.base);
}

static inline void say_goaway(struct world *world, uint32_t reason, uint32_t after_ms)
{
    say_bytes(world, pack_goaway(world, reason, after_ms));
}

static inline void say_pong(struct world *world)
{
    Lahar__V1__Pong pong = LAHAR__V1__PONG__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_PONG;
    frame.pong = &pong;
    say_frame(world, &frame);
}

/* mid 0: an empty delivery; dseq 0: EPHEMERAL. Returns the size. */
static inline size_t write_deliver(uint8_t *at, uint64_t dseq, uint32_t mid, const char *text)
{
    uint8_t id[LAHAR_ID_SIZE] = {0};
    memcpy(id, &mid, sizeof mid);
    struct hot_deliver deliver = {.dseq = dseq};
    if (mid || !dseq) {
        deliver.from = PEER;
        deliver.class = dseq ? HOT_CONFIRMED : HOT_EPHEMERAL;
        deliver.mid = mid ? span_of(id, sizeof id) : (struct span){0};
        deliver.body = span_text(text);
    }
    return hot_deliver_write(at, &deliver);
}

static inline void say_deliver(struct world *world, uint64_t dseq, uint32_t mid, const char *text)
{
    uint8_t bytes[256];
    say_bytes(world, span_of(bytes, write_deliver(bytes, dseq, mid, text)));
}

static inline void say_ack(struct world *world, struct span cmid)
{
    uint8_t bytes[256], mid[LAHAR_ID_SIZE] = {9};
    struct hot_ack ack = {cmid, HOT_LEVEL_DELIVERED, span_of(mid, sizeof mid)};
    say_bytes(world, span_of(bytes, hot_ack_write(bytes, &ack)));
}

static inline void say_nack(struct world *world, struct hot_nack nack)
{
    uint8_t bytes[256];
    say_bytes(world, span_of(bytes, hot_nack_write(bytes, &nack)));
}

/* ---- getting there --------------------------------------------------------------------------- */

static inline void tick(struct world *world)
{
    core_tick(world->core, world->now);
}

static inline void pass(struct world *world, uint64_t ms)
{
    world->now += ms;
    tick(world);
}

/* To the moment when something is due. */
static inline void pass_until_due(struct world *world)
{
    uint64_t due = core_due_ms(world->core);
    assert_true(due != UINT64_MAX);
    world->now = due > world->now ? due : world->now;
    tick(world);
}

static inline void open_connection(struct world *world)
{
    struct span content;
    uint32_t connects = world->connects;
    for (int i = 0; i < 100 && world->connects == connects; i++)
        pass_until_due(world);
    assert_int_equal(world->connects, connects + 1);
    world->bytes_len = 0;
    core_opened(world->core, world->now);
    assert_int_equal(hear(world, &content), KIND(HELLO));
    assert_heard_nothing(world);
}

static inline void go_online(struct world *world, uint64_t session)
{
    open_connection(world);
    say_welcome(world, session);
    assert_int_equal(core_state(world->core), LAHAR_ONLINE);
}

static inline int set_up_online(void **state)
{
    set_up(state);
    go_online(*state, 1);
    return 0;
}

#endif
