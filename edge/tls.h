/* tls: the server's side of TLS 1.2 and 1.3 over a socket, for conn. OpenSSL is this file's secret.
 *
 * As RFC 9325 has it: ephemeral key exchange and AEAD only, no compression, no renegotiation, the
 * server's order. No session is resumed by TLS, which would save hardly anything; the protocol
 * above has tickets of its own.
 *
 * A `struct tls` belongs to one thread, as does each stream made from it. It reads and writes the
 * socket itself, never blocks and never raises SIGPIPE. After TLS_BROKEN and TLS_FAILED a stream is
 * good for tls_free_stream only.
 */
#ifndef EDGE_TLS_H
#define EDGE_TLS_H

#include "edge/certs.h"

struct tls;
struct ssl_st; /* one connection's half of TLS: OpenSSL's own struct, never looked into outside */

enum tls_status {
    TLS_OK,
    TLS_WANT_READ,  /* goes on when the socket is readable */
    TLS_WANT_WRITE, /* goes on when the socket is writable */
    TLS_ENDED,      /* the peer is gone, politely or not */
    TLS_BROKEN,     /* the socket failed */
    TLS_FAILED,     /* the peer does not speak TLS as it should */
};

/* What one tls_read can give at most, whatever waits in the socket. */
#define TLS_READ_MAX (96u * 1024u)

/* For certs_load. */
struct ssl_ctx_st *tls_context(void);

/* Holds `certs`. */
struct tls *tls_new(struct certs *certs);
/* Streams must be freed before. */
void tls_free(struct tls *tls);
/* Other certificates, for handshakes to come. */
void tls_set_certs(struct tls *tls, struct certs *certs);

/* NULL when there is no memory. */
MUST_CHECK struct ssl_st *tls_stream(struct tls *tls);
void tls_free_stream(struct ssl_st *stream);

/* TLS_OK: the handshake is done. `http`: what follows is HTTP/1.1, and who offers application
 * protocols (ALPN, RFC 7301) must offer that; otherwise what it offers is ignored. */
MUST_CHECK enum tls_status tls_handshake(struct tls *tls, struct ssl_st *stream, int fd, bool http);
/* How many bytes the last call of any stream took from its socket. */
size_t tls_fetched(const struct tls *tls);

/* Reads into `at`, which has room for TLS_READ_MAX, and sets `got`, whatever the status. Afterwards
 * nothing is held back in the stream that the socket's readiness would not tell of. `drained`: nor
 * is anything left in the socket, but perhaps the peer's end. */
MUST_CHECK enum tls_status tls_read(struct tls *tls, struct ssl_st *stream, int fd, uint8_t *at,
                                    size_t *got, bool *drained);

/* Writes what the socket takes; `taken` of `bytes` are done with, whatever the status. What was not
 * taken must be offered again, first and unchanged. `moved`: the socket took something, be it of an
 * earlier call. */
MUST_CHECK enum tls_status tls_write(struct tls *tls, struct ssl_st *stream, int fd,
                                     struct span bytes, size_t *taken, bool *moved);

/* Tells the peer that no more will come, if the socket takes it. Only when all was taken. */
void tls_say_end(struct tls *tls, struct ssl_st *stream, int fd);

#endif
