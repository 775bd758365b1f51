/* acceptor: what becomes of new clients when descriptors run short. Behind a whole conn table. */
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
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_descriptors_are_not_for_clients, set_up_few_descriptors),
        TEST(running_out_of_descriptors_pauses_and_does_not_spin, set_up),
    };
    return cmocka_run_group_tests_name("acceptor", tests, NULL, NULL);
}
