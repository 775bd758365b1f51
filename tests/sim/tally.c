/* tally: every message, who sent it to whom, who was handed it, and what its sender was told. What
 * is wrong is wrong at once. */
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/hot.h"
#include "tests/sim/world.h"

#define WINDOW_MS 300u
#define REPEATS_MAX 40u

struct letter *tally_letter(struct world *world, uint32_t *index)
{
    *index = world->letter_count;
    return *index < WORLD_LETTERS ? &world->letters[*index] : NULL;
}

void tally_body(const struct world *world, uint32_t index, uint8_t *body)
{
    const struct letter *letter = &world->letters[index];
    assert(letter->size >= sizeof index);
    memcpy(body, &index, sizeof index);
    for (uint32_t i = sizeof index; i < letter->size; i++)
        body[i] = (uint8_t)(index * 31 + i * 7);
}

/* A message is sent again for each place that was gone back to, or a while later: not many times at
 * once. */
void tally_transmitted(struct phone *phone, struct span bytes)
{
    struct world *world = phone->world;
    struct span body, content;
    struct hot_send send;
    uint32_t number, index;
    bool is_send = frame_take(&bytes, FRAME_BODY_SIZE_MAX, &body) == FRAME_READY &&
                   frame_open(body, &number, &content, NULL) &&
                   number == LAHAR__V1__CLIENT_FRAME__FRAME_SEND && hot_send_read(content, &send);
    if (!is_send || send.cmid.len == 0)
        return;
    memcpy(&index, send.cmid.at, sizeof index);
    struct letter *letter = &world->letters[index];
    if (world->now_ms - letter->window_ms >= WINDOW_MS) {
        letter->window_ms = world->now_ms;
        letter->window_count = 0;
    }
    if (++letter->window_count > world->most_repeats)
        world->most_repeats = letter->window_count;
    if (letter->window_count > REPEATS_MAX)
        world_wrong(world, "a storm of repeats", "%u of phone %u", letter->number, letter->phone);
}

static bool same_bytes(const struct world *world, uint32_t index, struct span body)
{
    uint8_t expected[4096];
    if (body.len != world->letters[index].size)
        return false;
    tally_body(world, index, expected);
    return memcmp(expected, body.at, body.len) == 0;
}

/* Was it handed out by another of the user's phones? Then a device that joined later may get it
 * late: what is behind it was delivered there already, its answer was lost, and a new owner gives
 * it to all. That is known. */
static bool elsewhere(const struct letter *letter, uint32_t phone)
{
    for (uint32_t i = 0; i < WORLD_PHONES; i++)
        if (letter->handed[i] && i != phone)
            return true;
    return false;
}

static void check_order(struct phone *phone, const struct letter *letter)
{
    uint32_t *last = &phone->heard[letter->phone];
    if (letter->number < *last && !(!phone->alone && elsewhere(letter, phone->index)))
        world_wrong(phone->world, "out of order", "phone %u got %u of phone %u after %u",
                    phone->index, letter->number, letter->phone, *last);
    if (letter->number > *last)
        *last = letter->number;
}

static void check_addressee(const struct phone *phone, const struct letter *letter, uint64_t from)
{
    struct world *world = phone->world;
    const struct phone *sender = &world->phones[letter->phone];
    bool own = sender->user == phone->user && strcmp(sender->device, phone->device) == 0;
    if (letter->to != phone->user || own)
        world_wrong(world, "handed to somebody else", "%u of phone %u to phone %u", letter->number,
                    letter->phone, phone->index);
    if (from != world->users[sender->user].gid)
        world_wrong(world, "not from whom it says", "%u of phone %u at phone %u", letter->number,
                    letter->phone, phone->index);
}

void tally_handed(struct phone *phone, const struct lahar_message *message)
{
    struct world *world = phone->world;
    struct span body = span_of(message->body, message->body_size);
    uint32_t index = NONE;
    if (body.len >= sizeof index)
        memcpy(&index, body.at, sizeof index);
    if (index >= world->letter_count || !same_bytes(world, index, body) ||
        world->letters[index].class != message->message_class) {
        world_wrong(world, "altered", "at phone %u", phone->index);
        return;
    }
    struct letter *letter = &world->letters[index];
    check_addressee(phone, letter, message->from);
    if (letter->handed[phone->index])
        world_wrong(world, "handed out twice", "%u of phone %u to phone %u", letter->number,
                    letter->phone, phone->index);
    if (letter->ended && letter->outcome == LAHAR_REFUSED)
        world_wrong(world, "handed out after it was refused", "%u of phone %u to phone %u",
                    letter->number, letter->phone, phone->index);
    if (letter->class != LAHAR_EPHEMERAL) {
        check_order(phone, letter);
        memcpy(letter->message_id, message->id, LAHAR_ID_SIZE);
    }
    letter->handed[phone->index] = letter->handed_any = true;
}

/* One of the recipient's devices, not the sender's own, was online all the time since the message
 * was sent. */
static bool was_there(const struct world *world, const struct letter *letter)
{
    const struct phone *sender = &world->phones[letter->phone];
    for (uint32_t i = 0; i < world->phone_count; i++) {
        const struct phone *phone = &world->phones[i];
        bool own = sender->user == phone->user && strcmp(sender->device, phone->device) == 0;
        if (phone->user == letter->to && !own && phone->online_ms != 0 &&
            phone->online_ms < letter->sent_ms)
            return true;
    }
    return false;
}

void tally_ended(struct phone *phone, const struct lahar_result_of_send *result)
{
    struct world *world = phone->world;
    uint32_t index;
    memcpy(&index, result->id, sizeof index);
    struct letter *letter = &world->letters[index];
    assert(index < WORLD_LETTERS && letter->phone == phone->index);
    if (letter->ended || letter->class == LAHAR_EPHEMERAL)
        world_wrong(world, "two outcomes", "%u of phone %u", letter->number, letter->phone);
    letter->ended = true;
    letter->outcome = result->outcome;
    world->ended_count++;
    world->outcomes[result->outcome]++;
    bool stored = letter->class == LAHAR_STORED;
    if (result->outcome == LAHAR_KEPT || (stored && result->outcome == LAHAR_DELIVERED))
        world_wrong(world, "kept, which nobody does", "%u of phone %u", letter->number,
                    letter->phone);
    else if (result->outcome == LAHAR_DELIVERED &&
             (!letter->handed_any ||
              memcmp(letter->message_id, result->message_id, LAHAR_ID_SIZE) != 0))
        world_wrong(world, "acknowledged but not handed out", "%u of phone %u", letter->number,
                    letter->phone);
    else if (result->outcome == LAHAR_REFUSED && letter->handed_any)
        world_wrong(world, "refused but handed out", "%u of phone %u: %s", letter->number,
                    letter->phone, result->reason);
    else if (letter->roll_call && result->outcome != LAHAR_DELIVERED)
        world_wrong(world, "not delivered though all was calm", "%u of phone %u: %s",
                    letter->number, letter->phone, result->reason);
    if (strcmp(result->reason, "offline") == 0 && world->routers && was_there(world, letter))
        world_wrong(world, "offline, but it was there", "%u of phone %u to user %u", letter->number,
                    letter->phone, letter->to);
    if (strcmp(result->reason, "no_user") == 0)
        world_wrong(world, "no_user, but there is", "%u of phone %u", letter->number,
                    letter->phone);
}
