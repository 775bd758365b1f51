/* lahar-router: some shards of the cluster, each on a thread of its own. */
#include "base/daemon.h"
#include "base/log.h"
#include "proto/slotmap.h"
#include "router/router_conf.h"
#include "router/router_metrics.h"
#include "router/runner.h"

#include <stdlib.h>

#define NAME_SIZE (SLOTMAP_NAME_MAX + 1)
#define ENDPOINT_SIZE 256

/* One entry of cluster.shards. */
struct entry {
    char name[NAME_SIZE];
    char endpoint[ENDPOINT_SIZE];
};

static void read_entry(const char *text, struct entry *entry)
{
    struct span name, address;
    bool parsed = slotmap_parse_entry(span_text(text), &name, &address);
    assert(parsed); /* router_conf_check has seen it */
    snprintf(entry->name, sizeof entry->name, "%.*s", (int)name.len, (const char *)name.at);
    snprintf(entry->endpoint, sizeof entry->endpoint, "%.*s", (int)address.len,
             (const char *)address.at);
}

/* Where one of our own shards listens: as `listen` says, else as all are told. */
static void find_endpoint(const struct conf *conf, struct entry *entry)
{
    for (size_t i = 0; i < conf_list_len(conf, "listen"); i++) {
        struct entry other;
        read_entry(conf_list_at(conf, "listen", i), &other);
        if (strcmp(other.name, entry->name) == 0)
            *entry = other;
    }
}

static struct link_net *new_net(const struct conf *conf, struct keys *keys)
{
    bool curve = conf_flag(conf, "link.curve");
    if (!curve)
        log_warn(
            "links_are_open",
            LOG_TEXT("why", "link.curve is false: any host that reaches a shard can be an edge"));
    struct keys_error error;
    if (curve && !keys_load(conf_text(conf, "link.keys"), KEYS_ROUTER, keys, &error))
        log_die("%s", error.text);
    return link_net_new(&(struct link_net_options){
        .role = KEYS_ROUTER,
        .curve = curve,
        .keys = curve ? keys : NULL,
        .io_threads = (uint32_t)conf_number(conf, "link.io_threads"),
    });
}

static void reload(const struct daemon_program *program, const char *path, const struct conf *conf,
                   struct link_net *net, struct keys *keys)
{
    struct keys_error error;
    conf_free(daemon_reload(program, path)); /* it sets the log level */
    if (conf_flag(conf, "link.curve")) {
        if (keys_load(conf_text(conf, "link.keys"), KEYS_ROUTER, keys, &error))
            link_net_reload(net, keys);
        else
            log_error("keys_unusable", LOG_TEXT("why", error.text));
    }
    log_info("reloaded");
}

/* All shards of cluster.shards; ours, which are in `runners`, are told apart by our name. */
struct house {
    struct entry *entries;
    const char **names;
    size_t count;
    struct runner **runners;
    size_t own;
};

static void build(struct house *house, const struct conf *conf, struct link_net *net,
                  struct metrics_registry *registry, struct ops *ops)
{
    const char *self = conf_text(conf, "name");
    size_t len = strlen(self);
    for (size_t i = 0; i < house->count; i++) {
        struct entry *entry = &house->entries[i];
        if (strncmp(entry->name, self, len) != 0 || entry->name[len] != '/')
            continue;
        find_endpoint(conf, entry);
        house->runners[house->own++] =
            runner_new(net, &(struct runner_options){
                                .conf = conf,
                                .name = entry->name,
                                .endpoint = entry->endpoint,
                                .shard_names = house->names,
                                .shards = (uint32_t)house->count,
                                .metrics = metrics_registry_worker(registry, entry->name),
                                .ops = ops_worker(ops, entry->name),
                            });
    }
}

int main(int argc, char **argv)
{
    const struct daemon_program program = {
        .name = "lahar-router",
        .about =
            "A router of a Lahar cluster: owns the users of some slots, knows where they are and\n"
            "delivers to them.",
        .keys = router_conf_keys(),
        .check = router_conf_check,
    };
    const char *path;
    struct conf *conf = daemon_begin(&program, argc, argv, &path);
    daemon_block_signals();

    struct keys keys;
    struct house house = {.count = conf_list_len(conf, "cluster.shards")};
    house.entries = calloc(house.count, sizeof *house.entries);
    house.names = calloc(house.count, sizeof *house.names);
    house.runners = calloc(house.count, sizeof(struct runner *));
    assert(house.entries && house.names && house.runners);
    for (size_t i = 0; i < house.count; i++) {
        read_entry(conf_list_at(conf, "cluster.shards", i), &house.entries[i]);
        house.names[i] = house.entries[i].name;
    }
    struct metrics_registry *registry =
        metrics_registry_new(router_metrics_table(), ROUTER_METRICS);
    struct ops *ops = ops_new(conf_text(conf, "ops.listen"), registry, program.name, LAHAR_VERSION);
    struct link_net *net = new_net(conf, &keys);
    build(&house, conf, net, registry, ops);
    log_info("started", LOG_TEXT("name", conf_text(conf, "name")),
             LOG_NUMBER("shards", (int64_t)house.own));

    for (size_t i = 0; i < house.own; i++)
        runner_start(house.runners[i]);
    while (daemon_wait(-1) != DAEMON_LEAVE)
        reload(&program, path, conf, net, &keys);
    log_info("leaving");
    ops_leaving(ops);
    for (size_t i = 0; i < house.own; i++)
        runner_leave(house.runners[i]);
    for (size_t i = 0; i < house.own; i++)
        runner_free(house.runners[i]);

    ops_free(ops);
    link_net_free(net);
    metrics_registry_free(registry);
    free(house.entries);
    free(house.names);
    free(house.runners);
    conf_free(conf);
    log_info("left");
    return 0;
}
