#include "bench/agenda.h"

#include <stdlib.h>

#define ROOM_MIN 64u

void agenda_free(struct agenda *agenda)
{
    free(agenda->items);
    *agenda = (struct agenda){0};
}

void agenda_add(struct agenda *agenda, uint64_t due_ns, uint32_t what)
{
    if (agenda->count == agenda->room) {
        agenda->room = agenda->room ? agenda->room * 2 : ROOM_MIN;
        agenda->items = realloc(agenda->items, agenda->room * sizeof *agenda->items);
        assert(agenda->items != NULL);
    }
    uint32_t at = agenda->count++;
    while (at > 0 && agenda->items[(at - 1) / 2].due_ns > due_ns) {
        agenda->items[at] = agenda->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    agenda->items[at] = (struct agenda_item){due_ns, what};
}

uint64_t agenda_next_ns(const struct agenda *agenda)
{
    return agenda->count > 0 ? agenda->items[0].due_ns : UINT64_MAX;
}

bool agenda_take(struct agenda *agenda, uint64_t now_ns, uint32_t *what)
{
    if (agenda->count == 0 || agenda->items[0].due_ns > now_ns)
        return false;
    *what = agenda->items[0].what;
    struct agenda_item last = agenda->items[--agenda->count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= agenda->count)
            break;
        if (child + 1 < agenda->count &&
            agenda->items[child + 1].due_ns < agenda->items[child].due_ns)
            child++;
        if (agenda->items[child].due_ns >= last.due_ns)
            break;
        agenda->items[at] = agenda->items[child];
        at = child;
    }
    if (agenda->count > 0)
        agenda->items[at] = last;
    return true;
}
