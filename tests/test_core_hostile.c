/* core_hostile: every frame of either protocol, as it should be and spoilt in every way of
 * valid_messages.h, from a server to the client library. It stays online, or it ends the connection
 * with a reason that is documented and comes back; what waits to be sent stays, and the application
 * is told nothing twice. */
#include "client/core.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "tests/valid_messages.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
    struct core *core;
    uint64_t now, random;
    bool connected;
    uint32_t messages, outcomes;
};

static void do_connect(void *ctx)
{
    ((struct world *)ctx)->connected = true;
}

static void do_disconnect(void *ctx)
{
    ((struct world *)ctx)->connected = false;
}

static void do_send(void *ctx, struct span bytes)
{
    (void)ctx;
    struct span body;
    assert_int_equal(frame_take(&bytes, FRAME_BODY_SIZE_MAX, &body), FRAME_READY);
}

static bool has_room(void *ctx)
{
    (void)ctx;
    return true;
}

static size_t give_token(void *ctx, char *out, size_t room)
{
    (void)ctx;
    assert_true(room > 5);
    memcpy(out, "a.b.c", 5);
    return 5;
}

static uint64_t next_random(void *ctx)
{
    return ((struct world *)ctx)->random += 7;
}

static void on_state(void *ctx, enum lahar_state state)
{
    (void)ctx;
    (void)state;
}

static void on_message(void *ctx, const struct lahar_message *message)
{
    struct world *world = ctx;
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < message->body_size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)message->body)[i]);
    world->messages++;
}

static void on_outcome(void *ctx, const struct lahar_result_of_send *result)
{
    (void)result;
    ((struct world *)ctx)->outcomes++;
}

static void feed(struct world *world, struct span body, size_t split)
{
    size_t len = valid_varint((uint8_t[10]){0}, body.len) + body.len;
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    size_t head = valid_varint(bytes, body.len);
    if (body.len > 0)
        memcpy(bytes + head, body.at, body.len);
    size_t used = core_bytes(world->core, span_of(bytes, split), world->now);
    assert_true(used <= split);
    if (world->connected)
        (void)core_bytes(world->core, span_of(bytes + used, len - used), world->now);
    free(bytes);
}

static struct world *go_online(void)
{
    static const uint8_t welcome[] = {0x0a, 0x14, 0x08, 0x01, 0x11, 0x11, 0x27, 0, 0, 0, 0,
                                      0,    0,    0x19, 1,    0,    0,    0,    1, 0, 0, 0};
    static const struct core_options options = {.device = "desk",
                                                .client = "test 1",
                                                .sends_max = 8,
                                                .send_timeout_ms = 30000,
                                                .connect_timeout_ms = 10000,
                                                .reconnect_min_ms = 1000,
                                                .reconnect_max_ms = 60000,
                                                .retry_ms = 2000};
    static const struct core_actions actions = {.connect = do_connect,
                                                .disconnect = do_disconnect,
                                                .send = do_send,
                                                .has_room = has_room,
                                                .token = give_token,
                                                .random = next_random,
                                                .on_state = on_state,
                                                .on_message = on_message,
                                                .on_outcome = on_outcome};
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->now = 1000;
    world->core = core_new(&options, &actions, world, world->now);
    core_tick(world->core, world->now);
    assert_true(world->connected);
    core_opened(world->core, world->now);
    feed(world, span_of(welcome, sizeof welcome), sizeof welcome + 1);
    assert_int_equal(core_state(world->core), LAHAR_ONLINE);
    uint8_t id[LAHAR_ID_SIZE] = {1};
    assert_int_equal(
        core_send(world->core, 10002, LAHAR_CONFIRMED, span_text("hi"), id, world->now), LAHAR_OK);
    return world;
}

static void leave(struct world *world)
{
    core_free(world->core);
    free(world);
}

/* Why a connection ended: the library's own word, or a reason of the table. */
static bool documented(const char *why)
{
    if (strcmp(why, "bad_frame") == 0 || strcmp(why, "ended") == 0 ||
        strcmp(why, reasons_end_label(9999)) == 0) /* a reason of a later version */
        return true;
    for (uint32_t reason = 1; reason < 64; reason++)
        if (reasons_end_known(reason) && strcmp(why, reasons_end_label(reason)) == 0)
            return true;
    return false;
}

static void expect_good(struct world *world, const struct valid_message *message)
{
    bool online = core_state(world->core) == LAHAR_ONLINE;
    if (online != world->connected || (!online && !documented(core_why(world->core))))
        fail_msg("frame %u: state %d, %s, why '%s'", message->number, (int)core_state(world->core),
                 world->connected ? "connected" : "not connected", core_why(world->core));
    assert_int_equal(core_waiting(world->core), 1);
    assert_int_equal(world->outcomes, 0);
    assert_true(world->messages <= 2);
    if (online || core_state(world->core) == LAHAR_AWAY)
        return;
    /* And it comes back. */
    for (uint32_t i = 0; !world->connected && i < 100; i++)
        core_tick(world->core, world->now = core_due_ms(world->core));
    assert_true(world->connected);
}

static uint64_t play(const struct valid_messages *messages)
{
    uint64_t cases = 0;
    for (size_t i = 0; i < messages->count; i++) {
        const struct valid_message *message = &messages->list[i];
        uint8_t *out = malloc(message->len * 2 + 64);
        assert_non_null(out);
        for (enum valid_spoilt spoilt = 0; spoilt < VALID_SPOILTS; spoilt++)
            for (size_t at = 0; at < valid_places(spoilt, message->len); at++, cases++) {
                size_t len = valid_spoil(message, spoilt, at, out);
                struct world *world = go_online();
                feed(world, span_of(out, len), at % (len + 1));
                expect_good(world, message);
                leave(world);
            }
        for (size_t split = 0; split <= message->len; split++, cases++) {
            struct world *world = go_online();
            feed(world, span_of(message->at, message->len), split);
            expect_good(world, message);
            leave(world);
        }
        free(out);
    }
    return cases;
}

static void whatever_a_server_says_the_library_goes_on_or_comes_back(void **state)
{
    (void)state;
    struct valid_messages server = valid_messages_of(&lahar__v1__server_frame__descriptor);
    struct valid_messages client = valid_messages_of(&lahar__v1__client_frame__descriptor);
    assert_true(play(&server) + play(&client) > 20000);
    valid_messages_free(&server);
    valid_messages_free(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_a_server_says_the_library_goes_on_or_comes_back),
    };
    return cmocka_run_group_tests_name("core_hostile", tests, NULL, NULL);
}
