#include "edge/acceptor.h"

#include "base/log.h"
#include "edge/edge_metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LISTENERS_MAX 64u
/* Some 10 us each, with TLS 60. */
#define ACCEPTS_A_TURN 16u
#define TLS_ACCEPTS_A_TURN 2u
#define PAUSE_MS 100u

struct listener {
    int fd; /* -1: closed */
    uint16_t port;
    uint32_t layers;
};

struct acceptor {
    struct loop *loop;
    struct metrics *metrics;
    acceptor_fn *on_socket;
    void *ctx;
    uint32_t source;
    uint32_t count;
    bool tls_held;
    uint64_t again_ms; /* accepting pauses until then; 0: it does not */
    struct listener listeners[LISTENERS_MAX];
};

static bool parse_port(const char *text, uint16_t *port)
{
    size_t len = strlen(text);
    if (len == 0 || len > 5)
        return false;
    uint32_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

static bool parse_host(const char *host, size_t len, uint16_t port,
                       struct acceptor_address *address)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = len >= 2 && host[0] == '[' && host[len - 1] == ']';
    if (v6) {
        host++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof text)
        return false;
    memcpy(text, host, len);
    text[len] = '\0';

    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (v6) {
        memcpy(&address->at, &in6, sizeof in6);
        address->len = sizeof in6;
        return inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address->at)->sin6_addr) == 1;
    }
    memcpy(&address->at, &in, sizeof in);
    address->len = sizeof in;
    return inet_pton(AF_INET, text, &((struct sockaddr_in *)&address->at)->sin_addr) == 1;
}

/* Returns the host, NULL if it begins with no scheme of ours. */
static const char *parse_scheme(const char *text, uint32_t *layers)
{
    static const struct {
        const char *name;
        uint32_t layers;
    } schemes[] = {
        {"tcp", 0},
        {"tls", ACCEPTOR_TLS},
        {"ws", ACCEPTOR_WS},
        {"wss", ACCEPTOR_TLS | ACCEPTOR_WS},
    };
    size_t len = strcspn(text, "+:");
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (!span_equal(span_of(text, len), span_text(schemes[i].name)))
            continue;
        bool proxy = strncmp(text + len, "+proxy", 6) == 0;
        *layers = schemes[i].layers | (proxy ? (uint32_t)ACCEPTOR_PROXY : 0);
        len += proxy ? 6 : 0;
        return strncmp(text + len, "://", 3) == 0 ? text + len + 3 : NULL;
    }
    return NULL;
}

bool acceptor_parse(const char *text, struct acceptor_address *address)
{
    *address = (struct acceptor_address){0};
    const char *host = parse_scheme(text, &address->layers);
    if (host == NULL)
        return false;
    const char *colon = strrchr(host, ':');
    uint16_t port;
    return colon != NULL && parse_port(colon + 1, &port) &&
           parse_host(host, (size_t)(colon - host), port, address);
}

bool acceptor_same(const struct acceptor_address *a, const struct acceptor_address *b)
{
    uint16_t port; /* lies at the same place in both families */
    static_assert(offsetof(struct sockaddr_in, sin_port) ==
                      offsetof(struct sockaddr_in6, sin6_port),
                  "as is known of Linux");
    memcpy(&port, (const uint8_t *)&a->at + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return port != 0 && a->len == b->len && memcmp(&a->at, &b->at, a->len) == 0;
}

static void set_option(int fd, int level, int name, int value)
{
    int result = setsockopt(fd, level, name, &value, sizeof value);
    assert(result == 0);
}

static int open_listener(const struct acceptor_address *address, const char *text,
                         uint32_t sndbuf_bytes)
{
    assert(sndbuf_bytes <= INT32_MAX);
    int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        log_die("%s: no socket: %s", text, strerror(errno));
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (sndbuf_bytes != 0)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, (int)sndbuf_bytes);
    if (bind(fd, (const struct sockaddr *)&address->at, address->len) != 0 ||
        listen(fd, SOMAXCONN) != 0)
        log_die("cannot listen on %s: %s; choose another address or port, or end the program "
                "that has it",
                text, strerror(errno));
    return fd;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int result = getsockname(fd, (struct sockaddr *)&at, &len);
    assert(result == 0);
    if (at.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&at)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&at)->sin_port);
}

void acceptor_format(const struct sockaddr_storage *at, char out[64])
{
    char text[INET6_ADDRSTRLEN];
    out[0] = '\0';
    if (at->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)at;
        if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof text) != NULL)
            (void)snprintf(out, 64, "%s:%u", text, (unsigned)ntohs(in->sin_port));
    } else if (at->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)at;
        if (inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text) != NULL)
            (void)snprintf(out, 64, "[%s]:%u", text, (unsigned)ntohs(in6->sin6_port));
    }
}

static void watch_all(struct acceptor *acceptor, uint32_t events)
{
    for (uint32_t i = 0; i < acceptor->count; i++)
        if (acceptor->listeners[i].fd >= 0)
            loop_rewatch(acceptor->loop, acceptor->listeners[i].fd, acceptor->source, i, events);
}

/* A listener stays ready while there is no descriptor to accept with. */
static void pause_all(struct acceptor *acceptor, int error)
{
    log_warn("accept_paused", LOG_TEXT("why", strerror(error)));
    metrics_add(acceptor->metrics, EDGE_METRIC_ACCEPT_PAUSES, 1);
    acceptor->again_ms = loop_now_ms(acceptor->loop) + PAUSE_MS;
    watch_all(acceptor, 0);
}

void acceptor_hold_tls(struct acceptor *acceptor, bool hold)
{
    acceptor->tls_held = hold;
}

void acceptor_tick(struct acceptor *acceptor)
{
    if (acceptor->again_ms == 0 || loop_now_ms(acceptor->loop) < acceptor->again_ms)
        return;
    acceptor->again_ms = 0;
    watch_all(acceptor, EPOLLIN);
}

static void on_ready(void *ctx, uint64_t key, uint32_t events)
{
    (void)events;
    struct acceptor *acceptor = ctx;
    const struct listener *listener = &acceptor->listeners[key];
    bool tls = listener->layers & ACCEPTOR_TLS;
    if (tls && acceptor->tls_held)
        return;
    uint32_t accepts = tls ? TLS_ACCEPTS_A_TURN : ACCEPTS_A_TURN;
    struct acceptor_socket came = {.listener = (uint32_t)key, .layers = listener->layers};
    for (uint32_t i = 0; i < accepts; i++) {
        if (listener->fd < 0 || acceptor->again_ms != 0)
            return;
        socklen_t len = sizeof came.from;
        came.fd = accept4(listener->fd, (struct sockaddr *)&came.from, &len,
                          SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (came.fd >= 0) {
            acceptor->on_socket(acceptor->ctx, &came);
            continue;
        }
        assert(errno != EBADF && errno != EINVAL && errno != ENOTSOCK && errno != EFAULT);
        if (errno == EAGAIN)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_all(acceptor, errno);
        /* Else it was the trouble of one client that is gone already. */
    }
}

struct acceptor *acceptor_new(struct loop *loop, struct metrics *metrics, acceptor_fn *on_socket,
                              void *ctx)
{
    struct acceptor *acceptor = calloc(1, sizeof *acceptor);
    assert(acceptor != NULL);
    acceptor->loop = loop;
    acceptor->metrics = metrics;
    acceptor->on_socket = on_socket;
    acceptor->ctx = ctx;
    acceptor->source = loop_source(loop, on_ready, acceptor);
    return acceptor;
}

void acceptor_free(struct acceptor *acceptor)
{
    acceptor_stop(acceptor);
    free(acceptor);
}

uint32_t acceptor_listen(struct acceptor *acceptor, const struct acceptor_address *address,
                         const char *text, uint32_t sndbuf_bytes)
{
    if (acceptor->count == LISTENERS_MAX)
        log_die("%s: there can be %u listeners, not more", text, LISTENERS_MAX);
    int fd = open_listener(address, text, sndbuf_bytes);
    uint32_t number = acceptor->count++;
    acceptor->listeners[number] = (struct listener){fd, bound_port(fd), address->layers};
    if (!loop_watch(acceptor->loop, fd, acceptor->source, number, EPOLLIN))
        log_die("%s: cannot be watched: %s; raise fs.epoll.max_user_watches", text,
                strerror(errno));
    return number;
}

uint16_t acceptor_port(const struct acceptor *acceptor, uint32_t listener)
{
    assert(listener < acceptor->count);
    return acceptor->listeners[listener].port;
}

uint32_t acceptor_layers(const struct acceptor *acceptor, uint32_t listener)
{
    assert(listener < acceptor->count);
    return acceptor->listeners[listener].layers;
}

void acceptor_stop(struct acceptor *acceptor)
{
    for (uint32_t i = 0; i < acceptor->count; i++) {
        if (acceptor->listeners[i].fd >= 0)
            close(acceptor->listeners[i].fd);
        acceptor->listeners[i].fd = -1;
    }
}
