/* keys: who may read what, and every mistake in a file of keys is told with its place. */
#include "proto/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The test vectors of ZeroMQ's own documentation, and the highest key that there is. */
#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KEY_MAX "%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0"

struct parsed {
    char keys[KEYS_ALLOWED_MAX][KEYS_Z85_SIZE];
    uint32_t count;
    struct keys_error error;
};

static bool parse(struct parsed *parsed, bool list, const char *text)
{
    return keys_parse(span_text(text), list, parsed->keys, &parsed->count, &parsed->error);
}

static void a_list_has_keys_comments_and_empty_lines(void **state)
{
    (void)state;
    struct parsed parsed;
    assert_true(parse(&parsed, true,
                      "# the edges\n\n" KEY_A "\n  # until Monday\r\n\t" KEY_B " \r\n" KEY_MAX));
    assert_int_equal(parsed.count, 3);
    assert_string_equal(parsed.keys[0], KEY_A);
    assert_string_equal(parsed.keys[1], KEY_B);
    assert_string_equal(parsed.keys[2], KEY_MAX);
    assert_true(parse(&parsed, true, "# nobody\n"));
    assert_int_equal(parsed.count, 0);
    assert_true(parse(&parsed, true, ""));
    assert_int_equal(parsed.count, 0);
}

static void a_secret_is_exactly_one_key(void **state)
{
    (void)state;
    struct parsed parsed;
    assert_true(parse(&parsed, false, KEY_A "\n"));
    assert_int_equal(parsed.count, 1);
    assert_string_equal(parsed.keys[0], KEY_A);
    assert_false(parse(&parsed, false, "# none\n"));
    assert_non_null(strstr(parsed.error.text, "lahar keygen"));
    assert_false(parse(&parsed, false, KEY_A "\n# and\n" KEY_B "\n"));
    assert_non_null(strstr(parsed.error.text, "line 3"));
}

static void what_is_no_key_is_told_with_its_line(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf",   /* 39 characters */
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf78", /* 41 */
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf~",  /* not of the alphabet */
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/ {H8]yf7",  /* a blank inside */
        "%nSc1%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0",  /* 2^32 */
        "%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0%nSc0#####",  /* more */
        "a secret that went into the wrong file",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        struct parsed parsed;
        snprintf(text, sizeof text, "%s\n\n%s\n", KEY_A, bad[i]);
        assert_false(parse(&parsed, true, text));
        assert_non_null(strstr(parsed.error.text, "line 3"));
        assert_null(strstr(parsed.error.text, bad[i])); /* it could be nearly a secret */
    }
    struct parsed parsed;
    assert_false(
        keys_parse(span_of(KEY_A "\0", 41), true, parsed.keys, &parsed.count, &parsed.error));
}

static void a_list_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static char text[(KEYS_ALLOWED_MAX + 1) * (KEYS_Z85_SIZE + 1)];
    struct parsed parsed;
    for (unsigned i = 0; i < KEYS_ALLOWED_MAX; i++)
        strcat(text, KEY_A "\n");
    assert_true(parse(&parsed, true, text));
    assert_int_equal(parsed.count, KEYS_ALLOWED_MAX);
    strcat(text, KEY_A "\n");
    assert_false(parse(&parsed, true, text));
    assert_non_null(strstr(parsed.error.text, "line 65"));
}

/* -------------------------------------------------------------------------------------------------
 */

static void write_file(const char *folder, const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void remove_file(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static const char *const files[] = {"edge.key",    "router.key",    "admin.key",
                                    "edges.allow", "routers.allow", "admins.allow"};

static int make_folder(void **state)
{
    char *folder = strdup("/tmp/test_keys.XXXXXX");
    *state = folder;
    if (folder == NULL || mkdtemp(folder) == NULL)
        return -1;
    for (size_t i = 0; i < 3; i++)
        write_file(folder, files[i], KEY_A "\n", 0600);
    write_file(folder, "edges.allow", KEY_A "\n" KEY_B "\n", 0644);
    write_file(folder, "routers.allow", KEY_B "\n", 0644);
    write_file(folder, "admins.allow", "# none yet\n", 0644);
    return 0;
}

static int remove_folder(void **state)
{
    for (size_t i = 0; i < 6; i++)
        remove_file(*state, files[i]);
    int failed = rmdir(*state);
    free(*state);
    return failed;
}

static void a_router_reads_its_secret_and_all_lists(void **state)
{
    struct keys keys;
    struct keys_error error;
    assert_true(keys_load(*state, KEYS_ROUTER, &keys, &error));
    assert_string_equal(keys.secret, KEY_A);
    assert_int_equal(keys.allowed_count[KEYS_EDGE], 2);
    assert_string_equal(keys.allowed[KEYS_EDGE][1], KEY_B);
    assert_int_equal(keys.allowed_count[KEYS_ROUTER], 1);
    assert_int_equal(keys.allowed_count[KEYS_ADMIN], 0);
}

static void an_edge_needs_only_its_secret_and_the_routers(void **state)
{
    struct keys keys;
    struct keys_error error;
    remove_file(*state, "router.key");
    remove_file(*state, "admin.key");
    remove_file(*state, "edges.allow");
    remove_file(*state, "admins.allow");
    assert_true(keys_load(*state, KEYS_EDGE, &keys, &error));
    assert_string_equal(keys.secret, KEY_A);
    assert_int_equal(keys.allowed_count[KEYS_ROUTER], 1);
    assert_int_equal(keys.allowed_count[KEYS_EDGE], 0);
    assert_false(keys_load(*state, KEYS_ADMIN, &keys, &error));
    assert_non_null(strstr(error.text, "/admin.key: "));
}

static void a_secret_that_others_may_read_is_refused(void **state)
{
    struct keys keys;
    struct keys_error error;
    const mode_t good[] = {0400, 0600, 0440, 0640}, bad[] = {0644, 0604, 0602, 0601};
    for (size_t i = 0; i < 4; i++) {
        write_file(*state, "edge.key", KEY_A, good[i]);
        assert_true(keys_load(*state, KEYS_EDGE, &keys, &error));
        write_file(*state, "edge.key", KEY_A, bad[i]);
        assert_false(keys_load(*state, KEYS_EDGE, &keys, &error));
        assert_non_null(strstr(error.text, "/edge.key: "));
        assert_non_null(strstr(error.text, "chmod"));
    }
}

static void an_error_names_the_file_the_line_and_what_to_do(void **state)
{
    struct keys keys;
    struct keys_error error;
    write_file(*state, "edges.allow", "# ours\nnonsense\n", 0644);
    assert_false(keys_load(*state, KEYS_ROUTER, &keys, &error));
    assert_non_null(strstr(error.text, "/edges.allow: line 2: "));
    assert_non_null(strstr(error.text, "lahar keygen"));
    remove_file(*state, "edges.allow");
    assert_false(keys_load(*state, KEYS_ROUTER, &keys, &error));
    assert_non_null(strstr(error.text, "/edges.allow: No such file"));
}

static void who_connects_must_know_a_router(void **state)
{
    struct keys keys;
    struct keys_error error;
    write_file(*state, "routers.allow", "# none\n", 0644);
    assert_true(keys_load(*state, KEYS_ROUTER, &keys, &error));
    assert_false(keys_load(*state, KEYS_EDGE, &keys, &error));
    assert_non_null(strstr(error.text, "/routers.allow: "));
}

static void a_fifo_or_a_huge_file_is_refused_at_once(void **state)
{
    struct keys keys;
    struct keys_error error;
    char path[256];
    snprintf(path, sizeof path, "%s/edge.key", (const char *)*state);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(keys_load(*state, KEYS_EDGE, &keys, &error));
    assert_non_null(strstr(error.text, "not a regular file"));
    unlink(path);
    write_file(*state, "edge.key", KEY_A "\n", 0600);
    assert_int_equal(truncate(path, 64 * 1024 - 1), 0);
    assert_false(keys_load(*state, KEYS_EDGE, &keys, &error));
    assert_non_null(strstr(error.text, "line 2"));
    assert_int_equal(truncate(path, 64 * 1024), 0);
    assert_false(keys_load(*state, KEYS_EDGE, &keys, &error));
    assert_non_null(strstr(error.text, "over 65535 bytes"));
}

static void roles_have_names(void **state)
{
    (void)state;
    assert_string_equal(keys_role_name(KEYS_EDGE), "edge");
    assert_string_equal(keys_role_name(KEYS_ROUTER), "router");
    assert_string_equal(keys_role_name(KEYS_ADMIN), "admin");
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_has_keys_comments_and_empty_lines),
        cmocka_unit_test(a_secret_is_exactly_one_key),
        cmocka_unit_test(what_is_no_key_is_told_with_its_line),
        cmocka_unit_test(a_list_that_is_too_long_is_refused),
        IN_FOLDER(a_router_reads_its_secret_and_all_lists),
        IN_FOLDER(an_edge_needs_only_its_secret_and_the_routers),
        IN_FOLDER(a_secret_that_others_may_read_is_refused),
        IN_FOLDER(an_error_names_the_file_the_line_and_what_to_do),
        IN_FOLDER(who_connects_must_know_a_router),
        IN_FOLDER(a_fifo_or_a_huge_file_is_refused_at_once),
        cmocka_unit_test(roles_have_names),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
