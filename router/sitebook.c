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
#define END_BYTES_MAX 22u /* which Redis appends: not_before, revision */
/* What was lost is written back so many at a time. */
#define RESTORED_AT_ONCE 64u
#define ARENA_BYTES (256u * 1024u)

enum tag_kind { TAG_READ, TAG_WRITE, TAG_RESTORE };

struct entry {
    uint8_t *packed; /* NULL: free */
    size_t packed_len;
    uint64_t revision;
    uint32_t seen; /* the reading in which it was last found */
    bool removed;
    uint8_t id_len;
    uint8_t id[ID_MAX];
};

struct write {
    bool used;
    uint64_t token;
};

struct sitebook {
    char sites_key[KEY_SIZE], revision_key[KEY_SIZE], ends_key[KEY_SIZE];
    struct sitebook_actions actions;
    void *ctx;
    struct arena *arena;

    struct entry *entries;
    uint32_t entries_used, entries_room;
    struct map by_id;

    bool read, reading, again;
    uint32_t reads;
    uint64_t revision;
    struct write writes[SITEBOOK_WRITES_MAX];
};

struct sitebook *sitebook_new(const char *prefix, const struct sitebook_actions *actions, void *ctx)
{
    struct sitebook *book = calloc(1, sizeof *book);
    assert(book != NULL);
    int a = snprintf(book->sites_key, KEY_SIZE, "%ssites", prefix);
    int b = snprintf(book->revision_key, KEY_SIZE, "%ssites_rev", prefix);
    int c = snprintf(book->ends_key, KEY_SIZE, "%ssites_end", prefix);
    assert(a > 0 && a < (int)KEY_SIZE && b > 0 && b < (int)KEY_SIZE && c > 0 && c < (int)KEY_SIZE);
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

static void take_site(struct sitebook *book, struct span id, struct span packed, uint64_t revision,
                      bool removed)
{
    struct entry *entry = find(book, id);
    if (entry != NULL) {
        entry->seen = book->reads;
        if (revision <= entry->revision)
            return; /* unchanged */
        free(entry->packed);
    } else {
        entry = add(book, id);
    }
    entry->packed = malloc(packed.len);
    assert(entry->packed != NULL);
    memcpy(entry->packed, packed.at, packed.len);
    entry->packed_len = packed.len;
    entry->revision = revision;
    entry->removed = removed;
    entry->seen = book->reads;
    book->actions.changed(book->ctx, id, removed ? (struct span){0} : packed, revision);
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

static void read_all(struct sitebook *book)
{
    struct span args[] = {span_text("FCALL"), span_text("lahar_sites"), span_text("2"),
                          span_text(book->sites_key), span_text(book->revision_key)};
    book->reading = book->actions.command(book->ctx, args, 5, TAG_READ);
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

/* NULL: it makes no sense. In the arena. */
static Lahar__Link__V1__Site *unpack_site(struct sitebook *book, struct span packed)
{
    arena_reset(book->arena);
    return packed.len > SITE_BYTES_MAX
               ? NULL
               : unpack_message(&lahar__link__v1__site__descriptor, book->arena, packed);
}

static void take_all(struct sitebook *book, const struct reply *reply, uint64_t revision)
{
    book->reads++;
    for (size_t i = 0; i + 1 < reply->len; i += 2) {
        struct span id = reply->at[i]->text, packed = reply->at[i + 1]->text;
        const Lahar__Link__V1__Site *site = unpack_site(book, packed);
        bool removed = site != NULL && site->id.len == 0 && site->n_keys == 0;
        if (!id_valid(id) || site == NULL || !(removed || span_equal(unpack_span(site->id), id)))
            log_error("site_unreadable", LOG_SPAN("site", id));
        else
            take_site(book, id, packed, site->revision, removed);
    }
    for (uint32_t i = 0; i < book->entries_used; i++) {
        struct entry *entry = &book->entries[i];
        if (entry->packed != NULL && entry->seen != book->reads)
            drop_site(book, entry, revision);
    }
    book->read = true;
    book->revision = revision;
}

static void on_read(struct sitebook *book, const struct reply *reply)
{
    book->reading = false;
    if (reply == NULL || reply->kind != REPLY_ARRAY || reply->len % 2 == 0 ||
        reply->at[reply->len - 1]->kind != REPLY_INTEGER)
        return; /* the next poll tries again */
    uint64_t revision = (uint64_t)reply->at[reply->len - 1]->integer;
    /* Below ours: Redis has lost data, which the next poll finds as well. */
    if (revision >= book->revision)
        take_all(book, reply, revision);
}

/* Bytes of `site` without what Redis appends; to be freed. */
static uint8_t *pack_base(const Lahar__Link__V1__Site *site, size_t *len)
{
    Lahar__Link__V1__Site base = *site;
    base.revision = base.not_before = 0;
    *len = lahar__link__v1__site__get_packed_size(&base);
    uint8_t *packed = malloc(*len + 1); /* of a removed site there are none */
    assert(packed != NULL);
    lahar__link__v1__site__pack(&base, packed);
    return packed;
}

/* A call of lahar_sites_restore as it grows. */
struct restoring {
    struct span args[8 + 4 * RESTORED_AT_ONCE];
    uint8_t *packed[RESTORED_AT_ONCE];
    char numbers[2 * RESTORED_AT_ONCE][24];
    uint32_t count; /* of sites */
};

static struct span number_text(char out[24], uint64_t number)
{
    int len = snprintf(out, 24, "%llu", (unsigned long long)number);
    return span_of((const uint8_t *)out, (size_t)len);
}

static void restore_one(struct sitebook *book, struct restoring *call, const struct entry *entry)
{
    const Lahar__Link__V1__Site *site =
        unpack_site(book, span_of(entry->packed, entry->packed_len));
    assert(site != NULL); /* it was read when it came */
    struct span *args = &call->args[8 + 4 * call->count];
    char(*numbers)[24] = &call->numbers[2 * call->count];
    size_t len;
    uint8_t *packed = call->packed[call->count++] = pack_base(site, &len);
    args[0] = span_of(entry->id, entry->id_len);
    args[1] = span_of(packed, len);
    args[2] = number_text(numbers[0], site->not_before);
    args[3] = number_text(numbers[1], entry->revision);
}

static bool send_restoring(struct sitebook *book, struct restoring *call, bool last)
{
    char floor[24];
    const struct span head[] = {span_text("FCALL"),
                                span_text("lahar_sites_restore"),
                                span_text("3"),
                                span_text(book->sites_key),
                                span_text(book->revision_key),
                                span_text(book->ends_key),
                                number_text(floor, book->revision),
                                span_text(last ? "1" : "0")};
    memcpy(call->args, head, sizeof head);
    bool sent = book->actions.command(book->ctx, call->args, 8 + 4 * call->count, TAG_RESTORE);
    for (uint32_t i = 0; i < call->count; i++)
        free(call->packed[i]);
    call->count = 0;
    return sent;
}

/* Redis has lost what it had of sites: what is known here is written back. The first of the shards
 * to come does it; with the revision where it was nobody takes changes to come for old ones. */
static void restore(struct sitebook *book, uint64_t found)
{
    struct restoring call = {.count = 0};
    bool sent = true;
    for (uint32_t i = 0; i < book->entries_used && sent; i++) {
        if (book->entries[i].packed == NULL)
            continue;
        restore_one(book, &call, &book->entries[i]);
        if (call.count == RESTORED_AT_ONCE)
            sent = send_restoring(book, &call, false);
    }
    if (sent && send_restoring(book, &call, true))
        log_error("sites_lost", LOG_UNSIGNED("found", found), LOG_UNSIGNED("known", book->revision),
                  LOG_TEXT("change", "Redis has lost data; sites are written back as they are "
                                     "known here: restore a backup of the rest"));
}

void sitebook_poll(struct sitebook *book, uint64_t revision)
{
    if (book->read && revision < book->revision)
        restore(book, revision);
    else if (!book->reading && (!book->read || revision != book->revision))
        read_all(book);
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

/* `more`: what the function takes beside the keys (router/functions.h). */
static void write_site(struct sitebook *book, const char *function, const struct span more[],
                       size_t count, uint64_t token)
{
    struct span args[10] = {
        span_text("FCALL"),         span_text(function),           span_text("3"),
        span_text(book->sites_key), span_text(book->revision_key), span_text(book->ends_key)};
    uint32_t at = 0;
    assert(count <= 4);
    memcpy(&args[6], more, count * sizeof *more);
    while (at < SITEBOOK_WRITES_MAX && book->writes[at].used)
        at++;
    if (at == SITEBOOK_WRITES_MAX) {
        book->actions.written(book->ctx, token, "too many changes of sites at once; try again");
        return;
    }
    book->writes[at] = (struct write){true, token};
    if (!book->actions.command(book->ctx, args, 6 + count, TAG_WRITE | (uint64_t)at << 8)) {
        book->writes[at].used = false;
        book->actions.written(book->ctx, token, "Redis is away; nothing was changed");
    }
}

static void write_record(struct sitebook *book, struct span id, struct span packed,
                         uint64_t not_before, uint64_t token)
{
    char floor[24], time[24];
    const struct span args[] = {id, packed, number_text(floor, book->revision),
                                number_text(time, not_before)};
    write_site(book, "lahar_site", args, 4, token);
}

void sitebook_put(struct sitebook *book, const Lahar__Link__V1__Site *site, uint64_t token)
{
    const char *wrong = site_wrong(book, site);
    if (wrong != NULL) {
        book->actions.written(book->ctx, token, wrong);
        return;
    }
    Lahar__Link__V1__Site copy = *site;
    copy.base.n_unknown_fields = 0;
    size_t len;
    uint8_t *packed = pack_base(&copy, &len);
    if (len > SITE_BYTES_MAX - END_BYTES_MAX)
        book->actions.written(book->ctx, token, "the site's keys hold what no site has");
    else
        write_record(book, unpack_span(site->id), span_of(packed, len), site->not_before, token);
    free(packed);
}

void sitebook_not_before(struct sitebook *book, struct span id, uint64_t not_before, uint64_t token)
{
    char floor[24], time[24];
    const struct span args[] = {id, number_text(floor, book->revision),
                                number_text(time, not_before)};
    if (!id_valid(id))
        book->actions.written(book->ctx, token, "a site's id has 1 to 32 of a-z 0-9 -");
    else
        write_site(book, "lahar_site_kick", args, 3, token);
}

void sitebook_remove(struct sitebook *book, struct span id, uint64_t token)
{
    if (!id_valid(id))
        book->actions.written(book->ctx, token, "a site's id has 1 to 32 of a-z 0-9 -");
    else
        write_record(book, id, (struct span){0}, 0, token);
}

static void on_written(struct sitebook *book, uint32_t at, const struct reply *reply)
{
    assert(at < SITEBOOK_WRITES_MAX && book->writes[at].used);
    book->writes[at].used = false;
    const char *error = NULL;
    if (reply == NULL)
        error = "Redis went away; it is not known whether the change was made";
    else if (reply->kind == REPLY_ERROR && span_equal(span_upto(reply->text, 4), span_text("LOST")))
        error = "Redis has lost the sites, and they are being written back; try again in a second";
    else if (reply->kind != REPLY_INTEGER)
        error = "Redis refused the change";
    else if (reply->integer == 0)
        error = "there is no such site";
    if (reply != NULL && reply->kind == REPLY_ERROR)
        log_warn("site_refused", LOG_SPAN("error", reply->text));
    if (error == NULL && !book->reading)
        read_all(book);
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
    return entry == NULL || entry->removed ? (struct span){0}
                                           : span_of(entry->packed, entry->packed_len);
}

bool sitebook_walk(const struct sitebook *book, uint32_t *cursor, struct sitebook_site *site)
{
    while (*cursor < book->entries_used) {
        const struct entry *entry = &book->entries[(*cursor)++];
        if (entry->packed == NULL)
            continue;
        *site = (struct sitebook_site){span_of(entry->id, entry->id_len),
                                       span_of(entry->packed, entry->packed_len), entry->revision};
        if (entry->removed)
            site->packed = (struct span){0};
        return true;
    }
    return false;
}
