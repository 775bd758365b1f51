#include "bench/idle.h"

#include "bench/report.h"

#include <stdio.h>

static void ignore_deliver(void *ctx, uint32_t user, const struct hot_deliver *deliver)
{
    (void)ctx;
    (void)user;
    (void)deliver;
}

static void ignore_ack(void *ctx, uint32_t user, const struct hot_ack *ack)
{
    (void)ctx;
    (void)user;
    (void)ack;
}

static void ignore_nack(void *ctx, uint32_t user, const struct hot_nack *nack)
{
    (void)ctx;
    (void)user;
    (void)nack;
}

static void hold(struct crowd *crowd, uint32_t seconds)
{
    uint64_t until = crowd_now_ns(crowd) + seconds * UINT64_C(1000000000);
    while (crowd_now_ns(crowd) < until)
        crowd_turn(crowd, 100);
}

enum workload_end idle_run(const struct options *options)
{
    struct crowd_options crowd_options = workload_crowd(options);
    const struct crowd_events events = {ignore_deliver, ignore_ack, ignore_nack};
    struct report_idle report = {0};
    crowd_options.keep_bytes = 0;
    struct crowd *crowd = crowd_new(&crowd_options, &events, NULL);
    enum workload_end end = WORKLOAD_DONE;
    report_begin(options, &report.login, crowd_now_ns(crowd));
    if (crowd_login(crowd, options->login_timeout * 1000u)) {
        report_end(options, &report.login, crowd_now_ns(crowd));
        /* Until what logins needed for a moment has been given back. */
        hold(crowd, options->warmup);
        report_begin(options, &report.held, crowd_now_ns(crowd));
        hold(crowd, options->seconds);
        report_end(options, &report.held, crowd_now_ns(crowd));
        report.crowd = crowd_counts(crowd);
        report_idle(options, &report);
    }
    if (*crowd_why(crowd)) {
        fprintf(stderr, "lahar-bench: %s\n", crowd_why(crowd));
        end = WORKLOAD_FAILED;
    }
    crowd_free(crowd);
    return end;
}
