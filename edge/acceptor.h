/* acceptor: the listeners of one table of conns, and the sockets that come in by them.
 *
 * At most 16 accepts a turn and listener, 2 where TLS is spoken, so that a crowd holds nobody up.
 * When descriptors or memory run out (EMFILE and its kin), accepting pauses for 100 ms and is
 * counted. What is set on a listener the kernel hands down to what it accepts: TCP_NODELAY and, if
 * asked for, SO_SNDBUF.
 */
#ifndef EDGE_ACCEPTOR_H
#define EDGE_ACCEPTOR_H

#include "base/loop.h"
#include "base/metrics.h"

#include <sys/socket.h>

struct acceptor;

/* What is spoken on a listener below our frames, from the outside in. */
enum acceptor_layers {
    ACCEPTOR_PROXY = 1, /* a PROXY header first */
    ACCEPTOR_TLS = 2,
    ACCEPTOR_WS = 4,
};

struct acceptor_address {
    uint32_t layers; /* a set of enum acceptor_layers */
    socklen_t len;
    struct sockaddr_storage at;
};

struct acceptor_socket {
    int fd; /* non-blocking, the receiver's from now on */
    uint32_t listener;
    uint32_t layers;
    struct sockaddr_storage from;
};

/* `socket` is borrowed, but for its descriptor. */
typedef void acceptor_fn(void *ctx, const struct acceptor_socket *socket);

struct acceptor *acceptor_new(struct loop *loop, struct metrics *metrics, acceptor_fn *on_socket,
                              void *ctx);
void acceptor_free(struct acceptor *acceptor);

/* Dies if it cannot listen (`text` is what to call it then). Returns the listener's number. */
uint32_t acceptor_listen(struct acceptor *acceptor, const struct acceptor_address *address,
                         const char *text, uint32_t sndbuf_bytes);
uint16_t acceptor_port(const struct acceptor *acceptor, uint32_t listener);
uint32_t acceptor_layers(const struct acceptor *acceptor, uint32_t listener);
/* No more accepts. */
void acceptor_stop(struct acceptor *acceptor);
/* Whether who speaks TLS waits in the kernel, where no deadline runs. The listeners stay ready:
 * only for as long as there is work of another kind in each turn. */
void acceptor_hold_tls(struct acceptor *acceptor, bool hold);
/* Now and then: ends a pause that is over. */
void acceptor_tick(struct acceptor *acceptor);

/* "tcp://192.0.2.1:7700", "tls://[::]:7701", "ws+proxy://[::]:7702": tcp, tls, ws (over TCP) or wss
 * (over TLS), each perhaps with +proxy; the host numeric, the port 0 to 65535. */
MUST_CHECK bool acceptor_parse(const char *text, struct acceptor_address *address);
/* Could not both be listened on: the kernel would give each of them some of the clients. */
MUST_CHECK bool acceptor_same(const struct acceptor_address *a, const struct acceptor_address *b);
/* "192.0.2.1:1234", "[2001:db8::1]:1234"; "" if there is no telling. */
void acceptor_format(const struct sockaddr_storage *at, char out[64]);

#endif
