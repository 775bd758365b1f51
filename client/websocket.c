#include "client/websocket.h"

#include "base/address.h"
#include "proto/reasons.h"

#include <stdio.h>

#define ROOM 6u /* of the head of a short message */
#define MASK_SIZE 4u

static void next_mask(struct websocket *ws, uint8_t mask[MASK_SIZE])
{
    uint64_t word = ws->random(ws->ctx);
    memcpy(mask, &word, MASK_SIZE);
}

/* ---- beginning ------------------------------------------------------------------------------- */

bool websocket_ask(struct websocket *ws, const char *host, const char *port, const char *path,
                   void (*sha1)(const void *bytes, size_t len, uint8_t digest[20]), struct buf *out)
{
    uint64_t nonce[WS_UPGRADE_NONCE_SIZE / sizeof(uint64_t)];
    char key[WS_UPGRADE_KEY_SIZE], at[ADDRESS_HOST_BYTES_MAX + 16];
    for (size_t i = 0; i < sizeof nonce / sizeof nonce[0]; i++)
        nonce[i] = ws->random(ws->ctx);
    ws_reader_init(&ws->reader, WS_CLIENT);
    ws->closed = false;
    ws_upgrade_key((const uint8_t *)nonce, key);
    ws_upgrade_accept(span_of(key, sizeof key), sha1, ws->accept);
    bool brackets = strchr(host, ':') != NULL;
    snprintf(at, sizeof at, brackets ? "[%s]:%s" : "%s:%s", host, port);
    size_t len = ws_upgrade_request_write(buf_reserve(out, WS_UPGRADE_SIZE_MAX), at, path, key);
    buf_commit(out, len);
    return len > 0;
}

enum ws_upgrade_outcome websocket_answer(const struct websocket *ws, struct span head, size_t *size)
{
    return ws_upgrade_parse_answer(head, ws->accept, size);
}

/* ---- sending --------------------------------------------------------------------------------- */

uint8_t *websocket_reserve(struct buf *out, size_t len)
{
    return buf_reserve(out, WS_HEAD_SIZE_MAX + len) + ROOM;
}

void websocket_commit(struct websocket *ws, struct buf *out, size_t len)
{
    uint8_t *at = out->bytes + out->end, mask[MASK_SIZE];
    assert(len <= WS_MESSAGE_SIZE_MAX);
    size_t head = ws_head_size(len, true);
    if (head != ROOM)
        memmove(at + head, at + ROOM, len);
    next_mask(ws, mask);
    (void)ws_head_write(at, WS_OP_BINARY, len, mask);
    ws_mask(at + head, len, mask);
    if (!ws->closed)
        buf_commit(out, head + len);
}

void websocket_send(struct websocket *ws, struct buf *out, struct span frames)
{
    if (frames.len == 0)
        return;
    memcpy(websocket_reserve(out, frames.len), frames.at, frames.len);
    websocket_commit(ws, out, frames.len);
}

void websocket_close(struct websocket *ws, struct buf *out, uint16_t code)
{
    uint8_t mask[MASK_SIZE];
    if (ws->closed)
        return;
    next_mask(ws, mask);
    buf_commit(out, ws_close_write(buf_reserve(out, WS_CONTROL_SIZE_MAX), code, "", mask));
    ws->closed = true;
}

static void pong(struct websocket *ws, struct buf *out, struct span payload)
{
    uint8_t mask[MASK_SIZE];
    if (ws->closed)
        return;
    next_mask(ws, mask);
    buf_commit(out,
               ws_control_write(buf_reserve(out, WS_CONTROL_SIZE_MAX), WS_OP_PONG, payload, mask));
}

/* ---- reading --------------------------------------------------------------------------------- */

static void end_by_close(struct websocket *ws, struct buf *out, uint16_t code,
                         struct websocket_end *end)
{
    uint32_t reason = code >= WS_CODE_OF_END ? code - (uint32_t)WS_CODE_OF_END : END_NONE;
    *end = (struct websocket_end){"closed", "the server closed the connection"};
    if (reasons_end_known(reason))
        *end = (struct websocket_end){reasons_end_label(reason), reasons_end_text(reason)};
    websocket_close(ws, out, code);
}

static void end_by_error(struct websocket *ws, struct buf *out, const struct ws_item *item,
                         struct websocket_end *end)
{
    *end = (struct websocket_end){item->why, "the server does not speak WebSocket as it should"};
    websocket_close(ws, out, item->code);
}

bool websocket_read(struct websocket *ws, uint8_t *bytes, size_t *clear, size_t *len,
                    struct buf *out, struct websocket_end *end)
{
    size_t at = *clear, used;
    struct ws_item item;
    while (true) {
        enum ws_event event = ws_read(&ws->reader, bytes + at, *len - at, &used, &item);
        at += used;
        switch (event) {
        case WS_PIECE:
            memmove(bytes + *clear, item.at, item.len);
            *clear += item.len;
            break;
        case WS_PING:
            pong(ws, out, span_of(item.at, item.len));
            break;
        case WS_PONG:
            break;
        case WS_CLOSE:
            end_by_close(ws, out, item.code, end);
            *len = *clear;
            return false;
        case WS_ERROR:
            end_by_error(ws, out, &item, end);
            *len = *clear;
            return false;
        case WS_MORE:
            memmove(bytes + *clear, bytes + at, *len - at);
            *len = *clear + (*len - at);
            return true;
        }
    }
}
