/* websock: the server's half of one WebSocket (RFC 6455) over buffers: the answer to the upgrade,
 * how our frames leave as binary messages, and the answers to control frames. The codec is
 * proto/ws.h; which bytes come from where is conn's.
 *
 * What is queued lies in the conn's out queue as it will go out. The last message stays open until
 * it is sealed, so that all frames of a turn share it; room for its head is kept in front of it.
 */
#ifndef EDGE_WEBSOCK_H
#define EDGE_WEBSOCK_H

#include "base/buf.h"
#include "proto/reasons.h"
#include "proto/ws.h"
#include "proto/ws_upgrade.h"

/* Only those that speak WebSocket have one. Zeroed, it awaits a request. */
struct websock {
    struct ws_reader reader;
    uint32_t open_len;     /* at the end of the queue: room for a head, and a message; 0: none */
    uint32_t began_ms;     /* when the request was first awaited */
    uint16_t code;         /* to close with; 0: that of the reason */
    uint8_t room;          /* for the head of the open message */
    uint8_t raw_len;       /* at the end of the conn's `in`: could not be read yet */
    bool upgraded, closed; /* closed: our close frame is queued */
};

/* Queues the answer that completes the upgrade. */
void websock_welcome(struct websock *ws, const struct ws_upgrade *request, struct buf *out);
/* Queues frames of ours, as a part of the open message. */
void websock_append(struct websock *ws, struct buf *out, struct span frames);
/* Makes whole what is queued: now it may be written. */
void websock_seal(struct websock *ws, struct buf *out);
/* Dropped when much waits already: a peer may not have us keep what it does not read. */
void websock_pong(struct websock *ws, struct buf *out, struct span payload);
/* Queues the close frame, once. */
void websock_close(struct websock *ws, struct buf *out, enum end_reason reason);

#endif
