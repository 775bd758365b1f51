#include "cli/admin.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/rand.h"
#include "cli/mint.h"
#include "proto/frame.h"
#include "proto/gid.h"
#include "proto/link.h"
#include "proto/link.pb-c.h"
#include "proto/slotmap.h"
#include "proto/unpack.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 8000u
#define RETRY_MS 2000u
#define ARENA_SIZE_MAX (4u * 1024u * 1024u)
#define SITE_KEYS_MAX 8
#define SITE_ORIGINS_MAX 32
#define SITE_LIMIT_MAX 4000000u

/* One question and its answers. */
struct ask {
    struct loop *loop;
    struct link *link;
    struct arena *arena;
    Lahar__Link__V1__AdminRequest request;
    char (*names)[SLOTMAP_NAME_MAX + 1]; /* of the peers, by their number */
    bool *up;
    uint32_t shards;
    struct slotmap *map;
    bool to_owner; /* only the owner of `gid` can answer; else any shard */
    uint64_t gid;
    uint64_t asked_ms; /* 0: not yet */
    uint32_t answers;  /* lines printed */
    bool done;
    int exit;
};

/* ---- printing ----------------------------------------------------------------------------------
 */

static void print_string(const char *before, ProtobufCBinaryData text)
{
    char quoted[1024];
    size_t len = log_json_string(quoted, sizeof quoted, unpack_span(text));
    printf("%s%.*s", before, (int)len, quoted);
}

static void print_site(const Lahar__Link__V1__Site *site)
{
    print_string("{\"site\":", site->id);
    print_string(",\"name\":", site->name);
    printf(",\"closed\":%s,\"keys\":[", site->closed ? "true" : "false");
    for (size_t i = 0; i < site->n_keys; i++)
        print_string(i ? "," : "", site->keys[i]->kid);
    printf("],\"origins\":[");
    for (size_t i = 0; i < site->n_origins; i++)
        print_string(i ? "," : "", site->origins[i]);
    printf("],");
    if (site->limits != NULL)
        printf("\"sends_per_s\":%u,\"logins_per_s\":%u,\"connections\":%u,",
               site->limits->sends_per_s, site->limits->logins_per_s, site->limits->connections);
    printf("\"revision\":%llu}\n", (unsigned long long)site->revision);
}

static void print_whereabouts(const Lahar__Link__V1__Whereabouts *at, const struct ask *ask)
{
    char text[GID_TEXT_SIZE];
    uint32_t slot = gid_slot(ask->gid);
    printf("{\"gid\":\"%s\",\"slot\":%u,\"shard\":\"%s\",\"device\":\"%016llx\"",
           gid_format(ask->gid, text), slot, slotmap_name(ask->map, slotmap_owner(ask->map, slot)),
           (unsigned long long)at->device);
    print_string(",\"edge\":", at->edge);
    printf(",\"edge_number\":%u,\"session\":\"%016llx\",\"online\":%s}\n", at->edge_number,
           (unsigned long long)at->session, at->online ? "true" : "false");
}

static void on_reply(struct ask *ask, const Lahar__Link__V1__AdminReply *reply)
{
    if (reply->req != ask->request.req)
        return;
    if (reply->error.len > 0) {
        if (reply->kicked > 0)
            fprintf(stderr, "lahar: %llu sessions were ended, but\n",
                    (unsigned long long)reply->kicked);
        fprintf(stderr, "lahar: %.*s\n", (int)reply->error.len, (const char *)reply->error.data);
        ask->exit = CLI_REFUSED;
        ask->done = true;
        return;
    }
    for (size_t i = 0; i < reply->n_sites; i++, ask->answers++)
        print_site(reply->sites[i]);
    for (size_t i = 0; i < reply->n_sessions; i++, ask->answers++)
        print_whereabouts(reply->sessions[i], ask);
    if (ask->request.what_case == LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_KICK)
        printf("{\"kicked\":%llu}\n", (unsigned long long)reply->kicked);
    if (reply->last) {
        ask->exit = CLI_OK;
        ask->done = true;
    }
}

/* ---- the link ----------------------------------------------------------------------------------
 */

static void on_up(void *ctx, uint32_t peer, enum keys_role role, uint64_t incarnation,
                  struct span name)
{
    (void)role, (void)incarnation, (void)name;
    struct ask *ask = ctx;
    ask->up[peer] = true;
}

static void on_down(void *ctx, uint32_t peer)
{
    struct ask *ask = ctx;
    ask->up[peer] = false;
}

static void on_frame(void *ctx, uint32_t peer, struct span packed)
{
    (void)peer;
    struct ask *ask = ctx;
    uint32_t number;
    struct span content;
    if (!frame_open(packed, &number, &content, NULL))
        return;
    if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_MAP) {
        struct slotmap *map = slotmap_unpack(content);
        if (!map)
            return;
        slotmap_free(ask->map);
        ask->map = map;
    } else if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_ADMIN_REPLY && !ask->done) {
        const Lahar__Link__V1__AdminReply *reply =
            unpack_message(&lahar__link__v1__admin_reply__descriptor, ask->arena, content);
        if (reply)
            on_reply(ask, reply);
        arena_reset(ask->arena);
    }
}

/* The shard to ask, or the number of shards while there is none that can answer. */
static uint32_t choose_shard(const struct ask *ask)
{
    for (uint32_t shard = 0; shard < ask->shards; shard++) {
        if (!ask->up[shard])
            continue;
        if (!ask->to_owner)
            return shard;
        if (!ask->map)
            continue;
        const char *owner = slotmap_name(ask->map, slotmap_owner(ask->map, gid_slot(ask->gid)));
        if (strcmp(owner, ask->names[shard]) == 0)
            return shard;
    }
    return ask->shards;
}

static void try_to_ask(struct ask *ask)
{
    uint64_t now_ms = loop_now_ms(ask->loop);
    if (ask->asked_ms != 0 && now_ms - ask->asked_ms < RETRY_MS)
        return;
    uint32_t shard = choose_shard(ask);
    if (shard == ask->shards)
        return;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_ADMIN_REQUEST;
    frame.admin_request = &ask->request;
    struct span packed = unpack_frame(ask->arena, &frame.base);
    /* A question that was lost is asked again; all of them may be asked twice. */
    if (packed.len > 0 && link_send(ask->link, shard, LINK_FREE, packed) == LINK_QUEUED)
        ask->asked_ms = now_ms;
    arena_reset(ask->arena);
}

static bool connect_to_shards(struct ask *ask, const struct conf *conf, struct link_net **net)
{
    struct keys keys;
    struct keys_error error;
    bool curve = conf_flag(conf, "link.curve");
    if (curve && !keys_load(conf_text(conf, "link.keys"), KEYS_ADMIN, &keys, &error)) {
        fprintf(stderr, "lahar: %s\n", error.text);
        return false;
    }
    ask->shards = (uint32_t)conf_list_len(conf, "cluster.shards");
    if (ask->shards == 0) {
        fprintf(stderr,
                "lahar: cluster.shards is empty: say in the configuration where the routers are\n");
        return false;
    }
    *net = link_net_new(&(struct link_net_options){
        .role = KEYS_ADMIN, .curve = curve, .keys = curve ? &keys : NULL, .io_threads = 1});
    ask->link = link_new(
        *net, ask->loop,
        &(struct link_options){.name = "lahar",
                               .incarnation = rand_u64() | 1,
                               .window_bytes = 1024u * 1024u,
                               .silence_ms = 5000,
                               .frames_a_turn = 1000,
                               .pending_bytes_max = 1024u * 1024u},
        &(struct link_events){.on_up = on_up, .on_frame = on_frame, .on_down = on_down}, ask);
    ask->names = calloc(ask->shards, sizeof *ask->names);
    ask->up = calloc(ask->shards, sizeof *ask->up);
    assert(ask->names && ask->up);
    for (uint32_t i = 0; i < ask->shards; i++) {
        struct span name, address;
        const char *entry = conf_list_at(conf, "cluster.shards", i);
        if (!slotmap_parse_entry(span_text(entry), &name, &address)) {
            fprintf(stderr, "lahar: cluster.shards: '%s' is not like r1/0=tcp://10.0.0.1:7801\n",
                    entry);
            return false;
        }
        snprintf(ask->names[i], sizeof ask->names[i], "%.*s", (int)name.len, (const char *)name.at);
        char endpoint[256];
        snprintf(endpoint, sizeof endpoint, "%.*s", (int)address.len, (const char *)address.at);
        uint32_t peer = link_connect(ask->link, endpoint);
        assert(peer == i);
    }
    return true;
}

static void say_why_not(const struct ask *ask)
{
    uint32_t up = 0;
    for (uint32_t i = 0; i < ask->shards; i++)
        up += ask->up[i];
    if (up == 0)
        fprintf(stderr, "lahar: no router answers; are they running, and is admin.key among their "
                        "admins.allow?\n");
    else if (ask->asked_ms == 0)
        fprintf(stderr, "lahar: %u of %u shards are up, but not the one that owns this GID\n", up,
                ask->shards);
    else
        fprintf(stderr, "lahar: no answer in %u s; is Redis up? see /readyz of the routers\n",
                PATIENCE_MS / 1000);
}

/* Asks, prints what comes, and returns the exit code. */
static int run(struct ask *ask, const struct conf *conf)
{
    struct link_net *net = NULL;
    ask->loop = loop_new();
    ask->arena = arena_new(ARENA_SIZE_MAX);
    ask->request.req = rand_u64();
    ask->exit = CLI_UNREACHABLE;
    if (connect_to_shards(ask, conf, &net)) {
        uint64_t begun_ms = loop_now_ms(ask->loop);
        while (!ask->done && loop_now_ms(ask->loop) - begun_ms < PATIENCE_MS) {
            try_to_ask(ask);
            loop_turn(ask->loop, 50);
        }
        if (!ask->done)
            say_why_not(ask);
    } else {
        ask->exit = CLI_USAGE;
    }
    if (ask->link)
        link_free(ask->link);
    if (net)
        link_net_free(net);
    slotmap_free(ask->map);
    free(ask->names);
    free(ask->up);
    arena_free(ask->arena);
    loop_free(ask->loop);
    return ask->exit;
}

/* ---- commands ----------------------------------------------------------------------------------
 */

int admin_whereis(const struct conf *conf, int argc, char **argv)
{
    struct ask ask = {.request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT, .to_owner = true};
    if (argc != 2 || !gid_parse(span_text(argv[1]), &ask.gid)) {
        fprintf(stderr, "usage: lahar whereis GID\n");
        return CLI_USAGE;
    }
    ask.request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_WHEREIS;
    ask.request.whereis = ask.gid;
    int exit = run(&ask, conf);
    return exit == CLI_OK && ask.answers == 0 ? CLI_NOT_FOUND : exit;
}

static bool read_kick(Lahar__Link__V1__Kick *kick, int argc, char **argv)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'},
        {"site", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's' && *optarg != '\0')
            kick->site = unpack_data(span_text(optarg));
        else if (option == 'd' && gid_device_valid(span_text(optarg)))
            kick->device = gid_device_hash(span_text(optarg));
        else
            return false;
    }
    if (kick->site.len > 0)
        return optind == argc && kick->device == 0;
    return optind + 1 == argc && gid_parse(span_text(argv[optind]), &kick->gid) &&
           gid_kind(kick->gid) == GID_USER;
}

int admin_kick(const struct conf *conf, int argc, char **argv)
{
    Lahar__Link__V1__Kick kick = LAHAR__LINK__V1__KICK__INIT;
    struct ask ask = {.request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT};
    if (!read_kick(&kick, argc, argv)) {
        fprintf(stderr, "usage: lahar kick GID [--device NAME] | kick --site SITE\n");
        return CLI_USAGE;
    }
    ask.gid = kick.gid;
    ask.to_owner = kick.gid != 0;
    ask.request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_KICK;
    ask.request.kick = &kick;
    return run(&ask, conf);
}

static int site_list(const struct conf *conf)
{
    struct ask ask = {.request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT};
    ask.request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_LIST;
    ask.request.site_list = true;
    return run(&ask, conf);
}

static int site_remove(const struct conf *conf, const char *id)
{
    struct ask ask = {.request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT};
    ask.request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_REMOVE;
    ask.request.site_remove = unpack_data(span_text(id));
    return run(&ask, conf);
}

/* A site as the command line describes it; the messages point into it. */
struct site_args {
    Lahar__Link__V1__Site site;
    Lahar__Link__V1__SiteLimits limits;
    Lahar__Link__V1__SiteKey keys[SITE_KEYS_MAX], *key_list[SITE_KEYS_MAX];
    ProtobufCBinaryData origins[SITE_ORIGINS_MAX];
    uint8_t ed25519[SITE_KEYS_MAX][32];
    char kids[SITE_KEYS_MAX][MINT_KID_SIZE];
};

/* "FILE" or "KID=FILE". */
static bool add_key(struct site_args *args, const char *text)
{
    size_t n = args->site.n_keys;
    char why[MINT_WHY_SIZE];
    if (n == SITE_KEYS_MAX) {
        fprintf(stderr, "lahar: a site has at most %d keys\n", SITE_KEYS_MAX);
        return false;
    }
    const char *equals = strchr(text, '=');
    if (!mint_public(equals ? equals + 1 : text, args->ed25519[n], args->kids[n], why)) {
        fprintf(stderr, "lahar: %s\n", why);
        return false;
    }
    lahar__link__v1__site_key__init(&args->keys[n]);
    args->keys[n].kid =
        unpack_data(equals ? span_of(text, (size_t)(equals - text)) : span_text(args->kids[n]));
    args->keys[n].ed25519 = unpack_data(span_of(args->ed25519[n], 32));
    args->key_list[n] = &args->keys[n];
    args->site.n_keys++;
    return true;
}

/* A limit of the whole cluster; 0 is none. */
static bool read_limit(struct site_args *args, uint32_t *limit, const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value > SITE_LIMIT_MAX) {
        fprintf(stderr, "lahar: %s is no limit: a number up to %u, 0 for none\n", text,
                SITE_LIMIT_MAX);
        return false;
    }
    *limit = (uint32_t)value;
    args->site.limits = &args->limits;
    return true;
}

static bool read_site(struct site_args *args, int argc, char **argv)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},
        {"key", required_argument, NULL, 'k'},
        {"origin", required_argument, NULL, 'o'},
        {"closed", no_argument, NULL, 'c'},
        {"sends-per-s", required_argument, NULL, 'S'},
        {"logins-per-s", required_argument, NULL, 'L'},
        {"connections", required_argument, NULL, 'C'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            args->site.name = unpack_data(span_text(optarg));
            break;
        case 'k':
            if (!add_key(args, optarg))
                return false;
            break;
        case 'o':
            if (args->site.n_origins == SITE_ORIGINS_MAX)
                return false;
            args->origins[args->site.n_origins++] = unpack_data(span_text(optarg));
            break;
        case 'c':
            args->site.closed = true;
            break;
        case 'S':
            if (!read_limit(args, &args->limits.sends_per_s, optarg))
                return false;
            break;
        case 'L':
            if (!read_limit(args, &args->limits.logins_per_s, optarg))
                return false;
            break;
        case 'C':
            if (!read_limit(args, &args->limits.connections, optarg))
                return false;
            break;
        default:
            return false;
        }
    }
    if (optind + 1 != argc || args->site.n_keys == 0) {
        fprintf(stderr, "usage: lahar site add ID --key [KID=]FILE.pub [--key ...] [--name NAME]"
                        " [--origin URL]... [--closed] [--sends-per-s N] [--logins-per-s N]"
                        " [--connections N]\n");
        return false;
    }
    args->site.id = unpack_data(span_text(argv[optind]));
    return true;
}

static int site_add(const struct conf *conf, int argc, char **argv)
{
    struct site_args args = {.site = LAHAR__LINK__V1__SITE__INIT,
                             .limits = LAHAR__LINK__V1__SITE_LIMITS__INIT};
    args.site.keys = args.key_list;
    args.site.origins = args.origins;
    if (!read_site(&args, argc, argv))
        return CLI_USAGE;
    struct ask ask = {.request = LAHAR__LINK__V1__ADMIN_REQUEST__INIT};
    ask.request.what_case = LAHAR__LINK__V1__ADMIN_REQUEST__WHAT_SITE_PUT;
    ask.request.site_put = &args.site;
    return run(&ask, conf);
}

int admin_site(const struct conf *conf, int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "add") == 0)
        return site_add(conf, argc - 1, argv + 1);
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return site_list(conf);
    if (argc == 3 && strcmp(argv[1], "remove") == 0)
        return site_remove(conf, argv[2]);
    fprintf(stderr, "usage: lahar site add ID ... | list | remove ID\n");
    return CLI_USAGE;
}
