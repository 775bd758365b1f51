/* batch: heads are protobuf's, byte for byte, and nothing half-read is handed on. */
#include "proto/batch.h"
#include "proto/frame.h"
#include "proto/link.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct batch_head some_head(void)
{
    return (struct batch_head){.from = 0x1122334455667788,
                               .to = 1,
                               .first_byte = 300,
                               .first_frame = 2,
                               .credit = 1024 * 1024,
                               .map_epoch = 7,
                               .load = 100,
                               .role = 1,
                               .name = span_text("e1/0")};
}

static struct batch_head fullest_head(void)
{
    return (struct batch_head){.from = UINT64_MAX,
                               .to = UINT64_MAX,
                               .first_byte = UINT64_MAX,
                               .first_frame = UINT64_MAX,
                               .credit = UINT64_MAX,
                               .map_epoch = UINT64_MAX,
                               .load = UINT32_MAX,
                               .role = UINT32_MAX,
                               .name = span_text("0123456789abcdef0123456789abcdef")};
}

static void assert_same(const struct batch_head *a, const struct batch_head *b)
{
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->to, b->to);
    assert_int_equal(a->first_byte, b->first_byte);
    assert_int_equal(a->first_frame, b->first_frame);
    assert_int_equal(a->credit, b->credit);
    assert_int_equal(a->map_epoch, b->map_epoch);
    assert_int_equal(a->load, b->load);
    assert_int_equal(a->role, b->role);
    assert_true(span_equal(a->name, b->name));
}

static size_t pack_by_protobuf(uint8_t *at, const struct batch_head *head)
{
    Lahar__Link__V1__BatchHead packed = LAHAR__LINK__V1__BATCH_HEAD__INIT;
    packed.proto = BATCH_PROTO;
    packed.from = head->from;
    packed.to = head->to;
    packed.first_byte = head->first_byte;
    packed.first_frame = head->first_frame;
    packed.credit = head->credit;
    packed.map_epoch = head->map_epoch;
    packed.load = head->load;
    packed.role = head->role;
    packed.name.len = head->name.len;
    packed.name.data = (uint8_t *)(uintptr_t)head->name.at;
    size_t size = lahar__link__v1__batch_head__pack(&packed, at + 1);
    assert_true(size < 128);
    at[0] = (uint8_t)size;
    return size + 1;
}

static void heads_are_written_as_protobuf_writes_them(void **state)
{
    (void)state;
    struct batch_head heads[] = {some_head(), fullest_head(), {.from = 1}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        uint8_t ours[BATCH_HEAD_SIZE_MAX], theirs[256];
        size_t size = batch_head_write(ours, &heads[i]);
        assert_int_equal(size, pack_by_protobuf(theirs, &heads[i]));
        assert_memory_equal(ours, theirs, size);

        struct batch_head read;
        struct span frames;
        uint32_t count;
        assert_true(batch_open(span_of(ours, size), &read, &frames, &count));
        assert_same(&heads[i], &read);
        assert_int_equal(frames.len + count, 0);
    }
}

static void unknown_fields_of_later_versions_are_skipped(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct batch_head head = some_head(), read;
    size_t size = batch_head_write(bytes, &head);
    const uint8_t later[] = {0x58, 0x05, 0xa2, 0x06, 2, 'h', 'i', 0xad, 0x06, 1, 2, 3, 4};
    memcpy(bytes + size, later, sizeof later);
    bytes[0] = (uint8_t)(bytes[0] + sizeof later);
    struct span frames;
    uint32_t count;
    assert_true(batch_open(span_of(bytes, size + sizeof later), &read, &frames, &count));
    assert_same(&head, &read);
}

static bool opens(const void *bytes, size_t len)
{
    struct batch_head head;
    struct span frames;
    uint32_t count;
    /* Of its own size, so that ASan sees one byte too far. */
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, bytes, len);
    bool good = batch_open(span_of(copy, len), &head, &frames, &count);
    free(copy);
    return good;
}

static void refuses_a_head_of_another_version_or_without_a_sender(void **state)
{
    (void)state;
    assert_true(opens("\x0b\x08\x01\x11\x01\0\0\0\0\0\0\0", 12));
    assert_false(opens("\x0b\x08\x02\x11\x01\0\0\0\0\0\0\0", 12));
    assert_false(opens("\x09\x11\x01\0\0\0\0\0\0\0", 10));
    assert_false(opens("\x02\x08\x01", 3));
    assert_false(opens("\x0b\x08\x01\x11\0\0\0\0\0\0\0\0", 12));
    assert_false(opens("\x0b\x08\x01\x10\x01\0\0\0\0\0\0\0", 12)); /* another wire type */
    assert_false(opens("", 0));
    assert_false(opens("\0", 1));
}

static void refuses_a_name_over_the_limit(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0x0b + 2 + 33, 8, 1, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x52, 33};
    assert_false(opens(bytes, 12 + 2 + 33));
    bytes[0] = 0x0b + 2 + 32;
    bytes[13] = 32;
    assert_true(opens(bytes, 12 + 2 + 32));
}

static size_t some_batch(uint8_t *bytes)
{
    struct batch_head head = some_head();
    size_t size = batch_head_write(bytes, &head);
    const uint8_t frames[] = {1, 'a', 3, 'b', 'c', 'd', 2, 'e', 'f'};
    memcpy(bytes + size, frames, sizeof frames);
    return size + sizeof frames;
}

static void hands_on_the_frames_in_order(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t size = some_batch(bytes);
    struct batch_head head;
    struct span frames, body;
    uint32_t count;
    assert_true(batch_open(span_of(bytes, size), &head, &frames, &count));
    assert_int_equal(count, 3);
    assert_int_equal(frames.len, 9);
    const char *expected[] = {"a", "bcd", "ef"};
    for (int i = 0; i < 3; i++) {
        assert_true(batch_next(&frames, &body));
        assert_true(span_equal(body, span_text(expected[i])));
    }
    assert_false(batch_next(&frames, &body));
}

static void a_batch_that_was_cut_anywhere_is_refused_but_between_frames(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t size = some_batch(bytes), head = size - 9;
    for (size_t len = 0; len < size; len++)
        assert_int_equal(opens(bytes, len), len == head || len == head + 2 || len == head + 6);
}

static void refuses_frames_that_are_empty_or_too_big(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t size = some_batch(bytes);
    bytes[size] = 0;
    assert_false(opens(bytes, size + 1));
    size_t room = size + FRAME_LINK_SIZE_MAX + 8;
    uint8_t *big = calloc(1, room);
    assert_non_null(big);
    memcpy(big, bytes, size);
    uint32_t len = FRAME_LINK_SIZE_MAX;
    for (uint32_t over = 0; over < 2; over++) {
        uint32_t body = len + over;
        big[size] = (uint8_t)(body | 0x80);
        big[size + 1] = (uint8_t)(body >> 7 | 0x80);
        big[size + 2] = (uint8_t)(body >> 14);
        assert_int_equal(opens(big, size + 3 + body), over == 0);
    }
    free(big);
}

static void fits_whole_frames_only(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 'a', 3, 'b', 'c', 'd', 2, 'e', 'f'};
    struct span frames = span_of(bytes, sizeof bytes);
    const size_t fits[] = {0, 0, 2, 2, 2, 2, 6, 6, 6, 9, 9};
    const uint32_t counts[] = {0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3};
    for (size_t max = 0; max < sizeof fits / sizeof *fits; max++) {
        uint32_t count;
        assert_int_equal(batch_fit(frames, max, &count).len, fits[max]);
        assert_int_equal(count, counts[max]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_written_as_protobuf_writes_them),
        cmocka_unit_test(unknown_fields_of_later_versions_are_skipped),
        cmocka_unit_test(refuses_a_head_of_another_version_or_without_a_sender),
        cmocka_unit_test(refuses_a_name_over_the_limit),
        cmocka_unit_test(hands_on_the_frames_in_order),
        cmocka_unit_test(a_batch_that_was_cut_anywhere_is_refused_but_between_frames),
        cmocka_unit_test(refuses_frames_that_are_empty_or_too_big),
        cmocka_unit_test(fits_whole_frames_only),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
