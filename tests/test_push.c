/* push: edges hear of the map and of sites, at once, again when they are behind, and when they ask.
 */
#include "tests/shard_world.h"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

/* As another router writes it. */
static void write_site(const char *id, uint64_t revision)
{
    uint8_t packed[128];
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    char number[8];
    site.id = unpack_data(span_text(id));
    site.revision = revision;
    size_t len = lahar__link__v1__site__pack(&site, packed);
    struct fake_bytes name = fake_field(span_text("t:sites"), span_text(id));
    fake_set(&world.redis, fake_span(name), span_of(packed, len));
    free(name.at);
    snprintf(number, sizeof number, "%u", (unsigned)revision);
    fake_set_text(&world.redis, "t:sites_rev", number);
}

static uint64_t hear_site(uint32_t peer, const char *id)
{
    const Lahar__Link__V1__Site *site = TAKE(&world, peer, SITE, site);
    if (site == NULL)
        return 0;
    assert_true(span_equal(unpack_span(site->id), span_text(id)));
    return site->revision;
}

static void digest(uint32_t peer, uint64_t revision)
{
    SAY(&world, peer, DIGEST, digest, Digest, BASE(digest), .sites_revision = revision);
}

static void an_edge_hears_the_map_and_all_sites_when_it_comes_up(void **state)
{
    (void)state;
    write_site("game", 1);
    world_pass(&world, 1500);
    world_edge(&world, 0, 3, NULL, 0);
    assert_non_null(world_next(&world, 0, FRAME(MAP)));
    assert_int_equal(hear_site(0, "game"), 1);
    assert_int_equal(hear_site(0, "game"), 0);
}

/* It may have been away when that was done. */
static void an_edge_hears_of_removed_sites_when_it_comes_up(void **state)
{
    (void)state;
    const uint8_t end[] = {40, 7}; /* of a removed site only the revision is left */
    struct fake_bytes name = fake_field(span_text("t:sites"), span_text("old"));
    fake_set(&world.redis, fake_span(name), span_of(end, sizeof end));
    free(name.at);
    fake_set_text(&world.redis, "t:sites_rev", "7");
    world_pass(&world, 1500);
    world_edge(&world, 0, 3, NULL, 0);
    const Lahar__Link__V1__SiteGone *gone = TAKE(&world, 0, SITE_GONE, site_gone);
    assert_non_null(gone);
    assert_true(span_equal(unpack_span(gone->id), span_text("old")));
    assert_int_equal(gone->revision, 7);
}

static void a_change_reaches_all_edges_within_two_seconds(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    world_edge(&world, 1, 4, NULL, 0);
    write_site("game", 4);
    world_pass(&world, 2000);
    assert_int_equal(hear_site(0, "game"), 4);
    assert_int_equal(hear_site(1, "game"), 4);
    struct fake_bytes name = fake_field(span_text("t:sites"), span_text("game"));
    fake_remove(&world.redis, fake_span(name));
    free(name.at);
    fake_set_text(&world.redis, "t:sites_rev", "5");
    world_pass(&world, 2000);
    const Lahar__Link__V1__SiteGone *gone = TAKE(&world, 1, SITE_GONE, site_gone);
    assert_non_null(gone);
    assert_int_equal(gone->revision, 5);
    assert_true(span_equal(unpack_span(gone->id), span_text("game")));
}

static void an_edge_that_stays_behind_gets_them_again(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    write_site("game", 4);
    world_pass(&world, 2000);
    assert_int_equal(hear_site(0, "game"), 4);
    digest(0, 3);
    digest(0, 3);
    assert_int_equal(hear_site(0, "game"), 0);
    digest(0, 3);
    assert_int_equal(hear_site(0, "game"), 4);
    digest(0, 4);
    digest(0, 3);
    digest(0, 3);
    assert_int_equal(hear_site(0, "game"), 0);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SITES_AGAIN), 1);
}

static void an_edge_that_asks_on_and_on_gets_them_every_two_seconds_at_most(void **state)
{
    (void)state;
    world_edge(&world, 0, 3, NULL, 0);
    write_site("game", 4);
    world_pass(&world, 2000);
    assert_int_equal(hear_site(0, "game"), 4);
    for (uint32_t n = 0; n < 100; n++)
        digest(0, 3);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SITES_AGAIN), 1);
    world_pass(&world, 2000);
    digest(0, 3);
    assert_int_equal(world_metric(&world, ROUTER_METRIC_SITES_AGAIN), 2);
}

static void a_look_up_is_answered(void **state)
{
    (void)state;
    write_site("game", 4);
    world_pass(&world, 2000);
    world_edge(&world, 0, 3, NULL, 0);
    SAY(&world, 0, SITE_LOOKUP, site_lookup, SiteLookup, BASE(site_lookup), .req = 8,
        .id = unpack_data(span_text("game")));
    const Lahar__Link__V1__SiteFound *found = TAKE(&world, 0, SITE_FOUND, site_found);
    assert_true(found != NULL && found->req == 8 && !found->busy && found->site != NULL);
    for (uint32_t run = 0; run < 2; run++) {
        SAY(&world, 0, SITE_LOOKUP, site_lookup, SiteLookup, BASE(site_lookup), .req = 9,
            .id = unpack_data(span_text("nobody")));
        found = TAKE(&world, 0, SITE_FOUND, site_found);
        assert_true(found != NULL && found->site == NULL);
        assert_int_equal(found->busy, run); /* without Redis it may have come since */
        if (run == 0)
            world_redis_down(&world);
    }
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(an_edge_hears_the_map_and_all_sites_when_it_comes_up),
        WORLD(an_edge_hears_of_removed_sites_when_it_comes_up),
        WORLD(a_change_reaches_all_edges_within_two_seconds),
        WORLD(an_edge_that_stays_behind_gets_them_again),
        WORLD(an_edge_that_asks_on_and_on_gets_them_every_two_seconds_at_most),
        WORLD(a_look_up_is_answered),
    };
    return cmocka_run_group_tests_name("push", tests, NULL, NULL);
}
