#include "edge/websock.h"

#include <openssl/evp.h>

/* A head is smallest for its length (RFC 6455, 5.2), which is known only when the message ends:
 * most take this room, and a message that turns out shorter is moved. */
#define ROOM_USUAL 4u
#define LEN_IN_ROOM_MAX 65535u
#define ROOM_MAX 10u
#define PONGS_QUEUED_MAX 4096u

static_assert(sizeof(struct websock) <= 36, "a websock must stay small");

static void sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    int ok = EVP_Digest(bytes, len, digest, NULL, EVP_sha1(), NULL);
    assert(ok == 1);
}

void websock_welcome(struct websock *ws, const struct ws_upgrade *request, struct buf *out)
{
    char accept[WS_UPGRADE_ACCEPT_SIZE];
    ws_upgrade_accept(request->key, sha1, accept);
    uint8_t *at = buf_reserve(out, WS_UPGRADE_ANSWER_SIZE_MAX);
    buf_commit(out, ws_upgrade_answer_write(at, accept));
    ws->upgraded = true;
}

static void open_message(struct websock *ws, struct buf *out, size_t len)
{
    ws->room = len > LEN_IN_ROOM_MAX ? ROOM_MAX : ROOM_USUAL;
    (void)buf_reserve(out, ws->room + len);
    buf_commit(out, ws->room);
    ws->open_len = ws->room;
}

void websock_append(struct websock *ws, struct buf *out, struct span frames)
{
    if (ws->closed)
        return;
    if (ws->open_len > 0 && ws->open_len - ws->room + frames.len > LEN_IN_ROOM_MAX)
        websock_seal(ws, out);
    if (ws->open_len == 0)
        open_message(ws, out, frames.len);
    buf_append(out, frames);
    ws->open_len += (uint32_t)frames.len;
}

void websock_seal(struct websock *ws, struct buf *out)
{
    if (ws->open_len == 0)
        return;
    uint8_t head[WS_HEAD_SIZE_MAX];
    size_t len = ws->open_len - ws->room;
    size_t size = ws_head_write(head, WS_OP_BINARY, len, NULL);
    assert(size <= ws->room);
    uint8_t *at = out->bytes + (out->end - ws->open_len);
    memcpy(at, head, size);
    if (size < ws->room) {
        memmove(at + size, at + ws->room, len);
        buf_trim(out, ws->room - size);
    }
    ws->open_len = 0;
}

void websock_pong(struct websock *ws, struct buf *out, struct span payload)
{
    if (ws->closed || buf_len(out) > PONGS_QUEUED_MAX)
        return;
    websock_seal(ws, out);
    uint8_t *at = buf_reserve(out, WS_CONTROL_SIZE_MAX);
    buf_commit(out, ws_control_write(at, WS_OP_PONG, payload, NULL));
}

void websock_close(struct websock *ws, struct buf *out, enum end_reason reason)
{
    if (ws->closed)
        return;
    websock_seal(ws, out);
    uint16_t code = ws->code != 0 ? ws->code : (uint16_t)(WS_CODE_OF_END + (uint32_t)reason);
    uint8_t *at = buf_reserve(out, WS_CONTROL_SIZE_MAX);
    const char *text = ws->code != 0 ? "" : reasons_end_label(reason);
    buf_commit(out, ws_close_write(at, code, text, NULL));
    ws->closed = true;
}
