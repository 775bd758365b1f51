/* route: of all that is said about a slot only what is newer counts. */
#include "edge/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const names[] = {"r1/0", "r1/1", "r2/0"};

static void begins_with_even_runs_and_no_epochs(void **state)
{
    (void)state;
    struct route_table *routes = route_table_new(names, 3);
    struct slotmap *even = slotmap_new_even(names, 3);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        assert_int_equal(route_shard(routes, slot), slotmap_owner(even, slot));
        assert_int_equal(route_epoch(routes, slot), 0);
    }
    assert_int_equal(route_map_epoch(routes), 0);
    slotmap_free(even);
    route_table_free(routes);
}

static void finds_shards_by_name(void **state)
{
    (void)state;
    struct route_table *routes = route_table_new(names, 3);
    assert_int_equal(route_find(routes, span_text("r2/0")), 2);
    assert_int_equal(route_find(routes, span_text("r2/1")), 3);
    assert_int_equal(route_find(routes, span_text("")), 3);
    route_table_free(routes);
}

static void takes_a_map_by_names_in_any_order_once(void **state)
{
    (void)state;
    struct route_table *routes = route_table_new(names, 3);
    const char *const others[] = {"r2/0", "r9/9", "r1/0"};
    struct slotmap *map = slotmap_new_even(others, 3);
    struct span packed = slotmap_pack(map);
    assert_int_equal(route_take_map(routes, packed), ROUTE_TAKEN);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        const uint32_t ours[] = {2, 3, 0};
        assert_int_equal(route_shard(routes, slot), ours[slotmap_owner(map, slot)]);
    }
    assert_int_equal(route_map_epoch(routes), 1);
    assert_int_equal(route_take_map(routes, packed), ROUTE_OLD);
    assert_int_equal(route_take_map(routes, span_upto(packed, packed.len - 1)), ROUTE_BAD);
    free((void *)(uintptr_t)packed.at);
    slotmap_free(map);
    route_table_free(routes);
}

static void takes_one_slot_only_from_a_newer_map(void **state)
{
    (void)state;
    struct route_table *routes = route_table_new(names, 3);
    assert_int_equal(route_take_slot(routes, 7, 5, 2), ROUTE_TAKEN);
    assert_int_equal(route_shard(routes, 7), 2);
    assert_int_equal(route_shard(routes, 8), 0);
    assert_int_equal(route_take_slot(routes, 7, 5, 1), ROUTE_OLD);
    assert_int_equal(route_take_slot(routes, 7, 4, 1), ROUTE_OLD);
    assert_int_equal(route_shard(routes, 7), 2);
    /* A whole map that is older than what is known of this slot leaves it alone. */
    struct slotmap *map = slotmap_new_even(names, 3);
    struct span packed = slotmap_pack(map);
    assert_int_equal(route_take_map(routes, packed), ROUTE_TAKEN);
    assert_int_equal(route_shard(routes, 7), 2);
    assert_int_equal(route_take_slot(routes, 7, 6, 1), ROUTE_TAKEN);
    assert_int_equal(route_take_slot(routes, GID_SLOTS, 9, 1), ROUTE_BAD);
    assert_int_equal(route_take_slot(routes, 0, 9, 4), ROUTE_BAD);
    free((void *)(uintptr_t)packed.at);
    slotmap_free(map);
    route_table_free(routes);
}

static void believes_the_owner_with_the_highest_epoch(void **state)
{
    (void)state;
    struct route_table *routes = route_table_new(names, 3);
    assert_int_equal(route_take_owned(routes, 7, 3, 1), ROUTE_TAKEN);
    assert_int_equal(route_shard(routes, 7), 1);
    assert_int_equal(route_epoch(routes, 7), 3);
    assert_int_equal(route_take_owned(routes, 7, 2, 2), ROUTE_OLD);
    assert_int_equal(route_take_owned(routes, 7, 3, 2), ROUTE_OLD);
    assert_int_equal(route_take_owned(routes, 7, 3, 1), ROUTE_TAKEN); /* says it again */
    assert_int_equal(route_shard(routes, 7), 1);
    assert_int_equal(route_take_owned(routes, 7, 4, 2), ROUTE_TAKEN);
    assert_int_equal(route_shard(routes, 7), 2);
    assert_int_equal(route_take_owned(routes, 7, 0, 2), ROUTE_BAD);
    assert_int_equal(route_take_owned(routes, 7, 9, 3), ROUTE_BAD);
    assert_int_equal(route_take_owned(routes, GID_SLOTS, 9, 0), ROUTE_BAD);
    route_table_free(routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_with_even_runs_and_no_epochs),
        cmocka_unit_test(finds_shards_by_name),
        cmocka_unit_test(takes_a_map_by_names_in_any_order_once),
        cmocka_unit_test(takes_one_slot_only_from_a_newer_map),
        cmocka_unit_test(believes_the_owner_with_the_highest_epoch),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
