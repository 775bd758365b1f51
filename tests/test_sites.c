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

/* ---- origins ---- */

static void put_origins(struct sites *sites, const char *id, uint64_t revision, const char *text)
{
    struct push push;
    ProtobufCBinaryData origins[SITES_ORIGINS_MAX];
    char copy[1024];
    prepare(&push, id, revision, 1);
    (void)snprintf(copy, sizeof copy, "%s", text);
    push.site.origins = origins;
    char *rest;
    for (char *at = strtok_r(copy, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest))
        origins[push.site.n_origins++] = bytes_of(at);
    assert_true(sites_put(sites, &push.site));
}

static uint32_t origin(const struct sites *sites, const char *text)
{
    return sites_origin(sites, span_text(text));
}

static void an_origin_has_a_number_while_a_site_lists_it(void **state)
{
    struct sites *sites = *state;
    assert_int_equal(origin(sites, "https://a.example"), 0);
    put_origins(sites, "one", 1, "https://a.example https://b.example:8443");
    put_origins(sites, "two", 2, "https://a.example");
    uint32_t a = origin(sites, "https://a.example"), b = origin(sites, "https://b.example:8443");
    assert_true(a > 0 && b > 0 && a != b);
    put_origins(sites, "one", 3, "https://c.example");
    assert_int_equal(origin(sites, "https://a.example"), a);
    assert_int_equal(origin(sites, "https://b.example:8443"), 0);
    sites_remove(sites, span_text("two"), 4);
    assert_int_equal(origin(sites, "https://a.example"), 0);
    put_origins(sites, "two", 5, "https://a.example");
    assert_int_equal(origin(sites, "https://a.example"), a);
}

static void an_origin_is_admitted_by_the_sites_that_list_it(void **state)
{
    struct sites *sites = *state;
    put_origins(sites, "one", 1, "https://a.example");
    put_origins(sites, "two", 2, "https://b.example");
    put_origins(sites, "none", 3, "");
    uint32_t a = origin(sites, "https://a.example");
    assert_true(sites_origin_allowed(find(sites, "one"), a));
    assert_false(sites_origin_allowed(find(sites, "two"), a));
    assert_false(sites_origin_allowed(find(sites, "none"), a));
    assert_true(sites_origin_allowed(find(sites, "none"), 0)); /* no browser */
    put_origins(sites, "one", 4, "https://b.example");
    assert_false(sites_origin_allowed(find(sites, "one"), a));
}

static void a_star_admits_every_origin_to_its_site_only(void **state)
{
    struct sites *sites = *state;
    put_origins(sites, "shut", 1, "https://a.example");
    assert_int_equal(origin(sites, "https://x.example"), 0);
    put_origins(sites, "open", 2, "*");
    uint32_t x = origin(sites, "https://x.example"), a = origin(sites, "https://a.example");
    char longest[400];
    memset(longest, 'x', sizeof longest);
    assert_true(x > 0 && a > 0 && x != a);
    assert_int_equal(sites_origin(sites, span_of(longest, sizeof longest)), x);
    assert_true(sites_origin_allowed(find(sites, "open"), x));
    assert_true(sites_origin_allowed(find(sites, "open"), a));
    assert_false(sites_origin_allowed(find(sites, "shut"), x));
    put_origins(sites, "open", 3, "");
    assert_int_equal(origin(sites, "https://x.example"), 0);
    assert_false(sites_origin_allowed(find(sites, "open"), x));
}

static void case_and_a_slash_at_the_end_do_not_matter(void **state)
{
    struct sites *sites = *state;
    put_origins(sites, "one", 1, "HTTPS://A.Example/");
    assert_true(origin(sites, "https://a.example") > 0);
    assert_true(origin(sites, "https://A.EXAMPLE/") > 0);
    const char *others[] = {"http://a.example",
                            "https://a.example:444",
                            "https://a.example.b",
                            "https://a.example//",
                            "https://b.a.example",
                            "null",
                            "https://a.example/path",
                            "*",
                            ""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(origin(sites, others[i]), 0);
}

static void more_or_longer_origins_than_allowed_are_refused(void **state)
{
    struct sites *sites = *state;
    struct push push;
    ProtobufCBinaryData origins[SITES_ORIGINS_MAX + 1];
    char longest[SITES_ORIGIN_BYTES_MAX + 2] = {0};
    memset(longest, 'x', sizeof longest - 1);
    prepare(&push, "game", 6, 1);
    push.site.origins = origins;
    for (size_t i = 0; i <= SITES_ORIGINS_MAX; i++)
        origins[i] = bytes_of("https://a.example");
    push.site.n_origins = SITES_ORIGINS_MAX + 1;
    assert_false(sites_put(sites, &push.site));
    origins[0] = bytes_of(longest);
    push.site.n_origins = 1;
    assert_false(sites_put(sites, &push.site));
    origins[0].len--;
    assert_true(sites_put(sites, &push.site));
    assert_true(sites_origin(sites, span_of(longest, SITES_ORIGIN_BYTES_MAX)) > 0);
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
        TEST(an_origin_has_a_number_while_a_site_lists_it),
        TEST(an_origin_is_admitted_by_the_sites_that_list_it),
        TEST(a_star_admits_every_origin_to_its_site_only),
        TEST(case_and_a_slash_at_the_end_do_not_matter),
        TEST(more_or_longer_origins_than_allowed_are_refused),
    };
    return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
