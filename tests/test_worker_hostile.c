/* worker_hostile: what hostile clients send, to a worker with its real sockets: each frame whole,
 * cut off anywhere, split in two writes, and rubbish before Hello. Each connection is answered and
 * ended as documented, or left by its client, and when all are gone the descriptors, the
 * connections and the ledgers are where they were. Threads: yes. */
#include "edge/worker.h"

#include "base/log.h"
#include "edge/edge_conf.h"
#include "edge/edge_metrics.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "tests/valid_messages.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define AWAIT_MS 60000

struct world {
    struct link_net *net;
    struct conf *conf;
    struct metrics_registry *registry;
    struct metrics *metrics;
    struct ops *ops;
    struct worker *worker;
    struct valid_messages client, server;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int set_up(void **state)
{
    static const char text[] = "cluster: {shards: [\"r1/0=tcp://127.0.0.1:1\"]}\n"
                               "listen: [\"tcp://127.0.0.1:0\"]\n"
                               "link: {curve: false}\n"
                               "limits: {address_accepts_per_s: 0, address_connections: 0}\n";
    struct conf_error error;
    log_set_level(LOG_ERROR);
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->net = link_net_new(&(struct link_net_options){KEYS_EDGE, false, NULL, 1});
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
    world->worker = worker_new(world->net, &options);
    worker_start(world->worker);
    world->client = valid_messages_of(&lahar__v1__client_frame__descriptor);
    world->server = valid_messages_of(&lahar__v1__server_frame__descriptor);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    worker_leave(world->worker);
    for (uint64_t end = now_ms() + AWAIT_MS; !worker_done(world->worker);) {
        assert_true(now_ms() < end);
        poll(NULL, 0, 5);
    }
    worker_free(world->worker);
    ops_free(world->ops);
    metrics_registry_free(world->registry);
    conf_free(world->conf);
    link_net_free(world->net);
    valid_messages_free(&world->client);
    valid_messages_free(&world->server);
    free(world);
    return 0;
}

static uint64_t descriptors(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static int dial(const struct world *world)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(worker_port(world->worker, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), 0);
    return fd;
}

/* Writes, says that no more comes, and reads to the end: the reason in the Error; 0: there was
 * none. */
static uint32_t say(const struct world *world, const uint8_t *bytes, size_t len, size_t split)
{
    uint8_t heard[4096];
    size_t got = 0;
    int fd = dial(world);
    /* It may have ended before all was written. */
    (void)!send(fd, bytes, split, MSG_NOSIGNAL);
    (void)!send(fd, bytes + split, len - split, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    for (ssize_t n = 1; n > 0 && got<sizeof heard; got += n> 0 ? (size_t)n : 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, AWAIT_MS), 1);
        n = read(fd, heard + got, sizeof heard - got);
    }
    close(fd);
    struct span input = span_of(heard, got), body;
    if (frame_take(&input, FRAME_BODY_SIZE_MAX, &body) != FRAME_READY)
        return 0;
    Lahar__V1__ServerFrame *frame = lahar__v1__server_frame__unpack(NULL, body.len, body.at);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_ERROR);
    uint32_t reason = frame->error->reason;
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_int_equal(input.len, 0);
    return reason;
}

/* Before a login, and with no shard there, all ends in one of these. */
static bool documented(uint32_t reason)
{
    return reason == 0 || reason == END_BAD_FRAME || reason == END_BAD_SEQUENCE ||
           reason == END_BAD_VERSION || reason == END_BAD_DEVICE || reason == END_TOKEN_REQUIRED ||
           reason == END_TOKEN_REFUSED || reason == END_BUSY;
}

static void send_all(struct world *world, const struct valid_messages *messages, size_t step)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct valid_message *message = &messages->list[i];
        uint8_t *bytes = malloc((message->len + 10) * 2);
        assert_non_null(bytes);
        size_t len = valid_varint(bytes, message->len);
        memcpy(bytes + len, message->at, message->len);
        len += message->len;
        uint32_t whole = say(world, bytes, len, len);
        assert_true(documented(whole));
        for (size_t at = i % step; at < len; at += step) {
            assert_int_equal(say(world, bytes, len, at), whole); /* in two writes */
            uint32_t cut = say(world, bytes, at, at);
            assert_int_equal(cut,
                             message->len > FRAME_HELLO_SIZE_MAX && at > 1 ? END_BAD_FRAME : 0);
        }
        free(bytes);
    }
}

static void await_none_left(struct world *world)
{
    for (uint64_t end = now_ms() + AWAIT_MS; metrics_get(world->metrics, EDGE_METRIC_CONNS) > 0;) {
        assert_true(now_ms() < end);
        poll(NULL, 0, 5);
    }
}

static void whatever_comes_over_a_socket_ends_and_leaves_nothing_behind(void **state)
{
    struct world *world = *state;
    (void)say(world, (const uint8_t *)"\0", 1, 1); /* all that comes once is there */
    await_none_left(world);
    uint64_t before = descriptors();
    send_all(world, &world->client, 41);
    send_all(world, &world->server, 97);
    await_none_left(world);
    for (uint64_t end = now_ms() + AWAIT_MS; descriptors() != before;) {
        if (now_ms() > end)
            fail_msg("%llu descriptors, not %llu", (unsigned long long)descriptors(),
                     (unsigned long long)before);
        poll(NULL, 0, 5);
    }
    assert_int_equal(metrics_get(world->metrics, EDGE_METRIC_SENDS), 0);
    assert_int_equal(metrics_get(world->metrics, EDGE_METRIC_LOGINS), 0);
}

static void a_head_over_the_limit_is_answered_at_once(void **state)
{
    struct world *world = *state;
    static const uint8_t heads[][5] = {{0x81, 0x20}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0}};
    static const size_t lens[] = {2, 5, 1};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
        assert_int_equal(say(world, heads[i], lens[i], lens[i]), END_BAD_FRAME);
    await_none_left(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_comes_over_a_socket_ends_and_leaves_nothing_behind,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_head_over_the_limit_is_answered_at_once, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("worker_hostile", tests, NULL, NULL);
}
