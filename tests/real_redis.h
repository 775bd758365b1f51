/* A private redis-server on a unix socket in a folder of its own, for tests. It ends with the test.
 */
#ifndef TESTS_REAL_REDIS_H
#define TESTS_REAL_REDIS_H

#include "base/redis.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 60000u

struct real_redis {
    char dir[64], address[96];
    pid_t pid; /* 0: none runs */
    struct loop *loop;
    struct redis *connections[16]; /* they live as long as the loop */
    uint32_t connection_count;
};

static inline uint64_t real_redis_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Turns of the loop until `condition` holds. */
#define AWAIT(server, condition)                                                                   \
    do {                                                                                           \
        uint64_t give_up_ms = real_redis_now_ms() + PATIENCE_MS;                                   \
        while (!(condition)) {                                                                     \
            if (real_redis_now_ms() > give_up_ms)                                                  \
                fail_msg("waited in vain for %s", #condition);                                     \
            loop_turn((server)->loop, 20);                                                         \
        }                                                                                          \
    } while (0)

/* Starts it (again); what it kept on disk is loaded. */
static inline void real_redis_start(struct real_redis *server)
{
    assert_int_equal(server->pid, 0);
    fflush(NULL);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid > 0)
        return;
    char socket[80];
    snprintf(socket, sizeof socket, "%s/s", server->dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!freopen("/dev/null", "w", stdout))
        _exit(1);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket, "--dir",
           server->dir, "--save", "", "--appendonly", "yes", "--appendfsync", "no", (char *)NULL);
    _exit(1);
}

static inline void real_redis_kill(struct real_redis *server)
{
    assert_int_equal(kill(server->pid, SIGKILL), 0);
    assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
    server->pid = 0;
}

static inline void real_redis_open(struct real_redis *server)
{
    strcpy(server->dir, "/tmp/lahar-redis-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->address, sizeof server->address, "unix:%s/s", server->dir);
    server->pid = 0;
    server->loop = loop_new();
    real_redis_start(server);
}

static inline void real_redis_close(struct real_redis *server)
{
    if (server->pid != 0)
        real_redis_kill(server);
    for (uint32_t i = 0; i < server->connection_count; i++)
        redis_free(server->connections[i]);
    loop_free(server->loop);
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", server->dir);
    assert_int_equal(system(command), 0);
}

static inline struct redis *real_redis_connect(struct real_redis *server,
                                               const struct redis_events *events, void *ctx)
{
    const struct redis_options options = {
        .address = server->address, .timeout_ms = 30000, .commands_max = 100000};
    assert_true(server->connection_count < 16);
    return server->connections[server->connection_count++] =
               redis_new(server->loop, &options, events, ctx);
}

/* A connection for asking questions: words in, the reply as text out. */
struct asker {
    struct real_redis *server;
    struct redis *redis;
    bool answered;
    char text[512];
};

static inline void asker_nothing(void *ctx)
{
    (void)ctx;
}

static inline void asker_down(void *ctx, const char *why)
{
    (void)ctx, (void)why;
}

static inline void asker_open(struct asker *asker, struct real_redis *server)
{
    *asker = (struct asker){.server = server};
    const struct redis_events events = {asker_nothing, asker_down};
    asker->redis = real_redis_connect(server, &events, asker);
    AWAIT(server, redis_is_up(asker->redis));
}

static inline void asker_describe(const struct reply *reply, char *out, size_t room)
{
    out[0] = '\0';
    switch (reply->kind) {
    case REPLY_INTEGER:
        snprintf(out, room, "%lld", (long long)reply->integer);
        break;
    case REPLY_ARRAY:
        for (size_t i = 0; i < reply->len && strlen(out) + 2 < room; i++) {
            if (i > 0)
                strcat(out, " ");
            asker_describe(reply->at[i], out + strlen(out), room - strlen(out));
        }
        break;
    case REPLY_NIL:
        snprintf(out, room, "nil");
        break;
    default:
        snprintf(out, room, "%.*s", (int)reply->text.len, (const char *)reply->text.at);
        break;
    }
}

static inline void asker_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct asker *asker = ctx;
    (void)tag;
    assert_non_null(reply);
    asker->answered = true;
    asker_describe(reply, asker->text, sizeof asker->text);
}

/* Sends words parted by blanks and waits for the answer. */
static inline const char *ask(struct asker *asker, const char *words)
{
    char copy[512];
    struct span args[16];
    size_t count = 0;
    assert_true(strlen(words) < sizeof copy);
    strcpy(copy, words);
    AWAIT(asker->server, redis_is_up(asker->redis));
    for (char *save, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        args[count++] = span_text(word);
    asker->answered = false;
    assert_true(redis_send(asker->redis, args, count, asker_reply, asker, 0));
    AWAIT(asker->server, asker->answered);
    return asker->text;
}

#endif
