#include "client/servers.h"

#include "base/address.h"
#include "proto/ws_upgrade.h"

#include <netdb.h>
#include <stdlib.h>

#define PATH_MAX_LEN 1024u

static const struct scheme {
    const char *text;
    const char *port; /* if none is written; NULL: it must be */
    bool tls, websocket;
} schemes[] = {
    {"tcp://", NULL, false, false},
    {"tls://", NULL, true, false},
    {"ws://", "80", false, true},
    {"wss://", "443", true, true},
};

struct server {
    struct address address;
    const struct scheme *scheme;
    char *path; /* of a WebSocket */
};

struct servers {
    uint64_t (*random)(void *ctx);
    void *ctx;
    struct server *all; /* in the order in which they are tried */
    uint32_t count;
    uint32_t at;   /* tried now, or last */
    uint32_t left; /* of this round */
    struct server hints[SERVERS_HINTS_MAX];
    uint32_t hint_count, next_hint;
    const struct server *now; /* whose addresses these are */
    struct addrinfo *found, **addresses;
    uint32_t addresses_count, next_address;
};

/* Cuts off a scheme; NULL: it is none of ours. */
static const struct scheme *scheme_of(struct span *text)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i].text);
        if (text->len >= len && memcmp(text->at, schemes[i].text, len) == 0) {
            *text = span_after(*text, len);
            return &schemes[i];
        }
    }
    return NULL;
}

/* Cuts off the path of a WebSocket. */
static bool parse_path(struct span *text, struct server *server)
{
    const uint8_t *slash = memchr(text->at, '/', text->len);
    size_t len = slash != NULL ? (size_t)(slash - text->at) : text->len;
    struct span path = slash != NULL ? span_after(*text, len) : span_text("/");
    if (path.len > PATH_MAX_LEN || !ws_upgrade_path_valid(path))
        return false;
    server->path = strndup((const char *)path.at, path.len);
    assert(server->path != NULL);
    *text = span_upto(*text, len);
    return true;
}

static bool has_port(const char *text)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    return colon != NULL && (bracket == NULL || bracket < colon);
}

static bool parse_one(struct span text, struct server *server)
{
    char copy[ADDRESS_HOST_BYTES_MAX + 16];
    *server = (struct server){.scheme = scheme_of(&text)};
    if (server->scheme == NULL || text.len == 0 ||
        (server->scheme->websocket && !parse_path(&text, server)))
        return false;
    if (text.len >= sizeof copy - sizeof ":443")
        return false;
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    if (server->scheme->port != NULL && !has_port(copy)) {
        strcat(copy, ":");
        strcat(copy, server->scheme->port);
    }
    return address_parse(copy, &server->address);
}

static bool parse_all(struct servers *servers, const char *text)
{
    while (true) {
        size_t len = strcspn(text, ",");
        struct server *grown = realloc(servers->all, (servers->count + 1) * sizeof(struct server));
        assert(grown != NULL);
        servers->all = grown;
        if (!parse_one(span_of(text, len), &grown[servers->count++]))
            return false;
        if (text[len] == '\0')
            return true;
        text += len + 1;
    }
}

struct servers *servers_new(const char *text, uint64_t (*random)(void *ctx), void *ctx)
{
    struct servers *servers = calloc(1, sizeof *servers);
    assert(servers != NULL);
    servers->random = random;
    servers->ctx = ctx;
    if (parse_all(servers, text)) {
        servers->at = servers->count; /* so that the first round begins a new order */
        return servers;
    }
    servers_free(servers);
    return NULL;
}

static void forget_addresses(struct servers *servers)
{
    if (servers->found != NULL)
        freeaddrinfo(servers->found);
    free(servers->addresses);
    servers->found = NULL;
    servers->addresses = NULL;
    servers->addresses_count = servers->next_address = 0;
}

static void forget_hints(struct servers *servers)
{
    for (uint32_t i = 0; i < servers->hint_count; i++)
        free(servers->hints[i].path);
    servers->hint_count = servers->next_hint = 0;
}

void servers_free(struct servers *servers)
{
    if (servers == NULL)
        return;
    forget_addresses(servers);
    forget_hints(servers);
    for (uint32_t i = 0; i < servers->count; i++)
        free(servers->all[i].path);
    free(servers->all);
    free(servers);
}

bool servers_any_tls(const struct servers *servers)
{
    for (uint32_t i = 0; i < servers->count; i++)
        if (servers->all[i].scheme->tls)
            return true;
    return false;
}

void servers_hint(struct servers *servers, struct span text)
{
    struct server hint = {.path = NULL};
    if (servers->hint_count == SERVERS_HINTS_MAX)
        return;
    if (parse_one(text, &hint) && hint.scheme->tls == servers_any_tls(servers))
        servers->hints[servers->hint_count++] = hint;
    else
        free(hint.path);
}

static uint32_t below(struct servers *servers, uint32_t limit)
{
    return (uint32_t)(servers->random(servers->ctx) % limit);
}

static void shuffle(struct servers *servers)
{
    for (uint32_t i = servers->count; i > 1; i--) {
        uint32_t other = below(servers, i);
        struct server kept = servers->all[i - 1];
        servers->all[i - 1] = servers->all[other];
        servers->all[other] = kept;
    }
}

/* The resolver sorts them, so that all clients would come to the same one. */
static void shuffle_addresses(struct servers *servers)
{
    for (uint32_t i = servers->addresses_count; i > 1; i--) {
        uint32_t other = below(servers, i);
        struct addrinfo *kept = servers->addresses[i - 1];
        servers->addresses[i - 1] = servers->addresses[other];
        servers->addresses[other] = kept;
    }
}

void servers_begin(struct servers *servers)
{
    forget_addresses(servers);
    servers->left = servers->count;
    if (servers->next_hint > 0)
        forget_hints(servers); /* they had their round */
}

/* Those that are left of the hints in random order, then the list. */
static const struct server *take_next(struct servers *servers)
{
    if (servers->next_hint < servers->hint_count) {
        struct server *hints = servers->hints;
        uint32_t place = servers->next_hint++;
        uint32_t other = place + below(servers, servers->hint_count - place);
        struct server kept = hints[place];
        hints[place] = hints[other];
        hints[other] = kept;
        return &hints[place];
    }
    servers->left--;
    if (++servers->at >= servers->count) {
        shuffle(servers);
        servers->at = 0;
    }
    return &servers->all[servers->at];
}

static bool resolve_next(struct servers *servers, const char **why)
{
    forget_addresses(servers);
    servers->now = take_next(servers);
    const struct address *address = &servers->now->address;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int error = getaddrinfo(address->host, address->port, &hints, &servers->found);
    if (error != 0) {
        servers->found = NULL;
        *why = gai_strerror(error);
        return false;
    }
    for (const struct addrinfo *a = servers->found; a != NULL; a = a->ai_next)
        servers->addresses_count++;
    servers->addresses = calloc(servers->addresses_count, sizeof(struct addrinfo *));
    assert(servers->addresses != NULL);
    uint32_t i = 0;
    for (struct addrinfo *a = servers->found; a != NULL; a = a->ai_next)
        servers->addresses[i++] = a;
    shuffle_addresses(servers);
    return true;
}

enum servers_step servers_next(struct servers *servers, struct servers_target *target,
                               const char **why)
{
    if (servers->next_address == servers->addresses_count) {
        if (servers->left == 0 && servers->next_hint == servers->hint_count) {
            forget_addresses(servers);
            return SERVERS_END;
        }
        if (!resolve_next(servers, why))
            return SERVERS_UNKNOWN;
    }
    const struct server *server = servers->now;
    const struct addrinfo *address = servers->addresses[servers->next_address++];
    *target = (struct servers_target){
        .host = server->address.host,
        .port = server->address.port,
        .path = server->path,
        .tls = server->scheme->tls,
        .family = address->ai_family,
        .address = address->ai_addr,
        .address_len = address->ai_addrlen,
    };
    return SERVERS_TRY;
}
