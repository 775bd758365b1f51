#include "base/log.h"
#include "base/rand.h"
#include "edge/conn_table.h"
#include "proto/client.pb-c.h"

#include <errno.h>

#define NOTICE_BYTES_MAX WS_UPGRADE_ANSWER_SIZE_MAX
/* A client's half of a handshake has some hundred bytes, with keys of the days to come 2 KiB. */
#define HANDSHAKE_BYTES_MAX 16384u
/* A step of a handshake costs 170 us of CPU, with what is cold then 300. In a turn there may be
 * two, and as many more as take a third of it: so they hold nobody up for long, and get on however
 * busy the others keep us. */
#define STEPS_A_TURN 2u
#define STEPS_A_TURN_MAX 16u
#define STEP_SHARE_US 600u
/* With more in the queue nobody who speaks TLS is accepted. */
#define WAITING_ENOUGH 16u
#define RECONNECT_MS 5000u /* what who is turned away is told */

/* ---- turning away ---- */

/* Counts it under the limit. */
static enum end_reason refused(struct conn_table *table, enum limit limit)
{
    if (table->options.limits != NULL)
        limits_refused(table->options.limits, limit);
    return limits_end(limit);
}

/* What a client is told that does not get in, in clear on a socket of its kind. Returns its length;
 * 0: nothing can be said. */
static size_t make_notice(const struct conn_table *table, uint32_t layers, enum end_reason reason,
                          uint8_t out[NOTICE_BYTES_MAX])
{
    if (layers & ACCEPTOR_WS)
        return ws_upgrade_refusal_write(out, WS_UPGRADE_FULL);
    Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
    error.reason = reason;
    error.reconnect_after_ms = table->options.limits == NULL
                                   ? RECONNECT_MS
                                   : limits_retry_ms(table->options.limits, rand_u64());
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_ERROR;
    frame.error = &error;
    size_t len = lahar__v1__server_frame__get_packed_size(&frame);
    assert(len < 128); /* so that its length takes one byte */
    out[0] = (uint8_t)len;
    return 1 + lahar__v1__server_frame__pack(&frame, out + 1);
}

static void turn_away(struct conn_table *table, const struct acceptor_socket *socket,
                      enum end_reason reason)
{
    /* A balancer's header is still to come, and TLS is worth nobody's time now. */
    if (!(socket->layers & (ACCEPTOR_TLS | ACCEPTOR_PROXY))) {
        uint8_t notice[NOTICE_BYTES_MAX];
        size_t len = make_notice(table, socket->layers, reason, notice);
        (void)send(socket->fd, notice, len, MSG_NOSIGNAL);
    }
    flush_end_orderly(table, socket->fd);
    metrics_add(table->metrics, edge_metrics_ended(reason), 1);
}

/* The same for one that was let in so far. */
static void say_notice(struct conn_table *table, struct conn *conn, enum end_reason reason)
{
    uint32_t layers = acceptor_layers(table->acceptor, conn->listener);
    if (layers & ACCEPTOR_TLS)
        return;
    uint8_t notice[NOTICE_BYTES_MAX];
    size_t len = make_notice(table, layers, reason, notice);
    flush_append(table, conn, span_of(notice, len));
}

/* ---- becoming open ---- */

static void open_conn(struct conn_table *table, struct conn *conn, uint32_t origin)
{
    const struct websock *ws = conn_websock(table, conn);
    uint32_t now_ms = (uint32_t)loop_now_ms(table->loop);
    struct conn_from from = {.origin = origin,
                             .address = conn->address,
                             .waited_ms = ws != NULL ? now_ms - ws->began_ms : 0};
    wheel_cancel(table->wheel, &conn->deadline);
    conn->state = CONN_OPEN;
    conn->opened = true;
    table->entering--;
    table->events->on_opened(table->ctx, conn_id_of(conn), conn->listener, &from);
}

static void deadline(struct conn_table *table, struct conn *conn, uint32_t ms)
{
    wheel_set(table->wheel, &conn->deadline, loop_now_ms(table->loop) + ms);
}

/* What comes after all that is below us: the upgrade, or our frames. */
static void begin_speaking(struct conn_table *table, struct conn *conn)
{
    if (!(acceptor_layers(table->acceptor, conn->listener) & ACCEPTOR_WS)) {
        open_conn(table, conn, 0);
        return;
    }
    conn->ws = pool_take(&table->websocks);
    assert(conn->ws != POOL_NONE); /* there is one for each conn */
    conn_websock(table, conn)->began_ms = (uint32_t)loop_now_ms(table->loop);
    conn->state = CONN_UPGRADE;
    deadline(table, conn, table->options.hello_ms);
}

/* From the client itself from here on. */
static void begin_below(struct conn_table *table, struct conn *conn)
{
    if (!(acceptor_layers(table->acceptor, conn->listener) & ACCEPTOR_TLS)) {
        begin_speaking(table, conn);
        return;
    }
    conn->stream.tls = tls_stream(table->tls);
    conn->state = CONN_HANDSHAKE;
    if (conn->stream.tls == NULL)
        conn_begin_close(table, conn, END_EDGE_FULL);
    else if (!wheel_pending(&conn->deadline)) /* else it had to send a PROXY header in this time */
        deadline(table, conn, table->options.handshake_ms);
}

/* ---- the upgrade ---- */

static void refuse_upgrade(struct conn_table *table, struct conn *conn,
                           enum ws_upgrade_outcome outcome, enum end_reason reason)
{
    uint8_t text[WS_UPGRADE_ANSWER_SIZE_MAX];
    size_t len = ws_upgrade_refusal_write(text, outcome);
    flush_append(table, conn, span_of(text, len));
    conn_begin_close(table, conn, reason);
    metrics_add(table->metrics, EDGE_METRIC_UPGRADE(outcome), 1);
    log_debug("upgrade_refused", LOG_TEXT("why", ws_upgrade_label(outcome)));
}

/* Whether pages of that origin may come in at all; if not it has been told. */
static bool check_origin(struct conn_table *table, struct conn *conn, struct span origin,
                         uint32_t *number)
{
    *number = 0;
    if (origin.len == 0 || table->events->origin == NULL)
        return true;
    *number = table->events->origin(table->ctx, origin);
    if (*number == 0)
        refuse_upgrade(table, conn, WS_UPGRADE_ORIGIN_REFUSED, END_ORIGIN_REFUSED);
    else if (*number == CONN_ORIGIN_LATER)
        refuse_upgrade(table, conn, WS_UPGRADE_FULL, END_BUSY);
    return !conn_ended(conn);
}

/* `len` bytes of a request lie in table->bytes. */
static void take_request(struct conn_table *table, struct conn *conn, size_t len)
{
    struct websock *ws = conn_websock(table, conn);
    struct span head = {table->bytes, len};
    struct ws_upgrade request;
    uint32_t origin;
    enum ws_upgrade_outcome outcome = ws_upgrade_parse(head, &request);
    if (outcome == WS_UPGRADE_PARTIAL) {
        buf_append(&conn->in, span_after(head, buf_len(&conn->in)));
        return;
    }
    if (outcome != WS_UPGRADE_OK) {
        refuse_upgrade(table, conn, outcome, END_UPGRADE_REFUSED);
        return;
    }
    if (!check_origin(table, conn, request.origin, &origin))
        return;
    buf_free(&conn->in);
    websock_welcome(ws, &request, &conn->out);
    table->out_bytes += buf_len(&conn->out);
    metrics_add(table->metrics, EDGE_METRIC_UPGRADES, 1);
    conn_touch(table, conn);
    open_conn(table, conn, origin);
    /* A client may be so sure of the answer that it does not await it. */
    if (conn->state == CONN_OPEN && request.size < len)
        conn_take_raw(table, conn, table->bytes + request.size, 0, len - request.size);
}

static void read_upgrade(struct conn_table *table, struct conn *conn)
{
    size_t left = buf_len(&conn->in), got;
    bool drained;
    enum end_reason reason =
        stream_read(&conn->stream, table->tls, table->bytes + left, &got, &drained);
    if (got > 0) {
        metrics_add(table->metrics, EDGE_METRIC_BYTES_IN, got);
        if (left > 0)
            memcpy(table->bytes, buf_span(&conn->in).at, left);
        take_request(table, conn, left + got);
    }
    if (conn_ended(conn))
        return;
    if (reason != END_NONE)
        conn_begin_close(table, conn, reason);
    else
        conn_watch(table, conn);
}

/* ---- TLS ---- */

/* OpenSSL would keep a first message of 128 KiB, and room for as much again. */
static bool takes_too_much(const struct conn_table *table, struct conn *conn)
{
    size_t shaken = conn->shaken + tls_fetched(table->tls);
    conn->shaken = (uint16_t)(shaken < UINT16_MAX ? shaken : UINT16_MAX);
    return shaken > HANDSHAKE_BYTES_MAX;
}

/* Who must wait is not watched meanwhile: a crowd of those who are ready would keep the others from
 * being told of. */
static bool may_shake(struct conn_table *table, struct conn *conn)
{
    if (conn->called) {
        conn->called = false;
        return true;
    }
    if (table->handshakes_left > 0) {
        table->handshakes_left--;
        return true;
    }
    if (!conn->waits) {
        conn->waits = true;
        indices_add(&table->waiting, conn->slot);
        conn->watched = 0;
        /* The end is told all the same, as a change once and not in each turn. */
        loop_rewatch(table->loop, conn->stream.fd, table->source, conn_key(conn),
                     EPOLLRDHUP | EPOLLET);
    }
    return false;
}

/* The next one in the queue; NULL: nobody waits. A slot may have got another conn since. */
static struct conn *next_waiting(struct conn_table *table)
{
    while (table->waiting_from < table->waiting.count) {
        struct conn *conn = conn_at(table, table->waiting.at[table->waiting_from++]);
        if (conn->waits && conn->state == CONN_HANDSHAKE)
            return conn;
    }
    return NULL;
}

void entry_turn_end(struct conn_table *table)
{
    uint64_t steps = STEPS_A_TURN + loop_spent_us(table->loop) / STEP_SHARE_US;
    uint32_t left = steps < STEPS_A_TURN_MAX ? (uint32_t)steps : STEPS_A_TURN_MAX;
    struct conn *conn;
    while (left > 0 && (conn = next_waiting(table)) != NULL) {
        conn->waits = false;
        conn->called = true;
        conn_watch(table, conn);
        left--;
    }
    /* Who comes while others wait waits, too. */
    table->handshakes_left = left;
    struct indices *waiting = &table->waiting;
    acceptor_hold_tls(table->acceptor, waiting->count - table->waiting_from > WAITING_ENOUGH);
    if (table->waiting_from > waiting->count / 2) {
        waiting->count -= table->waiting_from;
        memmove(waiting->at, waiting->at + table->waiting_from,
                waiting->count * sizeof *waiting->at);
        table->waiting_from = 0;
    }
}

static void shake_hands(struct conn_table *table, struct conn *conn)
{
    if (conn->waits) {
        /* It is watched for nothing but its end. */
        conn_begin_close(table, conn, END_PEER_LEFT);
        return;
    }
    if (!may_shake(table, conn))
        return;
    bool http = acceptor_layers(table->acceptor, conn->listener) & ACCEPTOR_WS;
    enum tls_status status = tls_handshake(table->tls, conn->stream.tls, conn->stream.fd, http);
    conn->stream.reading_writes = status == TLS_WANT_WRITE;
    if (takes_too_much(table, conn) && status == TLS_WANT_READ)
        status = TLS_FAILED;
    switch (status) {
    case TLS_OK:
        metrics_add(table->metrics, EDGE_METRIC_HANDSHAKES, 1);
        begin_speaking(table, conn);
        /* What came with the end of the handshake is no longer in the socket. */
        if (conn->state == CONN_OPEN)
            conn_read(table, conn, 0);
        else if (conn->state == CONN_UPGRADE)
            read_upgrade(table, conn);
        break;
    case TLS_WANT_READ:
    case TLS_WANT_WRITE:
        conn_watch(table, conn);
        break;
    case TLS_ENDED:
        conn_begin_close(table, conn, END_PEER_LEFT);
        break;
    case TLS_BROKEN:
        conn_begin_close(table, conn, END_IO_ERROR);
        break;
    case TLS_FAILED:
        conn_begin_close(table, conn, END_TLS_FAILED);
        break;
    }
}

/* ---- who may come in ---- */

/* The address first: what one asks too much is not taken from what is for all. `from`: NULL if it
 * is not known. */
static enum limit let_in(struct conn_table *table, const struct sockaddr_storage *from,
                         uint32_t layers, uint32_t *address)
{
    struct limits *limits = table->options.limits;
    enum limit limit = LIMIT_NONE;
    if (limits == NULL)
        return LIMIT_NONE;
    limits_time(limits, loop_now_ms(table->loop));
    if (from != NULL)
        limit = limits_enter(limits, (const struct sockaddr *)from, address);
    if (limit == LIMIT_NONE)
        limit = limits_accept(limits);
    if (limit == LIMIT_NONE && layers & ACCEPTOR_TLS)
        limit = limits_handshake(limits);
    if (limit != LIMIT_NONE)
        limits_leave(limits, *address);
    return limit;
}

/* ---- the PROXY header ---- */

/* `from`: NULL if the balancer could not say. */
static void come_from(struct conn_table *table, struct conn *conn,
                      const struct sockaddr_storage *from)
{
    uint32_t address = LIMITS_NOBODY;
    enum limit limit =
        let_in(table, from, acceptor_layers(table->acceptor, conn->listener), &address);
    if (limit != LIMIT_NONE) {
        say_notice(table, conn, limits_end(limit));
        conn_begin_close(table, conn, limits_end(limit));
        return;
    }
    conn->address = address;
    conn->entered = table->options.limits != NULL;
    begin_below(table, conn);
    if (!conn_ended(conn))
        conn_watch(table, conn);
}

/* Exactly what is left of it: what follows is not ours to read here, it may be TLS's. */
static void read_proxy(struct conn_table *table, struct conn *conn)
{
    for (;;) {
        size_t needed;
        struct sockaddr_storage from;
        enum proxy_status status = proxy_read(buf_span(&conn->in), &needed, &from);
        if (status == PROXY_INVALID) {
            conn_begin_close(table, conn, END_PROXY_FAILED);
            return;
        }
        if (status != PROXY_PARTIAL) {
            buf_free(&conn->in);
            come_from(table, conn, status == PROXY_CLIENT ? &from : NULL);
            return;
        }
        size_t missing = needed - buf_len(&conn->in);
        ssize_t got = recv(conn->stream.fd, buf_reserve(&conn->in, missing), missing, 0);
        if (got > 0) {
            buf_commit(&conn->in, (size_t)got);
            continue;
        }
        if (got == 0)
            conn_begin_close(table, conn, END_PEER_LEFT);
        else if (errno != EAGAIN && errno != EINTR)
            conn_begin_close(table, conn, errno == ECONNRESET ? END_PEER_LEFT : END_IO_ERROR);
        return;
    }
}

static bool may_be_proxy(const struct conn_table *table, const struct sockaddr_storage *from)
{
    for (uint32_t i = 0; i < table->options.proxy_count; i++)
        if (proxy_net_has(&table->proxies[i], (const struct sockaddr *)from))
            return true;
    return false;
}

/* ---- the way in ---- */

/* END_NONE: come in. What is cheapest to ask is asked first. */
static enum end_reason judge(struct conn_table *table, const struct acceptor_socket *socket,
                             uint32_t *address)
{
    if (socket->layers & ACCEPTOR_PROXY && !may_be_proxy(table, &socket->from))
        return END_PROXY_UNLISTED;
    /* The kernel gives the lowest number that is free. */
    if (table->options.fd_max != 0 && (uint32_t)socket->fd >= table->options.fd_max)
        return refused(table, LIMIT_DESCRIPTORS);
    if (table->conns.in_use == table->options.conns_max)
        return refused(table, LIMIT_CONNECTIONS);
    if (socket->layers & ACCEPTOR_PROXY)
        return END_NONE; /* until it is known who it is */
    enum limit limit = let_in(table, &socket->from, socket->layers, address);
    return limit == LIMIT_NONE ? END_NONE : limits_end(limit);
}

/* NULL: it cannot be watched. */
static struct conn *take_in(struct conn_table *table, const struct acceptor_socket *socket,
                            uint32_t address)
{
    uint32_t slot = pool_take(&table->conns);
    assert(slot != POOL_NONE);
    struct conn *conn = conn_at(table, slot);
    if (++table->last_generation == 0)
        table->last_generation = 1;
    conn->generation = table->last_generation;
    conn->slot = slot;
    conn->ws = POOL_NONE;
    table->entering++;
    conn->stream.fd = socket->fd;
    conn->address = address;
    conn->entered = table->options.limits != NULL && !(socket->layers & ACCEPTOR_PROXY);
    conn->listener = (uint8_t)socket->listener;
    conn->watched = socket->layers == 0 ? EPOLLIN | CONN_WATCHED_EDGES : EPOLLIN;
    metrics_set(table->metrics, EDGE_METRIC_CONNS, table->conns.in_use);
    if (loop_watch(table->loop, socket->fd, table->source, conn_key(conn), conn_epoll_events(conn)))
        return conn;
    conn_release(table, conn);
    return NULL;
}

void entry_socket(void *ctx, const struct acceptor_socket *socket)
{
    struct conn_table *table = ctx;
    metrics_add(table->metrics, EDGE_METRIC_ACCEPTED, 1);
    table->newest_fd = (uint32_t)socket->fd;
    uint32_t address = LIMITS_NOBODY;
    enum end_reason reason = judge(table, socket, &address);
    struct conn *conn = reason == END_NONE ? take_in(table, socket, address) : NULL;
    if (conn == NULL) {
        turn_away(table, socket, reason == END_NONE ? refused(table, LIMIT_DESCRIPTORS) : reason);
    } else if (socket->layers & ACCEPTOR_PROXY) {
        conn->state = CONN_PROXY;
        deadline(table, conn, table->options.handshake_ms);
    } else {
        begin_below(table, conn);
    }
}

void entry_ready(struct conn_table *table, struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_PROXY:
        read_proxy(table, conn);
        break;
    case CONN_HANDSHAKE:
        shake_hands(table, conn);
        break;
    case CONN_UPGRADE:
        read_upgrade(table, conn);
        break;
    default:
        break;
    }
}

void entry_late(struct conn_table *table, struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_PROXY:
        conn_begin_close(table, conn, END_PROXY_FAILED);
        break;
    case CONN_HANDSHAKE:
        conn_begin_close(table, conn, refused(table, LIMIT_HANDSHAKE_MS));
        break;
    case CONN_UPGRADE:
        refuse_upgrade(table, conn, WS_UPGRADE_LATE, refused(table, LIMIT_HELLO_MS));
        break;
    default:
        break;
    }
}
