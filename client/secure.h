/* secure: the client library's TLS, over sockets of its user's: who may serve us, and bytes through
 * it. TLS 1.2 or later (RFC 8446, RFC 5246); names are checked by RFC 6125, subject names never.
 */
#ifndef CLIENT_SECURE_H
#define CLIENT_SECURE_H

#include "base/span.h"

struct secure;
struct secure_stream;

enum secure_io {
    SECURE_OK,
    SECURE_WAIT_IN, /* goes on when the socket is readable */
    SECURE_WAIT_OUT,
    SECURE_ENDED, /* by the peer or the network */
    SECURE_FAILED,
};

/* Of SECURE_FAILED: "certificate" or "tls", and what a person may read. Static texts. */
struct secure_failure {
    const char *why, *text;
};

/* `ca_file`: PEM, NULL: the system's. `insecure`: whoever it is, for tests. NULL: `why` says what
 * was wrong. */
struct secure *secure_new(const char *ca_file, bool insecure, const char **why);
void secure_free(struct secure *secure);

/* A stream over the connected, non-blocking `fd`, which stays the caller's. `host`: a name or an
 * address that its certificate must be for. NULL: there is no memory, or it is no such name. */
struct secure_stream *secure_open(struct secure *secure, int fd, const char *host);
void secure_close(struct secure_stream *stream);

/* `failure` is written with SECURE_FAILED only. */
MUST_CHECK enum secure_io secure_handshake(struct secure_stream *stream,
                                           struct secure_failure *failure);
MUST_CHECK enum secure_io secure_write(struct secure_stream *stream, struct span bytes,
                                       size_t *taken, struct secure_failure *failure);
MUST_CHECK enum secure_io secure_read(struct secure_stream *stream, uint8_t *at, size_t room,
                                      size_t *got, struct secure_failure *failure);
/* Something has come that was not read, and the socket may never be readable for it. */
MUST_CHECK bool secure_has_more(const struct secure_stream *stream);
/* An orderly end, if the socket takes it at once. */
void secure_say_bye(struct secure_stream *stream);

#endif
