/* limits: what an edge worker takes from everybody together and from each client address, so that
 * nobody's crowd costs the others their service. Pure memory; one a worker, shared by conn
 * (accepts, connections, handshakes) and session (logins, sends).
 *
 * An address is an IPv4 address or an IPv6 /64. It is known while it has connections, and after
 * that until all its buckets are full again: so 40 bytes for each of at most addresses_max of them,
 * and 4 bytes in each connection. When that table is full, further addresses are not told apart
 * (index LIMITS_NOBODY) and only the worker's own limits hold for them: who fills it has taken up
 * most of the worker's connections already, and the innocent must not pay. It is counted.
 *
 * The course of a connection:
 *
 *     limits_enter       once the client's address is known (after a PROXY header): first, so that
 *                        what one address asks too much is not taken from what is for all
 *     limits_accept      before anything is spent on the socket: overload, worker's accepts
 *     limits_handshake   if a TLS handshake would follow
 *     limits_login       once a Hello was read: by token or by ticket
 *     limits_check       each time before a signature is checked
 *     limits_send        for each send
 *     limits_leave       when it is gone, if it had entered
 *
 * What is refused is counted here, under the limit that refused it (lahar_limit_rejected_total).
 */
#ifndef EDGE_LIMITS_H
#define EDGE_LIMITS_H

#include "base/bucket.h"
#include "base/metrics.h"
#include "proto/reasons.h"

#include <sys/socket.h>

struct limits;

enum limit {
    LIMIT_NONE, /* allowed */
#define LIMIT(name, label, reason, end) LIMIT_##name,
#include "edge/limit_rows.h"
    LIMITS,
};

#define LIMITS_NOBODY 0u /* an address that is not told apart from others */

enum limits_login { LIMITS_FULL, LIMITS_BY_TICKET };

/* How much is refused at the moment. Each keeps what the ones before it refuse. */
enum limits_class {
    LIMITS_CALM,
    LIMITS_NO_ACCEPTS,
    LIMITS_NO_LOGINS,
    LIMITS_NO_EPHEMERAL,
};

/* A rate of 0 or a count of 0: no limit. */
struct limits_options {
    struct bucket_rate accepts, handshakes; /* of the worker */
    struct bucket_rate logins, tickets;     /* of the worker: full ones, by ticket */
    uint32_t checks_a_turn;                 /* signatures */
    uint32_t addresses_max;                 /* that are told apart; 0: none are */
    uint32_t address_connections;           /* at once */
    struct bucket_rate address_accepts, address_logins, address_sends;
    uint64_t seed; /* random: nobody can choose what collides */
};

/* `metrics`: a row of edge/edge_metrics.h. */
struct limits *limits_new(const struct limits_options *options, struct metrics *metrics);
void limits_free(struct limits *limits);

/* A turn begins at this time (monotonic). Any number of times a turn is harmless while the time is
 * the same. */
void limits_time(struct limits *limits, uint64_t now_ms);
/* Every 100 ms: forgets idle addresses, sets gauges. */
void limits_tick(struct limits *limits);
/* What overload (edge/overload.h) says, until it says otherwise. */
void limits_set_class(struct limits *limits, enum limits_class class);
enum limits_class limits_class(const struct limits *limits);

/* May a socket that was just accepted go on? */
MUST_CHECK enum limit limits_accept(struct limits *limits);
MUST_CHECK enum limit limits_handshake(struct limits *limits);
/* Takes in a connection from there; sets `address`, to be kept with it, for limits_leave above all.
 * Only IPv4 and IPv6 are told apart. When it is refused there is nothing to leave. */
MUST_CHECK enum limit limits_enter(struct limits *limits, const struct sockaddr *from,
                                   uint32_t *address);
void limits_leave(struct limits *limits, uint32_t address);

/* A Hello was read; asked once for each. */
MUST_CHECK enum limit limits_login(struct limits *limits, uint32_t address, enum limits_login how);
/* One more signature in this turn? If not, the login waits (its deadline runs) and asks again in
 * a later turn, first come first served; limits_login has seen to it that few have to. */
MUST_CHECK bool limits_check(struct limits *limits);

/* One send: 0, or how long to wait, in ms. */
MUST_CHECK uint32_t limits_send(struct limits *limits, uint32_t address);

/* Refused by a limit that somebody else keeps. */
void limits_refused(struct limits *limits, enum limit limit);
/* How a client that was refused is told. END_NONE: by a nack. */
enum end_reason limits_end(enum limit limit);
/* What to tell it as reconnect_after_ms: as if all whom the worker's own limits refused stood in a
 * line, its turn there; 1 s to 60 s. */
uint32_t limits_retry_ms(const struct limits *limits, uint64_t random);

#endif
