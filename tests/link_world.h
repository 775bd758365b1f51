/* What the tests of links share: ends that count what they hear, and the turning of their loops. */
#ifndef TESTS_LINK_WORLD_H
#define TESTS_LINK_WORLD_H

#include "base/log.h"
#include "proto/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zmq.h>

#include <cmocka.h>

#define FRAME_MAX (80u * 1024u)
#define AWAIT_MS 30000

struct pair_of_keys {
    char public[KEYS_Z85_SIZE], secret[KEYS_Z85_SIZE];
};

struct end {
    struct link_net *net;
    struct loop *loop;
    struct link *link;
    uint32_t peer; /* who came up last */
    uint32_t ups, downs;
    bool up;
    enum keys_role role;
    uint64_t incarnation;
    char name[LINK_NAME_MAX + 1];
    uint64_t heard, bytes;            /* frames */
    uint64_t next, skipped, disorder; /* by the numbers in them */
    uint64_t said;
    bool echoes;
};

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline struct pair_of_keys make_keys(void)
{
    struct pair_of_keys pair;
    assert_int_equal(zmq_curve_keypair(pair.public, pair.secret), 0);
    return pair;
}

static inline void allow(struct keys *keys, enum keys_role role, const struct pair_of_keys *pair)
{
    memcpy(keys->allowed[role][keys->allowed_count[role]++], pair->public, KEYS_Z85_SIZE);
}

static inline struct keys keys_of(const struct pair_of_keys *pair)
{
    struct keys keys = {0};
    memcpy(keys.secret, pair->secret, KEYS_Z85_SIZE);
    return keys;
}

/* A delimited frame of `size` bytes of body (at least 8) that begins with a number. */
static inline struct span numbered(uint8_t *at, uint64_t number, size_t size)
{
    size_t head = 0;
    for (size_t rest = size; rest > 0 || head == 0; rest >>= 7)
        at[head++] = (uint8_t)((rest & 0x7f) | (rest >= 0x80 ? 0x80 : 0));
    memset(at + head, (int)(number & 0x7f), size);
    memcpy(at + head, &number, sizeof number);
    return span_of(at, head + size);
}

static inline enum link_sent say_sized(struct end *end, enum link_kind kind, size_t size)
{
    static _Thread_local uint8_t bytes[FRAME_MAX];
    enum link_sent sent = link_send(end->link, end->peer, kind, numbered(bytes, end->said, size));
    end->said += sent == LINK_QUEUED;
    return sent;
}

static inline void note_up(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                           struct span name)
{
    struct end *end = ctx;
    assert_false(end->up && end->peer == peer);
    end->peer = peer;
    end->up = true;
    end->ups++;
    end->role = role;
    end->incarnation = incarnation;
    snprintf(end->name, sizeof end->name, "%.*s", (int)name.len, (const char *)name.at);
}

static inline void note_frame(void *ctx, uint32_t peer, struct span frame)
{
    struct end *end = ctx;
    uint64_t number;
    assert_true(end->up);
    assert_int_equal(peer, end->peer);
    assert_true(frame.len >= sizeof number);
    memcpy(&number, frame.at, sizeof number);
    for (size_t i = sizeof number; i < frame.len; i += 97)
        assert_int_equal(frame.at[i], number & 0x7f);
    end->heard++;
    end->bytes += frame.len;
    if (number < end->next)
        end->disorder++;
    else
        end->skipped += number - end->next;
    end->next = number + 1;
    if (end->echoes)
        (void)say_sized(end, LINK_FREE, frame.len);
}

static inline void note_down(void *ctx, uint32_t peer)
{
    struct end *end = ctx;
    assert_true(end->up);
    assert_int_equal(peer, end->peer);
    assert_int_equal(link_would(end->link, peer, 1), LINK_AWAY);
    end->up = false;
    end->downs++;
}

static const struct link_events link_world_events = {
    .on_up = note_up, .on_frame = note_frame, .on_down = note_down};

static inline void open_end(struct end *end, struct link_net *net, const char *name,
                            uint64_t incarnation, uint64_t window, uint32_t silence_ms)
{
    *end = (struct end){.net = net, .loop = loop_new()};
    struct link_options options = {.name = name,
                                   .incarnation = incarnation,
                                   .window_bytes = window,
                                   .silence_ms = silence_ms,
                                   .frames_a_turn = 4096,
                                   .pending_bytes_max = 1024 * 1024};
    end->link = link_new(net, end->loop, &options, &link_world_events, end);
}

static inline void close_end(struct end *end)
{
    link_free(end->link);
    loop_free(end->loop);
    *end = (struct end){0};
}

static inline void turn_all(struct end *const ends[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        loop_turn(ends[i]->loop, i == 0 ? 1 : 0);
}

static inline void turn_for(struct end *const ends[], size_t count, uint64_t ms)
{
    for (uint64_t end_ms = now_ms() + ms; now_ms() < end_ms;)
        turn_all(ends, count);
}

/* Turns the loops of the ends named until the condition holds. */
#define AWAIT(condition, ...)                                                                      \
    do {                                                                                           \
        struct end *const ends_[] = {__VA_ARGS__};                                                 \
        uint64_t end_ms_ = now_ms() + AWAIT_MS;                                                    \
        while (!(condition)) {                                                                     \
            if (now_ms() > end_ms_)                                                                \
                fail_msg("%d s long not: %s", AWAIT_MS / 1000, #condition);                        \
            turn_all(ends_, sizeof ends_ / sizeof *ends_);                                         \
        }                                                                                          \
    } while (0)

#define WINDOW (1024u * 1024u)
#define SILENCE_MS 2000u

/* A router "r1/0" that binds and an edge "e1/0" that connects. */
struct two {
    struct pair_of_keys router_keys, edge_keys, admin_keys;
    struct keys router_list, edge_list;
    struct link_net *router_net, *edge_net;
    struct end router, edge;
    char endpoint[256];
};

static inline struct link_net *open_net(enum keys_role role, bool curve, const struct keys *keys)
{
    struct link_net_options options = {
        .role = role, .curve = curve, .keys = curve ? keys : NULL, .io_threads = 1};
    return link_net_new(&options);
}

static inline void make_all_keys(struct two *two)
{
    two->router_keys = make_keys();
    two->edge_keys = make_keys();
    two->admin_keys = make_keys();
    two->router_list = keys_of(&two->router_keys);
    two->edge_list = keys_of(&two->edge_keys);
    allow(&two->router_list, KEYS_EDGE, &two->edge_keys);
    allow(&two->router_list, KEYS_ADMIN, &two->admin_keys);
    allow(&two->edge_list, KEYS_ROUTER, &two->router_keys);
}

static inline void open_router(struct two *two, const char *endpoint, uint64_t incarnation,
                               uint64_t window)
{
    open_end(&two->router, two->router_net, "r1/0", incarnation, window, SILENCE_MS);
    link_bind(two->router.link, endpoint);
    snprintf(two->endpoint, sizeof two->endpoint, "%s", link_bound(two->router.link));
}

static inline void open_edge(struct two *two)
{
    open_end(&two->edge, two->edge_net, "e1/0", 0xe1, WINDOW, SILENCE_MS);
    two->edge.peer = link_connect(two->edge.link, two->endpoint);
}

static inline void open_nets(struct two *two, bool curve)
{
    two->router_net = open_net(KEYS_ROUTER, curve, &two->router_list);
    two->edge_net = open_net(KEYS_EDGE, curve, &two->edge_list);
}

static inline void open_two(struct two *two, bool curve, uint64_t window)
{
    *two = (struct two){0};
    make_all_keys(two);
    open_nets(two, curve);
    open_router(two, "tcp://127.0.0.1:0", 0x51, window);
    open_edge(two);
}

static inline void close_two(struct two *two)
{
    close_end(&two->edge);
    close_end(&two->router);
    link_net_free(two->edge_net);
    link_net_free(two->router_net);
}

#define BOTH(two) &(two)->router, &(two)->edge

static inline void talk(struct two *two, uint64_t each)
{
    struct end *router = &two->router, *edge = &two->edge;
    uint64_t router_said = router->said + each, edge_said = edge->said + each;
    uint64_t router_heard = router->heard + each, edge_heard = edge->heard + each;
    while (edge->said < edge_said || router->said < router_said) {
        for (int i = 0; i < 64 && edge->said < edge_said; i++)
            if (say_sized(edge, LINK_CREDITED, 8 + edge->said % 500) != LINK_QUEUED)
                break;
        for (int i = 0; i < 64 && router->said < router_said; i++)
            if (say_sized(router, LINK_CREDITED, 8 + router->said % 500) != LINK_QUEUED)
                break;
        turn_all((struct end *[]){BOTH(two)}, 2);
    }
    AWAIT(router->heard >= router_heard && edge->heard >= edge_heard, BOTH(two));
    assert_int_equal(router->heard, router_heard);
    assert_int_equal(edge->heard, edge_heard);
    assert_int_equal(router->disorder + edge->disorder, 0);
    assert_int_equal(router->skipped + edge->skipped, 0);
}

static inline void check_ledger(const struct two *two)
{
    const struct link_counts *a = link_counts(two->router.link), *b = link_counts(two->edge.link);
    assert_int_equal(a->frames_sent + a->frames_dropped + b->frames_sent + b->frames_dropped,
                     a->frames_received + a->frames_lost + a->frames_stale + b->frames_received +
                         b->frames_lost + b->frames_stale);
}

#endif
