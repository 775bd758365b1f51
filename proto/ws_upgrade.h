/* ws_upgrade: the HTTP/1.1 that a WebSocket begins with (RFC 6455 section 4, RFC 9112), both sides.
 *
 * A head has at most WS_UPGRADE_SIZE_MAX bytes and is parsed strictly: lines end with CR LF, no
 * folding, no space before a colon, nothing in it that a proxy might read otherwise. Parsing keeps
 * nothing: offer all that came since the first byte, and that again with what follows it, until the
 * outcome is not WS_UPGRADE_PARTIAL. A fault is told from the line that shows it, and the same at
 * every split.
 *
 * Pure: SHA-1 is the caller's.
 */
#ifndef PROTO_WS_UPGRADE_H
#define PROTO_WS_UPGRADE_H

#include "base/span.h"

#define WS_UPGRADE_SIZE_MAX 4096u
#define WS_UPGRADE_PROTOCOL "lahar.v1"
#define WS_UPGRADE_NONCE_SIZE 16u
#define WS_UPGRADE_KEY_SIZE 24u
#define WS_UPGRADE_ACCEPT_SIZE 28u
/* Room that an answer needs. */
#define WS_UPGRADE_ANSWER_SIZE_MAX 512u

enum ws_upgrade_outcome {
    WS_UPGRADE_PARTIAL, /* the rest has yet to arrive */
    WS_UPGRADE_OK,
#define WS_UPGRADE_OUTCOME(name, status, label, text) WS_UPGRADE_##name,
#include "proto/ws_upgrade_outcomes.h"
    WS_UPGRADE_OUTCOMES,
};

/* "" before the first refusal. */
const char *ws_upgrade_label(enum ws_upgrade_outcome outcome);
const char *ws_upgrade_text(enum ws_upgrade_outcome outcome);
/* The HTTP status to answer with; 0: none. */
uint32_t ws_upgrade_status(enum ws_upgrade_outcome outcome);

/* ---- a server's half ---- */

/* Borrows from the head. */
struct ws_upgrade {
    struct span path;   /* from its slash to the end of its query */
    struct span host;   /* with its port */
    struct span origin; /* empty: none was sent, so it is not a browser; "null" is an origin */
    struct span key;    /* WS_UPGRADE_KEY_SIZE bytes */
    size_t size;        /* of the head: what follows are frames */
};

/* `request` is filled on WS_UPGRADE_OK. */
MUST_CHECK enum ws_upgrade_outcome ws_upgrade_parse(struct span head, struct ws_upgrade *request);

/* What Sec-WebSocket-Accept must say to a key. */
void ws_upgrade_accept(struct span key,
                       void (*sha1)(const void *bytes, size_t len, uint8_t digest[20]),
                       char out[WS_UPGRADE_ACCEPT_SIZE]);
/* "101 Switching Protocols" with `lahar.v1`; and what a refusal with a status is answered with,
 * after which the connection is closed. Both return the size. */
size_t ws_upgrade_answer_write(uint8_t *out, const char accept[WS_UPGRADE_ACCEPT_SIZE]);
size_t ws_upgrade_refusal_write(uint8_t *out, enum ws_upgrade_outcome outcome);

/* ---- a client's half ---- */

/* `host`: with its port, and brackets if it is an address of IPv6. `path`: from its slash on.
 * Returns the size; 0: it does not fit, or something is in them that may not be. */
MUST_CHECK size_t ws_upgrade_request_write(uint8_t out[WS_UPGRADE_SIZE_MAX], const char *host,
                                           const char *path, const char key[WS_UPGRADE_KEY_SIZE]);
/* A key from random bytes. */
void ws_upgrade_key(const uint8_t nonce[WS_UPGRADE_NONCE_SIZE], char out[WS_UPGRADE_KEY_SIZE]);
/* `size` is set on WS_UPGRADE_OK. */
MUST_CHECK enum ws_upgrade_outcome
ws_upgrade_parse_answer(struct span head, const char accept[WS_UPGRADE_ACCEPT_SIZE], size_t *size);
/* Whether ws_upgrade_request_write would take it. */
bool ws_upgrade_path_valid(struct span path);

#endif
