/* ws: the frames of WebSocket (RFC 6455), both sides, in place.
 *
 *     +----------------+-----------------------+------------------+-----------+
 *     | FIN RSV opcode | MASK, length 7/16/64   | mask, 4 bytes    | payload   |
 *     +----------------+-----------------------+------------------+-----------+
 *                                                only from a client
 *
 * No extensions (so no compression), binary messages only, at most WS_MESSAGE_SIZE_MAX each, in as
 * many fragments as the peer likes. The HTTP before it: proto/ws_upgrade.h.
 *
 * Pure: no allocation, no I/O. A reader keeps only what cannot be read again: where it is in a
 * message. A head, and a control frame, that are not whole yet are left with the caller, at most
 * WS_PENDING_SIZE_MAX bytes; a fault is told from the first byte that shows it.
 */
#ifndef PROTO_WS_H
#define PROTO_WS_H

#include "base/span.h"

#define WS_MESSAGE_SIZE_MAX (64u * 1024u)
#define WS_HEAD_SIZE_MAX 14u
#define WS_CONTROL_PAYLOAD_MAX 125u
#define WS_CONTROL_SIZE_MAX (2u + 4u + WS_CONTROL_PAYLOAD_MAX)
/* One byte less than a whole one. */
#define WS_PENDING_SIZE_MAX (WS_CONTROL_SIZE_MAX - 1u)

/* Whose bytes are read: a server reads masked frames, a client bare ones. */
enum ws_side { WS_SERVER, WS_CLIENT };

enum ws_opcode {
    WS_OP_CONTINUATION = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10,
};

/* Of close frames. WS_CODE_NONE never travels: the peer's close had none. An edge closes with
 * WS_CODE_OF_END + the number of the end reason (proto/end_reasons.h). */
enum ws_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_UNSUPPORTED = 1003,
    WS_CODE_NONE = 1005,
    WS_CODE_INVALID_DATA = 1007,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_INTERNAL = 1011,
    WS_CODE_OF_END = 4000,
};

/* Small, to live inside of a connection. Zeroed, it is a server's at the begin of a connection. */
struct ws_reader {
    uint32_t left;    /* bytes of the data frame that are still to come */
    uint32_t message; /* bytes of the message, its current frame counted in full */
    uint32_t mask;    /* as its bytes lie in memory, turned so that it begins with the next one's */
    uint8_t side;     /* enum ws_side */
    bool in_message, last_frame, ended;
};

enum ws_event {
    WS_MORE,  /* more bytes are needed, and what was not used */
    WS_PIECE, /* payload of a message, in order, perhaps empty; `end`: the message ends with it */
    WS_PING,  /* answer with a pong of the same payload */
    WS_PONG,
    WS_CLOSE, /* the peer is done: answer with `code` (nothing, if it is WS_CODE_NONE) and end */
    WS_ERROR, /* the peer broke the protocol: close with `code` */
};

struct ws_item {
    /* WS_PIECE, WS_PING, WS_PONG: payload; WS_CLOSE: its text, UTF-8. Unmasked, in the same bytes.
     */
    uint8_t *at;
    size_t len;
    bool end;
    uint16_t code;   /* of WS_CLOSE and WS_ERROR: enum ws_code, or what the peer chose */
    const char *why; /* of WS_ERROR: a label, static */
};

void ws_reader_init(struct ws_reader *reader, enum ws_side side);
/* Reads on to the next event. `used`: bytes that are dealt with, a piece's among them; call again
 * with what follows them, until WS_MORE. What was not used must be offered again, unchanged, before
 * what follows it. After WS_CLOSE and WS_ERROR all is swallowed as WS_MORE. */
MUST_CHECK enum ws_event ws_read(struct ws_reader *reader, uint8_t *bytes, size_t len, size_t *used,
                                 struct ws_item *item);
/* Not even the first byte of a message that has not ended was read. */
bool ws_between_messages(const struct ws_reader *reader);

/* Writing. `mask`: 4 unpredictable bytes (a client's), NULL: none (a server's). */

size_t ws_head_size(size_t len, bool masked);
/* The head of an unfragmented frame; returns its size. The payload is the caller's to append, and
 * to mask. */
size_t ws_head_write(uint8_t *out, enum ws_opcode opcode, size_t len, const uint8_t *mask);
/* A whole ping or pong; `out` has room for WS_CONTROL_SIZE_MAX, and `payload` may not lie in it. */
size_t ws_control_write(uint8_t *out, enum ws_opcode opcode, struct span payload,
                        const uint8_t *mask);
/* A whole close; `text` is cut at WS_CONTROL_PAYLOAD_MAX - 2. WS_CODE_NONE: without a code. */
size_t ws_close_write(uint8_t *out, uint16_t code, const char *text, const uint8_t *mask);
/* Masks, or unmasks, in place. */
void ws_mask(uint8_t *bytes, size_t len, const uint8_t mask[4]);

#endif
