/* sitebook: two of them, one Redis; what one writes the other hears of. needs: redis */
#include "proto/unpack.h"
#include "router/functions.h"
#include "router/sitebook.h"
#include "tests/real_redis.h"

struct desk {
    struct real_redis *server;
    struct redis *redis;
    struct sitebook *book;
    uint32_t changes, gone, written;
    char last_changed[33];
    uint64_t last_revision, last_token;
    const char *error;
    bool lose;
};

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct desk *desk = ctx;
    if (desk->book != NULL)
        sitebook_reply(desk->book, tag, desk->lose ? NULL : reply);
}

static bool command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct desk *desk = ctx;
    assert_true(tag >> 56 == 0);
    return redis_send(desk->redis, args, count, on_reply, desk, tag);
}

static void changed(void *ctx, struct span id, struct span packed, uint64_t revision)
{
    struct desk *desk = ctx;
    desk->changes++;
    desk->gone += packed.len == 0 ? 1 : 0;
    snprintf(desk->last_changed, sizeof desk->last_changed, "%.*s", (int)id.len,
             (const char *)id.at);
    desk->last_revision = revision;
}

static void written(void *ctx, uint64_t token, const char *error)
{
    struct desk *desk = ctx;
    desk->written++;
    desk->last_token = token;
    desk->error = error;
}

static const struct sitebook_actions actions = {command, changed, written};

static void ignore_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    (void)ctx, (void)tag, (void)reply;
}

static bool functions_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return redis_send(((struct desk *)ctx)->redis, args, count, ignore_reply, ctx, tag);
}

static void on_up(void *ctx)
{
    functions_begin(functions_command, ctx);
}

static void on_down(void *ctx, const char *why)
{
    (void)ctx, (void)why;
}

static void open_desk(struct desk *desk, struct real_redis *server)
{
    const struct redis_events events = {on_up, on_down};
    *desk = (struct desk){.server = server};
    desk->book = sitebook_new("t:", &actions, desk);
    desk->redis = real_redis_connect(server, &events, desk);
    AWAIT(server, redis_is_up(desk->redis) && redis_in_flight(desk->redis) == 0);
}

static void close_desk(struct desk *desk)
{
    sitebook_free(desk->book);
    desk->book = NULL;
}

static struct asker asker;

static void poll(struct desk *desk)
{
    sitebook_poll(desk->book, strtoull(ask(&asker, "GET t:sites_rev"), NULL, 10));
    AWAIT(desk->server, redis_in_flight(desk->redis) == 0);
}

static const char *put(struct desk *desk, const char *id, const char *name)
{
    static uint8_t key[32] = {1, 2, 3};
    Lahar__Link__V1__SiteKey one = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&one};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    one.kid = unpack_data(span_text("k1"));
    one.ed25519 = unpack_data(span_of(key, sizeof key));
    site.id = unpack_data(span_text(id));
    site.name = unpack_data(span_text(name));
    site.keys = keys;
    site.n_keys = 1;
    uint32_t before = desk->written;
    sitebook_put(desk->book, &site, 77);
    AWAIT(desk->server, desk->written == before + 1);
    assert_int_equal(desk->last_token, 77);
    return desk->error;
}

static const char *name_of(struct desk *desk, const char *id, uint64_t *revision)
{
    static char name[64];
    struct span packed = sitebook_find(desk->book, span_text(id));
    if (packed.len == 0)
        return NULL;
    Lahar__Link__V1__Site *site = lahar__link__v1__site__unpack(NULL, packed.len, packed.at);
    assert_non_null(site);
    snprintf(name, sizeof name, "%.*s", (int)site->name.len, (const char *)site->name.data);
    *revision = site->revision;
    lahar__link__v1__site__free_unpacked(site, NULL);
    return name;
}

static int setup(void **state)
{
    struct real_redis *server = calloc(1, sizeof *server);
    real_redis_open(server);
    asker_open(&asker, server);
    *state = server;
    return 0;
}

static int teardown(void **state)
{
    real_redis_close(*state);
    free(*state);
    return 0;
}

static struct desk a, b;

static void what_one_writes_the_other_hears_of(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    open_desk(&b, *state);
    assert_false(sitebook_ready(b.book));
    poll(&b);
    assert_true(sitebook_ready(b.book));
    assert_null(put(&a, "game", "A game"));
    assert_null(put(&a, "social", "A social site"));
    poll(&b);
    assert_int_equal(b.changes, 2);
    assert_string_equal(name_of(&b, "game", &revision), "A game");
    assert_int_equal(revision, 1);
    assert_string_equal(name_of(&b, "social", &revision), "A social site");
    assert_int_equal(revision, 2);
    assert_int_equal(sitebook_revision(b.book), 2);
    assert_null(put(&a, "game", "Another name"));
    poll(&b);
    assert_int_equal(b.changes, 3);
    assert_string_equal(b.last_changed, "game");
    assert_int_equal(b.last_revision, 3);
    assert_string_equal(name_of(&b, "game", &revision), "Another name");
    assert_int_equal(revision, 3);
    struct sitebook_site site;
    uint32_t cursor = 0, walked = 0;
    while (sitebook_walk(b.book, &cursor, &site))
        walked += site.packed.len > 0;
    assert_int_equal(walked, 2);
    close_desk(&a);
    close_desk(&b);
}

static void the_writer_knows_it_without_a_poll(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    poll(&a);
    assert_null(put(&a, "game", "A game"));
    AWAIT(a.server, a.changes == 1);
    assert_string_equal(name_of(&a, "game", &revision), "A game");
    close_desk(&a);
}

static void a_revision_of_several_bytes_is_written_right(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    ask(&asker, "SET t:sites_rev 9007199254");
    assert_null(put(&a, "game", "A game"));
    AWAIT(a.server, a.changes == 1);
    assert_non_null(name_of(&a, "game", &revision));
    assert_true(revision == UINT64_C(9007199255));
    close_desk(&a);
}

static void a_removed_site_is_told_as_gone(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    open_desk(&b, *state);
    assert_null(put(&a, "game", "A game"));
    poll(&b);
    sitebook_remove(a.book, span_text("game"), 5);
    AWAIT(a.server, a.written == 2);
    assert_null(a.error);
    poll(&b);
    assert_int_equal(b.gone, 1);
    assert_int_equal(b.last_revision, 2);
    assert_null(name_of(&b, "game", &revision));
    sitebook_remove(a.book, span_text("game"), 6);
    AWAIT(a.server, a.written == 3);
    assert_string_equal(a.error, "there is no such site");
    close_desk(&a);
    close_desk(&b);
}

static void what_is_wrong_with_a_site_is_said_and_nothing_written(void **state)
{
    static uint8_t key[32];
    Lahar__Link__V1__SiteKey one = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[9];
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    open_desk(&a, *state);
    one.kid = unpack_data(span_text("k"));
    one.ed25519 = unpack_data(span_of(key, sizeof key));
    for (size_t i = 0; i < 9; i++)
        keys[i] = &one;
    site.keys = keys;
    site.n_keys = 1;
    const char *bad[] = {"", "With Capitals", "0123456789012345678901234567890123", "a/b"};
    for (size_t i = 0; i < 4; i++) {
        site.id = unpack_data(span_text(bad[i]));
        sitebook_put(a.book, &site, i);
        assert_string_equal(a.error, "a site's id has 1 to 32 of a-z 0-9 -");
    }
    site.id = unpack_data(span_text("game"));
    site.n_keys = 0;
    sitebook_put(a.book, &site, 0);
    assert_string_equal(a.error, "a site has 1 to 8 keys");
    site.n_keys = 9;
    sitebook_put(a.book, &site, 0);
    assert_string_equal(a.error, "a site has 1 to 8 keys");
    site.n_keys = 2;
    sitebook_put(a.book, &site, 0);
    assert_string_equal(a.error, "each key of a site has its own kid");
    site.n_keys = 1;
    one.ed25519.len = 31;
    sitebook_put(a.book, &site, 0);
    assert_string_equal(a.error, "an Ed25519 public key has 32 bytes");
    one.ed25519.len = 32;
    one.kid.len = 0;
    sitebook_put(a.book, &site, 0);
    assert_string_equal(a.error, "a kid has 1 to 64 bytes");
    assert_int_equal(redis_in_flight(a.redis), 0);
    close_desk(&a);
}

static void says_what_is_known_of_a_change_when_redis_is_gone(void **state)
{
    open_desk(&a, *state);
    a.lose = true;
    assert_string_equal(put(&a, "game", "A game"),
                        "Redis went away; it is not known whether the change was made");
    a.lose = false;
    real_redis_kill(a.server);
    AWAIT(a.server, !redis_is_up(a.redis));
    assert_string_equal(put(&a, "game", "A game"), "Redis is away; nothing was changed");
    sitebook_poll(a.book, 1);
    assert_false(sitebook_ready(a.book));
    real_redis_start(a.server);
    AWAIT(a.server, redis_is_up(a.redis));
    poll(&a);
    assert_int_equal(a.changes, 1); /* it had been made */
    close_desk(&a);
}

static void sites_that_redis_has_lost_stay_and_new_ones_count(void **state)
{
    static struct desk one, other;
    uint64_t revision = 0;
    open_desk(&one, *state);
    open_desk(&other, *state);
    for (int i = 0; i < 5; i++)
        assert_null(put(&one, "game", i == 4 ? "last" : "earlier"));
    poll(&one);
    poll(&other);
    ask(&asker, "FLUSHALL");
    poll(&one);
    poll(&one);
    assert_int_equal(one.gone, 0);
    assert_string_equal(name_of(&one, "game", &revision), "last");
    assert_int_equal(revision, 5);
    assert_string_equal(ask(&asker, "GET t:sites_rev"), "1005");
    /* Before anybody has noticed it, too: a change is not taken for all there is. */
    assert_null(put(&one, "social", "another"));
    poll(&one);
    poll(&other);
    ask(&asker, "FLUSHALL");
    assert_non_null(strstr(put(&other, "game", "new"), "try again"));
    poll(&other);
    assert_null(put(&other, "game", "new"));
    poll(&one);
    assert_string_equal(name_of(&one, "game", &revision), "new");
    assert_int_equal(revision, 2007);
    assert_string_equal(name_of(&one, "social", &revision), "another");
    assert_int_equal(revision, 1006);
    assert_int_equal(one.gone, 0);
    sitebook_remove(other.book, span_text("social"), 5);
    AWAIT(other.server, other.written == 3);
    poll(&one);
    assert_int_equal(one.gone, 1);
    close_desk(&one);
    close_desk(&other);
}

static const char *kick(struct desk *desk, const char *id, uint64_t not_before)
{
    uint32_t before = desk->written;
    sitebook_not_before(desk->book, span_text(id), not_before, 78);
    AWAIT(desk->server, desk->written == before + 1);
    return desk->error;
}

static uint64_t not_before_of(struct desk *desk, const char *id)
{
    struct span packed = sitebook_find(desk->book, span_text(id));
    Lahar__Link__V1__Site *site = lahar__link__v1__site__unpack(NULL, packed.len, packed.at);
    assert_non_null(site);
    uint64_t not_before = site->not_before;
    lahar__link__v1__site__free_unpacked(site, NULL);
    return not_before;
}

static void a_kick_and_a_change_elsewhere_undo_nothing(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    open_desk(&b, *state);
    assert_null(put(&a, "game", "first"));
    poll(&b);
    /* Neither has heard of what the other does. */
    assert_null(put(&a, "game", "second"));
    assert_null(kick(&b, "game", 1000));
    poll(&a);
    poll(&b);
    assert_string_equal(name_of(&b, "game", &revision), "second");
    assert_int_equal(revision, 3);
    assert_int_equal(not_before_of(&a, "game"), 1000);
    assert_null(kick(&a, "game", 2000));
    assert_null(put(&b, "game", "third"));
    assert_null(kick(&b, "game", 1500));
    poll(&a);
    assert_string_equal(name_of(&a, "game", &revision), "third");
    assert_int_equal(not_before_of(&a, "game"), 2000);
    close_desk(&a);
    close_desk(&b);
}

static void kicks_do_not_make_a_record_grow(void **state)
{
    open_desk(&a, *state);
    poll(&a);
    assert_null(put(&a, "game", "a name"));
    assert_null(kick(&a, "game", 1000));
    poll(&a);
    size_t len = sitebook_find(a.book, span_text("game")).len;
    for (uint64_t i = 1; i < 50; i++)
        assert_null(kick(&a, "game", 1000 + i));
    poll(&a);
    assert_int_equal(not_before_of(&a, "game"), 1049);
    assert_int_equal(sitebook_find(a.book, span_text("game")).len, len);
    close_desk(&a);
}

static void a_kick_outlives_removal_and_loss(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    poll(&a);
    assert_string_equal(kick(&a, "game", 1000), "there is no such site");
    assert_null(put(&a, "game", "a name"));
    assert_null(kick(&a, "game", 1000));
    sitebook_remove(a.book, span_text("game"), 5);
    AWAIT(a.server, a.written == 4);
    assert_null(put(&a, "game", "a new name"));
    poll(&a);
    assert_int_equal(not_before_of(&a, "game"), 1000);
    ask(&asker, "FLUSHALL");
    poll(&a);
    assert_null(put(&a, "game", "after the loss"));
    poll(&a);
    assert_string_equal(name_of(&a, "game", &revision), "after the loss");
    assert_int_equal(not_before_of(&a, "game"), 1000);
    close_desk(&a);
}

/* Who comes later hears of a removal, too; also when Redis has lost everything in between. */
static void a_removal_is_remembered(void **state)
{
    struct sitebook_site site;
    uint64_t revision;
    open_desk(&a, *state);
    poll(&a);
    assert_null(put(&a, "game", "a name"));
    sitebook_remove(a.book, span_text("game"), 5);
    AWAIT(a.server, a.written == 2);
    assert_string_equal(kick(&a, "game", 1000), "there is no such site");
    poll(&a);
    ask(&asker, "FLUSHALL");
    poll(&a);
    open_desk(&b, *state);
    poll(&b);
    uint32_t cursor = 0;
    assert_true(sitebook_walk(b.book, &cursor, &site));
    assert_true(span_equal(site.id, span_text("game")));
    assert_int_equal(site.packed.len, 0);
    assert_int_equal(site.revision, 2);
    assert_false(sitebook_walk(b.book, &cursor, &site));
    assert_int_equal(sitebook_find(b.book, span_text("game")).len, 0);
    assert_null(put(&b, "game", "again"));
    poll(&a);
    assert_string_equal(name_of(&a, "game", &revision), "again");
    close_desk(&a);
    close_desk(&b);
}

/* One had heard of a change that the one who writes back had not. */
static void who_knew_more_than_what_is_written_back_notices(void **state)
{
    uint64_t revision;
    open_desk(&a, *state);
    open_desk(&b, *state);
    assert_null(put(&a, "game", "first"));
    poll(&a);
    poll(&b);
    assert_null(put(&a, "game", "second"));
    AWAIT(a.server, sitebook_revision(a.book) == 2);
    ask(&asker, "FLUSHALL");
    poll(&b);
    assert_null(put(&b, "game", "third"));
    poll(&a);
    assert_string_equal(name_of(&a, "game", &revision), "third");
    close_desk(&a);
    close_desk(&b);
}

static void what_is_no_site_is_passed_over(void **state)
{
    open_desk(&a, *state);
    ask(&asker, "HSET t:sites game notpacked");
    ask(&asker, "HSET t:sites BAD notpacked");
    /* One that no frame could hold: a site with a name of 64 KiB. */
    const char *eval =
        "EVAL return(redis.call('HSET','t:sites','big','\\10\\3big\\18\\128\\128\\4'.."
        "string.rep('n',65536))) 0";
    ask(&asker, eval);
    poll(&a);
    assert_true(sitebook_ready(a.book));
    assert_int_equal(a.changes, 0);
    close_desk(&a);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(what_one_writes_the_other_hears_of),
        REAL(the_writer_knows_it_without_a_poll),
        REAL(a_revision_of_several_bytes_is_written_right),
        REAL(a_removed_site_is_told_as_gone),
        REAL(what_is_wrong_with_a_site_is_said_and_nothing_written),
        REAL(says_what_is_known_of_a_change_when_redis_is_gone),
        REAL(what_is_no_site_is_passed_over),
        REAL(sites_that_redis_has_lost_stay_and_new_ones_count),
        REAL(a_kick_and_a_change_elsewhere_undo_nothing),
        REAL(kicks_do_not_make_a_record_grow),
        REAL(a_kick_outlives_removal_and_loss),
        REAL(a_removal_is_remembered),
        REAL(who_knew_more_than_what_is_written_back_notices),
    };
    return cmocka_run_group_tests_name("sitebook", tests, NULL, NULL);
}
