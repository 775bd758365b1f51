/* mint: what it makes is let in by those who judge it: keys_load for links, OpenSSL for
 * certificates and signatures; and it never overwrites what exists. */
#include "cli/mint.h"
#include "proto/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];
static char why[MINT_WHY_SIZE];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/lahar-mint-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

static const char *inside(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void link_keys_are_taken_by_all_three_roles(void **state)
{
    (void)state;
    struct keys keys;
    struct keys_error error;
    assert_true(mint_link_keys(directory, why));
    for (int role = 0; role < KEYS_ROLES; role++)
        assert_true(keys_load(directory, (enum keys_role)role, &keys, &error));
    assert_int_equal(keys.allowed_count[KEYS_ROUTER], 1);
}

static void secret_files_are_for_their_owner_alone(void **state)
{
    (void)state;
    struct stat stat_of;
    const char *const secrets[] = {"edge.key", "router.key", "admin.key", "game.key",
                                   "edge-tls.key"};
    assert_true(mint_link_keys(directory, why));
    assert_true(mint_site_key(directory, "game", why));
    assert_true(mint_tls(directory, (const char *const[]){"localhost"}, 1, why));
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        assert_int_equal(stat(inside(secrets[i]), &stat_of), 0);
        assert_int_equal(stat_of.st_mode & 0777, 0600);
    }
}

static void never_overwrites_a_key(void **state)
{
    (void)state;
    assert_true(mint_site_key(directory, "game", why));
    assert_false(mint_site_key(directory, "game", why));
    assert_non_null(strstr(why, "game.key"));
    assert_true(mint_link_keys(directory, why));
    assert_false(mint_link_keys(directory, why));
}

static void a_site_key_has_one_id_whichever_half_is_read(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    char kid_a[MINT_KID_SIZE], kid_b[MINT_KID_SIZE];
    assert_true(mint_site_key(directory, "game", why));
    assert_true(mint_public(inside("game.key"), a, kid_a, why));
    assert_true(mint_public(inside("game.pub"), b, kid_b, why));
    assert_memory_equal(a, b, 32);
    assert_string_equal(kid_a, kid_b);
    assert_int_equal(strlen(kid_a), 16);
}

static void a_token_has_three_parts_and_its_length(void **state)
{
    (void)state;
    char token[MINT_TOKEN_SIZE];
    size_t len, dots = 0;
    const struct mint_claims claims = {.site = "game",
                                       .user = "al\"ice",
                                       .cluster = "c",
                                       .issued_at = 1700000000,
                                       .lifetime_s = 60};
    assert_true(mint_site_key(directory, "game", why));
    assert_true(mint_token(inside("game.key"), &claims, token, &len, why));
    assert_int_equal(strlen(token), len);
    for (size_t i = 0; i < len; i++)
        dots += token[i] == '.';
    assert_int_equal(dots, 2);
    assert_null(strpbrk(token, "+/="));
}

static void says_which_file_is_no_key(void **state)
{
    (void)state;
    char token[MINT_TOKEN_SIZE];
    size_t len;
    const struct mint_claims claims = {.site = "game", .user = "u", .cluster = "c"};
    assert_false(mint_token(inside("nothing.key"), &claims, token, &len, why));
    assert_non_null(strstr(why, "nothing.key"));
    assert_true(mint_site_key(directory, "game", why));
    assert_false(mint_token(inside("game.pub"), &claims, token, &len, why));
    assert_non_null(strstr(why, "game.pub"));
}

static void a_token_that_would_be_too_long_is_refused(void **state)
{
    (void)state;
    char token[MINT_TOKEN_SIZE], user[1400];
    size_t len;
    memset(user, 'u', sizeof user - 1);
    user[sizeof user - 1] = 0;
    const struct mint_claims claims = {.site = "game", .user = user, .cluster = "c"};
    assert_true(mint_site_key(directory, "game", why));
    assert_false(mint_token(inside("game.key"), &claims, token, &len, why));
}

static void a_name_that_is_none_gets_no_certificate(void **state)
{
    (void)state;
    assert_false(mint_tls(directory, (const char *const[]){"a b"}, 1, why));
    assert_non_null(strstr(why, "a b"));
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(link_keys_are_taken_by_all_three_roles),
        CLAIM(secret_files_are_for_their_owner_alone),
        CLAIM(never_overwrites_a_key),
        CLAIM(a_site_key_has_one_id_whichever_half_is_read),
        CLAIM(a_token_has_three_parts_and_its_length),
        CLAIM(says_which_file_is_no_key),
        CLAIM(a_token_that_would_be_too_long_is_refused),
        CLAIM(a_name_that_is_none_gets_no_certificate),
    };
    return cmocka_run_group_tests_name("mint", tests, NULL, NULL);
}
