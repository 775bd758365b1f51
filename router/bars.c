#include "router/bars.h"

#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE 96u
#define LOADING_MAX 1024u /* at once */
#define FIELD_SIZE 16u
#define WRITES_A_TICK 1000u
#define LOOKED_AT_A_TICK 10000u
#define RETRY_MS 1000u

enum tag_kind { TAG_LOAD, TAG_WRITE, TAG_DROP };

enum slot_state { SLOT_NOT_OURS, SLOT_WANTED, SLOT_ASKED, SLOT_LOADED };

struct entry {
    uint64_t gid, device; /* gid 0: not used */
    struct bar bar;
    uint64_t token; /* who waits for it to be written */
    bool dirty;     /* to be written */
};

struct bars {
    struct bars_options options;
    uint64_t beyond; /* not remembered, as there were too many */
    char prefix[KEY_SIZE];
    struct bars_actions actions;
    void *ctx;
    bool up;
    uint32_t generation; /* of connections and of ownership */
    uint64_t wall_ms;

    uint8_t slots[GID_SLOTS];  /* enum slot_state */
    uint32_t to_load, loading; /* not loaded yet; and those of them that are asked for */
    uint32_t next_slot;        /* to ask for */

    struct pool entries;
    struct map by_name;
    uint32_t dirty, cursor;
    bool refused; /* by Redis, the last time */
    uint64_t retry_ms;
};

struct bars *bars_new(const struct bars_options *options, const struct bars_actions *actions,
                      void *ctx)
{
    struct bars *bars = calloc(1, sizeof *bars);
    assert(bars != NULL);
    bars->options = *options;
    int len = snprintf(bars->prefix, KEY_SIZE, "%s", options->prefix);
    assert(len >= 0 && len < (int)KEY_SIZE - 16);
    bars->actions = *actions;
    bars->ctx = ctx;
    pool_init(&bars->entries, sizeof(struct entry), options->bars_max);
    map_init(&bars->by_name);
    return bars;
}

void bars_free(struct bars *bars)
{
    if (bars == NULL)
        return;
    map_free(&bars->by_name);
    pool_free(&bars->entries);
    free(bars);
}

/* --- the table -------------------------------------------------------------------------------- */

struct name {
    uint64_t gid, device;
};

static uint64_t hash_of(struct name name)
{
    return gid_hash(name.gid) ^ name.device;
}

static struct entry *entry_at(const struct bars *bars, uint32_t index)
{
    return pool_at(&bars->entries, index);
}

static bool same_name(const void *ctx, uint32_t index, const void *key)
{
    const struct entry *entry = entry_at(ctx, index);
    const struct name *name = key;
    return entry->gid == name->gid && entry->device == name->device;
}

static uint32_t find(const struct bars *bars, struct name name)
{
    return map_find(&bars->by_name, hash_of(name), same_name, bars, &name);
}

static uint32_t find_or_add(struct bars *bars, struct name name)
{
    uint32_t index = find(bars, name);
    if (index != MAP_NONE)
        return index;
    index = pool_take(&bars->entries);
    if (index == POOL_NONE) {
        bars->beyond++;
        return MAP_NONE;
    }
    *entry_at(bars, index) =
        (struct entry){.gid = name.gid, .device = name.device, .token = BARS_NO_TOKEN};
    map_add(&bars->by_name, hash_of(name), index);
    return index;
}

static void set_dirty(struct bars *bars, struct entry *entry, bool dirty)
{
    bars->dirty += dirty;
    bars->dirty -= entry->dirty;
    entry->dirty = dirty;
}

static void say_written(struct bars *bars, struct entry *entry, const char *error)
{
    uint64_t token = entry->token;
    entry->token = BARS_NO_TOKEN;
    if (token != BARS_NO_TOKEN)
        bars->actions.written(bars->ctx, token, error);
}

static void drop(struct bars *bars, uint32_t index)
{
    struct entry *entry = entry_at(bars, index);
    set_dirty(bars, entry, false);
    say_written(bars, entry, "this shard no longer owns that GID");
    map_remove(&bars->by_name, hash_of((struct name){entry->gid, entry->device}), index);
    *entry = (struct entry){0};
    pool_give(&bars->entries, index);
}

struct bar bars_find(const struct bars *bars, uint64_t gid, uint64_t device)
{
    struct bar found = {0};
    if (bars->entries.in_use == 0)
        return found;
    const struct name names[] = {{gid, 0}, {gid, device}};
    for (size_t i = 0; i < 2; i++) {
        uint32_t index = find(bars, names[i]);
        if (index == MAP_NONE)
            continue;
        const struct bar *bar = &entry_at(bars, index)->bar;
        found.not_before = bar->not_before > found.not_before ? bar->not_before : found.not_before;
        found.session = bar->session > found.session ? bar->session : found.session;
    }
    return found;
}

uint64_t bars_beyond(const struct bars *bars)
{
    return bars->beyond;
}

uint64_t bars_count(const struct bars *bars)
{
    return bars->entries.in_use;
}

/* --- commands --------------------------------------------------------------------------------- */

static bool issue(struct bars *bars, const struct span *args, size_t count, enum tag_kind kind,
                  uint32_t index)
{
    uint64_t tag =
        (uint64_t)kind | (uint64_t)(bars->generation & 0xffff) << 8 | (uint64_t)index << 24;
    return bars->up && bars->actions.command(bars->ctx, args, count, tag);
}

static struct span key_of(const struct bars *bars, uint32_t slot, const char *ending,
                          char key[KEY_SIZE])
{
    int len = snprintf(key, KEY_SIZE, "%s{%u}%s", bars->prefix, slot, ending);
    assert(len > 0 && len < (int)KEY_SIZE);
    return span_of(key, (size_t)len);
}

static void load(struct bars *bars)
{
    for (; bars->next_slot < GID_SLOTS && bars->loading < LOADING_MAX; bars->next_slot++) {
        char key[KEY_SIZE];
        struct span args[] = {span_text("HGETALL"), key_of(bars, bars->next_slot, "bars", key)};
        if (bars->slots[bars->next_slot] != SLOT_WANTED)
            continue;
        if (!issue(bars, args, 2, TAG_LOAD, bars->next_slot))
            return;
        bars->slots[bars->next_slot] = SLOT_ASKED;
        bars->loading++;
    }
}

static void pack(uint8_t bytes[FIELD_SIZE], uint64_t first, uint64_t second)
{
    first = htole64(first);
    second = htole64(second);
    memcpy(bytes, &first, sizeof first);
    memcpy(bytes + sizeof first, &second, sizeof second);
}

static struct name unpack(struct span bytes)
{
    struct name name;
    memcpy(&name, bytes.at, sizeof name);
    return (struct name){le64toh(name.gid), le64toh(name.device)};
}

/* `value` empty: removes it. */
static bool put(struct bars *bars, uint32_t index, struct span value, enum tag_kind kind)
{
    const struct entry *entry = entry_at(bars, index);
    uint32_t slot = gid_slot(entry->gid);
    char key[KEY_SIZE], fence[KEY_SIZE], epoch[12];
    uint8_t field[FIELD_SIZE];
    pack(field, entry->gid, entry->device);
    snprintf(epoch, sizeof epoch, "%u", bars->actions.epoch(bars->ctx, slot));
    struct span args[] = {span_text("FCALL"),
                          span_text("lahar_put"),
                          span_text("2"),
                          key_of(bars, slot, "bars", key),
                          key_of(bars, slot, "fence", fence),
                          span_text(epoch),
                          span_of(field, sizeof field),
                          value};
    return bars->actions.may_write(bars->ctx) && issue(bars, args, 8, kind, index);
}

static bool write_entry(struct bars *bars, uint32_t index)
{
    const struct entry *entry = entry_at(bars, index);
    uint8_t value[FIELD_SIZE];
    pack(value, entry->bar.not_before, entry->bar.session);
    return put(bars, index, span_of(value, sizeof value), TAG_WRITE);
}

/* Not by one who was the owner: there may be a newer one in its place. */
static bool remove_entry(struct bars *bars, uint32_t index)
{
    return put(bars, index, (struct span){0}, TAG_DROP);
}

/* --- replies ---------------------------------------------------------------------------------- */

static void on_loaded(struct bars *bars, uint32_t slot, const struct reply *reply)
{
    assert(slot < GID_SLOTS);
    if (bars->slots[slot] != SLOT_ASKED)
        return;
    bars->loading--;
    if (reply == NULL || reply->kind != REPLY_ARRAY) {
        bars->slots[slot] = SLOT_WANTED;
        bars->next_slot = slot < bars->next_slot ? slot : bars->next_slot;
        return; /* the next tick tries again */
    }
    bars->slots[slot] = SLOT_LOADED;
    bars->to_load--;
    load(bars);
    for (size_t i = 0; i + 1 < reply->len; i += 2) {
        struct span field = reply->at[i]->text, value = reply->at[i + 1]->text;
        if (field.len != FIELD_SIZE || value.len != FIELD_SIZE)
            continue;
        struct name name = unpack(field), bar = unpack(value);
        if (!gid_valid(name.gid) || gid_slot(name.gid) != slot)
            continue;
        uint32_t index = find_or_add(bars, name);
        if (index == MAP_NONE) {
            log_error("too_many_bars", LOG_UNSIGNED("limit", bars->options.bars_max));
            return;
        }
        struct entry *entry = entry_at(bars, index);
        if (bar.gid > entry->bar.not_before)
            entry->bar = (struct bar){.not_before = bar.gid, .session = bar.device};
    }
}

static void on_written(struct bars *bars, uint32_t index, const struct reply *reply)
{
    if (index >= bars->entries.used_high || entry_at(bars, index)->gid == 0)
        return;
    struct entry *entry = entry_at(bars, index);
    if (reply != NULL && reply->kind == REPLY_INTEGER) {
        bars->refused = false;
        say_written(bars, entry, NULL);
        return;
    }
    if (reply == NULL) {
        set_dirty(bars, entry, true);
        say_written(bars, entry,
                    "Redis went away; it is written when it is back, unless this "
                    "shard ends before");
        return;
    }
    if (!bars->refused)
        log_warn("bar_refused", LOG_SPAN("error", reply->text));
    bars->refused = true;
    bars->retry_ms = bars->wall_ms + RETRY_MS;
    set_dirty(bars, entry, true);
    say_written(bars, entry,
                "Redis refused it; it is tried again each second, unless this shard ends before");
}

void bars_reply(struct bars *bars, uint64_t tag, const struct reply *reply)
{
    if ((tag >> 8 & 0xffff) != (bars->generation & 0xffff))
        return;
    uint32_t index = (uint32_t)(tag >> 24);
    if ((tag & 0xff) == TAG_LOAD)
        on_loaded(bars, index, reply);
    else if ((tag & 0xff) == TAG_WRITE)
        on_written(bars, index, reply);
}

/* --- events ----------------------------------------------------------------------------------- */

void bars_own(struct bars *bars, const bool owned[GID_SLOTS])
{
    bars_forget(bars);
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        bars->slots[slot] = owned[slot] ? SLOT_WANTED : SLOT_NOT_OURS;
        bars->to_load += owned[slot];
    }
    load(bars);
}

void bars_forget(struct bars *bars)
{
    bars->generation++;
    memset(bars->slots, SLOT_NOT_OURS, sizeof bars->slots);
    bars->to_load = bars->loading = bars->next_slot = 0;
    for (uint32_t index = 0; index < bars->entries.used_high; index++)
        if (entry_at(bars, index)->gid != 0)
            drop(bars, index);
}

/* Of what is not ours nobody asks. */
bool bars_ready(const struct bars *bars)
{
    return bars->to_load == 0;
}

void bars_up(struct bars *bars)
{
    bars->up = true;
    bars->generation++;
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++)
        if (bars->slots[slot] == SLOT_ASKED)
            bars->slots[slot] = SLOT_WANTED;
    bars->loading = bars->next_slot = 0;
    bars_restore(bars);
    load(bars);
}

void bars_restore(struct bars *bars)
{
    bars->retry_ms = 0;
    for (uint32_t index = 0; index < bars->entries.used_high; index++)
        if (entry_at(bars, index)->gid != 0)
            set_dirty(bars, entry_at(bars, index), true);
}

void bars_down(struct bars *bars)
{
    bars->up = false;
    for (uint32_t index = 0; index < bars->entries.used_high; index++) {
        struct entry *entry = entry_at(bars, index);
        if (entry->gid != 0)
            say_written(bars, entry,
                        "Redis went away; it is written when it is back, unless this "
                        "shard ends before");
    }
}

bool bars_set(struct bars *bars, uint64_t gid, uint64_t device, const struct bar *bar,
              uint64_t token)
{
    uint32_t index = find_or_add(bars, (struct name){gid, device});
    if (index == MAP_NONE)
        return false;
    struct entry *entry = entry_at(bars, index);
    say_written(bars, entry, NULL); /* the one that follows says as much */
    entry->bar = *bar;
    entry->token = token;
    set_dirty(bars, entry, !write_entry(bars, index));
    if (entry->dirty)
        say_written(bars, entry,
                    "Redis is away; it is written when it is back, unless this shard "
                    "ends before");
    return true;
}

static bool is_over(const struct bars *bars, const struct entry *entry)
{
    return bars->wall_ms / 1000 > entry->bar.not_before + bars->options.life_s;
}

void bars_tick(struct bars *bars, uint64_t wall_ms)
{
    bars->wall_ms = wall_ms;
    if (!bars->up)
        return;
    load(bars);
    if (wall_ms < bars->retry_ms && bars->retry_ms - wall_ms <= RETRY_MS)
        return;
    uint32_t written = 0;
    for (uint32_t looked = 0;
         looked < LOOKED_AT_A_TICK && looked < bars->entries.used_high && written < WRITES_A_TICK;
         looked++) {
        uint32_t index = bars->cursor++ % bars->entries.used_high;
        struct entry *entry = entry_at(bars, index);
        if (entry->gid == 0)
            continue;
        if (is_over(bars, entry)) {
            if (!remove_entry(bars, index))
                return;
            drop(bars, index);
            written++;
        } else if (entry->dirty) {
            if (!write_entry(bars, index))
                return;
            set_dirty(bars, entry, false);
            written++;
        }
    }
}
