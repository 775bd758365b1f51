/* keyring: one key for all routers, the next in time, and none lost that anybody knows of. */
#include "router/keyring.h"

#include "proto/link.pb-c.h"
#include "tests/fake_redis.h"

#define RINGS 2u
#define ROTATE_S 3600u
#define BEGIN_MS UINT64_C(1700000000000)

struct ring {
    struct world *world;
    struct keyring *keyring;
    uint32_t changes;
};

struct world {
    struct fake_redis redis;
    struct ring rings[RINGS];
    uint64_t wall_ms;
    uint8_t random;
};

static bool on_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct ring *ring = ctx;
    uint64_t who = (uint64_t)(ring - ring->world->rings);
    return fake_redis_command(&ring->world->redis, args, count, tag | who << 32);
}

static void on_random(void *ctx, void *at, size_t len)
{
    struct ring *ring = ctx;
    memset(at, ++ring->world->random, len);
}

static void on_changed(void *ctx)
{
    ((struct ring *)ctx)->changes++;
}

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct world *world = ctx;
    keyring_reply(world->rings[tag >> 32].keyring, tag & UINT32_MAX, reply);
}

static void begin_ring(struct world *world, uint32_t n)
{
    struct ring *ring = &world->rings[n];
    *ring = (struct ring){.world = world};
    ring->keyring = keyring_new(&(struct keyring_options){"t:", ROTATE_S},
                                &(struct keyring_actions){on_command, on_random, on_changed}, ring);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    map_init(&world->redis.by_name);
    world->redis.up = true;
    world->wall_ms = BEGIN_MS;
    for (uint32_t n = 0; n < RINGS; n++)
        begin_ring(world, n);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    for (uint32_t n = 0; n < RINGS; n++)
        keyring_free(world->rings[n].keyring);
    fake_redis_close(&world->redis);
    free(world);
    return 0;
}

static void answer(struct world *world, bool lost)
{
    for (int i = 0; i < 3; i++)
        fake_redis_answer(&world->redis, on_reply, world, lost);
}

static void poll_one(struct world *world, uint32_t n)
{
    keyring_poll(world->rings[n].keyring, world->wall_ms);
    answer(world, false);
}

/* All ask before any is answered. */
static void poll_all(struct world *world)
{
    world->wall_ms += 1000;
    for (uint32_t n = 0; n < RINGS; n++)
        keyring_poll(world->rings[n].keyring, world->wall_ms);
    answer(world, false);
}

static struct span packed_of(const struct world *world, uint32_t n)
{
    return keyring_packed(world->rings[n].keyring);
}

static Lahar__Link__V1__TicketKeys *keys_of(const struct world *world, uint32_t n)
{
    struct span packed = packed_of(world, n);
    Lahar__Link__V1__TicketKeys *keys =
        lahar__link__v1__ticket_keys__unpack(NULL, packed.len, packed.at);
    assert_non_null(keys);
    assert_int_equal(keys->revision, keyring_revision(world->rings[n].keyring));
    return keys;
}

static void free_keys(Lahar__Link__V1__TicketKeys *keys)
{
    lahar__link__v1__ticket_keys__free_unpacked(keys, NULL);
}

static void settle(struct world *world)
{
    for (uint32_t i = 0; i < KEYRING_POLLS + 1; i++)
        poll_all(world);
    assert_true(packed_of(world, 0).len > 0);
    assert_true(span_equal(packed_of(world, 0), packed_of(world, 1)));
}

static void one_of_several_makes_the_first_key_and_all_have_it(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 1; i < KEYRING_POLLS; i++) {
        poll_all(world);
        assert_int_equal(packed_of(world, 0).len, 0);
        assert_int_equal(keyring_revision(world->rings[0].keyring), 0);
    }
    poll_all(world);
    assert_true(span_equal(packed_of(world, 0), packed_of(world, 1)));
    Lahar__Link__V1__TicketKeys *keys = keys_of(world, 0);
    assert_int_equal(keys->n_keys, 1);
    assert_int_equal(keys->keys[0]->secret.len, KEYRING_SECRET_SIZE);
    assert_int_equal(keys->keys[0]->seals_from, world->wall_ms / 1000);
    free_keys(keys);
    poll_all(world);
    assert_int_equal(world->rings[0].changes, 1);
    assert_int_equal(world->rings[1].changes, 1);
}

static void the_next_is_known_before_it_seals_and_then_the_oldest_goes(void **state)
{
    struct world *world = *state;
    settle(world);
    Lahar__Link__V1__TicketKeys *first = keys_of(world, 0);
    world->wall_ms = first->revision + ROTATE_S * 1000 - 2000;
    poll_all(world);
    assert_int_equal(world->rings[0].changes, 1);
    poll_all(world);
    Lahar__Link__V1__TicketKeys *second = keys_of(world, 0);
    assert_true(span_equal(packed_of(world, 0), packed_of(world, 1)));
    assert_int_equal(second->n_keys, 2);
    assert_int_equal(second->keys[0]->id, first->keys[0]->id);
    assert_memory_equal(second->keys[0]->secret.data, first->keys[0]->secret.data, 32);
    assert_memory_not_equal(second->keys[1]->secret.data, first->keys[0]->secret.data, 32);
    assert_int_equal(second->keys[1]->seals_from, world->wall_ms / 1000 + KEYRING_GRACE_S);
    assert_true(second->revision > first->revision);

    world->wall_ms += ROTATE_S * 1000;
    poll_all(world);
    Lahar__Link__V1__TicketKeys *third = keys_of(world, 1);
    assert_int_equal(third->n_keys, 2);
    assert_int_equal(third->keys[0]->id, second->keys[1]->id);
    assert_int_not_equal(third->keys[1]->id, first->keys[0]->id);
    free_keys(first);
    free_keys(second);
    free_keys(third);
}

static void what_redis_has_lost_comes_back_unchanged(void **state)
{
    struct world *world = *state;
    uint8_t before[256];
    settle(world);
    size_t len = packed_of(world, 0).len;
    memcpy(before, packed_of(world, 0).at, len);
    fake_redis_flush(&world->redis);
    /* A shard that has just begun asks first; it waits. */
    keyring_free(world->rings[1].keyring);
    begin_ring(world, 1);
    poll_one(world, 1);
    poll_one(world, 0);
    poll_one(world, 1);
    assert_true(span_equal(packed_of(world, 1), span_of(before, len)));
    assert_int_equal(world->rings[0].changes, 1);
}

static void an_older_record_is_written_over(void **state)
{
    struct world *world = *state;
    settle(world);
    Lahar__Link__V1__TicketKeys *keys = keys_of(world, 0);
    keys->revision -= 1;
    uint8_t packed[256];
    size_t packed_len = lahar__link__v1__ticket_keys__pack(keys, packed);
    free_keys(keys);
    fake_set(&world->redis, span_text("t:ticket_keys"), span_of(packed, packed_len));
    poll_one(world, 0);
    struct fake_entry *entry = fake_find(&world->redis, span_text("t:ticket_keys"));
    assert_true(span_equal(fake_span(entry->value), packed_of(world, 0)));
}

static void what_is_no_record_is_replaced(void **state)
{
    struct world *world = *state;
    fake_set(&world->redis, span_text("t:ticket_keys"), span_text("not one"));
    settle(world);
}

static void while_redis_is_away_the_keys_stay(void **state)
{
    struct world *world = *state;
    settle(world);
    uint64_t revision = keyring_revision(world->rings[0].keyring);
    keyring_poll(world->rings[0].keyring, world->wall_ms);
    answer(world, true);
    world->redis.failing = true;
    poll_one(world, 0);
    assert_int_equal(keyring_revision(world->rings[0].keyring), revision);
    world->redis.failing = false;
    world->wall_ms += ROTATE_S * 1000;
    poll_one(world, 0);
    assert_true(keyring_revision(world->rings[0].keyring) > revision);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_of_several_makes_the_first_key_and_all_have_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_next_is_known_before_it_seals_and_then_the_oldest_goes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_redis_has_lost_comes_back_unchanged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_older_record_is_written_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_record_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_redis_is_away_the_keys_stay, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
