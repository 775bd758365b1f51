/* agenda: what is to be done later: numbers in the order of their times (a binary heap). Nothing is
 * taken off before its time; who put it there judges whether it still matters. */
#ifndef BENCH_AGENDA_H
#define BENCH_AGENDA_H

#include "base/span.h"

struct agenda_item {
    uint64_t due_ns;
    uint32_t what;
};

struct agenda {
    struct agenda_item *items;
    uint32_t count, room;
};

void agenda_free(struct agenda *agenda);
void agenda_add(struct agenda *agenda, uint64_t due_ns, uint32_t what);
/* When the first one is due; UINT64_MAX: there is none. */
uint64_t agenda_next_ns(const struct agenda *agenda);
/* Takes the first one off if it is due. */
MUST_CHECK bool agenda_take(struct agenda *agenda, uint64_t now_ns, uint32_t *what);

#endif
