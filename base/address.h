/* address: "host:port" as people write it, taken apart. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include "base/span.h"

#define ADDRESS_HOST_BYTES_MAX 255u

struct address {
    char host[ADDRESS_HOST_BYTES_MAX + 1]; /* without the brackets of an IPv6 address */
    char port[6];                          /* decimal */
};

/* "127.0.0.1:9100", "name:0", "[::1]:9100"; port 0 is one of the kernel's choice. False for
 * anything else, also for a host that is empty. No name is looked up. */
MUST_CHECK bool address_parse(const char *text, struct address *address);

#endif
