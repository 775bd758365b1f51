#include "base/address.h"

#include <stdlib.h>

bool address_parse(const char *text, struct address *address)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    struct span host = span_of(text, (size_t)(colon - text));
    if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
        host = span_of(host.at + 1, host.len - 2);
    else if (host.len > 0 && memchr(host.at, ':', host.len))
        return false; /* which colon begins the port? brackets say it */
    const char *port = colon + 1;
    size_t digits = strspn(port, "0123456789");
    if (host.len == 0 || host.len > ADDRESS_HOST_BYTES_MAX || digits == 0 ||
        digits >= sizeof address->port || port[digits] != '\0' || strtol(port, NULL, 10) > 65535 ||
        memchr(host.at, '[', host.len) || memchr(host.at, ']', host.len))
        return false;
    memcpy(address->host, host.at, host.len);
    address->host[host.len] = '\0';
    strcpy(address->port, port);
    return true;
}
