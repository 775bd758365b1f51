/* log: each line is one write of one JSON object, whatever bytes are logged. Threads: yes. */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Standard error goes to one end of a pair that keeps the borders of writes. */
struct capture {
    int read_fd, saved_fd;
    char line[8192];
};

static struct capture capture_begin(void)
{
    struct capture capture;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    fflush(stderr);
    capture.saved_fd = dup(STDERR_FILENO);
    capture.read_fd = fds[0];
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    return capture;
}

/* What one write wrote, or "" if there was none. */
static const char *capture_next(struct capture *capture)
{
    ssize_t len = read(capture->read_fd, capture->line, sizeof capture->line - 1);
    capture->line[len > 0 ? len : 0] = '\0';
    return capture->line;
}

static void capture_end(struct capture *capture)
{
    dup2(capture->saved_fd, STDERR_FILENO);
    close(capture->saved_fd);
    close(capture->read_fd);
}

static uint32_t count_lines(struct capture *capture)
{
    uint32_t count = 0;
    while (capture_next(capture)[0] != '\0')
        count++;
    return count;
}

/* What follows the time. */
static const char *after_time(const char *line)
{
    static const char head[] = "{\"time\":\"2026-01-31T12:00:00.000Z\"";
    assert_true(strlen(line) > sizeof head);
    for (size_t i = 0; i + 1 < sizeof head; i++)
        if (head[i] >= '0' && head[i] <= '9')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], head[i]);
    return line + sizeof head - 1;
}

static void a_line_is_one_write_of_one_object(void **state)
{
    (void)state;
    struct capture capture = capture_begin();
    log_open("lahar-edge");
    log_info("plain");
    const char *plain = after_time(capture_next(&capture));
    assert_string_equal(plain,
                        ",\"level\":\"info\",\"program\":\"lahar-edge\",\"event\":\"plain\"}\n");
    log_thread("e1/0");
    log_warn("link_up", LOG_TEXT("peer", "r\"1"), LOG_NUMBER("n", INT64_MIN),
             LOG_UNSIGNED("u", UINT64_MAX), LOG_HEX("h", 0xabc), LOG_SPAN("s", span_of("a\0b", 3)),
             LOG_TEXT("none", NULL));
    const char *line = after_time(capture_next(&capture));
    assert_string_equal(line, ",\"level\":\"warn\",\"program\":\"lahar-edge\",\"thread\":\"e1/0\","
                              "\"event\":\"link_up\",\"peer\":\"r\\\"1\","
                              "\"n\":-9223372036854775808,\"u\":18446744073709551615,"
                              "\"h\":\"0000000000000abc\",\"s\":\"a\\u0000b\",\"none\":\"\"}\n");
    assert_string_equal(capture_next(&capture), "");
    log_thread(NULL);
    capture_end(&capture);
}

static void writes_from_the_level_on(void **state)
{
    (void)state;
    struct capture capture = capture_begin();
    log_debug("too_low");
    assert_string_equal(capture_next(&capture), "");
    log_set_level(LOG_DEBUG);
    log_debug("low");
    assert_non_null(strstr(capture_next(&capture), "\"level\":\"debug\""));
    log_set_level(LOG_ERROR);
    log_warn("too_low_now");
    assert_string_equal(capture_next(&capture), "");
    log_error("high");
    assert_non_null(strstr(capture_next(&capture), "\"level\":\"error\""));
    log_set_level(LOG_INFO);
    capture_end(&capture);
}

static void knows_the_names_of_the_levels(void **state)
{
    (void)state;
    enum log_level level = LOG_DEBUG;
    assert_true(log_parse_level("error", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_true(log_parse_level("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_parse_level("Info", &level));
    assert_false(log_parse_level("", &level));
    assert_int_equal(level, LOG_DEBUG);
}

static void flood(struct capture *capture, uint32_t *lines)
{
    log_info("flood");
    if (capture_next(capture)[0] != '\0')
        ++*lines;
}

static void an_event_is_held_back_over_its_burst_and_the_rest_is_told(void **state)
{
    (void)state;
    struct capture capture = capture_begin();
    uint32_t lines = 0, asked = 0;
    while (asked - lines < 500) {
        flood(&capture, &lines);
        asked++;
    }
    assert_in_range(lines, LOG_BURST, 5 * LOG_BURST); /* more than one burst: a slow machine */
    log_info("another");
    assert_non_null(strstr(capture_next(&capture), "another"));

    /* Until a second has gone by since the burst. */
    for (uint32_t before = lines; lines == before;) {
        struct timespec rest = {.tv_nsec = 20000000};
        nanosleep(&rest, NULL);
        flood(&capture, &lines);
        asked++;
    }
    const char *suppressed = strstr(capture.line, "\"suppressed\":");
    assert_non_null(suppressed);
    uint64_t told = strtoull(suppressed + strlen("\"suppressed\":"), NULL, 10);
    assert_in_range(told, 500, asked - lines);
    flood(&capture, &lines);
    assert_null(strstr(capture.line, "suppressed"));
    capture_end(&capture);
}

static void *log_from_thread(void *ctx)
{
    for (int i = 0; i < 50; i++)
        log_info(ctx);
    return NULL;
}

static void each_thread_has_its_own_budget(void **state)
{
    (void)state;
    static char name[] = "threaded";
    struct capture capture = capture_begin();
    for (uint32_t i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, log_from_thread, name), 0);
        pthread_join(thread, NULL);
        assert_in_range(count_lines(&capture), LOG_BURST, 2 * LOG_BURST);
    }
    capture_end(&capture);
}

static void *log_many_events(void *ctx)
{
    char(*names)[8] = ctx;
    for (uint32_t i = 0; i < 300; i++)
        log_info(names[i]);
    return NULL;
}

static void more_events_than_can_be_told_apart_are_limited_together(void **state)
{
    (void)state;
    static char names[300][8];
    for (uint32_t i = 0; i < 300; i++)
        snprintf(names[i], sizeof names[i], "e%u", i);
    struct capture capture = capture_begin();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, log_many_events, names), 0);
    pthread_join(thread, NULL);
    assert_in_range(count_lines(&capture), 64, 64 + 5 * LOG_BURST);
    capture_end(&capture);
}

static void a_text_too_long_is_cut_between_characters_and_the_line_stays_whole(void **state)
{
    (void)state;
    static char text[20002];
    for (size_t i = 0; i < 20001; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    struct capture capture = capture_begin();
    log_info("long", LOG_TEXT("text", text), LOG_NUMBER("after", 7));
    const char *line = capture_next(&capture);
    size_t len = strlen(line);
    assert_in_range(len, 1000, 4096);
    assert_null(strstr(line, "\\u00")); /* no half of a character */
    assert_non_null(strstr(line, "\xac\",\"after\":7,\"truncated\":true}\n"));

    /* So much that even a number has no room. */
    struct log_field fields[401];
    for (uint32_t i = 0; i < 400; i++)
        fields[i] = LOG_NUMBER("number", INT64_MAX);
    fields[400].name = NULL;
    log_write(LOG_INFO, "many", fields);
    line = capture_next(&capture);
    len = strlen(line);
    assert_in_range(len, 3000, 4096);
    assert_non_null(strstr(line, "9223372036854775807,\"truncated\":true}\n"));
    capture_end(&capture);
}

static void check_json(const char *bytes, size_t len, const char *expected)
{
    char out[256];
    size_t size = log_json_string(out, sizeof out, span_of(bytes, len));
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(out, expected, size);
    /* With exactly that room it fits, with less it does not, and nothing is written beyond. */
    for (size_t room = 0; room <= size; room++) {
        memset(out, '#', sizeof out);
        assert_int_equal(log_json_string(out, room, span_of(bytes, len)), room == size ? size : 0);
        for (size_t i = room; i < sizeof out; i++)
            assert_int_equal(out[i], '#');
    }
}

#define CHECK_JSON(bytes, expected) check_json(bytes, sizeof(bytes) - 1, expected)

static void json_strings_are_escaped_where_they_must_be(void **state)
{
    (void)state;
    CHECK_JSON("", "\"\"");
    CHECK_JSON("plain / text", "\"plain / text\"");
    CHECK_JSON("\"\\", "\"\\\"\\\\\"");
    CHECK_JSON("\b\t\n\v\f\r", "\"\\b\\t\\n\\u000b\\f\\r\"");
    CHECK_JSON("\0\x01\x1f\x7f", "\"\\u0000\\u0001\\u001f\\u007f\"");
    CHECK_JSON("\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x8b", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x8b\"");
    CHECK_JSON("\xc2\x9b\xc2\xa0", "\"\\u009b\xc2\xa0\""); /* C1 controls move cursors too */
}

static void json_strings_show_bytes_that_are_no_utf8(void **state)
{
    (void)state;
    CHECK_JSON("\xff", "\"\\u00ff\"");
    CHECK_JSON("a\x80z", "\"a\\u0080z\"");
    CHECK_JSON("\xc3", "\"\\u00c3\"");
    check_json("\xc3\xa4", 1, "\"\\u00c3\""); /* what lies beyond is not ours */
    CHECK_JSON("\xc3(", "\"\\u00c3(\"");
    CHECK_JSON("\xe2\x82", "\"\\u00e2\\u0082\"");
    CHECK_JSON("\xc0\xaf", "\"\\u00c0\\u00af\"");                            /* too long */
    CHECK_JSON("\xe0\x80\xaf", "\"\\u00e0\\u0080\\u00af\"");                 /* too long */
    CHECK_JSON("\xf0\x80\x80\xaf", "\"\\u00f0\\u0080\\u0080\\u00af\"");      /* too long */
    CHECK_JSON("\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\"");                 /* surrogate */
    CHECK_JSON("\xf4\x90\x80\x80", "\"\\u00f4\\u0090\\u0080\\u0080\"");      /* too high */
    CHECK_JSON("\xf0\x9f\x8c\xc3\xa4", "\"\\u00f0\\u009f\\u008c\xc3\xa4\""); /* cut short */
    CHECK_JSON("\xed\x9f\xbf\xee\x80\x80", "\"\xed\x9f\xbf\xee\x80\x80\"");  /* its borders */
    CHECK_JSON("\xf4\x8f\xbf\xbf\xef\xbf\xbf", "\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\""); /* highest */
}

static void a_bad_start_says_why_and_exits_with_1(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        log_open("lahar-router");
        log_die("port %d is taken; stop what uses it", 7000);
    }
    close(fds[1]);
    char text[256] = {0};
    size_t len = 0;
    for (ssize_t got;
         len < sizeof text - 1 && (got = read(fds[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)got;
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_string_equal(text, "lahar-router: port 7000 is taken; stop what uses it\n");
    close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_write_of_one_object),
        cmocka_unit_test(writes_from_the_level_on),
        cmocka_unit_test(knows_the_names_of_the_levels),
        cmocka_unit_test(an_event_is_held_back_over_its_burst_and_the_rest_is_told),
        cmocka_unit_test(each_thread_has_its_own_budget),
        cmocka_unit_test(more_events_than_can_be_told_apart_are_limited_together),
        cmocka_unit_test(a_text_too_long_is_cut_between_characters_and_the_line_stays_whole),
        cmocka_unit_test(json_strings_are_escaped_where_they_must_be),
        cmocka_unit_test(json_strings_show_bytes_that_are_no_utf8),
        cmocka_unit_test(a_bad_start_says_why_and_exits_with_1),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
