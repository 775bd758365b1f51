/* websocket: the client's half of one WebSocket over bytes: what asks for it, what is sent in it
 * and what came. Codec and HTTP are proto/ws.h and proto/ws_upgrade.h; sockets, SHA-1 and chance
 * are the caller's. Pure.
 */
#ifndef CLIENT_WEBSOCKET_H
#define CLIENT_WEBSOCKET_H

#include "base/buf.h"
#include "proto/ws.h"
#include "proto/ws_upgrade.h"

struct websocket {
    struct ws_reader reader;
    uint64_t (*random)(void *ctx); /* masks must not be guessed */
    void *ctx;
    char accept[WS_UPGRADE_ACCEPT_SIZE]; /* what the answer must say */
    bool closed;                         /* our close is queued: nothing follows it */
};

/* Why it ended: a label and a text for people, both static. */
struct websocket_end {
    const char *why, *why_text;
};

/* Begins anew: queues the request. False: it is too long. */
MUST_CHECK bool websocket_ask(struct websocket *ws, const char *host, const char *port,
                              const char *path,
                              void (*sha1)(const void *bytes, size_t len, uint8_t digest[20]),
                              struct buf *out);
/* WS_UPGRADE_OK: it is open, and frames follow `size` bytes. */
MUST_CHECK enum ws_upgrade_outcome websocket_answer(const struct websocket *ws, struct span head,
                                                    size_t *size);

/* Queues whole frames as one message of at most WS_MESSAGE_SIZE_MAX. */
void websocket_send(struct websocket *ws, struct buf *out, struct span frames);
/* The same in place: room for at most `len` bytes, of which `len` are then sent. */
uint8_t *websocket_reserve(struct buf *out, size_t len);
void websocket_commit(struct websocket *ws, struct buf *out, size_t len);
/* Queues the close frame, once. */
void websocket_close(struct websocket *ws, struct buf *out, uint16_t code);

/* Reads bytes[*clear..*len) and moves what the messages in it carry to *clear, and what could not
 * be read yet (at most WS_PENDING_SIZE_MAX bytes) behind that; both are set to where they then end.
 * Answers are queued. False: it has ended. */
MUST_CHECK bool websocket_read(struct websocket *ws, uint8_t *bytes, size_t *clear, size_t *len,
                               struct buf *out, struct websocket_end *end);

#endif
