#include "base/loop.h"

#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 512
#define KEY_BITS 48
#define KEY_MASK ((UINT64_C(1) << KEY_BITS) - 1)
#define WAKE_SOURCE 0xffffu

static_assert(LOOP_SOURCES_MAX <= WAKE_SOURCE, "a source must fit beside its key");
static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "loop_stop is called from signal handlers");

struct source {
    loop_ready_fn *on_ready;
    void *ctx;
};

struct ticker {
    uint64_t due_us, period_us;
    loop_fn *fn;
    void *ctx;
};

struct ender {
    loop_fn *fn;
    void *ctx;
};

struct loop {
    int epoll_fd, wake_fd;
    atomic_bool stopping;
    atomic_bool woken; /* wake_fd was written since the last wait: no need to write it again */
    bool again, in_turn;
    uint32_t source_count, ticker_count, ender_count;
    uint64_t now_us;
    uint64_t next_due_us; /* of all tickers */
    struct ender enders[LOOP_ENDERS_MAX];
    struct ticker tickers[LOOP_TICKERS_MAX];
    struct source sources[LOOP_SOURCES_MAX];
    struct epoll_event events[EVENTS_MAX];
};

static uint64_t clock_us(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_BOOTTIME, &now);
    assert(result == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    assert(loop != NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        log_die("no epoll descriptor: %s; raise the limit of open files (ulimit -n)",
                strerror(errno));
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        log_die("no event descriptor: %s; raise the limit of open files (ulimit -n)",
                strerror(errno));

    /* Edge-triggered, each write is an event and nobody has to read the counter back. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                .data.u64 = (uint64_t)WAKE_SOURCE << KEY_BITS};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0)
        log_die("cannot watch an event descriptor: %s; raise fs.epoll.max_user_watches",
                strerror(errno));
    loop->next_due_us = UINT64_MAX;
    loop->now_us = clock_us();
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    assert(!loop->in_turn);
    close(loop->wake_fd);
    close(loop->epoll_fd);
    free(loop);
}

uint32_t loop_source(struct loop *loop, loop_ready_fn *on_ready, void *ctx)
{
    assert(on_ready != NULL);
    assert(loop->source_count < LOOP_SOURCES_MAX);
    loop->sources[loop->source_count] = (struct source){on_ready, ctx};
    return loop->source_count++;
}

static int control(struct loop *loop, int op, int fd, uint32_t source, uint64_t key,
                   uint32_t events)
{
    assert(source < loop->source_count);
    assert(key <= KEY_MASK);
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)source << KEY_BITS | key};
    return epoll_ctl(loop->epoll_fd, op, fd, &event);
}

bool loop_watch(struct loop *loop, int fd, uint32_t source, uint64_t key, uint32_t events)
{
    if (control(loop, EPOLL_CTL_ADD, fd, source, key, events) == 0)
        return true;
    assert(errno == ENOSPC || errno == ENOMEM);
    return false;
}

void loop_rewatch(struct loop *loop, int fd, uint32_t source, uint64_t key, uint32_t events)
{
    int result = control(loop, EPOLL_CTL_MOD, fd, source, key, events);
    assert(result == 0);
}

void loop_unwatch(struct loop *loop, int fd)
{
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    assert(result == 0);
}

void loop_every(struct loop *loop, uint32_t period_ms, loop_fn *fn, void *ctx)
{
    assert(period_ms > 0);
    assert(fn != NULL);
    assert(loop->ticker_count < LOOP_TICKERS_MAX);
    uint64_t period_us = (uint64_t)period_ms * 1000;
    uint64_t due_us = clock_us() + period_us;
    loop->tickers[loop->ticker_count++] = (struct ticker){due_us, period_us, fn, ctx};
    if (due_us < loop->next_due_us)
        loop->next_due_us = due_us;
}

void loop_at_turn_end(struct loop *loop, loop_fn *fn, void *ctx)
{
    assert(fn != NULL);
    assert(loop->ender_count < LOOP_ENDERS_MAX);
    loop->enders[loop->ender_count++] = (struct ender){fn, ctx};
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_us / 1000;
}

uint64_t loop_now_us(const struct loop *loop)
{
    return loop->now_us;
}

uint64_t loop_spent_us(const struct loop *loop)
{
    return clock_us() - loop->now_us;
}

int loop_fd(const struct loop *loop)
{
    return loop->epoll_fd;
}

int loop_wait_ms(const struct loop *loop)
{
    if (loop->again)
        return 0;
    if (loop->next_due_us == UINT64_MAX)
        return -1;
    uint64_t now_us = clock_us();
    if (loop->next_due_us <= now_us)
        return 0;
    /* Rounded up: to wake a little early would be a turn for nothing, then another. */
    uint64_t wait_ms = (loop->next_due_us - now_us + 999) / 1000;
    return wait_ms < INT32_MAX ? (int)wait_ms : INT32_MAX;
}

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
    uint64_t data = event->data.u64;
    uint32_t index = (uint32_t)(data >> KEY_BITS);
    if (index == WAKE_SOURCE)
        return;
    const struct source *source = &loop->sources[index];
    source->on_ready(source->ctx, data & KEY_MASK, event->events);
}

static void run_tickers(struct loop *loop)
{
    if (loop->now_us < loop->next_due_us)
        return;
    uint32_t count = loop->ticker_count; /* one that is added now is not due yet */
    for (uint32_t i = 0; i < count; i++) {
        struct ticker *ticker = &loop->tickers[i];
        if (loop->now_us < ticker->due_us)
            continue;
        ticker->due_us += ticker->period_us;
        if (ticker->due_us <= loop->now_us)
            ticker->due_us = loop->now_us + ticker->period_us;
        ticker->fn(ticker->ctx);
    }
    loop->next_due_us = UINT64_MAX;
    for (uint32_t i = 0; i < loop->ticker_count; i++)
        if (loop->tickers[i].due_us < loop->next_due_us)
            loop->next_due_us = loop->tickers[i].due_us;
}

void loop_turn(struct loop *loop, int wait_ms)
{
    assert(!loop->in_turn);
    loop->in_turn = true;

    if (wait_ms != 0) {
        int due_ms = loop_wait_ms(loop);
        if (wait_ms < 0 || (due_ms >= 0 && due_ms < wait_ms))
            wait_ms = due_ms;
    }
    loop->again = false;
    int count = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, wait_ms);
    if (count < 0) {
        assert(errno == EINTR);
        count = 0;
    }
    /* Before anything is dispatched: whoever still finds it set has put down its work before it
     * looked, so this turn sees that work. Exchanged, not stored, so as to see it. */
    (void)atomic_exchange(&loop->woken, false);

    loop->now_us = clock_us();
    for (int i = 0; i < count; i++)
        dispatch(loop, &loop->events[i]);
    run_tickers(loop);
    for (uint32_t i = 0; i < loop->ender_count; i++)
        loop->enders[i].fn(loop->enders[i].ctx);
    loop->in_turn = false;
}

void loop_run(struct loop *loop)
{
    while (!atomic_load(&loop->stopping))
        loop_turn(loop, -1);
    atomic_store(&loop->stopping, false);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stopping, true);
    loop_wake(loop);
}

void loop_wake(struct loop *loop)
{
    if (atomic_exchange(&loop->woken, true))
        return;
    int saved = errno; /* may run in a signal handler */
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof one);
    (void)written;
    errno = saved;
}
