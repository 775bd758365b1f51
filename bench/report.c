#include "bench/report.h"

#include "base/log.h"

#include <stdio.h>

static const char *const class_names[HOT_CLASSES] = {"stored", "confirmed", "ephemeral"};

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* Until report_end the span holds when it began. */
void report_begin(const struct options *options, struct report_span *span, uint64_t now_ns)
{
    span->ns = now_ns;
    span->own_cpu_ns = cost_own_cpu_ns();
    cost_take(&options->pids, &span->before);
    cost_take(&options->redis, &span->redis_before);
}

void report_end(const struct options *options, struct report_span *span, uint64_t now_ns)
{
    span->ns = now_ns - span->ns;
    span->own_cpu_ns = cost_own_cpu_ns() - span->own_cpu_ns;
    cost_take(&options->pids, &span->after);
    cost_take(&options->redis, &span->redis_after);
}

/* --- JSON: members of one object, each with its comma before it ----------------------------------
 */

static void json_text(const char *name, const char *value)
{
    char text[256];
    size_t len = log_json_string(text, sizeof text, span_text(value));
    printf(",\"%s\":%.*s", name, (int)len, text);
}

static void json_count(const char *name, uint64_t value)
{
    printf(",\"%s\":%llu", name, (unsigned long long)value);
}

static void json_real(const char *name, double value)
{
    printf(",\"%s\":%.6g", name, value);
}

static void json_head(const struct options *options)
{
    printf("{\"workload\":\"%s\"", options->workload);
    json_text("version", LAHAR_VERSION);
    json_text("target", options->target->name);
    json_text("servers", options->servers);
    json_count("users", options->users);
}

static void json_processes(const struct cost_pids *pids, const struct cost_sample *before,
                           const struct cost_sample *after)
{
    char name[32];
    printf(",\"processes\":[");
    for (uint32_t i = 0; i < pids->count; i++) {
        cost_name(pids->pid[i], name);
        printf("%s{\"pid\":%d", i ? "," : "", (int)pids->pid[i]);
        json_text("name", name);
        json_real("cpu_s", seconds(after->cpu_ns[i] - before->cpu_ns[i]));
        json_count("resident_before", before->resident[i]);
        json_count("resident_after", after->resident[i]);
        printf("}");
    }
    printf("]");
}

static void json_counts(const struct referee_counts *counts, enum hot_class message_class)
{
    json_count("sent", counts->sent);
    json_count("resent", counts->resent);
    json_count("completed", counts->completed);
    json_count("delivered", counts->delivered);
    json_count("lost", counts->lost);
    json_count("late", counts->late);
    json_count("unknown", counts->unknown);
    json_count("replayed", counts->replayed);
    json_count("busy", counts->busy);
    json_count("gaps", counts->gaps);
    for (uint32_t i = 1; i < NACK_REASONS; i++)
        if (counts->refused[i] > 0) {
            char name[64];
            snprintf(name, sizeof name, "refused_%s", reasons_nack_label(i));
            json_count(name, counts->refused[i]);
        }
    json_count("doubled", counts->doubled);
    json_count("misrouted", counts->misrouted);
    json_count("altered", counts->altered);
    json_count("out_of_order", counts->out_of_order);
    json_count("false_nacks", counts->false_nacks);
    json_count("foreign", counts->foreign);
    json_count("broken", referee_broken(counts, message_class));
}

/* --- unicast ---------------------------------------------------------------------------------- */

struct figures {
    double rate, server_cpu_s, redis_cpu_s, per_cpu_s, own_share;
};

static struct figures figures_of(const struct options *options, const struct report_unicast *report)
{
    const struct report_span *span = &report->span;
    uint64_t cpu = cost_cpu_ns(&options->pids, &span->before, &span->after);
    uint64_t redis = cost_cpu_ns(&options->redis, &span->redis_before, &span->redis_after);
    double messages = (double)report->within.completed;
    return (struct figures){
        .rate = ratio(messages, seconds(span->ns)),
        .server_cpu_s = seconds(cpu),
        .redis_cpu_s = seconds(redis),
        .per_cpu_s = ratio(messages, seconds(cpu + redis)),
        .own_share = ratio((double)span->own_cpu_ns, (double)span->ns),
    };
}

static void unicast_json(const struct options *options, const struct report_unicast *report)
{
    struct figures figures = figures_of(options, report);
    json_head(options);
    json_text("class", class_names[options->message_class]);
    json_count("in_flight", options->in_flight);
    json_count("bytes", options->bytes);
    json_real("seconds", seconds(report->span.ns));
    json_real("per_second", figures.rate);
    json_real("per_cpu_second", figures.per_cpu_s);
    json_real("server_cpu_s", figures.server_cpu_s);
    json_real("redis_cpu_s", figures.redis_cpu_s);
    json_real("generator_cpu_share", figures.own_share);
    json_real("p50_us", (double)hist_at(&report->latency, 0.5) / 1e3);
    json_real("p99_us", (double)hist_at(&report->latency, 0.99) / 1e3);
    json_real("p999_us", (double)hist_at(&report->latency, 0.999) / 1e3);
    json_real("p9999_us", (double)hist_at(&report->latency, 0.9999) / 1e3);
    json_real("max_us", (double)report->latency.max / 1e3);
    json_counts(&report->whole, options->message_class);
    json_count("connections_lost", report->crowd.lost);
    json_processes(&options->pids, &report->span.before, &report->span.after);
    printf("}\n");
}

static void print_processes(const struct cost_pids *pids, const struct report_span *span)
{
    char name[32];
    for (uint32_t i = 0; i < pids->count; i++) {
        cost_name(pids->pid[i], name);
        printf("  %s %d: %.2f s CPU, %.1f MiB\n", name, (int)pids->pid[i],
               seconds(span->after.cpu_ns[i] - span->before.cpu_ns[i]),
               (double)span->after.resident[i] / (1 << 20));
    }
}

static void print_counts(const struct referee_counts *counts, enum hot_class message_class)
{
    const struct {
        const char *name;
        uint64_t count;
    } rare[] = {
        {"resent", counts->resent},   {"late", counts->late},
        {"unknown", counts->unknown}, {"replayed", counts->replayed},
        {"busy", counts->busy},       {"gaps", counts->gaps},
        {"doubled", counts->doubled}, {"misrouted", counts->misrouted},
        {"altered", counts->altered}, {"out of order", counts->out_of_order},
        {"foreign", counts->foreign}, {"refused but delivered", counts->false_nacks},
    };
    printf("  sent %llu, completed %llu, delivered %llu, lost %llu",
           (unsigned long long)counts->sent, (unsigned long long)counts->completed,
           (unsigned long long)counts->delivered, (unsigned long long)counts->lost);
    for (size_t i = 0; i < sizeof rare / sizeof *rare; i++)
        if (rare[i].count > 0)
            printf(", %s %llu", rare[i].name, (unsigned long long)rare[i].count);
    for (uint32_t i = 1; i < NACK_REASONS; i++)
        if (counts->refused[i] > 0)
            printf(", refused as %s %llu", reasons_nack_label(i),
                   (unsigned long long)counts->refused[i]);
    printf("\n  promises broken: %llu\n",
           (unsigned long long)referee_broken(counts, message_class));
}

void report_unicast(const struct options *options, const struct report_unicast *report)
{
    if (options->json) {
        unicast_json(options, report);
        return;
    }
    struct figures figures = figures_of(options, report);
    printf("unicast, %s, %s: %u users x %u in flight, %u bytes, %.1f s\n", options->target->name,
           class_names[options->message_class], options->users, options->in_flight, options->bytes,
           seconds(report->span.ns));
    printf(
        "  %.0f messages/s; %.0f a server CPU second (%.2f s, Redis %.2f s); generator %.0f %%\n",
        figures.rate, figures.per_cpu_s, figures.server_cpu_s, figures.redis_cpu_s,
        100 * figures.own_share);
    printf("  latency us: p50 %.0f, p99 %.0f, p99.9 %.0f, max %.0f\n",
           (double)hist_at(&report->latency, 0.5) / 1e3,
           (double)hist_at(&report->latency, 0.99) / 1e3,
           (double)hist_at(&report->latency, 0.999) / 1e3, (double)report->latency.max / 1e3);
    print_processes(&options->pids, &report->span);
    print_counts(&report->whole, options->message_class);
    if (report->crowd.lost > 0)
        printf("  connections lost: %llu\n", (unsigned long long)report->crowd.lost);
}

/* --- idle ------------------------------------------------------------------------------------- */

/* By how much all processes of the same name together have grown, for each user. */
static double grown_for_each(const struct options *options, const struct report_idle *report,
                             const char *name)
{
    double sum = 0;
    char other[32];
    for (uint32_t i = 0; i < options->pids.count; i++) {
        cost_name(options->pids.pid[i], other);
        if (strcmp(name, other) == 0)
            sum +=
                (double)report->held.after.resident[i] - (double)report->login.before.resident[i];
    }
    return sum / options->users;
}

static bool first_of_name(const struct options *options, uint32_t index, char name[32])
{
    char other[32];
    cost_name(options->pids.pid[index], name);
    for (uint32_t i = 0; i < index; i++) {
        cost_name(options->pids.pid[i], other);
        if (strcmp(name, other) == 0)
            return false;
    }
    return true;
}

static double cpu_us_for_each(const struct options *options, const struct report_span *span)
{
    return (double)cost_cpu_ns(&options->pids, &span->before, &span->after) / 1e3 / options->users;
}

void report_idle(const struct options *options, const struct report_idle *report)
{
    char name[32];
    double login_us = cpu_us_for_each(options, &report->login);
    double held_us = ratio(cpu_us_for_each(options, &report->held), seconds(report->held.ns));
    double logins = ratio(options->users, seconds(report->login.ns));
    if (options->json) {
        json_head(options);
        json_real("seconds", seconds(report->held.ns));
        json_real("logins_per_second", logins);
        json_real("login_cpu_us", login_us);
        json_real("held_cpu_us_per_second", held_us);
        json_count("connections_lost", report->crowd.lost);
        printf(",\"resident_bytes_per_user\":{\"users\":%u", options->users);
        for (uint32_t i = 0; i < options->pids.count; i++)
            if (first_of_name(options, i, name))
                json_real(name, grown_for_each(options, report, name));
        printf("}");
        json_processes(&options->pids, &report->login.before, &report->held.after);
        printf("}\n");
        return;
    }
    printf("idle, %s: %u users held for %.1f s\n", options->target->name, options->users,
           seconds(report->held.ns));
    printf(
        "  %.0f logins/s; CPU of the servers: %.0f us a login, %.2f us a connection and second\n",
        logins, login_us, held_us);
    for (uint32_t i = 0; i < options->pids.count; i++)
        if (first_of_name(options, i, name))
            printf("  %s: %.0f resident bytes a connection\n", name,
                   grown_for_each(options, report, name));
    if (report->crowd.lost > 0)
        printf("  connections lost: %llu\n", (unsigned long long)report->crowd.lost);
}
