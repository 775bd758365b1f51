#include "bench/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define RESULT "{\"lahar_bench\":1,\"workload\":\"unicast\",\"target\":\"lahar\""

struct place {
    char dir[64];
    char *said; /* what went to `errors` */
    size_t len;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->dir, "/tmp/test_page.XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    assert_int_equal(rmdir(place->dir), 0);
    free(place->said);
    free(place);
    return 0;
}

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* The page of one file with `text`. */
static char *page_of_bytes(struct place *place, const char *text, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/results.jsonl", place->dir);
    write_file(path, text, len);
    const char *files[] = {path};
    free(place->said);
    FILE *errors = open_memstream(&place->said, &place->len);
    assert_non_null(errors);
    char *page = page_make(files, 1, errors);
    assert_int_equal(fclose(errors), 0);
    assert_int_equal(unlink(path), 0);
    return page;
}

static char *page_of(struct place *place, const char *text)
{
    return page_of_bytes(place, text, strlen(text));
}

static void assert_refused(struct place *place, const char *text, const char *why)
{
    char *page = page_of(place, text);
    assert_null(page);
    if (!strstr(place->said, why))
        fail_msg("'%s' does not say '%s'", place->said, why);
}

static void a_page_holds_all_results_and_asks_no_network(void **state)
{
    char *page = page_of(*state, RESULT ",\"users\":10}\n\n" RESULT ",\"users\":20}");
    assert_non_null(page);
    assert_string_equal(((struct place *)*state)->said, "");
    assert_true(strncmp(page, "<!doctype html>", 15) == 0);
    assert_non_null(strstr(page, "</html>"));
    assert_non_null(strstr(page, ">[" RESULT ",\"users\":10}," RESULT ",\"users\":20}]</script>"));
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_null(strstr(page, "@RESULTS@"));
    assert_null(strstr(page, "https://"));
    assert_null(strstr(page, "src=\""));
    assert_null(strstr(page, "url("));
    free(page);
}

static uint32_t count_of(const char *text, const char *part)
{
    uint32_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static void no_text_in_a_result_becomes_markup(void **state)
{
    char *plain = page_of(*state, RESULT "}");
    char *page = page_of(*state, RESULT ",\"label\":\"</script><script>alert(1)<!--\"}");
    assert_non_null(plain);
    assert_non_null(page);
    assert_non_null(strstr(page, "\"\\u003c/script>\\u003cscript>alert(1)\\u003c!--\""));
    assert_int_equal(count_of(page, "<script"), count_of(plain, "<script"));
    assert_int_equal(count_of(page, "</script"), count_of(plain, "</script"));
    assert_int_equal(count_of(page, "<!--"), count_of(plain, "<!--"));
    free(plain);
    free(page);
}

static void what_a_page_is_about_may_be_said(void **state)
{
    char *page = page_of(*state, "{\"lahar_bench_about\":1,\"title\":\"Ours\"}\n" RESULT "}\n");
    assert_non_null(page);
    assert_non_null(strstr(page, "\"title\":\"Ours\""));
    free(page);
}

static void what_is_bad_is_told_with_file_and_line(void **state)
{
    assert_refused(*state, RESULT "}\n" RESULT ",\n", "results.jsonl:2: no JSON: ");
    assert_refused(*state, "\n\n[1]\n", "results.jsonl:3: no JSON object");
    assert_refused(*state, "{}", "results.jsonl:1: no result");
    assert_refused(*state, "{\"lahar_bench\":2}", "results.jsonl:1: a result of another version");
    assert_refused(*state, "{\"lahar_bench\":1,\"workload\":\"idle\"}", "\"target\"");
    assert_refused(*state, "{\"lahar_bench\":1,\"workload\":1,\"target\":\"x\"}", "\"workload\"");
    assert_refused(*state, RESULT ",\"messages\":3}", "\"messages\" has to be an object");
    assert_refused(*state, RESULT ",\"users\":1,\"users\":2}", "results.jsonl:1: no JSON: ");
}

static void all_bad_lines_are_told(void **state)
{
    struct place *place = *state;
    assert_refused(place, "x\n" RESULT "}\ny\n", "results.jsonl:1: ");
    assert_non_null(strstr(place->said, "results.jsonl:3: "));
    assert_null(strstr(place->said, "results.jsonl:2: "));
}

static void nothing_is_no_page(void **state)
{
    assert_refused(*state, "", "no results");
    assert_refused(*state, "\n \n", "no results");
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    struct place *place = *state;
    char text[] = RESULT ",\"label\":\"a\0b\"}\n";
    assert_null(page_of_bytes(place, text, sizeof text - 1));
    assert_non_null(strstr(place->said, "results.jsonl:1: "));
    assert_refused(place, RESULT ",\"label\":\"\xff\"}", "results.jsonl:1: ");
}

static void a_file_that_is_not_there_is_named(void **state)
{
    struct place *place = *state;
    const char *files[] = {"/nowhere/results.jsonl"};
    FILE *errors = open_memstream(&place->said, &place->len);
    assert_non_null(errors);
    assert_null(page_make(files, 1, errors));
    assert_int_equal(fclose(errors), 0);
    assert_non_null(strstr(place->said, "/nowhere/results.jsonl: No such file"));
}

static void the_command_writes_the_whole_page_or_none(void **state)
{
    struct place *place = *state;
    char results[128], out[128], bad[128];
    snprintf(results, sizeof results, "%s/a.jsonl", place->dir);
    snprintf(bad, sizeof bad, "%s/b.jsonl", place->dir);
    snprintf(out, sizeof out, "%s/out.html", place->dir);
    write_file(results, RESULT "}\n", strlen(RESULT "}\n"));
    write_file(bad, "{", 1);
    char *good[] = {out, results}, *refused[] = {out, results, bad}, *swapped[] = {results, bad};
    struct stat found;
    assert_int_equal(page_run(3, refused), 2);
    assert_int_not_equal(stat(out, &found), 0);
    assert_int_equal(page_run(2, good), 0);
    assert_int_equal(stat(out, &found), 0);
    assert_true(found.st_size > 10000);
    /* A result file named first is not written over. */
    assert_int_equal(page_run(2, swapped), 1);
    assert_int_equal(stat(results, &found), 0);
    assert_int_equal(found.st_size, strlen(RESULT "}\n"));
    assert_int_equal(page_run(1, good), 1);
    assert_int_equal(unlink(results) + unlink(bad) + unlink(out), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_page_holds_all_results_and_asks_no_network),
        TEST(no_text_in_a_result_becomes_markup),
        TEST(what_a_page_is_about_may_be_said),
        TEST(what_is_bad_is_told_with_file_and_line),
        TEST(all_bad_lines_are_told),
        TEST(nothing_is_no_page),
        TEST(bytes_that_are_no_text_are_refused),
        TEST(a_file_that_is_not_there_is_named),
        TEST(the_command_writes_the_whole_page_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
