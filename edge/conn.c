#include "edge/conn_table.h"

#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

/* An epoll key is the slot and the lower bits of the generation. A slot is not reused within a
 * turn, so these are plenty to know a late event by. */
#define SLOT_BITS 24u
#define KEY_GENERATION_MASK 0xffffffu

#define TICK_MS 50u
/* The end of a TLS stream takes 30 us or more: when a crowd's time is over at once, the others must
 * not wait for the end of all of them. */
#define CLOSES_A_TURN 8u
/* And one for so many who wait: so a hundred thousand are gone within some 2,000 turns. */
#define CLOSES_SHARE 256u
#define SHOW_MS 500u
/* Those who leave too much of messages in part are sought among all conns: this part of the limit
 * is made free at once, so that it is not to be done in each turn. */
#define HALVES_SHARE 8u

struct conn *conn_find(const struct conn_table *table, struct conn_id id)
{
    if (id.generation == 0 || id.slot >= table->conns.used_high)
        return NULL;
    struct conn *conn = conn_at(table, id.slot);
    return conn->generation == id.generation && conn->state == CONN_OPEN ? conn : NULL;
}

void conn_touch(struct conn_table *table, struct conn *conn)
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

uint64_t conn_key(const struct conn *conn)
{
    return (uint64_t)conn->slot | (uint64_t)(conn->generation & KEY_GENERATION_MASK) << SLOT_BITS;
}

uint32_t conn_epoll_events(const struct conn *conn)
{
    uint32_t events = conn->watched & (EPOLLIN | EPOLLOUT);
    return conn->watched & CONN_WATCHED_EDGES ? events | EPOLLRDHUP | EPOLLET : events;
}

/* As if it had not been told of yet, what there is now is told in the next turn. */
static void rewatch(struct conn_table *table, struct conn *conn)
{
    loop_rewatch(table->loop, conn->stream.fd, table->source, conn_key(conn),
                 conn_epoll_events(conn));
}

/* Only for what TLS can go on with: a peer that keeps it waiting for the other must not make us
 * spin. */
void conn_watch(struct conn_table *table, struct conn *conn)
{
    uint8_t events = conn->stream.reading_writes ? EPOLLOUT : EPOLLIN;
    if (conn->blocked && !conn->stream.writing_reads)
        events |= EPOLLOUT;
    /* Otherwise the kernel would look at each socket twice, once to say that there is something to
     * read and once to find that nothing is left. What only reads knows when it has not read all.
     */
    if (conn->state == CONN_OPEN && !conn->stream.reading_writes && !conn->blocked)
        events |= CONN_WATCHED_EDGES;
    if (events == conn->watched)
        return;
    conn->watched = events;
    rewatch(table, conn);
}

static void forget_half(struct conn_table *table, struct conn *conn)
{
    table->in_bytes -= conn->opened ? buf_len(&conn->in) : 0;
    buf_free(&conn->in);
}

void conn_begin_close(struct conn_table *table, struct conn *conn, enum end_reason reason)
{
    assert(!conn_ended(conn));
    conn->state = CONN_CLOSED;
    conn->reason = (uint8_t)reason;
    /* In a crowd its end may be some turns away. */
    forget_half(table, conn);
    conn_touch(table, conn);
}

/* ---- sending and closing ---- */

void conn_send(struct conn_table *table, struct conn_id id, struct span bytes)
{
    struct conn *conn = conn_find(table, id);
    if (conn != NULL && bytes.len > 0)
        flush_send(table, conn, bytes);
}

void conn_close(struct conn_table *table, struct conn_id id, enum end_reason reason)
{
    struct conn *conn = conn_find(table, id);
    if (conn != NULL)
        conn_begin_close(table, conn, reason);
}

void conn_release(struct conn_table *table, struct conn *conn)
{
    wheel_cancel(table->wheel, &conn->deadline);
    forget_half(table, conn);
    flush_forget(table, conn);
    if (conn->ws != POOL_NONE)
        pool_give(&table->websocks, conn->ws);
    table->entering -= conn->opened ? 0 : 1;
    if (conn->entered)
        limits_leave(table->options.limits, conn->address);
    conn->state = CONN_FREE;
    pool_give(&table->conns, conn->slot);
    metrics_set(table->metrics, EDGE_METRIC_CONNS, table->conns.in_use);
}

static void finish_close(struct conn_table *table, struct conn *conn)
{
    flush_end(table, conn);
    metrics_add(table->metrics, edge_metrics_ended(conn->reason), 1);
    if (conn->opened)
        table->events->on_closed(table->ctx, conn_id_of(conn), conn->reason);
    conn_release(table, conn);
}

/* Whoever takes memory as a slow reader goes now; others wait for their turn behind those who do.
 */
static bool must_wait(const struct conn_table *table, const struct conn *conn, uint32_t closes)
{
    return !conn->blocked && (closes == 0 || table->leaving.count > 0);
}

/* Some of those who wait to be closed, first come first served; the more of them, the more. Returns
 * how many more may be closed in this turn. */
static uint32_t close_waiting(struct conn_table *table)
{
    struct indices *leaving = &table->leaving;
    uint32_t closes = CLOSES_A_TURN + (leaving->count - table->left) / CLOSES_SHARE;
    for (; closes > 0 && table->left < leaving->count; closes--) {
        struct conn *conn = conn_at(table, leaving->at[table->left++]);
        conn->touched = false;
        finish_close(table, conn);
    }
    /* Those who have gone leave the list, each time they are half of it. */
    if (table->left > 0 && table->left >= leaving->count - table->left) {
        leaving->count -= table->left;
        memmove(leaving->at, leaving->at + table->left, leaving->count * sizeof *leaving->at);
        table->left = 0;
    }
    return closes;
}

/* The greatest power of two such that halves as long as it or longer have `bytes` together. */
static uint32_t halves_over(const struct conn_table *table, uint64_t bytes)
{
    uint64_t by_bit[32] = {0};
    for (uint32_t slot = 0; slot < table->conns.used_high; slot++) {
        const struct conn *conn = conn_at(table, slot);
        uint32_t len = buf_len(&conn->in);
        if (conn->state == CONN_OPEN && len > 0)
            by_bit[31 - __builtin_clz(len)] += len;
    }
    uint32_t bit = 31;
    for (uint64_t sum = by_bit[bit]; sum < bytes && bit > 0; sum += by_bit[bit])
        bit--;
    return 1u << bit;
}

/* Whoever comes last would otherwise pay for those who hold the most. */
static void shed_halves(struct conn_table *table)
{
    uint64_t limit = table->options.in_bytes_total;
    if (limit == 0 || table->in_bytes <= limit)
        return;
    uint64_t enough = limit - limit / HALVES_SHARE;
    uint32_t least = halves_over(table, table->in_bytes - enough);
    for (uint32_t slot = 0; slot < table->conns.used_high && table->in_bytes > enough; slot++) {
        struct conn *conn = conn_at(table, slot);
        if (conn->state != CONN_OPEN || buf_len(&conn->in) < least)
            continue;
        conn_begin_close(table, conn, END_BUSY);
        metrics_add(table->metrics, EDGE_METRIC_LIMIT_REJECTED(LIMIT_IN_BYTES_TOTAL), 1);
    }
}

static void on_turn_end(void *ctx)
{
    struct conn_table *table = ctx;
    struct indices *touched = &table->touched;
    uint32_t i = 0, closes = close_waiting(table);
    /* on_closed may touch others, so the list grows under our hands. */
    do {
        for (; i < touched->count; i++) {
            struct conn *conn = conn_at(table, touched->at[i]);
            if (conn->state == CONN_OPEN)
                (void)flush_conn(table, conn);
            if (conn->state == CONN_CLOSED && must_wait(table, conn, closes)) {
                indices_add(&table->leaving, conn->slot);
                continue;
            }
            conn->touched = false;
            if (conn->state != CONN_CLOSED)
                continue;
            finish_close(table, conn);
            closes -= closes > 0;
        }
        flush_shed(table);
        shed_halves(table);
    } while (i < touched->count);
    touched->count = 0;
    if (table->leaving.count > 0)
        loop_again(table->loop);
    entry_turn_end(table);
    table->ended_us = loop_now_us(table->loop);
}

/* ---- reading ---- */

/* Offers what was left over and the `got` bytes that follow it in table->bytes, and keeps what is
 * not used. */
static void offer(struct conn_table *table, struct conn *conn, size_t left, size_t got)
{
    struct span all = {table->bytes, left + got};
    size_t used = table->events->on_bytes(table->ctx, conn_id_of(conn), all);
    assert(used <= all.len);
    if (conn->state != CONN_OPEN)
        return;
    if (all.len - used > table->options.in_bytes_max) {
        conn_begin_close(table, conn, END_BAD_FRAME);
        return;
    }
    if (used > 0)
        buf_free(&conn->in);
    buf_append(&conn->in, span_after(all, used > 0 ? used : left));
    table->in_bytes += buf_len(&conn->in) - left;
}

/* ---- WebSocket ---- */

/* Clear bytes that were not used yet: they lie in table->bytes, and grow at their end. */
struct clear {
    uint8_t *at;
    size_t len;
};

/* Offers them; the rest stays. */
static void offer_clear(struct conn_table *table, struct conn *conn, struct clear *clear)
{
    if (clear->len == 0)
        return;
    size_t used =
        table->events->on_bytes(table->ctx, conn_id_of(conn), span_of(clear->at, clear->len));
    assert(used <= clear->len);
    clear->at += used;
    clear->len -= used;
    if (conn->state == CONN_OPEN && clear->len > table->options.in_bytes_max)
        conn_begin_close(table, conn, END_BAD_FRAME);
}

static void add_clear(struct clear *clear, const struct ws_item *piece)
{
    if (clear->len == 0)
        clear->at = piece->at;
    else
        memmove(clear->at + clear->len, piece->at, piece->len);
    clear->len += piece->len;
}

/* False: nothing more is read of this conn. */
static bool take_item(struct conn_table *table, struct conn *conn, struct websock *ws,
                      enum ws_event event, const struct ws_item *item, struct clear *clear)
{
    switch (event) {
    case WS_PIECE:
        add_clear(clear, item);
        if (!item->end)
            break;
        offer_clear(table, conn, clear);
        if (conn->state == CONN_OPEN && clear->len > 0)
            conn_begin_close(table, conn, END_BAD_FRAME); /* half a frame */
        break;
    case WS_PING:
        flush_pong(table, conn, span_of(item->at, item->len));
        break;
    case WS_CLOSE:
        ws->code = item->code;
        conn_begin_close(table, conn, END_PEER_LEFT);
        break;
    case WS_ERROR:
        ws->code = item->code;
        conn_begin_close(table, conn,
                         item->code == WS_CODE_UNSUPPORTED ? END_WS_TEXT : END_WS_BROKEN);
        break;
    case WS_PONG:
    case WS_MORE:
        break;
    }
    return conn->state == CONN_OPEN;
}

/* What was kept already stays where it is: a frame that comes in many pieces is not copied anew for
 * each of them. */
static void keep(struct conn *conn, struct websock *ws, struct span clear, size_t kept,
                 struct span raw)
{
    if (kept == 0)
        buf_free(&conn->in);
    else
        buf_trim(&conn->in, ws->raw_len);
    buf_append(&conn->in, span_after(clear, kept));
    buf_append(&conn->in, raw);
    ws->raw_len = (uint8_t)raw.len;
}

void conn_take_raw(struct conn_table *table, struct conn *conn, uint8_t *at, size_t clear_len,
                   size_t raw_len)
{
    struct websock *ws = conn_websock(table, conn);
    struct clear clear = {at, clear_len};
    uint8_t *raw = at + clear_len;
    for (;;) {
        struct ws_item item;
        size_t used;
        enum ws_event event = ws_read(&ws->reader, raw, raw_len, &used, &item);
        raw += used;
        raw_len -= used;
        if (event == WS_MORE)
            break;
        if (!take_item(table, conn, ws, event, &item, &clear))
            return;
    }
    offer_clear(table, conn, &clear);
    if (conn->state != CONN_OPEN)
        return;
    assert(raw_len <= WS_PENDING_SIZE_MAX);
    size_t before = buf_len(&conn->in);
    keep(conn, ws, span_of(clear.at, clear.len), clear.at == at ? clear_len : 0,
         span_of(raw, raw_len));
    table->in_bytes += buf_len(&conn->in) - before;
}

/* `left` bytes that were kept and `got` new ones lie in table->bytes. */
static void take(struct conn_table *table, struct conn *conn, size_t left, size_t got)
{
    const struct websock *ws = conn_websock(table, conn);
    if (ws == NULL)
        offer(table, conn, left, got);
    else
        conn_take_raw(table, conn, table->bytes, left - ws->raw_len, ws->raw_len + got);
}

/* ---- events ---- */

void conn_read(struct conn_table *table, struct conn *conn, uint32_t events)
{
    size_t left = buf_len(&conn->in), got;
    uint8_t *at = table->bytes + left;
    bool drained;
    enum end_reason reason = stream_read(&conn->stream, table->tls, at, &got, &drained);
    if (got > 0) {
        metrics_add(table->metrics, EDGE_METRIC_BYTES_IN, got);
        if (left > 0)
            memcpy(table->bytes, buf_span(&conn->in).at, left);
        take(table, conn, left, got);
    }
    if (conn->state != CONN_OPEN)
        return;
    bool end_follows = (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0;
    if (reason != END_NONE) {
        conn_begin_close(table, conn, reason);
        return;
    }
    if (conn->watched & CONN_WATCHED_EDGES && (!drained || end_follows))
        rewatch(table, conn);
    conn_watch(table, conn);
}

static void on_conn_ready(void *ctx, uint64_t key, uint32_t events)
{
    struct conn_table *table = ctx;
    uint32_t slot = (uint32_t)(key & ((1u << SLOT_BITS) - 1));
    assert(slot < table->conns.used_high);
    struct conn *conn = conn_at(table, slot);
    if ((conn->generation & KEY_GENERATION_MASK) != key >> SLOT_BITS)
        return;

    if (conn->state != CONN_OPEN) {
        entry_ready(table, conn);
        return;
    }
    if (events & ~(uint32_t)EPOLLOUT || conn->stream.reading_writes)
        conn_read(table, conn, events);
    /* TLS may have waited for a read before it could write. */
    if (conn->state == CONN_OPEN && conn->blocked &&
        (events & EPOLLOUT || conn->stream.tls != NULL))
        conn_touch(table, conn);
}

/* ---- accepting ---- */

uint32_t conn_table_listen(struct conn_table *table, const char *address)
{
    struct acceptor_address parsed;
    if (!acceptor_parse(address, &parsed))
        log_die("%s is no address to listen on; write tcp://HOST:PORT (or tls, ws, wss) with a "
                "numeric host, as in tcp://0.0.0.0:7700 or wss://[::]:7701",
                address);
    if (parsed.layers & ACCEPTOR_TLS && table->tls == NULL)
        log_die("%s needs a TLS certificate and key, and none are configured", address);
    if (parsed.layers & ACCEPTOR_PROXY && table->options.proxy_count == 0)
        log_die("%s needs to know from where proxies may come (proxy.from)", address);
    return acceptor_listen(table->acceptor, &parsed, address, table->options.sndbuf_bytes);
}

uint16_t conn_table_port(const struct conn_table *table, uint32_t listener)
{
    return acceptor_port(table->acceptor, listener);
}

void conn_table_stop_accepting(struct conn_table *table)
{
    acceptor_stop(table->acceptor);
}

/* ---- the table ---- */

static void show_limit(struct conn_table *table, enum limit limit, uint64_t now, uint64_t max)
{
    metrics_set(table->metrics, EDGE_METRIC_LIMIT_NOW(limit), now);
    metrics_set(table->metrics, EDGE_METRIC_LIMIT(limit), max);
}

static void show_limits(struct conn_table *table)
{
    const struct conn_options *options = &table->options;
    show_limit(table, LIMIT_CONNECTIONS, table->conns.in_use, options->conns_max);
    show_limit(table, LIMIT_DESCRIPTORS, table->newest_fd, options->fd_max);
    show_limit(table, LIMIT_HANDSHAKE_MS, table->entering, options->handshake_ms);
    show_limit(table, LIMIT_OUT_BYTES, flush_longest(table), options->out_bytes_max);
    show_limit(table, LIMIT_OUT_BYTES_TOTAL, table->out_bytes, options->out_bytes_total);
    show_limit(table, LIMIT_IN_BYTES_TOTAL, table->in_bytes, options->in_bytes_total);
}

static void on_tick(void *ctx)
{
    struct conn_table *table = ctx;
    uint64_t now_ms = loop_now_ms(table->loop);
    acceptor_tick(table->acceptor);
    struct wheel_timer *due;
    while ((due = wheel_expire(table->wheel, now_ms)) != NULL) {
        struct conn *conn =
            (struct conn *)(void *)((uint8_t *)due - offsetof(struct conn, deadline));
        if (conn->state != CONN_OPEN)
            entry_late(table, conn);
        else if (!flush_conn(table, conn))
            flush_slow(table, conn);
    }
    flush_tick(table);
    if (now_ms - table->shown_ms >= SHOW_MS) {
        table->shown_ms = now_ms;
        show_limits(table);
    }
}

static void copy_proxies(struct conn_table *table, const struct conn_options *options)
{
    if (options->proxy_count == 0)
        return;
    struct proxy_net *copy = calloc(options->proxy_count, sizeof *copy);
    assert(copy != NULL);
    memcpy(copy, options->proxies, options->proxy_count * sizeof *copy);
    table->proxies = copy;
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
    table->options.proxies = NULL;
    table->wheel = wheel_new(loop_now_ms(loop));
    pool_init(&table->conns, sizeof(struct conn), options->conns_max);
    pool_init(&table->websocks, sizeof(struct websock), options->conns_max);
    copy_proxies(table, options);
    table->bytes = malloc((size_t)options->in_bytes_max + WS_PENDING_SIZE_MAX + STREAM_READ_MAX);
    assert(table->bytes != NULL);
    metrics_set(metrics, EDGE_METRIC_CONNS_LIMIT, options->conns_max);

    table->source = loop_source(loop, on_conn_ready, table);
    table->acceptor = acceptor_new(loop, metrics, entry_socket, table);
    entry_turn_end(table);
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
        conn_release(table, conn);
    }
    pool_free(&table->conns);
    pool_free(&table->websocks);
    wheel_free(table->wheel);
    tls_free(table->tls);
    free(table->touched.at);
    free(table->leaving.at);
    free(table->waiting.at);
    free(table->slow.at);
    free(table->proxies);
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
    const struct conn *conn = conn_find(table, id);
    if (conn != NULL)
        (void)getpeername(conn->stream.fd, (struct sockaddr *)&at, &len);
    acceptor_format(&at, out);
    return out;
}

uint64_t conn_queued(const struct conn_table *table)
{
    return table->out_bytes;
}

uint32_t conn_count(const struct conn_table *table)
{
    return table->conns.in_use;
}
