/* zap: who may take part in the links, seen through two of them. Threads: yes. */
#include "tests/link_world.h"

#include <sys/wait.h>
#include <unistd.h>

enum stranger { WRONG_KEY, WRONG_LIST, WRONG_SERVER, NO_CURVE, STRANGERS };

static void spoil(struct two *two, enum stranger kind)
{
    struct pair_of_keys other = make_keys();
    two->router_list.allowed_count[KEYS_EDGE] = 0;
    switch (kind) {
    case WRONG_KEY:
        allow(&two->router_list, KEYS_EDGE, &other);
        break;
    case WRONG_LIST:
        allow(&two->router_list, KEYS_ADMIN, &two->edge_keys);
        break;
    case WRONG_SERVER:
        allow(&two->router_list, KEYS_EDGE, &two->edge_keys);
        two->edge_list.allowed_count[KEYS_ROUTER] = 0;
        allow(&two->edge_list, KEYS_ROUTER, &other);
        break;
    default:
        allow(&two->router_list, KEYS_EDGE, &two->edge_keys);
        break;
    }
}

static void a_stranger_exchanges_no_frame_and_is_counted(void **state)
{
    (void)state;
    for (enum stranger kind = 0; kind < STRANGERS; kind++) {
        struct two two = {0};
        make_all_keys(&two);
        spoil(&two, kind);
        two.router_net = open_net(KEYS_ROUTER, true, &two.router_list);
        two.edge_net = open_net(KEYS_EDGE, kind != NO_CURVE, &two.edge_list);
        open_router(&two, "tcp://127.0.0.1:0", 0x51, WINDOW);
        open_edge(&two);
        const struct link_counts *router = link_counts(two.router.link);
        if (kind == WRONG_LIST)
            AWAIT(router->batches_bad > 2, BOTH(&two));
        else
            AWAIT(router->handshakes_refused > 1, BOTH(&two));
        if (kind != WRONG_LIST)
            AWAIT(link_counts(two.edge.link)->handshakes_refused > 1, BOTH(&two));
        assert_int_equal(two.router.ups + two.edge.ups, 0);
        assert_int_equal(link_counts(two.edge.link)->batches_received, 0);
        if (kind != WRONG_LIST)
            assert_int_equal(router->batches_received, 0);
        close_two(&two);
    }
}

static void one_that_is_allowed_later_joins_within_10_s(void **state)
{
    (void)state;
    for (enum stranger kind = WRONG_KEY; kind <= WRONG_LIST; kind++) {
        struct two two = {0};
        make_all_keys(&two);
        spoil(&two, kind);
        open_nets(&two, true);
        open_router(&two, "tcp://127.0.0.1:0", 0x51, WINDOW);
        open_edge(&two);
        const struct link_counts *edge = link_counts(two.edge.link);
        if (kind == WRONG_KEY)
            AWAIT(edge->handshakes_refused >= 5, BOTH(&two)); /* backs off at most to 5 s */
        else
            turn_for((struct end *[]){BOTH(&two)}, 2, 1000);
        two.router_list.allowed_count[KEYS_EDGE] = 0;
        two.router_list.allowed_count[KEYS_ADMIN] = 0;
        allow(&two.router_list, KEYS_EDGE, &two.edge_keys);
        uint64_t begin_ms = now_ms();
        link_net_reload(two.router_net, &two.router_list);
        AWAIT(two.router.up && two.edge.up, BOTH(&two));
        assert_true(now_ms() - begin_ms < 10000);
        assert_int_equal(two.router.role, KEYS_EDGE);
        talk(&two, 100);
        close_two(&two);
    }
}

static void one_whose_key_is_gone_is_not_heard_any_more(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, true, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    two.router_list.allowed_count[KEYS_EDGE] = 0;
    link_net_reload(two.router_net, &two.router_list);
    AWAIT(!two.router.up, BOTH(&two));
    uint64_t heard = two.router.heard, bad = link_counts(two.router.link)->batches_bad;
    if (two.edge.up)
        (void)say_sized(&two.edge, LINK_FREE, 10);
    AWAIT(link_counts(two.router.link)->batches_bad > bad + 2, BOTH(&two));
    assert_int_equal(two.router.heard, heard);
    assert_int_equal(two.router.ups, 1);
    close_two(&two);
}

static void a_router_takes_a_new_key_of_its_own_without_a_restart(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, true, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    struct pair_of_keys fresh = make_keys();
    allow(&two.edge_list, KEYS_ROUTER, &fresh); /* both are good for a while */
    link_net_reload(two.edge_net, &two.edge_list);
    memcpy(two.router_list.secret, fresh.secret, KEYS_Z85_SIZE);
    link_net_reload(two.router_net, &two.router_list);
    AWAIT(two.edge.downs == 1, BOTH(&two));
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    assert_int_equal(link_counts(two.edge.link)->handshakes_refused, 1); /* the old one was tried */
    turn_for((struct end *[]){BOTH(&two)}, 2, 600);
    talk(&two, 100);
    close_two(&two);
}

static void an_edge_finds_the_one_of_two_keys_that_the_router_has(void **state)
{
    (void)state;
    struct two two = {0};
    make_all_keys(&two);
    struct pair_of_keys next = make_keys();
    two.edge_list.allowed_count[KEYS_ROUTER] = 0;
    allow(&two.edge_list, KEYS_ROUTER, &next);
    allow(&two.edge_list, KEYS_ROUTER, &two.router_keys);
    open_nets(&two, true);
    open_router(&two, "tcp://127.0.0.1:0", 0x51, WINDOW);
    open_edge(&two);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    close_two(&two);
}

static void keys_that_are_none_are_a_bad_start(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct keys keys = {.secret = "not a key"};
        (void)open_net(KEYS_EDGE, true, &keys);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_exchanges_no_frame_and_is_counted),
        cmocka_unit_test(one_that_is_allowed_later_joins_within_10_s),
        cmocka_unit_test(one_whose_key_is_gone_is_not_heard_any_more),
        cmocka_unit_test(a_router_takes_a_new_key_of_its_own_without_a_restart),
        cmocka_unit_test(an_edge_finds_the_one_of_two_keys_that_the_router_has),
        cmocka_unit_test(keys_that_are_none_are_a_bad_start),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests_name("zap", tests, NULL, NULL);
}
