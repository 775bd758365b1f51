/* ws_client: a client's half of WebSocket for tests, in a few lines and by hand: what is tested is
 * not tested with itself. */
#ifndef TESTS_WS_CLIENT_H
#define TESTS_WS_CLIENT_H

#include "tests/conn_world.h"

/* The sample of RFC 6455, 1.3. */
#define WS_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define WS_REQUEST(more)                                                                           \
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"           \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " WS_KEY "\r\n"                               \
    "Sec-WebSocket-Protocol: lahar.v1\r\n" more "\r\n"

enum { FIN = 0x80, CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* A masked frame; returns its length. `out` has room for 14 bytes more than `len`. */
static inline size_t ws_frame(uint8_t *out, int first, const void *payload, size_t len)
{
    size_t head = 2;
    out[0] = (uint8_t)first;
    if (len < 126) {
        out[1] = (uint8_t)(0x80 | len);
    } else if (len < 65536) {
        out[1] = 0x80 | 126;
        out[2] = (uint8_t)(len >> 8);
        out[3] = (uint8_t)len;
        head = 4;
    } else {
        out[1] = 0x80 | 127;
        for (size_t i = 0; i < 8; i++)
            out[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        head = 10;
    }
    uint8_t *mask = out + head;
    rand_bytes(mask, 4);
    for (size_t i = 0; i < len; i++)
        out[head + 4 + i] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    return head + 4 + len;
}

static inline void ws_say(int fd, int first, const void *payload, size_t len)
{
    uint8_t *frame = malloc(len + 14);
    size_t size = ws_frame(frame, first, payload, len);
    assert_int_equal(send(fd, frame, size, MSG_NOSIGNAL), size);
    free(frame);
}

/* One whole frame of the server's: its first byte; the payload's length in `len`. Its length must
 * be coded in the fewest bytes. */
static inline int ws_hear(struct world *world, int fd, uint8_t *payload, size_t room, size_t *len)
{
    uint8_t head[10];
    assert_int_equal(hear(world, fd, head, 2), 2);
    assert_int_equal(head[1] & 0x80, 0); /* a server does not mask */
    size_t more = head[1] == 126 ? 2 : head[1] == 127 ? 8 : 0;
    *len = more > 0 ? 0 : head[1];
    assert_int_equal(hear(world, fd, head + 2, more), more);
    for (size_t i = 0; i < more; i++)
        *len = *len << 8 | head[2 + i];
    assert_true(more == 0 || *len > 125);
    assert_true(more < 8 || *len > 65535);
    assert_true(*len <= room);
    assert_int_equal(hear(world, fd, payload, *len), *len);
    return head[0];
}

static inline void ws_hears_close(struct world *world, int fd, uint32_t code, const char *text)
{
    uint8_t got[125], rest;
    size_t len;
    assert_int_equal(ws_hear(world, fd, got, sizeof got, &len), FIN | CLOSE);
    assert_true(len >= 2);
    assert_int_equal((uint32_t)got[0] << 8 | got[1], code);
    assert_int_equal(len - 2, strlen(text));
    assert_memory_equal(got + 2, text, len - 2);
    assert_int_equal(hear(world, fd, &rest, 1), 0);
}

/* Reads an HTTP answer up to the end of its head. */
static inline void ws_hears_answer(struct world *world, int fd, char *out, size_t room)
{
    size_t len = 0;
    while (len < 4 || memcmp(out + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len + 1 < room);
        assert_int_equal(hear(world, fd, (uint8_t *)out + len, 1), 1);
        len++;
    }
    out[len] = '\0';
}

static inline int ws_dial_rcvbuf(struct world *world, int rcvbuf)
{
    uint32_t opened = world->opened;
    char answer[512];
    int fd = dial_port(conn_table_port(world->table, world->ws), rcvbuf);
    say(fd, WS_REQUEST(""));
    ws_hears_answer(world, fd, answer, sizeof answer);
    assert_memory_equal(answer, "HTTP/1.1 101 ", 13);
    assert_int_equal(world->opened, opened + 1);
    return fd;
}

static inline int ws_dial(struct world *world)
{
    return ws_dial_rcvbuf(world, 0);
}

#endif
