#include "proto/link.h"

#include "base/log.h"
#include "base/rand.h"
#include "proto/frame.h"
#include "proto/indices.h"
#include "proto/link_net.h"
#include "proto/peer.h"
#include "proto/port.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS 100u
#define FORGET_MS (10u * 60 * 1000)    /* how long the account of a peer that is away is kept */
#define QUEUE_KEEP LINK_BATCH_SIZE_MAX /* memory that an empty queue keeps until it is idle */
#define LINGER_MS 200
#define FRAMES_SIZE_MAX (LINK_BATCH_SIZE_MAX - BATCH_HEAD_SIZE_MAX)

/* A link that listens has one for all peers; one that connects has one for each, of its number. */
struct door {
    struct port *port;
    bool backlog;   /* more waits to be read, in link->backlog */
    bool sent;      /* was sent on in this turn, in link->sent */
    bool signalled; /* it may have room again */
};

struct link {
    struct link_net *net;
    struct loop *loop;
    struct link_options options;
    char name[LINK_NAME_MAX + 1];
    struct link_events events;
    void *ctx;
    bool listens;
    struct door *doors;
    uint32_t door_count;
    struct peer_table peers;
    struct indices touched, sent, backlog;
    uint32_t socket_source, monitor_source, again_source;
    int again_fd;      /* always readable; watched once whenever there is a backlog */
    uint32_t budget;   /* frames that may still be handed on in this turn */
    uint64_t clock_ms; /* time in which this thread was alive */
    uint64_t ticked_ms;
    uint32_t generation; /* of the keys, as last seen */
    bool reads;          /* what is found after sending is read at once, not in the next turn */
    bool renewed;        /* on_downs are owed, sockets to be opened anew */
    uint64_t map_epoch;
    uint32_t load;
    uint32_t drop_every, drop_count;
    struct link_counts counts;
};

static struct door *door_of(const struct link *link, uint32_t peer)
{
    return &link->doors[link->listens ? 0 : peer];
}

static bool is_up(const struct link *link, uint32_t index)
{
    if (index >= peer_end(&link->peers))
        return false;
    const struct peer *peer = peer_at(&link->peers, index);
    return peer->used && peer->pair.state == PAIR_UP;
}

static void touch(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(&link->peers, index);
    if (!peer->touched)
        indices_add(&link->touched, index);
    peer->touched = true;
}

static void say(struct link *link, uint32_t index)
{
    peer_at(&link->peers, index)->head_due = true;
    touch(link, index);
}

static void leave_for_later(struct link *link, uint32_t index)
{
    if (link->doors[index].backlog)
        return;
    link->doors[index].backlog = true;
    indices_add(&link->backlog, index);
    loop_rewatch(link->loop, link->again_fd, link->again_source, 0, EPOLLIN | EPOLLONESHOT);
}

/* --- coming up and going down ------------------------------------------------ */

static void tell_up(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(&link->peers, index);
    pair_rise(&peer->pair);
    link->counts.peers_up++;
    log_info("link_up", LOG_SPAN("peer", span_of(peer->pair.name, peer->pair.name_len)),
             LOG_TEXT("role", keys_role_name(peer->role)),
             LOG_HEX("incarnation", peer->pair.theirs));
    link->events.on_up(link->ctx, index, peer->role, peer->pair.theirs,
                       span_of(peer->pair.name, peer->pair.name_len));
}

static void tell_down(struct link *link, uint32_t index, const char *why)
{
    struct peer *peer = peer_at(&link->peers, index);
    peer->down_due = false;
    link->counts.peers_down++;
    log_info("link_down", LOG_SPAN("peer", span_of(peer->pair.name, peer->pair.name_len)),
             LOG_TEXT("role", keys_role_name(peer->role)), LOG_TEXT("why", why));
    link->events.on_down(link->ctx, index);
}

static void fall(struct link *link, uint32_t index, const char *why)
{
    struct peer *peer = peer_at(&link->peers, index);
    if (peer->pair.state != PAIR_UP)
        return;
    pair_fall(&peer->pair, &link->counts);
    peer->stuck = false;
    tell_down(link, index, why);
}

/* --- sending ----------------------------------------------------------------- */

static void note_sent(struct link *link, uint32_t index)
{
    if (!link->doors[index].sent)
        indices_add(&link->sent, index);
    link->doors[index].sent = true;
}

static bool fault_drops(struct link *link, const struct pair_batch *batch)
{
    if (link->drop_every == 0 || batch->count == 0 || ++link->drop_count < link->drop_every)
        return false;
    link->drop_count = 0;
    return true;
}

/* One batch of what waits, or a head alone. */
static enum port_sent send_batch(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(&link->peers, index);
    struct pair *pair = &peer->pair;
    struct pair_batch batch = pair_next(pair, FRAMES_SIZE_MAX);
    bool named = peer->answering || (!link->listens && pair->state == PAIR_AWAY);
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
    enum port_sent sent = PORT_SENT;
    if (!fault_drops(link, &batch)) {
        sent = port_send(door_of(link, index)->port, peer->id, packed, batch.frames);
        note_sent(link, link->listens ? 0 : index);
    }
    if (sent == PORT_NO_ROOM) {
        link->counts.send_again += batch.count > 0;
        return sent;
    }
    if (sent == PORT_GONE) {
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
    struct peer *peer = peer_at(&link->peers, index);
    peer->stuck = false;
    while (peer->pair.queue_frames > 0 || peer->head_due)
        if (send_batch(link, index) == PORT_NO_ROOM) {
            peer->head_due = false;
            peer->stuck = peer->pair.queue_frames > 0;
            break;
        }
}

enum link_sent link_would(const struct link *link, uint32_t index, size_t size)
{
    if (!is_up(link, index))
        return LINK_AWAY;
    const struct peer *peer = peer_at(&link->peers, index);
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
    struct peer *peer = peer_at(&link->peers, index);
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

/* --- hearing ----------------------------------------------------------------- */

static void hear(struct link *link, uint32_t index, const struct batch_head *head,
                 struct span frames, uint32_t count)
{
    struct peer *peer = peer_at(&link->peers, index);
    peer->heard_ms = link->clock_ms;
    struct pair_heard heard =
        pair_hear(&peer->pair, link->options.incarnation, head, frames.len, count, &link->counts);
    if (heard.down) {
        peer->stuck = false;
        tell_down(link, index, "another incarnation, or it has forgotten us");
    }
    if (heard.up)
        tell_up(link, index);
    /* A name asks who we are. Only one that listens answers, or the answers would be answered. */
    if (heard.answer || (link->listens && head->name.len > 0)) {
        peer->answering = true;
        say(link, index);
    }
    struct span body;
    while (heard.take && !link->renewed && batch_next(&frames, &body))
        link->events.on_frame(link->ctx, index, body);
    if (credit_in_grant_due(&peer->pair.in) && peer->pair.state == PAIR_UP)
        say(link, index);
}

/* Whose batch it is, or PEER_NONE: the role that the head claims must be the key's. */
static uint32_t peer_of(struct link *link, uint32_t door, const struct port_message *message,
                        const struct batch_head *head)
{
    if (head->role >= KEYS_ROLES)
        return PEER_NONE;
    enum keys_role role = (enum keys_role)head->role;
    if (!link->listens) {
        peer_at(&link->peers, door)->role = KEYS_ROUTER; /* whose keys alone we connect to */
        return role == KEYS_ROUTER ? door : PEER_NONE;
    }
    uint32_t index = peer_find(&link->peers, message->id, role);
    if (index == PEER_NONE)
        return index;
    struct peer *peer = peer_at(&link->peers, index);
    if (strcmp(peer->key, message->key) != 0) {
        memcpy(peer->key, message->key, strlen(message->key) + 1);
        peer->barred = !zap_allowed(link->net->zap, role, peer->key);
    }
    return peer->barred ? PEER_NONE : index;
}

static void take_message(struct link *link, uint32_t door, const struct port_message *message)
{
    struct batch_head head;
    struct span frames;
    uint32_t count = 0, index = PEER_NONE;
    if (batch_open(message->bytes, &head, &frames, &count))
        index = peer_of(link, door, message, &head);
    uint32_t cost = count > 0 ? count : 1;
    link->budget -= cost < link->budget ? cost : link->budget;
    link->counts.batches_received++;
    link->counts.bytes_received += message->bytes.len;
    if (index == PEER_NONE)
        link->counts.batches_bad++;
    else
        hear(link, index, &head, frames, count);
}

/* Reads all that is there, or what is left of the turn's budget. */
static void drain(struct link *link, uint32_t index)
{
    for (;;) {
        if (link->budget == 0 || link->renewed) {
            leave_for_later(link, index);
            return;
        }
        struct port_message message;
        switch (port_receive(link->doors[index].port, &message)) {
        case PORT_EMPTY:
            return;
        case PORT_MESSAGE:
            take_message(link, index, &message);
            break;
        case PORT_BAD_MESSAGE:
            link->counts.batches_bad++;
            link->budget--;
            break;
        }
    }
}

/* --- doors ------------------------------------------------------------------- */

static struct port_place new_door(struct link *link)
{
    link->doors = realloc(link->doors, (link->door_count + 1) * sizeof *link->doors);
    assert(link->doors != NULL);
    link->doors[link->door_count] = (struct door){0};
    return (struct port_place){.loop = link->loop,
                               .socket_source = link->socket_source,
                               .monitor_source = link->monitor_source,
                               .index = link->door_count++};
}

void link_bind(struct link *link, const char *endpoint)
{
    assert(link->door_count == 0);
    assert(zap_role(link->net->zap) == KEYS_ROUTER);
    struct port_place place = new_door(link);
    link->listens = true;
    link->doors[0].port = port_listen(link->net->zap, &place, endpoint);
}

const char *link_bound(const struct link *link)
{
    assert(link->listens);
    return port_endpoint(link->doors[0].port);
}

uint32_t link_connect(struct link *link, const char *endpoint)
{
    assert(!link->listens);
    struct port_place place = new_door(link);
    uint32_t peer = peer_new(&link->peers);
    assert(peer == place.index);
    link->doors[peer].port = port_connect(link->net->zap, &place, endpoint);
    return peer;
}

static void on_monitor(void *ctx, uint64_t key, uint32_t events)
{
    (void)events;
    struct link *link = ctx;
    uint32_t index = (uint32_t)key;
    for (;;)
        switch (port_news(link->doors[index].port)) {
        case PORT_NOTHING:
            return;
        case PORT_JOINED:
            say(link, index);
            break;
        case PORT_LEFT:
            fall(link, index, "disconnected");
            break;
        case PORT_REFUSED:
            fall(link, index, "handshake refused");
            /* fall through */
        case PORT_REFUSED_STRANGER:
            link->counts.handshakes_refused++;
            break;
        }
}

/* --- turns ------------------------------------------------------------------- */

static void on_socket(void *ctx, uint64_t key, uint32_t events)
{
    (void)events;
    struct link *link = ctx;
    link->doors[key].signalled = true;
    /* Nobody is read before who waits already, or one that never pauses would starve the others. */
    if (link->backlog.count > 0)
        leave_for_later(link, (uint32_t)key);
    else
        drain(link, (uint32_t)key);
}

static void on_again(void *ctx, uint64_t key, uint32_t events)
{
    (void)key, (void)events;
    struct link *link = ctx;
    uint32_t count = link->backlog.count, read = 0;
    for (; read < count && link->budget > 0; read++) {
        uint32_t index = link->backlog.at[read];
        link->doors[index].backlog = false;
        drain(link, index); /* may append it again */
    }
    link->backlog.count -= read;
    memmove(link->backlog.at, link->backlog.at + read,
            link->backlog.count * sizeof *link->backlog.at);
    if (link->backlog.count > 0)
        loop_rewatch(link->loop, link->again_fd, link->again_source, 0, EPOLLIN | EPOLLONESHOT);
}

/* Sending may have swallowed the edge of ZMQ_FD that told of something to read, or of room. */
static void look_after_sending(struct link *link, uint32_t index)
{
    struct door *door = &link->doors[index];
    struct port_look look = port_look(door->port);
    door->sent = false;
    door->signalled = look.writable;
    if (look.readable && link->reads)
        drain(link, index);
    else if (look.readable)
        leave_for_later(link, index);
    /* That a listening one can write to somebody is nearly always so, and says little. */
    if (look.writable && !link->listens && peer_at(&link->peers, index)->stuck)
        loop_again(link->loop);
}

/* The incarnation was renewed: tell the ends that are owed, and connect as somebody new. */
static void settle_renewal(struct link *link)
{
    link->renewed = false;
    for (uint32_t i = 0; i < link->door_count && !link->listens; i++)
        port_renew(link->doors[i].port);
    for (uint32_t i = 0; i < peer_end(&link->peers); i++) {
        struct peer *peer = peer_at(&link->peers, i);
        if (!peer->used)
            continue;
        if (peer->down_due)
            tell_down(link, i, "renewed");
        if (link->listens && peer->pair.theirs != 0) {
            peer->answering = true;
            say(link, i);
        }
    }
}

static void flush_touched(struct link *link)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < link->touched.count; i++) {
        uint32_t index = link->touched.at[i];
        struct peer *peer = peer_at(&link->peers, index);
        if (!peer->stuck || door_of(link, index)->signalled)
            flush(link, index);
        peer->touched = peer->stuck;
        if (peer->stuck)
            link->touched.at[kept++] = index;
    }
    link->touched.count = kept;
    for (uint32_t i = 0; i < link->sent.count; i++)
        look_after_sending(link, link->sent.at[i]);
    link->sent.count = 0;
}

void link_flush(struct link *link)
{
    if (link->renewed)
        return;
    link->reads = true;
    flush_touched(link);
    link->reads = false;
}

static void on_turn_end(void *ctx)
{
    struct link *link = ctx;
    if (link->renewed)
        settle_renewal(link);
    flush_touched(link);
    link->budget = link->options.frames_a_turn;
}

/* --- ticks ------------------------------------------------------------------- */

static void take_new_keys(struct link *link)
{
    const char *why = "its key is not allowed any more";
    link->generation = zap_generation(link->net->zap);
    for (uint32_t i = 0; i < link->door_count; i++)
        if (!port_rekey(link->doors[i].port))
            fall(link, i, why);
    for (uint32_t i = 0; i < peer_end(&link->peers) && link->listens; i++) {
        struct peer *peer = peer_at(&link->peers, i);
        if (!peer->used)
            continue;
        peer->barred = !zap_allowed(link->net->zap, peer->role, peer->key);
        if (peer->barred)
            fall(link, i, why);
    }
}

static void tick_peer(struct link *link, uint32_t index)
{
    struct peer *peer = peer_at(&link->peers, index);
    uint64_t silent_ms = link->clock_ms - peer->heard_ms;
    if (silent_ms > link->options.silence_ms && !door_of(link, index)->backlog)
        fall(link, index, "silent");
    if (link->listens && silent_ms > FORGET_MS && peer->pair.state == PAIR_AWAY && !peer->touched) {
        peer_forget(&link->peers, index);
        return;
    }
    if (loop_now_ms(link->loop) < peer->head_at_ms)
        return;
    if (peer->pair.queue_frames == 0)
        buf_free(&peer->pair.queue);
    if (!link->listens || peer->pair.state == PAIR_UP)
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
    for (uint32_t i = 0; i < link->door_count; i++) {
        link->doors[i].signalled = true;
        port_tick(link->doors[i].port);
    }
    for (uint32_t i = 0; i < peer_end(&link->peers); i++)
        if (peer_at(&link->peers, i)->used)
            tick_peer(link, i);
}

/* --- life -------------------------------------------------------------------- */

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
    link->events = *events;
    link->ctx = ctx;
    link->budget = options->frames_a_turn;
    link->generation = zap_generation(net->zap);
    link->ticked_ms = loop_now_ms(loop);
    peer_table_init(&link->peers, rand_u64(), options->window_bytes);
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
    for (uint32_t i = 0; i < link->door_count; i++)
        port_free(link->doors[i].port, LINGER_MS);
    loop_unwatch(link->loop, link->again_fd);
    close(link->again_fd);
    free(link->touched.at);
    free(link->sent.at);
    free(link->backlog.at);
    free(link->doors);
    peer_table_free(&link->peers);
    free(link);
}

void link_renew(struct link *link, uint64_t incarnation)
{
    assert(incarnation != 0);
    if (incarnation == link->options.incarnation)
        return;
    link->options.incarnation = incarnation;
    link->renewed = true;
    for (uint32_t i = 0; i < peer_end(&link->peers); i++) {
        struct peer *peer = peer_at(&link->peers, i);
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
    return is_up(link, peer) ? peer_at(&link->peers, peer)->pair.map_epoch : 0;
}

uint32_t link_peer_load(const struct link *link, uint32_t peer)
{
    return is_up(link, peer) ? peer_at(&link->peers, peer)->pair.load : 0;
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
