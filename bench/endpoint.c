#include "bench/endpoint.h"

#include "base/log.h"
#include "proto/ws_upgrade.h"

#include <netdb.h>
#include <stdio.h>

static const struct transport {
    const char *scheme;
    bool tls, websocket;
} transports[] = {
    {"tcp", false, false},
    {"tls", true, false},
    {"ws", false, true},
    {"wss", true, true},
};
#define TRANSPORTS (sizeof transports / sizeof *transports)

/* Cuts "scheme://" off; without one it is TCP. */
static const struct transport *transport_of(const char **text)
{
    size_t len = strcspn(*text, ":,");
    if (strncmp(*text + len, "://", 3) != 0)
        return &transports[0];
    for (size_t i = 0; i < TRANSPORTS; i++) {
        if (len == strlen(transports[i].scheme) && memcmp(*text, transports[i].scheme, len) == 0) {
            *text += len + 3;
            return &transports[i];
        }
    }
    return NULL;
}

const char *endpoint_transport(const char *list)
{
    const struct transport *first = NULL;
    while (list != NULL) {
        const struct transport *transport = transport_of(&list);
        if (!transport)
            return "?";
        if (first && transport != first)
            return "mixed";
        first = transport;
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return first->scheme;
}

/* Cuts the path off `host`. */
static bool parse_path(char *host, struct endpoint *endpoint)
{
    char *slash = strchr(host, '/');
    int len = snprintf(endpoint->path, sizeof endpoint->path, "%s", slash ? slash : "/");
    if (slash)
        *slash = '\0';
    return len < (int)sizeof endpoint->path && ws_upgrade_path_valid(span_text(endpoint->path));
}

void endpoint_parse(struct endpoint *endpoint, const char *text)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const char *rest = text;
    char host[ADDRESS_HOST_BYTES_MAX + ENDPOINT_PATH_MAX + 16];
    const struct transport *transport = transport_of(&rest);
    int len = snprintf(host, sizeof host, "%s", rest);
    if (!transport || len >= (int)sizeof host ||
        (transport->websocket && !parse_path(host, endpoint)) ||
        !address_parse(host, &endpoint->named))
        log_die("--servers: '%s' is no address; write tcp://HOST:PORT, tls://HOST:PORT, "
                "ws://HOST:PORT/PATH or wss://HOST:PORT/PATH",
                text);
    int error = getaddrinfo(endpoint->named.host, endpoint->named.port, &hints, &found);
    if (error != 0)
        log_die("--servers: '%s': %s", text, gai_strerror(error));
    endpoint->tls = transport->tls;
    endpoint->websocket = transport->websocket;
    memcpy(&endpoint->address, found->ai_addr, found->ai_addrlen);
    endpoint->len = found->ai_addrlen;
    freeaddrinfo(found);
}
