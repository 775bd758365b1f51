/* wire_text: what the protocols made of text and lines have in common. Pure. */
#ifndef BENCH_WIRE_TEXT_H
#define BENCH_WIRE_TEXT_H

#include "proto/frame.h"

/* No line of a server is longer. */
#define WIRE_TEXT_LINE_MAX (32u * 1024u)
/* The longest body that is accepted, and the digits of its length. */
#define WIRE_TEXT_BODY_MAX FRAME_BODY_SIZE_MAX
#define WIRE_TEXT_DIGITS_MAX 20u

static inline uint8_t *wire_text_put(uint8_t *at, struct span text)
{
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    return at + text.len;
}

static inline uint8_t *wire_text_put_number(uint8_t *at, uint64_t number)
{
    uint8_t digits[WIRE_TEXT_DIGITS_MAX];
    size_t first = sizeof digits;
    do
        digits[--first] = (uint8_t)('0' + number % 10);
    while ((number /= 10) != 0);
    return wire_text_put(at, span_of(digits + first, sizeof digits - first));
}

/* A user's address: subject, topic or channel. */
static inline uint8_t *wire_text_put_name(uint8_t *at, uint64_t number)
{
    *at++ = 'u';
    return wire_text_put_number(at, number);
}

static inline size_t wire_text_digits(uint64_t number)
{
    size_t digits = 1;
    while ((number /= 10) != 0)
        digits++;
    return digits;
}

/* False if it is anything but one to nine digits. */
MUST_CHECK static inline bool wire_text_number(struct span text, uint32_t *number)
{
    uint32_t sum = 0;
    if (text.len == 0 || text.len > 9)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        sum = sum * 10 + (uint32_t)(text.at[i] - '0');
    }
    *number = sum;
    return true;
}

/* Takes a line and its CR LF off `input`, as frame_take does. */
MUST_CHECK static inline enum frame_status wire_text_line(struct span *input, struct span *line)
{
    const uint8_t *end = input->len > 0 ? memchr(input->at, '\n', input->len) : NULL;
    if (!end)
        return input->len > WIRE_TEXT_LINE_MAX ? FRAME_INVALID : FRAME_PARTIAL;
    if (end == input->at || end[-1] != '\r')
        return FRAME_INVALID;
    *line = span_of(input->at, (size_t)(end - input->at) - 1);
    *input = span_after(*input, line->len + 2);
    return FRAME_READY;
}

/* Takes `len` bytes and the CR LF behind them. */
MUST_CHECK static inline enum frame_status wire_text_body(struct span *input, uint32_t len,
                                                          struct span *body)
{
    if (len > WIRE_TEXT_BODY_MAX)
        return FRAME_INVALID;
    if (input->len < (size_t)len + 2)
        return FRAME_PARTIAL;
    if (memcmp(input->at + len, "\r\n", 2) != 0)
        return FRAME_INVALID;
    *body = span_upto(*input, len);
    *input = span_after(*input, (size_t)len + 2);
    return FRAME_READY;
}

MUST_CHECK static inline bool wire_text_starts(struct span text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.at, with, len) == 0;
}

#endif
