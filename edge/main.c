/* lahar-edge: client connections of the cluster, on worker threads. */
#include "base/daemon.h"
#include "base/log.h"
#include "edge/edge_conf.h"
#include "edge/edge_metrics.h"
#include "edge/sslmem.h"
#include "edge/tls.h"
#include "edge/worker.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NAME_SIZE 40
#define LOOK_MS 50
#define DAY_MS (24 * 3600 * 1000)
/* What an orderly end may take beyond drain_ms: Goaway to close, and slow clients. */
#define GRACE_MS 10000

struct member {
    char name[NAME_SIZE];
    struct metrics *metrics;
    struct worker *worker;
};

struct edge {
    const struct daemon_program *program;
    const struct conf *conf;
    const char *path; /* of the settings; NULL: none */
    struct keys *keys;
    struct certs *certs; /* NULL: no listener speaks TLS */
    struct link_net *net;
    struct metrics_registry *registry;
    struct ops *ops;
    struct member *members;
    uint32_t count;
};

/* The soft limit is small by custom, for programs that use select(). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("descriptors_not_raised");
}

static void begin_links(struct edge *edge)
{
    struct keys_error error;
    bool curve = conf_flag(edge->conf, "link.curve");
    if (curve && !keys_load(conf_text(edge->conf, "link.keys"), KEYS_EDGE, edge->keys, &error))
        log_die("%s", error.text);
    edge->net = link_net_new(&(struct link_net_options){
        .role = KEYS_EDGE,
        .curve = curve,
        .keys = edge->keys,
        .io_threads = (uint32_t)conf_number(edge->conf, "link.io_threads"),
    });
}

static void begin_certs(struct edge *edge)
{
    struct certs_options options;
    char why[CERTS_WHY_SIZE];
    if (!edge_conf_certs(edge->conf, &options))
        return;
    edge->certs = certs_load(&options, tls_context, why);
    if (edge->certs == NULL)
        log_die("TLS: %s", why);
    certs_warn(edge->certs, time(NULL));
}

static void begin_workers(struct edge *edge)
{
    edge->count = (uint32_t)conf_number(edge->conf, "workers");
    edge->members = calloc(edge->count, sizeof *edge->members);
    edge->registry = metrics_registry_new(edge_metrics_table(), EDGE_METRICS);
    assert(edge->members != NULL);
    for (uint32_t i = 0; i < edge->count; i++) {
        struct member *member = &edge->members[i];
        snprintf(member->name, sizeof member->name, "%s/%u", conf_text(edge->conf, "name"), i);
        member->metrics = metrics_registry_worker(edge->registry, member->name);
    }
    edge->ops = ops_new(conf_text(edge->conf, "ops.listen"), edge->registry, edge->program->name,
                        LAHAR_VERSION);
    for (uint32_t i = 0; i < edge->count; i++) {
        struct member *member = &edge->members[i];
        struct worker_options options = {
            .conf = edge->conf,
            .name = member->name,
            .metrics = member->metrics,
            .ops = ops_worker(edge->ops, member->name),
            .certs = edge->certs,
        };
        member->worker = worker_new(edge->net, &options);
    }
}

static void reload_certs(struct edge *edge, const struct conf *fresh)
{
    struct certs_options options;
    char why[CERTS_WHY_SIZE];
    if (edge->certs == NULL || !edge_conf_certs(fresh != NULL ? fresh : edge->conf, &options))
        return;
    struct certs *certs = certs_load(&options, tls_context, why);
    if (certs == NULL) {
        log_error("certificates_unusable", LOG_TEXT("why", why));
        return;
    }
    certs_warn(certs, time(NULL));
    for (uint32_t i = 0; i < edge->count; i++)
        worker_set_certs(edge->members[i].worker, certs);
    certs_free(edge->certs);
    edge->certs = certs;
}

static void reload(struct edge *edge)
{
    struct keys_error error;
    struct conf *fresh = daemon_reload(edge->program, edge->path);
    if (conf_flag(edge->conf, "link.curve")) {
        if (keys_load(conf_text(edge->conf, "link.keys"), KEYS_EDGE, edge->keys, &error))
            link_net_reload(edge->net, edge->keys);
        else
            log_error("keys_unusable", LOG_TEXT("why", error.text));
    }
    reload_certs(edge, fresh);
    conf_free(fresh);
    log_info("reloaded");
}

/* Until SIGTERM. */
static void stay(struct edge *edge)
{
    for (;;) {
        switch (daemon_wait(DAY_MS)) {
        case DAEMON_LEAVE:
            return;
        case DAEMON_RELOAD:
            reload(edge);
            break;
        case DAEMON_NONE:
            if (edge->certs != NULL)
                certs_warn(edge->certs, time(NULL));
            break;
        }
    }
}

static bool all_done(const struct edge *edge)
{
    for (uint32_t i = 0; i < edge->count; i++)
        if (!worker_done(edge->members[i].worker))
            return false;
    return true;
}

/* A second SIGTERM means now. */
static void leave(struct edge *edge)
{
    log_info("leaving");
    ops_leaving(edge->ops);
    for (uint32_t i = 0; i < edge->count; i++)
        worker_leave(edge->members[i].worker);
    int64_t left_ms = conf_number(edge->conf, "drain_ms") + GRACE_MS;
    for (; !all_done(edge); left_ms -= LOOK_MS) {
        if (daemon_wait(LOOK_MS) == DAEMON_LEAVE || left_ms <= 0) {
            log_warn("left_at_once");
            _exit(1);
        }
    }
}

static void end(struct edge *edge)
{
    for (uint32_t i = 0; i < edge->count; i++)
        worker_free(edge->members[i].worker);
    ops_free(edge->ops);
    link_net_free(edge->net);
    certs_free(edge->certs);
    metrics_registry_free(edge->registry);
    free(edge->members);
    free(edge->keys);
}

int main(int argc, char **argv)
{
    const struct daemon_program program = {
        .name = "lahar-edge",
        .about = "An edge of a Lahar cluster: holds client connections, checks who they are, and "
                 "passes their\nmessages to the router shards and back.",
        .keys = edge_conf_keys(),
        .check = edge_conf_check,
    };
    struct edge edge = {.program = &program};
    sslmem_init();
    struct conf *conf = daemon_begin(&program, argc, argv, &edge.path);
    edge.conf = conf;
    edge.keys = calloc(1, sizeof *edge.keys);
    assert(edge.keys != NULL);
    daemon_block_signals();
    raise_descriptors();
    begin_certs(&edge);
    begin_links(&edge);
    begin_workers(&edge);
    for (uint32_t n = 0; n < conf_list_len(conf, "listen"); n++)
        log_info("listening", LOG_TEXT("address", conf_list_at(conf, "listen", n)),
                 LOG_UNSIGNED("port", worker_port(edge.members[0].worker, n)));
    for (uint32_t i = 0; i < edge.count; i++)
        worker_start(edge.members[i].worker);
    log_info("started", LOG_TEXT("version", LAHAR_VERSION), LOG_UNSIGNED("workers", edge.count));
    stay(&edge);
    leave(&edge);
    end(&edge);
    log_info("left");
    conf_free(conf);
    return 0;
}
