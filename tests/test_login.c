/* login: from Hello to Bound, and every way in which it ends before. */
#include "tests/session_expect.h"

static void say_hello(struct rig *rig, struct conn_id id, const Lahar__V1__Hello *hello)
{
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_HELLO;
    frame.hello = (Lahar__V1__Hello *)(uintptr_t)hello;
    rig_say(rig, id, &frame);
}

static Lahar__V1__Hello good_hello(void)
{
    Lahar__V1__Hello hello = LAHAR__V1__HELLO__INIT;
    hello.proto = 1;
    hello.token = unpack_data(span_text("a.b.c"));
    hello.device = unpack_data(span_text("phone"));
    return hello;
}

static void refuses_a_bad_hello_with_its_reason(void **state)
{
    (void)state;
    static uint8_t big[3000];
    Lahar__V1__Resume resume = LAHAR__V1__RESUME__INIT;
    Lahar__V1__Hello version = good_hello(), client = good_hello(), no_device = good_hello(),
                     bad_device = good_hello(), long_device = good_hello(), both = good_hello(),
                     ticket = good_hello(), no_token = good_hello(), long_token = good_hello();
    version.proto = 2;
    client.client = unpack_data(span_of(big, 65));
    no_device.device.len = 0;
    bad_device.device = unpack_data(span_text("my phone"));
    long_device.device = unpack_data(span_text("123456789012345678901234567890123"));
    both.resume = ticket.resume = &resume;
    ticket.token.len = 0;
    no_token.token.len = 0;
    long_token.token = unpack_data(span_of(big, 2049));
    const struct {
        const Lahar__V1__Hello *hello;
        enum end_reason reason;
    } cases[] = {
        {&version, END_BAD_VERSION},      {&client, END_BAD_FRAME},
        {&no_device, END_BAD_DEVICE},     {&bad_device, END_BAD_DEVICE},
        {&long_device, END_BAD_DEVICE},   {&ticket, END_TOKEN_REQUIRED},
        {&both, END_BAD_FRAME},           {&no_token, END_TOKEN_REQUIRED},
        {&long_token, END_TOKEN_REFUSED},
    };
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conn_id id = rig_open(rig, i);
        say_hello(rig, id, cases[i].hello);
        rig_expect_error(rig, id, cases[i].reason);
        rig_close(rig, id);
    }
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void refuses_a_hello_that_is_no_message(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    struct conn_id id = rig_open(rig, 0);
    const uint8_t bytes[] = {4, 1 << 3 | 2, 2, 3 << 3 | 2, 100};
    session_bytes(rig->table, id, span_of(bytes, sizeof bytes));
    rig_expect_error(rig, id, END_BAD_FRAME);
    rig_free(rig);
}

static void tells_of_a_token_only_that_it_is_refused_or_expired(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    for (uint32_t verdict = 1; verdict < TOKEN_VERDICTS; verdict++) {
        if (verdict == TOKEN_UNKNOWN_SITE)
            continue;
        rig->verdict = (enum token_verdict)verdict;
        struct conn_id id = rig_open(rig, verdict);
        rig_hello(rig, id, "phone");
        rig_expect_error(rig, id, verdict == TOKEN_EXPIRED ? END_TOKEN_EXPIRED : END_TOKEN_REFUSED);
        assert_int_equal(rig_count(rig, EDGE_METRIC_TOKEN(verdict)), 1);
    }
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void a_token_for_another_device_is_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig_claim(rig, "game", "alice", "tablet");
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    rig_expect_error(rig, id, END_TOKEN_REFUSED);
    struct conn_id right = rig_open(rig, 1);
    rig_hello(rig, right, "tablet");
    assert_int_equal(rig->closed[1], END_NONE);
    rig_free(rig);
}

static void asks_the_owner_of_the_user_then_the_owner_of_the_gid(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_open(rig, 3);
    rig_hello(rig, id, "phone");
    uint64_t hash = gid_user_hash(span_text("game"), span_text("alice"));
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, (uint32_t)(hash % GID_SLOTS) / (GID_SLOTS / RIG_SHARDS),
                   LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE);
    assert_memory_equal(frame->resolve->site.data, "game", 4);
    assert_memory_equal(frame->resolve->user.data, "alice", 5);
    assert_int_equal(frame->resolve->req, (uint64_t)id.generation << 32 | 3);
    rig_drop(frame);
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    frame = rig_expect(rig, rig_owner(RIG_GID), LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND);
    assert_int_equal(frame->bind->gid, RIG_GID);
    assert_int_equal(frame->bind->device, gid_device_hash(span_text("phone")));
    rig_drop(frame);
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void an_answer_of_the_owner_ends_the_login_with_its_reason(void **state)
{
    (void)state;
    const struct {
        Lahar__Link__V1__Resolved__Status resolved;
        uint64_t gid;
        Lahar__Link__V1__Bound__Status bound;
        enum end_reason reason;
    } cases[] = {
        {LAHAR__LINK__V1__RESOLVED__STATUS__BUSY, 0, 0, END_BUSY},
        {LAHAR__LINK__V1__RESOLVED__STATUS__NO_USER, 0, 0, END_TOKEN_REFUSED},
        {LAHAR__LINK__V1__RESOLVED__STATUS__OK, UINT64_C(1) << 60 | 5, 0, END_BUSY},
        {LAHAR__LINK__V1__RESOLVED__STATUS__OK, 0, 0, END_BUSY},
        {LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID, LAHAR__LINK__V1__BOUND__STATUS__BUSY,
         END_BUSY},
        {LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID,
         LAHAR__LINK__V1__BOUND__STATUS__TOO_MANY_DEVICES, END_TOO_MANY_DEVICES},
    };
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conn_id id = rig_open(rig, i);
        rig_hello(rig, id, "phone");
        rig_resolved(rig, id, cases[i].resolved, cases[i].gid);
        if (cases[i].bound != LAHAR__LINK__V1__BOUND__STATUS__OK)
            rig_bound(rig, id, cases[i].bound, RIG_GID, "phone", 0);
        rig_expect_error(rig, id, cases[i].reason);
    }
    assert_int_equal(session_count(rig->table), 0);
    rig_free(rig);
}

static void a_login_meets_busy_without_number_or_owner(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone"); /* no shard at all */
    rig_expect_error(rig, id, END_BUSY);
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        session_link_up(rig->table, shard);
    id = rig_open(rig, 1);
    rig_hello(rig, id, "phone"); /* no number */
    rig_expect_error(rig, id, END_BUSY);
    rig_number(rig, 0, 3);
    session_link_down(rig->table, rig_owner(RIG_GID));
    id = rig_open(rig, 2);
    rig_hello(rig, id, "phone");
    if (rig->closed[2] == END_NONE)
        rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_expect_error(rig, id, END_BUSY); /* the owner is away */
    rig_free(rig);
}

static void a_login_not_answered_in_time_ends_as_busy_and_its_late_session_is_unbound(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_pass(rig, 2900);
    assert_int_equal(rig->closed[0], END_NONE);
    rig_pass(rig, 200);
    rig_expect_error(rig, id, END_BUSY);
    assert_int_equal(rig_count(rig, EDGE_METRIC_LOGINS_LATE), 1);
    rig_forget_told(rig);
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, 9));
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, rig_owner(RIG_GID), LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND);
    assert_int_equal(frame->unbind->gid, RIG_GID);
    assert_int_equal(frame->unbind->device, gid_device_hash(span_text("phone")));
    assert_int_equal(frame->unbind->session, rig_session(1, 9));
    rig_drop(frame);
    /* Also once the place has somebody else. */
    rig_close(rig, id);
    rig_login(rig, 0, RIG_GID, rig_session(1, 10));
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, 9));
    rig_drop(rig_expect(rig, rig_owner(RIG_GID), LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND));
    assert_int_equal(session_count(rig->table), 1);
    rig_free(rig);
}

static void a_bound_said_twice_does_not_unbind_the_session(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, 1));
    assert_true(rig_nothing_told(rig));
    assert_int_equal(session_count(rig->table), 1);
    rig_free(rig);
}

static void a_bound_of_an_earlier_owner_is_not_taken(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 5);
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_forget_told(rig);
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(4, 1));
    rig_expect_error(rig, id, END_BUSY);
    rig_drop(rig_expect(rig, rig_owner(RIG_GID), LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND));
    rig_free(rig);
}

static void a_bound_for_another_gid_or_device_is_not_taken(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    for (uint32_t i = 0; i < 3; i++) {
        struct conn_id id = rig_open(rig, i);
        rig_hello(rig, id, "phone");
        rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
        rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, i == 0 ? RIG_GID + 1 : RIG_GID,
                  i == 1 ? "tablet" : "phone", i == 2 ? 0 : rig_session(1, 1));
        rig_expect_error(rig, id, END_BUSY);
    }
    assert_int_equal(rig_count(rig, EDGE_METRIC_LINK_BAD), 3);
    rig_free(rig);
}

/* --- sites ------------------------------------------------------------------------------------ */

static uint32_t expect_lookup(struct rig *rig)
{
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++) {
        Lahar__Link__V1__LinkFrame *frame = rig_told(rig, shard);
        if (frame == NULL)
            continue;
        assert_int_equal(frame->frame_case, LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_LOOKUP);
        assert_memory_equal(frame->site_lookup->id.data, "game", 4);
        rig_drop(frame);
        return shard;
    }
    fail_msg("no shard was asked");
    return 0;
}

static void site_found(struct rig *rig, struct conn_id id, bool busy, Lahar__Link__V1__Site *site)
{
    Lahar__Link__V1__SiteFound found = LAHAR__LINK__V1__SITE_FOUND__INIT;
    found.req = (uint64_t)id.generation << 32 | id.slot;
    found.busy = busy;
    found.site = site;
    RIG_ANSWER(rig, 0, site_found, SITE_FOUND, &found);
}

static void an_unknown_site_is_asked_for_and_the_login_goes_on(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig->verdict = TOKEN_UNKNOWN_SITE;
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    expect_lookup(rig);

    uint8_t key[32] = {1};
    Lahar__Link__V1__SiteKey site_key = LAHAR__LINK__V1__SITE_KEY__INIT;
    Lahar__Link__V1__SiteKey *keys[] = {&site_key};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    site_key.kid = unpack_data(span_text("k1"));
    site_key.ed25519 = unpack_data(span_of(key, sizeof key));
    site.id = unpack_data(span_text("game"));
    site.revision = 1;
    site.n_keys = 1;
    site.keys = keys;
    site_found(rig, id, false, &site);
    assert_int_equal(session_at(rig->table, 0)->state, SESSION_RESOLVING);
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, 1));
    assert_int_equal(session_count(rig->table), 1);
    rig_free(rig);
}

static void a_site_that_nobody_knows_is_asked_for_once_in_ten_seconds(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig->verdict = TOKEN_UNKNOWN_SITE;
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    expect_lookup(rig);
    site_found(rig, id, false, NULL);
    rig_expect_error(rig, id, END_TOKEN_REFUSED);
    id = rig_open(rig, 1);
    rig_hello(rig, id, "phone");
    rig_expect_error(rig, id, END_TOKEN_REFUSED);
    assert_true(rig_nothing_told(rig));
    rig_pass(rig, 10100);
    rig_forget_told(rig);
    id = rig_open(rig, 2);
    rig_hello(rig, id, "phone");
    expect_lookup(rig);
    rig_free(rig); /* what waits is freed with the table */
}

static void a_look_up_that_cannot_be_answered_is_busy(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig->verdict = TOKEN_UNKNOWN_SITE;
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    site_found(rig, id, true, NULL);
    rig_expect_error(rig, id, END_BUSY);
    struct conn_id slow = rig_open(rig, 1);
    rig_hello(rig, slow, "phone");
    rig_pass(rig, 3100);
    rig_expect_error(rig, slow, END_BUSY);
    rig_free(rig);
}

static void users_are_made_on_first_sight_only_where_the_site_is_open(void **state)
{
    (void)state;
    uint8_t key[32] = {1};
    Lahar__Link__V1__SiteKey site_key = LAHAR__LINK__V1__SITE_KEY__INIT;
    Lahar__Link__V1__SiteKey *keys[] = {&site_key};
    site_key.kid = unpack_data(span_text("k1"));
    site_key.ed25519 = unpack_data(span_of(key, sizeof key));
    for (int closed = 0; closed < 2; closed++) {
        struct rig *rig = rig_new(NULL);
        rig_cluster(rig, 1);
        Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
        site.id = unpack_data(span_text("game"));
        site.revision = 1;
        site.closed = closed;
        site.n_keys = 1;
        site.keys = keys;
        RIG_ANSWER(rig, 0, site, SITE, &site);
        struct conn_id id = rig_open(rig, 0);
        rig_hello(rig, id, "phone");
        uint64_t hash = gid_user_hash(span_text("game"), span_text("alice"));
        Lahar__Link__V1__LinkFrame *frame =
            rig_expect(rig, (uint32_t)(hash % GID_SLOTS) / (GID_SLOTS / RIG_SHARDS),
                       LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE);
        assert_int_equal(frame->resolve->may_create, !closed);
        rig_drop(frame);
        rig_free(rig);
    }
}

static void pages_log_in_to_sites_that_list_their_origin(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    assert_int_equal(session_origin(rig->table, span_text("https://a.example")), CONN_ORIGIN_LATER);
    static const char *const ids[] = {"game", "other"};
    static const char *const origins[] = {"https://a.example", "https://b.example"};
    for (uint64_t i = 0; i < 2; i++) {
        Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
        ProtobufCBinaryData origin = unpack_data(span_text(origins[i]));
        site.id = unpack_data(span_text(ids[i]));
        site.revision = i + 1;
        site.n_origins = 1;
        site.origins = &origin;
        RIG_ANSWER(rig, 0, site, SITE, &site);
    }
    assert_int_equal(session_origin(rig->table, span_text("https://c.example")), 0);

    rig->from.origin = session_origin(rig->table, span_text("https://b.example"));
    assert_true(rig->from.origin > 0);
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    rig_expect_error(rig, id, END_ORIGIN_REFUSED);
    assert_true(rig_nothing_told(rig));

    rig->from.origin = session_origin(rig->table, span_text("https://a.example"));
    id = rig_open(rig, 1);
    rig_hello(rig, id, "phone");
    assert_int_equal(session_at(rig->table, 1)->state, SESSION_RESOLVING);
    rig_free(rig);
}

static void what_an_upgrade_took_is_taken_from_the_hello(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    uint32_t hello_ms = rig->table->options.hello_ms;
    rig->from.waited_ms = hello_ms - 1000;
    struct conn_id id = rig_open(rig, 0);
    rig_pass(rig, 900);
    assert_int_equal(rig->closed[0], END_NONE);
    rig_pass(rig, 200);
    rig_expect_error(rig, id, END_HELLO_TIMEOUT);
    rig->from.waited_ms = hello_ms + 5000; /* a loop that was late */
    id = rig_open(rig, 1);
    rig_pass(rig, 100);
    rig_expect_error(rig, id, END_HELLO_TIMEOUT);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_a_bad_hello_with_its_reason),
        cmocka_unit_test(refuses_a_hello_that_is_no_message),
        cmocka_unit_test(tells_of_a_token_only_that_it_is_refused_or_expired),
        cmocka_unit_test(a_token_for_another_device_is_refused),
        cmocka_unit_test(asks_the_owner_of_the_user_then_the_owner_of_the_gid),
        cmocka_unit_test(an_answer_of_the_owner_ends_the_login_with_its_reason),
        cmocka_unit_test(a_login_meets_busy_without_number_or_owner),
        cmocka_unit_test(a_login_not_answered_in_time_ends_as_busy_and_its_late_session_is_unbound),
        cmocka_unit_test(a_bound_said_twice_does_not_unbind_the_session),
        cmocka_unit_test(a_bound_of_an_earlier_owner_is_not_taken),
        cmocka_unit_test(a_bound_for_another_gid_or_device_is_not_taken),
        cmocka_unit_test(an_unknown_site_is_asked_for_and_the_login_goes_on),
        cmocka_unit_test(a_site_that_nobody_knows_is_asked_for_once_in_ten_seconds),
        cmocka_unit_test(a_look_up_that_cannot_be_answered_is_busy),
        cmocka_unit_test(pages_log_in_to_sites_that_list_their_origin),
        cmocka_unit_test(what_an_upgrade_took_is_taken_from_the_hello),
        cmocka_unit_test(users_are_made_on_first_sight_only_where_the_site_is_open),
    };
    return cmocka_run_group_tests_name("login", tests, NULL, NULL);
}
