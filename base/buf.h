/* buf: bytes that wait, in order: appended at the end, consumed at the front. Empty, it holds no
 * memory unless asked to. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/span.h"

struct buf {
    uint8_t *bytes;
    uint32_t begin, end, room;
};

static inline uint32_t buf_len(const struct buf *buf)
{
    return buf->end - buf->begin;
}

static inline struct span buf_span(const struct buf *buf)
{
    return span_after((struct span){buf->bytes, buf->end}, buf->begin);
}

/* Room for `len` more bytes at the end; write there, then buf_commit what was written. The total
 * may not pass 1 GiB (callers have limits far below). */
uint8_t *buf_reserve(struct buf *buf, size_t len);
void buf_commit(struct buf *buf, size_t len);
void buf_append(struct buf *buf, struct span bytes);
/* Takes `len` bytes off the front; what becomes empty gives its memory back if that is more than
 * `keep` bytes. */
void buf_consume(struct buf *buf, size_t len, size_t keep);
/* Takes `len` bytes off the end. */
void buf_trim(struct buf *buf, size_t len);
void buf_free(struct buf *buf);

#endif
