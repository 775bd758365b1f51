#include "router/control.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOTS_A_COMMAND 512u
#define KEY_SIZE 128u
#define PREFIX_MAX 64u
#define POLL_MS 1000u
/* So long before the lease ends, what the store fences is stopped. */
#define MARGIN_MS 1000u
#define WHO_SIZE 17u

enum state { STATE_NO_REDIS, STATE_MAP, STATE_LEASE, STATE_RAISE, STATE_OWNER };

enum tag_kind { TAG_NOTHING, TAG_MAP, TAG_LEASE, TAG_RAISE, TAG_KEEP, TAG_GIDS, TAG_SITES };

struct control {
    struct control_options options;
    char prefix[PREFIX_MAX + 1], name[SLOTMAP_NAME_MAX + 1], who[WHO_SIZE];
    struct control_actions actions;
    void *ctx;

    enum state state;
    bool up, left;
    uint32_t generation; /* replies to what was asked before a change of mind are ignored */

    struct slotmap *first_map;
    struct slotmap *map;
    uint32_t me; /* our number in the map, or SLOTMAP_NONE */
    bool map_bad;

    bool lease_asked;
    uint64_t lease_asked_ms, lease_until_ms, lease_next_ms;

    bool fences_checked;
    uint32_t next_slot;     /* to raise or keep */
    uint32_t slots_awaited; /* asked, not answered */
    bool slots_running;
    uint32_t floor; /* what the epochs are raised to at least */

    uint64_t poll_next_ms;
    uint32_t poll_awaited;
    uint64_t polled_gids;

    uint32_t epochs[GID_SLOTS];
    char keys[SLOTS_A_COMMAND][KEY_SIZE];
    char numbers[SLOTS_A_COMMAND][12];
    struct span args[5 + 2 * SLOTS_A_COMMAND];
};

struct control *control_new(const struct control_options *options,
                            const struct control_actions *actions, void *ctx)
{
    assert(strlen(options->prefix) <= PREFIX_MAX);
    assert(slotmap_name_valid(span_text(options->name)));
    assert(options->incarnation != 0 && options->lease_ms > MARGIN_MS);
    struct control *control = calloc(1, sizeof *control);
    assert(control != NULL);
    control->options = *options;
    control->actions = *actions;
    control->ctx = ctx;
    strcpy(control->prefix, options->prefix);
    strcpy(control->name, options->name);
    snprintf(control->who, sizeof control->who, "%016llx",
             (unsigned long long)options->incarnation);
    control->first_map = slotmap_new_even(options->shard_names, options->shards);
    control->me = SLOTMAP_NONE;
    return control;
}

void control_free(struct control *control)
{
    if (control == NULL)
        return;
    slotmap_free(control->first_map);
    slotmap_free(control->map);
    free(control);
}

/* Commands. */

static uint64_t make_tag(const struct control *control, enum tag_kind kind, uint32_t slot)
{
    return (uint64_t)kind | (uint64_t)(control->generation & 0xffffff) << 8 | (uint64_t)slot << 32;
}

static bool issue(struct control *control, const struct span *args, size_t count,
                  enum tag_kind kind, uint32_t slot)
{
    return control->up &&
           control->actions.command(control->ctx, args, count, make_tag(control, kind, slot));
}

static struct span key_of(const struct control *control, char key[KEY_SIZE], const char *ending)
{
    int len = snprintf(key, KEY_SIZE, "%s%s", control->prefix, ending);
    assert(len > 0 && len < (int)KEY_SIZE);
    return span_of(key, (size_t)len);
}

static struct span lease_key(const struct control *control, char key[KEY_SIZE])
{
    int len = snprintf(key, KEY_SIZE, "%slease:%s", control->prefix, control->name);
    assert(len > 0 && len < (int)KEY_SIZE);
    return span_of(key, (size_t)len);
}

static void ask_map(struct control *control)
{
    char key[KEY_SIZE];
    struct span packed = slotmap_pack(control->map != NULL ? control->map : control->first_map);
    struct span name = key_of(control, key, "map");
    struct span set[] = {span_text("SET"), name, packed, span_text("NX")};
    struct span get[] = {span_text("GET"), name};
    if (issue(control, set, 4, TAG_NOTHING, 0))
        (void)!issue(control, get, 2, TAG_MAP, 0);
    free((void *)(uintptr_t)packed.at);
}

static bool ask_lease(struct control *control, uint32_t ms, enum tag_kind kind)
{
    char key[KEY_SIZE], time[12];
    snprintf(time, sizeof time, "%u", ms);
    struct span args[] = {span_text("FCALL"),      span_text("lahar_lease"), span_text("1"),
                          lease_key(control, key), span_text(control->who),  span_text(time)};
    return issue(control, args, 6, kind, 0);
}

static void renew(struct control *control, uint64_t now_ms)
{
    if (control->left || control->lease_asked ||
        !ask_lease(control, control->options.lease_ms, TAG_LEASE))
        return;
    control->lease_asked = true;
    control->lease_asked_ms = now_ms;
    control->lease_next_ms = now_ms + control->options.renew_ms;
}

static void poll_now(struct control *control, uint64_t now_ms)
{
    char gids[KEY_SIZE], sites[KEY_SIZE];
    struct span get_gids[] = {span_text("GET"), key_of(control, gids, "gids")};
    struct span get_sites[] = {span_text("GET"), key_of(control, sites, "sites_rev")};
    control->poll_next_ms = now_ms + POLL_MS;
    if (issue(control, get_gids, 2, TAG_GIDS, 0))
        control->poll_awaited++;
    if (issue(control, get_sites, 2, TAG_SITES, 0))
        control->poll_awaited++;
}

/* Raising and keeping: the same walk over our slots, SLOTS_A_COMMAND of them to a command. */

static bool is_ours(const struct control *control, uint32_t slot)
{
    return control->me != SLOTMAP_NONE && slotmap_owner(control->map, slot) == control->me;
}

/* The next slots that are ours, from `*slot` on; moves it on. */
static uint32_t take_slots(const struct control *control, uint32_t *slot,
                           uint32_t slots[SLOTS_A_COMMAND])
{
    uint32_t count = 0;
    for (; *slot < GID_SLOTS && count < SLOTS_A_COMMAND; ++*slot)
        if (is_ours(control, *slot))
            slots[count++] = *slot;
    return count;
}

static bool ask_slots(struct control *control, const uint32_t *slots, uint32_t count, bool keep)
{
    char key[KEY_SIZE], keys[12];
    snprintf(keys, sizeof keys, "%u", count + 1);
    struct span *args = control->args;
    size_t n = 0;
    args[n++] = span_text("FCALL");
    args[n++] = span_text(keep ? "lahar_keep" : "lahar_raise");
    args[n++] = span_text(keys);
    args[n++] = lease_key(control, key);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(control->keys[i], KEY_SIZE, "%s{%u}fence", control->prefix, slots[i]);
        args[n++] = span_text(control->keys[i]);
    }
    args[n++] = span_text(control->who);
    if (!keep) {
        snprintf(control->numbers[0], sizeof control->numbers[0], "%u", control->floor);
        args[n++] = span_text(control->numbers[0]);
    }
    for (uint32_t i = 0; keep && i < count; i++) {
        snprintf(control->numbers[i], sizeof control->numbers[i], "%u", control->epochs[slots[i]]);
        args[n++] = span_text(control->numbers[i]);
    }
    return issue(control, args, n, keep ? TAG_KEEP : TAG_RAISE, slots[0]);
}

static void become_owner(struct control *control)
{
    control->state = STATE_OWNER;
    control->fences_checked = true;
    log_info("owner", LOG_TEXT("shard", control->name));
    control->actions.on_owner(control->ctx);
}

/* All our slots get one epoch, so that edges can be told them in few runs: what differs is raised
 * once more. */
static bool epochs_differ(struct control *control)
{
    uint32_t lowest = UINT32_MAX, highest = 0;
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        if (!is_ours(control, slot))
            continue;
        uint32_t epoch = control->epochs[slot];
        lowest = epoch < lowest ? epoch : lowest;
        highest = epoch > highest ? epoch : highest;
    }
    control->floor = highest + 1;
    return lowest < highest;
}

static void go_on_with_slots(struct control *control)
{
    bool keep = control->state == STATE_OWNER;
    uint32_t slots[SLOTS_A_COMMAND];
    while (control->slots_running) {
        uint32_t next = control->next_slot, count = take_slots(control, &next, slots);
        if (count > 0 && !ask_slots(control, slots, count, keep))
            return;
        control->next_slot = next;
        control->slots_awaited += count;
        if (next < GID_SLOTS)
            continue;
        if (control->slots_awaited > 0)
            return;
        if (!keep && epochs_differ(control)) {
            control->next_slot = 0;
            continue;
        }
        control->slots_running = false;
        if (!keep) {
            become_owner(control);
            continue;
        }
        control->fences_checked = true;
        control->actions.on_restored(control->ctx);
    }
}

static void begin_slots(struct control *control)
{
    control->generation++; /* replies of an attempt before this one do not count */
    control->lease_asked = false;
    control->poll_awaited = 0;
    control->slots_running = true;
    control->next_slot = control->slots_awaited = control->floor = 0;
    go_on_with_slots(control);
}

/* Changes of state. */

static void wait_for_lease(struct control *control)
{
    control->generation++;
    control->lease_asked = control->slots_running = control->fences_checked = false;
    control->poll_awaited = 0;
    control->lease_until_ms = 0;
    control->state = control->up ? STATE_LEASE : STATE_NO_REDIS;
}

static void step_down(struct control *control, const char *why)
{
    bool was_owner = control->state == STATE_OWNER;
    wait_for_lease(control);
    if (!was_owner)
        return;
    log_warn("stepped_down", LOG_TEXT("shard", control->name), LOG_TEXT("why", why));
    memset(control->epochs, 0, sizeof control->epochs);
    control->actions.on_stepped_down(control->ctx);
}

static void on_lease(struct control *control, const struct reply *reply)
{
    control->lease_asked = false;
    if (reply->kind != REPLY_INTEGER) {
        log_warn("lease_refused", LOG_SPAN("error", reply->text));
        return;
    }
    if (reply->integer == 0) {
        step_down(control, "another process holds the lease");
        return;
    }
    control->lease_until_ms = control->lease_asked_ms + control->options.lease_ms;
    if (control->state == STATE_LEASE) {
        log_info("lease_taken", LOG_TEXT("shard", control->name));
        control->state = STATE_RAISE;
        begin_slots(control);
        return;
    }
    /* If nobody held it, Redis may have lost the fences too. */
    if (reply->integer == 2)
        control->fences_checked = control->slots_running = false;
    if (!control->fences_checked && !control->slots_running)
        begin_slots(control);
}

static bool same_slots(const struct control *control, const struct slotmap *other)
{
    uint32_t me = slotmap_find(other, span_text(control->name));
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++)
        if (is_ours(control, slot) != (me != SLOTMAP_NONE && slotmap_owner(other, slot) == me))
            return false;
    return true;
}

static void take_map(struct control *control, struct slotmap *map)
{
    bool same = control->map == NULL || same_slots(control, map);
    if (!same)
        step_down(control, "the map gives this shard other slots");
    slotmap_free(control->map);
    control->map = map;
    control->me = slotmap_find(map, span_text(control->name));
    if (control->me == SLOTMAP_NONE)
        log_error("not_in_map", LOG_TEXT("shard", control->name),
                  LOG_TEXT("change", "cluster.shards and the map in Redis name different shards"));
    control->actions.on_map(control->ctx, map);
}

static void on_map(struct control *control, const struct reply *reply, uint64_t now_ms)
{
    struct slotmap *map = reply->kind == REPLY_BULK ? slotmap_unpack(reply->text) : NULL;
    control->map_bad = map == NULL;
    if (map == NULL) {
        log_error("map_unreadable", LOG_TEXT("shard", control->name));
        return;
    }
    if (control->map == NULL || slotmap_epoch(map) > slotmap_epoch(control->map))
        take_map(control, map);
    else
        slotmap_free(map);
    if (control->me == SLOTMAP_NONE)
        return;
    if (control->state == STATE_MAP)
        control->state = STATE_LEASE;
    renew(control, now_ms);
}

static void on_raised(struct control *control, uint32_t slot, const struct reply *reply)
{
    uint32_t slots[SLOTS_A_COMMAND], count = take_slots(control, &slot, slots);
    if (reply->kind != REPLY_ARRAY || reply->len != count) {
        log_warn("raise_refused", LOG_SPAN("error", reply->text));
        wait_for_lease(control);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        control->epochs[slots[i]] = (uint32_t)reply->at[i]->integer;
    control->slots_awaited -= count;
    go_on_with_slots(control);
}

static void on_kept(struct control *control, uint32_t slot, const struct reply *reply)
{
    uint32_t slots[SLOTS_A_COMMAND], count = take_slots(control, &slot, slots);
    if (reply->kind != REPLY_INTEGER) {
        /* The next renewal finds out what is the matter. */
        log_warn("keep_refused", LOG_SPAN("error", reply->text));
        control->slots_running = false;
        control->generation++;
        control->lease_asked = false;
        control->poll_awaited = 0;
        return;
    }
    if (reply->integer != 0) {
        step_down(control, "another process has raised our fences");
        return;
    }
    control->slots_awaited -= count;
    go_on_with_slots(control);
}

static uint64_t to_number(const struct reply *reply)
{
    char digits[24] = "";
    if (reply->kind == REPLY_BULK)
        memcpy(digits, reply->text.at,
               reply->text.len < sizeof digits - 1 ? reply->text.len : sizeof digits - 1);
    return strtoull(digits, NULL, 10);
}

static void on_polled(struct control *control, enum tag_kind kind, const struct reply *reply)
{
    if (control->poll_awaited > 0)
        control->poll_awaited--;
    if (reply->kind == REPLY_ERROR)
        return;
    if (kind == TAG_GIDS)
        control->polled_gids = to_number(reply);
    else
        control->actions.on_poll(control->ctx, control->polled_gids, to_number(reply));
}

/* Events. */

void control_up(struct control *control, uint64_t now_ms)
{
    control->up = true;
    control->generation++;
    control->lease_asked = control->slots_running = control->fences_checked = false;
    control->poll_awaited = 0;
    if (control->state != STATE_OWNER)
        control->state = STATE_MAP;
    ask_map(control);
    poll_now(control, now_ms);
}

void control_down(struct control *control, uint64_t now_ms)
{
    (void)now_ms;
    control->up = false;
    control->generation++;
    control->lease_asked = control->slots_running = false;
    control->poll_awaited = 0;
    if (control->state != STATE_OWNER)
        control->state = STATE_NO_REDIS;
}

void control_reply(struct control *control, uint64_t tag, const struct reply *reply,
                   uint64_t now_ms)
{
    if (reply == NULL || (tag >> 8 & 0xffffff) != (control->generation & 0xffffff))
        return;
    uint32_t slot = (uint32_t)(tag >> 32);
    switch (tag & 0xff) {
    case TAG_MAP:
        on_map(control, reply, now_ms);
        break;
    case TAG_LEASE:
        on_lease(control, reply);
        break;
    case TAG_RAISE:
        on_raised(control, slot, reply);
        break;
    case TAG_KEEP:
        on_kept(control, slot, reply);
        break;
    case TAG_GIDS:
    case TAG_SITES:
        on_polled(control, tag & 0xff, reply);
        break;
    default:
        break;
    }
}

void control_tick(struct control *control, uint64_t now_ms)
{
    if (!control->up)
        return;
    if (control->slots_running)
        go_on_with_slots(control);
    if (now_ms >= control->poll_next_ms && control->poll_awaited == 0) {
        if (control->state == STATE_MAP)
            ask_map(control);
        poll_now(control, now_ms);
    }
    if (control->state >= STATE_LEASE && now_ms >= control->lease_next_ms)
        renew(control, now_ms);
}

void control_release(struct control *control)
{
    control->left = true;
    if (control->state >= STATE_LEASE)
        (void)!ask_lease(control, 0, TAG_NOTHING);
}

/* What it knows. */

bool control_owns(const struct control *control, uint32_t slot)
{
    return control->state == STATE_OWNER && is_ours(control, slot);
}

uint32_t control_epoch(const struct control *control, uint32_t slot)
{
    return control->epochs[slot];
}

bool control_may_write(const struct control *control, uint64_t now_ms)
{
    return control->state == STATE_OWNER && control->fences_checked && !control->left &&
           now_ms + MARGIN_MS < control->lease_until_ms;
}

const struct slotmap *control_map(const struct control *control)
{
    return control->map;
}

const char *control_not_ready(const struct control *control)
{
    if (control->left)
        return "leaving";
    switch (control->state) {
    case STATE_NO_REDIS:
        return "Redis is away";
    case STATE_MAP:
        if (control->map_bad)
            return "the slot map in Redis cannot be read";
        return control->map != NULL && control->me == SLOTMAP_NONE
                   ? "the slot map does not name this shard"
                   : "the slot map was not read yet";
    case STATE_LEASE:
        return "another process holds this shard's lease";
    case STATE_RAISE:
        return "the slots' epochs are being raised";
    case STATE_OWNER:
        break;
    }
    return NULL;
}
