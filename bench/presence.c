#include "bench/presence.h"

#include "base/log.h"
#include "bench/bed.h"
#include "bench/json.h"
#include "proto/gid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define EDGES 64u
#define DEVICES_MAX 10u
#define QUEUED_MAX 4096u /* writes that wait in the shard; more are let in when fewer do */
#define LOGINS_A_TURN 512u
#define SAY_NS UINT64_C(1000000000)
#define REST_MS 12000u /* jemalloc keeps free pages for up to 10 s */

struct plan {
    const char *redis_address;
    pid_t redis; /* its process */
    uint64_t users;
    uint32_t devices; /* of each */
    /* Only users of slots below it; 0: of all. With a sixteenth of the slots, three million records
     * lie as fifty million do in all. */
    uint32_t slots;
};

struct figures {
    uint64_t records;                     /* after the changes */
    bool whole;                           /* each record came back */
    double redis_bytes, redis_used_bytes; /* a record: resident, and by INFO used_memory */
    double router_bytes;                  /* resident, a record, while all are in */
    double table_bytes;                   /* of them those of presence's own tables */
    double fill_writes, change_writes;    /* a second of Redis's CPU, that of all its threads */
    double fill_s, change_s, load_s, restart_s;
    double fill_cpu_us, change_cpu_us, load_cpu_us; /* of ours, a record; those who log in too */
    double load_records;                            /* a second */
    uint64_t dropped;
};

struct run {
    const struct plan *plan;
    struct bed *bed;
    uint64_t device[DEVICES_MAX];
    uint64_t records;
    uint64_t *gid;     /* by user; NULL: all GIDs in a row */
    uint64_t *session; /* by record: 0: it is not logged in */
    uint8_t *edge;     /* by record: edge - 1 */
    struct bed_sum sums[EDGES];
    uint64_t refused;
    uint64_t random, said_ns;
};

struct mark {
    uint64_t ns, own_ns, writes;
    struct cost_sample redis, own;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t next_random(struct run *run)
{
    run->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = run->random;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void say(struct run *run, const char *phase, uint64_t done, uint64_t of)
{
    if (!isatty(STDERR_FILENO) || (done < of && now_ns() - run->said_ns < SAY_NS))
        return;
    run->said_ns = now_ns();
    fprintf(stderr, "%-6s %llu of %llu\n", phase, (unsigned long long)done, (unsigned long long)of);
}

/* --- records ---------------------------------------------------------------------------------- */

static uint64_t gid_of(const struct run *run, uint64_t record)
{
    uint64_t user = record / run->plan->devices;
    return run->gid == NULL ? GID_FIRST_USER + user : run->gid[user];
}

static uint64_t device_of(const struct run *run, uint64_t record)
{
    return run->device[record % run->plan->devices];
}

static void count(struct run *run, uint64_t record, int by)
{
    struct bed_sum *sum = &run->sums[run->edge[record]];
    sum->count += (uint64_t)by;
    sum->mix ^= gid_session_mix(gid_of(run, record), device_of(run, record), run->session[record]);
}

static void on_bound(void *ctx, uint64_t record, uint64_t session)
{
    struct run *run = ctx;
    run->session[record] = session;
    if (session != 0)
        count(run, record, 1);
    else
        run->refused++;
}

static void leave(struct run *run, uint64_t record)
{
    if (run->session[record] == 0)
        return;
    count(run, record, -1);
    run->session[record] = 0;
}

static void log_in(struct run *run, uint64_t record, uint32_t edge)
{
    leave(run, record);
    run->edge[record] = (uint8_t)edge;
    bed_bind(run->bed, edge + 1, record, gid_of(run, record), device_of(run, record));
}

static void change(struct run *run, uint64_t record)
{
    uint64_t random = next_random(run), session = run->session[record];
    if (session == 0 || random % 4 != 0) {
        log_in(run, record, (uint32_t)(random >> 32) % EDGES);
        return;
    }
    leave(run, record);
    bed_unbind(run->bed, run->edge[record] + 1u, gid_of(run, record), device_of(run, record),
               session);
}

/* --- phases ----------------------------------------------------------------------------------- */

static void fill(struct run *run)
{
    for (uint64_t record = 0; record < run->records;) {
        for (uint32_t n = 0; n < LOGINS_A_TURN && record < run->records; n++, record++) {
            if (bed_queued(run->bed) >= QUEUED_MAX)
                break;
            log_in(run, record, (uint32_t)next_random(run) % EDGES);
        }
        bed_turn(run->bed, bed_queued(run->bed) >= QUEUED_MAX);
        say(run, "fill", record, run->records);
    }
    bed_settle(run->bed);
}

static void change_all(struct run *run, uint64_t changes)
{
    for (uint64_t done = 0; done < changes;) {
        for (uint32_t n = 0; n < LOGINS_A_TURN && done < changes; n++, done++) {
            if (bed_queued(run->bed) >= QUEUED_MAX)
                break;
            change(run, next_random(run) % run->records);
        }
        bed_turn(run->bed, bed_queued(run->bed) >= QUEUED_MAX);
        say(run, "change", done, changes);
    }
    bed_settle(run->bed);
}

/* Also counts them. */
static bool as_it_was(struct run *run, uint64_t *records)
{
    bool same = run->refused == 0;
    *records = 0;
    for (uint32_t edge = 0; edge < EDGES; edge++) {
        struct bed_sum sum = bed_sum(run->bed, edge + 1);
        same &= sum.count == run->sums[edge].count && sum.mix == run->sums[edge].mix;
        *records += sum.count;
    }
    return same && bed_counts(run->bed).records == *records;
}

/* --- figures ---------------------------------------------------------------------------------- */

static struct mark take_mark(struct run *run)
{
    struct mark mark = {.ns = now_ns(), .own_ns = cost_own_cpu_ns()};
    mark.writes = bed_counts(run->bed).writes;
    cost_take(&(struct cost_pids){.pid = {run->plan->redis}, .count = 1}, &mark.redis);
    cost_take(&(struct cost_pids){.pid = {getpid()}, .count = 1}, &mark.own);
    return mark;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double grown(uint64_t before, uint64_t after)
{
    return (double)after - (double)before;
}

static double writes_per_cpu_s(const struct mark *before, const struct mark *after)
{
    return ratio((double)(after->writes - before->writes) * 1e9,
                 grown(before->redis.cpu_ns[0], after->redis.cpu_ns[0]));
}

static double cpu_us_each(const struct mark *before, const struct mark *after, uint64_t each)
{
    return ratio((double)(after->own_ns - before->own_ns) / 1e3, (double)each);
}

static void weigh(struct run *run, const struct mark *empty, uint64_t used, struct figures *figures)
{
    double records = (double)run->records;
    bed_rest(run->bed, REST_MS);
    struct mark full = take_mark(run);
    figures->router_bytes = ratio(grown(empty->own.resident[0], full.own.resident[0]), records);
    figures->table_bytes = ratio((double)bed_counts(run->bed).presence_bytes, records);
    figures->redis_bytes = ratio(grown(empty->redis.resident[0], full.redis.resident[0]), records);
    figures->redis_used_bytes =
        ratio(grown(used, bed_redis_info(run->bed, "memory", "used_memory")), records);
}

static void measure(struct run *run, struct figures *figures)
{
    uint64_t changes = (run->records + 9) / 10;
    uint64_t used = bed_redis_info(run->bed, "memory", "used_memory");
    struct mark empty = take_mark(run);
    fill(run);
    struct mark full = take_mark(run);
    figures->fill_writes = writes_per_cpu_s(&empty, &full);
    figures->fill_s = (double)(full.ns - empty.ns) / 1e9;
    figures->fill_cpu_us = cpu_us_each(&empty, &full, run->records);
    weigh(run, &empty, used, figures);
    full = take_mark(run);
    change_all(run, changes);
    struct mark changed = take_mark(run);
    figures->change_writes = writes_per_cpu_s(&full, &changed);
    figures->change_s = (double)(changed.ns - full.ns) / 1e9;
    figures->change_cpu_us = cpu_us_each(&full, &changed, changes);
    figures->dropped = bed_counts(run->bed).dropped;
    figures->whole = as_it_was(run, &figures->records);
}

static void reload(struct run *run, struct figures *figures)
{
    uint64_t before = figures->records;
    say(run, "reload", 0, before);
    bed_free(run->bed);
    run->bed = bed_new(&(struct bed_options){run->plan->redis_address, "lahar:", EDGES},
                       &(struct bed_events){on_bound}, run);
    struct bed_counts counts = bed_counts(run->bed);
    say(run, "reload", counts.loaded, counts.loaded);
    figures->load_s = counts.load_s;
    figures->restart_s = counts.restart_s;
    figures->load_cpu_us = ratio((double)counts.load_cpu_ns / 1e3, (double)counts.loaded);
    figures->load_records = ratio((double)counts.loaded, counts.load_s);
    figures->whole &=
        as_it_was(run, &figures->records) && figures->records == before && counts.loaded == before;
}

/* Only users of some slots. */
static void choose_users(struct run *run)
{
    if (run->plan->slots == 0 || run->plan->slots >= GID_SLOTS)
        return;
    run->gid = malloc(run->plan->users * sizeof *run->gid);
    assert(run->gid != NULL);
    uint64_t gid = GID_FIRST_USER;
    for (uint64_t user = 0; user < run->plan->users; gid++)
        if (gid_slot(gid) < run->plan->slots)
            run->gid[user++] = gid;
}

static void measure_all(const struct plan *plan, struct figures *figures)
{
    struct run run = {.plan = plan, .records = plan->users * plan->devices, .random = 1};
    assert(plan->devices > 0 && plan->devices <= DEVICES_MAX && plan->users > 0);
    for (uint32_t i = 0; i < plan->devices; i++) {
        char name[12];
        snprintf(name, sizeof name, "d%u", i);
        run.device[i] = gid_device_hash(span_text(name));
    }
    choose_users(&run);
    /* Touched before anything is measured. */
    run.session = malloc(run.records * sizeof *run.session);
    run.edge = malloc(run.records);
    assert(run.session != NULL && run.edge != NULL);
    memset(run.session, 0, run.records * sizeof *run.session);
    memset(run.edge, 0, run.records);
    run.bed = bed_new(&(struct bed_options){plan->redis_address, "lahar:", EDGES},
                      &(struct bed_events){on_bound}, &run);
    if (bed_counts(run.bed).loaded > 0)
        log_die("that Redis has records of presence already; use an empty one");
    measure(&run, figures);
    reload(&run, figures);
    bed_free(run.bed);
    free(run.gid);
    free(run.session);
    free(run.edge);
}

/* --- the workload ----------------------------------------------------------------------------- */

static void print_json(const void *ctx)
{
    const struct figures *figures = ctx;
    printf(",\"presence\":{\"records\":%llu", (unsigned long long)figures->records);
    printf(",\"whole\":%s", figures->whole ? "true" : "false");
    json_real("redis_bytes_per_record", figures->redis_bytes);
    json_real("redis_used_bytes_per_record", figures->redis_used_bytes);
    json_real("writes_per_redis_cpu_second", figures->fill_writes);
    json_real("changes_per_redis_cpu_second", figures->change_writes);
    json_real("router_bytes_per_session", figures->router_bytes);
    json_real("router_table_bytes_per_session", figures->table_bytes);
    json_real("load_records_per_second", figures->load_records);
    json_real("load_cpu_us_per_record", figures->load_cpu_us);
    json_real("login_cpu_us", figures->fill_cpu_us);
    json_real("change_cpu_us", figures->change_cpu_us);
    json_real("fill_seconds", figures->fill_s);
    json_real("change_seconds", figures->change_s);
    json_real("load_seconds", figures->load_s);
    json_real("restart_seconds", figures->restart_s);
    json_count("dropped_writes", figures->dropped);
    printf("}");
}

static void print_text(const void *ctx)
{
    const struct figures *figures = ctx;
    printf("  %llu records; %s\n", (unsigned long long)figures->records,
           figures->whole ? "after the restart each was there" : "NOT ALL CAME BACK");
    printf("  bytes a record: Redis %.1f resident (%.1f used), router %.1f resident (%.1f in "
           "tables)\n",
           figures->redis_bytes, figures->redis_used_bytes, figures->router_bytes,
           figures->table_bytes);
    printf("  writes a CPU second of Redis: logins %.0f, changes %.0f; %.1f s and %.1f s\n",
           figures->fill_writes, figures->change_writes, figures->fill_s, figures->change_s);
    printf("  loaded: %.0f records/s, %.2f s; whole restart %.2f s\n", figures->load_records,
           figures->load_s, figures->restart_s);
    printf("  own CPU us: a login %.2f, a change %.2f, a record loaded %.2f\n",
           figures->fill_cpu_us, figures->change_cpu_us, figures->load_cpu_us);
}

enum workload_end presence_lead(struct lead *lead)
{
    static struct figures figures; /* the report is printed later */
    const struct options *options = lead_options(lead);
    struct report *report = lead_report(lead);
    if (options->redis.count != 1)
        log_die("--redis-pid: the process of that Redis, which must have no presence in it yet");
    if (options->devices > DEVICES_MAX)
        log_die("--devices: at most %u", DEVICES_MAX);
    log_set_level(LOG_WARN);
    report_begin(options, NULL, &report->measured);
    measure_all(&(struct plan){.redis_address = options->redis_address,
                               .redis = options->redis.pid[0],
                               .users = options->users,
                               .devices = options->devices,
                               .slots = options->slots},
                &figures);
    report_end(options, NULL, &report->measured);
    report->more.json = print_json;
    report->more.text = print_text;
    report->more.ctx = &figures;
    return figures.whole && figures.dropped == 0 ? lead_end(lead) : WORKLOAD_BROKEN;
}
