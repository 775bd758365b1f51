/* unpack: what is packed comes back, and no bytes of a peer get more memory than the arena has. */
#include "proto/frame.h"
#include "proto/link.pb-c.h"
#include "proto/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const ProtobufCMessageDescriptor *const map_type = &lahar__link__v1__slot_map__descriptor;

static uint8_t shard_name[] = "r1/0", kid[] = "key-1";

static void a_frame_comes_back_as_it_was(void **state)
{
    (void)state;
    struct arena *arena = arena_new(64 * 1024);
    Lahar__Link__V1__SlotRun run = LAHAR__LINK__V1__SLOT_RUN__INIT, *runs[] = {&run, &run};
    run.first = 7;
    run.count = 16000;
    ProtobufCBinaryData name = unpack_data(span_of(shard_name, 4));
    Lahar__Link__V1__SlotMap map = LAHAR__LINK__V1__SLOT_MAP__INIT;
    map.epoch = UINT64_C(1) << 40;
    map.n_shards = 1;
    map.shards = &name;
    map.n_runs = 2;
    map.runs = runs;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_MAP;
    frame.map = &map;

    struct span packed = unpack_frame(arena, &frame.base), body, content;
    uint32_t number;
    assert_int_equal(frame_take(&packed, FRAME_LINK_SIZE_MAX, &body), FRAME_READY);
    assert_int_equal(packed.len, 0);
    assert_true(frame_open(body, &number, &content, NULL));
    assert_int_equal(number, LAHAR__LINK__V1__LINK_FRAME__FRAME_MAP);

    Lahar__Link__V1__SlotMap *again = unpack_message(map_type, arena, content);
    assert_non_null(again);
    assert_int_equal(again->epoch, map.epoch);
    assert_int_equal(again->n_shards, 1);
    assert_true(span_equal(unpack_span(again->shards[0]), span_text("r1/0")));
    assert_int_equal(again->n_runs, 2);
    assert_int_equal(again->runs[1]->first, 7);
    assert_int_equal(again->runs[1]->count, 16000);
    arena_free(arena);
}

static void bytes_are_copied_into_the_arena(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    Lahar__Link__V1__SiteKey key = LAHAR__LINK__V1__SITE_KEY__INIT;
    key.kid = unpack_data(span_of(kid, 5));
    uint8_t packed[32];
    size_t len = lahar__link__v1__site_key__pack(&key, packed);
    Lahar__Link__V1__SiteKey *again =
        unpack_message(&lahar__link__v1__site_key__descriptor, arena, span_of(packed, len));
    memset(packed, 0, sizeof packed);
    assert_non_null(again);
    assert_true(span_equal(unpack_span(again->kid), span_text("key-1")));
    assert_int_equal(again->ed25519.len, 0);
    arena_free(arena);
}

static void bytes_that_are_no_such_message_give_null(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    assert_null(unpack_message(map_type, arena, span_text("\x08")));
    assert_null(unpack_message(map_type, arena, span_text("\x09too short")));
    assert_null(unpack_message(map_type, arena, span_text("\x1a\x02\x08")));
    assert_non_null(unpack_message(map_type, arena, span_of(NULL, 0)));
    arena_free(arena);
}

/* Empty messages, two bytes each on the wire, a hundred in memory. */
static void a_frame_that_would_unfold_past_the_limit_gives_null(void **state)
{
    (void)state;
    size_t len = FRAME_BODY_SIZE_MAX;
    uint8_t *hostile = malloc(len);
    for (size_t i = 0; i < len; i += 2) {
        hostile[i] = 0x1a;
        hostile[i + 1] = 0;
    }
    struct arena *arena = arena_new(512 * 1024);
    assert_null(unpack_message(map_type, arena, span_of(hostile, len)));
    arena_reset(arena);
    Lahar__Link__V1__SlotMap *small = unpack_message(map_type, arena, span_of(hostile, 200));
    assert_non_null(small);
    assert_int_equal(small->n_runs, 100);
    arena_free(arena);
    free(hostile);
}

/* protobuf-c takes its memory in many places; wherever the arena ends, the answer is NULL. */
static void whatever_the_limit_the_answer_is_null_or_the_message(void **state)
{
    (void)state;
    uint8_t packed[2048];
    size_t len = 0;
    for (unsigned i = 0; i < 40; i++) {
        static const char part[] = "\x12\x04r1/0"             /* a name */
                                   "\x1a\x04\x08\x01\x10\x02" /* a run */
                                   "\xa2\x06\x03new"          /* a field of a later version */
                                   "\xa8\x06\x07";
        memcpy(packed + len, part, sizeof part - 1);
        len += sizeof part - 1;
    }
    unsigned refused = 0, read = 0;
    for (size_t limit = 0; limit < 32 * 1024; limit += 8) {
        struct arena *arena = arena_new(limit);
        Lahar__Link__V1__SlotMap *map = unpack_message(map_type, arena, span_of(packed, len));
        if (map == NULL) {
            refused++;
        } else {
            read++;
            assert_int_equal(map->n_runs, 40);
            assert_int_equal(map->n_shards, 40);
        }
        arena_free(arena);
    }
    assert_true(refused > 0 && read > 0);
}

static void a_frame_without_room_is_an_empty_span(void **state)
{
    (void)state;
    Lahar__Link__V1__EdgeHello hello = LAHAR__LINK__V1__EDGE_HELLO__INIT;
    hello.name = unpack_data(span_of(shard_name, 4));
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO;
    frame.edge_hello = &hello;
    struct arena *arena = arena_new(0);
    assert_int_equal(unpack_frame(arena, &frame.base).len, 0);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_as_it_was),
        cmocka_unit_test(bytes_are_copied_into_the_arena),
        cmocka_unit_test(bytes_that_are_no_such_message_give_null),
        cmocka_unit_test(a_frame_that_would_unfold_past_the_limit_gives_null),
        cmocka_unit_test(whatever_the_limit_the_answer_is_null_or_the_message),
        cmocka_unit_test(a_frame_without_room_is_an_empty_span),
    };
    return cmocka_run_group_tests_name("unpack", tests, NULL, NULL);
}
