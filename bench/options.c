#include "bench/options.h"

#include "base/log.h"
#include "bench/referee.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum kind { KIND_TEXT, KIND_NUMBER, KIND_FLAG, KIND_CLASS, KIND_TARGET, KIND_PIDS };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    uint32_t min, max;
    const char *start; /* its value if it is not given; NULL: none */
    const char *help;
};

#define AT(field) offsetof(struct options, field)
#define USERS_MAX (1u << 22)

static const struct option table[] = {
    {"target", KIND_TARGET, AT(target), 0, 0, "lahar", "what is driven: lahar, relay"},
    {"servers", KIND_TEXT, AT(servers), 0, 0, "127.0.0.1:7700",
     "tcp:// or tls://HOST:PORT, by commas; users are spread over them"},
    {"ca", KIND_TEXT, AT(ca), 0, 0, NULL, "PEM file to check certificates with"},
    {"site", KIND_TEXT, AT(site), 0, 0, NULL, "site of the users"},
    {"key", KIND_TEXT, AT(key), 0, 0, NULL, "the site's private key, which tokens are made with"},
    {"cluster", KIND_TEXT, AT(cluster), 0, 0, "lahar", "the cluster's name (cluster.name)"},
    {"device", KIND_TEXT, AT(device), 0, 0, "bench", "device name of all users"},
    {"users", KIND_NUMBER, AT(users), 1, USERS_MAX, "1000", "connections, one for each user"},
    {"first", KIND_NUMBER, AT(first), 0, USERS_MAX, "0",
     "number of the first user, when several processes drive one cluster"},
    {"class", KIND_CLASS, AT(message_class), 0, 0, "ephemeral", "ephemeral or confirmed"},
    {"in-flight", KIND_NUMBER, AT(in_flight), 1, 256, "1", "messages in flight for each user"},
    {"bytes", KIND_NUMBER, AT(bytes), REFEREE_BODY_MIN, FRAME_PAYLOAD_SIZE_MAX, "100",
     "size of a body"},
    {"warmup", KIND_NUMBER, AT(warmup), 0, 86400, "2", "seconds before the measuring begins"},
    {"seconds", KIND_NUMBER, AT(seconds), 1, 86400 * 7, "5", "seconds that are measured, or held"},
    {"logins", KIND_NUMBER, AT(logins_at_once), 1, 65536, "64", "logins at the same time"},
    {"login-timeout", KIND_NUMBER, AT(login_timeout), 1, 3600, "120", "seconds for all logins"},
    {"pids", KIND_PIDS, AT(pids), 0, 0, NULL,
     "server processes, by commas, whose cost is measured"},
    {"redis-pid", KIND_PIDS, AT(redis), 0, 0, NULL, "the Redis behind them, counted apart"},
    {"listen", KIND_TEXT, AT(listen), 0, 0, "127.0.0.1:7799", "relay: where it listens"},
    {"json", KIND_FLAG, AT(json), 0, 0, NULL, "print one JSON object"},
};
#define COUNT (sizeof table / sizeof *table)

static void print_help(void)
{
    printf("usage: lahar-bench WORKLOAD [--OPTION VALUE]...\n\n"
           "  unicast   users write to each other in random pairs, closed loop\n"
           "  idle      users log in and are held: memory and CPU per connection\n"
           "  relay     a server, not a workload: the floor to compare with\n\n");
    for (size_t i = 0; i < COUNT; i++)
        printf("  --%-14s %s%s%s%s\n", table[i].name, table[i].help, table[i].start ? " (" : "",
               table[i].start ? table[i].start : "", table[i].start ? ")" : "");
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
    case KIND_FLAG:
        *(bool *)field = true;
        return true;
    case KIND_CLASS:
        return set_class(field, value);
    case KIND_TARGET:
        return (*(const struct target **)field = target_find(value)) != NULL;
    case KIND_PIDS:
        return cost_parse(value, field);
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

void options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){0};
    for (size_t i = 0; i < COUNT; i++)
        if (table[i].start && !set(options, &table[i], table[i].start))
            assert(!"a start value that is not allowed");
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            print_help();
            exit(0);
        }
        if (strncmp(text, "--", 2) != 0 && !options->workload) {
            options->workload = text;
            continue;
        }
        const struct option *option = strncmp(text, "--", 2) == 0 ? find(text + 2) : NULL;
        if (!option)
            log_die("'%s' is no option; lahar-bench --help lists them", text);
        const char *value = option->kind == KIND_FLAG ? "" : i + 1 < argc ? argv[++i] : NULL;
        if (!value || !set(options, option, value))
            log_die("--%s: %s is not allowed: %s", option->name, value ? value : "nothing",
                    option->help);
    }
    if (!options->workload)
        log_die("no workload; lahar-bench --help lists them");
    if (!options->target->offers[options->message_class])
        log_die("--class: %s does not offer it", options->target->name);
    if (options->message_class != HOT_EPHEMERAL && options->in_flight > 32)
        log_die("--in-flight: at most 32, as clients may");
    if (options->in_flight >= options->users && strcmp(options->workload, "unicast") == 0)
        log_die(
            "--in-flight: fewer than users, since each message in flight has its own recipient");
}
