#include "router/router_conf.h"

#include "base/redis.h"
#include "proto/slotmap.h"

#define KIB 1024
#define MIB (1024 * KIB)
#define GIB ((int64_t)1024 * MIB)

static const struct conf_key keys[] = {
    {"name", CONF_TEXT, "r1", 1, 24,
     "This router's name. It runs those of cluster.shards whose name begins with it and a slash."},
    {"cluster.name", CONF_TEXT, "lahar", 1, 64, "The cluster's name, the same everywhere."},
    {"cluster.shards", CONF_LIST, "r1/0=tcp://127.0.0.1:7801,r1/1=tcp://127.0.0.1:7802", 1, 1024,
     "All shards of the cluster and where they can be reached, NAME/NUMBER=tcp://HOST:PORT. Equal "
     "on every router and every "
     "edge; the slots are dealt out in this order when the cluster is first started."},
    {"listen", CONF_LIST, "", 0, 1024,
     "Where this router's own shards listen, if not where cluster.shards says: "
     "r1/0=tcp://0.0.0.0:7801."},
    {"redis.address", CONF_TEXT, "unix:/run/redis/redis.sock", 1, 512,
     "The Redis behind this router: unix:/path or tcp:host:port. Version 7, "
     "hash-max-listpack-entries 512 or more."},
    {"redis.password", CONF_TEXT, "", 0, 512,
     "Its password, if it asks for one; better given by the environment."},
    {"redis.database", CONF_NUMBER, "0", 0, 1023, "Number of the database."},
    {"redis.prefix", CONF_TEXT, "lahar:", 0, 64, "What all keys begin with."},
    {"redis.timeout_ms", CONF_NUMBER, "2000", 100, 60000,
     "Without a reply for so long the connection is given up and made anew."},
    {"link.curve", CONF_FLAG, "true", 0, 1,
     "Encrypt links and admit only peers whose key is on a list. Without it any host that reaches "
     "a shard can be an edge: "
     "trusted networks only."},
    {"link.keys", CONF_TEXT, "/etc/lahar/keys", 0, 1024,
     "Directory with router.key, edges.allow, routers.allow and admins.allow (lahar keygen link). "
     "Read again on SIGHUP."},
    {"link.window", CONF_SIZE, "4MiB", 64 * KIB, GIB,
     "How much an edge worker may send ahead to a shard: memory for each edge worker."},
    {"link.silence_ms", CONF_NUMBER, "6000", 1500, 60000,
     "After so long without a sign an edge worker is dead and all its sessions are offline."},
    {"link.io_threads", CONF_NUMBER, "1", 1, 16, "Threads of ZeroMQ."},
    {"link.frames_a_turn", CONF_NUMBER, "8192", 16, 65536,
     "Frames taken from the link in one turn, about."},
    {"link.fault_drop_every", CONF_NUMBER, "0", 0, 1000000,
     "For tests: every n-th batch is lost on purpose. 0: none."},
    {"lease.ms", CONF_NUMBER, "3000", 1000, 60000,
     "Lease of a shard's name in Redis: a second process of that name waits so long."},
    {"lease.renew_ms", CONF_NUMBER, "1000", 100, 20000,
     "How often it is renewed; at most a third of the lease."},
    {"presence.announce_ms", CONF_NUMBER, "2000", 100, 60000,
     "After a start: how long a user without a session may still be announced by an edge, and "
     "messages to it wait."},
    {"presence.likely_ms", CONF_NUMBER, "6000", 500, 60000,
     "After a start: a session read from Redis that no edge has announced for so long is dropped."},
    {"presence.sweep_after_ms", CONF_NUMBER, "15000", 10000, 600000,
     "The records of a dead edge begin to be removed from Redis after so long."},
    {"presence.sweep_per_s", CONF_NUMBER, "1000", 1, 1000000,
     "How many of them a second and shard."},
    {"confirm.ms", CONF_NUMBER, "5000", 500, 60000,
     "How long a CONFIRMED message waits for a device's acknowledgement before its outcome is "
     "unknown."},
    {"confirm.outcome_ms", CONF_NUMBER, "60000", 1000, 600000,
     "How long outcomes are remembered for repeated sends."},
    {"confirm.retry_ms", CONF_NUMBER, "1000", 100, 60000,
     "A delivery without acknowledgement is sent again after so long."},
    {"limits.sessions", CONF_NUMBER, "20000000", 0, 1000000000,
     "Sessions recorded, for each shard, about 60 bytes each; beyond it logins, and sessions that "
     "edges announce, are told BUSY. 0: no limit."},
    {"limits.devices", CONF_NUMBER, "10", 1, 10, "Devices connected at once, for each user."},
    {"limits.unacknowledged", CONF_NUMBER, "64", 1, 64,
     "Deliveries without acknowledgement, for each session."},
    {"limits.unacknowledged_bytes", CONF_SIZE, "128KiB", 64 * KIB, 64 * MIB,
     "The same in bytes of bodies."},
    {"limits.pending", CONF_NUMBER, "200000", 100, 100000000,
     "CONFIRMED messages without an outcome, for each shard; beyond it senders are told BUSY."},
    {"limits.pending_bytes", CONF_SIZE, "256MiB", MIB, 1024 * GIB, "The same in bytes of bodies."},
    {"limits.outcomes", CONF_NUMBER, "1000000", 1000, 100000000,
     "Outcomes remembered, for each shard; beyond it the oldest are forgotten early."},
    {"limits.conversations", CONF_NUMBER, "1000000", 1000, 100000000,
     "Conversations whose order is remembered, for each shard; beyond it the longest idle are "
     "forgotten early."},
    {"limits.identities", CONF_NUMBER, "200000", 1000, 100000000,
     "Identities (site, user) kept in memory, for each shard."},
    {"limits.kicks", CONF_NUMBER, "100000", 100, 10000000,
     "Users kicked lately whose older tokens and tickets are refused, for each shard."},
    {"tickets.rotate_s", CONF_NUMBER, "90000", 600, 1209600,
     "How often a new key for tickets is made. A key opens tickets for as long again after the "
     "next one has come, so this should be a little more than tickets are good for "
     "(limits.ticket_s of the edges)."},
    {"limits.busy_retry_ms", CONF_NUMBER, "500", 10, 60000,
     "After how long someone who was told BUSY may try again."},
    {"overload.turn_ms", CONF_NUMBER, "500", 0, 60000,
     "A shard is overloaded (level 100) when its turns take so long; half of it is level 50. Told "
     "to the edges, which refuse newcomers when all shards are. 0: it never is."},
    {"ops.listen", CONF_TEXT, "127.0.0.1:9101", 3, 256,
     "Where /metrics, /healthz, /readyz and /version are served."},
    {"log.level", CONF_TEXT, "info", 4, 5, "debug, info, warn or error. Read again on SIGHUP."},
    {NULL, CONF_FLAG, NULL, 0, 0, NULL},
};

const struct conf_key *router_conf_keys(void)
{
    return keys;
}

static bool fail(struct conf_error *error, const char *key, const char *value, const char *what)
{
    snprintf(error->text, sizeof error->text, "%s: '%s' %s", key, value, what);
    return false;
}

static bool check_entries(const struct conf *conf, const char *key, struct conf_error *error)
{
    size_t count = conf_list_len(conf, key);
    for (size_t i = 0; i < count; i++) {
        struct span name, address, other, unused;
        const char *entry = conf_list_at(conf, key, i);
        if (!slotmap_parse_entry(span_text(entry), &name, &address))
            return fail(error, key, entry, "is not like r1/0=tcp://10.0.0.1:7801");
        for (size_t j = 0; j < i; j++)
            if (slotmap_parse_entry(span_text(conf_list_at(conf, key, j)), &other, &unused) &&
                span_equal(name, other))
                return fail(error, key, entry, "names a shard that is there already");
    }
    return true;
}

bool router_conf_check(const struct conf *conf, struct conf_error *error)
{
    if (!check_entries(conf, "cluster.shards", error) || !check_entries(conf, "listen", error))
        return false;
    if (!redis_address_valid(conf_text(conf, "redis.address")))
        return fail(error, "redis.address", conf_text(conf, "redis.address"),
                    "is neither unix:/path nor tcp:host:port");
    if (conf_number(conf, "lease.renew_ms") * 3 > conf_number(conf, "lease.ms"))
        return fail(error, "lease.renew_ms", "", "must be at most a third of lease.ms");
    size_t own = 0, len = strlen(conf_text(conf, "name"));
    for (size_t i = 0; i < conf_list_len(conf, "cluster.shards"); i++) {
        const char *entry = conf_list_at(conf, "cluster.shards", i);
        own += strncmp(entry, conf_text(conf, "name"), len) == 0 && entry[len] == '/';
    }
    if (own == 0)
        return fail(error, "name", conf_text(conf, "name"),
                    "has no shard in cluster.shards: nothing to run");
    return true;
}
