#include "bench/crowd.h"

#include "base/log.h"
#include "bench/net.h"
#include "cli/mint.h"
#include "proto/reasons.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOKEN_LIFETIME_S 600u
#define WHY_SIZE (MINT_WHY_SIZE + 128u)
#define NS_PER_MS UINT64_C(1000000)

struct user {
    uint64_t gid;  /* 0: not logged in */
    uint64_t dseq; /* the last delivery that has one */
};

struct crowd {
    struct crowd_options options;
    struct crowd_events events;
    void *ctx;
    struct net *net;
    struct user *users;
    uint32_t next_login, logging_in;
    uint32_t heartbeat_ms; /* the least one told; 0: none */
    uint64_t pinged_ns;    /* up to when pings have gone out */
    uint32_t next_ping;
    struct crowd_counts counts;
    bool failed;
    char why[WHY_SIZE];
};

static void fail(struct crowd *crowd, uint32_t user, const char *what, const char *more)
{
    if (!crowd->failed)
        snprintf(crowd->why, sizeof crowd->why, "user u%u: %s%s%s", crowd->options.first + user,
                 what, *more ? ": " : "", more);
    crowd->failed = true;
}

/* --- logging in ------------------------------------------------------------------------------- */

static void say_hello(void *ctx, uint32_t number)
{
    struct crowd *crowd = ctx;
    char token[MINT_TOKEN_SIZE], why[MINT_WHY_SIZE], name[16];
    size_t len = 0;
    snprintf(name, sizeof name, "u%u", crowd->options.first + number);
    const struct mint_claims claims = {
        .site = crowd->options.site,
        .user = name,
        .cluster = crowd->options.cluster,
        .issued_at = (uint64_t)time(NULL),
        .lifetime_s = TOKEN_LIFETIME_S,
    };
    if (crowd->options.target->tokens &&
        !mint_token(crowd->options.key, &claims, token, &len, why)) {
        fail(crowd, number, "no token", why);
        return;
    }
    const struct target_login login = {
        .number = (uint64_t)crowd->options.first + number + 1,
        .token = span_of(token, len),
        .device = span_text(crowd->options.device),
    };
    uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX + len);
    net_commit(crowd->net, number, crowd->options.target->hello(at, &login));
}

static void welcome(struct crowd *crowd, uint32_t number, const struct target_frame *frame)
{
    struct user *user = &crowd->users[number];
    uint32_t heartbeat_ms = frame->is.welcome.heartbeat_ms;
    if (user->gid != 0)
        return;
    user->gid = frame->is.welcome.gid;
    crowd->counts.online++;
    crowd->logging_in--;
    if (heartbeat_ms > 0 && (crowd->heartbeat_ms == 0 || heartbeat_ms < crowd->heartbeat_ms))
        crowd->heartbeat_ms = heartbeat_ms;
}

static void on_lost(void *ctx, uint32_t number, const char *why)
{
    struct crowd *crowd = ctx;
    struct user *user = &crowd->users[number];
    if (user->gid != 0) {
        crowd->counts.online--;
        crowd->counts.lost++;
    }
    user->gid = 0;
    fail(crowd, number, "connection lost", why);
}

bool crowd_login(struct crowd *crowd, uint32_t timeout_ms)
{
    uint64_t began = net_now_ns(crowd->net);
    while (crowd->counts.online < crowd->options.users && !crowd->failed) {
        while (crowd->next_login < crowd->options.users &&
               crowd->logging_in < crowd->options.logins_at_once) {
            net_connect(crowd->net, crowd->next_login++);
            crowd->logging_in++;
        }
        crowd_turn(crowd, 100);
        if (net_now_ns(crowd->net) - began > timeout_ms * NS_PER_MS)
            fail(crowd, (uint32_t)crowd->counts.online, "not all are logged in in time", "");
    }
    return !crowd->failed;
}

const char *crowd_why(const struct crowd *crowd)
{
    return crowd->why;
}

/* --- hearing ---------------------------------------------------------------------------------- */

static void deliver(struct crowd *crowd, uint32_t number, const struct hot_deliver *deliver)
{
    struct user *user = &crowd->users[number];
    if (deliver->dseq != 0) {
        if (deliver->dseq <= user->dseq)
            crowd->counts.replayed_dseq++;
        else if (deliver->dseq != user->dseq + 1)
            crowd->counts.skipped_dseq++;
        user->dseq = deliver->dseq;
    }
    crowd->events.on_deliver(crowd->ctx, number, deliver);
}

static void hear(struct crowd *crowd, uint32_t number, const struct target_frame *frame)
{
    switch (frame->event) {
    case TARGET_DELIVER:
        deliver(crowd, number, &frame->is.deliver);
        break;
    case TARGET_ACK:
        crowd->events.on_ack(crowd->ctx, number, &frame->is.ack);
        break;
    case TARGET_NACK:
        crowd->events.on_nack(crowd->ctx, number, &frame->is.nack);
        break;
    case TARGET_WELCOME:
        welcome(crowd, number, frame);
        break;
    case TARGET_ENDED:
        fail(crowd, number, "the server ends the connection",
             reasons_end_text(frame->is.ended.reason));
        break;
    case TARGET_IGNORED:
        break;
    }
}

static size_t on_bytes(void *ctx, uint32_t number, struct span bytes)
{
    struct crowd *crowd = ctx;
    const struct target *target = crowd->options.target;
    uint64_t before = crowd->users[number].dseq;
    struct span rest = bytes;
    struct target_frame frame;
    enum frame_status status;
    while ((status = target->take(&rest, &frame)) == FRAME_READY)
        hear(crowd, number, &frame);
    if (status == FRAME_INVALID)
        return NET_BROKEN;
    uint64_t now = crowd->users[number].dseq;
    if (now != before && target->received) {
        uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX);
        net_commit(crowd->net, number, target->received(at, now));
    }
    return bytes.len - rest.len;
}

/* --- turns ------------------------------------------------------------------------------------ */

/* The share of the users whose turn came since the last call. */
static void ping(struct crowd *crowd)
{
    const struct target *target = crowd->options.target;
    uint64_t now = net_now_ns(crowd->net);
    if (crowd->heartbeat_ms == 0 || !target->ping)
        return;
    if (crowd->pinged_ns == 0)
        crowd->pinged_ns = now;
    uint64_t each_ns = crowd->heartbeat_ms * NS_PER_MS * 4 / 5 / crowd->options.users;
    for (; now - crowd->pinged_ns >= each_ns; crowd->pinged_ns += each_ns) {
        uint32_t number = crowd->next_ping;
        crowd->next_ping = (number + 1) % crowd->options.users;
        if (crowd->users[number].gid == 0)
            continue;
        uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX);
        net_commit(crowd->net, number, target->ping(at));
    }
}

void crowd_turn(struct crowd *crowd, int wait_ms)
{
    ping(crowd);
    net_turn(crowd->net, wait_ms);
}

void crowd_send(struct crowd *crowd, uint32_t user, const struct hot_send *send, uint32_t tag)
{
    uint8_t *at = net_reserve(crowd->net, user, TARGET_OVERHEAD_MAX + send->body.len);
    net_commit(crowd->net, user, crowd->options.target->send(at, send, tag));
}

/* --- the rest --------------------------------------------------------------------------------- */

struct crowd *crowd_new(const struct crowd_options *options, const struct crowd_events *events,
                        void *ctx)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    assert(crowd != NULL && options->users > 0 && options->logins_at_once > 0);
    crowd->options = *options;
    crowd->events = *events;
    crowd->ctx = ctx;
    crowd->users = calloc(options->users, sizeof *crowd->users);
    assert(crowd->users != NULL);
    if (options->target->tokens && (!options->site || !options->key || !options->cluster))
        log_die("%s wants tokens: give --site, --key and --cluster", options->target->name);
    const struct net_options net_options = {
        .conns_max = options->users,
        .servers = options->servers,
        .ca = options->ca,
        .keep_bytes = options->keep_bytes,
    };
    const struct net_events net_events = {say_hello, on_bytes, on_lost};
    crowd->net = net_new(&net_options, &net_events, crowd);
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    if (crowd == NULL)
        return;
    net_free(crowd->net);
    free(crowd->users);
    free(crowd);
}

uint64_t crowd_gid(const struct crowd *crowd, uint32_t user)
{
    assert(user < crowd->options.users);
    return crowd->users[user].gid;
}

uint32_t crowd_users(const struct crowd *crowd)
{
    return crowd->options.users;
}

uint64_t crowd_now_ns(const struct crowd *crowd)
{
    return net_now_ns(crowd->net);
}

struct crowd_counts crowd_counts(const struct crowd *crowd)
{
    struct crowd_counts counts = crowd->counts;
    counts.bytes_in = net_bytes_in(crowd->net);
    counts.bytes_out = net_bytes_out(crowd->net);
    return counts;
}
