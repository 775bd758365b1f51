/* net: the many client connections of one generator process: TCP or TLS, one epoll, one read
 * buffer for all, one write for each touched connection and turn.
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
    /* Connected (with TLS: the handshake is done). */
    void (*on_open)(void *ctx, uint32_t conn);
    /* Returns the bytes that were used; NET_BROKEN closes the connection. */
    size_t (*on_bytes)(void *ctx, uint32_t conn, struct span bytes);
    /* Gone without net_close. */
    void (*on_lost)(void *ctx, uint32_t conn, const char *why);
};
#define NET_BROKEN SIZE_MAX

struct net_options {
    uint32_t conns_max;
    /* "tcp://HOST:PORT", "tls://HOST:PORT" or "HOST:PORT" (TCP), by commas. */
    const char *servers;
    const char *ca;      /* PEM; NULL: certificates are not checked */
    uint32_t keep_bytes; /* room that an empty queue keeps; 0 for connections that idle */
};

/* Dies if a server cannot be resolved or TLS not be set up. */
struct net *net_new(const struct net_options *options, const struct net_events *events, void *ctx);
void net_free(struct net *net);

/* To server number conn mod servers. on_open or on_lost follows, never from within. Not in the turn
 * in which the same connection was closed. */
void net_connect(struct net *net, uint32_t conn);
void net_close(struct net *net, uint32_t conn);
MUST_CHECK bool net_is_open(const struct net *net, uint32_t conn);

/* Room for `len` bytes in the connection's queue, and what was written of it. Of one that is not
 * open they go nowhere. */
uint8_t *net_reserve(struct net *net, uint32_t conn, size_t len);
void net_commit(struct net *net, uint32_t conn, size_t len);

void net_flush(struct net *net);
void net_turn(struct net *net, int wait_ms);

/* CLOCK_MONOTONIC, read anew for each read from a socket. */
uint64_t net_now_ns(const struct net *net);
uint64_t net_bytes_in(const struct net *net);
uint64_t net_bytes_out(const struct net *net);

#endif
