/* sites: the newest revision wins, whoever pushes it and in whatever order. */
#include "edge/sites.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = sites_new();
    return 0;
}

static int tear_down(void **state)
{
    sites_free(*state);
    return 0;
}

static ProtobufCBinaryData bytes_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

struct push {
    Lahar__Link__V1__Site site;
    Lahar__Link__V1__SiteKey keys[SITES_KEYS_MAX + 1];
    Lahar__Link__V1__SiteKey *list[SITES_KEYS_MAX + 1];
    char kids[SITES_KEYS_MAX + 1][8];
    uint8_t ed25519[32];
};

static void prepare(struct push *push, const char *id, uint64_t revision, size_t keys)
{
    *push = (struct push){.site = LAHAR__LINK__V1__SITE__INIT};
    push->site.id = bytes_of(id);
    push->site.revision = revision;
    push->site.n_keys = keys;
    push->site.keys = push->list;
    for (size_t i = 0; i < SITES_KEYS_MAX + 1; i++) {
        push->keys[i] = (Lahar__Link__V1__SiteKey)LAHAR__LINK__V1__SITE_KEY__INIT;
        (void)snprintf(push->kids[i], sizeof push->kids[i], "k%zu", i);
        push->keys[i].kid = bytes_of(push->kids[i]);
        push->keys[i].ed25519 = (ProtobufCBinaryData){sizeof push->ed25519, push->ed25519};
        push->list[i] = &push->keys[i];
    }
}

static bool put(struct sites *sites, const char *id, uint64_t revision, size_t keys)
{
    struct push push;
    prepare(&push, id, revision, keys);
    return sites_put(sites, &push.site);
}

static const struct site *find(const struct sites *sites, const char *id)
{
    return sites_find(sites, span_text(id));
}

static void a_pushed_site_is_found_as_it_was_pushed(void **state)
{
    struct sites *sites = *state;
    struct push push;
    prepare(&push, "game", 7, 2);
    push.site.closed = true;
    push.site.not_before = 1234;
    memset(push.ed25519, 9, sizeof push.ed25519);
    assert_null(find(sites, "game"));
    assert_true(sites_put(sites, &push.site));
    const struct site *site = find(sites, "game");
    assert_non_null(site);
    assert_int_equal(site->id_len, 4);
    assert_memory_equal(site->id, "game", 4);
    assert_true(site->closed);
    assert_int_equal(site->revision, 7);
    assert_int_equal(site->not_before, 1234);
    assert_int_equal(site->key_count, 2);
    assert_int_equal(site->keys[1].kid_len, 2);
    assert_memory_equal(site->keys[1].kid, "k1", 2);
    assert_memory_equal(site->keys[1].ed25519, push.ed25519, 32);
    assert_null(find(sites, "gam"));
    assert_null(find(sites, "game2"));
    assert_null(find(sites, ""));
    assert_int_equal(sites_revision(sites), 7);
}

static void the_newer_revision_wins_in_either_order(void **state)
{
    struct sites *sites = *state;
    assert_true(put(sites, "game", 5, 1));
    assert_true(put(sites, "game", 6, 2));
    assert_int_equal(find(sites, "game")->key_count, 2);
    assert_true(put(sites, "game", 5, 1));
    assert_int_equal(find(sites, "game")->key_count, 2);
    assert_true(put(sites, "game", 6, 3));
    assert_int_equal(find(sites, "game")->key_count, 3);
}

static void a_removed_site_stays_removed_until_a_newer_push(void **state)
{
    struct sites *sites = *state;
    assert_true(put(sites, "game", 5, 1));
    sites_remove(sites, span_text("game"), 4);
    assert_non_null(find(sites, "game"));
    sites_remove(sites, span_text("game"), 8);
    assert_null(find(sites, "game"));
    assert_int_equal(sites_revision(sites), 8);
    assert_true(put(sites, "game", 5, 1));
    assert_null(find(sites, "game"));
    assert_true(put(sites, "game", 9, 1));
    assert_non_null(find(sites, "game"));
}

static void a_removal_may_come_before_the_push_that_it_undoes(void **state)
{
    struct sites *sites = *state;
    sites_remove(sites, span_text("game"), 8);
    assert_true(put(sites, "game", 5, 1));
    assert_null(find(sites, "game"));
    sites_remove(sites, span_text("Not Valid"), 10);
    assert_int_equal(sites_revision(sites), 8);
}

static void what_breaks_a_limit_is_refused_and_changes_nothing(void **state)
{
    struct sites *sites = *state;
    assert_true(put(sites, "game", 5, 1));
    assert_true(put(sites, "many", 5, SITES_KEYS_MAX));
    assert_false(put(sites, "game", 6, SITES_KEYS_MAX + 1));

    struct push push;
    prepare(&push, "game", 6, 2);
    push.keys[1].kid = bytes_of("");
    assert_false(sites_put(sites, &push.site));
    char long_kid[66] = {0};
    memset(long_kid, 'k', 65);
    push.keys[1].kid = bytes_of(long_kid);
    assert_false(sites_put(sites, &push.site));
    push.keys[1].kid = bytes_of("k0"); /* doubled */
    assert_false(sites_put(sites, &push.site));
    prepare(&push, "game", 6, 2);
    push.keys[1].ed25519.len = 31;
    assert_false(sites_put(sites, &push.site));

    const char *ids[] = {"",     "Game", "ga_me", "g me", "0123456789012345678901234567890123",
                         "g\xc3"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_false(put(sites, ids[i], 6, 1));
    assert_int_equal(sites_revision(sites), 5);
    assert_int_equal(find(sites, "game")->revision, 5);
}

static void knows_a_valid_id(void **state)
{
    (void)state;
    assert_true(sites_id_valid(span_text("a")));
    assert_true(sites_id_valid(span_text("01234567890123456789012345678-az")));
    assert_false(sites_id_valid(span_text("01234567890123456789012345678-azx")));
    assert_false(sites_id_valid(span_text("")));
    assert_false(sites_id_valid(span_of("a\0b", 3)));
}

static void holds_thousands(void **state)
{
    struct sites *sites = *state;
    char id[16];
    for (uint64_t i = 0; i < 5000; i++) {
        (void)snprintf(id, sizeof id, "site-%u", (unsigned)i);
        assert_true(put(sites, id, i + 1, 1));
    }
    for (uint64_t i = 0; i < 5000; i++) {
        (void)snprintf(id, sizeof id, "site-%u", (unsigned)i);
        assert_non_null(find(sites, id));
        assert_int_equal(find(sites, id)->revision, i + 1);
    }
    assert_int_equal(sites_revision(sites), 5000);
}

static void that_there_is_none_is_believed_for_ten_seconds(void **state)
{
    struct sites *sites = *state;
    struct span id = span_text("ghost");
    assert_false(sites_is_missing(sites, id, 1000));
    sites_missing(sites, id, 1000);
    assert_true(sites_is_missing(sites, id, 1000));
    assert_true(sites_is_missing(sites, id, 1000 + SITES_MISSING_MS - 1));
    assert_false(sites_is_missing(sites, id, 1000 + SITES_MISSING_MS));
    assert_false(sites_is_missing(sites, span_text("ghos"), 1000));
    sites_missing(sites, id, 20000);
    assert_true(sites_is_missing(sites, id, 20001));
    assert_false(sites_is_missing(sites, span_text(""), 20001));
}

static void a_push_ends_the_belief_that_there_is_none(void **state)
{
    struct sites *sites = *state;
    sites_missing(sites, span_text("game"), 1000);
    assert_true(put(sites, "game", 5, 1));
    assert_false(sites_is_missing(sites, span_text("game"), 1001));
}

static void of_those_missing_the_last_thousand_are_known(void **state)
{
    struct sites *sites = *state;
    char id[16];
    for (unsigned i = 0; i < 1025; i++) {
        (void)snprintf(id, sizeof id, "ghost-%u", i);
        sites_missing(sites, span_text(id), 1000);
    }
    assert_false(sites_is_missing(sites, span_text("ghost-0"), 1000));
    assert_true(sites_is_missing(sites, span_text("ghost-1"), 1000));
    assert_true(sites_is_missing(sites, span_text("ghost-1024"), 1000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pushed_site_is_found_as_it_was_pushed),
        TEST(the_newer_revision_wins_in_either_order),
        TEST(a_removed_site_stays_removed_until_a_newer_push),
        TEST(a_removal_may_come_before_the_push_that_it_undoes),
        TEST(what_breaks_a_limit_is_refused_and_changes_nothing),
        TEST(knows_a_valid_id),
        TEST(holds_thousands),
        TEST(that_there_is_none_is_believed_for_ten_seconds),
        TEST(a_push_ends_the_belief_that_there_is_none),
        TEST(of_those_missing_the_last_thousand_are_known),
    };
    return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
