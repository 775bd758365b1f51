#include "bench/lead.h"

#include "base/log.h"
#include "bench/live.h"
#include "bench/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define STEP_MS 100u
#define DRAIN_MS 35000u
#define GONE_MIN 64u

struct lead {
    const struct workload *workload;
    struct options options;
    struct team *team;
    struct live *live;
    struct report report;
    struct hist recent; /* for the live view */
    struct hist late;   /* TEAM_LATE when the last window began */
    struct team_now now;
    uint32_t windows; /* opened until now */
    bool whole;
};

uint64_t lead_now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

const struct options *lead_options(const struct lead *lead)
{
    return &lead->options;
}

struct report *lead_report(struct lead *lead)
{
    return &lead->report;
}

struct team *lead_team(struct lead *lead)
{
    return lead->team;
}

/* --- what is shown meanwhile -------------------------------------------------------------------
 */

static const char *phase_name(enum team_phase phase)
{
    static const char *const names[] = {"logins",   "warm-up", "measuring",
                                        "draining", "again",   "done"};
    return names[phase];
}

static void show(struct lead *lead, double progress, uint64_t left_ns)
{
    static const char *const classes[HOT_CLASSES] = {"stored", "confirmed", "ephemeral"};
    const struct options *options = &lead->options;
    struct team_counts sum;
    struct cost_sample cost;
    char title[128];
    if (!lead->live)
        return;
    team_sum(lead->team, &sum);
    snprintf(title, sizeof title, "%s, %s, %s", options->workload, options->target->name,
             classes[options->message_class]);
    struct live_numbers numbers = {
        .title = title,
        .phase = phase_name(lead->now.phase),
        .progress = progress,
        .left_ns = left_ns,
        .now_ns = lead_now_ns(),
        .users = (uint64_t)options->users * options->devices,
        .online = sum.online,
        .connections_lost = sum.lost,
        .logins = sum.logins,
        .sent = sum.referee.sent,
        .delivered = sum.referee.delivered,
        .lost = sum.referee.lost,
        .unknown = sum.referee.unknown,
        .own_cpu_ns = team_cpu_ns(lead->team),
        .has_server_cpu = options->pids.count > 0,
    };
    lead->report.whole = sum;
    numbers.broken = report_broken(options, &lead->report);
    cost_take_cpu(&options->pids, &cost);
    for (uint32_t i = 0; i < options->pids.count; i++)
        numbers.server_cpu_ns += cost.cpu_ns[i];
    if (lead->now.window != TEAM_NO_WINDOW) {
        hist_clear(&lead->recent);
        team_merge_window(lead->team, lead->now.window, &lead->recent);
        numbers.latency = &lead->recent;
    }
    live_show(lead->live, &numbers);
}

/* --- steps ------------------------------------------------------------------------------------ */

/* Until all members stand there (TEAM_ALL), or the time is over (TEAM_WAITING). */
static enum team_watched watch(struct lead *lead, enum team_stand stand, uint64_t ms)
{
    uint64_t began = lead_now_ns(), until = began + ms * 1000000u;
    enum team_watched watched = TEAM_WAITING;
    for (uint64_t now = began; watched == TEAM_WAITING && now < until; now = lead_now_ns()) {
        uint64_t left = until - now;
        double share = (double)(now - began) / (double)(until - began);
        struct team_counts sum;
        team_sum(lead->team, &sum);
        if (lead->now.phase == TEAM_LOGIN)
            share = (double)sum.online / ((double)lead->options.users * lead->options.devices);
        show(lead, stand == TEAM_DRAINED ? -1 : share,
             lead->now.phase == TEAM_LOGIN || stand == TEAM_DRAINED ? 0 : left);
        uint64_t left_ms = (left + 999999u) / 1000000u;
        watched = team_watch(lead->team, stand, left_ms < STEP_MS ? (uint32_t)left_ms : STEP_MS);
    }
    return watched;
}

static bool let_pass(struct lead *lead, double seconds)
{
    return seconds <= 0 || watch(lead, TEAM_BUSY, (uint64_t)(seconds * 1000)) == TEAM_WAITING;
}

static bool set_phase(struct lead *lead, enum team_phase phase)
{
    lead->now.phase = phase;
    return team_set(lead->team, &lead->now);
}

bool lead_login(struct lead *lead)
{
    const struct options *options = &lead->options;
    struct report *report = &lead->report;
    report->kernel_before = cost_kernel_bytes();
    report_begin(options, lead->team, &report->logins);
    team_start(lead->team, lead->workload->member);
    lead->live = live_open(!options->json);
    enum team_watched watched =
        watch(lead, TEAM_LOGGED_IN, (uint64_t)options->login_timeout * 1000u);
    report_end(options, lead->team, &report->logins);
    if (watched == TEAM_WAITING)
        fprintf(stderr, "lahar-bench: not all are logged in after %u s\n", options->login_timeout);
    return watched == TEAM_ALL;
}

bool lead_warm_up(struct lead *lead)
{
    lead->now.rate = lead->options.rate;
    return set_phase(lead, TEAM_WARMUP) && let_pass(lead, lead->options.warmup);
}

static bool open_window(struct lead *lead, double rate)
{
    struct team_now *now = &lead->now;
    uint64_t at = lead_now_ns();
    assert(lead->windows < TEAM_WINDOWS_MAX);
    now->phase = TEAM_MEASURE;
    now->rate = rate;
    now->window = lead->windows++;
    now->began_ns[1] = now->began_ns[0];
    now->ended_ns[1] = now->ended_ns[0];
    now->began_ns[0] = at;
    now->ended_ns[0] = UINT64_MAX;
    return team_set(lead->team, now);
}

static bool close_window(struct lead *lead)
{
    lead->now.ended_ns[0] = lead_now_ns();
    return team_set(lead->team, &lead->now);
}

bool lead_window(struct lead *lead, double rate, double seconds, struct report_span *span)
{
    hist_clear(&lead->late);
    team_merge(lead->team, TEAM_LATE, &lead->late);
    if (!open_window(lead, rate))
        return false;
    report_begin(&lead->options, lead->team, span);
    span->rate = rate;
    bool whole = let_pass(lead, seconds);
    report_end(&lead->options, lead->team, span);
    return close_window(lead) && whole;
}

bool lead_pass(struct lead *lead, double rate, double seconds)
{
    lead->now.rate = rate;
    if (lead->now.phase == TEAM_LOGIN)
        lead->now.phase = TEAM_WARMUP;
    return team_set(lead->team, &lead->now) && let_pass(lead, seconds);
}

void lead_latency(const struct lead *lead, struct hist *into)
{
    hist_clear(into);
    if (lead->windows > 0)
        team_merge_window(lead->team, lead->windows - 1, into);
}

bool lead_measure(struct lead *lead)
{
    struct report *report = &lead->report;
    bool whole = lead_window(lead, lead->options.rate, lead->options.seconds, &report->measured);
    report->kernel_after = cost_kernel_bytes();
    report->own_resident = team_resident(lead->team);
    return whole;
}

bool lead_drain(struct lead *lead)
{
    if (!set_phase(lead, TEAM_DRAIN))
        return false;
    enum team_watched watched = watch(lead, TEAM_DRAINED, DRAIN_MS);
    if (watched == TEAM_WAITING)
        fprintf(stderr, "lahar-bench: messages are still on their way after %u s\n",
                DRAIN_MS / 1000);
    lead->whole = watched == TEAM_ALL || watched == TEAM_WAITING;
    return lead->whole;
}

bool lead_again(struct lead *lead, struct report_span *span)
{
    if (!set_phase(lead, TEAM_AGAIN))
        return false;
    report_begin(&lead->options, lead->team, span);
    enum team_watched watched =
        watch(lead, TEAM_IN_AGAIN, (uint64_t)lead->options.login_timeout * 1000u);
    report_end(&lead->options, lead->team, span);
    if (watched == TEAM_WAITING)
        fprintf(stderr, "lahar-bench: not all are in again after %u s\n",
                lead->options.login_timeout);
    lead->whole = lead->whole && watched == TEAM_ALL;
    return watched == TEAM_ALL;
}

enum workload_end lead_end(const struct lead *lead)
{
    if (!lead->whole)
        return WORKLOAD_FAILED;
    return lead->report.messages && report_broken(&lead->options, &lead->report) > 0
               ? WORKLOAD_BROKEN
               : WORKLOAD_DONE;
}

/* --- the whole -------------------------------------------------------------------------------- */

static void open_team(struct lead *lead)
{
    struct options *options = &lead->options;
    options_settle_processes(options);
    double gone = options->users * options->offline_share;
    struct team_shape shape = {
        .members = options->processes,
        .users = options->users,
        .gone = gone <= 0         ? 0
                : gone < GONE_MIN ? GONE_MIN
                                  : (uint32_t)gone,
        .member_slots = traffic_slots(options, options->users / options->processes + 1),
    };
    lead->now.window = TEAM_NO_WINDOW;
    lead->team = team_new(&shape, options);
}

/* What is in the shared memory when all is over. */
static void collect(struct lead *lead)
{
    struct report *report = &lead->report;
    team_sum(lead->team, &report->whole);
    lead_latency(lead, &report->latency);
    team_merge(lead->team, TEAM_LATE, &report->late);
    hist_subtract(&report->late, &lead->late);
    team_merge(lead->team, TEAM_LOGINS, &report->login_latency);
}

enum workload_end lead_run(const struct workload *workload, const struct options *options)
{
    struct lead *lead = calloc(1, sizeof *lead);
    assert(lead != NULL);
    lead->workload = workload;
    lead->options = *options;
    lead->options.comes_back = workload->comes_back;
    if (workload->member)
        open_team(lead);
    else
        lead->whole = true;
    enum workload_end end = workload->lead(lead);
    live_close(lead->live);
    if (lead->team) {
        collect(lead);
        /* Also what a member says in its last moments. */
        end = lead_end(lead) > end ? lead_end(lead) : end;
        if (*team_why(lead->team))
            fprintf(stderr, "lahar-bench: %s\n", team_why(lead->team));
        team_end(lead->team);
    }
    if (!lead->team || lead->report.measured.ns > 0)
        report_print(&lead->options, &lead->report);
    team_free(lead->team);
    free(lead);
    return end;
}
