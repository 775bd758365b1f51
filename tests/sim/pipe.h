/* pipe: packets on their way, in order, each there at its time. */
#ifndef SIM_PIPE_H
#define SIM_PIPE_H

#include "base/span.h"

#include <stdlib.h>

struct packet {
    struct packet *next;
    uint64_t due_ms;
    size_t len; /* 0: the end of the stream */
    uint8_t bytes[];
};

struct pipe {
    struct packet *first, *last;
    uint64_t held_ms; /* nothing arrives before */
    uint32_t count;
    size_t bytes;
};

static inline void pipe_push(struct pipe *pipe, struct span bytes, uint64_t due_ms)
{
    struct packet *packet = malloc(sizeof *packet + bytes.len);
    assert(packet != NULL);
    if (pipe->last != NULL && pipe->last->due_ms > due_ms)
        due_ms = pipe->last->due_ms;
    *packet = (struct packet){.due_ms = due_ms, .len = bytes.len};
    if (bytes.len > 0)
        memcpy(packet->bytes, bytes.at, bytes.len);
    *(pipe->last != NULL ? &pipe->last->next : &pipe->first) = packet;
    pipe->last = packet;
    pipe->count++;
    pipe->bytes += bytes.len;
}

/* NULL: nothing has arrived. The packet is the caller's to free. */
static inline struct packet *pipe_take(struct pipe *pipe, uint64_t now_ms)
{
    struct packet *packet = pipe->first;
    if (packet == NULL || packet->due_ms > now_ms || pipe->held_ms > now_ms)
        return NULL;
    pipe->first = packet->next;
    if (pipe->first == NULL)
        pipe->last = NULL;
    pipe->count--;
    pipe->bytes -= packet->len;
    return packet;
}

static inline void pipe_clear(struct pipe *pipe)
{
    for (struct packet *packet = pipe->first, *next; packet != NULL; packet = next) {
        next = packet->next;
        free(packet);
    }
    *pipe = (struct pipe){0};
}

#endif
