/* The workload as a whole against a server that errs on purpose: what the referee must see. The
 * server speaks the relay's wire, in a process of its own. */
#include "bench/workload.h"

#include "proto/frame.h"
#include "proto/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define USERS 8u
#define FAULT_AT 100 /* the frame that it happens to, counted from the first one */

enum fault {
    FAULT_NONE,
    FAULT_LOSE,
    FAULT_DOUBLE,
    FAULT_ALTER,
    FAULT_MISROUTE,
    FAULT_FORGE,
    FAULT_HANG_UP
};

struct peer {
    int fd;
    uint32_t number;
    uint8_t in[4096];
    size_t len;
};

struct server {
    struct peer peers[USERS + 1];
    uint32_t count;
    enum fault fault;
    int frames;
};

/* --- the server ------------------------------------------------------------------------------- */

static void give(struct server *server, uint64_t to, uint64_t from, struct span body)
{
    uint8_t frame[1024], *at = wire_write_varint(frame, 8 + body.len);
    at = wire_write_fixed64(at, from);
    if (body.len > 0)
        memcpy(at, body.at, body.len);
    for (uint32_t i = 0; i < server->count; i++)
        if (server->peers[i].number == to &&
            write(server->peers[i].fd, frame, (size_t)(at - frame) + body.len) < 0)
            _exit(1);
}

static void pass(struct server *server, const struct peer *from, uint64_t to, struct span body)
{
    uint8_t changed[1024];
    enum fault fault = ++server->frames == FAULT_AT ? server->fault : FAULT_NONE;
    switch (fault) {
    case FAULT_LOSE:
        return;
    case FAULT_DOUBLE:
        give(server, to, from->number, body);
        break;
    case FAULT_ALTER:
        memcpy(changed, body.at, body.len);
        changed[body.len - 1] ^= 1;
        body.at = changed;
        break;
    case FAULT_MISROUTE:
        to = to % USERS + 1;
        break;
    case FAULT_FORGE:
        give(server, to, from->number % USERS + 1, body);
        return;
    case FAULT_HANG_UP:
        _exit(0);
    case FAULT_NONE:
        break;
    }
    give(server, to, from->number, body);
}

static void hear(struct server *server, struct peer *peer)
{
    ssize_t got = read(peer->fd, peer->in + peer->len, sizeof peer->in - peer->len);
    if (got <= 0)
        _exit(0); /* the run is over */
    peer->len += (size_t)got;
    struct span rest = span_of(peer->in, peer->len), body;
    while (frame_take(&rest, 1024, &body) == FRAME_READY) {
        uint64_t address;
        if (wire_read_fixed64(body.at, body.at + body.len, &address) == NULL)
            _exit(1);
        if (peer->number == 0) {
            peer->number = (uint32_t)address;
            give(server, address, address, (struct span){0});
        } else {
            pass(server, peer, address, span_after(body, 8));
        }
    }
    memmove(peer->in, rest.at, rest.len);
    peer->len = rest.len;
}

static void serve(int listening, enum fault fault)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        _exit(1);
    server->fault = fault;
    for (;;) {
        struct pollfd ready[USERS + 1];
        for (uint32_t i = 0; i < server->count; i++)
            ready[i] = (struct pollfd){server->peers[i].fd, POLLIN, 0};
        ready[server->count] = (struct pollfd){listening, POLLIN, 0};
        uint32_t count = server->count;
        if (poll(ready, count + 1, 30000) <= 0)
            _exit(1);
        if (ready[count].revents && count < USERS)
            server->peers[server->count++].fd = accept(listening, NULL, NULL);
        for (uint32_t i = 0; i < count; i++)
            if (ready[i].revents)
                hear(server, &server->peers[i]);
    }
}

/* --- runs ------------------------------------------------------------------------------------- */

static enum workload_end run_against(enum fault fault, uint32_t processes, double rate)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        serve(fd, fault);
    close(fd);
    char server[32];
    snprintf(server, sizeof server, "127.0.0.1:%u", ntohs(address.sin_port));
    const struct options options = {.workload = "unicast",
                                    .target = target_find("relay"),
                                    .servers = server,
                                    .device = "bench",
                                    .message_class = HOT_EPHEMERAL,
                                    .users = USERS,
                                    .label = "",
                                    .devices = 1,
                                    .processes = processes,
                                    .rate = rate,
                                    .in_flight = 2,
                                    .bytes = 100,
                                    .seconds = 1,
                                    .logins_at_once = 4,
                                    .login_timeout = 30};
    enum workload_end end = workload_run(workload_find("unicast"), &options);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return end;
}

static void an_honest_server_breaks_nothing(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_NONE, 1, 0), WORKLOAD_DONE);
    assert_int_equal(run_against(FAULT_NONE, 3, 0), WORKLOAD_DONE);
    assert_int_equal(run_against(FAULT_NONE, 2, 2000), WORKLOAD_DONE);
}

static void an_ephemeral_message_may_be_lost(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_LOSE, 1, 0), WORKLOAD_DONE);
    assert_int_equal(run_against(FAULT_LOSE, 3, 0), WORKLOAD_DONE);
}

static void one_doubled_message_is_seen(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_DOUBLE, 1, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_DOUBLE, 3, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_DOUBLE, 2, 2000), WORKLOAD_BROKEN);
}

static void one_altered_message_is_seen(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_ALTER, 1, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_ALTER, 3, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_ALTER, 2, 2000), WORKLOAD_BROKEN);
}

static void one_message_for_somebody_else_is_seen(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_MISROUTE, 1, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_MISROUTE, 3, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_MISROUTE, 2, 2000), WORKLOAD_BROKEN);
}

static void one_message_under_anothers_name_is_seen(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_FORGE, 1, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_FORGE, 3, 0), WORKLOAD_BROKEN);
    assert_int_equal(run_against(FAULT_FORGE, 2, 2000), WORKLOAD_BROKEN);
}

static void a_server_that_hangs_up_ends_the_run_as_failed(void **state)
{
    (void)state;
    assert_int_equal(run_against(FAULT_HANG_UP, 1, 0), WORKLOAD_FAILED);
    assert_int_equal(run_against(FAULT_HANG_UP, 3, 0), WORKLOAD_FAILED);
    assert_int_equal(run_against(FAULT_HANG_UP, 2, 2000), WORKLOAD_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_server_breaks_nothing),
        cmocka_unit_test(an_ephemeral_message_may_be_lost),
        cmocka_unit_test(one_doubled_message_is_seen),
        cmocka_unit_test(one_altered_message_is_seen),
        cmocka_unit_test(one_message_for_somebody_else_is_seen),
        cmocka_unit_test(one_message_under_anothers_name_is_seen),
        cmocka_unit_test(a_server_that_hangs_up_ends_the_run_as_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
