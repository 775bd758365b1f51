/* WebSocket's frames, either side: read in one piece and read in any pieces they are the same
 * events, nothing is read that is not there, and what is left over stays small. What was written is
 * read back.
 *
 * The first byte says whose side it is, and how the rest is cut.
 *
 * Covers: proto/ws.c. Longest input: 512.
 */
#include "proto/ws.h"

#include <stdlib.h>

#define BYTES_MAX 2048u

struct seen {
    uint8_t payload[BYTES_MAX]; /* of messages, one after the other */
    size_t payload_len, messages, pings, pongs, closes, errors;
    uint32_t control; /* a sum over what control frames held */
    uint16_t code;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(struct seen *seen, enum ws_event event, const struct ws_item *item)
{
    assert(seen->closes + seen->errors == 0); /* nothing follows an end */
    for (size_t i = 0; event != WS_PIECE && event != WS_ERROR && i < item->len; i++)
        seen->control = seen->control * 31 + item->at[i];
    switch (event) {
    case WS_PIECE:
        assert(seen->payload_len + item->len <= BYTES_MAX);
        if (item->len > 0)
            memcpy(seen->payload + seen->payload_len, item->at, item->len);
        seen->payload_len += item->len;
        seen->messages += item->end;
        break;
    case WS_PING:
        assert(item->len <= WS_CONTROL_PAYLOAD_MAX);
        seen->pings++;
        break;
    case WS_PONG:
        assert(item->len <= WS_CONTROL_PAYLOAD_MAX);
        seen->pongs++;
        break;
    case WS_CLOSE:
        seen->closes++;
        seen->code = item->code;
        break;
    case WS_ERROR:
        assert(item->why != NULL && item->code >= WS_CODE_NORMAL);
        seen->errors++;
        seen->code = item->code;
        break;
    case WS_MORE:
        break;
    }
}

/* In pieces of `piece` bytes; 0: all at once. Of exactly their size. */
static void read_all(struct seen *seen, const uint8_t *data, size_t size, enum ws_side side,
                     size_t piece)
{
    struct ws_reader reader;
    ws_reader_init(&reader, side);
    uint8_t *left = NULL;
    size_t left_len = 0;
    for (size_t at = 0; at < size;) {
        size_t len = piece == 0 || piece > size - at ? size - at : piece, used_all = 0;
        uint8_t *bytes = malloc(left_len + len);
        assert(bytes != NULL);
        if (left_len > 0)
            memcpy(bytes, left, left_len);
        memcpy(bytes + left_len, data + at, len);
        free(left);
        at += len;
        len += left_len;
        for (;;) {
            struct ws_item item = {0};
            size_t used = 0;
            enum ws_event event = ws_read(&reader, bytes + used_all, len - used_all, &used, &item);
            assert(used <= len - used_all);
            used_all += used;
            if (event == WS_MORE)
                break;
            look_at(seen, event, &item);
        }
        left_len = len - used_all;
        assert(left_len <= WS_PENDING_SIZE_MAX);
        left = malloc(left_len + 1);
        assert(left != NULL);
        if (left_len > 0)
            memcpy(left, bytes + used_all, left_len);
        free(bytes);
    }
    free(left);
}

static void write_and_read(const uint8_t *data, size_t size, enum ws_side side)
{
    static const uint8_t key[4] = {0xa5, 0, 0xff, 0x17};
    const uint8_t *mask = side == WS_SERVER ? key : NULL;
    uint8_t bytes[BYTES_MAX + WS_HEAD_SIZE_MAX];
    size_t head = ws_head_write(bytes, WS_OP_BINARY, size, mask);
    assert(head == ws_head_size(size, mask != NULL) && head <= WS_HEAD_SIZE_MAX);
    if (size > 0)
        memcpy(bytes + head, data, size);
    if (mask != NULL)
        ws_mask(bytes + head, size, mask);
    struct seen seen = {0};
    read_all(&seen, bytes, head + size, side, 0);
    assert(seen.errors == 0 && seen.messages == 1 && seen.payload_len == size);
    assert(size == 0 || memcmp(seen.payload, data, size) == 0);

    uint8_t control[WS_CONTROL_SIZE_MAX];
    struct span payload = span_of(data, size < 125 ? size : 125);
    size_t len = ws_control_write(control, WS_OP_PING, payload, mask);
    seen = (struct seen){0};
    read_all(&seen, control, len, side, 1);
    assert(seen.pings == 1 && seen.errors == 0);
    len = ws_close_write(control, 4000, "some text", mask);
    seen = (struct seen){0};
    read_all(&seen, control, len, side, 0);
    assert(seen.closes == 1 && seen.code == 4000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > BYTES_MAX)
        return 0;
    enum ws_side side = data[0] & 1 ? WS_CLIENT : WS_SERVER;
    size_t piece = 1 + (data[0] >> 1) % 16;
    static struct seen whole, cut; /* compared as bytes */
    memset(&whole, 0, sizeof whole);
    memset(&cut, 0, sizeof cut);
    read_all(&whole, data + 1, size - 1, side, 0);
    read_all(&cut, data + 1, size - 1, side, piece);
    assert(memcmp(&whole, &cut, sizeof whole) == 0);
    write_and_read(data + 1, size - 1, side);
    return 0;
}
