/* The limits of a shard, each at its limit and one beyond it, and what is exported of it. */
#include "router/edges.h"
#include "router/roster_table.h"
#include "router/shard_table.h"
#include "tests/limit_expect.h"
#include "tests/shard_world.h"

#define ADMIN 5u
#define QUEUE 100000u
#define RESOLVES 20000u

static struct world world;

/* Another process, with these options. */
static void restart(void)
{
    world_end(&world);
    world_begin(&world, 8);
    world_redis_up(&world);
    world_await_ready(&world);
    world_edge(&world, 0, 3, NULL, 0);
    world_edge(&world, 1, 4, NULL, 0);
    fake_set_text(&world.redis, "t:gids", "9000000");
    world_pass(&world, 5000);
    world_forget_heard(&world);
}

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static void look(void)
{
    (void)world_metric(&world, ROUTER_METRIC_SENDS);
}

/* The n-th message of this sender, none of which is settled. */
static void say(uint64_t from, uint64_t to, uint32_t n, size_t bytes)
{
    static uint8_t cmid[GID_CMID_SIZE], body[8192];
    cmid[0] = (uint8_t)n;
    struct hot_link_send send = {.from = from,
                                 .device = 1,
                                 .session = (uint64_t)1 << 32 | 70,
                                 .send = {.to = to,
                                          .seq = n,
                                          .settled = 1,
                                          .class = HOT_CONFIRMED,
                                          .cmid = span_of(cmid, sizeof cmid),
                                          .body = span_of(body, bytes)}};
    world_send_message(&world, 1, &send);
}

/* The reason of the one answer that the sender has had; NACK_NONE: there is none. */
static enum nack_reason nacked(void)
{
    struct hot_answer answer;
    const struct heard *heard = world_next(&world, 1, FRAME(ANSWER));
    if (heard == NULL)
        return NACK_NONE;
    assert_true(hot_answer_read(fake_span(heard->bytes), &answer));
    assert_null(world_next(&world, 1, FRAME(ANSWER)));
    return answer.reason;
}

static void received(uint64_t gid, uint64_t session, uint64_t dseq)
{
    static uint8_t bytes[128];
    struct hot_received said = {gid, session, dseq};
    struct span rest = span_of(bytes, hot_link_received_write(bytes, &said)), body;
    assert_int_equal(frame_take(&rest, 128, &body), FRAME_READY);
    world_set_time(&world);
    shard_link_frame(world.shard, 0, body);
}

/* `count` are taken and the next one is BUSY. */
static void takes(uint32_t count, size_t bytes)
{
    uint64_t from = world_foreign_gid(), to = world_gid(0);
    assert_true(world_bind(&world, 0, to, 1) != 0);
    for (uint32_t n = 1; n <= count; n++)
        say(from, to, n, bytes);
    assert_int_equal(nacked(), NACK_NONE);
    say(from, to, count + 1, bytes);
    assert_int_equal(nacked(), NACK_BUSY);
    look();
}

static void so_many_messages_are_pending_and_not_one_more(void **state)
{
    (void)state;
    world.options.flight.pending_max = 3;
    restart();
    takes(3, 10);
    EXPECT_LIMIT(world.metrics, ROUTER, PENDING, 3, 3, 1);
}

static void so_many_bytes_are_pending_and_not_one_message_more(void **state)
{
    (void)state;
    world.options.flight.pending_bytes_max = 4000;
    restart();
    takes(2, 2000);
    EXPECT_LIMIT(world.metrics, ROUTER, PENDING_BYTES, 4000, 4000, 1);
}

static void a_session_has_so_many_unacknowledged_and_not_one_more(void **state)
{
    (void)state;
    world.options.flight.lane_entries_max = 8;
    restart();
    takes(8, 10);
    EXPECT_LIMIT(world.metrics, ROUTER, UNACKNOWLEDGED, 8, 8, 1);
}

static void so_many_outcomes_are_kept_then_the_oldest_goes(void **state)
{
    (void)state;
    world.options.flight.outcomes_max = 4;
    restart();
    uint64_t from = world_foreign_gid(), to = world_gid(0);
    uint64_t session = world_bind(&world, 0, to, 1);
    for (uint32_t n = 1; n <= 5; n++) {
        look();
        EXPECT_LIMIT(world.metrics, ROUTER, OUTCOMES, n - 1, 4, 0);
        say(from, to, n, 10);
        received(to, session, n);
    }
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, OUTCOMES, 4, 4, 1);
}

static void so_many_conversations_are_kept_then_the_oldest_goes(void **state)
{
    (void)state;
    world.options.flight.convs_max = 2;
    restart();
    for (uint32_t n = 0; n < 3; n++) {
        look();
        EXPECT_LIMIT(world.metrics, ROUTER, CONVERSATIONS, n, 2, 0);
        say(world_foreign_gid(), world_gid(n), 1, 10);
        assert_int_equal(nacked(), NACK_OFFLINE);
    }
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, CONVERSATIONS, 2, 2, 1);
}

static void a_user_has_ten_devices_and_not_one_more(void **state)
{
    (void)state;
    restart();
    for (uint64_t device = 1; device <= 10; device++)
        assert_true(world_bind(&world, 0, world_gid(0), device) != 0);
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, DEVICES, 10, 10, 0);
    assert_int_equal(world_bind(&world, 0, world_gid(0), 11), 0);
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, DEVICES, 10, 10, 1);
}

static void so_many_sessions_are_recorded_and_not_one_more(void **state)
{
    (void)state;
    world.options.sessions_max = 3;
    restart();
    for (uint32_t n = 0; n < 4; n++)
        assert_int_equal(world_bind(&world, 0, world_gid(n), 1) != 0, n < 3);
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, SESSIONS, 3, 3, 1);
}

static bool kicked(uint32_t n)
{
    Lahar__Link__V1__Kick kick = LAHAR__LINK__V1__KICK__INIT;
    kick.gid = world_gid(n);
    SAY(&world, ADMIN, ADMIN_REQUEST, admin_request, AdminRequest, BASE(admin_request),
        .req = n + 1, .what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_KICK, .kick = &kick);
    world_turn(&world);
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    return reply->error.len == 0;
}

static void so_many_kicks_are_remembered_and_not_one_more(void **state)
{
    (void)state;
    restart();
    world_link_up(&world, ADMIN, KEYS_ADMIN);
    for (uint32_t n = 0; n < 11; n++)
        assert_int_equal(kicked(n), n < 10);
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, KICKS, 10, 10, 1);
}

/* While Redis does not answer. */
static void so_many_resolves_wait_and_not_one_more(void **state)
{
    (void)state;
    restart();
    for (uint32_t n = 0, taken = 0; taken <= RESOLVES; n++) {
        char user[16];
        snprintf(user, sizeof user, "u%u", n);
        if (gid_user_hash(span_text("game"), span_text(user)) % GID_SLOTS >= GID_SLOTS / SHARDS)
            continue;
        SAY(&world, 0, RESOLVE, resolve, Resolve, BASE(resolve), .req = ++taken,
            .site = unpack_data(span_text("game")), .user = unpack_data(span_text(user)));
        const Lahar__Link__V1__Resolved *resolved = TAKE(&world, 0, RESOLVED, resolved);
        assert_int_equal(resolved != NULL, taken > RESOLVES);
    }
    world.redis.up = false;
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, RESOLVES, RESOLVES, RESOLVES, 1);
}

/* The next GID of ours from there on. */
static uint64_t ours(uint64_t gid)
{
    while (gid_slot(gid) >= GID_SLOTS / SHARDS)
        gid++;
    return gid;
}

static void so_many_presence_writes_wait_then_all_are_dropped(void **state)
{
    (void)state;
    restart();
    uint64_t gid = ours(GID_FIRST_USER);
    world.redis.up = false; /* it takes nothing and says nothing */
    for (uint32_t n = 0; n < QUEUE; n++, gid = ours(gid + 1)) {
        assert_true(world_bind(&world, 0, gid, 1) != 0);
        world_forget_heard(&world);
        arena_reset(world.arena);
    }
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, STORE_QUEUE, QUEUE, QUEUE, 0);
    assert_true(world_bind(&world, 0, gid, 1) != 0);
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, STORE_QUEUE, 0, QUEUE, QUEUE + 1);
}

static void so_many_edges_are_known_and_not_one_more(void **state)
{
    (void)state;
    restart();
    for (uint32_t number = 10; number < 10 + EDGES_MAX - 2; number++)
        assert_non_null(edges_make(world.shard->roster->edges, number, world.now_ms));
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, EDGES, EDGES_MAX, EDGES_MAX, 0);
    world_link_up(&world, 2, KEYS_EDGE);
    world_hello(&world, 2, 10 + EDGES_MAX);
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, EDGES, EDGES_MAX, EDGES_MAX, 1);
}

static void so_many_sites_are_shared_out_and_not_one_more(void **state)
{
    (void)state;
    restart();
    const struct shares_amounts limit = {{10, 10, 10}};
    const struct shares_use use = {{{0}}, {{0}}, 0};
    struct shares_amounts share;
    uint32_t edges;
    for (uint32_t i = 0; i <= SHARES_SITES_MAX; i++) {
        uint8_t id[4] = {'a', (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(shares_use(world.shard->shares, span_of(id, 4), &limit, 1, &use,
                                    world.now_ms, &share, &edges),
                         i < SHARES_SITES_MAX);
    }
    look();
    EXPECT_LIMIT(world.metrics, ROUTER, SITES_SHARED, SHARES_SITES_MAX, SHARES_SITES_MAX, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(so_many_messages_are_pending_and_not_one_more),
        TEST(so_many_bytes_are_pending_and_not_one_message_more),
        TEST(a_session_has_so_many_unacknowledged_and_not_one_more),
        TEST(so_many_outcomes_are_kept_then_the_oldest_goes),
        TEST(so_many_conversations_are_kept_then_the_oldest_goes),
        TEST(a_user_has_ten_devices_and_not_one_more),
        TEST(so_many_sessions_are_recorded_and_not_one_more),
        TEST(so_many_kicks_are_remembered_and_not_one_more),
        TEST(so_many_resolves_wait_and_not_one_more),
        TEST(so_many_presence_writes_wait_then_all_are_dropped),
        TEST(so_many_edges_are_known_and_not_one_more),
        TEST(so_many_sites_are_shared_out_and_not_one_more),
    };
    return cmocka_run_group_tests_name("shard limits", tests, NULL, NULL);
}
