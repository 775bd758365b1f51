/* link: edge workers and router shards talk in frames; ZeroMQ stays hidden behind it.
 *
 *     link_net   one a process: ZeroMQ context, CURVE keys, allow-lists by role
 *     link       one a thread: either binds (a shard, ROUTER) or connects to shards (an edge
 *                worker or the lahar command, one DEALER each)
 *     peer       the other end, by a small number: for a link that connects, the number that
 *                link_connect gave; for one that binds, given at on_up and free again after on_down
 *
 *              on_up           on_down      silence, disconnection, a new incarnation,
 *     AWAY -----------> UP -------------> AWAY           or a peer that has forgotten us
 *
 * Both ends of a pair of incarnations know each other before a frame travels. Frames of one link
 * come in the order sent, each at most once, or not at all: losses are counted (link_counts.h),
 * told to nobody, and healed by those who need it. A frame of another incarnation never comes. One
 * end may see a peer go down and come up again that has noticed nothing (it was only slow): then
 * the incarnation is the same, and the counting goes on where it was.
 *
 * link_send only queues; all frames of one turn for one peer leave as one batch (or several of
 * 256 KiB) at the end of the turn, with head and credit. Heads alone go out every 500 ms, or when
 * half a window was consumed.
 *
 * Threads: a link belongs to its loop's thread. link_net_* are for the main thread; a link_net
 * outlives its links.
 */
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include "base/loop.h"
#include "proto/keys.h"

struct link_net;
struct link;

#define LINK_BATCH_SIZE_MAX (256u * 1024u)
#define LINK_HEARTBEAT_MS 500u
#define LINK_NAME_MAX 32u

struct link_net_options {
    enum keys_role role;
    bool curve; /* false: no encryption and roles believed as said: trusted networks only */
    const struct keys *keys; /* with curve; copied */
    uint32_t io_threads;
};

/* Dies, saying what to change, if ZeroMQ lacks CURVE, the keys are no keys, or the self-test fails
 * (a router checks at start that a stranger's handshake is refused). */
struct link_net *link_net_new(const struct link_net_options *options);
/* New keys and allow-lists. Peers whose key is no longer allowed are not heard from now on; others
 * that were refused join within seconds. */
void link_net_reload(struct link_net *net, const struct keys *keys);
void link_net_free(struct link_net *net);

struct link_counts {
#define LINK_COUNT(name, help) uint64_t name;
#include "proto/link_counts.h"
};

struct link_options {
    const char *name;      /* told to peers: "e1/0", "r1/1" */
    uint64_t incarnation;  /* random, not 0 */
    uint64_t window_bytes; /* credit that each peer may have outstanding */
    /* A peer not heard for so long is down. Time in which this thread itself stood still does not
     * count, and what waits is read before anyone is judged. */
    uint32_t silence_ms;
    uint32_t frames_a_turn;     /* at most about so many are handed on in one turn */
    uint32_t pending_bytes_max; /* unsent frames kept per peer while ZeroMQ has no room */
};

struct link_events {
    void (*on_up)(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                  struct span name);
    /* `frame` is a packed LinkFrame, borrowed until the call returns. */
    void (*on_frame)(void *ctx, uint32_t peer, struct span frame);
    void (*on_down)(void *ctx, uint32_t peer);
};

struct link *link_new(struct link_net *net, struct loop *loop, const struct link_options *options,
                      const struct link_events *events, void *ctx);
/* What was sent has a moment to leave, which link_net_free waits for. The loop may not be turned
 * after this. */
void link_free(struct link *link);

/* Dies if the endpoint ("tcp://0.0.0.0:7801"; port 0 or * is chosen by the kernel) cannot be bound.
 */
void link_bind(struct link *link, const char *endpoint);
/* The endpoint really bound; lives as long as the link. */
const char *link_bound(const struct link *link);
/* Begins to connect, and keeps trying; the number of the peer. */
uint32_t link_connect(struct link *link, const char *endpoint);

enum link_kind { LINK_FREE, LINK_CREDITED };
enum link_sent { LINK_QUEUED, LINK_NO_CREDIT, LINK_AWAY };

/* Queues a whole delimited LinkFrame (as hot_*_write and unpack_frame make it). Never blocks. A
 * free frame is refused only when the peer is away; past pending_bytes_max it is dropped as lost,
 * and a credited one is refused as if there were no credit. */
MUST_CHECK enum link_sent link_send(struct link *link, uint32_t peer, enum link_kind kind,
                                    struct span frame);
/* Whether a credited frame of `size` bytes would be taken now. */
MUST_CHECK enum link_sent link_would(const struct link *link, uint32_t peer, size_t size);

/* Sends what waits without waiting for the end of the turn, then reads what has come from those to
 * whom something was sent, as far as the turn may. For who ends his turn with something long. */
void link_flush(struct link *link);

/* What heads tell from now on. */
void link_set_map_epoch(struct link *link, uint64_t map_epoch);
void link_set_load(struct link *link, uint32_t load);
/* What the peer's last head told. */
uint64_t link_peer_map_epoch(const struct link *link, uint32_t peer);
uint32_t link_peer_load(const struct link *link, uint32_t peer);

/* A new incarnation: every peer sees the old one end and a new one begin. */
void link_renew(struct link *link, uint64_t incarnation);

const struct link_counts *link_counts(const struct link *link);

/* A fault point, for tests: every n-th batch with frames is dropped instead of being sent (0:
 * none). */
void link_fault_drop_every(struct link *link, uint32_t n);

#endif
