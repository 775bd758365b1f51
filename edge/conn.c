#include "edge/conn.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/wheel.h"
#include "edge/acceptor.h"
#include "edge/edge_metrics.h"
#include "edge/stream.h"
#include "proto/client.pb-c.h"
#include "proto/indices.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* An epoll key is the slot and the lower bits of the generation. A slot is not reused within a
 * turn, so these are plenty to know a late event by. */
#define SLOT_BITS 24u
#define KEY_GENERATION_MASK 0xffffffu

/* A step of a handshake can cost 170 us of CPU: more of them wait for the next turn, and nobody
 * else does. */
#define HANDSHAKES_A_TURN 16u
#define TICK_MS 50u
#define FULL_NOTICE_MAX 128u
#define WATCHED_EDGES 0x80u /* told of changes only */
#define FULL_RECONNECT_MS 5000u

enum conn_state { CONN_FREE, CONN_HANDSHAKE, CONN_OPEN, CONN_CLOSED };

/* One for each client: every byte here is paid a million times. */
struct conn {
    struct buf out;              /* not yet written */
    struct buf in;               /* left over by on_bytes */
    struct wheel_timer deadline; /* of the handshake; once open, of a blocked peer's progress */
    struct stream stream;
    uint32_t slot;
    uint32_t generation;
    uint8_t listener;
    uint8_t state;
    uint8_t reason; /* why it is CLOSED */
    bool opened;
    bool touched;    /* is in table->touched */
    bool blocked;    /* not all of `out` could be written */
    uint8_t watched; /* EPOLLIN, EPOLLOUT, WATCHED_EDGES */
};

static_assert(sizeof(struct conn) <= 112, "a conn must stay small");

struct conn_table {
    struct loop *loop;
    struct metrics *metrics;
    const struct conn_events *events;
    void *ctx;
    struct conn_options options;
    struct tls *tls;
    struct wheel *wheel;
    struct pool conns;
    uint32_t source;
    uint32_t last_generation;
    uint32_t handshakes_left; /* in this turn */
    uint64_t queued;          /* bytes in all `out` */

    struct indices touched; /* slots of conns that the end of the turn must look at */
    uint64_t ended_us;      /* the turn, by its time, whose end has been dealt with */

    struct acceptor *acceptor;
    size_t full_notice_len;
    uint8_t full_notice[FULL_NOTICE_MAX];
    uint8_t *bytes; /* room for what a conn had left over and one read */
};

static struct conn *conn_at(struct conn_table *table, uint32_t slot)
{
    return pool_at(&table->conns, slot);
}

static struct conn *find(struct conn_table *table, struct conn_id id)
{
    if (id.generation == 0 || id.slot >= table->conns.used_high)
        return NULL;
    struct conn *conn = conn_at(table, id.slot);
    return conn->generation == id.generation && conn->state == CONN_OPEN ? conn : NULL;
}

static struct conn_id id_of(const struct conn *conn)
{
    return (struct conn_id){conn->slot, conn->generation};
}

static void touch(struct conn_table *table, struct conn *conn)
{
    if (conn->touched)
        return;
    conn->touched = true;
    indices_add(&table->touched, conn->slot);
    /* Somebody who ends the turn after us, or who is outside of any turn, must not wait for the
     * next event. */
    if (table->ended_us == loop_now_us(table->loop))
        loop_again(table->loop);
}

static uint64_t key_of(const struct conn *conn)
{
    return (uint64_t)conn->slot | (uint64_t)(conn->generation & KEY_GENERATION_MASK) << SLOT_BITS;
}

static uint32_t events_of(const struct conn *conn)
{
    uint32_t events = conn->watched & (EPOLLIN | EPOLLOUT);
    return conn->watched & WATCHED_EDGES ? events | EPOLLRDHUP | EPOLLET : events;
}

/* As if it had not been told of yet, what there is now is told in the next turn. */
static void rewatch(struct conn_table *table, struct conn *conn)
{
    loop_rewatch(table->loop, conn->stream.fd, table->source, key_of(conn), events_of(conn));
}

/* Only for what TLS can go on with: a peer that keeps it waiting for the other must not make us
 * spin. */
static void watch(struct conn_table *table, struct conn *conn)
{
    uint8_t events = conn->stream.reading_writes ? EPOLLOUT : EPOLLIN;
    if (conn->blocked && !conn->stream.writing_reads)
        events |= EPOLLOUT;
    /* Otherwise the kernel would look at each socket twice, once to say that there is something to
     * read and once to find that nothing is left. What only reads knows when it has not read all.
     */
    if (conn->state == CONN_OPEN && !conn->stream.reading_writes && !conn->blocked)
        events |= WATCHED_EDGES;
    if (events == conn->watched)
        return;
    conn->watched = events;
    rewatch(table, conn);
}

static void begin_close(struct conn_table *table, struct conn *conn, enum end_reason reason)
{
    assert(conn->state == CONN_HANDSHAKE || conn->state == CONN_OPEN);
    conn->state = CONN_CLOSED;
    conn->reason = (uint8_t)reason;
    touch(table, conn);
}

/* ---- writing ---- */

/* Writes what the socket takes of the queue; whether it took anything. Does not watch for more, nor
 * close. */
static enum end_reason write_queue(struct conn_table *table, struct conn *conn, bool *moved)
{
    *moved = false;
    if (buf_len(&conn->out) == 0)
        return END_NONE;
    size_t taken;
    enum end_reason reason =
        stream_write(&conn->stream, table->tls, buf_span(&conn->out), &taken, moved);
    buf_consume(&conn->out, taken, 0);
    table->queued -= taken;
    metrics_add(table->metrics, EDGE_METRIC_WRITES, 1);
    metrics_add(table->metrics, EDGE_METRIC_BYTES_OUT, taken);
    return reason;
}

/* False: nothing moved, though there was something to write. */
static bool flush(struct conn_table *table, struct conn *conn)
{
    bool moved;
    enum end_reason reason = write_queue(table, conn, &moved);
    if (reason != END_NONE) {
        begin_close(table, conn, reason);
        return true;
    }
    conn->blocked = buf_len(&conn->out) > 0;
    watch(table, conn);
    if (!conn->blocked)
        wheel_cancel(table->wheel, &conn->deadline);
    else if (moved || !wheel_pending(&conn->deadline))
        wheel_set(table->wheel, &conn->deadline,
                  loop_now_ms(table->loop) + table->options.progress_ms);
    return moved || !conn->blocked;
}

void conn_send(struct conn_table *table, struct conn_id id, struct span bytes)
{
    struct conn *conn = find(table, id);
    if (conn == NULL || bytes.len == 0)
        return;
    uint32_t limit = table->options.out_bytes_max;
    /* One turn can bring more than the limit for a peer that reads as fast as it can. */
    if (buf_len(&conn->out) + bytes.len > limit && !conn->blocked)
        (void)flush(table, conn);
    if (conn->state != CONN_OPEN)
        return;
    if (buf_len(&conn->out) + bytes.len > limit) {
        begin_close(table, conn, END_SLOW_READER);
        return;
    }
    buf_append(&conn->out, bytes);
    table->queued += bytes.len;
    if (!conn->blocked)
        touch(table, conn);
}

/* ---- closing ---- */

void conn_close(struct conn_table *table, struct conn_id id, enum end_reason reason)
{
    struct conn *conn = find(table, id);
    if (conn != NULL)
        begin_close(table, conn, reason);
}

/* What lies unread when a socket is closed turns its end into a reset, and then the peer may never
 * see what was written last. */
static void end_orderly(struct conn_table *table, int fd)
{
    (void)shutdown(fd, SHUT_WR);
    (void)recv(fd, table->bytes, STREAM_READ_MAX, MSG_DONTWAIT);
    close(fd);
}

/* What nobody reads is not left to the kernel to keep. */
static void end_abruptly(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static void end_socket(struct conn_table *table, struct conn *conn)
{
    bool sound = conn->reason != END_IO_ERROR && conn->reason != END_TLS_FAILED;
    if (sound && conn->opened) {
        bool moved;
        sound = write_queue(table, conn, &moved) == END_NONE;
    }
    bool all = buf_len(&conn->out) == 0;
    if (conn->stream.tls != NULL) {
        if (sound && all && conn->opened)
            tls_say_end(table->tls, conn->stream.tls, conn->stream.fd);
        tls_free_stream(conn->stream.tls);
    }
    if (all)
        end_orderly(table, conn->stream.fd);
    else
        end_abruptly(conn->stream.fd);
}

static void release(struct conn_table *table, struct conn *conn)
{
    wheel_cancel(table->wheel, &conn->deadline);
    buf_free(&conn->in);
    table->queued -= buf_len(&conn->out);
    buf_free(&conn->out);
    conn->state = CONN_FREE;
    pool_give(&table->conns, conn->slot);
    metrics_set(table->metrics, EDGE_METRIC_CONNS, table->conns.in_use);
}

static void finish_close(struct conn_table *table, struct conn *conn)
{
    end_socket(table, conn);
    metrics_add(table->metrics, EDGE_METRIC_ENDED(conn->reason), 1);
    if (conn->opened)
        table->events->on_closed(table->ctx, id_of(conn), conn->reason);
    release(table, conn);
}

static void on_turn_end(void *ctx)
{
    struct conn_table *table = ctx;
    /* on_closed may touch others, so the list grows under our hands. */
    for (uint32_t i = 0; i < table->touched.count; i++) {
        struct conn *conn = conn_at(table, table->touched.at[i]);
        if (conn->state == CONN_OPEN)
            (void)flush(table, conn);
        conn->touched = false;
        if (conn->state == CONN_CLOSED)
            finish_close(table, conn);
    }
    table->touched.count = 0;
    table->handshakes_left = HANDSHAKES_A_TURN;
    table->ended_us = loop_now_us(table->loop);
}

/* ---- reading ---- */

/* Offers what was left over and the `got` bytes that follow it in table->bytes, and keeps what is
 * not used. */
static void offer(struct conn_table *table, struct conn *conn, size_t left, size_t got)
{
    struct span all = {table->bytes, left + got};
    size_t used = table->events->on_bytes(table->ctx, id_of(conn), all);
    assert(used <= all.len);
    if (conn->state != CONN_OPEN)
        return;
    if (all.len - used > table->options.in_bytes_max) {
        begin_close(table, conn, END_BAD_FRAME);
        return;
    }
    if (used == 0) {
        buf_append(&conn->in, span_after(all, left));
        return;
    }
    buf_free(&conn->in);
    if (used < all.len)
        buf_append(&conn->in, span_after(all, used));
}

/* `events`: what the socket was told to be ready for. */
static void read_some(struct conn_table *table, struct conn *conn, uint32_t events)
{
    size_t left = buf_len(&conn->in), got;
    uint8_t *at = table->bytes + left;
    bool drained;
    enum end_reason reason = stream_read(&conn->stream, table->tls, at, &got, &drained);
    if (got > 0) {
        metrics_add(table->metrics, EDGE_METRIC_BYTES_IN, got);
        if (left > 0)
            memcpy(table->bytes, buf_span(&conn->in).at, left);
        offer(table, conn, left, got);
    }
    if (conn->state != CONN_OPEN)
        return;
    bool end_follows = (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0;
    if (reason != END_NONE) {
        begin_close(table, conn, reason);
        return;
    }
    if (conn->watched & WATCHED_EDGES && (!drained || end_follows))
        rewatch(table, conn);
    watch(table, conn);
}

static void open_conn(struct conn_table *table, struct conn *conn)
{
    wheel_cancel(table->wheel, &conn->deadline);
    conn->state = CONN_OPEN;
    conn->opened = true;
    struct conn_from from = {0};
    table->events->on_opened(table->ctx, id_of(conn), conn->listener, &from);
}

static void shake_hands(struct conn_table *table, struct conn *conn)
{
    if (table->handshakes_left == 0)
        return; /* it is still ready in the next turn */
    table->handshakes_left--;
    enum tls_status status = tls_handshake(table->tls, conn->stream.tls, conn->stream.fd, false);
    conn->stream.reading_writes = status == TLS_WANT_WRITE;
    switch (status) {
    case TLS_OK:
        metrics_add(table->metrics, EDGE_METRIC_HANDSHAKES, 1);
        open_conn(table, conn);
        /* What came with the end of the handshake is no longer in the socket. */
        if (conn->state == CONN_OPEN)
            read_some(table, conn, 0);
        break;
    case TLS_WANT_READ:
    case TLS_WANT_WRITE:
        watch(table, conn);
        break;
    case TLS_ENDED:
        begin_close(table, conn, END_PEER_LEFT);
        break;
    case TLS_BROKEN:
        begin_close(table, conn, END_IO_ERROR);
        break;
    case TLS_FAILED:
        begin_close(table, conn, END_TLS_FAILED);
        break;
    }
}

static void on_conn_ready(void *ctx, uint64_t key, uint32_t events)
{
    struct conn_table *table = ctx;
    uint32_t slot = (uint32_t)(key & ((1u << SLOT_BITS) - 1));
    assert(slot < table->conns.used_high);
    struct conn *conn = conn_at(table, slot);
    if ((conn->generation & KEY_GENERATION_MASK) != key >> SLOT_BITS)
        return;

    if (conn->state == CONN_HANDSHAKE) {
        shake_hands(table, conn);
        return;
    }
    if (conn->state == CONN_OPEN && (events & ~(uint32_t)EPOLLOUT || conn->stream.reading_writes))
        read_some(table, conn, events);
    /* TLS may have waited for a read before it could write. */
    if (conn->state == CONN_OPEN && conn->blocked &&
        (events & EPOLLOUT || conn->stream.tls != NULL))
        touch(table, conn);
}

/* ---- accepting ---- */

static void turn_away(struct conn_table *table, int fd, bool tls)
{
    if (!tls)
        (void)send(fd, table->full_notice, table->full_notice_len, MSG_NOSIGNAL);
    end_orderly(table, fd);
    metrics_add(table->metrics, EDGE_METRIC_ENDED(END_EDGE_FULL), 1);
}

static void on_socket(void *ctx, uint32_t listener, bool tls, int fd)
{
    struct conn_table *table = ctx;
    metrics_add(table->metrics, EDGE_METRIC_ACCEPTED, 1);
    /* The kernel gives the lowest number that is free. */
    bool fds_full = table->options.fd_max != 0 && (uint32_t)fd >= table->options.fd_max;
    uint32_t slot = fds_full ? POOL_NONE : pool_take(&table->conns);
    if (slot == POOL_NONE) {
        turn_away(table, fd, tls);
        return;
    }
    struct conn *conn = conn_at(table, slot);
    if (++table->last_generation == 0)
        table->last_generation = 1;
    conn->generation = table->last_generation;
    conn->slot = slot;
    conn->stream.fd = fd;
    conn->listener = (uint8_t)listener;
    conn->watched = tls ? EPOLLIN : EPOLLIN | WATCHED_EDGES;
    if (!loop_watch(table->loop, fd, table->source, key_of(conn), events_of(conn)) ||
        (tls && (conn->stream.tls = tls_stream(table->tls)) == NULL)) {
        release(table, conn);
        turn_away(table, fd, tls);
        return;
    }
    metrics_set(table->metrics, EDGE_METRIC_CONNS, table->conns.in_use);
    if (tls) {
        conn->state = CONN_HANDSHAKE;
        wheel_set(table->wheel, &conn->deadline,
                  loop_now_ms(table->loop) + table->options.handshake_ms);
    } else {
        open_conn(table, conn);
    }
}

uint32_t conn_table_listen(struct conn_table *table, const char *address)
{
    struct acceptor_address parsed;
    if (!acceptor_parse(address, &parsed))
        log_die("%s is no address to listen on; write tcp://HOST:PORT or tls://HOST:PORT with a "
                "numeric host, as in tcp://0.0.0.0:7700 or tls://[::]:7701",
                address);
    if (parsed.tls && table->tls == NULL)
        log_die("%s needs a TLS certificate and key, and none are configured", address);
    return acceptor_listen(table->acceptor, &parsed, address, table->options.sndbuf_bytes);
}

uint16_t conn_table_port(const struct conn_table *table, uint32_t listener)
{
    return acceptor_port(table->acceptor, listener);
}

bool conn_address_valid(const char *address)
{
    struct acceptor_address parsed;
    return acceptor_parse(address, &parsed);
}

void conn_table_stop_accepting(struct conn_table *table)
{
    acceptor_stop(table->acceptor);
}

/* ---- the table ---- */

static void on_tick(void *ctx)
{
    struct conn_table *table = ctx;
    uint64_t now_ms = loop_now_ms(table->loop);
    acceptor_tick(table->acceptor);
    struct wheel_timer *due;
    while ((due = wheel_expire(table->wheel, now_ms)) != NULL) {
        struct conn *conn =
            (struct conn *)(void *)((uint8_t *)due - offsetof(struct conn, deadline));
        if (conn->state == CONN_HANDSHAKE)
            begin_close(table, conn, END_TLS_TIMEOUT);
        else if (conn->state == CONN_OPEN && !flush(table, conn))
            begin_close(table, conn, END_SLOW_READER);
    }
}

static void make_full_notice(struct conn_table *table)
{
    Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
    error.reason = END_EDGE_FULL;
    error.reconnect_after_ms = FULL_RECONNECT_MS;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_ERROR;
    frame.error = &error;
    size_t len = lahar__v1__server_frame__get_packed_size(&frame);
    assert(len < FULL_NOTICE_MAX); /* so that its length takes one byte */
    table->full_notice[0] = (uint8_t)len;
    table->full_notice_len = 1 + lahar__v1__server_frame__pack(&frame, table->full_notice + 1);
}

struct conn_table *conn_table_new(struct loop *loop, const struct conn_options *options,
                                  struct metrics *metrics, const struct conn_events *events,
                                  void *ctx)
{
    assert(options->conns_max > 0 && options->conns_max <= 1u << SLOT_BITS);
    assert(options->out_bytes_max > 0 && options->in_bytes_max > 0);
    struct conn_table *table = calloc(1, sizeof *table);
    assert(table != NULL);
    table->loop = loop;
    table->options = *options;
    table->metrics = metrics;
    table->events = events;
    table->ctx = ctx;
    if (options->certs != NULL)
        table->tls = tls_new(options->certs);
    table->options.certs = NULL; /* tls holds them, and may get others */
    table->wheel = wheel_new(loop_now_ms(loop));
    pool_init(&table->conns, sizeof(struct conn), options->conns_max);
    table->bytes = malloc((size_t)options->in_bytes_max + STREAM_READ_MAX);
    assert(table->bytes != NULL);
    table->handshakes_left = HANDSHAKES_A_TURN;
    make_full_notice(table);
    metrics_set(metrics, EDGE_METRIC_CONNS_LIMIT, options->conns_max);

    table->source = loop_source(loop, on_conn_ready, table);
    table->acceptor = acceptor_new(loop, metrics, on_socket, table);
    loop_every(loop, TICK_MS, on_tick, table);
    loop_at_turn_end(loop, on_turn_end, table);
    return table;
}

void conn_table_free(struct conn_table *table)
{
    if (table == NULL)
        return;
    acceptor_free(table->acceptor);
    for (uint32_t slot = 0; slot < table->conns.used_high; slot++) {
        struct conn *conn = conn_at(table, slot);
        if (conn->state == CONN_FREE)
            continue;
        tls_free_stream(conn->stream.tls);
        close(conn->stream.fd);
        release(table, conn);
    }
    pool_free(&table->conns);
    wheel_free(table->wheel);
    tls_free(table->tls);
    free(table->touched.at);
    free(table->bytes);
    free(table);
}

void conn_table_set_certs(struct conn_table *table, struct certs *certs)
{
    if (table->tls != NULL)
        tls_set_certs(table->tls, certs);
}

const char *conn_peer(struct conn_table *table, struct conn_id id, char out[64])
{
    struct sockaddr_storage at = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof at;
    const struct conn *conn = find(table, id);
    if (conn != NULL)
        (void)getpeername(conn->stream.fd, (struct sockaddr *)&at, &len);
    acceptor_format(&at, out);
    return out;
}

uint64_t conn_queued(const struct conn_table *table)
{
    return table->queued;
}

uint32_t conn_count(const struct conn_table *table)
{
    return table->conns.in_use;
}
