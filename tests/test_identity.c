/* identity: one GID a user, one user a GID, with a real Redis that comes and goes. needs: redis */
#include "router/functions.h"
#include "router/identity.h"
#include "tests/real_redis.h"

#define REQS_MAX 8192u

struct shard {
    struct real_redis *server;
    struct redis *redis;
    struct identity *identity;
    bool may_write, lose; /* replies come as if the connection was lost */
    uint32_t epoch, answered;
    enum identity_outcome outcome[REQS_MAX];
    uint64_t gid[REQS_MAX];
    uint32_t answers[REQS_MAX];
};

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct shard *shard = ctx;
    if (shard->identity != NULL)
        identity_reply(shard->identity, tag, shard->lose ? NULL : reply);
}

static bool command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct shard *shard = ctx;
    assert_true(tag >> 56 == 0);
    return redis_send(shard->redis, args, count, on_reply, shard, tag);
}

static void resolved(void *ctx, uint32_t edge, uint64_t req, enum identity_outcome outcome,
                     uint64_t gid)
{
    struct shard *shard = ctx;
    assert_int_equal(edge, 5);
    assert_true(req < REQS_MAX);
    shard->outcome[req] = outcome;
    shard->gid[req] = gid;
    shard->answers[req]++;
    shard->answered++;
}

static bool may_write(void *ctx)
{
    return ((struct shard *)ctx)->may_write;
}

static uint32_t epoch(void *ctx, uint32_t slot)
{
    (void)slot;
    return ((struct shard *)ctx)->epoch;
}

static const struct identity_actions actions = {command, resolved, may_write, epoch};

static void ignore_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    (void)ctx, (void)tag, (void)reply;
}

static bool functions_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct shard *shard = ctx;
    return redis_send(shard->redis, args, count, ignore_reply, shard, tag);
}

static void on_up(void *ctx)
{
    struct shard *shard = ctx;
    if (shard->identity == NULL)
        return;
    functions_begin(functions_command, shard);
    identity_up(shard->identity);
}

static void on_down(void *ctx, const char *why)
{
    struct shard *shard = ctx;
    (void)why;
    if (shard->identity != NULL)
        identity_down(shard->identity);
}

static void open_shard(struct shard *shard, struct real_redis *server, uint32_t cache_max)
{
    const struct identity_options options = {"t:", cache_max, 4000};
    const struct redis_events events = {on_up, on_down};
    *shard = (struct shard){.server = server, .may_write = true, .epoch = 3};
    shard->identity = identity_new(&options, &actions, shard);
    shard->redis = real_redis_connect(server, &events, shard);
    AWAIT(server, redis_is_up(shard->redis));
}

static void close_shard(struct shard *shard)
{
    identity_free(shard->identity);
    shard->identity = NULL;
}

static void fence_all(struct asker *asker, struct real_redis *server)
{
    asker_open(asker, server);
    static char key[GID_SLOTS][24];
    static struct span args[1 + 2 * GID_SLOTS];
    args[0] = span_text("MSET");
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        snprintf(key[slot], sizeof key[slot], "t:{%u}fence", slot);
        args[1 + 2 * slot] = span_text(key[slot]);
        args[2 + 2 * slot] = span_text("3");
    }
    asker->answered = false;
    assert_true(redis_send(asker->redis, args, 1 + 2 * GID_SLOTS, asker_reply, asker, 0));
    AWAIT(server, asker->answered);
    assert_string_equal(asker->text, "OK");
}

static void poll(struct shard *shard, struct asker *asker)
{
    identity_poll(shard->identity, strtoull(ask(asker, "GET t:gids"), NULL, 10));
}

static void resolve(struct shard *shard, uint64_t req, const char *user, bool may_create)
{
    identity_resolve(shard->identity, 5, req, span_text("game"), span_text(user), may_create);
}

/* As when control asks each second. */
#define AWAIT_POLLING(shard, asker, condition)                                                     \
    for (uint32_t polls = 0; !(condition); polls++) {                                              \
        assert_true(polls < 1000);                                                                 \
        poll(shard, asker);                                                                        \
        loop_turn((shard)->server->loop, 20);                                                      \
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

static struct shard a, b;
static struct asker asker;

static void a_user_has_one_gid_wherever_and_whenever_asked(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 100);
    open_shard(&b, *state, 100);
    /* Twice in one turn, and by two shards at once. */
    resolve(&a, 0, "ann", true);
    resolve(&a, 1, "ann", true);
    resolve(&b, 0, "ann", true);
    resolve(&b, 1, "bob", true);
    identity_resolve(b.identity, 5, 2, span_text("social"), span_text("ann"), true);
    AWAIT_POLLING(&a, &asker, a.answered == 2);
    AWAIT_POLLING(&b, &asker, b.answered == 3);
    assert_int_equal(a.outcome[0], IDENTITY_OK);
    assert_true(a.gid[0] >= GID_FIRST_USER);
    assert_true(a.gid[0] == a.gid[1] && a.gid[0] == b.gid[0]);
    assert_true(b.gid[1] != b.gid[0] && b.gid[2] != b.gid[0] && b.gid[1] != b.gid[2]);
    resolve(&a, 2, "bob", false);
    AWAIT(a.server, a.answered == 3);
    assert_true(a.gid[2] == b.gid[1]);
    uint32_t before = a.answered;
    resolve(&a, 3, "bob", false); /* remembered: answered at once */
    assert_int_equal(a.answered, before + 1);
    close_shard(&a);
    close_shard(&b);
}

static int by_value(const void *x, const void *y)
{
    uint64_t p = *(const uint64_t *)x, q = *(const uint64_t *)y;
    return p < q ? -1 : p > q;
}

static void thousands_of_new_users_of_two_shards_get_different_gids(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 50);
    open_shard(&b, *state, 50);
    uint32_t rounds = 0;
    for (uint32_t user = 0; user < 6000; user++) {
        char name[16];
        snprintf(name, sizeof name, "u%u", user);
        resolve(user % 2 ? &a : &b, user, name, true);
        for (; user % 250 == 0 && (a.answered + b.answered <= user); rounds++) {
            assert_true(rounds < 5000);
            poll(&a, &asker);
            poll(&b, &asker);
            loop_turn(a.server->loop, 1);
        }
    }
    AWAIT_POLLING(&a, &asker, a.answered == 3000);
    AWAIT_POLLING(&b, &asker, b.answered == 3000);
    static uint64_t gids[6000];
    for (uint32_t user = 0; user < 6000; user++) {
        const struct shard *shard = user % 2 ? &a : &b;
        assert_int_equal(shard->answers[user], 1);
        assert_int_equal(shard->outcome[user], IDENTITY_OK);
        gids[user] = shard->gid[user];
    }
    qsort(gids, 6000, sizeof gids[0], by_value);
    for (uint32_t i = 1; i < 6000; i++)
        assert_true(gids[i - 1] < gids[i]);
    close_shard(&a);
    close_shard(&b);
}

static void nobody_is_made_where_the_site_forbids_it(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve(&a, 0, "ann", false);
    AWAIT(a.server, a.answered == 1);
    assert_int_equal(a.outcome[0], IDENTITY_NO_USER);
    close_shard(&a);
}

static void a_stale_epoch_makes_nobody(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    a.epoch = 2;
    resolve(&a, 0, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 1);
    assert_int_equal(a.outcome[0], IDENTITY_BUSY);
    a.epoch = 3;
    a.may_write = false;
    resolve(&a, 1, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 2);
    assert_int_equal(a.outcome[1], IDENTITY_BUSY);
    resolve(&a, 2, "ann", false);
    AWAIT(a.server, a.answered == 3);
    assert_int_equal(a.outcome[2], IDENTITY_NO_USER);
    close_shard(&a);
}

static void is_busy_while_redis_is_away_but_knows_whom_it_knew(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve(&a, 0, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 1);
    real_redis_kill(a.server);
    AWAIT(a.server, !redis_is_up(a.redis));
    resolve(&a, 1, "ann", true);
    resolve(&a, 2, "bob", true);
    assert_int_equal(a.answered, 3);
    assert_int_equal(a.outcome[1], IDENTITY_OK);
    assert_true(a.gid[1] == a.gid[0]);
    assert_int_equal(a.outcome[2], IDENTITY_BUSY);
    real_redis_start(a.server);
    AWAIT(a.server, redis_is_up(a.redis));
    resolve(&a, 3, "bob", true);
    AWAIT_POLLING(&a, &asker, a.answered == 4);
    assert_int_equal(a.outcome[3], IDENTITY_OK);
    close_shard(&a);
}

static void those_who_wait_for_a_number_are_told_when_redis_goes(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve(&a, 0, "ann", true);
    AWAIT(a.server, redis_in_flight(a.redis) == 0);
    assert_int_equal(a.answered, 0); /* the block is too young */
    real_redis_kill(a.server);
    AWAIT(a.server, a.answered == 1);
    assert_int_equal(a.outcome[0], IDENTITY_BUSY);
    close_shard(&a);
}

static void a_number_whose_fate_is_unknown_is_not_used_again(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve(&a, 0, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 1);
    a.lose = true; /* from the making on */
    resolve(&a, 1, "bob", true);
    AWAIT(a.server, a.answered == 2);
    assert_int_equal(a.outcome[1], IDENTITY_BUSY);
    a.lose = false;
    for (uint64_t req = 2; req < 400; req++) {
        char name[16];
        snprintf(name, sizeof name, "u%u", (unsigned)req);
        resolve(&a, req, name, true);
        a.lose = req % 7 == 0;
        AWAIT_POLLING(&a, &asker, a.answered == req + 1);
        a.lose = false;
    }
    /* Whoever was told a GID has it alone, also against those who were made without our hearing of
     * it. */
    open_shard(&b, *state, 10);
    for (uint64_t req = 2; req < 400; req++) {
        char name[16];
        snprintf(name, sizeof name, "u%u", (unsigned)req);
        resolve(&b, req, name, false);
    }
    AWAIT(b.server, b.answered == 398);
    for (uint64_t req = 2; req < 400; req++) {
        if (a.outcome[req] == IDENTITY_OK)
            assert_true(a.gid[req] == b.gid[req]);
        for (uint64_t other = 2; other < req; other++)
            assert_true(b.gid[req] == 0 || b.gid[req] != b.gid[other]);
    }
    close_shard(&a);
    close_shard(&b);
}

static void numbers_are_not_handed_out_twice_when_redis_has_lost_the_counter(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve(&a, 0, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 1);
    ask(&asker, "DEL t:gids");
    for (uint64_t req = 1; req < 1500; req++) {
        char name[16];
        snprintf(name, sizeof name, "u%u", (unsigned)req);
        resolve(&a, req, name, true);
    }
    AWAIT_POLLING(&a, &asker, a.answered == 1500);
    static uint64_t gids[1500];
    memcpy(gids, a.gid, sizeof gids);
    qsort(gids, 1500, sizeof gids[0], by_value);
    for (uint32_t i = 1; i < 1500; i++)
        assert_true(gids[i - 1] < gids[i]);
    close_shard(&a);
}

static void resolve_many(struct shard *shard, const char *prefix, uint64_t first, uint64_t end)
{
    for (uint64_t req = first; req < end; req++) {
        char name[24];
        snprintf(name, sizeof name, "%s%u", prefix, (unsigned)req);
        resolve(shard, req, name, true);
    }
}

/* Two of three shards have taken blocks that the others have not read of. One of them is gone. */
static void shards_that_find_the_counter_lost_do_not_take_the_same_numbers(void **state)
{
    static struct shard c;
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve(&a, 0, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 1);
    open_shard(&b, *state, 10);
    AWAIT(b.server, redis_in_flight(b.redis) == 0);
    ask(&asker, "DEL t:gids");
    resolve_many(&a, "a", 1, 700); /* takes the next block */
    open_shard(&c, *state, 10);    /* has never seen the counter */
    AWAIT(c.server, redis_in_flight(a.redis) == 0 && redis_in_flight(c.redis) == 0);
    resolve_many(&a, "a", 700, 2000);
    resolve_many(&b, "b", 0, 2000);
    resolve_many(&c, "c", 0, 2000);
    AWAIT_POLLING(&a, &asker,
                  (poll(&b, &asker), poll(&c, &asker),
                   a.answered == 2000 && b.answered == 2000 && c.answered == 2000));
    static uint64_t gids[6000];
    memcpy(gids, a.gid, 2000 * sizeof gids[0]);
    memcpy(gids + 2000, b.gid, 2000 * sizeof gids[0]);
    memcpy(gids + 4000, c.gid, 2000 * sizeof gids[0]);
    qsort(gids, 6000, sizeof gids[0], by_value);
    for (uint32_t i = 1; i < 6000; i++)
        assert_true(gids[i - 1] < gids[i]);
    close_shard(&a);
    close_shard(&b);
    close_shard(&c);
}

/* As it happens when the first shard up after a loss is one that was never up before it. */
static void a_counter_that_began_anew_is_raised_above_what_was_taken(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    resolve_many(&a, "a", 0, 2000);
    AWAIT_POLLING(&a, &asker, a.answered == 2000);
    ask(&asker, "DEL t:gids");
    open_shard(&b, *state, 10); /* takes what a has */
    AWAIT(b.server, redis_in_flight(b.redis) == 0);
    poll(&a, &asker);
    AWAIT(a.server, redis_in_flight(a.redis) == 0);
    resolve(&b, 0, "bob", true);
    AWAIT_POLLING(&b, &asker, b.answered == 1);
    assert_int_equal(b.outcome[0], IDENTITY_OK);
    assert_true(b.gid[0] > a.gid[1999] + IDENTITY_BLOCK);
    close_shard(&a);
    close_shard(&b);
}

static void only_the_first_of_many_new_users_wait_for_numbers(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    AWAIT(a.server, redis_in_flight(a.redis) == 0);
    poll(&a, &asker);
    poll(&a, &asker);
    for (uint64_t req = 0; req < 8100; req += 900) { /* 900 from poll to poll */
        resolve_many(&a, "u", req, req + 900);
        AWAIT(a.server, redis_in_flight(a.redis) == 0);
        if (req >= 3600)
            assert_int_equal(a.answered, req + 900);
        poll(&a, &asker);
        AWAIT(a.server, redis_in_flight(a.redis) == 0);
    }
    close_shard(&a);
}

static void a_block_that_redis_may_have_forgotten_is_not_used(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10); /* takes a first block */
    AWAIT(a.server, redis_in_flight(a.redis) == 0);
    ask(&asker, "DEL t:gids");
    real_redis_kill(a.server);
    AWAIT(a.server, !redis_is_up(a.redis));
    real_redis_start(a.server);
    open_shard(&b, *state, 10);
    AWAIT(b.server, redis_is_up(a.redis));
    resolve(&a, 0, "ann", true);
    resolve(&b, 0, "bob", true);
    AWAIT_POLLING(&a, &asker, (poll(&b, &asker), a.answered == 1 && b.answered == 1));
    assert_int_equal(a.outcome[0], IDENTITY_OK);
    assert_int_equal(b.outcome[0], IDENTITY_OK);
    assert_true(a.gid[0] != b.gid[0]);
    close_shard(&a);
    close_shard(&b);
}

static void without_redis_any_number_may_have_been_handed_out(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    AWAIT(a.server, redis_in_flight(a.redis) == 0);
    poll(&a, &asker);
    assert_false(identity_handed_out(a.identity, GID_FIRST_USER + 5000));
    real_redis_kill(a.server);
    AWAIT(a.server, !redis_is_up(a.redis));
    assert_true(identity_handed_out(a.identity, GID_FIRST_USER + 5000));
    real_redis_start(a.server);
    close_shard(&a);
}

static void knows_which_numbers_were_handed_out(void **state)
{
    fence_all(&asker, *state);
    open_shard(&a, *state, 10);
    open_shard(&b, *state, 10);
    assert_true(identity_handed_out(b.identity, GID_FIRST_USER)); /* for all that it knows */
    identity_poll(b.identity, GID_FIRST_USER);
    assert_false(identity_handed_out(b.identity, GID_FIRST_USER));
    resolve(&a, 0, "ann", true);
    AWAIT_POLLING(&a, &asker, a.answered == 1);
    poll(&b, &asker);
    assert_true(identity_handed_out(b.identity, a.gid[0]));
    assert_false(identity_handed_out(b.identity, 1));
    assert_false(identity_handed_out(b.identity, 0));
    assert_false(identity_handed_out(b.identity, UINT64_C(1) << 52));
    assert_false(identity_handed_out(b.identity, UINT64_C(1) << 60 | a.gid[0]));
    close_shard(&a);
    close_shard(&b);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(a_user_has_one_gid_wherever_and_whenever_asked),
        REAL(thousands_of_new_users_of_two_shards_get_different_gids),
        REAL(nobody_is_made_where_the_site_forbids_it),
        REAL(a_stale_epoch_makes_nobody),
        REAL(is_busy_while_redis_is_away_but_knows_whom_it_knew),
        REAL(those_who_wait_for_a_number_are_told_when_redis_goes),
        REAL(a_number_whose_fate_is_unknown_is_not_used_again),
        REAL(numbers_are_not_handed_out_twice_when_redis_has_lost_the_counter),
        REAL(shards_that_find_the_counter_lost_do_not_take_the_same_numbers),
        REAL(a_counter_that_began_anew_is_raised_above_what_was_taken),
        REAL(only_the_first_of_many_new_users_wait_for_numbers),
        REAL(a_block_that_redis_may_have_forgotten_is_not_used),
        REAL(without_redis_any_number_may_have_been_handed_out),
        REAL(knows_which_numbers_were_handed_out),
    };
    return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
