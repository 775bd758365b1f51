#include "router/identity.h"

#include "base/log.h"
#include "base/map.h"
#include "base/pool.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELD_MAX (32u + 1 + 128)
#define KEY_SIZE 96u
#define PREFIX_MAX 64u
#define POLLS_BEFORE_USE 2u
/* A block whose half is used up within so many polls is followed by a larger one, one that lasts by
 * a smaller one: a block must last much longer than the next one takes to be usable. */
#define POLLS_FEW 4u
#define POLLS_MANY 64u
/* So many numbers are left out after Redis has lost the counter: more than all shards together can
 * have taken in blocks that we have not read of. */
#define GAP_AFTER_LOSS (UINT64_C(1) << 28)

enum tag_kind { TAG_FIND, TAG_MAKE, TAG_BLOCK };

/* A user that was found; in the order of use. */
struct known {
    uint64_t gid, hash;
    uint32_t newer, older;
    uint8_t field_len;
    uint8_t field[]; /* site, 0, user: of FIELD_MAX bytes at most */
};

struct pending {
    uint64_t req, hash;
    uint32_t edge;
    uint32_t next; /* while it waits for a number */
    uint32_t generation;
    bool may_create;
    uint8_t field_len;
    uint8_t field[FIELD_MAX];
};

/* Numbers that are ours: from next to end. */
struct block {
    uint64_t next, end;
    uint32_t size;
    uint32_t polls; /* since it was taken; of the one in use: since then */
};

struct identity {
    struct identity_options options;
    char prefix[PREFIX_MAX + 1];
    struct identity_actions actions;
    void *ctx;
    bool up;

    struct known **known; /* by index; cache_max of them */
    uint32_t known_count, newest, oldest;
    struct map known_of;

    struct pool pending;
    uint64_t full;                        /* asked for when there was no room to wait */
    uint32_t waiting_first, waiting_last; /* for a number */
    uint32_t generation;

    struct block block, next_block; /* next == end: empty */
    bool block_asked;
    uint64_t next_gid; /* highest read */
    bool lost;         /* the counter, as told */
    bool polled;
};

struct identity *identity_new(const struct identity_options *options,
                              const struct identity_actions *actions, void *ctx)
{
    assert(strlen(options->prefix) <= PREFIX_MAX);
    assert(options->cache_max > 0 && options->pending_max > 0);
    struct identity *identity = calloc(1, sizeof *identity);
    assert(identity != NULL);
    identity->options = *options;
    strcpy(identity->prefix, options->prefix);
    identity->actions = *actions;
    identity->ctx = ctx;
    identity->known = calloc(options->cache_max, sizeof *identity->known);
    assert(identity->known != NULL);
    identity->newest = identity->oldest = MAP_NONE;
    map_init(&identity->known_of);
    pool_init(&identity->pending, sizeof(struct pending), options->pending_max);
    identity->waiting_first = POOL_NONE;
    identity->next_gid = GID_FIRST_USER;
    return identity;
}

void identity_free(struct identity *identity)
{
    if (identity == NULL)
        return;
    for (uint32_t i = 0; i < identity->known_count; i++)
        free(identity->known[i]);
    free(identity->known);
    map_free(&identity->known_of);
    pool_free(&identity->pending);
    free(identity);
}

/* What was found. */

static bool same_field(const void *ctx, uint32_t index, const void *key)
{
    const struct known *known = ((const struct identity *)ctx)->known[index];
    const struct span *field = key;
    return span_equal(span_of(known->field, known->field_len), *field);
}

static void unlink_known(struct identity *identity, uint32_t index)
{
    const struct known *known = identity->known[index];
    if (known->newer == MAP_NONE)
        identity->newest = known->older;
    else
        identity->known[known->newer]->older = known->older;
    if (known->older == MAP_NONE)
        identity->oldest = known->newer;
    else
        identity->known[known->older]->newer = known->newer;
}

static void link_newest(struct identity *identity, uint32_t index)
{
    struct known *known = identity->known[index];
    known->newer = MAP_NONE;
    known->older = identity->newest;
    if (identity->newest != MAP_NONE)
        identity->known[identity->newest]->newer = index;
    else
        identity->oldest = index;
    identity->newest = index;
}

static uint64_t look_up(struct identity *identity, uint64_t hash, struct span field)
{
    uint32_t index = map_find(&identity->known_of, hash, same_field, identity, &field);
    if (index == MAP_NONE)
        return 0;
    unlink_known(identity, index);
    link_newest(identity, index);
    return identity->known[index]->gid;
}

static void remember(struct identity *identity, uint64_t hash, struct span field, uint64_t gid)
{
    if (look_up(identity, hash, field) != 0)
        return;
    uint32_t index = identity->known_count;
    if (index < identity->options.cache_max) {
        identity->known_count++;
    } else {
        index = identity->oldest;
        unlink_known(identity, index);
        map_remove(&identity->known_of, identity->known[index]->hash, index);
        free(identity->known[index]);
    }
    struct known *known = malloc(sizeof *known + field.len);
    assert(known != NULL);
    *known = (struct known){.gid = gid, .hash = hash, .field_len = (uint8_t)field.len};
    memcpy(known->field, field.at, field.len);
    identity->known[index] = known;
    map_add(&identity->known_of, hash, index);
    link_newest(identity, index);
}

/* Answers. */

static struct span field_of(const struct pending *pending)
{
    return span_of(pending->field, pending->field_len);
}

static void finish(struct identity *identity, uint32_t index, enum identity_outcome outcome,
                   uint64_t gid)
{
    struct pending *pending = pool_at(&identity->pending, index);
    uint32_t edge = pending->edge;
    uint64_t req = pending->req;
    if (outcome == IDENTITY_OK)
        remember(identity, pending->hash, field_of(pending), gid);
    pending->field_len = 0;
    pool_give(&identity->pending, index);
    identity->actions.resolved(identity->ctx, edge, req, outcome, gid);
}

/* Commands. */

static uint64_t make_tag(enum tag_kind kind, uint32_t index, uint32_t generation)
{
    return (uint64_t)kind | (uint64_t)(generation & 0xffffff) << 8 | (uint64_t)index << 32;
}

static bool find_in_redis(struct identity *identity, uint32_t index)
{
    const struct pending *pending = pool_at(&identity->pending, index);
    char key[KEY_SIZE];
    snprintf(key, sizeof key, "%s{%u}ids", identity->prefix, (uint32_t)(pending->hash % GID_SLOTS));
    struct span args[] = {span_text("HGET"), span_text(key), field_of(pending)};
    return identity->up &&
           identity->actions.command(identity->ctx, args, 3,
                                     make_tag(TAG_FIND, index, pending->generation));
}

static bool make_in_redis(struct identity *identity, uint32_t index, uint64_t gid)
{
    const struct pending *pending = pool_at(&identity->pending, index);
    uint32_t slot = (uint32_t)(pending->hash % GID_SLOTS);
    char ids[KEY_SIZE], fence[KEY_SIZE], epoch[12];
    uint64_t little = htole64(gid);
    snprintf(ids, sizeof ids, "%s{%u}ids", identity->prefix, slot);
    snprintf(fence, sizeof fence, "%s{%u}fence", identity->prefix, slot);
    snprintf(epoch, sizeof epoch, "%u", identity->actions.epoch(identity->ctx, slot));
    struct span args[] = {span_text("FCALL"), span_text("lahar_gid"), span_text("2"),
                          span_text(ids),     span_text(fence),       span_text(epoch),
                          field_of(pending),  span_of(&little, 8)};
    return identity->up &&
           identity->actions.command(identity->ctx, args, 8,
                                     make_tag(TAG_MAKE, index, pending->generation));
}

/* Numbers. */

static uint64_t left_in(const struct block *block)
{
    return block->end - block->next;
}

static uint32_t next_size(const struct block *block)
{
    uint32_t size = block->size;
    if (size < IDENTITY_BLOCK)
        return IDENTITY_BLOCK;
    if (block->polls < POLLS_FEW && size <= IDENTITY_BLOCK_MAX / 4)
        return size * 4;
    return block->polls > POLLS_MANY && size >= IDENTITY_BLOCK * 2 ? size / 2 : size;
}

/* No number from here on was ever taken, as far as we know. */
static uint64_t lowest_free(const struct identity *identity)
{
    uint64_t lowest = identity->next_gid;
    if (lowest < identity->block.end)
        lowest = identity->block.end;
    return lowest < identity->next_block.end ? identity->next_block.end : lowest;
}

static void ask_block(struct identity *identity)
{
    if (!identity->up || identity->block_asked || left_in(&identity->next_block) > 0)
        return;
    /* Redis may have lost the counter: what is known to be taken is not taken again. */
    uint64_t lowest = lowest_free(identity);
    uint32_t block_size = next_size(&identity->block);
    char key[KEY_SIZE], floor[24], size[12], gap[24];
    snprintf(key, sizeof key, "%sgids", identity->prefix);
    snprintf(floor, sizeof floor, "%llu", (unsigned long long)lowest);
    snprintf(size, sizeof size, "%u", block_size);
    snprintf(gap, sizeof gap, "%llu",
             (unsigned long long)(lowest > GID_FIRST_USER ? GAP_AFTER_LOSS : 0));
    struct span args[] = {span_text("FCALL"), span_text("lahar_block"), span_text("1"),
                          span_text(key),     span_text(floor),         span_text(size),
                          span_text(gap)};
    identity->block_asked =
        identity->actions.command(identity->ctx, args, 7, make_tag(TAG_BLOCK, block_size, 0));
}

static void ask_in_time(struct identity *identity)
{
    if (left_in(&identity->block) <= identity->block.size / 2)
        ask_block(identity);
}

/* 0: none may be used now. */
static uint64_t take_number(struct identity *identity)
{
    if (left_in(&identity->block) == 0 && identity->next_block.polls >= POLLS_BEFORE_USE) {
        identity->block = identity->next_block;
        identity->block.polls = 0;
        identity->next_block = (struct block){0};
    }
    uint64_t number = left_in(&identity->block) > 0 ? identity->block.next++ : 0;
    ask_in_time(identity);
    return number;
}

static void wait_for_number(struct identity *identity, uint32_t index)
{
    struct pending *pending = pool_at(&identity->pending, index);
    pending->next = POOL_NONE;
    if (identity->waiting_first == POOL_NONE) {
        identity->waiting_first = index;
    } else {
        struct pending *last = pool_at(&identity->pending, identity->waiting_last);
        last->next = index;
    }
    identity->waiting_last = index;
}

static void make(struct identity *identity, uint32_t index)
{
    if (!identity->up || !identity->actions.may_write(identity->ctx)) {
        finish(identity, index, IDENTITY_BUSY, 0);
        return;
    }
    uint64_t number = take_number(identity);
    if (number == 0)
        wait_for_number(identity, index);
    else if (!make_in_redis(identity, index, number))
        finish(identity, index, IDENTITY_BUSY, 0);
}

static void serve_waiting(struct identity *identity)
{
    uint32_t index = identity->waiting_first;
    identity->waiting_first = POOL_NONE;
    while (index != POOL_NONE) {
        uint32_t next = ((const struct pending *)pool_at(&identity->pending, index))->next;
        make(identity, index);
        index = next;
    }
}

static void on_block(struct identity *identity, uint32_t size, const struct reply *reply)
{
    identity->block_asked = false;
    if (reply == NULL)
        return; /* what was taken, if it was, is a gap now */
    if (reply->kind != REPLY_INTEGER || reply->integer < (int64_t)GID_FIRST_USER) {
        log_warn("gid_block_refused", LOG_SPAN("error", reply->text));
        return;
    }
    uint64_t first = (uint64_t)reply->integer;
    identity->next_block = (struct block){first, first + size, size, 0};
}

/* Replies. */

static void on_found(struct identity *identity, uint32_t index, const struct reply *reply)
{
    const struct pending *pending = pool_at(&identity->pending, index);
    uint64_t gid = 0;
    if (reply != NULL && reply->kind == REPLY_BULK && reply->text.len == sizeof gid) {
        memcpy(&gid, reply->text.at, sizeof gid);
        gid = le64toh(gid);
    }
    if (gid_valid(gid))
        finish(identity, index, IDENTITY_OK, gid);
    else if (reply == NULL || reply->kind != REPLY_NIL)
        finish(identity, index, IDENTITY_BUSY, 0);
    else if (!pending->may_create)
        finish(identity, index, IDENTITY_NO_USER, 0);
    else
        make(identity, index);
}

static void on_made(struct identity *identity, uint32_t index, const struct reply *reply)
{
    if (reply != NULL && reply->kind == REPLY_BULK) {
        on_found(identity, index, reply);
        return;
    }
    if (reply != NULL)
        log_warn("gid_refused", LOG_SPAN("error", reply->text));
    finish(identity, index, IDENTITY_BUSY, 0);
}

void identity_reply(struct identity *identity, uint64_t tag, const struct reply *reply)
{
    uint32_t index = (uint32_t)(tag >> 32), generation = tag >> 8 & 0xffffff;
    enum tag_kind kind = tag & 0xff;
    if (kind == TAG_BLOCK) {
        on_block(identity, index, reply);
        return;
    }
    if (index >= identity->pending.used_high)
        return;
    const struct pending *pending = pool_at(&identity->pending, index);
    if (pending->field_len == 0 || (pending->generation & 0xffffff) != generation)
        return;
    if (kind == TAG_FIND)
        on_found(identity, index, reply);
    else
        on_made(identity, index, reply);
}

/* Events. */

void identity_resolve(struct identity *identity, uint32_t edge, uint64_t req, struct span site,
                      struct span user, bool may_create)
{
    assert(site.len <= 32 && user.len <= 128);
    uint64_t hash = gid_user_hash(site, user);
    uint8_t field[FIELD_MAX];
    memcpy(field, site.at, site.len);
    field[site.len] = 0;
    memcpy(field + site.len + 1, user.at, user.len);
    struct span whole = span_of(field, site.len + 1 + user.len);

    uint64_t gid = look_up(identity, hash, whole);
    if (gid != 0) {
        identity->actions.resolved(identity->ctx, edge, req, IDENTITY_OK, gid);
        return;
    }
    uint32_t index = identity->up ? pool_take(&identity->pending) : POOL_NONE;
    if (index == POOL_NONE) {
        identity->full += identity->up;
        identity->actions.resolved(identity->ctx, edge, req, IDENTITY_BUSY, 0);
        return;
    }
    struct pending *pending = pool_at(&identity->pending, index);
    *pending = (struct pending){.req = req,
                                .hash = hash,
                                .edge = edge,
                                .generation = ++identity->generation,
                                .may_create = may_create,
                                .field_len = (uint8_t)whole.len};
    memcpy(pending->field, field, whole.len);
    if (!find_in_redis(identity, index))
        finish(identity, index, IDENTITY_BUSY, 0);
}

void identity_up(struct identity *identity)
{
    identity->up = true;
    identity->block_asked = false;
    ask_in_time(identity);
}

void identity_down(struct identity *identity)
{
    identity->up = false;
    identity->block_asked = false;
    /* Others may make users from now on that we do not hear of. */
    identity->polled = false;
    /* A Redis that comes back without its last writes may give these numbers to another shard,
     * which has not read yet that they are taken. */
    if (identity->next_block.polls < POLLS_BEFORE_USE)
        identity->next_block = (struct block){0};
    serve_waiting(identity);
}

void identity_poll(struct identity *identity, uint64_t next_gid)
{
    uint64_t known = lowest_free(identity);
    bool lost = next_gid < known && known > GID_FIRST_USER;
    bool found_again = next_gid >= known + GAP_AFTER_LOSS && identity->next_block.end > 0;
    /* Once, not each second while Redis cannot be written. */
    if (lost && !identity->lost)
        log_error("gid_counter_lost", LOG_UNSIGNED("found", next_gid), LOG_UNSIGNED("known", known),
                  LOG_TEXT("change", "Redis has lost data; restore its backup"));
    identity->lost = lost;
    /* What was taken from a counter that was lost, others may have taken, too. */
    if (lost || found_again)
        identity->next_block = (struct block){0};
    identity->next_gid = known;
    identity->polled |= next_gid >= GID_FIRST_USER;
    if (next_gid > identity->next_gid)
        identity->next_gid = next_gid;
    identity->next_block.polls++;
    identity->block.polls++;
    if (lost)
        ask_block(identity); /* so that the counter stands where nobody has taken any */
    else
        ask_in_time(identity);
    serve_waiting(identity);
}

bool identity_handed_out(const struct identity *identity, uint64_t gid)
{
    return gid_valid(gid) && gid_kind(gid) == GID_USER && gid >= GID_FIRST_USER &&
           (!identity->polled || gid < identity->next_gid);
}

void identity_waiting(const struct identity *identity, uint64_t *waiting, uint64_t *refused)
{
    *waiting = identity->pending.in_use;
    *refused = identity->full;
}
