/* kick: what was there ends, what was issued before is refused, and that over restarts, losses and
 * late announcements. */
#include "tests/shard_world.h"

#define EDGE 0u
#define OTHER 1u
#define ADMIN 5u
#define PHONE UINT64_C(11)
#define DESK UINT64_C(12)
#define WALL_S(world) ((1700000000000 + (world)->now_ms) / 1000)

static void try_bind(struct world *world, uint64_t gid, uint64_t device, uint64_t resume,
                     uint64_t issued_at, const Lahar__Link__V1__Bound **bound)
{
    SAY(world, EDGE, BIND, bind, Bind, BASE(bind), .req = 99, .gid = gid, .device = device,
        .resume = resume, .issued_at = issued_at);
    *bound = TAKE(world, EDGE, BOUND, bound);
    assert_non_null(*bound);
}

static bool too_old(struct world *world, uint64_t gid, uint64_t device, uint64_t resume,
                    uint64_t issued_at)
{
    const Lahar__Link__V1__Bound *bound;
    try_bind(world, gid, device, resume, issued_at, &bound);
    return bound->status == LAHAR__LINK__V1__BOUND__STATUS__TOO_OLD;
}

/* The session; it must be bound. */
static uint64_t bind_at(struct world *world, uint64_t gid, uint64_t device, uint64_t resume,
                        uint64_t issued_at)
{
    const Lahar__Link__V1__Bound *bound;
    try_bind(world, gid, device, resume, issued_at, &bound);
    assert_int_equal(bound->status, LAHAR__LINK__V1__BOUND__STATUS__OK);
    return bound->session;
}

static void ask_kick(struct world *world, uint64_t req, uint64_t gid, uint64_t device,
                     const char *site)
{
    Lahar__Link__V1__Kick kick = LAHAR__LINK__V1__KICK__INIT;
    kick.gid = gid;
    kick.device = device;
    kick.site = unpack_data(span_text(site));
    SAY(world, ADMIN, ADMIN_REQUEST, admin_request, AdminRequest, BASE(admin_request), .req = req,
        .what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_KICK, .kick = &kick);
}

/* How many, when it is in Redis. */
static uint64_t kick(struct world *world, uint64_t gid, uint64_t device)
{
    static uint64_t req;
    ask_kick(world, ++req, gid, device, "");
    world_turn(world);
    const Lahar__Link__V1__AdminReply *reply = TAKE(world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_int_equal(reply->req, req);
    assert_int_equal(reply->error.len, 0);
    assert_true(reply->last);
    return reply->kicked;
}

static bool told_kicked(struct world *world, uint64_t session)
{
    const Lahar__Link__V1__Unbind *unbind;
    while ((unbind = TAKE(world, EDGE, UNBIND, unbind)) != NULL)
        if (unbind->session == session)
            return unbind->reason == END_KICKED;
    return false;
}

static void begin(struct world *world)
{
    world_open(world);
    world_edge(world, EDGE, 3, NULL, 0);
    world_link_up(world, ADMIN, KEYS_ADMIN);
    world_forget_heard(world);
}

static void a_ticket_is_good_for_the_last_session_of_its_device_only(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t first = bind_at(&world, gid, PHONE, 0, now);
    uint64_t second = bind_at(&world, gid, PHONE, first, now);
    assert_true(second > first);
    assert_true(too_old(&world, gid, PHONE, first, now));
    assert_false(too_old(&world, gid, DESK, 0, now));
    /* Who has left is not known any more, nor what his last one was. */
    SAY(&world, EDGE, UNBIND, unbind, Unbind, BASE(unbind), .gid = gid, .device = PHONE,
        .session = second);
    assert_true(bind_at(&world, gid, PHONE, second, now) > second);
    world_close(&world);
}

static void a_kick_ends_all_devices_and_what_was_issued_before(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now), desk = bind_at(&world, gid, DESK, 0, now);
    assert_int_equal(kick(&world, gid, 0), 2);
    assert_true(told_kicked(&world, phone));
    assert_true(told_kicked(&world, desk));
    assert_true(too_old(&world, gid, PHONE, phone, now));
    assert_true(too_old(&world, gid, PHONE, phone, now + 100)); /* whatever its time says */
    assert_true(too_old(&world, gid, DESK, 0, now));
    assert_true(too_old(&world, gid, UINT64_C(13), 0, now));
    assert_true(bind_at(&world, gid, PHONE, 0, now + 1) > phone);
    /* Others are not touched. */
    (void)bind_at(&world, world_gid(1), PHONE, 0, now);
    assert_int_equal(kick(&world, world_gid(2), 0), 0);
    world_close(&world);
}

static void a_kick_of_a_device_leaves_the_others(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now), desk = bind_at(&world, gid, DESK, 0, now);
    assert_int_equal(kick(&world, gid, DESK), 1);
    assert_true(told_kicked(&world, desk));
    assert_true(too_old(&world, gid, DESK, 0, now));
    assert_true(bind_at(&world, gid, PHONE, phone, now) > phone);
    world_close(&world);
}

static void it_holds_over_a_restart_of_the_shard(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now);
    assert_int_equal(kick(&world, gid, 0), 1);
    world_end(&world);
    world_begin(&world, 8);
    world_pass(&world, 4000); /* the old lease */
    world_redis_up(&world);
    world_await_ready(&world);
    world_edge(&world, EDGE, 3, NULL, 0);
    assert_true(too_old(&world, gid, PHONE, phone, now));
    assert_true(too_old(&world, gid, PHONE, 0, now));
    world_link_up(&world, ADMIN, KEYS_ADMIN);
    assert_int_equal(kick(&world, gid, 0), 0);
    world_close(&world);
}

static void a_session_whose_end_was_lost_is_ended_when_it_is_announced(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now);
    assert_int_equal(kick(&world, gid, 0), 1);
    world_forget_heard(&world);
    world_link_down(&world, EDGE);
    const struct said said[] = {{gid, PHONE, phone, 0}};
    world_edge(&world, EDGE, 3, said, 1);
    assert_true(told_kicked(&world, phone));
    uint64_t next = bind_at(&world, gid, PHONE, 0, now + 1);
    assert_true(next > phone);
    world_close(&world);
}

static void without_redis_it_counts_at_once_and_is_written_later(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now);
    world_redis_down(&world);
    ask_kick(&world, 7, gid, 0, "");
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_int_equal(reply->kicked, 1);
    assert_true(reply->error.len > 0);
    assert_true(told_kicked(&world, phone));
    assert_true(too_old(&world, gid, PHONE, phone, now));

    world_redis_up(&world);
    world_pass(&world, 3000);
    world_end(&world);
    world_begin(&world, 8);
    world_pass(&world, 4000);
    world_redis_up(&world);
    world_await_ready(&world);
    world_edge(&world, EDGE, 3, NULL, 0);
    assert_true(too_old(&world, gid, PHONE, phone, now));
    world_close(&world);
}

static void begin_again(struct world *world)
{
    world_end(world);
    world_begin(world, 8);
    world_pass(world, 4000); /* the old lease */
    world_redis_up(world);
    world_await_ready(world);
    world_edge(world, EDGE, 3, NULL, 0);
}

static void it_is_written_again_when_redis_loses_it_while_it_is_up(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now);
    assert_int_equal(kick(&world, gid, 0), 1);
    fake_redis_flush(&world.redis);
    world_pass(&world, 3000);
    begin_again(&world);
    assert_true(too_old(&world, gid, PHONE, phone, now));
    world_close(&world);
}

static void one_that_redis_refuses_is_tried_again(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    world.redis.failing = true;
    ask_kick(&world, 7, gid, 0, "");
    world_turn(&world);
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_true(reply->error.len > 0);
    world.redis.failing = false;
    world_pass(&world, 3000);
    begin_again(&world);
    assert_true(too_old(&world, gid, PHONE, 0, now));
    world_close(&world);
}

static bool bar_is_in_redis(struct world *world, uint64_t gid)
{
    char key[32];
    uint64_t field[2] = {gid, 0};
    snprintf(key, sizeof key, "t:{%u}bars", gid_slot(gid));
    struct fake_bytes name = fake_field(span_text(key), span_of(field, sizeof field));
    bool found = fake_find(&world->redis, fake_span(name)) != NULL;
    free(name.at);
    return found;
}

static void who_was_the_owner_forgets_nothing_of_the_next_ones(void **state)
{
    (void)state;
    struct world world;
    char fence[32];
    begin(&world);
    uint64_t gid = world_gid(0);
    assert_int_equal(kick(&world, gid, 0), 0);
    snprintf(fence, sizeof fence, "t:{%u}fence", gid_slot(gid));
    fake_set_text(&world.redis, fence, "9");
    world.now_ms += (2 * 90000 + 7200) * UINT64_C(1000);
    world_pass(&world, 300);
    assert_true(bar_is_in_redis(&world, gid));
    world_close(&world);
}

static void before_it_knows_whom_it_is_not_ready_and_believes_no_edge(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now);
    assert_int_equal(kick(&world, gid, 0), 1);
    world_end(&world);
    world_begin(&world, 8);
    world.redis.failing_key = "bars";
    world_pass(&world, 4000);
    world_redis_up(&world);
    world_pass(&world, 5000);
    assert_non_null(shard_not_ready(world.shard));
    assert_string_equal(shard_not_ready(world.shard), "who was kicked was not read yet");
    world_forget_heard(&world);
    const struct said said[] = {{gid, PHONE, phone, 0}};
    world_link_up(&world, EDGE, KEYS_EDGE);
    world_hello(&world, EDGE, 3);
    uint32_t round = world_round(&world, EDGE);
    world_announce(&world, EDGE, round, said, 1);
    world_done(&world, EDGE, round, 1);
    assert_false(told_kicked(&world, phone));
    world.redis.failing_key = NULL;
    world_pass(&world, 3000);
    assert_true(world_ready(&world));
    const Lahar__Link__V1__Owned *owned, *last = NULL;
    while ((owned = TAKE(&world, EDGE, OWNED, owned)) != NULL)
        last = owned;
    assert_non_null(last); /* it is asked once more */
    world_announce(&world, EDGE, last->round, said, 1);
    assert_true(told_kicked(&world, phone));
    world_close(&world);
}

static void an_unbind_that_is_lost_is_said_again_within_two_seconds(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0), now = WALL_S(&world);
    uint64_t phone = bind_at(&world, gid, PHONE, 0, now);
    assert_int_equal(kick(&world, gid, 0), 1);
    world_forget_heard(&world);
    world_pass(&world, 2000);
    assert_true(told_kicked(&world, phone));
    uint64_t next = bind_at(&world, gid, PHONE, 0, now + 1);
    world_pass(&world, 15000);
    const Lahar__Link__V1__Unbind *unbind;
    while ((unbind = TAKE(&world, EDGE, UNBIND, unbind)) != NULL)
        assert_true(unbind->session == phone && next != phone);
    world_pass(&world, 5000);
    assert_null(TAKE(&world, EDGE, UNBIND, unbind)); /* not for ever */
    world_close(&world);
}

static void what_nothing_can_be_older_than_is_forgotten(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    uint64_t gid = world_gid(0);
    assert_int_equal(kick(&world, gid, 0), 0);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_BARS), 1);
    world.now_ms += (2 * 90000 + 7200) * UINT64_C(1000);
    world_pass(&world, 2000);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_BARS), 0);
    assert_false(bar_is_in_redis(&world, gid));
    world_close(&world);
}

static void more_than_are_remembered_are_told_so(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    for (uint32_t n = 0; n < 10; n++)
        assert_int_equal(kick(&world, world_gid(n), 0), 0);
    ask_kick(&world, 7, world_gid(10), 0, "");
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_true(reply->error.len > 0);
    world_close(&world);
}

static void what_cannot_be_kicked_is_refused(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    const uint64_t gids[] = {0, world_foreign_gid(), UINT64_C(1) << 60 | 10001};
    for (size_t i = 0; i < sizeof gids / sizeof *gids; i++) {
        ask_kick(&world, i, gids[i], 0, "");
        const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
        assert_non_null(reply);
        assert_true(reply->error.len > 0);
    }
    ask_kick(&world, 9, 0, 0, "nosuchsite");
    world_turn(&world);
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_true(reply->error.len > 0);
    world_close(&world);
}

static void put_site(struct world *world)
{
    uint8_t ed25519[32] = {1};
    Lahar__Link__V1__SiteKey key = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&key};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    key.kid = unpack_data(span_text("k"));
    key.ed25519 = unpack_data(span_of(ed25519, sizeof ed25519));
    site.id = unpack_data(span_text("game"));
    site.keys = keys;
    site.n_keys = 1;
    SAY(world, ADMIN, ADMIN_REQUEST, admin_request, AdminRequest, BASE(admin_request), .req = 1,
        .what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_PUT, .site_put = &site);
    world_turn(world);
    world_turn(world);
    world_forget_heard(world);
}

static uint64_t pushed_not_before(struct world *world)
{
    const Lahar__Link__V1__Site *site, *last = NULL;
    while ((site = TAKE(world, EDGE, SITE, site)) != NULL)
        last = site;
    return last == NULL ? 0 : last->not_before;
}

static void a_site_is_told_to_all_edges_whose_counts_are_added_up(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    world_edge(&world, OTHER, 4, NULL, 0);
    put_site(&world);
    ask_kick(&world, 7, 0, 0, "game");
    ask_kick(&world, 7, 0, 0, "game"); /* asked again: no second kick */
    world_turn(&world);
    world_turn(&world);
    uint64_t not_before = pushed_not_before(&world);
    assert_int_equal(not_before, WALL_S(&world) + 1);
    SAY(&world, EDGE, SITE_KICKED, site_kicked, SiteKicked, BASE(site_kicked),
        .id = unpack_data(span_text("game")), .not_before = not_before, .count = 30);
    assert_null(TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply));
    /* Said again, it is still not said by the other. */
    SAY(&world, EDGE, SITE_KICKED, site_kicked, SiteKicked, BASE(site_kicked),
        .id = unpack_data(span_text("game")), .not_before = not_before);
    assert_null(TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply));
    SAY(&world, OTHER, SITE_KICKED, site_kicked, SiteKicked, BASE(site_kicked),
        .id = unpack_data(span_text("game")), .not_before = not_before, .count = 12);
    const Lahar__Link__V1__AdminReply *reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply);
    assert_int_equal(reply->kicked, 42);
    assert_int_equal(reply->error.len, 0);
    world_pass(&world, 6000);
    assert_null(TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply));

    /* A change of the site does not take it back. */
    put_site(&world);
    world_turn(&world);
    ask_kick(&world, 8, 0, 0, "game");
    world_turn(&world);
    world_turn(&world);
    assert_true(pushed_not_before(&world) >= not_before);
    world_pass(&world, 5000);
    reply = TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
    assert_non_null(reply); /* nobody has answered */
    assert_true(reply->error.len > 0);
    world_close(&world);
}

static void edges_get_the_keys_of_tickets_and_again_if_they_are_behind(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    world_edge(&world, OTHER, 4, NULL, 0);
    const Lahar__Link__V1__TicketKeys *keys = TAKE(&world, OTHER, TICKET_KEYS, ticket_keys);
    assert_non_null(keys);
    assert_int_equal(keys->n_keys, 1);
    uint64_t revision = keys->revision;
    SAY(&world, OTHER, DIGEST, digest, Digest, BASE(digest), .tickets_revision = revision);
    assert_null(TAKE(&world, OTHER, TICKET_KEYS, ticket_keys));
    SAY(&world, OTHER, DIGEST, digest, Digest, BASE(digest));
    assert_non_null(TAKE(&world, OTHER, TICKET_KEYS, ticket_keys));
    world.now_ms += 90000 * 1000;
    world_forget_heard(&world);
    world_pass(&world, 2000);
    keys = TAKE(&world, OTHER, TICKET_KEYS, ticket_keys);
    assert_non_null(keys);
    assert_int_equal(keys->n_keys, 2);
    assert_true(keys->revision > revision);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_is_good_for_the_last_session_of_its_device_only),
        cmocka_unit_test(a_kick_ends_all_devices_and_what_was_issued_before),
        cmocka_unit_test(a_kick_of_a_device_leaves_the_others),
        cmocka_unit_test(it_holds_over_a_restart_of_the_shard),
        cmocka_unit_test(a_session_whose_end_was_lost_is_ended_when_it_is_announced),
        cmocka_unit_test(without_redis_it_counts_at_once_and_is_written_later),
        cmocka_unit_test(it_is_written_again_when_redis_loses_it_while_it_is_up),
        cmocka_unit_test(one_that_redis_refuses_is_tried_again),
        cmocka_unit_test(who_was_the_owner_forgets_nothing_of_the_next_ones),
        cmocka_unit_test(before_it_knows_whom_it_is_not_ready_and_believes_no_edge),
        cmocka_unit_test(an_unbind_that_is_lost_is_said_again_within_two_seconds),
        cmocka_unit_test(what_nothing_can_be_older_than_is_forgotten),
        cmocka_unit_test(more_than_are_remembered_are_told_so),
        cmocka_unit_test(what_cannot_be_kicked_is_refused),
        cmocka_unit_test(a_site_is_told_to_all_edges_whose_counts_are_added_up),
        cmocka_unit_test(edges_get_the_keys_of_tickets_and_again_if_they_are_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
