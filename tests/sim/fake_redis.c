#include "tests/sim/fake_redis.h"

#include "base/map.h"
#include "proto/gid.h"

#include <stdio.h>
#include <stdlib.h>

#define NEVER UINT64_MAX

struct bytes {
    uint8_t *at;
    size_t len;
};

struct field {
    struct bytes name, value;
};

/* A key. With fields it is a hash, else a string; without either it is not there. */
struct entry {
    struct bytes key, value;
    bool set;
    uint64_t expires_ms;
    struct field *fields;
    size_t fields_count;
};

struct fake_redis {
    struct entry *entries;
    uint32_t used, room;
    struct map by_key;
    uint64_t now_ms;
};

/* ---- memory ---- */

static struct bytes copy(struct span span)
{
    struct bytes bytes = {malloc(span.len + 1), span.len};
    assert(bytes.at != NULL);
    if (span.len > 0)
        memcpy(bytes.at, span.at, span.len);
    return bytes;
}

static struct span view(struct bytes bytes)
{
    return span_of(bytes.at, bytes.len);
}

static void drop_field(struct entry *entry, size_t i)
{
    free(entry->fields[i].name.at);
    free(entry->fields[i].value.at);
    entry->fields[i] = entry->fields[--entry->fields_count];
}

static bool clear(struct entry *entry)
{
    bool was = entry->set || entry->fields_count > 0;
    while (entry->fields_count > 0)
        drop_field(entry, 0);
    free(entry->fields);
    free(entry->value.at);
    entry->fields = NULL;
    entry->value = (struct bytes){0};
    entry->set = false;
    entry->expires_ms = NEVER;
    return was;
}

struct fake_redis *fake_redis_new(void)
{
    struct fake_redis *redis = calloc(1, sizeof *redis);
    assert(redis != NULL);
    map_init(&redis->by_key);
    return redis;
}

void fake_redis_free(struct fake_redis *redis)
{
    for (uint32_t i = 0; i < redis->used; i++) {
        clear(&redis->entries[i]);
        free(redis->entries[i].key.at);
    }
    free(redis->entries);
    map_free(&redis->by_key);
    free(redis);
}

static uint64_t key_hash(struct span key)
{
    return gid_user_hash(key, (struct span){0});
}

static bool same_key(const void *ctx, uint32_t index, const void *key)
{
    return span_equal(view(((const struct fake_redis *)ctx)->entries[index].key),
                      *(const struct span *)key);
}

/* NULL if it is not there. */
static struct entry *find(const struct fake_redis *redis, struct span key)
{
    uint32_t index = map_find(&redis->by_key, key_hash(key), same_key, redis, &key);
    struct entry *entry = index == MAP_NONE ? NULL : &redis->entries[index];
    return entry == NULL || entry->expires_ms <= redis->now_ms ? NULL : entry;
}

static struct entry *make(struct fake_redis *redis, struct span key)
{
    uint32_t index = map_find(&redis->by_key, key_hash(key), same_key, redis, &key);
    if (index != MAP_NONE) {
        if (redis->entries[index].expires_ms <= redis->now_ms)
            clear(&redis->entries[index]);
        return &redis->entries[index];
    }
    if (redis->used == redis->room) {
        redis->room = redis->room == 0 ? 64 : redis->room * 2;
        redis->entries = realloc(redis->entries, redis->room * sizeof *redis->entries);
        assert(redis->entries != NULL);
    }
    map_add(&redis->by_key, key_hash(key), redis->used);
    struct entry *entry = &redis->entries[redis->used++];
    *entry = (struct entry){.key = copy(key), .expires_ms = NEVER};
    return entry;
}

static void set_text(struct entry *entry, struct span value, uint64_t expires_ms)
{
    struct bytes bytes = copy(value);
    clear(entry);
    entry->value = bytes;
    entry->set = true;
    entry->expires_ms = expires_ms;
}

static struct span get_text(const struct fake_redis *redis, struct span key)
{
    const struct entry *entry = find(redis, key);
    return entry == NULL || !entry->set ? (struct span){0} : view(entry->value);
}

static uint64_t to_number(struct span text)
{
    char digits[24] = "";
    assert(text.len < sizeof digits);
    if (text.len > 0)
        memcpy(digits, text.at, text.len);
    return strtoull(digits, NULL, 10);
}

static void set_number(struct fake_redis *redis, struct span key, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    set_text(make(redis, key), span_text(text), NEVER);
}

static struct field *field_of(const struct entry *entry, struct span name)
{
    for (size_t i = 0; entry != NULL && i < entry->fields_count; i++)
        if (span_equal(view(entry->fields[i].name), name))
            return &entry->fields[i];
    return NULL;
}

static void set_field(struct entry *entry, struct span name, struct span value)
{
    struct bytes bytes = copy(value);
    struct field *field = field_of(entry, name);
    if (field != NULL) {
        free(field->value.at);
        field->value = bytes;
        return;
    }
    entry->fields = realloc(entry->fields, (entry->fields_count + 1) * sizeof *entry->fields);
    assert(entry->fields != NULL);
    entry->fields[entry->fields_count++] = (struct field){copy(name), bytes};
}

/* ---- replies ---- */

static struct reply *new_reply(enum reply_kind kind)
{
    struct reply *reply = calloc(1, sizeof *reply);
    assert(reply != NULL);
    reply->kind = kind;
    return reply;
}

static struct reply *reply_text(enum reply_kind kind, struct span text)
{
    struct reply *reply = new_reply(kind);
    reply->text = view(copy(text));
    return reply;
}

static struct reply *reply_ok(void)
{
    return reply_text(REPLY_STATUS, span_text("OK"));
}

static struct reply *reply_error(const char *text)
{
    return reply_text(REPLY_ERROR, span_text(text));
}

static struct reply *reply_number(uint64_t number)
{
    struct reply *reply = new_reply(REPLY_INTEGER);
    reply->integer = (int64_t)number;
    return reply;
}

/* `replies` are taken over. */
static struct reply *reply_array(struct reply **replies, size_t count)
{
    struct reply *reply = new_reply(REPLY_ARRAY);
    const struct reply **at = calloc(count + 1, sizeof *at);
    assert(at != NULL);
    for (size_t i = 0; i < count; i++)
        at[i] = replies[i];
    reply->at = at;
    reply->len = count;
    free(replies);
    return reply;
}

static struct reply **new_replies(size_t count)
{
    struct reply **replies = calloc(count + 1, sizeof *replies);
    assert(replies != NULL);
    return replies;
}

void fake_redis_reply_free(struct reply *reply)
{
    if (reply == NULL)
        return;
    for (size_t i = 0; i < reply->len; i++)
        fake_redis_reply_free((struct reply *)(uintptr_t)reply->at[i]);
    free((void *)(uintptr_t)reply->at);
    free((void *)(uintptr_t)reply->text.at);
    free(reply);
}

/* ---- functions: see router/functions.h ---- */

static bool held(const struct fake_redis *redis, struct span lease, struct span who)
{
    return find(redis, lease) != NULL && span_equal(get_text(redis, lease), who);
}

static struct reply *fn_lease(struct fake_redis *redis, const struct span *keys, size_t key_count,
                              const struct span *args)
{
    (void)key_count;
    bool any = find(redis, keys[0]) != NULL && find(redis, keys[0])->set;
    if (any && !held(redis, keys[0], args[0]))
        return reply_number(0);
    uint64_t ms = to_number(args[1]);
    if (ms == 0)
        clear(make(redis, keys[0]));
    else
        set_text(make(redis, keys[0]), args[0], redis->now_ms + ms);
    return reply_number(any ? 1 : 2);
}

static struct reply *fn_raise(struct fake_redis *redis, const struct span *keys, size_t key_count,
                              const struct span *args)
{
    if (!held(redis, keys[0], args[0]))
        return reply_error("NOTOWNER the lease is not held by who asks");
    uint64_t floor = to_number(args[1]);
    struct reply **replies = new_replies(key_count - 1);
    for (size_t i = 1; i < key_count; i++) {
        bool any = find(redis, keys[i]) != NULL && find(redis, keys[i])->set;
        /* From the time on, as router/functions.c does. */
        uint64_t epoch = any ? to_number(get_text(redis, keys[i])) + 1 : redis->now_ms / 250 + 1;
        epoch = epoch > floor ? epoch : floor;
        set_number(redis, keys[i], epoch);
        replies[i - 1] = reply_number(epoch);
    }
    return reply_array(replies, key_count - 1);
}

static struct reply *fn_keep(struct fake_redis *redis, const struct span *keys, size_t key_count,
                             const struct span *args)
{
    if (!held(redis, keys[0], args[0]))
        return reply_error("NOTOWNER the lease is not held by who asks");
    uint64_t higher = 0;
    for (size_t i = 1; i < key_count; i++) {
        uint64_t fence = to_number(get_text(redis, keys[i])), epoch = to_number(args[i]);
        if (fence < epoch)
            set_number(redis, keys[i], epoch);
        higher += fence > epoch;
    }
    return reply_number(higher);
}

static struct reply *fn_block(struct fake_redis *redis, const struct span *keys, size_t key_count,
                              const struct span *args)
{
    (void)key_count;
    uint64_t first = to_number(get_text(redis, keys[0])), floor = to_number(args[0]);
    if (first < floor)
        first = floor + to_number(args[2]);
    set_number(redis, keys[0], first + to_number(args[1]));
    return reply_number(first);
}

static struct reply *fn_gid(struct fake_redis *redis, const struct span *keys, size_t key_count,
                            const struct span *args)
{
    (void)key_count;
    if (!span_equal(get_text(redis, keys[1]), args[0]))
        return reply_error("FENCED the slot has another epoch");
    struct entry *entry = make(redis, keys[0]);
    if (field_of(entry, args[1]) == NULL)
        set_field(entry, args[1], args[2]);
    return reply_text(REPLY_BULK, view(field_of(entry, args[1])->value));
}

static struct reply *fn_put(struct fake_redis *redis, const struct span *keys, size_t key_count,
                            const struct span *args)
{
    (void)key_count;
    if (!span_equal(get_text(redis, keys[1]), args[0]))
        return reply_error("FENCED the slot has another epoch");
    struct entry *entry = make(redis, keys[0]);
    const struct field *field = field_of(entry, args[1]);
    if (args[2].len > 0)
        set_field(entry, args[1], args[2]);
    else if (field != NULL)
        drop_field(entry, (size_t)(field - entry->fields));
    return reply_number(1);
}

static struct reply *fn_swap(struct fake_redis *redis, const struct span *keys, size_t key_count,
                             const struct span *args)
{
    (void)key_count;
    bool there = find(redis, keys[0]) != NULL && find(redis, keys[0])->set;
    struct span found = there ? get_text(redis, keys[0]) : (struct span){0};
    if (!span_equal(found, args[0]))
        return reply_text(REPLY_BULK, found);
    set_text(make(redis, keys[0]), args[1], NEVER);
    return reply_text(REPLY_BULK, args[1]);
}

/* Fields and values, and one more unless it is NULL. */
static struct reply *list(struct fake_redis *redis, struct span key, struct reply *last)
{
    const struct entry *entry = find(redis, key);
    size_t fields = entry == NULL ? 0 : entry->fields_count;
    struct reply **replies = new_replies(2 * fields + 1);
    for (size_t i = 0; i < fields; i++) {
        replies[2 * i] = reply_text(REPLY_BULK, view(entry->fields[i].name));
        replies[2 * i + 1] = reply_text(REPLY_BULK, view(entry->fields[i].value));
    }
    replies[2 * fields] = last;
    return reply_array(replies, 2 * fields + (last != NULL));
}

static struct reply *fn_sites(struct fake_redis *redis, const struct span *keys, size_t key_count,
                              const struct span *args)
{
    (void)key_count, (void)args;
    return list(redis, keys[0], reply_number(to_number(get_text(redis, keys[1]))));
}

static struct reply *call(struct fake_redis *redis, const struct span *args, size_t count)
{
    static const struct {
        const char *name;
        struct reply *(*function)(struct fake_redis *, const struct span *, size_t,
                                  const struct span *);
    } functions[] = {{"lahar_lease", fn_lease}, {"lahar_raise", fn_raise}, {"lahar_keep", fn_keep},
                     {"lahar_block", fn_block}, {"lahar_gid", fn_gid},     {"lahar_swap", fn_swap},
                     {"lahar_put", fn_put},     {"lahar_sites", fn_sites}};
    size_t keys = (size_t)to_number(args[2]);
    assert(keys > 0 && 3 + keys <= count);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (span_equal(args[1], span_text(functions[i].name)))
            return functions[i].function(redis, args + 3, keys, args + 3 + keys);
    assert(!"a function that the simulator does not know");
    return NULL;
}

/* ---- commands ---- */

static struct reply *do_set(struct fake_redis *redis, const struct span *args, size_t count)
{
    bool only_new = false;
    uint64_t expires_ms = NEVER;
    for (size_t i = 3; i < count; i++) {
        if (span_equal(args[i], span_text("NX")))
            only_new = true;
        else if (span_equal(args[i], span_text("PX")) && i + 1 < count)
            expires_ms = redis->now_ms + to_number(args[++i]);
        else
            assert(!"an option of SET that the simulator does not know");
    }
    const struct entry *there = find(redis, args[1]);
    if (only_new && there != NULL && there->set)
        return new_reply(REPLY_NIL);
    set_text(make(redis, args[1]), args[2], expires_ms);
    return reply_ok();
}

static struct reply *do_get(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)count;
    const struct entry *entry = find(redis, args[1]);
    if (entry == NULL || !entry->set)
        return new_reply(REPLY_NIL);
    return reply_text(REPLY_BULK, view(entry->value));
}

static struct reply *do_incrby(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)count;
    uint64_t number = to_number(get_text(redis, args[1])) + to_number(args[2]);
    set_number(redis, args[1], number);
    return reply_number(number);
}

static struct reply *do_hset(struct fake_redis *redis, const struct span *args, size_t count)
{
    assert(count >= 4 && count % 2 == 0);
    struct entry *entry = make(redis, args[1]);
    size_t before = entry->fields_count;
    for (size_t i = 2; i < count; i += 2)
        set_field(entry, args[i], args[i + 1]);
    return reply_number(entry->fields_count - before);
}

static struct reply *do_hdel(struct fake_redis *redis, const struct span *args, size_t count)
{
    struct entry *entry = make(redis, args[1]);
    size_t before = entry->fields_count;
    for (size_t i = 2; i < count; i++) {
        const struct field *field = field_of(entry, args[i]);
        if (field != NULL)
            drop_field(entry, (size_t)(field - entry->fields));
    }
    return reply_number(before - entry->fields_count);
}

static struct reply *do_hget(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)count;
    const struct field *field = field_of(find(redis, args[1]), args[2]);
    return field == NULL ? new_reply(REPLY_NIL) : reply_text(REPLY_BULK, view(field->value));
}

static struct reply *do_hgetall(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)count;
    return list(redis, args[1], NULL);
}

static struct reply *do_unlink(struct fake_redis *redis, const struct span *args, size_t count)
{
    uint64_t gone = 0;
    for (size_t i = 1; i < count; i++)
        if (find(redis, args[i]) != NULL)
            gone += clear(find(redis, args[i]));
    return reply_number(gone);
}

static struct reply *do_rename(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)count;
    const struct entry *there = find(redis, args[1]);
    if (there == NULL || (!there->set && there->fields_count == 0))
        return reply_error("ERR no such key");
    struct entry *to = make(redis, args[2]), *from = find(redis, args[1]);
    clear(to);
    to->value = from->value;
    to->set = from->set;
    to->expires_ms = from->expires_ms;
    to->fields = from->fields;
    to->fields_count = from->fields_count;
    from->value = (struct bytes){0};
    from->fields = NULL;
    from->fields_count = 0;
    from->set = false;
    return reply_ok();
}

static struct reply *do_config(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)redis, (void)count;
    if (span_equal(args[1], span_text("SET")))
        return reply_ok();
    struct reply **replies = new_replies(2);
    replies[0] = reply_text(REPLY_BULK, args[2]);
    replies[1] = reply_text(REPLY_BULK, span_text("128"));
    return reply_array(replies, 2);
}

static struct reply *do_function(struct fake_redis *redis, const struct span *args, size_t count)
{
    (void)redis, (void)args, (void)count;
    return reply_text(REPLY_BULK, span_text("lahar"));
}

struct reply *fake_redis_do(struct fake_redis *redis, const struct span *args, size_t count,
                            uint64_t now_ms)
{
    static const struct {
        const char *name;
        size_t args_min;
        struct reply *(*command)(struct fake_redis *, const struct span *, size_t);
    } commands[] = {{"HGETALL", 2, do_hgetall},  {"HSET", 4, do_hset},     {"HDEL", 3, do_hdel},
                    {"HGET", 3, do_hget},        {"UNLINK", 2, do_unlink}, {"DEL", 2, do_unlink},
                    {"RENAME", 3, do_rename},    {"GET", 2, do_get},       {"SET", 3, do_set},
                    {"INCRBY", 3, do_incrby},    {"FCALL", 4, call},       {"CONFIG", 3, do_config},
                    {"FUNCTION", 4, do_function}};
    redis->now_ms = now_ms;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (span_equal(args[0], span_text(commands[i].name)) && count >= commands[i].args_min)
            return commands[i].command(redis, args, count);
    assert(!"a command that the simulator does not know");
    return NULL;
}

void fake_redis_say(struct fake_redis *redis, const char *const *words, size_t count,
                    uint64_t now_ms)
{
    struct span args[8];
    assert(count <= sizeof args / sizeof *args);
    for (size_t i = 0; i < count; i++)
        args[i] = span_text(words[i]);
    fake_redis_reply_free(fake_redis_do(redis, args, count, now_ms));
}

/* ---- for the simulator ---- */

static bool contains(const struct entry *entry, const char *part)
{
    return memmem(entry->key.at, entry->key.len, part, strlen(part)) != NULL;
}

void fake_redis_lose(struct fake_redis *redis, const char *part)
{
    for (uint32_t i = 0; i < redis->used; i++)
        if (contains(&redis->entries[i], part))
            clear(&redis->entries[i]);
}

struct span fake_redis_field(const struct fake_redis *redis, struct span key, struct span name)
{
    const struct field *field = field_of(find(redis, key), name);
    return field == NULL ? (struct span){0} : view(field->value);
}

size_t fake_redis_fields(const struct fake_redis *redis, const char *part)
{
    size_t count = 0;
    for (uint32_t i = 0; i < redis->used; i++)
        if (contains(&redis->entries[i], part))
            count += redis->entries[i].fields_count;
    return count;
}
