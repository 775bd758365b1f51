#include "bench/idle.h"

#include "bench/json.h"

#include <stdio.h>

static double per_login(const struct report_span *span, uint64_t ns)
{
    return span->counts.logins > 0 ? (double)ns / 1e3 / (double)span->counts.logins : 0;
}

static double cpu_us_each(const struct report_span *span, const struct options *options)
{
    uint64_t redis = cost_cpu_ns(&options->redis, &span->redis_before, &span->redis_after);
    return per_login(span, cost_cpu_ns(&options->pids, &span->before, &span->after) + redis);
}

struct again {
    const struct options *options;
    struct report_span span;
};

static void print_json(const void *ctx)
{
    const struct again *again = ctx;
    const struct report_span *span = &again->span;
    printf(",\"again\":{\"count\":%llu", (unsigned long long)span->counts.logins);
    json_count("by_ticket", span->counts.by_ticket);
    json_count("tickets_refused", span->counts.no_ticket);
    json_count("refused", span->counts.refused);
    json_real("per_second", (double)span->counts.logins / ((double)span->ns / 1e9));
    json_real("cpu_us_each", cpu_us_each(span, again->options));
    json_real("generator_cpu_us_each", per_login(span, span->own_cpu_ns));
    printf("}");
}

static void print_text(const void *ctx)
{
    const struct again *again = ctx;
    const struct report_span *span = &again->span;
    printf("  again: %llu logins, %.0f/s, %llu by ticket; server CPU each %.0f us\n",
           (unsigned long long)span->counts.logins,
           (double)span->counts.logins / ((double)span->ns / 1e9),
           (unsigned long long)span->counts.by_ticket, cpu_us_each(span, again->options));
}

/* When all is measured and no message is on its way: nobody is missed while he is away. */
static void all_again(struct lead *lead)
{
    static struct again again; /* the report is printed later */
    struct report *report = lead_report(lead);
    again.options = lead_options(lead);
    if (!lead_again(lead, &again.span))
        return;
    report->more.json = print_json;
    report->more.text = print_text;
    report->more.ctx = &again;
}

enum workload_end idle_lead(struct lead *lead)
{
    struct report *report = lead_report(lead);
    report->held = true;
    report->messages = lead_options(lead)->rate > 0;
    /* While it warms up, what logins needed for a moment is given back. */
    if (lead_login(lead) && lead_warm_up(lead) && lead_measure(lead) && lead_drain(lead) &&
        lead_options(lead)->tickets)
        all_again(lead);
    return lead_end(lead);
}
