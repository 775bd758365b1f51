#include "proto/slotmap.h"

#include "proto/link.pb-c.h"
#include "proto/unpack.h"

#include <stdlib.h>

/* A map of all shards and as many runs as a frame can hold unfolds to less. */
#define UNPACKED_BYTES_MAX (8u * 1024u * 1024u)

struct name {
    char text[SLOTMAP_NAME_MAX + 1];
};

struct slotmap {
    uint64_t epoch;
    uint32_t shards;
    uint16_t owner[GID_SLOTS];
    struct name names[];
};

static_assert(SLOTMAP_SHARDS_MAX <= UINT16_MAX, "a shard's number must fit `owner`");

static struct slotmap *map_new(uint64_t epoch, size_t shards)
{
    assert(shards >= 1 && shards <= SLOTMAP_SHARDS_MAX);
    struct slotmap *map = calloc(1, sizeof *map + shards * sizeof map->names[0]);
    assert(map != NULL);
    map->epoch = epoch;
    return map;
}

/* The next shard. False if its name is bad or taken. */
MUST_CHECK static bool add_name(struct slotmap *map, struct span name)
{
    if (!slotmap_name_valid(name) || slotmap_find(map, name) != SLOTMAP_NONE)
        return false;
    memcpy(map->names[map->shards++].text, name.at, name.len);
    return true;
}

struct slotmap *slotmap_new_even(const char *const *names, size_t count)
{
    struct slotmap *map = map_new(1, count);
    for (size_t i = 0; i < count; i++) {
        bool added = add_name(map, span_text(names[i]));
        assert(added);
    }
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++)
        map->owner[slot] = (uint16_t)(slot * count / GID_SLOTS);
    return map;
}

/* Gives each slot of the runs its owner. False unless each slot gets exactly one. */
static bool take_runs(struct slotmap *map, const Lahar__Link__V1__SlotMap *packed)
{
    bool owned[GID_SLOTS] = {false};
    uint32_t slots = 0;
    for (size_t i = 0; i < packed->n_runs; i++) {
        const Lahar__Link__V1__SlotRun *run = packed->runs[i];
        if (run->shard >= map->shards || run->first >= GID_SLOTS ||
            run->count > GID_SLOTS - run->first)
            return false;
        for (uint32_t slot = run->first; slot < run->first + run->count; slot++) {
            if (owned[slot])
                return false;
            owned[slot] = true;
            map->owner[slot] = (uint16_t)run->shard;
        }
        slots += run->count;
    }
    return slots == GID_SLOTS;
}

static struct slotmap *from_message(const Lahar__Link__V1__SlotMap *packed)
{
    if (packed->n_shards < 1 || packed->n_shards > SLOTMAP_SHARDS_MAX)
        return NULL;
    struct slotmap *map = map_new(packed->epoch, packed->n_shards);
    bool good = true;
    for (size_t i = 0; good && i < packed->n_shards; i++)
        good = add_name(map, unpack_span(packed->shards[i]));
    if (good && take_runs(map, packed))
        return map;
    slotmap_free(map);
    return NULL;
}

struct slotmap *slotmap_unpack(struct span packed)
{
    struct arena *arena = arena_new(UNPACKED_BYTES_MAX);
    Lahar__Link__V1__SlotMap *message =
        unpack_message(&lahar__link__v1__slot_map__descriptor, arena, packed);
    struct slotmap *map = message == NULL ? NULL : from_message(message);
    arena_free(arena);
    return map;
}

struct span slotmap_pack(const struct slotmap *map)
{
    static_assert(sizeof(Lahar__Link__V1__SlotRun) <= 64, "what follows is less than 2 MiB");
    Lahar__Link__V1__SlotRun *runs = calloc(GID_SLOTS, sizeof *runs);
    Lahar__Link__V1__SlotRun **run_list = calloc(GID_SLOTS, sizeof(*run_list));
    ProtobufCBinaryData *names = calloc(map->shards, sizeof *names);
    assert(runs != NULL && run_list != NULL && names != NULL);

    for (uint32_t i = 0; i < map->shards; i++)
        names[i] = unpack_data(span_text(map->names[i].text));
    size_t count = 0;
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        if (slot == 0 || map->owner[slot] != map->owner[slot - 1]) {
            lahar__link__v1__slot_run__init(&runs[count]);
            runs[count].first = slot;
            runs[count].shard = map->owner[slot];
            run_list[count] = &runs[count];
            count++;
        }
        runs[count - 1].count++;
    }

    Lahar__Link__V1__SlotMap message = LAHAR__LINK__V1__SLOT_MAP__INIT;
    message.epoch = map->epoch;
    message.n_shards = map->shards;
    message.shards = names;
    message.n_runs = count;
    message.runs = run_list;
    size_t size = lahar__link__v1__slot_map__get_packed_size(&message);
    uint8_t *packed = malloc(size);
    assert(packed != NULL);
    lahar__link__v1__slot_map__pack(&message, packed);

    free(names);
    free(run_list);
    free(runs);
    return span_of(packed, size);
}

void slotmap_free(struct slotmap *map)
{
    free(map);
}

uint64_t slotmap_epoch(const struct slotmap *map)
{
    return map->epoch;
}

size_t slotmap_shards(const struct slotmap *map)
{
    return map->shards;
}

const char *slotmap_name(const struct slotmap *map, size_t shard)
{
    assert(shard < map->shards);
    return map->names[shard].text;
}

uint32_t slotmap_find(const struct slotmap *map, struct span name)
{
    for (uint32_t i = 0; i < map->shards; i++)
        if (span_equal(span_text(map->names[i].text), name))
            return i;
    return SLOTMAP_NONE;
}

uint32_t slotmap_owner(const struct slotmap *map, uint32_t slot)
{
    assert(slot < GID_SLOTS);
    return map->owner[slot];
}

/* -------------------------------------------------------------------------------------------------
 */

static bool decimal(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    return text.len == 1 || (text.len > 1 && text.at[0] != '0');
}

bool slotmap_name_valid(struct span name)
{
    if (name.len == 0 || name.len > SLOTMAP_NAME_MAX)
        return false;
    const uint8_t *slash = memchr(name.at, '/', name.len);
    if (slash == NULL)
        return false;
    size_t before = (size_t)(slash - name.at);
    /* A router's name has the letters of a device's. */
    return gid_device_valid(span_upto(name, before)) && decimal(span_after(name, before + 1));
}

static bool starts_with(struct span text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && memcmp(text.at, start, len) == 0;
}

/* tcp://host:port as ZeroMQ has it; whether there is such a host is for it to find out. */
static bool address_valid(struct span address)
{
    for (size_t i = 0; i < address.len; i++)
        if (address.at[i] <= ' ' || address.at[i] >= 0x7f)
            return false;
    if (starts_with(address, "ipc://"))
        return address.len > strlen("ipc://");
    if (!starts_with(address, "tcp://"))
        return false;
    struct span rest = span_after(address, strlen("tcp://"));
    const uint8_t *colon = memrchr(rest.at, ':', rest.len);
    if (colon == NULL || colon == rest.at)
        return false;
    struct span port = span_after(rest, (size_t)(colon - rest.at) + 1);
    if (!decimal(port) || port.len > 5)
        return false;
    uint32_t number = 0;
    for (size_t i = 0; i < port.len; i++)
        number = number * 10 + (uint32_t)(port.at[i] - '0');
    return number >= 1 && number <= 65535;
}

bool slotmap_parse_entry(struct span entry, struct span *name, struct span *address)
{
    const uint8_t *equals = entry.len == 0 ? NULL : memchr(entry.at, '=', entry.len);
    if (equals == NULL)
        return false;
    size_t before = (size_t)(equals - entry.at);
    *name = span_upto(entry, before);
    *address = span_after(entry, before + 1);
    return slotmap_name_valid(*name) && address_valid(*address);
}
