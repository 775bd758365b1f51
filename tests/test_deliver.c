/* deliver: the delivering half of the order rule: what is let through to a client, and what its
 * owner is told. */
#include "tests/session_expect.h"

#define S1 rig_session(1, 1)

struct fixture {
    struct rig *rig;
    struct conn_id id;
    uint32_t owner;
};

static struct fixture bound(void)
{
    struct fixture f = {.rig = rig_new(NULL), .owner = rig_owner(RIG_GID)};
    rig_cluster(f.rig, 1);
    f.id = rig_login(f.rig, 0, RIG_GID, S1);
    return f;
}

static void expect_received(struct fixture *f, uint64_t dseq)
{
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(f->rig, f->owner, LAHAR__LINK__V1__LINK_FRAME__FRAME_RECEIVED);
    assert_int_equal(frame->received->gid, RIG_GID);
    assert_int_equal(frame->received->session, S1);
    assert_int_equal(frame->received->dseq, dseq);
    rig_drop(frame);
}

static void expect_gap(struct fixture *f, uint64_t expected)
{
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(f->rig, f->owner, LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP);
    assert_int_equal(frame->delivery_gap->gid, RIG_GID);
    assert_int_equal(frame->delivery_gap->session, S1);
    assert_int_equal(frame->delivery_gap->expected, expected);
    assert_int_equal(frame->delivery_gap->epoch, 1);
    rig_drop(frame);
}

static void deliver(struct fixture *f, uint64_t dseq)
{
    rig_deliver(f->rig, RIG_GID, S1, 1, dseq, false);
}

static void hands_a_delivery_over_unmodified(void **state)
{
    (void)state;
    struct fixture f = bound();
    deliver(&f, 1);
    Lahar__V1__ServerFrame *frame = rig_heard(f.rig, f.id);
    const Lahar__V1__Deliver *delivered = frame->deliver;
    assert_int_equal(delivered->dseq, 1);
    assert_int_equal(delivered->mid.len, GID_MID_SIZE);
    assert_int_equal(delivered->mid.data[0], 9);
    assert_int_equal(delivered->from, RIG_GID + 77);
    assert_int_equal(delivered->class_, LAHAR__V1__CLASS__CONFIRMED);
    assert_int_equal(delivered->sent_at, 1);
    assert_int_equal(delivered->body.len, 5);
    assert_memory_equal(delivered->body.data, "hello", 5);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void lets_only_the_next_one_through(void **state)
{
    (void)state;
    struct fixture f = bound();
    deliver(&f, 1);
    deliver(&f, 3);
    deliver(&f, 2);
    deliver(&f, 4);
    deliver(&f, 3);
    for (uint64_t dseq = 1; dseq <= 3; dseq++)
        rig_expect_deliver(f.rig, f.id, dseq, GID_MID_SIZE);
    assert_null(rig_heard(f.rig, f.id));
    expect_gap(&f, 2);
    expect_gap(&f, 3);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DROPPED_GAP), 2);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void tells_of_a_gap_once_until_it_moves_or_a_second_has_passed(void **state)
{
    (void)state;
    struct fixture f = bound();
    for (int i = 0; i < 20; i++)
        deliver(&f, 5);
    expect_gap(&f, 1);
    assert_true(rig_nothing_told(f.rig));
    deliver(&f, 1);
    deliver(&f, 5);
    expect_gap(&f, 2); /* moved */
    session_time(f.rig->table, f.rig->now_ms += 999, 0);
    deliver(&f, 5);
    assert_true(rig_nothing_told(f.rig));
    session_time(f.rig->table, f.rig->now_ms += 1, 0);
    deliver(&f, 5);
    expect_gap(&f, 2);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_GAPS_TOLD), 3);
    rig_free(f.rig);
}

static void drops_what_is_of_another_epoch(void **state)
{
    (void)state;
    struct fixture f = bound();
    rig_deliver(f.rig, RIG_GID, S1, 0, 1, false);
    rig_deliver(f.rig, RIG_GID, S1, 2, 1, false);
    rig_deliver(f.rig, RIG_GID, S1, 2, 0, false); /* EPHEMERAL too */
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DROPPED_EPOCH), 3);
    rig_owned(f.rig, f.owner, 2, f.owner * 4096, 4096, 2);
    rig_deliver(f.rig, RIG_GID, S1, 1, 1, false); /* the earlier owner's */
    assert_null(rig_heard(f.rig, f.id));
    rig_deliver(f.rig, RIG_GID, S1, 2, 1, false);
    rig_expect_deliver(f.rig, f.id, 1, GID_MID_SIZE);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void takes_nothing_before_an_owner_has_said_its_epoch(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        session_link_up(rig->table, shard);
    rig_number(rig, 0, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, S1);
    rig_deliver(rig, RIG_GID, S1, 0, 1, false);
    rig_deliver(rig, RIG_GID, S1, 1, 1, false);
    assert_null(rig_heard(rig, id));
    assert_int_equal(rig_count(rig, EDGE_METRIC_DROPPED_EPOCH), 2);
    rig_free(rig);
}

static void received_is_cumulative_and_goes_to_the_owner(void **state)
{
    (void)state;
    struct fixture f = bound();
    for (uint64_t dseq = 1; dseq <= 5; dseq++)
        deliver(&f, dseq);
    rig_received(f.rig, f.id, 3);
    expect_received(&f, 3);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DELIVERIES_ACKED), 3);
    rig_received(f.rig, f.id, 3); /* old ones are nothing new */
    rig_received(f.rig, f.id, 1);
    rig_received(f.rig, f.id, 0);
    assert_true(rig_nothing_told(f.rig));
    assert_int_equal(f.rig->closed[0], END_NONE);
    rig_received(f.rig, f.id, 5);
    expect_received(&f, 5);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DELIVERIES_ACKED), 5);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void received_that_runs_ahead_is_a_protocol_error(void **state)
{
    (void)state;
    struct fixture f = bound();
    deliver(&f, 1);
    rig_expect_deliver(f.rig, f.id, 1, GID_MID_SIZE);
    rig_received(f.rig, f.id, 2);
    rig_expect_error(f.rig, f.id, END_BAD_SEQUENCE);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DROPPED_CLOSED), 1);
    rig_free(f.rig);
}

static void a_repeat_of_what_the_client_has_is_answered_again(void **state)
{
    (void)state;
    struct fixture f = bound();
    deliver(&f, 1);
    deliver(&f, 2);
    rig_expect_deliver(f.rig, f.id, 1, GID_MID_SIZE);
    rig_expect_deliver(f.rig, f.id, 2, GID_MID_SIZE);
    rig_received(f.rig, f.id, 1);
    rig_forget_told(f.rig); /* lost */
    deliver(&f, 1);
    expect_received(&f, 1);
    deliver(&f, 2); /* with the client, not yet acknowledged: nothing to say */
    assert_true(rig_nothing_told(f.rig));
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DELIVERIES_OLD), 2);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void an_empty_delivery_reaches_the_client_as_a_number_only(void **state)
{
    (void)state;
    struct fixture f = bound();
    rig_deliver(f.rig, RIG_GID, S1, 1, 1, true);
    Lahar__V1__ServerFrame *frame = rig_heard(f.rig, f.id);
    assert_int_equal(frame->deliver->dseq, 1);
    assert_int_equal(frame->deliver->mid.len, 0);
    assert_int_equal(frame->deliver->from, 0);
    assert_int_equal(frame->deliver->body.len, 0);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    rig_received(f.rig, f.id, 1);
    expect_received(&f, 1);
    rig_free(f.rig);
}

static void ephemeral_passes_without_a_number_and_is_not_awaited(void **state)
{
    (void)state;
    struct fixture f = bound();
    rig_deliver(f.rig, RIG_GID, S1, 1, 0, false);
    rig_deliver(f.rig, RIG_GID, S1, 1, 0, true); /* the sender gave no cmid */
    rig_expect_deliver(f.rig, f.id, 0, GID_MID_SIZE);
    Lahar__V1__ServerFrame *frame = rig_heard(f.rig, f.id);
    assert_int_equal(frame->deliver->from, RIG_GID + 77);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DELIVERIES_PASSED), 2);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void a_delivery_for_nobody_is_answered_no_session(void **state)
{
    (void)state;
    struct fixture f = bound();
    rig_deliver(f.rig, RIG_GID, rig_session(1, 2), 1, 1, false);
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(f.rig, f.owner, LAHAR__LINK__V1__LINK_FRAME__FRAME_NO_SESSION);
    assert_int_equal(frame->no_session->gid, RIG_GID);
    assert_int_equal(frame->no_session->session, rig_session(1, 2));
    rig_drop(frame);
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DROPPED_GONE), 1);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void one_frame_serves_all_devices_each_with_its_own_number(void **state)
{
    (void)state;
    struct fixture f = bound();
    struct conn_id other = rig_login(f.rig, 1, RIG_GID, rig_session(1, 2));
    deliver(&f, 1);
    rig_expect_deliver(f.rig, f.id, 1, GID_MID_SIZE);
    uint8_t mid[GID_MID_SIZE] = {1};
    uint64_t sessions[] = {S1, rig_session(1, 3), rig_session(1, 2)}, dseqs[] = {2, 1, 1};
    Lahar__Link__V1__LinkDeliver message = LAHAR__LINK__V1__LINK_DELIVER__INIT;
    message.to = RIG_GID;
    message.epoch = 1;
    message.n_session = message.n_dseq = 3;
    message.session = sessions;
    message.dseq = dseqs;
    message.mid = unpack_data(span_of(mid, sizeof mid));
    message.class_ = LAHAR__V1__CLASS__CONFIRMED;
    RIG_ANSWER(f.rig, f.owner, deliver, DELIVER, &message);
    rig_expect_deliver(f.rig, f.id, 2, GID_MID_SIZE);
    rig_expect_deliver(f.rig, other, 1, GID_MID_SIZE);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DELIVERIES), 4);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_DROPPED_GONE), 1);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void what_cannot_be_is_counted_as_bad_and_dropped(void **state)
{
    (void)state;
    struct fixture f = bound();
    uint64_t session = S1, dseq = 1;
    static uint8_t big[61441];
    Lahar__Link__V1__LinkDeliver numbered = LAHAR__LINK__V1__LINK_DELIVER__INIT;
    numbered.to = RIG_GID;
    numbered.epoch = 1;
    numbered.n_session = 1;
    numbered.session = &session;
    numbered.class_ = LAHAR__V1__CLASS__CONFIRMED;
    RIG_ANSWER(f.rig, f.owner, deliver, DELIVER, &numbered); /* without its number */
    numbered.n_dseq = 1;
    numbered.dseq = &dseq;
    numbered.class_ = LAHAR__V1__CLASS__EPHEMERAL;
    RIG_ANSWER(f.rig, f.owner, deliver, DELIVER, &numbered);
    numbered.class_ = (Lahar__V1__Class)9;
    RIG_ANSWER(f.rig, f.owner, deliver, DELIVER, &numbered);
    numbered.class_ = LAHAR__V1__CLASS__CONFIRMED;
    numbered.body = unpack_data(span_of(big, sizeof big));
    RIG_ANSWER(f.rig, f.owner, deliver, DELIVER, &numbered);
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_LINK_BAD), 4);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_a_delivery_over_unmodified),
        cmocka_unit_test(lets_only_the_next_one_through),
        cmocka_unit_test(tells_of_a_gap_once_until_it_moves_or_a_second_has_passed),
        cmocka_unit_test(drops_what_is_of_another_epoch),
        cmocka_unit_test(takes_nothing_before_an_owner_has_said_its_epoch),
        cmocka_unit_test(received_is_cumulative_and_goes_to_the_owner),
        cmocka_unit_test(received_that_runs_ahead_is_a_protocol_error),
        cmocka_unit_test(a_repeat_of_what_the_client_has_is_answered_again),
        cmocka_unit_test(an_empty_delivery_reaches_the_client_as_a_number_only),
        cmocka_unit_test(ephemeral_passes_without_a_number_and_is_not_awaited),
        cmocka_unit_test(a_delivery_for_nobody_is_answered_no_session),
        cmocka_unit_test(one_frame_serves_all_devices_each_with_its_own_number),
        cmocka_unit_test(what_cannot_be_is_counted_as_bad_and_dropped),
    };
    return cmocka_run_group_tests_name("deliver", tests, NULL, NULL);
}
