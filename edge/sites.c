#include "edge/sites.h"

#include "base/map.h"
#include "base/pool.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SITES_MAX 1000000u
#define MISSING_MAX 1024u

/* What was removed is remembered with its revision: another router may push the old site later. */
struct entry {
    struct site site;
    bool gone;
};

struct missing {
    uint64_t seen_ms;
    uint8_t id_len; /* 0: none */
    uint8_t id[SITES_ID_MAX];
};

struct sites {
    struct pool entries;
    struct map by_id;
    uint64_t revision;
    uint32_t missing_next; /* the oldest of them, overwritten next */
    struct missing missing[MISSING_MAX];
};

struct sites *sites_new(void)
{
    struct sites *sites = calloc(1, sizeof *sites);
    assert(sites != NULL);
    pool_init(&sites->entries, sizeof(struct entry), SITES_MAX);
    map_init(&sites->by_id);
    return sites;
}

void sites_free(struct sites *sites)
{
    if (sites == NULL)
        return;
    map_free(&sites->by_id);
    pool_free(&sites->entries);
    free(sites);
}

bool sites_id_valid(struct span id)
{
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.at[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return id.len >= 1 && id.len <= SITES_ID_MAX;
}

static uint64_t hash_of(struct span id)
{
    return XXH3_64bits(id.at, id.len);
}

static bool same_id(const void *ctx, uint32_t index, const void *key)
{
    const struct sites *sites = ctx;
    const struct entry *entry = pool_at(&sites->entries, index);
    return span_equal(span_of(entry->site.id, entry->site.id_len), *(const struct span *)key);
}

static struct entry *find(const struct sites *sites, struct span id)
{
    uint32_t index = map_find(&sites->by_id, hash_of(id), same_id, sites, &id);
    return index == MAP_NONE ? NULL : pool_at(&sites->entries, index);
}

static struct entry *find_or_add(struct sites *sites, struct span id)
{
    struct entry *entry = find(sites, id);
    if (entry != NULL)
        return entry;
    uint32_t index = pool_take(&sites->entries);
    if (index == POOL_NONE)
        return NULL;
    entry = pool_at(&sites->entries, index);
    entry->gone = true;
    entry->site.id_len = (uint8_t)id.len;
    memcpy(entry->site.id, id.at, id.len);
    map_add(&sites->by_id, hash_of(id), index);
    return entry;
}

static bool read_keys(const Lahar__Link__V1__Site *message, struct site *site)
{
    if (message->n_keys > SITES_KEYS_MAX)
        return false;
    for (size_t i = 0; i < message->n_keys; i++) {
        const Lahar__Link__V1__SiteKey *from = message->keys[i];
        struct sites_key *key = &site->keys[i];
        if (from->kid.len == 0 || from->kid.len > sizeof key->kid ||
            from->ed25519.len != sizeof key->ed25519)
            return false;
        key->kid_len = (uint8_t)from->kid.len;
        memcpy(key->kid, from->kid.data, from->kid.len);
        memcpy(key->ed25519, from->ed25519.data, sizeof key->ed25519);
        for (size_t j = 0; j < i; j++)
            if (span_equal(span_of(key->kid, key->kid_len),
                           span_of(site->keys[j].kid, site->keys[j].kid_len)))
                return false;
    }
    site->key_count = (uint32_t)message->n_keys;
    return true;
}

static void forget_missing(struct sites *sites, struct span id)
{
    for (uint32_t i = 0; i < MISSING_MAX; i++)
        if (span_equal(span_of(sites->missing[i].id, sites->missing[i].id_len), id))
            sites->missing[i].id_len = 0;
}

bool sites_put(struct sites *sites, const Lahar__Link__V1__Site *message)
{
    struct span id = {message->id.data, message->id.len};
    struct site site = {.closed = message->closed,
                        .revision = message->revision,
                        .not_before = message->not_before};
    if (!sites_id_valid(id) || !read_keys(message, &site))
        return false;
    site.id_len = (uint8_t)id.len;
    memcpy(site.id, id.at, id.len);

    struct entry *entry = find_or_add(sites, id);
    if (entry == NULL)
        return false;
    if (message->revision > sites->revision)
        sites->revision = message->revision;
    if (entry->site.revision > site.revision)
        return true;
    entry->site = site;
    entry->gone = false;
    forget_missing(sites, id);
    return true;
}

void sites_remove(struct sites *sites, struct span id, uint64_t revision)
{
    if (!sites_id_valid(id))
        return;
    if (revision > sites->revision)
        sites->revision = revision;
    struct entry *entry = find_or_add(sites, id);
    if (entry == NULL || entry->site.revision > revision)
        return;
    entry->gone = true;
    entry->site.revision = revision;
    entry->site.key_count = 0;
}

const struct site *sites_find(const struct sites *sites, struct span id)
{
    const struct entry *entry = find(sites, id);
    return entry == NULL || entry->gone ? NULL : &entry->site;
}

uint64_t sites_revision(const struct sites *sites)
{
    return sites->revision;
}

void sites_missing(struct sites *sites, struct span id, uint64_t now_ms)
{
    if (!sites_id_valid(id))
        return;
    forget_missing(sites, id);
    struct missing *missing = &sites->missing[sites->missing_next];
    sites->missing_next = (sites->missing_next + 1) % MISSING_MAX;
    missing->seen_ms = now_ms;
    missing->id_len = (uint8_t)id.len;
    memcpy(missing->id, id.at, id.len);
}

bool sites_is_missing(const struct sites *sites, struct span id, uint64_t now_ms)
{
    if (id.len == 0)
        return false;
    for (uint32_t i = 0; i < MISSING_MAX; i++) {
        const struct missing *missing = &sites->missing[i];
        if (span_equal(span_of(missing->id, missing->id_len), id))
            return now_ms - missing->seen_ms < SITES_MISSING_MS;
    }
    return false;
}
