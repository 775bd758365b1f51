#include "base/redis.h"

#include "base/address.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/dns.h"
#include "base/log.h"

#include <errno.h>
#include <hiredis/read.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TICK_MS 50u
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 2000u
/* The reader moves what is left of its buffer after each KiB of replies, so it gets small bites. */
#define READ_BYTES (16u * 1024u)
#define READS_PER_TURN 64
#define OUT_KEEP_BYTES (64u * 1024u)
#define QUEUE_MIN 64u
#define HELLO_COMMANDS_MAX 3u
#define KEY_MASK ((UINT64_C(1) << 48) - 1)

enum state { STATE_DOWN, STATE_NAMING, STATE_CONNECTING, STATE_HELLO, STATE_UP };

struct pending {
    redis_reply_fn *on_reply;
    void *ctx;
    uint64_t tag;
};

/* A reply in the making; what is handed out is its first member. */
struct node {
    struct reply reply;
    const struct reply **at;
};

struct redis {
    struct loop *loop;
    struct redis_events events;
    void *ctx;
    char *address, *password;
    uint32_t database, timeout_ms, commands_max;

    enum state state;
    int fd;
    uint32_t source;
    uint64_t generation; /* of the connection: its key in the loop */
    bool want_out;
    bool calling; /* somebody is being called back */
    uint32_t backoff_ms;
    struct dns *dns;   /* NAMING */
    uint32_t attempts; /* which of a name's addresses is next */
    uint64_t retry_at_ms, connecting_since_ms;
    uint64_t silent_since_ms; /* replies are due and nothing came since; 0: none are due */
    bool refused;             /* Redis refused the hello; `why` says how */
    char why[200];
    char logged[200]; /* the last reason logged, so as to log changes only */

    struct buf out;
    redisReader *reader;
    redisReplyObjectFunctions functions;
    struct arena *arena; /* of the reply that is being read */

    struct pending *queue; /* a ring */
    uint32_t queue_room, queue_head, queue_count;
};

/* --- replies ---------------------------------------------------------------------------------- */

static struct node *node_new(const redisReadTask *task, enum reply_kind kind)
{
    struct node *node = arena_take(task->privdata, sizeof *node);
    if (!node)
        return NULL; /* the reader reports an error */
    *node = (struct node){.reply.kind = kind};
    if (task->parent) {
        struct node *parent = task->parent->obj;
        assert((size_t)task->idx < parent->reply.len);
        parent->at[task->idx] = &node->reply;
    }
    return node;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct node *node = node_new(task, task->type == REDIS_REPLY_ERROR    ? REPLY_ERROR
                                       : task->type == REDIS_REPLY_STATUS ? REPLY_STATUS
                                                                          : REPLY_BULK);
    uint8_t *copy = node ? arena_take(task->privdata, len + 1) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0'; /* kind to debuggers; nobody may rely on it */
    node->reply.text = span_of(copy, len);
    return node;
}

static void *create_array(const redisReadTask *task, int len)
{
    struct node *node = node_new(task, REPLY_ARRAY);
    /* The arena's limit stops an announced length before memory is taken for it. */
    const struct reply **at =
        node ? arena_take(task->privdata, (size_t)len * sizeof at[0] + 1) : NULL;
    if (!at)
        return NULL;
    node->at = at;
    node->reply.at = at;
    node->reply.len = (size_t)len;
    return node;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct node *node = node_new(task, REPLY_INTEGER);
    if (node)
        node->reply.integer = value;
    return node;
}

static void *create_nil(const redisReadTask *task)
{
    return node_new(task, REPLY_NIL);
}

static void free_object(void *object)
{
    (void)object; /* the arena has it */
}

static void reader_new(struct redis *redis)
{
    redis->reader = redisReaderCreateWithFunctions(&redis->functions);
    assert(redis->reader != NULL);
    redis->reader->privdata = redis->arena;
}

/* --- the queue of what waits for a reply -------------------------------------------------------
 */

static void queue_push(struct redis *redis, struct pending pending)
{
    if (redis->queue_count == redis->queue_room) {
        uint32_t room = redis->queue_room ? redis->queue_room * 2 : QUEUE_MIN;
        struct pending *queue = malloc(room * sizeof queue[0]);
        assert(queue != NULL);
        for (uint32_t i = 0; i < redis->queue_count; i++)
            queue[i] = redis->queue[(redis->queue_head + i) & (redis->queue_room - 1)];
        free(redis->queue);
        redis->queue = queue;
        redis->queue_room = room;
        redis->queue_head = 0;
    }
    uint32_t tail = (redis->queue_head + redis->queue_count++) & (redis->queue_room - 1);
    redis->queue[tail] = pending;
}

static void answer_next(struct redis *redis, const struct reply *reply)
{
    assert(redis->queue_count > 0);
    struct pending pending = redis->queue[redis->queue_head];
    redis->queue_head = (redis->queue_head + 1) & (redis->queue_room - 1);
    redis->queue_count--;
    redis->calling = true;
    pending.on_reply(pending.ctx, pending.tag, reply);
    redis->calling = false;
}

/* --- commands --------------------------------------------------------------------------------- */

static uint8_t *put_head(uint8_t *out, char mark, size_t number)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    *out++ = (uint8_t)mark;
    while (count > 0)
        *out++ = (uint8_t)digits[--count];
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

/* False if too much would wait. */
static bool append_command(struct redis *redis, const struct span *args, size_t count)
{
    static const size_t head_max = 1 + 20 + 2;
    size_t room = head_max, unsent_max = REDIS_UNSENT_BYTES_MAX - buf_len(&redis->out);
    for (size_t i = 0; i < count; i++) {
        if (args[i].len > unsent_max)
            return false;
        room += head_max + args[i].len + 2;
        if (room > unsent_max)
            return false;
    }
    uint8_t *begin = buf_reserve(&redis->out, room);
    uint8_t *out = put_head(begin, '*', count);
    for (size_t i = 0; i < count; i++) {
        out = put_head(out, '$', args[i].len);
        if (args[i].len > 0)
            memcpy(out, args[i].at, args[i].len);
        out += args[i].len;
        *out++ = '\r';
        *out++ = '\n';
    }
    buf_commit(&redis->out, (size_t)(out - begin));
    return true;
}

bool redis_send(struct redis *redis, const struct span *args, size_t count,
                redis_reply_fn *on_reply, void *ctx, uint64_t tag)
{
    assert(count > 0);
    assert(on_reply != NULL);
    if (redis->state != STATE_UP || redis->queue_count >= redis->commands_max ||
        !append_command(redis, args, count))
        return false;
    queue_push(redis, (struct pending){on_reply, ctx, tag});
    return true;
}

bool redis_is_up(const struct redis *redis)
{
    return redis->state == STATE_UP;
}

uint32_t redis_in_flight(const struct redis *redis)
{
    return redis->state == STATE_HELLO ? 0 : redis->queue_count;
}

/* --- up and down ------------------------------------------------------------------------------ */

static void log_failure(struct redis *redis, bool was_up)
{
    if (was_up)
        log_warn("redis_down", LOG_TEXT("address", redis->address), LOG_TEXT("why", redis->why));
    else if (strcmp(redis->why, redis->logged) != 0)
        log_warn("redis_unreachable", LOG_TEXT("address", redis->address),
                 LOG_TEXT("why", redis->why));
    strcpy(redis->logged, redis->why);
}

/* The connection, or the attempt at one, is over; `why` is set. */
static void lose(struct redis *redis)
{
    bool was_up = redis->state == STATE_UP;
    if (redis->fd >= 0) {
        loop_unwatch(redis->loop, redis->fd);
        close(redis->fd);
        redis->fd = -1;
    }
    if (redis->reader)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
    arena_reset(redis->arena);
    buf_free(&redis->out);
    redis->state = STATE_DOWN;
    redis->silent_since_ms = 0;
    redis->want_out = false;
    redis->refused = false;
    redis->retry_at_ms = loop_now_ms(redis->loop) + redis->backoff_ms;
    redis->backoff_ms =
        redis->backoff_ms * 2 < BACKOFF_MAX_MS ? redis->backoff_ms * 2 : BACKOFF_MAX_MS;
    log_failure(redis, was_up);

    while (redis->queue_count > 0)
        answer_next(redis, NULL);
    if (was_up) {
        redis->calling = true;
        redis->events.on_down(redis->ctx, redis->why);
        redis->calling = false;
    }
}

static void lose_because(struct redis *redis, const char *what, int error)
{
    snprintf(redis->why, sizeof redis->why, "%s%s%s", what, error ? ": " : "",
             error ? strerror(error) : "");
    lose(redis);
}

static void go_up(struct redis *redis)
{
    redis->state = STATE_UP;
    redis->backoff_ms = BACKOFF_MIN_MS;
    redis->logged[0] = '\0';
    log_info("redis_up", LOG_TEXT("address", redis->address));
    redis->calling = true;
    redis->events.on_up(redis->ctx);
    redis->calling = false;
}

static void on_hello(void *ctx, uint64_t last, const struct reply *reply)
{
    struct redis *redis = ctx;
    if (!reply || redis->refused)
        return;
    if (reply->kind == REPLY_ERROR) {
        redis->refused = true;
        snprintf(redis->why, sizeof redis->why, "Redis refused: %.*s",
                 reply->text.len < 150 ? (int)reply->text.len : 150, (const char *)reply->text.at);
    } else if (last) {
        go_up(redis);
    }
}

static void hello_send(struct redis *redis, const char *name, const char *arg, uint64_t last)
{
    struct span args[] = {span_text(name), arg ? span_text(arg) : (struct span){0}};
    bool fits = append_command(redis, args, arg ? 2 : 1);
    assert(fits);
    queue_push(redis, (struct pending){on_hello, redis, last});
}

/* PING besides, since a Redis that is still loading takes SELECT but no command of ours, and since
 * a stopped one still lets the kernel connect us. */
static void start_hello(struct redis *redis)
{
    redis->state = STATE_HELLO;
    reader_new(redis);
    char database[16];
    snprintf(database, sizeof database, "%u", redis->database);
    if (redis->password)
        hello_send(redis, "AUTH", redis->password, false);
    hello_send(redis, "SELECT", database, false);
    hello_send(redis, "PING", NULL, true);
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool parse_unix(const char *address, struct sockaddr_un *out)
{
    const char *path = address + strlen("unix:");
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strncmp(address, "unix:", 5) != 0 || path[0] == '\0' ||
        strlen(path) >= sizeof out->sun_path)
        return false;
    strcpy(out->sun_path, path);
    return true;
}

static bool parse_tcp(const char *text, struct address *out)
{
    return strncmp(text, "tcp:", 4) == 0 && address_parse(text + 4, out) &&
           strtol(out->port, NULL, 10) > 0;
}

bool redis_address_valid(const char *address)
{
    struct sockaddr_un path;
    struct address tcp;
    return parse_unix(address, &path) || parse_tcp(address, &tcp);
}

static void connect_to(struct redis *redis, const struct sockaddr_storage *address, socklen_t len)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        lose_because(redis, "socket", errno);
        return;
    }
    if (address->ss_family != AF_UNIX) {
        int yes = 1; /* turns are our batches; if it fails we are only slower */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    int result = connect(fd, (const struct sockaddr *)address, len);
    if (result != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        lose_because(redis, "connect", error);
        return;
    }
    redis->generation = (redis->generation + 1) & KEY_MASK;
    redis->want_out = result != 0;
    if (!loop_watch(redis->loop, fd, redis->source, redis->generation,
                    EPOLLIN | (redis->want_out ? EPOLLOUT : 0))) {
        close(fd);
        lose_because(redis, "the kernel has no room for one more watch", 0);
        return;
    }
    redis->fd = fd;
    redis->connecting_since_ms = loop_now_ms(redis->loop);
    redis->state = STATE_CONNECTING;
    if (result == 0)
        start_hello(redis);
}

/* Each attempt tries one of the name's addresses, the next one. */
static void look(struct redis *redis)
{
    struct sockaddr_storage address;
    socklen_t len;
    const char *why;
    enum dns_answer answer = dns_look(redis->dns, redis->attempts, &address, &len, &why);
    if (answer == DNS_WAITING)
        return;
    dns_free(redis->dns);
    redis->dns = NULL;
    redis->attempts++;
    if (answer == DNS_FOUND) {
        connect_to(redis, &address, len);
        return;
    }
    snprintf(redis->why, sizeof redis->why, "resolve: %s", why);
    lose(redis);
}

static void attempt(struct redis *redis)
{
    struct sockaddr_un path;
    struct address tcp;
    if (parse_unix(redis->address, &path)) {
        struct sockaddr_storage address = {0};
        memcpy(&address, &path, sizeof path);
        connect_to(redis, &address, sizeof path);
        return;
    }
    bool valid = parse_tcp(redis->address, &tcp);
    assert(valid);
    redis->dns = dns_ask(tcp.host, tcp.port);
    redis->state = STATE_NAMING;
    look(redis);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void flush(struct redis *redis)
{
    if (redis->state < STATE_HELLO)
        return;
    if (redis->queue_count > 0 && redis->silent_since_ms == 0)
        redis->silent_since_ms = loop_now_ms(redis->loop);
    while (buf_len(&redis->out) > 0) {
        struct span bytes = buf_span(&redis->out);
        ssize_t sent = send(redis->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0) {
            lose_because(redis, "write", errno);
            return;
        }
        buf_consume(&redis->out, (size_t)sent, OUT_KEEP_BYTES);
    }
    bool want_out = buf_len(&redis->out) > 0;
    if (want_out != redis->want_out)
        loop_rewatch(redis->loop, redis->fd, redis->source, redis->generation,
                     EPOLLIN | (want_out ? EPOLLOUT : 0));
    redis->want_out = want_out;
}

/* Hands out all whole replies. False: the connection was lost. */
static bool take_replies(struct redis *redis)
{
    for (;;) {
        void *object = NULL;
        if (redisReaderGetReply(redis->reader, &object) != REDIS_OK) {
            snprintf(redis->why, sizeof redis->why, "not a reply: %.150s", redis->reader->errstr);
            lose(redis);
            return false;
        }
        if (!object)
            break;
        if (redis->queue_count == 0) {
            lose_because(redis, "a reply that no command asked for", 0);
            return false;
        }
        const struct node *node = object;
        answer_next(redis, &node->reply);
        arena_reset(redis->arena);
        if (redis->refused) {
            lose(redis);
            return false;
        }
    }
    if (redis->reader->len - redis->reader->pos > REDIS_REPLY_BYTES_MAX) {
        lose_because(redis, "a reply over the limit", 0);
        return false;
    }
    return true;
}

static void receive(struct redis *redis)
{
    char bytes[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t got = TEMP_FAILURE_RETRY(recv(redis->fd, bytes, sizeof bytes, 0));
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0) {
            lose_because(redis, got == 0 ? "Redis closed the connection" : "read",
                         got == 0 ? 0 : errno);
            return;
        }
        redisReaderFeed(redis->reader, bytes, (size_t)got);
        redis->silent_since_ms = loop_now_ms(redis->loop);
        if (!take_replies(redis))
            return;
        if ((size_t)got < sizeof bytes)
            break;
    }
    if (redis->queue_count == 0)
        redis->silent_since_ms = 0;
}

static void on_ready(void *ctx, uint64_t key, uint32_t events)
{
    struct redis *redis = ctx;
    if (key != redis->generation || redis->fd < 0)
        return; /* of a connection that is gone */
    if (redis->state == STATE_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(redis->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0)
            lose_because(redis, "connect", error);
        else if (events & EPOLLOUT)
            start_hello(redis);
        return; /* what is ready besides is told again */
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(redis);
    if ((events & EPOLLOUT) && redis->fd >= 0)
        flush(redis);
}

static void on_turn_end(void *ctx)
{
    struct redis *redis = ctx;
    if (redis->fd >= 0 && !redis->want_out)
        flush(redis);
}

/* The loop has dispatched before: whoever stood still himself heard first what came meanwhile. */
static void on_tick(void *ctx)
{
    struct redis *redis = ctx;
    uint64_t now_ms = loop_now_ms(redis->loop);
    if (redis->state == STATE_DOWN) {
        if (now_ms >= redis->retry_at_ms)
            attempt(redis);
        return;
    }
    if (redis->state == STATE_NAMING) {
        look(redis);
        return;
    }
    uint64_t since_ms =
        redis->state == STATE_CONNECTING ? redis->connecting_since_ms : redis->silent_since_ms;
    if (since_ms == 0 || now_ms - since_ms < redis->timeout_ms)
        return;
    snprintf(redis->why, sizeof redis->why, "%s for %u ms",
             redis->state == STATE_CONNECTING ? "no connection" : "no reply", redis->timeout_ms);
    lose(redis);
}

/* ---------------------------------------------------------------------------------------------- */

struct redis *redis_new(struct loop *loop, const struct redis_options *options,
                        const struct redis_events *events, void *ctx)
{
    assert(redis_address_valid(options->address));
    assert(options->commands_max >= HELLO_COMMANDS_MAX && options->timeout_ms > 0);
    assert(events->on_up && events->on_down);
    struct redis *redis = calloc(1, sizeof *redis);
    assert(redis != NULL);
    *redis = (struct redis){
        .loop = loop,
        .events = *events,
        .ctx = ctx,
        .address = strdup(options->address),
        .password = options->password ? strdup(options->password) : NULL,
        .database = options->database,
        .timeout_ms = options->timeout_ms,
        .commands_max = options->commands_max,
        .fd = -1,
        .backoff_ms = BACKOFF_MIN_MS,
        .functions = {create_string, create_array, create_integer, create_nil, free_object},
        .arena = arena_new(REDIS_REPLY_BYTES_MAX),
    };
    assert(redis->address && (redis->password || !options->password));
    redis->source = loop_source(loop, on_ready, redis);
    loop_every(loop, TICK_MS, on_tick, redis);
    loop_at_turn_end(loop, on_turn_end, redis);
    return redis;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    assert(!redis->calling);
    dns_free(redis->dns);
    if (redis->fd >= 0) {
        loop_unwatch(redis->loop, redis->fd);
        close(redis->fd);
    }
    if (redis->reader)
        redisReaderFree(redis->reader);
    arena_free(redis->arena);
    buf_free(&redis->out);
    free(redis->queue);
    free(redis->address);
    if (redis->password)
        explicit_bzero(redis->password, strlen(redis->password));
    free(redis->password);
    free(redis);
}
