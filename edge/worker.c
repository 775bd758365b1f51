#include "edge/worker.h"

#include "base/log.h"
#include "base/rand.h"
#include "edge/edge_conf.h"
#include "edge/edge_metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define TICK_MS 100u
#define SECOND_MS 1000u
#define FRAME_SIZE_USUAL 1024u
/* After the last client has left: for the last Unbinds to go out. */
#define LAST_WORDS_MS 300u
/* Descriptors that clients do not get: for files and the ops listener, and for each link. */
#define FDS_KEPT 64u
#define FDS_KEPT_A_LINK 2u

struct shard_name {
    char text[SLOTMAP_NAME_MAX + 1];
};

struct worker {
    struct worker_options options;
    struct loop *loop;
    struct conn_table *conns;
    struct link *link;
    struct session_table *sessions;
    struct limits *limits;
    struct overload overload;
    uint64_t felt_us; /* when overload was judged last */
    const char **hints;
    struct shard_name *shards;
    uint32_t shard_count;
    bool *heard;      /* shards that are up and are who we take them for */
    uint64_t now_ms;  /* what the sessions were told last */
    uint64_t left_ms; /* when the last client had gone; 0: not yet */
    uint64_t map_epoch;
    bool leaving, started;
    struct certs *certs;
    _Atomic(struct certs *) new_certs; /* NULL: none since the last tick */
    atomic_bool leave, done;
    pthread_t thread;
};

/* Once a turn: the loop's time stands still within it. */
static void set_time(struct worker *worker)
{
    uint64_t now_ms = loop_now_ms(worker->loop);
    if (now_ms == worker->now_ms)
        return;
    worker->now_ms = now_ms;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    session_time(worker->sessions, now_ms,
                 (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000);
}

/* --- what the sessions ask for ---------------------------------------------------------------- */

static void send_to_client(void *ctx, struct conn_id id, struct span bytes)
{
    struct worker *worker = ctx;
    conn_send(worker->conns, id, bytes);
}

static void close_client(void *ctx, struct conn_id id, enum end_reason reason)
{
    struct worker *worker = ctx;
    conn_close(worker->conns, id, reason);
}

static enum link_sent forward(void *ctx, uint32_t shard, enum link_kind kind, struct span frame)
{
    struct worker *worker = ctx;
    return link_send(worker->link, shard, kind, frame);
}

static enum token_verdict verify(void *ctx, const struct sites *sites, struct span token,
                                 uint64_t now_s, struct token_claims *claims)
{
    struct worker *worker = ctx;
    return token_verify(sites, conf_text(worker->options.conf, "cluster.name"), token, now_s,
                        claims);
}

static uint64_t get_random(void *ctx)
{
    (void)ctx;
    return rand_u64();
}

/* --- what is brought to them ------------------------------------------------------------------ */

static uint32_t on_origin(void *ctx, struct span origin)
{
    const struct worker *worker = ctx;
    return session_origin(worker->sessions, origin);
}

static void on_opened(void *ctx, struct conn_id id, uint32_t listener, const struct conn_from *from)
{
    (void)listener;
    struct worker *worker = ctx;
    set_time(worker);
    session_opened(worker->sessions, id, from);
}

static size_t on_bytes(void *ctx, struct conn_id id, struct span bytes)
{
    struct worker *worker = ctx;
    set_time(worker);
    return session_bytes(worker->sessions, id, bytes);
}

static void on_closed(void *ctx, struct conn_id id, enum end_reason reason)
{
    struct worker *worker = ctx;
    set_time(worker);
    session_closed(worker->sessions, id, reason);
}

static void on_link_up(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                       struct span name)
{
    struct worker *worker = ctx;
    const char *expected = worker->shards[peer].text;
    set_time(worker);
    worker->heard[peer] = role == KEYS_ROUTER && span_equal(name, span_text(expected));
    if (!worker->heard[peer]) {
        log_error("wrong_shard", LOG_TEXT("expected", expected), LOG_SPAN("found", name),
                  LOG_TEXT("role", keys_role_name(role)));
        return;
    }
    log_info("shard_up", LOG_TEXT("shard", expected), LOG_HEX("incarnation", incarnation));
    session_link_up(worker->sessions, peer);
}

static void on_link_frame(void *ctx, uint32_t peer, struct span frame)
{
    struct worker *worker = ctx;
    set_time(worker);
    if (worker->heard[peer])
        session_link_frame(worker->sessions, peer, frame);
}

static void on_link_down(void *ctx, uint32_t peer)
{
    struct worker *worker = ctx;
    set_time(worker);
    if (!worker->heard[peer])
        return;
    worker->heard[peer] = false;
    log_warn("shard_down", LOG_TEXT("shard", worker->shards[peer].text));
    session_link_down(worker->sessions, peer);
}

/* --- overload -------------------------------------------------------------------------------- */

enum signal { TURNS, QUEUED, LOGINS, CREDIT, SHARDS, SIGNALS };

static void sense_shards(const struct worker *worker, struct overload_signal *signals)
{
    /* A shard that is away or has no credit refuses for itself; only if all do is it the worker's
     * trouble. */
    uint32_t least = OVERLOAD_MAX, full = 0, up = 0;
    for (uint32_t shard = 0; shard < worker->shard_count; shard++) {
        if (!worker->heard[shard])
            continue;
        uint32_t load = link_peer_load(worker->link, shard);
        least = load < least ? load : least;
        full += link_would(worker->link, shard, FRAME_SIZE_USUAL) == LINK_NO_CREDIT;
        up++;
    }
    signals[CREDIT] = (struct overload_signal){full, up};
    signals[SHARDS] = (struct overload_signal){up == 0 ? 0 : least, OVERLOAD_MAX};
}

static void judge_load(struct worker *worker)
{
    static const enum edge_metric levels[SIGNALS] = {
        [TURNS] = EDGE_METRIC_OVERLOAD_TURNS,   [QUEUED] = EDGE_METRIC_OVERLOAD_QUEUED,
        [LOGINS] = EDGE_METRIC_OVERLOAD_LOGINS, [CREDIT] = EDGE_METRIC_OVERLOAD_CREDIT,
        [SHARDS] = EDGE_METRIC_OVERLOAD_SHARDS,
    };
    const struct conf *conf = worker->options.conf;
    struct overload *overload = &worker->overload;
    uint64_t now_us = loop_now_us(worker->loop);
    struct overload_signal signals[SIGNALS] = {
        [TURNS] = {overload_turns_us(overload, now_us - worker->felt_us),
                   (uint64_t)conf_number(conf, "overload.turn_ms") * 1000},
        [QUEUED] = {conn_queued(worker->conns), (uint64_t)conf_number(conf, "overload.queued")},
        [LOGINS] = {session_logging_in(worker->sessions),
                    (uint64_t)conf_number(conf, "limits.logins_waiting")},
    };
    sense_shards(worker, signals);
    worker->felt_us = now_us;
    for (size_t i = 0; i < SIGNALS; i++)
        metrics_set(worker->options.metrics, levels[i], overload_of(signals[i]));
    uint32_t before = overload->class;
    if (overload_feed(overload, signals, SIGNALS)) {
        log_warn("overload", LOG_UNSIGNED("class", overload->class), LOG_UNSIGNED("was", before),
                 LOG_UNSIGNED("level", overload_level(overload)),
                 LOG_UNSIGNED("turns", overload_of(signals[TURNS])),
                 LOG_UNSIGNED("queued", overload_of(signals[QUEUED])),
                 LOG_UNSIGNED("logins", overload_of(signals[LOGINS])),
                 LOG_UNSIGNED("credit", overload_of(signals[CREDIT])),
                 LOG_UNSIGNED("shards", overload_of(signals[SHARDS])));
        limits_set_class(worker->limits, (enum limits_class)overload->class);
    }
    link_set_load(worker->link, overload_level(overload));
    for (enum limit limit = LIMIT_OVERLOAD; limit <= LIMIT_OVERLOAD_SENDS; limit++)
        metrics_set(worker->options.metrics, EDGE_METRIC_LIMIT_NOW(limit),
                    overload_level(overload));
    metrics_set(worker->options.metrics, EDGE_METRIC_OVERLOAD, overload_level(overload));
}

static void on_turn_over(void *ctx)
{
    struct worker *worker = ctx;
    overload_turn(&worker->overload, loop_spent_us(worker->loop));
}

/* --- time ------------------------------------------------------------------------------------- */

static void do_leave(struct worker *worker)
{
    worker->leaving = true;
    log_info("leaving", LOG_UNSIGNED("sessions", session_count(worker->sessions)));
    conn_table_stop_accepting(worker->conns);
    session_leave(worker->sessions);
}

static void take_certs(struct worker *worker)
{
    struct certs *certs = atomic_exchange(&worker->new_certs, NULL);
    if (certs == NULL)
        return;
    conn_table_set_certs(worker->conns, certs);
    certs_free(worker->certs);
    worker->certs = certs;
}

static void on_tick(void *ctx)
{
    struct worker *worker = ctx;
    set_time(worker);
    take_certs(worker);
    if (atomic_load(&worker->leave) && !worker->leaving)
        do_leave(worker);
    limits_tick(worker->limits);
    judge_load(worker);
    session_tick(worker->sessions);

    uint64_t map_epoch = session_map_epoch(worker->sessions);
    if (map_epoch != worker->map_epoch) {
        worker->map_epoch = map_epoch;
        link_set_map_epoch(worker->link, map_epoch);
    }
    if (!session_left(worker->sessions))
        return;
    if (worker->left_ms == 0)
        worker->left_ms = worker->now_ms;
    else if (worker->now_ms - worker->left_ms >= LAST_WORDS_MS)
        loop_stop(worker->loop);
}

static void on_second(void *ctx)
{
    struct worker *worker = ctx;
    edge_metrics_link(worker->options.metrics, link_counts(worker->link));
    edge_metrics_certs(worker->options.metrics, worker->certs);
    ops_beat(worker->options.ops, loop_now_ms(worker->loop));
    ops_ready(worker->options.ops, session_not_ready(worker->sessions));
}

static void *run(void *ctx)
{
    struct worker *worker = ctx;
    log_thread(worker->options.name);
    ops_beat(worker->options.ops, loop_now_ms(worker->loop));
    loop_run(worker->loop);
    on_second(worker);
    ops_ready(worker->options.ops, "this edge has left");
    atomic_store(&worker->done, true);
    return NULL;
}

/* Writing to clients takes longer than all the rest of a turn. So what they sent goes on before,
 * and what has come for them since leaves with the same writes. */
static void on_turn_end(void *ctx)
{
    struct worker *worker = ctx;
    set_time(worker);
    if (!session_turn_end(worker->sessions))
        loop_again(worker->loop);
    link_flush(worker->link);
}

/* --- life ------------------------------------------------------------------------------------- */

static void read_shards(struct worker *worker)
{
    const struct conf *conf = worker->options.conf;
    worker->shard_count = (uint32_t)conf_list_len(conf, "cluster.shards");
    worker->shards = calloc(worker->shard_count, sizeof *worker->shards);
    worker->heard = calloc(worker->shard_count, sizeof *worker->heard);
    assert(worker->shards != NULL && worker->heard != NULL);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        struct span name, address;
        bool parsed = slotmap_parse_entry(span_text(conf_list_at(conf, "cluster.shards", i)), &name,
                                          &address);
        assert(parsed && name.len <= SLOTMAP_NAME_MAX);
        memcpy(worker->shards[i].text, name.at, name.len);
    }
}

static void make_sessions(struct worker *worker)
{
    static const struct session_actions actions = {
        .send = send_to_client,
        .close = close_client,
        .forward = forward,
        .verify = verify,
        .random = get_random,
    };
    const struct conf *conf = worker->options.conf;
    struct limits_options limits = edge_conf_limits(conf);
    limits.seed = rand_u64();
    worker->limits = limits_new(&limits, worker->options.metrics);
    worker->overload = edge_conf_overload(conf);
    size_t hints = conf_list_len(conf, "drain_hints");
    worker->hints = calloc(hints + 1, sizeof *worker->hints);
    const char **names = calloc(worker->shard_count, sizeof *names);
    assert(names != NULL && worker->hints != NULL);
    for (size_t i = 0; i < hints; i++)
        worker->hints[i] = conf_list_at(conf, "drain_hints", i);
    for (uint32_t i = 0; i < worker->shard_count; i++)
        names[i] = worker->shards[i].text;
    struct session_options options = edge_conf_sessions(conf);
    options.edge_name = worker->options.name;
    options.shard_names = names;
    options.shards = worker->shard_count;
    options.limits = worker->limits;
    options.hints = worker->hints;
    options.hint_count = (uint32_t)hints;
    worker->sessions = session_table_new(&options, &actions, worker, worker->options.metrics);
    free(names);
    set_time(worker);
}

static uint32_t fds_for_clients(const struct worker *worker)
{
    struct rlimit limit;
    int result = getrlimit(RLIMIT_NOFILE, &limit);
    assert(result == 0);
    rlim_t all = limit.rlim_cur < INT32_MAX ? limit.rlim_cur : INT32_MAX;
    rlim_t links = (rlim_t)conf_number(worker->options.conf, "workers") * worker->shard_count;
    rlim_t kept = FDS_KEPT + FDS_KEPT_A_LINK * links;
    return (uint32_t)(kept < all / 2 ? all - kept : all / 2);
}

static void make_conns(struct worker *worker)
{
    static const struct conn_events events = {
        .origin = on_origin, .on_opened = on_opened, .on_bytes = on_bytes, .on_closed = on_closed};
    const struct conf *conf = worker->options.conf;
    struct conn_options options = edge_conf_conns(conf);
    struct proxy_net proxies[EDGE_CONF_PROXIES_MAX];
    options.fd_max = fds_for_clients(worker);
    options.certs = worker->certs;
    options.limits = worker->limits;
    options.proxies = proxies;
    options.proxy_count = edge_conf_proxies(conf, proxies);
    worker->conns =
        conn_table_new(worker->loop, &options, worker->options.metrics, &events, worker);
    for (size_t i = 0; i < conf_list_len(conf, "listen"); i++) {
        uint32_t listener = conn_table_listen(worker->conns, conf_list_at(conf, "listen", i));
        assert(listener == i);
    }
}

static void make_link(struct worker *worker, struct link_net *net)
{
    static const struct link_events events = {
        .on_up = on_link_up, .on_frame = on_link_frame, .on_down = on_link_down};
    const struct conf *conf = worker->options.conf;
    struct link_options options = edge_conf_link(conf);
    options.name = worker->options.name;
    options.incarnation = rand_u64() | 1;
    worker->link = link_new(net, worker->loop, &options, &events, worker);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        struct span name, address;
        bool parsed = slotmap_parse_entry(span_text(conf_list_at(conf, "cluster.shards", i)), &name,
                                          &address);
        assert(parsed);
        char *endpoint = strndup((const char *)address.at, address.len);
        assert(endpoint != NULL);
        uint32_t peer = link_connect(worker->link, endpoint);
        assert(peer == i);
        free(endpoint);
    }
    link_fault_drop_every(worker->link, (uint32_t)conf_number(conf, "link.fault_drop_every"));
}

struct worker *worker_new(struct link_net *net, const struct worker_options *options)
{
    struct worker *worker = calloc(1, sizeof *worker);
    assert(worker != NULL);
    worker->options = *options;
    if (options->certs != NULL)
        worker->certs = certs_hold(options->certs);
    worker->loop = loop_new();
    read_shards(worker);
    make_sessions(worker);
    /* In the order in which a turn ends: conns that end then still unbind their sessions, and the
     * link lets it out. */
    loop_at_turn_end(worker->loop, on_turn_end, worker);
    make_conns(worker);
    make_link(worker, net);
    metrics_set(worker->options.metrics, EDGE_METRIC_LIMIT(LIMIT_CREDIT),
                (uint64_t)conf_number(options->conf, "link.window"));
    metrics_set(worker->options.metrics, EDGE_METRIC_LIMIT(LIMIT_OVERLOAD),
                worker->overload.thresholds[0]);
    metrics_set(worker->options.metrics, EDGE_METRIC_LIMIT(LIMIT_OVERLOAD_SENDS),
                worker->overload.thresholds[2]);
    loop_at_turn_end(worker->loop, on_turn_over, worker);
    loop_every(worker->loop, TICK_MS, on_tick, worker);
    loop_every(worker->loop, SECOND_MS, on_second, worker);
    return worker;
}

uint16_t worker_port(const struct worker *worker, uint32_t n)
{
    return conn_table_port(worker->conns, n);
}

void worker_start(struct worker *worker)
{
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error != 0)
        log_die("no thread for worker %s: %s; raise the limit of threads (ulimit -u)",
                worker->options.name, strerror(error));
    worker->started = true;
}

void worker_set_certs(struct worker *worker, struct certs *certs)
{
    certs_free(atomic_exchange(&worker->new_certs, certs_hold(certs)));
}

void worker_leave(struct worker *worker)
{
    atomic_store(&worker->leave, true);
}

bool worker_done(const struct worker *worker)
{
    return atomic_load(&worker->done);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    if (worker->started)
        pthread_join(worker->thread, NULL);
    link_free(worker->link);
    conn_table_free(worker->conns);
    session_table_free(worker->sessions);
    limits_free(worker->limits);
    free(worker->hints);
    loop_free(worker->loop);
    certs_free(worker->certs);
    certs_free(atomic_load(&worker->new_certs));
    free(worker->shards);
    free(worker->heard);
    free(worker);
}
