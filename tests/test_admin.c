/* admin: what the lahar command asks, and what it is told. */
#include "tests/shard_world.h"

#define ADMIN 5u

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    world_link_up(&world, ADMIN, KEYS_ADMIN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static void ask(Lahar__Link__V1__AdminRequest *request)
{
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = FRAME(ADMIN_REQUEST);
    frame.admin_request = request;
    world_say(&world, ADMIN, &frame);
}

static const Lahar__Link__V1__AdminReply *hear(void)
{
    return TAKE(&world, ADMIN, ADMIN_REPLY, admin_reply);
}

static void put_site(const char *id, size_t name_len)
{
    static uint8_t key[32], name[256];
    Lahar__Link__V1__SiteKey one = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&one};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    Lahar__Link__V1__AdminRequest request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    memset(name, 'n', sizeof name);
    one.kid = unpack_data(span_text("k1"));
    one.ed25519 = unpack_data(span_of(key, sizeof key));
    site.id = unpack_data(span_text(id));
    site.name = unpack_data(span_of(name, name_len));
    site.keys = keys;
    site.n_keys = 1;
    request.req = 7;
    request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_PUT;
    request.site_put = &site;
    ask(&request);
}

static const char *error_of(const Lahar__Link__V1__AdminReply *reply)
{
    static char text[128];
    assert_non_null(reply);
    snprintf(text, sizeof text, "%.*s", (int)reply->error.len, (const char *)reply->error.data);
    return text;
}

static void whereis_says_where_a_user_is(void **state)
{
    (void)state;
    uint64_t gid = world_gid(0);
    world_edge(&world, 0, 3, NULL, 0);
    world_edge(&world, 1, 4, NULL, 0);
    uint64_t first = world_bind(&world, 0, gid, 1), second = world_bind(&world, 1, gid, 2);
    world_link_down(&world, 1);
    Lahar__Link__V1__AdminRequest request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    request.req = 9;
    request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_WHEREIS;
    request.whereis = gid;
    ask(&request);
    const Lahar__Link__V1__AdminReply *reply = hear();
    assert_non_null(reply);
    assert_true(reply->req == 9 && reply->last && reply->n_sessions == 2);
    for (size_t i = 0; i < 2; i++) {
        const Lahar__Link__V1__Whereabouts *at = reply->sessions[i];
        bool is_first = at->session == first;
        assert_true(is_first || at->session == second);
        assert_int_equal(at->online, is_first);
        assert_int_equal(at->edge_number, is_first ? 3 : 4);
        assert_int_equal(at->device, is_first ? 1 : 2);
        assert_true(span_equal(unpack_span(at->edge), span_text(is_first ? "e1/0" : "e2/0")));
    }
    request.whereis = world_gid(1);
    ask(&request);
    reply = hear();
    assert_true(reply != NULL && reply->last && reply->n_sessions == 0);
    request.whereis = world_foreign_gid();
    ask(&request);
    assert_string_equal(error_of(hear()), "this shard does not own that GID");
    request.whereis = 0;
    ask(&request);
    assert_string_equal(error_of(hear()), "that is no GID");
}

static void the_map_comes_without_asking(void **state)
{
    (void)state;
    const struct heard *heard = world_next(&world, ADMIN, FRAME(MAP));
    assert_non_null(heard);
    struct slotmap *map = slotmap_unpack(fake_span(heard->bytes));
    assert_non_null(map);
    assert_int_equal(slotmap_shards(map), SHARDS);
    slotmap_free(map);
}

static void a_site_that_was_put_is_listed_and_can_be_removed(void **state)
{
    (void)state;
    Lahar__Link__V1__AdminRequest list = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    put_site("game", 3);
    assert_null(hear()); /* not before it is in Redis */
    world_turn(&world);
    assert_string_equal(error_of(hear()), "");
    world_pass(&world, 200);
    list.req = 8;
    list.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_LIST;
    list.site_list = true;
    ask(&list);
    const Lahar__Link__V1__AdminReply *reply = hear();
    assert_non_null(reply);
    assert_true(reply->last && reply->n_sites == 1 && reply->sites[0]->revision == 1);
    assert_true(span_equal(unpack_span(reply->sites[0]->id), span_text("game")));
    Lahar__Link__V1__AdminRequest remove = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    remove.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_REMOVE;
    remove.site_remove = unpack_data(span_text("game"));
    ask(&remove);
    world_turn(&world);
    assert_string_equal(error_of(hear()), "");
    ask(&remove);
    world_turn(&world);
    assert_string_equal(error_of(hear()), "there is no such site");
}

static void who_asks_for_sites_that_were_not_read_yet_is_told_so(void **state)
{
    (void)state;
    world_end(&world);
    world_begin(&world, 8); /* and Redis is away */
    world_link_up(&world, ADMIN, KEYS_ADMIN);
    Lahar__Link__V1__AdminRequest list = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    list.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_LIST;
    list.site_list = true;
    ask(&list);
    assert_string_equal(error_of(hear()), "the sites were not read yet; try again");
}

static void a_long_list_comes_in_several_replies(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 120; i++) {
        char id[16];
        snprintf(id, sizeof id, "site-%u", i);
        put_site(id, 250);
        world_turn(&world);
        assert_string_equal(error_of(hear()), "");
    }
    world_pass(&world, 2500);
    Lahar__Link__V1__AdminRequest list = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    list.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_LIST;
    list.site_list = true;
    ask(&list);
    size_t sites = 0, replies = 0;
    for (bool last = false; !last; replies++) {
        const Lahar__Link__V1__AdminReply *reply = hear();
        assert_non_null(reply);
        sites += reply->n_sites;
        last = reply->last;
    }
    assert_int_equal(sites, 120);
    assert_true(replies >= 2);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    put_site("NOT GOOD", 3);
    assert_string_equal(error_of(hear()), "a site's id has 1 to 32 of a-z 0-9 -");
    world_redis_down(&world);
    put_site("game", 3);
    assert_string_equal(error_of(hear()), "Redis is away; nothing was changed");
    Lahar__Link__V1__AdminRequest nothing = LAHAR__LINK__V1__ADMIN_REQUEST__INIT;
    ask(&nothing);
    assert_string_equal(error_of(hear()), "this router does not know that request");
}

static void a_change_whose_asker_has_gone_answers_nobody(void **state)
{
    (void)state;
    put_site("game", 3);
    world_link_down(&world, ADMIN);
    world_link_up(&world, ADMIN, KEYS_ADMIN); /* somebody else */
    world_turn(&world);
    assert_null(hear());
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(whereis_says_where_a_user_is),
        WORLD(the_map_comes_without_asking),
        WORLD(a_site_that_was_put_is_listed_and_can_be_removed),
        WORLD(who_asks_for_sites_that_were_not_read_yet_is_told_so),
        WORLD(a_long_list_comes_in_several_replies),
        WORLD(what_is_wrong_is_said),
        WORLD(a_change_whose_asker_has_gone_answers_nobody),
    };
    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
