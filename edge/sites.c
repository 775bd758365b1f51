#include "edge/sites.h"

#include "base/map.h"
#include "base/pool.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SITES_MAX 1000000u
#define MISSING_MAX 1024u
#define ORIGINS_MAX 16000000u
/* Of an origin that no site names while some site admits all; others are numbered from the next
 * on. */
#define ORIGIN_OTHER 1u
#define ORIGIN_FIRST 2u

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

/* Kept for ever, so that its number stays its own: operators do not write many. */
struct origin {
    char *text;
    uint32_t len;
    uint32_t sites; /* that list it now */
};

struct sites {
    struct pool entries;
    struct map by_id;
    struct pool origins;
    struct map by_origin;
    uint32_t admit_all; /* sites with "*" */
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
    pool_init(&sites->origins, sizeof(struct origin), ORIGINS_MAX);
    map_init(&sites->by_origin);
    return sites;
}

void sites_free(struct sites *sites)
{
    if (sites == NULL)
        return;
    for (uint32_t i = 0; i < sites->origins.used_high; i++)
        free(((struct origin *)pool_at(&sites->origins, i))->text);
    map_free(&sites->by_origin);
    pool_free(&sites->origins);
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
    entry->site.index = index + 1;
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

/* --- origins ---------------------------------------------------------------------------------- */

/* As browsers write it. The result lies in `room`. */
static struct span plain_origin(struct span origin, uint8_t room[SITES_ORIGIN_BYTES_MAX])
{
    assert(origin.len <= SITES_ORIGIN_BYTES_MAX);
    for (size_t i = 0; i < origin.len; i++) {
        uint8_t c = origin.at[i];
        room[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    bool slash = origin.len > 0 && room[origin.len - 1] == '/';
    return span_of(room, origin.len - slash);
}

static bool same_origin(const void *ctx, uint32_t index, const void *key)
{
    const struct sites *sites = ctx;
    const struct origin *origin = pool_at(&sites->origins, index);
    return span_equal(span_of(origin->text, origin->len), *(const struct span *)key);
}

static uint32_t number_of(const struct sites *sites, struct span plain)
{
    uint32_t index = map_find(&sites->by_origin, hash_of(plain), same_origin, sites, &plain);
    return index == MAP_NONE ? 0 : index + ORIGIN_FIRST;
}

static struct origin *origin_at(const struct sites *sites, uint32_t number)
{
    return pool_at(&sites->origins, number - ORIGIN_FIRST);
}

/* 0 if there is no more room. */
static uint32_t number_for(struct sites *sites, struct span plain)
{
    uint32_t number = number_of(sites, plain);
    if (number != 0)
        return number;
    uint32_t index = pool_take(&sites->origins);
    if (index == POOL_NONE)
        return 0;
    struct origin *origin = pool_at(&sites->origins, index);
    origin->text = malloc(plain.len);
    assert(origin->text != NULL);
    memcpy(origin->text, plain.at, plain.len);
    origin->len = (uint32_t)plain.len;
    map_add(&sites->by_origin, hash_of(plain), index);
    return index + ORIGIN_FIRST;
}

static bool read_origins(struct sites *sites, const Lahar__Link__V1__Site *message,
                         struct site *site)
{
    if (message->n_origins > SITES_ORIGINS_MAX)
        return false;
    for (size_t i = 0; i < message->n_origins; i++)
        if (message->origins[i].len > SITES_ORIGIN_BYTES_MAX)
            return false;
    for (size_t i = 0; i < message->n_origins; i++) {
        uint8_t room[SITES_ORIGIN_BYTES_MAX];
        struct span text = {message->origins[i].data, message->origins[i].len};
        struct span plain = plain_origin(text, room);
        if (plain.len == 0)
            continue;
        if (span_equal(plain, span_text("*"))) {
            site->any_origin = true;
            continue;
        }
        uint32_t number = number_for(sites, plain);
        if (number == 0)
            return false;
        site->origins[site->origin_count++] = number;
    }
    return true;
}

static void count_origins(struct sites *sites, const struct site *site, bool more)
{
    uint32_t one = more ? 1 : UINT32_MAX;
    for (uint32_t i = 0; i < site->origin_count; i++)
        origin_at(sites, site->origins[i])->sites += one;
    if (site->any_origin)
        sites->admit_all += one;
}

uint32_t sites_origin(const struct sites *sites, struct span origin)
{
    uint32_t other = sites->admit_all > 0 ? ORIGIN_OTHER : 0;
    if (origin.len > SITES_ORIGIN_BYTES_MAX)
        return other;
    uint8_t room[SITES_ORIGIN_BYTES_MAX];
    uint32_t number = number_of(sites, plain_origin(origin, room));
    return number != 0 && origin_at(sites, number)->sites > 0 ? number : other;
}

bool sites_origin_allowed(const struct site *site, uint32_t origin)
{
    if (origin == 0 || site->any_origin)
        return true;
    for (uint32_t i = 0; i < site->origin_count; i++)
        if (site->origins[i] == origin)
            return true;
    return false;
}

/* --- what routers push ------------------------------------------------------------------------ */

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
    if (message->limits != NULL) {
        site.sends_per_s = message->limits->sends_per_s;
        site.logins_per_s = message->limits->logins_per_s;
        site.connections = message->limits->connections;
    }
    if (!sites_id_valid(id) || !read_keys(message, &site) || !read_origins(sites, message, &site))
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
    count_origins(sites, &entry->site, false);
    count_origins(sites, &site, true);
    site.index = entry->site.index;
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
    count_origins(sites, &entry->site, false);
    entry->site.origin_count = 0;
    entry->site.any_origin = false;
}

const struct site *sites_find(const struct sites *sites, struct span id)
{
    const struct entry *entry = find(sites, id);
    return entry == NULL || entry->gone ? NULL : &entry->site;
}

const struct site *sites_at(const struct sites *sites, uint32_t index)
{
    if (index == 0 || index > sites->entries.used_high)
        return NULL;
    const struct entry *entry = pool_at(&sites->entries, index - 1);
    return entry->gone ? NULL : &entry->site;
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
