#include "bench/storm.h"

#include "base/log.h"
#include "bench/json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

/* Backoff goes up to 60 s. */
#define BACK_MOST_S 120u
#define LOOK_S 0.2

struct storm {
    uint64_t lost, back;
    uint64_t by_ticket, no_ticket; /* of those who came back; refused, so a token was shown */
    struct hist returned;          /* from the loss to the welcome */
    struct hist before, during;    /* latencies of those who stayed */
};

static bool strike(const struct options *options)
{
    if (kill((pid_t)options->kill_pid, SIGKILL) == 0)
        return true;
    fprintf(stderr, "lahar-bench: --kill-pid %u: %s\n", options->kill_pid, strerror(errno));
    return false;
}

static bool wait_for_all(struct lead *lead, struct storm *storm)
{
    const struct options *options = lead_options(lead);
    struct team_counts sum;
    for (uint32_t i = 0; i < BACK_MOST_S / LOOK_S; i++) {
        team_sum(lead_team(lead), &sum);
        storm->lost = sum.lost;
        storm->back = sum.back;
        storm->by_ticket = sum.by_ticket;
        storm->no_ticket = sum.no_ticket;
        if (sum.online == (uint64_t)options->users * options->devices)
            break;
        if (!lead_pass(lead, options->rate, LOOK_S))
            return false;
    }
    if (storm->lost == 0)
        fprintf(stderr, "lahar-bench: nobody was on process %u\n", options->kill_pid);
    if (storm->back < storm->lost)
        fprintf(stderr, "lahar-bench: only %llu of %llu users came back\n",
                (unsigned long long)storm->back, (unsigned long long)storm->lost);
    return storm->lost > 0 && storm->back == storm->lost;
}

static bool blow(struct lead *lead, struct storm *storm)
{
    const struct options *options = lead_options(lead);
    struct report *report = lead_report(lead);
    struct team *team = lead_team(lead);
    struct report_span calm;
    if (!lead_login(lead) || !lead_warm_up(lead) ||
        !lead_window(lead, options->rate, options->seconds, &calm))
        return false;
    team_merge(team, TEAM_STAYED, &storm->before);
    if (!strike(options) || !lead_window(lead, options->rate, options->seconds, &report->measured))
        return false;
    bool all = wait_for_all(lead, storm);
    team_merge(team, TEAM_STAYED, &storm->during);
    hist_subtract(&storm->during, &storm->before);
    team_merge(team, TEAM_BACK, &storm->returned);
    return lead_drain(lead) && all;
}

/* --- the report ------------------------------------------------------------------------------- */

static double seconds(const struct hist *hist, double share)
{
    return (double)hist_at(hist, share) / 1e9;
}

static void print_json(const void *ctx)
{
    const struct storm *storm = ctx;
    printf(",\"storm\":{\"lost\":%llu", (unsigned long long)storm->lost);
    json_count("back", storm->back);
    json_count("by_ticket", storm->by_ticket);
    json_count("tickets_refused", storm->no_ticket);
    printf(",\"back_seconds\":{\"p50\":%.6g", seconds(&storm->returned, 0.5));
    json_real("p99", seconds(&storm->returned, 0.99));
    json_real("max", seconds(&storm->returned, 1));
    printf("}");
    if (storm->before.count > 0)
        json_real("others_p99_us_before", (double)hist_at(&storm->before, 0.99) / 1e3);
    if (storm->during.count > 0)
        json_real("others_p99_us_during", (double)hist_at(&storm->during, 0.99) / 1e3);
    printf("}");
}

static void print_text(const void *ctx)
{
    const struct storm *storm = ctx;
    printf("  %llu users lost their server, %llu returned: p50 %.2f s, p99 %.2f s, max %.2f s\n",
           (unsigned long long)storm->lost, (unsigned long long)storm->back,
           seconds(&storm->returned, 0.5), seconds(&storm->returned, 0.99),
           seconds(&storm->returned, 1));
    printf("  %llu of them by ticket; %llu tickets were refused\n",
           (unsigned long long)storm->by_ticket, (unsigned long long)storm->no_ticket);
    if (storm->before.count > 0)
        printf("  p99 of the others: %.0f us before, %.0f us during\n",
               (double)hist_at(&storm->before, 0.99) / 1e3,
               (double)hist_at(&storm->during, 0.99) / 1e3);
}

enum workload_end storm_lead(struct lead *lead)
{
    static struct storm storm; /* the report is printed later */
    struct report *report = lead_report(lead);
    if (lead_options(lead)->kill_pid == 0)
        log_die("storm: give --kill-pid, a server process that some of the users are on");
    report->messages = lead_options(lead)->rate > 0;
    bool whole = blow(lead, &storm);
    report->more.json = print_json;
    report->more.text = print_text;
    report->more.ctx = &storm;
    return whole ? lead_end(lead) : WORKLOAD_FAILED;
}
