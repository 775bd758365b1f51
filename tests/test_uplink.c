/* uplink: what an edge says to its shards, and does when they go. */
#include "tests/session_expect.h"

static void expect_hello(struct rig *rig, uint32_t shard, uint32_t number)
{
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, shard, LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO);
    assert_int_equal(frame->edge_hello->number, number);
    assert_int_equal(frame->edge_hello->name.len, 4);
    assert_memory_equal(frame->edge_hello->name.data, "e1/0", 4);
    rig_drop(frame);
}

static void asks_one_shard_for_a_number_and_tells_it_to_all(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    session_link_up(rig->table, 2);
    expect_hello(rig, 2, 0);
    session_link_up(rig->table, 0);
    assert_true(rig_nothing_told(rig));
    rig_number(rig, 2, 11);
    expect_hello(rig, 0, 11);
    expect_hello(rig, 2, 11);
    session_link_up(rig->table, 1);
    expect_hello(rig, 1, 11);
    rig_number(rig, 0, 12); /* we have one */
    session_link_down(rig->table, 1);
    session_link_up(rig->table, 1);
    expect_hello(rig, 1, 11);
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void asks_another_shard_when_the_first_goes_or_is_silent(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    session_link_up(rig->table, 0);
    session_link_up(rig->table, 3);
    expect_hello(rig, 0, 0);
    session_link_down(rig->table, 0);
    expect_hello(rig, 3, 0);
    session_link_up(rig->table, 0);
    assert_true(rig_nothing_told(rig));
    rig_pass(rig, 1000);
    expect_hello(rig, 0, 0);
    rig_pass(rig, 1000);
    expect_hello(rig, 3, 0);
    rig_free(rig);
}

static void says_hello_again_to_a_shard_that_did_not_hear_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    session_link_up(rig->table, 0);
    rig_number(rig, 0, 5);
    rig_forget_told(rig);
    rig_pass(rig, 1000);
    expect_hello(rig, 0, 5);
    rig_owned(rig, 0, 1, 0, 4096, 1);
    rig_forget_told(rig);
    rig_pass(rig, 1000);
    rig_drop(rig_expect(rig, 0, LAHAR__LINK__V1__LINK_FRAME__FRAME_DIGEST));
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void says_hello_to_a_shard_that_asks_who_it_is_until_told_what_that_owns(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    uint32_t shard = rig_owner(RIG_GID);
    rig_number(rig, shard, 0);
    expect_hello(rig, shard, 7);
    assert_true(rig_nothing_told(rig));
    rig_pass(rig, 1000);
    expect_hello(rig, shard, 7);
    rig_owned(rig, shard, 2, shard * 4096, 4096, 1);
    rig_drop(rig_expect(rig, shard, LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE));
    assert_int_equal(rig->closed[id.slot], END_NONE);
    rig_free(rig);
}

static void is_ready_when_its_shards_have_said_what_they_own(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    assert_string_equal(session_not_ready(rig->table), "no shard is up");
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        session_link_up(rig->table, shard);
    assert_string_equal(session_not_ready(rig->table),
                        "no shard has given this edge its number yet");
    rig_number(rig, 0, 1);
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++) {
        rig_pass(rig, 1000);
        assert_string_equal(session_not_ready(rig->table),
                            "not all shards have said yet which slots they own");
        rig_owned(rig, shard, 1, shard * 4096, 4096, 1);
    }
    rig_pass(rig, 1000);
    assert_null(session_not_ready(rig->table));
    session_link_down(rig->table, 1); /* one shard away is no reason to take the edge out */
    rig_pass(rig, 2000);
    assert_null(session_not_ready(rig->table));
    rig_free(rig);
}

static void does_not_wait_for_ever_for_shards_that_do_not_come(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    session_link_up(rig->table, 0);
    rig_number(rig, 0, 1);
    rig_owned(rig, 0, 1, 0, 4096, 1);
    rig_pass(rig, 4000);
    assert_non_null(session_not_ready(rig->table));
    rig_pass(rig, 2500);
    assert_null(session_not_ready(rig->table));
    rig_free(rig);
}

/* --- cut off ---------------------------------------------------------------------------------- */

static void sessions_of_a_shard_away_for_too_long_are_sent_away(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    uint32_t gone = rig_owner(RIG_GID), cut = 0;
    struct conn_id ids[40];
    for (uint32_t i = 0; i < 40; i++)
        ids[i] = rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    session_link_down(rig->table, gone);
    rig_pass(rig, 14900);
    for (uint32_t i = 0; i < 40; i++)
        assert_null(rig_heard(rig, ids[i]));
    rig_pass(rig, 2300);
    for (uint32_t i = 0; i < 40; i++) {
        Lahar__V1__ServerFrame *frame = rig_heard(rig, ids[i]);
        if (rig_owner(RIG_GID + i) != gone) {
            assert_null(frame);
            assert_int_equal(rig->closed[i], END_NONE);
            continue;
        }
        assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY);
        assert_int_equal(frame->goaway->reason, END_CUT_OFF);
        lahar__v1__server_frame__free_unpacked(frame, NULL);
        assert_int_equal(rig->closed[i], END_CUT_OFF);
        cut++;
    }
    assert_in_range(cut, 1, 39);
    rig_free(rig);
}

static void a_shard_that_goes_twice_is_cut_off_twice(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    for (uint32_t i = 0; i < 2; i++) {
        struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, i + 1));
        session_link_down(rig->table, rig_owner(RIG_GID));
        rig_pass(rig, 17200);
        assert_int_equal(rig->closed[0], END_CUT_OFF);
        rig_close(rig, id);
        session_link_up(rig->table, rig_owner(RIG_GID));
    }
    rig_free(rig);
}

static void a_session_that_was_told_to_go_is_not_told_again(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    session_link_down(rig->table, rig_owner(RIG_GID));
    rig_pass(rig, 16100);
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_non_null(frame);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    session_leave(rig->table);
    rig_pass(rig, 4000);
    assert_null(rig_heard(rig, id));
    assert_int_equal(rig->closed[0], END_CUT_OFF);
    rig_free(rig);
}

static void a_shard_that_comes_back_in_time_keeps_its_sessions(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    session_link_down(rig->table, rig_owner(RIG_GID));
    rig_pass(rig, 14000);
    session_link_up(rig->table, rig_owner(RIG_GID));
    rig_pass(rig, 14000);
    session_link_down(rig->table, rig_owner(RIG_GID));
    rig_pass(rig, 14000);
    assert_null(rig_heard(rig, id));
    rig_free(rig);
}

static void sessions_of_a_shard_that_our_list_lacks_are_sent_away(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    rig_pass(rig, 10000);
    const char *const names[] = {"r9/0"};
    struct slotmap *map = slotmap_new_even(names, 1);
    struct span packed = slotmap_pack(map);
    uint8_t frame[256];
    size_t at = 0;
    frame[at++] = 0xea;
    frame[at++] = 1;
    frame[at++] = (uint8_t)packed.len;
    assert_true(packed.len < 128);
    memcpy(frame + at, packed.at, packed.len);
    session_link_frame(rig->table, 0, span_of(frame, at + packed.len));
    assert_int_equal(session_map_epoch(rig->table), 1);
    rig_pass(rig, 14000);
    assert_null(rig_heard(rig, id));
    rig_pass(rig, 3200);
    assert_int_equal(rig->closed[0], END_CUT_OFF);
    free((void *)(uintptr_t)packed.at);
    slotmap_free(map);
    rig_free(rig);
}

/* --- not the owner ---------------------------------------------------------------------------- */

static void send_back(struct rig *rig, uint32_t shard, uint32_t slot, const char *owner,
                      uint64_t map_epoch)
{
    struct span body = rig_take(&rig->to_shard[shard], FRAME_LINK_SIZE_MAX);
    assert_true(body.len > 0);
    Lahar__Link__V1__NotOwner back = LAHAR__LINK__V1__NOT_OWNER__INIT;
    back.map_epoch = map_epoch;
    back.slot = slot;
    back.owner = unpack_data(span_text(owner));
    back.frame = unpack_data(body);
    RIG_ANSWER(rig, shard, not_owner, NOT_OWNER, &back);
}

static void a_login_that_comes_back_goes_on_at_the_owner_named(void **state)
{
    (void)state;
    const char *const *names = rig_options().shard_names;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    uint32_t slot = (uint32_t)(gid_user_hash(span_text("game"), span_text("alice")) % GID_SLOTS);
    uint32_t at = slot / 4096, next = (at + 1) % RIG_SHARDS;
    send_back(rig, at, slot, names[next], 2);
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, next, LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE);
    assert_memory_equal(frame->resolve->user.data, "alice", 5);
    rig_drop(frame);
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    at = rig_owner(RIG_GID);
    for (uint32_t hop = 0; hop < 3; hop++) {
        next = (at + 1) % RIG_SHARDS;
        send_back(rig, at, gid_slot(RIG_GID), names[next], 3 + hop);
        at = next;
    }
    assert_int_equal(rig->closed[0], END_NONE);
    send_back(rig, at, gid_slot(RIG_GID), names[0], 9);
    rig_expect_error(rig, id, END_BUSY);
    assert_true(rig_nothing_told(rig));
    rig_free(rig);
}

static void what_concerns_a_session_is_sent_on_only_to_somebody_new(void **state)
{
    (void)state;
    const char *const *names = rig_options().shard_names;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    rig_deliver(rig, RIG_GID, rig_session(1, 1), 1, 1, false);
    rig_received(rig, id, 1);
    uint32_t old = rig_owner(RIG_GID), new = (old + 1) % RIG_SHARDS;
    send_back(rig, old, gid_slot(RIG_GID), names[new], 5);
    /* They disagree; the older map is not believed, and nothing goes round. */
    send_back(rig, new, gid_slot(RIG_GID), names[old], 4);
    assert_true(rig_nothing_told(rig));
    assert_int_equal(rig_count(rig, EDGE_METRIC_REROUTED), 1);
    assert_int_equal(rig_count(rig, EDGE_METRIC_GIVEN_UP), 1);
    rig_free(rig);
}

static void garbage_from_a_shard_is_counted_and_does_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    const uint32_t numbers[] = {4, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint8_t frame[16];
        size_t at = 0;
        uint32_t tag = numbers[i] << 3 | 2;
        frame[at++] = (uint8_t)(tag & 0x7f) | (tag > 127 ? 0x80 : 0);
        if (tag > 127)
            frame[at++] = (uint8_t)(tag >> 7);
        frame[at++] = 2;
        frame[at++] = 1 << 3 | 2; /* a field that has no end */
        frame[at++] = 99;
        session_link_frame(rig->table, 0, span_of(frame, at));
        assert_int_equal(rig_count(rig, EDGE_METRIC_LINK_BAD), i + 1);
    }
    const uint8_t unknown[] = {0x9a, 1, 0};
    session_link_frame(rig->table, 0, span_of(unknown, sizeof unknown));
    assert_int_equal(rig_count(rig, EDGE_METRIC_LINK_UNKNOWN), 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_one_shard_for_a_number_and_tells_it_to_all),
        cmocka_unit_test(asks_another_shard_when_the_first_goes_or_is_silent),
        cmocka_unit_test(says_hello_again_to_a_shard_that_did_not_hear_it),
        cmocka_unit_test(says_hello_to_a_shard_that_asks_who_it_is_until_told_what_that_owns),
        cmocka_unit_test(is_ready_when_its_shards_have_said_what_they_own),
        cmocka_unit_test(does_not_wait_for_ever_for_shards_that_do_not_come),
        cmocka_unit_test(sessions_of_a_shard_away_for_too_long_are_sent_away),
        cmocka_unit_test(a_shard_that_goes_twice_is_cut_off_twice),
        cmocka_unit_test(a_session_that_was_told_to_go_is_not_told_again),
        cmocka_unit_test(a_shard_that_comes_back_in_time_keeps_its_sessions),
        cmocka_unit_test(sessions_of_a_shard_that_our_list_lacks_are_sent_away),
        cmocka_unit_test(a_login_that_comes_back_goes_on_at_the_owner_named),
        cmocka_unit_test(what_concerns_a_session_is_sent_on_only_to_somebody_new),
        cmocka_unit_test(garbage_from_a_shard_is_counted_and_does_nothing),
    };
    return cmocka_run_group_tests_name("uplink", tests, NULL, NULL);
}
