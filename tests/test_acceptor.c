/* acceptor: what becomes of new clients when descriptors run short. Behind a whole conn table. */
#include "edge/acceptor.h"
#include "tests/conn_world.h"

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
    int clients[3];
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
    uint64_t pauses = count(world, EDGE_METRIC_ACCEPT_PAUSES);
    if (world->opened != 0)
        return 11;
    if (pauses < 2 || pauses > 10)
        return 12;
    /* A ticker and a pause each 50 ms at most: no spin. */
    if (spins > 60)
        return 13;

    limit.rlim_cur = (rlim_t)next + 20;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 14;
    for (int i = 0; i < 1000 && world->opened < 3; i++)
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

static void on_socket(void *ctx, uint32_t listener, bool tls, int fd)
{
    (void)listener;
    struct came *came = ctx;
    came->tls += tls;
    came->clear += !tls;
    close(fd);
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
    assert_int_equal(came.clear, 20);
    assert_int_equal(came.tls, 8);
    loop_turn(world->loop, 1000);
    assert_int_equal(came.tls, 16);
    AWAIT(world, came.tls == 20);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    acceptor_free(acceptor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_descriptors_are_not_for_clients, set_up_few_descriptors),
        TEST(running_out_of_descriptors_pauses_and_does_not_spin, set_up),
        TEST(who_cannot_shake_hands_yet_waits_in_the_kernel, set_up),
    };
    return cmocka_run_group_tests_name("acceptor", tests, NULL, NULL);
}
