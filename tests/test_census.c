/* census: edges come, announce, fall silent, say what they hold; and what that makes of the
 * records. */
#include "router/roster_table.h"
#include "router/shard_table.h"
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

/* How many sessions of the user are online, as whereis would say. */
static uint32_t online(uint64_t gid)
{
    if (!world.up[PEERS - 1])
        world_link_up(&world, PEERS - 1, KEYS_ADMIN);
    Lahar__Link__V1__AdminRequest request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    request.req = 5;
    request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_WHEREIS;
    request.whereis = gid;
    frame.frame_case = FRAME(ADMIN_REQUEST);
    frame.admin_request = &request;
    world_say(&world, PEERS - 1, &frame);
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, PEERS - 1, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_int_equal(reply->error.len, 0);
    uint32_t count = 0;
    for (size_t i = 0; i < reply->n_sessions; i++)
        count += reply->sessions[i]->online ? 1 : 0;
    return count;
}

static void digest(uint32_t peer, uint64_t count, uint64_t mix)
{
    SAY(&world, peer, DIGEST, digest, Digest, BASE(digest), .count = count, .mix = mix,
        .sites_revision = 1000);
}

static void an_edge_without_a_number_is_given_one(void **state)
{
    (void)state;
    for (uint32_t peer = 0; peer < 2; peer++) {
        world_link_up(&world, peer, KEYS_EDGE);
        world_hello(&world, peer, 0);
        world_turn(&world);
        const Lahar__Link__V1__EdgeNumber *given = TAKE(&world, peer, EDGE_NUMBER, edge_number);
        assert_non_null(given);
        assert_int_equal(given->number, peer + 1);
    }
}

static void a_number_is_above_all_that_are_known_even_if_redis_forgot(void **state)
{
    (void)state;
    world_edge(&world, 0, 50, NULL, 0);
    fake_redis_flush(&world.redis);
    world_link_up(&world, 1, KEYS_EDGE);
    world_hello(&world, 1, 0);
    world_turn(&world);
    const Lahar__Link__V1__EdgeNumber *given = TAKE(&world, 1, EDGE_NUMBER, edge_number);
    assert_non_null(given);
    assert_int_equal(given->number, 51);
}

/* Else one edge that says so could keep all others out for ever. */
static void the_highest_number_there_is_uses_up_none(void **state)
{
    (void)state;
    const uint32_t said[] = {PRESENCE_EDGE_MAX, EDGES_NUMBER_MAX};
    const uint32_t next[] = {1, EDGES_NUMBER_MAX + 1u};
    for (uint32_t i = 0; i < 2; i++) {
        world_link_up(&world, 2 * i, KEYS_EDGE);
        world_hello(&world, 2 * i, said[i]);
        world_link_up(&world, 2 * i + 1, KEYS_EDGE);
        world_hello(&world, 2 * i + 1, 0);
        world_turn(&world);
        const Lahar__Link__V1__EdgeNumber *given =
            TAKE(&world, 2 * i + 1, EDGE_NUMBER, edge_number);
        assert_non_null(given);
        assert_int_equal(given->number, next[i]);
    }
}

static void without_redis_a_new_edge_must_wait_for_its_number(void **state)
{
    (void)state;
    world_redis_down(&world);
    world_link_up(&world, 0, KEYS_EDGE);
    world_hello(&world, 0, 0);
    world_pass(&world, 500);
    assert_null(world_next(&world, 0, FRAME(EDGE_NUMBER)));
    world_redis_up(&world);
    world_hello(&world, 0, 0);
    world_turn(&world);
    assert_non_null(world_next(&world, 0, FRAME(EDGE_NUMBER)));
}

static void owned_names_all_slots_with_their_epoch(void **state)
{
    (void)state;
    world_link_up(&world, 0, KEYS_EDGE);
    world_hello(&world, 0, 3);
    const Lahar__Link__V1__Owned *owned = TAKE(&world, 0, OWNED, owned);
    assert_non_null(owned);
    assert_int_equal(owned->n_runs, 1);
    assert_int_equal(owned->runs[0]->first, 0);
    assert_int_equal(owned->runs[0]->count, GID_SLOTS / SHARDS);
    assert_int_equal(owned->runs[0]->epoch, 1);
}

static void what_is_announced_is_online(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said said[] = {{gid, 1, 11, 5}, {gid, 2, 12, 0}};
    world_edge(&world, 0, 3, said, 2);
    assert_int_equal(online(gid), 2);
}

static void owned_is_said_again_until_the_round_is_whole(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said said[] = {{gid, 1, 11, 5}, {gid, 2, 12, 0}};
    world_link_up(&world, 0, KEYS_EDGE);
    world_hello(&world, 0, 3);
    uint32_t first = world_round(&world, 0), second;
    world_pass(&world, 400);
    assert_int_equal(world_round(&world, 0), 0);
    world_pass(&world, 200); /* nothing came at all */
    second = world_round(&world, 0);
    assert_true(second > first);
    world_announce(&world, 0, second, said, 1);
    world_done(&world, 0, second, 2); /* one frame was lost */
    world_pass(&world, 1100);
    first = world_round(&world, 0);
    assert_true(first > second);
    world_announce(&world, 0, second, said, 2); /* of the old round: too late */
    world_announce(&world, 0, first, said, 2);
    world_done(&world, 0, first, 2);
    world_pass(&world, 20000);
    assert_int_equal(world_round(&world, 0), 0);
    assert_int_equal(online(gid), 2);
}

/* As many rounds as there are marks, each broken off by the link: what was confirmed in none of the
 * last is in doubt, whatever was confirmed long ago. */
static void a_record_that_was_confirmed_rounds_ago_is_doubted_in_each(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0), other = world_gid(1);
    struct said said[] = {{gid, 1, 11, 5}, {other, 2, 12, 0}};
    world_edge(&world, 0, 3, said, 2);
    world_link_down(&world, 0);
    for (uint32_t n = 0; n < 2 * PRESENCE_MARKS; n++) {
        uint32_t now = n % 2;
        world_link_up(&world, now, KEYS_EDGE);
        world_hello(&world, now, 3);
        uint32_t round = world_round(&world, now);
        assert_int_not_equal(round, 0);
        assert_int_equal(online(gid) + online(other), 0);
        world_announce(&world, now, round, &said[1], 1);
        assert_int_equal(online(gid), 0);
        assert_int_equal(online(other), 1);
        world_link_down(&world, now);
    }
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 2);
}

/* A round costs the shard something, so nobody gets them in a loop. */
static void an_edge_that_counts_wrong_is_asked_again_only_after_a_while(void **state)
{
    (void)state;
    struct said said = {world_gid(0), 1, 11, 5};
    world_link_up(&world, 0, KEYS_EDGE);
    world_hello(&world, 0, 3);
    uint32_t round = world_round(&world, 0);
    world_announce(&world, 0, round, &said, 1);
    world_done(&world, 0, round, 7);
    assert_int_equal(world_round(&world, 0), 0);
    world_pass(&world, 600);
    assert_int_not_equal(world_round(&world, 0), 0);
}

static void a_session_that_no_shard_gives_is_not_taken(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said said[] = {{gid, 1, 0, 5}, {gid, 2, UINT64_MAX, 0}, {gid, 3, UINT64_MAX - 7, 0}};
    world_edge(&world, 0, 3, said, 3);
    assert_int_equal(online(gid), 0);
    assert_int_equal(world_bind(&world, 0, gid, 2) >> 32, 1);
}

static void the_higher_session_of_a_device_wins(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said low = {gid, 1, 11, 5}, high = {gid, 1, 12, 0};
    for (uint32_t run = 0; run < 2; run++) {
        world_edge(&world, 0, 3, run == 0 ? &low : &high, 1);
        world_edge(&world, 1, 4, run == 0 ? &high : &low, 1);
        uint32_t loser = run == 0 ? 0 : 1;
        const Lahar__Link__V1__Unbind *unbind = TAKE(&world, loser, UNBIND, unbind);
        assert_non_null(unbind);
        assert_true(unbind->gid == gid && unbind->device == 1 && unbind->session == 11);
        assert_int_equal(unbind->reason, END_REPLACED);
        assert_null(world_next(&world, 1 - loser, FRAME(UNBIND)));
        assert_int_equal(online(gid), 1);
        world_link_down(&world, 0);
        world_link_down(&world, 1);
    }
}

static void a_silent_edge_has_all_its_sessions_offline_at_once_without_a_write(void **state)
{
    (void)state;
    struct said said[40];
    for (uint32_t i = 0; i < 40; i++)
        said[i] = (struct said){world_gid(i), 1, 11 + i, 0};
    world_edge(&world, 0, 3, said, 40);
    world_pass(&world, 500); /* until it is all written */
    uint64_t writes = world.redis.writes;
    world_link_down(&world, 0);
    assert_int_equal(online(world_gid(7)), 0);
    world_pass(&world, 10000);
    assert_true(world.redis.writes - writes <= 2 * 10 + 1); /* the lease, each second */
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS_SILENT), 40);
    world_pass(&world, 15000); /* now it is swept */
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 0);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SWEPT), 40);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_EDGES_SILENT), 0);
}

static void sweeping_keeps_to_its_rate(void **state)
{
    (void)state;
    world_end(&world);
    world.options.sweep_per_s = 20;
    world_begin(&world, 8);
    world_redis_up(&world);
    world_await_ready(&world);
    struct said said[64];
    for (uint32_t i = 0; i < 64; i++)
        said[i] = (struct said){world_gid(i), 1, (uint64_t)9 << 32 | i, 0};
    world_edge(&world, 0, 3, said, 64);
    world_link_down(&world, 0);
    world_pass(&world, 15000 + 1000);
    assert_in_range(world_metric(&world, ROUTER_METRIC_RECORDS), 20, 63);
    world_pass(&world, 15000);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 0);
}

static void an_edge_that_comes_back_announces_and_all_is_well(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0), other = world_gid(1);
    struct said said[] = {{gid, 1, 11, 5}, {other, 2, 12, 0}};
    world_edge(&world, 0, 3, said, 2);
    world_link_down(&world, 0);
    assert_int_equal(online(gid), 0);
    world_link_up(&world, 1, KEYS_EDGE);
    world_hello(&world, 1, 3);
    assert_int_equal(online(gid), 0); /* not before it says so */
    uint32_t round = world_round(&world, 1);
    world_announce(&world, 1, round, said, 1);
    world_done(&world, 1, round, 1);
    assert_int_equal(online(gid), 1);
    assert_int_equal(online(other), 0);
    world_pass(&world, 200); /* swept, within a tick */
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 1);
}

static void a_digest_that_goes_on_differing_makes_a_round(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0), gone = world_gid(1);
    struct said said[] = {{gid, 1, 11, 5}, {gone, 1, 12, 0}};
    world_edge(&world, 0, 3, said, 2);
    world_pass(&world, 11000);
    uint64_t one = gid_session_mix(gid, 1, 11);
    digest(0, 2, one ^ gid_session_mix(gone, 1, 12)); /* as it is */
    digest(0, 1, one);
    digest(0, 1, one);
    assert_int_equal(world_round(&world, 0), 0);
    digest(0, 1, one);
    uint32_t round = world_round(&world, 0);
    assert_int_not_equal(round, 0);
    assert_int_equal(online(gid), 1); /* in doubt, but not offline */
    assert_int_equal(online(gone), 1);
    world_announce(&world, 0, round, said, 1);
    world_done(&world, 0, round, 1);
    assert_int_equal(online(gid), 1);
    assert_int_equal(online(gone), 0);
    digest(0, 1, one);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_DRIFT), 3);
}

static void one_that_is_bound_during_a_round_is_not_lost(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_link_up(&world, 0, KEYS_EDGE);
    world_hello(&world, 0, 3);
    uint32_t round = world_round(&world, 0);
    uint64_t session = world_bind(&world, 0, gid, 1);
    assert_true(session != 0);
    world_done(&world, 0, round, 0);
    assert_int_equal(online(gid), 1);
    /* Once more, in an audit. */
    world_pass(&world, 11000);
    for (uint32_t i = 0; i < 4; i++) /* the first finds that something has happened */
        digest(0, 77, 77);
    round = world_round(&world, 0);
    assert_int_not_equal(round, 0);
    uint64_t again = world_bind(&world, 0, gid, 1);
    assert_true(again > session);
    world_done(&world, 0, round, 0);
    assert_int_equal(online(gid), 1);
}

/* Its link came up again before this end had missed it. */
static void an_edge_that_says_hello_again_is_told_again_what_is_owned(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said said = {gid, 1, 11, 5};
    world_edge(&world, 0, 3, &said, 1);
    assert_int_equal(world_round(&world, 0), 0);
    world_hello(&world, 0, 3); /* too soon: it says it again in a second */
    assert_int_equal(world_round(&world, 0), 0);
    world_pass(&world, 500);
    world_hello(&world, 0, 3);
    uint32_t round = world_round(&world, 0);
    assert_int_not_equal(round, 0);
    assert_int_equal(online(gid), 1);
    world_hello(&world, 0, 3); /* said again, before it was told */
    assert_int_equal(world_round(&world, 0), 0);
    world_done(&world, 0, round, 0);
    assert_int_equal(online(gid), 0);
}

/* The edge has not read of the last logins yet, each time that it counts. */
static void logins_that_go_on_are_no_drift_for_half_a_minute(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 0, 3, NULL, 0);
    world_pass(&world, 11000);
    for (uint32_t second = 0; second < 29; second++) {
        assert_true(world_bind(&world, 0, gid, 1 + second % 5) != 0);
        digest(0, 5, 5);
        assert_int_equal(world_round(&world, 0), 0);
    }
    assert_true(world_bind(&world, 0, gid, 1) != 0);
    digest(0, 5, 5);
    assert_int_not_equal(world_round(&world, 0), 0);
}

static void audits_are_not_more_often_than_every_ten_seconds(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    uint32_t rounds = 0;
    for (uint32_t second = 0; second < 40; second++) {
        world_pass(&world, 1000);
        digest(0, 5, 5);
        uint32_t round = world_round(&world, 0);
        if (round == 0)
            continue;
        rounds++;
        world_done(&world, 0, round, 0);
    }
    assert_in_range(rounds, 3, 4);
}

static void announced_sessions_of_other_shards_count_but_are_not_taken(void **state)
{
    (void)state;
    struct said said[] = {{world_foreign_gid(), 1, 11, 5}, {0, 0, 0, 0}};
    world_edge(&world, 0, 3, said, 2);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 0);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_UNOWNED), 2);
    assert_int_equal(world_round(&world, 0), 0);
}

/* The reason of the next Unbind to it; 0: there is none. */
static uint32_t unbound(uint32_t peer)
{
    const Lahar__Link__V1__Unbind *unbind = TAKE(&world, peer, UNBIND, unbind);
    return unbind == NULL ? 0 : unbind->reason;
}

static void an_edge_may_announce_as_many_devices_of_a_user_as_may_be_connected(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said said[30];
    for (uint32_t i = 0; i < 30; i++)
        said[i] = (struct said){gid, i + 1, 11 + i, 0};
    world_edge(&world, 0, 3, said, 10);
    assert_int_equal(unbound(0), 0);
    assert_int_equal(online(gid), 10);
    world_edge(&world, 1, 4, said + 10, 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(unbound(1), END_TOO_MANY_DEVICES);
    assert_int_equal(online(gid), 10);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 10);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LIMIT_REJECTED_DEVICES), 20);
}

static void a_shard_records_as_many_sessions_as_it_may_announced_or_bound(void **state)
{
    (void)state;
    world.shard->roster->options.sessions_max = 3;
    struct said said[4];
    for (uint32_t i = 0; i < 4; i++)
        said[i] = (struct said){world_gid(i), 1, 11, 0};
    world_edge(&world, 0, 3, said, 2);
    assert_true(world_bind(&world, 0, world_gid(2), 1) != 0);
    assert_int_equal(world_bind(&world, 0, world_gid(3), 1), 0);
    world_edge(&world, 1, 4, said + 3, 1);
    assert_int_equal(unbound(1), END_BUSY);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LIMIT_NOW_SESSIONS), 3);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LIMIT_REJECTED_SESSIONS), 2);
    assert_true(world_bind(&world, 0, world_gid(2), 1) != 0); /* the same device again */
    SAY(&world, 0, UNBIND, unbind, Unbind, BASE(unbind), .gid = said[0].gid, .device = 1,
        .session = 11);
    assert_true(world_bind(&world, 0, world_gid(3), 1) != 0);
}

static void another_edge_with_a_number_that_is_taken_is_not_let_in(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    struct said said = {gid, 1, 11, 5};
    world_edge(&world, 0, 3, &said, 1);
    world_link_up(&world, 1, KEYS_EDGE);
    world_hello(&world, 1, 3);
    assert_int_equal(world_round(&world, 1), 0);
    assert_int_equal(online(gid), 1);
    world_link_down(&world, 0);
    world_hello(&world, 1, 3);
    assert_int_not_equal(world_round(&world, 1), 0);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(an_edge_without_a_number_is_given_one),
        WORLD(a_number_is_above_all_that_are_known_even_if_redis_forgot),
        WORLD(the_highest_number_there_is_uses_up_none),
        WORLD(without_redis_a_new_edge_must_wait_for_its_number),
        WORLD(owned_names_all_slots_with_their_epoch),
        WORLD(what_is_announced_is_online),
        WORLD(owned_is_said_again_until_the_round_is_whole),
        WORLD(a_record_that_was_confirmed_rounds_ago_is_doubted_in_each),
        WORLD(an_edge_that_counts_wrong_is_asked_again_only_after_a_while),
        WORLD(a_session_that_no_shard_gives_is_not_taken),
        WORLD(the_higher_session_of_a_device_wins),
        WORLD(a_silent_edge_has_all_its_sessions_offline_at_once_without_a_write),
        WORLD(sweeping_keeps_to_its_rate),
        WORLD(an_edge_that_comes_back_announces_and_all_is_well),
        WORLD(a_digest_that_goes_on_differing_makes_a_round),
        WORLD(one_that_is_bound_during_a_round_is_not_lost),
        WORLD(an_edge_that_says_hello_again_is_told_again_what_is_owned),
        WORLD(logins_that_go_on_are_no_drift_for_half_a_minute),
        WORLD(audits_are_not_more_often_than_every_ten_seconds),
        WORLD(announced_sessions_of_other_shards_count_but_are_not_taken),
        WORLD(an_edge_may_announce_as_many_devices_of_a_user_as_may_be_connected),
        WORLD(a_shard_records_as_many_sessions_as_it_may_announced_or_bound),
        WORLD(another_edge_with_a_number_that_is_taken_is_not_let_in),
    };
    return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
