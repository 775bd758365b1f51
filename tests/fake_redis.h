/* A Redis in memory, for tests whose time is not the clock's: the few commands that the router
 * uses, its functions in C, and faults. Commands wait until fake_redis_answer; then they are
 * carried out and answered in order. */
#ifndef TESTS_FAKE_REDIS_H
#define TESTS_FAKE_REDIS_H

#include "base/map.h"
#include "base/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fake_bytes {
    uint8_t *at;
    size_t len;
};

/* A key, or a field of a hash (then its key is the key, a newline, the field). */
struct fake_entry {
    struct fake_bytes name, value;
    uint64_t until_ms; /* 0: for ever */
};

struct fake_command {
    uint64_t tag;
    size_t count;
    struct fake_bytes args[];
};

struct fake_redis {
    bool up;
    bool failing;            /* every command is answered with an error */
    const char *failing_key; /* and those whose first argument ends so */
    uint64_t now_ms;
    struct fake_entry *entries;
    size_t entry_count, entry_room;
    struct map by_name;
    size_t *fields; /* which entries are fields of hashes */
    size_t field_count, field_room;
    struct fake_command **queue;
    size_t queued, queue_room;
    uint64_t commands, writes;
    struct reply *made[4096]; /* elements of the reply that is being made */
    size_t made_count;
};

static inline struct fake_bytes fake_copy(struct span span)
{
    struct fake_bytes copy = {malloc(span.len + 1), span.len};
    assert_non_null(copy.at);
    if (span.len > 0)
        memcpy(copy.at, span.at, span.len);
    copy.at[span.len] = '\0';
    return copy;
}

static inline struct span fake_span(struct fake_bytes bytes)
{
    return span_of(bytes.at, bytes.len);
}

static inline uint64_t fake_hash(struct span name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ name.at[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash << 29 ^ hash >> 31;
}

static inline bool fake_same(const void *ctx, uint32_t index, const void *key)
{
    const struct fake_redis *fake = ctx;
    return span_equal(fake_span(fake->entries[index].name), *(const struct span *)key);
}

static inline struct fake_entry *fake_find(struct fake_redis *fake, struct span name)
{
    uint32_t at = map_find(&fake->by_name, fake_hash(name), fake_same, fake, &name);
    if (at == MAP_NONE)
        return NULL;
    struct fake_entry *entry = &fake->entries[at];
    bool live = entry->value.at != NULL && (entry->until_ms == 0 || fake->now_ms < entry->until_ms);
    return live ? entry : NULL;
}

static inline void fake_remove(struct fake_redis *fake, struct span name)
{
    struct fake_entry *entry = fake_find(fake, name);
    if (entry == NULL)
        return;
    free(entry->value.at);
    entry->value = (struct fake_bytes){0};
}

static inline struct fake_entry *fake_set(struct fake_redis *fake, struct span name,
                                          struct span value)
{
    uint32_t at = map_find(&fake->by_name, fake_hash(name), fake_same, fake, &name);
    if (at == MAP_NONE) {
        if (fake->entry_count == fake->entry_room) {
            fake->entry_room = fake->entry_room * 2 + 64;
            fake->entries = realloc(fake->entries, fake->entry_room * sizeof *fake->entries);
            assert_non_null(fake->entries);
        }
        at = (uint32_t)fake->entry_count++;
        fake->entries[at] = (struct fake_entry){.name = fake_copy(name)};
        map_add(&fake->by_name, fake_hash(name), at);
        if (memchr(name.at, '\n', name.len) != NULL) {
            if (fake->field_count == fake->field_room) {
                fake->field_room = fake->field_room * 2 + 64;
                fake->fields = realloc(fake->fields, fake->field_room * sizeof *fake->fields);
                assert_non_null(fake->fields);
            }
            fake->fields[fake->field_count++] = at;
        }
    }
    free(fake->entries[at].value.at);
    fake->entries[at].value = fake_copy(value);
    fake->entries[at].until_ms = 0;
    fake->writes++;
    return &fake->entries[at];
}

static inline void fake_set_text(struct fake_redis *fake, const char *name, const char *value)
{
    (void)fake_set(fake, span_text(name), span_text(value));
}

static inline int64_t fake_number(struct fake_redis *fake, struct span name)
{
    const struct fake_entry *entry = fake_find(fake, name);
    return entry == NULL ? 0 : strtoll((const char *)entry->value.at, NULL, 10);
}

static inline void fake_set_number(struct fake_redis *fake, struct span name, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    (void)fake_set(fake, name, span_text(text));
}

/* The name of a hash's field; the caller frees. */
static inline struct fake_bytes fake_field(struct span key, struct span field)
{
    struct fake_bytes name = {malloc(key.len + 1 + field.len + 1), key.len + 1 + field.len};
    assert_non_null(name.at);
    memcpy(name.at, key.at, key.len);
    name.at[key.len] = '\n';
    memcpy(name.at + key.len + 1, field.at, field.len);
    return name;
}

static inline bool fake_is_field(const struct fake_entry *entry, struct span key)
{
    return entry->value.at != NULL && entry->name.len > key.len &&
           memcmp(entry->name.at, key.at, key.len) == 0 && entry->name.at[key.len] == '\n';
}

/* Forgets everything. */
static inline void fake_redis_flush(struct fake_redis *fake)
{
    for (size_t i = 0; i < fake->entry_count; i++) {
        free(fake->entries[i].name.at);
        free(fake->entries[i].value.at);
    }
    fake->entry_count = fake->field_count = 0;
    map_free(&fake->by_name);
    map_init(&fake->by_name);
}

static inline const struct reply *fake_make(struct fake_redis *fake, enum reply_kind kind,
                                            int64_t integer, struct span text)
{
    assert_true(fake->made_count < 4096);
    struct reply *reply = calloc(1, sizeof *reply);
    assert_non_null(reply);
    fake->made[fake->made_count++] = reply;
    *reply = (struct reply){.kind = kind, .integer = integer, .text = text};
    return reply;
}

static inline struct span fake_arg(const struct fake_command *command, size_t at)
{
    assert_true(at < command->count);
    return fake_span(command->args[at]);
}

/* With a NUL: all arguments have one here. */
static inline const char *fake_text(const struct fake_command *command, size_t at)
{
    return (const char *)fake_arg(command, at).at;
}

static inline bool fake_is(struct span span, const char *text)
{
    return span_equal(span, span_text(text));
}

static inline void fake_list(struct fake_redis *fake, struct span key, const struct reply **list,
                             size_t *listed)
{
    for (size_t i = 0; i < fake->field_count; i++) {
        const struct fake_entry *entry = &fake->entries[fake->fields[i]];
        if (!fake_is_field(entry, key))
            continue;
        list[(*listed)++] =
            fake_make(fake, REPLY_BULK, 0, span_after(fake_span(entry->name), key.len + 1));
        list[(*listed)++] = fake_make(fake, REPLY_BULK, 0, fake_span(entry->value));
    }
}

static inline size_t fake_varint(uint8_t *out, uint8_t tag, uint64_t value)
{
    size_t len = 0;
    out[len++] = tag;
    do
        out[len++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    while ((value >>= 7) > 0);
    return len;
}

/* One site, its end appended; how long that is lies beside it, as in Redis. */
static inline void fake_write_site(struct fake_redis *fake, const struct fake_command *command,
                                   struct span id, struct span packed, int64_t not_before,
                                   int64_t revision)
{
    struct fake_bytes name = fake_field(fake_arg(command, 3), id);
    struct fake_bytes end = fake_field(fake_arg(command, 5), id);
    uint8_t record[4096 + 22];
    char text[48];
    size_t len = packed.len;
    assert_true(len <= 4096);
    if (len > 0)
        memcpy(record, packed.at, len);
    if (not_before > 0)
        len += fake_varint(record + len, 56, (uint64_t)not_before);
    len += fake_varint(record + len, 40, (uint64_t)revision);
    snprintf(text, sizeof text, "%lld %zu", (long long)not_before, len - packed.len);
    fake_set(fake, fake_span(end), span_text(text));
    fake_set(fake, fake_span(name), span_of(record, len));
    free(name.at);
    free(end.at);
}

static inline bool fake_lost(struct fake_redis *fake, const struct fake_command *command,
                             size_t floor)
{
    return fake_number(fake, fake_arg(command, 4)) < strtoll(fake_text(command, floor), NULL, 10);
}

/* lahar_site and lahar_site_kick. */
static inline const struct reply *fake_site(struct fake_redis *fake,
                                            const struct fake_command *command)
{
    bool kick = fake_is(fake_arg(command, 1), "lahar_site_kick");
    struct span revision_key = fake_arg(command, 4), id = fake_arg(command, 6), none = {0};
    if (fake_lost(fake, command, kick ? 7 : 8))
        return fake_make(fake, REPLY_ERROR, 0, span_text("LOST"));
    struct fake_bytes name = fake_field(fake_arg(command, 3), id);
    struct fake_bytes end = fake_field(fake_arg(command, 5), id);
    const struct fake_entry *there = fake_find(fake, fake_span(name));
    const struct fake_entry *known = fake_find(fake, fake_span(end));
    long long not_before = 0, wanted = strtoll(fake_text(command, kick ? 8 : 9), NULL, 10);
    size_t cut = 0;
    if (known != NULL)
        assert_int_equal(sscanf((const char *)known->value.at, "%lld %zu", &not_before, &cut), 2);
    not_before = wanted > not_before ? wanted : not_before;
    struct fake_bytes packed = fake_copy(!kick           ? fake_arg(command, 7)
                                         : there != NULL ? fake_span(there->value)
                                                         : none);
    if (kick && there != NULL)
        packed.len -= cut < packed.len ? cut : packed.len;
    int64_t revision = 0;
    if (there != NULL || packed.len > 0) {
        revision = fake_number(fake, revision_key) + 1;
        fake_set_number(fake, revision_key, revision);
        if (kick || packed.len > 0)
            fake_write_site(fake, command, id, fake_span(packed), not_before, revision);
        else
            fake_remove(fake, fake_span(name));
    }
    free(packed.at);
    free(name.at);
    free(end.at);
    return fake_make(fake, REPLY_INTEGER, revision, none);
}

static inline const struct reply *fake_sites_restore(struct fake_redis *fake,
                                                     const struct fake_command *command)
{
    struct span none = {0};
    if (!fake_lost(fake, command, 6))
        return fake_make(fake, REPLY_INTEGER, 0, none);
    for (size_t i = 8; i + 3 < command->count; i += 4)
        fake_write_site(fake, command, fake_arg(command, i), fake_arg(command, i + 1),
                        strtoll(fake_text(command, i + 2), NULL, 10),
                        strtoll(fake_text(command, i + 3), NULL, 10));
    if (fake_is(fake_arg(command, 7), "1"))
        fake_set(fake, fake_arg(command, 4), fake_arg(command, 6));
    return fake_make(fake, REPLY_INTEGER, 1, none);
}

static inline const struct reply *fake_call(struct fake_redis *fake,
                                            const struct fake_command *command,
                                            const struct reply **list, size_t *listed)
{
    struct span function = fake_arg(command, 1), none = {0};
    size_t keys = strtoul((const char *)fake_arg(command, 2).at, NULL, 10), args = 3 + keys;
    struct span first = fake_arg(command, 3);
    struct fake_entry *held = fake_find(fake, first);
    bool ours = held != NULL && span_equal(fake_span(held->value), fake_arg(command, args));
    int64_t second = args + 1 < command->count
                         ? strtoll((const char *)fake_arg(command, args + 1).at, NULL, 10)
                         : 0;
    if (fake_is(function, "lahar_lease")) {
        if (held != NULL && !ours)
            return fake_make(fake, REPLY_INTEGER, 0, none);
        int64_t was = held != NULL ? 1 : 2;
        if (second == 0)
            fake_remove(fake, first);
        else
            fake_set(fake, first, fake_arg(command, args))->until_ms =
                fake->now_ms + (uint64_t)second;
        return fake_make(fake, REPLY_INTEGER, was, none);
    }
    if (fake_is(function, "lahar_raise") || fake_is(function, "lahar_keep")) {
        bool raise = fake_is(function, "lahar_raise");
        int64_t higher = 0;
        if (!ours)
            return fake_make(fake, REPLY_ERROR, 0, span_text("NOTOWNER"));
        for (size_t i = 1; i < keys; i++) {
            int64_t fence = fake_number(fake, fake_arg(command, 3 + i)), epoch;
            epoch = raise ? (fence + 1 > second ? fence + 1 : second)
                          : strtoll((const char *)fake_arg(command, args + i).at, NULL, 10);
            if (fence > epoch)
                higher++;
            else
                fake_set_number(fake, fake_arg(command, 3 + i), epoch);
            list[(*listed)++] = fake_make(fake, REPLY_INTEGER, epoch, none);
        }
        if (raise)
            return NULL; /* the list */
        *listed = 0;
        return fake_make(fake, REPLY_INTEGER, higher, none);
    }
    if (fake_is(function, "lahar_block")) {
        int64_t floor = strtoll((const char *)fake_arg(command, args).at, NULL, 10);
        int64_t next = fake_number(fake, first);
        int64_t gap = strtoll((const char *)fake_arg(command, args + 2).at, NULL, 10);
        next = next < floor ? floor + gap : next;
        fake_set_number(fake, first, next + second);
        return fake_make(fake, REPLY_INTEGER, next, none);
    }
    if (fake_is(function, "lahar_gid")) {
        struct fake_entry *fence = fake_find(fake, fake_arg(command, 4));
        if (fence == NULL || !span_equal(fake_span(fence->value), fake_arg(command, args)))
            return fake_make(fake, REPLY_ERROR, 0, span_text("FENCED"));
        struct fake_bytes name = fake_field(first, fake_arg(command, args + 1));
        struct fake_entry *entry = fake_find(fake, fake_span(name));
        if (entry == NULL)
            entry = fake_set(fake, fake_span(name), fake_arg(command, args + 2));
        free(name.at);
        return fake_make(fake, REPLY_BULK, 0, fake_span(entry->value));
    }
    if (fake_is(function, "lahar_put")) {
        struct fake_entry *fence = fake_find(fake, fake_arg(command, 4));
        if (fence == NULL || !span_equal(fake_span(fence->value), fake_arg(command, args)))
            return fake_make(fake, REPLY_ERROR, 0, span_text("FENCED"));
        struct fake_bytes name = fake_field(first, fake_arg(command, args + 1));
        if (fake_arg(command, args + 2).len > 0)
            fake_set(fake, fake_span(name), fake_arg(command, args + 2));
        else
            fake_remove(fake, fake_span(name));
        free(name.at);
        return fake_make(fake, REPLY_INTEGER, 1, none);
    }
    if (fake_is(function, "lahar_swap")) {
        struct span found = held != NULL ? fake_span(held->value) : none;
        if (!span_equal(found, fake_arg(command, args)))
            return fake_make(fake, REPLY_BULK, 0, found);
        fake_set(fake, first, fake_arg(command, args + 1));
        return fake_make(fake, REPLY_BULK, 0, fake_arg(command, args + 1));
    }
    if (fake_is(function, "lahar_sites")) {
        fake_list(fake, first, list, listed);
        list[(*listed)++] =
            fake_make(fake, REPLY_INTEGER, fake_number(fake, fake_arg(command, 4)), none);
        return NULL;
    }
    if (fake_is(function, "lahar_site") || fake_is(function, "lahar_site_kick"))
        return fake_site(fake, command);
    if (fake_is(function, "lahar_sites_restore"))
        return fake_sites_restore(fake, command);
    fail_msg("the fake does not know %.*s", (int)function.len, (const char *)function.at);
    return NULL;
}

static inline void fake_rename(struct fake_redis *fake, struct span from, struct span to, bool put)
{
    size_t count = fake->field_count;
    for (size_t i = 0; i < count; i++) {
        struct fake_entry *entry = &fake->entries[fake->fields[i]];
        if (!fake_is_field(entry, to))
            continue;
        free(entry->value.at);
        entry->value = (struct fake_bytes){0};
    }
    for (size_t i = 0; put && i < count; i++) {
        struct fake_entry *entry = &fake->entries[fake->fields[i]];
        if (!fake_is_field(entry, from))
            continue;
        struct fake_bytes name = fake_field(to, span_after(fake_span(entry->name), from.len + 1));
        struct fake_bytes value = entry->value;
        entry->value = (struct fake_bytes){0};
        fake_set(fake, fake_span(name), fake_span(value));
        free(name.at);
        free(value.at);
    }
}

/* NULL: the reply is the list. */
static inline const struct reply *fake_carry_out(struct fake_redis *fake,
                                                 const struct fake_command *command,
                                                 const struct reply **list, size_t *listed)
{
    struct span verb = fake_arg(command, 0), none = {0};
    struct span key = command->count > 1 ? fake_arg(command, 1) : none;
    size_t ending = fake->failing_key != NULL ? strlen(fake->failing_key) : 0;
    bool fails = ending > 0 && key.len >= ending &&
                 memcmp(key.at + key.len - ending, fake->failing_key, ending) == 0;
    if (fake->failing || fails)
        return fake_make(fake, REPLY_ERROR, 0, span_text("OOM as told"));
    if (fake_is(verb, "FUNCTION"))
        return fake_make(fake, REPLY_STATUS, 0, span_text("OK"));
    if (fake_is(verb, "CONFIG")) {
        list[(*listed)++] = fake_make(fake, REPLY_BULK, 0, fake_arg(command, 2));
        list[(*listed)++] = fake_make(fake, REPLY_BULK, 0, span_text("512"));
        return NULL;
    }
    if (fake_is(verb, "FCALL"))
        return fake_call(fake, command, list, listed);
    if (fake_is(verb, "SET")) {
        if (command->count < 4 || fake_find(fake, key) == NULL)
            fake_set(fake, key, fake_arg(command, 2));
        return fake_make(fake, REPLY_STATUS, 0, span_text("OK"));
    }
    if (fake_is(verb, "GET") || fake_is(verb, "HGET")) {
        struct fake_bytes name =
            fake_is(verb, "GET") ? fake_copy(key) : fake_field(key, fake_arg(command, 2));
        struct fake_entry *entry = fake_find(fake, fake_span(name));
        free(name.at);
        return entry == NULL ? fake_make(fake, REPLY_NIL, 0, none)
                             : fake_make(fake, REPLY_BULK, 0, fake_span(entry->value));
    }
    bool set = fake_is(verb, "HSET");
    if (set || fake_is(verb, "HDEL")) {
        for (size_t i = 2; i < command->count; i += set ? 2 : 1) {
            struct fake_bytes name = fake_field(key, fake_arg(command, i));
            if (set)
                fake_set(fake, fake_span(name), fake_arg(command, i + 1));
            else
                fake_remove(fake, fake_span(name));
            free(name.at);
        }
        fake->writes += !set;
        return fake_make(fake, REPLY_INTEGER, 1, none);
    }
    if (fake_is(verb, "HGETALL")) {
        fake_list(fake, key, list, listed);
        return NULL;
    }
    if (fake_is(verb, "UNLINK")) {
        for (size_t i = 1; i < command->count && fake->entry_count > 0; i++)
            fake_rename(fake, none, fake_arg(command, i), false);
        fake->writes++;
        return fake_make(fake, REPLY_INTEGER, 1, none);
    }
    if (fake_is(verb, "RENAME")) {
        fake_rename(fake, key, fake_arg(command, 2), true);
        return fake_make(fake, REPLY_STATUS, 0, span_text("OK"));
    }
    fail_msg("the fake does not know %.*s", (int)verb.len, (const char *)verb.at);
    return NULL;
}

static inline bool fake_redis_command(struct fake_redis *fake, const struct span *args,
                                      size_t count, uint64_t tag)
{
    if (!fake->up)
        return false;
    struct fake_command *command = malloc(sizeof *command + count * sizeof command->args[0]);
    assert_non_null(command);
    for (size_t i = 0; i < count; i++)
        command->args[i] = fake_copy(args[i]);
    command->count = count;
    command->tag = tag;
    if (fake->queued == fake->queue_room) {
        fake->queue_room = fake->queue_room * 2 + 64;
        fake->queue = realloc(fake->queue, fake->queue_room * sizeof(struct fake_command *));
        assert_non_null(fake->queue);
    }
    fake->queue[fake->queued++] = command;
    fake->commands++;
    return true;
}

typedef void fake_reply_fn(void *ctx, uint64_t tag, const struct reply *reply);

/* Answers what waits now; `lost`: carries nothing out, and answers as a lost connection does. */
static inline void fake_redis_answer(struct fake_redis *fake, fake_reply_fn *on_reply, void *ctx,
                                     bool lost)
{
    struct fake_command **queue = fake->queue;
    size_t queued = fake->queued;
    fake->queue = NULL;
    fake->queued = fake->queue_room = 0;
    for (size_t at = 0; at < queued; at++) {
        static const struct reply *list[4096];
        size_t listed = 0;
        struct reply array = {.kind = REPLY_ARRAY, .at = list};
        fake->made_count = 0;
        const struct reply *reply = lost ? NULL : fake_carry_out(fake, queue[at], list, &listed);
        array.len = listed;
        on_reply(ctx, queue[at]->tag, lost ? NULL : reply == NULL ? &array : reply);
        for (size_t i = 0; i < fake->made_count; i++)
            free(fake->made[i]);
        for (size_t i = 0; i < queue[at]->count; i++)
            free(queue[at]->args[i].at);
        free(queue[at]);
    }
    free(queue);
}

static inline void fake_redis_close(struct fake_redis *fake)
{
    fake_redis_flush(fake);
    free(fake->entries);
    free(fake->fields);
    map_free(&fake->by_name);
    for (size_t at = 0; at < fake->queued; at++) {
        for (size_t i = 0; i < fake->queue[at]->count; i++)
            free(fake->queue[at]->args[i].at);
        free(fake->queue[at]);
    }
    free(fake->queue);
}

#endif
