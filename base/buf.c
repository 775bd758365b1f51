#include "base/buf.h"

#include <stdlib.h>

#define ROOM_MIN 256u
#define ROOM_MAX (UINT32_C(1) << 30)

static void grow(struct buf *buf, size_t needed)
{
    uint32_t live = buf_len(buf);
    size_t room = ROOM_MIN;
    while (room < needed)
        room *= 2;
    uint8_t *bytes = malloc(room);
    assert(bytes != NULL);
    if (live > 0)
        memcpy(bytes, buf->bytes + buf->begin, live);
    free(buf->bytes);
    *buf = (struct buf){.bytes = bytes, .end = live, .room = (uint32_t)room};
}

uint8_t *buf_reserve(struct buf *buf, size_t len)
{
    uint32_t live = buf_len(buf);
    assert(len <= ROOM_MAX - live);
    if (buf->bytes != NULL && buf->room - buf->end >= len)
        return buf->bytes + buf->end;

    /* Bytes move to the front only once as many were consumed, else to twice the room: either way
     * each is moved about once, however small the steps. */
    size_t needed = live + len;
    bool half_consumed = live <= buf->begin || buf->room == ROOM_MAX;
    if (buf->bytes != NULL && needed <= buf->room && half_consumed) {
        memmove(buf->bytes, buf->bytes + buf->begin, live);
        buf->begin = 0;
        buf->end = live;
    } else {
        size_t twice = (size_t)buf->room * 2;
        grow(buf, needed > twice ? needed : twice);
    }
    return buf->bytes + buf->end;
}

void buf_commit(struct buf *buf, size_t len)
{
    assert(len <= buf->room - buf->end);
    buf->end += (uint32_t)len;
}

void buf_append(struct buf *buf, struct span bytes)
{
    if (bytes.len == 0)
        return;
    memcpy(buf_reserve(buf, bytes.len), bytes.at, bytes.len);
    buf_commit(buf, bytes.len);
}

void buf_consume(struct buf *buf, size_t len, size_t keep)
{
    assert(len <= buf_len(buf));
    buf->begin += (uint32_t)len;
    if (buf->begin < buf->end)
        return;
    buf->begin = buf->end = 0;
    if (buf->room > keep)
        buf_free(buf);
}

void buf_trim(struct buf *buf, size_t len)
{
    assert(len <= buf_len(buf));
    buf->end -= (uint32_t)len;
}

void buf_free(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}
