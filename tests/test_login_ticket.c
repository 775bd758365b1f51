/* login by ticket: what it costs, what refuses it, and what ends a session that it had admitted. */
#include "tests/session_expect.h"

#define SITE_REVISION 5u

static Lahar__Link__V1__SiteKey site_key;
static Lahar__Link__V1__SiteKey *site_keys[] = {&site_key};

static void push_site(struct rig *rig, const char *id, uint64_t revision, uint64_t not_before)
{
    static uint8_t ed25519[32];
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    lahar__link__v1__site_key__init(&site_key);
    site_key.kid = unpack_data(span_text("k"));
    site_key.ed25519 = unpack_data(span_of(ed25519, sizeof ed25519));
    site.id = unpack_data(span_text(id));
    site.revision = revision;
    site.not_before = not_before;
    site.n_keys = 1;
    site.keys = site_keys;
    RIG_ANSWER(rig, 0, site, SITE, &site);
}

static void push_keys(struct rig *rig, uint64_t revision, uint32_t first_id, size_t count)
{
    static uint8_t secret[TICKET_SECRET_SIZE] = "as secret as a test can have it";
    Lahar__Link__V1__TicketKeys keys = LAHAR__LINK__V1__TICKET_KEYS__INIT;
    Lahar__Link__V1__TicketKey each[2], *list[2];
    for (size_t i = 0; i < count; i++) {
        lahar__link__v1__ticket_key__init(&each[i]);
        each[i].id = first_id + (uint32_t)i;
        each[i].secret = unpack_data(span_of(secret, sizeof secret));
        list[i] = &each[i];
    }
    keys.revision = revision;
    keys.n_keys = count;
    keys.keys = list;
    RIG_ANSWER(rig, 0, ticket_keys, TICKET_KEYS, &keys);
}

/* The tokens of this rig are issued when it begins. */
static struct rig *resume_rig(const struct session_options *options)
{
    struct rig *rig = rig_new(options);
    rig_cluster(rig, 1);
    push_site(rig, "game", SITE_REVISION, 0);
    push_keys(rig, 1, 1, 1);
    rig->claims.issued_at = rig->now_ms / 1000;
    return rig;
}

struct kept_ticket {
    uint8_t bytes[TICKET_SIZE_MAX];
    size_t len;
};

static struct kept_ticket take_welcome(struct rig *rig, struct conn_id id)
{
    struct kept_ticket ticket = {.len = 0};
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_WELCOME);
    ticket.len = frame->welcome->ticket.len;
    assert_true(ticket.len <= sizeof ticket.bytes);
    if (ticket.len > 0)
        memcpy(ticket.bytes, frame->welcome->ticket.data, ticket.len);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    return ticket;
}

static struct kept_ticket log_in(struct rig *rig, struct conn_id id, uint64_t session)
{
    rig_hello(rig, id, "phone");
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", session);
    rig_forget_told(rig);
    return take_welcome(rig, id);
}

/* In place 0; the conn is gone again. */
static struct kept_ticket ticket_of_a_login(struct rig *rig, uint64_t session)
{
    struct conn_id id = rig_open(rig, 0);
    struct kept_ticket ticket = log_in(rig, id, session);
    rig_close(rig, id);
    rig_forget_told(rig);
    return ticket;
}

static void come_back(struct rig *rig, struct conn_id id, const struct kept_ticket *ticket,
                      const char *device)
{
    Lahar__V1__Resume resume = LAHAR__V1__RESUME__INIT;
    Lahar__V1__Hello hello = LAHAR__V1__HELLO__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    resume.ticket = unpack_data(span_of(ticket->bytes, ticket->len));
    hello.proto = 1;
    hello.resume = &resume;
    hello.device = unpack_data(span_text(device));
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_HELLO;
    frame.hello = &hello;
    rig_say(rig, id, &frame);
}

static void expect_bind(struct rig *rig, uint64_t resume, uint64_t issued_at)
{
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, rig_owner(RIG_GID), LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND);
    assert_int_equal(frame->bind->gid, RIG_GID);
    assert_int_equal(frame->bind->device, gid_device_hash(span_text("phone")));
    assert_int_equal(frame->bind->resume, resume);
    assert_int_equal(frame->bind->issued_at, issued_at);
    rig_drop(frame);
}

static void a_ticket_costs_neither_a_check_nor_a_resolve(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    uint64_t issued_at = rig->claims.issued_at;
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    assert_int_equal(rig_count(rig, EDGE_METRIC_TOKENS_OK), 1);

    struct conn_id id = rig_open(rig, 1);
    come_back(rig, id, &ticket, "phone");
    expect_bind(rig, rig_session(1, 1), issued_at);
    assert_true(rig_nothing_told(rig));
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, 2));
    (void)take_welcome(rig, id);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TOKENS_OK), 1);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_OK), 1);
    assert_int_equal(session_count(rig->table), 1);
    rig_free(rig);
}

static void each_welcome_renews_it_but_not_its_end(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    uint64_t issued_at = rig->claims.issued_at;
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    uint32_t n = 2;
    for (; n < 8; n++) {
        rig->now_ms += 4 * 3600 * 1000 - 600000;
        session_time(rig->table, rig->now_ms, rig->now_ms + 5);
        struct conn_id id = rig_open(rig, n);
        come_back(rig, id, &ticket, "phone");
        expect_bind(rig, rig_session(1, n - 1), issued_at);
        rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, n));
        ticket = take_welcome(rig, id);
        rig_close(rig, id);
        rig_forget_told(rig);
    }
    rig->now_ms += 2 * 3600 * 1000;
    session_time(rig->table, rig->now_ms, rig->now_ms + 5);
    struct conn_id late = rig_open(rig, n);
    come_back(rig, late, &ticket, "phone");
    rig_expect_error(rig, late, END_TOKEN_REQUIRED);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_EXPIRED), 1);
    rig_free(rig);
}

static void a_ticket_that_is_not_good_asks_for_a_token(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1)), bad = ticket;
    bad.bytes[20] ^= 1;
    struct conn_id id = rig_open(rig, 1);
    come_back(rig, id, &bad, "phone");
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    id = rig_open(rig, 2);
    come_back(rig, id, &ticket, "tablet");
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    push_keys(rig, 2, 7, 2);
    id = rig_open(rig, 3);
    come_back(rig, id, &ticket, "phone");
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_BAD_MAC), 1);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_OTHER_DEVICE), 1);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_UNKNOWN_KEY), 1);
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void without_keys_none_is_given_and_who_brings_one_is_told_busy(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL), *bare = rig_new(NULL);
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    rig_cluster(bare, 1);
    push_site(bare, "game", SITE_REVISION, 0);
    bare->claims.issued_at = bare->now_ms / 1000;
    assert_int_equal(ticket_of_a_login(bare, rig_session(1, 1)).len, 0);
    struct conn_id id = rig_open(bare, 1);
    come_back(bare, id, &ticket, "phone");
    rig_expect_error(bare, id, END_BUSY);
    push_keys(bare, 1, 1, 1);
    id = rig_open(bare, 2);
    come_back(bare, id, &ticket, "phone");
    expect_bind(bare, rig_session(1, 1), bare->claims.issued_at);
    rig_free(rig);
    rig_free(bare);
}

static void where_tickets_are_off_none_is_given(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.ticket_s = 0;
    struct rig *rig = resume_rig(&options);
    assert_int_equal(ticket_of_a_login(rig, rig_session(1, 1)).len, 0);
    rig_free(rig);
}

static void the_owner_has_the_last_word(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    struct conn_id id = rig_open(rig, 1);
    come_back(rig, id, &ticket, "phone");
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__TOO_OLD, RIG_GID, "phone", 0);
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_TOO_OLD), 1);

    id = rig_open(rig, 2);
    rig_hello(rig, id, "phone");
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__TOO_OLD, RIG_GID, "phone", 0);
    rig_expect_error(rig, id, END_TOKEN_EXPIRED);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_TOO_OLD), 1);
    rig_free(rig);
}

static void a_bind_that_comes_back_goes_on_with_what_the_ticket_says(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    struct conn_id id = rig_open(rig, 1);
    come_back(rig, id, &ticket, "phone");
    uint32_t owner = rig_owner(RIG_GID);
    struct span told = rig_take(&rig->to_shard[owner], FRAME_LINK_SIZE_MAX);
    uint8_t copy[256];
    assert_true(told.len > 0 && told.len <= sizeof copy);
    memcpy(copy, told.at, told.len);
    Lahar__Link__V1__NotOwner back = LAHAR__LINK__V1__NOT_OWNER__INIT;
    back.slot = gid_slot(RIG_GID);
    back.frame = unpack_data(span_of(copy, told.len));
    RIG_ANSWER(rig, owner, not_owner, NOT_OWNER, &back);
    expect_bind(rig, rig_session(1, 1), rig->claims.issued_at);
    rig_free(rig);
}

static void a_ticket_of_a_site_that_is_gone_is_refused_after_one_look_up(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    Lahar__Link__V1__SiteGone gone = LAHAR__LINK__V1__SITE_GONE__INIT;
    gone.id = unpack_data(span_text("game"));
    gone.revision = SITE_REVISION + 1;
    RIG_ANSWER(rig, 0, site_gone, SITE_GONE, &gone);
    struct conn_id id = rig_open(rig, 1);
    come_back(rig, id, &ticket, "phone");
    assert_int_equal(rig->closed[1], END_NONE);
    Lahar__Link__V1__SiteFound found = LAHAR__LINK__V1__SITE_FOUND__INIT;
    found.req = (uint64_t)id.generation << 32 | id.slot;
    RIG_ANSWER(rig, 0, site_found, SITE_FOUND, &found);
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    rig_forget_told(rig);
    id = rig_open(rig, 2);
    come_back(rig, id, &ticket, "phone");
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    assert_true(rig_nothing_told(rig));
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_UNKNOWN_SITE), 2);
    rig_free(rig);
}

static uint32_t kicks_told(struct rig *rig, uint64_t not_before, uint64_t count)
{
    Lahar__Link__V1__LinkFrame *frame;
    uint32_t told = 0;
    while ((frame = rig_told(rig, 3)) != NULL) {
        if (frame->frame_case == LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_KICKED) {
            assert_int_equal(frame->site_kicked->count, count);
            assert_int_equal(frame->site_kicked->not_before, not_before);
            told++;
        }
        rig_drop(frame);
    }
    return told;
}

static void what_is_pushed_again_is_not_recalled_again(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    uint64_t issued_at = rig->claims.issued_at;
    push_site(rig, "game", SITE_REVISION + 1, issued_at + 1);
    rig_pass(rig, 200);
    assert_int_equal(kicks_told(rig, issued_at + 1, 0), 1);
    push_site(rig, "game", SITE_REVISION + 1, issued_at + 1);
    rig_pass(rig, 200);
    assert_int_equal(kicks_told(rig, issued_at + 1, 0), 0);
    /* Kicked again within the second it answers, as whoever kicked waits for that. */
    push_site(rig, "game", SITE_REVISION + 2, issued_at + 1);
    rig_pass(rig, 200);
    assert_int_equal(kicks_told(rig, issued_at + 1, 0), 1);
    rig_free(rig);
}

static void a_look_up_that_brings_a_not_before_recalls_too(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    uint64_t issued_at = rig->claims.issued_at;
    struct conn_id bound = rig_open(rig, 1);
    (void)log_in(rig, bound, rig_session(1, 2));
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    Lahar__Link__V1__SiteFound found = LAHAR__LINK__V1__SITE_FOUND__INIT;
    site.id = unpack_data(span_text("game"));
    site.revision = SITE_REVISION + 1;
    site.not_before = issued_at + 1;
    site.n_keys = 1;
    site.keys = site_keys;
    found.site = &site;
    RIG_ANSWER(rig, 0, site_found, SITE_FOUND, &found);
    rig_pass(rig, 200);
    rig_expect_error(rig, bound, END_KICKED);
    assert_int_equal(kicks_told(rig, issued_at + 1, 1), 1);
    rig_free(rig);
}

static void a_site_takes_back_what_it_issued_before(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    uint64_t issued_at = rig->claims.issued_at;
    struct kept_ticket ticket = ticket_of_a_login(rig, rig_session(1, 1));
    struct conn_id bound = rig_open(rig, 1), binding = rig_open(rig, 2), later = rig_open(rig, 3);
    (void)log_in(rig, bound, rig_session(1, 2));
    rig_hello(rig, binding, "tablet");
    rig_resolved(rig, binding, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig->claims.issued_at = issued_at + 1;
    rig_pass(rig, 1000);
    (void)log_in(rig, later, rig_session(1, 3));

    push_site(rig, "game", SITE_REVISION + 1, issued_at + 1);
    rig_pass(rig, 200);
    rig_expect_error(rig, bound, END_KICKED);
    rig_expect_error(rig, binding, END_KICKED);
    assert_int_equal(rig->closed[later.slot], END_NONE);
    assert_int_equal(rig_count(rig, EDGE_METRIC_RECALLED), 2);

    assert_int_equal(kicks_told(rig, issued_at + 1, 1), 1);

    rig_forget_told(rig);
    struct conn_id id = rig_open(rig, 4);
    come_back(rig, id, &ticket, "phone");
    rig_expect_error(rig, id, END_TOKEN_REQUIRED);
    assert_int_equal(rig_count(rig, EDGE_METRIC_TICKETS_NOT_BEFORE), 1);
    rig_free(rig);
}

static void a_large_site_is_taken_back_within_five_seconds(void **state)
{
    (void)state;
    struct rig *rig = resume_rig(NULL);
    for (uint32_t i = 0; i < RIG_CONNS; i++) {
        struct conn_id id = rig_open(rig, i);
        (void)log_in(rig, id, rig_session(1, i + 1));
    }
    assert_int_equal(session_count(rig->table), RIG_CONNS);
    push_site(rig, "game", SITE_REVISION + 1, rig->claims.issued_at + 1);
    rig_pass(rig, 5000);
    assert_int_equal(session_count(rig->table), 0);
    rig_free(rig);
}

static void next_turn(struct rig *rig)
{
    rig->now_ms++;
    session_time(rig->table, rig->now_ms, rig->now_ms + 5);
}

static void logins_beyond_what_a_turn_may_check_wait_in_line(void **state)
{
    (void)state;
    struct metrics metrics = {calloc(EDGE_METRICS, sizeof *metrics.values)};
    struct limits *limits = limits_new(&(struct limits_options){.checks_a_turn = 3}, &metrics);
    struct session_options options = rig_options();
    options.limits = limits;
    struct rig *rig = resume_rig(&options);
    struct conn_id ids[10];
    next_turn(rig);
    for (uint32_t i = 0; i < 10; i++) {
        ids[i] = rig_open(rig, i);
        rig_hello(rig, ids[i], "phone");
    }
    assert_int_equal(rig_count(rig, EDGE_METRIC_TOKENS_OK), 3);
    assert_int_equal(rig_count(rig, EDGE_METRIC_LOGINS_PARKED), 7);
    assert_false(session_turn_end(rig->table));
    assert_int_equal(rig_count(rig, EDGE_METRIC_TOKENS_OK), 3);

    /* One leaves from the middle of the line, and one from its head. */
    rig_close(rig, ids[5]);
    rig_close(rig, ids[3]);
    next_turn(rig);
    struct conn_id new = rig_open(rig, 20);
    rig_hello(rig, new, "phone");               /* not before those who wait */
    assert_false(session_turn_end(rig->table)); /* to be called again soon */
    assert_int_equal(rig_count(rig, EDGE_METRIC_TOKENS_OK), 6);
    assert_int_equal(session_at(rig->table, 7)->state, SESSION_RESOLVING);
    assert_int_equal(session_at(rig->table, 8)->state, SESSION_WAITING);
    assert_int_equal(session_at(rig->table, 20)->state, SESSION_WAITING);
    rig_close(rig, new);
    next_turn(rig);
    assert_true(session_turn_end(rig->table));
    assert_int_equal(rig_count(rig, EDGE_METRIC_TOKENS_OK), 8);
    assert_int_equal(rig->table->waiting_first, SESSION_NOWHERE);
    assert_int_equal(rig->table->waiting_last, SESSION_NOWHERE);
    rig_free(rig);
    limits_free(limits);
    free(metrics.values);
}

static void who_waits_too_long_is_told_busy(void **state)
{
    (void)state;
    struct metrics metrics = {calloc(EDGE_METRICS, sizeof *metrics.values)};
    struct limits *limits = limits_new(&(struct limits_options){.checks_a_turn = 1}, &metrics);
    struct session_options options = rig_options();
    options.limits = limits;
    options.logins_waiting = 40;
    struct rig *rig = resume_rig(&options);
    for (uint32_t i = 0; i < 45; i++)
        rig_hello(rig, rig_open(rig, i), "phone");
    for (uint32_t i = 40; i < 45; i++)
        rig_expect_error(rig, (struct conn_id){i, i + 1}, END_BUSY);
    rig_pass(rig, 3100); /* one is checked each 100 ms */
    uint32_t busy = 0;
    for (uint32_t i = 0; i < 40; i++)
        busy += rig->closed[i] == END_BUSY;
    assert_int_equal(busy, 40);
    assert_int_equal(rig->table->waiting_first, SESSION_NOWHERE);
    assert_int_equal(rig->table->logging_in, 0);
    rig_free(rig);
    limits_free(limits);
    free(metrics.values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_costs_neither_a_check_nor_a_resolve),
        cmocka_unit_test(each_welcome_renews_it_but_not_its_end),
        cmocka_unit_test(a_ticket_that_is_not_good_asks_for_a_token),
        cmocka_unit_test(without_keys_none_is_given_and_who_brings_one_is_told_busy),
        cmocka_unit_test(where_tickets_are_off_none_is_given),
        cmocka_unit_test(the_owner_has_the_last_word),
        cmocka_unit_test(a_bind_that_comes_back_goes_on_with_what_the_ticket_says),
        cmocka_unit_test(a_ticket_of_a_site_that_is_gone_is_refused_after_one_look_up),
        cmocka_unit_test(what_is_pushed_again_is_not_recalled_again),
        cmocka_unit_test(a_look_up_that_brings_a_not_before_recalls_too),
        cmocka_unit_test(a_site_takes_back_what_it_issued_before),
        cmocka_unit_test(a_large_site_is_taken_back_within_five_seconds),
        cmocka_unit_test(logins_beyond_what_a_turn_may_check_wait_in_line),
        cmocka_unit_test(who_waits_too_long_is_told_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
