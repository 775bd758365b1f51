/* presence: whatever is put and removed in any order, it must say what a plain list would. */
#include "presence/presence.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MODEL_MAX 4096u

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

/* Few slots and few homes, so that runs are long and wrap around. */
static uint64_t crowded(uint64_t gid)
{
    return (mix(gid) % 6 == 0 ? UINT64_MAX << 32 : mix(gid) << 33) | gid % 3;
}

static uint64_t state_of_chance;

static uint32_t chance(uint32_t below)
{
    state_of_chance = mix(state_of_chance + 0x9e3779b97f4a7c15);
    return (uint32_t)(state_of_chance >> 33) % below;
}

struct model {
    struct presence_record records[MODEL_MAX];
    uint32_t count;
};

static uint32_t model_find(const struct model *model, uint64_t gid, uint64_t device)
{
    uint32_t i = 0;
    while (i < model->count && (model->records[i].gid != gid || model->records[i].device != device))
        i++;
    return i;
}

static void model_remove(struct model *model, uint32_t at)
{
    model->records[at] = model->records[--model->count];
}

static bool same(const struct presence_record *a, const struct presence_record *b)
{
    return a->gid == b->gid && a->device == b->device && a->session == b->session &&
           a->edge == b->edge && a->dseq == b->dseq && a->mark == b->mark;
}

static void compare(const struct presence *presence, const struct model *model)
{
    assert_int_equal(presence_count(presence), model->count);
    uint32_t walked = 0;
    for (uint32_t slot = 0; slot < 3; slot++) {
        struct presence_record record;
        for (uint32_t cursor = 0, n = 0; presence_walk(presence, slot, &cursor, &record); n++) {
            uint32_t at = model_find(model, record.gid, record.device);
            assert_true(at < model->count && same(&record, &model->records[at]));
            assert_true(n < presence_slot_count(presence, slot));
            walked++;
        }
    }
    assert_int_equal(walked, model->count);
}

static void one_step(struct presence *presence, struct model *model, uint32_t gids, bool growing)
{
    uint64_t gid = 1 + chance(gids), device = chance(3), hash = crowded(gid);
    uint32_t slot = presence_slot(hash), at = model_find(model, gid, device);
    bool known = at < model->count;
    if (chance(10) < (growing ? 7u : 3u) && model->count < MODEL_MAX) {
        struct presence_record record = {
            .gid = gid, .device = device, .session = chance(1000), .dseq = chance(1000)};
        record.edge = (1 + chance(9)) & PRESENCE_EDGE_MAX;
        record.mark = chance(PRESENCE_MARKS) % PRESENCE_MARKS;
        presence_put(presence, slot, hash, &record);
        model->records[at] = record;
        model->count += known ? 0 : 1;
    } else {
        assert_int_equal(presence_remove(presence, slot, hash, gid, device), known);
        if (known)
            model_remove(model, at);
    }
    gid = 1 + chance(gids), hash = crowded(gid), slot = presence_slot(hash);
    struct presence_record found[4], *one;
    size_t count = presence_list(presence, slot, hash, gid, found, 2), expected = 0;
    for (uint64_t d = 0; d < 3; d++) {
        at = model_find(model, gid, d);
        one = presence_find(presence, slot, hash, gid, d);
        assert_int_equal(one != NULL, at < model->count);
        if (one != NULL) {
            assert_true(same(one, &model->records[at]));
            expected++;
        }
    }
    assert_int_equal(count, expected);
    for (size_t i = 0; i < count && i < 2; i++)
        assert_int_equal(found[i].gid, gid);
}

static void says_what_a_plain_list_says(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        state_of_chance = seed;
        struct presence *presence = presence_new(crowded);
        struct model model = {.count = 0};
        uint32_t gids = 1 + chance(300);
        for (uint32_t step = 0; step < 1200; step++) {
            one_step(presence, &model, gids, step % 600 < 300);
            if (step % 50 == 0)
                compare(presence, &model);
        }
        compare(presence, &model);
        presence_free(presence);
    }
}

/* Removes what `goes` says while walking; all that stay must still be there. */
static void walk_and_remove(uint32_t seed, uint32_t one_in)
{
    state_of_chance = seed;
    struct presence *presence = presence_new(crowded);
    struct model model = {.count = 0};
    for (uint32_t step = 0; step < 400; step++)
        one_step(presence, &model, 200, true);
    for (uint32_t slot = 0; slot < 3; slot++) {
        struct presence_record record;
        uint32_t cursor = 0;
        while (presence_walk(presence, slot, &cursor, &record)) {
            if (mix(record.gid + record.device) % one_in != 0)
                continue;
            assert_true(
                presence_remove(presence, slot, crowded(record.gid), record.gid, record.device));
            model_remove(&model, model_find(&model, record.gid, record.device));
        }
    }
    for (uint32_t i = 0; i < model.count; i++)
        assert_true(mix(model.records[i].gid + model.records[i].device) % one_in != 0);
    compare(presence, &model);
    presence_free(presence);
}

static void a_walk_that_removes_what_it_is_given_sees_all(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 300; seed++)
        walk_and_remove(seed, 1);
}

static void a_walk_that_removes_some_sees_all(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 300; seed++)
        walk_and_remove(seed, 2 + seed % 3);
}

static void takes_at_most_64_bytes_a_record(void **state)
{
    (void)state;
    struct presence *presence = presence_new(mix);
    for (uint64_t gid = 1; gid <= 1500000; gid++) {
        uint64_t hash = mix(gid);
        presence_put(presence, presence_slot(hash), hash,
                     &(struct presence_record){.gid = gid, .device = 1, .session = 2, .edge = 3});
        if (gid >= 400000 && gid % 10000 == 0)
            assert_in_range(presence_bytes(presence) / presence_count(presence), 32, 64);
    }
    presence_free(presence);
}

static void gives_memory_back_when_few_are_left(void **state)
{
    (void)state;
    struct presence *presence = presence_new(crowded);
    for (uint64_t gid = 3; gid <= 30000; gid += 3)
        presence_put(presence, 0, crowded(gid),
                     &(struct presence_record){.gid = gid, .device = 1, .edge = 3});
    size_t full = presence_bytes(presence);
    for (uint64_t gid = 3; gid <= 29000; gid += 3)
        assert_true(presence_remove(presence, 0, crowded(gid), gid, 1));
    presence_put(presence, 0, crowded(3), &(struct presence_record){.gid = 3, .edge = 3});
    size_t empty = presence_bytes(presence);
    presence_drop_slot(presence, 0);
    assert_int_equal(presence_count(presence), 0);
    size_t none = presence_bytes(presence);
    assert_true((empty - none) * 8 < full - none);
    presence_free(presence);
}

static void a_found_record_may_be_changed_in_place(void **state)
{
    (void)state;
    struct presence *presence = presence_new(mix);
    uint64_t hash = mix(77);
    uint32_t slot = presence_slot(hash);
    presence_put(presence, slot, hash,
                 &(struct presence_record){.gid = 77, .device = 1, .session = 2, .edge = 3});
    presence_find(presence, slot, hash, 77, 1)->session = 9;
    struct presence_record out;
    assert_int_equal(presence_list(presence, slot, hash, 77, &out, 1), 1);
    assert_int_equal(out.session, 9);
    presence_free(presence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_a_plain_list_says),
        cmocka_unit_test(a_walk_that_removes_what_it_is_given_sees_all),
        cmocka_unit_test(a_walk_that_removes_some_sees_all),
        cmocka_unit_test(takes_at_most_64_bytes_a_record),
        cmocka_unit_test(gives_memory_back_when_few_are_left),
        cmocka_unit_test(a_found_record_may_be_changed_in_place),
    };
    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
