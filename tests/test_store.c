/* store: what memory has must stand in Redis in the end, whatever happens to Redis in between.
 * needs: redis */
#include "presence/store.h"
#include "tests/real_redis.h"

#define SLOTS_USED 40u

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

/* All GIDs lie in the first slots. */
static uint64_t hash_of(uint64_t gid)
{
    return (mix(gid) << 14) | gid % SLOTS_USED;
}

static bool owned[PRESENCE_SLOTS];

struct fixture {
    struct real_redis *server;
    struct redis *redis;
    struct presence *memory;
    struct store *store;
    uint32_t loaded, loads_done;
    uint32_t commands_max;
    bool fill; /* loaded records go into memory */
};

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct fixture *f = ctx;
    if (f->store != NULL)
        store_reply(f->store, tag, reply);
}

static bool command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct fixture *f = ctx;
    assert_true(tag >> 56 == 0);
    assert_true(redis_in_flight(f->redis) < f->commands_max);
    return redis_send(f->redis, args, count, on_reply, f, tag);
}

static void loaded(void *ctx, uint32_t slot, const struct presence_record *record)
{
    struct fixture *f = ctx;
    assert_int_equal(record->dseq, PRESENCE_LIKELY);
    assert_int_equal(slot, presence_slot(hash_of(record->gid)));
    f->loaded++;
    if (f->fill)
        presence_put(f->memory, slot, hash_of(record->gid), record);
}

static void load_done(void *ctx)
{
    ((struct fixture *)ctx)->loads_done++;
}

static const struct store_actions actions = {command, loaded, load_done};

static void on_up(void *ctx)
{
    struct fixture *f = ctx;
    if (f->store != NULL)
        store_up(f->store);
}

static void on_down(void *ctx, const char *why)
{
    struct fixture *f = ctx;
    (void)why;
    if (f->store != NULL)
        store_down(f->store);
}

static void on_turn_end(void *ctx)
{
    struct fixture *f = ctx;
    if (f->store != NULL)
        store_flush(f->store);
}

static void open_fixture(struct fixture *f, struct real_redis *server, uint32_t queue_max,
                         uint32_t commands_max)
{
    const struct store_options options = {"t:", queue_max, commands_max};
    const struct redis_events events = {on_up, on_down};
    *f = (struct fixture){.server = server, .commands_max = commands_max, .fill = true};
    f->memory = presence_new(hash_of);
    f->store = store_new(&options, f->memory, &actions, f);
    loop_at_turn_end(server->loop, on_turn_end, f);
    f->redis = real_redis_connect(server, &events, f);
    store_load(f->store, owned);
    AWAIT(server, f->loads_done == 1);
}

static void close_fixture(struct fixture *f)
{
    store_free(f->store);
    presence_free(f->memory);
    f->store = NULL;
}

static bool settled(const struct fixture *f)
{
    const struct store_counts *counts = store_counts(f->store);
    return redis_is_up(f->redis) && counts->queued == 0 && counts->slots_to_write == 0 &&
           redis_in_flight(f->redis) == 0;
}

static void put(struct fixture *f, uint64_t gid, uint64_t device, uint64_t session)
{
    uint64_t hash = hash_of(gid);
    struct presence_record record = {
        .gid = gid, .device = device, .session = session, .edge = 7, .dseq = 3};
    presence_put(f->memory, presence_slot(hash), hash, &record);
    store_put(f->store, presence_slot(hash), hash, &record);
}

static void take(struct fixture *f, uint64_t gid, uint64_t device)
{
    uint64_t hash = hash_of(gid);
    if (presence_remove(f->memory, presence_slot(hash), hash, gid, device))
        store_remove(f->store, presence_slot(hash), hash, gid, device);
}

static void some_changes(struct fixture *f, uint32_t seed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t random = mix(((uint64_t)seed << 32) + i);
        uint64_t gid = 1 + random % 2000, device = random >> 20 & 1;
        if (random >> 40 & 1)
            put(f, gid, device, random >> 44);
        else
            take(f, gid, device);
    }
}

/* Reads all with a store of its own and compares with this one's memory. */
static void redis_has_what_memory_has(struct fixture *f)
{
    static struct fixture other;
    AWAIT(f->server, settled(f));
    open_fixture(&other, f->server, 100, 512);
    assert_int_equal(other.loaded, presence_count(f->memory));
    assert_int_equal(presence_count(other.memory), presence_count(f->memory));
    for (uint32_t slot = 0; slot < SLOTS_USED; slot++) {
        struct presence_record record;
        for (uint32_t cursor = 0; presence_walk(f->memory, slot, &cursor, &record);) {
            const struct presence_record *found =
                presence_find(other.memory, slot, hash_of(record.gid), record.gid, record.device);
            assert_non_null(found);
            assert_int_equal(found->session, record.session);
            assert_int_equal(found->edge, record.edge);
        }
    }
    assert_int_equal(store_counts(other.store)->slots_to_write, 0);
    close_fixture(&other);
}

static int setup(void **state)
{
    struct real_redis *server = calloc(1, sizeof *server);
    for (uint32_t slot = 0; slot < SLOTS_USED; slot++)
        owned[slot] = true;
    real_redis_open(server);
    *state = server;
    return 0;
}

static int teardown(void **state)
{
    real_redis_close(*state);
    free(*state);
    return 0;
}

static void what_is_put_is_loaded_by_the_next_owner(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 100000, 512);
    assert_int_equal(f.loaded, 0);
    for (uint32_t turn = 0; turn < 30; turn++) {
        some_changes(&f, turn, 300);
        loop_turn(f.server->loop, 0);
    }
    redis_has_what_memory_has(&f);
    assert_int_equal(store_counts(f.store)->dropped, 0);
    assert_int_equal(store_counts(f.store)->slots_written, 0);
    close_fixture(&f);
}

static void a_later_write_of_a_field_replaces_the_queued_one(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 100000, 512);
    uint64_t before = store_counts(f.store)->commands;
    for (uint32_t session = 1; session <= 1000; session++)
        put(&f, 11, 1, session);
    take(&f, 11, 1);
    put(&f, 11, 1, 5000);
    assert_int_equal(store_counts(f.store)->queued, 1);
    redis_has_what_memory_has(&f);
    assert_int_equal(store_counts(f.store)->commands, before + 1);
    assert_int_equal(store_counts(f.store)->writes, 1);
    close_fixture(&f);
}

static void one_command_per_bucket_carries_many(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 100000, 512);
    uint64_t before = store_counts(f.store)->commands;
    for (uint64_t gid = SLOTS_USED; gid <= 1600 * SLOTS_USED; gid += SLOTS_USED)
        put(&f, gid, 1, 1);
    redis_has_what_memory_has(&f);
    assert_in_range(store_counts(f.store)->commands - before, 16, 16 * 3);
    close_fixture(&f);
}

static void a_full_queue_is_dropped_and_its_slots_written_anew(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 50, 512);
    for (uint64_t gid = 1; gid <= 500; gid++)
        put(&f, gid, 1, gid);
    assert_true(store_counts(f.store)->dropped > 0);
    assert_true(store_counts(f.store)->queued <= 50);
    redis_has_what_memory_has(&f);
    assert_true(store_counts(f.store)->slots_written > 0);
    close_fixture(&f);
}

static void is_whole_again_after_redis_was_away(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 100000, 16);
    some_changes(&f, 1, 3000);
    redis_has_what_memory_has(&f);
    real_redis_kill(f.server);
    AWAIT(f.server, !redis_is_up(f.redis));
    some_changes(&f, 2, 3000);
    real_redis_start(f.server);
    redis_has_what_memory_has(&f);
    assert_int_equal(store_counts(f.store)->slots_written, SLOTS_USED);
    close_fixture(&f);
}

static void changes_while_slots_are_written_anew_are_not_lost(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 100000, 8);
    some_changes(&f, 1, 3000);
    AWAIT(f.server, settled(&f));
    for (uint32_t round = 0; round < 5; round++) {
        store_down(f.store);
        store_up(f.store);
        for (uint32_t turn = 0; store_counts(f.store)->slots_to_write > 0; turn++) {
            some_changes(&f, 100 * round + turn, 2);
            loop_turn(f.server->loop, 20);
        }
        redis_has_what_memory_has(&f);
    }
    close_fixture(&f);
}

static void is_whole_again_when_its_keys_are_gone(void **state)
{
    static struct fixture f;
    static struct asker asker;
    open_fixture(&f, *state, 100000, 512);
    some_changes(&f, 1, 3000);
    AWAIT(f.server, settled(&f));
    asker_open(&asker, *state);
    ask(&asker, "FLUSHALL");
    real_redis_kill(f.server);
    AWAIT(f.server, !redis_is_up(f.redis));
    real_redis_start(f.server);
    redis_has_what_memory_has(&f);
    close_fixture(&f);
}

static void an_error_is_made_good_when_it_is_tried_again(void **state)
{
    static struct fixture f;
    static struct asker asker;
    open_fixture(&f, *state, 100000, 512);
    asker_open(&asker, *state);
    ask(&asker, "CONFIG SET maxmemory 1");
    some_changes(&f, 1, 200);
    AWAIT(f.server, store_counts(f.store)->errors > 0 && redis_in_flight(f.redis) == 0);
    assert_true(store_counts(f.store)->slots_to_write > 0);
    uint64_t commands = store_counts(f.store)->commands;
    for (uint32_t turn = 0; turn < 10; turn++)
        loop_turn(f.server->loop, 0);
    assert_int_equal(store_counts(f.store)->commands, commands); /* it does not spin */
    ask(&asker, "CONFIG SET maxmemory 0");
    store_retry(f.store);
    redis_has_what_memory_has(&f);
    close_fixture(&f);
}

static void a_load_that_redis_left_begins_again(void **state)
{
    static struct fixture f, late;
    open_fixture(&f, *state, 100000, 512);
    some_changes(&f, 1, 3000);
    AWAIT(f.server, settled(&f));
    const struct store_options options = {"t:", 100, 8};
    const struct redis_events events = {on_up, on_down};
    late = (struct fixture){.server = *state, .commands_max = 8, .fill = true};
    late.memory = presence_new(hash_of);
    late.store = store_new(&options, late.memory, &actions, &late);
    loop_at_turn_end(f.server->loop, on_turn_end, &late);
    late.redis = real_redis_connect(*state, &events, &late);
    store_load(late.store, owned);
    AWAIT(f.server, late.loaded > 3);
    real_redis_kill(f.server);
    AWAIT(f.server, !redis_is_up(late.redis));
    assert_int_equal(late.loads_done, 0);
    real_redis_start(f.server);
    AWAIT(f.server, late.loads_done == 1 && settled(&f) && settled(&late));
    assert_int_equal(presence_count(late.memory), presence_count(f.memory));
    close_fixture(&late);
    close_fixture(&f);
}

static void what_was_loaded_before_redis_lost_it_is_written_again(void **state)
{
    static struct fixture f, late;
    static struct asker asker;
    asker_open(&asker, *state);
    open_fixture(&f, *state, 100000, 512);
    some_changes(&f, 1, 3000);
    AWAIT(f.server, settled(&f));
    const struct store_options options = {"t:", 100, 8};
    const struct redis_events events = {on_up, on_down};
    late = (struct fixture){.server = *state, .commands_max = 8, .fill = true};
    late.memory = presence_new(hash_of);
    late.store = store_new(&options, late.memory, &actions, &late);
    loop_at_turn_end(f.server->loop, on_turn_end, &late);
    late.redis = real_redis_connect(*state, &events, &late);
    store_load(late.store, owned);
    AWAIT(f.server, late.loaded > 3);
    close_fixture(&f);
    ask(&asker, "FLUSHALL");
    real_redis_kill(late.server);
    AWAIT(late.server, !redis_is_up(late.redis));
    assert_int_equal(late.loads_done, 0);
    real_redis_start(late.server);
    AWAIT(late.server, late.loads_done == 1);
    assert_true(presence_count(late.memory) > 3);
    redis_has_what_memory_has(&late);
    close_fixture(&late);
}

static void what_is_no_record_of_ours_is_not_loaded(void **state)
{
    static struct fixture f;
    static struct asker asker;
    asker_open(&asker, *state);
    ask(&asker, "HSET t:{0}p0 short 123456789012");
    ask(&asker, "HSET t:{0}p1 1234567890123456 123456789012");
    open_fixture(&f, *state, 100, 512);
    assert_int_equal(f.loaded, 0);
    close_fixture(&f);
}

static void writes_nothing_of_slots_that_are_not_ours(void **state)
{
    static struct fixture f;
    open_fixture(&f, *state, 100, 512);
    struct presence_record record = {.gid = 1, .device = 1, .edge = 1};
    store_put(f.store, SLOTS_USED, SLOTS_USED, &record);
    store_forget(f.store);
    put(&f, 1, 1, 1);
    assert_int_equal(store_counts(f.store)->queued, 0);
    close_fixture(&f);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(what_is_put_is_loaded_by_the_next_owner),
        REAL(a_later_write_of_a_field_replaces_the_queued_one),
        REAL(one_command_per_bucket_carries_many),
        REAL(a_full_queue_is_dropped_and_its_slots_written_anew),
        REAL(is_whole_again_after_redis_was_away),
        REAL(changes_while_slots_are_written_anew_are_not_lost),
        REAL(is_whole_again_when_its_keys_are_gone),
        REAL(an_error_is_made_good_when_it_is_tried_again),
        REAL(a_load_that_redis_left_begins_again),
        REAL(what_was_loaded_before_redis_lost_it_is_written_again),
        REAL(what_is_no_record_of_ours_is_not_loaded),
        REAL(writes_nothing_of_slots_that_are_not_ours),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
