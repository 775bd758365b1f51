/* link: two ends on real sockets. Threads: yes. */
#include "tests/link_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define WINDOW (1024u * 1024u)
#define SILENCE_MS 2000u

/* A router "r1/0" that binds and an edge "e1/0" that connects. */
struct two {
    struct pair_of_keys router_keys, edge_keys, admin_keys;
    struct keys router_list, edge_list;
    struct link_net *router_net, *edge_net;
    struct end router, edge;
    char endpoint[256];
};

static struct link_net *open_net(enum keys_role role, bool curve, const struct keys *keys)
{
    struct link_net_options options = {
        .role = role, .curve = curve, .keys = curve ? keys : NULL, .io_threads = 1};
    return link_net_new(&options);
}

static void make_all_keys(struct two *two)
{
    two->router_keys = make_keys();
    two->edge_keys = make_keys();
    two->admin_keys = make_keys();
    two->router_list = keys_of(&two->router_keys);
    two->edge_list = keys_of(&two->edge_keys);
    allow(&two->router_list, KEYS_EDGE, &two->edge_keys);
    allow(&two->router_list, KEYS_ADMIN, &two->admin_keys);
    allow(&two->edge_list, KEYS_ROUTER, &two->router_keys);
}

static void open_router(struct two *two, const char *endpoint, uint64_t incarnation,
                        uint64_t window)
{
    open_end(&two->router, two->router_net, "r1/0", incarnation, window, SILENCE_MS);
    link_bind(two->router.link, endpoint);
    snprintf(two->endpoint, sizeof two->endpoint, "%s", link_bound(two->router.link));
}

static void open_edge(struct two *two)
{
    open_end(&two->edge, two->edge_net, "e1/0", 0xe1, WINDOW, SILENCE_MS);
    two->edge.peer = link_connect(two->edge.link, two->endpoint);
}

static void open_nets(struct two *two, bool curve)
{
    two->router_net = open_net(KEYS_ROUTER, curve, &two->router_list);
    two->edge_net = open_net(KEYS_EDGE, curve, &two->edge_list);
}

static void open_two(struct two *two, bool curve, uint64_t window)
{
    *two = (struct two){0};
    make_all_keys(two);
    open_nets(two, curve);
    open_router(two, "tcp://127.0.0.1:0", 0x51, window);
    open_edge(two);
}

static void close_two(struct two *two)
{
    close_end(&two->edge);
    close_end(&two->router);
    link_net_free(two->edge_net);
    link_net_free(two->router_net);
}

#define BOTH(two) &(two)->router, &(two)->edge

static void talk(struct two *two, uint64_t each)
{
    struct end *router = &two->router, *edge = &two->edge;
    uint64_t router_said = router->said + each, edge_said = edge->said + each;
    uint64_t router_heard = router->heard + each, edge_heard = edge->heard + each;
    while (edge->said < edge_said || router->said < router_said) {
        for (int i = 0; i < 64 && edge->said < edge_said; i++)
            if (say_sized(edge, LINK_CREDITED, 8 + edge->said % 500) != LINK_QUEUED)
                break;
        for (int i = 0; i < 64 && router->said < router_said; i++)
            if (say_sized(router, LINK_CREDITED, 8 + router->said % 500) != LINK_QUEUED)
                break;
        turn_all((struct end *[]){BOTH(two)}, 2);
    }
    AWAIT(router->heard >= router_heard && edge->heard >= edge_heard, BOTH(two));
    assert_int_equal(router->heard, router_heard);
    assert_int_equal(edge->heard, edge_heard);
    assert_int_equal(router->disorder + edge->disorder, 0);
    assert_int_equal(router->skipped + edge->skipped, 0);
}

static void check_ledger(const struct two *two)
{
    const struct link_counts *a = link_counts(two->router.link), *b = link_counts(two->edge.link);
    assert_int_equal(a->frames_sent + a->frames_dropped + b->frames_sent + b->frames_dropped,
                     a->frames_received + a->frames_lost + a->frames_stale + b->frames_received +
                         b->frames_lost + b->frames_stale);
}

static void frames_arrive_once_and_in_order(bool curve)
{
    struct two two;
    open_two(&two, curve, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    assert_int_equal(two.router.role, KEYS_EDGE);
    assert_int_equal(two.edge.role, KEYS_ROUTER);
    assert_int_equal(two.router.incarnation, 0xe1);
    assert_int_equal(two.edge.incarnation, 0x51);
    assert_string_equal(two.router.name, "e1/0");
    assert_string_equal(two.edge.name, "r1/0");
    talk(&two, 20000);
    assert_int_equal(two.router.ups + two.edge.ups, 2);
    assert_int_equal(link_counts(two.router.link)->frames_lost, 0);
    check_ledger(&two);
    close_two(&two);
}

static void frames_arrive_once_and_in_order_in_the_clear(void **state)
{
    (void)state;
    frames_arrive_once_and_in_order(false);
}

static void frames_arrive_once_and_in_order_under_curve(void **state)
{
    (void)state;
    frames_arrive_once_and_in_order(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_once_and_in_order_in_the_clear),
        cmocka_unit_test(frames_arrive_once_and_in_order_under_curve),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
