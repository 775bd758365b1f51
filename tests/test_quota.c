/* quota: what a session may take: of its site's share, of its address, of its worker; each at the
 * limit and one beyond it, told to the client and counted. */
#include "tests/limit_expect.h"
#include "tests/session_expect.h"

#include <stdlib.h>

#define TO (RIG_GID + 500)
#define EPHEMERAL LAHAR__V1__CLASS__EPHEMERAL
#define CONFIRMED LAHAR__V1__CLASS__CONFIRMED

static struct rig *rig;

static struct span site_id(void)
{
    return span_text("game");
}

static uint32_t site_owner(void)
{
    return gid_site_slot(site_id()) / (GID_SLOTS / RIG_SHARDS);
}

static void begin(const struct session_options *options)
{
    rig = rig_new(options);
    rig_cluster(rig, 1);
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

static void limit_site(uint32_t sends, uint32_t logins, uint32_t connections, uint64_t revision)
{
    static uint8_t key[32] = {1};
    Lahar__Link__V1__SiteKey site_key = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&site_key};
    Lahar__Link__V1__SiteLimits limits = LAHAR__LINK__V1__SITE_LIMITS__INIT;
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    site_key.kid = unpack_data(span_text("k"));
    site_key.ed25519 = unpack_data(span_of(key, 32));
    limits.sends_per_s = sends;
    limits.logins_per_s = logins;
    limits.connections = connections;
    site.id = unpack_data(site_id());
    site.keys = keys;
    site.n_keys = 1;
    site.limits = &limits;
    site.revision = revision;
    RIG_ANSWER(rig, 0, site, SITE, &site);
}

static void share(uint32_t sends, uint32_t logins, uint32_t connections)
{
    Lahar__Link__V1__SiteLimits limits = LAHAR__LINK__V1__SITE_LIMITS__INIT;
    Lahar__Link__V1__SiteShare said = LAHAR__LINK__V1__SITE_SHARE__INIT;
    limits.sends_per_s = sends;
    limits.logins_per_s = logins;
    limits.connections = connections;
    said.id = unpack_data(site_id());
    said.share = &limits;
    said.edges = 4;
    RIG_ANSWER(rig, site_owner(), site_share, SITE_SHARE, &said);
}

/* The next SiteUse that the site's owner was told; for the test to free. */
static Lahar__Link__V1__LinkFrame *next_use(void)
{
    Lahar__Link__V1__LinkFrame *frame;
    while ((frame = rig_told(rig, site_owner())) != NULL &&
           frame->frame_case != LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_USE)
        rig_drop(frame);
    return frame;
}

static uint64_t rejected(enum limit limit)
{
    return rig_count(rig, EDGE_METRIC_LIMIT_REJECTED(limit));
}

static uint64_t current(enum limit limit)
{
    return rig_count(rig, EDGE_METRIC_LIMIT_NOW(limit));
}

static void a_site_has_as_many_sessions_as_its_share_and_not_one_more(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(0, 0, 800, 1);
    share(0, 0, 3);
    struct conn_id ids[3];
    for (uint32_t i = 0; i < 3; i++)
        ids[i] = rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    struct conn_id beyond = rig_open(rig, 3);
    rig_hello(rig, beyond, "phone");
    rig_expect_error(rig, beyond, END_SITE_FULL);
    rig_close(rig, beyond);
    assert_int_equal(rejected(LIMIT_SITE_CONNECTIONS), 1);
    rig_close(rig, ids[1]);
    (void)rig_login(rig, 1, RIG_GID + 9, rig_session(1, 9));
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, SITE_CONNECTIONS, 3, 3, 1);
}

/* Also one that does not come to its end. */
static void a_login_under_way_counts_and_one_that_fails_does_not(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(0, 0, 800, 1);
    share(0, 0, 1);
    struct conn_id slow = rig_open(rig, 0), other = rig_open(rig, 1);
    rig_hello(rig, slow, "phone");
    rig_hello(rig, other, "phone");
    rig_expect_error(rig, other, END_SITE_FULL);
    rig_close(rig, other);
    rig_pass(rig, 3100);
    rig_expect_error(rig, slow, END_BUSY);
    rig_close(rig, slow);
    (void)rig_login(rig, 2, RIG_GID, rig_session(1, 1));
}

static void a_site_logs_in_as_often_as_its_share_and_not_once_more(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(0, 80, 0, 1);
    share(0, 2, 0);
    for (uint32_t i = 0; i < 2; i++)
        (void)rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    struct conn_id beyond = rig_open(rig, 3);
    rig_hello(rig, beyond, "phone");
    Lahar__V1__ServerFrame *frame = rig_heard(rig, beyond);
    assert_non_null(frame);
    assert_int_equal(frame->error->reason, END_BUSY);
    assert_in_range(frame->error->reconnect_after_ms, 1000, 60000);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    rig_close(rig, beyond);
    assert_int_equal(rejected(LIMIT_SITE_LOGINS), 1);
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, SITE_LOGINS, 3, 2, 1); /* three were wanted */
    (void)rig_login(rig, 3, RIG_GID + 3, rig_session(1, 4));
}

static void a_site_sends_as_much_as_its_share_and_not_one_more(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(800, 0, 0, 1);
    share(10, 0, 0);
    struct conn_id ids[2];
    for (uint32_t i = 0; i < 2; i++)
        ids[i] = rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    for (uint32_t n = 1; n <= 5; n++)
        for (uint32_t i = 0; i < 2; i++)
            rig_send(rig, ids[i], TO, CONFIRMED, n, 10);
    assert_null(rig_heard(rig, ids[0]));
    rig_send(rig, ids[0], TO, CONFIRMED, 6, 10);
    rig_expect_nack(rig, ids[0], NACK_BUSY, 100);
    rig_send(rig, ids[1], TO, EPHEMERAL, 6, 10);
    assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS_SHED), 1);
    assert_int_equal(rejected(LIMIT_SITE_SENDS), 2);
    assert_true(rig_ledgers_hold(rig));
    rig_pass(rig, 100);
    rig_send(rig, ids[0], TO, CONFIRMED, 6, 10);
    assert_null(rig_heard(rig, ids[0]));
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, SITE_SENDS, 13, 10, 2); /* so many were wanted */
}

static void the_owner_of_the_sites_slot_is_told_once_a_second(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(800, 80, 8000, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    for (uint32_t n = 1; n <= 7; n++)
        rig_send(rig, id, TO, EPHEMERAL, n, 10);
    rig_pass(rig, 1000);
    Lahar__Link__V1__LinkFrame *frame = next_use();
    assert_non_null(frame);
    const Lahar__Link__V1__SiteUse *use = frame->site_use;
    assert_int_equal(use->held->sends_per_s, 12); /* a 64th, before it was told */
    assert_int_equal(use->held->logins_per_s, 1);
    assert_int_equal(use->wanted->sends_per_s, 7);
    assert_int_equal(use->wanted->logins_per_s, 1);
    assert_int_equal(use->wanted->connections, 1);
    assert_int_equal(use->connections, 1);
    rig_drop(frame);
    assert_null(next_use());
    share(300, 20, 2000);
    rig_pass(rig, 1000);
    frame = next_use();
    assert_non_null(frame);
    assert_int_equal(frame->site_use->held->sends_per_s, 300);
    assert_int_equal(frame->site_use->wanted->sends_per_s, 0);
    rig_drop(frame);
}

static void the_owner_is_asked_at_the_end_of_the_turn_in_which_a_site_is_first_used(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(800, 80, 8000, 1);
    (void)rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    assert_null(next_use());
    assert_true(session_turn_end(rig->table));
    Lahar__Link__V1__LinkFrame *frame = next_use();
    assert_non_null(frame);
    assert_int_equal(frame->site_use->wanted->logins_per_s, 1);
    rig_drop(frame);
    assert_true(session_turn_end(rig->table));
    assert_null(next_use());
}

static void a_site_without_limits_is_told_to_nobody(void **state)
{
    (void)state;
    begin(NULL);
    limit_site(0, 0, 0, 1);
    (void)rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    rig_pass(rig, 2000);
    assert_null(next_use());
}

/* --- of the worker and the address ------------------------------------------------------------ */

static void logins_wait_up_to_the_limit_and_not_one_more(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.logins_waiting = 3;
    begin(&options);
    for (uint32_t i = 0; i < 3; i++)
        rig_hello(rig, rig_open(rig, i), "phone");
    assert_int_equal(session_logging_in(rig->table), 3);
    struct conn_id beyond = rig_open(rig, 3);
    rig_hello(rig, beyond, "phone");
    rig_expect_error(rig, beyond, END_BUSY);
    assert_int_equal(rejected(LIMIT_LOGINS_WAITING), 1);
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, LOGINS_WAITING, 3, 3, 1);
    EXPECT_LIMIT(&rig->metrics, EDGE, LOGIN_MS, 3, 3000, 0);
    rig_pass(rig, 2500); /* none was answered */
    assert_int_equal(session_logging_in(rig->table), 0);
    assert_int_equal(rejected(LIMIT_LOGIN_MS), 0); /* told once a second */
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, LOGIN_MS, 0, 3000, 3);
}

static void before_login_a_frame_has_4_kib_and_not_a_byte_more(void **state)
{
    (void)state;
    begin(NULL);
    for (uint32_t more = 0; more < 2; more++) {
        uint32_t size = FRAME_HELLO_SIZE_MAX + more;
        uint8_t head[] = {(uint8_t)((size & 0x7f) | 0x80), (uint8_t)(size >> 7)};
        struct conn_id id = rig_open(rig, more);
        assert_int_equal(session_bytes(rig->table, id, span_of(head, 2)), more == 0 ? 0 : 2);
        assert_int_equal(rejected(LIMIT_HELLO_BYTES), more);
        if (more == 1)
            rig_expect_error(rig, id, END_BAD_FRAME);
        rig_pass(rig, 1000);
    }
    EXPECT_LIMIT(&rig->metrics, EDGE, HELLO_BYTES, 1, FRAME_HELLO_SIZE_MAX, 1);
}

static void sends_in_flight_and_of_a_device_are_counted_where_they_are_refused(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.sends_in_flight = 4;
    options.sends_per_s = 10;
    options.sends_burst = 6;
    begin(&options);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    for (uint32_t n = 1; n <= 6; n++)
        rig_send(rig, id, TO, CONFIRMED, n, 10);
    assert_int_equal(rejected(LIMIT_SENDS_IN_FLIGHT), 2);
    assert_int_equal(rejected(LIMIT_SENDS), 0);
    rig_send(rig, id, TO, CONFIRMED, 7, 10);
    assert_int_equal(rejected(LIMIT_SENDS), 1);
    rig_pass(rig, 1000);
    assert_int_equal(current(LIMIT_SENDS_IN_FLIGHT), 4);
    rig_send(rig, id, TO, EPHEMERAL, 8, 10);
    rig_send(rig, id, TO, EPHEMERAL, 9, 10);
    rig_pass(rig, 1000);
    assert_int_equal(current(LIMIT_SENDS), 0); /* all is given back by now */
    EXPECT_LIMIT(&rig->metrics, EDGE, SENDS_IN_FLIGHT, 4, 4, 2);
}

/* Half of its burst is still out a second later. */
static void what_a_device_sends_is_shown_while_it_counts(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.sends_per_s = 2;
    options.sends_burst = 6;
    begin(&options);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    for (uint32_t n = 1; n <= 6; n++)
        rig_send(rig, id, TO, CONFIRMED, n, 10);
    assert_null(rig_heard(rig, id));
    rig_send(rig, id, TO, CONFIRMED, 7, 10);
    rig_expect_nack(rig, id, NACK_BUSY, 500);
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, SENDS, 4, 2, 1);
}

static void a_hello_has_its_time_and_not_a_tick_more(void **state)
{
    (void)state;
    begin(NULL);
    uint32_t hello_ms = rig->table->options.hello_ms;
    struct conn_id id = rig_open(rig, 0);
    rig_pass(rig, hello_ms - 100);
    assert_int_equal(rig->closed[0], END_NONE);
    EXPECT_LIMIT(&rig->metrics, EDGE, HELLO_MS, 1, hello_ms, 0);
    rig_pass(rig, 200);
    rig_expect_error(rig, id, END_HELLO_TIMEOUT);
    rig_pass(rig, 1000);
    EXPECT_LIMIT(&rig->metrics, EDGE, HELLO_MS, 0, hello_ms, 1);
}

static struct metrics metrics; /* of the worker's limits */

struct limited {
    struct limits *limits;
    struct session_options options;
};

/* A worker's limits, as conn would share them with the sessions. */
static struct limited limited(const struct limits_options *limits)
{
    struct limited made = {.options = rig_options()};
    metrics.values = calloc(EDGE_METRICS, sizeof *metrics.values);
    assert_non_null(metrics.values);
    made.limits = limits_new(limits, &metrics);
    made.options.limits = made.limits;
    return made;
}

static void an_address_sends_as_much_as_it_may_whoever_its_sessions_are(void **state)
{
    (void)state;
    struct limited with = limited(
        &(struct limits_options){.addresses_max = 9, .address_sends = {.per_s = 10, .burst = 6}});
    begin(&with.options);
    struct sockaddr_storage from = {.ss_family = AF_INET};
    assert_int_equal(limits_enter(with.limits, (struct sockaddr *)&from, &rig->from.address),
                     LIMIT_NONE);
    struct conn_id ids[2];
    for (uint32_t i = 0; i < 2; i++)
        ids[i] = rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    rig->from.address = LIMITS_NOBODY;
    struct conn_id elsewhere = rig_login(rig, 2, RIG_GID + 2, rig_session(1, 3));
    for (uint32_t n = 1; n <= 3; n++)
        for (uint32_t i = 0; i < 2; i++)
            rig_send(rig, ids[i], TO, CONFIRMED, n, 10);
    assert_null(rig_heard(rig, ids[0]));
    rig_send(rig, ids[1], TO, CONFIRMED, 4, 10);
    rig_expect_nack(rig, ids[1], NACK_BUSY, 100);
    rig_send(rig, elsewhere, TO, CONFIRMED, 1, 10);
    assert_null(rig_heard(rig, elsewhere));
    assert_int_equal(metrics_get(&metrics, EDGE_METRIC_LIMIT_REJECTED(LIMIT_ADDRESS_SENDS)), 1);
    limits_free(with.limits);
    free(metrics.values);
}

static void ephemeral_is_shed_only_in_the_last_class_of_overload(void **state)
{
    (void)state;
    struct limited with = limited(&(struct limits_options){.addresses_max = 0});
    begin(&with.options);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    for (enum limits_class class = LIMITS_CALM; class <= LIMITS_NO_EPHEMERAL; class ++) {
        limits_set_class(with.limits, class);
        rig_send(rig, id, TO, EPHEMERAL, 1, 10);
        assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS_SHED), class == LIMITS_NO_EPHEMERAL);
    }
    rig_send(rig, id, TO, CONFIRMED, 1, 10); /* who is there already is served */
    assert_null(rig_heard(rig, id));
    assert_int_equal(metrics_get(&metrics, EDGE_METRIC_LIMIT_REJECTED(LIMIT_OVERLOAD_SENDS)), 1);
    limits_free(with.limits);
    free(metrics.values);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_site_has_as_many_sessions_as_its_share_and_not_one_more),
        TEST(a_login_under_way_counts_and_one_that_fails_does_not),
        TEST(a_site_logs_in_as_often_as_its_share_and_not_once_more),
        TEST(a_site_sends_as_much_as_its_share_and_not_one_more),
        TEST(the_owner_of_the_sites_slot_is_told_once_a_second),
        TEST(the_owner_is_asked_at_the_end_of_the_turn_in_which_a_site_is_first_used),
        TEST(a_site_without_limits_is_told_to_nobody),
        TEST(logins_wait_up_to_the_limit_and_not_one_more),
        TEST(before_login_a_frame_has_4_kib_and_not_a_byte_more),
        TEST(sends_in_flight_and_of_a_device_are_counted_where_they_are_refused),
        TEST(what_a_device_sends_is_shown_while_it_counts),
        TEST(a_hello_has_its_time_and_not_a_tick_more),
        TEST(an_address_sends_as_much_as_it_may_whoever_its_sessions_are),
        TEST(ephemeral_is_shed_only_in_the_last_class_of_overload),
    };
    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
