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

static void an_echo_inside_on_frame_comes_back(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    two.router.echoes = true;
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(say_sized(&two.edge, LINK_CREDITED, 100), LINK_QUEUED);
        AWAIT(two.edge.heard == two.edge.said || i % 50 != 0, BOTH(&two));
    }
    AWAIT(two.edge.heard == 5000, BOTH(&two));
    assert_int_equal(two.edge.disorder + two.edge.skipped, 0);
    check_ledger(&two);
    close_two(&two);
}

static void a_turn_of_two_megabytes_leaves_as_batches_of_256_kib(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, 4 * WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    uint64_t batches = link_counts(two.edge.link)->batches_sent;
    for (int i = 0; i < 30; i++)
        assert_int_equal(say_sized(&two.edge, LINK_CREDITED, 70 * 1024), LINK_QUEUED);
    AWAIT(two.router.heard == 30, BOTH(&two));
    assert_true(link_counts(two.edge.link)->batches_sent >= batches + 10);
    assert_int_equal(two.router.disorder + two.router.skipped, 0);
    close_two(&two);
}

static void one_that_does_not_read_stops_credited_frames_but_not_free_ones(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, 64 * 1024);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    while (say_sized(&two.edge, LINK_CREDITED, 1000) == LINK_QUEUED)
        loop_turn(two.edge.loop, 0);
    assert_in_range(two.edge.said, 60, 65);
    turn_for((struct end *[]){&two.edge}, 1, 300);
    assert_int_equal(link_would(two.edge.link, two.edge.peer, 1000), LINK_NO_CREDIT);
    assert_int_equal(say_sized(&two.edge, LINK_CREDITED, 1000), LINK_NO_CREDIT);
    assert_int_equal(link_counts(two.edge.link)->no_credit, 2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(say_sized(&two.edge, LINK_FREE, 1000), LINK_QUEUED);
    AWAIT(two.router.heard == two.edge.said, BOTH(&two));
    AWAIT(link_would(two.edge.link, two.edge.peer, 1000) == LINK_QUEUED, BOTH(&two));
    assert_int_equal(two.router.disorder + two.router.skipped, 0);
    close_two(&two);
}

static void free_frames_past_the_limit_are_dropped_and_counted_by_both(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    const struct link_counts *edge = link_counts(two.edge.link);
    uint64_t give_up_ms = now_ms() + AWAIT_MS;
    while (edge->frames_dropped < 100 && now_ms() < give_up_ms) {
        for (int i = 0; i < 16; i++)
            assert_int_equal(say_sized(&two.edge, LINK_FREE, 60000), LINK_QUEUED);
        loop_turn(two.edge.loop, 0);
    }
    assert_true(edge->send_again > 0);
    assert_true(edge->frames_dropped >= 100);
    const struct link_counts *router = link_counts(two.router.link);
    AWAIT(router->frames_received + router->frames_lost == two.edge.said, BOTH(&two));
    assert_int_equal(router->frames_lost, edge->frames_dropped);
    assert_int_equal(two.router.heard, edge->frames_sent);
    assert_int_equal(two.router.disorder, 0);
    AWAIT(link_would(two.edge.link, two.edge.peer, 1000) == LINK_QUEUED, BOTH(&two));
    check_ledger(&two);
    close_two(&two);
}

static void nothing_is_sent_to_one_that_is_not_up(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    assert_int_equal(say_sized(&two.edge, LINK_FREE, 10), LINK_AWAY);
    assert_int_equal(link_would(two.router.link, 0, 10), LINK_AWAY);
    assert_int_equal(link_would(two.router.link, 12345, 10), LINK_AWAY);
    assert_int_equal(link_counts(two.edge.link)->peer_away, 1);
    close_two(&two);
}

static void heads_tell_map_epoch_and_load(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    link_set_map_epoch(two.router.link, 77);
    link_set_load(two.router.link, 13);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    assert_int_equal(link_peer_map_epoch(two.edge.link, two.edge.peer), 77);
    assert_int_equal(link_peer_load(two.edge.link, two.edge.peer), 13);
    link_set_map_epoch(two.router.link, 78);
    AWAIT(link_peer_map_epoch(two.edge.link, two.edge.peer) == 78, BOTH(&two));
    close_two(&two);
}

/* --- deaths and returns ------------------------------------------------------------ */

static void what_was_meant_for_a_dead_router_never_reaches_its_successor(void **state)
{
    (void)state;
    for (int curve = 0; curve < 2; curve++) {
        struct two two;
        open_two(&two, curve, WINDOW);
        AWAIT(two.router.up && two.edge.up, BOTH(&two));
        talk(&two, 100);
        /* Frames in all places: read by nobody, in ZeroMQ, queued. */
        for (int i = 0; i < 200; i++) {
            assert_int_equal(say_sized(&two.edge, LINK_CREDITED, 1000), LINK_QUEUED);
            if (i < 100)
                loop_turn(two.edge.loop, 0);
        }
        close_end(&two.router);
        open_router(&two, two.endpoint, 0x52, WINDOW);
        AWAIT(two.router.up && two.edge.incarnation == 0x52 && two.edge.up, BOTH(&two));
        assert_int_equal(two.edge.downs, 1);
        assert_int_equal(two.edge.ups, 2);
        two.edge.next = two.edge.said = 0;
        talk(&two, 1000);
        assert_int_equal(two.router.heard, 1000);
        assert_int_equal(link_counts(two.router.link)->frames_lost, 0);
        assert_string_equal(two.router.name, "e1/0");
        close_two(&two);
    }
}

static void a_new_edge_is_another_peer_and_the_old_one_goes_silent(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    uint32_t before = two.router.peer;
    close_end(&two.edge);
    assert_int_equal(say_sized(&two.router, LINK_FREE, 10), LINK_QUEUED);
    AWAIT(!two.router.up, &two.router);
    assert_int_equal(two.router.peer, before);
    assert_true(link_counts(two.router.link)->unreachable > 0);
    open_edge(&two);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    assert_int_not_equal(two.router.peer, before);
    two.router.said = two.router.next = 0;
    talk(&two, 100);
    close_two(&two);
}

static void one_that_stands_still_goes_down_and_returns_where_it_was(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    talk(&two, 100);
    AWAIT(!two.router.up, &two.router); /* the edge's loop is not turned */
    assert_int_equal(two.router.downs, 1);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    assert_int_equal(two.router.ups, 2);
    assert_int_equal(two.router.incarnation, 0xe1);
    assert_string_equal(two.router.name, "e1/0");
    turn_for((struct end *[]){BOTH(&two)}, 2, 600);
    talk(&two, 1000);
    assert_int_equal(link_counts(two.router.link)->frames_lost, 0);
    assert_int_equal(link_counts(two.edge.link)->frames_lost, 0);
    check_ledger(&two);
    close_two(&two);
}

static void a_pause_of_our_own_makes_nobody_silent(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    for (int i = 0; i < 3; i++) {
        const struct timespec pause = {.tv_sec = SILENCE_MS / 1000 + 1};
        nanosleep(&pause, NULL);
        turn_for((struct end *[]){BOTH(&two)}, 2, 700);
    }
    assert_int_equal(two.router.downs + two.edge.downs, 0);
    close_two(&two);
}

static void a_renewed_router_is_another_one_to_its_edges(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    talk(&two, 100);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(say_sized(&two.edge, LINK_CREDITED, 100), LINK_QUEUED);
        assert_int_equal(say_sized(&two.router, LINK_CREDITED, 100), LINK_QUEUED);
    }
    loop_turn(two.edge.loop, 0);
    link_renew(two.router.link, 0x99);
    assert_int_equal(link_would(two.router.link, two.router.peer, 1), LINK_AWAY);
    AWAIT(two.router.up && two.router.ups == 2 && two.edge.up && two.edge.ups == 2, BOTH(&two));
    assert_int_equal(two.edge.incarnation, 0x99);
    assert_int_equal(two.router.heard, 100);
    assert_int_equal(two.edge.heard, 100);
    AWAIT(link_counts(two.router.link)->frames_stale == 50, BOTH(&two));
    assert_int_equal(link_counts(two.router.link)->frames_unsent, 50);
    assert_string_equal(two.router.name, "e1/0");
    two.router.said = two.router.next = two.edge.said = two.edge.next = 0;
    talk(&two, 1000);
    check_ledger(&two);
    close_two(&two);
}

static void a_renewed_edge_is_another_one_to_its_routers(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, true, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    talk(&two, 100);
    for (int i = 0; i < 50; i++)
        assert_int_equal(say_sized(&two.edge, LINK_CREDITED, 100), LINK_QUEUED);
    link_renew(two.edge.link, 0xe2);
    assert_true(two.edge.up); /* told at the end of the turn, not from inside the call */
    uint32_t before = two.router.peer;
    two.router.up = false; /* it hears of the new one first, of the old one's silence later */
    AWAIT(two.edge.ups == 2 && two.router.ups == 2, BOTH(&two));
    assert_int_equal(two.edge.downs, 1);
    assert_int_equal(two.router.incarnation, 0xe2);
    assert_int_not_equal(two.router.peer, before);
    two.router.said = two.router.next = two.edge.said = two.edge.next = 0;
    assert_int_equal(two.router.heard, 100);
    talk(&two, 100);
    close_two(&two);
}

/* --- keys --------------------------------------------------------------------------- */

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

/* --- losses -------------------------------------------------------------------------- */

/* Sends frames of 100 bytes, a batch of up to `batch` a turn, and says how many a second. */
static double pour(struct two *two, uint64_t frames, int batch)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    uint64_t goal = two->edge.said + frames;
    uint64_t give_up_ms = now_ms() + 200000;
    while (two->edge.said < goal) {
        for (int i = 0; i < batch && two->edge.said < goal; i++)
            if (say_sized(&two->edge, LINK_CREDITED, 100) != LINK_QUEUED)
                break;
        loop_turn(two->edge.loop, 0);
        loop_turn(two->router.loop, 0);
        assert_true(now_ms() < give_up_ms);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    const struct link_counts *router = link_counts(two->router.link);
    AWAIT(router->frames_received + router->frames_lost == two->edge.said, BOTH(two));
    return (double)frames /
           ((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
}

static uint64_t batches_to_lose_from(void)
{
    const char *text = getenv("LINK_BATCHES");
    return text == NULL ? 100000 : strtoull(text, NULL, 10);
}

static void losing_every_hundredth_batch_leaks_no_credit(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, 256 * 1024);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    link_fault_drop_every(two.edge.link, 100);
    const struct link_counts *edge = link_counts(two.edge.link);
    const struct link_counts *router = link_counts(two.router.link);
    double first = 0, last = 0;
    while (edge->batches_sent < batches_to_lose_from()) {
        last = pour(&two, 40000, 4);
        if (first == 0)
            first = last;
    }
    assert_int_equal(two.edge.said, router->frames_received + router->frames_lost);
    assert_int_equal(two.router.heard, router->frames_received);
    assert_int_equal(two.router.skipped, router->frames_lost);
    assert_true(router->frames_lost > two.edge.said / 300);
    assert_int_equal(two.router.disorder, 0);
    assert_int_equal(two.router.downs + two.edge.downs, 0);
    check_ledger(&two);
    print_message("%.0f frames per CPU second at first, %.0f at last\n", first, last);
    assert_true(last > first / 3);
    /* The whole window is there. */
    link_fault_drop_every(two.edge.link, 0);
    turn_for((struct end *[]){BOTH(&two)}, 2, 700);
    uint64_t said = two.edge.said;
    while (say_sized(&two.edge, LINK_CREDITED, 100) == LINK_QUEUED)
        continue;
    assert_in_range(two.edge.said - said, 256 * 1024 / 101 - 1, 256 * 1024 / 101);
    close_two(&two);
}

static void tells_its_speed(void **state)
{
    (void)state;
    for (int curve = 0; curve < 2; curve++) {
        struct two two;
        open_two(&two, curve, WINDOW);
        AWAIT(two.router.up && two.edge.up, BOTH(&two));
        (void)pour(&two, 64000, 64);
        print_message("%s: %.0f frames per CPU second, both ends\n", curve ? "CURVE" : "clear",
                      pour(&two, 640000, 64));
        close_two(&two);
    }
}

/* --- threads ------------------------------------------------------------------------- */

static void *echo_until_stopped(void *argument)
{
    struct end *router = argument;
    loop_run(router->loop);
    return NULL;
}

static void two_threads_talk(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, true, WINDOW);
    two.router.echoes = true;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, echo_until_stopped, &two.router), 0);
    AWAIT(two.edge.up, &two.edge);
    for (uint64_t turn = 0; two.edge.said < 50000; turn++) {
        for (int i = 0; i < 32; i++)
            if (say_sized(&two.edge, LINK_CREDITED, 100) != LINK_QUEUED)
                break;
        loop_turn(two.edge.loop, 1);
        if (turn == 100) { /* while handshakes may be judged */
            allow(&two.router_list, KEYS_ADMIN, &two.edge_keys);
            link_net_reload(two.router_net, &two.router_list);
        }
    }
    AWAIT(two.edge.heard == two.edge.said, &two.edge);
    assert_int_equal(two.edge.disorder + two.edge.skipped, 0);
    loop_stop(two.router.loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    check_ledger(&two);
    close_two(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_once_and_in_order_in_the_clear),
        cmocka_unit_test(frames_arrive_once_and_in_order_under_curve),
        cmocka_unit_test(an_echo_inside_on_frame_comes_back),
        cmocka_unit_test(a_turn_of_two_megabytes_leaves_as_batches_of_256_kib),
        cmocka_unit_test(one_that_does_not_read_stops_credited_frames_but_not_free_ones),
        cmocka_unit_test(free_frames_past_the_limit_are_dropped_and_counted_by_both),
        cmocka_unit_test(nothing_is_sent_to_one_that_is_not_up),
        cmocka_unit_test(heads_tell_map_epoch_and_load),
        cmocka_unit_test(what_was_meant_for_a_dead_router_never_reaches_its_successor),
        cmocka_unit_test(a_new_edge_is_another_peer_and_the_old_one_goes_silent),
        cmocka_unit_test(one_that_stands_still_goes_down_and_returns_where_it_was),
        cmocka_unit_test(a_pause_of_our_own_makes_nobody_silent),
        cmocka_unit_test(a_renewed_router_is_another_one_to_its_edges),
        cmocka_unit_test(a_renewed_edge_is_another_one_to_its_routers),
        cmocka_unit_test(a_stranger_exchanges_no_frame_and_is_counted),
        cmocka_unit_test(one_that_is_allowed_later_joins_within_10_s),
        cmocka_unit_test(one_whose_key_is_gone_is_not_heard_any_more),
        cmocka_unit_test(a_router_takes_a_new_key_of_its_own_without_a_restart),
        cmocka_unit_test(an_edge_finds_the_one_of_two_keys_that_the_router_has),
        cmocka_unit_test(keys_that_are_none_are_a_bad_start),
        cmocka_unit_test(losing_every_hundredth_batch_leaks_no_credit),
        cmocka_unit_test(tells_its_speed),
        cmocka_unit_test(two_threads_talk),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
