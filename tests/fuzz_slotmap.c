/* What is taken for a map is whole, and the same once more after packing; so are names and entries.
 *
 * Covers: proto/slotmap.c.
 */
#include "proto/slotmap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_map(const struct slotmap *map)
{
    struct span packed = slotmap_pack(map);
    struct slotmap *again = slotmap_unpack(packed);
    assert(again != NULL);
    assert(slotmap_epoch(again) == slotmap_epoch(map));
    assert(slotmap_shards(again) == slotmap_shards(map));
    for (size_t i = 0; i < slotmap_shards(map); i++) {
        struct span name = span_text(slotmap_name(map, i));
        assert(slotmap_name_valid(name));
        assert(slotmap_find(map, name) == i && slotmap_find(again, name) == i);
    }
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        assert(slotmap_owner(map, slot) < slotmap_shards(map));
        assert(slotmap_owner(map, slot) == slotmap_owner(again, slot));
    }
    free((void *)(uintptr_t)packed.at);
    slotmap_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slotmap *map = slotmap_unpack(span_of(data, size));
    if (map != NULL)
        check_map(map);
    slotmap_free(map);

    struct span name, address;
    if (slotmap_parse_entry(span_of(data, size), &name, &address)) {
        assert(name.at == data && name.at + name.len + 1 == address.at);
        assert(address.at + address.len == data + size);
        assert(slotmap_name_valid(name));
    }
    return 0;
}
