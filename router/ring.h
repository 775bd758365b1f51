/* ring: a list whose links are inside what it lists: first in, first out, and out of the middle in
 * constant time.
 *
 * The head is a link that belongs to no object; an empty ring is a head linked to itself. A link
 * that is in no ring is linked to itself too, so taking it out again is harmless.
 */
#ifndef ROUTER_RING_H
#define ROUTER_RING_H

#include "base/span.h"

struct ring {
    struct ring *next, *prev;
};

static inline void ring_init(struct ring *link)
{
    link->next = link->prev = link;
}

static inline bool ring_empty(const struct ring *head)
{
    return head->next == head;
}

static inline void ring_remove(struct ring *link)
{
    link->next->prev = link->prev;
    link->prev->next = link->next;
    ring_init(link);
}

/* As the last one of the ring. The link must be in none. */
static inline void ring_add(struct ring *head, struct ring *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

/* From wherever it is, to the end of this ring. */
static inline void ring_move(struct ring *head, struct ring *link)
{
    ring_remove(link);
    ring_add(head, link);
}

/* The object of which `link` is the member. */
#define RING_OF(link, type, member) ((type *)(void *)((uint8_t *)(link)-offsetof(type, member)))

#endif
