#include "edge/share.h"

#include <stdlib.h>

struct entry {
    struct share_amounts limit, held;
    struct share_amounts wanted; /* in this second; connections: refused */
    struct share_amounts before; /* in the one before */
    struct bucket sends, logins;
    uint32_t connections;       /* counted with or without a limit: one may be set */
    uint32_t edges;             /* among so many; 0: never told */
    uint64_t asked_ms, told_ms; /* the shard, and by it; 0: never since it was idle */
    uint64_t used_ms;
    bool limited, asks;
};

struct share_table {
    struct entry *entries; /* by site */
    uint32_t count;
    uint32_t *asking; /* sites to be told of out of turn */
    uint32_t asking_count, asking_room;
    struct share_amounts used, most; /* of the fullest: so far, and its share */
    struct share_amounts shown_used, shown_most;
};

struct share_table *share_table_new(void)
{
    struct share_table *table = calloc(1, sizeof *table);
    assert(table != NULL);
    return table;
}

void share_table_free(struct share_table *table)
{
    if (table == NULL)
        return;
    free(table->entries);
    free(table->asking);
    free(table);
}

static struct entry *entry_of(struct share_table *table, uint32_t site)
{
    if (site >= table->count) {
        uint32_t count = site + 1 > table->count * 2 ? site + 1 : table->count * 2;
        table->entries = realloc(table->entries, count * sizeof *table->entries);
        assert(table->entries != NULL);
        memset(table->entries + table->count, 0, (count - table->count) * sizeof *table->entries);
        table->count = count;
    }
    return &table->entries[site];
}

static uint32_t part(uint32_t limit, uint32_t of)
{
    return limit == 0 ? 0 : limit > of ? limit / of : 1;
}

/* The shard has forgotten us by then. */
static void wake(struct entry *entry, uint64_t now_ms)
{
    if (now_ms - entry->used_ms >= SHARE_IDLE_MS) {
        entry->edges = 0;
        entry->asked_ms = entry->told_ms = 0;
        for (size_t kind = 0; kind < SHARE_KINDS; kind++) {
            uint32_t first = part(entry->limit.of[kind], SHARE_FIRST_PART);
            if (entry->held.of[kind] > first)
                entry->held.of[kind] = first;
        }
    }
    entry->used_ms = now_ms;
}

static void ask(struct share_table *table, uint32_t site)
{
    struct entry *entry = &table->entries[site];
    if (!entry->limited || entry->asks)
        return;
    if (table->asking_count == table->asking_room) {
        table->asking_room = table->asking_room == 0 ? 16 : table->asking_room * 2;
        table->asking = realloc(table->asking, table->asking_room * sizeof *table->asking);
        assert(table->asking != NULL);
    }
    entry->asks = true;
    table->asking[table->asking_count++] = site;
}

/* Not while an answer is on its way, and not all the time. */
static void ask_for_more(struct share_table *table, uint32_t site, uint64_t now_ms)
{
    const struct entry *entry = &table->entries[site];
    bool awaited = entry->told_ms < entry->asked_ms;
    bool soon = entry->asked_ms != 0 && now_ms - entry->asked_ms < SHARE_ASK_MS;
    if (!awaited && !soon)
        ask(table, site);
}

void share_limit(struct share_table *table, uint32_t site, const struct share_amounts *limit,
                 uint64_t now_ms)
{
    struct entry *entry = entry_of(table, site);
    wake(entry, now_ms);
    entry->limited = false;
    for (size_t kind = 0; kind < SHARE_KINDS; kind++) {
        uint32_t most = limit->of[kind], first = part(most, SHARE_FIRST_PART);
        bool fresh = entry->edges == 0 || entry->limit.of[kind] == 0;
        uint32_t held = fresh ? first : entry->held.of[kind];
        entry->held.of[kind] = held < most ? held : most;
        entry->limited = entry->limited || most != 0;
    }
    entry->limit = *limit;
}

void share_told(struct share_table *table, uint32_t site, const struct share_amounts *share,
                uint32_t edges, uint64_t now_ms)
{
    struct entry *entry = entry_of(table, site);
    bool less = false;
    for (size_t kind = 0; kind < SHARE_KINDS; kind++) {
        uint32_t most = entry->limit.of[kind];
        uint32_t held = share->of[kind] < most ? share->of[kind] : most;
        less = less || held < entry->held.of[kind];
        entry->held.of[kind] = held;
    }
    if (less) /* it is worth nothing to others before we have said that we gave it up */
        ask(table, site);
    entry->edges = edges == 0 ? 1 : edges;
    entry->told_ms = now_ms;
}

/* 0, or how long to wait. */
static uint32_t take(struct share_table *table, uint32_t site, enum share_kind kind,
                     uint64_t now_ms)
{
    struct entry *entry = &table->entries[site];
    if (entry->limit.of[kind] == 0)
        return 0;
    entry->wanted.of[kind]++;
    uint32_t held = entry->held.of[kind];
    struct bucket_rate rate = {held, held < BUCKET_BURST_MAX ? held : BUCKET_BURST_MAX};
    struct bucket *bucket = kind == SHARE_SENDS ? &entry->sends : &entry->logins;
    uint32_t wait_ms = held == 0 ? 1000 : bucket_take(bucket, rate, (uint32_t)now_ms);
    if (wait_ms != 0 || entry->asked_ms == 0)
        ask_for_more(table, site, now_ms);
    return wait_ms;
}

enum limit share_login(struct share_table *table, uint32_t site, uint64_t now_ms)
{
    struct entry *entry = entry_of(table, site);
    wake(entry, now_ms);
    if (entry->limit.of[SHARE_CONNECTIONS] != 0 &&
        entry->connections >= entry->held.of[SHARE_CONNECTIONS]) {
        entry->wanted.of[SHARE_CONNECTIONS]++;
        ask_for_more(table, site, now_ms);
        return LIMIT_SITE_CONNECTIONS;
    }
    if (take(table, site, SHARE_LOGINS, now_ms) != 0)
        return LIMIT_SITE_LOGINS;
    if (entry->asked_ms == 0)
        ask_for_more(table, site, now_ms); /* of connections, or sends to come */
    entry->connections++;
    return LIMIT_NONE;
}

void share_leave(struct share_table *table, uint32_t site)
{
    struct entry *entry = entry_of(table, site);
    assert(entry->connections > 0);
    entry->connections--;
}

uint32_t share_send(struct share_table *table, uint32_t site, uint64_t now_ms)
{
    wake(entry_of(table, site), now_ms);
    return take(table, site, SHARE_SENDS, now_ms);
}

static void be_careful(struct entry *entry, uint64_t now_ms)
{
    if (entry->edges == 0 || now_ms - entry->told_ms < SHARE_SILENCE_MS)
        return;
    for (size_t kind = 0; kind < SHARE_KINDS; kind++) {
        uint32_t even = part(entry->limit.of[kind], entry->edges);
        if (entry->held.of[kind] > even)
            entry->held.of[kind] = even;
    }
}

static void follow_fullest(struct share_table *table, const struct share_use *use)
{
    for (size_t kind = 0; kind < SHARE_KINDS; kind++) {
        uint64_t used = kind == SHARE_CONNECTIONS ? use->connections : use->wanted.of[kind];
        uint64_t held = use->held.of[kind];
        if (used * table->most.of[kind] <= table->used.of[kind] * held && table->most.of[kind] != 0)
            continue;
        table->used.of[kind] = (uint32_t)used;
        table->most.of[kind] = (uint32_t)held;
    }
}

static struct share_use use_of(struct entry *entry, uint32_t site, uint64_t now_ms)
{
    struct share_use use = {site, entry->held, entry->wanted, entry->connections};
    entry->asked_ms = now_ms;
    entry->asks = false;
    return use;
}

bool share_ask(struct share_table *table, uint64_t now_ms, struct share_use *use)
{
    while (table->asking_count > 0) {
        uint32_t site = table->asking[--table->asking_count];
        struct entry *entry = &table->entries[site];
        if (!entry->asks)
            continue; /* told of since */
        *use = use_of(entry, site, now_ms);
        for (size_t kind = 0; kind < SHARE_KINDS; kind++)
            if (use->wanted.of[kind] < entry->before.of[kind])
                use->wanted.of[kind] = entry->before.of[kind];
        use->wanted.of[SHARE_CONNECTIONS] += entry->connections;
        return true;
    }
    return false;
}

bool share_next(struct share_table *table, uint32_t *cursor, uint64_t now_ms, struct share_use *use)
{
    while (*cursor < table->count) {
        uint32_t site = (*cursor)++;
        struct entry *entry = &table->entries[site];
        if (!entry->limited)
            continue;
        if (entry->connections > 0 || entry->wanted.of[SHARE_SENDS] > 0)
            entry->used_ms = now_ms;
        if (now_ms - entry->used_ms >= SHARE_IDLE_MS)
            continue;
        be_careful(entry, now_ms);
        *use = use_of(entry, site, now_ms);
        use->wanted.of[SHARE_CONNECTIONS] += entry->connections;
        entry->before = entry->wanted;
        entry->wanted = (struct share_amounts){{0}};
        follow_fullest(table, use);
        return true;
    }
    table->shown_used = table->used;
    table->shown_most = table->most;
    table->used = table->most = (struct share_amounts){{0}};
    return false;
}

void share_fullest(const struct share_table *table, struct share_amounts *used,
                   struct share_amounts *held)
{
    *used = table->shown_used;
    *held = table->shown_most;
}
