#include "edge/edge_conf.h"

#include "base/address.h"
#include "edge/acceptor.h"
#include "proto/slotmap.h"

#define KIB 1024
#define MIB (1024 * KIB)
#define GIB ((int64_t)1024 * MIB)

/* Behind a link that ZeroMQ does not empty: an announcement of some 500,000 sessions. */
#define PENDING_BYTES_MAX (16u * 1024u * 1024u)
#define IN_BYTES_MAX (64u * 1024u + 3u)
/* People behind one address come in crowds: after a pause it may do the work of so long at once. */
#define ADDRESS_BURST_S 10u

static const struct conf_key keys[] = {
    {"name", CONF_TEXT, "e1", 1, 24,
     "This edge's name: its workers are e1/0, e1/1 and so on. Different on every edge."},
    {"cluster.name", CONF_TEXT, "lahar", 1, 64,
     "The cluster's name, the same everywhere: the audience (aud) of the sites' tokens."},
    {"cluster.shards", CONF_LIST, "r1/0=tcp://127.0.0.1:7801,r1/1=tcp://127.0.0.1:7802", 1, 1024,
     "All shards of the cluster and where they can be reached, NAME/NUMBER=tcp://HOST:PORT. Equal "
     "on every router and every edge."},
    {"listen", CONF_LIST, "tcp://127.0.0.1:7700", 1, 16,
     "Where clients come in, any number of each: tcp://ADDRESS:PORT, tls://ADDRESS:PORT, "
     "ws://ADDRESS:PORT (WebSocket) and wss://ADDRESS:PORT (WebSocket over TLS). Behind a load "
     "balancer that speaks the PROXY protocol, version 2: tcp+proxy://ADDRESS:PORT and so on."},
    {"proxy.from", CONF_LIST, "", 0, EDGE_CONF_PROXIES_MAX,
     "Addresses of load balancers, as in 10.0.0.0/8 or 192.0.2.7: only these may connect to the "
     "+proxy listeners, and the client's address that they tell is believed."},
    {"workers", CONF_NUMBER, "1", 1, 256,
     "Threads, each with its own connections and links. One a core that the edge may use."},
    {"tls.certificate", CONF_TEXT, "", 0, 1024,
     "PEM file with the certificate and its chain; needed with tls:// and wss:// listeners. Read "
     "again on SIGHUP."},
    {"tls.key", CONF_TEXT, "", 0, 1024,
     "PEM file with its private key, without a password. Read again on SIGHUP."},
    {"tls.sni", CONF_LIST, "", 0, 1000,
     "Other certificates for clients that ask for a host by name (SNI): "
     "NAME=CERTIFICATE.pem:KEY.pem, as in "
     "chat.example.org=/etc/lahar/chat.pem:/etc/lahar/chat.key. "
     "*.example.org is any one label before example.org. All other names get tls.certificate. Read "
     "again on SIGHUP, the list and its files; if one is broken, all stays as it was."},
    {"link.curve", CONF_FLAG, "true", 0, 1,
     "Encrypt the links to the shards and make sure who they are. Equal on every router and edge."},
    {"link.keys", CONF_TEXT, "/etc/lahar/keys", 0, 1024,
     "Directory with edge.key and routers.allow (lahar keygen link). Read again on SIGHUP."},
    {"link.window", CONF_SIZE, "4MiB", 64 * KIB, GIB,
     "How much each shard may send ahead to a worker: memory for each of them."},
    {"link.silence_ms", CONF_NUMBER, "3000", 1500, 60000,
     "After so long without a sign a shard is away, and sends to its users are told BUSY."},
    {"link.cut_off_ms", CONF_NUMBER, "15000", 1000, 600000,
     "After so long without a shard the sessions of its slots are told to go to another edge."},
    {"link.io_threads", CONF_NUMBER, "1", 1, 16, "Threads of ZeroMQ."},
    {"link.frames_a_turn", CONF_NUMBER, "8192", 16, 65536,
     "Frames taken from the links in one turn, about. The more of them, the more leave with one "
     "write to a client, and the longer all others wait."},
    {"link.fault_drop_every", CONF_NUMBER, "0", 0, 1000000,
     "For tests: every n-th batch is lost on purpose. 0: none."},
    {"heartbeat_ms", CONF_NUMBER, "30000", 1000, 600000,
     "How often a client that has nothing to say says so. A session ends after two missed ones "
     "and 5 s."},
    {"drain_per_s", CONF_NUMBER, "1000", 0, 10000000,
     "When leaving (SIGTERM): how many clients a second each worker tells to go (Goaway), so that "
     "they do not all arrive elsewhere at once. 0: all of them at once. A second SIGTERM ends the "
     "edge at once, without a word to its clients."},
    {"drain_ms", CONF_NUMBER, "30000", 0, 600000,
     "When leaving: over how long at most; with more clients, more are told to go in a second."},
    {"drain_hints", CONF_LIST, "", 0, 16,
     "When leaving: where clients can go, told to them with Goaway: addresses of other edges as "
     "clients know them."},
    {"limits.connections", CONF_NUMBER, "100000", 1, 4000000,
     "Connections of each worker; more are told EDGE_FULL. Descriptors (ulimit -n) must suffice "
     "for all workers."},
    {"limits.out_bytes", CONF_SIZE, "256KiB", 64 * KIB + 64, 64 * MIB,
     "What may wait for a client that does not read; beyond it the client is closed as a slow "
     "reader."},
    {"limits.out_bytes_total", CONF_SIZE, "1GiB", 0, 1024 * GIB,
     "What may wait in each worker for all clients together; beyond it those with the longest "
     "queues are closed as slow readers. 0: no limit."},
    {"limits.in_bytes_total", CONF_SIZE, "256MiB", 0, 1024 * GIB,
     "What may lie in each worker of messages that have come in part, of all clients together; "
     "beyond it those who have left the most of one are closed (BUSY). 0: no limit."},
    {"limits.sndbuf", CONF_SIZE, "0", 0, 64 * MIB,
     "Socket buffer for sending to a client, SO_SNDBUF. 0: the kernel's own choice."},
    {"limits.progress_ms", CONF_NUMBER, "10000", 100, 600000,
     "A client that takes none of what waits for it for so long is closed as a slow reader."},
    {"limits.handshake_ms", CONF_NUMBER, "5000", 100, 60000,
     "Time for a TLS handshake, and for a PROXY header before it."},
    {"limits.hello_ms", CONF_NUMBER, "10000", 100, 600000,
     "Time from there until the client's Hello; with WebSocket the upgrade is within it."},
    {"limits.login_ms", CONF_NUMBER, "3000", 100, 60000,
     "Time that the cluster has for a login; then the client is told BUSY."},
    {"limits.ticket_s", CONF_NUMBER, "86400", 0, 604800,
     "A client that was here comes back with a ticket instead of a token for so long after its "
     "last "
     "login by token; not longer than routers keep a key for (tickets.rotate_s). 0: no tickets "
     "are given."},
    {"limits.sends_in_flight", CONF_NUMBER, "32", 1, 256,
     "Sends without an answer, for each session; more are told BUSY."},
    {"limits.sends_per_s", CONF_NUMBER, "20", 0, 1000000,
     "Sends a second, for each session; more are told BUSY and when to come again. 0: no limit."},
    {"limits.sends_burst", CONF_NUMBER, "60", 1, 4000000,
     "How many it may send at once after a pause."},
    {"limits.accepts_per_s", CONF_NUMBER, "20000", 0, 10000000,
     "New connections a second, for each worker; more are closed at once, before anything is spent "
     "on them, and told BUSY and when to come again where that costs nothing. 0: no limit."},
    {"limits.handshakes_per_s", CONF_NUMBER, "3000", 0, 10000000,
     "Of these, how many may speak TLS: a handshake takes about 0.2 ms of CPU. 0: no limit."},
    {"limits.logins_per_s", CONF_NUMBER, "5000", 0, 10000000,
     "Logins by token a second, for each worker; more are told BUSY and when to come again, over "
     "as long as the crowd needs. 0: no limit."},
    {"limits.tickets_per_s", CONF_NUMBER, "20000", 0, 10000000,
     "The same for logins by ticket, which cost less."},
    {"limits.checks_a_turn", CONF_NUMBER, "32", 0, 100000,
     "Signatures checked before others have their turn again; a login waits so long. 0: no "
     "limit."},
    {"limits.logins_waiting", CONF_NUMBER, "20000", 0, 4000000,
     "Logins under way, for each worker; more are told BUSY. 0: no limit."},
    {"limits.addresses", CONF_NUMBER, "100000", 0, 4000000,
     "How many client addresses (IPv4, or IPv6 /64) each worker tells apart, 40 bytes for each "
     "that is there; for those beyond, the limits for each address do not hold. 0: none. Behind a "
     "load balancer that does not say who its clients are, all have its address: set this to 0."},
    {"limits.address_connections", CONF_NUMBER, "10000", 0, 4000000,
     "Connections from one address at once, for each worker; more are told ADDRESS_FULL. 0: no "
     "limit."},
    {"limits.address_accepts_per_s", CONF_NUMBER, "1000", 0, 400000,
     "New connections a second from one address, for each worker; ten seconds' worth at once "
     "after a pause. 0: no limit."},
    {"limits.address_logins_per_s", CONF_NUMBER, "1000", 0, 400000,
     "Logins a second from one address, likewise."},
    {"limits.address_sends_per_s", CONF_NUMBER, "20000", 0, 400000,
     "Sends a second from one address, likewise; more are told BUSY and when to come again."},
    {"overload.turn_ms", CONF_NUMBER, "500", 0, 60000,
     "A worker is overloaded (level 100) when its turns take so long; half of it is level 50. 0: "
     "turns do not count."},
    {"overload.queued", CONF_SIZE, "1GiB", 0, 1024 * GIB,
     "It is, too, when so much waits for its clients to read it. 0: that does not count."},
    {"overload.accepts", CONF_NUMBER, "70", 1, 1000,
     "From this level on new connections are refused, until 15 below. The level is the worst of: "
     "turns, what waits for clients, logins waiting, shards without credit, the least load of a "
     "shard. Over 100: never."},
    {"overload.logins", CONF_NUMBER, "85", 1, 1000,
     "From this level on logins are refused, too. Not below overload.accepts."},
    {"overload.ephemeral", CONF_NUMBER, "95", 1, 1000,
     "From this level on EPHEMERAL sends are shed, too. Not below overload.logins."},
    {"ops.listen", CONF_TEXT, "127.0.0.1:9100", 3, 256,
     "Where /metrics, /healthz, /readyz and /version are served."},
    {"log.level", CONF_TEXT, "info", 4, 5, "debug, info, warn or error. Read again on SIGHUP."},
    {NULL, CONF_FLAG, NULL, 0, 0, NULL},
};

const struct conf_key *edge_conf_keys(void)
{
    return keys;
}

/* --- what the table cannot say ---------------------------------------------------------------- */

static bool refuse(struct conf_error *error, const char *key, const char *value, const char *what)
{
    snprintf(error->text, sizeof error->text, "%s: '%.200s' %s", key, value, what);
    return false;
}

static bool check_shards(const struct conf *conf, struct conf_error *error)
{
    for (size_t i = 0; i < conf_list_len(conf, "cluster.shards"); i++) {
        struct span name, address, other, unused;
        const char *entry = conf_list_at(conf, "cluster.shards", i);
        if (!slotmap_parse_entry(span_text(entry), &name, &address))
            return refuse(
                error, "cluster.shards", entry,
                "is not like r1/0=tcp://10.0.0.1:7801; write NAME/NUMBER=tcp://HOST:PORT");
        for (size_t j = 0; j < i; j++)
            if (slotmap_parse_entry(span_text(conf_list_at(conf, "cluster.shards", j)), &other,
                                    &unused) &&
                span_equal(name, other))
                return refuse(error, "cluster.shards", entry,
                              "names a shard that is there already; take one of them away");
    }
    return true;
}

static bool any_tls(const struct conf *conf)
{
    for (size_t i = 0; i < conf_list_len(conf, "listen"); i++) {
        struct acceptor_address address;
        if (acceptor_parse(conf_list_at(conf, "listen", i), &address) &&
            address.layers & ACCEPTOR_TLS)
            return true;
    }
    return false;
}

static bool check_sni(const struct conf *conf, struct conf_error *error)
{
    for (size_t i = 0; i < conf_list_len(conf, "tls.sni"); i++) {
        struct certs_sni sni;
        const char *entry = conf_list_at(conf, "tls.sni", i);
        if (!certs_parse(span_text(entry), &sni))
            return refuse(error, "tls.sni", entry,
                          "is not like chat.example.org=chat.pem:chat.key; write "
                          "NAME=CERTIFICATE.pem:KEY.pem");
    }
    return true;
}

static bool parse_listener(const char *text, struct acceptor_address *address,
                           struct conf_error *error)
{
    return acceptor_parse(text, address) ||
           refuse(error, "listen", text,
                  "is no address; write tcp://ADDRESS:PORT (or tls, ws, wss, each perhaps with "
                  "+proxy) with a numeric address");
}

static bool check_listen(const struct conf *conf, struct conf_error *error, uint32_t *layers)
{
    for (size_t i = 0; i < conf_list_len(conf, "listen"); i++) {
        struct acceptor_address address, other;
        const char *text = conf_list_at(conf, "listen", i);
        if (!parse_listener(text, &address, error))
            return false;
        *layers |= address.layers;
        for (size_t j = 0; j < i; j++) {
            const char *earlier = conf_list_at(conf, "listen", j);
            if (strcmp(text, earlier) == 0 ||
                (acceptor_parse(earlier, &other) && acceptor_same(&address, &other)))
                return refuse(error, "listen", text,
                              "has an address and port that are there already; take one of them "
                              "away");
        }
    }
    return true;
}

/* What some listeners need. */
static bool check_layers(const struct conf *conf, struct conf_error *error, uint32_t layers)
{
    const char *certificate = conf_text(conf, "tls.certificate");
    if (layers & ACCEPTOR_TLS && (!*certificate || !*conf_text(conf, "tls.key")))
        return refuse(error, "tls.certificate", certificate,
                      "and tls.key must both be set when there is a tls:// or wss:// listener");
    for (size_t i = 0; i < conf_list_len(conf, "proxy.from"); i++) {
        struct proxy_net net;
        const char *text = conf_list_at(conf, "proxy.from", i);
        if (!proxy_net_parse(text, &net))
            return refuse(error, "proxy.from", text,
                          "is no address nor net; write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32, "
                          "with all bits behind the length 0");
    }
    if (layers & ACCEPTOR_PROXY && conf_list_len(conf, "proxy.from") == 0)
        return refuse(error, "proxy.from", "",
                      "must list the load balancers when there is a +proxy listener; write their "
                      "addresses, as in [10.0.0.0/8]");
    return true;
}

static bool check_overload(const struct conf *conf, struct conf_error *error)
{
    static const char *const names[] = {"overload.accepts", "overload.logins",
                                        "overload.ephemeral"};
    for (size_t i = 1; i < 3; i++)
        if (conf_number(conf, names[i]) < conf_number(conf, names[i - 1]))
            return refuse(error, names[i], "", "must not be below the ones before it");
    return true;
}

bool edge_conf_check(const struct conf *conf, struct conf_error *error)
{
    struct address address;
    const char *name = conf_text(conf, "name");
    char worker[40];
    snprintf(worker, sizeof worker, "%.24s/%d", name, (int)conf_number(conf, "workers"));
    if (strchr(name, '/') != NULL || !slotmap_name_valid(span_text(worker)))
        return refuse(error, "name", name, "is no name; use A-Z a-z 0-9 . _ -");
    uint32_t layers = 0;
    if (!check_shards(conf, error) || !check_listen(conf, error, &layers) ||
        !check_layers(conf, error, layers) || !check_sni(conf, error))
        return false;
    if (!address_parse(conf_text(conf, "ops.listen"), &address))
        return refuse(error, "ops.listen", conf_text(conf, "ops.listen"),
                      "is no address; write HOST:PORT");
    if (conf_number(conf, "limits.sends_burst") < conf_number(conf, "limits.sends_in_flight") &&
        conf_number(conf, "limits.sends_per_s") > 0)
        return refuse(error, "limits.sends_burst", "",
                      "must be at least limits.sends_in_flight, or no client can fill its window");
    return check_overload(conf, error);
}

/* --- for those who need them ------------------------------------------------------------------ */

static uint32_t number(const struct conf *conf, const char *name)
{
    return (uint32_t)conf_number(conf, name);
}

bool edge_conf_certs(const struct conf *conf, struct certs_options *options)
{
    *options = (struct certs_options){
        .certificate = conf_text(conf, "tls.certificate"),
        .key = conf_text(conf, "tls.key"),
        .sni = conf_list(conf, "tls.sni"),
        .sni_count = conf_list_len(conf, "tls.sni"),
    };
    return any_tls(conf);
}

struct conn_options edge_conf_conns(const struct conf *conf)
{
    return (struct conn_options){
        .conns_max = number(conf, "limits.connections"),
        .out_bytes_max = number(conf, "limits.out_bytes"),
        .in_bytes_max = IN_BYTES_MAX,
        .out_bytes_total = (uint64_t)conf_number(conf, "limits.out_bytes_total"),
        .in_bytes_total = (uint64_t)conf_number(conf, "limits.in_bytes_total"),
        .progress_ms = number(conf, "limits.progress_ms"),
        .handshake_ms = number(conf, "limits.handshake_ms"),
        .hello_ms = number(conf, "limits.hello_ms"),
        .sndbuf_bytes = number(conf, "limits.sndbuf"),
    };
}

uint32_t edge_conf_proxies(const struct conf *conf, struct proxy_net nets[EDGE_CONF_PROXIES_MAX])
{
    uint32_t count = (uint32_t)conf_list_len(conf, "proxy.from");
    for (uint32_t i = 0; i < count; i++) {
        bool parsed = proxy_net_parse(conf_list_at(conf, "proxy.from", i), &nets[i]);
        assert(parsed);
    }
    return count;
}

struct session_options edge_conf_sessions(const struct conf *conf)
{
    return (struct session_options){
        .conns_max = number(conf, "limits.connections"),
        .cluster_name = conf_text(conf, "cluster.name"),
        .heartbeat_ms = number(conf, "heartbeat_ms"),
        .hello_ms = number(conf, "limits.hello_ms"),
        .login_ms = number(conf, "limits.login_ms"),
        .ticket_s = number(conf, "limits.ticket_s"),
        .cut_off_ms = number(conf, "link.cut_off_ms"),
        .sends_in_flight = number(conf, "limits.sends_in_flight"),
        .sends_per_s = number(conf, "limits.sends_per_s"),
        .sends_burst = number(conf, "limits.sends_burst"),
        .drain_ms = number(conf, "drain_ms"),
        .logins_waiting = number(conf, "limits.logins_waiting"),
        .drain_per_s = number(conf, "drain_per_s"),
    };
}

static struct bucket_rate rate(const struct conf *conf, const char *name, uint32_t seconds)
{
    uint32_t per_s = number(conf, name);
    return (struct bucket_rate){per_s, per_s < BUCKET_BURST_MAX / seconds ? per_s * seconds
                                                                          : BUCKET_BURST_MAX};
}

struct limits_options edge_conf_limits(const struct conf *conf)
{
    return (struct limits_options){
        .accepts = rate(conf, "limits.accepts_per_s", 1),
        .handshakes = rate(conf, "limits.handshakes_per_s", 1),
        .logins = rate(conf, "limits.logins_per_s", 1),
        .tickets = rate(conf, "limits.tickets_per_s", 1),
        .checks_a_turn = number(conf, "limits.checks_a_turn"),
        .addresses_max = number(conf, "limits.addresses"),
        .address_connections = number(conf, "limits.address_connections"),
        .address_accepts = rate(conf, "limits.address_accepts_per_s", ADDRESS_BURST_S),
        .address_logins = rate(conf, "limits.address_logins_per_s", ADDRESS_BURST_S),
        .address_sends = rate(conf, "limits.address_sends_per_s", ADDRESS_BURST_S),
    };
}

struct overload edge_conf_overload(const struct conf *conf)
{
    return (struct overload){.thresholds = {number(conf, "overload.accepts"),
                                            number(conf, "overload.logins"),
                                            number(conf, "overload.ephemeral")}};
}

struct link_options edge_conf_link(const struct conf *conf)
{
    return (struct link_options){
        .window_bytes = (uint64_t)conf_number(conf, "link.window"),
        .silence_ms = number(conf, "link.silence_ms"),
        .frames_a_turn = number(conf, "link.frames_a_turn"),
        .pending_bytes_max = PENDING_BYTES_MAX,
    };
}
