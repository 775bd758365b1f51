#include "bench/live.h"

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define NS_PER_S UINT64_C(1000000000)

static const struct live_style plain = {.width = 79};

static struct live_numbers some(void)
{
    return (struct live_numbers){
        .title = "unicast, lahar, confirmed",
        .phase = "measuring",
        .progress = 0.42,
        .left_ns = 3 * NS_PER_S,
        .now_ns = 8 * NS_PER_S,
        .users = 10000,
        .online = 10000,
        .logins = 10000,
        .sent = 500000,
        .delivered = 499000,
        .server_cpu_ns = 7 * NS_PER_S,
        .own_cpu_ns = 3 * NS_PER_S,
        .has_server_cpu = true,
    };
}

static struct live_numbers second_before(const struct live_numbers *now)
{
    struct live_numbers before = *now;
    before.now_ns -= NS_PER_S;
    before.sent -= 98200;
    before.delivered -= 1234;
    before.server_cpu_ns -= NS_PER_S / 2;
    before.own_cpu_ns -= NS_PER_S / 4;
    return before;
}

/* Columns of the longest line; *lines how many there are. Colours must be off. */
static uint32_t widest(const char *text, uint32_t *lines)
{
    uint32_t columns = 0, most = 0;
    *lines = 1;
    for (; *text; text++) {
        if (*text == '\n') {
            columns = 0;
            ++*lines;
        } else if (((unsigned char)*text & 0xc0) != 0x80) {
            columns++;
        }
        most = columns > most ? columns : most;
    }
    return most;
}

static void rates_are_of_the_time_between_two_looks(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    size_t len = live_text(text, &before, &now, NULL, &plain);
    assert_int_equal(len, strlen(text));
    assert_non_null(strstr(text, "sent 98.2k/s"));
    assert_non_null(strstr(text, "delivered 1234/s"));
    assert_non_null(strstr(text, "servers 50 %"));
    assert_non_null(strstr(text, "generator 25 %"));
    assert_non_null(strstr(text, "measuring  [########"));
    assert_non_null(strstr(text, " 42 %  3 s left"));
    assert_non_null(strstr(text, "broken 0  lost 0"));
}

static void messages_that_stand_still_are_shown_as_standing_still(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    before.delivered = now.delivered;
    live_text(text, &before, &now, NULL, &plain);
    assert_non_null(strstr(text, "delivered 0/s"));
}

static void two_looks_at_one_moment_divide_by_nothing(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some();
    live_text(text, &now, &now, NULL, &plain);
    assert_non_null(strstr(text, "sent 0/s"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
}

static void latencies_are_told_in_units_that_fit(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    struct hist *recent = calloc(1, sizeof *recent);
    assert_non_null(recent);
    for (int i = 0; i < 90; i++)
        hist_add(recent, 120 * UINT64_C(1000));
    for (int i = 0; i < 10; i++)
        hist_add(recent, 7700 * UINT64_C(1000));
    live_text(text, &before, &now, recent, &plain);
    assert_non_null(strstr(text, "p50 120 us"));
    assert_non_null(strstr(text, "p99 7.7 ms"));
    struct live_style utf8 = {.width = 79, .utf8 = true};
    live_text(text, &before, &now, recent, &utf8);
    assert_non_null(strstr(text, "p50 120 \u00b5s"));
    free(recent);
}

static void no_line_is_wider_than_the_terminal_and_there_are_at_most_three(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    struct hist *recent = calloc(1, sizeof *recent);
    assert_non_null(recent);
    hist_add(recent, 123456789);
    now.online = 9999;
    now.connections_lost = 1;
    now.lost = now.unknown = now.broken = 1234567;
    for (uint32_t width = 20; width < 220; width++) {
        for (int tenths = -1; tenths <= 12; tenths++) {
            uint32_t lines;
            now.progress = tenths / 10.0;
            struct live_style style = {.width = width, .utf8 = tenths % 2 == 0};
            live_text(text, &before, &now, recent, &style);
            assert_true(widest(text, &lines) <= width);
            assert_true(lines <= 3);
        }
    }
    free(recent);
}

static void a_broken_promise_is_seen_on_any_width(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    now.broken = 3;
    for (uint32_t width = 20; width < 220; width++) {
        struct live_style style = {.width = width};
        live_text(text, &before, &now, NULL, &style);
        assert_non_null(strstr(text, "broken 3"));
    }
}

static void a_terminal_without_width_is_survived(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    struct live_style none = {.width = 0, .colour = true, .utf8 = true};
    assert_true(live_text(text, &before, &now, NULL, &none) > 0);
    none.width = UINT32_MAX;
    assert_true(live_text(text, &before, &now, NULL, &none) < LIVE_TEXT_MAX);
}

static void colours_come_only_when_wanted(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = some(), before = second_before(&now);
    live_text(text, &before, &now, NULL, &plain);
    assert_null(strchr(text, '\033'));
    struct live_style colour = {.width = 79, .colour = true};
    live_text(text, &before, &now, NULL, &colour);
    assert_non_null(strchr(text, '\033'));
}

static void what_a_workload_does_not_have_is_not_shown(void **state)
{
    (void)state;
    char text[LIVE_TEXT_MAX];
    struct live_numbers now = {
        .phase = "logins", .progress = -1, .users = 100000, .online = 1500, .now_ns = NS_PER_S};
    struct live_numbers before = {.phase = "logins"};
    now.logins = 1500;
    live_text(text, &before, &now, NULL, &plain);
    assert_non_null(strstr(text, "online 1500 of 100000"));
    assert_non_null(strstr(text, "logins 1500/s"));
    assert_null(strstr(text, "sent"));
    assert_null(strstr(text, "lost"));
    assert_null(strstr(text, "servers"));
    assert_null(strstr(text, "p50"));
    assert_null(strstr(text, "["));
}

/* --- on a terminal ---------------------------------------------------------------------------- */

/* Runs `what` with a terminal as stderr and returns all that came out of it, ended by a 0. */
static char *on_a_terminal(void (*what)(void), int *status)
{
    static char seen[65536];
    struct winsize size = {.ws_row = 24, .ws_col = 100};
    int terminal;
    size_t len = 0;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    pid_t child = forkpty(&terminal, NULL, NULL, &size);
    assert_true(child >= 0);
    if (child == 0) {
        what();
        _exit(0);
    }
    for (ssize_t got; (got = read(terminal, seen + len, sizeof seen - 1 - len)) > 0;)
        len += (size_t)got;
    seen[len] = 0;
    close(terminal);
    assert_int_equal(waitpid(child, status, 0), child);
    return seen;
}

static void draw_three(struct live *live)
{
    struct live_numbers now = some();
    for (int i = 0; i < 3; i++) {
        now.now_ns += NS_PER_S;
        now.sent += 1000;
        live_show(live, &now);
        live_show(live, &now); /* too early: not drawn */
    }
}

static void run_and_close(void)
{
    struct live *live = live_open(true);
    draw_three(live);
    live_close(live);
}

static void run_and_die(void)
{
    draw_three(live_open(true));
    raise(SIGTERM);
}

static uint32_t count_of(const char *text, const char *part)
{
    uint32_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void the_terminal_is_left_as_it_was(void **state)
{
    (void)state;
    int status;
    const char *seen = on_a_terminal(run_and_close, &status);
    assert_int_equal(status, 0);
    assert_int_equal(count_of(seen, "measuring"), 3);
    assert_true(ends_with(seen, "\033[J\033[?25h"));
}

static void the_cursor_comes_back_before_a_signal_ends_the_process(void **state)
{
    (void)state;
    int status;
    const char *seen = on_a_terminal(run_and_die, &status);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_true(ends_with(seen, "\033[?25h"));
}

static void without_a_terminal_nothing_is_drawn(void **state)
{
    (void)state;
    struct live_numbers now = some();
    int keep = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(keep >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    struct live *live = live_open(true);
    dup2(keep, STDERR_FILENO);
    close(keep);
    close(nowhere);
    assert_null(live);
    live_show(live, &now);
    live_close(live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_of_the_time_between_two_looks),
        cmocka_unit_test(messages_that_stand_still_are_shown_as_standing_still),
        cmocka_unit_test(two_looks_at_one_moment_divide_by_nothing),
        cmocka_unit_test(latencies_are_told_in_units_that_fit),
        cmocka_unit_test(no_line_is_wider_than_the_terminal_and_there_are_at_most_three),
        cmocka_unit_test(a_broken_promise_is_seen_on_any_width),
        cmocka_unit_test(a_terminal_without_width_is_survived),
        cmocka_unit_test(colours_come_only_when_wanted),
        cmocka_unit_test(what_a_workload_does_not_have_is_not_shown),
        cmocka_unit_test(the_terminal_is_left_as_it_was),
        cmocka_unit_test(the_cursor_comes_back_before_a_signal_ends_the_process),
        cmocka_unit_test(without_a_terminal_nothing_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
