/* control: with a real Redis that is emptied, killed and shared with rivals, and with one that
 * answers as told. needs: redis */
#include "router/control.h"
#include "router/functions.h"
#include "tests/real_redis.h"

#define LEASE_MS 1500u

static const char *const shards[] = {"r1/0", "r1/1"};

/* A shard that has nothing but its control. */
struct owner {
    struct real_redis *server;
    struct redis *redis;
    struct control *control;
    uint32_t maps, owned, stepped_down, polls, restored;
    uint64_t next_gid, sites_revision;
    uint32_t lose; /* the n-th command from now on is answered as if the connection was lost */
};

static void on_control_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct owner *owner = ctx;
    if (owner->control != NULL)
        control_reply(owner->control, tag, reply, real_redis_now_ms());
}

static void on_functions_reply(void *ctx, uint64_t tag, const struct reply *reply);

static bool functions_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct owner *owner = ctx;
    return redis_send(owner->redis, args, count, on_functions_reply, owner, tag);
}

static void on_functions_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    functions_reply(functions_command, ctx, tag, reply);
}

static bool command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct owner *owner = ctx;
    assert_true(tag >> 56 == 0);
    return redis_send(owner->redis, args, count, on_control_reply, owner, tag);
}

static void on_map(void *ctx, const struct slotmap *map)
{
    struct owner *owner = ctx;
    assert_int_equal(slotmap_shards(map), 2);
    owner->maps++;
}

static void on_owner(void *ctx)
{
    ((struct owner *)ctx)->owned++;
}

static void on_stepped_down(void *ctx)
{
    ((struct owner *)ctx)->stepped_down++;
}

static void on_poll(void *ctx, uint64_t next_gid, uint64_t sites_revision)
{
    struct owner *owner = ctx;
    owner->polls++;
    owner->next_gid = next_gid;
    owner->sites_revision = sites_revision;
}

static void on_restored(void *ctx)
{
    ((struct owner *)ctx)->restored++;
}

static const struct control_actions actions = {command,     on_map,          on_owner,
                                               on_restored, on_stepped_down, on_poll};

static void on_up(void *ctx)
{
    struct owner *owner = ctx;
    if (owner->control == NULL)
        return;
    functions_begin(functions_command, owner);
    control_up(owner->control, real_redis_now_ms());
}

static void on_down(void *ctx, const char *why)
{
    struct owner *owner = ctx;
    (void)why;
    if (owner->control != NULL)
        control_down(owner->control, real_redis_now_ms());
}

static void on_tick(void *ctx)
{
    struct owner *owner = ctx;
    if (owner->control != NULL)
        control_tick(owner->control, real_redis_now_ms());
}

static struct control_options options_of(const char *name, uint64_t incarnation)
{
    return (struct control_options){.prefix = "t:",
                                    .shard_names = shards,
                                    .shards = 2,
                                    .name = name,
                                    .incarnation = incarnation,
                                    .lease_ms = LEASE_MS,
                                    .renew_ms = 100};
}

static void owner_open(struct owner *owner, struct real_redis *server, const char *name,
                       uint64_t incarnation)
{
    *owner = (struct owner){.server = server};
    struct control_options options = options_of(name, incarnation);
    owner->control = control_new(&options, &actions, owner);
    const struct redis_events events = {on_up, on_down};
    owner->redis = real_redis_connect(server, &events, owner);
    loop_every(server->loop, 20, on_tick, owner);
}

/* As when its process dies: the lease is not given back. */
static void owner_close(struct owner *owner)
{
    control_free(owner->control);
    owner->control = NULL;
}

static bool may_write(const struct owner *owner)
{
    return control_may_write(owner->control, real_redis_now_ms());
}

static bool is_owner(const struct owner *owner)
{
    return control_not_ready(owner->control) == NULL;
}

static int setup(void **state)
{
    struct real_redis *server = calloc(1, sizeof *server);
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

static uint32_t fence(struct asker *asker, uint32_t slot)
{
    char command[32];
    snprintf(command, sizeof command, "GET t:{%u}fence", slot);
    return (uint32_t)strtoul(ask(asker, command), NULL, 10);
}

static void two_shards_share_the_slots_and_raise_their_epochs(void **state)
{
    static struct owner a, b;
    static struct asker asker;
    owner_open(&a, *state, "r1/0", 7);
    owner_open(&b, *state, "r1/1", 8);
    AWAIT(a.server, is_owner(&a) && is_owner(&b) && a.polls > 0);
    uint32_t owned[2] = {0};
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        bool by_a = control_owns(a.control, slot), by_b = control_owns(b.control, slot);
        assert_true(by_a != by_b);
        owned[by_b ? 1 : 0]++;
        struct control *control = (by_a ? &a : &b)->control;
        assert_int_equal(control_epoch(control, slot), control_epoch(control, by_a ? 0 : 16383));
    }
    assert_int_equal(owned[0], owned[1]);
    assert_int_equal(a.owned, 1);
    assert_int_equal(a.maps, 1);
    AWAIT(a.server, may_write(&a));
    asker_open(&asker, *state);
    assert_string_equal(ask(&asker, "GET t:lease:r1/0"), "0000000000000007");
    assert_int_equal(fence(&asker, 0), control_epoch(a.control, 0));
    assert_int_equal(fence(&asker, 16383), control_epoch(b.control, 16383));
    assert_string_equal(ask(&asker, "SET t:gids 12000"), "OK");
    assert_string_equal(ask(&asker, "SET t:sites_rev 5"), "OK");
    AWAIT(a.server, a.next_gid == 12000 && a.sites_revision == 5);
    owner_close(&a);
    owner_close(&b);
}

static void a_second_process_of_a_name_waits_until_the_first_is_gone(void **state)
{
    static struct owner first, second;
    owner_open(&first, *state, "r1/0", 7);
    AWAIT(first.server, is_owner(&first));
    owner_open(&second, *state, "r1/0", 8);
    AWAIT(first.server, second.polls > 2);
    assert_int_equal(second.owned, 0);
    assert_string_equal(control_not_ready(second.control),
                        "another process holds this shard's lease");
    assert_false(control_owns(second.control, 0));
    uint32_t epoch = control_epoch(first.control, 0);
    owner_close(&first);
    AWAIT(second.server, is_owner(&second));
    assert_int_equal(control_epoch(second.control, 0), epoch + 1);
    owner_close(&second);
}

static void a_lease_given_back_is_taken_at_once(void **state)
{
    static struct owner first, second;
    static struct asker asker;
    owner_open(&first, *state, "r1/0", 7);
    owner_open(&second, *state, "r1/0", 8);
    AWAIT(first.server, is_owner(&first) || is_owner(&second));
    struct owner *old = is_owner(&first) ? &first : &second;
    struct owner *young = is_owner(&first) ? &second : &first;
    control_release(old->control);
    assert_string_equal(control_not_ready(old->control), "leaving");
    assert_false(may_write(old));
    AWAIT(first.server, is_owner(young));
    assert_int_equal(old->stepped_down, 0);
    asker_open(&asker, *state);
    owner_close(&first);
    owner_close(&second);
}

static void goes_on_without_redis_but_stops_what_the_store_fences(void **state)
{
    static struct owner owner;
    struct real_redis *server = *state;
    owner_open(&owner, server, "r1/0", 7);
    AWAIT(server, is_owner(&owner) && may_write(&owner));
    uint32_t epoch = control_epoch(owner.control, 0);
    real_redis_kill(server);
    AWAIT(server, !may_write(&owner));
    assert_true(control_owns(owner.control, 0));
    assert_true(is_owner(&owner));
    real_redis_start(server);
    AWAIT(server, may_write(&owner));
    assert_int_equal(owner.owned, 1);
    assert_int_equal(owner.stepped_down, 0);
    assert_int_equal(control_epoch(owner.control, 0), epoch);
    assert_int_equal(owner.restored, 1);
    owner_close(&owner);
}

static void writes_its_fences_anew_when_redis_has_lost_everything(void **state)
{
    static struct owner owner;
    static struct asker asker;
    owner_open(&owner, *state, "r1/0", 7);
    AWAIT(owner.server, is_owner(&owner));
    asker_open(&asker, *state);
    ask(&asker, "FLUSHALL");
    uint32_t polls = owner.polls;
    AWAIT(owner.server, owner.polls > polls + 1);
    AWAIT(owner.server, may_write(&owner));
    assert_int_equal(fence(&asker, 0), control_epoch(owner.control, 0));
    assert_int_equal(fence(&asker, 8191), control_epoch(owner.control, 0));
    assert_string_equal(ask(&asker, "GET t:{8192}fence"), "nil");
    assert_int_equal(owner.stepped_down, 0);
    assert_int_equal(owner.restored, 1);
    owner_close(&owner);
}

static void epochs_that_begin_after_a_loss_are_above_all_before(void **state)
{
    struct real_redis *server = *state;
    static const char second[] = "EVAL return(redis.call('TIME')[1]) 0";
    static struct owner owners[4];
    static struct asker asker;
    uint32_t last = 0;
    char before[32];
    asker_open(&asker, *state);
    for (uint32_t i = 0; i < 4; i++) {
        /* They are counted by the clock. */
        snprintf(before, sizeof before, "%s", ask(&asker, second));
        AWAIT(server, strcmp(before, ask(&asker, second)) != 0);
        owner_open(&owners[i], *state, "r1/0", 7 + i);
        AWAIT(owners[i].server, is_owner(&owners[i]));
        assert_true(control_epoch(owners[i].control, 0) > last);
        last = control_epoch(owners[i].control, 0);
        owner_close(&owners[i]);
        if (i % 2 == 1)
            ask(&asker, "FLUSHALL");
    }
}

static void steps_down_when_a_fence_is_higher(void **state)
{
    static struct owner owner;
    static struct asker asker;
    owner_open(&owner, *state, "r1/0", 7);
    AWAIT(owner.server, is_owner(&owner));
    asker_open(&asker, *state);
    uint32_t epoch = control_epoch(owner.control, 0);
    char command[64];
    snprintf(command, sizeof command, "SET t:{77}fence %u", epoch + 8);
    ask(&asker, command);
    ask(&asker, "DEL t:lease:r1/0"); /* so that it looks */
    AWAIT(owner.server, owner.stepped_down == 1);
    AWAIT(owner.server, owner.owned == 2);
    for (uint32_t slot = 0; slot < GID_SLOTS / 2; slot++)
        assert_int_equal(control_epoch(owner.control, slot), epoch + 10);
    owner_close(&owner);
}

static void steps_down_when_another_has_taken_its_name(void **state)
{
    static struct owner owner;
    static struct asker asker;
    owner_open(&owner, *state, "r1/0", 7);
    AWAIT(owner.server, is_owner(&owner));
    asker_open(&asker, *state);
    ask(&asker, "SET t:lease:r1/0 00000000deadbeef PX 300");
    AWAIT(owner.server, owner.stepped_down == 1);
    assert_false(control_owns(owner.control, 0));
    assert_false(may_write(&owner));
    AWAIT(owner.server, owner.owned == 2);
    owner_close(&owner);
}

static void says_that_the_map_does_not_name_it(void **state)
{
    static struct owner owner;
    struct control_options options = options_of("r1/0", 7);
    owner_open(&owner, *state, "r1/0", 7);
    AWAIT(owner.server, is_owner(&owner));
    owner_close(&owner);

    static const char *const others[] = {"r1/0", "r1/1", "r9/9"};
    owner = (struct owner){.server = *state};
    options.name = "r9/9";
    options.shard_names = others;
    options.shards = 3;
    owner.control = control_new(&options, &actions, &owner);
    const struct redis_events events = {on_up, on_down};
    owner.redis = real_redis_connect(owner.server, &events, &owner);
    AWAIT(owner.server, owner.maps == 1);
    assert_string_equal(control_not_ready(owner.control), "the slot map does not name this shard");
    owner_close(&owner);
}

/* Scripted: the n-th command of all fails; whatever it is, in the end the shard must own, and never
 * twice. */

struct script {
    struct control *control;
    struct {
        uint64_t tag;
        char verb[16], function[16];
        uint32_t keys;
    } queue[256];
    uint32_t queued, commands, fail_at;
    bool by_error;
    uint32_t owned, raised;
};

static bool script_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct script *script = ctx;
    script->commands++;
    if (script->commands == script->fail_at && !script->by_error)
        return false;
    assert_true(script->queued < 256);
    uint32_t at = script->queued++;
    script->queue[at].tag = tag;
    snprintf(script->queue[at].verb, 16, "%.*s", (int)args[0].len, (const char *)args[0].at);
    snprintf(script->queue[at].function, 16, "%.*s", (int)args[1].len, (const char *)args[1].at);
    script->queue[at].keys = count > 2 ? (uint32_t)strtoul((const char *)args[2].at, NULL, 10) : 0;
    return true;
}

static void script_owner(void *ctx)
{
    ((struct script *)ctx)->owned++;
}

static void script_map(void *ctx, const struct slotmap *map)
{
    (void)ctx, (void)map;
}

static void script_restored(void *ctx)
{
    (void)ctx;
}

static void script_stepped_down(void *ctx)
{
    (void)ctx;
    fail_msg("stepped down");
}

static void script_poll(void *ctx, uint64_t next_gid, uint64_t sites_revision)
{
    (void)ctx, (void)next_gid, (void)sites_revision;
}

static void script_answer(struct script *script, uint64_t now_ms, struct span map)
{
    static const struct reply one = {.kind = REPLY_INTEGER, .integer = 1};
    static const struct reply *ones[600];
    for (uint32_t i = 0; i < 600; i++)
        ones[i] = &one;
    for (uint32_t at = 0; at < script->queued; at++) {
        struct reply reply = {.kind = REPLY_NIL};
        const char *verb = script->queue[at].verb, *function = script->queue[at].function;
        if (strcmp(verb, "GET") == 0 && strcmp(function, "t:map") == 0)
            reply = (struct reply){.kind = REPLY_BULK, .text = map};
        else if (strcmp(function, "lahar_lease") == 0)
            reply = one;
        else if (strcmp(function, "lahar_raise") == 0)
            reply =
                (struct reply){.kind = REPLY_ARRAY, .at = ones, .len = script->queue[at].keys - 1};
        if (script->by_error && script->commands >= script->fail_at && script->fail_at != 0) {
            script->fail_at = 0;
            reply = (struct reply){.kind = REPLY_ERROR, .text = span_text("OOM as told")};
        }
        control_reply(script->control, script->queue[at].tag, &reply, now_ms);
    }
    script->queued = 0;
}

static void a_failure_at_any_step_is_made_good(void **state)
{
    (void)state;
    static const struct control_actions scripted = {script_command,      script_map,
                                                    script_owner,        script_restored,
                                                    script_stepped_down, script_poll};
    struct slotmap *map = slotmap_new_even(shards, 2);
    struct span packed = slotmap_pack(map);
    for (uint32_t run = 0; run < 120; run++) {
        struct script script = {.fail_at = 1 + run / 3, .by_error = run % 3 == 1};
        struct control_options options = options_of("r1/0", 7);
        script.control = control_new(&options, &scripted, &script);
        uint64_t now_ms = 1000;
        control_up(script.control, now_ms);
        for (uint32_t turn = 0; turn < 100; turn++, now_ms += 50) {
            if (run % 3 == 2 && script.commands >= script.fail_at && script.fail_at != 0) {
                script.fail_at = 0;
                for (uint32_t at = 0; at < script.queued; at++)
                    control_reply(script.control, script.queue[at].tag, NULL, now_ms);
                script.queued = 0;
                control_down(script.control, now_ms);
                control_up(script.control, now_ms);
            }
            script_answer(&script, now_ms, packed);
            control_tick(script.control, now_ms);
        }
        assert_null(control_not_ready(script.control));
        assert_int_equal(script.owned, 1);
        assert_true(control_epoch(script.control, 0) == 1);
        control_free(script.control);
    }
    free((void *)(uintptr_t)packed.at);
    slotmap_free(map);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(two_shards_share_the_slots_and_raise_their_epochs),
        REAL(a_second_process_of_a_name_waits_until_the_first_is_gone),
        REAL(a_lease_given_back_is_taken_at_once),
        REAL(goes_on_without_redis_but_stops_what_the_store_fences),
        REAL(writes_its_fences_anew_when_redis_has_lost_everything),
        REAL(epochs_that_begin_after_a_loss_are_above_all_before),
        REAL(steps_down_when_a_fence_is_higher),
        REAL(steps_down_when_another_has_taken_its_name),
        REAL(says_that_the_map_does_not_name_it),
        cmocka_unit_test(a_failure_at_any_step_is_made_good),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
