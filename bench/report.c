#include "bench/report.h"

#include "bench/endpoint.h"
#include "bench/json.h"

#include <stdio.h>
#include <time.h>

static const char *const class_names[HOT_CLASSES] = {"stored", "confirmed", "ephemeral"};

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static uint64_t clock_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct team_counts between(const struct team_counts *before, const struct team_counts *after)
{
    enum { WORDS = sizeof(struct team_counts) / sizeof(uint64_t) };
    uint64_t a[WORDS], b[WORDS];
    struct team_counts counts;
    memcpy(a, before, sizeof a);
    memcpy(b, after, sizeof b);
    for (size_t i = 0; i < WORDS; i++)
        b[i] -= a[i];
    memcpy(&counts, b, sizeof b);
    return counts;
}

void report_begin(const struct options *options, const struct team *team, struct report_span *span)
{
    *span = (struct report_span){.began_ns = clock_ns()};
    if (team) {
        team_sum(team, &span->counts_before);
        span->own_cpu_ns = team_cpu_ns(team);
    }
    cost_take(&options->pids, &span->before);
    cost_take(&options->redis, &span->redis_before);
}

void report_end(const struct options *options, const struct team *team, struct report_span *span)
{
    struct team_counts now = {.online = 0};
    span->ns = clock_ns() - span->began_ns;
    if (team) {
        team_sum(team, &now);
        span->own_cpu_ns = team_cpu_ns(team) - span->own_cpu_ns;
    }
    span->counts = between(&span->counts_before, &now);
    cost_take(&options->pids, &span->after);
    cost_take(&options->redis, &span->redis_after);
}

uint64_t report_broken(const struct options *options, const struct report *report)
{
    return referee_broken(&report->whole.referee, options->message_class,
                          options->target->ack_is_delivery);
}

/* --- figures ---------------------------------------------------------------------------------- */

struct figures {
    double connections;
    double rate, server_cpu_s, redis_cpu_s, per_cpu_s, cpu_us, own_share;
    double logins, by_ticket, login_seconds, login_rate, login_cpu_us;
    double resident, kernel, own_resident; /* bytes a connection */
    double held_cpu_us;                    /* a connection and second */
};

static double cpu_s(const struct options *options, const struct report_span *span)
{
    return seconds(cost_cpu_ns(&options->pids, &span->before, &span->after));
}

static double redis_cpu_s(const struct options *options, const struct report_span *span)
{
    return seconds(cost_cpu_ns(&options->redis, &span->redis_before, &span->redis_after));
}

static struct figures figures_of(const struct options *options, const struct report *report)
{
    const struct report_span *span = &report->measured;
    const struct report_span *logins = report->comes_and_goes ? span : &report->logins;
    struct figures f = {.connections = (double)options->users * options->devices};
    double messages = (double)span->counts.referee.completed;
    f.server_cpu_s = cpu_s(options, span);
    f.redis_cpu_s = redis_cpu_s(options, span);
    double all_cpu_s = f.server_cpu_s + f.redis_cpu_s;
    f.rate = ratio(messages, seconds(span->ns));
    f.per_cpu_s = ratio(messages, all_cpu_s);
    f.cpu_us = 1e6 * ratio(all_cpu_s, messages);
    f.own_share = ratio(seconds(span->own_cpu_ns), seconds(span->ns));
    f.held_cpu_us = 1e6 * ratio(ratio(f.server_cpu_s, seconds(span->ns)), f.connections);
    f.logins = (double)logins->counts.logins;
    f.by_ticket = (double)logins->counts.by_ticket;
    f.login_seconds = seconds(logins->ns);
    f.login_rate = ratio(f.logins, f.login_seconds);
    f.login_cpu_us = 1e6 * ratio(cpu_s(options, logins) + redis_cpu_s(options, logins), f.logins);
    f.resident = cost_grown(&options->pids, &report->logins.before, &span->after) / f.connections;
    if (report->kernel_after > report->kernel_before)
        f.kernel = (double)(report->kernel_after - report->kernel_before) / f.connections;
    f.own_resident = (double)report->own_resident / f.connections;
    return f;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void json_head(const struct options *options, const struct report *report)
{
    printf("{\"lahar_bench\":1");
    json_text("workload", options->workload);
    json_text("target", options->target->name);
    json_text("label", options->label);
    json_text("version", LAHAR_VERSION);
    json_text("class", class_names[options->message_class]);
    json_text("transport", endpoint_transport(options->servers));
    json_count("users", options->users);
    json_count("devices", options->devices);
    json_count("processes", options->processes);
    if (report->messages) {
        json_count("in_flight", report->measured.rate > 0 ? 0 : options->in_flight);
        json_real("open_loop_rate", report->measured.rate);
        json_count("bytes", options->bytes);
        json_real("offline_share", options->offline_share);
        json_count("think_ms", options->think_ms);
    }
    json_real("seconds", seconds(report->measured.ns));
}

static void json_processes(const char *name, const struct cost_pids *pids,
                           const struct cost_sample *began, const struct cost_sample *before,
                           const struct cost_sample *after)
{
    char comm[32];
    printf(",\"%s\":[", name);
    for (uint32_t i = 0; i < pids->count; i++) {
        cost_name(pids->pid[i], comm);
        printf("%s{\"pid\":%d", i ? "," : "", (int)pids->pid[i]);
        json_text("name", comm);
        json_real("cpu_s", seconds(cost_cpu_of(i, before, after)));
        json_count("resident_before", began->resident[i]);
        json_count("resident_after", after->resident[i]);
        printf("}");
    }
    printf("]");
}

static void json_messages(const struct referee_counts *counts)
{
    const char *comma = "";
    printf(",\"messages\":{\"sent\":%llu", (unsigned long long)counts->sent);
    json_count("acknowledged", counts->acknowledged);
    json_count("delivered", counts->delivered);
    json_count("completed", counts->completed);
    json_count("lost", counts->lost);
    json_count("doubled", counts->doubled);
    json_count("misrouted", counts->misrouted);
    json_count("altered", counts->altered);
    json_count("out_of_order", counts->out_of_order);
    json_count("unknown", counts->unknown);
    json_count("busy", counts->busy);
    json_count("gaps", counts->gaps);
    json_count("resent", counts->resent);
    json_count("late", counts->late);
    json_count("missing", counts->missing);
    json_count("to_offline", counts->to_offline);
    json_count("replayed", counts->replayed);
    json_count("false_nacks", counts->false_nacks);
    json_count("foreign", counts->foreign);
    printf(",\"refused\":{");
    for (uint32_t i = 1; i < NACK_REASONS; i++) {
        if (counts->refused[i] == 0)
            continue;
        printf("%s\"%s\":%llu", comma, reasons_nack_label(i),
               (unsigned long long)counts->refused[i]);
        comma = ",";
    }
    printf("}}");
}

static void print_json(const struct options *options, const struct report *report)
{
    const struct report_span *span = &report->measured;
    struct figures f = figures_of(options, report);
    json_head(options, report);
    if (report->messages) {
        json_messages(&report->whole.referee);
        json_count("broken", report_broken(options, report));
        json_real("per_second", f.rate);
        json_real("per_cpu_second", f.per_cpu_s);
        json_real("cpu_us_per_message", f.cpu_us);
        json_latency("latency_us", &report->latency, true);
        json_count("starved", report->whole.starved);
        json_count("not_sent", report->whole.not_sent);
        if (span->rate > 0)
            json_latency("generator_late_us", &report->late, false);
    }
    json_real("server_cpu_s", f.server_cpu_s);
    json_real("redis_cpu_s", f.redis_cpu_s);
    json_real("generator_cpu_share", f.own_share);
    if (report->held)
        json_real("held_cpu_us_per_second", f.held_cpu_us);
    if (f.logins > 0) {
        printf(",\"logins\":{\"count\":%.0f", f.logins);
        json_real("seconds", f.login_seconds);
        json_count("by_ticket", (uint64_t)f.by_ticket);
        json_real("per_second", f.login_rate);
        json_real("cpu_us_each", f.login_cpu_us);
        json_count("refused", report->whole.refused);
        json_latency("latency_us", &report->login_latency, report->comes_and_goes);
        printf("}");
        json_count("connections", (uint64_t)f.connections);
        json_count("connections_lost", report->whole.lost);
        printf(",\"memory\":{\"resident_per_connection\":%.6g", f.resident);
        json_real("kernel_per_connection", f.kernel);
        json_real("generator_resident_per_connection", f.own_resident);
        printf("}");
    }
    if (report->more.json)
        report->more.json(report->more.ctx);
    json_processes("servers", &options->pids, &report->logins.before, &span->before, &span->after);
    json_processes("redis", &options->redis, &report->logins.redis_before, &span->redis_before,
                   &span->redis_after);
    printf("}\n");
}

/* --- text ------------------------------------------------------------------------------------- */

static void print_latency(const char *what, const struct hist *hist)
{
    printf("  %s us: p50 %.0f, p90 %.0f, p99 %.0f, p99.9 %.0f, p99.99 %.0f, max %.0f\n", what,
           (double)hist_at(hist, 0.5) / 1e3, (double)hist_at(hist, 0.9) / 1e3,
           (double)hist_at(hist, 0.99) / 1e3, (double)hist_at(hist, 0.999) / 1e3,
           (double)hist_at(hist, 0.9999) / 1e3, (double)hist->max / 1e3);
}

static void print_processes(const struct cost_pids *pids, const struct cost_sample *before,
                            const struct cost_sample *after)
{
    char name[32];
    for (uint32_t i = 0; i < pids->count; i++) {
        cost_name(pids->pid[i], name);
        printf("  %s %d: %.2f s CPU, %.1f MiB\n", name, (int)pids->pid[i],
               seconds(cost_cpu_of(i, before, after)), (double)after->resident[i] / (1 << 20));
    }
}

static void print_messages(const struct options *options, const struct report *report)
{
    const struct referee_counts *counts = &report->whole.referee;
    const struct {
        const char *name;
        uint64_t count;
    } rare[] = {
        {"resent", counts->resent},
        {"late", counts->late},
        {"unknown", counts->unknown},
        {"replayed", counts->replayed},
        {"busy", counts->busy},
        {"gaps", counts->gaps},
        {"not on a further device", counts->missing},
        {"to users who had left", counts->to_offline},
        {"doubled", counts->doubled},
        {"misrouted", counts->misrouted},
        {"altered", counts->altered},
        {"out of order", counts->out_of_order},
        {"foreign", counts->foreign},
        {"refused but delivered", counts->false_nacks},
    };
    printf("  sent %llu, acknowledged %llu, delivered %llu, lost %llu",
           (unsigned long long)counts->sent, (unsigned long long)counts->acknowledged,
           (unsigned long long)counts->delivered, (unsigned long long)counts->lost);
    for (size_t i = 0; i < sizeof rare / sizeof *rare; i++)
        if (rare[i].count > 0)
            printf(", %s %llu", rare[i].name, (unsigned long long)rare[i].count);
    for (uint32_t i = 1; i < NACK_REASONS; i++)
        if (counts->refused[i] > 0)
            printf(", refused as %s %llu", reasons_nack_label(i),
                   (unsigned long long)counts->refused[i]);
    printf("\n  promises broken: %llu\n", (unsigned long long)report_broken(options, report));
}

static void print_head(const struct options *options, const struct report *report)
{
    printf("%s, %s", options->workload, options->target->name);
    if (report->messages)
        printf(", %s", class_names[options->message_class]);
    printf(": %u users", options->users);
    if (options->devices > 1)
        printf(" of %u devices", options->devices);
    if (report->messages && report->measured.rate > 0)
        printf(", %g messages/s due", report->measured.rate);
    else if (report->messages)
        printf(" x %u in flight", options->in_flight);
    if (report->messages)
        printf(", %u bytes", options->bytes);
    printf(", %.1f s", seconds(report->measured.ns));
    if (options->processes > 1)
        printf(", %u generators", options->processes);
    printf("\n");
}

static void print_text(const struct options *options, const struct report *report)
{
    const struct report_span *span = &report->measured;
    struct figures f = figures_of(options, report);
    print_head(options, report);
    if (report->messages) {
        printf("  %.0f messages/s; %.0f a CPU second of the servers (%.2f s, Redis %.2f s); "
               "generator %.0f %%\n",
               f.rate, f.per_cpu_s, f.server_cpu_s, f.redis_cpu_s, 100 * f.own_share);
        print_latency("latency", &report->latency);
        if (span->rate > 0)
            print_latency("sent late by", &report->late);
    }
    if (f.logins > 0) {
        printf(
            "  %.0f logins (%.0f by ticket) in %.1f s: %.0f/s, %.0f us CPU of the servers each\n",
            f.logins, f.by_ticket, f.login_seconds, f.login_rate, f.login_cpu_us);
        if (report->whole.refused > 0)
            printf("  logins refused as busy and tried again: %llu\n",
                   (unsigned long long)report->whole.refused);
        print_latency("login", &report->login_latency);
        printf("  bytes a connection: resident %.0f, kernel %.0f, generator %.0f\n", f.resident,
               f.kernel, f.own_resident);
    }
    if (report->held)
        printf("  CPU of the servers: %.2f us a connection and second\n", f.held_cpu_us);
    if (report->more.text)
        report->more.text(report->more.ctx);
    print_processes(&options->pids, &span->before, &span->after);
    print_processes(&options->redis, &span->redis_before, &span->redis_after);
    if (report->messages)
        print_messages(options, report);
    if (report->whole.starved > 0)
        printf("  put off by the generator: %llu\n", (unsigned long long)report->whole.starved);
    if (report->whole.not_sent > 0)
        printf("  due but not sent in time: %llu\n", (unsigned long long)report->whole.not_sent);
    if (report->whole.lost > 0)
        printf("  connections lost: %llu\n", (unsigned long long)report->whole.lost);
}

void report_print(const struct options *options, const struct report *report)
{
    if (options->json)
        print_json(options, report);
    else
        print_text(options, report);
    fflush(stdout);
}
