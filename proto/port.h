/* port: one ZeroMQ socket of a link with its monitor, in a loop. A part of link; nothing else uses
 * it.
 *
 * A listening port is there for ever. A connecting one is closed while it backs off from a router
 * that refused it, and opened again by port_tick with the next key that routers may have: libzmq
 * itself never again tries a server that refused it.
 *
 * ZMQ_FD is edge-triggered, and each call to a socket may swallow its edge. So: when the descriptor
 * is ready, port_receive until it says PORT_EMPTY, and after sending, once, port_look.
 */
#ifndef PROTO_PORT_H
#define PROTO_PORT_H

#include "base/loop.h"
#include "proto/zap.h"

struct port;

/* Where its descriptors' events go: the sources' keys are `index`. */
struct port_place {
    struct loop *loop;
    uint32_t socket_source, monitor_source;
    uint32_t index;
};

/* Dies if it cannot be bound. */
struct port *port_listen(struct zap *zap, const struct port_place *place, const char *endpoint);
struct port *port_connect(struct zap *zap, const struct port_place *place, const char *endpoint);
/* What was sent has `linger_ms` to leave, after this returns. */
void port_free(struct port *port, int linger_ms);

/* As given to port_connect, or as really bound. */
const char *port_endpoint(const struct port *port);

/* Connects anew, as somebody else. */
void port_renew(struct port *port);
/* There are new keys. False: the server's is not allowed any more, and the port was closed. */
MUST_CHECK bool port_rekey(struct port *port);
/* What was put off: opening, binding with a new key. */
void port_tick(struct port *port);

enum port_news {
    PORT_NOTHING,          /* no more news */
    PORT_JOINED,           /* connected */
    PORT_LEFT,             /* disconnected */
    PORT_REFUSED,          /* the server refused us; the port is closed for a while */
    PORT_REFUSED_STRANGER, /* we refused somebody */
};
enum port_news port_news(struct port *port);

enum port_sent { PORT_SENT, PORT_NO_ROOM, PORT_GONE };
/* One message of head and frames, to `id` if it listens. */
enum port_sent port_send(struct port *port, const uint8_t id[ZAP_ID_SIZE], struct span head,
                         struct span frames);

struct port_message {
    struct span bytes;       /* borrowed until the next port_receive */
    uint8_t id[ZAP_ID_SIZE]; /* listening: of its sender */
    const char *key;         /* listening, with CURVE: its public key; else "" */
};
enum port_received { PORT_EMPTY, PORT_MESSAGE, PORT_BAD_MESSAGE };
enum port_received port_receive(struct port *port, struct port_message *message);

struct port_look {
    bool readable;
    bool writable; /* listening: to somebody */
};
struct port_look port_look(struct port *port);

#endif
