/* tls_world: a conn_world with a tls listener, and clients that speak TLS. */
#ifndef TESTS_TLS_WORLD_H
#define TESTS_TLS_WORLD_H

#include "edge/tls.h"
#include "tests/certificates.h"
#include "tests/conn_world.h"

/* ---- certificates ---- */

static inline struct certs *load(struct world *world)
{
    char why[CERTS_WHY_SIZE];
    struct certs *certs =
        certs_load(&(struct certs_options){.certificate = world->certificate, .key = world->key},
                   tls_context, why);
    if (certs == NULL)
        fail_msg("%s", why);
    return certs;
}

static inline void begin_tls(struct world *world)
{
    strcpy(world->folder, "/tmp/test_tls.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    (void)snprintf(world->certificate, sizeof world->certificate, "%s/cert.pem", world->folder);
    (void)snprintf(world->key, sizeof world->key, "%s/key.pem", world->folder);
    make_certificate(world->certificate, world->key, &(struct certificate_made){.name = "first"});
    world->options.certs = load(world);
    begin(world);
}

static inline int set_up_tls(void **state)
{
    struct world *world = make();
    begin_tls(world);
    *state = world;
    return 0;
}

/* ---- clients ---- */

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

static inline struct client dial_listener(struct world *world, uint32_t listener, int rcvbuf)
{
    struct client client = {.fd = dial_port(conn_table_port(world->table, listener), rcvbuf)};
    client.ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(client.ctx);
    client.ssl = SSL_new(client.ctx);
    assert_non_null(client.ssl);
    SSL_set_fd(client.ssl, client.fd);
    SSL_set_connect_state(client.ssl);
    SSL_set_mode(client.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return client;
}

static inline void hang_up(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    close(client->fd);
    ERR_clear_error();
}

static inline struct client dial_tls_rcvbuf(struct world *world, int rcvbuf)
{
    return dial_listener(world, world->tls, rcvbuf);
}

static inline struct client dial_tls(struct world *world)
{
    return dial_tls_rcvbuf(world, 0);
}

/* False: it failed. */
static inline bool shake(struct world *world, struct client *client)
{
    uint64_t give_up = now_ms() + WAIT_MS;
    int result;
    while ((result = SSL_do_handshake(client->ssl)) != 1) {
        int error = SSL_get_error(client->ssl, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            ERR_clear_error();
            return false;
        }
        assert_true(now_ms() < give_up);
        loop_turn(world->loop, 1);
    }
    return true;
}

static inline void hear_tls(struct world *world, struct client *client, uint8_t *at, size_t len)
{
    uint64_t give_up = now_ms() + WAIT_MS;
    size_t got = 0;
    while (got < len) {
        size_t n = 0;
        if (SSL_read_ex(client->ssl, at + got, len - got, &n) != 1) {
            ERR_clear_error();
            loop_turn(world->loop, 1);
        }
        got += n;
        assert_true(now_ms() < give_up);
    }
}

static inline char *subject_of(struct client *client)
{
    X509 *cert = SSL_get1_peer_certificate(client->ssl);
    assert_non_null(cert);
    char *text = X509_NAME_oneline(X509_get_subject_name(cert), NULL, 0);
    X509_free(cert);
    return text;
}

#endif
