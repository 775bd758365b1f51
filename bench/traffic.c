#include "bench/traffic.h"

#include "base/rand.h"
#include "bench/traffic_table.h"
#include "bench/writing.h"

#include <stdlib.h>

#define GIVE_UP_NS (30 * NS_PER_S)
/* Each slot is looked at once in that time. */
#define SWEEP_NS (200 * NS_PER_MS)
#define WAIT_NS (50 * NS_PER_MS)
/* What is due goes out in portions, so that answers are read in between. */
#define SENDS_PER_TURN 512u
#define CONFIRMED_PER_USER 32u
/* For open loops, and for what is followed; memory only once they are used. */
#define SPARE_SLOTS (1u << 22)
#define KEEP_MANY_BYTES 1024u
#define KEEP_FEW_BYTES (64u * 1024u)
#define FEW_USERS 4096u
#define MANY_USERS 32768u

enum note_kind { NOTE_ARRIVED, NOTE_STRAY, NOTE_REPLAYED };

/* --- how messages end ------------------------------------------------------------------------- */

static bool stayed(const struct traffic *traffic, uint32_t user)
{
    return user < team_shape(traffic->member->team)->users &&
           team_where(traffic->member->team, user) == crowd_home(traffic->crowd, user, 0);
}

static void count_latency(struct traffic *traffic, uint64_t due_ns, uint32_t a, uint32_t b)
{
    struct hist *window = member_window(traffic->member, due_ns);
    uint64_t now = crowd_now_ns(traffic->crowd), ns = now > due_ns ? now - due_ns : 0;
    if (!window)
        return;
    hist_add(window, ns);
    if (traffic->options->comes_back && stayed(traffic, a) && stayed(traffic, b))
        hist_add(&traffic->member->hists[TEAM_STAYED], ns);
}

/* For the sender the message has come to its end: in a closed loop he writes the next one. */
static void ended(struct traffic *traffic, uint32_t sender)
{
    if (!traffic->open_loop)
        writing_think(traffic, sender);
}

static void arrived(struct traffic *traffic, uint64_t number)
{
    struct book_slot *slot = book_find(traffic->book, number);
    if (!slot)
        return; /* given up meanwhile */
    uint32_t sender = slot->sender;
    book_close_arrived(traffic->book, slot, crowd_now_ns(traffic->crowd));
    ended(traffic, sender);
}

static void tell(struct traffic *traffic, uint32_t to, enum note_kind kind, uint64_t number,
                 uint32_t device)
{
    const struct member_note note = {.number = number, .kind = kind, .device = device};
    member_post(traffic->member, to, &note);
}

static void stray(struct traffic *traffic, const struct referee_stamp *stamp, uint32_t owner,
                  uint32_t device, const struct hot_deliver *deliver)
{
    bool replayed = judge_is_replay(&traffic->judge, stamp, deliver);
    if (owner == traffic->member->index)
        book_stray(traffic->book, stamp->number, device, replayed);
    else
        tell(traffic, owner, replayed ? NOTE_REPLAYED : NOTE_STRAY, stamp->number, device);
}

/* --- hearing ---------------------------------------------------------------------------------- */

static void on_deliver(void *ctx, uint32_t user, uint32_t device, const struct hot_deliver *deliver)
{
    struct traffic *traffic = ctx;
    struct member *member = traffic->member;
    struct referee_stamp stamp;
    switch (judge_deliver(&traffic->judge, user, deliver, &stamp)) {
    case JUDGE_NOTHING:
        return;
    case JUDGE_ALTERED:
        traffic->counts->altered++;
        return;
    case JUDGE_FOREIGN:
        traffic->counts->foreign++;
        return;
    case JUDGE_MISROUTED:
        traffic->counts->misrouted++;
        return;
    case JUDGE_FINE:
        break;
    }
    uint32_t owner = member_of(member, stamp.sender);
    switch (book_mark(member_slots(member, owner), team_shape(member->team)->member_slots,
                      stamp.number, device)) {
    case MARK_STRAY:
        stray(traffic, &stamp, owner, device, deliver);
        return;
    case MARK_FURTHER:
        return;
    case MARK_FIRST:
        break;
    }
    traffic->counts->delivered++;
    if (!traffic_is_ephemeral(traffic))
        return;
    traffic->counts->completed++;
    count_latency(traffic, stamp.sent_ns, stamp.sender, user);
    if (owner == member->index)
        arrived(traffic, stamp.number);
    else if (!traffic->open_loop)
        tell(traffic, owner, NOTE_ARRIVED, stamp.number, device);
}

/* The slot that an answer is about, or NULL. */
static struct book_slot *answered(struct traffic *traffic, uint32_t user, uint32_t tag,
                                  struct span cmid)
{
    uint32_t sender;
    uint64_t number;
    if (tag != 0)
        return book_find_tag(traffic->book, user, tag);
    if (!referee_cmid_read(cmid, traffic->run, &sender, &number))
        return NULL;
    if (sender != user) {
        traffic->counts->misrouted++;
        return NULL;
    }
    return book_find(traffic->book, number);
}

static void on_ack(void *ctx, uint32_t user, uint32_t tag, const struct hot_ack *ack)
{
    struct traffic *traffic = ctx;
    struct book_slot *slot = answered(traffic, user, tag, ack->cmid);
    if (!slot)
        return;
    count_latency(traffic, slot->sent_ns, user, slot->recipient);
    book_close_acked(traffic->book, slot, crowd_now_ns(traffic->crowd));
    ended(traffic, user);
}

static void on_nack(void *ctx, uint32_t user, uint32_t tag, const struct hot_nack *nack)
{
    struct traffic *traffic = ctx;
    struct book_slot *slot = answered(traffic, user, tag, nack->cmid);
    if (!slot)
        return;
    uint64_t again_ns = crowd_now_ns(traffic->crowd);
    switch (nack->reason) {
    case NACK_BUSY:
        traffic->counts->busy++;
        again_ns += nack->retry_after_ms * NS_PER_MS;
        break;
    case NACK_SEQ_GAP:
        traffic->counts->gaps++;
        again_ns += NS_PER_MS;
        break;
    default:
        if (reasons_nack_outcome(nack->reason) == NACK_IS_UNKNOWN)
            book_close_given_up(traffic->book, slot);
        else
            book_close_refused(traffic->book, slot, nack->reason);
        ended(traffic, user);
        return;
    }
    slot->due_ns = again_ns;
    agenda_add(&traffic->again, again_ns, (uint32_t)(slot->number & BOOK_SLOTS_MAX));
}

static void on_online(void *ctx, uint32_t user, uint32_t device, uint64_t gid, uint32_t server)
{
    struct traffic *traffic = ctx;
    member_set_gid(traffic->member, user, gid);
    if (device == 0 && user < team_shape(traffic->member->team)->users)
        member_set_where(traffic->member, user, (uint8_t)server);
}

static void on_lost(void *ctx, uint32_t user, uint32_t device)
{
    struct traffic *traffic = ctx;
    if (device == 0)
        member_set_where(traffic->member, user, TEAM_NOWHERE);
}

/* --- time ------------------------------------------------------------------------------------- */

static void overdue(void *ctx, struct book_slot *slot)
{
    struct traffic *traffic = ctx;
    uint32_t sender = slot->sender;
    if (!traffic_is_ephemeral(traffic) &&
        crowd_now_ns(traffic->crowd) < slot->sent_ns + GIVE_UP_NS) {
        /* Elsewhere one that is sent again is another message: the server would double nothing. */
        if (!crowd_is_online(traffic->crowd, sender, 0) ||
            !traffic->options->target->takes_resends) {
            slot->due_ns = crowd_now_ns(traffic->crowd) + AWAY_NS;
            return;
        }
        traffic->counts->resent++;
        writing_transmit(traffic, slot);
        return;
    }
    book_close_given_up(traffic->book, slot);
    ended(traffic, sender);
}

static void sweep(struct traffic *traffic)
{
    uint64_t now = crowd_now_ns(traffic->crowd);
    traffic->sweep_rest +=
        (double)(now - traffic->swept_ns) / (double)SWEEP_NS * book_used(traffic->book);
    traffic->swept_ns = now;
    uint32_t count = traffic->sweep_rest < UINT32_MAX ? (uint32_t)traffic->sweep_rest : UINT32_MAX;
    if (count == 0)
        return;
    traffic->sweep_rest -= count;
    book_sweep(traffic->book, now, count, overdue, traffic);
}

static void send_again(struct traffic *traffic)
{
    uint32_t place;
    uint64_t now = crowd_now_ns(traffic->crowd);
    while (agenda_take(&traffic->again, now, &place)) {
        struct book_slot *slot = book_at(traffic->book, place);
        if (slot && slot->due_ns <= now)
            overdue(traffic, slot);
    }
}

static void stop_thinking(struct traffic *traffic)
{
    uint32_t user;
    uint64_t now = crowd_now_ns(traffic->crowd);
    while (agenda_take(&traffic->thinking, now, &user))
        writing_next(traffic, user);
}

/* What has fallen due. Senders are random, so one who has no room leaves it to another. */
static void send_due(struct traffic *traffic)
{
    struct member *member = traffic->member;
    if (!traffic->writing || !traffic->open_loop)
        return;
    uint64_t now = crowd_clock_ns(traffic->crowd), due;
    for (uint32_t i = 0; i < SENDS_PER_TURN && (due = pace_next_ns(&traffic->pace)) <= now; i++) {
        enum sent sent = SENT_NOTHING;
        for (uint32_t tries = 0; tries < TRIES && sent == SENT_NOTHING; tries++) {
            uint32_t sender = member->first + dice_below(&traffic->dice, member->users);
            if (traffic_is_ephemeral(traffic) ||
                book_flying_of(traffic->book, sender) < CONFIRMED_PER_USER)
                sent = writing_send(traffic, sender, due);
        }
        if (sent == SENT_NOTHING)
            return; /* it stays due, and goes out late */
        if (member_window(member, due))
            hist_add(&member->hists[TEAM_LATE], now - due);
        pace_take(&traffic->pace, &traffic->dice);
    }
}

/* When the open loop ends, what was due in its window and has not gone out counts as late as it is
 * by then: to leave it out would hide that servers or generator fell behind. */
static void drop_due(struct traffic *traffic)
{
    struct member *member = traffic->member;
    uint64_t now = crowd_clock_ns(traffic->crowd), due;
    while ((due = pace_next_ns(&traffic->pace)) < member->now.ended_ns[0]) {
        struct hist *window = member_window(member, due);
        uint64_t late = now > due ? now - due : 0;
        if (window) {
            hist_add(window, late);
            hist_add(&member->hists[TEAM_LATE], late);
        }
        member->counts.not_sent++;
        pace_take(&traffic->pace, &traffic->dice);
    }
}

static uint64_t wait_ns(struct traffic *traffic)
{
    uint64_t now = crowd_now_ns(traffic->crowd), next = now + WAIT_NS;
    uint64_t at = agenda_next_ns(&traffic->thinking);
    next = at < next ? at : next;
    at = agenda_next_ns(&traffic->again);
    next = at < next ? at : next;
    at = traffic->writing && traffic->open_loop ? pace_next_ns(&traffic->pace) : UINT64_MAX;
    next = at < next ? at : next;
    return next > now && member_may_sleep(traffic->member) ? next - now : 0;
}

/* --- phases ----------------------------------------------------------------------------------- */

static void begin_writing(struct traffic *traffic)
{
    const struct member *member = traffic->member;
    traffic->swept_ns = crowd_now_ns(traffic->crowd);
    traffic->open_loop = member->now.rate > 0;
    traffic->writing = traffic->open_loop || traffic->manner == MANNER_WRITES;
    book_set_told(traffic->book, !traffic->open_loop);
    if (traffic->open_loop || !traffic->writing)
        return;
    for (uint32_t user = 0; user < member->users; user++)
        for (uint32_t i = 0; i < traffic->options->in_flight; i++)
            writing_think(traffic, member->first + user);
}

static void enter(struct traffic *traffic)
{
    const struct member *member = traffic->member;
    enum team_phase before = traffic->phase, phase = member->now.phase;
    traffic->phase = phase;
    if (before == TEAM_LOGIN && (phase == TEAM_WARMUP || phase == TEAM_MEASURE)) {
        if (traffic->manner == MANNER_COMES_AND_GOES)
            crowd_come_and_go(traffic->crowd);
        else
            begin_writing(traffic);
    }
    if (before != TEAM_MEASURE && phase == TEAM_MEASURE && traffic->manner == MANNER_COMES_AND_GOES)
        hist_clear(&traffic->member->hists[TEAM_LOGINS]);
    if (phase == TEAM_DRAIN) {
        if (traffic->open_loop)
            drop_due(traffic);
        traffic->writing = false;
        crowd_rest(traffic->crowd);
    }
    if (phase == TEAM_AGAIN)
        crowd_again(traffic->crowd);
    if (traffic->open_loop) {
        double share = (double)member->users / team_shape(member->team)->users;
        pace_set(&traffic->pace, member->now.rate * share, crowd_clock_ns(traffic->crowd),
                 &traffic->dice);
    }
}

static void stand(struct traffic *traffic)
{
    struct member *member = traffic->member;
    struct crowd_counts counts = crowd_counts(traffic->crowd);
    member->counts.online = counts.online;
    member->counts.lost = counts.lost;
    member->counts.logins = counts.logins;
    member->counts.back = counts.back;
    member->counts.refused = counts.refused;
    member->counts.by_ticket = counts.by_ticket;
    member->counts.no_ticket = counts.no_ticket;
    traffic->counts->out_of_order = counts.out_of_order;
    if (*crowd_why(traffic->crowd))
        member_fail(member, "%s", crowd_why(traffic->crowd));
    if (!traffic->logged_in && crowd_is_in(traffic->crowd)) {
        traffic->logged_in = true;
        member_say(member, TEAM_LOGGED_IN);
    }
    if (traffic->phase == TEAM_DRAIN && book_flying(traffic->book) == 0 &&
        book_followed(traffic->book) == 0)
        member_say(member, TEAM_DRAINED);
    if (traffic->phase == TEAM_AGAIN && crowd_is_in(traffic->crowd))
        member_say(member, TEAM_IN_AGAIN);
}

static void read_notes(struct traffic *traffic)
{
    struct member_note note;
    while (member_take(traffic->member, &note)) {
        if (note.kind == NOTE_ARRIVED)
            arrived(traffic, note.number);
        else
            book_stray(traffic->book, note.number, note.device, note.kind == NOTE_REPLAYED);
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

uint32_t traffic_slots(const struct options *options, uint32_t member_users)
{
    uint64_t slots = (uint64_t)member_users * options->in_flight + SPARE_SLOTS;
    return slots < BOOK_SLOTS_MAX ? (uint32_t)slots : BOOK_SLOTS_MAX;
}

static uint32_t share(uint32_t all, const struct member *member)
{
    uint32_t members = team_shape(member->team)->members;
    return all > members ? all / members : 1;
}

static void open_crowd(struct traffic *traffic)
{
    struct member *member = traffic->member;
    const struct options *options = traffic->options;
    uint32_t all = team_shape(member->team)->users * options->devices;
    const struct crowd_options crowd_options = {
        .target = options->target,
        .servers = options->servers,
        .ca = options->ca,
        .site = options->site,
        .key = options->key,
        .cluster = options->cluster,
        .device = options->device,
        .base = options->first,
        .first = member->first,
        .users = member->users,
        .gone_first = member->gone_first,
        .gone = member->gone,
        .devices = options->devices,
        .logins_at_once = share(options->logins_at_once, member),
        .keep_bytes = traffic->manner != MANNER_WRITES || all > MANY_USERS ? 0
                      : all > FEW_USERS                                    ? KEEP_MANY_BYTES
                                                                           : KEEP_FEW_BYTES,
        .sources = options->sources,
        .wake_fd = member->wake_fd,
        /* So that those who stay are in processes of their own: the work of coming back must not
         * delay how their messages are timed. */
        .in_blocks_of = options->comes_back ? all : 0,
        .comes_back = options->comes_back,
        .tickets = options->tickets,
    };
    const struct crowd_events events = {on_deliver, on_ack, on_nack, on_online, on_lost};
    const struct crowd_hists hists = {&member->hists[TEAM_LOGINS], &member->hists[TEAM_BACK]};
    traffic->crowd = crowd_new(&crowd_options, &events, &hists, traffic);
}

static struct traffic *traffic_new(struct member *member, enum traffic_manner manner)
{
    const struct options *options = member->options;
    struct traffic *traffic = calloc(1, sizeof *traffic);
    assert(traffic != NULL);
    traffic->member = member;
    traffic->options = options;
    traffic->counts = &member->counts.referee;
    traffic->manner = manner;
    traffic->run = member_run(member);
    traffic->dice.state = rand_u64() | 1;
    traffic->pace.even = options->even;
    judge_init(&traffic->judge, member);
    const struct book_options book_options = {
        .words = member_slots(member, member->index),
        .slots = team_shape(member->team)->member_slots,
        .devices = options->devices,
        .message_class = options->message_class,
        .ack_is_delivery = options->target->ack_is_delivery,
        .keeps_lists = options->message_class != HOT_EPHEMERAL,
        .first = member->first,
        .senders = member->users,
    };
    traffic->book = book_new(&book_options, traffic->counts);
    open_crowd(traffic);
    return traffic;
}

static void traffic_free(struct traffic *traffic)
{
    crowd_free(traffic->crowd);
    book_free(traffic->book);
    agenda_free(&traffic->thinking);
    agenda_free(&traffic->again);
    free(traffic);
}

static void run(struct member *member, enum traffic_manner manner)
{
    struct traffic *traffic = traffic_new(member, manner);
    crowd_login(traffic->crowd);
    while (traffic->phase != TEAM_DONE) {
        stand(traffic);
        if (member_turn(member))
            enter(traffic);
        read_notes(traffic);
        stop_thinking(traffic);
        send_again(traffic);
        send_due(traffic);
        sweep(traffic);
        crowd_turn(traffic->crowd, wait_ns(traffic));
        member_wake_others(member);
    }
    traffic_free(traffic);
}

void traffic_member(struct member *member)
{
    run(member, MANNER_WRITES);
}

void traffic_hold(struct member *member)
{
    run(member, MANNER_HOLDS);
}

void traffic_come_and_go(struct member *member)
{
    run(member, MANNER_COMES_AND_GOES);
}
