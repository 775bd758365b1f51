/* conn_world: a table of conns, its loop and its clients in one thread, for test_conn and test_tls.
 * A test pumps turns until what it awaits has come; at its end every conn accepted must have ended
 * once, for one reason, or still be there. */
#ifndef TESTS_CONN_WORLD_H
#define TESTS_CONN_WORLD_H

#include "base/rand.h"
#include "edge/conn.h"
#include "edge/edge_metrics.h"
#include "edge/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000u
#define HEARD_MAX (4u * 1024u * 1024u)
#define CONNS_MAX 64u

enum mode { RECORD, ECHO, WHOLE_LINES, KEEP };

struct world {
    struct loop *loop;
    struct conn_table *table;
    struct metrics_registry *registry;
    struct metrics *metrics;
    struct conn_options options;
    enum mode mode;
    char folder[64], certificate[96], key[96];
    uint32_t tcp, tls, ws, wss; /* listeners */
    /* Those with a PROXY header, if there is a net it may come from. */
    uint32_t tcp_proxied, ws_proxied, tls_proxied;
    struct proxy_net net;
    struct limits_options limits;
    bool limited;    /* by these */
    uint32_t origin; /* what any Origin is known as */

    /* What the events told. */
    uint32_t opened, closed;
    uint32_t last_listener;
    struct conn_from last_from;
    struct conn_id last;
    enum end_reason last_reason;
    size_t offers;
    size_t heard_len;
    uint8_t *heard;
    uint8_t said_when_opened[64];
    size_t said_len;
    enum end_reason close_on_bytes;
    bool send_on_closed; /* to `other` */
    struct conn_id other;
};

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void on_opened(void *ctx, struct conn_id id, uint32_t listener,
                             const struct conn_from *from)
{
    struct world *world = ctx;
    assert_int_not_equal(id.generation, 0);
    assert_true(id.slot < world->options.conns_max);
    world->opened++;
    world->last = id;
    world->last_listener = listener;
    world->last_from = *from;
    if (world->said_len > 0)
        conn_send(world->table, id, span_of(world->said_when_opened, world->said_len));
}

static inline size_t use(struct world *world, struct conn_id id, struct span bytes)
{
    assert_true(world->heard_len + bytes.len <= HEARD_MAX);
    memcpy(world->heard + world->heard_len, bytes.at, bytes.len);
    world->heard_len += bytes.len;
    if (world->mode == ECHO)
        conn_send(world->table, id, bytes);
    return bytes.len;
}

static inline size_t on_bytes(void *ctx, struct conn_id id, struct span bytes)
{
    struct world *world = ctx;
    assert_true(bytes.len > 0);
    world->offers++;
    if (world->close_on_bytes != END_NONE) {
        conn_send(world->table, id, span_text("goodbye"));
        conn_close(world->table, id, world->close_on_bytes);
        conn_send(world->table, id, span_text("never"));
        return bytes.len;
    }
    if (world->mode == KEEP)
        return 0;
    if (world->mode == WHOLE_LINES) {
        const uint8_t *end = memrchr(bytes.at, '\n', bytes.len);
        return end == NULL ? 0 : use(world, id, span_upto(bytes, (size_t)(end - bytes.at) + 1));
    }
    return use(world, id, bytes);
}

static inline void on_closed(void *ctx, struct conn_id id, enum end_reason reason)
{
    struct world *world = ctx;
    world->closed++;
    world->last_reason = reason;
    conn_send(world->table, id, span_text("a stale id")); /* ignored */
    conn_close(world->table, id, END_IDLE);
    if (world->send_on_closed)
        conn_send(world->table, world->other, span_text("it left"));
}

static inline uint32_t on_origin(void *ctx, struct span origin)
{
    const struct world *world = ctx;
    assert_true(origin.len > 0);
    return world->origin;
}

static const struct conn_events events = {on_origin, on_opened, on_bytes, on_closed};

/* ---- the world ---- */

static inline void begin(struct world *world)
{
    world->loop = loop_new();
    world->registry = metrics_registry_new(edge_metrics_table(), EDGE_METRICS);
    world->metrics = metrics_registry_worker(world->registry, "t/0");
    if (world->limited)
        world->options.limits = limits_new(&world->limits, world->metrics);
    world->options.proxies = &world->net;
    world->table = conn_table_new(world->loop, &world->options, world->metrics, &events, world);
    world->tcp = conn_table_listen(world->table, "tcp://127.0.0.1:0");
    world->ws = conn_table_listen(world->table, "ws://127.0.0.1:0");
    if (world->options.proxy_count > 0) {
        world->tcp_proxied = conn_table_listen(world->table, "tcp+proxy://127.0.0.1:0");
        world->ws_proxied = conn_table_listen(world->table, "ws+proxy://127.0.0.1:0");
    }
    if (world->options.certs == NULL)
        return;
    world->tls = conn_table_listen(world->table, "tls://127.0.0.1:0");
    world->wss = conn_table_listen(world->table, "wss://127.0.0.1:0");
    if (world->options.proxy_count > 0)
        world->tls_proxied = conn_table_listen(world->table, "tls+proxy://127.0.0.1:0");
}

static inline struct world *make(void)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->heard = malloc(HEARD_MAX);
    assert_non_null(world->heard);
    world->options = (struct conn_options){.conns_max = CONNS_MAX,
                                           .out_bytes_max = 256 * 1024,
                                           .in_bytes_max = 64 * 1024 + 3,
                                           .progress_ms = 10000,
                                           .handshake_ms = 5000,
                                           .hello_ms = 10000,
                                           .sndbuf_bytes = 0};
    return world;
}

static inline uint64_t count(const struct world *world, size_t metric)
{
    return metrics_get(world->metrics, metric);
}

static inline uint64_t ended(const struct world *world)
{
    uint64_t sum = 0;
    for (size_t reason = 1; reason < END_REASONS; reason++)
        if (reasons_end_known((uint32_t)reason))
            sum += count(world, EDGE_METRIC_ENDED(reason));
    return sum;
}

/* Every test ends with this ledger. */
static inline void end(struct world *world)
{
    assert_int_equal(count(world, EDGE_METRIC_ACCEPTED),
                     ended(world) + count(world, EDGE_METRIC_CONNS));
    assert_int_equal(conn_count(world->table), count(world, EDGE_METRIC_CONNS));
    conn_table_free(world->table);
    loop_free(world->loop);
    if (world->options.limits != NULL)
        limits_free(world->options.limits);
    metrics_registry_free(world->registry);
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    end(world);
    if (world->folder[0] != '\0') {
        unlink(world->certificate);
        unlink(world->key);
        rmdir(world->folder);
    }
    certs_free(world->options.certs);
    free(world->heard);
    free(world);
    return 0;
}

#define AWAIT(world, condition)                                                                    \
    do {                                                                                           \
        uint64_t await_end = now_ms() + WAIT_MS;                                                   \
        while (!(condition)) {                                                                     \
            if (now_ms() > await_end)                                                              \
                fail_msg("never came: %s", #condition);                                            \
            loop_turn((world)->loop, 10);                                                          \
        }                                                                                          \
    } while (0)

static inline void turns(struct world *world, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        loop_turn(world->loop, 5);
}

/* ---- clients ---- */

static inline int dial_port(uint16_t port, int rcvbuf)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (rcvbuf > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    return fd;
}

static inline int dial(struct world *world)
{
    return dial_port(conn_table_port(world->table, world->tcp), 0);
}

static inline int dial_open(struct world *world)
{
    uint32_t opened = world->opened;
    int fd = dial(world);
    AWAIT(world, world->opened == opened + 1);
    return fd;
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `len` bytes or the end have come. Returns how many; -1: the connection was reset. */
static inline ssize_t hear(struct world *world, int fd, uint8_t *at, size_t len)
{
    size_t got = 0;
    uint64_t give_up = now_ms() + WAIT_MS;
    while (got < len) {
        if (now_ms() > give_up)
            fail_msg("%zu of %zu bytes came", got, len);
        ssize_t n = recv(fd, at + got, len - got, 0);
        if (n == 0)
            return (ssize_t)got;
        if (n > 0)
            got += (size_t)n;
        else if (errno == ECONNRESET)
            return -1;
        else
            loop_turn(world->loop, 1);
    }
    return (ssize_t)got;
}

static inline void hears_exactly_then_the_end(struct world *world, int fd, const char *text)
{
    uint8_t got[256];
    assert_int_equal(hear(world, fd, got, sizeof got), strlen(text));
    assert_memory_equal(got, text, strlen(text));
    /* A reset behind the end would cost other systems' clients what they have not read yet. */
    int error = 0;
    socklen_t len = sizeof error;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    assert_int_equal(error, 0);
}

static inline uint8_t *random_bytes(size_t len)
{
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    rand_bytes(bytes, len);
    return bytes;
}

#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)

#endif
