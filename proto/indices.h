/* indices: a list of numbers that grows. */
#ifndef PROTO_INDICES_H
#define PROTO_INDICES_H

#include "base/span.h"

#include <stdlib.h>

struct indices {
    uint32_t *at; /* the owner's to free */
    uint32_t count, room;
};

static inline void indices_add(struct indices *list, uint32_t index)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 16 : list->room * 2;
        list->at = realloc(list->at, list->room * sizeof *list->at);
        assert(list->at != NULL);
    }
    list->at[list->count++] = index;
}

#endif
