/* Addresses as people write them: what is taken apart can be put together again.
 *
 * Covers: base/address.c.
 */
#include "base/address.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), again[ADDRESS_HOST_BYTES_MAX + 16];
    assert(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    struct address address, second;
    if (address_parse(text, &address)) {
        size_t host_len = strlen(address.host);
        assert(host_len > 0 && host_len <= ADDRESS_HOST_BYTES_MAX);
        assert(strlen(address.port) < sizeof address.port && atoi(address.port) <= 65535);
        snprintf(again, sizeof again, strchr(address.host, ':') ? "[%s]:%s" : "%s:%s", address.host,
                 address.port);
        bool good = address_parse(again, &second);
        assert(good && strcmp(address.host, second.host) == 0 &&
               strcmp(address.port, second.port) == 0);
    }
    free(text);
    return 0;
}
