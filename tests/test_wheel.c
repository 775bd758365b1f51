/* wheel: against a naive model that looks at every timer. */
#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define DAY_MS (UINT64_C(24) * 3600 * 1000)
#define TIMERS 200u

static uint64_t random_state;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Of any magnitude up to `max`, small ones as likely as large ones. */
static uint64_t random_span(uint64_t max)
{
    uint64_t value = random_u64() >> (random_u64() % 64);
    return value % (max + 1);
}

static void a_timer_fires_at_its_time_or_one_tick_later_never_before(void **state)
{
    (void)state;
    for (uint64_t start = 1000; start < 1000 + WHEEL_TICK_MS; start++)
        for (uint64_t after = 0; after < 3 * WHEEL_TICK_MS; after++) {
            struct wheel *wheel = wheel_new(start);
            struct wheel_timer timer = {0};
            wheel_set(wheel, &timer, start + after);
            uint64_t now = start;
            while (wheel_expire(wheel, now) == NULL) {
                assert_true(wheel_pending(&timer));
                now++;
            }
            assert_false(wheel_pending(&timer));
            assert_true(now >= start + after);
            assert_true(now < start + after + WHEEL_TICK_MS);
            wheel_free(wheel);
        }
}

static void a_timer_in_the_past_fires_at_the_next_advance(void **state)
{
    (void)state;
    struct wheel *wheel = wheel_new(5000);
    struct wheel_timer timer = {0};
    wheel_set(wheel, &timer, 17);
    assert_ptr_equal(wheel_expire(wheel, 5000), &timer);
    assert_null(wheel_expire(wheel, 5000));
    wheel_free(wheel);
}

static void cancelling_an_idle_timer_is_harmless(void **state)
{
    (void)state;
    struct wheel *wheel = wheel_new(0);
    struct wheel_timer timer = {0};
    wheel_cancel(wheel, &timer);
    wheel_set(wheel, &timer, 100);
    wheel_cancel(wheel, &timer);
    wheel_cancel(wheel, &timer);
    assert_false(wheel_pending(&timer));
    assert_null(wheel_expire(wheel, 100000));
    wheel_free(wheel);
}

static void what_is_set_or_cancelled_between_the_calls_is_honoured(void **state)
{
    (void)state;
    struct wheel *wheel = wheel_new(0);
    struct wheel_timer a = {0}, b = {0}, c = {0};
    wheel_set(wheel, &a, 100);
    wheel_set(wheel, &b, 100);
    assert_ptr_equal(wheel_expire(wheel, 200), &a);
    assert_true(wheel_pending(&b)); /* due, but not yet taken */
    wheel_cancel(wheel, &b);
    wheel_set(wheel, &c, 150);
    wheel_set(wheel, &a, 300);
    assert_ptr_equal(wheel_expire(wheel, 200), &c);
    assert_null(wheel_expire(wheel, 200));
    assert_ptr_equal(wheel_expire(wheel, 400), &a);
    wheel_free(wheel);
}

static void survives_a_year_of_pause_at_once(void **state)
{
    (void)state;
    struct wheel *wheel = wheel_new(0);
    static struct wheel_timer timers[10000];
    memset(timers, 0, sizeof timers);
    for (uint32_t i = 0; i < 10000; i++)
        wheel_set(wheel, &timers[i], i * (24 * DAY_MS / 10000));
    struct timespec began, ended;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
    uint32_t fired = 0;
    for (struct wheel_timer *timer; (timer = wheel_expire(wheel, 365 * DAY_MS)) != NULL;)
        assert_ptr_equal(timer, &timers[fired++]);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    assert_int_equal(fired, 10000);
    assert_true(ended.tv_sec - began.tv_sec <= 1); /* tick by tick it would be 2 billion steps */
    wheel_free(wheel);
}

struct model {
    bool pending;
    uint64_t due_ms;
};

static void take_due(struct wheel *wheel, struct wheel_timer *timers, struct model *model,
                     uint64_t now)
{
    for (struct wheel_timer *timer; (timer = wheel_expire(wheel, now)) != NULL;) {
        struct model *of = &model[timer - timers];
        assert_true(of->pending);
        assert_true(of->due_ms <= now);
        of->pending = false;
    }
    for (uint32_t i = 0; i < TIMERS; i++) {
        assert_int_equal(model[i].pending, wheel_pending(&timers[i]));
        if (model[i].pending) /* it is at most one tick late */
            assert_true(now / WHEEL_TICK_MS * WHEEL_TICK_MS < model[i].due_ms);
    }
}

static void behaves_like_looking_at_every_timer(void **state)
{
    (void)state;
    /* Also across the ends of 32 bits of ticks and of the top level's round. */
    const uint64_t starts[] = {0, 123456789, (UINT64_C(1) << 32) * WHEEL_TICK_MS - 5000,
                               (UINT64_C(1) << 36) * WHEEL_TICK_MS - 5 * DAY_MS,
                               (UINT64_C(1) << 30) * WHEEL_TICK_MS - 1};
    for (uint32_t round = 0; round < 60; round++) {
        random_state = 0x9e3779b97f4a7c15 + round;
        uint64_t now = starts[round % 5];
        uint64_t step_max = round % 3 == 0 ? 24 * DAY_MS : round % 3 == 1 ? 60000 : 100;
        struct wheel *wheel = wheel_new(now);
        struct wheel_timer timers[TIMERS] = {0};
        struct model model[TIMERS] = {0};
        for (uint32_t step = 0; step < 2000; step++) {
            uint32_t i = (uint32_t)(random_u64() % TIMERS);
            switch (random_u64() % 8) {
            case 0:
                now += random_span(step_max);
                take_due(wheel, timers, model, now);
                break;
            case 1:
                wheel_cancel(wheel, &timers[i]);
                model[i].pending = false;
                break;
            case 2: /* in the past */
                model[i].due_ms = now - random_span(now < 1000 ? now : 1000);
                model[i].pending = true;
                wheel_set(wheel, &timers[i], model[i].due_ms);
                break;
            default:
                model[i].due_ms = now + random_span(24 * DAY_MS);
                model[i].pending = true;
                wheel_set(wheel, &timers[i], model[i].due_ms);
                break;
            }
        }
        take_due(wheel, timers, model, now + 25 * DAY_MS);
        for (uint32_t i = 0; i < TIMERS; i++)
            assert_false(wheel_pending(&timers[i]));
        wheel_free(wheel);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_at_its_time_or_one_tick_later_never_before),
        cmocka_unit_test(a_timer_in_the_past_fires_at_the_next_advance),
        cmocka_unit_test(cancelling_an_idle_timer_is_harmless),
        cmocka_unit_test(what_is_set_or_cancelled_between_the_calls_is_honoured),
        cmocka_unit_test(survives_a_year_of_pause_at_once),
        cmocka_unit_test(behaves_like_looking_at_every_timer),
    };
    return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
