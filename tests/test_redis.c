/* redis: against a real redis-server that is killed, stopped and brought back, and against a peer
 * of ours that answers what no Redis would. needs: redis */
#include "base/redis.h"
#include "tests/redis_server.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cmocka.h>

#define PATIENCE_MS 60000u

struct fixture {
    struct redis_server server;
    int listener; /* of our own peer; -1: none */
    struct loop *loop;
    struct redis *redis;
    uint32_t ups, downs;
    char why[256];
    uint32_t replies, nulls;
    uint64_t next_tag; /* replies must come with tags in order */
    bool sending;      /* inside redis_send */
    char last[512];    /* the last reply as text */
    bool resend;       /* each reply sends a PING */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Turns until `condition` holds. */
#define AWAIT(f, condition)                                                                        \
    do {                                                                                           \
        uint64_t give_up_ms = now_ms() + PATIENCE_MS;                                              \
        while (!(condition)) {                                                                     \
            if (now_ms() > give_up_ms)                                                             \
                fail_msg("waited in vain for %s (why: %s)", #condition, (f)->why);                 \
            loop_turn((f)->loop, 100);                                                             \
        }                                                                                          \
    } while (0)

/* --- what is heard ---------------------------------------------------------------------------- */

static void on_up(void *ctx)
{
    struct fixture *f = ctx;
    assert_false(f->sending);
    assert_true(redis_is_up(f->redis));
    f->ups++;
}

static void on_down(void *ctx, const char *why)
{
    struct fixture *f = ctx;
    assert_false(f->sending);
    assert_false(redis_is_up(f->redis));
    assert_int_equal(redis_in_flight(f->redis), 0);
    f->downs++;
    snprintf(f->why, sizeof f->why, "%s", why);
}

static size_t describe(const struct reply *reply, char *out, size_t room)
{
    static const char marks[] = {[REPLY_NIL] = '_',     [REPLY_STATUS] = '+', [REPLY_ERROR] = '-',
                                 [REPLY_INTEGER] = ':', [REPLY_BULK] = '$',   [REPLY_ARRAY] = '*'};
    size_t len = (size_t)snprintf(out, room, "%c", marks[reply->kind]);
    if (reply->kind == REPLY_INTEGER)
        len += (size_t)snprintf(out + len, room - len, "%lld", (long long)reply->integer);
    if (reply->kind >= REPLY_STATUS && reply->kind != REPLY_INTEGER && reply->kind != REPLY_ARRAY)
        len += (size_t)snprintf(out + len, room - len, "%.*s",
                                reply->text.len < 60 ? (int)reply->text.len : 60,
                                (const char *)reply->text.at);
    for (size_t i = 0; reply->kind == REPLY_ARRAY && i < reply->len; i++) {
        len += (size_t)snprintf(out + len, room - len, "%s", i ? " " : "(");
        len += describe(reply->at[i], out + len, room - len);
        len += (size_t)snprintf(out + len, room - len, "%s", i + 1 == reply->len ? ")" : "");
        assert_true(len < room);
    }
    return len;
}

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct fixture *f = ctx;
    assert_false(f->sending);
    assert_int_equal(tag, f->next_tag);
    f->next_tag++;
    struct span ping = span_text("PING");
    if (reply) {
        assert_int_equal(f->nulls, 0);
        f->replies++;
        describe(reply, f->last, sizeof f->last);
    } else {
        f->nulls++;
        assert_int_equal(f->downs, 0);
        assert_false(redis_is_up(f->redis));
        assert_false(redis_send(f->redis, &ping, 1, on_reply, f, 0));
    }
    if (f->resend && reply) {
        f->resend = false;
        f->sending = true;
        assert_true(redis_send(f->redis, &ping, 1, on_reply, f, f->next_tag));
        f->sending = false;
    }
}

static bool try_send(struct fixture *f, uint64_t tag, const struct span *args, size_t count)
{
    f->sending = true;
    bool taken = redis_send(f->redis, args, count, on_reply, f, tag);
    f->sending = false;
    return taken;
}

/* Sends words and waits for their reply as text. */
static const char *ask(struct fixture *f, const char *words)
{
    char copy[512];
    struct span args[16];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *rest, *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        args[count++] = span_text(word);
    f->next_tag = 77;
    uint32_t before = f->replies;
    assert_true(try_send(f, 77, args, count));
    AWAIT(f, f->replies == before + 1);
    return f->last;
}

/* --- servers ---------------------------------------------------------------------------------- */

static void start_redis(struct fixture *f, struct redis_options options)
{
    const struct redis_events events = {on_up, on_down};
    options.address = options.address ? options.address : f->server.address;
    options.timeout_ms = options.timeout_ms ? options.timeout_ms : 30000;
    options.commands_max = options.commands_max ? options.commands_max : 200000;
    f->redis = redis_new(f->loop, &options, &events, f);
}

static void start_both(struct fixture *f)
{
    redis_server_start(&f->server, NULL, NULL);
    start_redis(f, (struct redis_options){0});
    AWAIT(f, f->ups == 1);
}

/* A peer of our own on the unix socket. */
static void start_peer(struct fixture *f)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, f->server.path);
    unlink(f->server.path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(f->listener, 8), 0);
}

static int accept_peer(struct fixture *f)
{
    int fd = -1;
    AWAIT(f, (fd = accept(f->listener, NULL, NULL)) >= 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `text` was seen at the end. */
static void hear(struct fixture *f, int fd, const char *text)
{
    char heard[4096];
    size_t len = 0, want = strlen(text);
    AWAIT(f, ({
              ssize_t got = recv(fd, heard + len, sizeof heard - len, MSG_DONTWAIT);
              len += got > 0 ? (size_t)got : 0;
              len >= want &&memcmp(heard + len - want, text, want) == 0;
          }));
}

/* Our own peer with a connection that is up. */
static int peer_up(struct fixture *f, struct redis_options options)
{
    start_peer(f);
    start_redis(f, options);
    int fd = accept_peer(f);
    hear(f, fd, "*1\r\n$4\r\nPING\r\n");
    say(fd, "+OK\r\n+PONG\r\n");
    AWAIT(f, f->ups == 1);
    return fd;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    redis_server_init(&f->server);
    f->listener = -1;
    f->loop = loop_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    redis_free(f->redis);
    loop_free(f->loop);
    redis_server_end(&f->server);
    if (f->listener >= 0)
        close(f->listener);
    free(f);
    return 0;
}

/* --- claims ----------------------------------------------------------------------------------- */

static void addresses_are_unix_paths_or_tcp_hosts_and_ports(void **state)
{
    (void)state;
    const char *good[] = {"unix:/run/redis.sock", "tcp:localhost:6379", "tcp:[::1]:1",
                          "tcp:10.0.0.1:65535"};
    const char *bad[] = {"",        "unix:",       "/run/x",       "tcp:localhost", "tcp::6379",
                         "tcp:h:0", "tcp:h:65536", "tcp:::1:6379", "udp:h:1",       "redis://h:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(redis_address_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(redis_address_valid(bad[i]));
    char path[200] = "unix:/";
    memset(path + 6, 'x', sizeof path - 7);
    assert_false(redis_address_valid(path));
}

static void every_kind_of_reply_arrives_as_it_is(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    assert_string_equal(ask(f, "SET k value"), "+OK");
    assert_string_equal(ask(f, "GET k"), "$value");
    assert_string_equal(ask(f, "GET none"), "_");
    assert_string_equal(ask(f, "STRLEN k"), ":5");
    assert_memory_equal(ask(f, "NOSUCH"), "-ERR unknown command", 20);
    assert_string_equal(ask(f, "MGET k none k"), "*($value _ $value)");
    assert_string_equal(ask(f, "KEYS nothing*"), "*");
    assert_string_equal(ask(f, "EVAL return{1,{2,{3,'x'}},{}} 0"), "*(:1 *(:2 *(:3 $x)) *)");
}

static void bytes_pass_unchanged_and_big_values_in_parts(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    const size_t len = 8u << 20; /* far more than a socket holds */
    uint8_t *value = malloc(len);
    assert_non_null(value);
    for (size_t i = 0; i < len; i++)
        value[i] = (uint8_t)(i * 7 + i / 251);
    struct span set[] = {span_text("SET"), span_text("big"), span_of(value, len)};
    struct span odd[] = {span_text("ECHO"), span_of("\r\n\0\xff", 4)};
    struct span nothing[] = {span_text("SET"), span_text("nothing"), {0}};
    f->next_tag = 1;
    assert_true(try_send(f, 1, set, 3));
    memset(value, 0, len); /* what was passed in was only borrowed */
    assert_true(try_send(f, 2, nothing, 3));
    assert_true(try_send(f, 3, odd, 2));
    AWAIT(f, f->replies == 3);
    assert_memory_equal(f->last, "$\r\n\0", 4);
    assert_string_equal(ask(f, "STRLEN big"), ":8388608");
    assert_string_equal(ask(f, "STRLEN nothing"), ":0");
    const char byte[] = {'$', (char)(uint8_t)(8388600 * 7u + 8388600 / 251), '\0'};
    assert_string_equal(ask(f, "GETRANGE big 8388600 8388600"), byte);
    assert_memory_equal(ask(f, "GET big"), "$\0", 2);
    free(value);
    /* All is written, so the loop rests again. */
    uint64_t until_ms = now_ms() + 500;
    uint32_t turns = 0;
    AWAIT(f, (turns++, now_ms() > until_ms));
    assert_true(turns < 100);
}

static void a_hundred_thousand_commands_in_one_turn_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    uint64_t begin_ms = now_ms();
    struct span incr[] = {span_text("INCR"), span_text("n")};
    for (uint64_t i = 0; i < 100000; i++)
        assert_true(try_send(f, i, incr, 2));
    assert_int_equal(redis_in_flight(f->redis), 100000);
    AWAIT(f, f->replies == 100000);
    assert_string_equal(f->last, ":100000");
    assert_int_equal(redis_in_flight(f->redis), 0);
    print_message("100,000 commands in %llu ms\n", (unsigned long long)(now_ms() - begin_ms));
}

static void a_reply_may_send_the_next_command(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    struct span ping = span_text("PING");
    f->resend = true;
    assert_true(try_send(f, 0, &ping, 1));
    AWAIT(f, f->replies == 2);
}

static void refuses_when_down_and_beyond_what_may_be_in_flight(void **state)
{
    struct fixture *f = *state;
    struct span ping = span_text("PING");
    start_redis(f, (struct redis_options){.commands_max = 10});
    assert_false(redis_is_up(f->redis));
    assert_false(try_send(f, 0, &ping, 1));
    redis_server_start(&f->server, NULL, NULL);
    AWAIT(f, f->ups == 1);
    for (uint64_t i = 0; i < 10; i++)
        assert_true(try_send(f, i, &ping, 1));
    assert_false(try_send(f, 10, &ping, 1));
    AWAIT(f, f->replies == 10);
    assert_true(try_send(f, 10, &ping, 1));
    AWAIT(f, f->replies == 11);
}

static void refuses_more_bytes_than_may_wait(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    size_t len = REDIS_UNSENT_BYTES_MAX / 2 - 100;
    char *bytes = calloc(1, len);
    struct span echo[] = {span_text("STRLEN"), span_of(bytes, len)};
    assert_true(try_send(f, 0, echo, 2));
    assert_true(try_send(f, 1, echo, 2));
    assert_false(try_send(f, 2, echo, 2));
    AWAIT(f, f->replies == 2);
    echo[1].len = SIZE_MAX;
    assert_false(try_send(f, 2, echo, 2));
    free(bytes);
}

static void password_and_database_are_given_first(void **state)
{
    struct fixture *f = *state;
    redis_server_start(&f->server, "--requirepass", "secret");
    start_redis(f, (struct redis_options){.password = "secret", .database = 3});
    AWAIT(f, f->ups == 1);
    assert_non_null(strstr(ask(f, "CLIENT LIST"), "$id="));
    assert_string_equal(ask(f, "SET k v"), "+OK");
    assert_string_equal(ask(f, "MOVE k 4"), ":1");
    assert_string_equal(ask(f, "SELECT 4"), "+OK");
    assert_string_equal(ask(f, "EXISTS k"), ":1");
}

static void is_never_up_with_a_wrong_password(void **state)
{
    struct fixture *f = *state;
    redis_server_start(&f->server, "--requirepass", "secret");
    AWAIT(f, access(f->server.path, F_OK) == 0);
    start_redis(f, (struct redis_options){.password = "wrong"});
    uint64_t until_ms = now_ms() + 1500;
    AWAIT(f, now_ms() > until_ms);
    assert_int_equal(f->ups, 0);
    assert_int_equal(f->downs, 0);
}

static void a_kill_answers_all_pending_with_nothing_in_order_then_comes_back(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    struct span block[] = {span_text("BLPOP"), span_text("never"), span_text("0")};
    struct span ping = span_text("PING");
    assert_true(try_send(f, 0, block, 3));
    for (uint64_t i = 1; i < 1000; i++)
        assert_true(try_send(f, i, &ping, 1));
    loop_turn(f->loop, 0);
    redis_server_kill(&f->server);
    AWAIT(f, f->downs == 1);
    assert_int_equal(f->nulls, 1000);
    assert_int_equal(f->replies, 0);
    assert_int_equal(redis_in_flight(f->redis), 0);
    assert_false(try_send(f, 0, &ping, 1));

    f->nulls = f->downs = 0;
    redis_server_start(&f->server, NULL, NULL);
    AWAIT(f, f->ups == 2);
    assert_string_equal(ask(f, "PING"), "+PONG");
}

static void a_stopped_server_is_given_up_and_found_again(void **state)
{
    struct fixture *f = *state;
    redis_server_start(&f->server, NULL, NULL);
    start_redis(f, (struct redis_options){.timeout_ms = 1500});
    AWAIT(f, f->ups == 1);
    kill(f->server.pid, SIGSTOP);
    struct span ping = span_text("PING");
    uint64_t begin_ms = now_ms();
    for (uint64_t i = 0; i < 100; i++)
        assert_true(try_send(f, i, &ping, 1));
    AWAIT(f, f->downs == 1);
    assert_true(now_ms() - begin_ms >= 1500);
    assert_int_equal(f->nulls, 100);
    assert_non_null(strstr(f->why, "no reply for 1500 ms"));
    /* The kernel still lets connections in; that must not count as up. */
    uint64_t until_ms = now_ms() + 2500;
    AWAIT(f, now_ms() > until_ms);
    assert_int_equal(f->ups, 1);
    f->nulls = f->downs = 0;
    kill(f->server.pid, SIGCONT);
    AWAIT(f, f->ups == 2);
    assert_string_equal(ask(f, "PING"), "+PONG");
}

static void silence_is_no_fault_while_nothing_is_due(void **state)
{
    struct fixture *f = *state;
    int fd = peer_up(f, (struct redis_options){.timeout_ms = 300});
    uint64_t until_ms = now_ms() + 1000;
    AWAIT(f, now_ms() > until_ms);
    assert_int_equal(f->downs, 0);
    close(fd);
    AWAIT(f, f->downs == 1);
}

static void a_backlog_that_shrinks_slowly_is_no_fault(void **state)
{
    struct fixture *f = *state;
    int fd = peer_up(f, (struct redis_options){.timeout_ms = 2000});
    struct span ping = span_text("PING");
    for (uint64_t i = 0; i < 6; i++)
        assert_true(try_send(f, i, &ping, 1));
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t until_ms = now_ms() + 500;
        AWAIT(f, now_ms() > until_ms);
        say(fd, "+PONG\r\n");
        AWAIT(f, f->replies == i + 1);
    }
    assert_int_equal(f->downs, 0);
    close(fd);
}

static void whoever_stood_still_himself_hears_first_what_came(void **state)
{
    struct fixture *f = *state;
    int fd = peer_up(f, (struct redis_options){.timeout_ms = 300});
    struct span ping = span_text("PING");
    assert_true(try_send(f, 0, &ping, 1));
    hear(f, fd, "PING\r\n");
    say(fd, "+PONG\r\n");
    usleep(1000 * 1000); /* the whole process pauses, with the reply already here */
    AWAIT(f, f->replies == 1);
    assert_int_equal(f->downs, 0);
    /* ... and what was sent after a pause has all its time. */
    usleep(1000 * 1000);
    assert_true(try_send(f, 1, &ping, 1));
    hear(f, fd, "PING\r\n");
    say(fd, "+PONG\r\n");
    AWAIT(f, f->replies == 2);
    assert_int_equal(f->downs, 0);
    close(fd);
}

static void attempts_are_spaced_from_100_ms_doubling(void **state)
{
    struct fixture *f = *state;
    start_peer(f);
    start_redis(f, (struct redis_options){0});
    uint64_t last_ms = 0, least_ms = 100;
    for (int i = 0; i < 5; i++) {
        int fd = accept_peer(f);
        if (i > 0) {
            assert_true(now_ms() - last_ms + 5 >= least_ms);
            least_ms *= 2;
        }
        last_ms = now_ms();
        close(fd);
    }
    assert_int_equal(f->ups, 0);
}

static void replies_are_taken_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    int fd = peer_up(f, (struct redis_options){0});
    struct span x = span_text("X");
    assert_true(try_send(f, 0, &x, 1));
    hear(f, fd, "X\r\n");
    const char *reply = "*4\r\n$5\r\nhello\r\n*2\r\n:-7\r\n$-1\r\n-ERR no\r\n*-1\r\n";
    for (const char *c = reply; *c; c++) {
        assert_int_equal(f->replies, 0);
        say(fd, (char[]){*c, 0});
        loop_turn(f->loop, 0);
    }
    AWAIT(f, f->replies == 1);
    assert_string_equal(f->last, "*($hello *(:-7 _) -ERR no _)");
    close(fd);
}

/* What `bytes` from the peer do to a command that waits: the connection goes, the command is told.
 */
static void peer_is_dropped_for(struct fixture *f, const char *bytes, const char *why)
{
    int fd = peer_up(f, (struct redis_options){0});
    struct span x = span_text("X");
    assert_true(try_send(f, 0, &x, 1));
    hear(f, fd, "X\r\n");
    say(fd, bytes);
    AWAIT(f, f->downs == 1);
    assert_int_equal(f->nulls, 1);
    if (!strstr(f->why, why))
        fail_msg("why: %s", f->why);
    close(fd);
}

static void garbage_ends_the_connection(void **state)
{
    peer_is_dropped_for(*state, "HTTP/1.1 400 Bad Request\r\n\r\n", "not a reply");
}

static void an_array_of_announced_gigabytes_ends_the_connection(void **state)
{
    peer_is_dropped_for(*state, "*2000000000\r\n:1\r\n", "not a reply");
}

static void arrays_nested_too_deep_end_the_connection(void **state)
{
    peer_is_dropped_for(*state,
                        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
                        "not a reply");
}

static void a_reply_that_nobody_asked_for_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    int fd = peer_up(f, (struct redis_options){0});
    say(fd, "+SURPRISE\r\n");
    AWAIT(f, f->downs == 1);
    assert_non_null(strstr(f->why, "no command"));
    close(fd);
}

static void an_endless_reply_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    int fd = peer_up(f, (struct redis_options){0});
    struct span x = span_text("X");
    assert_true(try_send(f, 0, &x, 1));
    hear(f, fd, "X\r\n");
    say(fd, "$500000000\r\n");
    static const char junk[65536];
    size_t sent = 0;
    while (f->downs == 0) {
        ssize_t got = send(fd, junk, sizeof junk, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += got > 0 ? (size_t)got : 0;
        assert_true(sent < 2u * REDIS_REPLY_BYTES_MAX);
        loop_turn(f->loop, 0);
    }
    assert_int_equal(f->nulls, 1);
    close(fd);
}

static void speaks_tcp_too(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&name, len), 0);
    assert_int_equal(listen(f->listener, 8), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&name, &len), 0);
    char address[64]; /* a name may have an IPv6 address first, where nobody listens */
    snprintf(address, sizeof address, "tcp:localhost:%u", ntohs(name.sin_port));
    start_redis(f, (struct redis_options){.address = address});
    int fd = accept_peer(f);
    hear(f, fd, "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$4\r\nPING\r\n");
    say(fd, "+OK\r\n");
    loop_turn(f->loop, 0);
    assert_int_equal(f->ups, 0);
    say(fd, "+PONG\r\n");
    AWAIT(f, f->ups == 1);
    close(fd);
    AWAIT(f, f->downs == 1);
}

static void a_name_that_does_not_resolve_is_tried_again(void **state)
{
    struct fixture *f = *state;
    start_redis(f, (struct redis_options){.address = "tcp:no-such-host.invalid:6379"});
    uint64_t until_ms = now_ms() + 500;
    AWAIT(f, now_ms() > until_ms);
    assert_int_equal(f->ups + f->downs, 0);
}

static void can_be_freed_with_commands_in_flight(void **state)
{
    struct fixture *f = *state;
    start_both(f);
    struct span ping = span_text("PING");
    for (uint64_t i = 0; i < 100; i++)
        assert_true(try_send(f, i, &ping, 1));
}

int main(void)
{
#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(addresses_are_unix_paths_or_tcp_hosts_and_ports),
        CLAIM(every_kind_of_reply_arrives_as_it_is),
        CLAIM(bytes_pass_unchanged_and_big_values_in_parts),
        CLAIM(a_hundred_thousand_commands_in_one_turn_are_answered_in_order),
        CLAIM(a_reply_may_send_the_next_command),
        CLAIM(refuses_when_down_and_beyond_what_may_be_in_flight),
        CLAIM(refuses_more_bytes_than_may_wait),
        CLAIM(password_and_database_are_given_first),
        CLAIM(is_never_up_with_a_wrong_password),
        CLAIM(a_kill_answers_all_pending_with_nothing_in_order_then_comes_back),
        CLAIM(a_stopped_server_is_given_up_and_found_again),
        CLAIM(silence_is_no_fault_while_nothing_is_due),
        CLAIM(a_backlog_that_shrinks_slowly_is_no_fault),
        CLAIM(whoever_stood_still_himself_hears_first_what_came),
        CLAIM(attempts_are_spaced_from_100_ms_doubling),
        CLAIM(replies_are_taken_byte_by_byte),
        CLAIM(garbage_ends_the_connection),
        CLAIM(an_array_of_announced_gigabytes_ends_the_connection),
        CLAIM(arrays_nested_too_deep_end_the_connection),
        CLAIM(a_reply_that_nobody_asked_for_ends_the_connection),
        CLAIM(an_endless_reply_ends_the_connection),
        CLAIM(speaks_tcp_too),
        CLAIM(a_name_that_does_not_resolve_is_tried_again),
        CLAIM(can_be_freed_with_commands_in_flight),
    };
    return cmocka_run_group_tests_name("redis", tests, NULL, NULL);
}
