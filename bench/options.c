#include "bench/options.h"

#include "base/log.h"
#include "bench/crowd.h"
#include "bench/referee.h"
#include "bench/team.h"
#include "bench/workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum kind {
    KIND_TEXT,
    KIND_NUMBER,
    KIND_REAL,
    KIND_FLAG,
    KIND_CLASS,
    KIND_TARGET,
    KIND_PIDS,
    KIND_NAMES
};

struct option {
    const char *name;
    enum kind kind;
    bool common; /* to all workloads; others only for those whose row in workload.c names it */
    size_t offset;
    uint32_t min, max;
    const char *start; /* its value if it is not given; NULL: none */
    const char *help;
};

#define AT(field) offsetof(struct options, field)
#define USERS_MAX (1u << 26)

static const struct option table[] = {
    {"target", KIND_TARGET, true, AT(target), 0, 0, "lahar", "what is driven"},
    {"servers", KIND_TEXT, true, AT(servers), 0, 0, "127.0.0.1:7700",
     "tcp://, tls://, ws:// or wss://HOST:PORT, by commas; users are spread over them"},
    {"ca", KIND_TEXT, true, AT(ca), 0, 0, NULL, "PEM file to check certificates with"},
    {"site", KIND_TEXT, true, AT(site), 0, 0, NULL, "site of the users"},
    {"key", KIND_TEXT, true, AT(key), 0, 0, NULL,
     "the site's private key, which tokens are made with"},
    {"cluster", KIND_TEXT, true, AT(cluster), 0, 0, "lahar", "the cluster's name (cluster.name)"},
    {"device", KIND_TEXT, true, AT(device), 0, 0, "bench",
     "name of each user's device; a number is added to the second one and on"},
    {"users", KIND_NUMBER, true, AT(users), 1, USERS_MAX, "1000", "users who are logged in"},
    {"first", KIND_NUMBER, true, AT(first), 0, USERS_MAX, "0", "number of the first user"},
    {"devices", KIND_NUMBER, true, AT(devices), 1, CROWD_DEVICES_MAX, "1",
     "connections of each user"},
    {"processes", KIND_NUMBER, true, AT(processes), 0, TEAM_MEMBERS_MAX, "0",
     "generator processes that share the users; 0: as many as the connections need"},
    {"sources", KIND_NUMBER, true, AT(sources), 0, 65535, "0",
     "addresses from 127.0.0.2 up to connect from; each has 28,000 ports for a server"},
    {"logins", KIND_NUMBER, true, AT(logins_at_once), 1, 65534, "64", "logins at the same time"},
    {"login-timeout", KIND_NUMBER, true, AT(login_timeout), 1, 36000, "120",
     "seconds for all logins"},
    {"warmup", KIND_NUMBER, true, AT(warmup), 0, 86400, "2", "seconds before the measuring begins"},
    {"seconds", KIND_NUMBER, true, AT(seconds), 1, 86400 * 7, "5",
     "seconds that are measured, or held"},
    {"class", KIND_CLASS, true, AT(message_class), 0, 0, "ephemeral", "ephemeral or confirmed"},
    {"bytes", KIND_NUMBER, true, AT(bytes), REFEREE_BODY_MIN, FRAME_PAYLOAD_SIZE_MAX, "100",
     "size of a body"},
    {"in-flight", KIND_NUMBER, false, AT(in_flight), 1, 256, "1",
     "closed loop: messages in flight of each user"},
    {"think-ms", KIND_NUMBER, false, AT(think_ms), 0, 3600000, "0",
     "closed loop: pause after each message, on average"},
    {"rate", KIND_REAL, false, AT(rate), 0, 100000000, "0",
     "open loop: messages a second of all users, due whatever became of others; 0: closed loop"},
    {"even", KIND_FLAG, false, AT(even), 0, 0, NULL,
     "pauses and the distances of due messages are all the same, not exponential"},
    {"offline-share", KIND_REAL, false, AT(offline_share), 0, 1, "0",
     "share of the messages that goes to users who have left; below 1"},
    {"pids", KIND_PIDS, true, AT(pids), 0, 0, NULL,
     "server processes, by commas, whose cost is measured"},
    {"names", KIND_NAMES, true, AT(pids), 0, 0, NULL, "the same by names of programs"},
    {"redis-pid", KIND_PIDS, true, AT(redis), 0, 0, NULL, "Redis behind them, counted apart"},
    {"redis-names", KIND_NAMES, true, AT(redis), 0, 0, NULL, "the same by names of programs"},
    {"listen", KIND_TEXT, false, AT(listen), 0, 0, "127.0.0.1:7799", "where the relay listens"},
    {"redis-address", KIND_TEXT, false, AT(redis_address), 0, 0, "unix:redis.sock",
     "unix:PATH or tcp:HOST:PORT; presence of other shards must not be in it"},
    {"slots", KIND_NUMBER, false, AT(slots), 0, 16384, "0",
     "only users of so many of the 16384 slots, which then lie as many more do; 0: all"},
    {"p99-us", KIND_NUMBER, false, AT(p99_us), 10, 60000000, "5000",
     "microseconds that 99 % of the messages may take"},
    {"kill-pid", KIND_NUMBER, false, AT(kill_pid), 2, 1u << 22, NULL,
     "the server process that is killed"},
    {"label", KIND_TEXT, true, AT(label), 0, 0, "", "a text that the result carries"},
    {"tickets", KIND_FLAG, false, AT(tickets), 0, 0, NULL,
     "who logs in again does so by ticket, not by token; idle: in the end all do, once"},
    {"json", KIND_FLAG, true, AT(json), 0, 0, NULL, "print one JSON object"},
};
#define COUNT (sizeof table / sizeof *table)

static void print_help(void)
{
    const struct workload *workload;
    const struct target *target;
    printf("usage: lahar-bench WORKLOAD [--OPTION VALUE]...\n\n");
    for (size_t i = 0; (workload = workload_at(i)) != NULL; i++)
        printf("  %-9s %s\n", workload->name, workload->help);
    for (int common = 1; common >= 0; common--) {
        printf(common ? "\n" : "\nOf some workloads only:\n");
        for (size_t i = 0; i < COUNT; i++)
            if (table[i].common == (common == 1))
                printf("  --%-14s %s%s%s%s\n", table[i].name, table[i].help,
                       table[i].start && *table[i].start ? " (" : "",
                       table[i].start ? table[i].start : "",
                       table[i].start && *table[i].start ? ")" : "");
    }
    printf("\nTargets:\n");
    for (size_t i = 0; (target = target_at(i)) != NULL; i++)
        printf("  %-9s %s\n", target->name, target->help);
    printf("\nRate limits of the servers (limits.sends_per_s) must be lifted by whoever starts "
           "them.\n"
           "Exit codes: 0 done; 1 usage; 2 could not be run, or a connection was lost; 3 a promise "
           "was broken.\n");
}

static bool set_number(const struct option *option, uint32_t *number, const char *value)
{
    char *end;
    errno = 0;
    unsigned long long wide = strtoull(value, &end, 10);
    if (errno != 0 || end == value || *end != 0 || wide < option->min || wide > option->max)
        return false;
    *number = (uint32_t)wide;
    return true;
}

static bool set_real(const struct option *option, double *number, const char *value)
{
    char *end;
    double real = strtod(value, &end);
    if (end == value || *end != 0 || !(real >= option->min && real <= option->max))
        return false;
    *number = real;
    return true;
}

static bool set_class(enum hot_class *message_class, const char *value)
{
    static const char *const names[] = {"stored", "confirmed", "ephemeral"};
    for (uint32_t i = 0; i < HOT_CLASSES; i++) {
        if (strcmp(value, names[i]) == 0) {
            *message_class = (enum hot_class)i;
            return true;
        }
    }
    return false;
}

static bool set(struct options *options, const struct option *option, const char *value)
{
    void *field = (char *)options + option->offset;
    switch (option->kind) {
    case KIND_TEXT:
        *(const char **)field = value;
        return true;
    case KIND_NUMBER:
        return set_number(option, field, value);
    case KIND_REAL:
        return set_real(option, field, value);
    case KIND_FLAG:
        *(bool *)field = true;
        return true;
    case KIND_CLASS:
        return set_class(field, value);
    case KIND_TARGET:
        return (*(const struct target **)field = target_find(value)) != NULL;
    case KIND_PIDS:
        return cost_parse(value, field);
    case KIND_NAMES:
        return cost_find(value, field);
    }
    return false;
}

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* Is `name` one of the words of `list`? */
static bool names(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += len)
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == 0))
            return true;
    return false;
}

static void check(const struct options *options, const struct workload *workload,
                  const bool given[COUNT])
{
    for (size_t i = 0; i < COUNT; i++)
        if (given[i] && !table[i].common && !names(workload->options, table[i].name))
            log_die("--%s: not for %s", table[i].name, workload->name);
    if (!options->target->offers[options->message_class])
        log_die("--class: %s does not offer it", options->target->name);
    if (options->message_class != HOT_EPHEMERAL && options->in_flight > 32)
        log_die("--in-flight: at most 32, as clients may");
    if (options->offline_share > 0.95)
        log_die("--offline-share: at most 0.95");
    if (names(workload->options, "in-flight") && options->in_flight >= options->users)
        log_die("--in-flight: fewer than users, since each message in flight has its own "
                "recipient");
    if (options->devices > 1 && strcmp(options->target->name, "relay") == 0)
        log_die("--devices: the relay knows one connection for each user");
    if ((uint64_t)options->users * options->devices > UINT32_MAX / 2)
        log_die("--devices: that is too many connections");
}

static const struct option *parse_one(struct options *options, const char *text, const char *next,
                                      bool *used_next)
{
    const struct option *option = strncmp(text, "--", 2) == 0 ? find(text + 2) : NULL;
    if (!option)
        log_die("'%s' is no option; lahar-bench --help lists them", text);
    *used_next = option->kind != KIND_FLAG;
    const char *value = *used_next ? next : "";
    if (!value || !set(options, option, value))
        log_die("--%s: %s is not allowed: %s", option->name, value ? value : "nothing",
                option->help);
    return option;
}

void options_parse(struct options *options, int argc, char **argv)
{
    bool given[COUNT] = {false}, used_next = false;
    *options = (struct options){0};
    for (size_t i = 0; i < COUNT; i++)
        if (table[i].start && !set(options, &table[i], table[i].start))
            assert(!"a start value that is not allowed");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            exit(0);
        }
        if (strncmp(argv[i], "--", 2) != 0 && !options->workload) {
            options->workload = argv[i];
            continue;
        }
        given[parse_one(options, argv[i], argv[i + 1], &used_next) - table] = true;
        i += used_next;
    }
    if (!options->workload)
        log_die("no workload; lahar-bench --help lists them");
    const struct workload *workload = workload_find(options->workload);
    if (!workload)
        log_die("'%s' is no workload; lahar-bench --help lists them", options->workload);
    check(options, workload, given);
    options->comes_back = workload->comes_back;
}

static uint32_t count_of_servers(const char *servers)
{
    uint32_t count = 1;
    for (const char *at = servers; (at = strchr(at, ',')) != NULL; at++)
        count++;
    return count;
}

/* Where users come back, those of each server have processes of their own. */
static uint32_t processes_for(const struct options *options, uint64_t needed)
{
    if (!options->comes_back)
        return (uint32_t)needed;
    uint32_t servers = count_of_servers(options->servers);
    return (uint32_t)(needed + servers - 1) / servers * servers;
}

void options_settle_processes(struct options *options)
{
    struct rlimit limit = {0, 0};
    uint64_t conns = (uint64_t)options->users * options->devices;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t each = limit.rlim_cur > OPTIONS_SPARE_FILES ? limit.rlim_cur - OPTIONS_SPARE_FILES : 1;
    if (each > OPTIONS_PROCESS_CONNS_MAX)
        each = OPTIONS_PROCESS_CONNS_MAX;
    uint64_t needed = (conns + each - 1) / each;
    if (needed > TEAM_MEMBERS_MAX)
        log_die("%llu connections want %llu generator processes, more than %u: raise the limit of "
                "open files (ulimit -Hn), now %llu",
                (unsigned long long)conns, (unsigned long long)needed, TEAM_MEMBERS_MAX,
                (unsigned long long)limit.rlim_cur);
    if (options->processes == 0)
        options->processes = processes_for(options, needed);
    if (options->processes < needed)
        log_die("--processes: %llu connections in %u processes are more than the limit of open "
                "files (%llu) allows; give at least %llu, or raise it (ulimit -Hn)",
                (unsigned long long)conns, options->processes, (unsigned long long)limit.rlim_cur,
                (unsigned long long)needed);
    if (options->processes > options->users)
        options->processes = options->users;
}
