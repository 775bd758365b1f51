/* seen: the messages handed out last, so that none is handed out twice. */
#ifndef CLIENT_SEEN_H
#define CLIENT_SEEN_H

#include "base/map.h"
#include "proto/gid.h"

#define SEEN_MAX 1024u

/* A ring of mids, and where each is in it. Empty, it holds no memory. */
struct seen {
    uint8_t (*mids)[GID_MID_SIZE];
    uint32_t room, next;
    bool full;
    struct map map;
};

void seen_init(struct seen *seen);
void seen_free(struct seen *seen);

MUST_CHECK bool seen_before(const struct seen *seen, const uint8_t mid[GID_MID_SIZE]);
/* Not yet seen; forgets the oldest of SEEN_MAX. */
void seen_add(struct seen *seen, const uint8_t mid[GID_MID_SIZE]);

#endif
