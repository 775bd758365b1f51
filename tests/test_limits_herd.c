/* limits, with overload and the library's backoff: 100,000 clients lose their edge and come to a
 * worker that has its own users. All are back within a bounded time, and those users hardly notice.
 *
 * The worker is a model: turns that take as long as what is in them costs (ARCHITECTURE's figures),
 * a backlog of connections in the kernel, and the real limits, overload and backoff. */
#include "base/overload.h"
#include "client/backoff.h"
#include "edge/edge_metrics.h"
#include "edge/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HERD 100000u
#define BACKLOG 4096u /* SOMAXCONN: more SYNs are sent again by the clients' kernels */
#define SYN_AGAIN_MS 1000u
#define FIRST_US 1000000u

/* Costs in microseconds of CPU. */
#define COST_MESSAGE 10u
#define COST_REFUSE 12u
#define COST_ACCEPT 15u
#define COST_HANDSHAKE 170u
#define COST_TICKET 25u
#define COST_TOKEN 75u

#define MESSAGES_PER_S 20000u /* of the worker's own users: a fifth of its time */
#define BURDEN_US 450000u
#define HIST 4096u /* of delays, in ms */

struct client {
    uint64_t due_us; /* when it connects, or its Hello arrives */
    uint8_t attempts;
    bool back;
};

struct herd {
    bool tls;
    enum limits_login how;
    struct limits_options options;
    struct overload overload;

    struct metrics_registry *registry;
    struct limits *limits;
    struct client *clients;
    uint32_t *backlog, backlog_count; /* in the kernel: accepted in their order */
    uint32_t *hellos, hello_count;
    uint64_t now_us, felt_us, messages_us, looked_us;
    uint64_t seed;
    uint64_t burdened_us; /* until then each turn takes BURDEN_US more */
    uint32_t back, back_burdened, worst_class;
    uint64_t all_back_us, tries;
    uint64_t delays[HIST], messages;
};

static uint64_t dice(struct herd *herd)
{
    herd->seed = herd->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return herd->seed >> 20;
}

static void begin(struct herd *herd)
{
    herd->registry = metrics_registry_new(edge_metrics_table(), EDGE_METRICS);
    herd->limits = limits_new(&herd->options, metrics_registry_worker(herd->registry, "e1/0"));
    herd->clients = calloc(HERD, sizeof *herd->clients);
    herd->backlog = calloc(BACKLOG, sizeof *herd->backlog);
    herd->hellos = calloc(HERD, sizeof *herd->hellos);
    assert(herd->clients != NULL && herd->backlog != NULL && herd->hellos != NULL);
    herd->now_us = herd->felt_us = herd->messages_us = FIRST_US;
    herd->seed = 11;
}

static void end(struct herd *herd)
{
    limits_free(herd->limits);
    metrics_registry_free(herd->registry);
    free(herd->clients);
    free(herd->backlog);
    free(herd->hellos);
}

static void come_again(struct herd *herd, struct client *client, uint64_t told_ms)
{
    static const struct backoff backoff = {1000, 60000};
    client->due_us =
        herd->now_us + 1000 * backoff_ms(backoff, client->attempts, told_ms, dice(herd));
    if (client->attempts < 32)
        client->attempts++;
}

/* Over TLS nothing can be told before the handshake, which is what is saved. */
static void turn_away(struct herd *herd, struct client *client, bool can_tell)
{
    come_again(herd, client, can_tell ? limits_retry_ms(herd->limits, dice(herd)) : 0);
}

/* They come in steps of 10 ms. */
static void connect_due(struct herd *herd)
{
    if (herd->now_us < herd->looked_us + 10000)
        return;
    herd->looked_us = herd->now_us;
    for (uint32_t i = 0; i < HERD; i++) {
        struct client *client = &herd->clients[i];
        if (client->back || client->due_us > herd->now_us)
            continue;
        if (herd->backlog_count == BACKLOG) {
            client->due_us = herd->now_us + SYN_AGAIN_MS * 1000;
            continue;
        }
        client->due_us = UINT64_MAX;
        herd->backlog[herd->backlog_count++] = i;
    }
}

static uint64_t accept_some(struct herd *herd)
{
    uint64_t cost = 0;
    uint32_t most = herd->tls ? 8 : 64, i = 0;
    for (; i < most && i < herd->backlog_count; i++) {
        struct client *client = &herd->clients[herd->backlog[i]];
        herd->tries++;
        if (limits_accept(herd->limits) != LIMIT_NONE ||
            (herd->tls && limits_handshake(herd->limits) != LIMIT_NONE)) {
            cost += COST_REFUSE;
            turn_away(herd, client, !herd->tls);
            continue;
        }
        cost += COST_ACCEPT + (herd->tls ? COST_HANDSHAKE : 0);
        herd->hellos[herd->hello_count++] = herd->backlog[i];
    }
    herd->backlog_count -= i;
    memmove(herd->backlog, herd->backlog + i, herd->backlog_count * sizeof *herd->backlog);
    return cost;
}

/* Those who were accepted in an earlier turn. */
static uint64_t log_in(struct herd *herd, uint32_t count)
{
    uint64_t cost = 0;
    uint32_t done = 0;
    for (; done < count; done++) {
        struct client *client = &herd->clients[herd->hellos[done]];
        if (limits_login(herd->limits, LIMITS_NOBODY, herd->how) != LIMIT_NONE) {
            cost += COST_REFUSE;
            turn_away(herd, client, true);
            continue;
        }
        cost += herd->how == LIMITS_FULL ? COST_TOKEN : COST_TICKET;
        client->back = true;
        herd->back++;
        herd->back_burdened += herd->now_us < herd->burdened_us;
    }
    herd->hello_count -= done;
    memmove(herd->hellos, herd->hellos + done, herd->hello_count * sizeof *herd->hellos);
    return cost;
}

/* What came for the worker's own users since the last turn leaves at the end of this one. */
static uint64_t serve(struct herd *herd, uint64_t cost)
{
    uint64_t since_us = herd->now_us - herd->messages_us;
    uint64_t messages = since_us * MESSAGES_PER_S / 1000000;
    if (messages == 0)
        return cost;
    herd->messages_us = herd->now_us;
    cost += messages * COST_MESSAGE + (herd->now_us < herd->burdened_us ? BURDEN_US : 0);
    uint64_t delay_ms = (since_us + cost) / 1000; /* of the one that came first */
    herd->delays[delay_ms < HIST ? delay_ms : HIST - 1] += messages;
    herd->messages += messages;
    return cost;
}

static void feel(struct herd *herd)
{
    if (herd->now_us - herd->felt_us < OVERLOAD_MS * 1000)
        return;
    struct overload_signal signals[] = {
        {overload_turns_us(&herd->overload, herd->now_us - herd->felt_us), 500000},
        {herd->hello_count, 20000},
    };
    herd->felt_us = herd->now_us;
    limits_tick(herd->limits);
    if (overload_feed(&herd->overload, signals, 2))
        limits_set_class(herd->limits, (enum limits_class)herd->overload.class);
    if (herd->overload.class > herd->worst_class)
        herd->worst_class = herd->overload.class;
}

static void run(struct herd *herd, uint64_t until_us, bool herd_is_there)
{
    while (herd->now_us < until_us && (herd->back < HERD || !herd_is_there)) {
        limits_time(herd->limits, herd->now_us / 1000);
        if (herd_is_there)
            connect_due(herd);
        uint32_t hellos = herd->hello_count;
        uint64_t cost = accept_some(herd);
        cost = serve(herd, cost + log_in(herd, hellos));
        overload_turn(&herd->overload, cost);
        herd->now_us += cost < 1000 ? 1000 : cost; /* else it waits: something comes each ms */
        feel(herd);
    }
    herd->all_back_us = herd->now_us;
}

static uint64_t p99_ms(const struct herd *herd)
{
    uint64_t beyond = 0;
    for (uint32_t ms = HIST; ms-- > 0;)
        if ((beyond += herd->delays[ms]) > herd->messages / 100)
            return ms;
    return 0;
}

static uint64_t calm_p99_ms(void)
{
    struct herd herd = {.overload = {.thresholds = {70, 85, 95}}};
    begin(&herd);
    run(&herd, FIRST_US + 10000000, false);
    uint64_t p99 = p99_ms(&herd);
    end(&herd);
    return p99;
}

/* How long it takes until all are back, in s. */
static uint64_t seconds_until_back(struct herd *herd)
{
    begin(herd);
    for (uint32_t i = 0; i < HERD; i++)
        come_again(herd, &herd->clients[i], 0);
    run(herd, FIRST_US + UINT64_C(600) * 1000000, true);
    assert_int_equal(herd->back, HERD);
    return (herd->all_back_us - FIRST_US) / 1000000;
}

static struct limits_options defaults(void)
{
    return (struct limits_options){.accepts = {20000, 20000},
                                   .handshakes = {3000, 3000},
                                   .logins = {5000, 5000},
                                   .tickets = {20000, 20000},
                                   .checks_a_turn = 32,
                                   .addresses_max = 0};
}

static void a_herd(const char *what, bool tls, enum limits_login how, uint64_t seconds_max)
{
    struct herd herd = {
        .tls = tls, .how = how, .options = defaults(), .overload = {.thresholds = {70, 85, 95}}};
    uint64_t seconds = seconds_until_back(&herd);
    print_message("%s: all back after %llu s, %.1f connections each, users' p99 %llu ms (calm "
                  "%llu), class %u\n",
                  what, (unsigned long long)seconds, (double)herd.tries / HERD,
                  (unsigned long long)p99_ms(&herd), (unsigned long long)calm_p99_ms(),
                  herd.worst_class);
    assert_true(seconds <= seconds_max);
    assert_true(p99_ms(&herd) <= calm_p99_ms() + 20);
    end(&herd);
}

static void returns_by_ticket_within_seconds(void **state)
{
    (void)state;
    a_herd("by ticket", false, LIMITS_BY_TICKET, 30);
}

static void returns_by_token_as_fast_as_tokens_may_be_checked(void **state)
{
    (void)state;
    a_herd("by token", false, LIMITS_FULL, 120);
}

static void returns_over_tls_as_fast_as_hands_may_be_shaken(void **state)
{
    (void)state;
    a_herd("by ticket over TLS", true, LIMITS_BY_TICKET, 240);
}

/* Something else keeps the worker busy: it takes nobody in until it can, then all of them. */
static void waits_while_the_worker_has_too_much_to_do(void **state)
{
    (void)state;
    struct herd herd = {.how = LIMITS_BY_TICKET,
                        .options = defaults(),
                        .overload = {.thresholds = {70, 85, 95}},
                        .burdened_us = FIRST_US + 10000000};
    uint64_t seconds = seconds_until_back(&herd);
    print_message("after 10 s of overload: all back after %llu s, %u of them meanwhile\n",
                  (unsigned long long)seconds, herd.back_burdened);
    assert_true(herd.worst_class >= LIMITS_NO_ACCEPTS);
    assert_true(herd.back_burdened < HERD / 50);
    assert_true(seconds <= 120);
    end(&herd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(returns_by_ticket_within_seconds),
        cmocka_unit_test(returns_by_token_as_fast_as_tokens_may_be_checked),
        cmocka_unit_test(returns_over_tls_as_fast_as_hands_may_be_shaken),
        cmocka_unit_test(waits_while_the_worker_has_too_much_to_do),
    };
    return cmocka_run_group_tests_name("limits_herd", tests, NULL, NULL);
}
