/* worker: the parts together, on real sockets and a real link. Threads: yes. */
#include "edge/worker.h"

#include "base/log.h"
#include "edge/edge_conf.h"
#include "edge/edge_metrics.h"
#include "proto/frame.h"
#include "proto/link.pb-c.h"
#include "tests/limit_expect.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define AWAIT_MS 30000

/* A shard that says what it is told to say, turned by the test; and the worker that it serves. */
struct world {
    struct link_net *shard_net, *edge_net;
    struct loop *loop;
    struct link *link;
    uint32_t ups, downs, last_type, unbinds;
    char edge_name[LINK_NAME_MAX + 1];
    struct conf *conf;
    struct metrics_registry *registry;
    struct metrics *metrics;
    struct ops *ops;
    struct worker *worker;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#define AWAIT(world, condition)                                                                    \
    for (uint64_t end_ = now_ms() + AWAIT_MS; !(condition); loop_turn((world)->loop, 5))           \
        if (now_ms() > end_)                                                                       \
    fail_msg("not in %d s: %s", AWAIT_MS / 1000, #condition)

static void say(struct world *world, uint32_t peer, const Lahar__Link__V1__LinkFrame *frame)
{
    uint8_t bytes[512];
    size_t len = lahar__link__v1__link_frame__get_packed_size(frame);
    assert_true(len < 128);
    bytes[0] = (uint8_t)len;
    lahar__link__v1__link_frame__pack(frame, bytes + 1);
    assert_int_equal(link_send(world->link, peer, LINK_FREE, span_of(bytes, len + 1)), LINK_QUEUED);
}

static void say_number(struct world *world, uint32_t peer)
{
    Lahar__Link__V1__EdgeNumber number = LAHAR__LINK__V1__EDGE_NUMBER__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    number.number = 1;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_NUMBER;
    frame.edge_number = &number;
    say(world, peer, &frame);
}

static void say_owned(struct world *world, uint32_t peer)
{
    Lahar__Link__V1__SlotRun run = LAHAR__LINK__V1__SLOT_RUN__INIT;
    Lahar__Link__V1__SlotRun *runs[] = {&run};
    Lahar__Link__V1__Owned owned = LAHAR__LINK__V1__OWNED__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    run.count = GID_SLOTS;
    run.epoch = 1;
    owned.round = 1;
    owned.n_runs = 1;
    owned.runs = runs;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_OWNED;
    frame.owned = &owned;
    say(world, peer, &frame);
}

static void on_up(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                  struct span name)
{
    struct world *world = ctx;
    (void)peer;
    (void)incarnation;
    assert_int_equal(role, KEYS_EDGE);
    world->ups++;
    snprintf(world->edge_name, sizeof world->edge_name, "%.*s", (int)name.len,
             (const char *)name.at);
}

static void on_frame(void *ctx, uint32_t peer, struct span bytes)
{
    struct world *world = ctx;
    Lahar__Link__V1__LinkFrame *frame =
        lahar__link__v1__link_frame__unpack(NULL, bytes.len, bytes.at);
    assert_non_null(frame);
    world->last_type = frame->frame_case;
    if (frame->frame_case == LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO) {
        if (frame->edge_hello->number == 0)
            say_number(world, peer);
        else
            say_owned(world, peer);
    }
    lahar__link__v1__link_frame__free_unpacked(frame, NULL);
}

static void on_down(void *ctx, uint32_t peer)
{
    struct world *world = ctx;
    (void)peer;
    world->downs++;
}

static struct world *begin_world(const char *shard_name)
{
    static const struct link_events events = {on_up, on_frame, on_down};
    log_set_level(LOG_ERROR);
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->shard_net = link_net_new(&(struct link_net_options){KEYS_ROUTER, false, NULL, 1});
    world->edge_net = link_net_new(&(struct link_net_options){KEYS_EDGE, false, NULL, 1});
    world->loop = loop_new();
    world->link = link_new(world->shard_net, world->loop,
                           &(struct link_options){.name = shard_name,
                                                  .incarnation = 99,
                                                  .window_bytes = 1 << 20,
                                                  .silence_ms = 20000,
                                                  .frames_a_turn = 1000,
                                                  .pending_bytes_max = 1 << 20},
                           &events, world);
    link_bind(world->link, "tcp://127.0.0.1:0");

    char text[512];
    struct conf_error error;
    snprintf(text, sizeof text,
             "cluster: {shards: [\"r1/0=%s\"]}\n"
             "listen: [\"tcp://127.0.0.1:0\"]\n"
             "link: {curve: false, silence_ms: 20000}\n"
             "drain_ms: 100\n",
             link_bound(world->link));
    world->conf = conf_load_text("lahar-edge", edge_conf_keys(), "e.yaml", span_text(text), &error);
    if (world->conf == NULL || !edge_conf_check(world->conf, &error))
        fail_msg("%s", error.text);
    world->registry = metrics_registry_new(edge_metrics_table(), EDGE_METRICS);
    world->metrics = metrics_registry_worker(world->registry, "e1/0");
    world->ops = ops_new("127.0.0.1:0", world->registry, "lahar-edge", "test");
    struct worker_options options = {.conf = world->conf,
                                     .name = "e1/0",
                                     .metrics = world->metrics,
                                     .ops = ops_worker(world->ops, "e1/0")};
    world->worker = worker_new(world->edge_net, &options);
    worker_start(world->worker);
    return world;
}

static void end_world(struct world *world)
{
    worker_leave(world->worker);
    AWAIT(world, worker_done(world->worker));
    worker_free(world->worker);
    ops_free(world->ops);
    metrics_registry_free(world->registry);
    conf_free(world->conf);
    link_free(world->link);
    loop_free(world->loop);
    link_net_free(world->edge_net);
    link_net_free(world->shard_net);
    free(world);
}

static int dial(const struct world *world)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(worker_port(world->worker, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Reads until the peer closes or `len` bytes are there. */
static size_t hear(int fd, uint8_t *at, size_t len)
{
    size_t got = 0;
    while (got < len) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, AWAIT_MS), 1);
        ssize_t n = read(fd, at + got, len - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

static bool ready(const struct world *world)
{
    return metrics_get(world->metrics, EDGE_METRIC_SHARDS_UP) == 1;
}

static void joins_a_shard_under_its_own_name(void **state)
{
    (void)state;
    struct world *world = begin_world("r1/0");
    AWAIT(world, world->last_type == LAHAR__LINK__V1__LINK_FRAME__FRAME_DIGEST);
    assert_int_equal(world->ups, 1);
    assert_string_equal(world->edge_name, "e1/0");
    AWAIT(world, ready(world));
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_LINK_frames_sent) > 0);
    end_world(world);
}

static void does_not_hear_a_shard_that_is_not_the_one_of_the_list(void **state)
{
    (void)state;
    struct world *world = begin_world("r9/9");
    AWAIT(world, world->ups == 1);
    for (uint64_t end = now_ms() + 1500; now_ms() < end;)
        loop_turn(world->loop, 5);
    assert_int_equal(world->last_type, 0); /* not even a hello */
    assert_int_equal(metrics_get(world->metrics, EDGE_METRIC_SHARDS_UP), 0);
    end_world(world);
}

static void a_client_is_answered_over_its_socket(void **state)
{
    (void)state;
    struct world *world = begin_world("r1/0");
    int fd = dial(world);
    const uint8_t ping[] = {4, 4 << 3 | 2, 2, 1 << 3, 7}; /* before Hello */
    assert_int_equal(send(fd, ping, sizeof ping, MSG_NOSIGNAL), sizeof ping);
    uint8_t bytes[512];
    size_t len = hear(fd, bytes, sizeof bytes);
    assert_true(len > 4);
    assert_int_equal(bytes[1], 8 << 3 | 2); /* Error */
    assert_int_equal(bytes[3], 1 << 3);
    assert_int_equal(bytes[4], END_BAD_SEQUENCE);
    close(fd);
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_CLOSED_BAD_SEQUENCE) == 1);
    end_world(world);
}

/* The only shard is loaded as much as can be. */
static void an_overloaded_worker_takes_nobody_new_and_shows_it(void **state)
{
    (void)state;
    struct world *world = begin_world("r1/0");
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_SHARDS_UP) == 1);
    int before = dial(world), fd;
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_CONNS) == 1);
    link_set_load(world->link, 100);
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_LIMIT_NOW_OVERLOAD) == 100 &&
                     metrics_get(world->metrics, EDGE_METRIC_OVERLOAD_CLASS) == 3);
    fd = dial(world);
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_LIMIT_REJECTED_OVERLOAD) == 1);
    EXPECT_LIMIT(world->metrics, EDGE, OVERLOAD, 100, 70, 1);
    EXPECT_LIMIT(world->metrics, EDGE, OVERLOAD_SENDS, 100, 95, 0); /* test_quota sends */
    assert_int_equal(metrics_get(world->metrics, EDGE_METRIC_CONNS), 1);
    close(fd);
    close(before);
    end_world(world);
}

static void leaving_ends_those_who_have_not_logged_in_and_takes_nobody_new(void **state)
{
    (void)state;
    struct world *world = begin_world("r1/0");
    int fd = dial(world);
    AWAIT(world, metrics_get(world->metrics, EDGE_METRIC_CONNS) == 1);
    worker_leave(world->worker);
    uint8_t bytes[512];
    size_t len = hear(fd, bytes, sizeof bytes);
    assert_true(len > 4);
    assert_int_equal(bytes[1], 8 << 3 | 2);
    assert_int_equal(bytes[4], END_EDGE_LEAVING);
    close(fd);
    AWAIT(world, worker_done(world->worker));
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(worker_port(world->worker, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), -1);
    close(fd);
    end_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_a_shard_under_its_own_name),
        cmocka_unit_test(does_not_hear_a_shard_that_is_not_the_one_of_the_list),
        cmocka_unit_test(a_client_is_answered_over_its_socket),
        cmocka_unit_test(an_overloaded_worker_takes_nobody_new_and_shows_it),
        cmocka_unit_test(leaving_ends_those_who_have_not_logged_in_and_takes_nobody_new),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
