#include "base/dns.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum state { STATE_ASKED, STATE_ANSWERED, STATE_GIVEN_UP };

struct dns {
    char *host, *port;
    int error; /* of getaddrinfo */
    struct addrinfo *all;
    /* Whoever comes second, the thread with its answer or dns_free, frees. */
    atomic_int state;
};

static void free_all(struct dns *dns)
{
    if (dns->all != NULL)
        freeaddrinfo(dns->all);
    free(dns->host);
    free(dns->port);
    free(dns);
}

static void ask(struct dns *dns, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    dns->error = getaddrinfo(dns->host, dns->port, &hints, &dns->all);
    if (dns->error != 0)
        dns->all = NULL;
}

static void *run(void *ctx)
{
    struct dns *dns = ctx;
    ask(dns, 0);
    if (atomic_exchange(&dns->state, STATE_ANSWERED) == STATE_GIVEN_UP)
        free_all(dns);
    return NULL;
}

struct dns *dns_ask(const char *host, const char *port)
{
    struct dns *dns = calloc(1, sizeof *dns);
    assert(dns != NULL);
    dns->host = strdup(host);
    dns->port = strdup(port);
    assert(dns->host != NULL && dns->port != NULL);
    ask(dns, AI_NUMERICHOST);
    atomic_init(&dns->state, dns->error == 0 ? STATE_ANSWERED : STATE_ASKED);
    if (dns->error == 0)
        return dns;
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, dns) == 0) {
        pthread_detach(thread);
    } else {
        dns->error = EAI_AGAIN;
        atomic_store(&dns->state, STATE_ANSWERED);
    }
    return dns;
}

enum dns_answer dns_look(const struct dns *dns, uint32_t turn, struct sockaddr_storage *at,
                         socklen_t *len, const char **why)
{
    if (atomic_load(&dns->state) != STATE_ANSWERED)
        return DNS_WAITING;
    if (dns->error != 0) {
        *why = gai_strerror(dns->error);
        return DNS_FAILED;
    }
    uint32_t count = 0;
    for (const struct addrinfo *one = dns->all; one != NULL; one = one->ai_next)
        count++;
    const struct addrinfo *chosen = dns->all;
    for (uint32_t i = turn % count; i > 0; i--)
        chosen = chosen->ai_next;
    *at = (struct sockaddr_storage){0};
    memcpy(at, chosen->ai_addr, chosen->ai_addrlen);
    *len = chosen->ai_addrlen;
    return DNS_FOUND;
}

void dns_free(struct dns *dns)
{
    if (dns != NULL && atomic_exchange(&dns->state, STATE_GIVEN_UP) == STATE_ANSWERED)
        free_all(dns);
}
