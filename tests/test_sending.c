/* sending: the sending half: what is forwarded, what is refused, and that each send ends once. */
#include "tests/session_expect.h"

#define CONFIRMED LAHAR__V1__CLASS__CONFIRMED
#define EPHEMERAL LAHAR__V1__CLASS__EPHEMERAL
#define STORED LAHAR__V1__CLASS__STORED
#define TO (RIG_GID + 500)

struct fixture {
    struct rig *rig;
    struct conn_id id;
};

static struct fixture bound(const struct session_options *options)
{
    struct fixture f = {.rig = rig_new(options)};
    rig_cluster(f.rig, 1);
    f.id = rig_login(f.rig, 0, RIG_GID, rig_session(1, 1));
    return f;
}

static void answer(struct rig *rig, uint64_t session, uint32_t n, uint32_t level, uint32_t reason)
{
    uint8_t cmid[GID_CMID_SIZE] = {0}, mid[GID_MID_SIZE] = {3};
    memcpy(cmid, &n, sizeof n);
    cmid[15] = 1;
    Lahar__Link__V1__Answer message = LAHAR__LINK__V1__ANSWER__INIT;
    message.gid = RIG_GID;
    message.session = session;
    message.cmid = unpack_data(span_of(cmid, sizeof cmid));
    message.level = (Lahar__V1__Level)level;
    message.reason = reason;
    message.expected_seq = reason == NACK_SEQ_GAP ? 42 : 0;
    message.retry_after_ms = reason == NACK_BUSY ? 777 : 0;
    if (level > 0)
        message.mid = unpack_data(span_of(mid, sizeof mid));
    RIG_ANSWER(rig, 1, answer, ANSWER, &message);
}

static void stamps_a_send_and_gives_it_to_the_owner_of_the_recipient(void **state)
{
    (void)state;
    const Lahar__V1__Class classes[] = {STORED, CONFIRMED, EPHEMERAL};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f = bound(NULL);
        rig_send(f.rig, f.id, TO, classes[i], 7, 100);
        Lahar__Link__V1__LinkFrame *frame =
            rig_expect(f.rig, rig_owner(TO), LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND);
        const Lahar__Link__V1__LinkSend *send = frame->send;
        assert_int_equal(send->from, RIG_GID);
        assert_int_equal(send->device, gid_device_hash(span_text("phone")));
        assert_int_equal(send->session, rig_session(1, 1));
        assert_int_equal(send->hops, 0);
        assert_int_equal(send->to, TO);
        assert_int_equal(send->class_, classes[i]);
        assert_int_equal(send->seq, 7);
        assert_int_equal(send->settled, 1);
        assert_int_equal(send->cmid.data[0], 7);
        assert_int_equal(send->body.len, 100);
        rig_drop(frame);
        assert_null(rig_heard(f.rig, f.id));
        assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_PASSED), classes[i] == EPHEMERAL);
        assert_true(rig_ledgers_hold(f.rig));
        rig_free(f.rig);
    }
}

static void an_answer_ends_the_send_and_reaches_the_client(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    rig_send(f.rig, f.id, TO, CONFIRMED, 2, 5);
    rig_send(f.rig, f.id, TO, STORED, 3, 5);
    answer(f.rig, rig_session(1, 1), 1, HOT_LEVEL_DELIVERED, 0);
    Lahar__V1__ServerFrame *frame = rig_heard(f.rig, f.id);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_SEND_ACK);
    assert_int_equal(frame->send_ack->level, LAHAR__V1__LEVEL__LEVEL_DELIVERED);
    assert_int_equal(frame->send_ack->cmid.data[0], 1);
    assert_int_equal(frame->send_ack->mid.data[0], 3);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    answer(f.rig, rig_session(1, 1), 2, 0, NACK_SEQ_GAP);
    frame = rig_heard(f.rig, f.id);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_SEND_NACK);
    assert_int_equal(frame->send_nack->reason, NACK_SEQ_GAP);
    assert_int_equal(frame->send_nack->expected_seq, 42);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    answer(f.rig, rig_session(1, 1), 3, 0, NACK_UNSUPPORTED); /* the owner's word, not ours */
    rig_expect_nack(f.rig, f.id, NACK_UNSUPPORTED, 0);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_ACKED), 1);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_NACK(NACK_SEQ_GAP)), 1);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_NACK(NACK_UNSUPPORTED)), 1);
    assert_int_equal(session_at(f.rig->table, 0)->in_flight, 0);
    assert_int_equal(f.rig->table->sendings.in_use, 0);
    rig_free(f.rig);
}

static void an_answer_for_a_session_that_has_ended_is_counted_and_told_to_nobody(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    rig_close(f.rig, f.id);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_UNKNOWN), 1);
    struct conn_id next = rig_login(f.rig, 0, RIG_GID, rig_session(1, 2));
    answer(f.rig, rig_session(1, 1), 1, HOT_LEVEL_DELIVERED, 0);
    assert_null(rig_heard(f.rig, next));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_ANSWERS_LATE), 1);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void a_second_answer_reaches_the_client_and_is_counted_once(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    answer(f.rig, rig_session(1, 1), 1, HOT_LEVEL_DELIVERED, 0);
    answer(f.rig, rig_session(1, 1), 1, HOT_LEVEL_DELIVERED, 0);
    lahar__v1__server_frame__free_unpacked(rig_heard(f.rig, f.id), NULL);
    Lahar__V1__ServerFrame *second = rig_heard(f.rig, f.id);
    assert_non_null(second);
    lahar__v1__server_frame__free_unpacked(second, NULL);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_ACKED), 1);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void refuses_for_good_what_no_owner_could_take(void **state)
{
    (void)state;
    const struct {
        uint64_t to;
        size_t body;
        enum nack_reason reason;
    } cases[] = {
        {TO, 61441, NACK_TOO_BIG},
        {UINT64_C(1) << 60 | 10001, 5, NACK_UNSUPPORTED}, /* group */
        {UINT64_C(2) << 60 | 10001, 5, NACK_UNSUPPORTED}, /* service */
        {UINT64_C(3) << 60 | 10001, 5, NACK_UNSUPPORTED}, /* foreign */
        {UINT64_C(9) << 60 | 10001, 5, NACK_UNSUPPORTED},
        {0, 5, NACK_NO_USER},
        {UINT64_C(1) << 53, 5, NACK_NO_USER},
    };
    struct fixture f = bound(NULL);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig_send(f.rig, f.id, cases[i].to, CONFIRMED, i, cases[i].body);
        rig_expect_nack(f.rig, f.id, cases[i].reason, 0);
        rig_send(f.rig, f.id, cases[i].to, EPHEMERAL, i, cases[i].body);
        assert_null(rig_heard(f.rig, f.id));
    }
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_SHED), 7);
    assert_true(rig_nothing_told(f.rig));
    rig_send(f.rig, f.id, TO, CONFIRMED, 99, 61440);
    assert_false(rig_nothing_told(f.rig));
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void a_class_of_the_future_is_unsupported(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, (Lahar__V1__Class)17, 1, 5);
    rig_expect_nack(f.rig, f.id, NACK_UNSUPPORTED, 0);
    rig_free(f.rig);
}

static void only_an_ephemeral_may_do_without_a_cmid(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    Lahar__V1__Send send = LAHAR__V1__SEND__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    send.to = TO;
    send.class_ = EPHEMERAL;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_SEND;
    frame.send = &send;
    rig_say(f.rig, f.id, &frame);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_PASSED), 1);
    send.class_ = CONFIRMED;
    rig_say(f.rig, f.id, &frame);
    rig_expect_error(f.rig, f.id, END_BAD_FRAME);
    rig_free(f.rig);
}

static void without_credit_or_owner_the_sender_is_told_busy_and_ephemeral_is_shed(void **state)
{
    (void)state;
    for (int away = 0; away < 3; away++) {
        struct fixture f = bound(NULL);
        if (away == 2)
            session_link_down(f.rig->table, rig_owner(TO));
        else
            f.rig->credited = away ? LINK_AWAY : LINK_NO_CREDIT;
        rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
        rig_expect_nack(f.rig, f.id, NACK_BUSY, 500);
        rig_send(f.rig, f.id, TO, EPHEMERAL, 2, 5);
        assert_null(rig_heard(f.rig, f.id));
        assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_SHED), 1);
        assert_int_equal(rig_count(f.rig, EDGE_METRIC_NACK(NACK_BUSY)), 1);
        assert_int_equal(rig_count(f.rig, EDGE_METRIC_LIMIT_REJECTED(LIMIT_CREDIT)),
                         away == 0 ? 2 : 0);
        assert_int_equal(session_at(f.rig->table, 0)->in_flight, 0);
        assert_true(rig_ledgers_hold(f.rig));
        rig_free(f.rig);
    }
}

static void the_window_holds_32_and_no_more(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    for (uint32_t n = 0; n < 32; n++)
        rig_send(f.rig, f.id, TO, n % 2 ? CONFIRMED : STORED, n, 5);
    assert_null(rig_heard(f.rig, f.id));
    rig_send(f.rig, f.id, TO, CONFIRMED, 32, 5);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 500);
    rig_send(f.rig, f.id, TO, EPHEMERAL, 33, 5); /* is outside the window */
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_PASSED), 1);
    answer(f.rig, rig_session(1, 1), 5, HOT_LEVEL_DELIVERED, 0);
    lahar__v1__server_frame__free_unpacked(rig_heard(f.rig, f.id), NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 32, 5);
    assert_null(rig_heard(f.rig, f.id));
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void lost_answers_do_not_close_the_window_for_good(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    for (uint32_t n = 0; n < 32; n++)
        rig_send(f.rig, f.id, TO, CONFIRMED, n, 5);
    rig_pass(f.rig, 29000);
    rig_send(f.rig, f.id, TO, CONFIRMED, 32, 5);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 500);
    rig_pass(f.rig, 1100);
    rig_send(f.rig, f.id, TO, CONFIRMED, 33, 5);
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_UNKNOWN), 32);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void a_repeated_cmid_is_forwarded_and_never_refused_by_us(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    for (uint32_t n = 0; n < 32; n++)
        rig_send(f.rig, f.id, TO, CONFIRMED, n, 5);
    rig_forget_told(f.rig);
    rig_send(f.rig, f.id, TO, CONFIRMED, 3, 5);
    rig_drop(rig_expect(f.rig, rig_owner(TO), LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND));
    f.rig->credited = LINK_NO_CREDIT; /* a BUSY now would speak for the first one too */
    rig_send(f.rig, f.id, TO, CONFIRMED, 4, 5);
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_REPEATED), 2);
    assert_int_equal(session_at(f.rig->table, 0)->in_flight, 32);
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void past_the_rate_the_sender_is_told_when_to_come_again(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.sends_per_s = 20;
    options.sends_burst = 3;
    struct fixture f = bound(&options);
    for (uint32_t n = 0; n < 3; n++)
        rig_send(f.rig, f.id, TO, CONFIRMED, n, 5);
    assert_null(rig_heard(f.rig, f.id));
    rig_send(f.rig, f.id, TO, CONFIRMED, 3, 5);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 50);
    rig_forget_told(f.rig);
    rig_send(f.rig, f.id, TO, EPHEMERAL, 4, 5);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5); /* in flight: no word, not forwarded */
    assert_null(rig_heard(f.rig, f.id));
    assert_true(rig_nothing_told(f.rig));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_SHED), 1);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_SENDS_REPEATED), 1);
    session_time(f.rig->table, f.rig->now_ms += 50, 0);
    rig_send(f.rig, f.id, TO, CONFIRMED, 3, 5);
    assert_null(rig_heard(f.rig, f.id));
    session_time(f.rig->table, f.rig->now_ms += 3600000, 0); /* fills to the burst, not over it */
    for (uint32_t n = 10; n < 14; n++)
        rig_send(f.rig, f.id, TO, CONFIRMED, n, 5);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 50);
    assert_null(rig_heard(f.rig, f.id));
    rig_free(f.rig);
}

/* --- sent back -------------------------------------------------------------------------------- */

/* Takes the send off the shard where it lies and sends it back from there. */
static void send_back(struct rig *rig, uint32_t shard, const char *owner, uint64_t map_epoch)
{
    struct span body = rig_take(&rig->to_shard[shard], FRAME_LINK_SIZE_MAX);
    assert_true(body.len > 0);
    Lahar__Link__V1__NotOwner back = LAHAR__LINK__V1__NOT_OWNER__INIT;
    back.map_epoch = map_epoch;
    back.slot = gid_slot(TO);
    back.owner = unpack_data(span_text(owner));
    back.frame = unpack_data(body);
    RIG_ANSWER(rig, shard, not_owner, NOT_OWNER, &back);
}

static void a_send_that_comes_back_goes_to_the_owner_named(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    uint32_t old = rig_owner(TO), new = (old + 1) % RIG_SHARDS;
    const char *const *names = rig_options().shard_names;
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    send_back(f.rig, old, names[new], 2);
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(f.rig, new, LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND);
    assert_int_equal(frame->send->hops, 1);
    assert_int_equal(frame->send->from, RIG_GID);
    rig_drop(frame);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_REROUTED), 1);
    rig_send(f.rig, f.id, TO, CONFIRMED, 2, 5); /* learned */
    rig_drop(rig_expect(f.rig, new, LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND));
    assert_true(rig_ledgers_hold(f.rig));
    rig_free(f.rig);
}

static void a_send_comes_back_three_times_then_the_sender_is_told_busy(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    const char *const *names = rig_options().shard_names;
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    uint32_t at = rig_owner(TO);
    for (uint32_t hop = 0; hop < 3; hop++) {
        uint32_t next = (at + 1) % RIG_SHARDS;
        send_back(f.rig, at, names[next], 2 + hop);
        assert_null(rig_heard(f.rig, f.id));
        at = next;
    }
    send_back(f.rig, at, names[(at + 1) % RIG_SHARDS], 9);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 500);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_REROUTED), 3);
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_GIVEN_UP), 1);
    assert_true(rig_nothing_told(f.rig));
    assert_int_equal(session_at(f.rig->table, 0)->in_flight, 0);
    rig_free(f.rig);
}

static void what_was_given_to_the_link_twice_is_not_refused_when_one_comes_back(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    f.rig->credited = LINK_NO_CREDIT;
    send_back(f.rig, rig_owner(TO), "r9/9", 2);
    assert_null(rig_heard(f.rig, f.id));
    assert_int_equal(session_at(f.rig->table, 0)->in_flight, 1);
    rig_free(f.rig);
}

static void an_owner_that_is_not_in_our_list_is_away(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    send_back(f.rig, rig_owner(TO), "r9/9", 2);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 500);
    rig_send(f.rig, f.id, TO, CONFIRMED, 2, 5);
    rig_expect_nack(f.rig, f.id, NACK_BUSY, 500);
    rig_free(f.rig);
}

static void what_comes_back_for_nobody_goes_nowhere(void **state)
{
    (void)state;
    struct fixture f = bound(NULL);
    rig_send(f.rig, f.id, TO, CONFIRMED, 1, 5);
    uint32_t owner = rig_owner(TO);
    struct rig_frames kept = {0};
    rig_keep(&kept, span_of(f.rig->to_shard[owner].bytes, f.rig->to_shard[owner].end));
    rig_close(f.rig, f.id);
    rig_forget_told(f.rig);
    rig_keep(&f.rig->to_shard[owner], span_of(kept.bytes, kept.end));
    send_back(f.rig, owner, "r1/0", 2);
    assert_true(rig_nothing_told(f.rig));
    assert_int_equal(rig_count(f.rig, EDGE_METRIC_GIVEN_UP), 1);
    assert_true(rig_ledgers_hold(f.rig));
    free(kept.bytes);
    rig_free(f.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stamps_a_send_and_gives_it_to_the_owner_of_the_recipient),
        cmocka_unit_test(an_answer_ends_the_send_and_reaches_the_client),
        cmocka_unit_test(an_answer_for_a_session_that_has_ended_is_counted_and_told_to_nobody),
        cmocka_unit_test(a_second_answer_reaches_the_client_and_is_counted_once),
        cmocka_unit_test(refuses_for_good_what_no_owner_could_take),
        cmocka_unit_test(a_class_of_the_future_is_unsupported),
        cmocka_unit_test(only_an_ephemeral_may_do_without_a_cmid),
        cmocka_unit_test(without_credit_or_owner_the_sender_is_told_busy_and_ephemeral_is_shed),
        cmocka_unit_test(the_window_holds_32_and_no_more),
        cmocka_unit_test(lost_answers_do_not_close_the_window_for_good),
        cmocka_unit_test(a_repeated_cmid_is_forwarded_and_never_refused_by_us),
        cmocka_unit_test(past_the_rate_the_sender_is_told_when_to_come_again),
        cmocka_unit_test(a_send_that_comes_back_goes_to_the_owner_named),
        cmocka_unit_test(a_send_comes_back_three_times_then_the_sender_is_told_busy),
        cmocka_unit_test(what_was_given_to_the_link_twice_is_not_refused_when_one_comes_back),
        cmocka_unit_test(an_owner_that_is_not_in_our_list_is_away),
        cmocka_unit_test(what_comes_back_for_nobody_goes_nowhere),
    };
    return cmocka_run_group_tests_name("sending", tests, NULL, NULL);
}
