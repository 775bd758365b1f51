/* share: a worker takes for a site what it was told, and no more when it is not told anything. */
#include "edge/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SITE 7u
#define START 1000000u

static struct share_table *table;

static int setup(void **state)
{
    (void)state;
    table = share_table_new();
    struct share_amounts limit = {{800, 80, 400}};
    share_limit(table, SITE, &limit, START);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    share_table_free(table);
    return 0;
}

static uint32_t sends_at(uint64_t now_ms)
{
    uint32_t taken = 0;
    while (taken < 10000 && share_send(table, SITE, now_ms) == 0)
        taken++;
    return taken;
}

static void tell(uint32_t sends, uint32_t logins, uint32_t connections, uint32_t edges,
                 uint64_t now)
{
    struct share_amounts share = {{sends, logins, connections}};
    share_told(table, SITE, &share, edges, now);
}

static struct share_use use_at(uint64_t now_ms)
{
    struct share_use use = {0}, none;
    uint32_t cursor = 0;
    assert_true(share_next(table, &cursor, now_ms, &use));
    assert_false(share_next(table, &cursor, now_ms, &none));
    return use;
}

static void takes_a_64th_before_it_was_told(void **state)
{
    (void)state;
    assert_int_equal(sends_at(START), 12);
    assert_int_equal(sends_at(START + 100), 1);
    assert_true(share_send(table, SITE, START + 100) > 0);
}

static void takes_what_it_was_told_and_not_one_more(void **state)
{
    (void)state;
    tell(40, 3, 5, 2, START);
    assert_int_equal(sends_at(START), 40);
    for (int i = 0; i < 3; i++)
        assert_int_equal(share_login(table, SITE, START), LIMIT_NONE);
    assert_int_equal(share_login(table, SITE, START), LIMIT_SITE_LOGINS);
    for (int i = 0; i < 2; i++)
        assert_int_equal(share_login(table, SITE, START + 1000), LIMIT_NONE);
    assert_int_equal(share_login(table, SITE, START + 1000), LIMIT_SITE_CONNECTIONS);
    share_leave(table, SITE);
    assert_int_equal(share_login(table, SITE, START + 1000), LIMIT_NONE);
}

static void a_share_of_nothing_is_nothing(void **state)
{
    (void)state;
    tell(0, 0, 0, 50, START);
    assert_int_equal(share_send(table, SITE, START), 1000);
    assert_int_equal(share_login(table, SITE, START), LIMIT_SITE_CONNECTIONS);
}

static void tells_what_was_taken_and_what_was_refused(void **state)
{
    (void)state;
    tell(10, 5, 3, 2, START);
    for (int i = 0; i < 25; i++)
        (void)!share_send(table, SITE, START);
    for (int i = 0; i < 5; i++)
        (void)!share_login(table, SITE, START);
    struct share_use use = use_at(START + 1000);
    assert_int_equal(use.site, SITE);
    assert_int_equal(use.held.of[SHARE_SENDS], 10);
    assert_int_equal(use.wanted.of[SHARE_SENDS], 25);
    assert_int_equal(use.wanted.of[SHARE_LOGINS], 3); /* the others were refused as connections */
    assert_int_equal(use.connections, 3);
    assert_int_equal(use.wanted.of[SHARE_CONNECTIONS], 5);
    struct share_amounts used, held;
    share_fullest(table, &used, &held);
    assert_int_equal(used.of[SHARE_SENDS], 25);
    assert_int_equal(held.of[SHARE_SENDS], 10);
    use = use_at(START + 2000);
    assert_int_equal(use.wanted.of[SHARE_SENDS], 0);
    assert_int_equal(use.wanted.of[SHARE_CONNECTIONS], 3);
}

static void goes_by_an_even_part_while_it_hears_nothing(void **state)
{
    (void)state;
    tell(700, 10, 300, 4, START);
    assert_int_equal(use_at(START + SHARE_SILENCE_MS - 1).held.of[SHARE_SENDS], 700);
    struct share_use use = use_at(START + SHARE_SILENCE_MS);
    assert_int_equal(use.held.of[SHARE_SENDS], 200);
    assert_int_equal(use.held.of[SHARE_LOGINS], 10); /* less than an even part */
    assert_int_equal(use.held.of[SHARE_CONNECTIONS], 100);
    tell(700, 10, 300, 4, START + 9000);
    assert_int_equal(use_at(START + 9000).held.of[SHARE_SENDS], 700);
}

static void a_site_without_limits_takes_everything_and_is_told_to_nobody(void **state)
{
    (void)state;
    struct share_use use;
    uint32_t cursor = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(share_send(table, 3, START), 0);
        assert_int_equal(share_login(table, 3, START), LIMIT_NONE);
    }
    while (share_next(table, &cursor, START, &use))
        assert_int_not_equal(use.site, 3);
}

static void connections_from_before_the_limit_count(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++)
        assert_int_equal(share_login(table, 9, START), LIMIT_NONE);
    struct share_amounts limit = {{0, 0, 3200}};
    share_limit(table, 9, &limit, START);
    assert_int_equal(share_login(table, 9, START), LIMIT_SITE_CONNECTIONS);
    for (int i = 0; i < 11; i++)
        share_leave(table, 9);
    assert_int_equal(share_login(table, 9, START), LIMIT_NONE);
}

static void a_lower_limit_holds_at_once_and_a_higher_one_when_told(void **state)
{
    (void)state;
    tell(800, 80, 400, 1, START);
    struct share_amounts limit = {{20, 0, 400}};
    share_limit(table, SITE, &limit, START);
    assert_int_equal(sends_at(START + 5000), 20);
    limit.of[SHARE_SENDS] = 1000;
    share_limit(table, SITE, &limit, START + 5000);
    assert_int_equal(sends_at(START + 10000), 20);
    tell(1000, 0, 400, 1, START + 10000);
    assert_int_equal(sends_at(START + 15000), 1000);
}

static void a_share_of_long_ago_is_no_share(void **state)
{
    (void)state;
    tell(800, 80, 400, 1, START);
    assert_int_equal(sends_at(START + SHARE_IDLE_MS - 1), 800);
    assert_int_equal(sends_at(START + 3 * SHARE_IDLE_MS), 12);
}

static void asks_at_once_when_nothing_is_left_but_not_all_the_time(void **state)
{
    (void)state;
    struct share_use use;
    uint64_t now = START;
    assert_false(share_ask(table, now, &use));
    (void)!share_send(table, SITE, now); /* the first since it was idle */
    assert_true(share_ask(table, now, &use));
    assert_int_equal(use.held.of[SHARE_SENDS], 12);
    assert_int_equal(use.wanted.of[SHARE_SENDS], 1);
    assert_false(share_ask(table, now, &use));
    sends_at(now += SHARE_ASK_MS);
    assert_false(share_ask(table, now, &use)); /* the answer is awaited */
    tell(50, 5, 5, 2, now);
    sends_at(now += SHARE_ASK_MS);
    assert_true(share_ask(table, now, &use));
    assert_int_equal(use.held.of[SHARE_SENDS], 50);
    assert_true(use.wanted.of[SHARE_SENDS] > 12);
    tell(40, 5, 5, 2, now); /* less: said at once */
    assert_true(share_ask(table, now, &use));
    assert_int_equal(use.held.of[SHARE_SENDS], 40);
    tell(60, 5, 5, 2, now);
    (void)!share_send(table, SITE, now + SHARE_ASK_MS - 1);
    sends_at(now + SHARE_ASK_MS - 1);
    assert_false(share_ask(table, now + SHARE_ASK_MS - 1, &use)); /* too soon */
    sends_at(now += SHARE_ASK_MS);
    (void)use_at(now); /* its turn came first */
    assert_false(share_ask(table, now, &use));
}

static void a_site_that_nobody_uses_is_not_told_of(void **state)
{
    (void)state;
    struct share_use use;
    uint32_t cursor = 0;
    assert_true(share_next(table, &cursor, START + SHARE_IDLE_MS - 1, &use));
    cursor = 0;
    assert_false(share_next(table, &cursor, START + SHARE_IDLE_MS, &use));
    (void)!share_login(table, SITE, START + 50000);
    cursor = 0;
    assert_true(share_next(table, &cursor, START + 50000, &use));
    cursor = 0;
    assert_true(share_next(table, &cursor, START + 900000, &use)); /* it is still connected */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(takes_a_64th_before_it_was_told),
        TEST(takes_what_it_was_told_and_not_one_more),
        TEST(a_share_of_nothing_is_nothing),
        TEST(tells_what_was_taken_and_what_was_refused),
        TEST(goes_by_an_even_part_while_it_hears_nothing),
        TEST(a_site_without_limits_takes_everything_and_is_told_to_nobody),
        TEST(connections_from_before_the_limit_count),
        TEST(a_lower_limit_holds_at_once_and_a_higher_one_when_told),
        TEST(a_share_of_long_ago_is_no_share),
        TEST(asks_at_once_when_nothing_is_left_but_not_all_the_time),
        TEST(a_site_that_nobody_uses_is_not_told_of),
    };
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
