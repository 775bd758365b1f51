/* A hostile or broken server: its bytes come in pieces of any size, between ticks and sends; the
 * first byte of each piece says how. Nothing may crash, spin or be told twice.
 *
 * Covers: client/core.c client/outbox.c client/seen.c.
 */
#include "client/core.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"

#include <stdlib.h>

#define SENDS_MAX 64u

struct world {
    struct core *core;
    uint64_t now, random;
    bool connected;
    uint8_t left[FRAME_BODY_SIZE_MAX + 512];
    size_t left_len;
    bool ended[SENDS_MAX + 1];
    uint32_t sends;
};

static void do_connect(void *ctx)
{
    struct world *world = ctx;
    assert(!world->connected);
    world->connected = true;
    world->left_len = 0;
}

static void do_disconnect(void *ctx)
{
    struct world *world = ctx;
    assert(world->connected);
    world->connected = false;
}

static void do_send(void *ctx, struct span bytes)
{
    const struct world *world = ctx;
    struct span body;
    assert(world->connected);
    enum frame_status status = frame_take(&bytes, FRAME_BODY_SIZE_MAX, &body);
    assert(status == FRAME_READY && bytes.len == 0);
}

static bool has_room(void *ctx)
{
    const struct world *world = ctx;
    return world->random % 8 != 0;
}

static size_t give_token(void *ctx, char *out, size_t room)
{
    (void)ctx;
    memset(out, 't', room);
    return room;
}

static uint64_t next_random(void *ctx)
{
    struct world *world = ctx;
    return world->random = world->random * 6364136223846793005u + 1442695040888963407u;
}

static void on_state(void *ctx, enum lahar_state state)
{
    struct world *world = ctx;
    if (state == LAHAR_AWAY)
        core_reconnect(world->core, world->now);
}

static void on_message(void *ctx, const struct lahar_message *message)
{
    struct world *world = ctx;
    uint8_t sum = 0;
    for (size_t i = 0; i < message->body_size; i++)
        sum ^= ((const uint8_t *)message->body)[i];
    (void)core_send(world->core, 10001, LAHAR_EPHEMERAL, span_of(&sum, 1), NULL, world->now);
}

static void on_outcome(void *ctx, const struct lahar_result_of_send *result)
{
    struct world *world = ctx;
    uint8_t number = result->id[0];
    assert(number > 0 && number <= world->sends && !world->ended[number]);
    world->ended[number] = true;
}

static void send_one(struct world *world, uint64_t to)
{
    if (world->sends == SENDS_MAX)
        return;
    /* Ids that a corpus can name. */
    uint8_t id[LAHAR_ID_SIZE] = {(uint8_t)++world->sends};
    if (core_send(world->core, 10001 + to, LAHAR_CONFIRMED, span_of("body", 4), id, world->now) !=
        LAHAR_OK)
        world->ended[world->sends] = true;
}

static void tick(struct world *world, uint64_t ms)
{
    bool was_connected = world->connected;
    world->now += ms;
    core_tick(world->core, world->now);
    if (!was_connected && world->connected)
        core_opened(world->core, world->now);
    /* Ticks that find nothing to do any more must not be asked for without end. */
    for (int i = 0; core_due_ms(world->core) <= world->now; i++) {
        assert(i < 4);
        core_tick(world->core, world->now);
        if (!was_connected && world->connected)
            core_opened(world->core, world->now);
    }
}

static void hear(struct world *world, struct span bytes)
{
    if (!world->connected || world->left_len + bytes.len > sizeof world->left)
        return;
    if (bytes.len > 0)
        memcpy(world->left + world->left_len, bytes.at, bytes.len);
    size_t len = world->left_len + bytes.len;
    size_t used = core_bytes(world->core, span_of(world->left, len), world->now);
    assert(used <= len);
    memmove(world->left, world->left + used, len - used);
    world->left_len = world->connected ? len - used : 0;
}

static void hear_welcome(struct world *world)
{
    static const uint8_t welcome[] = {0x16, 0x0a, 0x14, 0x08, 0x01, 0x11, 0x11, 0x27, 0, 0, 0, 0,
                                      0,    0,    0x19, 1,    0,    0,    0,    1,    0, 0, 0};
    hear(world, span_of(welcome, sizeof welcome));
}

static void play(struct world *world, struct span script)
{
    while (script.len > 0) {
        uint8_t what = script.at[0];
        script = span_after(script, 1);
        size_t len = what & 0x3f;
        if (len > script.len)
            len = script.len;
        if (what < 0xc0) {
            hear(world, span_upto(script, len));
            script = span_after(script, len);
        } else if (what < 0xd0) {
            send_one(world, what & 3);
        } else if (what < 0xe0) {
            tick(world, (uint64_t)1 << (what & 0x0f));
        } else if (what < 0xf0) {
            hear_welcome(world);
        } else if (world->connected) {
            world->connected = false;
            core_lost(world->core, "closed", "", world->now);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct core_options options = {
        .device = "desk",
        .sends_max = 48,
        .send_timeout_ms = 30000,
        .connect_timeout_ms = 10000,
        .reconnect_min_ms = 1000,
        .reconnect_max_ms = 60000,
        .retry_ms = 2000,
    };
    const struct core_actions actions = {.connect = do_connect,
                                         .disconnect = do_disconnect,
                                         .send = do_send,
                                         .has_room = has_room,
                                         .token = give_token,
                                         .random = next_random,
                                         .on_state = on_state,
                                         .on_message = on_message,
                                         .on_outcome = on_outcome};
    struct world *world = calloc(1, sizeof *world);
    assert(world != NULL);
    world->core = core_new(&options, &actions, world, 0);
    tick(world, 1);
    play(world, span_of(data, size));
    size_t open = 0;
    for (uint32_t i = 1; i <= world->sends; i++)
        open += !world->ended[i];
    assert(open == core_waiting(world->core));
    core_free(world->core);
    free(world);
    return 0;
}
