#include "client/transport.h"

#include "base/buf.h"
#include "client/secure.h"
#include "client/servers.h"
#include "client/websocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_ROOM (32u * 1024u)
#define READS_MAX 16u /* of one transport_process: the application has other things to do */
#define KEEP_BYTES 4096u
/* What the kernel may hold unsent: the rest waits with us, where it can be counted. */
#define UNSENT_MAX (64 * 1024)

enum state { IDLE, STARTING, CONNECTING, HANDSHAKE, UPGRADE, OPEN };

struct transport {
    struct transport_options options;
    struct transport_events events;
    void *ctx;
    struct servers *servers;
    struct servers_target target;         /* tried now */
    struct secure *secure;                /* NULL: no server needs it */
    struct secure_stream *stream;         /* NULL: there is none below */
    struct websocket websocket;           /* if the target has a path */
    uint8_t pending[WS_PENDING_SIZE_MAX]; /* came in it and could not be read yet */
    size_t pending_len;
    struct buf in, out; /* not used by the reader, not written */
    int epoll_fd, fd;
    enum state state;
    uint32_t life; /* counts what was opened: an event may have ended what it was told of */
    uint32_t watched;
    uint64_t try_until_ms;
    bool wants_out;  /* the last thing that was tried goes on when the socket is writable */
    bool again;      /* there is more to do at once */
    bool overflowed; /* more was queued than may wait */
    const char *why, *why_text; /* of the last failure */
};

/* ---- the socket ------------------------------------------------------------------------------ */

static void watch(struct transport *t, uint32_t events)
{
    if (events == t->watched)
        return;
    struct epoll_event event = {.events = events};
    /* The socket is registered already, so that no memory is needed. */
    int result = epoll_ctl(t->epoll_fd, EPOLL_CTL_MOD, t->fd, &event);
    assert(result == 0);
    t->watched = events;
}

static void close_socket(struct transport *t)
{
    secure_close(t->stream);
    t->stream = NULL;
    if (t->fd >= 0) {
        /* By hand: in a forked process the socket may live on, and its registration with it. */
        (void)epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, t->fd, NULL);
        close(t->fd);
    }
    t->fd = -1;
    t->watched = 0;
    t->wants_out = false;
    t->again = false;
    t->overflowed = false;
    t->pending_len = 0;
    t->life++;
    buf_free(&t->in);
    buf_free(&t->out);
}

enum io { IO_OK, IO_WAIT, IO_ENDED, IO_FAILED };

static enum io heed(struct transport *t, enum secure_io io, const struct secure_failure *failure)
{
    if (io == SECURE_OK)
        return IO_OK;
    t->wants_out = io == SECURE_WAIT_OUT;
    if (io == SECURE_WAIT_IN || io == SECURE_WAIT_OUT)
        return IO_WAIT;
    if (io == SECURE_ENDED)
        return IO_ENDED;
    t->why = failure->why;
    t->why_text = failure->text;
    return IO_FAILED;
}

static enum io write_some(struct transport *t, struct span bytes, size_t *taken)
{
    *taken = 0;
    if (t->stream != NULL) {
        struct secure_failure failure;
        return heed(t, secure_write(t->stream, bytes, taken, &failure), &failure);
    }
    ssize_t sent = send(t->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
    if (sent >= 0) {
        *taken = (size_t)sent;
        return IO_OK;
    }
    t->wants_out = true;
    return errno == EAGAIN || errno == EINTR ? IO_WAIT : IO_ENDED;
}

static enum io read_some(struct transport *t, uint8_t *at, size_t *got)
{
    *got = 0;
    if (t->stream != NULL) {
        struct secure_failure failure;
        return heed(t, secure_read(t->stream, at, READ_ROOM, got, &failure), &failure);
    }
    ssize_t read = recv(t->fd, at, READ_ROOM, 0);
    if (read > 0) {
        *got = (size_t)read;
        return IO_OK;
    }
    return read < 0 && (errno == EAGAIN || errno == EINTR) ? IO_WAIT : IO_ENDED;
}

/* ---- finding a server ------------------------------------------------------------------------ */

static void failed(struct transport *t, const char *why, const char *why_text)
{
    t->why = why;
    t->why_text = why_text;
}

static bool open_socket(struct transport *t)
{
    const int on = 1, unsent_max = UNSENT_MAX;
    t->fd = socket(t->target.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->fd < 0)
        return false;
    (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max, sizeof unsent_max);
    if (connect(t->fd, t->target.address, t->target.address_len) < 0 && errno != EINPROGRESS)
        return false;
    struct epoll_event event = {.events = EPOLLOUT};
    if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->fd, &event) < 0)
        return false;
    t->watched = EPOLLOUT;
    return true;
}

static void lose(struct transport *t)
{
    close_socket(t);
    t->state = IDLE;
    t->events.lost(t->ctx, t->why, t->why_text);
}

/* One step: a name that is not known, or an address. */
static void start_next(struct transport *t, uint64_t now_ms)
{
    const char *why_text;
    enum servers_step step = servers_next(t->servers, &t->target, &why_text);
    if (step == SERVERS_END) {
        lose(t);
    } else if (step == SERVERS_UNKNOWN) {
        failed(t, "resolve", why_text);
    } else if (open_socket(t)) {
        t->again = false;
        t->state = CONNECTING;
        t->try_until_ms = now_ms + t->options.try_ms;
    } else {
        failed(t, "connect", strerrordesc_np(errno));
        close_socket(t);
        t->again = true;
    }
}

/* What was being opened failed; the next one is tried. */
static void try_next(struct transport *t)
{
    close_socket(t);
    t->state = STARTING;
    t->again = true;
}

static void opened(struct transport *t)
{
    t->state = OPEN;
    t->wants_out = false;
    watch(t, EPOLLIN);
    /* The handshake may have read what came right behind it. */
    t->again = t->stream != NULL && secure_has_more(t->stream);
    t->events.opened(t->ctx);
}

static void sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    SHA1(bytes, len, digest);
}

/* Bytes go to and fro. */
static void begin_talking(struct transport *t)
{
    if (t->target.path == NULL) {
        opened(t);
        return;
    }
    t->state = UPGRADE;
    t->wants_out = false;
    if (websocket_ask(&t->websocket, t->target.host, t->target.port, t->target.path, sha1,
                      &t->out)) {
        transport_flush(t);
    } else {
        failed(t, "upgrade", "the server's name is not one of HTTP");
        try_next(t);
    }
}

static void handshake(struct transport *t)
{
    struct secure_failure failure;
    enum secure_io io = secure_handshake(t->stream, &failure);
    if (io == SECURE_OK) {
        begin_talking(t);
        return;
    }
    failed(t, "tls", "the server closed the connection during the handshake");
    if (heed(t, io, &failure) == IO_WAIT)
        watch(t, t->wants_out ? EPOLLOUT : EPOLLIN);
    else
        try_next(t);
}

static void connected(struct transport *t)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
        failed(t, "connect", strerrordesc_np(error));
        try_next(t);
    } else if (!t->target.tls) {
        begin_talking(t);
    } else if ((t->stream = secure_open(t->secure, t->fd, t->target.host)) != NULL) {
        t->state = HANDSHAKE;
        handshake(t);
    } else {
        failed(t, "tls", "the connection could not be set up");
        try_next(t);
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Gives what was left over and what is new to its reader, as one. Meanwhile the buffer is nobody
 * else's: the reader may end the connection. */
static void hand_on(struct transport *t, struct span bytes)
{
    uint32_t life = t->life;
    struct buf in = t->in;
    t->in = (struct buf){0};
    if (buf_len(&in) == 0) {
        size_t used = t->events.bytes(t->ctx, bytes);
        if (life == t->life)
            buf_append(&in, span_after(bytes, used));
    } else {
        buf_append(&in, bytes);
        size_t used = t->events.bytes(t->ctx, buf_span(&in));
        buf_consume(&in, used, KEEP_BYTES);
    }
    if (life == t->life)
        t->in = in;
    else
        buf_free(&in);
}

/* The same for what came in a WebSocket; `bytes` is written to. */
static void unwrap(struct transport *t, uint8_t *bytes, size_t len)
{
    uint32_t life = t->life;
    struct websocket_end end;
    size_t clear = 0;
    bool open = websocket_read(&t->websocket, bytes, &clear, &len, &t->out, &end);
    t->overflowed |= buf_len(&t->out) > TRANSPORT_QUEUE_MAX;
    t->pending_len = len - clear;
    memcpy(t->pending, bytes + clear, t->pending_len);
    if (clear > 0)
        hand_on(t, span_of(bytes, clear));
    if (open || life != t->life)
        return;
    transport_flush(t);
    failed(t, end.why, end.why_text);
    lose(t);
}

/* The server said yes; what it said right behind that belongs to the WebSocket. */
static void upgraded(struct transport *t, size_t head_size)
{
    uint32_t life = t->life;
    struct buf in = t->in;
    t->in = (struct buf){0};
    buf_consume(&in, head_size, KEEP_BYTES);
    opened(t);
    if (life == t->life && buf_len(&in) > 0)
        unwrap(t, in.bytes + in.begin, buf_len(&in));
    buf_free(&in);
}

static void read_answer(struct transport *t)
{
    size_t got, size;
    failed(t, "closed", "the server closed the connection during the upgrade to WebSocket");
    enum io io = read_some(t, buf_reserve(&t->in, READ_ROOM), &got);
    buf_commit(&t->in, got);
    t->again = false;
    if (io == IO_WAIT) {
        watch(t, EPOLLIN | (t->wants_out || buf_len(&t->out) > 0 ? EPOLLOUT : 0u));
        return;
    }
    if (io != IO_OK) {
        try_next(t);
        return;
    }
    enum ws_upgrade_outcome outcome = websocket_answer(&t->websocket, buf_span(&t->in), &size);
    if (outcome == WS_UPGRADE_OK) {
        upgraded(t, size);
    } else if (outcome == WS_UPGRADE_PARTIAL) {
        t->again = t->stream != NULL && secure_has_more(t->stream);
    } else {
        failed(t, ws_upgrade_label(outcome), ws_upgrade_text(outcome));
        try_next(t);
    }
}

static void receive(struct transport *t)
{
    uint8_t bytes[WS_PENDING_SIZE_MAX + READ_ROOM];
    uint32_t life = t->life;
    t->again = false;
    for (uint32_t i = 0; i < READS_MAX; i++) {
        size_t got, left = t->pending_len;
        failed(t, "closed", "the server closed the connection");
        memcpy(bytes, t->pending, left);
        enum io io = read_some(t, bytes + left, &got);
        if (io == IO_WAIT) {
            if (t->stream != NULL && t->wants_out)
                watch(t, EPOLLIN | EPOLLOUT);
            return;
        }
        if (io != IO_OK) {
            lose(t);
            return;
        }
        if (t->target.path != NULL)
            unwrap(t, bytes, left + got);
        else
            hand_on(t, span_of(bytes, got));
        if (life != t->life)
            return;
        /* On a socket a short read says that there is no more. */
        if (t->stream == NULL && got < READ_ROOM)
            return;
    }
    t->again = t->stream != NULL && secure_has_more(t->stream);
}

void transport_flush(struct transport *t)
{
    if (t->state != OPEN && t->state != UPGRADE)
        return;
    while (buf_len(&t->out) > 0) {
        size_t taken;
        enum io io = write_some(t, buf_span(&t->out), &taken);
        if (io == IO_WAIT) {
            watch(t, EPOLLIN | (t->wants_out ? EPOLLOUT : 0u));
            return;
        }
        /* What is wrong with the socket shows when it is read: a farewell may be waiting there. */
        if (io != IO_OK) {
            buf_free(&t->out);
            break;
        }
        buf_consume(&t->out, taken, KEEP_BYTES);
    }
    watch(t, EPOLLIN);
}

void transport_flush_later(struct transport *t)
{
    if (t->state == OPEN && buf_len(&t->out) > 0)
        watch(t, EPOLLIN | EPOLLOUT);
}

void transport_send(struct transport *t, struct span bytes)
{
    if (t->state != OPEN || t->overflowed)
        return;
    if (buf_len(&t->out) + bytes.len > TRANSPORT_QUEUE_MAX) {
        t->overflowed = true;
        return;
    }
    if (t->target.path != NULL)
        websocket_send(&t->websocket, &t->out, bytes);
    else
        buf_append(&t->out, bytes);
}

bool transport_has_room(const struct transport *t)
{
    return buf_len(&t->out) < TRANSPORT_ROOM;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool set_up(struct transport *t, const char **why)
{
    *why = "servers: give tcp://host:port, tls://host:port, ws://host:port/path or "
           "wss://host:port/path, several separated by commas";
    t->servers = t->options.servers == NULL
                     ? NULL
                     : servers_new(t->options.servers, t->events.random, t->ctx);
    if (t->servers == NULL)
        return false;
    if (servers_any_tls(t->servers))
        t->secure = secure_new(t->options.ca_file, t->options.insecure, why);
    if (servers_any_tls(t->servers) && t->secure == NULL)
        return false;
    *why = "no descriptor is left";
    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return t->epoll_fd >= 0;
}

struct transport *transport_new(const struct transport_options *options,
                                const struct transport_events *events, void *ctx, const char **why)
{
    struct transport *t = calloc(1, sizeof *t);
    assert(t != NULL);
    t->options = *options;
    t->events = *events;
    t->ctx = ctx;
    t->fd = t->epoll_fd = -1;
    t->websocket.random = events->random;
    t->websocket.ctx = ctx;
    bool ok = set_up(t, why);
    t->options.servers = t->options.ca_file = NULL; /* borrowed only until now */
    if (ok)
        return t;
    transport_free(t);
    return NULL;
}

void transport_free(struct transport *t)
{
    if (t == NULL)
        return;
    transport_disconnect(t);
    if (t->epoll_fd >= 0)
        close(t->epoll_fd);
    secure_free(t->secure);
    servers_free(t->servers);
    free(t);
}

int transport_fd(const struct transport *t)
{
    return t->epoll_fd;
}

static bool is_opening(const struct transport *t)
{
    return t->state == CONNECTING || t->state == HANDSHAKE || t->state == UPGRADE;
}

uint64_t transport_due_ms(const struct transport *t)
{
    if (t->again || t->overflowed)
        return 0;
    return is_opening(t) ? t->try_until_ms : UINT64_MAX;
}

void transport_hint(struct transport *t, struct span server)
{
    servers_hint(t->servers, server);
}

void transport_connect(struct transport *t)
{
    assert(t->state == IDLE);
    servers_begin(t->servers);
    t->state = STARTING;
    t->again = true;
}

void transport_disconnect(struct transport *t)
{
    if (t->state == OPEN && t->target.path != NULL)
        websocket_close(&t->websocket, &t->out, WS_CODE_NORMAL);
    transport_flush(t);
    if (t->state == OPEN && t->stream != NULL && buf_len(&t->out) == 0)
        secure_say_bye(t->stream);
    close_socket(t);
    t->state = IDLE;
}

static void dispatch(struct transport *t)
{
    struct epoll_event event = {0};
    int ready = epoll_wait(t->epoll_fd, &event, 1, 0);
    if (ready != 1 && !t->again)
        return;
    if (t->state == CONNECTING) {
        connected(t);
    } else if (t->state == HANDSHAKE) {
        handshake(t);
    } else if (t->state == UPGRADE) {
        if ((event.events & EPOLLOUT) != 0)
            transport_flush(t);
        if (t->again || t->stream != NULL || (event.events & ~(uint32_t)EPOLLOUT) != 0)
            read_answer(t);
    } else {
        if ((event.events & EPOLLOUT) != 0)
            transport_flush(t);
        /* TLS may have to write before it can go on reading. */
        if (t->again || t->stream != NULL || (event.events & ~(uint32_t)EPOLLOUT) != 0)
            receive(t);
    }
}

void transport_process(struct transport *t, uint64_t now_ms)
{
    if (t->overflowed) {
        failed(t, "blocked", "the server takes nothing any more");
        lose(t);
    } else if (t->state == STARTING) {
        start_next(t, now_ms);
    } else if (is_opening(t) && t->try_until_ms <= now_ms) {
        failed(t, "timeout", "the server did not answer in time");
        try_next(t);
    } else if (t->state != IDLE) {
        dispatch(t);
    }
}
