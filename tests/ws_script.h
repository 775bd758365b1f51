/* ws_script: streams of WebSocket frames and what they were read as, in words, for tables.
 *
 * A stream: words by spaces. A frame is its first byte in hex, then its payload:
 *     82:hello       text        82*300   300 bytes of a pattern       82=00ff   hex
 * and with a length that is not the shortest, of so many bytes: 82/2:hello, 82/8:hello. A word in
 * brackets, <8290>, is raw bytes. Frames are masked if they go to a server.
 *
 * What it is read as: M for a message, P for a ping, p for a pong, each with its payload written
 * likewise; C and code for a close, with its text; E, code and label for an error; and at the end
 * +N for N bytes that wait for more. */
#ifndef TESTS_WS_SCRIPT_H
#define TESTS_WS_SCRIPT_H

#include "proto/ws.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define SCRIPT_BYTES_MAX (512u * 1024u)
#define SCRIPT_WORDS_MAX 8192u

struct script_stream {
    uint8_t bytes[SCRIPT_BYTES_MAX];
    size_t len;
};

static inline uint8_t script_pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 256 + 13);
}

static size_t script_hex(const char **text, uint8_t *out)
{
    size_t len = 0;
    unsigned int byte;
    for (; isxdigit((*text)[0]) && isxdigit((*text)[1]); *text += 2, len++) {
        int got = sscanf(*text, "%2x", &byte);
        assert(got == 1);
        out[len] = (uint8_t)byte;
    }
    return len;
}

static size_t script_payload(const char **text, uint8_t *out)
{
    size_t len = 0;
    char kind = *(*text)++;
    if (kind == '=') {
        len = script_hex(text, out);
    } else if (kind == '*') {
        char *end;
        len = strtoul(*text, &end, 10);
        *text = end;
        for (size_t i = 0; i < len; i++)
            out[i] = script_pattern(i);
    } else {
        assert(kind == ':');
        for (; **text != ' ' && **text != '\0'; ++*text)
            out[len++] = (uint8_t) * *text;
    }
    assert(**text == ' ' || **text == '\0');
    return len;
}

/* A head of its own making: it must be able to write what ws_head_write will not. */
static void script_frame(struct script_stream *stream, const char **text, enum ws_side reader)
{
    static uint8_t payload[SCRIPT_BYTES_MAX];
    uint8_t first, mask[4], *at = stream->bytes + stream->len;
    size_t got = script_hex(text, &first), field = 0;
    assert(got == 1);
    if (**text == '/') {
        field = (size_t)((*text)[1] - '0');
        *text += 2;
    }
    size_t len = script_payload(text, payload);
    if (field == 0)
        field = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    *at++ = first;
    *at++ = (uint8_t)((reader == WS_SERVER ? 0x80 : 0) | (field == 0   ? len
                                                          : field == 2 ? 126
                                                                       : 127));
    for (size_t i = field; i-- > 0;)
        *at++ = (uint8_t)((uint64_t)len >> 8 * i);
    if (reader == WS_SERVER) {
        for (size_t i = 0; i < 4; i++) {
            mask[i] = (uint8_t)(stream->len * 31 + i * 77 + 1);
            *at++ = mask[i];
        }
        for (size_t i = 0; i < len; i++)
            payload[i] ^= mask[i % 4];
    }
    memcpy(at, payload, len);
    stream->len = (size_t)(at - stream->bytes) + len;
    assert(stream->len < SCRIPT_BYTES_MAX);
}

static void script_write(struct script_stream *stream, const char *text, enum ws_side reader)
{
    stream->len = 0;
    while (*text != '\0') {
        if (*text == '<') {
            text++;
            stream->len += script_hex(&text, stream->bytes + stream->len);
            assert(*text == '>');
            text++;
        } else {
            script_frame(stream, &text, reader);
        }
        while (*text == ' ')
            text++;
    }
}

/* A reader, and the words for what it read. */
struct script_reader {
    struct ws_reader reader;
    uint8_t *kept;
    size_t kept_len, message_len;
    char words[SCRIPT_WORDS_MAX];
    uint8_t message[WS_MESSAGE_SIZE_MAX];
};

static void script_say(struct script_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void script_say(struct script_reader *r, const char *format, ...)
{
    size_t at = strlen(r->words);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(r->words + at, sizeof r->words - at, format, args);
    va_end(args);
    assert(len >= 0 && at + (size_t)len < sizeof r->words);
}

static void script_say_payload(struct script_reader *r, const char *what, const uint8_t *at,
                               size_t len)
{
    bool printable = true, pattern = len > 0;
    for (size_t i = 0; i < len; i++) {
        printable &= at[i] > ' ' && at[i] < 0x7f;
        pattern &= at[i] == script_pattern(i);
    }
    script_say(r, "%s%s", r->words[0] != '\0' ? " " : "", what);
    if (pattern) {
        script_say(r, "*%zu", len);
    } else if (printable) {
        script_say(r, ":%.*s", (int)len, (const char *)at);
    } else {
        script_say(r, "=");
        for (size_t i = 0; i < len; i++)
            script_say(r, "%02x", at[i]);
    }
}

static void script_take(struct script_reader *r, enum ws_event event, const struct ws_item *item)
{
    char what[32];
    switch (event) {
    case WS_PIECE:
        assert(r->message_len + item->len <= sizeof r->message);
        memcpy(r->message + r->message_len, item->at, item->len);
        r->message_len += item->len;
        if (item->end) {
            script_say_payload(r, "M", r->message, r->message_len);
            r->message_len = 0;
        }
        break;
    case WS_PING:
    case WS_PONG:
        script_say_payload(r, event == WS_PING ? "P" : "p", item->at, item->len);
        break;
    case WS_CLOSE:
        snprintf(what, sizeof what, "C%u", item->code);
        script_say_payload(r, what, item->at, item->len);
        break;
    case WS_ERROR:
        script_say(r, "%sE%u:%s", r->words[0] != '\0' ? " " : "", item->code, item->why);
        break;
    case WS_MORE:
        break;
    }
}

static void script_begin(struct script_reader *r, enum ws_side side)
{
    free(r->kept);
    ws_reader_init(&r->reader, side);
    r->kept = NULL;
    r->kept_len = r->message_len = 0;
    r->words[0] = '\0';
}

/* Offers what was left over and these bytes, in a block of their exact size. */
static void script_feed(struct script_reader *r, const uint8_t *bytes, size_t len)
{
    size_t all = r->kept_len + len, at = 0, used;
    uint8_t *block = malloc(all > 0 ? all : 1);
    assert(block != NULL);
    if (r->kept_len > 0)
        memcpy(block, r->kept, r->kept_len);
    if (len > 0)
        memcpy(block + r->kept_len, bytes, len);
    free(r->kept);
    while (true) {
        struct ws_item item;
        enum ws_event event = ws_read(&r->reader, block + at, all - at, &used, &item);
        assert(used <= all - at);
        at += used;
        script_take(r, event, &item);
        if (event == WS_MORE)
            break;
    }
    r->kept_len = all - at;
    assert(r->kept_len <= WS_PENDING_SIZE_MAX);
    r->kept = malloc(r->kept_len > 0 ? r->kept_len : 1);
    assert(r->kept != NULL);
    memcpy(r->kept, block + at, r->kept_len);
    free(block);
}

/* What waits shows as "+N", so that nothing passes as read that was not. */
static const char *script_end(struct script_reader *r)
{
    if (r->kept_len > 0)
        script_say(r, "%s+%zu", r->words[0] != '\0' ? " " : "", r->kept_len);
    return r->words;
}

#endif
