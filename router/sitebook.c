#include "router/sitebook.h"

#include "base/log.h"
#include "base/map.h"
#include "proto/gid.h"
#include "proto/unpack.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE 80u
#define ID_MAX 32u
#define KEYS_MAX 8u
#define KID_MAX 64u
#define TEXT_MAX 256u /* a site's name, an origin */
#define ORIGINS_MAX 64u
/* Longer than any that may be put; what others wrote to Redis must fit into a frame, too. */
#define SITE_BYTES_MAX (32u * 1024u)
#define REVISION_BYTES_MAX 11u /* which Redis appends */
#define ARENA_BYTES (256u * 1024u)

enum tag_kind { TAG_READ, TAG_WRITE, TAG_RAISE };

struct entry {
    uint8_t *packed; /* NULL: free */
    size_t packed_len;
    uint64_t revision;
    uint32_t seen; /* the reading in which it was last found */
    uint8_t id_len;
    uint8_t id[ID_MAX];
};

struct write {
    bool used;
    uint64_t token;
};

struct sitebook {
    char sites_key[KEY_SIZE], revision_key[KEY_SIZE];
    struct sitebook_actions actions;
    void *ctx;
    struct arena *arena;

    struct entry *entries;
    uint32_t entries_used, entries_room;
    struct map by_id;

    bool read, reading, again;
    uint32_t reads;
    uint64_t revision, reading_revision;
    struct write writes[SITEBOOK_WRITES_MAX];
};

struct sitebook *sitebook_new(const char *prefix, const struct sitebook_actions *actions, void *ctx)
{
    struct sitebook *book = calloc(1, sizeof *book);
    assert(book != NULL);
    int a = snprintf(book->sites_key, KEY_SIZE, "%ssites", prefix);
    int b = snprintf(book->revision_key, KEY_SIZE, "%ssites_rev", prefix);
    assert(a > 0 && a < (int)KEY_SIZE && b > 0 && b < (int)KEY_SIZE);
    book->actions = *actions;
    book->ctx = ctx;
    book->arena = arena_new(ARENA_BYTES);
    map_init(&book->by_id);
    return book;
}

void sitebook_free(struct sitebook *book)
{
    if (book == NULL)
        return;
    for (uint32_t i = 0; i < book->entries_used; i++)
        free(book->entries[i].packed);
    free(book->entries);
    map_free(&book->by_id);
    arena_free(book->arena);
    free(book);
}

/* The table. */

static uint64_t id_hash(struct span id)
{
    return gid_user_hash(id, (struct span){0});
}

static bool same_id(const void *ctx, uint32_t index, const void *key)
{
    const struct entry *entry = &((const struct sitebook *)ctx)->entries[index];
    return span_equal(span_of(entry->id, entry->id_len), *(const struct span *)key);
}

static struct entry *find(const struct sitebook *book, struct span id)
{
    uint32_t index = map_find(&book->by_id, id_hash(id), same_id, book, &id);
    return index == MAP_NONE ? NULL : &book->entries[index];
}

static struct entry *add(struct sitebook *book, struct span id)
{
    uint32_t index = 0;
    while (index < book->entries_used && book->entries[index].packed != NULL)
        index++;
    if (index == book->entries_room) {
        book->entries_room = book->entries_room == 0 ? 16 : book->entries_room * 2;
        book->entries = realloc(book->entries, book->entries_room * sizeof *book->entries);
        assert(book->entries != NULL);
    }
    if (index == book->entries_used)
        book->entries_used++;
    struct entry *entry = &book->entries[index];
    *entry = (struct entry){.id_len = (uint8_t)id.len};
    memcpy(entry->id, id.at, id.len);
    map_add(&book->by_id, id_hash(id), index);
    return entry;
}

static void take_site(struct sitebook *book, struct span id, struct span packed, uint64_t revision)
{
    struct entry *entry = find(book, id);
    if (entry != NULL) {
        entry->seen = book->reads;
        /* A reading may have left before a later write of ours was answered. */
        if (revision <= entry->revision)
            return;
        free(entry->packed);
    } else {
        entry = add(book, id);
    }
    entry->packed = malloc(packed.len);
    assert(entry->packed != NULL);
    memcpy(entry->packed, packed.at, packed.len);
    entry->packed_len = packed.len;
    entry->revision = revision;
    entry->seen = book->reads;
    book->actions.changed(book->ctx, id, packed, revision);
}

static void drop_site(struct sitebook *book, struct entry *entry, uint64_t revision)
{
    uint8_t bytes[ID_MAX];
    memcpy(bytes, entry->id, sizeof bytes);
    struct span id = span_of(bytes, entry->id_len);
    map_remove(&book->by_id, id_hash(id), (uint32_t)(entry - book->entries));
    free(entry->packed);
    *entry = (struct entry){0};
    book->actions.changed(book->ctx, id, (struct span){0}, revision);
}

/* Reading. */

static void read_all(struct sitebook *book, uint64_t revision)
{
    struct span args[] = {span_text("HGETALL"), span_text(book->sites_key)};
    book->reading = book->actions.command(book->ctx, args, 2, TAG_READ);
    book->reading_revision = revision;
}

static bool id_valid(struct span id)
{
    if (id.len == 0 || id.len > ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!(id.at[i] >= 'a' && id.at[i] <= 'z') && !(id.at[i] >= '0' && id.at[i] <= '9') &&
            id.at[i] != '-')
            return false;
    return true;
}

static void on_read(struct sitebook *book, const struct reply *reply)
{
    book->reading = false;
    if (reply == NULL || reply->kind != REPLY_ARRAY)
        return; /* the next poll tries again */
    book->reads++;
    for (size_t i = 0; i + 1 < reply->len; i += 2) {
        struct span id = reply->at[i]->text, packed = reply->at[i + 1]->text;
        arena_reset(book->arena);
        const Lahar__Link__V1__Site *site =
            packed.len > SITE_BYTES_MAX
                ? NULL
                : unpack_message(&lahar__link__v1__site__descriptor, book->arena, packed);
        if (!id_valid(id) || site == NULL || !span_equal(unpack_span(site->id), id))
            log_error("site_unreadable", LOG_SPAN("site", id));
        else
            take_site(book, id, packed, site->revision);
    }
    for (uint32_t i = 0; i < book->entries_used; i++) {
        struct entry *entry = &book->entries[i];
        if (entry->packed != NULL && entry->seen != book->reads &&
            entry->revision <= book->reading_revision)
            drop_site(book, entry, book->reading_revision);
    }
    book->read = true;
    book->revision = book->reading_revision;
}

/* Redis has lost what it had of sites: what is known here stays, and new revisions are above those
 * that we and edges have seen, so that nobody takes them for old ones. */
static void raise_revision(struct sitebook *book, uint64_t found)
{
    char floor[24];
    snprintf(floor, sizeof floor, "%llu", (unsigned long long)book->revision);
    struct span args[] = {
        span_text("FCALL"), span_text("lahar_block"), span_text("1"), span_text(book->revision_key),
        span_text(floor),   span_text("0"),           span_text("0")};
    if (book->actions.command(book->ctx, args, 7, TAG_RAISE))
        log_error("sites_lost", LOG_UNSIGNED("found", found), LOG_UNSIGNED("known", book->revision),
                  LOG_TEXT("change", "Redis has lost data; restore its backup, or add the sites "
                                     "again"));
}

void sitebook_poll(struct sitebook *book, uint64_t revision)
{
    if (book->read && revision < book->revision)
        raise_revision(book, revision);
    else if (!book->reading && (!book->read || revision != book->revision))
        read_all(book, revision);
}

/* Writing. */

static const char *text_wrong(struct span text)
{
    if (text.len > TEXT_MAX)
        return "a name or origin has at most 256 bytes";
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < ' ' || text.at[i] == 0x7f)
            return "a name or origin has no control characters";
    return NULL;
}

static const char *key_wrong(const Lahar__Link__V1__Site *site, size_t index)
{
    const Lahar__Link__V1__SiteKey *key = site->keys[index];
    if (key->ed25519.len != 32)
        return "an Ed25519 public key has 32 bytes";
    if (key->kid.len == 0 || key->kid.len > KID_MAX)
        return "a kid has 1 to 64 bytes";
    if (text_wrong(unpack_span(key->kid)) != NULL)
        return "a kid has no control characters";
    for (size_t other = 0; other < index; other++)
        if (span_equal(unpack_span(site->keys[other]->kid), unpack_span(key->kid)))
            return "each key of a site has its own kid";
    return NULL;
}

static const char *site_wrong(const struct sitebook *book, const Lahar__Link__V1__Site *site)
{
    const char *wrong = text_wrong(unpack_span(site->name));
    if (!id_valid(unpack_span(site->id)))
        return "a site's id has 1 to 32 of a-z 0-9 -";
    if (site->n_keys == 0 || site->n_keys > KEYS_MAX)
        return "a site has 1 to 8 keys";
    if (site->n_origins > ORIGINS_MAX)
        return "a site has at most 64 origins";
    for (size_t i = 0; i < site->n_keys && wrong == NULL; i++)
        wrong = key_wrong(site, i);
    for (size_t i = 0; i < site->n_origins && wrong == NULL; i++)
        wrong = text_wrong(unpack_span(site->origins[i]));
    if (wrong == NULL && find(book, unpack_span(site->id)) == NULL &&
        book->by_id.count >= SITEBOOK_SITES_MAX)
        wrong = "there are as many sites as are allowed";
    return wrong;
}

static void write_site(struct sitebook *book, struct span id, struct span packed, uint64_t token)
{
    uint32_t at = 0;
    while (at < SITEBOOK_WRITES_MAX && book->writes[at].used)
        at++;
    if (at == SITEBOOK_WRITES_MAX) {
        book->actions.written(book->ctx, token, "too many changes of sites at once; try again");
        return;
    }
    char floor[24];
    snprintf(floor, sizeof floor, "%llu", (unsigned long long)book->revision);
    struct span args[] = {span_text("FCALL"),
                          span_text("lahar_site"),
                          span_text("2"),
                          span_text(book->sites_key),
                          span_text(book->revision_key),
                          id,
                          packed,
                          span_text(floor)};
    book->writes[at] = (struct write){true, token};
    if (!book->actions.command(book->ctx, args, 8, TAG_WRITE | (uint64_t)at << 8)) {
        book->writes[at].used = false;
        book->actions.written(book->ctx, token, "Redis is away; nothing was changed");
    }
}

/* What is there; NULL if there is none. It lies in the arena. */
static Lahar__Link__V1__Site *unpack_known(struct sitebook *book, struct span id)
{
    struct span packed = sitebook_find(book, id);
    arena_reset(book->arena);
    return packed.len == 0
               ? NULL
               : unpack_message(&lahar__link__v1__site__descriptor, book->arena, packed);
}

static uint64_t not_before_of(struct sitebook *book, struct span id)
{
    const Lahar__Link__V1__Site *known = unpack_known(book, id);
    return known == NULL ? 0 : known->not_before;
}

void sitebook_put(struct sitebook *book, const Lahar__Link__V1__Site *site, uint64_t token)
{
    const char *wrong = site_wrong(book, site);
    if (wrong != NULL) {
        book->actions.written(book->ctx, token, wrong);
        return;
    }
    Lahar__Link__V1__Site copy = *site;
    copy.revision = 0; /* Redis gives it */
    uint64_t not_before = not_before_of(book, unpack_span(site->id));
    if (copy.not_before < not_before)
        copy.not_before = not_before;
    copy.base.n_unknown_fields = 0;
    size_t len = lahar__link__v1__site__get_packed_size(&copy);
    if (len > SITE_BYTES_MAX - REVISION_BYTES_MAX) {
        book->actions.written(book->ctx, token, "the site's keys hold what no site has");
        return;
    }
    uint8_t *packed = malloc(len);
    assert(packed != NULL);
    lahar__link__v1__site__pack(&copy, packed);
    write_site(book, unpack_span(site->id), span_of(packed, len), token);
    free(packed);
}

void sitebook_not_before(struct sitebook *book, struct span id, uint64_t not_before, uint64_t token)
{
    Lahar__Link__V1__Site *site = unpack_known(book, id);
    if (site == NULL) {
        book->actions.written(book->ctx, token,
                              book->read ? "there is no such site"
                                         : "the sites were not read yet; try again");
        return;
    }
    if (site->not_before < not_before)
        site->not_before = not_before;
    size_t len = lahar__link__v1__site__get_packed_size(site);
    uint8_t *packed = malloc(len);
    assert(packed != NULL);
    lahar__link__v1__site__pack(site, packed);
    write_site(book, id, span_of(packed, len), token);
    free(packed);
}

void sitebook_remove(struct sitebook *book, struct span id, uint64_t token)
{
    if (!id_valid(id))
        book->actions.written(book->ctx, token, "a site's id has 1 to 32 of a-z 0-9 -");
    else
        write_site(book, id, (struct span){0}, token);
}

static void on_written(struct sitebook *book, uint32_t at, const struct reply *reply)
{
    assert(at < SITEBOOK_WRITES_MAX && book->writes[at].used);
    book->writes[at].used = false;
    const char *error = NULL;
    if (reply == NULL)
        error = "Redis went away; it is not known whether the change was made";
    else if (reply->kind != REPLY_INTEGER)
        error = "Redis refused the change";
    else if (reply->integer == 0)
        error = "there is no such site";
    if (reply != NULL && reply->kind == REPLY_ERROR)
        log_warn("site_refused", LOG_SPAN("error", reply->text));
    if (error == NULL && !book->reading)
        read_all(book, (uint64_t)reply->integer);
    book->actions.written(book->ctx, book->writes[at].token, error);
}

void sitebook_reply(struct sitebook *book, uint64_t tag, const struct reply *reply)
{
    if ((tag & 0xff) == TAG_READ)
        on_read(book, reply);
    else if ((tag & 0xff) == TAG_WRITE)
        on_written(book, (uint32_t)(tag >> 8), reply);
}

/* What it knows. */

bool sitebook_ready(const struct sitebook *book)
{
    return book->read;
}

uint64_t sitebook_revision(const struct sitebook *book)
{
    return book->revision;
}

struct span sitebook_find(const struct sitebook *book, struct span id)
{
    const struct entry *entry = id_valid(id) ? find(book, id) : NULL;
    return entry == NULL ? (struct span){0} : span_of(entry->packed, entry->packed_len);
}

bool sitebook_walk(const struct sitebook *book, uint32_t *cursor, struct span *packed)
{
    while (*cursor < book->entries_used) {
        const struct entry *entry = &book->entries[(*cursor)++];
        if (entry->packed == NULL)
            continue;
        *packed = span_of(entry->packed, entry->packed_len);
        return true;
    }
    return false;
}
