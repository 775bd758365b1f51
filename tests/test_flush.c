/* flush: what may wait for all clients together, and who goes when it is more. Over real sockets.
 */
#include "tests/limit_expect.h"
#include "tests/ws_client.h"

#define TOTAL (1024u * 1024u)
#define IN_TOTAL 100000u

static int set_up(void **state)
{
    struct world *world = make();
    world->options.out_bytes_total = TOTAL;
    world->options.in_bytes_total = IN_TOTAL;
    world->options.sndbuf_bytes = 16 * 1024;
    begin(world);
    *state = world;
    return 0;
}

struct reader {
    int fd;
    struct conn_id id;
};

static struct reader dial_narrow(struct world *world)
{
    uint32_t opened = world->opened;
    struct reader reader = {.fd = dial_port(conn_table_port(world->table, world->tcp), 4096)};
    AWAIT(world, world->opened == opened + 1);
    reader.id = world->last;
    return reader;
}

/* Makes that many bytes wait for it, whatever the kernel takes first. */
static void fill(struct world *world, struct reader *reader, size_t len)
{
    static uint8_t bytes[4096];
    uint64_t before = conn_queued(world->table);
    for (int round = 0; round < 200; round++) {
        conn_send(world->table, reader->id, span_of(bytes, sizeof bytes));
        loop_turn(world->loop, 0);
        if (conn_queued(world->table) > before)
            break;
    }
    while (conn_queued(world->table) < before + len)
        conn_send(world->table, reader->id, span_of(bytes, sizeof bytes));
    loop_turn(world->loop, 0);
}

static bool is_open(struct world *world, const struct reader *reader)
{
    char peer[64];
    return *conn_peer(world->table, reader->id, peer) != '\0';
}

static void the_longest_queues_go_when_all_together_are_too_long(void **state)
{
    struct world *world = *state;
    struct reader longs[4], shorts[8];
    for (int i = 0; i < 8; i++) {
        shorts[i] = dial_narrow(world);
        fill(world, &shorts[i], 20000);
    }
    for (int i = 0; i < 4; i++) {
        longs[i] = dial_narrow(world);
        fill(world, &longs[i], 210000);
    }
    assert_int_equal(world->closed, 0);
    assert_true(conn_queued(world->table) <= TOTAL);
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_OUT_BYTES_TOTAL) == conn_queued(world->table));
    uint64_t queued = conn_queued(world->table);
    EXPECT_LIMIT(world->metrics, EDGE, OUT_BYTES_TOTAL, queued, TOTAL, 0);
    assert_true(queued > 4 * 210000);
    fill(world, &shorts[0], 60000); /* one too many, but far from the longest */
    AWAIT(world, world->closed > 0);
    assert_int_equal(world->last_reason, END_SLOW_READER);
    assert_true(conn_queued(world->table) <= TOTAL);
    for (int i = 0; i < 8; i++)
        assert_true(is_open(world, &shorts[i]));
    uint32_t left = 0;
    for (int i = 0; i < 4; i++)
        left += is_open(world, &longs[i]);
    assert_int_equal(left, 4 - world->closed);
    assert_true(world->closed <= 2);
    assert_int_equal(count(world, EDGE_METRIC_LIMIT_REJECTED(LIMIT_OUT_BYTES_TOTAL)),
                     world->closed);
    for (int i = 0; i < 8; i++)
        close(shorts[i].fd);
    for (int i = 0; i < 4; i++)
        close(longs[i].fd);
}

static void who_reads_again_is_not_remembered_as_slow(void **state)
{
    struct world *world = *state;
    uint8_t *got = malloc(TOTAL);
    struct reader reader = dial_narrow(world);
    for (int i = 0; i < 200; i++) {
        fill(world, &reader, 10000);
        while (conn_queued(world->table) > 0) {
            (void)!recv(reader.fd, got, TOTAL, 0);
            loop_turn(world->loop, 0);
        }
    }
    assert_int_equal(world->closed, 0);
    close(reader.fd);
    AWAIT(world, world->closed == 1);
    /* Its slot is another's now, who was never slow. */
    struct reader next = dial_narrow(world), slow[5];
    assert_int_equal(next.id.slot, reader.id.slot);
    for (int i = 0; i < 5; i++) {
        slow[i] = dial_narrow(world);
        fill(world, &slow[i], 250000);
    }
    AWAIT(world, world->closed > 1);
    assert_true(is_open(world, &next));
    for (int i = 0; i < 5; i++)
        close(slow[i].fd);
    close(next.fd);
    free(got);
}

static void a_slow_websocket_goes_as_any_other(void **state)
{
    struct world *world = *state;
    int fd = ws_dial_rcvbuf(world, 4096);
    struct reader ws = {fd, world->last}, other = dial_narrow(world);
    fill(world, &other, 1000);
    uint8_t bytes[8192] = {0};
    while (world->closed == 0) {
        conn_send(world->table, ws.id, span_of(bytes, sizeof bytes));
        loop_turn(world->loop, 0);
    }
    assert_int_equal(world->last_reason, END_SLOW_READER);
    assert_true(is_open(world, &other));
    uint32_t left = (uint32_t)conn_queued(world->table); /* of the other */
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_OUT_BYTES) == left);
    EXPECT_LIMIT(world->metrics, EDGE, OUT_BYTES, left, world->options.out_bytes_max, 1);
    assert_true(left > 0);
    close(fd);
    close(other.fd);
    AWAIT(world, world->closed == 2);
    assert_int_equal(conn_queued(world->table), 0);
}

static void say_half(int fd, const uint8_t *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static uint64_t halves_refused(struct world *world)
{
    return count(world, EDGE_METRIC_LIMIT_REJECTED(LIMIT_IN_BYTES_TOTAL));
}

/* Of TCP and of WebSocket. Who comes last does not pay for who has left the most, nor does who has
 * left little. */
static void those_who_leave_the_most_of_halves_go(void **state)
{
    struct world *world = *state;
    enum { LONG = 45000, SHORT = 2000 };
    uint8_t *half = random_bytes(LONG);
    world->mode = KEEP;
    int first = dial_open(world);
    struct reader tcp = {first, world->last};
    int second = ws_dial(world);
    struct reader ws = {second, world->last};
    say_half(first, half, LONG);
    ws_say(second, 0x02, half, LONG); /* a fragment */
    turns(world, 20);
    assert_int_equal(halves_refused(world), 0);
    struct reader shorts[8];
    for (int i = 0; i < 8; i++) {
        shorts[i].fd = dial_open(world);
        shorts[i].id = world->last;
        say_half(shorts[i].fd, half, SHORT);
    }
    AWAIT(world, world->closed == 1);
    assert_int_equal(world->last_reason, END_BUSY);
    turns(world, 20);
    /* One was enough. */
    assert_int_equal(halves_refused(world), 1);
    assert_int_equal(world->closed, 1);
    assert_int_equal(is_open(world, &tcp) + is_open(world, &ws), 1);
    for (int i = 0; i < 8; i++) {
        assert_true(is_open(world, &shorts[i]));
        close(shorts[i].fd);
    }
    close(first);
    close(second);
    free(half);
}

/* Halves that are all short count like any other. */
static void short_halves_have_the_same_limit(void **state)
{
    struct world *world = *state;
    enum { CLIENTS = 50, EACH = IN_TOTAL / CLIENTS };
    uint8_t *half = random_bytes(EACH + 1);
    int fds[CLIENTS];
    world->mode = KEEP;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial_open(world);
        say_half(fds[i], half, EACH);
    }
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_IN_BYTES_TOTAL) == IN_TOTAL);
    EXPECT_LIMIT(world->metrics, EDGE, IN_BYTES_TOTAL, IN_TOTAL, IN_TOTAL, 0);
    assert_int_equal(world->closed, 0);
    say_half(fds[0], half, 1);
    AWAIT(world, world->closed > 0);
    turns(world, 20);
    /* An eighth of the room is free again, and no more than that. */
    assert_int_equal(world->closed, CLIENTS / 8 + 1);
    assert_int_equal(halves_refused(world), world->closed);
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_IN_BYTES_TOTAL) <= IN_TOTAL * 7 / 8);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    free(half);
}

/* The next message may be as long as what has gone. */
static void halves_of_those_who_have_gone_are_not_counted(void **state)
{
    struct world *world = *state;
    enum { EACH = 60000 };
    uint8_t *half = random_bytes(EACH);
    world->mode = KEEP;
    for (uint32_t round = 1; round <= 5; round++) {
        int fd = round & 1 ? dial_open(world) : ws_dial(world);
        if (round & 1)
            say_half(fd, half, EACH);
        else
            ws_say(fd, 0x02, half, EACH);
        turns(world, 20);
        assert_int_equal(world->closed, round - 1);
        close(fd);
        AWAIT(world, world->closed == round);
    }
    assert_int_equal(halves_refused(world), 0);
    free(half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_longest_queues_go_when_all_together_are_too_long, set_up),
        TEST(who_reads_again_is_not_remembered_as_slow, set_up),
        TEST(those_who_leave_the_most_of_halves_go, set_up),
        TEST(short_halves_have_the_same_limit, set_up),
        TEST(halves_of_those_who_have_gone_are_not_counted, set_up),
        TEST(a_slow_websocket_goes_as_any_other, set_up),
    };
    return cmocka_run_group_tests_name("flush", tests, NULL, NULL);
}
