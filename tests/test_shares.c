/* shares: what edges go by never adds up to more than the limit and the floors, all get what they
 * want if there is enough, and nobody starves, while edges come, go and miss what they are told. */
#include "router/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define EDGES 16u
#define EDGES_MAX 100u
#define FIRST_PART 64u /* SHARE_FIRST_PART of edge/share.h */

/* An edge as edge/share.c is: it goes by what it was told last. */
struct edge {
    bool there, told;
    uint32_t wanted[SHARES_KINDS];
    struct shares_amounts held;
    uint32_t connections;
};

struct world {
    struct shares *shares;
    struct shares_amounts limit;
    struct edge edges[EDGES_MAX];
    uint32_t edge_count;
    uint64_t now;
    uint32_t lose_every; /* answers; 0: none */
    uint32_t seed, said;
};

static uint32_t chance(struct world *world, uint32_t below)
{
    world->seed = world->seed * 1664525 + 1013904223;
    return (world->seed >> 8) % below;
}

static uint32_t first_part(const struct world *world, size_t kind)
{
    uint32_t limit = world->limit.of[kind];
    return limit > FIRST_PART ? limit / FIRST_PART : 1;
}

static void come(struct world *world, uint32_t number)
{
    struct edge *edge = &world->edges[number];
    *edge = (struct edge){.there = true};
    for (size_t kind = 0; kind < SHARES_KINDS; kind++)
        edge->held.of[kind] = first_part(world, kind);
}

static struct shares_amounts answer_of(struct world *world, uint32_t number)
{
    struct edge *edge = &world->edges[number];
    struct shares_use use = {.held = edge->held, .connections = edge->connections};
    struct shares_amounts share;
    uint32_t edges;
    for (size_t kind = 0; kind < SHARES_KINDS; kind++)
        use.wanted.of[kind] = edge->wanted[kind];
    assert_true(shares_use(world->shares, span_text("acme"), &world->limit, number, &use,
                           world->now, &share, &edges));
    assert_in_range(edges, 1, world->edge_count);
    return share;
}

static void say(struct world *world, uint32_t number)
{
    struct edge *edge = &world->edges[number];
    bool less = true;
    while (less) {
        struct shares_amounts share = answer_of(world, number);
        if (world->lose_every != 0 && ++world->said % world->lose_every == 0)
            return;
        less = false;
        for (size_t kind = 0; kind < SHARES_KINDS; kind++)
            less = less || share.of[kind] < edge->held.of[kind];
        edge->held = share;
        edge->told = true;
    }
    /* Connections come up to the share, and go when fewer are wanted. */
    uint32_t wanted = edge->wanted[SHARES_CONNECTIONS];
    uint32_t may = edge->held.of[SHARES_CONNECTIONS];
    if (edge->connections > wanted)
        edge->connections = wanted;
    if (edge->connections < wanted && edge->connections < may)
        edge->connections = wanted < may ? wanted : may;
}

static uint64_t sum(const struct world *world, enum shares_kind kind)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < world->edge_count; i++)
        if (world->edges[i].there)
            all += world->edges[i].held.of[kind];
    return all;
}

/* Beside the limit and the floors there is only what edges go by that were never told. */
static void check_sums(const struct world *world)
{
    for (enum shares_kind kind = 0; kind < SHARES_KINDS; kind++) {
        uint64_t all = sum(world, kind);
        for (uint32_t i = 0; i < world->edge_count; i++)
            if (world->edges[i].there && !world->edges[i].told)
                all -= world->edges[i].held.of[kind];
        assert_true(all * 8 <= (uint64_t)world->limit.of[kind] * 9);
    }
}

static bool refuses(const struct edge *edge)
{
    return edge->wanted[SHARES_LOGINS] > edge->held.of[SHARES_LOGINS] ||
           edge->wanted[SHARES_SENDS] > edge->held.of[SHARES_SENDS];
}

/* Each says once a second what it wants, in turn, and up to ten times if it wants more. */
static void seconds(struct world *world, uint32_t count)
{
    for (uint32_t part = 0; part < 10 * count; part++, world->now += 100) {
        for (uint32_t i = 0; i < world->edge_count; i++) {
            if (!world->edges[i].there || (i % 10 != part % 10 && !refuses(&world->edges[i])))
                continue;
            say(world, i);
            check_sums(world);
        }
        if (part % 10 == 9)
            shares_tick(world->shares, world->now);
    }
}

static void want(struct world *world, uint32_t number, uint32_t sends, uint32_t logins,
                 uint32_t connections)
{
    uint32_t *wanted = world->edges[number].wanted;
    wanted[SHARES_SENDS] = sends;
    wanted[SHARES_LOGINS] = logins;
    wanted[SHARES_CONNECTIONS] = connections;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert(world != NULL);
    world->shares = shares_new();
    world->limit = (struct shares_amounts){{1000, 200, 5000}};
    world->now = 100000;
    world->edge_count = EDGES;
    world->seed = 7;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    shares_free(world->shares);
    free(world);
    return 0;
}

static void one_edge_has_it_all(void **state)
{
    struct world *world = *state;
    come(world, 3);
    seconds(world, 4);
    for (enum shares_kind kind = 0; kind < SHARES_KINDS; kind++)
        assert_int_equal(world->edges[3].held.of[kind], world->limit.of[kind]);
}

static void who_wants_most_gets_most_if_there_is_enough(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 0; i < 4; i++)
        come(world, i);
    want(world, 0, 600, 0, 0);
    want(world, 1, 100, 0, 0);
    seconds(world, 8);
    assert_true(world->edges[0].held.of[SHARES_SENDS] >= 600);
    assert_true(world->edges[1].held.of[SHARES_SENDS] >= 100);
    for (uint32_t i = 2; i < 4; i++) /* room to begin */
        assert_true(world->edges[i].held.of[SHARES_SENDS] >= 31);
    assert_true(sum(world, SHARES_SENDS) > 980); /* nothing lies idle */
}

static void who_wants_too_much_does_not_push_out_who_wants_little(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 0; i < 4; i++)
        come(world, i);
    want(world, 0, 1000000, 0, 0);
    want(world, 1, 1000000, 0, 0);
    want(world, 2, 200, 0, 0);
    seconds(world, 8);
    assert_true(world->edges[2].held.of[SHARES_SENDS] >= 200);
    uint32_t first = world->edges[0].held.of[SHARES_SENDS];
    uint32_t second = world->edges[1].held.of[SHARES_SENDS];
    assert_true(first > 300 && second > 300);
    assert_true(first <= second + 1 && second <= first + 1);
}

static void a_newcomer_gets_its_part_within_three_seconds(void **state)
{
    struct world *world = *state;
    come(world, 0);
    want(world, 0, 5000, 0, 0);
    seconds(world, 6);
    assert_int_equal(world->edges[0].held.of[SHARES_SENDS], 1000);
    come(world, 1);
    want(world, 1, 5000, 0, 0);
    seconds(world, 3);
    assert_in_range(world->edges[0].held.of[SHARES_SENDS], 499, 501);
    assert_in_range(world->edges[1].held.of[SHARES_SENDS], 499, 501);
}

static void what_a_dead_edge_had_comes_back_after_the_silence(void **state)
{
    struct world *world = *state;
    come(world, 0);
    come(world, 1);
    want(world, 0, 5000, 500, 9000);
    want(world, 1, 5000, 500, 9000);
    seconds(world, 8);
    world->edges[1].there = false;
    seconds(world, SHARES_SILENCE_MS / 1000 + 2);
    for (enum shares_kind kind = 0; kind < SHARES_KINDS; kind++)
        assert_int_equal(world->edges[0].held.of[kind], world->limit.of[kind]);
}

static void fewer_units_than_edges_go_round(void **state)
{
    struct world *world = *state;
    world->limit = (struct shares_amounts){{5, 3, 7}};
    uint32_t had[EDGES] = {0};
    for (uint32_t i = 0; i < EDGES; i++) {
        come(world, i);
        want(world, i, 100, 100, 0);
    }
    for (uint32_t second = 0; second < 200; second++) {
        seconds(world, 1);
        for (uint32_t i = 0; i < EDGES; i++)
            had[i] += world->edges[i].held.of[SHARES_LOGINS];
    }
    for (uint32_t i = 0; i < EDGES; i++)
        assert_true(had[i] > 0);
}

/* A hundred edges and five logins a second: all that wants to come in does so, nearly at that rate,
 * also if it comes to a few edges only. */
static void a_small_limit_is_used_up_over_many_edges(void **state)
{
    struct world *world = *state;
    for (uint32_t busy = 1; busy <= EDGES_MAX; busy *= 10) {
        world->edge_count = EDGES_MAX;
        world->limit = (struct shares_amounts){{5, 5, 5}};
        uint32_t had = 0;
        for (uint32_t i = 0; i < EDGES_MAX; i++) {
            come(world, i);
            want(world, i, 0, i < busy ? 100 : 0, 0);
        }
        seconds(world, 20);
        for (uint32_t second = 0; second < 100; second++) {
            seconds(world, 1);
            for (uint32_t i = 0; i < busy; i++)
                had += world->edges[i].held.of[SHARES_LOGINS];
        }
        assert_true(had > 100 * 5 * 8 / 10);
    }
}

static void connections_that_are_there_count_whatever_the_share(void **state)
{
    struct world *world = *state;
    come(world, 0);
    want(world, 0, 0, 0, 5000);
    seconds(world, 6);
    assert_int_equal(world->edges[0].connections, 5000);
    /* Nobody is thrown out for a newcomer, who gets no more than his floor until some leave. */
    come(world, 1);
    want(world, 1, 0, 0, 3000);
    seconds(world, 10);
    assert_int_equal(world->edges[0].connections, 5000);
    assert_true(world->edges[1].connections <= 5000 / 16);
    want(world, 0, 0, 0, 2000);
    seconds(world, 4);
    assert_int_equal(world->edges[1].connections, 3000);
}

static void a_new_owner_listens_before_it_gives_more(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 0; i < 4; i++) {
        come(world, i);
        want(world, i, i == 0 ? 900 : 20, 0, 0);
    }
    seconds(world, 8);
    struct edge before[4];
    memcpy(before, world->edges, sizeof before);
    shares_free(world->shares);
    world->shares = shares_new();
    shares_listen(world->shares, world->now);
    seconds(world, 2);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(world->edges[i].held.of[SHARES_SENDS], before[i].held.of[SHARES_SENDS]);
    seconds(world, 3);
    assert_true(world->edges[0].held.of[SHARES_SENDS] >= 900);
}

static void a_limit_that_is_lowered_holds_at_once(void **state)
{
    struct world *world = *state;
    come(world, 0);
    come(world, 1);
    want(world, 0, 5000, 5000, 5000);
    seconds(world, 6);
    world->limit = (struct shares_amounts){{10, 10, 10}};
    for (uint32_t i = 0; i < 2; i++)
        say(world, i);
    assert_true(sum(world, SHARES_SENDS) <= 11);
    seconds(world, 3);
    assert_int_equal(
        world->edges[0].held.of[SHARES_LOGINS] + world->edges[1].held.of[SHARES_LOGINS], 10);
}

/* Whoever keeps wanting gets something at least every few seconds. */
static void edges_come_and_go_and_miss_answers_and_nobody_starves(void **state)
{
    struct world *world = *state;
    uint32_t without[EDGES] = {0};
    world->lose_every = 7;
    for (uint32_t round = 0; round < 5000; round++) {
        uint32_t number = chance(world, EDGES);
        if (!world->edges[number].there)
            come(world, number);
        else if (chance(world, 4) == 0)
            world->edges[number].there = false;
        want(world, number, chance(world, 2000), chance(world, 100), chance(world, 8000));
        if (round % 500 == 499) { /* another shard has taken over */
            shares_free(world->shares);
            world->shares = shares_new();
            shares_listen(world->shares, world->now);
        }
        seconds(world, 1 + chance(world, 3));
        for (uint32_t i = 0; i < EDGES; i++) {
            const struct edge *edge = &world->edges[i];
            bool starved =
                edge->there && edge->wanted[SHARES_SENDS] > 0 && edge->held.of[SHARES_SENDS] == 0;
            without[i] = starved ? without[i] + 1 : 0;
            assert_true(without[i] < 6);
        }
    }
}

static void sites_without_edges_are_forgotten(void **state)
{
    struct world *world = *state;
    come(world, 0);
    seconds(world, 2);
    assert_int_equal(shares_sites(world->shares), 1);
    world->edges[0].there = false;
    seconds(world, 8);
    assert_int_equal(shares_sites(world->shares), 0);
}

static void a_site_too_many_is_told_nothing(void **state)
{
    struct world *world = *state;
    struct shares_use use = {{{0}}, {{0}}, 0};
    struct shares_amounts share;
    uint32_t edges;
    for (uint32_t i = 0; i <= SHARES_SITES_MAX; i++) {
        uint8_t id[4] = {'a', (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(shares_use(world->shares, span_of(id, 4), &world->limit, 1, &use,
                                    world->now, &share, &edges),
                         i < SHARES_SITES_MAX);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_edge_has_it_all),
        TEST(who_wants_most_gets_most_if_there_is_enough),
        TEST(who_wants_too_much_does_not_push_out_who_wants_little),
        TEST(a_newcomer_gets_its_part_within_three_seconds),
        TEST(what_a_dead_edge_had_comes_back_after_the_silence),
        TEST(fewer_units_than_edges_go_round),
        TEST(a_small_limit_is_used_up_over_many_edges),
        TEST(connections_that_are_there_count_whatever_the_share),
        TEST(a_new_owner_listens_before_it_gives_more),
        TEST(a_limit_that_is_lowered_holds_at_once),
        TEST(edges_come_and_go_and_miss_answers_and_nobody_starves),
        TEST(sites_without_edges_are_forgotten),
        TEST(a_site_too_many_is_told_nothing),
    };
    return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
