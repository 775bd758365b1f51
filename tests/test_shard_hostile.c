/* shard_hostile: every frame of the link, as it should be and spoilt in every way of
 * valid_messages.h, from an edge, from an operator, and from peers who may say nothing. The
 * sessions of another edge see nothing of it, the ledgers hold, and of the hostile one nothing is
 * left. */
#include "tests/shard_world.h"
#include "tests/valid_messages.h"

#include "base/log.h"

#define HOSTILE 0u
#define BYSTANDER 1u
#define OPERATOR 2u
#define STRANGER 3u /* an edge that has not said hello */
#define ROUTER 4u   /* a router has no business here */
#define FROM 5u

static struct world world;
static struct valid_messages frames;
static uint64_t alice, session, cases;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    frames = valid_messages_of(&lahar__link__v1__link_frame__descriptor);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    valid_messages_free(&frames);
    return 0;
}

static void begin(void)
{
    world_open(&world);
    world_edge(&world, HOSTILE, 3, NULL, 0);
    world_edge(&world, BYSTANDER, 4, NULL, 0);
    world_link_up(&world, OPERATOR, KEYS_ADMIN);
    world_link_up(&world, STRANGER, KEYS_EDGE);
    world_link_up(&world, ROUTER, KEYS_ROUTER);
    world_pass(&world, 2500);
    fake_set_text(&world.redis, "t:gids", "9000000");
    world_pass(&world, 2500);
    alice = world_gid(0);
    session = world_bind(&world, BYSTANDER, alice, 1);
    assert_int_not_equal(session, 0);
    world_forget_heard(&world);
}

static uint64_t metric(enum router_metric id)
{
    return metrics_get(world.metrics, id);
}

static void check_ledgers(void)
{
    static const enum router_metric send_ends[] = {
        ROUTER_METRIC_SENDS_ACKED,        ROUTER_METRIC_SENDS_UNKNOWN,
        ROUTER_METRIC_SENDS_PASSED,       ROUTER_METRIC_SENDS_SHED,
        ROUTER_METRIC_SENDS_SHED_OFFLINE, ROUTER_METRIC_SENDS_REPEATED,
        ROUTER_METRIC_SENDS_OLD_SESSION,  ROUTER_METRIC_SENDS_MALFORMED,
        ROUTER_METRIC_SENDS_IN_FLIGHT};
    static const enum router_metric delivery_ends[] = {
        ROUTER_METRIC_DELIVERIES_ACKED, ROUTER_METRIC_DELIVERIES_PASSED,
        ROUTER_METRIC_DELIVERIES_OLD,   ROUTER_METRIC_DELIVERIES_EXPIRED,
        ROUTER_METRIC_DELIVERIES_GONE,  ROUTER_METRIC_DELIVERIES_IN_FLIGHT};
    uint64_t sends = 0, deliveries = 0;
    for (size_t i = 0; i < sizeof send_ends / sizeof *send_ends; i++)
        sends += metric(send_ends[i]);
    for (size_t reason = 1; reason < NACK_REASONS; reason++)
        sends += metric(ROUTER_METRIC_SENDS_NACKED_BUSY + (enum router_metric)reason - 1);
    for (size_t i = 0; i < sizeof delivery_ends / sizeof *delivery_ends; i++)
        deliveries += metric(delivery_ends[i]);
    assert_int_equal(sends, metric(ROUTER_METRIC_SENDS));
    assert_int_equal(deliveries, metric(ROUTER_METRIC_DELIVERIES));
}

static void say(uint32_t peer, const uint8_t *bytes, size_t len)
{
    uint8_t *exact = malloc(len + 1);
    assert_non_null(exact);
    memcpy(exact, bytes, len);
    shard_link_frame(world.shard, peer, span_of(exact, len));
    free(exact);
    for (uint32_t i = 0; i < world.heard_count; i++)
        if (world.heard[i].peer == BYSTANDER && world.heard[i].number != FRAME(SITE) &&
            world.heard[i].number != FRAME(SITE_GONE))
            fail_msg("the other edge was told %u", world.heard[i].number);
    world_forget_heard(&world);
    if (++cases % 64 == 0)
        world_turn(&world); /* Redis has its say */
}

/* Who was there before is there still: what is sent to her arrives. */
static void expect_alice_reached(void)
{
    struct hot_link_send send = {.from = alice,
                                 .device = 2,
                                 .session = session + 1,
                                 .send = {.to = alice, .class = HOT_EPHEMERAL, .body = {0}}};
    send.send.body = span_text("hello");
    world_send_message(&world, BYSTANDER, &send);
    const struct heard *heard = world_next(&world, BYSTANDER, FRAME(DELIVER));
    assert_non_null(heard);
    world_forget_heard(&world);
}

static void nothing_that_is_said_touches_the_sessions_of_another_edge(void **state)
{
    (void)state;
    for (size_t i = 0; i < frames.count;) {
        uint32_t kind = frames.list[i].number;
        begin();
        for (; i < frames.count && frames.list[i].number == kind; i++) {
            const struct valid_message *message = &frames.list[i];
            uint8_t *out = malloc(message->len * 2 + 64);
            assert_non_null(out);
            for (enum valid_spoilt spoilt = 0; spoilt < VALID_SPOILTS; spoilt++)
                for (size_t at = 0; at < valid_places(spoilt, message->len); at++) {
                    size_t len = valid_spoil(message, spoilt, at, out);
                    for (uint32_t from = 0; from < FROM; from++)
                        if (from != BYSTANDER)
                            say(from, out, len);
                }
            expect_alice_reached();
            free(out);
        }
        world_link_down(&world, HOSTILE);
        world_link_down(&world, STRANGER);
        world_pass(&world, 25000); /* swept */
        check_ledgers();
        assert_int_equal(metric(ROUTER_METRIC_SENDS_IN_FLIGHT), 0);
        assert_int_equal(metric(ROUTER_METRIC_RECORDS), 1);
        expect_alice_reached();
        world_close(&world);
    }
    assert_true(cases > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_that_is_said_touches_the_sessions_of_another_edge),
    };
    return cmocka_run_group_tests_name("shard_hostile", tests, set_up, tear_down);
}
