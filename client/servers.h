/* servers: where a connection may go to, and in which order it is tried.
 *
 * A round goes through all servers, each with all its addresses in random order. Rounds follow each
 * other through one random order of the servers, so that what failed or was lost is not first again
 * before the others had their turn.
 *
 * Hints (of a Goaway) come before all others in the next round, and are then forgotten. They are of
 * a server that was trusted; still none is taken that would mean TLS for those who have none set
 * up, or no TLS for those who do.
 */
#ifndef CLIENT_SERVERS_H
#define CLIENT_SERVERS_H

#include "base/span.h"

#include <sys/socket.h>

struct servers;

struct servers_target {
    const char *host; /* as it was written: a name or a numeric address */
    const char *port; /* decimal */
    const char *path; /* of a WebSocket, from its slash on; NULL: it is none */
    bool tls;
    int family;
    const struct sockaddr *address;
    socklen_t address_len;
};

enum servers_step {
    SERVERS_TRY,     /* `target` is one address, borrowed until the next call */
    SERVERS_UNKNOWN, /* a name could not be resolved: `why` (static); the round goes on */
    SERVERS_END,     /* the round is over */
};

/* "tcp://host:port,tls://[::1]:port,ws://host:port/path,wss://host"; NULL if that is not what
 * `text` says. A WebSocket may leave out its path, and its port if it is that of HTTP or HTTPS. */
MUST_CHECK struct servers *servers_new(const char *text, uint64_t (*random)(void *ctx), void *ctx);
void servers_free(struct servers *servers);

#define SERVERS_HINTS_MAX 4u
/* One more for the next round; what is no server, or too many, is passed over. */
void servers_hint(struct servers *servers, struct span text);
bool servers_any_tls(const struct servers *servers);
void servers_begin(struct servers *servers);
/* Looks at most one name up, which blocks as long as getaddrinfo does: not for numeric addresses.
 */
MUST_CHECK enum servers_step servers_next(struct servers *servers, struct servers_target *target,
                                          const char **why);

#endif
