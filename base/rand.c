#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

void rand_bytes(void *at, size_t len)
{
    for (uint8_t *rest = at; len > 0;) {
        ssize_t got = getrandom(rest, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        assert(got > 0); /* without it nothing we hand out would be safe */
        rest += got;
        len -= (size_t)got;
    }
}

uint64_t rand_u64(void)
{
    uint64_t value;
    rand_bytes(&value, sizeof value);
    return value;
}
