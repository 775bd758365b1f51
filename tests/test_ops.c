/* ops: asked over real sockets, by the polite and by the other kind.
 * threads: yes */
#include "base/ops.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 60000
#define CLIENTS_MAX 16
#define BIG_BYTES (16u << 20) /* more than the kernel keeps for a socket that nobody reads */

enum { SENDS, METRICS };

struct fixture {
    struct metrics_registry *registry;
    struct metrics *metrics;
    struct ops *ops;
    struct metric table[METRICS];
    char *big_help;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int dial(const struct fixture *f)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(ops_port(f->ops)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

static void say(int fd, const char *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

/* All that comes until the peer closes, as text to be freed; closes too. */
static char *hear(int fd)
{
    size_t len = 0, room = 65536;
    char *text = malloc(room + 1);
    for (ssize_t got = 1; got > 0; len += got > 0 ? (size_t)got : 0) {
        if (len == room)
            text = realloc(text, (room *= 2) + 1);
        assert_non_null(text);
        got = recv(fd, text + len, room - len, 0);
        if (got < 0)
            assert_int_equal(errno, ECONNRESET); /* not EAGAIN: we waited in vain */
    }
    text[len] = '\0';
    close(fd);
    return text;
}

static char *ask(const struct fixture *f, const char *request)
{
    int fd = dial(f);
    say(fd, request, strlen(request));
    return hear(fd);
}

/* Checks the status and that the body is as long as announced and has `part` in it. */
static void answers(const struct fixture *f, const char *request, int status, const char *part)
{
    char *text = ask(f, request);
    int got = 0;
    size_t len = 0;
    if (sscanf(text, "HTTP/1.1 %d ", &got) != 1 || got != status)
        fail_msg("to '%s' says '%.300s'", request, text);
    const char *body = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    assert_true(body && length);
    assert_int_equal(sscanf(length, "Content-Length: %zu", &len), 1);
    assert_non_null(strstr(text, "Connection: close\r\n"));
    body += 4;
    if (strncmp(request, "HEAD", 4) == 0)
        assert_string_equal(body, "");
    else
        assert_int_equal(strlen(body), len);
    if (!strstr(strncmp(request, "HEAD", 4) == 0 ? text : body, part))
        fail_msg("to '%s' says '%.300s'", request, text);
    free(text);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static int setup_with(void **state, const char *help)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->table[SENDS] = (struct metric){"t_sends_total", "", METRIC_COUNTER, help};
    f->registry = metrics_registry_new(f->table, METRICS);
    f->metrics = metrics_registry_worker(f->registry, "w0");
    f->ops = ops_new("127.0.0.1:0", f->registry, "lahar-test", "1.2.3");
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, "Sends.");
}

static int setup_big(void **state)
{
    char *help = malloc(BIG_BYTES + 1);
    memset(help, 'h', BIG_BYTES);
    help[BIG_BYTES] = '\0';
    setup_with(state, help);
    ((struct fixture *)*state)->big_help = help;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ops_free(f->ops);
    metrics_registry_free(f->registry);
    free(f->big_help);
    free(f);
    return 0;
}

/* --- claims ----------------------------------------------------------------------------------- */

static void metrics_and_version_are_served(void **state)
{
    struct fixture *f = *state;
    metrics_add(f->metrics, SENDS, 42);
    answers(f, GET("/metrics"), 200, "\nt_sends_total{worker=\"w0\"} 42\n");
    answers(f, GET("/metrics?name=x"), 200, "process_open_fds");
    answers(f, GET("/version"), 200, "{\"program\":\"lahar-test\",\"version\":\"1.2.3\"}\n");
    answers(f, "HEAD /version HTTP/1.0\r\n\r\n", 200, "application/json");
    char *page = ask(f, GET("/metrics"));
    assert_non_null(strstr(page, "Content-Type: text/plain; version=0.0.4"));
    free(page);
}

static void is_healthy_while_all_workers_beat(void **state)
{
    struct fixture *f = *state;
    struct ops_worker *a = ops_worker(f->ops, "w0"), *b = ops_worker(f->ops, "w1");
    answers(f, GET("/healthz"), 200, "ok");
    ops_beat(a, now_ms());
    ops_beat(b, now_ms() - 7000);
    answers(f, GET("/healthz"), 503, "w1: silent for 7");
    ops_beat(b, now_ms() - 3000);
    answers(f, GET("/healthz"), 200, "ok");
    ops_beat(a, now_ms() - 5001);
    answers(f, GET("/healthz"), 503, "w0: silent for 5");
    ops_beat(a, now_ms() + 1000); /* the beat may be newer than the look at the clock */
    answers(f, GET("/healthz"), 200, "ok");
}

static void is_ready_when_all_workers_are_and_says_why_not(void **state)
{
    struct fixture *f = *state;
    answers(f, GET("/readyz"), 503, "starting");
    struct ops_worker *a = ops_worker(f->ops, "w0"), *b = ops_worker(f->ops, "w1");
    answers(f, GET("/readyz"), 503, "w0: has not started\nw1: has not started\n");
    ops_ready(a, NULL);
    ops_ready(b, "waits for Redis");
    answers(f, GET("/readyz"), 503, "w1: waits for Redis\n");
    ops_ready(b, NULL);
    answers(f, GET("/readyz"), 200, "ok");
    ops_leaving(f->ops);
    answers(f, GET("/readyz"), 503, "leaving");
    answers(f, GET("/healthz"), 200, "ok");
}

static void refuses_what_it_does_not_serve(void **state)
{
    struct fixture *f = *state;
    answers(f, GET("/"), 404, "Not Found");
    answers(f, GET("/metricsx"), 404, "Not Found");
    answers(f, "POST /metrics HTTP/1.1\r\n\r\n", 405, "Method Not Allowed");
    answers(f, "GET\r\n\r\n", 400, "Bad Request");
    answers(f, "\r\n\r\n", 400, "Bad Request");
    answers(f, "GET /metrics\r\n\r\n", 400, "Bad Request");
    answers(f, "GET /metrics HTTP/2.0\r\n\r\n", 400, "Bad Request");
    answers(f, "GET http://x/metrics HTTP/1.1\r\n\r\n", 400, "Bad Request");
    answers(f, "GET  HTTP/1.1\r\n\r\n", 400, "Bad Request");
    int fd = dial(f);
    say(fd, "\0\0\xff\r\n\r\n", 7);
    char *text = hear(fd);
    assert_non_null(strstr(text, " 400 "));
    free(text);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    for (const char *c = GET("/version"); *c; c++)
        say(fd, c, 1);
    char *text = hear(fd);
    assert_non_null(strstr(text, "lahar-test"));
    free(text);
}

static void a_request_over_4_kib_is_refused_and_told_so(void **state)
{
    struct fixture *f = *state;
    char request[10000];
    memset(request, 'a', sizeof request);
    memcpy(request, "GET /", 5);
    int fd = dial(f);
    say(fd, request, sizeof request);
    char answer[1000];
    size_t len = 0;
    for (ssize_t got = 1; got > 0; len += (size_t)got) {
        got = recv(fd, answer + len, sizeof answer - 1 - len, 0);
        assert_true(got >= 0);
    }
    answer[len] = '\0';
    assert_non_null(strstr(answer, "HTTP/1.1 431 "));
    /* A peer that goes on talking is not reset, which could cost it the answer. */
    for (int i = 0; i < 5; i++) {
        say(fd, request, 100);
        usleep(20000);
    }
    close(fd);
}

static void silent_peers_do_not_keep_others_out_and_16_is_the_most(void **state)
{
    struct fixture *f = *state;
    enum { SILENT = 3 * CLIENTS_MAX };
    int silent[SILENT];
    for (int i = 0; i < SILENT; i++) {
        silent[i] = dial(f);
        say(silent[i], "GET", 3);
    }
    answers(f, GET("/version"), 200, "1.2.3");
    /* The oldest were dropped for the newer: of all, at most 16 are left. */
    int open = 0, closed = 0;
    struct pollfd polls[SILENT];
    for (int i = 0; i < SILENT; i++)
        polls[i] = (struct pollfd){.fd = silent[i], .events = POLLIN};
    uint64_t give_up_ms = now_ms() + PATIENCE_MS;
    while (closed < SILENT - CLIENTS_MAX && now_ms() < give_up_ms) {
        poll(polls, SILENT, 1000);
        closed = 0;
        for (int i = 0; i < SILENT; i++)
            closed += polls[i].revents != 0;
    }
    open = SILENT - closed;
    assert_true(open <= CLIENTS_MAX);
    assert_true(polls[0].revents != 0);
    for (int i = 0; i < SILENT; i++)
        close(silent[i]);
}

/* Sixteen that ask for a big page and do not read it. */
static void those_being_answered_are_not_replaced_but_have_5_s(void **state)
{
    struct fixture *f = *state;
    int slow[CLIENTS_MAX];
    uint64_t begin_ms = now_ms();
    for (int i = 0; i < CLIENTS_MAX; i++) {
        slow[i] = dial(f);
        say(slow[i], GET("/metrics"), strlen(GET("/metrics")));
        struct pollfd poll_in = {.fd = slow[i], .events = POLLIN};
        assert_int_equal(poll(&poll_in, 1, PATIENCE_MS), 1); /* its answer has begun */
    }
    if (now_ms() - begin_ms < 4000) { /* else the machine was too slow: the first may be gone */
        char *text = ask(f, GET("/version"));
        if (now_ms() - begin_ms < 4500)
            assert_string_equal(text, "");
        free(text);
    }
    /* After their time there is room again. */
    for (;;) {
        char *text = ask(f, GET("/version"));
        bool served = strstr(text, "1.2.3") != NULL;
        free(text);
        if (served)
            break;
        assert_true(now_ms() - begin_ms < PATIENCE_MS);
        usleep(100000);
    }
    assert_true(now_ms() - begin_ms >= 4900);
    for (int i = 0; i < CLIENTS_MAX; i++) {
        char *text = hear(slow[i]);
        if (i == 0) /* the others may still have had time, now that they are read */
            assert_true(strlen(text) < BIG_BYTES);
        free(text);
    }
}

static void a_big_page_arrives_whole_at_a_slow_reader(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(fd, GET("/metrics"), strlen(GET("/metrics")));
    usleep(300000);
    char *text = hear(fd);
    assert_true(strlen(text) > BIG_BYTES);
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
}

static void who_leaves_early_harms_nobody(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 50; i++) {
        int fd = dial(f);
        say(fd, GET("/metrics"), i % 2 ? strlen(GET("/metrics")) : 10);
        struct linger reset = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    answers(f, GET("/version"), 200, "1.2.3");
}

static void workers_report_while_others_ask(void **state)
{
    struct fixture *f = *state;
    struct ops_worker *worker = ops_worker(f->ops, "w0");
    for (int i = 0; i < 100; i++) {
        int fd = dial(f);
        say(fd, GET("/healthz"), strlen(GET("/healthz")));
        ops_beat(worker, now_ms());
        ops_ready(worker, i % 2 ? "waits" : NULL);
        metrics_add(f->metrics, SENDS, 1);
        char *text = hear(fd);
        assert_non_null(strstr(text, " 200 OK"));
        free(text);
    }
}

static void dies_with_what_to_change(const char *address, const char *part)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDERR_FILENO);
        ops_new(address, NULL, "x", "y");
        _exit(0);
    }
    close(pipes[1]);
    char text[1000] = "";
    size_t len = 0;
    for (ssize_t got = 1; got > 0 && len<sizeof text - 1; len += got> 0 ? (size_t)got : 0)
        got = read(pipes[0], text + len, sizeof text - 1 - len);
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    if (!strstr(text, part))
        fail_msg("says: %s", text);
}

static void an_address_that_cannot_be_bound_ends_the_start(void **state)
{
    struct fixture *f = *state;
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", ops_port(f->ops));
    dies_with_what_to_change(taken, "choose another address");
    dies_with_what_to_change("nonsense", "like 127.0.0.1:9100");
    dies_with_what_to_change("192.0.2.1:9100", "choose another address");
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BIG_CLAIM(name) cmocka_unit_test_setup_teardown(name, setup_big, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(metrics_and_version_are_served),
        CLAIM(is_healthy_while_all_workers_beat),
        CLAIM(is_ready_when_all_workers_are_and_says_why_not),
        CLAIM(refuses_what_it_does_not_serve),
        CLAIM(a_request_may_come_byte_by_byte),
        CLAIM(a_request_over_4_kib_is_refused_and_told_so),
        CLAIM(silent_peers_do_not_keep_others_out_and_16_is_the_most),
        BIG_CLAIM(those_being_answered_are_not_replaced_but_have_5_s),
        BIG_CLAIM(a_big_page_arrives_whole_at_a_slow_reader),
        CLAIM(who_leaves_early_harms_nobody),
        CLAIM(workers_report_while_others_ask),
        CLAIM(an_address_that_cannot_be_bound_ends_the_start),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
