/* conn_table: what the parts of conn share, and nobody else includes.
 *
 *     conn.c      the table, reading, closing, time
 *     entry.c     from accept until a conn is open: PROXY header, TLS handshake, upgrade
 *     flush.c     the writing half, what may wait in all, and the end of a socket
 */
#ifndef EDGE_CONN_TABLE_H
#define EDGE_CONN_TABLE_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/wheel.h"
#include "edge/acceptor.h"
#include "edge/conn.h"
#include "edge/edge_metrics.h"
#include "edge/limits.h"
#include "edge/proxy.h"
#include "edge/stream.h"
#include "edge/websock.h"
#include "proto/indices.h"

#include <sys/epoll.h>

enum conn_state {
    CONN_FREE,
    CONN_PROXY,     /* a PROXY header is awaited */
    CONN_HANDSHAKE, /* TLS */
    CONN_UPGRADE,   /* a request for WebSocket */
    CONN_OPEN,
    CONN_CLOSED,
};

#define CONN_WATCHED_EDGES 0x80u /* told of changes only */

/* One for each client: every byte here is paid a million times. */
struct conn {
    struct buf out; /* not yet written */
    struct buf in;  /* left over by on_bytes, then what WebSocket cannot read yet; before it is open
                       what has come of a head */
    struct wheel_timer deadline; /* until it is open; then of a blocked peer's progress */
    struct stream stream;
    uint32_t slot;
    uint32_t generation;
    uint32_t address; /* in limits */
    uint32_t ws;      /* in table->websocks; POOL_NONE */
    uint16_t shaken;  /* bytes that the handshake took */
    uint8_t listener;
    uint8_t state;
    uint8_t reason;   /* why it is CLOSED */
    uint8_t watched;  /* EPOLLIN, EPOLLOUT, CONN_WATCHED_EDGES */
    bool opened : 1;  /* on_opened was called */
    bool touched : 1; /* is in table->touched, or leaving */
    bool blocked : 1; /* not all of `out` could be written */
    bool listed : 1;  /* is in table->slow */
    bool entered : 1; /* into limits */
    bool waits : 1;   /* is in table->waiting */
    bool called : 1;  /* was there, and may shake hands now */
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
    struct pool websocks;
    uint32_t source;
    uint32_t last_generation;
    uint32_t handshakes_left; /* in this turn, for who was not called */
    struct indices waiting;   /* slots of conns in whose handshake there is something to do */
    uint32_t waiting_from;    /* those before it were called */
    uint32_t entering;        /* not open yet */
    uint32_t newest_fd;       /* about how many are in use: the kernel gives the lowest */
    uint64_t shown_ms;        /* when the limits' gauges were set last */

    struct indices touched; /* slots of conns that the end of the turn must look at */
    struct indices leaving; /* of CLOSED ones that wait for their end; from `left` on */
    uint32_t left;
    struct indices slow; /* slots of conns that were blocked since it was last looked through */
    uint32_t blocked;    /* how many are now */
    uint64_t out_bytes;  /* of all `out` */
    uint64_t in_bytes;   /* of all `in` of those that were opened */
    uint64_t ended_us;   /* the turn, by its time, whose end has been dealt with */

    struct proxy_net *proxies; /* options.proxy_count of them */
    struct acceptor *acceptor;
    uint8_t *bytes; /* room for what a conn had left over and one read */
};

/* --- conn.c */

static inline struct conn *conn_at(const struct conn_table *table, uint32_t slot)
{
    return pool_at(&table->conns, slot);
}

static inline struct conn_id conn_id_of(const struct conn *conn)
{
    return (struct conn_id){conn->slot, conn->generation};
}

/* NULL: it speaks without. */
static inline struct websock *conn_websock(const struct conn_table *table, const struct conn *conn)
{
    return conn->ws == POOL_NONE ? NULL : pool_at(&table->websocks, conn->ws);
}

static inline bool conn_ended(const struct conn *conn)
{
    return conn->state == CONN_CLOSED || conn->state == CONN_FREE;
}

/* NULL if it is stale or not open. */
struct conn *conn_find(const struct conn_table *table, struct conn_id id);
void conn_touch(struct conn_table *table, struct conn *conn);
uint64_t conn_key(const struct conn *conn);
uint32_t conn_epoll_events(const struct conn *conn);
/* Only for what TLS can go on with: a peer that keeps it waiting for the other must not make us
 * spin. */
void conn_watch(struct conn_table *table, struct conn *conn);
void conn_begin_close(struct conn_table *table, struct conn *conn, enum end_reason reason);
void conn_release(struct conn_table *table, struct conn *conn);
/* `events`: what the socket was told to be ready for. */
void conn_read(struct conn_table *table, struct conn *conn, uint32_t events);
/* Of a conn that speaks WebSocket: `clear` bytes that were left over and `raw` ones as they came,
 * one behind the other at `at` in table->bytes. */
void conn_take_raw(struct conn_table *table, struct conn *conn, uint8_t *at, size_t clear,
                   size_t raw);

/* --- entry.c */

void entry_socket(void *ctx, const struct acceptor_socket *socket);
/* A conn that is not open yet can go on. */
void entry_ready(struct conn_table *table, struct conn *conn);
/* What may be done of handshakes in the next turn. */
void entry_turn_end(struct conn_table *table);
/* Its time is over. */
void entry_late(struct conn_table *table, struct conn *conn);

/* --- flush.c */

/* See conn_send. */
void flush_send(struct conn_table *table, struct conn *conn, struct span bytes);
/* The same without a look at limits, nor at the turn. */
void flush_append(struct conn_table *table, struct conn *conn, struct span bytes);
/* Bounded: what a peer asks us to say it has to read. */
void flush_pong(struct conn_table *table, struct conn *conn, struct span payload);
/* False: nothing moved, though there was something to write. */
bool flush_conn(struct conn_table *table, struct conn *conn);
/* The peer does not read, or not fast enough. */
void flush_slow(struct conn_table *table, struct conn *conn);
/* About every 50 ms. */
void flush_tick(struct conn_table *table);
/* The length of the longest queue that is blocked. */
uint32_t flush_longest(const struct conn_table *table);
/* If more waits in all than may, those with the longest queues are closed. */
void flush_shed(struct conn_table *table);
/* Writes what still goes, ends the socket. */
void flush_end(struct conn_table *table, struct conn *conn);
/* Ends a socket so that its peer sees what was written before. */
void flush_end_orderly(struct conn_table *table, int fd);
/* What waited is dropped. */
void flush_forget(struct conn_table *table, struct conn *conn);

#endif
