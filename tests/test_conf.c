/* conf: what is right is read, and what is wrong is named by line and key. */
#include "base/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const struct conf_key keys[] = {
    {"workers", CONF_NUMBER, "4", 1, 64, "How many worker threads."},
    {"offset", CONF_NUMBER, "-5", INT64_MIN, INT64_MAX, "Any number."},
    {"queue_bytes_max", CONF_SIZE, "256KiB", 1024, 1 << 30, "The most that waits for one client."},
    {"verbose", CONF_FLAG, "false", 0, 0, "Says more."},
    {"name", CONF_TEXT, "e1", 1, 16,
     "The name of this edge, which stands in its logs and metrics "
     "and must differ from that of every other edge."},
    {"motto", CONF_TEXT, "say \"hi\": # \\", 0, 64, "Needs quotes."},
    {"listen", CONF_LIST, "tcp:[::]:9000, tls:*:9443", 1, 3, "Where clients come in."},
    {"link.heartbeat_ms", CONF_NUMBER, "500", 100, 60000, "How often a link says it is alive."},
    {"link.routers", CONF_LIST, "", 0, 4, "The routers."},
    {0},
};

static const struct conf_key one_must[] = {
    {"redis.address", CONF_TEXT, NULL, 1, 100, "Where Redis is."},
    {"shards", CONF_LIST, NULL, 2, 4, "The shards."},
    {"count", CONF_NUMBER, NULL, 3, 9, "How many."},
    {0},
};

static struct conf *load(const char *text, struct conf_error *error)
{
    return conf_load_text("lahar-edge", keys, "edge.yaml", span_text(text), error);
}

static struct conf *good(const char *text)
{
    struct conf_error error;
    struct conf *conf = load(text, &error);
    if (!conf)
        fail_msg("refused: %s", error.text);
    return conf;
}

/* Refuses `text` with an error that begins with `begin` and has `part` in it. */
static void refuses(const char *text, const char *begin, const char *part)
{
    struct conf_error error;
    struct conf *conf = load(text, &error);
    if (conf)
        fail_msg("took: %s", text);
    if (strncmp(error.text, begin, strlen(begin)) != 0 || !strstr(error.text, part))
        fail_msg("for '%s' says: %s", text, error.text);
}

static void an_empty_file_means_the_defaults(void **state)
{
    (void)state;
    const char *empty[] = {"", "\n", "# nothing\n", "---\n", "---\n...\n", "link:\n", "link: {}\n"};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        struct conf *conf = good(empty[i]);
        assert_int_equal(conf_number(conf, "workers"), 4);
        assert_int_equal(conf_number(conf, "offset"), -5);
        assert_int_equal(conf_number(conf, "queue_bytes_max"), 262144);
        assert_false(conf_flag(conf, "verbose"));
        assert_string_equal(conf_text(conf, "name"), "e1");
        assert_int_equal(conf_list_len(conf, "listen"), 2);
        assert_string_equal(conf_list_at(conf, "listen", 0), "tcp:[::]:9000");
        assert_string_equal(conf_list_at(conf, "listen", 1), "tls:*:9443");
        assert_int_equal(conf_list_len(conf, "link.routers"), 0);
        conf_free(conf);
    }
}

static void reads_every_type(void **state)
{
    (void)state;
    struct conf *conf = good("workers: 010\n"
                             "offset: -9223372036854775808\n"
                             "queue_bytes_max: 1 MiB\n"
                             "verbose: true\n"
                             "name: 'e 2'\n"
                             "motto: 42\n"
                             "listen:\n  - a\n  - \"b, c\"\n"
                             "link:\n  heartbeat_ms: 100\n  routers: [r1, r2]\n");
    assert_int_equal(conf_number(conf, "workers"), 10);
    assert_true(conf_number(conf, "offset") == INT64_MIN);
    assert_int_equal(conf_number(conf, "queue_bytes_max"), 1 << 20);
    assert_true(conf_flag(conf, "verbose"));
    assert_string_equal(conf_text(conf, "name"), "e 2");
    assert_string_equal(conf_text(conf, "motto"), "42");
    assert_int_equal(conf_list_len(conf, "listen"), 2);
    assert_string_equal(conf_list_at(conf, "listen", 1), "b, c");
    assert_int_equal(conf_number(conf, "link.heartbeat_ms"), 100);
    assert_string_equal(conf_list_at(conf, "link.routers", 1), "r2");
    conf_free(conf);
}

static void sizes_take_binary_units_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"2048", 2048}, {"2KiB", 2048}, {"3MiB", 3 << 20}, {"1GiB", 1 << 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "queue_bytes_max: %s\n", sizes[i].text);
        struct conf *conf = good(line);
        assert_int_equal(conf_number(conf, "queue_bytes_max"), sizes[i].bytes);
        conf_free(conf);
    }
    const char *bad[] = {"2K",    "2KB",     "2kib",
                         "-2KiB", "2 KiB x", "2  KiB",
                         "KiB",   "0x800",   "9223372036854775807GiB",
                         "1.5KiB"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "\nqueue_bytes_max: %s\n", bad[i]);
        refuses(line, "edge.yaml:2: queue_bytes_max: ", "is not a size");
    }
    refuses("queue_bytes_max: 1023", "edge.yaml:1: queue_bytes_max: ", "under the limit of 1KiB");
}

static void numbers_are_decimal_and_in_range(void **state)
{
    (void)state;
    const char *bad[] = {"0x10", "1e3", "1_000", "+4",   "4 5",
                         "four", "1.0", "--4",   "4KiB", "99999999999999999999",
                         "0o10"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "workers: %s\n", bad[i]);
        refuses(line, "edge.yaml:1: workers: ", "is not a number");
    }
    refuses("workers: 900", "edge.yaml:1: workers: 900 is over the limit of 64", "1 to 64");
    refuses("workers: 0", "edge.yaml:1: workers: 0 is under the limit of 1", "1 to 64");
    refuses("workers: -9223372036854775809", "edge.yaml:1: workers: ", "is not a number");
    refuses("workers: '4'", "edge.yaml:1: workers: ", "without quotes");
}

static void flags_are_true_or_false(void **state)
{
    (void)state;
    const char *bad[] = {"yes", "no", "on", "True", "1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "# comment\n\nverbose: %s\n", bad[i]);
        refuses(line, "edge.yaml:3: verbose: ", "true or false");
    }
}

static void a_wrong_shape_is_named_by_line_and_key(void **state)
{
    (void)state;
    refuses("workers: [1]", "edge.yaml:1: workers: ", "not a list");
    refuses("workers:\n  a: 1", "edge.yaml:2: workers: ", "not a section");
    refuses("listen: a", "edge.yaml:1: listen: ", "must be a list");
    refuses("listen:\n  - a\n  - [b]", "edge.yaml:3: listen: ", "one value");
    refuses("listen: [a, b, c, d]", "edge.yaml:1: listen: ", "more than 3");
    refuses("\nlisten: []", "edge.yaml:2: listen: ", "at least 1");
    refuses("link: 5", "edge.yaml:1: link: ", "section");
    refuses("link: [a]", "edge.yaml:1: link: ", "section");
    refuses("link:\n  heartbeat_ms:\n    deep: 1", "edge.yaml:3: link.heartbeat_ms: ", "section");
    refuses("- a\n- b", "edge.yaml:1: ", "key: value");
    refuses("just words", "edge.yaml:1: ", "key: value");
    refuses("? [a]\n: b", "edge.yaml:1: ", "plain word");
    refuses("---\nworkers: 1\n---\nworkers: 2", "edge.yaml:3: ", "second document");
    refuses("workers:\nverbose: true", "edge.yaml:1: workers: ", "no value");
    refuses("workers: ~", "edge.yaml:1: workers: ", "no value");
    refuses("name:", "edge.yaml:1: name: ", "no value");
    refuses("name: null", "edge.yaml:1: name: ", "no value");
}

static void unknown_keys_are_refused_with_a_guess(void **state)
{
    (void)state;
    refuses("wrokers: 1", "edge.yaml:1: wrokers: ", "did you mean workers?");
    refuses("workers: 1\nlink:\n  hartbeat_ms: 1",
            "edge.yaml:3: link.hartbeat_ms: ", "did you mean link.heartbeat_ms?");
    refuses("entirely_other: 1", "edge.yaml:1: entirely_other: ", "no such key");
    refuses("link.heartbeat_ms: 200", "edge.yaml:1: link.heartbeat_ms: ", "indented");
    refuses("\"a\\0b\": 1", "edge.yaml:1: a?b: ", "no such key");
    refuses("<<: {workers: 1}", "edge.yaml:1: <<: ", "no such key");
    char line[400];
    snprintf(line, sizeof line, "%0300d: 1", 0);
    refuses(line, "edge.yaml:1: 000", "no such key");
}

static void doubled_keys_are_refused(void **state)
{
    (void)state;
    refuses("workers: 1\nverbose: true\nworkers: 2", "edge.yaml:3: workers: ", "line 1");
    refuses("link:\n  heartbeat_ms: 100\n  heartbeat_ms: 100",
            "edge.yaml:3: link.heartbeat_ms: ", "line 2");
    refuses("link:\n  heartbeat_ms: 100\nlink:\n  routers: []", "edge.yaml:3: link: ", "line 1");
    refuses("link:\n\nlink:\n", "edge.yaml:3: link: ", "line 1");
}

static void anchors_aliases_and_tags_are_refused(void **state)
{
    (void)state;
    refuses("workers: &a 4", "edge.yaml:1: ", "'a'");
    refuses("workers: 4\noffset: *b", "edge.yaml:2: ", "'b'");
    refuses("workers: !!int 4", "edge.yaml:1: ", "tag");
    refuses("name: ! x", "edge.yaml:1: ", "tag");
    refuses("listen: &l [a]", "edge.yaml:1: ", "'l'");
    refuses("link: !x {}", "edge.yaml:1: ", "tag");
    refuses("&k workers: 4", "edge.yaml:1: ", "'k'");
}

static void what_is_not_yaml_is_named_by_line(void **state)
{
    (void)state;
    refuses("workers: 4\n\tname: x", "edge.yaml:2: ", "not YAML");
    refuses("workers: 4\nlisten: [", "edge.yaml:", "not YAML");
    refuses("workers: 4\nname: \"x", "edge.yaml:", "not YAML");
    refuses("workers: 4\nname: caf\xe9\n", "edge.yaml:2: ", "not YAML");
    refuses("workers: 4\nname: a: b\n", "edge.yaml:2: ", "not YAML");
}

static void texts_have_limits_and_no_control_characters(void **state)
{
    (void)state;
    refuses("name: ''", "edge.yaml:1: name: ", "at least 1");
    refuses("name: 01234567890123456", "edge.yaml:1: name: ", "over the limit of 16");
    refuses("name: \"a\\0b\"", "edge.yaml:1: name: ", "control character");
    refuses("name: |\n  two\n  lines\n", "edge.yaml:1: name: ", "control character");
    refuses("listen: [\"a\\n\"]", "edge.yaml:1: listen: ", "control character");
    refuses("listen: ['']", "edge.yaml:1: listen: ", "at least 1");
    struct conf *conf = good("name: 0123456789012345\nmotto: ''\n");
    assert_string_equal(conf_text(conf, "name"), "0123456789012345");
    assert_string_equal(conf_text(conf, "motto"), "");
    conf_free(conf);
}

static void the_environment_wins(void **state)
{
    (void)state;
    setenv("LAHAR_EDGE_WORKERS", "9", 1);
    setenv("LAHAR_EDGE_LINK_HEARTBEAT_MS", "300", 1);
    setenv("LAHAR_EDGE_LINK_ROUTERS", "r1 , r2", 1);
    setenv("LAHAR_EDGE_LISTEN", "x", 1);
    setenv("LAHAR_EDGE_MOTTO", "", 1);
    setenv("LAHAR_EDGE_CONFIG", "/etc/lahar/edge.yaml", 1);
    setenv("LAHAR_ROUTER_WORKERS", "nine", 1);
    struct conf *conf = good("workers: 5\nlisten: [a, b]\nmotto: x\nverbose: true\n");
    assert_int_equal(conf_number(conf, "workers"), 9);
    assert_int_equal(conf_number(conf, "link.heartbeat_ms"), 300);
    assert_int_equal(conf_list_len(conf, "link.routers"), 2);
    assert_string_equal(conf_list_at(conf, "link.routers", 0), "r1");
    assert_string_equal(conf_list_at(conf, "link.routers", 1), "r2");
    assert_int_equal(conf_list_len(conf, "listen"), 1);
    assert_string_equal(conf_text(conf, "motto"), "");
    assert_true(conf_flag(conf, "verbose"));
    conf_free(conf);
    struct conf_error error;
    conf = conf_load("lahar-edge", keys, NULL, &error);
    assert_non_null(conf);
    assert_int_equal(conf_number(conf, "workers"), 9);
    conf_free(conf);
}

static void errors_in_the_environment_name_the_variable(void **state)
{
    (void)state;
    setenv("LAHAR_EDGE_WORKERS", "900", 1);
    refuses("", "environment: LAHAR_EDGE_WORKERS: 900 is over the limit of 64", "1 to 64");
    setenv("LAHAR_EDGE_WORKERS", "", 1);
    refuses("", "environment: LAHAR_EDGE_WORKERS: ", "not a number");
    unsetenv("LAHAR_EDGE_WORKERS");
    setenv("LAHAR_EDGE_LISTEN", "a,,b", 1);
    refuses("", "environment: LAHAR_EDGE_LISTEN: ", "at least 1");
    unsetenv("LAHAR_EDGE_LISTEN");
    setenv("LAHAR_EDGE_WORKRES", "1", 1);
    refuses("", "environment: LAHAR_EDGE_WORKRES: ", "no key");
}

static int clear_environment(void **state)
{
    (void)state;
    return clearenv();
}

static void what_must_be_set_may_come_from_either(void **state)
{
    (void)state;
    struct conf_error error;
    const char *rest = "shards: [a, b]\ncount: 3\n";
    assert_null(conf_load_text("lahar-router", one_must, "r.yaml", span_text(rest), &error));
    assert_non_null(strstr(error.text, "r.yaml: redis.address: must be set"));
    assert_non_null(strstr(error.text, "LAHAR_ROUTER_REDIS_ADDRESS"));
    setenv("LAHAR_ROUTER_REDIS_ADDRESS", "unix:/x", 1);
    struct conf *conf = conf_load_text("lahar-router", one_must, "r.yaml", span_text(rest), &error);
    assert_non_null(conf);
    assert_string_equal(conf_text(conf, "redis.address"), "unix:/x");
    conf_free(conf);
}

/* Prints `table`, with the comment taken off all defaults if `bare`. */
static char *printed(const struct conf_key *table, bool bare)
{
    char *page = NULL;
    size_t len;
    FILE *out = open_memstream(&page, &len);
    conf_print("lahar-edge", table, out);
    fclose(out);
    for (char *c = page; bare && *c; c++)
        if (*c == '#' && c[1] != ' ' && (c == page || c[-1] == '\n' || c[-1] == ' '))
            memmove(c, c + 1, strlen(c));
    return page;
}

static void what_is_printed_is_taken_and_means_the_defaults(void **state)
{
    (void)state;
    for (int bare = 0; bare < 2; bare++) {
        char *page = printed(keys, bare);
        struct conf *conf = good(page);
        assert_int_equal(conf_number(conf, "workers"), 4);
        assert_int_equal(conf_number(conf, "offset"), -5);
        assert_string_equal(conf_text(conf, "motto"), "say \"hi\": # \\");
        assert_int_equal(conf_list_len(conf, "listen"), 2);
        assert_string_equal(conf_list_at(conf, "listen", 0), "tcp:[::]:9000");
        assert_string_equal(conf_list_at(conf, "listen", 1), "tls:*:9443");
        assert_int_equal(conf_number(conf, "link.heartbeat_ms"), 500);
        conf_free(conf);
        for (const struct conf_key *key = keys; key->name; key++) {
            const char *dot = strchr(key->name, '.');
            char line[64];
            snprintf(line, sizeof line, "\n%s%s%s: ", dot ? "  " : "", bare ? "" : "#",
                     dot ? dot + 1 : key->name);
            assert_non_null(strstr(page, line));
        }
        assert_non_null(strstr(page, "LAHAR_EDGE_LINK_HEARTBEAT_MS"));
        for (const char *line = page; *line; line += strcspn(line, "\n") + 1)
            assert_true(strcspn(line, "\n") <= 100);
        free(page);
    }
}

static void what_must_be_set_is_printed_with_a_stand_in_that_is_taken(void **state)
{
    (void)state;
    char *page = printed(one_must, false);
    struct conf_error error;
    struct conf *conf = conf_load_text("lahar-edge", one_must, "x", span_text(page), &error);
    assert_non_null(conf);
    assert_string_equal(conf_text(conf, "redis.address"), "change-me");
    assert_int_equal(conf_list_len(conf, "shards"), 2);
    conf_free(conf);
    free(page);
}

static void files_are_read_and_bad_ones_named(void **state)
{
    (void)state;
    char path[] = "/tmp/lahar-test-conf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "workers: 7\n", 11), 11);
    struct conf_error error;
    struct conf *conf = conf_load("lahar-edge", keys, path, &error);
    assert_non_null(conf);
    assert_int_equal(conf_number(conf, "workers"), 7);
    conf_free(conf);
    assert_int_equal(ftruncate(fd, CONF_FILE_BYTES_MAX + 1), 0);
    assert_null(conf_load("lahar-edge", keys, path, &error));
    assert_non_null(strstr(error.text, "over the limit"));
    close(fd);
    unlink(path);
    assert_null(conf_load("lahar-edge", keys, path, &error));
    assert_memory_equal(error.text, path, strlen(path));
    assert_non_null(strstr(error.text, "No such file"));
    assert_null(conf_load("lahar-edge", keys, "/", &error));
    assert_non_null(strstr(error.text, "cannot be read"));
}

static void a_long_path_leaves_room_for_what_is_wrong(void **state)
{
    (void)state;
    char path[2000], text[300];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    snprintf(text, sizeof text, "workers: %0250d", 0);
    struct conf_error error;
    assert_null(conf_load_text("lahar-edge", keys, path, span_text(text), &error));
    assert_non_null(strstr(error.text, "ppp:1: workers: "));
    assert_non_null(strstr(error.text, "is under the limit"));
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup(name, clear_environment)
    const struct CMUnitTest tests[] = {
        CLAIM(an_empty_file_means_the_defaults),
        CLAIM(reads_every_type),
        CLAIM(sizes_take_binary_units_only),
        CLAIM(numbers_are_decimal_and_in_range),
        CLAIM(flags_are_true_or_false),
        CLAIM(a_wrong_shape_is_named_by_line_and_key),
        CLAIM(unknown_keys_are_refused_with_a_guess),
        CLAIM(doubled_keys_are_refused),
        CLAIM(anchors_aliases_and_tags_are_refused),
        CLAIM(what_is_not_yaml_is_named_by_line),
        CLAIM(texts_have_limits_and_no_control_characters),
        CLAIM(the_environment_wins),
        CLAIM(errors_in_the_environment_name_the_variable),
        CLAIM(what_must_be_set_may_come_from_either),
        CLAIM(what_is_printed_is_taken_and_means_the_defaults),
        CLAIM(what_must_be_set_is_printed_with_a_stand_in_that_is_taken),
        CLAIM(files_are_read_and_bad_ones_named),
        CLAIM(a_long_path_leaves_room_for_what_is_wrong),
    };
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
