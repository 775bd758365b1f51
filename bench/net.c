#include "bench/net.h"

#include "base/buf.h"
#include "base/log.h"
#include "bench/endpoint.h"
#include "client/websocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 1024
#define WAKE UINT32_MAX
#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u
#define SOURCE_FIRST 0x7f000002u

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_HANDSHAKE, CONN_UPGRADE, CONN_OPEN };

struct conn {
    int fd;
    uint8_t state;   /* enum conn_state */
    bool touched;    /* in the list of those to be written */
    bool wants_room; /* epoll watches for EPOLLOUT */
    uint8_t refused; /* connect said no at once: errno */
    uint8_t server;
    SSL *ssl;             /* NULL: TCP */
    struct websocket *ws; /* NULL: none */
    uint32_t clear; /* bytes of `in` that came out of it; behind them what it could not read */
    struct buf in;  /* what was not taken */
    struct buf out;
};

struct net {
    struct net_events events;
    void *ctx;
    int epoll_fd;
    struct conn *conns;
    uint32_t conns_max, keep_bytes, sources, first;
    int wake_fd;
    bool coarse; /* the kernel has no epoll_pwait2 */
    struct endpoint servers[NET_SERVERS_MAX];
    uint32_t server_count;
    SSL_CTX *tls;
    uint32_t *touched;
    uint32_t touched_count;
    uint64_t now_ns, random;
    uint8_t *nowhere; /* what is written for a connection that is gone */
    uint8_t read_buffer[NET_KEPT_BYTES_MAX + WS_PENDING_SIZE_MAX + NET_READ_BYTES];
    struct epoll_event ready[EVENTS_MAX];
};

static void read_clock(struct net *net)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    net->now_ns = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* --- setting up ------------------------------------------------------------------------------ */

static void add_servers(struct net *net, const char *servers)
{
    char *copy = strdup(servers), *rest = copy;
    assert(copy != NULL);
    for (char *one; (one = strsep(&rest, ",")) != NULL;) {
        if (net->server_count == NET_SERVERS_MAX)
            log_die("--servers: more than %u", NET_SERVERS_MAX);
        struct endpoint *server = &net->servers[net->server_count++];
        endpoint_parse(server, one);
        if (net->sources > 0 && server->address.ss_family != AF_INET)
            log_die("--sources: '%s' has no address of IPv4", one);
    }
    free(copy);
}

static SSL_CTX *new_tls(const char *ca)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls)
        log_die("OpenSSL could not be set up");
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* Else each record costs two reads. */
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    if (ca) {
        if (SSL_CTX_load_verify_locations(tls, ca, NULL) != 1)
            log_die("--ca: '%s' has no certificate", ca);
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    }
    return tls;
}

struct net *net_new(const struct net_options *options, const struct net_events *events, void *ctx)
{
    struct net *net = calloc(1, sizeof *net);
    assert(net != NULL);
    net->events = *events;
    net->ctx = ctx;
    net->conns_max = options->conns_max;
    net->keep_bytes = options->keep_bytes;
    net->conns = calloc(options->conns_max, sizeof *net->conns);
    net->touched = calloc(options->conns_max, sizeof *net->touched);
    net->nowhere = malloc(NET_KEPT_BYTES_MAX);
    assert(net->conns != NULL && net->touched != NULL && net->nowhere != NULL);
    assert(options->conns_max < WAKE);
    net->sources = options->sources;
    net->first = options->first;
    net->wake_fd = options->wake_fd;
    add_servers(net, options->servers);
    for (uint32_t i = 0; i < net->server_count && !net->tls; i++)
        if (net->servers[i].tls)
            net->tls = new_tls(options->ca);
    net->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (net->epoll_fd < 0)
        log_die("no epoll descriptor: %s", strerror(errno));
    struct epoll_event wake = {.events = EPOLLIN, .data.u32 = WAKE};
    if (epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, net->wake_fd, &wake) != 0)
        log_die("cannot watch an event descriptor: %s", strerror(errno));
    read_clock(net);
    net->random = net->now_ns;
    return net;
}

void net_free(struct net *net)
{
    if (net == NULL)
        return;
    for (uint32_t i = 0; i < net->conns_max; i++)
        net_close(net, i);
    SSL_CTX_free(net->tls);
    close(net->epoll_fd);
    free(net->nowhere);
    free(net->touched);
    free(net->conns);
    free(net);
}

/* --- one connection --------------------------------------------------------------------------- */

static void watch(struct net *net, uint32_t number, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u32 = number};
    if (epoll_ctl(net->epoll_fd, op, net->conns[number].fd, &event) != 0)
        log_die("cannot watch a socket: %s; raise fs.epoll.max_user_watches", strerror(errno));
}

void net_close(struct net *net, uint32_t number)
{
    assert(number < net->conns_max);
    struct conn *conn = &net->conns[number];
    if (conn->state == CONN_CLOSED)
        return;
    SSL_free(conn->ssl);
    free(conn->ws);
    close(conn->fd);
    buf_free(&conn->in);
    buf_free(&conn->out);
    /* It may still be in the list of the touched ones. */
    *conn = (struct conn){.state = CONN_CLOSED, .touched = conn->touched};
}

static void lost(struct net *net, uint32_t number, const char *why)
{
    net_close(net, number);
    net->events.on_lost(net->ctx, number, why);
}

/* The port is left to connect, which can use each one once for every server and source. */
static void bind_source(const struct net *net, int fd, uint32_t number)
{
    const int on = 1;
    const struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr = {htonl(SOURCE_FIRST + (net->first + number) % net->sources)},
    };
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&source, sizeof source) != 0)
        log_die("--sources: %s", strerror(errno));
}

/* Masks of a generator have nobody to hide from. */
static uint64_t next_random(void *ctx)
{
    struct net *net = ctx;
    return (net->random = net->random * 6364136223846793005u + 1442695040888963407u) >> 16;
}

void net_connect(struct net *net, uint32_t number, uint32_t server_number)
{
    assert(number < net->conns_max && server_number < net->server_count);
    struct conn *conn = &net->conns[number];
    assert(conn->state == CONN_CLOSED);
    const struct endpoint *server = &net->servers[server_number];
    const int on = 1;
    conn->fd = socket(server->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        log_die("no socket: %s; raise the limit of open files (ulimit -n) or --processes",
                strerror(errno));
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (net->sources > 0)
        bind_source(net, conn->fd, number);
    if (connect(conn->fd, (const struct sockaddr *)&server->address, server->len) != 0 &&
        errno != EINPROGRESS) {
        if (errno == EADDRNOTAVAIL)
            log_die("cannot connect: the ports of this address are used up; raise --sources");
        /* A refusal shows as an event, like everything else. */
        conn->refused = (uint8_t)errno;
    }
    conn->state = CONN_CONNECTING;
    conn->server = (uint8_t)server_number;
    if (server->websocket) {
        conn->ws = calloc(1, sizeof *conn->ws);
        assert(conn->ws != NULL);
        conn->ws->random = next_random;
        conn->ws->ctx = net;
    }
    if (server->tls) {
        conn->ssl = SSL_new(net->tls);
        assert(conn->ssl != NULL);
        int set = SSL_set_fd(conn->ssl, conn->fd);
        assert(set == 1);
        SSL_set_connect_state(conn->ssl);
    }
    watch(net, number, EPOLL_CTL_ADD, EPOLLOUT);
}

uint32_t net_servers(const struct net *net)
{
    return net->server_count;
}

static void opened(struct net *net, uint32_t number)
{
    net->conns[number].state = CONN_OPEN;
    watch(net, number, EPOLL_CTL_MOD, EPOLLIN);
    net->events.on_open(net->ctx, number);
}

static void sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    SHA1(bytes, len, digest);
}

static void write_out(struct net *net, uint32_t number);

/* Bytes go to and fro. */
static void begin_talking(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    const struct endpoint *server = &net->servers[conn->server];
    if (!conn->ws) {
        opened(net, number);
        return;
    }
    conn->state = CONN_UPGRADE;
    watch(net, number, EPOLL_CTL_MOD, EPOLLIN);
    if (!websocket_ask(conn->ws, server->named.host, server->named.port, server->path, sha1,
                       &conn->out))
        log_die("--servers: '%s' is no name for HTTP", server->named.host);
    write_out(net, number);
}

static void handshake(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    ERR_clear_error();
    int result = SSL_do_handshake(conn->ssl);
    if (result == 1) {
        begin_talking(net, number);
        return;
    }
    switch (SSL_get_error(conn->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        watch(net, number, EPOLL_CTL_MOD, EPOLLIN);
        return;
    case SSL_ERROR_WANT_WRITE:
        watch(net, number, EPOLL_CTL_MOD, EPOLLOUT);
        return;
    default:
        lost(net, number, "the TLS handshake failed");
    }
}

static void connected(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    int error = conn->refused;
    socklen_t len = sizeof error;
    if (error == 0)
        getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        lost(net, number, strerror(error));
    } else if (conn->ssl) {
        conn->state = CONN_HANDSHAKE;
        handshake(net, number);
    } else {
        begin_talking(net, number);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

enum got { GOT_BYTES, GOT_NOTHING, GOT_END, GOT_ERROR };

static enum got read_some(struct conn *conn, uint8_t *at, size_t room, size_t *len)
{
    if (conn->ssl == NULL) {
        ssize_t got = recv(conn->fd, at, room, 0);
        if (got > 0)
            *len = (size_t)got;
        else if (got == 0)
            return GOT_END;
        else
            return errno == EAGAIN || errno == EINTR ? GOT_NOTHING : GOT_ERROR;
        return GOT_BYTES;
    }
    size_t sum = 0;
    int got;
    ERR_clear_error();
    /* What OpenSSL holds back epoll does not tell of. */
    do {
        got = SSL_read(conn->ssl, at + sum, (int)(room - sum));
        if (got > 0)
            sum += (size_t)got;
    } while (got > 0 && sum < room && SSL_has_pending(conn->ssl));
    *len = sum;
    if (sum > 0)
        return GOT_BYTES;
    int error = SSL_get_error(conn->ssl, got);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return GOT_NOTHING;
    return error == SSL_ERROR_ZERO_RETURN ? GOT_END : GOT_ERROR;
}

/* Reads behind what is kept of the connection; false: there is nothing to do now. */
static bool read_on(struct net *net, uint32_t number, size_t *len)
{
    struct conn *conn = &net->conns[number];
    size_t kept = buf_len(&conn->in), got = 0;
    if (kept > 0)
        memcpy(net->read_buffer, buf_span(&conn->in).at, kept);
    switch (read_some(conn, net->read_buffer + kept, NET_READ_BYTES, &got)) {
    case GOT_NOTHING:
        return false;
    case GOT_END:
        lost(net, number, "the server closed the connection");
        return false;
    case GOT_ERROR:
        lost(net, number, "the connection broke");
        return false;
    case GOT_BYTES:
        break;
    }
    *len = kept + got;
    return true;
}

/* Keeps these bytes of the read buffer, and nothing else. */
static void keep(struct net *net, struct conn *conn, size_t from, size_t to)
{
    buf_consume(&conn->in, buf_len(&conn->in), net->keep_bytes);
    if (from < to)
        buf_append(&conn->in, span_of(net->read_buffer + from, to - from));
}

static void upgrade(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    size_t len, size = 0;
    if (!read_on(net, number, &len))
        return;
    enum ws_upgrade_outcome outcome =
        websocket_answer(conn->ws, span_of(net->read_buffer, len), &size);
    if (outcome != WS_UPGRADE_OK && outcome != WS_UPGRADE_PARTIAL) {
        lost(net, number, ws_upgrade_text(outcome));
        return;
    }
    /* What is left is read with what follows: nothing that matters comes before we spoke. */
    keep(net, conn, size, len);
    if (outcome == WS_UPGRADE_OK)
        opened(net, number);
}

static void touch(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    if (conn->touched)
        return;
    assert(net->touched_count < net->conns_max);
    conn->touched = true;
    net->touched[net->touched_count++] = number;
}

static void readable(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    struct websocket_end end;
    bool open = true;
    size_t len;
    if (!read_on(net, number, &len))
        return;
    read_clock(net);
    size_t clear = len;
    if (conn->ws) {
        clear = conn->clear;
        open = websocket_read(conn->ws, net->read_buffer, &clear, &len, &conn->out, &end);
        if (buf_len(&conn->out) > 0)
            touch(net, number); /* an answer to it */
    }
    size_t used = net->events.on_bytes(net->ctx, number, span_of(net->read_buffer, clear));
    if (conn->state != CONN_OPEN)
        return;
    if (used == NET_BROKEN || len - used > NET_KEPT_BYTES_MAX) {
        lost(net, number, "the server sent what it may not");
        return;
    }
    conn->clear = (uint32_t)(clear - used);
    keep(net, conn, used, len);
    if (!open)
        lost(net, number, end.why_text);
}

/* --- writing ---------------------------------------------------------------------------------- */

uint8_t *net_reserve(struct net *net, uint32_t number, size_t len)
{
    assert(number < net->conns_max && len <= NET_KEPT_BYTES_MAX);
    struct conn *conn = &net->conns[number];
    if (conn->state != CONN_OPEN)
        return net->nowhere;
    return conn->ws ? websocket_reserve(&conn->out, len) : buf_reserve(&conn->out, len);
}

void net_commit(struct net *net, uint32_t number, size_t len)
{
    struct conn *conn = &net->conns[number];
    if (conn->state != CONN_OPEN)
        return;
    if (conn->ws)
        websocket_commit(conn->ws, &conn->out, len);
    else
        buf_commit(&conn->out, len);
    touch(net, number);
}

/* How much the socket took; -1: it broke. */
static ssize_t write_some(struct conn *conn, struct span bytes)
{
    if (conn->ssl == NULL) {
        ssize_t sent = send(conn->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    size_t sum = 0;
    ERR_clear_error();
    while (sum < bytes.len) {
        int sent = SSL_write(conn->ssl, bytes.at + sum, (int)(bytes.len - sum));
        if (sent <= 0) {
            int error = SSL_get_error(conn->ssl, sent);
            return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? (ssize_t)sum
                                                                                 : -1;
        }
        sum += (size_t)sent;
    }
    return (ssize_t)sum;
}

static void write_out(struct net *net, uint32_t number)
{
    struct conn *conn = &net->conns[number];
    struct span bytes = buf_span(&conn->out);
    if (conn->state < CONN_UPGRADE || bytes.len == 0)
        return;
    ssize_t sent = write_some(conn, bytes);
    if (sent < 0) {
        lost(net, number, "the connection broke");
        return;
    }
    buf_consume(&conn->out, (size_t)sent, net->keep_bytes);
    bool wants_room = buf_len(&conn->out) > 0;
    if (wants_room != conn->wants_room)
        watch(net, number, EPOLL_CTL_MOD, wants_room ? EPOLLIN | EPOLLOUT : EPOLLIN);
    conn->wants_room = wants_room;
}

void net_flush(struct net *net)
{
    for (uint32_t i = 0; i < net->touched_count; i++) {
        net->conns[net->touched[i]].touched = false;
        write_out(net, net->touched[i]);
    }
    net->touched_count = 0;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void ready(struct net *net, uint32_t number, uint32_t events)
{
    switch (net->conns[number].state) {
    case CONN_CONNECTING:
        connected(net, number);
        break;
    case CONN_HANDSHAKE:
        handshake(net, number);
        break;
    case CONN_UPGRADE:
        if (events & EPOLLOUT)
            write_out(net, number);
        if (net->conns[number].state == CONN_UPGRADE && (events & ~(uint32_t)EPOLLOUT))
            upgrade(net, number);
        break;
    case CONN_OPEN:
        if (events & EPOLLOUT)
            write_out(net, number);
        if (net->conns[number].state == CONN_OPEN && (events & ~(uint32_t)EPOLLOUT))
            readable(net, number);
        break;
    default:
        break; /* closed earlier in this turn */
    }
}

static int wait_for(struct net *net, uint64_t wait_ns)
{
    if (wait_ns > 0 && !net->coarse) {
        const struct timespec wait = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
        int count = epoll_pwait2(net->epoll_fd, net->ready, EVENTS_MAX, &wait, NULL);
        if (count >= 0 || errno == EINTR)
            return count;
        net->coarse = true;
    }
    return epoll_wait(net->epoll_fd, net->ready, EVENTS_MAX, (int)(wait_ns / NS_PER_MS));
}

void net_turn(struct net *net, uint64_t wait_ns)
{
    uint64_t woken;
    net_flush(net);
    int count = wait_for(net, wait_ns);
    read_clock(net);
    for (int i = 0; i < count; i++) {
        if (net->ready[i].data.u32 != WAKE)
            ready(net, net->ready[i].data.u32, net->ready[i].events);
        else if (read(net->wake_fd, &woken, sizeof woken) < 0)
            assert(errno == EAGAIN);
    }
    net_flush(net);
}

uint64_t net_now_ns(const struct net *net)
{
    return net->now_ns;
}

uint64_t net_clock_ns(struct net *net)
{
    read_clock(net);
    return net->now_ns;
}
