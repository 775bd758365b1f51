/* acceptor: the listeners of one table of conns, and the sockets that come in by them.
 *
 * At most 64 accepts a turn and listener, 8 where TLS is spoken, so that no more come than can
 * shake hands in time. When descriptors or memory run out (EMFILE and its kin), accepting pauses
 * for 100 ms and is counted. What is set on a listener the kernel hands down to what it accepts:
 * TCP_NODELAY and, if asked for, SO_SNDBUF.
 */
#ifndef EDGE_ACCEPTOR_H
#define EDGE_ACCEPTOR_H

#include "base/loop.h"
#include "base/metrics.h"

#include <sys/socket.h>

struct acceptor;

struct acceptor_address {
    bool tls;
    socklen_t len;
    struct sockaddr_storage at;
};

/* A new non-blocking socket, the caller's from now on. */
typedef void acceptor_fn(void *ctx, uint32_t listener, bool tls, int fd);

struct acceptor *acceptor_new(struct loop *loop, struct metrics *metrics, acceptor_fn *on_socket,
                              void *ctx);
void acceptor_free(struct acceptor *acceptor);

/* Dies if it cannot listen (`text` is what to call it then). Returns the listener's number. */
uint32_t acceptor_listen(struct acceptor *acceptor, const struct acceptor_address *address,
                         const char *text, uint32_t sndbuf_bytes);
uint16_t acceptor_port(const struct acceptor *acceptor, uint32_t listener);
/* No more accepts. */
void acceptor_stop(struct acceptor *acceptor);
/* Now and then: ends a pause that is over. */
void acceptor_tick(struct acceptor *acceptor);

/* "tcp://192.0.2.1:7700", "tls://[::]:7701": numeric, the port 0 to 65535. */
MUST_CHECK bool acceptor_parse(const char *text, struct acceptor_address *address);
/* "192.0.2.1:1234", "[2001:db8::1]:1234"; "" if there is no telling. */
void acceptor_format(const struct sockaddr_storage *at, char out[64]);

#endif
