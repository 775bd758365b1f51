/* loop: turns in order, few of them, and none lost. Threads: yes. */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_MAX ((UINT64_C(1) << 48) - 1)

struct seen {
    struct loop *loop;
    int fd;
    uint32_t calls, events;
    uint64_t key;
    char order[16];
    char letter;
    struct seen *into;
};

static void note_ready(void *ctx, uint64_t key, uint32_t events)
{
    struct seen *seen = ctx;
    seen->calls++;
    seen->key = key;
    seen->events = events;
}

static void note_call(void *ctx)
{
    struct seen *seen = ctx;
    seen->calls++;
    if (seen->into != NULL) {
        size_t len = strlen(seen->into->order);
        if (len + 1 < sizeof seen->into->order)
            seen->into->order[len] = seen->letter;
    }
}

static void note_ready_letter(void *ctx, uint64_t key, uint32_t events)
{
    (void)key;
    (void)events;
    note_call(ctx);
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) != 0)
        ;
}

static void hands_over_source_key_and_events(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen first = {0}, second = {0};
    uint32_t a = loop_source(loop, note_ready, &first);
    uint32_t b = loop_source(loop, note_ready, &second);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_true(loop_watch(loop, fds[0], a, KEY_MAX, EPOLLIN));
    assert_true(loop_watch(loop, fds[1], b, 0, EPOLLOUT));
    loop_turn(loop, 0);
    assert_int_equal(first.calls, 0);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.key, 0);
    assert_int_equal(second.events, EPOLLOUT);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_turn(loop, -1);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.key, KEY_MAX);
    assert_int_equal(first.events, EPOLLIN);

    loop_rewatch(loop, fds[0], b, 7, EPOLLIN);
    loop_unwatch(loop, fds[1]);
    loop_turn(loop, -1);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.key, 7);
    loop_unwatch(loop, fds[0]);
    uint32_t calls = second.calls;
    loop_turn(loop, 0);
    assert_int_equal(second.calls, calls);
    close(fds[0]);
    close(fds[1]);
    loop_free(loop);
}

static void everything_ready_is_dispatched_though_it_exceeds_one_wait(void **state)
{
    (void)state;
    enum { FDS = 700 };
    struct loop *loop = loop_new();
    struct seen seen[FDS] = {0};
    int fds[FDS];
    for (uint32_t i = 0; i < FDS; i++) {
        fds[i] = eventfd(1, EFD_CLOEXEC);
        assert_true(fds[i] >= 0);
        uint32_t source = loop_source(loop, note_ready, &seen[i]);
        assert_true(loop_watch(loop, fds[i], source, i, EPOLLIN));
    }
    loop_turn(loop, -1);
    loop_turn(loop, -1);
    for (uint32_t i = 0; i < FDS; i++) {
        assert_true(seen[i].calls > 0);
        assert_int_equal(seen[i].key, i);
        close(fds[i]);
    }
    loop_free(loop);
}

static void a_turn_dispatches_then_ticks_then_ends_in_order(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen all = {0};
    struct seen ready = {.letter = 'r', .into = &all}, tick = {.letter = 't', .into = &all};
    struct seen end1 = {.letter = '1', .into = &all}, end2 = {.letter = '2', .into = &all};
    loop_at_turn_end(loop, note_call, &end1);
    loop_at_turn_end(loop, note_call, &end2);
    loop_every(loop, 1, note_call, &tick);
    int fd = eventfd(1, EFD_CLOEXEC);
    assert_true(loop_watch(loop, fd, loop_source(loop, note_ready_letter, &ready), 0, EPOLLIN));
    pause_ms(3);
    loop_turn(loop, 0);
    assert_string_equal(all.order, "rt12");
    close(fd);
    loop_free(loop);
}

static void a_ticker_comes_about_every_period_and_wakes_the_wait(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen tick = {0};
    loop_every(loop, 20, note_call, &tick);
    uint64_t began = now_ms();
    uint32_t turns = 0;
    while (tick.calls < 5) {
        loop_turn(loop, -1);
        turns++;
    }
    assert_true(now_ms() - began >= 99);
    assert_true(turns <= 10); /* it does not wake too early again and again */
    loop_free(loop);
}

static void after_a_pause_a_ticker_is_called_once(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen tick = {0}, slow = {0};
    loop_every(loop, 60000, note_call, &slow);
    loop_every(loop, 50, note_call, &tick);
    pause_ms(500);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    loop_turn(loop, 0);
    assert_in_range(tick.calls, 1, 2); /* two only if this machine stood still for 50 ms */
    assert_int_equal(slow.calls, 0);
    loop_free(loop);
}

struct adder {
    struct loop *loop;
    struct seen added;
    bool done;
};

static void add_ticker(void *ctx)
{
    struct adder *adder = ctx;
    if (!adder->done)
        loop_every(adder->loop, 1, note_call, &adder->added);
    adder->done = true;
}

static void a_ticker_may_be_added_by_a_ticker(void **state)
{
    (void)state;
    struct adder adder = {.loop = loop_new()};
    loop_every(adder.loop, 1, add_ticker, &adder);
    while (!adder.done)
        loop_turn(adder.loop, -1);
    assert_int_equal(adder.added.calls, 0);
    while (adder.added.calls < 3)
        loop_turn(adder.loop, -1);
    loop_free(adder.loop);
}

static void again_makes_the_next_wait_return_at_once_and_only_that(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    assert_int_equal(loop_wait_ms(loop), -1);
    loop_again(loop);
    assert_int_equal(loop_wait_ms(loop), 0);
    loop_turn(loop, -1); /* would wait for ever */
    assert_int_equal(loop_wait_ms(loop), -1);
    loop_free(loop);
}

static void wait_ms_tells_when_the_next_ticker_is_due(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen tick = {0};
    loop_every(loop, 100000, note_call, &tick);
    loop_every(loop, 5000, note_call, &tick);
    loop_every(loop, 50000, note_call, &tick);
    assert_in_range(loop_wait_ms(loop), 1, 5000);
    assert_int_equal(tick.calls, 0);
    loop_free(loop);
}

static void a_turn_waits_no_longer_than_it_is_told(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen tick = {0};
    loop_every(loop, 3600 * 1000, note_call, &tick);
    uint64_t began = now_ms();
    loop_turn(loop, 10);
    assert_in_range(now_ms() - began, 9, 60000);
    loop_free(loop);
}

static void now_is_the_start_of_the_turn(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    uint64_t before = now_ms();
    loop_turn(loop, 0);
    uint64_t turn_us = loop_now_us(loop);
    assert_true(loop_now_ms(loop) >= before);
    assert_int_equal(loop_now_ms(loop), turn_us / 1000);
    pause_ms(2);
    assert_int_equal(loop_now_us(loop), turn_us);
    loop_turn(loop, 0);
    assert_true(loop_now_us(loop) >= turn_us + 2000);
    loop_free(loop);
}

static void run_ends_after_the_turn_in_which_stop_was_seen(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct seen end = {0};
    loop_every(loop, 1, stop, loop);
    loop_at_turn_end(loop, note_call, &end);
    loop_run(loop);
    assert_true(end.calls >= 1);
    uint32_t calls = end.calls;
    loop_run(loop); /* and can be run again */
    assert_true(end.calls > calls);
    loop_free(loop);
}

static void a_stop_before_the_run_is_not_lost(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

static struct loop *signalled;

static void stop_on_signal(int number)
{
    (void)number;
    loop_stop(signalled);
}

static void stop_may_come_from_a_signal_handler(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    signalled = loop;
    struct sigaction action = {.sa_handler = stop_on_signal}, old;
    sigaction(SIGALRM, &action, &old);
    struct itimerval timer = {.it_value = {.tv_usec = 20000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    loop_run(loop);
    sigaction(SIGALRM, &old, NULL);
    loop_free(loop);
}

struct exchange {
    struct loop *loop;
    atomic_uint given;
    uint32_t taken; /* by the loop's thread */
    atomic_bool over;
};

enum { WAKES = 20000, WAKERS = 2 };

static void *wake_often(void *ctx)
{
    struct exchange *exchange = ctx;
    for (uint32_t i = 0; i < WAKES; i++) {
        atomic_fetch_add_explicit(&exchange->given, 1, memory_order_relaxed);
        loop_wake(exchange->loop);
    }
    return NULL;
}

static void take(void *ctx)
{
    struct exchange *exchange = ctx;
    exchange->taken = atomic_load_explicit(&exchange->given, memory_order_relaxed);
}

static void no_wake_of_another_thread_is_lost(void **state)
{
    (void)state;
    struct exchange exchange = {.loop = loop_new()};
    loop_at_turn_end(exchange.loop, take, &exchange);
    pthread_t threads[WAKERS];
    for (uint32_t i = 0; i < WAKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wake_often, &exchange), 0);
    while (exchange.taken < WAKES * WAKERS)
        loop_turn(exchange.loop, -1); /* a lost wake would hang here */
    for (uint32_t i = 0; i < WAKERS; i++)
        pthread_join(threads[i], NULL);
    loop_free(exchange.loop);
}

static void wakes_before_a_turn_are_one_turn(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    for (int i = 0; i < 3; i++) {
        loop_wake(loop);
        loop_wake(loop);
        loop_turn(loop, -1);
    }
    struct epoll_event event;
    assert_int_equal(epoll_wait(loop_fd(loop), &event, 1, 0), 0);
    loop_free(loop);
}

static void the_descriptor_polls_readable_when_there_is_something_to_do(void **state)
{
    (void)state;
    struct loop *outer = loop_new(), *inner = loop_new();
    struct seen seen = {0}, ready = {0};
    assert_true(
        loop_watch(outer, loop_fd(inner), loop_source(outer, note_ready, &seen), 1, EPOLLIN));
    loop_turn(outer, 0);
    assert_int_equal(seen.calls, 0);
    loop_wake(inner);
    loop_turn(outer, -1);
    assert_int_equal(seen.calls, 1);
    loop_turn(inner, 0);
    loop_turn(outer, 0);
    assert_int_equal(seen.calls, 1);
    int fd = eventfd(1, EFD_CLOEXEC);
    assert_true(loop_watch(inner, fd, loop_source(inner, note_ready, &ready), 1, EPOLLIN));
    loop_turn(outer, -1);
    assert_int_equal(seen.calls, 2);
    loop_turn(inner, 0);
    assert_int_equal(ready.calls, 1);
    close(fd);
    loop_free(inner);
    loop_free(outer);
}

static void a_key_of_more_than_48_bits_is_a_bug(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct seen seen;
        struct loop *loop = loop_new();
        uint32_t source = loop_source(loop, note_ready, &seen);
        int fd = eventfd(0, EFD_CLOEXEC);
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        _exit(loop_watch(loop, fd, source, KEY_MAX + 1, EPOLLIN) ? 1 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_over_source_key_and_events),
        cmocka_unit_test(everything_ready_is_dispatched_though_it_exceeds_one_wait),
        cmocka_unit_test(a_turn_dispatches_then_ticks_then_ends_in_order),
        cmocka_unit_test(a_ticker_comes_about_every_period_and_wakes_the_wait),
        cmocka_unit_test(after_a_pause_a_ticker_is_called_once),
        cmocka_unit_test(a_ticker_may_be_added_by_a_ticker),
        cmocka_unit_test(again_makes_the_next_wait_return_at_once_and_only_that),
        cmocka_unit_test(wait_ms_tells_when_the_next_ticker_is_due),
        cmocka_unit_test(a_turn_waits_no_longer_than_it_is_told),
        cmocka_unit_test(now_is_the_start_of_the_turn),
        cmocka_unit_test(run_ends_after_the_turn_in_which_stop_was_seen),
        cmocka_unit_test(a_stop_before_the_run_is_not_lost),
        cmocka_unit_test(stop_may_come_from_a_signal_handler),
        cmocka_unit_test(no_wake_of_another_thread_is_lost),
        cmocka_unit_test(wakes_before_a_turn_are_one_turn),
        cmocka_unit_test(the_descriptor_polls_readable_when_there_is_something_to_do),
        cmocka_unit_test(a_key_of_more_than_48_bits_is_a_bug),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
