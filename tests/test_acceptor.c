/* acceptor: what becomes of new clients when descriptors run short. Behind a whole conn table. */
#include "edge/acceptor.h"
#include "tests/conn_world.h"
#include "tests/limit_expect.h"

#include <sys/resource.h>
#include <sys/wait.h>

static int set_up(void **state)
{
    struct world *world = make();
    begin(world);
    *state = world;
    return 0;
}

static int set_up_few_descriptors(void **state)
{
    struct world *world = make();
    int next = dup(0);
    close(next);
    world->options.fd_max = (uint32_t)next + 20;
    world->limited = true; /* what it refuses is counted there */
    begin(world);
    *state = world;
    return 0;
}

static void the_last_descriptors_are_not_for_clients(void **state)
{
    struct world *world = *state;
    world->mode = ECHO;
    int fds[20], count_open = 0;
    uint8_t got[256];
    while (count(world, EDGE_METRIC_CLOSED_EDGE_FULL) == 0) {
        assert_true(count_open < 20);
        uint32_t opened = world->opened;
        fds[count_open++] = dial(world);
        AWAIT(world, world->opened > opened || count(world, EDGE_METRIC_CLOSED_EDGE_FULL) == 1);
    }
    assert_true(world->opened > 0);
    assert_true(hear(world, fds[count_open - 1], got, sizeof got) > 1);
    assert_int_equal(world->closed, 0);
    uint32_t most = world->options.fd_max; /* the next one would have it */
    AWAIT(world, count(world, EDGE_METRIC_LIMIT_NOW_DESCRIPTORS) + 1 >= most);
    EXPECT_LIMIT(world->metrics, EDGE, DESCRIPTORS, count(world, EDGE_METRIC_LIMIT_NOW_DESCRIPTORS),
                 most, 1);
    say(fds[0], "a");
    assert_int_equal(hear(world, fds[0], got, 1), 1);

    close(fds[0]);
    AWAIT(world, world->closed == 1);
    fds[0] = dial_open(world);
    for (int i = 0; i < count_open; i++)
        close(fds[i]);
}

static int starve(struct world *world)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int clients[3], settled = dial_open(world);
    uint8_t got;
    world->mode = ECHO;
    world->opened = 0;
    for (int i = 0; i < 3; i++)
        clients[i] = dial(world);
    int next = dup(0);
    close(next);
    limit.rlim_cur = (rlim_t)next; /* no room for one more */
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 10;

    uint64_t began = now_ms();
    uint32_t spins = 0;
    while (now_ms() < began + 1000) {
        loop_turn(world->loop, 1000);
        spins++;
    }
    uint64_t pauses = count(world, EDGE_METRIC_ACCEPT_PAUSES), took = now_ms() - began;
    say(settled, "a"); /* who is in is served all the while */
    if (hear(world, settled, &got, 1) != 1)
        return 16;
    if (world->opened != 0)
        return 11;
    if (pauses < 2 || pauses > 1 + took / 100)
        return 12;
    /* A ticker and a pause each 50 ms at most: no spin. */
    if (spins > 60)
        return 13;

    limit.rlim_cur = (rlim_t)next + 20;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 14;
    began = now_ms();
    while (world->opened < 3 && now_ms() < began + 1000)
        loop_turn(world->loop, 20);
    for (int i = 0; i < 3; i++)
        close(clients[i]);
    return world->opened == 3 ? 0 : 15;
}

static void running_out_of_descriptors_pauses_and_does_not_spin(void **state)
{
    struct world *world = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(starve(world));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

struct came {
    uint32_t clear, tls;
};

static void on_socket(void *ctx, const struct acceptor_socket *socket)
{
    struct came *came = ctx;
    assert_int_equal(socket->from.ss_family, AF_INET);
    came->tls += socket->layers == ACCEPTOR_TLS;
    came->clear += socket->layers == 0;
    close(socket->fd);
}

/* Else their time to shake hands would be over before it is their turn. */
static void who_cannot_shake_hands_yet_waits_in_the_kernel(void **state)
{
    struct world *world = *state;
    struct came came = {0};
    struct acceptor *acceptor = acceptor_new(world->loop, world->metrics, on_socket, &came);
    int fds[40];
    for (int i = 0; i < 2; i++) {
        struct acceptor_address address;
        const char *text = i == 0 ? "tcp://127.0.0.1:0" : "tls://127.0.0.1:0";
        assert_true(acceptor_parse(text, &address));
        uint32_t listener = acceptor_listen(acceptor, &address, text, 0);
        for (int j = 0; j < 20; j++)
            fds[20 * i + j] = dial_port(acceptor_port(acceptor, listener), 0);
    }
    loop_turn(world->loop, 1000);
    assert_int_equal(came.clear, 16);
    assert_int_equal(came.tls, 2);
    loop_turn(world->loop, 1000);
    assert_int_equal(came.clear, 20);
    assert_int_equal(came.tls, 4);
    acceptor_hold_tls(acceptor, true);
    loop_turn(world->loop, 1000);
    assert_int_equal(came.tls, 4);
    acceptor_hold_tls(acceptor, false);
    AWAIT(world, came.tls == 20);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    acceptor_free(acceptor);
}

static void an_address_says_what_is_spoken_there(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t layers;
    } cases[] = {
        {"tcp://127.0.0.1:1", 0},
        {"tls://127.0.0.1:1", ACCEPTOR_TLS},
        {"ws://127.0.0.1:1", ACCEPTOR_WS},
        {"wss://127.0.0.1:1", ACCEPTOR_WS | ACCEPTOR_TLS},
        {"tcp+proxy://127.0.0.1:1", ACCEPTOR_PROXY},
        {"tls+proxy://[::1]:1", ACCEPTOR_PROXY | ACCEPTOR_TLS},
        {"ws+proxy://127.0.0.1:1", ACCEPTOR_PROXY | ACCEPTOR_WS},
        {"wss+proxy://[::]:65535", ACCEPTOR_PROXY | ACCEPTOR_WS | ACCEPTOR_TLS},
    };
    struct acceptor_address address;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(acceptor_parse(cases[i].text, &address));
        assert_int_equal(address.layers, cases[i].layers);
    }
    static const char *const bad[] = {"",
                                      "tcp",
                                      "tcp+proxy",
                                      "w://127.0.0.1:1",
                                      "wsss://127.0.0.1:1",
                                      "tcp+://127.0.0.1:1",
                                      "tcp+proxy+proxy://127.0.0.1:1",
                                      "+proxy://127.0.0.1:1",
                                      "proxy://127.0.0.1:1",
                                      "tcp+proxyy://127.0.0.1:1",
                                      "tcp:/127.0.0.1:1",
                                      "WS://127.0.0.1:1",
                                      "ws://127.0.0.1:1/path",
                                      "http://127.0.0.1:1",
                                      "ws+tls://127.0.0.1:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (acceptor_parse(bad[i], &address))
            fail_msg("taken for an address: %s", bad[i]);
}

static bool same(const char *a, const char *b)
{
    struct acceptor_address first, second;
    assert_true(acceptor_parse(a, &first) && acceptor_parse(b, &second));
    return acceptor_same(&first, &second);
}

static void one_port_has_one_listener_whatever_is_spoken(void **state)
{
    (void)state;
    assert_true(same("tcp://127.0.0.1:7", "ws+proxy://127.0.0.1:7"));
    assert_true(same("tls://[::1]:7", "wss://[0:0::1]:7"));
    assert_false(same("tcp://127.0.0.1:7", "tcp://127.0.0.1:8"));
    assert_false(same("tcp://127.0.0.1:7", "tcp://127.0.0.2:7"));
    assert_false(same("tcp://0.0.0.0:7", "tcp://[::]:7"));
    assert_false(same("tcp://127.0.0.1:0", "ws://127.0.0.1:0")); /* two ports of the kernel's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_descriptors_are_not_for_clients, set_up_few_descriptors),
        TEST(running_out_of_descriptors_pauses_and_does_not_spin, set_up),
        cmocka_unit_test(an_address_says_what_is_spoken_there),
        cmocka_unit_test(one_port_has_one_listener_whatever_is_spoken),
        TEST(who_cannot_shake_hands_yet_waits_in_the_kernel, set_up),
    };
    return cmocka_run_group_tests_name("acceptor", tests, NULL, NULL);
}
