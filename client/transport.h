/* transport: one connection at a time to one of the servers: TCP or TLS, and WebSocket over either.
 *
 *     IDLE --connect--> STARTING --> CONNECTING --> HANDSHAKE (TLS) --> UPGRADE (ws) --> OPEN
 *       ^                  ^ next address, next server |                    |              |
 *       |                  '------------ failed -------+--------------------'              |
 *       '--- disconnect; lost: no server was left, or it was open -------------------------'
 *
 * Servers are tried in random order, of each all addresses in random order; what failed or was lost
 * is not first again before the others had their turn. TLS is 1.2 or later; the chain and the name
 * (or address) of the server are checked, and the name is told to it (SNI).
 *
 * Nothing blocks but the look-up of a name (getaddrinfo), and that not for numeric addresses. No
 * event is told from inside transport_connect, _send, _flush or _disconnect: all come from
 * transport_process. It never raises SIGPIPE.
 */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

#include "base/span.h"

struct transport;

/* What may wait to be written before transport_has_room says no, and before the connection counts
 * as lost. */
#define TRANSPORT_ROOM (64u * 1024u)
#define TRANSPORT_QUEUE_MAX (2u * 1024u * 1024u)

struct transport_options {
    const char *servers; /* "tcp://host:port,tls://[::1]:port,wss://host/path" */
    const char *ca_file; /* PEM; NULL: the system's */
    bool insecure;       /* do not check certificates */
    uint32_t try_ms;     /* how long one address may take to open */
};

struct transport_events {
    void (*opened)(void *ctx);
    /* Returns how many bytes it used; the rest is offered again with what follows it. */
    size_t (*bytes)(void *ctx, struct span bytes);
    /* The connection is gone, or none could be made: a label and a text for people, both static. */
    void (*lost)(void *ctx, const char *why, const char *why_text);
    uint64_t (*random)(void *ctx);
};

/* NULL: an option is wrong or a descriptor could not be had, and `why` says so (static). */
MUST_CHECK struct transport *transport_new(const struct transport_options *options,
                                           const struct transport_events *events, void *ctx,
                                           const char **why);
void transport_free(struct transport *transport);

/* Polls readable when transport_process has something to do; stays the same. */
int transport_fd(const struct transport *transport);
/* When it has something to do in any case; 0: now; UINT64_MAX: never. */
uint64_t transport_due_ms(const struct transport *transport);

/* A server for the next transport_connect (client/servers.h). */
void transport_hint(struct transport *transport, struct span server);
void transport_connect(struct transport *transport);
/* Writes what the socket takes of what waits, and closes. */
void transport_disconnect(struct transport *transport);

/* Queues whole frames (one message of a WebSocket, at most 64 KiB); what is sent while not open
 * goes nowhere. */
void transport_send(struct transport *transport, struct span bytes);
bool transport_has_room(const struct transport *transport);
/* Writes what the socket takes now; the rest goes out from transport_process. */
void transport_flush(struct transport *transport);
/* What is queued makes the descriptor readable, so that it goes out from transport_process. */
void transport_flush_later(struct transport *transport);

void transport_process(struct transport *transport, uint64_t now_ms);

#endif
