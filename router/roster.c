#include "base/log.h"
#include "proto/gid.h"
#include "router/census.h"
#include "router/roster_table.h"

#include <stdlib.h>

#define COMMANDS_MAX 512u
#define RETRY_MS 1000u
/* More than that from tick to tick: we stood still, and what was said meanwhile is not read yet. */
#define AWAKE_MS_MAX 500u
/* An Unbind may be lost with its batch. Once a second, for longer than a link can lose all without
 * being seen to be down; what is more than this many is left to the audit. */
#define KICKED_MAX 16384u
#define KICKED_TIMES 10u
#define RECORDS_MAX 64u /* of one user that are looked at */

static bool store_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    struct roster *roster = ctx;
    assert(tag < ROSTER_TAG_CENSUS);
    return roster->actions.command(roster->ctx, args, count, tag);
}

static void store_loaded(void *ctx, uint32_t slot, const struct presence_record *record);
static void store_load_done(void *ctx);

struct roster *roster_new(const struct roster_options *options,
                          const struct roster_actions *actions, void *ctx)
{
    struct roster *roster = calloc(1, sizeof *roster);
    assert(roster != NULL);
    roster->options = *options;
    roster->actions = *actions;
    roster->ctx = ctx;
    roster->presence = presence_new(gid_hash);
    roster->store = store_new(
        &(struct store_options){
            .prefix = options->prefix, .queue_max = ROSTER_QUEUE_MAX, .commands_max = COMMANDS_MAX},
        roster->presence,
        &(struct store_actions){
            .command = store_command, .loaded = store_loaded, .load_done = store_load_done},
        roster);
    roster->edges = edges_new();
    return roster;
}

void roster_free(struct roster *roster)
{
    if (roster == NULL)
        return;
    store_free(roster->store);
    presence_free(roster->presence);
    edges_free(roster->edges);
    free(roster->kicked);
    free(roster);
}

void roster_time(struct roster *roster, uint64_t now_ms)
{
    roster->now_ms = now_ms;
}

/* --- records ---------------------------------------------------------------------------------- */

static void count_in(struct roster *roster, const struct presence_record *record)
{
    struct edge *edge = edges_find(roster->edges, record->edge);
    assert(edge != NULL);
    edge->changed = true;
    edge->count++;
    edge->mix ^= gid_session_mix(record->gid, record->device, record->session);
    edge->doubted += roster_doubts(edge, record);
}

static void count_out(struct roster *roster, const struct presence_record *record)
{
    struct edge *edge = edges_find(roster->edges, record->edge);
    bool doubted = edge != NULL && roster_doubts(edge, record);
    assert(edge != NULL && edge->count > 0 && edge->doubted >= doubted);
    edge->changed = true;
    edge->count--;
    edge->mix ^= gid_session_mix(record->gid, record->device, record->session);
    edge->doubted -= doubted;
}

/* Adds or replaces; `old` is the record it replaces, or NULL. */
void roster_put(struct roster *roster, uint64_t hash, const struct presence_record *old,
                const struct presence_record *record)
{
    if (old != NULL)
        count_out(roster, old);
    count_in(roster, record);
    presence_put(roster->presence, presence_slot(hash), hash, record);
    store_put(roster->store, presence_slot(hash), hash, record);
}

void roster_drop(struct roster *roster, uint64_t hash, const struct presence_record *record)
{
    struct presence_record copy = *record;
    uint32_t slot = presence_slot(hash);
    count_out(roster, &copy);
    bool there = presence_remove(roster->presence, slot, hash, copy.gid, copy.device);
    assert(there);
    store_remove(roster->store, slot, hash, copy.gid, copy.device);
    roster->actions.ended(roster->ctx, copy.gid, copy.session);
}

enum roster_worth roster_worth_of(const struct roster *roster, const struct presence_record *record)
{
    const struct edge *edge = edges_find(roster->edges, record->edge);
    bool likely = record->dseq == PRESENCE_LIKELY;
    if (likely && roster->awake_ms - roster->loaded_ms >= roster->options.likely_ms)
        return ROSTER_GONE;
    if (edge->peer == EDGES_NO_PEER)
        return likely ? ROSTER_MAYBE : ROSTER_SILENT;
    if (!roster_doubts(edge, record))
        return ROSTER_LIVE;
    if (edge->announcing || !edge->trusted)
        return edge->trusted && !likely ? ROSTER_LIVE : ROSTER_MAYBE;
    return ROSTER_GONE;
}

size_t roster_list(const struct roster *roster, uint64_t hash, uint64_t gid,
                   struct presence_record *records, enum roster_worth *worth, size_t room)
{
    size_t count = presence_list(roster->presence, presence_slot(hash), hash, gid, records, room);
    if (count > room)
        count = room;
    for (size_t i = 0; i < count; i++)
        worth[i] = roster_worth_of(roster, &records[i]);
    return count;
}

struct flight_session roster_to_session(const struct presence_record *record, bool live)
{
    return (struct flight_session){.device = record->device,
                                   .session = record->session,
                                   .edge = record->edge,
                                   .live = live,
                                   .dseq = live ? record->dseq : 0};
}

size_t roster_sessions(const struct roster *roster, uint64_t gid,
                       struct flight_session out[FLIGHT_DEVICES_MAX], bool *unknown)
{
    UNINITIALIZED struct presence_record records[RECORDS_MAX];
    UNINITIALIZED enum roster_worth worth[RECORDS_MAX];
    size_t count = roster_list(roster, gid_hash(gid), gid, records, worth, RECORDS_MAX), given = 0;
    *unknown = !roster->all_known;
    for (size_t i = 0; i < count && given < FLIGHT_DEVICES_MAX; i++)
        if (worth[i] == ROSTER_LIVE || worth[i] == ROSTER_MAYBE)
            out[given++] = roster_to_session(&records[i], worth[i] == ROSTER_LIVE);
    return given;
}

void roster_keep_dseq(struct roster *roster, uint64_t gid, uint64_t device, uint64_t session,
                      uint32_t dseq)
{
    uint64_t hash = gid_hash(gid);
    struct presence_record *record =
        presence_find(roster->presence, presence_slot(hash), hash, gid, device);
    if (record != NULL && record->session == session && record->dseq != PRESENCE_LIKELY)
        record->dseq = dseq;
}

/* The record with this session, copied; false if there is none. */
static bool find_session(const struct roster *roster, uint64_t hash, uint64_t gid, uint64_t session,
                         struct presence_record *found)
{
    UNINITIALIZED struct presence_record records[RECORDS_MAX];
    size_t count =
        presence_list(roster->presence, presence_slot(hash), hash, gid, records, RECORDS_MAX);
    for (size_t i = 0; i < count && i < RECORDS_MAX; i++) {
        if (records[i].session != session)
            continue;
        *found = records[i];
        return true;
    }
    return false;
}

/* --- what is said to edges -------------------------------------------------------------------- */

void roster_say_unbind(struct roster *roster, const struct edge *edge,
                       const struct presence_record *of, enum end_reason reason)
{
    if (edge == NULL || edge->peer == EDGES_NO_PEER)
        return;
    Lahar__Link__V1__Unbind unbind = LAHAR__LINK__V1__UNBIND__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    unbind.gid = of->gid;
    unbind.device = of->device;
    unbind.session = of->session;
    unbind.reason = (uint32_t)reason;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_UNBIND;
    frame.unbind = &unbind;
    roster->actions.say(roster->ctx, edge->peer, &frame);
}

/* --- owning ----------------------------------------------------------------------------------- */

static void store_loaded(void *ctx, uint32_t slot, const struct presence_record *record)
{
    struct roster *roster = ctx;
    uint64_t hash = gid_hash(record->gid);
    struct edge *edge = edges_make(roster->edges, record->edge, roster->now_ms);
    if (edge == NULL || presence_find(roster->presence, slot, hash, record->gid, record->device))
        return;
    edge->named = true;
    roster->any_loaded = true;
    struct presence_record doubted = *record;
    doubted.mark = (edge->mark - 1) % PRESENCE_MARKS;
    count_in(roster, &doubted);
    presence_put(roster->presence, slot, hash, &doubted);
}

static void store_load_done(void *ctx)
{
    struct roster *roster = ctx;
    roster->state = ROSTER_SERVING;
    roster->loaded_ms = roster->awake_ms;
    log_info("presence_loaded", LOG_UNSIGNED("records", presence_count(roster->presence)));
    roster->actions.loaded(roster->ctx);
    for (struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;)
        if (edge->peer != EDGES_NO_PEER)
            census_begin_round(roster, edge);
}

void roster_own(struct roster *roster, const bool owned[PRESENCE_SLOTS],
                Lahar__Link__V1__SlotRun **runs, size_t run_count)
{
    assert(roster->state == ROSTER_NOTHING);
    roster->state = ROSTER_LOADING;
    roster->runs = runs;
    roster->run_count = run_count;
    roster->any_loaded = roster->all_known = false;
    memset(roster->sessions_given, 0, sizeof roster->sessions_given);
    store_load(roster->store, owned);
}

void roster_forget(struct roster *roster)
{
    roster->state = ROSTER_NOTHING;
    roster->runs = NULL;
    roster->run_count = 0;
    roster->kicked_count = 0;
    store_forget(roster->store);
    for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++)
        presence_drop_slot(roster->presence, slot);
    for (struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;) {
        edge->count = edge->mix = edge->doubted = 0;
        edge->named = edge->trusted = edge->announcing = false;
    }
}

void roster_redis_up(struct roster *roster)
{
    roster->connection++;
    store_up(roster->store);
}

void roster_redis_down(struct roster *roster)
{
    store_down(roster->store);
}

void roster_reply(struct roster *roster, uint64_t tag, const struct reply *reply)
{
    if (tag >= ROSTER_TAG_CENSUS)
        census_reply(roster, tag, reply);
    else
        store_reply(roster->store, tag, reply);
}

struct edge *roster_edge(const struct roster *roster, uint32_t peer)
{
    return edges_of_peer(roster->edges, peer);
}

const struct edge *roster_next_edge(const struct roster *roster, const struct edge *edge)
{
    return edges_next(roster->edges, edge);
}

uint32_t roster_peer(const struct roster *roster, uint32_t number)
{
    const struct edge *edge = edges_find(roster->edges, number);
    return edge == NULL ? EDGES_NO_PEER : edge->peer;
}

const char *roster_edge_name(const struct roster *roster, uint32_t number)
{
    const struct edge *edge = edges_find(roster->edges, number);
    return edge == NULL ? "" : edge->name;
}

/* --- sessions --------------------------------------------------------------------------------- */

/* Whether one more device may connect. What is worth nothing makes room. */
bool roster_has_room(struct roster *roster, uint64_t hash, uint64_t gid, uint64_t device)
{
    struct presence_record records[RECORDS_MAX];
    enum roster_worth worth[RECORDS_MAX];
    size_t count = roster_list(roster, hash, gid, records, worth, RECORDS_MAX);
    uint32_t others = 0;
    for (size_t i = 0; i < count; i++) {
        bool online = worth[i] == ROSTER_LIVE || worth[i] == ROSTER_MAYBE;
        others += online && records[i].device != device;
        if (!online && records[i].device != device && count > RECORDS_MAX / 2)
            roster_drop(roster, hash, &records[i]);
    }
    bool room = others < roster->options.devices_max;
    if (others + room > roster->most_devices)
        roster->most_devices = others + room;
    return room;
}

/* A ticket is good for the last session of its device, as far as that is known here, unless the
 * user was kicked since. Of a token only the time counts. */
static bool too_old(const struct roster_shown *shown, const struct presence_record *found,
                    const struct bar *bar)
{
    if (shown->issued_at < bar->not_before)
        return true;
    return shown->session != 0 &&
           (shown->session <= bar->session || (found != NULL && found->session > shown->session));
}

bool roster_is_full(struct roster *roster)
{
    uint64_t most = roster->options.sessions_max;
    if (most == 0 || presence_count(roster->presence) < most)
        return false;
    roster->counts.full++;
    return true;
}

enum roster_bound roster_bind(struct roster *roster, struct edge *edge, uint64_t gid,
                              uint64_t device, const struct roster_shown *shown, uint64_t *session,
                              uint64_t *replaced)
{
    uint64_t hash = gid_hash(gid);
    uint32_t slot = presence_slot(hash), epoch = roster->actions.epoch(roster->ctx, slot);
    if (epoch == 0 || roster->state != ROSTER_SERVING || roster->sessions_given[slot] == UINT32_MAX)
        return ROSTER_BUSY;
    struct bar bar = bars_find(roster->options.bars, gid, device);
    if (too_old(shown, presence_find(roster->presence, slot, hash, gid, device), &bar)) {
        roster->counts.too_old++;
        return ROSTER_TOO_OLD;
    }
    if (!roster_has_room(roster, hash, gid, device)) {
        roster->counts.too_many++;
        return ROSTER_TOO_MANY;
    }
    struct presence_record *found = presence_find(roster->presence, slot, hash, gid, device);
    if (found == NULL && roster_is_full(roster))
        return ROSTER_BUSY;
    struct presence_record old = found != NULL ? *found : (struct presence_record){0};
    struct presence_record record = {
        .gid = gid,
        .device = device,
        .session = (uint64_t)epoch << 32 | ++roster->sessions_given[slot],
        .edge = edge->number & PRESENCE_EDGE_MAX,
        .mark = edge->mark % PRESENCE_MARKS,
    };
    /* Epochs begin anew if Redis has lost them; a device's sessions must not. */
    if (found != NULL && old.session >= record.session)
        record.session = old.session + 1;
    if (bar.session >= record.session)
        record.session = bar.session + 1;
    roster_put(roster, hash, found != NULL ? &old : NULL, &record);
    roster->counts.bound++;
    if (found != NULL) {
        roster->counts.replaced++;
        roster_say_unbind(roster, edges_find(roster->edges, old.edge), &old, END_REPLACED);
    }
    *session = record.session;
    *replaced = old.session;
    return ROSTER_BOUND;
}

void roster_begin(struct roster *roster, const struct edge *edge, uint64_t gid, uint64_t device,
                  uint64_t session, uint64_t replaced)
{
    struct presence_record record = {
        .gid = gid, .device = device, .session = session, .edge = edge->number & PRESENCE_EDGE_MAX};
    struct flight_session begun = roster_to_session(&record, true);
    roster->actions.begun(roster->ctx, gid, &begun, replaced);
}

/* An edge that does not hold it any more passes it over. */
static void say_kicked(struct roster *roster, const struct roster_kicked *kicked)
{
    const struct presence_record of = {
        .gid = kicked->gid, .device = kicked->device, .session = kicked->session};
    roster_say_unbind(roster, edges_find(roster->edges, kicked->edge), &of, END_KICKED);
}

static void say_kicked_again(struct roster *roster)
{
    for (uint32_t i = roster->kicked_count; i-- > 0;) {
        say_kicked(roster, &roster->kicked[i]);
        if (--roster->kicked[i].times == 0)
            roster->kicked[i] = roster->kicked[--roster->kicked_count];
    }
}

static void end_kicked(struct roster *roster, const struct presence_record *record)
{
    struct roster_kicked kicked = {record->gid, record->device, record->session, record->edge,
                                   KICKED_TIMES};
    say_kicked(roster, &kicked);
    if (roster->kicked == NULL)
        roster->kicked = calloc(KICKED_MAX, sizeof *roster->kicked);
    assert(roster->kicked != NULL);
    if (roster->kicked_count < KICKED_MAX)
        roster->kicked[roster->kicked_count++] = kicked;
}

uint32_t roster_kick(struct roster *roster, uint64_t gid, uint64_t device, uint64_t *last)
{
    uint64_t hash = gid_hash(gid);
    uint32_t slot = presence_slot(hash), kicked = 0;
    struct presence_record records[RECORDS_MAX];
    enum roster_worth worth[RECORDS_MAX];
    size_t count = roster_list(roster, hash, gid, records, worth, RECORDS_MAX);
    *last = (uint64_t)roster->actions.epoch(roster->ctx, slot) << 32 | roster->sessions_given[slot];
    for (size_t i = 0; i < count; i++) {
        if (device != 0 && records[i].device != device)
            continue;
        *last = records[i].session > *last ? records[i].session : *last;
        kicked += worth[i] == ROSTER_LIVE || worth[i] == ROSTER_MAYBE;
        end_kicked(roster, &records[i]);
        roster_drop(roster, hash, &records[i]);
    }
    roster->counts.kicked += kicked;
    return kicked;
}

/* An edge speaks of a session that it does not hold. */
static bool refuse(struct roster *roster, const struct edge *edge, uint64_t hash, uint64_t gid,
                   uint64_t session)
{
    roster->counts.refused++;
    struct presence_record of = {.gid = gid, .session = session}, records[RECORDS_MAX];
    size_t count =
        presence_list(roster->presence, presence_slot(hash), hash, gid, records, RECORDS_MAX);
    /* Of which device it was is not known, so it may have been told REPLACED already, or is by an
     * audit: then its client stays away, which NO_SESSION would undo. */
    bool newer = false;
    for (size_t i = 0; i < count && i < RECORDS_MAX; i++)
        newer |= records[i].session >= session;
    bool kicked = session <= bars_find(roster->options.bars, gid, 0).session;
    if (!newer)
        roster_say_unbind(roster, edge, &of, kicked ? END_KICKED : END_NO_SESSION);
    return false;
}

bool roster_holds(struct roster *roster, const struct edge *edge, uint64_t gid, uint64_t session)
{
    uint64_t hash = gid_hash(gid);
    struct presence_record record;
    if (find_session(roster, hash, gid, session, &record) && record.edge == edge->number)
        return true;
    return refuse(roster, edge, hash, gid, session);
}

bool roster_unbind(struct roster *roster, const struct edge *edge, uint64_t gid, uint64_t device,
                   uint64_t session)
{
    uint64_t hash = gid_hash(gid);
    const struct presence_record *record =
        presence_find(roster->presence, presence_slot(hash), hash, gid, device);
    if (record == NULL || record->session != session || record->edge != edge->number) {
        roster->counts.refused++;
        return false;
    }
    roster->counts.unbound++;
    roster_drop(roster, hash, record);
    return true;
}

bool roster_no_session(struct roster *roster, const struct edge *edge, uint64_t gid,
                       uint64_t session)
{
    uint64_t hash = gid_hash(gid);
    struct presence_record record;
    if (!find_session(roster, hash, gid, session, &record) || record.edge != edge->number) {
        roster->counts.refused++;
        return false;
    }
    roster->counts.no_session++;
    roster_drop(roster, hash, &record);
    return true;
}

/* --- time, and what is counted ---------------------------------------------------------------- */

void roster_tick(struct roster *roster)
{
    uint64_t passed_ms = roster->now_ms - roster->ticked_ms;
    roster->ticked_ms = roster->now_ms;
    roster->awake_ms += passed_ms < AWAKE_MS_MAX ? passed_ms : AWAKE_MS_MAX;
    census_tick(roster);
    if (roster->now_ms - roster->retry_ms < RETRY_MS)
        return;
    roster->retry_ms = roster->now_ms;
    store_retry(roster->store);
    say_kicked_again(roster);
}

void roster_turn_end(struct roster *roster)
{
    store_flush(roster->store);
}

const struct roster_counts *roster_counts(const struct roster *roster)
{
    return &roster->counts;
}

const struct store_counts *roster_store_counts(const struct roster *roster)
{
    return store_counts(roster->store);
}

uint64_t roster_records(const struct roster *roster)
{
    return presence_count(roster->presence);
}

size_t roster_bytes(const struct roster *roster)
{
    return presence_bytes(roster->presence);
}

uint32_t roster_most_devices(struct roster *roster)
{
    uint32_t most = roster->most_devices;
    roster->most_devices = 0;
    return most;
}

struct roster_edges roster_edges(const struct roster *roster)
{
    struct roster_edges sum = {0};
    for (const struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;) {
        if (edge->peer != EDGES_NO_PEER) {
            sum.up++;
        } else {
            sum.silent++;
            sum.records_silent += edge->count;
        }
    }
    return sum;
}
