#include "proto/port.h"

#include "base/log.h"
#include "base/rand.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <zmq.h>

#define BACKOFF_MIN_MS 500u
#define BACKOFF_MAX_MS 5000u
#define BIND_TRIES 100        /* of 20 ms: the one who had the port before may still be ending */
#define QUIET_MS (60u * 1000) /* strangers are logged once until so long none came */

struct port {
    struct zap *zap;
    struct port_place place;
    bool listens;
    void *socket, *monitor; /* NULL: closed */
    zmq_msg_t message;      /* the last one received */
    char endpoint[256];
    uint8_t id[ZAP_ID_SIZE]; /* connecting: our routing id */
    char key[KEYS_Z85_SIZE]; /* connecting: the server's; listening: our own */
    uint32_t key_turn;       /* which of the allowed servers' keys is tried */
    uint64_t open_at_ms;
    uint32_t backoff_ms;
    bool refused;    /* by the server, and that was logged */
    bool rebind_due; /* our own key is another one now */
    uint64_t stranger_ms;
};

static void new_id(struct port *port)
{
    rand_bytes(port->id, sizeof port->id);
    port->id[0] |= 0x80; /* ZeroMQ keeps those that begin with a zero for itself */
}

static struct port *new_port(struct zap *zap, const struct port_place *place, const char *endpoint)
{
    struct port *port = calloc(1, sizeof *port);
    assert(port != NULL);
    assert(strlen(endpoint) < sizeof port->endpoint);
    port->zap = zap;
    port->place = *place;
    memcpy(port->endpoint, endpoint, strlen(endpoint) + 1);
    port->backoff_ms = BACKOFF_MIN_MS;
    zmq_msg_init(&port->message);
    return port;
}

static void close_sockets(struct port *port)
{
    zap_close(port->socket, port->monitor);
    port->socket = port->monitor = NULL;
}

static void close_port(struct port *port)
{
    if (port->socket == NULL)
        return;
    loop_unwatch(port->place.loop, zap_fd(port->socket));
    loop_unwatch(port->place.loop, zap_fd(port->monitor));
    close_sockets(port);
}

static bool watch(struct port *port)
{
    const struct port_place *place = &port->place;
    port->monitor = zap_monitor(port->zap, port->socket);
    if (port->monitor == NULL)
        return false;
    if (!loop_watch(place->loop, zap_fd(port->socket), place->socket_source, place->index, EPOLLIN))
        return false;
    if (loop_watch(place->loop, zap_fd(port->monitor), place->monitor_source, place->index,
                   EPOLLIN))
        return true;
    loop_unwatch(place->loop, zap_fd(port->socket));
    return false;
}

static void back_off(struct port *port)
{
    port->open_at_ms = loop_now_ms(port->place.loop) + port->backoff_ms;
    port->backoff_ms *= 2;
    if (port->backoff_ms > BACKOFF_MAX_MS)
        port->backoff_ms = BACKOFF_MAX_MS;
}

/* That this fails is a bad day, not a bug: it is tried again. */
static void open_port(struct port *port)
{
    const char *why = "no router's key is allowed, or no descriptor is left";
    port->socket = zap_dealer(port->zap, port->id, port->key_turn, port->key);
    if (port->socket != NULL) {
        bool watched = watch(port);
        if (watched && zmq_connect(port->socket, port->endpoint) == 0)
            return;
        why = zmq_strerror(errno);
        if (watched)
            close_port(port);
        else
            close_sockets(port);
    }
    log_warn("link_not_opened", LOG_TEXT("endpoint", port->endpoint), LOG_TEXT("why", why));
    back_off(port);
}

struct port *port_connect(struct zap *zap, const struct port_place *place, const char *endpoint)
{
    struct port *port = new_port(zap, place, endpoint);
    new_id(port);
    open_port(port);
    return port;
}

static bool bind_port(struct port *port, int tries)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    while (zmq_bind(port->socket, port->endpoint) != 0) {
        if (errno != EADDRINUSE || --tries <= 0)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

struct port *port_listen(struct zap *zap, const struct port_place *place, const char *endpoint)
{
    struct port *port = new_port(zap, place, endpoint);
    port->listens = true;
    port->socket = zap_router(zap);
    memcpy(port->key, zap_public(zap), KEYS_Z85_SIZE);
    if (!watch(port))
        log_die("cannot watch a ZeroMQ socket; raise the limit of open files (ulimit -n)");
    if (!bind_port(port, BIND_TRIES))
        log_die("cannot listen for links at %s: %s; choose another address or end who has it",
                endpoint, zmq_strerror(errno));
    size_t size = sizeof port->endpoint;
    int result = zmq_getsockopt(port->socket, ZMQ_LAST_ENDPOINT, port->endpoint, &size);
    assert(result == 0);
    return port;
}

void port_free(struct port *port, int linger_ms)
{
    if (port->socket != NULL)
        zmq_setsockopt(port->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    close_port(port);
    zmq_msg_close(&port->message);
    free(port);
}

const char *port_endpoint(const struct port *port)
{
    return port->endpoint;
}

void port_renew(struct port *port)
{
    assert(!port->listens);
    close_port(port);
    new_id(port);
    port->backoff_ms = BACKOFF_MIN_MS;
    open_port(port);
}

bool port_rekey(struct port *port)
{
    if (port->listens) {
        port->rebind_due = strcmp(port->key, zap_public(port->zap)) != 0;
        return true;
    }
    port->open_at_ms = 0;
    port->backoff_ms = BACKOFF_MIN_MS;
    if (port->socket == NULL || zap_allowed(port->zap, KEYS_ROUTER, port->key))
        return true;
    close_port(port);
    return false;
}

/* Who listens has its key from when it began to. Those connected are cut off, and come again to the
 * new one, which they were told before if the keys are replaced as keys.h says. */
static void rebind(struct port *port)
{
    (void)zmq_unbind(port->socket, port->endpoint); /* already done, the second time */
    zap_renew_router(port->zap, port->socket);
    if (!bind_port(port, 1))
        return; /* the old one is still ending; the next tick tries again */
    port->rebind_due = false;
    memcpy(port->key, zap_public(port->zap), KEYS_Z85_SIZE);
}

void port_tick(struct port *port)
{
    if (port->rebind_due)
        rebind(port);
    if (port->socket == NULL && loop_now_ms(port->place.loop) >= port->open_at_ms)
        open_port(port);
}

/* --- handshakes, as the monitor tells ---------------------------------------- */

static enum port_news refused_stranger(struct port *port)
{
    uint64_t now_ms = loop_now_ms(port->place.loop);
    if (port->stranger_ms == 0 || now_ms - port->stranger_ms > QUIET_MS)
        log_warn("link_handshake_refused", LOG_TEXT("endpoint", port->endpoint),
                 LOG_TEXT("do", "if it was one of ours, put its public key into the list of its "
                                "role and send this process SIGHUP"));
    port->stranger_ms = now_ms;
    return PORT_REFUSED_STRANGER;
}

static enum port_news refused(struct port *port)
{
    if (!port->refused)
        log_warn("link_refused", LOG_TEXT("endpoint", port->endpoint),
                 LOG_TEXT("do", "see that our public key is in the router's list of our role, that "
                                "the router's is in routers.allow, and that both ends use CURVE "
                                "or both do not"));
    port->refused = true;
    port->key_turn++;
    close_port(port);
    back_off(port);
    return PORT_REFUSED;
}

static enum port_news joined(struct port *port)
{
    if (port->refused)
        log_info("link_not_refused_any_more", LOG_TEXT("endpoint", port->endpoint));
    port->refused = false;
    port->backoff_ms = BACKOFF_MIN_MS;
    return PORT_JOINED;
}

enum port_news port_news(struct port *port)
{
    while (port->monitor != NULL) {
        enum zap_event event = zap_monitor_next(port->monitor);
        if (event == ZAP_NONE)
            break;
        if (port->listens && event == ZAP_REFUSED)
            return refused_stranger(port);
        if (port->listens)
            continue; /* anybody may connect and break off */
        if (event == ZAP_JOINED)
            return joined(port);
        return event == ZAP_LEFT ? PORT_LEFT : refused(port);
    }
    return PORT_NOTHING;
}

/* --- messages ---------------------------------------------------------------- */

enum port_sent port_send(struct port *port, const uint8_t id[ZAP_ID_SIZE], struct span head,
                         struct span frames)
{
    if (port->socket == NULL)
        return PORT_NO_ROOM;
    /* Whether there is room is decided here, for all parts. */
    if (port->listens && zmq_send(port->socket, id, ZAP_ID_SIZE, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return errno == EHOSTUNREACH ? PORT_GONE : PORT_NO_ROOM;

    zmq_msg_t message;
    int result = zmq_msg_init_size(&message, head.len + frames.len);
    assert(result == 0);
    uint8_t *at = zmq_msg_data(&message);
    memcpy(at, head.at, head.len);
    if (frames.len > 0)
        memcpy(at + head.len, frames.at, frames.len);
    if (zmq_msg_send(&message, port->socket, ZMQ_DONTWAIT) >= 0)
        return PORT_SENT;
    zmq_msg_close(&message);
    return PORT_NO_ROOM;
}

/* Nobody of ours sends more parts. */
static void drop_parts(struct port *port)
{
    while (zmq_msg_more(&port->message) &&
           zmq_msg_recv(&port->message, port->socket, ZMQ_DONTWAIT) >= 0)
        ;
}

enum port_received port_receive(struct port *port, struct port_message *message)
{
    if (port->socket == NULL)
        return PORT_EMPTY;
    int id_len = ZAP_ID_SIZE;
    if (port->listens)
        id_len = zmq_recv(port->socket, message->id, ZAP_ID_SIZE, ZMQ_DONTWAIT);
    if (id_len < 0 || zmq_msg_recv(&port->message, port->socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&port->message); /* keeps no memory while idle */
        zmq_msg_init(&port->message);
        return PORT_EMPTY;
    }
    if (id_len != ZAP_ID_SIZE || zmq_msg_more(&port->message)) {
        drop_parts(port);
        return PORT_BAD_MESSAGE;
    }
    message->bytes = span_of(zmq_msg_data(&port->message), zmq_msg_size(&port->message));
    message->key = "";
    if (port->listens && zap_curve(port->zap)) {
        const char *key = zmq_msg_gets(&port->message, "User-Id");
        if (key == NULL || strlen(key) != KEYS_Z85_SIZE - 1)
            return PORT_BAD_MESSAGE;
        message->key = key;
    }
    return PORT_MESSAGE;
}

struct port_look port_look(struct port *port)
{
    if (port->socket == NULL)
        return (struct port_look){0};
    int events = 0;
    size_t size = sizeof events;
    int result = zmq_getsockopt(port->socket, ZMQ_EVENTS, &events, &size);
    assert(result == 0);
    return (struct port_look){.readable = events & ZMQ_POLLIN, .writable = events & ZMQ_POLLOUT};
}
