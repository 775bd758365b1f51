/* ws: what the cases of the Autobahn test suite ask of an endpoint for binary messages, as tables,
 * for both sides and at every split; and what is written is what is read. The numbers are those of
 * Autobahn's list. Its parts 6 (UTF-8 of text) and 12, 13 (compression) have nothing to ask of an
 * endpoint that takes neither; their bytes are tried as the texts of close frames. */
#include "proto/ws.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "ws_script.h"

struct autobahn {
    const char *number, *stream, *read_as;
};

static struct script_stream stream;
static struct script_reader reader;

/* The longest stream of which every split in three is tried, not only every split in two. */
#define THREE_PARTS_MAX 48u
#define TWO_PARTS_MAX 2048u

static void expect(const struct autobahn *c, enum ws_side side, const char *got, size_t a, size_t b)
{
    if (strcmp(got, c->read_as) != 0)
        fail_msg("%s: %s, by a %s, split at %zu and %zu: %s, not %s", c->number, c->stream,
                 side == WS_SERVER ? "server" : "client", a, b, got, c->read_as);
}

static void run_split(const struct autobahn *c, enum ws_side side, size_t a, size_t b)
{
    script_begin(&reader, side);
    script_feed(&reader, stream.bytes, a);
    script_feed(&reader, stream.bytes + a, b - a);
    script_feed(&reader, stream.bytes + b, stream.len - b);
    expect(c, side, script_end(&reader), a, b);
}

static void run_in_steps(const struct autobahn *c, enum ws_side side, size_t step)
{
    script_begin(&reader, side);
    for (size_t at = 0; at < stream.len; at += step)
        script_feed(&reader, stream.bytes + at, stream.len - at < step ? stream.len - at : step);
    expect(c, side, script_end(&reader), step, step);
}

static void run_case(const struct autobahn *c, enum ws_side side)
{
    script_write(&stream, c->stream, side);
    run_split(c, side, 0, 0);
    run_in_steps(c, side, 1);
    if (stream.len > TWO_PARTS_MAX) {
        run_in_steps(c, side, 7);
        run_in_steps(c, side, 997);
        for (size_t a = 0; a < 32; a++) {
            run_split(c, side, a, a + 1);
            run_split(c, side, a, stream.len - a - 1);
        }
        return;
    }
    for (size_t a = 0; a <= stream.len; a++) {
        run_split(c, side, a, a);
        for (size_t b = a + 1; stream.len <= THREE_PARTS_MAX && b <= stream.len; b++)
            run_split(c, side, a, b);
    }
}

static void run_table(const struct autobahn *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_case(&cases[i], WS_SERVER);
        run_case(&cases[i], WS_CLIENT);
    }
    script_begin(&reader, WS_SERVER); /* gives back what is kept */
    free(reader.kept);
    reader.kept = NULL;
}
#define RUN(cases) run_table(cases, sizeof cases / sizeof cases[0])

/* ---- the list -------------------------------------------------------------------------------- */

static void messages_of_all_lengths_are_read(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"1.2.1", "82: 82:x", "M: M:x"},
        {"1.2.2", "82*125 82:x", "M*125 M:x"},
        {"1.2.3", "82*126 82:x", "M*126 M:x"},
        {"1.2.4", "82*127 82:x", "M*127 M:x"},
        {"1.2.5", "82*128 82:x", "M*128 M:x"},
        {"1.2.6", "82*65535 82:x", "M*65535 M:x"},
        {"1.2.7", "82*65536 82:x", "M*65536 M:x"},
        {"1.2.8", "82*65536 82*65536", "M*65536 M*65536"},
        {"all bytes", "82*256 82*300", "M*256 M*300"},
    };
    RUN(cases);
}

static void text_is_refused_as_unsupported(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"1.1.1", "81:", "E1003:ws_text"},
        {"1.1.2", "81*125", "E1003:ws_text"},
        {"1.1.6", "81*65535", "E1003:ws_text"},
        {"5.3", "01:frag 80:ment", "E1003:ws_text"},
        {"6.1.1", "82:x 81:", "M:x E1003:ws_text"},
        {"6.2.1", "81=48656c6c6f2dc2b540c39fc3b6c3a4c3bcc3a0c3a12d5554462d3821", "E1003:ws_text"},
        {"6.3.1", "81=cebae1bdb9cf83cebcceb5eda080656469746564", "E1003:ws_text"},
        {"head", "<81>", "E1003:ws_text"},
    };
    RUN(cases);
}

static void pings_and_pongs_come_whole(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"2.1", "89:", "P:"},
        {"2.2", "89:Hello,world!", "P:Hello,world!"},
        {"2.3", "89=00fffefdfcfb00ff", "P=00fffefdfcfb00ff"},
        {"2.4", "89*125 82:x", "P*125 M:x"},
        {"2.5", "89*126 82:x", "E1002:ws_long_control"},
        {"2.7", "8a: 82:x", "p: M:x"},
        {"2.8", "8a:unsolicited 82:x", "p:unsolicited M:x"},
        {"2.9", "8a:unsolicited 89:ping", "p:unsolicited P:ping"},
        {"2.10", "89:1 89:2 89:3 89:4 89:5 89:6 89:7 89:8 89:9 89:10",
         "P:1 P:2 P:3 P:4 P:5 P:6 P:7 P:8 P:9 P:10"},
        {"pong of 125", "8a*125 89:x", "p*125 P:x"},
        {"pong of 126", "8a*126 89:x", "E1002:ws_long_control"},
        {"ping of 65536", "89*65536", "E1002:ws_long_control"},
    };
    RUN(cases);
}

static void reserved_bits_and_opcodes_are_refused(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"3.1", "92:x", "E1002:ws_reserved_bits"},
        {"3.2", "82:x a2:y 89:", "M:x E1002:ws_reserved_bits"},
        {"3.3", "82:x b2:y 89:", "M:x E1002:ws_reserved_bits"},
        {"3.4", "82:x c2:y 89:", "M:x E1002:ws_reserved_bits"},
        {"3.5", "d2=00ff", "E1002:ws_reserved_bits"},
        {"3.6", "e9:ping", "E1002:ws_reserved_bits"},
        {"3.7", "f8=03e8", "E1002:ws_reserved_bits"},
        {"on a pong", "9a:", "E1002:ws_reserved_bits"},
        {"on a continuation", "02:a c0:b", "E1002:ws_reserved_bits"},
        {"compressed", "c2=f248cdc9c90700 82:x", "E1002:ws_reserved_bits"},
        {"4.1.1", "83:", "E1002:ws_reserved_opcode"},
        {"4.1.2", "84:x", "E1002:ws_reserved_opcode"},
        {"4.1.3", "82:x 85: 89:", "M:x E1002:ws_reserved_opcode"},
        {"4.1.4", "82:x 86:y 89:", "M:x E1002:ws_reserved_opcode"},
        {"4.1.5", "82:x 87:y 89:", "M:x E1002:ws_reserved_opcode"},
        {"4.2.1", "8b:", "E1002:ws_reserved_opcode"},
        {"4.2.2", "8c:x", "E1002:ws_reserved_opcode"},
        {"4.2.3", "82:x 8d: 89:", "M:x E1002:ws_reserved_opcode"},
        {"4.2.4", "82:x 8e:y 89:", "M:x E1002:ws_reserved_opcode"},
        {"4.2.5", "82:x 8f:y 89:", "M:x E1002:ws_reserved_opcode"},
        {"not final", "03:x 80:y", "E1002:ws_reserved_opcode"},
        {"in a message", "02:x 83:y", "E1002:ws_reserved_opcode"},
        {"head", "<9f>", "E1002:ws_reserved_bits"},
        {"head", "<8f>", "E1002:ws_reserved_opcode"},
    };
    RUN(cases);
}

static void fragments_make_one_message(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"5.1", "09:frag 80:ment", "E1002:ws_fragmented_control"},
        {"5.2", "0a:frag 80:ment", "E1002:ws_fragmented_control"},
        {"5.3", "02:frag 80:ment", "M:fragment"},
        {"5.6", "02:frag 89:ping 80:ment", "P:ping M:fragment"},
        {"5.9", "80:stray 82:x", "E1002:ws_stray_continuation"},
        {"5.12", "00:stray 82:x", "E1002:ws_stray_continuation"},
        {"5.15", "02:frag 80:ment 00:stray 82:x", "M:fragment E1002:ws_stray_continuation"},
        {"5.16", "00:stray 02:frag 80:ment 00:stray 02:frag 80:ment",
         "E1002:ws_stray_continuation"},
        {"5.17", "80:stray 02:frag 80:ment", "E1002:ws_stray_continuation"},
        {"5.18", "02:frag 82:ment", "E1002:ws_message_in_message"},
        {"5.18 text", "02:frag 81:ment", "E1002:ws_message_in_message"},
        {"5.18 fin", "02:frag 02:ment", "E1002:ws_message_in_message"},
        {"5.19", "02:a 00:b 89:one 00:c 00:d 89:two 80:e", "P:one P:two M:abcde"},
        {"5.20 pong", "02:a 8a: 00:b 89:x 8a:y 80:c 82:d", "p: P:x p:y M:abc M:d"},
        {"empty parts", "02: 00: 00: 80:", "M:"},
        {"empty around", "02: 00:a 00: 80: 82:b", "M:a M:b"},
        {"a close within", "02:a 88=03e8 80:b", "C1000:"},
        {"fragmented close", "08=03 80=e8", "E1002:ws_fragmented_control"},
        {"unfinished", "02:a 00:b", ""},
        {"unfinished, ping", "02:a 89:x", "P:x"},
    };
    RUN(cases);
}

static void the_limit_of_a_message_counts_all_its_fragments(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"at it, in three", "02*65535 00: 80=05", "M*65536"},
        {"one over", "82*65537", "E1009:ws_too_big"},
        {"one over in parts", "02*65536 80:x", "E1009:ws_too_big"},
        {"in three", "02*40000 00*25536 80:x", "E1009:ws_too_big"},
        {"an empty end", "02*65536 80: 82:x", "M*65536 M:x"},
        {"each anew", "82*65536 82*65536 82:x", "M*65536 M*65536 M:x"},
        {"a ping does not count", "02*65536 89*125 80: 82:x", "P*125 M*65536 M:x"},
    };
    RUN(cases);
}

static void lengths_are_the_shortest_there_are(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"16 for 0", "82/2:", "E1002:ws_bad_length"},
        {"16 for 5", "82/2:hello", "E1002:ws_bad_length"},
        {"16 for 125", "82/2*125", "E1002:ws_bad_length"},
        {"16 for 126", "82/2*126", "M*126"},
        {"64 for 0", "82/8:", "E1002:ws_bad_length"},
        {"64 for 126", "82/8*126", "E1002:ws_bad_length"},
        {"64 for 65535", "82/8*65535", "E1002:ws_bad_length"},
        {"64 for 65536", "82/8*65536", "M*65536"},
        {"control", "89/2:x", "E1002:ws_long_control"},
        {"close", "88/8=03e8", "E1002:ws_long_control"},
        {"in a message", "02:a 80/2:b", "E1002:ws_bad_length"},
    };
    RUN(cases);
}

static void closes_are_judged_by_code_and_text(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"7.1.1", "82:x 88=03e8", "M:x C1000:"},
        {"7.1.2", "88=03e8 88=03e8", "C1000:"},
        {"7.1.3", "88=03e8 89:ping", "C1000:"},
        {"7.1.4", "88=03e8 82:x", "C1000:"},
        {"7.1.5", "02:frag 88=03e8 80:ment", "C1000:"},
        {"7.1.6", "82*65536 88=03e8 89:ping", "M*65536 C1000:"},
        {"7.3.1", "88:", "C1005:"},
        {"7.3.2", "88:a", "E1002:ws_half_close_code"},
        {"7.3.3", "88=03e8", "C1000:"},
        {"7.3.4", "88=03e848656c6c6f", "C1000:Hello"},
        {"7.3.6", "88*126", "E1002:ws_long_control"},
        {"after an error", "83: 88=03e8 82:x", "E1002:ws_reserved_opcode"},
        {"code before text", "88=0000ff", "E1002:ws_bad_close_code"},
    };
    RUN(cases);
}

/* ---- closes, each value ---------------------------------------------------------------------- */

static bool may_travel(uint32_t code)
{
    static const uint16_t registered[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                          1009, 1010, 1011, 1012, 1013, 1014};
    for (size_t i = 0; i < sizeof registered / sizeof registered[0]; i++)
        if (registered[i] == code)
            return true;
    return code >= 3000 && code < 5000;
}

/* 7.7, 7.9 and 7.13, and all between. */
static void each_close_code_is_taken_or_refused_as_registered(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        uint8_t bytes[] = {0x88, 2, (uint8_t)(code >> 8), (uint8_t)code};
        struct ws_reader r;
        struct ws_item item;
        size_t used;
        ws_reader_init(&r, WS_CLIENT);
        enum ws_event event = ws_read(&r, bytes, sizeof bytes, &used, &item);
        assert_int_equal(event, may_travel(code) ? WS_CLOSE : WS_ERROR);
        assert_int_equal(item.code, may_travel(code) ? code : WS_CODE_PROTOCOL);
    }
}

/* Autobahn's parts 6.5 to 6.23, and what RFC 3629 says of the borders. */
static const struct {
    bool valid;
    const char *hex;
} texts[] = {
    {true, ""},
    {true, "00"},
    {true, "7f"},
    {true, "cebae1bdb9cf83cebcceb5"}, /* 6.2.1, 6.5 */
    {true, "c280"},                   /* 6.6: the first of each length */
    {true, "e0a080"},
    {true, "f0908080"},
    {true, "dfbf"}, /* the last of each length */
    {true, "efbfbf"},
    {true, "f48fbfbf"},
    {true, "ed9fbf"}, /* 6.9: around the surrogates */
    {true, "ee8080"},
    {true, "efbfbd"},
    {true, "efbfbe"}, /* 6.22: no characters, but UTF-8 */
    {true, "f09fbfbf"},
    {false, "cebae1bdb9cf83cebcceb5eda080656469746564"}, /* 6.3.1 */
    {false, "cebae1bdb9cf83cebcceb5f4908080656469746564"},
    {false, "cebae1"}, /* 6.4: cut off */
    {false, "c2"},
    {false, "e0a0"},
    {false, "e1"},
    {false, "f09080"},
    {false, "f090"},
    {false, "f0"},
    {false, "80"}, /* 6.12: continuations alone */
    {false, "bf"},
    {false, "80bf80bf80bf"},
    {false, "c020e020f020"}, /* 6.13: beginnings alone */
    {false, "e0a020"},
    {false, "f0908020"},
    {false, "c080"}, /* 6.18: longer than needed */
    {false, "c1bf"},
    {false, "e08080"},
    {false, "e09fbf"},
    {false, "f0808080"},
    {false, "f08fbfbf"},
    {false, "f888808080"}, /* 6.7: five and six bytes */
    {false, "fc8480808080"},
    {false, "fe"}, /* 6.17 */
    {false, "ff"},
    {false, "eda080"}, /* 6.20: surrogates */
    {false, "edadbf"},
    {false, "edbfbf"},
    {false, "eda080edb080"}, /* 6.21 */
    {false, "f4908080"},     /* 6.8: beyond U+10FFFF */
    {false, "f7bfbfbf"},
    {false, "f5808080"},
    {false, "68e9"},
};

static void a_text_of_a_close_must_be_utf_8(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char words[256], read_as[256];
        uint8_t bytes[64];
        const char *hex = texts[i].hex;
        size_t len = script_hex(&hex, bytes);
        snprintf(words, sizeof words, "88=03e8%.*s 82:x", (int)(2 * len), texts[i].hex);
        const struct autobahn c = {texts[i].hex, words, read_as};
        if (texts[i].valid) {
            script_begin(&reader, WS_SERVER);
            script_say_payload(&reader, "C1000", bytes, len);
            int said = snprintf(read_as, sizeof read_as, "%.255s", reader.words);
            assert_true(said > 0 && strlen(reader.words) < sizeof read_as);
        } else {
            snprintf(read_as, sizeof read_as, "E1007:ws_bad_close_text");
        }
        run_table(&c, 1);
    }
}

/* A second opinion on what is UTF-8, by decoding: each sequence of one to three bytes, and those of
 * four at the borders of their bytes. */
static bool decodes(const uint8_t *at, size_t len)
{
    while (len > 0) {
        uint32_t code = at[0];
        size_t step = code < 0x80 ? 1 : code >> 5 == 6 ? 2 : code >> 4 == 14 ? 3 : 4;
        if ((code >= 0x80 && code < 0xc0) || code >= 0xf8 || len < step)
            return false;
        if (step > 1)
            code &= 0x7fu >> step;
        for (size_t i = 1; i < step; i++) {
            if (at[i] >> 6 != 2)
                return false;
            code = code << 6 | (at[i] & 0x3f);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < least[step] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        at += step;
        len -= step;
    }
    return true;
}

static void expect_text(const uint8_t *text, size_t len)
{
    uint8_t bytes[16] = {0x88, (uint8_t)(2 + len), 0x03, 0xe8};
    struct ws_reader r;
    struct ws_item item;
    size_t used;
    memcpy(bytes + 4, text, len);
    ws_reader_init(&r, WS_CLIENT);
    enum ws_event event = ws_read(&r, bytes, 4 + len, &used, &item);
    assert_int_equal(event, decodes(text, len) ? WS_CLOSE : WS_ERROR);
}

static void utf_8_is_what_decodes(void **state)
{
    (void)state;
    static const uint8_t borders[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
                                      0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    const size_t count = sizeof borders;
    for (uint32_t word = 0; word < 1u << 16; word++)
        expect_text((const uint8_t[]){(uint8_t)(word >> 8), (uint8_t)word}, 2);
    for (size_t a = 0; a < 256; a++)
        for (size_t b = 0; b < count; b++)
            for (size_t c = 0; c < count; c++)
                for (size_t d = 0; d < count; d++) {
                    uint8_t text[] = {(uint8_t)a, borders[b], borders[c], borders[d]};
                    expect_text(text, d == 0 ? 3 : 4);
                }
}

/* ---- sides, borders, writing ----------------------------------------------------------------- */

static void the_side_decides_about_masks(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"a bare message", "<8201aa>", "E1002:ws_unmasked"},
        {"a bare ping", "<8900>", "E1002:ws_unmasked"},
        {"a masked message", "<8281>", "E1002:ws_masked"},
        {"a masked close", "<8880>", "E1002:ws_masked"},
        {"before the length", "<827f>", "E1002:ws_unmasked"},
        {"before the limit", "<89ff>", "E1002:ws_long_control"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool client = strstr(cases[i].read_as, "ws_masked") != NULL;
        run_case(&cases[i], client ? WS_CLIENT : WS_SERVER);
    }
}

static void a_length_is_refused_before_its_mask_has_come(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"over the limit", "<82ff0000000000010001>", "E1009:ws_too_big"},
        {"the largest", "<82ff7fffffffffffffff>", "E1009:ws_too_big"},
        {"negative", "<82ff8000000000000000>", "E1002:ws_bad_length"},
        {"all ones", "<82ffffffffffffffffff>", "E1002:ws_bad_length"},
        {"padded", "<82fe007d>", "E1002:ws_bad_length"},
        {"padded to 64", "<82ff000000000000ffff>", "E1002:ws_bad_length"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i], WS_SERVER);
}

static void what_is_not_whole_stays_with_the_caller(void **state)
{
    (void)state;
    static const struct autobahn cases[] = {
        {"one byte", "82:x <82>", "M:x +1"},
        {"half a head", "82:x <82fe01>", "M:x +3"},
        {"no mask", "<8285010203>", "+5"},
        {"all but one of a ping", "<89fd01020304>", "+6"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(&cases[i], WS_SERVER);

    script_write(&stream, "89*125", WS_SERVER);
    assert_int_equal(stream.len, WS_PENDING_SIZE_MAX + 1);
    script_begin(&reader, WS_SERVER);
    script_feed(&reader, stream.bytes, WS_PENDING_SIZE_MAX);
    assert_int_equal(reader.kept_len, WS_PENDING_SIZE_MAX);
}

static void a_message_is_handed_on_as_it_comes(void **state)
{
    (void)state;
    struct ws_reader r = {0};
    struct ws_item item;
    size_t used;
    uint8_t bytes[] = {0x82, 0x85, 1, 2, 3, 4, 'h' ^ 1, 'e' ^ 2, 'l' ^ 3, 'l' ^ 4, 'o' ^ 1};
    assert_true(ws_between_messages(&r));
    assert_int_equal(ws_read(&r, bytes, 8, &used, &item), WS_PIECE);
    assert_int_equal(used, 8);
    assert_ptr_equal(item.at, bytes + 6);
    assert_int_equal(item.len, 2);
    assert_false(item.end);
    assert_memory_equal(item.at, "he", 2);
    assert_false(ws_between_messages(&r));
    assert_int_equal(ws_read(&r, bytes + 8, 3, &used, &item), WS_PIECE);
    assert_true(item.end);
    assert_memory_equal(item.at, "llo", 3);
    assert_true(ws_between_messages(&r));
}

static void what_is_written_is_what_is_read(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 7, 8, 9, 125, 126, 127, 255, 65534, 65535, 65536};
    static uint8_t bytes[WS_HEAD_SIZE_MAX + WS_MESSAGE_SIZE_MAX];
    const uint8_t mask[4] = {0xa5, 0, 0xff, 0x12};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        for (int side = WS_SERVER; side <= WS_CLIENT; side++) {
            const uint8_t *with = side == WS_SERVER ? mask : NULL;
            size_t head = ws_head_write(bytes, WS_OP_BINARY, lens[i], with);
            char read_as[32];
            assert_int_equal(head, ws_head_size(lens[i], with != NULL));
            assert_in_range(head, 2, WS_HEAD_SIZE_MAX);
            for (size_t j = 0; j < lens[i]; j++)
                bytes[head + j] = script_pattern(j);
            if (with != NULL)
                ws_mask(bytes + head, lens[i], with);
            script_begin(&reader, (enum ws_side)side);
            script_feed(&reader, bytes, head + lens[i]);
            snprintf(read_as, sizeof read_as, lens[i] > 0 ? "M*%zu" : "M:", lens[i]);
            assert_string_equal(script_end(&reader), read_as);
        }
    }
}

static void expect_control(const uint8_t *bytes, size_t len, enum ws_side side, const char *read_as)
{
    assert_true(len <= WS_CONTROL_SIZE_MAX);
    script_begin(&reader, side);
    script_feed(&reader, bytes, len);
    assert_string_equal(script_end(&reader), read_as);
}

static void control_frames_are_written_whole(void **state)
{
    (void)state;
    uint8_t bytes[WS_CONTROL_SIZE_MAX], payload[WS_CONTROL_PAYLOAD_MAX];
    const uint8_t mask[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = script_pattern(i);
    size_t len = ws_control_write(bytes, WS_OP_PONG, span_of(payload, sizeof payload), mask);
    assert_int_equal(len, WS_CONTROL_SIZE_MAX);
    expect_control(bytes, len, WS_SERVER, "p*125");
    len = ws_control_write(bytes, WS_OP_PING, (struct span){0}, NULL);
    expect_control(bytes, len, WS_CLIENT, "P:");
    len = ws_close_write(bytes, 4006, "slow_reader", NULL);
    expect_control(bytes, len, WS_CLIENT, "C4006:slow_reader");
    len = ws_close_write(bytes, WS_CODE_NONE, "not said", mask);
    expect_control(bytes, len, WS_SERVER, "C1005:");
}

static void a_long_text_of_a_close_is_cut_between_characters(void **state)
{
    (void)state;
    char text[201];
    uint8_t bytes[WS_CONTROL_SIZE_MAX];
    for (size_t before = 0; before < 4; before++) {
        memset(text, 'x', sizeof text);
        for (size_t at = before; at + 2 < sizeof text; at += 3)
            memcpy(text + at, "\xe2\x82\xac", 3);
        text[sizeof text - 1] = '\0';
        size_t len = ws_close_write(bytes, 1000, text, NULL);
        struct ws_reader r;
        struct ws_item item;
        size_t used;
        ws_reader_init(&r, WS_CLIENT);
        assert_int_equal(ws_read(&r, bytes, len, &used, &item), WS_CLOSE);
        assert_in_range(item.len, 121, 123);
        assert_memory_equal(item.at, text, item.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_all_lengths_are_read),
        cmocka_unit_test(text_is_refused_as_unsupported),
        cmocka_unit_test(pings_and_pongs_come_whole),
        cmocka_unit_test(reserved_bits_and_opcodes_are_refused),
        cmocka_unit_test(fragments_make_one_message),
        cmocka_unit_test(the_limit_of_a_message_counts_all_its_fragments),
        cmocka_unit_test(lengths_are_the_shortest_there_are),
        cmocka_unit_test(closes_are_judged_by_code_and_text),
        cmocka_unit_test(each_close_code_is_taken_or_refused_as_registered),
        cmocka_unit_test(a_text_of_a_close_must_be_utf_8),
        cmocka_unit_test(utf_8_is_what_decodes),
        cmocka_unit_test(the_side_decides_about_masks),
        cmocka_unit_test(a_length_is_refused_before_its_mask_has_come),
        cmocka_unit_test(what_is_not_whole_stays_with_the_caller),
        cmocka_unit_test(a_message_is_handed_on_as_it_comes),
        cmocka_unit_test(what_is_written_is_what_is_read),
        cmocka_unit_test(control_frames_are_written_whole),
        cmocka_unit_test(a_long_text_of_a_close_is_cut_between_characters),
    };
    return cmocka_run_group_tests_name("ws", tests, NULL, NULL);
}
