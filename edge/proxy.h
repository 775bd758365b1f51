/* proxy: the PROXY protocol, version 2 (HAProxy's proxy-protocol.txt, section 2.2): what a load
 * balancer writes before the first byte of its client, so that we know whose connection it is. And
 * whom we believe it from. Pure.
 *
 *     0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a | 2 and command | family | length, 2 bytes | `length`
 * bytes
 *
 * Additions (TLVs) behind the addresses are skipped, whatever they say.
 */
#ifndef EDGE_PROXY_H
#define EDGE_PROXY_H

#include "base/span.h"

#include <sys/socket.h>

/* Ours; the protocol would allow 64 KiB. The addresses take at most 216 of it. */
#define PROXY_BYTES_MAX 1024u

enum proxy_status {
    PROXY_PARTIAL, /* `bytes` are as they should be as far as they go */
    PROXY_CLIENT,  /* `from` is the client's */
    PROXY_OWN,     /* a connection of the balancer's own, or one whose client it cannot name */
    PROXY_INVALID, /* it is no header, or one of more than PROXY_BYTES_MAX */
};

/* Reads a header off the front of `bytes`. `needed`: how many bytes it has in all, as far as can be
 * said by now; not one more must be read to get on. */
MUST_CHECK enum proxy_status proxy_read(struct span bytes, size_t *needed,
                                        struct sockaddr_storage *from);

/* Addresses with the same first bits: "10.0.0.0/8", "2001:db8::/32", "192.0.2.7". */
struct proxy_net {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;        /* of these 128 */
};

/* False: that is none, or bits are set beyond its length. */
MUST_CHECK bool proxy_net_parse(const char *text, struct proxy_net *net);
/* An IPv4 address that came over an IPv6 listener counts as IPv4. */
MUST_CHECK bool proxy_net_has(const struct proxy_net *net, const struct sockaddr *at);

#endif
