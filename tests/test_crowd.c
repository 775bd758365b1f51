/* Against two relays, each a process of its own. */
#include "bench/crowd.h"

#include "bench/relay.h"
#include "proto/reasons.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define USERS 16u
#define FIRST 100u
#define GONE 5u
#define TURN_NS UINT64_C(20000000)
#define LONG_S 60

struct server {
    pid_t pid;
    unsigned port;
};

struct stage {
    struct server servers[2];
    char list[64];
    struct crowd *crowd;
    struct hist *logins, *back;
    int wake_fd;
    uint32_t online[USERS + GONE], server[USERS + GONE], lost[USERS];
    uint32_t delivered;
};

static struct server start_server(void)
{
    struct server server;
    int out[2];
    assert_int_equal(pipe(out), 0);
    fflush(NULL);
    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        relay_run("127.0.0.1:0");
    }
    close(out[1]);
    FILE *file = fdopen(out[0], "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "ready %u", &server.port), 1);
    fclose(file);
    return server;
}

static void stop_server(struct server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static void on_deliver(void *ctx, uint32_t user, uint32_t device, const struct hot_deliver *deliver)
{
    struct stage *stage = ctx;
    assert_int_equal(user, FIRST + 1);
    assert_int_equal(device, 0);
    assert_int_equal(deliver->body.len, 3);
    stage->delivered++;
}

static void on_ack(void *ctx, uint32_t user, uint32_t tag, const struct hot_ack *ack)
{
    (void)ctx, (void)user, (void)tag, (void)ack;
}

static void on_nack(void *ctx, uint32_t user, uint32_t tag, const struct hot_nack *nack)
{
    (void)ctx, (void)user, (void)tag, (void)nack;
}

static void on_online(void *ctx, uint32_t user, uint32_t device, uint64_t gid, uint32_t server)
{
    struct stage *stage = ctx;
    (void)device;
    assert_int_equal(gid, user + 1);
    stage->online[user - FIRST]++;
    stage->server[user - FIRST] = server;
}

static void on_lost(void *ctx, uint32_t user, uint32_t device)
{
    struct stage *stage = ctx;
    (void)device;
    stage->lost[user - FIRST]++;
}

static struct stage *open_stage_for(const struct target *target, bool comes_back)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    for (int i = 0; i < 2; i++)
        stage->servers[i] = start_server();
    snprintf(stage->list, sizeof stage->list, "127.0.0.1:%u,tcp://127.0.0.1:%u",
             stage->servers[0].port, stage->servers[1].port);
    stage->logins = calloc(1, sizeof *stage->logins);
    stage->back = calloc(1, sizeof *stage->back);
    stage->wake_fd = eventfd(0, EFD_NONBLOCK);
    const struct crowd_options options = {
        .target = target,
        .servers = stage->list,
        .device = "bench",
        .first = FIRST,
        .users = USERS,
        .gone_first = FIRST + USERS,
        .gone = GONE,
        .devices = 1,
        .logins_at_once = 3,
        .wake_fd = stage->wake_fd,
        .comes_back = comes_back,
    };
    const struct crowd_events events = {on_deliver, on_ack, on_nack, on_online, on_lost};
    const struct crowd_hists hists = {stage->logins, stage->back};
    stage->crowd = crowd_new(&options, &events, &hists, stage);
    return stage;
}

static struct stage *open_stage(bool comes_back)
{
    return open_stage_for(target_find("relay"), comes_back);
}

static void close_stage(struct stage *stage)
{
    crowd_free(stage->crowd);
    for (int i = 0; i < 2; i++)
        stop_server(&stage->servers[i]);
    close(stage->wake_fd);
    free(stage->logins);
    free(stage->back);
    free(stage);
}

static void log_in(struct stage *stage)
{
    time_t until = time(NULL) + LONG_S;
    crowd_login(stage->crowd);
    while (!crowd_is_in(stage->crowd)) {
        crowd_turn(stage->crowd, TURN_NS);
        assert_true(time(NULL) < until);
    }
}

static void all_log_in_once_and_the_gone_ones_leave(void **state)
{
    (void)state;
    struct stage *stage = open_stage(false);
    log_in(stage);
    for (uint32_t i = 0; i < USERS + GONE; i++)
        assert_int_equal(stage->online[i], 1);
    assert_int_equal(crowd_counts(stage->crowd).online, USERS);
    assert_int_equal(crowd_counts(stage->crowd).logins, USERS + GONE);
    assert_int_equal(stage->logins->count, USERS + GONE);
    assert_string_equal(crowd_why(stage->crowd), "");
    close_stage(stage);
}

static void what_is_sent_arrives_at_its_user(void **state)
{
    (void)state;
    struct stage *stage = open_stage(false);
    const struct hot_send send = {
        .to = FIRST + 1 + 1, .class = HOT_EPHEMERAL, .body = span_text("yes")};
    time_t until = time(NULL) + LONG_S;
    log_in(stage);
    assert_true(crowd_is_online(stage->crowd, FIRST + 3, 0));
    crowd_send(stage->crowd, FIRST + 3, 0, &send, 1); /* of the same server: both are odd */
    while (stage->delivered == 0 && time(NULL) < until)
        crowd_turn(stage->crowd, TURN_NS);
    assert_int_equal(stage->delivered, 1);
    close_stage(stage);
}

static void who_loses_the_server_comes_back_on_another(void **state)
{
    (void)state;
    struct stage *stage = open_stage(true);
    time_t until = time(NULL) + LONG_S;
    log_in(stage);
    stop_server(&stage->servers[0]);
    while (crowd_counts(stage->crowd).back < USERS / 2) {
        crowd_turn(stage->crowd, TURN_NS);
        assert_true(time(NULL) < until);
    }
    assert_string_equal(crowd_why(stage->crowd), "");
    assert_int_equal(crowd_counts(stage->crowd).online, USERS);
    assert_int_equal(crowd_counts(stage->crowd).lost, USERS / 2);
    assert_int_equal(stage->back->count, USERS / 2);
    for (uint32_t i = 0; i < USERS; i++) {
        assert_int_equal(stage->server[i], 1);
        assert_int_equal(stage->online[i], 1 + stage->lost[i]);
    }
    close_stage(stage);
}

static void without_that_a_lost_connection_is_a_failure(void **state)
{
    (void)state;
    struct stage *stage = open_stage(false);
    time_t until = time(NULL) + LONG_S;
    log_in(stage);
    stop_server(&stage->servers[0]);
    while (!*crowd_why(stage->crowd) && time(NULL) < until)
        crowd_turn(stage->crowd, TURN_NS);
    assert_non_null(strstr(crowd_why(stage->crowd), "connection lost"));
    close_stage(stage);
}

static void restless_ones_log_in_again_and_again_until_they_rest(void **state)
{
    (void)state;
    struct stage *stage = open_stage(false);
    time_t until = time(NULL) + LONG_S;
    log_in(stage);
    crowd_come_and_go(stage->crowd);
    while (crowd_counts(stage->crowd).logins < 10 * USERS) {
        crowd_turn(stage->crowd, TURN_NS);
        assert_true(time(NULL) < until);
    }
    crowd_rest(stage->crowd);
    for (int i = 0; i < 20; i++)
        crowd_turn(stage->crowd, TURN_NS);
    uint64_t logins = crowd_counts(stage->crowd).logins;
    for (int i = 0; i < 5; i++)
        crowd_turn(stage->crowd, TURN_NS);
    assert_int_equal(crowd_counts(stage->crowd).logins, logins);
    assert_string_equal(crowd_why(stage->crowd), "");
    close_stage(stage);
}

static void all_leave_and_come_again_once(void **state)
{
    (void)state;
    struct stage *stage = open_stage(false);
    time_t until = time(NULL) + LONG_S;
    log_in(stage);
    uint64_t first = crowd_counts(stage->crowd).logins;
    crowd_again(stage->crowd);
    assert_false(crowd_is_in(stage->crowd));
    while (!crowd_is_in(stage->crowd)) {
        crowd_turn(stage->crowd, TURN_NS);
        assert_true(time(NULL) < until);
    }
    for (int i = 0; i < 20; i++)
        crowd_turn(stage->crowd, TURN_NS);
    assert_int_equal(crowd_counts(stage->crowd).logins, first + USERS);
    assert_string_equal(crowd_why(stage->crowd), "");
    close_stage(stage);
}

/* The relay's wire, but that the first welcomes are refusals. */
static uint32_t refusals_left;

static enum frame_status take_refusals(struct span *input, struct target_frame *frame)
{
    enum frame_status status = target_find("relay")->take(input, frame);
    if (status != FRAME_READY || frame->event != TARGET_WELCOME || refusals_left == 0)
        return status;
    refusals_left--;
    *frame = (struct target_frame){.event = TARGET_ENDED, .is.ended.reason = END_BUSY};
    return status;
}

static void who_is_refused_as_busy_tries_again(void **state)
{
    (void)state;
    struct target busy = *target_find("relay");
    busy.take = take_refusals;
    refusals_left = 5;
    struct stage *stage = open_stage_for(&busy, false);
    log_in(stage);
    assert_string_equal(crowd_why(stage->crowd), "");
    assert_int_equal(crowd_counts(stage->crowd).online, USERS);
    assert_int_equal(crowd_counts(stage->crowd).refused, 5);
    assert_int_equal(crowd_counts(stage->crowd).logins, USERS + GONE);
    for (uint32_t i = 0; i < USERS + GONE; i++)
        assert_int_equal(stage->online[i], 1);
    close_stage(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_log_in_once_and_the_gone_ones_leave),
        cmocka_unit_test(what_is_sent_arrives_at_its_user),
        cmocka_unit_test(who_loses_the_server_comes_back_on_another),
        cmocka_unit_test(who_is_refused_as_busy_tries_again),
        cmocka_unit_test(without_that_a_lost_connection_is_a_failure),
        cmocka_unit_test(restless_ones_log_in_again_and_again_until_they_rest),
        cmocka_unit_test(all_leave_and_come_again_once),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
