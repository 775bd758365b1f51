#include "edge/session_table.h"

#define SESSIONS_A_FRAME 1000u
/* Of one call: a worker with very many sessions spreads its announcement over several ticks. */
#define FRAMES_A_CALL 32u

/* --- counts ----------------------------------------------------------------------------------- */

static struct uplink *owner_of(const struct session_table *table, const struct session *s)
{
    return &table->uplinks[uplink_of(table, s->slot)];
}

void announce_begun(struct session_table *table, const struct session *s)
{
    struct uplink *uplink = owner_of(table, s);
    uplink->count++;
    uplink->mix ^= gid_session_mix(s->gid, s->device, s->session);
}

void announce_ended(struct session_table *table, const struct session *s)
{
    struct uplink *uplink = owner_of(table, s);
    assert(uplink->count > 0);
    uplink->count--;
    uplink->mix ^= gid_session_mix(s->gid, s->device, s->session);
}

void announce_recount(struct session_table *table)
{
    uint32_t nowhere = table->options.shards;
    bool had_none = table->uplinks[nowhere].count == 0;
    for (uint32_t shard = 0; shard <= nowhere; shard++)
        table->uplinks[shard].count = table->uplinks[shard].mix = 0;
    for (uint32_t place = 0; place < table->places_used; place++) {
        const struct session *s = session_at(table, place);
        if (s->state == SESSION_BOUND)
            announce_begun(table, s);
    }
    /* Sessions of a shard that our list does not have are cut off too, counted from now. */
    if (table->uplinks[nowhere].cut || had_none) {
        table->uplinks[nowhere].cut = false;
        table->uplinks[nowhere].away_ms = table->now_ms;
    }
}

void announce_digest(struct session_table *table, uint32_t shard)
{
    const struct uplink *uplink = &table->uplinks[shard];
    Lahar__Link__V1__Digest digest = LAHAR__LINK__V1__DIGEST__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    digest.count = uplink->count;
    digest.mix = uplink->mix;
    digest.sites_revision = sites_revision(table->sites);
    digest.tickets_revision = table->ticket_keys.revision;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_DIGEST;
    frame.digest = &digest;
    (void)uplink_say(table, shard, &frame);
}

/* --- rounds ----------------------------------------------------------------------------------- */

static bool announceable(const struct session_table *table, const struct session *s, uint32_t shard)
{
    return s->state == SESSION_BOUND && uplink_of(table, s->slot) == shard;
}

/* The next sessions from the cursor on, at most a frame full; none: all have been announced. */
static size_t collect(struct session_table *table, uint32_t shard,
                      Lahar__Link__V1__Announce *announce)
{
    uint32_t *cursor = &table->uplinks[shard].cursor;
    size_t count = 0;
    while (*cursor < table->places_used && count < SESSIONS_A_FRAME) {
        struct session *s = session_at(table, (*cursor)++);
        if (!announceable(table, s, shard))
            continue;
        announce->gid[count] = s->gid;
        announce->device[count] = s->device;
        announce->session[count] = s->session;
        announce->dseq[count] = s->dseq_let;
        s->gap_place = 0; /* to this owner it is news */
        count++;
    }
    announce->n_gid = announce->n_device = announce->n_session = announce->n_dseq = count;
    return count;
}

static void say_done(struct session_table *table, uint32_t shard)
{
    struct uplink *uplink = &table->uplinks[shard];
    Lahar__Link__V1__AnnounceDone done = LAHAR__LINK__V1__ANNOUNCE_DONE__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    done.round = uplink->round;
    done.count = uplink->announced;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE_DONE;
    frame.announce_done = &done;
    uplink->announcing = false;
    (void)uplink_say(table, shard, &frame);
}

void announce_go_on(struct session_table *table, uint32_t shard)
{
    struct uplink *uplink = &table->uplinks[shard];
    for (uint32_t i = 0; i < FRAMES_A_CALL && uplink->announcing; i++) {
        arena_reset(table->arena);
        Lahar__Link__V1__Announce announce = LAHAR__LINK__V1__ANNOUNCE__INIT;
        Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
        size_t column = SESSIONS_A_FRAME * sizeof(uint64_t);
        uint8_t *columns = arena_take(table->arena, 4 * column);
        assert(columns != NULL);
        announce.round = uplink->round;
        announce.gid = (uint64_t *)(void *)columns;
        announce.device = announce.gid + SESSIONS_A_FRAME;
        announce.session = announce.device + SESSIONS_A_FRAME;
        announce.dseq = announce.session + SESSIONS_A_FRAME;
        size_t count = collect(table, shard, &announce);
        if (count == 0) {
            say_done(table, shard);
            return;
        }
        frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE;
        frame.announce = &announce;
        if (!uplink_say(table, shard, &frame))
            uplink->announcing = false; /* it went away; it will ask again */
        uplink->announced += count;
    }
}

static bool take_run(struct session_table *table, uint32_t shard,
                     const Lahar__Link__V1__SlotRun *run, bool *moved)
{
    if (run->first >= GID_SLOTS || run->count > GID_SLOTS - run->first)
        return false;
    for (uint32_t slot = run->first; slot < run->first + run->count; slot++) {
        uint32_t before = uplink_of(table, slot);
        if (route_take_owned(table->routes, slot, run->epoch, shard) == ROUTE_BAD)
            return false;
        *moved |= uplink_of(table, slot) != before;
    }
    return true;
}

void announce_owned(struct session_table *table, uint32_t shard, struct span content)
{
    const Lahar__Link__V1__Owned *owned =
        unpack_message(&lahar__link__v1__owned__descriptor, table->arena, content);
    bool good = owned != NULL, moved = false;
    for (size_t i = 0; good && i < owned->n_runs; i++)
        good = take_run(table, shard, owned->runs[i], &moved);
    if (moved)
        announce_recount(table);
    if (!good) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    struct uplink *uplink = &table->uplinks[shard];
    uplink->owned = uplink->announcing = true;
    uplink->round = owned->round;
    uplink->cursor = 0;
    uplink->announced = 0;
    announce_go_on(table, shard);
}
