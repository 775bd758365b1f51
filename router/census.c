#include "router/census.h"

#include "base/left_out.h"
#include "base/log.h"
#include "proto/gid.h"
#include "router/roster_table.h"

#include <stdio.h>

#define TICKS_A_SECOND 10u
#define SWEEP_RECORDS 65536u /* looked at in a tick, and a few more to the end of a slot */
/* So many digests in a row that differ: three of an edge where nothing happens. While its sessions
 * come and go, a Bound that it has not read yet makes a difference each time. */
#define AUDIT_DIFFERED 30u
#define DIFFERED_CALM 10u
#define DIFFERED_BUSY 1u
#define AUDIT_EVERY_MS 10000u
/* As often as that an edge can bring a round about: one that waits to be asked says hello again
 * each second. */
#define ROUND_EVERY_MS 500u
#define MARKS_MAX (PRESENCE_MARKS - 2) /* one more is that of records from Redis */

static void say_number(struct roster *roster, uint32_t peer, uint32_t number)
{
    Lahar__Link__V1__EdgeNumber given = LAHAR__LINK__V1__EDGE_NUMBER__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    given.number = number;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_NUMBER;
    frame.edge_number = &given;
    roster->actions.say(roster->ctx, peer, &frame);
}

/* All of an edge's records are as if confirmed in the round that was last. A walk through all of
 * the memory, so not for each round. */
static void mark_records(struct roster *roster, const struct edge *edge)
{
    for (uint32_t slot = 0; slot < PRESENCE_SLOTS; slot++) {
        struct presence_record record;
        for (uint32_t cursor = 0; presence_walk(roster->presence, slot, &cursor, &record);)
            if (record.edge == edge->number)
                presence_find(roster->presence, slot, gid_hash(record.gid), record.gid,
                              record.device)
                    ->mark = edge->mark % PRESENCE_MARKS;
    }
}

/* With the next mark. One that an unconfirmed record may still have does not come again before all
 * have been marked anew. */
static void doubt_records(struct roster *roster, struct edge *edge)
{
    if (edge->doubted == 0)
        edge->marks = 0;
    if (edge->marks == MARKS_MAX) {
        mark_records(roster, edge);
        edge->marks = 0;
    }
    edge->marks++;
    edge->mark = (edge->mark + 1) % PRESENCE_MARKS;
    edge->doubted = edge->count;
}

void census_begin_round(struct roster *roster, struct edge *edge)
{
    if (edge->announcing)
        roster->counts.rounds_again++;
    roster->counts.rounds++;
    edges_round_begin(edge, roster->now_ms);
    if (edge->doubted < edge->count)
        doubt_records(roster, edge);

    Lahar__Link__V1__Owned owned = LAHAR__LINK__V1__OWNED__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    owned.round = edge->round;
    owned.runs = roster->runs;
    owned.n_runs = roster->run_count;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_OWNED;
    frame.owned = &owned;
    roster->actions.say(roster->ctx, edge->peer, &frame);
}

/* --- edges ------------------------------------------------------------------------------------ */

static uint64_t number_tag(const struct roster *roster, uint32_t peer)
{
    return ROSTER_TAG_CENSUS | (uint64_t)roster->connection << 32 | peer;
}

static void give_number(struct roster *roster, uint32_t peer)
{
    char key[96], floor[12];
    int len = snprintf(key, sizeof key, "%sedges", roster->options.prefix);
    assert(len > 0 && len < (int)sizeof key);
    snprintf(floor, sizeof floor, "%u", edges_highest(roster->edges) + 1);
    struct span args[] = {
        span_text("FCALL"), span_text("lahar_block"), span_text("1"), span_of(key, (size_t)len),
        span_text(floor),   span_text("1"),           span_text("0")};
    /* If Redis is away, the edge asks again in a second. */
    (void)!roster->actions.command(roster->ctx, args, 7, number_tag(roster, peer));
}

void census_reply(struct roster *roster, uint64_t tag, const struct reply *reply)
{
    if (reply == NULL || reply->kind != REPLY_INTEGER || reply->integer < 1 ||
        reply->integer > (int64_t)PRESENCE_EDGE_MAX)
        return;
    uint32_t number = (uint32_t)reply->integer, peer = (uint32_t)tag;
    edges_saw(roster->edges, number);
    if (edges_of_peer(roster->edges, peer) == NULL)
        say_number(roster, peer, number);
}

bool census_hello(struct roster *roster, uint32_t peer, uint32_t number, struct span name)
{
    struct edge *before = edges_of_peer(roster->edges, peer);
    if (before != NULL) {
        /* In a round what it waits for comes again by itself. Else it lost the link, which we never
         * noticed, and waits to be told what we own: until then it sends no digests. */
        if (roster->state == ROSTER_SERVING && !before->announcing &&
            roster->now_ms - before->round_began_ms >= ROUND_EVERY_MS)
            census_begin_round(roster, before);
        return false;
    }
    if (number == 0 || number > PRESENCE_EDGE_MAX) {
        give_number(roster, peer);
        return false;
    }
    struct edge *edge = edges_make(roster->edges, number, roster->now_ms);
    if (edge == NULL) {
        roster->counts.strangers++;
        log_error("too_many_edges", LOG_SPAN("edge", name));
        return false;
    }
    if (edge->peer != EDGES_NO_PEER) {
        /* Its old link is not known to be dead yet; another edge must wait until it is. */
        if (!span_equal(span_text(edge->name), name)) {
            log_error("edge_number_taken", LOG_SPAN("edge", name), LOG_TEXT("by", edge->name),
                      LOG_UNSIGNED("number", number));
            return false;
        }
        edges_detach(roster->edges, edge, roster->now_ms);
    }
    edges_attach(roster->edges, edge, peer, name);
    log_info("edge_up", LOG_TEXT("edge", edge->name), LOG_UNSIGNED("number", number));
    if (roster->state == ROSTER_SERVING)
        census_begin_round(roster, edge);
    return true;
}

void census_link_down(struct roster *roster, uint32_t peer)
{
    struct edge *edge = edges_of_peer(roster->edges, peer);
    if (edge == NULL)
        return;
    log_warn("edge_down", LOG_TEXT("edge", edge->name), LOG_UNSIGNED("number", edge->number),
             LOG_UNSIGNED("sessions", edge->count));
    edges_detach(roster->edges, edge, roster->now_ms);
}

/* --- announcing ------------------------------------------------------------------------------- */

static void confirm(struct roster *roster, struct edge *edge, struct presence_record *record,
                    uint32_t dseq)
{
    if (!roster_doubts(edge, record))
        return; /* said twice in one round, or bound meanwhile */
    record->mark = edge->mark % PRESENCE_MARKS;
    edge->doubted--;
    /* In an audit what we have of it is as good. */
    if (edge->trusted && record->dseq != PRESENCE_LIKELY)
        return;
    record->dseq = dseq;
    struct flight_session begun = roster_to_session(record, true);
    roster->actions.begun(roster->ctx, record->gid, &begun, 0);
}

/* What an edge announces is limited as what it binds: one that has gone wrong, or one that has kept
 * what others bound elsewhere meanwhile, must not fill a user's place, or our memory. */
static bool may_have(struct roster *roster, const struct edge *edge, uint64_t hash,
                     const struct presence_record *said)
{
    if (roster_is_full(roster)) {
        roster_say_unbind(roster, edge, said, END_BUSY);
        return false;
    }
    if (!roster_has_room(roster, hash, said->gid, said->device)) {
        roster->counts.too_many++;
        roster_say_unbind(roster, edge, said, END_TOO_MANY_DEVICES);
        return false;
    }
    return true;
}

static void announce_one(struct roster *roster, struct edge *edge,
                         const struct presence_record *said)
{
    uint64_t hash = gid_hash(said->gid);
    uint32_t slot = presence_slot(hash);
    if (!gid_valid(said->gid) || roster->actions.epoch(roster->ctx, slot) == 0) {
        roster->counts.unowned++;
        return;
    }
    /* No shard gives these, and after the highest no device of that user could log in any more. */
    if (said->session == 0 || gid_session_epoch(said->session) == UINT32_MAX) {
        roster->counts.refused++;
        return;
    }
    /* Ended, and its Unbind was lost. */
    if (said->session <= bars_find(roster->options.bars, said->gid, said->device).session &&
        !LEFT_OUT(BAR)) {
        roster->counts.refused++;
        roster_say_unbind(roster, edge, said, END_KICKED);
        return;
    }
    roster->counts.announced++;
    struct presence_record *found =
        presence_find(roster->presence, slot, hash, said->gid, said->device);
    if (found != NULL && found->session == said->session && found->edge == said->edge) {
        confirm(roster, edge, found, said->dseq);
        return;
    }
    if (found != NULL && found->session > said->session) {
        roster_say_unbind(roster, edge, said, END_REPLACED);
        return;
    }
    if (found == NULL && !may_have(roster, edge, hash, said))
        return;
    struct presence_record old = found != NULL ? *found : (struct presence_record){0};
    roster_put(roster, hash, found != NULL ? &old : NULL, said);
    if (old.session != said->session)
        roster_say_unbind(roster, edges_find(roster->edges, old.edge), &old, END_REPLACED);
    struct flight_session begun = roster_to_session(said, true);
    roster->actions.begun(roster->ctx, said->gid, &begun,
                          old.session == said->session ? 0 : old.session);
}

void census_announce(struct roster *roster, struct edge *edge,
                     const Lahar__Link__V1__Announce *announce)
{
    /* Whom to refuse is not known yet: what misses in this round is announced in the next. */
    if (!bars_ready(roster->options.bars))
        return;
    size_t count = announce->n_gid;
    if (announce->n_device != count || announce->n_session != count || announce->n_dseq != count ||
        !edges_round_came(edge, announce->round, count, roster->now_ms))
        return;
    for (size_t i = 0; i < count; i++) {
        struct presence_record said = {
            .gid = announce->gid[i],
            .device = announce->device[i],
            .session = announce->session[i],
            .edge = edge->number & PRESENCE_EDGE_MAX,
            .mark = edge->mark % PRESENCE_MARKS,
            .dseq = announce->dseq[i] < PRESENCE_LIKELY ? (uint32_t)announce->dseq[i]
                                                        : PRESENCE_LIKELY - 1,
        };
        announce_one(roster, edge, &said);
    }
}

void census_announce_done(struct roster *roster, struct edge *edge, uint32_t round, uint64_t count)
{
    if (!edge->announcing || round != edge->round)
        return;
    /* What was not announced is worth nothing from now on, and swept. */
    if (!edges_round_done(edge, round, count) &&
        roster->now_ms - edge->round_began_ms >= ROUND_EVERY_MS)
        census_begin_round(roster, edge);
}

void census_digest(struct roster *roster, struct edge *edge, uint64_t count, uint64_t mix)
{
    bool changed = edge->changed;
    edge->changed = false;
    if (!edge->trusted || edge->announcing || edge->doubted > 0)
        return;
    if (count == edge->count && mix == edge->mix) {
        edge->differed = 0;
        return;
    }
    roster->counts.drift++;
    edge->differed += changed ? DIFFERED_BUSY : DIFFERED_CALM;
    if (edge->differed < AUDIT_DIFFERED || roster->now_ms - edge->round_began_ms < AUDIT_EVERY_MS)
        return;
    log_warn("presence_drift", LOG_TEXT("edge", edge->name), LOG_UNSIGNED("ours", edge->count),
             LOG_UNSIGNED("theirs", count));
    census_begin_round(roster, edge);
}

/* --- sweeping --------------------------------------------------------------------------------- */

static bool is_dead(const struct roster *roster, const struct edge *edge)
{
    return edge->peer == EDGES_NO_PEER &&
           roster->now_ms - edge->silent_since_ms >= roster->options.sweep_after_ms;
}

/* Its doubted records are worth nothing. */
static bool is_settled(const struct edge *edge)
{
    return edge->trusted && !edge->announcing;
}

static bool anything_to_sweep(const struct roster *roster)
{
    bool unlikely = roster->awake_ms - roster->loaded_ms >= roster->options.likely_ms;
    for (const struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;)
        if (edge->count > 0 &&
            (is_dead(roster, edge) ||
             (edge->doubted > 0 && (is_settled(edge) || (unlikely && !edge->trusted)))))
            return true;
    return false;
}

/* False: enough for now. */
static bool sweep_slot(struct roster *roster, uint32_t slot, uint32_t *budget)
{
    struct presence_record record;
    for (uint32_t cursor = 0; presence_walk(roster->presence, slot, &cursor, &record);) {
        enum roster_worth worth = roster_worth_of(roster, &record);
        if (worth != ROSTER_GONE &&
            (worth != ROSTER_SILENT || !is_dead(roster, edges_find(roster->edges, record.edge))))
            continue;
        if (*budget == 0)
            return false;
        --*budget;
        roster->counts.swept++;
        roster_drop(roster, gid_hash(record.gid), &record);
    }
    return true;
}

static void sweep(struct roster *roster)
{
    uint32_t budget = (roster->options.sweep_per_s + TICKS_A_SECOND - 1) / TICKS_A_SECOND;
    uint64_t seen = 0;
    for (uint32_t n = 0; n < PRESENCE_SLOTS && seen < SWEEP_RECORDS; n++) {
        seen += presence_slot_count(roster->presence, roster->sweep_slot);
        if (!sweep_slot(roster, roster->sweep_slot, &budget))
            return;
        roster->sweep_slot = (roster->sweep_slot + 1) % PRESENCE_SLOTS;
    }
}

/* --- time ------------------------------------------------------------------------------------- */

/* Nothing loaded says nothing: Redis may have lost its keys, so the whole time is given then. */
static bool everyone_announced(const struct roster *roster)
{
    for (const struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;)
        if (!edge->trusted && (edge->named || edge->peer != EDGES_NO_PEER))
            return false;
    return roster->any_loaded;
}

static void edge_tick(struct roster *roster, struct edge *edge)
{
    if (edges_round_late(edge, roster->now_ms))
        census_begin_round(roster, edge);
    if (edge->count == 0 && is_dead(roster, edge))
        edges_forget(roster->edges, edge);
}

void census_tick(struct roster *roster)
{
    for (struct edge *edge = NULL; (edge = edges_next(roster->edges, edge)) != NULL;)
        edge_tick(roster, edge);
    if (roster->state != ROSTER_SERVING)
        return;
    if (!roster->all_known && (everyone_announced(roster) || roster->awake_ms - roster->loaded_ms >=
                                                                 roster->options.announce_ms)) {
        roster->all_known = true;
        roster->actions.all_known(roster->ctx);
    }
    if (anything_to_sweep(roster))
        sweep(roster);
}
