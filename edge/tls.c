#include "edge/tls.h"

#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

/* One tls_read asks the socket so often: what it fetches, and what the stream still held, fits
 * TLS_READ_MAX, so that all of it can be handed on at once. OpenSSL reads ahead one record's worth
 * at a time. */
#define FETCHES_MAX 4
#define RECORD_ROOM (17u * 1024u)
#define NO_ERROR (-1)

static_assert((FETCHES_MAX + 1) * RECORD_ROOM <= TLS_READ_MAX, "what was fetched must find room");

struct tls {
    struct certs *certs;
    BIO_METHOD *method;
    /* All streams share one BIO, which saves each of them its own: these say whose call is under
     * way. */
    BIO *bio;
    int fd;
    bool http; /* see tls_handshake */
    int fetches_left;
    size_t fetched;
    int error;    /* errno of the socket, 0 at its end, or NO_ERROR */
    bool moved;   /* the socket took something */
    bool drained; /* the socket had less than was asked for */
};

static int on_bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent = send(tls->fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (sent > 0)
        tls->moved = true;
    else if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_write(bio);
    else
        tls->error = errno;
    return (int)sent;
}

static int on_bio_read(BIO *bio, char *bytes, int len)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->fetches_left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    tls->fetches_left--;
    ssize_t got = recv(tls->fd, bytes, (size_t)len, 0);
    tls->fetched += got > 0 ? (size_t)got : 0;
    tls->drained = got < len && (got >= 0 || errno == EAGAIN);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (got <= 0)
        tls->error = got < 0 ? errno : 0;
    return (int)got;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static void make_bio(struct tls *tls)
{
    tls->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lahar");
    assert(tls->method != NULL);
    bool ok = BIO_meth_set_write(tls->method, on_bio_write) == 1 &&
              BIO_meth_set_read(tls->method, on_bio_read) == 1 &&
              BIO_meth_set_ctrl(tls->method, on_bio_ctrl) == 1;
    assert(ok);
    tls->bio = BIO_new(tls->method);
    assert(tls->bio != NULL);
    BIO_set_data(tls->bio, tls);
    BIO_set_init(tls->bio, 1);
}

/* ---- handshakes ---- */

/* A stream may have been made before its tls got other certificates. */
static int on_name(SSL *stream, int *alert, void *ctx)
{
    (void)ctx;
    const struct tls *tls = BIO_get_data(SSL_get_rbio(stream));
    const char *name = SSL_get_servername(stream, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *wanted = certs_context(tls->certs, span_text(name != NULL ? name : ""));
    if (wanted == SSL_get_SSL_CTX(stream))
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_set_SSL_CTX(stream, wanted) == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* Whoever speaks something else must not be led to believe that we speak it (RFC 9325, 3.8). */
static int on_protocols(SSL *stream, const unsigned char **out, unsigned char *out_len,
                        const unsigned char *offered, unsigned offered_len, void *ctx)
{
    static const unsigned char http[] = "\x08http/1.1";
    (void)ctx;
    const struct tls *tls = BIO_get_data(SSL_get_rbio(stream));
    if (!tls->http)
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, http, sizeof http - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

struct ssl_ctx_st *tls_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert(ctx != NULL);
    /* Security level 2, whatever openssl.cnf says: no RSA below 2048 bits, no SHA-1. */
    SSL_CTX_set_security_level(ctx, 2);
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
              SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                                            "TLS_AES_256_GCM_SHA384") == 1 &&
              SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1 &&
              SSL_CTX_set_num_tickets(ctx, 0) == 1;
    assert(ok);
    /* A ticket costs more than it saves: resumption spares hardly anything. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Head and body of a record, often several records, by one recv. */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
    return ctx;
}

/* ---- life ---- */

struct tls *tls_new(struct certs *certs)
{
    struct tls *tls = calloc(1, sizeof *tls);
    assert(tls != NULL);
    tls->certs = certs_hold(certs);
    make_bio(tls);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    BIO_free(tls->bio);
    BIO_meth_free(tls->method);
    certs_free(tls->certs);
    free(tls);
}

void tls_set_certs(struct tls *tls, struct certs *certs)
{
    certs_free(tls->certs);
    tls->certs = certs_hold(certs);
}

struct ssl_st *tls_stream(struct tls *tls)
{
    SSL *stream = SSL_new(certs_context(tls->certs, span_of(NULL, 0)));
    if (stream == NULL) {
        ERR_clear_error();
        return NULL;
    }
    int ok = BIO_up_ref(tls->bio);
    assert(ok == 1);
    SSL_set_bio(stream, tls->bio, tls->bio);
    SSL_set_accept_state(stream);
    return stream;
}

void tls_free_stream(struct ssl_st *stream)
{
    SSL_free(stream);
}

static void begin(struct tls *tls, int fd)
{
    tls->fd = fd;
    tls->fetches_left = FETCHES_MAX;
    tls->fetched = 0;
    tls->error = NO_ERROR;
    tls->moved = tls->drained = false;
    /* SSL_get_error would take what somebody else left there for ours. */
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

static enum tls_status judge(const struct tls *tls, SSL *stream, int result)
{
    switch (SSL_get_error(stream, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        break;
    }
    if (tls->error == 0 || tls->error == ECONNRESET || tls->error == EPIPE)
        return TLS_ENDED;
    if (tls->error != NO_ERROR)
        return TLS_BROKEN;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    log_debug("tls_failed", LOG_TEXT("why", reason != NULL ? reason : ""));
    ERR_clear_error();
    return TLS_FAILED;
}

enum tls_status tls_handshake(struct tls *tls, struct ssl_st *stream, int fd, bool http)
{
    begin(tls, fd);
    tls->http = http;
    int result = SSL_do_handshake(stream);
    return result == 1 ? TLS_OK : judge(tls, stream, result);
}

size_t tls_fetched(const struct tls *tls)
{
    return tls->fetched;
}

enum tls_status tls_read(struct tls *tls, struct ssl_st *stream, int fd, uint8_t *at, size_t *got,
                         bool *drained)
{
    begin(tls, fd);
    *got = 0;
    enum tls_status status = TLS_OK;
    do {
        size_t n = 0;
        int result = SSL_read_ex(stream, at + *got, TLS_READ_MAX - *got, &n);
        if (result != 1) {
            status = judge(tls, stream, result);
            break;
        }
        *got += n;
        assert(*got < TLS_READ_MAX);
    } while (SSL_has_pending(stream));
    *drained = tls->drained;
    return status;
}

enum tls_status tls_write(struct tls *tls, struct ssl_st *stream, int fd, struct span bytes,
                          size_t *taken, bool *moved)
{
    begin(tls, fd);
    enum tls_status status = TLS_OK;
    *taken = 0;
    while (*taken < bytes.len) {
        size_t n = 0;
        int result = SSL_write_ex(stream, bytes.at + *taken, bytes.len - *taken, &n);
        if (result != 1) {
            status = judge(tls, stream, result);
            break;
        }
        *taken += n;
    }
    *moved = tls->moved;
    return status;
}

void tls_say_end(struct tls *tls, struct ssl_st *stream, int fd)
{
    begin(tls, fd);
    (void)SSL_shutdown(stream);
    ERR_clear_error();
}
