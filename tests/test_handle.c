/* handle: binds, sends and deliveries, as edges say and hear them. */
#include "tests/shard_world.h"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    world_edge(&world, 0, 3, NULL, 0);
    world_edge(&world, 1, 4, NULL, 0);
    world_pass(&world, 2500); /* all is known */
    fake_set_text(&world.redis, "t:gids", "9000000");
    world_pass(&world, 2500);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static const uint8_t cmid[16] = "0123456789abcdef";

static struct hot_link_send message(uint64_t from, uint64_t to, enum hot_class class)
{
    return (struct hot_link_send){.from = from,
                                  .device = 1,
                                  .session = (uint64_t)1 << 32 | 70,
                                  .send = {.to = to,
                                           .seq = 1,
                                           .settled = 1,
                                           .class = class,
                                           .cmid = span_of(cmid, 16),
                                           .body = span_text("hello")}};
}

static bool hear_deliver(uint32_t peer, struct hot_link_deliver *deliver)
{
    const struct heard *heard = world_next(&world, peer, FRAME(DELIVER));
    if (heard == NULL)
        return false;
    assert_int_equal(heard->kind, LINK_CREDITED);
    assert_true(hot_link_deliver_read(fake_span(heard->bytes), deliver));
    return true;
}

static bool hear_answer(uint32_t peer, struct hot_answer *answer)
{
    const struct heard *heard = world_next(&world, peer, FRAME(ANSWER));
    if (heard == NULL)
        return false;
    assert_int_equal(heard->kind, LINK_FREE);
    assert_true(hot_answer_read(fake_span(heard->bytes), answer));
    return true;
}

static void expect_nack(uint32_t peer, const struct hot_link_send *send, enum nack_reason reason)
{
    struct hot_answer answer;
    world_send_message(&world, peer, send);
    assert_true(hear_answer(peer, &answer));
    assert_int_equal(answer.level, HOT_LEVEL_NONE);
    assert_int_equal(answer.reason, reason);
    assert_true(answer.gid == send->from && answer.session == send->session);
    assert_true(span_equal(answer.cmid, send->send.cmid));
}

static void received(uint32_t peer, uint64_t gid, uint64_t session, uint64_t dseq)
{
    static uint8_t bytes[128];
    struct hot_received said = {gid, session, dseq};
    struct span rest = span_of(bytes, hot_link_received_write(bytes, &said)), body;
    assert_int_equal(frame_take(&rest, 128, &body), FRAME_READY);
    world_set_time(&world);
    shard_link_frame(world.shard, peer, body);
}

/* accepted = ends + in flight, of sends and of deliveries. */
static void the_ledgers_are_even(void)
{
    (void)world_metric(&world, ROUTER_METRIC_SENDS);
    uint64_t sends = 0, deliveries = 0;
    for (size_t id = ROUTER_METRIC_SENDS_ACKED; id <= ROUTER_METRIC_SENDS_IN_FLIGHT; id++)
        sends += metrics_get(world.metrics, id);
    for (size_t id = ROUTER_METRIC_DELIVERIES_ACKED; id <= ROUTER_METRIC_DELIVERIES_IN_FLIGHT; id++)
        deliveries += metrics_get(world.metrics, id);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_SENDS), sends);
    assert_int_equal(metrics_get(world.metrics, ROUTER_METRIC_DELIVERIES), deliveries);
}

static void an_ephemeral_goes_once_to_each_edge_for_all_its_sessions(void **state)
{
    (void)state;
    uint64_t from = world_foreign_gid(), to = world_gid(0);
    uint64_t a = world_bind(&world, 0, to, 1), b = world_bind(&world, 0, to, 2);
    uint64_t c = world_bind(&world, 1, to, 3);
    struct hot_link_send send = message(from, to, HOT_EPHEMERAL);
    struct hot_link_deliver deliver;
    world_send_message(&world, 1, &send);
    assert_true(hear_deliver(0, &deliver));
    assert_int_equal(deliver.sessions, 2);
    assert_true(deliver.session[0] + deliver.session[1] == a + b);
    assert_int_equal(deliver.dseqs, 0);
    assert_true(deliver.to == to && deliver.from == from);
    assert_int_equal(deliver.class, HOT_EPHEMERAL);
    assert_int_equal(deliver.epoch, 1);
    assert_true(span_equal(deliver.body, span_text("hello")));
    assert_true(hear_deliver(1, &deliver));
    assert_int_equal(deliver.sessions, 1);
    assert_true(deliver.session[0] == c);
    assert_false(hear_deliver(0, &deliver));
    assert_null(world_next(&world, 1, FRAME(ANSWER)));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SENDS_PASSED), 1);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_DELIVERIES_PASSED), 3);
    the_ledgers_are_even();
}

static void without_credit_an_ephemeral_is_shed_and_counted(void **state)
{
    (void)state;
    uint64_t to = world_gid(0);
    (void)world_bind(&world, 0, to, 1);
    struct hot_link_send send = message(world_foreign_gid(), to, HOT_EPHEMERAL);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LIMIT_REJECTED_CREDIT), 0);
    world.no_credit[0] = true;
    world_send_message(&world, 1, &send);
    send.send.to = world_gid(1); /* nobody */
    world_send_message(&world, 1, &send);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SENDS_SHED), 1);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LIMIT_REJECTED_CREDIT), 1);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SENDS_SHED_OFFLINE), 1);
    the_ledgers_are_even();
}

static void to_oneself_means_to_ones_other_devices(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    uint64_t mine = world_bind(&world, 0, gid, 1), other = world_bind(&world, 1, gid, 2);
    struct hot_link_send send = message(gid, gid, HOT_EPHEMERAL);
    struct hot_link_deliver deliver;
    send.session = mine;
    world_send_message(&world, 0, &send);
    assert_false(hear_deliver(0, &deliver));
    assert_true(hear_deliver(1, &deliver));
    assert_true(deliver.session[0] == other);
}

static void a_confirmed_is_acknowledged_when_its_recipient_has_it(void **state)
{
    (void)state;
    uint64_t from = world_foreign_gid(), to = world_gid(0);
    uint64_t session = world_bind(&world, 0, to, 1);
    struct hot_link_send send = message(from, to, HOT_CONFIRMED);
    struct hot_link_deliver deliver;
    struct hot_answer answer;
    world_send_message(&world, 1, &send);
    assert_true(hear_deliver(0, &deliver));
    assert_true(deliver.dseqs == 1 && deliver.dseq[0] == 1 && deliver.epoch == 1);
    assert_int_equal(deliver.mid.len, 16);
    assert_false(hear_answer(1, &answer));
    the_ledgers_are_even();
    received(0, to, session, 1);
    assert_true(hear_answer(1, &answer));
    assert_int_equal(answer.level, HOT_LEVEL_DELIVERED);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SENDS_ACKED), 1);
    the_ledgers_are_even();
}

static void what_cannot_be_is_refused_with_its_reason(void **state)
{
    (void)state;
    uint64_t from = world_foreign_gid();
    struct hot_link_send send = message(from, world_gid(0), HOT_CONFIRMED);
    expect_nack(1, &send, NACK_OFFLINE);
    send.send.class = HOT_STORED;
    expect_nack(1, &send, NACK_UNSUPPORTED);
    send.send.class = HOT_CONFIRMED;
    for (uint64_t n = UINT64_C(1) << 40;; n++) { /* never handed out */
        send.send.to = n;
        if (gid_slot(n) < GID_SLOTS / SHARDS)
            break;
    }
    expect_nack(1, &send, NACK_NO_USER);
    for (uint64_t n = (uint64_t)GID_GROUP << 60 | 20000;; n++) {
        send.send.to = n;
        if (gid_slot(n) < GID_SLOTS / SHARDS)
            break;
    }
    expect_nack(1, &send, NACK_UNSUPPORTED);
    the_ledgers_are_even();
}

static void a_user_with_a_session_exists_whatever_the_counter_says(void **state)
{
    (void)state;
    uint64_t to = UINT64_C(1) << 40;
    while (gid_slot(to) >= GID_SLOTS / SHARDS)
        to++;
    (void)world_bind(&world, 0, to, 1);
    struct hot_link_send send = message(world_foreign_gid(), to, HOT_CONFIRMED);
    struct hot_link_deliver deliver;
    world_send_message(&world, 1, &send);
    assert_true(hear_deliver(0, &deliver));
}

static void what_is_not_ours_goes_back_with_its_owner(void **state)
{
    (void)state;
    uint64_t to = world_foreign_gid();
    struct hot_link_send send = message(world_gid(0), to, HOT_CONFIRMED), again;
    world_send_message(&world, 1, &send);
    const Lahar__Link__V1__NotOwner *said = TAKE(&world, 1, NOT_OWNER, not_owner);
    assert_non_null(said);
    assert_int_equal(said->slot, gid_slot(to));
    char owner[16];
    snprintf(owner, sizeof owner, "r1/%u", gid_slot(to) / (GID_SLOTS / SHARDS));
    assert_true(span_equal(unpack_span(said->owner), span_text(owner)));
    uint32_t number;
    struct span content;
    assert_true(frame_open(unpack_span(said->frame), &number, &content, NULL));
    assert_int_equal(number, FRAME(SEND));
    assert_true(hot_link_send_read(content, &again));
    assert_true(again.send.to == to && span_equal(again.send.body, span_text("hello")));
    /* Three shards had sent it back already. */
    send.hops = 3;
    expect_nack(1, &send, NACK_BUSY);
    assert_null(world_next(&world, 1, FRAME(NOT_OWNER)));
    SAY(&world, 1, BIND, bind, Bind, BASE(bind), .req = 1, .gid = to, .device = 1);
    assert_non_null(world_next(&world, 1, FRAME(NOT_OWNER)));
    assert_null(world_next(&world, 1, FRAME(BOUND)));
    the_ledgers_are_even();
}

static void what_is_too_long_to_go_back_is_dropped_and_counted(void **state)
{
    (void)state;
    static uint8_t filler[FRAME_LINK_SIZE_MAX - 64];
    ProtobufCMessageUnknownField unknown = {100, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                            sizeof filler, filler};
    /* Its length, as a varint, is part of the data. */
    size_t rest = sizeof filler - 3;
    for (int i = 0; i < 3; i++, rest >>= 7)
        filler[i] = (uint8_t)((rest & 0x7f) | (i < 2 ? 0x80 : 0));
    uint64_t bad = world_metric(&world, ROUTER_METRIC_LINK_BAD);
    SAY(&world, 1, BIND, bind, Bind, .base = {&lahar__link__v1__bind__descriptor, 1, &unknown},
        .req = 1, .gid = world_foreign_gid(), .device = 1);
    assert_null(world_next(&world, 1, FRAME(NOT_OWNER)));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LINK_BAD), bad + 1);
}

static void the_newer_login_of_a_device_wins(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    uint64_t first = world_bind(&world, 0, gid, 1), second = world_bind(&world, 1, gid, 1);
    assert_int_equal(gid_session_epoch(first), 1);
    assert_true(second > first);
    const Lahar__Link__V1__Unbind *unbind = TAKE(&world, 0, UNBIND, unbind);
    assert_non_null(unbind);
    assert_true(unbind->session == first && unbind->device == 1 && unbind->gid == gid);
    assert_int_equal(unbind->reason, END_REPLACED);
    struct hot_link_send send = message(world_foreign_gid(), gid, HOT_EPHEMERAL);
    struct hot_link_deliver deliver;
    world_send_message(&world, 0, &send);
    assert_false(hear_deliver(0, &deliver));
    assert_true(hear_deliver(1, &deliver));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 1);
}

static void what_an_edge_does_not_hold_it_can_neither_end_nor_acknowledge(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0), session = world_bind(&world, 0, gid, 1);
    struct hot_link_send send = message(world_foreign_gid(), gid, HOT_CONFIRMED);
    struct hot_answer answer;
    world_send_message(&world, 0, &send);
    SAY(&world, 1, UNBIND, unbind, Unbind, BASE(unbind), .gid = gid, .device = 1,
        .session = session);
    SAY(&world, 0, UNBIND, unbind, Unbind, BASE(unbind), .gid = gid, .device = 1,
        .session = session - 1);
    SAY(&world, 1, NO_SESSION, no_session, NoSession, BASE(no_session), .gid = gid,
        .session = session);
    received(1, gid, session, 1);
    assert_false(hear_answer(0, &answer));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_REFUSED), 4);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 1);
    received(0, gid, session, 1);
    assert_true(hear_answer(0, &answer));
    SAY(&world, 0, UNBIND, unbind, Unbind, BASE(unbind), .gid = gid, .device = 1,
        .session = session);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_RECORDS), 0);
    the_ledgers_are_even();
}

static void an_edge_that_acknowledges_for_a_session_that_is_gone_is_told_so(void **state)
{
    (void)state;
    received(0, world_gid(0), 5, 1);
    const Lahar__Link__V1__Unbind *unbind = TAKE(&world, 0, UNBIND, unbind);
    assert_non_null(unbind);
    assert_int_equal(unbind->reason, END_NO_SESSION);
    assert_true(unbind->session == 5);
    /* It may have been replaced: then its client must stay away, and is told by other means. */
    uint64_t session = world_bind(&world, 1, world_gid(0), 1);
    received(0, world_gid(0), session - 1, 1);
    assert_null(world_next(&world, 0, FRAME(UNBIND)));
}

static void a_session_its_edge_does_not_have_is_forgotten(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0), session = world_bind(&world, 0, gid, 1);
    SAY(&world, 0, NO_SESSION, no_session, NoSession, BASE(no_session), .gid = gid,
        .session = session);
    struct hot_link_send send = message(world_foreign_gid(), gid, HOT_CONFIRMED);
    expect_nack(1, &send, NACK_OFFLINE);
}

static void a_user_has_at_most_so_many_devices(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    for (uint64_t device = 1; device <= 10; device++)
        assert_true(world_bind(&world, device % 2, gid, device) != 0);
    SAY(&world, 0, BIND, bind, Bind, BASE(bind), .req = 5, .gid = gid, .device = 11);
    const Lahar__Link__V1__Bound *bound = TAKE(&world, 0, BOUND, bound);
    assert_non_null(bound);
    assert_int_equal(bound->status, LAHAR__LINK__V1__BOUND__STATUS__TOO_MANY_DEVICES);
    assert_true(world_bind(&world, 0, gid, 3) != 0); /* it has a place */
    world_link_down(&world, 1);                      /* those are offline now */
    assert_true(world_bind(&world, 0, gid, 11) != 0);
}

static void a_gap_is_answered_by_going_back_to_it(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0), session = world_bind(&world, 0, gid, 1);
    struct hot_link_send send = message(world_foreign_gid(), gid, HOT_CONFIRMED);
    struct hot_link_deliver deliver;
    world_send_message(&world, 1, &send);
    assert_true(hear_deliver(0, &deliver));
    SAY(&world, 0, DELIVERY_GAP, delivery_gap, DeliveryGap, BASE(delivery_gap), .gid = gid,
        .session = session, .expected = 1, .epoch = 0);
    assert_false(hear_deliver(0, &deliver)); /* of another owner */
    SAY(&world, 0, DELIVERY_GAP, delivery_gap, DeliveryGap, BASE(delivery_gap), .gid = gid,
        .session = session, .expected = 1, .epoch = 1);
    assert_true(hear_deliver(0, &deliver));
    assert_int_equal(deliver.dseq[0], 1);
}

static void a_resolve_makes_a_user_and_finds_it_again(void **state)
{
    (void)state;
    char user[16];
    uint32_t n = 0;
    do
        snprintf(user, sizeof user, "u%u", n++);
    while (gid_user_hash(span_text("game"), span_text(user)) % GID_SLOTS >= GID_SLOTS / SHARDS);
    uint64_t gid = 0;
    for (uint64_t req = 1; req <= 3; req++) {
        SAY(&world, 0, RESOLVE, resolve, Resolve, BASE(resolve), .req = req,
            .site = unpack_data(span_text("game")), .user = unpack_data(span_text(user)),
            .may_create = req > 1);
        world_pass(&world, 3000);
        const Lahar__Link__V1__Resolved *resolved = TAKE(&world, 0, RESOLVED, resolved);
        assert_non_null(resolved);
        assert_true(resolved->req == req);
        assert_int_equal(resolved->status, req == 1 ? LAHAR__LINK__V1__RESOLVED__STATUS__NO_USER
                                                    : LAHAR__LINK__V1__RESOLVED__STATUS__OK);
        assert_true(req < 3 || resolved->gid == gid);
        gid = resolved->gid;
    }
    assert_true(gid >= GID_FIRST_USER);
}

static void strangers_and_wrong_roles_are_not_heard(void **state)
{
    (void)state;
    struct hot_link_send send = message(world_foreign_gid(), world_gid(0), HOT_CONFIRMED);
    world_link_up(&world, 2, KEYS_EDGE); /* without a hello */
    world_send_message(&world, 2, &send);
    world_link_up(&world, 3, KEYS_ADMIN);
    world_send_message(&world, 3, &send);
    world_link_up(&world, 4, KEYS_ROUTER);
    world_hello(&world, 4, 9);
    Lahar__Link__V1__AdminRequest request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_LIST;
    frame.frame_case = FRAME(ADMIN_REQUEST);
    frame.admin_request = &request;
    world_say(&world, 0, &frame);
    assert_null(world_next(&world, 0, FRAME(ADMIN_REPLY)));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_REFUSED_STRANGER), 1);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_REFUSED_ROLE), 2);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SENDS), 0);
}

static void an_edge_whose_link_was_down_for_us_alone_is_asked_who_it_is(void **state)
{
    (void)state;
    world_link_down(&world, 0);
    world_link_up(&world, 0, KEYS_EDGE);
    world_forget_heard(&world);
    Lahar__Link__V1__Digest digest = LAHAR__LINK__V1__DIGEST__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = FRAME(DIGEST);
    frame.digest = &digest;
    world_say(&world, 0, &frame);
    const Lahar__Link__V1__EdgeNumber *asked = TAKE(&world, 0, EDGE_NUMBER, edge_number);
    assert_non_null(asked);
    assert_int_equal(asked->number, 0);
    world_hello(&world, 0, 3);
    world_say(&world, 0, &frame);
    assert_null(world_next(&world, 0, FRAME(EDGE_NUMBER)));
}

static void what_cannot_be_read_is_counted_and_does_no_harm(void **state)
{
    (void)state;
    static const char *const frames[] = {"\x3a\x02\xff\xff", "\x1a\x03\xff\xff\xff", "\xff\xff",
                                         "\x2a\x02\x12\x09", "\x42\x01\x09"};
    for (size_t i = 0; i < 5; i++)
        shard_link_frame(world.shard, 0, span_text(frames[i]));
    assert_int_equal(world_metric(&world, ROUTER_METRIC_LINK_BAD), 5);
    /* Columns of different lengths. */
    uint64_t one = 1;
    SAY(&world, 0, ANNOUNCE, announce, Announce, BASE(announce), .round = 1, .n_gid = 1,
        .gid = &one);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(an_ephemeral_goes_once_to_each_edge_for_all_its_sessions),
        WORLD(without_credit_an_ephemeral_is_shed_and_counted),
        WORLD(to_oneself_means_to_ones_other_devices),
        WORLD(a_confirmed_is_acknowledged_when_its_recipient_has_it),
        WORLD(what_cannot_be_is_refused_with_its_reason),
        WORLD(a_user_with_a_session_exists_whatever_the_counter_says),
        WORLD(what_is_not_ours_goes_back_with_its_owner),
        WORLD(what_is_too_long_to_go_back_is_dropped_and_counted),
        WORLD(the_newer_login_of_a_device_wins),
        WORLD(what_an_edge_does_not_hold_it_can_neither_end_nor_acknowledge),
        WORLD(an_edge_that_acknowledges_for_a_session_that_is_gone_is_told_so),
        WORLD(a_session_its_edge_does_not_have_is_forgotten),
        WORLD(a_user_has_at_most_so_many_devices),
        WORLD(a_gap_is_answered_by_going_back_to_it),
        WORLD(a_resolve_makes_a_user_and_finds_it_again),
        WORLD(strangers_and_wrong_roles_are_not_heard),
        WORLD(an_edge_whose_link_was_down_for_us_alone_is_asked_who_it_is),
        WORLD(what_cannot_be_read_is_counted_and_does_no_harm),
    };
    return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
