/* link: two ends on real sockets. Threads: yes. */
#include "tests/link_world.h"

#include <pthread.h>

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

static void a_flush_sends_and_then_reads_without_the_end_of_a_turn(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    two.router.echoes = true;
    /* The edge's loop stands still: all that it sends and hears is by flushes. */
    for (uint64_t end_ms = now_ms() + AWAIT_MS; two.edge.heard < 100 && now_ms() < end_ms;) {
        assert_int_equal(say_sized(&two.edge, LINK_FREE, 100), LINK_QUEUED);
        link_flush(two.edge.link);
        loop_turn(two.router.loop, 1);
    }
    assert_true(two.edge.heard >= 100);
    AWAIT(two.edge.heard == two.edge.said, BOTH(&two));
    assert_int_equal(two.edge.disorder + two.edge.skipped, 0);
    check_ledger(&two);
    close_two(&two);
}

static void count_up(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                     struct span name)
{
    (void)role, (void)incarnation, (void)name;
    ((uint64_t *)ctx)[peer] = 1;
}

static void count_frame(void *ctx, uint32_t peer, struct span frame)
{
    (void)frame;
    ((uint64_t *)ctx)[peer]++;
}

static void count_down(void *ctx, uint32_t peer)
{
    (void)ctx, (void)peer;
    fail_msg("went down");
}

/* Each says in every turn as much as the edge reads of both together. */
static void one_that_never_pauses_takes_no_other_ones_turns(void **state)
{
    (void)state;
    struct two two;
    struct end other;
    open_two(&two, false, WINDOW);
    open_end(&other, two.router_net, "r2/0", 0x52, WINDOW, SILENCE_MS);
    link_bind(other.link, "tcp://127.0.0.1:0");
    struct loop *loop = loop_new();
    struct link_options options = {.name = "e2/0",
                                   .incarnation = 0xe2,
                                   .window_bytes = WINDOW,
                                   .silence_ms = 10 * SILENCE_MS,
                                   .frames_a_turn = 16,
                                   .pending_bytes_max = WINDOW};
    static const struct link_events events = {count_up, count_frame, count_down};
    uint64_t heard[2] = {0};
    struct link *link = link_new(two.edge_net, loop, &options, &events, heard);
    (void)link_connect(link, two.endpoint);
    (void)link_connect(link, link_bound(other.link));
    struct end *routers[] = {&two.router, &other};
    for (uint64_t end_ms = now_ms() + AWAIT_MS; now_ms() < end_ms;) {
        turn_all(routers, 2);
        loop_turn(loop, 1);
        if (heard[0] > 0 && heard[1] > 0 && two.router.up && other.up)
            break;
    }
    for (int turn = 0; turn < 1000; turn++) {
        for (int i = 0; i < 32; i++)
            (void)say_sized(routers[i & 1], LINK_FREE, 10);
        turn_all(routers, 2);
        loop_turn(loop, 1);
    }
    print_message("    heard %llu and %llu\n", (unsigned long long)heard[0],
                  (unsigned long long)heard[1]);
    assert_true(heard[0] > heard[1] / 2 && heard[1] > heard[0] / 2);
    link_free(link);
    loop_free(loop);
    close_end(&other);
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

/* --- bytes of no one of ours --------------------------------------------------------- */

static void hurl(void *dealer, const void *bytes, size_t len, int flags)
{
    assert_int_equal(zmq_send(dealer, bytes, len, flags), len);
}

static void bytes_that_are_no_batch_are_counted_and_do_nothing(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    AWAIT(two.router.up && two.edge.up, BOTH(&two));
    void *context = zmq_ctx_new();
    const struct link_counts *counts = link_counts(two.router.link);
    for (int named = 0; named < 2; named++) {
        void *dealer = zmq_socket(context, ZMQ_DEALER);
        const int linger_ms = 0;
        zmq_setsockopt(dealer, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        if (named)
            zmq_setsockopt(dealer, ZMQ_ROUTING_ID, "0123456789abcdef", 16);
        assert_int_equal(zmq_connect(dealer, two.endpoint), 0);
        uint64_t bad = counts->batches_bad;
        static const uint8_t noise[1000] = {0x0b, 0x08, 0x01, 0x11, 0xff};
        hurl(dealer, "", 0, 0);
        hurl(dealer, noise, 5, 0);
        hurl(dealer, noise, sizeof noise, 0);
        hurl(dealer, "\x0d\x08\x01\x11\x01\0\0\0\0\0\0\0\x48\x07", 14, 0); /* no such role */
        hurl(dealer, "\x0b\x08\x01\x11\x01\0\0\0\0\0\0\0", 12, ZMQ_SNDMORE);
        hurl(dealer, "more", 4, ZMQ_SNDMORE);
        hurl(dealer, "and more", 8, 0);
        AWAIT(counts->batches_bad == bad + 5, BOTH(&two));
        zmq_close(dealer);
    }
    zmq_ctx_term(context);
    assert_int_equal(two.router.ups, 1);
    talk(&two, 100);
    close_two(&two);
}

static void a_link_answers_those_who_mean_another_incarnation(void **state)
{
    (void)state;
    struct two two;
    open_two(&two, false, WINDOW);
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    const int linger_ms = 0;
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(dealer, ZMQ_ROUTING_ID, "0123456789abcdef", 16);
    assert_int_equal(zmq_connect(dealer, two.endpoint), 0);
    /* from 7, to 6, one frame */
    const uint8_t stale[] = {0x14, 8, 1, 0x11, 7, 0, 0, 0, 0, 0, 0,   0,
                             0x19, 6, 0, 0,    0, 0, 0, 0, 0, 2, 'h', 'i'};
    hurl(dealer, stale, sizeof stale, 0);
    uint8_t answer[256];
    int len = -1;
    AWAIT((len = zmq_recv(dealer, answer, sizeof answer, ZMQ_DONTWAIT)) > 0, &two.router);
    /* The incarnation 0x51, for 7. */
    assert_true(len > 21 && answer[3] == 0x11 && answer[4] == 0x51);
    assert_true(answer[12] == 0x19 && answer[13] == 7);
    assert_int_equal(link_counts(two.router.link)->frames_stale, 1);
    assert_int_equal(two.router.ups, 0);
    zmq_close(dealer);
    zmq_ctx_term(context);
    close_two(&two);
}

/* --- losses -------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Sends frames of 100 bytes, a batch of up to `batch` a turn, and says how many a second. */
static double pour(struct two *two, uint64_t frames, int batch)
{
    double begin = cpu_seconds();
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
    double passed = cpu_seconds() - begin;
    const struct link_counts *router = link_counts(two->router.link);
    AWAIT(router->frames_received + router->frames_lost == two->edge.said, BOTH(two));
    return (double)frames / passed;
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
    const uint64_t batches = batches_to_lose_from();
    double first = 0, last = 0; /* the best of the first third, and of the last */
    while (edge->batches_sent < batches) {
        bool early = edge->batches_sent<batches / 3, late = edge->batches_sent> batches * 2 / 3;
        double speed = pour(&two, 40000, 4);
        if (early && speed > first)
            first = speed;
        if (late && speed > last)
            last = speed;
    }
    assert_int_equal(two.edge.said, router->frames_received + router->frames_lost);
    assert_int_equal(two.router.heard, router->frames_received);
    assert_int_equal(two.router.skipped, router->frames_lost);
    assert_true(router->frames_lost > two.edge.said / 300);
    assert_int_equal(two.router.disorder, 0);
    assert_int_equal(two.router.downs + two.edge.downs, 0);
    check_ledger(&two);
    /* What a busy machine took from the last third comes back; what we had lost would not. */
    for (int i = 0; i < 20 && last <= first / 2; i++) {
        double speed = pour(&two, 40000, 4);
        if (speed > last)
            last = speed;
    }
    print_message("%.0f frames per CPU second at first, %.0f at last\n", first, last);
    assert_true(last > first / 2);
    /* The whole window is there. */
    link_fault_drop_every(two.edge.link, 0);
    turn_for((struct end *[]){BOTH(&two)}, 2, 700);
    uint64_t said = two.edge.said;
    while (say_sized(&two.edge, LINK_CREDITED, 100) == LINK_QUEUED)
        continue;
    assert_in_range(two.edge.said - said, 256 * 1024 / 101 - 1, 256 * 1024 / 101);
    close_two(&two);
}

/* --- threads ------------------------------------------------------------------------- */

static void *turn_until_stopped(void *argument)
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
    assert_int_equal(pthread_create(&thread, NULL, turn_until_stopped, &two.router), 0);
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

/* Both ends and ZeroMQ's threads. Nobody spins: that would be counted too. */
static void tells_its_speed(void **state)
{
    (void)state;
    for (int curve = 0; curve < 2; curve++) {
        struct two two;
        open_two(&two, curve, WINDOW);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, turn_until_stopped, &two.router), 0);
        AWAIT(two.edge.up, &two.edge);
        const uint64_t frames = 640000;
        double begin = cpu_seconds();
        while (two.edge.said < frames) {
            int i = 0;
            while (i < 64 && say_sized(&two.edge, LINK_CREDITED, 100) == LINK_QUEUED)
                i++;
            loop_turn(two.edge.loop, i < 64 ? 100 : 0);
        }
        print_message("%s: %.0f frames per CPU second, both ends\n", curve ? "CURVE" : "clear",
                      (double)frames / (cpu_seconds() - begin));
        loop_stop(two.router.loop);
        assert_int_equal(pthread_join(thread, NULL), 0);
        AWAIT(two.router.heard == two.edge.said, BOTH(&two));
        assert_int_equal(two.router.disorder + two.router.skipped, 0);
        close_two(&two);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_once_and_in_order_in_the_clear),
        cmocka_unit_test(frames_arrive_once_and_in_order_under_curve),
        cmocka_unit_test(an_echo_inside_on_frame_comes_back),
        cmocka_unit_test(a_flush_sends_and_then_reads_without_the_end_of_a_turn),
        cmocka_unit_test(one_that_never_pauses_takes_no_other_ones_turns),
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
        cmocka_unit_test(bytes_that_are_no_batch_are_counted_and_do_nothing),
        cmocka_unit_test(a_link_answers_those_who_mean_another_incarnation),
        cmocka_unit_test(losing_every_hundredth_batch_leaks_no_credit),
        cmocka_unit_test(two_threads_talk),
        cmocka_unit_test(tells_its_speed),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
