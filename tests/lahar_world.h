/* A server of a test's own for the C library: TCP or TLS, and WebSocket if it is told to, one
 * connection at a time, in the test's own thread; and a certificate authority to go with it. */
#ifndef TESTS_LAHAR_WORLD_H
#define TESTS_LAHAR_WORLD_H

#include "base/arena.h"
#include "base/buf.h"
#include "client/lahar.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/hot.h"
#include "proto/reasons.h"
#include "proto/unpack.h"
#include "proto/ws.h"
#include "proto/ws_upgrade.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 30000u
#define SELF 10001u
#define PEER 10002u
#define KIND(name) LAHAR__V1__CLIENT_FRAME__FRAME_##name

struct server {
    int listener, fd;
    uint16_t port;
    SSL_CTX *tls;
    SSL *ssl;
    struct buf in;
    char sni[64];
    uint32_t accepted;
    bool mute; /* accepts and does nothing */
    bool deaf; /* does not read */
    /* WebSocket. */
    bool websocket, upgraded;
    const char *answer; /* to an upgrade, if not the right one */
    struct ws_reader reader;
    struct buf raw;
    char path[64], host[64];
    uint32_t pings, pongs; /* of the client */
    uint8_t last_pong[WS_CONTROL_PAYLOAD_MAX];
    size_t last_pong_len;
    uint16_t close_code; /* that the client closed with */
};

struct world {
    char folder[64], ca_file[96];
    X509 *ca, *other_ca;
    EVP_PKEY *key; /* of everybody */
    struct server server;
    struct lahar *lahar;
    struct lahar_options options;
    char servers[256];
    struct arena *arena;
    uint32_t messages, outcomes, tokens;
    size_t bytes_in_messages;
    char last_message[32];
    struct lahar_result_of_send last_outcome;
    enum lahar_result result_in_callback;
};

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* `names` NULL: an authority. Issuer NULL: signed by itself. */
static inline X509 *make_certificate(const struct world *world, X509 *issuer, const char *cn,
                                     const char *names, long from_s, long to_s)
{
    static long serial = 1;
    X509 *cert = X509_new();
    assert_non_null(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
    X509_set_pubkey(cert, world->key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, &ctx, names ? NID_subject_alt_name : NID_basic_constraints,
                            names ? names : "critical,CA:TRUE");
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(cert, world->key, EVP_sha256()) > 0);
    return cert;
}

static inline X509 *make_good_certificate(const struct world *world)
{
    return make_certificate(world, world->ca, "edge", "DNS:localhost,IP:127.0.0.1", -3600, 3600);
}

/* Takes the certificate. */
static inline void use_certificate(struct world *world, X509 *cert)
{
    SSL_CTX_free(world->server.tls);
    world->server.tls = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(world->server.tls, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(world->server.tls, world->key), 1);
    SSL_CTX_set_mode(world->server.tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    X509_free(cert);
}

/* ---- the server ------------------------------------------------------------------------------ */

static inline int listen_somewhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline void server_hang_up(struct server *server)
{
    SSL_free(server->ssl);
    server->ssl = NULL;
    if (server->fd >= 0)
        close(server->fd);
    server->fd = -1;
    buf_free(&server->in);
    buf_free(&server->raw);
    server->upgraded = false;
    ERR_clear_error();
}

/* The peer is told at once that all is over, and what it wrote is thrown away. */
static inline void server_reset(struct server *server)
{
    const struct linger linger = {.l_onoff = 1};
    assert_int_equal(setsockopt(server->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    server_hang_up(server);
}

static inline void server_accept(struct server *server)
{
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    server_hang_up(server);
    const int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    server->accepted++;
    server->fd = fd;
    if (!server->tls)
        return;
    server->ssl = SSL_new(server->tls);
    SSL_set_fd(server->ssl, fd);
    SSL_set_accept_state(server->ssl);
}

static inline void server_write(struct server *server, struct span bytes);

static inline void server_sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    SHA1(bytes, len, digest);
}

static inline void server_write_raw(struct server *server, struct span bytes)
{
    bool upgraded = server->upgraded;
    server->upgraded = false;
    server_write(server, bytes);
    server->upgraded = upgraded;
}

static inline void server_upgrade(struct server *server)
{
    struct ws_upgrade request;
    uint8_t answer[WS_UPGRADE_ANSWER_SIZE_MAX];
    char accept[WS_UPGRADE_ACCEPT_SIZE];
    enum ws_upgrade_outcome outcome = ws_upgrade_parse(buf_span(&server->raw), &request);
    if (outcome == WS_UPGRADE_PARTIAL)
        return;
    assert_string_equal(ws_upgrade_label(outcome), "");
    ws_upgrade_accept(request.key, server_sha1, accept);
    snprintf(server->path, sizeof server->path, "%.*s", (int)request.path.len, request.path.at);
    snprintf(server->host, sizeof server->host, "%.*s", (int)request.host.len, request.host.at);
    buf_consume(&server->raw, request.size, 0);
    if (server->answer)
        server_write(server, span_text(server->answer));
    else
        server_write(server, span_of(answer, ws_upgrade_answer_write(answer, accept)));
    server->upgraded = true;
    ws_reader_init(&server->reader, WS_SERVER);
}

static inline void server_unwrap(struct server *server)
{
    struct ws_item item;
    size_t used;
    enum ws_event event;
    if (!server->upgraded)
        server_upgrade(server);
    while (server->upgraded && buf_len(&server->raw) > 0) {
        event = ws_read(&server->reader, server->raw.bytes + server->raw.begin,
                        buf_len(&server->raw), &used, &item);
        assert_int_not_equal(event, WS_ERROR);
        if (event == WS_PIECE)
            buf_append(&server->in, span_of(item.at, item.len));
        if (event == WS_CLOSE)
            server->close_code = item.code;
        server->pings += event == WS_PING;
        if (event == WS_PONG) {
            server->pongs++;
            memcpy(server->last_pong, item.at, item.len);
            server->last_pong_len = item.len;
        }
        buf_consume(&server->raw, used, 0);
        if (event == WS_MORE)
            return;
    }
}

static inline void server_read(struct server *server)
{
    struct buf *in = server->websocket ? &server->raw : &server->in;
    while (true) {
        uint8_t *at = buf_reserve(in, 16384);
        size_t got = 0;
        bool over;
        if (server->ssl) {
            int result = SSL_read_ex(server->ssl, at, 16384, &got);
            int error = SSL_get_error(server->ssl, result);
            over = result != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
            const char *sni = SSL_get_servername(server->ssl, TLSEXT_NAMETYPE_host_name);
            snprintf(server->sni, sizeof server->sni, "%s", sni ? sni : "");
            ERR_clear_error();
        } else {
            ssize_t result = recv(server->fd, at, 16384, 0);
            over = result == 0 || (result < 0 && errno != EAGAIN);
            got = result > 0 ? (size_t)result : 0;
        }
        buf_commit(in, got);
        if (server->websocket)
            server_unwrap(server);
        if (over && buf_len(&server->in) == 0)
            server_hang_up(server);
        if (over || got == 0)
            return;
    }
}

static inline void server_write(struct server *server, struct span bytes)
{
    uint64_t give_up = now_ms() + WAIT_MS;
    if (server->upgraded) {
        uint8_t head[WS_HEAD_SIZE_MAX];
        server_write_raw(server, span_of(head, ws_head_write(head, WS_OP_BINARY, bytes.len, NULL)));
        server_write_raw(server, bytes);
        return;
    }
    while (bytes.len > 0) {
        size_t taken = 0;
        if (server->ssl) {
            (void)SSL_write_ex(server->ssl, bytes.at, bytes.len, &taken);
            ERR_clear_error();
        } else {
            ssize_t result = send(server->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
            taken = result > 0 ? (size_t)result : 0;
        }
        bytes = span_after(bytes, taken);
        assert_true(now_ms() < give_up);
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* Waits for anything, then lets both sides go on. */
static inline void turn(struct world *world)
{
    struct server *server = &world->server;
    int wait_ms = lahar_timeout_ms(world->lahar);
    if (wait_ms < 0 || wait_ms > 100)
        wait_ms = 100;
    struct pollfd fds[] = {{lahar_fd(world->lahar), POLLIN, 0},
                           {server->listener, POLLIN, 0},
                           {server->deaf || server->mute ? -1 : server->fd, POLLIN, 0}};
    assert_true(poll(fds, 3, wait_ms) >= 0);
    (void)lahar_process(world->lahar);
    server_accept(server);
    if (server->fd >= 0 && !server->mute && !server->deaf)
        server_read(server);
}

#define TURN_UNTIL(world, condition)                                                               \
    for (uint64_t give_up = now_ms() + WAIT_MS; !(condition);) {                                   \
        assert_true(now_ms() < give_up);                                                           \
        turn(world);                                                                               \
    }

/* Waits for the client's next frame and opens it; the content is good until the next call. */
static inline uint32_t hear(struct world *world, struct span *content)
{
    static uint8_t kept[FRAME_BODY_SIZE_MAX];
    struct server *server = &world->server;
    struct span input, body;
    uint32_t number;
    while (true) {
        input = buf_span(&server->in);
        if (input.len > 0 && frame_take(&input, FRAME_BODY_SIZE_MAX, &body) == FRAME_READY)
            break;
        size_t len = buf_len(&server->in);
        TURN_UNTIL(world, buf_len(&server->in) > len);
    }
    assert_true(frame_open(body, &number, content, NULL));
    if (content->len > 0)
        memcpy(kept, content->at, content->len);
    *content = span_of(kept, content->len);
    buf_consume(&server->in, buf_len(&server->in) - input.len, 0);
    return number;
}

static inline struct hot_send hear_send(struct world *world)
{
    struct span content;
    struct hot_send send;
    assert_int_equal(hear(world, &content), KIND(SEND));
    assert_true(hot_send_read(content, &send));
    return send;
}

static inline void say_frame(struct world *world, const Lahar__V1__ServerFrame *frame)
{
    server_write(&world->server, unpack_frame(world->arena, &frame->base));
    arena_reset(world->arena);
}

static inline void say_error(struct world *world, enum end_reason reason)
{
    Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    error.reason = reason;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_ERROR;
    frame.error = &error;
    say_frame(world, &frame);
}

static inline void say_ack(struct world *world, struct span cmid)
{
    uint8_t bytes[HOT_OVERHEAD_MAX];
    struct hot_ack ack = {cmid, HOT_LEVEL_DELIVERED, cmid};
    server_write(&world->server, span_of(bytes, hot_ack_write(bytes, &ack)));
}

static inline void say_deliver(struct world *world, uint64_t dseq, struct span body)
{
    static uint8_t bytes[HOT_OVERHEAD_MAX + FRAME_PAYLOAD_SIZE_MAX];
    uint8_t mid[LAHAR_ID_SIZE] = {0};
    memcpy(mid, &dseq, sizeof dseq);
    struct hot_deliver deliver = {.dseq = dseq,
                                  .from = PEER,
                                  .class = HOT_CONFIRMED,
                                  .mid = span_of(mid, sizeof mid),
                                  .body = body};
    server_write(&world->server, span_of(bytes, hot_deliver_write(bytes, &deliver)));
}

/* A login from the TCP connection to Welcome. */
static inline void go_online(struct world *world)
{
    static uint64_t session = 0;
    struct span content;
    assert_int_equal(hear(world, &content), KIND(HELLO));
    Lahar__V1__Welcome welcome = LAHAR__V1__WELCOME__INIT;
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    welcome.proto = 1;
    welcome.gid = SELF;
    welcome.session = ++session;
    welcome.heartbeat_ms = 600000;
    frame.frame_case = LAHAR__V1__SERVER_FRAME__FRAME_WELCOME;
    frame.welcome = &welcome;
    say_frame(world, &frame);
    TURN_UNTIL(world, lahar_state(world->lahar) == LAHAR_ONLINE);
}

/* ---- the application ------------------------------------------------------------------------- */

static inline size_t give_token(void *ctx, char *out, size_t room)
{
    struct world *world = ctx;
    return (size_t)snprintf(out, room, "token %u", ++world->tokens);
}

static inline void on_message(void *ctx, struct lahar *lahar, const struct lahar_message *message)
{
    struct world *world = ctx;
    world->messages++;
    world->bytes_in_messages += message->body_size;
    snprintf(world->last_message, sizeof world->last_message, "%.*s",
             (int)(message->body_size % sizeof world->last_message), (const char *)message->body);
    world->result_in_callback = lahar_process(lahar);
}

static inline void on_outcome(void *ctx, struct lahar *lahar,
                              const struct lahar_result_of_send *result)
{
    struct world *world = ctx;
    (void)lahar;
    world->outcomes++;
    world->last_outcome = *result;
}

/* Each % of the pattern becomes the port of the server. */
static inline void begin(struct world *world, const char *pattern)
{
    const char *why = "?";
    unsigned port = world->server.port;
    char *at = world->servers;
    for (const char *p = pattern; *p; p++) {
        if (*p == '%')
            at += sprintf(at, "%u", port);
        else
            *at++ = *p;
    }
    *at = '\0';
    world->options.servers = world->servers;
    world->lahar = lahar_new(&world->options, &why);
    if (!world->lahar)
        fail_msg("%s", why);
    assert_string_equal(why, "");
}

static inline int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->arena = arena_new(1u << 20);
    strcpy(world->folder, "/tmp/test_lahar.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->ca_file, sizeof world->ca_file, "%s/ca.pem", world->folder);
    world->key = EVP_EC_gen("P-256");
    world->ca = make_certificate(world, NULL, "authority", NULL, -3600, 3600);
    world->other_ca = make_certificate(world, NULL, "another", NULL, -3600, 3600);
    FILE *file = fopen(world->ca_file, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, world->ca), 1);
    fclose(file);
    world->server.listener = listen_somewhere(&world->server.port);
    world->server.fd = -1;
    world->options = (struct lahar_options){
        .device = "desk",
        .client = "test_lahar",
        .ca_file = world->ca_file,
        .token = give_token,
        .on_message = on_message,
        .on_outcome = on_outcome,
        .context = world,
        .connect_timeout_ms = WAIT_MS,
        .reconnect_min_ms = 1,
        .reconnect_max_ms = 10,
    };
    *state = world;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    lahar_free(world->lahar);
    server_hang_up(&world->server);
    close(world->server.listener);
    SSL_CTX_free(world->server.tls);
    X509_free(world->ca);
    X509_free(world->other_ca);
    EVP_PKEY_free(world->key);
    unlink(world->ca_file);
    rmdir(world->folder);
    arena_free(world->arena);
    free(world);
    return 0;
}

#endif
