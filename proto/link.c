#include "proto/link.h"

#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/rand.h"
#include "proto/frame.h"
#include "proto/pair.h"
#include "proto/zap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define TICK_MS 100u
#define PEERS_MAX 65536u
#define FORGET_MS (10u * 60 * 1000) /* how long the account of a peer that is away is kept */
#define QUEUE_KEEP (32u * 1024)     /* memory that an empty queue keeps until it is idle */
#define BACKOFF_MIN_MS 500u
#define BACKOFF_MAX_MS 5000u
#define LINGER_MS 200
#define BIND_TRIES 100 /* of 20 ms: the one who had the port before may still be ending */
#define FRAMES_SIZE_MAX (LINK_BATCH_SIZE_MAX - BATCH_HEAD_SIZE_MAX)

struct link_net {
    struct zap *zap;
};

/* A ZeroMQ socket. A binder has one for all peers; a link that connects one for each, of the same
 * number. */
struct port {
    void *socket, *monitor; /* NULL: to be opened at open_at_ms */
    char *endpoint;
    char server_key[KEYS_Z85_SIZE]; /* binder: its own */
    uint8_t id[ZAP_ID_SIZE];        /* its routing id, for this incarnation */
    uint32_t server_turn;           /* which of the allowed servers' keys is tried */
    uint64_t open_at_ms;
    uint32_t backoff_ms;
    bool backlog;   /* more waits to be read, in link->backlog */
    bool sent;      /* was sent on in this turn, in link->sent */
    bool signalled; /* it may have room again */
    bool refused;   /* and that was logged */
    bool rebind_due;
};

struct peer {
    struct pair pair;
    bool used;
    bool touched;   /* in link->touched: visit it at the end of the turn */
    bool head_due;  /* send a head even without frames */
    bool stuck;     /* ZeroMQ had no room; the queue waits */
    bool answering; /* tell our name with the next head */
    bool barred;    /* its key is not allowed any more */
    bool down_due;  /* on_down is owed */
    enum keys_role role;
    uint64_t heard_ms; /* on the link's own clock */
    uint64_t head_at_ms;
    uint8_t id[ZAP_ID_SIZE]; /* binder: its routing id */
    char user[ZAP_USER_SIZE];
};

struct indices {
    uint32_t *at;
    uint32_t count, room;
};

struct link {
    struct link_net *net;
    struct loop *loop;
    struct link_options options;
    char name[LINK_NAME_MAX + 1];
    const struct link_events *events;
    void *ctx;
    bool binds, bound;
    char endpoint[256];
    struct port *ports;
    uint32_t port_count;
    struct pool peers;
    struct map by_id; /* binder: from routing id and role */
    uint64_t id_salt;
    struct indices touched, sent, backlog;
    uint32_t socket_source, monitor_source, again_source;
    int again_fd;      /* always readable; watched once whenever there is a backlog */
    uint32_t budget;   /* frames that may still be handed on in this turn */
    uint64_t clock_ms; /* time in which this thread was alive */
    uint64_t ticked_ms;
    uint32_t generation; /* of the keys, as last seen */
    bool renewed;        /* on_downs are owed, sockets to be opened anew */
    uint64_t map_epoch;
    uint32_t load;
    uint32_t drop_every, drop_count;
    uint64_t refused_logged_ms;
    struct link_counts counts;
};

static void add(struct indices *list, uint32_t index)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 16 : list->room * 2;
        list->at = realloc(list->at, list->room * sizeof *list->at);
        assert(list->at != NULL);
    }
    list->at[list->count++] = index;
}

static struct peer *peer_at(const struct link *link, uint32_t index)
{
    return pool_at(&link->peers, index);
}

static struct port *port_of(const struct link *link, uint32_t peer)
{
    return &link->ports[link->binds ? 0 : peer];
}

static bool is_up(const struct link *link, uint32_t index)
{
    if (index >= link->peers.used_high)
        return false;
    const struct peer *peer = peer_at(link, index);
    return peer->used && peer->pair.state == PAIR_UP;
}

static void touch(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(link, index);
    if (!peer->touched)
        add(&link->touched, index);
    peer->touched = true;
}

static void say(struct link *link, uint32_t index)
{
    peer_at(link, index)->head_due = true;
    touch(link, index);
}

static void leave_for_later(struct link *link, uint32_t index)
{
    struct port *port = &link->ports[index];
    if (port->backlog)
        return;
    port->backlog = true;
    add(&link->backlog, index);
    loop_rewatch(link->loop, link->again_fd, link->again_source, 0, EPOLLIN | EPOLLONESHOT);
}

/* --- coming up and going down -------------------------------------------------------------------
 */

static void tell_up(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(link, index);
    pair_rise(&peer->pair);
    link->counts.peers_up++;
    log_info("link_up", LOG_SPAN("peer", span_of(peer->pair.name, peer->pair.name_len)),
             LOG_TEXT("role", keys_role_name(peer->role)),
             LOG_HEX("incarnation", peer->pair.theirs));
    link->events->on_up(link->ctx, index, peer->role, peer->pair.theirs,
                        span_of(peer->pair.name, peer->pair.name_len));
}

static void tell_down(struct link *link, uint32_t index, const char *why)
{
    struct peer *peer = peer_at(link, index);
    peer->down_due = false;
    link->counts.peers_down++;
    log_info("link_down", LOG_SPAN("peer", span_of(peer->pair.name, peer->pair.name_len)),
             LOG_TEXT("role", keys_role_name(peer->role)), LOG_TEXT("why", why));
    link->events->on_down(link->ctx, index);
}

static void fall(struct link *link, uint32_t index, const char *why)
{
    struct peer *peer = peer_at(link, index);
    if (peer->pair.state != PAIR_UP)
        return;
    pair_fall(&peer->pair, &link->counts);
    peer->stuck = false;
    tell_down(link, index, why);
}

/* --- sending ------------------------------------------------------------------------------------
 */

enum sent { SENT, SENT_AGAIN, SENT_GONE };

static enum sent send_parts(struct link *link, struct port *port, const struct peer *peer,
                            struct span head, struct span frames)
{
    if (port->socket == NULL)
        return SENT_AGAIN;
    if (!port->sent) {
        port->sent = true;
        add(&link->sent, (uint32_t)(port - link->ports));
    }
    if (link->binds &&
        zmq_send(port->socket, peer->id, ZAP_ID_SIZE, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return errno == EHOSTUNREACH ? SENT_GONE : SENT_AGAIN;

    zmq_msg_t message;
    int result = zmq_msg_init_size(&message, head.len + frames.len);
    assert(result == 0);
    memcpy(zmq_msg_data(&message), head.at, head.len);
    if (frames.len > 0)
        memcpy((uint8_t *)zmq_msg_data(&message) + head.len, frames.at, frames.len);
    if (zmq_msg_send(&message, port->socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&message);
        return SENT_AGAIN;
    }
    return SENT;
}

static bool fault_drops(struct link *link, const struct pair_batch *batch)
{
    if (link->drop_every == 0 || batch->count == 0 || ++link->drop_count < link->drop_every)
        return false;
    link->drop_count = 0;
    return true;
}

/* One batch of what waits, or a head alone. */
static enum sent send_batch(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(link, index);
    struct pair *pair = &peer->pair;
    struct pair_batch batch = pair_next(pair, FRAMES_SIZE_MAX);
    bool named = peer->answering || (!link->binds && pair->state == PAIR_AWAY);
    struct batch_head head = {
        .from = link->options.incarnation,
        .to = pair->theirs,
        .first_byte = batch.first_byte,
        .first_frame = batch.first_frame,
        .credit = credit_in_grant(&pair->in),
        .map_epoch = link->map_epoch,
        .load = link->load,
        .role = zap_role(link->net->zap),
        .name = named ? span_text(link->name) : (struct span){0},
    };
    uint8_t bytes[BATCH_HEAD_SIZE_MAX];
    struct span packed = span_of(bytes, batch_head_write(bytes, &head));
    enum sent sent = SENT;
    if (!fault_drops(link, &batch))
        sent = send_parts(link, port_of(link, index), peer, packed, batch.frames);
    if (sent == SENT_AGAIN) {
        link->counts.send_again += batch.count > 0;
        return sent;
    }
    if (sent == SENT_GONE) {
        link->counts.unreachable++;
        link->counts.frames_dropped += batch.count;
    } else {
        link->counts.batches_sent++;
        link->counts.bytes_sent += packed.len + batch.frames.len;
        link->counts.frames_sent += batch.count;
        peer->answering = false;
    }
    pair_sent(pair, &batch, QUEUE_KEEP);
    peer->head_due = false;
    peer->head_at_ms = loop_now_ms(link->loop) + LINK_HEARTBEAT_MS;
    return sent;
}

/* All that waits, and a head if one is due. A head that finds no room is said again at the next
 * beat. */
static void flush(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(link, index);
    peer->stuck = false;
    while (peer->pair.queue_frames > 0 || peer->head_due)
        if (send_batch(link, index) == SENT_AGAIN) {
            peer->head_due = false;
            peer->stuck = peer->pair.queue_frames > 0;
            break;
        }
}

enum link_sent link_would(const struct link *link, uint32_t index, size_t size)
{
    if (!is_up(link, index))
        return LINK_AWAY;
    const struct peer *peer = peer_at(link, index);
    if (!credit_out_allows(&peer->pair.out, size) ||
        (peer->stuck && buf_len(&peer->pair.queue) + size > link->options.pending_bytes_max))
        return LINK_NO_CREDIT;
    return LINK_QUEUED;
}

enum link_sent link_send(struct link *link, uint32_t index, enum link_kind kind, struct span frame)
{
    assert(frame.len > 0 && frame.len <= FRAME_LINK_SIZE_MAX + FRAME_HEAD_SIZE_MAX);
    if (!is_up(link, index)) {
        link->counts.peer_away++;
        return LINK_AWAY;
    }
    struct peer *peer = peer_at(link, index);
    if (kind == LINK_CREDITED && link_would(link, index, frame.len) != LINK_QUEUED) {
        link->counts.no_credit++;
        return LINK_NO_CREDIT;
    }
    /* A turn that says more than a batch holds does not wait for its end. */
    if (!peer->stuck && buf_len(&peer->pair.queue) + frame.len > FRAMES_SIZE_MAX)
        flush(link, index);
    size_t max = peer->stuck ? link->options.pending_bytes_max : SIZE_MAX;
    pair_queue(&peer->pair, frame, max, &link->counts);
    touch(link, index);
    return LINK_QUEUED;
}

/* --- hearing ------------------------------------------------------------------------------------
 */

static uint64_t id_hash(const struct link *link, const uint8_t id[ZAP_ID_SIZE], enum keys_role role)
{
    uint64_t half[2];
    memcpy(half, id, sizeof half);
    uint64_t mix = (half[0] ^ link->id_salt) * UINT64_C(0x9e3779b97f4a7c15);
    mix = (mix ^ mix >> 32 ^ half[1]) * UINT64_C(0xd6e8feb86659fd93) + role;
    mix = (mix ^ mix >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mix ^ mix >> 32;
}

struct identity {
    const uint8_t *id;
    enum keys_role role;
};

static bool same_identity(const void *ctx, uint32_t index, const void *key)
{
    const struct peer *peer = peer_at(ctx, index);
    const struct identity *identity = key;
    return peer->role == identity->role && memcmp(peer->id, identity->id, ZAP_ID_SIZE) == 0;
}

static void forget(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(link, index);
    assert(peer->pair.state == PAIR_AWAY && !peer->touched && !peer->down_due);
    map_remove(&link->by_id, id_hash(link, peer->id, peer->role), index);
    pair_free(&peer->pair);
    peer->used = false;
    pool_give(&link->peers, index);
}

static uint32_t new_peer(struct link *link)
{
    uint32_t index = pool_take(&link->peers);
    if (index == POOL_NONE)
        return index;
    struct peer *peer = peer_at(link, index);
    peer->used = true;
    peer->heard_ms = link->clock_ms;
    pair_init(&peer->pair, link->options.window_bytes);
    return index;
}

/* The binder's peer of this routing id and role, made if need be; POOL_NONE if there is no room. */
static uint32_t find_peer(struct link *link, const uint8_t id[ZAP_ID_SIZE], enum keys_role role)
{
    struct identity identity = {id, role};
    uint64_t hash = id_hash(link, id, role);
    uint32_t index = map_find(&link->by_id, hash, same_identity, link, &identity);
    if (index != MAP_NONE)
        return index;
    index = new_peer(link);
    if (index == POOL_NONE)
        return index;
    struct peer *peer = peer_at(link, index);
    memcpy(peer->id, id, ZAP_ID_SIZE);
    peer->role = role;
    map_add(&link->by_id, hash, index);
    return index;
}

static void hear(struct link *link, uint32_t index, const struct batch_head *head,
                 struct span frames, uint32_t count)
{
    struct peer *peer = peer_at(link, index);
    peer->heard_ms = link->clock_ms;
    struct pair_heard heard =
        pair_hear(&peer->pair, link->options.incarnation, head, frames.len, count, &link->counts);
    if (heard.down) {
        peer->stuck = false;
        tell_down(link, index, "another incarnation, or it has forgotten us");
    }
    if (heard.up)
        tell_up(link, index);
    /* A name asks who we are. Only binders answer, or the answers would be answered. */
    if (heard.answer || (link->binds && head->name.len > 0)) {
        peer->answering = link->binds;
        say(link, index);
    }
    struct span body;
    while (heard.take && !link->renewed && batch_next(&frames, &body))
        link->events->on_frame(link->ctx, index, body);
    if (credit_in_grant_due(&peer->pair.in) && peer->pair.state == PAIR_UP)
        say(link, index);
}

/* Whose batch it is: the role is the key's, or without CURVE what the head says. */
static uint32_t peer_of(struct link *link, struct port *port, const uint8_t id[ZAP_ID_SIZE],
                        zmq_msg_t *message, const struct batch_head *head)
{
    bool curve = zap_curve(link->net->zap);
    enum keys_role role = curve ? KEYS_ROUTER : (enum keys_role)head->role;
    if (head->role >= KEYS_ROLES || (!link->binds && head->role != KEYS_ROUTER))
        return POOL_NONE;
    if (!link->binds) {
        uint32_t index = (uint32_t)(port - link->ports);
        peer_at(link, index)->role = role;
        return index;
    }
    const char *user = "";
    if (curve) {
        user = zmq_msg_gets(message, "User-Id");
        if (user == NULL || strlen(user) >= ZAP_USER_SIZE || !zap_user_role(user, &role) ||
            role != head->role)
            return POOL_NONE;
    }
    uint32_t index = find_peer(link, id, role);
    if (index == POOL_NONE)
        return index;
    struct peer *peer = peer_at(link, index);
    if (curve && strcmp(peer->user, user) != 0) {
        memcpy(peer->user, user, strlen(user) + 1);
        peer->barred = !zap_user_allowed(link->net->zap, user);
    }
    return peer->barred ? POOL_NONE : index;
}

static void take_message(struct link *link, struct port *port, const uint8_t id[ZAP_ID_SIZE],
                         zmq_msg_t *message)
{
    struct batch_head head;
    struct span frames;
    uint32_t count;
    size_t size = zmq_msg_size(message);
    link->counts.batches_received++;
    link->counts.bytes_received += size;
    uint32_t index = POOL_NONE;
    if (id != NULL && !zmq_msg_more(message) &&
        batch_open(span_of(zmq_msg_data(message), size), &head, &frames, &count))
        index = peer_of(link, port, id, message, &head);
    if (index == POOL_NONE) {
        link->counts.batches_bad++;
        link->budget -= link->budget > 0;
        return;
    }
    link->budget -= count < link->budget ? (count > 0 ? count : 1) : link->budget;
    hear(link, index, &head, frames, count);
}

/* False when nothing waits. */
static bool receive(struct link *link, struct port *port)
{
    uint8_t id[ZAP_ID_SIZE + 1] = {0};
    const uint8_t *known = id;
    void *socket = port->socket;
    if (link->binds) {
        int len = zmq_recv(socket, id, sizeof id, ZMQ_DONTWAIT);
        if (len < 0)
            return false;
        if (len != ZAP_ID_SIZE)
            known = NULL;
    }
    zmq_msg_t message;
    zmq_msg_init(&message);
    int len = zmq_msg_recv(&message, socket, ZMQ_DONTWAIT);
    if (len >= 0)
        take_message(link, port, known, &message);
    while (len >= 0 && zmq_msg_more(&message)) /* nobody of ours sends more parts */
        len = zmq_msg_recv(&message, socket, ZMQ_DONTWAIT);
    zmq_msg_close(&message);
    return len >= 0;
}

/* Reads until ZeroMQ says that nothing is left, which is also what arms ZMQ_FD's next edge, or the
 * turn's budget is used up. */
static void drain(struct link *link, uint32_t index)
{
    while (link->ports[index].socket != NULL) { /* callbacks may move the ports */
        if (link->budget == 0 || link->renewed) {
            leave_for_later(link, index);
            return;
        }
        if (!receive(link, &link->ports[index]))
            return;
    }
}

/* --- ports --------------------------------------------------------------------------------------
 */

static void close_port(struct link *link, struct port *port, int linger_ms)
{
    if (port->socket == NULL)
        return;
    loop_unwatch(link->loop, zap_fd(port->socket));
    loop_unwatch(link->loop, zap_fd(port->monitor));
    zmq_close(port->monitor);
    zmq_setsockopt(port->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(port->socket);
    port->socket = port->monitor = NULL;
}

static bool watch_port(struct link *link, uint32_t index)
{
    struct port *port = &link->ports[index];
    port->monitor = zap_monitor(link->net->zap, port->socket);
    if (port->monitor == NULL)
        return false;
    if (!loop_watch(link->loop, zap_fd(port->socket), link->socket_source, index, EPOLLIN))
        return false;
    if (loop_watch(link->loop, zap_fd(port->monitor), link->monitor_source, index, EPOLLIN))
        return true;
    loop_unwatch(link->loop, zap_fd(port->socket));
    return false;
}

static void try_again_later(struct link *link, struct port *port)
{
    port->open_at_ms = loop_now_ms(link->loop) + port->backoff_ms;
    port->backoff_ms =
        port->backoff_ms * 2 < BACKOFF_MAX_MS ? port->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* Opens a connecting port. That fails on bad days only; it is tried again. */
static void open_port(struct link *link, uint32_t index)
{
    struct port *port = &link->ports[index];
    assert(port->socket == NULL && !link->binds);
    const char *why = "no router's key is allowed, or no descriptor is left";
    port->socket = zap_dealer(link->net->zap, port->id, port->server_turn, port->server_key);
    if (port->socket != NULL) {
        bool watched = watch_port(link, index);
        if (watched && zmq_connect(port->socket, port->endpoint) == 0)
            return;
        why = zmq_strerror(errno);
        if (watched) {
            close_port(link, port, 0);
        } else {
            if (port->monitor != NULL)
                zmq_close(port->monitor);
            zmq_close(port->socket);
            port->socket = port->monitor = NULL;
        }
    }
    log_warn("link_not_opened", LOG_TEXT("endpoint", port->endpoint), LOG_TEXT("why", why));
    try_again_later(link, port);
}

static struct port *add_port(struct link *link, const char *endpoint)
{
    link->ports = realloc(link->ports, (link->port_count + 1) * sizeof *link->ports);
    assert(link->ports != NULL);
    struct port *port = &link->ports[link->port_count++];
    *port = (struct port){.endpoint = strdup(endpoint), .backoff_ms = BACKOFF_MIN_MS};
    assert(port->endpoint != NULL);
    return port;
}

static void new_id(struct port *port)
{
    rand_bytes(port->id, sizeof port->id);
    port->id[0] |= 0x80; /* ZeroMQ keeps those that begin with a zero for itself */
}

uint32_t link_connect(struct link *link, const char *endpoint)
{
    assert(!link->bound);
    struct port *port = add_port(link, endpoint);
    uint32_t index = link->port_count - 1;
    uint32_t peer = new_peer(link);
    assert(peer == index);
    new_id(port);
    open_port(link, index);
    return peer;
}

static bool bind_port(struct port *port, const char *endpoint, int tries)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    while (zmq_bind(port->socket, endpoint) != 0) {
        if (errno != EADDRINUSE || --tries <= 0)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

void link_bind(struct link *link, const char *endpoint)
{
    assert(link->port_count == 0);
    struct zap *zap = link->net->zap;
    assert(zap_role(zap) == KEYS_ROUTER);
    struct port *port = add_port(link, endpoint);
    link->binds = link->bound = true;
    port->socket = zap_router(zap);
    memcpy(port->server_key, zap_public(zap), KEYS_Z85_SIZE);
    if (!watch_port(link, 0))
        log_die("cannot watch a ZeroMQ socket; raise the limit of open files (ulimit -n)");
    if (!bind_port(port, endpoint, BIND_TRIES))
        log_die("cannot listen for links at %s: %s; choose another address or end who has it",
                endpoint, zmq_strerror(errno));
    size_t size = sizeof link->endpoint;
    int result = zmq_getsockopt(port->socket, ZMQ_LAST_ENDPOINT, link->endpoint, &size);
    assert(result == 0);
}

const char *link_bound(const struct link *link)
{
    assert(link->bound);
    return link->endpoint;
}

/* --- handshakes, as the monitors tell ------------------------------------------------------------
 */

static void refused_to_somebody(struct link *link)
{
    link->counts.handshakes_refused++;
    uint64_t now_ms = loop_now_ms(link->loop);
    if (link->refused_logged_ms == 0 || now_ms - link->refused_logged_ms > 60 * 1000)
        log_warn("link_handshake_refused", LOG_TEXT("endpoint", link->endpoint),
                 LOG_TEXT("do",
                          "if it was one of ours, put its public key into the list of its role "
                          "and send this process SIGHUP"));
    link->refused_logged_ms = now_ms;
}

/* A server that refused us is never asked again by libzmq; a new socket does, with the next key
 * that a router may have. */
static void refused_by(struct link *link, uint32_t index)
{
    struct port *port = &link->ports[index];
    link->counts.handshakes_refused++;
    if (!port->refused)
        log_warn("link_refused", LOG_TEXT("endpoint", port->endpoint),
                 LOG_TEXT("do",
                          "see that our public key is in the router's list of our role, that the "
                          "router's is in routers.allow, and that link.curve is the same on both"));
    port->refused = true;
    close_port(link, port, 0);
    port->server_turn++;
    try_again_later(link, port);
    fall(link, index, "handshake refused");
}

static void joined(struct link *link, uint32_t index)
{
    struct port *port = &link->ports[index];
    if (port->refused)
        log_info("link_not_refused_any_more", LOG_TEXT("endpoint", port->endpoint));
    port->refused = false;
    port->backoff_ms = BACKOFF_MIN_MS;
    say(link, index);
}

static void on_monitor(void *ctx, uint64_t key, uint32_t events)
{
    (void)events;
    struct link *link = ctx;
    uint32_t index = (uint32_t)key;
    while (link->ports[index].monitor != NULL && !link->renewed) {
        switch (zap_monitor_next(link->ports[index].monitor)) {
        case ZAP_NONE:
            return;
        case ZAP_JOINED:
            if (!link->binds)
                joined(link, index);
            break;
        case ZAP_LEFT:
            if (!link->binds)
                fall(link, index, "disconnected");
            break;
        case ZAP_REFUSED:
            if (link->binds)
                refused_to_somebody(link);
            else
                refused_by(link, index);
            break;
        case ZAP_BROKEN: /* to a binder anybody may do that */
            if (!link->binds)
                refused_by(link, index);
            break;
        }
    }
}

/* --- turns --------------------------------------------------------------------------------------
 */

static void on_socket(void *ctx, uint64_t key, uint32_t events)
{
    (void)events;
    struct link *link = ctx;
    link->ports[key].signalled = true;
    drain(link, (uint32_t)key);
}

static void on_again(void *ctx, uint64_t key, uint32_t events)
{
    (void)key;
    (void)events;
    struct link *link = ctx;
    uint32_t count = link->backlog.count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = link->backlog.at[i];
        link->ports[index].backlog = false;
        drain(link, index); /* may append it again */
    }
    link->backlog.count -= count;
    memmove(link->backlog.at, link->backlog.at + count,
            link->backlog.count * sizeof *link->backlog.at);
}

/* Sending makes ZeroMQ look at its mailbox, and with that the edge of ZMQ_FD that told of something
 * to read, or of room, is gone. */
static void look_after_sending(struct link *link, uint32_t index)
{
    struct port *port = &link->ports[index];
    port->sent = false;
    if (port->socket == NULL)
        return;
    int events = 0;
    size_t size = sizeof events;
    int result = zmq_getsockopt(port->socket, ZMQ_EVENTS, &events, &size);
    assert(result == 0);
    if (events & ZMQ_POLLIN)
        leave_for_later(link, index);
    if (events & ZMQ_POLLOUT) {
        port->signalled = true;
        /* Of a ROUTER it says only that some peer has room. */
        if (!link->binds && peer_at(link, index)->stuck)
            loop_again(link->loop);
    }
}

/* The incarnation was renewed: tell the ends that are owed, and connect as somebody new. */
static void settle_renewal(struct link *link)
{
    link->renewed = false;
    for (uint32_t i = 0; i < link->port_count && !link->binds; i++) {
        close_port(link, &link->ports[i], 0);
        new_id(&link->ports[i]);
        link->ports[i].backoff_ms = BACKOFF_MIN_MS;
        open_port(link, i);
    }
    for (uint32_t i = 0; i < link->peers.used_high; i++) {
        struct peer *peer = peer_at(link, i);
        if (!peer->used)
            continue;
        if (peer->down_due)
            tell_down(link, i, "renewed");
        if (link->binds && peer->pair.theirs != 0) {
            peer->answering = true;
            say(link, i);
        }
    }
}

static void on_turn_end(void *ctx)
{
    struct link *link = ctx;
    if (link->renewed)
        settle_renewal(link);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < link->touched.count; i++) {
        uint32_t index = link->touched.at[i];
        struct peer *peer = peer_at(link, index);
        if (!peer->stuck || port_of(link, index)->signalled)
            flush(link, index);
        if (!link->binds)
            link->ports[index].signalled = false;
        peer->touched = peer->stuck;
        if (peer->stuck)
            link->touched.at[kept++] = index;
    }
    link->touched.count = kept;
    if (link->bound)
        link->ports[0].signalled = false;
    for (uint32_t i = 0; i < link->sent.count; i++)
        look_after_sending(link, link->sent.at[i]);
    link->sent.count = 0;
    link->budget = link->options.frames_a_turn;
}

/* --- ticks --------------------------------------------------------------------------------------
 */

static void take_new_keys(struct link *link)
{
    struct zap *zap = link->net->zap;
    link->generation = zap_generation(zap);
    for (uint32_t i = 0; i < link->port_count && !link->binds; i++) {
        struct port *port = &link->ports[i];
        port->open_at_ms = 0;
        port->backoff_ms = BACKOFF_MIN_MS;
        if (port->socket != NULL && !zap_server_allowed(zap, port->server_key)) {
            close_port(link, port, 0);
            fall(link, i, "its key is not allowed any more");
        }
    }
    for (uint32_t i = 0; i < link->peers.used_high && link->binds; i++) {
        struct peer *peer = peer_at(link, i);
        if (!peer->used)
            continue;
        peer->barred = !zap_user_allowed(zap, peer->user);
        if (peer->barred)
            fall(link, i, "its key is not allowed any more");
    }
    if (link->bound && strcmp(link->ports[0].server_key, zap_public(zap)) != 0)
        link->ports[0].rebind_due = true;
}

/* Those who listen have their keys from when they began to. Connections stay. */
static void rebind(struct link *link)
{
    struct port *port = &link->ports[0];
    (void)zmq_unbind(port->socket, link->endpoint); /* already done, the second time */
    zap_renew_router(link->net->zap, port->socket);
    if (!bind_port(port, link->endpoint, 1))
        return; /* the next tick tries again */
    port->rebind_due = false;
    memcpy(port->server_key, zap_public(link->net->zap), KEYS_Z85_SIZE);
}

static void tick_peer(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(link, index);
    uint64_t silent_ms = link->clock_ms - peer->heard_ms;
    if (silent_ms > link->options.silence_ms && !port_of(link, index)->backlog)
        fall(link, index, "silent");
    if (link->binds && silent_ms > FORGET_MS && peer->pair.state == PAIR_AWAY && !peer->touched) {
        forget(link, index);
        return;
    }
    if (loop_now_ms(link->loop) < peer->head_at_ms)
        return;
    if (peer->pair.queue_frames == 0)
        buf_free(&peer->pair.queue);
    if (!link->binds || peer->pair.state == PAIR_UP)
        say(link, index);
}

static void on_tick(void *ctx)
{
    struct link *link = ctx;
    uint64_t now_ms = loop_now_ms(link->loop);
    uint64_t passed_ms = now_ms - link->ticked_ms;
    link->ticked_ms = now_ms;
    link->clock_ms += passed_ms < LINK_HEARTBEAT_MS ? passed_ms : LINK_HEARTBEAT_MS;
    if (link->renewed)
        return;
    if (link->generation != zap_generation(link->net->zap))
        take_new_keys(link);
    for (uint32_t i = 0; i < link->port_count; i++) {
        struct port *port = &link->ports[i];
        port->signalled = true;
        if (port->rebind_due)
            rebind(link);
        if (port->socket == NULL && now_ms >= port->open_at_ms)
            open_port(link, i);
    }
    for (uint32_t i = 0; i < link->peers.used_high; i++)
        if (peer_at(link, i)->used)
            tick_peer(link, i);
}

/* --- life ---------------------------------------------------------------------------------------
 */

struct link *link_new(struct link_net *net, struct loop *loop, const struct link_options *options,
                      const struct link_events *events, void *ctx)
{
    assert(options->incarnation != 0 && options->frames_a_turn > 0);
    assert(options->window_bytes > 0 && strlen(options->name) <= LINK_NAME_MAX);
    struct link *link = calloc(1, sizeof *link);
    assert(link != NULL);
    link->net = net;
    link->loop = loop;
    link->options = *options;
    memcpy(link->name, options->name, strlen(options->name) + 1);
    link->options.name = link->name;
    link->events = events;
    link->ctx = ctx;
    link->budget = options->frames_a_turn;
    link->generation = zap_generation(net->zap);
    link->ticked_ms = loop_now_ms(loop);
    link->id_salt = rand_u64();
    pool_init(&link->peers, sizeof(struct peer), PEERS_MAX);
    map_init(&link->by_id);
    link->socket_source = loop_source(loop, on_socket, link);
    link->monitor_source = loop_source(loop, on_monitor, link);
    link->again_source = loop_source(loop, on_again, link);
    link->again_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (link->again_fd < 0 ||
        !loop_watch(loop, link->again_fd, link->again_source, 0, EPOLLONESHOT))
        log_die("no event descriptor for a link; raise the limit of open files (ulimit -n)");
    loop_every(loop, TICK_MS, on_tick, link);
    loop_at_turn_end(loop, on_turn_end, link);
    return link;
}

void link_free(struct link *link)
{
    if (link == NULL)
        return;
    for (uint32_t i = 0; i < link->touched.count && !link->renewed; i++)
        flush(link, link->touched.at[i]);
    for (uint32_t i = 0; i < link->port_count; i++) {
        close_port(link, &link->ports[i], LINGER_MS);
        free(link->ports[i].endpoint);
    }
    for (uint32_t i = 0; i < link->peers.used_high; i++)
        if (peer_at(link, i)->used)
            pair_free(&peer_at(link, i)->pair);
    loop_unwatch(link->loop, link->again_fd);
    close(link->again_fd);
    free(link->touched.at);
    free(link->sent.at);
    free(link->backlog.at);
    free(link->ports);
    map_free(&link->by_id);
    pool_free(&link->peers);
    free(link);
}

void link_renew(struct link *link, uint64_t incarnation)
{
    assert(incarnation != 0);
    if (incarnation == link->options.incarnation)
        return;
    link->options.incarnation = incarnation;
    link->renewed = true;
    for (uint32_t i = 0; i < link->peers.used_high; i++) {
        struct peer *peer = peer_at(link, i);
        if (!peer->used)
            continue;
        peer->down_due = peer->down_due || peer->pair.state == PAIR_UP;
        peer->stuck = peer->head_due = false;
        pair_end(&peer->pair, &link->counts);
    }
    loop_again(link->loop);
}

void link_set_map_epoch(struct link *link, uint64_t map_epoch)
{
    link->map_epoch = map_epoch;
}

void link_set_load(struct link *link, uint32_t load)
{
    link->load = load;
}

uint64_t link_peer_map_epoch(const struct link *link, uint32_t peer)
{
    return is_up(link, peer) ? peer_at(link, peer)->pair.map_epoch : 0;
}

uint32_t link_peer_load(const struct link *link, uint32_t peer)
{
    return is_up(link, peer) ? peer_at(link, peer)->pair.load : 0;
}

const struct link_counts *link_counts(const struct link *link)
{
    return &link->counts;
}

void link_fault_drop_every(struct link *link, uint32_t n)
{
    link->drop_every = n;
    link->drop_count = 0;
}

/* --- the process --------------------------------------------------------------------------------
 */

struct link_net *link_net_new(const struct link_net_options *options)
{
    struct link_net *net = calloc(1, sizeof *net);
    assert(net != NULL);
    net->zap = zap_new(options->role, options->curve, options->keys, options->io_threads);
    return net;
}

void link_net_reload(struct link_net *net, const struct keys *keys)
{
    zap_reload(net->zap, keys);
}

void link_net_free(struct link_net *net)
{
    if (net == NULL)
        return;
    zap_free(net->zap);
    free(net);
}
