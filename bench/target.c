#include "bench/target.h"

static const struct target *const targets[] = {&wire_lahar, &wire_relay, &wire_nats, &wire_mqtt,
                                               &wire_resp};

const struct target *target_at(size_t index)
{
    return index < sizeof targets / sizeof *targets ? targets[index] : NULL;
}

const struct target *target_find(const char *name)
{
    const struct target *target;
    for (size_t i = 0; (target = target_at(i)) != NULL; i++)
        if (strcmp(target->name, name) == 0)
            return target;
    return NULL;
}
