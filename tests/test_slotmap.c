/* slotmap: a map says for each slot who owns it, survives the wire, and what is not a whole map is
 * none. */
#include "proto/link.pb-c.h"
#include "proto/slotmap.h"
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const three[] = {"r1/0", "r1/1", "r2/0"};

static void slots_are_shared_evenly_in_runs(void **state)
{
    (void)state;
    static char names[SLOTMAP_SHARDS_MAX][16];
    static const char *pointers[SLOTMAP_SHARDS_MAX];
    for (unsigned i = 0; i < SLOTMAP_SHARDS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "r/%u", i);
        pointers[i] = names[i];
    }
    const size_t counts[] = {1, 2, 3, 4, 7, 1000, SLOTMAP_SHARDS_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        uint32_t owned[SLOTMAP_SHARDS_MAX] = {0}, last = 0;
        struct slotmap *map = slotmap_new_even(pointers, counts[c]);
        assert_int_equal(slotmap_epoch(map), 1);
        assert_int_equal(slotmap_shards(map), counts[c]);
        for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
            uint32_t owner = slotmap_owner(map, slot);
            assert_true(owner == last || owner == last + 1);
            last = owner;
            owned[owner]++;
        }
        for (size_t i = 0; i < counts[c]; i++)
            assert_in_range(owned[i], GID_SLOTS / counts[c], GID_SLOTS / counts[c] + 1);
        slotmap_free(map);
    }
}

static void a_shard_is_found_by_its_name(void **state)
{
    (void)state;
    struct slotmap *map = slotmap_new_even(three, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_string_equal(slotmap_name(map, i), three[i]);
        assert_int_equal(slotmap_find(map, span_text(three[i])), i);
    }
    assert_int_equal(slotmap_find(map, span_text("r2/1")), SLOTMAP_NONE);
    assert_int_equal(slotmap_find(map, span_text("r1/")), SLOTMAP_NONE);
    assert_int_equal(slotmap_find(map, span_of(NULL, 0)), SLOTMAP_NONE);
    slotmap_free(map);
}

static void a_map_comes_back_from_the_wire_as_it_was(void **state)
{
    (void)state;
    struct slotmap *map = slotmap_new_even(three, 3);
    struct span packed = slotmap_pack(map);
    struct slotmap *again = slotmap_unpack(packed);
    assert_non_null(again);
    assert_int_equal(slotmap_epoch(again), 1);
    assert_int_equal(slotmap_shards(again), 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_string_equal(slotmap_name(again, i), three[i]);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++)
        assert_int_equal(slotmap_owner(again, slot), slotmap_owner(map, slot));
    free((void *)(uintptr_t)packed.at);
    slotmap_free(map);
    slotmap_free(again);
}

/* -------------------------------------------------------------------------------------------------
 */

struct run {
    uint32_t first, count, shard;
};

static struct slotmap *unpack(const char *const *names, size_t name_count, const struct run *runs,
                              size_t run_count)
{
    Lahar__Link__V1__SlotRun run[8], *list[8];
    ProtobufCBinaryData data[8];
    assert_true(name_count <= 8 && run_count <= 8);
    for (size_t i = 0; i < run_count; i++) {
        lahar__link__v1__slot_run__init(&run[i]);
        run[i].first = runs[i].first;
        run[i].count = runs[i].count;
        run[i].shard = runs[i].shard;
        list[i] = &run[i];
    }
    for (size_t i = 0; i < name_count; i++) {
        data[i].len = strlen(names[i]);
        data[i].data = (uint8_t *)(uintptr_t)names[i];
    }
    Lahar__Link__V1__SlotMap message = LAHAR__LINK__V1__SLOT_MAP__INIT;
    message.epoch = 77;
    message.n_shards = name_count;
    message.shards = data;
    message.n_runs = run_count;
    message.runs = list;
    uint8_t packed[512];
    assert_true(lahar__link__v1__slot_map__get_packed_size(&message) <= sizeof packed);
    return slotmap_unpack(span_of(packed, lahar__link__v1__slot_map__pack(&message, packed)));
}
#define UNPACK(names, runs)                                                                        \
    unpack(names, sizeof names / sizeof names[0], runs, sizeof runs / sizeof runs[0])

static void runs_may_come_in_any_order(void **state)
{
    (void)state;
    const struct run runs[] = {{8000, 8384, 0}, {1, 7999, 2}, {0, 1, 1}};
    struct slotmap *map = UNPACK(three, runs);
    assert_non_null(map);
    assert_int_equal(slotmap_epoch(map), 77);
    assert_int_equal(slotmap_owner(map, 0), 1);
    assert_int_equal(slotmap_owner(map, 1), 2);
    assert_int_equal(slotmap_owner(map, 7999), 2);
    assert_int_equal(slotmap_owner(map, 8000), 0);
    assert_int_equal(slotmap_owner(map, GID_SLOTS - 1), 0);
    slotmap_free(map);
}

/* All shards, and no two neighbours of one owner: more cannot be in a map. */
static void the_most_scattered_map_comes_back_too(void **state)
{
    (void)state;
    uint8_t *packed = malloc(1u << 20), *at = packed;
    at = wire_put_varint(at, 1, 5);
    for (unsigned i = 0; i < SLOTMAP_SHARDS_MAX; i++) {
        char name[SLOTMAP_NAME_MAX];
        snprintf(name, sizeof name, "router-%u/%u", i, i);
        at = wire_put_bytes(at, 2, span_text(name));
    }
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        uint8_t run[32], *end = wire_put_varint(run, 1, slot);
        end = wire_put_varint(end, 2, 1);
        end = wire_put_varint(end, 4, slot % SLOTMAP_SHARDS_MAX);
        at = wire_put_bytes(at, 3, span_of(run, (size_t)(end - run)));
    }
    struct slotmap *map = slotmap_unpack(span_of(packed, (size_t)(at - packed)));
    assert_non_null(map);
    struct span again = slotmap_pack(map);
    assert_true(span_equal(again, span_of(packed, (size_t)(at - packed))));
    assert_int_equal(slotmap_owner(map, GID_SLOTS - 1), SLOTMAP_SHARDS_MAX - 1);
    slotmap_free(map);
    free((void *)(uintptr_t)again.at);
    free(packed);
}

static void what_does_not_own_each_slot_once_is_no_map(void **state)
{
    (void)state;
    const struct run one_missing[] = {{0, GID_SLOTS - 1, 0}};
    const struct run one_twice[] = {{0, 100, 0}, {99, GID_SLOTS - 99, 1}};
    const struct run twice_and_missing[] = {{0, 100, 0}, {99, GID_SLOTS - 100, 1}};
    const struct run too_many[] = {{0, GID_SLOTS + 1, 0}};
    const struct run outside[] = {{0, GID_SLOTS, 0}, {GID_SLOTS, 1, 0}};
    const struct run wrapping[] = {{0, GID_SLOTS, 0}, {2, UINT32_MAX, 0}};
    const struct run no_such_shard[] = {{0, GID_SLOTS, 3}};
    assert_null(UNPACK(three, one_missing));
    assert_null(UNPACK(three, one_twice));
    assert_null(UNPACK(three, twice_and_missing));
    assert_null(UNPACK(three, too_many));
    assert_null(UNPACK(three, outside));
    assert_null(UNPACK(three, wrapping));
    assert_null(UNPACK(three, no_such_shard));
    assert_null(slotmap_unpack(span_of(NULL, 0)));
    assert_null(slotmap_unpack(span_text("no map")));
}

static void bad_or_doubled_names_make_no_map(void **state)
{
    (void)state;
    const struct run all[] = {{0, GID_SLOTS, 0}};
    const char *const doubled[] = {"r1/0", "r1/0"}, *const bad[] = {"r1/0", "r1"},
                      *const empty[] = {"r1/0", ""};
    assert_null(UNPACK(doubled, all));
    assert_null(UNPACK(bad, all));
    assert_null(UNPACK(empty, all));
}

static void a_cut_map_is_no_map(void **state)
{
    (void)state;
    struct slotmap *map = slotmap_new_even(three, 3);
    struct span packed = slotmap_pack(map);
    for (size_t len = 0; len < packed.len; len++) {
        uint8_t *cut = malloc(len);
        if (len > 0)
            memcpy(cut, packed.at, len);
        struct slotmap *none = slotmap_unpack(span_of(cut, len));
        assert_null(none);
        free(cut);
    }
    free((void *)(uintptr_t)packed.at);
    slotmap_free(map);
}

/* -------------------------------------------------------------------------------------------------
 */

static void a_shards_name_is_a_name_a_slash_and_a_number(void **state)
{
    (void)state;
    static const char *const good[] = {"r1/0", "r/10", "router-1.eu_west/999", "0/0",
                                       "123456789012345678901234567890/1"};
    static const char *const bad[] = {
        "",      "r1",    "/0",    "r1/",   "r1/a",
        "r1/0a", "r1/00", "r1/01", "r1//0", "r1/0/0",
        "r 1/0", "r1/-1", "r1/+1", "r1/0 ", "1234567890123456789012345678901/1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(slotmap_name_valid(span_text(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(slotmap_name_valid(span_text(bad[i])));
}

static void an_entry_is_a_name_and_an_address(void **state)
{
    (void)state;
    struct span name, address;
    assert_true(slotmap_parse_entry(span_text("r1/0=tcp://10.0.0.1:7801"), &name, &address));
    assert_true(span_equal(name, span_text("r1/0")));
    assert_true(span_equal(address, span_text("tcp://10.0.0.1:7801")));
    static const char *const good[] = {"r1/0=tcp://router-1.lahar:1", "r1/0=tcp://[::1]:65535",
                                       "r1/0=ipc:///run/lahar/r=1"};
    static const char *const bad[] = {
        "",
        "r1/0",
        "r1/0=",
        "=tcp://10.0.0.1:7801",
        "r1=tcp://10.0.0.1:7801",
        "r1/0=10.0.0.1:7801",
        "r1/0=udp://10.0.0.1:7801",
        "r1/0=tcp://10.0.0.1",
        "r1/0=tcp://:7801",
        "r1/0=tcp://10.0.0.1:",
        "r1/0=tcp://10.0.0.1:0",
        "r1/0=tcp://10.0.0.1:65536",
        "r1/0=tcp://10.0.0.1:78 1",
        "r1/0=tcp://10.0.0.1:7801 ",
        "r1/0 = tcp://10.0.0.1:7801",
        "r1/0=ipc://",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(slotmap_parse_entry(span_text(good[i]), &name, &address));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(slotmap_parse_entry(span_text(bad[i]), &name, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_shared_evenly_in_runs),
        cmocka_unit_test(a_shard_is_found_by_its_name),
        cmocka_unit_test(a_map_comes_back_from_the_wire_as_it_was),
        cmocka_unit_test(runs_may_come_in_any_order),
        cmocka_unit_test(the_most_scattered_map_comes_back_too),
        cmocka_unit_test(what_does_not_own_each_slot_once_is_no_map),
        cmocka_unit_test(bad_or_doubled_names_make_no_map),
        cmocka_unit_test(a_cut_map_is_no_map),
        cmocka_unit_test(a_shards_name_is_a_name_a_slash_and_a_number),
        cmocka_unit_test(an_entry_is_a_name_and_an_address),
    };
    return cmocka_run_group_tests_name("slotmap", tests, NULL, NULL);
}
