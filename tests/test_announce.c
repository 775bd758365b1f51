/* announce: an owner that asks is told of every session of its slots, once; the digest follows
 * them. */
#include "tests/session_expect.h"

static void ignore_send(void *ctx, struct conn_id id, struct span bytes)
{
    (void)ctx;
    (void)id;
    (void)bytes;
}

static uint32_t of_shard(uint32_t shard, uint32_t gids)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < gids; i++)
        count += rig_owner(RIG_GID + i) == shard;
    return count;
}

static void a_round_tells_2500_sessions_in_frames_of_a_thousand(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig_owned(rig, 0, 2, 0, GID_SLOTS, 2); /* all are one shard's */
    static uint8_t seen[2500];
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < 2500; i++)
        rig_login(rig, i, RIG_GID + i, rig_session(2, i + 1));
    rig_deliver(rig, RIG_GID, rig_session(2, 1), 2, 1, false);
    rig_hello(rig, rig_open(rig, 2500), "phone"); /* not bound: not announced */
    rig_forget_told(rig);

    rig_owned(rig, 0, 3, 0, GID_SLOTS, 3);
    const size_t sizes[] = {1000, 1000, 500};
    for (int i = 0; i < 3; i++) {
        Lahar__Link__V1__LinkFrame *frame =
            rig_expect(rig, 0, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE);
        const Lahar__Link__V1__Announce *announce = frame->announce;
        assert_int_equal(announce->round, 3);
        assert_int_equal(announce->n_gid, sizes[i]);
        assert_int_equal(announce->n_device, sizes[i]);
        assert_int_equal(announce->n_session, sizes[i]);
        assert_int_equal(announce->n_dseq, sizes[i]);
        for (size_t j = 0; j < announce->n_gid; j++) {
            uint64_t n = announce->gid[j] - RIG_GID;
            assert_true(n < 2500);
            assert_int_equal(announce->session[j], rig_session(2, (uint32_t)n + 1));
            assert_int_equal(announce->device[j], gid_device_hash(span_text("phone")));
            assert_int_equal(announce->dseq[j], n == 0);
            seen[n]++;
        }
        rig_drop(frame);
    }
    for (size_t i = 0; i < sizeof seen; i++)
        assert_int_equal(seen[i], 1);
    Lahar__Link__V1__LinkFrame *done =
        rig_expect(rig, 0, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE);
    assert_int_equal(done->announce_done->round, 3);
    assert_int_equal(done->announce_done->count, 2500);
    rig_drop(done);
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void each_shard_is_told_of_its_own_slots_only(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    for (uint32_t i = 0; i < 200; i++)
        rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++) {
        rig_owned(rig, shard, 9, shard * 4096, 4096, 1);
        Lahar__Link__V1__LinkFrame *frame =
            rig_expect(rig, shard, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE);
        assert_int_equal(frame->announce->n_gid, of_shard(shard, 200));
        for (size_t i = 0; i < frame->announce->n_gid; i++)
            assert_int_equal(rig_owner(frame->announce->gid[i]), shard);
        rig_drop(frame);
        rig_drop(rig_expect(rig, shard, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE));
        assert_true(rig_nothing_told(rig));
    }
    rig_free(rig);
}

static void a_round_that_is_asked_for_again_begins_anew(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    uint32_t owner = rig_owner(RIG_GID);
    for (int i = 0; i < 3; i++) {
        rig_owned(rig, owner, 2, owner * 4096, 4096, 1);
        rig_drop(rig_expect(rig, owner, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE));
        Lahar__Link__V1__LinkFrame *done =
            rig_expect(rig, owner, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE);
        assert_int_equal(done->announce_done->count, 1);
        rig_drop(done);
    }
    rig_free(rig);
}

static void a_very_long_round_goes_on_with_the_ticks(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.conns_max = 40000;
    struct rig *rig = rig_new(&options);
    rig_cluster(rig, 1);
    rig_owned(rig, 0, 2, 0, GID_SLOTS, 2);
    /* Not through the rig, which keeps what 4,096 conns are sent. */
    for (uint32_t i = 0; i < 40000; i++) {
        struct session *s;
        session_opened(rig->table, (struct conn_id){i, 1}, &(struct conn_from){0});
        s = session_at(rig->table, i);
        session_turns(rig->table, s, SESSION_BINDING);
        s->gid = RIG_GID + i;
        s->slot = (uint16_t)gid_slot(s->gid);
        s->session = rig_session(2, i + 1);
        rig->table->actions.send = ignore_send;
        session_begin(rig->table, s);
    }
    rig_forget_told(rig);
    rig_owned(rig, 0, 3, 0, GID_SLOTS, 2);
    rig_pass(rig, 1000); /* a second's digest must wait for the end of the round */
    uint64_t announced = 0, frames = 0;
    Lahar__Link__V1__LinkFrame *frame;
    while ((frame = rig_told(rig, 0)) != NULL &&
           frame->frame_case == LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE) {
        announced += frame->announce->n_gid;
        frames++;
        rig_drop(frame);
    }
    assert_int_equal(frames, 40);
    assert_int_equal(announced, 40000);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE);
    assert_int_equal(frame->announce_done->count, 40000);
    rig_drop(frame);
    rig_free(rig);
}

static void an_edge_without_sessions_says_done(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig_owned(rig, 2, 4, 2 * 4096, 4096, 1);
    Lahar__Link__V1__LinkFrame *done =
        rig_expect(rig, 2, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE);
    assert_int_equal(done->announce_done->round, 4);
    assert_int_equal(done->announce_done->count, 0);
    rig_drop(done);
    rig_free(rig);
}

static void a_shard_with_an_old_epoch_is_told_of_nobody(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 5);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(5, 1));
    uint32_t owner = rig_owner(RIG_GID), other = (owner + 1) % RIG_SHARDS;
    rig_owned(rig, other, 7, 0, GID_SLOTS, 4); /* was paused, and wakes up */
    Lahar__Link__V1__LinkFrame *done =
        rig_expect(rig, other, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE);
    assert_int_equal(done->announce_done->count, 0);
    rig_drop(done);
    rig_deliver(rig, RIG_GID, rig_session(5, 1), 4, 1, false);
    assert_null(rig_heard(rig, id));
    rig_deliver(rig, RIG_GID, rig_session(5, 1), 5, 1, false);
    rig_expect_deliver(rig, id, 1, GID_MID_SIZE);
    rig_free(rig);
}

static void a_gap_is_told_anew_to_a_new_owner(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    uint32_t owner = rig_owner(RIG_GID);
    rig_deliver(rig, RIG_GID, rig_session(1, 1), 1, 9, false);
    rig_forget_told(rig);
    rig_owned(rig, owner, 2, owner * 4096, 4096, 2);
    rig_forget_told(rig);
    rig_deliver(rig, RIG_GID, rig_session(1, 1), 2, 9, false);
    rig_drop(rig_expect(rig, owner, LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP));
    rig_free(rig);
}

static void a_run_outside_the_slots_is_bad(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    rig_owned(rig, 0, 2, GID_SLOTS, 1, 2);
    rig_owned(rig, 0, 2, 5, UINT32_MAX, 2);
    rig_owned(rig, 0, 2, 0, 4096, 0); /* no epoch */
    assert_int_equal(rig_count(rig, EDGE_METRIC_LINK_BAD), 3);
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

/* --- the digest ------------------------------------------------------------------------------- */

static void expect_digest(struct rig *rig, uint32_t shard, uint64_t count, uint64_t mix)
{
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, shard, LAHAR__LINK__V1__LINK_FRAME__FRAME_DIGEST);
    assert_int_equal(frame->digest->count, count);
    assert_int_equal(frame->digest->mix, mix);
    rig_drop(frame);
}

static void the_digest_follows_sessions_and_slots(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    uint64_t device = gid_device_hash(span_text("phone"));
    uint64_t mix[RIG_SHARDS] = {0}, count[RIG_SHARDS] = {0};
    struct conn_id ids[50];
    for (uint32_t i = 0; i < 50; i++) {
        ids[i] = rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
        mix[rig_owner(RIG_GID + i)] ^= gid_session_mix(RIG_GID + i, device, rig_session(1, i + 1));
        count[rig_owner(RIG_GID + i)]++;
    }
    rig_pass(rig, 1000);
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        expect_digest(rig, shard, count[shard], mix[shard]);
    rig_close(rig, ids[0]);
    uint32_t owner = rig_owner(RIG_GID);
    mix[owner] ^= gid_session_mix(RIG_GID, device, rig_session(1, 1));
    count[owner]--;
    rig_forget_told(rig);
    rig_pass(rig, 1000);
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        expect_digest(rig, shard, count[shard], mix[shard]);

    rig_owned(rig, 3, 2, 0, GID_SLOTS, 2); /* all to one */
    rig_forget_told(rig);
    rig_pass(rig, 1000);
    for (uint32_t shard = 0; shard < 3; shard++)
        expect_digest(rig, shard, 0, 0);
    expect_digest(rig, 3, 49, mix[0] ^ mix[1] ^ mix[2] ^ mix[3]);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_tells_2500_sessions_in_frames_of_a_thousand),
        cmocka_unit_test(each_shard_is_told_of_its_own_slots_only),
        cmocka_unit_test(a_round_that_is_asked_for_again_begins_anew),
        cmocka_unit_test(a_very_long_round_goes_on_with_the_ticks),
        cmocka_unit_test(an_edge_without_sessions_says_done),
        cmocka_unit_test(a_shard_with_an_old_epoch_is_told_of_nobody),
        cmocka_unit_test(a_gap_is_told_anew_to_a_new_owner),
        cmocka_unit_test(a_run_outside_the_slots_is_bad),
        cmocka_unit_test(the_digest_follows_sessions_and_slots),
    };
    return cmocka_run_group_tests_name("announce", tests, NULL, NULL);
}
