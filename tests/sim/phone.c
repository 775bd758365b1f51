/* phone: a device with the real client core, and an application that talks, is slow at times, and
 * comes back after it was sent away. */
#include "tests/sim/world.h"

#include <stdio.h>

#define ROOM_BYTES (64u * 1024u)
#define SEND_TIMEOUT_MS 20000u

static void on_connect(void *ctx)
{
    struct phone *phone = ctx;
    line_open(phone->world, phone);
}

static void on_disconnect(void *ctx)
{
    struct phone *phone = ctx;
    line_phone_closes(phone->world, phone);
}

static void on_send(void *ctx, struct span bytes)
{
    struct phone *phone = ctx;
    tally_transmitted(phone, bytes);
    line_phone_sends(phone->world, phone, bytes);
}

static bool has_room(void *ctx)
{
    const struct phone *phone = ctx;
    return phone->line == NONE || phone->world->lines[phone->line].to_edge.bytes < ROOM_BYTES;
}

static size_t give_token(void *ctx, char *out, size_t room)
{
    const struct phone *phone = ctx;
    return (size_t)snprintf(out, room, "%s", phone->world->users[phone->user].name);
}

static uint64_t any(void *ctx)
{
    const struct phone *phone = ctx;
    return world_any(phone->world, UINT64_MAX);
}

/* A user has one GID, and nobody else has it. */
static void check_gid(struct phone *phone)
{
    struct world *world = phone->world;
    uint64_t gid = core_self(phone->core);
    struct user *user = &world->users[phone->user];
    if (user->gid == 0)
        user->gid = gid;
    for (uint32_t i = 0; i < world->user_count; i++)
        if ((world->users[i].gid == gid) != (i == phone->user))
            world_wrong(world, "a GID of two users, or two of one", "user %u, %llu", i,
                        (unsigned long long)gid);
}

static void on_state(void *ctx, enum lahar_state state)
{
    struct phone *phone = ctx;
    struct world *world = phone->world;
    const char *why = core_why(phone->core);
    phone->online_ms = state == LAHAR_ONLINE ? world->now_ms : 0;
    if (state == LAHAR_ONLINE)
        check_gid(phone);
    if (strcmp(why, "bad_frame") == 0 || strcmp(why, "bad_sequence") == 0)
        world_wrong(world, "a client and its edge do not understand each other", "phone %u: %s",
                    phone->index, why);
    if (state != LAHAR_AWAY)
        return;
    bool kicked = strcmp(why, "kicked") == 0 && world->users[phone->user].kicked;
    if (!kicked && (strcmp(why, "replaced") != 0 || phone->alone))
        world_wrong(world, "a client was sent away", "phone %u: %s", phone->index, why);
    phone->back_ms = world->now_ms + 300 + world_any(world, 4000);
}

static void on_message(void *ctx, const struct lahar_message *message)
{
    tally_handed(ctx, message);
}

static void on_outcome(void *ctx, const struct lahar_result_of_send *result)
{
    tally_ended(ctx, result);
}

void phone_init(struct world *world, struct phone *phone, uint32_t user, const char *device)
{
    *phone = (struct phone){.world = world,
                            .index = (uint32_t)(phone - world->phones),
                            .user = user,
                            .line = NONE,
                            .starts_ms = world->now_ms + world_any(world, 2000)};
    snprintf(phone->device, sizeof phone->device, "%s", device);
}

void phone_start(struct phone *phone)
{
    bool hurried = phone->world->hurried;
    const struct core_options options = {.device = phone->device,
                                         .client = "simulated",
                                         .sends_max = 64,
                                         .send_timeout_ms = SEND_TIMEOUT_MS,
                                         .connect_timeout_ms = 5000,
                                         .reconnect_min_ms = hurried ? 50 : 500,
                                         .reconnect_max_ms = hurried ? 500 : 4000,
                                         .retry_ms = hurried ? 400 : 2000};
    const struct core_actions actions = {.connect = on_connect,
                                         .disconnect = on_disconnect,
                                         .send = on_send,
                                         .has_room = has_room,
                                         .token = give_token,
                                         .random = any,
                                         .on_state = on_state,
                                         .on_message = on_message,
                                         .on_outcome = on_outcome};
    phone->core = core_new(&options, &actions, phone, phone->world->now_ms);
    assert(phone->core != NULL);
}

bool phone_online(const struct phone *phone)
{
    return phone->core != NULL && core_state(phone->core) == LAHAR_ONLINE;
}

void phone_sends(struct phone *phone, uint32_t to, enum lahar_class class, uint32_t size,
                 bool roll_call)
{
    struct world *world = phone->world;
    uint8_t body[4096];
    uint32_t index;
    struct letter *letter = tally_letter(world, &index);
    if (letter == NULL || world->users[to].gid == 0)
        return;
    assert(size <= sizeof body);
    *letter = (struct letter){.phone = phone->index,
                              .number = phone->sent + 1,
                              .to = to,
                              .class = class,
                              .size = size,
                              .sent_ms = world->now_ms,
                              .roll_call = roll_call};
    memcpy(letter->id, &index, sizeof index);
    letter->id[sizeof letter->id - 1] = 1;
    tally_body(world, index, body);
    enum lahar_result result = core_send(phone->core, world->users[to].gid, class,
                                         span_of(body, size), letter->id, world->now_ms);
    if (result != LAHAR_OK)
        return;
    phone->sent++;
    world->letter_count++;
}

static uint32_t any_user(struct phone *phone)
{
    struct world *world = phone->world;
    if (world_any(world, 8) > 0)
        return phone->friends[world_any(world, 2)];
    return (uint32_t)world_any(world, world->user_count);
}

static void talk(struct phone *phone)
{
    struct world *world = phone->world;
    if (!world->talking || world->now_ms < phone->app_ms)
        return;
    uint64_t pause_ms = (world->hurried ? 150 : 2000) / world->sends_per_s;
    uint32_t burst = 1 + (world_any(world, 4) == 0 ? (uint32_t)world_any(world, 12) : 0);
    phone->app_ms = world->now_ms + world_any(world, 2 * pause_ms * burst);
    uint32_t to = any_user(phone);
    for (uint32_t i = 0; i < burst; i++) {
        uint64_t dice = world_any(world, 100);
        enum lahar_class class = dice < 4    ? LAHAR_STORED
                                 : dice < 16 ? LAHAR_EPHEMERAL
                                             : LAHAR_CONFIRMED;
        uint32_t size = world_any(world, 40) == 0 ? 3000 : 12 + (uint32_t)world_any(world, 100);
        phone_sends(phone, to, class, size, false);
    }
}

/* In the end one of those that share a device is enough. */
static bool others_are_there(const struct phone *phone)
{
    const struct world *world = phone->world;
    for (uint32_t i = 0; i < world->phone_count; i++) {
        const struct phone *other = &world->phones[i];
        if (other != phone && other->user == phone->user && other->core != NULL &&
            strcmp(other->device, phone->device) == 0 && core_state(other->core) != LAHAR_AWAY)
            return true;
    }
    return false;
}

void phone_step(struct phone *phone)
{
    struct world *world = phone->world;
    if (phone->asleep_ms > world->now_ms)
        return;
    if (phone->core == NULL) {
        if (phone->starts_ms > world->now_ms)
            return;
        phone_start(phone);
    }
    if (core_due_ms(phone->core) <= world->now_ms)
        core_tick(phone->core, world->now_ms);
    if (core_state(phone->core) == LAHAR_AWAY && world->now_ms >= phone->back_ms &&
        (world->faulty || !others_are_there(phone)))
        core_reconnect(phone->core, world->now_ms);
    talk(phone);
}
