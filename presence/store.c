#include "presence/store.h"

#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef LAHAR_SMALL
#define BUCKETS 2u
#else
#define BUCKETS 16u
#endif
#define FIELD_SIZE 16u
#define VALUE_SIZE 12u
#define FIELDS_MAX 64u /* of one command */
#define KEY_SIZE 96u
#define PREFIX_MAX 64u

enum tag_kind { TAG_LOAD, TAG_WRITE, TAG_ANEW };

/* A write that waits. */
struct write {
    uint64_t gid, device, session;
    uint32_t edge; /* 0: to be removed */
    uint32_t bucket;
    uint32_t next; /* in its bucket's chain */
};

/* A bucket with writes that wait. */
struct chain {
    uint32_t bucket; /* slot * BUCKETS + b */
    uint32_t first, last;
    uint32_t next; /* the bucket touched after it */
};

enum mark { CLEAN, TO_WRITE, FAILED };

struct store {
    struct store_options options;
    struct store_actions actions;
    void *ctx;
    struct presence *memory;
    struct store_counts counts;
    bool up;
    uint32_t in_flight;
    uint32_t connection; /* counts ups: replies of an earlier one are told apart */

    struct pool writes, chains;
    struct map write_of, chain_of;
    uint32_t chains_first, chains_last;

    bool owned[PRESENCE_SLOTS];
    uint8_t marks[PRESENCE_SLOTS];
    uint32_t mark_cursor;
    uint32_t anew_slot, anew_bucket; /* the slot that is being written anew, and its next bucket */
    struct presence_record *sorted;  /* one slot's records by bucket, while it is written anew */
    uint32_t sorted_room;

    bool loading, load_failed;
    bool load_anew;        /* it began on an earlier connection */
    uint32_t load_next;    /* bucket to ask for next */
    uint32_t load_awaited; /* asked, not answered */
};

struct command {
    char key[KEY_SIZE];
    uint8_t bytes[FIELDS_MAX][FIELD_SIZE + VALUE_SIZE];
    struct span args[2 + 2 * FIELDS_MAX];
    size_t count;
    uint32_t fields;
};

static uint64_t field_hash(uint64_t gid, uint64_t device)
{
    uint64_t x = (gid ^ device >> 29 ^ device << 35) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static uint32_t bucket_of(uint32_t slot, uint64_t hash)
{
    return slot * BUCKETS + (uint32_t)(hash / PRESENCE_SLOTS) % BUCKETS;
}

static uint64_t make_tag(const struct store *store, enum tag_kind kind, uint32_t bucket)
{
    return (uint64_t)kind << 48 | (uint64_t)(store->connection & 0xffff) << 32 | bucket;
}

struct store *store_new(const struct store_options *options, struct presence *memory,
                        const struct store_actions *actions, void *ctx)
{
    assert(strlen(options->prefix) <= PREFIX_MAX);
    assert(options->commands_max >= 1);
    struct store *store = calloc(1, sizeof *store);
    assert(store != NULL);
    store->options = *options;
    store->actions = *actions;
    store->ctx = ctx;
    store->memory = memory;
    pool_init(&store->writes, sizeof(struct write), options->queue_max);
    pool_init(&store->chains, sizeof(struct chain), options->queue_max);
    map_init(&store->write_of);
    map_init(&store->chain_of);
    store->chains_first = POOL_NONE;
    store->anew_slot = PRESENCE_SLOTS;
    return store;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    pool_free(&store->writes);
    pool_free(&store->chains);
    map_free(&store->write_of);
    map_free(&store->chain_of);
    free(store->sorted);
    free(store);
}

/* Commands. */

static struct span write_key(const struct store *store, char key[KEY_SIZE], uint32_t bucket,
                             const char *ending)
{
    int len = snprintf(key, KEY_SIZE, "%s{%u}p%u%s", store->options.prefix, bucket / BUCKETS,
                       bucket % BUCKETS, ending);
    assert(len > 0 && len < (int)KEY_SIZE);
    return span_of(key, (size_t)len);
}

static void command_begin(const struct store *store, struct command *command, const char *verb,
                          uint32_t bucket, const char *ending)
{
    command->args[0] = span_text(verb);
    command->args[1] = write_key(store, command->key, bucket, ending);
    command->count = 2;
    command->fields = 0;
}

static void command_add(struct command *command, uint64_t gid, uint64_t device, uint32_t edge,
                        uint64_t session, bool with_value)
{
    assert(command->fields < FIELDS_MAX);
    uint8_t *at = command->bytes[command->fields++];
    uint64_t longs[2] = {htole64(gid), htole64(device)};
    memcpy(at, longs, FIELD_SIZE);
    command->args[command->count++] = span_of(at, FIELD_SIZE);
    if (!with_value)
        return;
    uint32_t edge_bytes = htole32(edge);
    uint64_t session_bytes = htole64(session);
    memcpy(at + FIELD_SIZE, &edge_bytes, sizeof edge_bytes);
    memcpy(at + FIELD_SIZE + sizeof edge_bytes, &session_bytes, sizeof session_bytes);
    command->args[command->count++] = span_of(at + FIELD_SIZE, VALUE_SIZE);
}

static bool issue(struct store *store, const struct span *args, size_t count, uint64_t tag)
{
    if (!store->up || !store->actions.command(store->ctx, args, count, tag))
        return false;
    store->in_flight++;
    store->counts.commands++;
    return true;
}

/* The queue. */

static void mark(struct store *store, uint32_t slot, enum mark as)
{
    if (!store->owned[slot])
        return;
    if (store->marks[slot] == CLEAN)
        store->counts.slots_to_write++;
    if (slot == store->anew_slot)
        store->anew_slot = PRESENCE_SLOTS;
    store->marks[slot] = (uint8_t)as;
}

static void unmark(struct store *store, uint32_t slot)
{
    if (store->marks[slot] != CLEAN)
        store->counts.slots_to_write--;
    store->marks[slot] = CLEAN;
}

static bool same_write(const void *ctx, uint32_t index, const void *key)
{
    const struct store *store = ctx;
    const struct write *a = pool_at(&store->writes, index), *b = key;
    return a->gid == b->gid && a->device == b->device;
}

static bool same_chain(const void *ctx, uint32_t index, const void *key)
{
    const struct store *store = ctx;
    const struct chain *chain = pool_at(&store->chains, index);
    return chain->bucket == *(const uint32_t *)key;
}

static uint64_t bucket_hash(uint32_t bucket)
{
    return bucket * UINT64_C(0x9e3779b97f4a7c15);
}

static struct chain *chain_for(struct store *store, uint32_t bucket)
{
    uint32_t index = map_find(&store->chain_of, bucket_hash(bucket), same_chain, store, &bucket);
    if (index != MAP_NONE)
        return pool_at(&store->chains, index);
    index = pool_take(&store->chains);
    assert(index != POOL_NONE); /* there are never more chains than writes */
    struct chain *chain = pool_at(&store->chains, index);
    *chain = (struct chain){bucket, POOL_NONE, POOL_NONE, POOL_NONE};
    map_add(&store->chain_of, bucket_hash(bucket), index);
    if (store->chains_first == POOL_NONE) {
        store->chains_first = index;
    } else {
        struct chain *last = pool_at(&store->chains, store->chains_last);
        last->next = index;
    }
    store->chains_last = index;
    return chain;
}

static void chain_first_write_done(struct store *store, struct chain *chain)
{
    uint32_t index = chain->first;
    const struct write *write = pool_at(&store->writes, index);
    chain->first = write->next;
    map_remove(&store->write_of, field_hash(write->gid, write->device), index);
    pool_give(&store->writes, index);
    store->counts.queued--;
}

static void first_chain_done(struct store *store)
{
    uint32_t index = store->chains_first;
    const struct chain *chain = pool_at(&store->chains, index);
    assert(chain->first == POOL_NONE);
    store->chains_first = chain->next;
    map_remove(&store->chain_of, bucket_hash(chain->bucket), index);
    pool_give(&store->chains, index);
}

static void drop_queue(struct store *store)
{
    store->counts.dropped += store->counts.queued;
    while (store->chains_first != POOL_NONE) {
        struct chain *chain = pool_at(&store->chains, store->chains_first);
        mark(store, chain->bucket / BUCKETS, TO_WRITE);
        while (chain->first != POOL_NONE)
            chain_first_write_done(store, chain);
        first_chain_done(store);
    }
}

static void enqueue(struct store *store, uint32_t slot, const struct write *write)
{
    if (!store->owned[slot])
        return;
    if (store->marks[slot] != CLEAN && slot != store->anew_slot)
        return; /* it will be written from memory */
    if (!store->up) {
        store->counts.dropped++;
        mark(store, slot, TO_WRITE);
        return;
    }
    uint64_t hash = field_hash(write->gid, write->device);
    uint32_t index = map_find(&store->write_of, hash, same_write, store, write);
    if (index != MAP_NONE) {
        struct write *queued = pool_at(&store->writes, index);
        queued->edge = write->edge;
        queued->session = write->session;
        return;
    }
    index = pool_take(&store->writes);
    if (index == POOL_NONE) {
        drop_queue(store);
        store->counts.dropped++;
        mark(store, slot, TO_WRITE);
        return;
    }
    struct write *queued = pool_at(&store->writes, index);
    *queued = *write;
    queued->next = POOL_NONE;
    map_add(&store->write_of, hash, index);
    store->counts.queued++;
    struct chain *chain = chain_for(store, write->bucket);
    if (chain->first == POOL_NONE) {
        chain->first = index;
    } else {
        struct write *last = pool_at(&store->writes, chain->last);
        last->next = index;
    }
    chain->last = index;
}

void store_put(struct store *store, uint32_t slot, uint64_t hash,
               const struct presence_record *record)
{
    assert(slot < PRESENCE_SLOTS && record->edge != 0);
    struct write write = {.gid = record->gid,
                          .device = record->device,
                          .session = record->session,
                          .edge = record->edge,
                          .bucket = bucket_of(slot, hash)};
    enqueue(store, slot, &write);
}

void store_remove(struct store *store, uint32_t slot, uint64_t hash, uint64_t gid, uint64_t device)
{
    assert(slot < PRESENCE_SLOTS);
    struct write write = {.gid = gid, .device = device, .bucket = bucket_of(slot, hash)};
    enqueue(store, slot, &write);
}

/* Up to FIELDS_MAX writes of one bucket leave; what could not be issued stays queued, and is issued
 * again as a whole. */
static bool flush_some(struct store *store, struct chain *chain)
{
    struct command set, del;
    command_begin(store, &set, "HSET", chain->bucket, "");
    command_begin(store, &del, "HDEL", chain->bucket, "");
    uint32_t at = chain->first;
    for (uint32_t n = 0; n < FIELDS_MAX && at != POOL_NONE; n++) {
        const struct write *write = pool_at(&store->writes, at);
        bool put = write->edge != 0;
        command_add(put ? &set : &del, write->gid, write->device, write->edge, write->session, put);
        at = write->next;
    }
    uint64_t tag = make_tag(store, TAG_WRITE, chain->bucket);
    if (set.fields > 0 && !issue(store, set.args, set.count, tag))
        return false;
    if (del.fields > 0 && !issue(store, del.args, del.count, tag))
        return false;
    store->counts.writes += set.fields + del.fields;
    while (chain->first != at)
        chain_first_write_done(store, chain);
    return true;
}

static bool room_for(const struct store *store, uint32_t commands)
{
    return store->in_flight + commands <= store->options.commands_max;
}

static bool flush_queue(struct store *store)
{
    while (store->chains_first != POOL_NONE) {
        struct chain *chain = pool_at(&store->chains, store->chains_first);
        while (chain->first != POOL_NONE)
            if (!room_for(store, 2) || !flush_some(store, chain))
                return false;
        first_chain_done(store);
    }
    return true;
}

/* Writing slots anew. */

/* The slot's records in the order of their buckets; `begins` gets where each bucket begins, and the
 * end. */
static void sort_slot(struct store *store, uint32_t slot, uint32_t begins[BUCKETS + 1])
{
    uint32_t count = presence_slot_count(store->memory, slot), ends[BUCKETS] = {0};
    if (count > store->sorted_room) {
        free(store->sorted);
        store->sorted = malloc(count * sizeof *store->sorted);
        assert(store->sorted != NULL);
        store->sorted_room = count;
    }
    struct presence_record record;
    for (uint32_t cursor = 0; presence_walk(store->memory, slot, &cursor, &record);)
        ends[bucket_of(0, presence_hash(store->memory, record.gid))]++;
    begins[0] = 0;
    for (uint32_t b = 0; b < BUCKETS; b++) {
        begins[b + 1] = begins[b] + ends[b];
        ends[b] = begins[b];
    }
    for (uint32_t cursor = 0; presence_walk(store->memory, slot, &cursor, &record);)
        store->sorted[ends[bucket_of(0, presence_hash(store->memory, record.gid))]++] = record;
}

/* Buckets without a record, from `b` on, go in one command. */
static bool unlink_empty(struct store *store, uint32_t slot, uint32_t b,
                         const uint32_t begins[BUCKETS + 1])
{
    char keys[BUCKETS][KEY_SIZE];
    struct span args[1 + BUCKETS] = {span_text("UNLINK")};
    size_t count = 1;
    for (; b < BUCKETS; b++)
        if (begins[b] == begins[b + 1])
            args[count++] = write_key(store, keys[b], slot * BUCKETS + b, "");
    return count == 1 || issue(store, args, count, make_tag(store, TAG_ANEW, slot * BUCKETS));
}

static bool write_bucket(struct store *store, uint32_t bucket,
                         const struct presence_record *records, uint32_t count)
{
    uint64_t tag = make_tag(store, TAG_ANEW, bucket);
    struct command command;
    command_begin(store, &command, "UNLINK", bucket, "~");
    if (!issue(store, command.args, command.count, tag))
        return false;
    for (uint32_t done = 0; done < count; done += command.fields) {
        command_begin(store, &command, "HSET", bucket, "~");
        while (command.fields < FIELDS_MAX && done + command.fields < count) {
            const struct presence_record *record = &records[done + command.fields];
            command_add(&command, record->gid, record->device, record->edge, record->session, true);
        }
        if (!issue(store, command.args, command.count, tag))
            return false;
        store->counts.writes += command.fields;
    }
    char final[KEY_SIZE];
    command_begin(store, &command, "RENAME", bucket, "~");
    command.args[command.count++] = write_key(store, final, bucket, "");
    return issue(store, command.args, command.count, tag);
}

/* False: not all of it could leave; it is gone on with where it stopped, after what was queued
 * meanwhile. */
static bool write_slot(struct store *store, uint32_t slot)
{
    uint32_t begins[BUCKETS + 1];
    sort_slot(store, slot, begins);
    if (store->anew_slot != slot)
        store->anew_bucket = 0;
    store->anew_slot = slot;
    if (!room_for(store, 1) || !unlink_empty(store, slot, store->anew_bucket, begins))
        return false;
    for (; store->anew_bucket < BUCKETS; store->anew_bucket++) {
        uint32_t b = store->anew_bucket, count = begins[b + 1] - begins[b];
        uint32_t needed = count == 0 ? 0 : 2 + (count + FIELDS_MAX - 1) / FIELDS_MAX;
        if (!room_for(store, needed) && store->in_flight > 0)
            return false;
        if (count > 0 && !write_bucket(store, slot * BUCKETS + b, store->sorted + begins[b], count))
            return false;
    }
    unmark(store, slot);
    store->anew_slot = PRESENCE_SLOTS;
    store->counts.slots_written++;
    return true;
}

static void write_slots(struct store *store)
{
    for (uint32_t n = 0; n < PRESENCE_SLOTS && store->counts.slots_to_write > 0; n++) {
        uint32_t slot = store->mark_cursor;
        if (store->marks[slot] == TO_WRITE && !write_slot(store, slot))
            return;
        store->mark_cursor = (slot + 1) % PRESENCE_SLOTS;
    }
}

void store_retry(struct store *store)
{
    for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++)
        if (store->marks[slot] == FAILED)
            store->marks[slot] = TO_WRITE;
    if (store->load_failed && store->up) {
        store->load_failed = false;
        store->load_next = 0;
    }
}

/* Loading. */

static void load_more(struct store *store)
{
    while (!store->load_failed && store->load_next < PRESENCE_SLOTS * BUCKETS) {
        if (!store->owned[store->load_next / BUCKETS]) {
            store->load_next += BUCKETS;
            continue;
        }
        struct command command;
        command_begin(store, &command, "HGETALL", store->load_next, "");
        if (!room_for(store, 1) ||
            !issue(store, command.args, command.count, make_tag(store, TAG_LOAD, store->load_next)))
            return;
        store->load_awaited++;
        store->load_next++;
    }
    if (store->load_failed || store->load_awaited > 0)
        return;
    store->loading = false;
    /* What was loaded before the connection was lost may be gone from Redis since. */
    for (uint32_t slot = 0; store->load_anew && slot < PRESENCE_SLOTS; slot++)
        mark(store, slot, TO_WRITE);
    store->actions.load_done(store->ctx);
}

static void take_loaded(struct store *store, uint32_t bucket, const struct reply *reply)
{
    for (size_t i = 0; i + 1 < reply->len; i += 2) {
        struct span field = reply->at[i]->text, value = reply->at[i + 1]->text;
        if (field.len != FIELD_SIZE || value.len != VALUE_SIZE)
            continue;
        uint64_t longs[2], session;
        uint32_t edge;
        memcpy(longs, field.at, sizeof longs);
        memcpy(&edge, value.at, sizeof edge);
        memcpy(&session, value.at + sizeof edge, sizeof session);
        struct presence_record record = {.gid = le64toh(longs[0]),
                                         .device = le64toh(longs[1]),
                                         .session = le64toh(session),
                                         .edge = le32toh(edge) & PRESENCE_EDGE_MAX,
                                         .dseq = PRESENCE_LIKELY};
        uint64_t hash = presence_hash(store->memory, record.gid);
        if (record.edge == 0 || bucket_of(presence_slot(hash), hash) != bucket)
            continue;
        store->actions.loaded(store->ctx, bucket / BUCKETS, &record);
    }
}

void store_load(struct store *store, const bool owned[PRESENCE_SLOTS])
{
    store_forget(store);
    memcpy(store->owned, owned, sizeof store->owned);
    store->loading = true;
}

void store_forget(struct store *store)
{
    drop_queue(store);
    memset(store->owned, 0, sizeof store->owned);
    memset(store->marks, CLEAN, sizeof store->marks);
    store->counts.slots_to_write = 0;
    store->anew_slot = PRESENCE_SLOTS;
    store->loading = store->load_failed = store->load_anew = false;
    store->load_next = store->load_awaited = 0;
    /* What is still in flight belongs to what was before. */
    store->connection++;
}

/* The connection. */

void store_up(struct store *store)
{
    store->up = true;
    store->connection++;
    store->load_failed = false;
    store->load_anew |= store->loading && store->load_next > 0;
    store->load_next = store->load_awaited = 0;
    if (store->loading)
        return;
    drop_queue(store);
    for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++)
        mark(store, slot, TO_WRITE);
}

void store_down(struct store *store)
{
    store->up = false;
    drop_queue(store);
}

void store_reply(struct store *store, uint64_t tag, const struct reply *reply)
{
    assert(store->in_flight > 0);
    store->in_flight--;
    uint32_t bucket = (uint32_t)tag;
    bool of_old = (tag >> 32 & 0xffff) != (store->connection & 0xffff);
    bool failed = reply == NULL || reply->kind == REPLY_ERROR;
    if (reply != NULL && failed) {
        store->counts.errors++;
        log_warn(tag >> 48 == TAG_LOAD ? "presence_load_failed" : "presence_write_failed",
                 LOG_SPAN("error", reply->text));
    }
    if (of_old)
        return;
    if (tag >> 48 != TAG_LOAD) {
        if (failed)
            mark(store, bucket / BUCKETS, FAILED);
        return;
    }
    store->load_awaited--;
    if (failed)
        store->load_failed = true;
    else if (reply->kind == REPLY_ARRAY)
        take_loaded(store, bucket, reply);
}

void store_flush(struct store *store)
{
    if (!store->up)
        return;
    if (store->loading)
        load_more(store);
    if (!store->loading && flush_queue(store))
        write_slots(store);
}

const struct store_counts *store_counts(const struct store *store)
{
    return &store->counts;
}
