#include "base/ops.h"

#include "base/address.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/request.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 16u
#define REQUEST_BYTES_MAX 4096u
#define CLIENT_MS_MAX 5000u
#define BEAT_MS_MAX 5000u
#define TICK_MS 200u
#define WORKERS_MAX 1024u

struct ops_worker {
    const char *name;
    _Atomic uint64_t beat_ms;
    _Atomic(const char *) why_not;
};

enum phase {
    PHASE_FREE,
    PHASE_ASKING,
    PHASE_ANSWERING,
    PHASE_ENDING, /* answered; what the peer still sends is read, or its kernel would drop the
                     answer */
};

struct client {
    enum phase phase;
    int fd;
    uint32_t generation; /* tells its events from those of the one before it */
    uint64_t since_ms;
    size_t request_len;
    char request[REQUEST_BYTES_MAX];
    char *answer;
    size_t answer_len, sent;
};

struct ops {
    struct loop *loop;
    pthread_t thread;
    int listener;
    bool resting; /* the listener is not watched: accept had no descriptor */
    uint16_t port;
    uint32_t listener_source, client_source;
    const struct metrics_registry *registry;
    const char *program, *version;
    atomic_bool leaving;
    _Atomic size_t worker_count; /* publishes the workers: main adds them while the thread runs */
    struct ops_worker workers[WORKERS_MAX];
    struct client clients[CLIENTS_MAX];
};

/* --- what workers say --------------------------------------------------------------------------
 */

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct ops_worker *ops_worker(struct ops *ops, const char *name)
{
    size_t index = atomic_load_explicit(&ops->worker_count, memory_order_relaxed);
    assert(index < WORKERS_MAX);
    struct ops_worker *worker = &ops->workers[index];
    worker->name = name;
    atomic_init(&worker->beat_ms, clock_ms());
    atomic_init(&worker->why_not, "has not started");
    atomic_store_explicit(&ops->worker_count, index + 1, memory_order_release);
    return worker;
}

void ops_beat(struct ops_worker *worker, uint64_t now_ms)
{
    atomic_store_explicit(&worker->beat_ms, now_ms, memory_order_relaxed);
}

void ops_ready(struct ops_worker *worker, const char *why_not)
{
    atomic_store_explicit(&worker->why_not, why_not, memory_order_release);
}

void ops_leaving(struct ops *ops)
{
    atomic_store(&ops->leaving, true);
}

/* --- answers -----------------------------------------------------------------------------------
 */

/* Each of these writes the body and returns the status. */
typedef int page_fn(struct ops *ops, FILE *out);

static int page_metrics(struct ops *ops, FILE *out)
{
    size_t len;
    char *page = metrics_registry_render(ops->registry, &len);
    fwrite(page, 1, len, out);
    free(page);
    return 200;
}

static int page_health(struct ops *ops, FILE *out)
{
    uint64_t now_ms = clock_ms();
    size_t count = atomic_load_explicit(&ops->worker_count, memory_order_acquire);
    int status = 200;
    for (size_t i = 0; i < count; i++) {
        struct ops_worker *worker = &ops->workers[i];
        uint64_t beat_ms = atomic_load_explicit(&worker->beat_ms, memory_order_relaxed);
        if (beat_ms + BEAT_MS_MAX >= now_ms)
            continue;
        fprintf(out, "%s: silent for %llu ms\n", worker->name,
                (unsigned long long)(now_ms - beat_ms));
        status = 503;
    }
    if (status == 200)
        fputs("ok\n", out);
    return status;
}

static int page_ready(struct ops *ops, FILE *out)
{
    size_t count = atomic_load_explicit(&ops->worker_count, memory_order_acquire);
    int status = 200;
    if (count == 0 || atomic_load(&ops->leaving)) {
        fputs(count == 0 ? "starting\n" : "leaving\n", out);
        status = 503;
    }
    for (size_t i = 0; i < count; i++) {
        const char *why_not = atomic_load_explicit(&ops->workers[i].why_not, memory_order_acquire);
        if (!why_not)
            continue;
        fprintf(out, "%s: %s\n", ops->workers[i].name, why_not);
        status = 503;
    }
    if (status == 200)
        fputs("ok\n", out);
    return status;
}

static int page_version(struct ops *ops, FILE *out)
{
    char program[256], version[256];
    size_t program_len = log_json_string(program, sizeof program, span_text(ops->program));
    size_t version_len = log_json_string(version, sizeof version, span_text(ops->version));
    fprintf(out, "{\"program\":%.*s,\"version\":%.*s}\n", (int)program_len, program,
            (int)version_len, version);
    return 200;
}

static const struct page {
    const char *path, *type;
    page_fn *write;
} pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
    {"/healthz", "text/plain; charset=utf-8", page_health},
    {"/readyz", "text/plain; charset=utf-8", page_ready},
    {"/version", "application/json", page_version},
};

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    }
    assert(false);
    return "";
}

/* Takes the body and frees it. */
static void answer(struct client *client, int status, const char *type, char *body, size_t len,
                   bool head_only)
{
    FILE *out = open_memstream(&client->answer, &client->answer_len);
    assert(out != NULL);
    fprintf(out,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            status, status_text(status), type, len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!head_only)
        fwrite(body, 1, len, out);
    int closed = fclose(out);
    assert(closed == 0);
    free(body);
    client->sent = 0;
    client->phase = PHASE_ANSWERING;
}

static void answer_refusal(struct client *client, int status)
{
    char *body = NULL;
    int len = asprintf(&body, "%s\n", status_text(status));
    assert(len > 0);
    answer(client, status, "text/plain; charset=utf-8", body, (size_t)len, false);
}

static void answer_request(struct ops *ops, struct client *client, const struct request *request)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (!span_equal(request->path, span_text(pages[i].path)))
            continue;
        char *body = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&body, &len);
        assert(out != NULL);
        int status = pages[i].write(ops, out);
        int closed = fclose(out);
        assert(closed == 0);
        answer(client, status, pages[i].type, body, len, request->head_only);
        return;
    }
    answer_refusal(client, 404);
}

/* --- connections -------------------------------------------------------------------------------
 */

static uint64_t key_of(const struct ops *ops, const struct client *client)
{
    return (uint64_t)(client - ops->clients) << 32 | client->generation;
}

static void end(struct ops *ops, struct client *client)
{
    loop_unwatch(ops->loop, client->fd);
    close(client->fd);
    free(client->answer);
    client->answer = NULL;
    client->phase = PHASE_FREE;
    client->generation++;
}

static void send_answer(struct ops *ops, struct client *client)
{
    while (client->sent < client->answer_len) {
        ssize_t sent = send(client->fd, client->answer + client->sent,
                            client->answer_len - client->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            loop_rewatch(ops->loop, client->fd, ops->client_source, key_of(ops, client), EPOLLOUT);
            return;
        }
        if (sent < 0) {
            end(ops, client);
            return;
        }
        client->sent += (size_t)sent;
    }
    free(client->answer);
    client->answer = NULL;
    client->phase = PHASE_ENDING;
    shutdown(client->fd, SHUT_WR);
    loop_rewatch(ops->loop, client->fd, ops->client_source, key_of(ops, client), EPOLLIN);
}

static void take_request(struct ops *ops, struct client *client)
{
    struct request request;
    int status =
        request_read(span_of(client->request, client->request_len), REQUEST_BYTES_MAX, &request);
    if (status == 0)
        return; /* the rest has yet to arrive */
    if (status == 200)
        answer_request(ops, client, &request);
    else
        answer_refusal(client, status);
    send_answer(ops, client);
}

static void receive(struct ops *ops, struct client *client)
{
    char waste[REQUEST_BYTES_MAX];
    bool asking = client->phase == PHASE_ASKING;
    char *at = asking ? client->request + client->request_len : waste;
    size_t room = asking ? REQUEST_BYTES_MAX - client->request_len : sizeof waste;
    ssize_t got = TEMP_FAILURE_RETRY(recv(client->fd, at, room, 0));
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(ops, client);
        return;
    }
    if (asking) {
        client->request_len += (size_t)got;
        take_request(ops, client);
    }
}

static void on_client(void *ctx, uint64_t key, uint32_t events)
{
    (void)events; /* errors show in reading and writing */
    struct ops *ops = ctx;
    struct client *client = &ops->clients[key >> 32];
    if (client->generation != (uint32_t)key || client->phase == PHASE_FREE)
        return;
    if (client->phase == PHASE_ANSWERING)
        send_answer(ops, client);
    else
        receive(ops, client);
}

/* A free place, if need be that of the oldest who is not being answered. */
static struct client *place(struct ops *ops)
{
    struct client *oldest = NULL;
    for (struct client *client = ops->clients; client < ops->clients + CLIENTS_MAX; client++) {
        if (client->phase == PHASE_FREE)
            return client;
        if (client->phase != PHASE_ANSWERING && (!oldest || client->since_ms < oldest->since_ms))
            oldest = client;
    }
    if (oldest)
        end(ops, oldest);
    return oldest;
}

static void on_listener(void *ctx, uint64_t key, uint32_t events)
{
    (void)key, (void)events;
    struct ops *ops = ctx;
    int fd = accept4(ops->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* Without a descriptor to spare the listener stays ready: look again at the next tick, not
         * all the time. */
        ops->resting = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (ops->resting)
            loop_rewatch(ops->loop, ops->listener, ops->listener_source, 0, 0);
        return;
    }
    struct client *client = place(ops);
    if (!client || !loop_watch(ops->loop, fd, ops->client_source, key_of(ops, client), EPOLLIN)) {
        close(fd);
        return;
    }
    client->phase = PHASE_ASKING;
    client->fd = fd;
    client->since_ms = loop_now_ms(ops->loop);
    client->request_len = 0;
}

static void on_tick(void *ctx)
{
    struct ops *ops = ctx;
    uint64_t now_ms = loop_now_ms(ops->loop);
    for (struct client *client = ops->clients; client < ops->clients + CLIENTS_MAX; client++)
        if (client->phase != PHASE_FREE && now_ms - client->since_ms >= CLIENT_MS_MAX)
            end(ops, client);
    if (ops->resting)
        loop_rewatch(ops->loop, ops->listener, ops->listener_source, 0, EPOLLIN);
    ops->resting = false;
}

/* --- start and end -----------------------------------------------------------------------------
 */

static void *run(void *ctx)
{
    struct ops *ops = ctx;
    log_thread("ops");
    loop_run(ops->loop);
    return NULL;
}

static int bind_listener(const char *text, uint16_t *port)
{
    struct address address;
    if (!address_parse(text, &address))
        log_die("the ops listener's address '%s' is not host:port; write it like 127.0.0.1:9100",
                text);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int error = getaddrinfo(address.host, address.port, &hints, &found);
    if (error != 0)
        log_die("the ops listener's address '%s': %s; give an address of this machine", text,
                gai_strerror(error));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 64) != 0)
        log_die("cannot listen on %s for ops: %s; choose another address or end who has it", text,
                strerror(errno));
    freeaddrinfo(found);
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    int named = getsockname(fd, (struct sockaddr *)&bound, &len);
    assert(named == 0);
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, &bound, sizeof in);
    memcpy(&in6, &bound, sizeof in6);
    *port = ntohs(bound.ss_family == AF_INET6 ? in6.sin6_port : in.sin_port);
    return fd;
}

struct ops *ops_new(const char *address, const struct metrics_registry *registry,
                    const char *program, const char *version)
{
    struct ops *ops = calloc(1, sizeof *ops);
    assert(ops != NULL);
    ops->registry = registry;
    ops->program = program;
    ops->version = version;
    ops->listener = bind_listener(address, &ops->port);
    ops->loop = loop_new();
    ops->listener_source = loop_source(ops->loop, on_listener, ops);
    ops->client_source = loop_source(ops->loop, on_client, ops);
    loop_every(ops->loop, TICK_MS, on_tick, ops);
    if (!loop_watch(ops->loop, ops->listener, ops->listener_source, 0, EPOLLIN))
        log_die("cannot watch the ops listener; raise fs.epoll.max_user_watches");

    /* Signals are for main. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&ops->thread, NULL, run, ops);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        log_die("cannot start the ops thread: %s; raise the limit of threads", strerror(error));
    return ops;
}

uint16_t ops_port(const struct ops *ops)
{
    return ops->port;
}

void ops_free(struct ops *ops)
{
    if (!ops)
        return;
    loop_stop(ops->loop);
    pthread_join(ops->thread, NULL);
    for (struct client *client = ops->clients; client < ops->clients + CLIENTS_MAX; client++)
        if (client->phase != PHASE_FREE)
            end(ops, client);
    close(ops->listener);
    loop_free(ops->loop);
    free(ops);
}
