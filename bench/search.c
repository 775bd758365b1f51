#include "bench/search.h"

#include "bench/json.h"

#include <math.h>
#include <stdio.h>

#define START_RATE 1000.0
#define LEAST_RATE 1.0
#define MOST_RATE 1e8
#define WIDTH 1.05    /* of the range in the end */
#define STEPS_MAX 60u /* each has a window */
#define FINDING_MAX 48u
#define SHARE 0.99
/* So many messages at least, 20 of which may be slower. */
#define MESSAGES_MIN 2000.0
#define SETTLE_S 0.5
#define CALM_S 0.2
#define CALM_STEPS 75u

struct step {
    double rate;
    uint64_t p50_ns, p99_ns;
    bool kept;
};

struct search {
    struct lead *lead;
    struct step steps[STEPS_MAX];
    uint32_t count;
    double highest;
    uint64_t sent; /* messages due in any window that have gone out */
    struct hist hist;
};

double search_next(struct search_range *range, double rate, bool kept)
{
    if (kept)
        range->kept = rate;
    else
        range->failed = rate;
    if (range->failed == 0)
        return rate * 2 <= MOST_RATE ? rate * 2 : 0;
    if (range->kept == 0)
        return rate / 2 >= LEAST_RATE ? rate / 2 : 0;
    return range->failed / range->kept <= WIDTH ? 0 : sqrt(range->failed * range->kept);
}

static uint64_t limit_ns(const struct search *search)
{
    return (uint64_t)lead_options(search->lead)->p99_us * 1000u;
}

/* How many of the messages that were due in the last window had come to their end in time. */
static uint64_t in_time(const struct search *search)
{
    uint64_t low = 0, high = search->hist.count, limit = limit_ns(search);
    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (hist_at(&search->hist, (double)middle / (double)search->hist.count) <= limit)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Of `due` messages, those counted as slowest that have not come to an end. */
static uint64_t time_of(const struct search *search, double share, uint64_t due)
{
    double of = search->hist.count > 0 ? (double)due / (double)search->hist.count : 1;
    return hist_at(&search->hist, fmin(1, share * fmax(1, of)));
}

static uint64_t flying(const struct search *search)
{
    struct team_counts sum;
    team_sum(lead_team(search->lead), &sum);
    const struct referee_counts *counts = &sum.referee;
    uint64_t ended = counts->completed + counts->lost + counts->unknown + counts->to_offline;
    for (uint32_t i = 0; i < NACK_REASONS; i++)
        ended += counts->refused[i];
    return counts->sent > ended ? counts->sent - ended : 0;
}

/* After more than the servers could do, what has piled up is no load of the next step. */
static bool calm_down(struct search *search, double rate)
{
    for (uint32_t i = 0; i < CALM_STEPS && (double)flying(search) > rate / 1000; i++)
        if (!lead_pass(search->lead, 0, CALM_S))
            return false;
    return true;
}

static double window_seconds(const struct search *search, double rate)
{
    double seconds = lead_options(search->lead)->seconds;
    return rate * seconds < MESSAGES_MIN ? MESSAGES_MIN / rate : seconds;
}

/* False if the run cannot go on. */
static bool make_step(struct search *search, double rate, struct report_span *span, bool *kept)
{
    struct lead *lead = search->lead;
    double seconds = window_seconds(search, rate);
    double wait_s = (double)limit_ns(search) / 1e9 * 2;
    assert(search->count < STEPS_MAX);
    if (!lead_pass(lead, rate, SETTLE_S) || !lead_window(lead, rate, seconds, span) ||
        !lead_pass(lead, rate, wait_s < CALM_S ? CALM_S : wait_s))
        return false;
    hist_clear(&search->hist);
    team_merge(lead_team(lead), TEAM_LATE, &search->hist);
    uint64_t due = search->hist.count - search->sent;
    search->sent = search->hist.count;
    lead_latency(lead, &search->hist);
    /* Less went out than chance explains: the generator, or what it waited for, fell behind. */
    double least = rate * seconds - 5 * sqrt(rate * seconds);
    *kept = (double)in_time(search) >= SHARE * (double)due && (double)due >= SHARE * least;
    search->steps[search->count++] = (struct step){
        .rate = rate,
        .p50_ns = time_of(search, 0.5, due),
        .p99_ns = time_of(search, SHARE, due),
        .kept = *kept,
    };
    return *kept || calm_down(search, rate);
}

/* Measures the found rate; one that is not kept a third and fourth time was luck. */
static bool confirm(struct search *search)
{
    struct report_span *measured = &lead_report(search->lead)->measured;
    for (bool kept = false; !kept && search->count + 2 <= STEPS_MAX;) {
        if (!make_step(search, search->highest, measured, &kept))
            return false;
        if (!kept && !make_step(search, search->highest, measured, &kept))
            return false;
        if (!kept)
            search->highest = search->count + 2 <= STEPS_MAX ? search->highest / WIDTH : 0;
    }
    return true;
}

static bool find(struct search *search)
{
    const struct options *options = lead_options(search->lead);
    struct report_span *measured = &lead_report(search->lead)->measured;
    struct search_range range = {0, 0};
    double rate = options->rate > 0 ? options->rate : START_RATE;
    if (!lead_pass(search->lead, rate, options->warmup))
        return false;
    while (rate > 0 && search->count + 2 <= FINDING_MAX) {
        bool kept;
        if (!make_step(search, rate, measured, &kept))
            return false;
        if (!kept && !make_step(search, rate, measured, &kept))
            return false;
        rate = search_next(&range, rate, kept);
    }
    /* Nothing was kept: then what was tried last is shown. */
    search->highest = range.kept;
    return range.kept > 0 ? confirm(search)
                          : make_step(search, range.failed, measured, &(bool){false});
}

/* --- the report ------------------------------------------------------------------------------- */

static void print_json(const void *ctx)
{
    const struct search *search = ctx;
    json_count("p99_us", limit_ns(search) / 1000u);
    json_real("highest_rate", search->highest);
    printf(",\"steps\":[");
    for (uint32_t i = 0; i < search->count; i++) {
        const struct step *step = &search->steps[i];
        printf("%s{\"kept\":%s", i ? "," : "", step->kept ? "true" : "false");
        json_real("rate", step->rate);
        json_real("p50", (double)step->p50_ns / 1e3);
        json_real("p99", (double)step->p99_ns / 1e3);
        printf("}");
    }
    printf("]");
}

static void print_text(const void *ctx)
{
    const struct search *search = ctx;
    for (uint32_t i = 0; i < search->count; i++) {
        const struct step *step = &search->steps[i];
        printf("  %10.0f messages/s: p50 %.0f us, p99 %.0f us, %s\n", step->rate,
               (double)step->p50_ns / 1e3, (double)step->p99_ns / 1e3,
               step->kept ? "kept" : "not kept");
    }
    printf("  highest rate with a p99 of %u us: %.0f messages/s\n",
           lead_options(search->lead)->p99_us, search->highest);
}

enum workload_end search_lead(struct lead *lead)
{
    static struct search search; /* the report is printed later */
    struct report *report = lead_report(lead);
    search.lead = lead;
    report->messages = true;
    if (lead_login(lead) && find(&search))
        (void)lead_drain(lead);
    report->more.json = print_json;
    report->more.text = print_text;
    report->more.ctx = &search;
    return lead_end(lead);
}
