/* conn: one client socket, seen as clear bytes in and out.
 *
 *     PROXY --> HANDSHAKE --> UPGRADE --> OPEN --> CLOSED
 *
 * What a listener does not speak (a PROXY header, TLS, WebSocket) is left out; any state may go
 * straight to CLOSED. What is spoken is decided at accept and known nowhere else. The table owns
 * every conn; everyone else holds a conn_id. Closing makes the id stale at once; on_closed is
 * called, and the slot reused, only at the end of the turn, or, if many end at once, of one soon
 * after it. So no call here ever calls back. Slots are below conns_max, and one that was used
 * before is handed out again before a new one, so that others may keep what belongs to a conn in an
 * array.
 *
 * Reading goes through one buffer a table; only what on_bytes leaves over is kept with the conn.
 * If that is more than in_bytes_total for all conns together at the end of a turn, those that left
 * over the most (up to a factor of two) are closed as BUSY until an eighth of it is free.
 * Writing: conn_send queues, the end of the turn writes once per touched conn. A conn whose queue
 * would pass out_bytes_max, or whose peer takes nothing of it for progress_ms, is closed as
 * SLOW_READER; so are those with the longest queues (up to a factor of two) at the end of a turn
 * that leaves more than out_bytes_total waiting for all conns together. What was queued before
 * conn_close is still written if the socket takes it at once (an Error is meant to be read); the
 * peer then sees an orderly end.
 *
 * WebSocket: binary messages of whole frames only, at most 64 KiB each way; what was sent in a turn
 * leaves as one message. A close frame says why: an RFC 6455 code for what concerns WebSocket
 * itself, else 4000 + enum end_reason.
 *
 * When descriptors run out (EMFILE), accepting pauses for 100 ms, is counted, and nothing spins.
 */
#ifndef EDGE_CONN_H
#define EDGE_CONN_H

#include "base/loop.h"
#include "base/metrics.h"
#include "edge/certs.h"
#include "edge/limits.h"
#include "edge/proxy.h"
#include "proto/reasons.h"

#include <sys/socket.h>

struct conn_table;

struct conn_id {
    uint32_t slot;
    uint32_t generation; /* never 0: a zeroed conn_id is stale */
};

/* Where a conn comes from, as far as that decides what it may do. */
struct conn_from {
    uint32_t origin;    /* what sites_origin says of its Origin header; 0: it sent none */
    uint32_t address;   /* as limits_enter counts its address */
    uint32_t waited_ms; /* so long after it could have begun to speak */
};

#define CONN_ORIGIN_LATER UINT32_MAX

struct conn_events {
    /* What a browser's Origin header is known as (above 0); 0: no site admits its pages, so it is
     * refused; CONN_ORIGIN_LATER: nobody can tell yet. NULL: any is admitted, as 0. */
    uint32_t (*origin)(void *ctx, struct span origin);
    /* After all handshakes. `from` is borrowed. */
    void (*on_opened)(void *ctx, struct conn_id id, uint32_t listener,
                      const struct conn_from *from);
    /* Returns how many bytes were used; the rest is offered again with what follows it. */
    size_t (*on_bytes)(void *ctx, struct conn_id id, struct span bytes);
    /* Only for conns that were opened. */
    void (*on_closed)(void *ctx, struct conn_id id, enum end_reason reason);
};

struct conn_options {
    uint32_t conns_max;
    /* Whose descriptor is not below is turned away as if the table were full, so that some are left
     * for links, files and the ops listener. 0: none is. */
    uint32_t fd_max;
    uint32_t out_bytes_max;          /* 256 KiB */
    uint32_t in_bytes_max;           /* what on_bytes may leave over: 64 KiB and a head */
    uint32_t progress_ms;            /* 10 s */
    uint64_t out_bytes_total;        /* of all conns together; 0: no limit */
    uint64_t in_bytes_total;         /* the same, of what on_bytes leaves over */
    uint32_t handshake_ms;           /* 5 s, for PROXY header and TLS together */
    uint32_t hello_ms;               /* 10 s, for the request to upgrade */
    uint32_t sndbuf_bytes;           /* SO_SNDBUF, 0: the kernel's */
    struct limits *limits;           /* borrowed; NULL: none */
    const struct proxy_net *proxies; /* from where PROXY headers are believed */
    uint32_t proxy_count;
    struct certs *certs; /* borrowed; NULL without tls listeners */
};

/* `metrics`: a row of edge/edge_metrics.h. */
struct conn_table *conn_table_new(struct loop *loop, const struct conn_options *options,
                                  struct metrics *metrics, const struct conn_events *events,
                                  void *ctx);
void conn_table_free(struct conn_table *table);

/* An address as acceptor_parse takes it, "wss://[::]:7701"; port 0 is the kernel's choice.
 * SO_REUSEPORT, so that each worker has its own. Dies if it cannot listen. Returns the listener's
 * number. */
uint32_t conn_table_listen(struct conn_table *table, const char *address);
/* The port really bound. */
uint16_t conn_table_port(const struct conn_table *table, uint32_t listener);
/* No more accepts; what is open stays. */
void conn_table_stop_accepting(struct conn_table *table);
/* Other certificates, for handshakes to come. Nothing without tls listeners. */
void conn_table_set_certs(struct conn_table *table, struct certs *certs);

/* Queues a copy of `bytes`. A stale id is ignored, and a conn whose queue would pass its limit is
 * closed as SLOW_READER: either way nothing is left for the caller to do. */
void conn_send(struct conn_table *table, struct conn_id id, struct span bytes);

/* Stale ids are ignored, so closing twice is harmless. The first reason wins. */
void conn_close(struct conn_table *table, struct conn_id id, enum end_reason reason);

/* The peer's address as text, for the log; "" for a stale id. */
const char *conn_peer(struct conn_table *table, struct conn_id id, char out[64]);
uint32_t conn_count(const struct conn_table *table);
/* Bytes that wait for all clients to read them. */
uint64_t conn_queued(const struct conn_table *table);

#endif
