/* shard: its life. It starts, starts again in the place of a dead one, loses Redis and steps down.
 */
#include "tests/shard_world.h"

static struct world world;

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

static const uint8_t cmid[16] = "0123456789abcdef";

static void send_confirmed(uint32_t peer, uint64_t to)
{
    struct hot_link_send send = {.from = world_foreign_gid(),
                                 .device = 1,
                                 .session = (uint64_t)1 << 32 | 70,
                                 .send = {.to = to,
                                          .seq = 1,
                                          .settled = 1,
                                          .class = HOT_CONFIRMED,
                                          .cmid = span_of(cmid, 16),
                                          .body = span_text("hello")}};
    world_send_message(&world, peer, &send);
}

/* The reason, or 0 if there was no answer, or 100 if it was acknowledged. */
static uint32_t hear_answer(uint32_t peer)
{
    struct hot_answer answer;
    const struct heard *heard = world_next(&world, peer, FRAME(ANSWER));
    if (heard == NULL)
        return 0;
    assert_true(hot_answer_read(fake_span(heard->bytes), &answer));
    return answer.level == HOT_LEVEL_DELIVERED ? 100 : answer.reason;
}

static bool hear_deliver(uint32_t peer)
{
    return world_next(&world, peer, FRAME(DELIVER)) != NULL;
}

/* kill -9, and a new process at once. */
static void restart(uint64_t incarnation)
{
    world_end(&world);
    world_begin(&world, incarnation);
    world_redis_up(&world);
}

static void says_what_it_waits_for(void **state)
{
    (void)state;
    world_end(&world);
    world_begin(&world, 8);
    assert_string_equal(shard_not_ready(world.shard), "Redis is away");
    world_redis_up(&world);
    world_turn(&world);
    world_turn(&world);
    assert_string_equal(shard_not_ready(world.shard), "another process holds this shard's lease");
    world_await_ready(&world);
    assert_int_equal(world.map_epoch, 1);
    shard_leave(world.shard);
    assert_string_equal(shard_not_ready(world.shard), "leaving");
}

static void before_it_serves_it_answers_nothing(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    restart(8);
    world_link_up(&world, 0, KEYS_EDGE);
    world_hello(&world, 0, 3);
    send_confirmed(0, world_gid(0));
    SAY(&world, 0, BIND, bind, Bind, BASE(bind), .req = 99, .gid = world_gid(0), .device = 1);
    world_turn(&world);
    assert_int_equal(hear_answer(0), 0);
    assert_null(world_next(&world, 0, FRAME(BOUND)));
    assert_int_equal(world_round(&world, 0), 0);
    world_await_ready(&world);
    assert_int_not_equal(world_round(&world, 0), 0);
}

static void after_a_restart_a_user_is_not_offline_before_its_edge_has_spoken(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 0, 3, NULL, 0);
    uint64_t session = world_bind(&world, 0, gid, 1);
    world_pass(&world, 500);
    restart(8);
    world_link_up(&world, 1, KEYS_EDGE); /* the sender's edge is first */
    world_hello(&world, 1, 4);
    world_await_ready(&world);
    world_done(&world, 1, world_round(&world, 1), 0);
    send_confirmed(1, gid);
    world_pass(&world, 1500);
    assert_int_equal(hear_answer(1), 0);
    struct said said = {gid, 1, session, 7};
    world_edge(&world, 0, 3, &said, 1);
    world_turn(&world);
    assert_true(hear_deliver(0));
    uint8_t bytes[64];
    struct hot_received received = {gid, session, 8};
    struct span rest = span_of(bytes, hot_link_received_write(bytes, &received)), body;
    assert_int_equal(frame_take(&rest, 64, &body), FRAME_READY);
    shard_link_frame(world.shard, 0, body);
    assert_int_equal(hear_answer(1), 100);
    /* And its sessions go on growing. */
    assert_true(world_bind(&world, 0, gid, 1) > session);
}

static void so_too_when_presence_is_gone_from_redis(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 1, 4, NULL, 0);
    fake_redis_flush(&world.redis);
    fake_set_text(&world.redis, "t:gids", "9000000");
    restart(8);
    world_link_up(&world, 1, KEYS_EDGE);
    world_hello(&world, 1, 4);
    world_await_ready(&world);
    world_done(&world, 1, world_round(&world, 1), 0);
    send_confirmed(1, gid);
    world_pass(&world, 1000);
    assert_int_equal(hear_answer(1), 0);
    struct said said = {gid, 1, 11, 7};
    world_edge(&world, 0, 3, &said, 1);
    world_turn(&world);
    assert_true(hear_deliver(0));
}

/* What the edge said meanwhile waits in the link. */
static void nor_after_the_shard_stood_still(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 1, 4, NULL, 0);
    fake_redis_flush(&world.redis);
    fake_set_text(&world.redis, "t:gids", "9000000");
    restart(8);
    world_link_up(&world, 1, KEYS_EDGE);
    world_hello(&world, 1, 4);
    world_await_ready(&world);
    world_done(&world, 1, world_round(&world, 1), 0);
    send_confirmed(1, gid);
    world.now_ms += 4000;
    world_pass(&world, 100);
    assert_int_equal(hear_answer(1), 0);
    world_pass(&world, 2000);
    assert_int_equal(hear_answer(1), NACK_OFFLINE);
}

static void when_all_have_spoken_or_two_seconds_later_offline_is_said(void **state)
{
    (void)state;
    fake_set_text(&world.redis, "t:gids", "9000000");
    for (uint32_t run = 0; run < 2; run++) {
        world_edge(&world, 0, 3, NULL, 0);
        (void)world_bind(&world, 0, world_gid(1), 1);
        world_pass(&world, 500);
        restart(8 + run);
        world_link_up(&world, 1, KEYS_EDGE);
        world_hello(&world, 1, 4);
        world_await_ready(&world);
        world_done(&world, 1, world_round(&world, 1), 0);
        send_confirmed(1, world_gid(0));
        world_pass(&world, 100);
        assert_int_equal(hear_answer(1), 0); /* one edge is named by what was loaded */
        if (run == 0)
            world_edge(&world, 0, 3, NULL, 0);
        world_pass(&world, run == 0 ? 200 : 2000);
        assert_int_equal(hear_answer(1), NACK_OFFLINE);
        memset(world.up, 0, sizeof world.up);
        world_end(&world);
        world_begin(&world, 20 + run);
        world_redis_up(&world);
        world_await_ready(&world);
    }
}

static void what_no_edge_announces_is_dropped_from_redis_too(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    (void)world_bind(&world, 0, world_gid(0), 1);
    world_pass(&world, 500);
    restart(8);
    world_await_ready(&world);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 1);
    world_pass(&world, 6000 + 4000); /* likely_ms, and a sweep */
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 0);
    restart(9);
    world_await_ready(&world);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 0);
}

static void without_redis_users_come_go_and_talk(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 0, 3, NULL, 0);
    world_edge(&world, 1, 4, NULL, 0);
    world_redis_down(&world);
    world_pass(&world, 10000);
    uint64_t session = world_bind(&world, 0, gid, 1);
    assert_true(session != 0);
    send_confirmed(1, gid);
    assert_true(hear_deliver(0));
    (void)world_bind(&world, 0, world_gid(1), 1);
    assert_true(world_ready(&world));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_MAY_WRITE), 0);
    fake_redis_flush(&world.redis); /* and presence is gone when it comes back */
    world_redis_up(&world);
    world_pass(&world, 3000);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_MAY_WRITE), 1);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_STORE_TO_WRITE), 0);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_STEPPED_DOWN), 0);
    restart(8);
    world_await_ready(&world);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 2);
}

static void steps_down_when_another_took_its_name_and_forgets_everything(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 0, 3, NULL, 0);
    (void)world_bind(&world, 0, gid, 1);
    send_confirmed(0, gid);
    world_redis_down(&world);
    world_pass(&world, 4000);
    fake_set_text(&world.redis, "t:lease:r1/0", "00000000deadbeef");
    world_redis_up(&world);
    world_pass(&world, 1500);
    assert_int_equal(world.renewed, 1);
    assert_false(world_ready(&world));
    world_forget_heard(&world);
    send_confirmed(0, gid);
    assert_int_equal(world.heard_count, 0);
    world_pass(&world, 1000);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_RECORDS), 0);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_SENDS),
                     metrics_get(world.metrics, ROUTER_METRIC_SENDS_UNKNOWN));
    /* The link begins anew, and so does the shard when the other is gone. */
    world_link_down(&world, 0);
    fake_set_text(&world.redis, "t:lease:r1/0", "0000000000000007");
    world_await_ready(&world);
    world_edge(&world, 0, 3, NULL, 0);
    assert_int_equal(gid_session_epoch(world_bind(&world, 0, gid, 1)), 2);
}

static bool is_in_redis(uint64_t gid, uint64_t device)
{
    uint64_t hash = gid_hash(gid), field[2] = {htole64(gid), htole64(device)};
    char key[64];
    snprintf(key, sizeof key, "t:{%u}p%u", gid_slot(gid), (unsigned)(hash / PRESENCE_SLOTS % 16));
    struct fake_bytes name = fake_field(span_text(key), span_of((const uint8_t *)field, 16));
    bool is = fake_find(&world.redis, fake_span(name)) != NULL;
    free(name.at);
    return is;
}

static void who_stood_still_past_his_lease_writes_nothing_before_he_has_it_again(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    (void)world_bind(&world, 0, world_gid(0), 1);
    world_pass(&world, 200);
    assert_true(is_in_redis(world_gid(0), 1));
    world.now_ms += 10000;
    fake_set_text(&world.redis, "t:lease:r1/0", "00000000deadbeef");
    (void)world_bind(&world, 0, world_gid(1), 1); /* its edge had sent this long ago */
    world_turn(&world);
    world_pass(&world, 1500);
    assert_false(is_in_redis(world_gid(1), 1));
    assert_int_equal(world.renewed, 1);
}

static void who_stood_still_and_kept_his_name_writes_then(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    world.now_ms += 10000;
    (void)world_bind(&world, 0, world_gid(1), 1);
    world_turn(&world);
    assert_false(is_in_redis(world_gid(1), 1));
    world_pass(&world, 500);
    assert_true(is_in_redis(world_gid(1), 1));
}

static void sessions_grow_even_if_redis_has_lost_the_epochs(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    for (uint64_t incarnation = 8; incarnation < 12; incarnation++) {
        restart(incarnation);
        world_await_ready(&world);
    }
    world_edge(&world, 0, 3, NULL, 0);
    uint64_t session = world_bind(&world, 0, gid, 1);
    assert_int_equal(gid_session_epoch(session), 5);
    fake_redis_flush(&world.redis);
    restart(13);
    world_await_ready(&world);
    struct said said = {gid, 1, session, 0};
    world_edge(&world, 0, 3, &said, 1);
    assert_true(world_bind(&world, 0, gid, 1) > session);
}

static void a_redis_that_refuses_everything_does_no_harm(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    world.redis.failing = true;
    (void)world_bind(&world, 0, world_gid(0), 1);
    SAY(&world, 0, RESOLVE, resolve, Resolve, BASE(resolve), .req = 1,
        .site = unpack_data(span_text("game")), .user = unpack_data(span_text("ann")),
        .may_create = true);
    world_pass(&world, 10000);
    world.redis.failing = false;
    world_pass(&world, 5000);
    assert_true(world_ready(&world));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_STORE_TO_WRITE), 0);
    restart(8);
    world_await_ready(&world);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 1);
}

static void thousands_of_random_events_break_nothing(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (uint32_t step = 0; step < 4000; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint32_t peer = (uint32_t)(random >> 33) % 3, what = (uint32_t)(random >> 40) % 12;
        uint64_t gid = world_gid((uint32_t)(random >> 50) % 4), device = random >> 60;
        if (!world.up[peer] && what < 8)
            world_edge(&world, peer, 3 + peer, NULL, 0);
        if (what < 3)
            (void)world_bind(&world, peer, gid, device);
        else if (what < 5)
            send_confirmed(peer, gid);
        else if (what < 6)
            SAY(&world, peer, NO_SESSION, no_session, NoSession, BASE(no_session), .gid = gid,
                .session = (uint64_t)1 << 32 | random % 1000);
        else if (what == 8 && world.up[peer])
            world_link_down(&world, peer);
        else if (what == 9 && world.redis.up && random >> 58 == 0)
            world_redis_down(&world);
        else if (what == 10 && !world.redis.up)
            world_redis_up(&world);
        world_pass(&world, 100 * ((uint32_t)(random >> 45) % 4));
        world_forget_heard(&world);
        arena_reset(world.arena);
    }
    if (!world.redis.up)
        world_redis_up(&world);
    world_pass(&world, 70000);
    uint64_t sends = 0;
    for (size_t id = ROUTER_METRIC_SENDS_ACKED; id <= ROUTER_METRIC_SENDS_IN_FLIGHT; id++)
        sends += metrics_get(world.metrics, id);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_SENDS), sends);
    assert_true(sends > 500);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_SENDS_IN_FLIGHT), 0);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_STORE_TO_WRITE), 0);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(says_what_it_waits_for),
        WORLD(before_it_serves_it_answers_nothing),
        WORLD(after_a_restart_a_user_is_not_offline_before_its_edge_has_spoken),
        WORLD(so_too_when_presence_is_gone_from_redis),
        WORLD(nor_after_the_shard_stood_still),
        WORLD(when_all_have_spoken_or_two_seconds_later_offline_is_said),
        WORLD(what_no_edge_announces_is_dropped_from_redis_too),
        WORLD(without_redis_users_come_go_and_talk),
        WORLD(steps_down_when_another_took_its_name_and_forgets_everything),
        WORLD(who_stood_still_past_his_lease_writes_nothing_before_he_has_it_again),
        WORLD(who_stood_still_and_kept_his_name_writes_then),
        WORLD(sessions_grow_even_if_redis_has_lost_the_epochs),
        WORLD(a_redis_that_refuses_everything_does_no_harm),
        WORLD(thousands_of_random_events_break_nothing),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
