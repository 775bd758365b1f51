/* net: the many client connections of one generator process: one epoll, one read buffer for all,
 * one write for each touched connection and turn. Transports are rows of a table in endpoint.c.
 *
 *     net_flush, wait, read what is ready and hand it over, net_flush
 *
 * Connections are numbered by their owner, 0 to conns_max - 1. What is not taken from a read is
 * kept and offered again with what follows it. Callbacks may reserve and commit (but on_lost), and
 * connect; closing takes effect at once.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include "base/span.h"

#define NET_READ_BYTES (256u * 1024u)
/* Of what is not taken no more than this is kept: the longest frame with its head. */
#define NET_KEPT_BYTES_MAX (68u * 1024u)

struct net;

struct net_events {
    /* Connected (TLS and WebSocket: their handshakes are done). */
    void (*on_open)(void *ctx, uint32_t conn);
    /* Returns the bytes that were used; NET_BROKEN closes the connection. */
    size_t (*on_bytes)(void *ctx, uint32_t conn, struct span bytes);
    /* Gone without net_close. */
    void (*on_lost)(void *ctx, uint32_t conn, const char *why);
};
#define NET_BROKEN SIZE_MAX
#define NET_SERVERS_MAX 250u

struct net_options {
    uint32_t conns_max;
    /* "tcp://HOST:PORT", "tls://HOST:PORT", "ws://HOST:PORT/PATH", "wss://HOST:PORT/PATH" or
     * "HOST:PORT" (TCP), by commas. */
    const char *servers;
    const char *ca;      /* PEM; NULL: certificates are not checked */
    uint32_t keep_bytes; /* room that an empty queue keeps; 0 for connections that idle */
    /* Connections come from so many addresses in turn, from 127.0.0.2 up, each of which has ports
     * of its own; 0: the kernel's choice. For servers on 127.0.0.0/8. */
    uint32_t sources;
    uint32_t first; /* added to a connection's number to find its source */
    int wake_fd;    /* an eventfd that ends a wait; emptied by each turn */
};

/* Dies if a server cannot be resolved or TLS not be set up. */
struct net *net_new(const struct net_options *options, const struct net_events *events, void *ctx);
void net_free(struct net *net);

/* To that server of the list. on_open or on_lost follows, never from within. Not in the turn in
 * which the same connection was closed. */
void net_connect(struct net *net, uint32_t conn, uint32_t server);
void net_close(struct net *net, uint32_t conn);
uint32_t net_servers(const struct net *net);

/* Room for `len` bytes in the connection's queue, and what was written of it: whole frames (one
 * message of a WebSocket). Of one that is not open they go nowhere. */
uint8_t *net_reserve(struct net *net, uint32_t conn, size_t len);
void net_commit(struct net *net, uint32_t conn, size_t len);

void net_flush(struct net *net);
void net_turn(struct net *net, uint64_t wait_ns);

/* CLOCK_MONOTONIC, read anew for each read from a socket. */
uint64_t net_now_ns(const struct net *net);
/* Reads it now. */
uint64_t net_clock_ns(struct net *net);

#endif
