/* zap: the ZeroMQ context of a process, who may come in (RFC 27, the ZeroMQ Authentication
 * Protocol), and sockets made as a link needs them. A part of link; nothing else uses it.
 *
 * With CURVE a router's context has a thread that answers each handshake from the allow-lists. A
 * lost handshake is refused there, so what a socket receives was sent by a key that was allowed
 * when it came; each message tells its key as user ("edge:<public key>").
 *
 * Threads: zap_new, zap_reload and zap_free are for the main thread, the rest for any.
 */
#ifndef PROTO_ZAP_H
#define PROTO_ZAP_H

#include "proto/keys.h"

struct zap;

#define ZAP_ID_SIZE 16u /* of routing ids */

/* Dies as link_net_new does. `keys` may be NULL without `curve`. */
struct zap *zap_new(enum keys_role role, bool curve, const struct keys *keys, uint32_t io_threads);
void zap_reload(struct zap *zap, const struct keys *keys);
/* Waits until all sockets are closed and what they still had to send has left, or their linger
 * ended. */
void zap_free(struct zap *zap);

enum keys_role zap_role(const struct zap *zap);
bool zap_curve(const struct zap *zap);
/* Another number after each reload. */
uint32_t zap_generation(const struct zap *zap);
/* Our own public key of now, KEYS_Z85_SIZE bytes; empty without CURVE. */
const char *zap_public(const struct zap *zap);

/* Whether a key is in a role's list now. Without CURVE: yes. */
MUST_CHECK bool zap_allowed(const struct zap *zap, enum keys_role role, const char *key);

/* A ROUTER for a binder; the caller closes it. Dies when there is none to be had. */
void *zap_router(struct zap *zap);
/* A DEALER, not yet connected, that expects one of the allowed routers' keys: number `turn` modulo
 * their count. Writes that key (empty without CURVE). NULL when no router's key is allowed, or no
 * descriptor is left. */
void *zap_dealer(struct zap *zap, const uint8_t id[ZAP_ID_SIZE], uint32_t turn,
                 char server_key[KEYS_Z85_SIZE]);
/* The keys of now for connections that come from now on. */
void zap_renew_router(struct zap *zap, void *router);

enum zap_event {
    ZAP_NONE,    /* nothing more to tell */
    ZAP_JOINED,  /* a handshake succeeded */
    ZAP_LEFT,    /* a connection ended */
    ZAP_REFUSED, /* a handshake failed: keys or mechanism */
    ZAP_BROKEN,  /* it broke off: for one that connects, a server that does not want us may do that
                  */
};
/* Another socket, on which zap_monitor_next tells what happens to `socket`. Close it before that.
 */
void *zap_monitor(struct zap *zap, void *socket);
enum zap_event zap_monitor_next(void *monitor);
/* Both; `monitor` may be NULL. */
void zap_close(void *socket, void *monitor);

/* The descriptor to watch (edge-triggered, see zmq_getsockopt(3), ZMQ_FD). */
int zap_fd(void *socket);

#endif
