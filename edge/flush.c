#include "edge/conn_table.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- writing ---- */

static void count_queue(struct conn_table *table, const struct conn *conn, uint32_t before)
{
    table->out_bytes += buf_len(&conn->out);
    assert(table->out_bytes >= before);
    table->out_bytes -= before;
}

/* Writes what the socket takes of the queue; whether it took anything. Does not watch for more, nor
 * close. */
static enum end_reason write_queue(struct conn_table *table, struct conn *conn, bool *moved)
{
    uint32_t before = buf_len(&conn->out);
    *moved = false;
    if (before == 0)
        return END_NONE;
    struct websock *ws = conn_websock(table, conn);
    if (ws != NULL)
        websock_seal(ws, &conn->out);
    size_t taken;
    enum end_reason reason =
        stream_write(&conn->stream, table->tls, buf_span(&conn->out), &taken, moved);
    buf_consume(&conn->out, taken, 0);
    count_queue(table, conn, before);
    metrics_add(table->metrics, EDGE_METRIC_WRITES, 1);
    metrics_add(table->metrics, EDGE_METRIC_BYTES_OUT, taken);
    return reason;
}

static void set_blocked(struct conn_table *table, struct conn *conn, bool blocked)
{
    if (blocked == conn->blocked)
        return;
    conn->blocked = blocked;
    table->blocked += blocked ? 1 : UINT32_MAX;
    if (!blocked || conn->listed)
        return;
    conn->listed = true;
    indices_add(&table->slow, conn->slot);
}

bool flush_conn(struct conn_table *table, struct conn *conn)
{
    bool moved;
    enum end_reason reason = write_queue(table, conn, &moved);
    if (reason != END_NONE) {
        conn_begin_close(table, conn, reason);
        return true;
    }
    set_blocked(table, conn, buf_len(&conn->out) > 0);
    conn_watch(table, conn);
    if (!conn->blocked)
        wheel_cancel(table->wheel, &conn->deadline);
    else if (moved || !wheel_pending(&conn->deadline))
        wheel_set(table->wheel, &conn->deadline,
                  loop_now_ms(table->loop) + table->options.progress_ms);
    return moved || !conn->blocked;
}

void flush_append(struct conn_table *table, struct conn *conn, struct span bytes)
{
    uint32_t before = buf_len(&conn->out);
    struct websock *ws = conn_websock(table, conn);
    if (ws != NULL && ws->upgraded)
        websock_append(ws, &conn->out, bytes);
    else
        buf_append(&conn->out, bytes);
    count_queue(table, conn, before);
}

void flush_pong(struct conn_table *table, struct conn *conn, struct span payload)
{
    uint32_t before = buf_len(&conn->out);
    websock_pong(conn_websock(table, conn), &conn->out, payload);
    count_queue(table, conn, before);
    if (!conn->blocked)
        conn_touch(table, conn);
}

void flush_slow(struct conn_table *table, struct conn *conn)
{
    metrics_add(table->metrics, EDGE_METRIC_LIMIT_REJECTED(LIMIT_OUT_BYTES), 1);
    conn_begin_close(table, conn, END_SLOW_READER);
}

void flush_send(struct conn_table *table, struct conn *conn, struct span bytes)
{
    uint32_t limit = table->options.out_bytes_max;
    /* One turn can bring more than the limit for a peer that reads as fast as it can. */
    if (buf_len(&conn->out) + bytes.len > limit && !conn->blocked)
        (void)flush_conn(table, conn);
    if (conn->state != CONN_OPEN)
        return;
    if (buf_len(&conn->out) + bytes.len > limit) {
        flush_slow(table, conn);
        return;
    }
    flush_append(table, conn, bytes);
    if (!conn->blocked)
        conn_touch(table, conn);
}

/* ---- what waits in all ---- */

/* The list of those that were blocked becomes that of those that are, each once. A slot in it may
 * be another conn's by now. */
static void look_through_slow(struct conn_table *table)
{
    struct indices *slow = &table->slow;
    for (uint32_t i = 0; i < slow->count; i++)
        conn_at(table, slow->at[i])->listed = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slow->count; i++) {
        struct conn *conn = conn_at(table, slow->at[i]);
        if (!conn->blocked || conn->listed)
            continue;
        conn->listed = true;
        slow->at[kept++] = conn->slot;
    }
    slow->count = kept;
}

uint32_t flush_longest(const struct conn_table *table)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < table->slow.count; i++) {
        uint32_t len = buf_len(&conn_at(table, table->slow.at[i])->out);
        longest = len > longest ? len : longest;
    }
    return longest;
}

void flush_tick(struct conn_table *table)
{
    if (table->slow.count > 2 * table->blocked + 64)
        look_through_slow(table);
}

void flush_shed(struct conn_table *table)
{
    uint64_t limit = table->options.out_bytes_total;
    if (limit == 0 || table->out_bytes <= limit)
        return;
    look_through_slow(table);
    uint64_t left = table->out_bytes;
    /* By halves, so that it takes a few walks and not one for each that goes. */
    for (uint32_t least = flush_longest(table) / 2; left > limit && least > 0; least /= 2) {
        for (uint32_t i = 0; i < table->slow.count && left > limit; i++) {
            struct conn *conn = conn_at(table, table->slow.at[i]);
            if (conn->state != CONN_OPEN || buf_len(&conn->out) < least)
                continue;
            left -= buf_len(&conn->out);
            conn_begin_close(table, conn, END_SLOW_READER);
            metrics_add(table->metrics, EDGE_METRIC_LIMIT_REJECTED(LIMIT_OUT_BYTES_TOTAL), 1);
        }
    }
}

void flush_forget(struct conn_table *table, struct conn *conn)
{
    table->out_bytes -= buf_len(&conn->out);
    buf_free(&conn->out);
    set_blocked(table, conn, false);
}

/* ---- the end of a socket ---- */

/* What lies unread when a socket is closed turns its end into a reset, and then the peer may never
 * see what was written last. */
void flush_end_orderly(struct conn_table *table, int fd)
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

void flush_end(struct conn_table *table, struct conn *conn)
{
    struct websock *ws = conn_websock(table, conn);
    bool sound = conn->reason != END_IO_ERROR && conn->reason != END_TLS_FAILED;
    if (sound && ws != NULL && ws->upgraded && !conn->blocked) {
        uint32_t before = buf_len(&conn->out);
        websock_close(ws, &conn->out, conn->reason);
        count_queue(table, conn, before);
    }
    if (sound) {
        bool moved;
        sound = write_queue(table, conn, &moved) == END_NONE;
    }
    bool all = buf_len(&conn->out) == 0;
    if (conn->stream.tls != NULL) {
        bool shaken = conn->opened || ws != NULL;
        if (sound && all && shaken)
            tls_say_end(table->tls, conn->stream.tls, conn->stream.fd);
        tls_free_stream(conn->stream.tls);
    }
    if (all)
        flush_end_orderly(table, conn->stream.fd);
    else
        end_abruptly(conn->stream.fd);
}
