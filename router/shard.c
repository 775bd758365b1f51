#include "router/shard.h"

#include "base/log.h"
#include "router/census.h"
#include "router/functions.h"
#include "router/handle.h"
#include "router/push.h"

#include <stdlib.h>

/* A hostile frame may not unfold to more. An Announce of 1,000 sessions needs 32 KiB. */
#define ARENA_BYTES (1024u * 1024u)
#define RESOLVES_MAX 20000u
#define SECOND_MS 1000u
#define HOUR_S 3600u /* more than a token lives, and clocks differ */

/* --- commands, each module with its own top byte ---------------------------------------------- */

static bool issue(struct shard *shard, enum shard_module module, const struct span *args,
                  size_t count, uint64_t tag)
{
    assert(tag >> SHARD_TAG_SHIFT == 0);
    return shard->redis_up && shard->actions.command(shard->ctx, args, count,
                                                     tag | (uint64_t)module << SHARD_TAG_SHIFT);
}

static bool functions_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_FUNCTIONS, args, count, tag);
}

static bool control_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_CONTROL, args, count, tag);
}

static bool identity_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_IDENTITY, args, count, tag);
}

static bool sitebook_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_SITEBOOK, args, count, tag);
}

static bool keyring_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_KEYRING, args, count, tag);
}

static bool bars_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_BARS, args, count, tag);
}

static bool roster_command(void *ctx, const struct span *args, size_t count, uint64_t tag)
{
    return issue(ctx, SHARD_ROSTER, args, count, tag);
}

/* --- control ---------------------------------------------------------------------------------- */

/* Presence is written without a fence, so not before it is clear that the name and the slots are
 * still ours: whoever serves them now would not write again what we have overwritten. */
static void begin_writing(struct shard *shard)
{
    if (shard->writing || !shard->redis_up || !control_may_write(shard->control, shard->now_ms))
        return;
    shard->writing = true;
    roster_redis_up(shard->roster);
}

static void on_map(void *ctx, const struct slotmap *map)
{
    struct shard *shard = ctx;
    shard->actions.map_epoch(shard->ctx, slotmap_epoch(map));
    push_map_to_all(shard);
}

/* Our slots as runs of one epoch, for Owned. */
static size_t make_runs(struct shard *shard)
{
    size_t count = 0;
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        if (!shard->owned[slot])
            continue;
        uint32_t epoch = control_epoch(shard->control, slot);
        Lahar__Link__V1__SlotRun *run = count > 0 ? &shard->runs[count - 1] : NULL;
        if (run != NULL && run->first + run->count == slot && run->epoch == epoch) {
            run->count++;
            continue;
        }
        run = shard->run_list[count] = &shard->runs[count];
        *run = (Lahar__Link__V1__SlotRun)LAHAR__LINK__V1__SLOT_RUN__INIT;
        run->first = slot;
        run->count = 1;
        run->epoch = epoch;
        count++;
    }
    return count;
}

static void on_owner(void *ctx)
{
    struct shard *shard = ctx;
    uint32_t slots = 0;
    for (uint32_t slot = 0; slot < GID_SLOTS; slot++) {
        shard->owned[slot] = control_owns(shard->control, slot);
        slots += shard->owned[slot];
        if (shard->owned[slot])
            metrics_set(shard->metrics, ROUTER_METRIC_EPOCH, control_epoch(shard->control, slot));
    }
    metrics_set(shard->metrics, ROUTER_METRIC_SLOTS, slots);
    begin_writing(shard);
    bars_own(shard->bars, shard->owned);
    shares_listen(shard->shares, shard->now_ms);
    roster_own(shard->roster, shard->owned, shard->run_list, make_runs(shard));
}

static void add_flight_counts(struct flight_counts *sum, const struct flight_counts *counts)
{
    static_assert(sizeof *sum % sizeof(uint64_t) == 0, "flight counts are numbers only");
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

static void new_flight(struct shard *shard);

/* What was on its way ends here for us, as what nobody knows the end of. */
static void give_up_flight(struct shard *shard)
{
    struct flight_counts last = *flight_counts(shard->flight);
    last.unknown += flight_sends_in_flight(shard->flight);
    last.session_gone += flight_deliveries_in_flight(shard->flight);
    add_flight_counts(&shard->flight_past, &last);
    flight_free(shard->flight);
    new_flight(shard);
}

static void on_restored(void *ctx)
{
    bars_restore(((struct shard *)ctx)->bars);
}

static void on_stepped_down(void *ctx)
{
    struct shard *shard = ctx;
    shard_count(shard, ROUTER_METRIC_STEPPED_DOWN);
    shard->serving = false;
    memset(shard->owned, 0, sizeof shard->owned);
    metrics_set(shard->metrics, ROUTER_METRIC_SLOTS, 0);
    give_up_flight(shard);
    roster_forget(shard->roster);
    bars_forget(shard->bars);
    shard->actions.renew(shard->ctx);
}

static void on_poll(void *ctx, uint64_t next_gid, uint64_t sites_revision)
{
    struct shard *shard = ctx;
    identity_poll(shard->identity, next_gid);
    sitebook_poll(shard->sitebook, sites_revision);
    keyring_poll(shard->keyring, shard->wall_ms);
}

/* --- roster and flight ------------------------------------------------------------------------ */

static uint32_t roster_epoch(void *ctx, uint32_t slot)
{
    const struct shard *shard = ctx;
    return shard->owned[slot] ? control_epoch(shard->control, slot) : 0;
}

static void roster_say(void *ctx, uint32_t peer, Lahar__Link__V1__LinkFrame *frame)
{
    push_frame(ctx, peer, frame);
}

static void session_begun(void *ctx, uint64_t gid, const struct flight_session *session,
                          uint64_t replaced)
{
    struct shard *shard = ctx;
    flight_session_begun(shard->flight, gid, session, replaced, shard->now_ms);
}

static void session_ended(void *ctx, uint64_t gid, uint64_t session)
{
    struct shard *shard = ctx;
    flight_session_ended(shard->flight, gid, session, shard->now_ms);
}

static void all_known(void *ctx)
{
    struct shard *shard = ctx;
    flight_all_known(shard->flight, shard->now_ms);
}

static void roster_loaded(void *ctx)
{
    struct shard *shard = ctx;
    shard->serving = true;
    log_info("serving");
}

static size_t flight_sessions(void *ctx, uint64_t gid, struct flight_session *out, bool *unknown)
{
    return roster_sessions(((struct shard *)ctx)->roster, gid, out, unknown);
}

static bool flight_deliver(void *ctx, uint32_t edge, struct hot_link_deliver *deliver)
{
    struct shard *shard = ctx;
    uint32_t peer = roster_peer(shard->roster, edge);
    if (peer == EDGES_NO_PEER)
        return false;
    deliver->epoch = control_epoch(shard->control, gid_slot(deliver->to));
    size_t len = hot_link_deliver_write(shard->scratch, deliver);
    assert(len <= sizeof shard->scratch);
    return shard->actions.send(shard->ctx, peer, LINK_CREDITED, span_of(shard->scratch, len)) ==
           LINK_QUEUED;
}

static void flight_answer(void *ctx, uint32_t edge, const struct hot_answer *answer)
{
    struct shard *shard = ctx;
    size_t len = hot_answer_write(shard->scratch, answer);
    shard_give(shard, roster_peer(shard->roster, edge), span_of(shard->scratch, len));
}

static void flight_keep_dseq(void *ctx, uint64_t gid, uint64_t device, uint64_t session,
                             uint32_t dseq)
{
    roster_keep_dseq(((struct shard *)ctx)->roster, gid, device, session, dseq);
}

static void new_flight(struct shard *shard)
{
    shard->flight = flight_new(&shard->options.flight,
                               &(struct flight_actions){.sessions = flight_sessions,
                                                        .deliver = flight_deliver,
                                                        .answer = flight_answer,
                                                        .keep_dseq = flight_keep_dseq},
                               shard);
}

/* --- identity, sites, admin ------------------------------------------------------------------- */

static void identity_resolved(void *ctx, uint32_t edge, uint64_t req, enum identity_outcome outcome,
                              uint64_t gid)
{
    handle_resolved(ctx, edge, req, outcome, gid);
}

static bool may_write(void *ctx)
{
    const struct shard *shard = ctx;
    return control_may_write(shard->control, shard->now_ms);
}

static void site_changed(void *ctx, struct span id, struct span packed, uint64_t revision)
{
    push_site_to_all(ctx, id, packed, revision);
}

static void written(void *ctx, uint64_t token, const char *error)
{
    struct shard *shard = ctx;
    if (token >= KICK_TOKENS)
        kick_written(shard->kick, token, error);
    else
        admin_written(shard->admin, token, error);
}

static void keyring_random(void *ctx, void *at, size_t len)
{
    const struct shard *shard = ctx;
    shard->actions.random(shard->ctx, at, len);
}

static void keyring_changed(void *ctx)
{
    push_ticket_keys_to_all(ctx);
}

static void kick_done(void *ctx, uint32_t peer, uint64_t req, const char *error, uint64_t kicked)
{
    struct shard *shard = ctx;
    admin_kicked(shard->admin, peer, req, error, kicked);
}

static bool admin_owns(void *ctx, uint32_t slot)
{
    const struct shard *shard = ctx;
    return shard->serving && shard->owned[slot];
}

/* --- life ------------------------------------------------------------------------------------- */

static void new_parts(struct shard *shard)
{
    const struct shard_options *options = &shard->options;
    shard->control = control_new(&options->control,
                                 &(struct control_actions){.command = control_command,
                                                           .on_map = on_map,
                                                           .on_owner = on_owner,
                                                           .on_restored = on_restored,
                                                           .on_stepped_down = on_stepped_down,
                                                           .on_poll = on_poll},
                                 shard);
    shard->identity = identity_new(
        &(struct identity_options){.prefix = options->control.prefix,
                                   .cache_max = options->identity_cache_max,
                                   .pending_max = RESOLVES_MAX},
        &(struct identity_actions){identity_command, identity_resolved, may_write, roster_epoch},
        shard);
    shard->shares = shares_new();
    shard->sitebook =
        sitebook_new(options->control.prefix,
                     &(struct sitebook_actions){sitebook_command, site_changed, written}, shard);
    shard->keyring = keyring_new(
        &(struct keyring_options){options->control.prefix, options->ticket_rotate_s},
        &(struct keyring_actions){keyring_command, keyring_random, keyring_changed}, shard);
    shard->bars =
        bars_new(&(struct bars_options){.prefix = options->control.prefix,
                                        .bars_max = options->kicks_max,
                                        .life_s = 2 * options->ticket_rotate_s + HOUR_S},
                 &(struct bars_actions){bars_command, may_write, roster_epoch, written}, shard);
    shard->roster = roster_new(&(struct roster_options){.prefix = options->control.prefix,
                                                        .devices_max = options->devices_max,
                                                        .sessions_max = options->sessions_max,
                                                        .announce_ms = options->announce_ms,
                                                        .likely_ms = options->likely_ms,
                                                        .sweep_after_ms = options->sweep_after_ms,
                                                        .sweep_per_s = options->sweep_per_s,
                                                        .bars = shard->bars},
                               &(struct roster_actions){.command = roster_command,
                                                        .epoch = roster_epoch,
                                                        .say = roster_say,
                                                        .begun = session_begun,
                                                        .ended = session_ended,
                                                        .all_known = all_known,
                                                        .loaded = roster_loaded},
                               shard);
    new_flight(shard);
    shard->kick = kick_new(&(struct kick_parts){shard->sitebook, shard->roster, shard->bars},
                           &(struct kick_actions){.owns = admin_owns, .done = kick_done}, shard);
    shard->admin = admin_new(shard->sitebook, shard->roster, shard->kick, shard->arena,
                             &(struct admin_actions){roster_say, admin_owns}, shard);
}

struct shard *shard_new(const struct shard_options *options, const struct shard_actions *actions,
                        void *ctx, struct metrics *metrics)
{
    assert(options->devices_max > 0 && options->devices_max <= FLIGHT_DEVICES_MAX);
    struct shard *shard = calloc(1, sizeof *shard);
    assert(shard != NULL);
    shard->options = *options;
    shard->actions = *actions;
    shard->ctx = ctx;
    shard->metrics = metrics;
    shard->arena = arena_new(ARENA_BYTES);
    shard->out = arena_new(ARENA_BYTES);
    shard->runs = calloc(GID_SLOTS, sizeof *shard->runs);
    shard->run_list = calloc(GID_SLOTS, sizeof *shard->run_list);
    assert(shard->runs != NULL && shard->run_list != NULL);
    new_parts(shard);
    return shard;
}

void shard_free(struct shard *shard)
{
    if (shard == NULL)
        return;
    admin_free(shard->admin);
    kick_free(shard->kick);
    bars_free(shard->bars);
    keyring_free(shard->keyring);
    flight_free(shard->flight);
    roster_free(shard->roster);
    sitebook_free(shard->sitebook);
    shares_free(shard->shares);
    identity_free(shard->identity);
    control_free(shard->control);
    arena_free(shard->arena);
    arena_free(shard->out);
    free(shard->runs);
    free(shard->run_list);
    free(shard->peers);
    free(shard);
}

void shard_time(struct shard *shard, uint64_t now_ms, uint64_t wall_ms)
{
    shard->now_ms = now_ms;
    shard->wall_ms = wall_ms;
    roster_time(shard->roster, now_ms);
    kick_time(shard->kick, now_ms, wall_ms);
}

/* --- links ------------------------------------------------------------------------------------ */

void shard_link_up(struct shard *shard, uint32_t peer, enum keys_role role, uint64_t incarnation,
                   struct span name)
{
    (void)incarnation, (void)name;
    if (peer >= shard->peers_room) {
        uint32_t room = shard->peers_room == 0 ? 64 : shard->peers_room;
        while (room <= peer)
            room *= 2;
        shard->peers = realloc(shard->peers, room * sizeof *shard->peers);
        assert(shard->peers != NULL);
        memset(shard->peers + shard->peers_room, 0,
               (room - shard->peers_room) * sizeof *shard->peers);
        shard->peers_room = room;
    }
    shard->peers[peer] = (struct shard_peer){true, role};
    push_map(shard, peer);
}

void shard_link_frame(struct shard *shard, uint32_t peer, struct span frame)
{
    assert(peer < shard->peers_room && shard->peers[peer].up);
    handle_frame(shard, peer, frame);
}

void shard_link_down(struct shard *shard, uint32_t peer)
{
    assert(peer < shard->peers_room && shard->peers[peer].up);
    shard->peers[peer].up = false;
    admin_link_down(shard->admin, peer);
    kick_link_down(shard->kick, peer);
    census_link_down(shard->roster, peer);
}

/* --- Redis ------------------------------------------------------------------------------------ */

void shard_redis_up(struct shard *shard)
{
    shard->redis_up = true;
    functions_begin(functions_command, shard);
    control_up(shard->control, shard->now_ms);
    identity_up(shard->identity);
    bars_up(shard->bars);
}

void shard_redis_down(struct shard *shard)
{
    shard->redis_up = shard->writing = false;
    shard_count(shard, ROUTER_METRIC_REDIS_DOWNS);
    control_down(shard->control, shard->now_ms);
    identity_down(shard->identity);
    bars_down(shard->bars);
    roster_redis_down(shard->roster);
}

void shard_redis_reply(struct shard *shard, uint64_t tag, const struct reply *reply)
{
    uint64_t own = tag & ((UINT64_C(1) << SHARD_TAG_SHIFT) - 1);
    switch (tag >> SHARD_TAG_SHIFT) {
    case SHARD_FUNCTIONS:
        functions_reply(functions_command, shard, own, reply);
        break;
    case SHARD_CONTROL:
        control_reply(shard->control, own, reply, shard->now_ms);
        begin_writing(shard);
        break;
    case SHARD_IDENTITY:
        identity_reply(shard->identity, own, reply);
        break;
    case SHARD_SITEBOOK:
        sitebook_reply(shard->sitebook, own, reply);
        break;
    case SHARD_KEYRING:
        keyring_reply(shard->keyring, own, reply);
        break;
    case SHARD_BARS:
        bars_reply(shard->bars, own, reply);
        break;
    case SHARD_ROSTER:
        roster_reply(shard->roster, own, reply);
        break;
    default:
        assert(!"a reply to nobody's command");
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void show_limits(struct shard *shard)
{
    const struct shard_options *options = &shard->options;
#define SHOW(name, value) metrics_set(shard->metrics, ROUTER_METRIC_LIMIT_##name, value)
    SHOW(SESSIONS, options->sessions_max);
    SHOW(DEVICES, options->devices_max);
    SHOW(UNACKNOWLEDGED, options->flight.lane_entries_max);
    SHOW(PENDING, options->flight.pending_max);
    SHOW(PENDING_BYTES, options->flight.pending_bytes_max);
    SHOW(OUTCOMES, options->flight.outcomes_max);
    SHOW(CONVERSATIONS, options->flight.convs_max);
    SHOW(RESOLVES, RESOLVES_MAX);
    SHOW(STORE_QUEUE, ROSTER_QUEUE_MAX);
    SHOW(EDGES, EDGES_MAX);
    SHOW(SITES_SHARED, SHARES_SITES_MAX);
    SHOW(KICKS, options->kicks_max);
    SHOW(NOW_KICKS, bars_count(shard->bars));
    SHOW(REJECTED_KICKS, bars_beyond(shard->bars));
    SHOW(NOW_DEVICES, roster_most_devices(shard->roster));
#undef SHOW
}

static void tell_metrics(struct shard *shard)
{
    struct flight_counts counts = shard->flight_past;
    add_flight_counts(&counts, flight_counts(shard->flight));
    shard->sends.in_flight = flight_sends_in_flight(shard->flight);
    shard->sends.deliveries_in_flight = flight_deliveries_in_flight(shard->flight);
    router_metrics_ledger(shard->metrics, &shard->sends, &counts);
    router_metrics_roster(shard->metrics, shard->roster);
    struct flight_levels levels = flight_levels(shard->flight);
    router_metrics_limits(shard->metrics, &shard->sends, &counts, &levels, shard->roster);
    show_limits(shard);
    uint64_t waiting, refused;
    identity_waiting(shard->identity, &waiting, &refused);
    metrics_set(shard->metrics, ROUTER_METRIC_LIMIT_NOW_RESOLVES, waiting);
    metrics_set(shard->metrics, ROUTER_METRIC_LIMIT_REJECTED_RESOLVES, refused);
    metrics_set(shard->metrics, ROUTER_METRIC_LIMIT_NOW_SITES_SHARED, shares_sites(shard->shares));
    metrics_set(shard->metrics, ROUTER_METRIC_LIMIT_REJECTED_SITES_SHARED,
                shares_refused(shard->shares));
    metrics_set(shard->metrics, ROUTER_METRIC_OWNER, control_not_ready(shard->control) == NULL);
    metrics_set(shard->metrics, ROUTER_METRIC_SERVING, shard->serving);
    metrics_set(shard->metrics, ROUTER_METRIC_MAY_WRITE,
                control_may_write(shard->control, shard->now_ms));
    metrics_set(shard->metrics, ROUTER_METRIC_REDIS_UP, shard->redis_up);
    metrics_set(shard->metrics, ROUTER_METRIC_BARS, bars_count(shard->bars));
    metrics_set(shard->metrics, ROUTER_METRIC_TICKET_KEYS, keyring_revision(shard->keyring));
    metrics_set(shard->metrics, ROUTER_METRIC_SITES, sitebook_revision(shard->sitebook));
}

void shard_tick(struct shard *shard)
{
    control_tick(shard->control, shard->now_ms);
    roster_tick(shard->roster);
    bars_tick(shard->bars, shard->wall_ms);
    kick_tick(shard->kick);
    flight_tick(shard->flight, shard->now_ms);
    if (shard->now_ms - shard->second_ms < SECOND_MS)
        return;
    shard->second_ms = shard->now_ms;
    shares_tick(shard->shares, shard->now_ms);
    tell_metrics(shard);
}

void shard_turn_end(struct shard *shard)
{
    /* Whoever stood still for longer than his lease hears of the next owner only after this turn.
     */
    if (control_may_write(shard->control, shard->now_ms))
        roster_turn_end(shard->roster);
}

void shard_leave(struct shard *shard)
{
    control_release(shard->control);
}

const char *shard_not_ready(const struct shard *shard)
{
    const char *why = control_not_ready(shard->control);
    if (why != NULL)
        return why;
    if (!shard->serving)
        return "presence is being loaded";
    if (!bars_ready(shard->bars))
        return "who was kicked was not read yet";
    if (!sitebook_ready(shard->sitebook))
        return "the sites were not read yet";
    return keyring_revision(shard->keyring) != 0 ? NULL : "the keys of tickets were not read yet";
}
