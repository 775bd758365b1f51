#include "client/secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>

struct secure {
    SSL_CTX *tls;
    BIO_METHOD *method;
    bool insecure;
};

struct secure_stream {
    SSL *ssl;
    int fd;
    bool insecure;
};

/* ---- what is below ----------------------------------------------------------------------------
 */

static int on_bio_write(BIO *bio, const char *bytes, int len)
{
    const struct secure_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent = send(stream->fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int on_bio_read(BIO *bio, char *bytes, int len)
{
    const struct secure_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = recv(stream->fd, bytes, (size_t)len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)got;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/* ---- who may serve us --------------------------------------------------------------------------
 */

/* A BIO of our own, because OpenSSL's raises SIGPIPE. */
static bool set_up(struct secure *secure, const char *ca_file, const char **why)
{
    *why = "TLS cannot be set up: out of memory";
    secure->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lahar");
    secure->tls = SSL_CTX_new(TLS_client_method());
    if (secure->method == NULL || secure->tls == NULL)
        return false;
    bool ok = BIO_meth_set_write(secure->method, on_bio_write) == 1 &&
              BIO_meth_set_read(secure->method, on_bio_read) == 1 &&
              BIO_meth_set_ctrl(secure->method, on_bio_ctrl) == 1 &&
              SSL_CTX_set_min_proto_version(secure->tls, TLS1_2_VERSION) == 1;
    assert(ok);
    /* A cut-off stream does no harm: what counts is acknowledged frame by frame. */
    SSL_CTX_set_options(secure->tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(secure->tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(secure->tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(secure->tls, 1);
    if (secure->insecure)
        return true;
    SSL_CTX_set_verify(secure->tls, SSL_VERIFY_PEER, NULL);
    *why = "ca_file cannot be read, or has no certificate (PEM)";
    ok = ca_file != NULL ? SSL_CTX_load_verify_locations(secure->tls, ca_file, NULL) == 1
                         : SSL_CTX_set_default_verify_paths(secure->tls) == 1;
    ERR_clear_error();
    return ok;
}

struct secure *secure_new(const char *ca_file, bool insecure, const char **why)
{
    struct secure *secure = calloc(1, sizeof *secure);
    assert(secure != NULL);
    secure->insecure = insecure;
    if (set_up(secure, ca_file, why))
        return secure;
    secure_free(secure);
    return NULL;
}

void secure_free(struct secure *secure)
{
    if (secure == NULL)
        return;
    SSL_CTX_free(secure->tls);
    BIO_meth_free(secure->method);
    free(secure);
}

/* ---- a stream ----------------------------------------------------------------------------------
 */

static bool is_numeric(const char *host)
{
    struct in6_addr address; /* of the larger kind */
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool name_the_server(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (is_numeric(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct secure_stream *secure_open(struct secure *secure, int fd, const char *host)
{
    struct secure_stream *stream = calloc(1, sizeof *stream);
    assert(stream != NULL);
    stream->fd = fd;
    stream->insecure = secure->insecure;
    stream->ssl = SSL_new(secure->tls);
    BIO *bio = BIO_new(secure->method);
    if (stream->ssl == NULL || bio == NULL) {
        BIO_free(bio);
    } else {
        BIO_set_data(bio, stream);
        BIO_set_init(bio, 1);
        SSL_set_bio(stream->ssl, bio, bio);
        SSL_set_connect_state(stream->ssl);
        if (name_the_server(stream->ssl, host))
            return stream;
    }
    ERR_clear_error();
    secure_close(stream);
    return NULL;
}

void secure_close(struct secure_stream *stream)
{
    if (stream == NULL)
        return;
    SSL_free(stream->ssl);
    free(stream);
}

/* `result` of an SSL call. */
static enum secure_io judge(struct secure_stream *stream, int result,
                            struct secure_failure *failure)
{
    if (result == 1)
        return SECURE_OK;
    int error = SSL_get_error(stream->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return error == SSL_ERROR_WANT_READ ? SECURE_WAIT_IN : SECURE_WAIT_OUT;
    long verdict = stream->insecure ? X509_V_OK : SSL_get_verify_result(stream->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL)
        return SECURE_ENDED;
    failure->why = verdict != X509_V_OK ? "certificate" : "tls";
    failure->text = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                    : reason != NULL     ? reason
                                         : "the server does not speak TLS as it should";
    return SECURE_FAILED;
}

enum secure_io secure_handshake(struct secure_stream *stream, struct secure_failure *failure)
{
    ERR_clear_error();
    return judge(stream, SSL_do_handshake(stream->ssl), failure);
}

enum secure_io secure_write(struct secure_stream *stream, struct span bytes, size_t *taken,
                            struct secure_failure *failure)
{
    ERR_clear_error();
    return judge(stream, SSL_write_ex(stream->ssl, bytes.at, bytes.len, taken), failure);
}

enum secure_io secure_read(struct secure_stream *stream, uint8_t *at, size_t room, size_t *got,
                           struct secure_failure *failure)
{
    ERR_clear_error();
    return judge(stream, SSL_read_ex(stream->ssl, at, room, got), failure);
}

bool secure_has_more(const struct secure_stream *stream)
{
    return SSL_has_pending(stream->ssl) != 0;
}

void secure_say_bye(struct secure_stream *stream)
{
    (void)SSL_shutdown(stream->ssl);
    ERR_clear_error();
}
