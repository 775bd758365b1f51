/* ws against wslay: random sequences of frames, whole and broken, cut at random places, must give
 * both the same events with the same bytes, and the same end.
 *
 *     WS_SEQUENCES=10000000 WS_SEED=2 build/release/tests/test_ws_wslay
 *
 * Where the two are meant to differ:
 *   text           wslay takes it; here it is refused at its first byte. Of what comes with a text
 *                  frame nothing is compared.
 *   codes          1012 to 1014 are registered by now and taken here; wslay 1.1.0 knows codes up to
 *                  1011.
 *   half a code    a close with a payload of one byte is refused here (RFC 6455, 5.5.1: the body
 *                  begins with a code of two bytes) and passes there as one without a code.
 *   several faults in one frame: which of them is named. Only in sequences that were broken at
 *                  random places, and both must refuse the same frame.
 *   half a frame   A sequence may end within a frame that one of the two has refused already: here
 *                  a head is judged byte by byte and a close when it is whole, there the other way
 *                  round. */
#include "proto/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <wslay/wslay.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#define SEQUENCES 50000u
#else
#define SEQUENCES 1000000u
#endif
#define STREAM_MAX (1024u * 1024u)
#define EVENTS_MAX 64u
#define FRAMES_MAX 8u

struct event {
    char kind;      /* M, P, p, C or E */
    uint32_t code;  /* C, E; of an event: its opcode does not matter */
    uint64_t bytes; /* their number and a checksum of them */
};

struct transcript {
    struct event events[EVENTS_MAX];
    uint32_t count;
    size_t at; /* where it ended: at a frame that was refused or is not whole */
};

static uint64_t state_of_random;

static uint32_t random_below(uint32_t limit)
{
    state_of_random += 0x9e3779b97f4a7c15u;
    uint64_t word = state_of_random;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
    word = (word ^ word >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(((word ^ word >> 31) >> 32) * limit >> 32);
}

static bool once_in(uint32_t times)
{
    return random_below(times) == 0;
}

/* ---- streams --------------------------------------------------------------------------------- */

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t len;
    bool masked, broken;
};

static struct stream stream;

static size_t random_len(bool control)
{
    static const uint32_t borders[] = {0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537};
    if (control)
        return once_in(60) ? 126 : once_in(8) ? 125 : random_below(30);
    if (once_in(200))
        return random_below(70000);
    if (once_in(100))
        return borders[random_below(sizeof borders / sizeof borders[0])];
    return once_in(8) ? random_below(400) : random_below(24);
}

static uint8_t random_opcode(bool *in_message)
{
    bool was = *in_message;
    uint32_t dice = random_below(120);
    if (dice == 0)
        return (uint8_t)random_below(16);
    if (dice < 30)
        return dice < 18 ? WS_OP_PING : WS_OP_PONG;
    if (dice < 38)
        return WS_OP_CLOSE;
    *in_message = once_in(3);
    return was ? WS_OP_CONTINUATION : WS_OP_BINARY;
}

static void random_close(uint8_t *payload, size_t len)
{
    static const uint16_t codes[] = {0,    999,  1000, 1001, 1002, 1003, 1004, 1005, 1006,
                                     1007, 1008, 1009, 1010, 1011, 1012, 1014, 1015, 1016,
                                     1100, 2999, 3000, 3999, 4000, 4006, 4999, 5000, 65535};
    static const char *const texts[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x8c\x8b"};
    if (len < 2)
        return;
    uint16_t code = once_in(3) ? codes[random_below(sizeof codes / sizeof codes[0])] : 1000;
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    for (size_t at = 2; at < len;) {
        const char *text = texts[random_below(4)];
        size_t some = strlen(text) <= len - at ? strlen(text) : 1;
        memcpy(payload + at, some == strlen(text) ? text : "x", some);
        at += some;
    }
    if (len > 2 && code == 1000 && once_in(6)) /* one fault at a time */
        payload[2 + random_below((uint32_t)len - 2)] = (uint8_t)random_below(256);
}

static void write_frame(uint8_t first, size_t len, size_t field)
{
    uint8_t *at = stream.bytes + stream.len, mask[4];
    *at++ = first;
    *at++ = (uint8_t)((stream.masked ? 0x80 : 0) | (field == 0 ? len : field == 2 ? 126 : 127));
    for (size_t i = field; i-- > 0;)
        *at++ = (uint8_t)((uint64_t)len >> 8 * i);
    for (size_t i = 0; stream.masked && i < 4; i++)
        *at++ = mask[i] = (uint8_t)random_below(256);
    uint8_t seed = (uint8_t)random_below(256);
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(seed + i);
    if ((first & 0x0f) == WS_OP_CLOSE)
        random_close(at, len);
    for (size_t i = 0; stream.masked && i < len; i++)
        at[i] ^= mask[i % 4];
    stream.len = (size_t)(at - stream.bytes) + len;
}

static void random_frame(bool *in_message)
{
    uint8_t opcode = random_opcode(in_message);
    bool control = opcode >= WS_OP_CLOSE;
    bool last = control ? !once_in(60) : !*in_message;
    uint8_t reserved = once_in(150) ? (uint8_t)(random_below(8) << 4) : 0;
    size_t len = random_len(control);
    size_t field = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    if (!control && once_in(120))
        field = field == 0 ? 2 : 8; /* longer than needed */
    write_frame((uint8_t)((last ? 0x80 : 0) | reserved | opcode), len, field);
}

static void random_stream(enum ws_side reader)
{
    bool in_message = false;
    stream.len = 0;
    stream.masked = reader == WS_SERVER;
    for (uint32_t left = 1 + random_below(FRAMES_MAX); left > 0; left--)
        random_frame(&in_message);
    stream.broken = once_in(4);
    for (uint32_t left = stream.broken ? 1 + random_below(2) : 0; left > 0; left--) {
        uint32_t near = stream.len < 64 || once_in(4) ? (uint32_t)stream.len : 64;
        stream.bytes[random_below(near)] ^= (uint8_t)(1u << random_below(8));
    }
    if (once_in(10))
        stream.len = random_below((uint32_t)stream.len) + 1;
}

/* ---- what was read --------------------------------------------------------------------------- */

static uint64_t sum_of(uint64_t sum, const uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ at[i]) * 0x100000001b3u + 1;
    return sum;
}

static void add(struct transcript *t, char kind, uint32_t code, uint64_t bytes)
{
    assert_true(t->count < EVENTS_MAX);
    t->events[t->count++] = (struct event){kind, code, bytes};
}

static size_t random_step(size_t left)
{
    size_t step = once_in(3) ? left : 1 + random_below(once_in(2) ? 8 : 4096);
    return step < left ? step : left;
}

static void read_with_ours(struct transcript *t, enum ws_side side)
{
    static uint8_t copy[STREAM_MAX];
    struct ws_reader reader;
    uint64_t message = 0;
    size_t at = 0, end = 0;
    memcpy(copy, stream.bytes, stream.len);
    ws_reader_init(&reader, side);
    t->count = 0;
    t->at = 0;
    while (end < stream.len) {
        end += random_step(stream.len - end);
        struct ws_item item;
        enum ws_event event;
        do {
            size_t used;
            event = ws_read(&reader, copy + at, end - at, &used, &item);
            at += used;
            t->at = reader.ended ? t->at : at;
            if (event == WS_PIECE) {
                message = sum_of(message, item.at, item.len);
                if (item.end)
                    add(t, 'M', 0, message);
                message = item.end ? 0 : message;
            } else if (event == WS_PING || event == WS_PONG) {
                add(t, event == WS_PING ? 'P' : 'p', 0, sum_of(0, item.at, item.len));
            } else if (event == WS_CLOSE) {
                add(t, 'C', item.code, sum_of(0, item.at, item.len));
            } else if (event == WS_ERROR) {
                add(t, 'E', item.code, 0);
            }
        } while (event != WS_MORE);
    }
}

struct wslay_side {
    struct transcript *t;
    size_t at, frame_end;
    bool text;
    uint32_t last_sent; /* the last two bytes: of a close, its code */
};

/* Where the frame that begins at `at` ends, be it as it may. */
static size_t end_of_frame(size_t at)
{
    const uint8_t *head = stream.bytes + at;
    if (stream.len - at < 2)
        return stream.len;
    size_t field = (head[1] & 0x7f) == 126 ? 2 : (head[1] & 0x7f) == 127 ? 8 : 0;
    size_t size = 2 + field + (head[1] & 0x80 ? 4 : 0);
    uint64_t len = field == 0 ? head[1] & 0x7f : 0;
    if (stream.len - at < size)
        return stream.len;
    for (size_t i = 0; i < field; i++)
        len = len << 8 | head[2 + i];
    return len < stream.len - at - size ? at + size + (size_t)len : stream.len;
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags,
                       void *user_data)
{
    struct wslay_side *side = user_data;
    (void)flags;
    size_t left = stream.len - side->at;
    if (left == 0 || side->text) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    /* A frame at a time: where the bytes of a close come in parts, wslay 1.1.0 judges the wrong
     * ones as its text. */
    if (side->at == side->frame_end)
        side->frame_end = end_of_frame(side->at);
    size_t step = side->frame_end - side->at;
    step = step < len ? step : len;
    memcpy(buf, stream.bytes + side->at, step);
    side->at += step;
    return (ssize_t)step;
}

static void on_frame(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_start_arg *arg, void *user_data)
{
    struct wslay_side *side = user_data;
    (void)ctx;
    side->text |= arg->opcode == WSLAY_TEXT_FRAME;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user_data)
{
    struct wslay_side *side = user_data;
    (void)ctx;
    size_t skip = arg->opcode == WSLAY_CONNECTION_CLOSE && arg->msg_length >= 2 ? 2 : 0;
    if (arg->opcode == WSLAY_CONNECTION_CLOSE && arg->msg_length == 1) {
        add(side->t, 'E', WS_CODE_PROTOCOL, 0);
        return;
    }
    uint64_t sum = sum_of(0, arg->msg + skip, arg->msg_length - skip);
    switch (arg->opcode) {
    case WSLAY_BINARY_FRAME:
        add(side->t, 'M', 0, sum);
        break;
    case WSLAY_PING:
    case WSLAY_PONG:
        add(side->t, arg->opcode == WSLAY_PING ? 'P' : 'p', 0, sum);
        break;
    case WSLAY_CONNECTION_CLOSE:
        add(side->t, 'C', arg->status_code == 0 ? WS_CODE_NONE : arg->status_code, sum);
        break;
    }
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
                       void *user_data)
{
    struct wslay_side *side = user_data;
    (void)ctx;
    (void)flags;
    for (size_t i = 0; i < len; i++)
        side->last_sent = side->last_sent << 8 | data[i];
    return (ssize_t)len;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *user_data)
{
    (void)ctx;
    (void)user_data;
    memset(buf, 0, len);
    return 0;
}

static void read_with_wslay(struct transcript *t, enum ws_side reader, bool *text)
{
    const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_frame_recv_start_callback = on_frame,
        .on_msg_recv_callback = on_message,
    };
    struct wslay_side side = {.t = t};
    wslay_event_context_ptr ctx;
    t->count = 0;
    int result = reader == WS_SERVER ? wslay_event_context_server_init(&ctx, &callbacks, &side)
                                     : wslay_event_context_client_init(&ctx, &callbacks, &side);
    assert_int_equal(result, 0);
    wslay_event_config_set_max_recv_msg_length(ctx, WS_MESSAGE_SIZE_MAX);
    /* It comes back whenever it was given less than it asked for. */
    do
        result = wslay_event_recv(ctx);
    while (result == 0 && side.at < stream.len && !side.text &&
           wslay_event_get_read_enabled(ctx) != 0);
    /* What it says when a head is malformed; it then closes without a code. */
    bool malformed = result == WSLAY_ERR_CALLBACK_FAILURE;
    assert_true(result == 0 || malformed);
    *text = side.text;
    bool closed = t->count > 0 && strchr("CE", t->events[t->count - 1].kind) != NULL;
    if (!closed && !side.text && wslay_event_get_read_enabled(ctx) == 0) {
        result = wslay_event_send(ctx);
        assert_int_equal(result, 0);
        add(t, 'E', malformed ? WS_CODE_PROTOCOL : side.last_sent & 0xffff, 0);
    }
    wslay_event_context_free(ctx);
}

/* ---- judging --------------------------------------------------------------------------------- */

static uint32_t others_named; /* pairs of errors with different codes */

static bool same(const struct event *a, const struct event *b)
{
    return a->kind == b->kind && a->code == b->code && a->bytes == b->bytes;
}

/* `ours` is the first event that differs, or NULL: wslay has one more. */
static bool difference_is_known(const struct event *ours, const struct event *theirs, bool text,
                                size_t at)
{
    if (ours == NULL)
        return at < stream.len && theirs != NULL && theirs->kind == 'E';
    if (theirs == NULL && text)
        return ours->kind == 'E' && ours->code == WS_CODE_UNSUPPORTED;
    if (theirs == NULL)
        return ours->kind == 'E' && end_of_frame(at) == stream.len;
    if (ours->kind == 'C' && ours->code >= 1012 && ours->code <= 1014)
        return theirs->kind == 'E' && theirs->code == WS_CODE_PROTOCOL;
    bool named_otherwise = stream.broken || text || ours->code == WS_CODE_UNSUPPORTED;
    if (ours->kind == 'E' && theirs->kind == 'E' && named_otherwise) {
        others_named++;
        return true;
    }
    return false;
}

static void print(const char *who, const struct transcript *t)
{
    fprintf(stderr, "%s:", who);
    for (uint32_t i = 0; i < t->count; i++)
        fprintf(stderr, " %c%u/%llx", t->events[i].kind, t->events[i].code,
                (unsigned long long)t->events[i].bytes);
    fprintf(stderr, "\n");
}

static void judge(const struct transcript *ours, const struct transcript *theirs, bool text,
                  uint32_t number)
{
    uint32_t i = 0;
    while (i < ours->count && i < theirs->count && same(&ours->events[i], &theirs->events[i]))
        i++;
    if (i == ours->count && i == theirs->count && !text)
        return;
    const struct event *a = i < ours->count ? &ours->events[i] : NULL;
    const struct event *b = i < theirs->count ? &theirs->events[i] : NULL;
    if (difference_is_known(a, b, text, ours->at))
        return;
    print("ours", ours);
    print("wslay", theirs);
    for (size_t j = 0; j < stream.len && j < 200; j++)
        fprintf(stderr, "%02x", stream.bytes[j]);
    fail_msg("sequence %u differs", number);
}

static uint32_t number_from(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static void reads_random_sequences_as_wslay_does(void **state)
{
    (void)state;
    uint32_t count = number_from("WS_SEQUENCES", SEQUENCES), seed = number_from("WS_SEED", 1);
    uint32_t kinds[128] = {0};
    struct transcript ours, theirs;
    for (uint32_t i = 0; i < count; i++) {
        bool text;
        enum ws_side side = i % 2 == 0 ? WS_SERVER : WS_CLIENT;
        state_of_random = (uint64_t)seed << 32 | i;
        random_stream(side);
        read_with_ours(&ours, side);
        read_with_wslay(&theirs, side, &text);
        judge(&ours, &theirs, text, i);
        for (uint32_t j = 0; j < ours.count; j++)
            kinds[(uint8_t)ours.events[j].kind]++;
    }
    print_message("%u sequences of seed %u: %u messages, %u pings, %u pongs, %u closes, %u errors, "
                  "%u of which are named otherwise by wslay\n",
                  count, seed, kinds['M'], kinds['P'], kinds['p'], kinds['C'], kinds['E'],
                  others_named);
    /* That it saw something of everything. */
    for (const char *kind = "MPpCE"; *kind != '\0'; kind++)
        assert_true(kinds[(uint8_t)*kind] > count / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_random_sequences_as_wslay_does),
    };
    return cmocka_run_group_tests_name("ws_wslay", tests, NULL, NULL);
}
