/* endpoint: where a server is and how it is spoken to: "tcp://HOST:PORT", "tls://HOST:PORT",
 * "ws://HOST:PORT/PATH", "wss://HOST:PORT/PATH" or "HOST:PORT" (TCP). */
#ifndef BENCH_ENDPOINT_H
#define BENCH_ENDPOINT_H

#include "base/address.h"

#include <sys/socket.h>

#define ENDPOINT_PATH_MAX 255u

struct endpoint {
    bool tls, websocket;
    struct sockaddr_storage address;
    socklen_t len;
    struct address named;
    char path[ENDPOINT_PATH_MAX + 1]; /* of a WebSocket; "/" if none was written */
};

/* Looks its name up. Dies if it is none. */
void endpoint_parse(struct endpoint *endpoint, const char *text);
/* "tcp", "tls", "ws", "wss": the transport of all endpoints of a list by commas; "mixed" if they
 * differ; "?" if there is none of that name. */
const char *endpoint_transport(const char *list);

#endif
