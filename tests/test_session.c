/* session: what a client may say at each point, what it is told, and that every session ends once.
 */
#include "tests/session_expect.h"

static void say_send(struct rig *rig, struct conn_id id)
{
    rig_send(rig, id, RIG_GID, LAHAR__V1__CLASS__CONFIRMED, 1, 5);
}

static void say_ping(struct rig *rig, struct conn_id id)
{
    Lahar__V1__Ping ping = LAHAR__V1__PING__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    ping.nonce = 99;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_PING;
    frame.ping = &ping;
    rig_say(rig, id, &frame);
}

static void say_bye(struct rig *rig, struct conn_id id)
{
    Lahar__V1__Bye bye = LAHAR__V1__BYE__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_BYE;
    frame.bye = &bye;
    rig_say(rig, id, &frame);
}

static void say_received(struct rig *rig, struct conn_id id)
{
    rig_received(rig, id, 1);
}

static void refuses_all_but_hello_before_hello(void **state)
{
    (void)state;
    void (*const says[])(struct rig *, struct conn_id) = {say_send, say_ping, say_received};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        struct rig *rig = rig_new(NULL);
        rig_cluster(rig, 1);
        struct conn_id id = rig_open(rig, 0);
        says[i](rig, id);
        rig_expect_error(rig, id, END_BAD_SEQUENCE);
        assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS), 0);
        rig_close(rig, id);
        rig_free(rig);
    }
}

static void refuses_a_send_while_the_login_is_under_way(void **state)
{
    (void)state;
    for (int step = 0; step < 3; step++) {
        struct rig *rig = rig_new(NULL);
        rig_cluster(rig, 1);
        rig->verdict = step == 0 ? TOKEN_UNKNOWN_SITE : TOKEN_OK;
        struct conn_id id = rig_open(rig, 0);
        rig_hello(rig, id, "phone");
        if (step == 2)
            rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
        assert_int_equal(session_at(rig->table, 0)->state, SESSION_LOOKUP + step);
        say_send(rig, id);
        rig_expect_error(rig, id, END_BAD_SEQUENCE);
        rig_free(rig);
    }
}

static void refuses_a_second_hello(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id during = rig_open(rig, 0);
    rig_hello(rig, during, "phone");
    rig_hello(rig, during, "phone");
    rig_expect_error(rig, during, END_BAD_SEQUENCE);
    struct conn_id after = rig_login(rig, 1, RIG_GID, rig_session(1, 1));
    rig_hello(rig, after, "phone");
    rig_expect_error(rig, after, END_BAD_SEQUENCE);
    rig_free(rig);
}

static void ignores_and_counts_frames_that_only_a_server_says(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    for (uint8_t number = 6; number <= 8; number++) {
        const uint8_t frame[] = {2, (uint8_t)(number << 3 | 2), 0};
        assert_int_equal(session_bytes(rig->table, id, span_of(frame, sizeof frame)), 3);
    }
    assert_int_equal(rig_count(rig, EDGE_METRIC_FRAMES_UNKNOWN), 3);
    assert_int_equal(rig->closed[0], END_NONE);
    rig_free(rig);
}

static void refuses_a_frame_over_4_kib_before_welcome_from_the_head_alone(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    const uint8_t over[] = {0x81, 0x20}; /* 4,097 */
    struct conn_id early = rig_open(rig, 0);
    session_bytes(rig->table, early, span_of(over, sizeof over));
    rig_expect_error(rig, early, END_BAD_FRAME);
    struct conn_id late = rig_login(rig, 1, RIG_GID, rig_session(1, 1));
    assert_int_equal(session_bytes(rig->table, late, span_of(over, sizeof over)), 0);
    assert_int_equal(rig->closed[1], END_NONE);
    rig_free(rig);
}

static void leaves_a_partial_frame_and_takes_whole_ones(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    const uint8_t bytes[] = {4, 4 << 3 | 2, 2, 1 << 3, 7, /* Ping */ 4, 4 << 3 | 2};
    assert_int_equal(session_bytes(rig->table, id, span_of(bytes, sizeof bytes)), 5);
    Lahar__V1__ServerFrame *pong = rig_heard(rig, id);
    assert_non_null(pong);
    assert_int_equal(pong->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_PONG);
    assert_int_equal(pong->pong->nonce, 7);
    lahar__v1__server_frame__free_unpacked(pong, NULL);
    rig_free(rig);
}

static void tells_what_follows_from_the_login_in_welcome(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_open(rig, 0);
    rig_hello(rig, id, "phone");
    rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    assert_null(rig_heard(rig, id));
    rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", rig_session(1, 5));
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_non_null(frame);
    const Lahar__V1__Welcome *welcome = frame->welcome;
    assert_int_equal(welcome->proto, 1);
    assert_int_equal(welcome->gid, RIG_GID);
    assert_int_equal(welcome->session, rig_session(1, 5));
    assert_int_equal(welcome->heartbeat_ms, 30000);
    assert_int_equal(welcome->limits->frame_bytes, 65536);
    assert_int_equal(welcome->limits->body_bytes, 61440);
    assert_int_equal(welcome->limits->sends_in_flight, 32);
    assert_int_equal(welcome->ticket.len, 0);
    assert_memory_equal(welcome->edge.data, "e1/0", 4);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_int_equal(session_count(rig->table), 1);
    rig_free(rig);
}

static void ends_a_conn_that_says_no_hello_in_time(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    struct conn_id id = rig_open(rig, 0);
    rig_pass(rig, 9900);
    assert_int_equal(rig->closed[0], END_NONE);
    rig_pass(rig, 200);
    rig_expect_error(rig, id, END_HELLO_TIMEOUT);
    rig_free(rig);
}

static void ends_a_session_after_two_missed_heartbeats_and_any_traffic_counts(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    rig_pass(rig, 60000);
    const uint8_t a_byte_of_a_frame = 4;
    assert_int_equal(session_bytes(rig->table, id, span_of(&a_byte_of_a_frame, 1)), 0);
    rig_pass(rig, 64900);
    assert_int_equal(rig->closed[0], END_NONE);
    rig_pass(rig, 300);
    rig_expect_error(rig, id, END_IDLE);
    rig_free(rig);
}

static void bye_ends_a_session_without_an_error_and_its_owner_is_told(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    say_bye(rig, id);
    assert_int_equal(rig->closed[0], END_BYE);
    assert_null(rig_heard(rig, id));
    Lahar__Link__V1__LinkFrame *frame =
        rig_expect(rig, rig_owner(RIG_GID), LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND);
    assert_int_equal(frame->unbind->gid, RIG_GID);
    assert_int_equal(frame->unbind->device, gid_device_hash(span_text("phone")));
    assert_int_equal(frame->unbind->session, rig_session(1, 1));
    assert_int_equal(frame->unbind->reason, END_BYE);
    rig_drop(frame);
    rig_close(rig, id);
    assert_true(rig_nothing_told(rig)); /* not twice */
    assert_int_equal(session_count(rig->table), 0);
    rig_free(rig);
}

/* A Ping with so many unknown fields; all of them have a content, which wants memory of its own. */
static void say_crowded_ping(struct rig *rig, struct conn_id id, uint32_t fields)
{
    uint8_t frame[4 + 4 + 4 * 14000];
    assert(fields <= 14000);
    size_t content = fields * 4u;
    frame[0] = 0x22 /* field 4, its length follows */;
    frame[1] = (uint8_t)(content | 0x80);
    frame[2] = (uint8_t)(content >> 7 | 0x80);
    frame[3] = (uint8_t)(content >> 14);
    for (uint32_t i = 0; i < fields; i++)
        memcpy(frame + 4 + i * 4, (const uint8_t[4]){0x7a, 2, 'a', 'b'}, 4);
    uint8_t head[3] = {(uint8_t)((content + 4) | 0x80), (uint8_t)((content + 4) >> 7 | 0x80),
                       (uint8_t)((content + 4) >> 14)};
    struct rig_frames out = {0};
    rig_keep(&out, span_of(head, sizeof head));
    rig_keep(&out, span_of(frame, content + 4));
    assert_int_equal(session_bytes(rig->table, id, span_of(out.bytes, out.end)), out.end);
    free(out.bytes);
}

/* What is unpacked may use up its memory: to the last byte, or all but. */
static void answers_a_ping_of_any_size_or_ends_the_session(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    uint32_t answered = 0, ended = 0;
    for (uint32_t fields = 4000; fields <= 14000; fields += fields > 8200 ? 13 : 600) {
        struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
        say_crowded_ping(rig, id, fields);
        if (rig->closed[0] == END_NONE) {
            Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
            assert_non_null(frame);
            assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_PONG);
            lahar__v1__server_frame__free_unpacked(frame, NULL);
            answered++;
        } else {
            rig_expect_error(rig, id, END_BAD_FRAME);
            ended++;
        }
        rig_close(rig, id);
    }
    assert_true(answered > 0 && ended > 0);
    rig_free(rig);
}

static void says_nothing_for_what_comes_after_the_end(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    say_bye(rig, id);
    rig_forget_told(rig);
    say_send(rig, id);
    rig_deliver(rig, RIG_GID, rig_session(1, 1), 1, 1, false);
    assert_null(rig_heard(rig, id));
    assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS), 0);
    assert_int_equal(rig_count(rig, EDGE_METRIC_DROPPED_GONE), 1);
    rig_close(rig, id);
    /* The next conn at this place is somebody else. */
    struct conn_id next = rig_login(rig, 0, RIG_GID, rig_session(1, 2));
    say_send(rig, id);
    assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS), 0);
    assert_null(rig_heard(rig, next));
    rig_free(rig);
}

static void an_owner_that_ends_a_session_is_obeyed_and_not_told(void **state)
{
    (void)state;
    const struct {
        uint32_t said;
        enum end_reason becomes;
    } cases[] = {{END_REPLACED, END_REPLACED},
                 {END_KICKED, END_KICKED},
                 {0, END_NO_SESSION},
                 {4000, END_NO_SESSION}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_new(NULL);
        rig_cluster(rig, 1);
        struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
        rig_deliver(rig, RIG_GID, rig_session(1, 1), 1, 1, false);
        rig_expect_deliver(rig, id, 1, GID_MID_SIZE);
        say_send(rig, id);
        rig_forget_told(rig);
        Lahar__Link__V1__Unbind unbind = LAHAR__LINK__V1__UNBIND__INIT;
        unbind.gid = RIG_GID;
        unbind.session = rig_session(1, 2); /* not this one */
        unbind.reason = cases[i].said;
        RIG_ANSWER(rig, 0, unbind, UNBIND, &unbind);
        assert_int_equal(rig->closed[0], END_NONE);
        unbind.session = rig_session(1, 1);
        RIG_ANSWER(rig, 0, unbind, UNBIND, &unbind);
        rig_expect_error(rig, id, cases[i].becomes);
        assert_true(rig_nothing_told(rig));
        assert_int_equal(rig_count(rig, EDGE_METRIC_DROPPED_CLOSED), 1);
        assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS_UNKNOWN), 1);
        rig_close(rig, id);
        rig_free(rig);
    }
}

/* How many of so many sessions have been told to go after so long. */
static uint32_t told_after(uint32_t sessions, uint32_t per_s, uint32_t most_ms, uint64_t ms)
{
    struct session_options options = rig_options();
    options.drain_per_s = per_s;
    options.drain_ms = most_ms;
    struct rig *rig = rig_new(&options);
    rig_cluster(rig, 1);
    for (uint32_t i = 0; i < sessions; i++)
        (void)rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    session_leave(rig->table);
    rig_pass(rig, ms);
    uint32_t told = 0;
    for (uint32_t i = 0; i < sessions; i++)
        told += rig->to_client[i].end > rig->to_client[i].begin;
    rig_free(rig);
    return told;
}

static void a_drain_takes_time_in_proportion_to_the_sessions(void **state)
{
    (void)state;
    assert_int_equal(told_after(10, 100, 30000, 200), 10); /* few: nobody waits for nothing */
    assert_in_range(told_after(200, 100, 30000, 1000), 60, 140);
    assert_int_equal(told_after(200, 100, 30000, 2100), 200);
    assert_int_equal(told_after(200, 10, 1000, 1100), 200); /* but not longer than the cap */
    assert_int_equal(told_after(50, 0, 30000, 100), 50);    /* no rate: at once */
}

static void goaway_names_where_else_to_go(void **state)
{
    (void)state;
    static const char *const hints[] = {"tls://e2.example:7701", "tls://e3.example:7701"};
    struct session_options options = rig_options();
    options.hints = hints;
    options.hint_count = 2;
    struct rig *rig = rig_new(&options);
    rig_cluster(rig, 1);
    struct conn_id id = rig_login(rig, 0, RIG_GID, rig_session(1, 1));
    session_leave(rig->table);
    rig_pass(rig, 500);
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY);
    assert_int_equal(frame->goaway->n_hints, 2);
    for (size_t i = 0; i < 2; i++)
        assert_memory_equal(frame->goaway->hints[i].data, hints[i], frame->goaway->hints[i].len);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    rig_close(rig, id);
    rig_free(rig);
}

static void leaving_tells_all_within_the_drain_time_and_takes_nobody_new(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    rig_cluster(rig, 1);
    struct conn_id ids[20];
    for (uint32_t i = 0; i < 20; i++)
        ids[i] = rig_login(rig, i, RIG_GID + i, rig_session(1, i + 1));
    struct conn_id fresh = rig_open(rig, 20);
    session_leave(rig->table);
    rig_expect_error(rig, fresh, END_EDGE_LEAVING);
    rig_close(rig, fresh);
    struct conn_id late = rig_open(rig, 21);
    rig_expect_error(rig, late, END_EDGE_LEAVING);
    rig_close(rig, late);
    assert_string_equal(session_not_ready(rig->table), "this edge is leaving");

    rig_pass(rig, 1000);
    uint32_t told = 0;
    for (uint32_t i = 0; i < 20; i++)
        told += rig->to_client[i].end > rig->to_client[i].begin;
    assert_in_range(told, 1, 19); /* spread */
    say_send(rig, ids[0]);        /* and still served */
    assert_int_equal(rig_count(rig, EDGE_METRIC_SENDS), 1);
    rig_pass(rig, 2200);
    for (uint32_t i = 0; i < 20; i++) {
        Lahar__V1__ServerFrame *frame = rig_heard(rig, ids[i]);
        assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_GOAWAY);
        assert_int_equal(frame->goaway->reason, END_EDGE_LEAVING);
        lahar__v1__server_frame__free_unpacked(frame, NULL);
        assert_false(session_left(rig->table));
        assert_int_equal(rig->closed[i], END_EDGE_LEAVING);
        rig_close(rig, ids[i]);
    }
    assert_true(session_left(rig->table));
    assert_true(rig_ledgers_hold(rig));
    rig_free(rig);
}

static void an_idle_session_takes_little_memory(void **state)
{
    (void)state;
    /* A cell of the map is 8 bytes, at worst 3/8 used. */
    assert_true(sizeof(struct session) + 8 * 8 / 3 <= 250);
}

/* --- anything in any order ---------------------------------------------------------------------
 */

static void answer_at_random(struct rig *rig)
{
    uint64_t chance = rig_on_random(rig);
    uint32_t place = (uint32_t)(chance % 8);
    const struct session *s =
        place < rig->table->places_used ? session_at(rig->table, place) : NULL;
    if (s == NULL || s->state != SESSION_BOUND || s->in_flight == 0)
        return;
    const uint8_t *cmid = pool_at(&rig->table->sendings, s->sendings);
    Lahar__Link__V1__Answer answer = LAHAR__LINK__V1__ANSWER__INIT;
    answer.gid = s->gid;
    answer.session = s->session;
    answer.cmid = unpack_data(span_of(cmid, GID_CMID_SIZE));
    answer.level = chance >> 8 & 1 ? LAHAR__V1__LEVEL__LEVEL_DELIVERED : 0;
    answer.reason = (uint32_t)((chance >> 9) & 15);
    RIG_ANSWER(rig, 0, answer, ANSWER, &answer);
}

static struct conn_id open_at_random(struct rig *rig, uint32_t place, uint64_t chance)
{
    struct conn_id id = rig_open(rig, place);
    uint64_t gid = RIG_GID + place;
    if (chance & 3)
        rig_hello(rig, id, "phone");
    if (chance & 3)
        rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, gid);
    if (chance & 1)
        rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, gid, "phone",
                  rig_session(1, id.generation));
    return id;
}

static void client_at_random(struct rig *rig, struct conn_id id, uint64_t chance)
{
    uint64_t gid = RIG_GID + id.slot, let = session_at(rig->table, id.slot)->dseq_let;
    switch (chance % 16) {
    case 0:
        rig_hello(rig, id, "phone");
        break;
    case 1:
        rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, gid);
        break;
    case 2:
    case 3:
        rig_bound(rig, id, LAHAR__LINK__V1__BOUND__STATUS__OK, gid, "phone",
                  rig_session(1, id.generation));
        break;
    case 4:
        if (chance >> 4 & 1)
            rig_close(rig, id);
        break;
    case 5:
        rig_received(rig, id, let + ((chance >> 8) & 15) / 15);
        break;
    case 6:
    case 7:
        rig_deliver(rig, gid, rig_session(1, id.generation),
                    1 + (uint32_t)((chance >> 8 & 15) / 15), let + (chance >> 12 & 3) % 3,
                    chance >> 15 & 1);
        break;
    case 8:
        answer_at_random(rig);
        break;
    case 9:
        rig->credited = (enum link_sent)((chance >> 8) % 3);
        break;
    default:
        rig_send(rig, id, RIG_GID + (chance >> 8) % 8, (Lahar__V1__Class)((chance >> 12) % 3),
                 (uint32_t)(chance >> 16 & 63), chance >> 32 & 127);
    }
}

static void both_ledgers_come_to_nought_after_each_step_of_anything(void **state)
{
    (void)state;
    struct session_options options = rig_options();
    options.sends_in_flight = 4;
    options.sends_per_s = 5;
    options.sends_burst = 10;
    for (uint32_t seed = 0; seed < 30; seed++) {
        struct rig *rig = rig_new(&options);
        rig->random = seed;
        rig_cluster(rig, 1);
        struct conn_id ids[8] = {0};
        for (uint32_t step = 0; step < 3000; step++) {
            uint64_t chance = rig_on_random(rig);
            uint32_t place = (uint32_t)(chance % 8);
            if (place < rig->table->places_used) {
                if (session_at(rig->table, place)->state == SESSION_ENDED && chance >> 3 & 1)
                    rig_close(rig, ids[place]);
            }
            if (place >= rig->table->places_used ||
                session_at(rig->table, place)->state == SESSION_FREE)
                ids[place] = open_at_random(rig, place, chance >> 44);
            client_at_random(rig, ids[place], chance >> 4);
            if ((chance >> 40) % 20 == 0)
                rig_pass(rig, chance >> 30 & 4095);
            assert_true(rig_ledgers_hold(rig));
            rig_forget_told(rig);
        }
        assert_true(rig_count(rig, EDGE_METRIC_LOGINS) > 10);
        assert_true(rig_count(rig, EDGE_METRIC_SENDS_ACKED) > 10);
        assert_true(rig_count(rig, EDGE_METRIC_DELIVERIES_ACKED) > 10);
        assert_true(rig_count(rig, EDGE_METRIC_DROPPED_GAP) > 10);
        assert_true(rig_count(rig, EDGE_METRIC_NACK(NACK_BUSY)) > 10);
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_all_but_hello_before_hello),
        cmocka_unit_test(refuses_a_send_while_the_login_is_under_way),
        cmocka_unit_test(refuses_a_second_hello),
        cmocka_unit_test(ignores_and_counts_frames_that_only_a_server_says),
        cmocka_unit_test(refuses_a_frame_over_4_kib_before_welcome_from_the_head_alone),
        cmocka_unit_test(leaves_a_partial_frame_and_takes_whole_ones),
        cmocka_unit_test(tells_what_follows_from_the_login_in_welcome),
        cmocka_unit_test(ends_a_conn_that_says_no_hello_in_time),
        cmocka_unit_test(ends_a_session_after_two_missed_heartbeats_and_any_traffic_counts),
        cmocka_unit_test(bye_ends_a_session_without_an_error_and_its_owner_is_told),
        cmocka_unit_test(answers_a_ping_of_any_size_or_ends_the_session),
        cmocka_unit_test(says_nothing_for_what_comes_after_the_end),
        cmocka_unit_test(an_owner_that_ends_a_session_is_obeyed_and_not_told),
        cmocka_unit_test(a_drain_takes_time_in_proportion_to_the_sessions),
        cmocka_unit_test(goaway_names_where_else_to_go),
        cmocka_unit_test(leaving_tells_all_within_the_drain_time_and_takes_nobody_new),
        cmocka_unit_test(an_idle_session_takes_little_memory),
        cmocka_unit_test(both_ledgers_come_to_nought_after_each_step_of_anything),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
