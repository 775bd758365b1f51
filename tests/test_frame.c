/* frame: fed one byte at a time, a stream must yield the same frames as fed at once; and a oneof is
 * opened as protobuf-c would have written it. */
#include "proto/client.pb-c.h"
#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static enum frame_status take(const void *bytes, size_t len, size_t size_max)
{
    struct span input = span_of(bytes, len), body;
    return frame_take(&input, size_max, &body);
}

static void takes_nothing_until_the_frame_is_whole(void **state)
{
    (void)state;
    const uint8_t bytes[] = {2, 'h', 'i', 0};
    for (size_t len = 0; len < 3; len++) {
        struct span input = {bytes, len}, body = {0};
        assert_int_equal(frame_take(&input, FRAME_BODY_SIZE_MAX, &body), FRAME_PARTIAL);
        assert_int_equal(input.len, len);
        assert_null(body.at);
    }
    struct span input = {bytes, sizeof bytes}, body;
    assert_int_equal(frame_take(&input, FRAME_BODY_SIZE_MAX, &body), FRAME_READY);
    assert_int_equal(body.len, 2);
    assert_ptr_equal(body.at, bytes + 1);
    assert_int_equal(input.len, 1);
    assert_ptr_equal(input.at, bytes + 3);
}

static void refuses_a_length_over_the_limit_from_the_head_alone(void **state)
{
    (void)state;
    const uint8_t at_limit[] = {0x80, 0x80, 0x04}, one_over[] = {0x81, 0x80, 0x04};
    assert_int_equal(take(at_limit, 3, FRAME_BODY_SIZE_MAX), FRAME_PARTIAL);
    assert_int_equal(take(one_over, 3, FRAME_BODY_SIZE_MAX), FRAME_INVALID);
    assert_int_equal(take(one_over, 3, FRAME_LINK_SIZE_MAX), FRAME_PARTIAL);
}

static void judges_by_the_limit_that_it_is_given(void **state)
{
    (void)state;
    const uint8_t bytes[] = {4, 1, 2, 3, 4};
    assert_int_equal(take(bytes, sizeof bytes, 4), FRAME_READY);
    assert_int_equal(take(bytes, sizeof bytes, 3), FRAME_INVALID);
}

static void refuses_an_empty_frame(void **state)
{
    (void)state;
    const uint8_t zero[] = {0}, long_zero[] = {0x80, 0x80, 0};
    assert_int_equal(take(zero, 1, FRAME_BODY_SIZE_MAX), FRAME_INVALID);
    assert_int_equal(take(long_zero, 3, FRAME_BODY_SIZE_MAX), FRAME_INVALID);
}

static void refuses_a_length_that_never_ends(void **state)
{
    (void)state;
    const uint8_t endless[] = {0x80, 0x80, 0x80};
    assert_int_equal(take(endless, sizeof endless, FRAME_BODY_SIZE_MAX), FRAME_INVALID);
}

/* -------------------------------------------------------------------------------------------------
 */

static bool open_text(const char *bytes, size_t len, uint32_t *number, struct span *content,
                      uint32_t *ignored)
{
    return frame_open(span_of(bytes, len), number, content, ignored);
}
#define OPEN(bytes) open_text(bytes, sizeof bytes - 1, &number, &content, &ignored)

static void opens_what_protobuf_c_has_packed(void **state)
{
    (void)state;
    uint8_t packed[64];
    Lahar__V1__Ping ping = LAHAR__V1__PING__INIT;
    ping.nonce = 300;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_PING;
    frame.ping = &ping;
    size_t len = lahar__v1__client_frame__pack(&frame, packed);

    uint32_t number, ignored = 0;
    struct span content;
    assert_true(frame_open(span_of(packed, len), &number, &content, &ignored));
    assert_int_equal(number, 4);
    assert_int_equal(ignored, 0);
    Lahar__V1__Ping *opened = lahar__v1__ping__unpack(NULL, content.len, content.at);
    assert_non_null(opened);
    assert_int_equal(opened->nonce, 300);
    lahar__v1__ping__free_unpacked(opened, NULL);
}

static void an_empty_oneof_has_number_0(void **state)
{
    (void)state;
    uint32_t number = 9, ignored = 0;
    struct span content = span_text("old");
    assert_true(OPEN(""));
    assert_int_equal(number, 0);
    assert_int_equal(content.len, 0);
    assert_int_equal(ignored, 0);
}

static void the_last_message_counts_and_all_else_is_counted_as_ignored(void **state)
{
    (void)state;
    uint32_t number, ignored = 10;
    struct span content;
    /* A varint, a message, a fixed32, the message, a fixed64. */
    assert_true(OPEN("\x08\x80\x01"
                     "\x12\x02hi"
                     "\x1d\1\2\3\4"
                     "\xda\x04\x03you"
                     "\x21\1\2\3\4\5\6\7\x08"));
    assert_int_equal(number, 75);
    assert_int_equal(content.len, 3);
    assert_memory_equal(content.at, "you", 3);
    assert_int_equal(ignored, 14);
}

static void what_is_not_protobuf_is_refused(void **state)
{
    (void)state;
    uint32_t number, ignored = 0;
    struct span content;
    assert_false(OPEN("\x12"));                                           /* no length */
    assert_false(OPEN("\x12\x05hell"));                                   /* shorter than it says */
    assert_false(OPEN("\x80"));                                           /* half a tag */
    assert_false(OPEN("\x92\x80\x80\x80\x80\x00"));                       /* a tag of six bytes */
    assert_false(OPEN("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1")); /* a varint of eleven */
    assert_false(OPEN("\x21\1\2\3\4\5\6\7"));                             /* half a fixed64 */
    assert_false(OPEN("\x1d\1\2\3"));                                     /* half a fixed32 */
    assert_false(OPEN("\x13"));                                           /* a group */
    assert_false(OPEN("\x02\x00"));                                       /* field 0 */
    assert_false(OPEN("\x82\x00\x00"));                                   /* field 0 in two bytes */
    assert_false(OPEN("\x12\x02hi\x12"));                                 /* good, then bad */
}

static void a_prefix_makes_a_message_a_frame(void **state)
{
    (void)state;
    static uint8_t bytes[FRAME_PREFIX_SIZE_MAX + FRAME_LINK_SIZE_MAX];
    const uint32_t numbers[] = {1, 15, 16, 41};
    const size_t lens[] = {0,     1,     123,   124,   125,   126,
                           127,   128,   16378, 16379, 16380, 16381,
                           16382, 16383, 16384, 65531, 65536, FRAME_LINK_SIZE_MAX - 8};
    for (size_t n = 0; n < 4; n++) {
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
            uint8_t *message = frame_prefix_write(bytes, numbers[n], lens[i]);
            size_t prefix = frame_prefix_size(numbers[n], lens[i]);
            assert_int_equal(message - bytes, prefix);
            assert_in_range(prefix, 1, FRAME_PREFIX_SIZE_MAX);

            struct span input = span_of(bytes, prefix + lens[i]), body, content;
            uint32_t number;
            assert_int_equal(frame_take(&input, FRAME_LINK_SIZE_MAX, &body), FRAME_READY);
            assert_int_equal(input.len, 0);
            assert_true(frame_open(body, &number, &content, NULL));
            assert_int_equal(number, numbers[n]);
            assert_int_equal(content.len, lens[i]);
            assert_ptr_equal(content.at, message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_nothing_until_the_frame_is_whole),
        cmocka_unit_test(refuses_a_length_over_the_limit_from_the_head_alone),
        cmocka_unit_test(judges_by_the_limit_that_it_is_given),
        cmocka_unit_test(refuses_an_empty_frame),
        cmocka_unit_test(refuses_a_length_that_never_ends),
        cmocka_unit_test(opens_what_protobuf_c_has_packed),
        cmocka_unit_test(an_empty_oneof_has_number_0),
        cmocka_unit_test(the_last_message_counts_and_all_else_is_counted_as_ignored),
        cmocka_unit_test(what_is_not_protobuf_is_refused),
        cmocka_unit_test(a_prefix_makes_a_message_a_frame),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
