#include "bench/relay.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/log.h"
#include "proto/frame.h"
#include "proto/wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 1024
#define READ_BYTES (256u * 1024u)
#define KEPT_BYTES_MAX (68u * 1024u)
#define OUT_BYTES_MAX (4u * 1024u * 1024u)
#define BUF_KEEP_BYTES (64u * 1024u)
#define HEAD_BYTES_MAX (FRAME_HEAD_SIZE_MAX + 8u)

/* At index fd. */
struct peer {
    struct buf in, out;
    uint32_t number; /* 0: has not said hello */
    bool open, touched, wants_room;
};

struct relay {
    int epoll_fd, listen_fd;
    uint32_t peer_count;
    struct peer *peers;
    int *fd_of; /* by number; 0: nobody */
    int *touched;
    uint32_t touched_count;
    struct epoll_event events[EVENTS_MAX];
    uint8_t read_buffer[KEPT_BYTES_MAX + READ_BYTES];
};

static void watch(struct relay *relay, int fd, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(relay->epoll_fd, op, fd, &event) != 0)
        log_die("relay: epoll: %s", strerror(errno));
}

static void end(struct relay *relay, int fd)
{
    struct peer *peer = &relay->peers[fd];
    if (peer->number != 0)
        relay->fd_of[peer->number] = 0;
    buf_free(&peer->in);
    buf_free(&peer->out);
    *peer = (struct peer){.touched = peer->touched};
    close(fd);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void queue(struct relay *relay, int fd, uint64_t from, struct span body)
{
    struct peer *peer = &relay->peers[fd];
    uint8_t *at = buf_reserve(&peer->out, HEAD_BYTES_MAX + body.len);
    uint8_t *to = wire_write_varint(at, sizeof from + body.len);
    to = wire_write_fixed64(to, from);
    if (body.len > 0)
        memcpy(to, body.at, body.len);
    buf_commit(&peer->out, (size_t)(to - at) + body.len);
    if (!peer->touched) {
        peer->touched = true;
        relay->touched[relay->touched_count++] = fd;
    }
}

static bool take(struct relay *relay, int fd, struct span frame)
{
    struct peer *peer = &relay->peers[fd];
    uint64_t address;
    if (wire_read_fixed64(frame.at, frame.at + frame.len, &address) == NULL ||
        address > RELAY_NUMBER_MAX)
        return false;
    struct span body = span_after(frame, sizeof address);
    if (peer->number != 0) {
        int to = relay->fd_of[address];
        if (to != 0 && buf_len(&relay->peers[to].out) < OUT_BYTES_MAX)
            queue(relay, to, peer->number, body);
        return true;
    }
    if (address == 0 || body.len != 0 || relay->fd_of[address] != 0)
        return false;
    peer->number = (uint32_t)address;
    relay->fd_of[address] = fd;
    queue(relay, fd, address, body);
    return true;
}

static void readable(struct relay *relay, int fd)
{
    struct peer *peer = &relay->peers[fd];
    size_t kept = buf_len(&peer->in);
    if (kept > 0)
        memcpy(relay->read_buffer, buf_span(&peer->in).at, kept);
    ssize_t got = recv(fd, relay->read_buffer + kept, READ_BYTES, 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            end(relay, fd);
        return;
    }
    struct span rest = span_of(relay->read_buffer, kept + (size_t)got), frame;
    enum frame_status status;
    bool good = true;
    while (good && (status = frame_take(&rest, FRAME_BODY_SIZE_MAX, &frame)) != FRAME_PARTIAL)
        good = status == FRAME_READY && take(relay, fd, frame);
    if (!good) {
        end(relay, fd);
        return;
    }
    if (kept > 0)
        buf_consume(&peer->in, kept, BUF_KEEP_BYTES);
    buf_append(&peer->in, rest);
}

static void write_out(struct relay *relay, int fd)
{
    struct peer *peer = &relay->peers[fd];
    struct span bytes = buf_span(&peer->out);
    if (!peer->open || bytes.len == 0)
        return;
    ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        end(relay, fd);
        return;
    }
    buf_consume(&peer->out, sent < 0 ? 0 : (size_t)sent, BUF_KEEP_BYTES);
    bool wants_room = buf_len(&peer->out) > 0;
    if (wants_room != peer->wants_room)
        watch(relay, fd, EPOLL_CTL_MOD, wants_room ? EPOLLIN | EPOLLOUT : EPOLLIN);
    peer->wants_room = wants_room;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void accept_all(struct relay *relay)
{
    const int on = 1;
    int fd;
    while ((fd = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        assert((uint32_t)fd < relay->peer_count);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        relay->peers[fd].open = true;
        watch(relay, fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void turn(struct relay *relay)
{
    const struct epoll_event *events = relay->events;
    int count = epoll_wait(relay->epoll_fd, relay->events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == relay->listen_fd) {
            accept_all(relay);
            continue;
        }
        if (events[i].events & EPOLLOUT)
            write_out(relay, fd);
        if (relay->peers[fd].open && (events[i].events & ~(uint32_t)EPOLLOUT))
            readable(relay, fd);
    }
    for (uint32_t i = 0; i < relay->touched_count; i++) {
        relay->peers[relay->touched[i]].touched = false;
        write_out(relay, relay->touched[i]);
    }
    relay->touched_count = 0;
}

static int listen_on(const char *text)
{
    struct address address;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    const int on = 1;
    if (!address_parse(text, &address) ||
        getaddrinfo(address.host, address.port, &hints, &found) != 0)
        log_die("relay: '%s' is no address; write HOST:PORT", text);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 4096) != 0)
        log_die("relay: cannot listen on %s: %s", text, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

static void say_ready(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char port[8];
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
        getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) !=
            0)
        log_die("relay: it cannot be told where it listens");
    printf("ready %s\n", port);
    fflush(stdout);
}

void relay_run(const char *listen)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct relay *relay = calloc(1, sizeof *relay);
    assert(relay != NULL);
    relay->peer_count = limit.rlim_cur < 1u << 22 ? (uint32_t)limit.rlim_cur : 1u << 22;
    relay->peers = calloc(relay->peer_count, sizeof *relay->peers);
    relay->touched = calloc(relay->peer_count, sizeof *relay->touched);
    relay->fd_of = calloc(RELAY_NUMBER_MAX + 1, sizeof *relay->fd_of);
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    assert(relay->peers && relay->touched && relay->fd_of && relay->epoll_fd >= 0);
    relay->listen_fd = listen_on(listen);
    watch(relay, relay->listen_fd, EPOLL_CTL_ADD, EPOLLIN);
    say_ready(relay->listen_fd);
    for (;;)
        turn(relay);
}
