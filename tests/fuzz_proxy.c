/* PROXY headers, and nets of those whom they are believed from. A header cut short is not there yet
 * or was wrong already; bytes behind it change nothing; a net as text has its own address in it.
 *
 * Covers: edge/proxy.c. Longest input: 1200.
 */
#include "edge/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_header(struct span bytes)
{
    struct sockaddr_storage from, sooner;
    size_t needed, needed_sooner;
    enum proxy_status status = proxy_read(bytes, &needed, &from);
    assert(status <= PROXY_INVALID);
    if (status == PROXY_PARTIAL)
        assert(needed > bytes.len && needed <= PROXY_BYTES_MAX);
    if (status == PROXY_CLIENT || status == PROXY_OWN)
        assert(needed <= bytes.len && needed <= PROXY_BYTES_MAX && needed >= 16);
    if (status == PROXY_CLIENT)
        assert(from.ss_family == AF_INET || from.ss_family == AF_INET6);
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *exact = malloc(len + (len == 0));
        assert(exact != NULL);
        if (len > 0)
            memcpy(exact, bytes.at, len);
        enum proxy_status before = proxy_read(span_of(exact, len), &needed_sooner, &sooner);
        free(exact);
        bool whole = (status == PROXY_CLIENT || status == PROXY_OWN) && len >= needed;
        assert(before == (whole ? status : before == PROXY_INVALID ? status : PROXY_PARTIAL));
        if (len > 64)
            len += 16;
    }
}

static void check_net(const char *text)
{
    struct proxy_net net;
    if (!proxy_net_parse(text, &net))
        return;
    assert(net.bits <= 128);
    struct sockaddr_in6 same = {.sin6_family = AF_INET6};
    memcpy(&same.sin6_addr, net.address, 16);
    assert(proxy_net_has(&net, (const struct sockaddr *)&same));
    if (net.bits > 0) { /* the last bit that counts, changed */
        same.sin6_addr.s6_addr[(net.bits - 1) / 8] ^= (uint8_t)(0x80u >> (net.bits - 1) % 8);
        assert(!proxy_net_has(&net, (const struct sockaddr *)&same));
    }
    struct sockaddr_in four = {.sin_family = AF_INET};
    memcpy(&four.sin_addr, net.address + 12, 4);
    bool mapped = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)net.address);
    assert(!mapped || proxy_net_has(&net, (const struct sockaddr *)&four));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    assert(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    check_net(text);
    check_header(span_of(text, size));
    free(text);
    return 0;
}
