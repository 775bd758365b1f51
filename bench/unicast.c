#include "bench/unicast.h"

#include "base/map.h"
#include "base/rand.h"
#include "bench/report.h"
#include "proto/gid.h"

#include <stdio.h>
#include <stdlib.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define LOST_AFTER_NS (5 * NS_PER_S)
#define RETRY_NS (2 * NS_PER_S)
#define GIVE_UP_NS (30 * NS_PER_S)
#define SWEEP_NS (50 * NS_PER_MS)
#define DRAIN_NS (10 * NS_PER_S)

/* One of a user's places for a message on its way. Message number n has place n mod in_flight. */
struct slot {
    uint64_t number, sent_ns, due_ns;
    uint64_t seq;
    uint32_t recipient;
    bool busy, arrived;
};

/* A message that was given up without having arrived. */
struct given_up {
    uint64_t number;
    uint32_t sender;
    enum { GIVEN_UP_LOST, GIVEN_UP_REFUSED, GIVEN_UP_CAME } how;
};

struct unicast {
    const struct options *options;
    struct crowd *crowd;
    struct slot *slots;
    uint64_t *seqs; /* by user: the last used */
    struct referee_counts counts;
    struct map given_up;
    struct given_up *givens;
    uint32_t given_count, given_room;
    uint64_t run, random, device;
    uint64_t swept_ns, busy_slots;
    bool stopping, measuring;
    struct hist latency;
    uint8_t body[FRAME_PAYLOAD_SIZE_MAX];
};

static uint64_t next_random(struct unicast *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

static struct slot *slot_of(struct unicast *run, uint32_t user, uint64_t number)
{
    return &run->slots[(size_t)user * run->options->in_flight + number % run->options->in_flight];
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool is_taken(struct unicast *run, uint32_t user, uint32_t recipient)
{
    if (recipient == user)
        return true;
    if (run->options->message_class == HOT_EPHEMERAL)
        return false;
    for (uint32_t i = 0; i < run->options->in_flight; i++) {
        const struct slot *other = slot_of(run, user, i);
        if (other->busy && other->recipient == recipient)
            return true;
    }
    return false;
}

static uint32_t pick_recipient(struct unicast *run, uint32_t user)
{
    uint32_t recipient;
    do
        recipient = (uint32_t)((next_random(run) >> 32) * run->options->users >> 32);
    while (is_taken(run, user, recipient));
    return recipient;
}

static void transmit(struct unicast *run, uint32_t user, struct slot *slot)
{
    const struct options *options = run->options;
    bool ephemeral = options->message_class == HOT_EPHEMERAL;
    const struct referee_stamp stamp = {run->run, slot->number, slot->sent_ns, user,
                                        slot->recipient};
    uint8_t cmid[GID_CMID_SIZE];
    referee_write(run->body, options->bytes, &stamp);
    struct hot_send send = {
        .to = crowd_gid(run->crowd, slot->recipient),
        .class = options->message_class,
        .body = span_of(run->body, options->bytes),
    };
    if (!ephemeral) {
        referee_cmid(cmid, &stamp);
        send.cmid = span_of(cmid, sizeof cmid);
        send.seq = send.settled = slot->seq;
    }
    crowd_send(run->crowd, user, &send, 1 + (uint32_t)(slot->number % run->options->in_flight));
    slot->due_ns = crowd_now_ns(run->crowd) + (ephemeral ? LOST_AFTER_NS : RETRY_NS);
}

static void send_next(struct unicast *run, uint32_t user, struct slot *slot)
{
    slot->busy = false;
    if (run->stopping || crowd_gid(run->crowd, user) == 0)
        return;
    slot->recipient = pick_recipient(run, user);
    slot->busy = true;
    slot->arrived = false;
    slot->number += run->options->in_flight;
    slot->seq = ++run->seqs[user];
    slot->sent_ns = crowd_now_ns(run->crowd);
    run->counts.sent++;
    run->busy_slots++;
    transmit(run, user, slot);
}

/* --- how messages end ------------------------------------------------------------------------- */

static void end_slot(struct unicast *run, uint32_t user, struct slot *slot)
{
    run->busy_slots--;
    send_next(run, user, slot);
}

static void complete(struct unicast *run, uint32_t user, struct slot *slot)
{
    run->counts.completed++;
    if (run->measuring)
        hist_add(&run->latency, crowd_now_ns(run->crowd) - slot->sent_ns);
    end_slot(run, user, slot);
}

static uint64_t given_hash(uint32_t sender, uint64_t number)
{
    return gid_session_mix(sender, 0, number);
}

static bool same_given(const void *ctx, uint32_t index, const void *key)
{
    const struct unicast *run = ctx;
    const struct given_up *a = &run->givens[index], *b = key;
    return a->sender == b->sender && a->number == b->number;
}

static void give_up(struct unicast *run, uint32_t user, struct slot *slot, bool refused)
{
    if (!slot->arrived) {
        if (run->given_count == run->given_room) {
            run->given_room = run->given_room ? run->given_room * 2 : 1024;
            run->givens = realloc(run->givens, run->given_room * sizeof *run->givens);
            assert(run->givens != NULL);
        }
        run->givens[run->given_count] =
            (struct given_up){slot->number, user, refused ? GIVEN_UP_REFUSED : GIVEN_UP_LOST};
        map_add(&run->given_up, given_hash(user, slot->number), run->given_count++);
    }
    end_slot(run, user, slot);
}

/* --- hearing ---------------------------------------------------------------------------------- */

/* One that is not on its way any more, or has arrived before. */
static void came_again(struct unicast *run, const struct referee_stamp *stamp,
                       const struct hot_deliver *deliver)
{
    const struct given_up key = {stamp->number, stamp->sender, GIVEN_UP_LOST};
    uint32_t index =
        map_find(&run->given_up, given_hash(stamp->sender, stamp->number), same_given, run, &key);
    if (index != MAP_NONE && run->givens[index].how != GIVEN_UP_CAME) {
        run->counts.late++;
        run->counts.delivered++;
        if (run->givens[index].how == GIVEN_UP_REFUSED)
            run->counts.false_nacks++;
        else if (run->options->message_class == HOT_EPHEMERAL)
            run->counts.lost--;
        run->givens[index].how = GIVEN_UP_CAME;
        return;
    }
    uint8_t cmid[GID_CMID_SIZE], mid[GID_MID_SIZE];
    referee_cmid(cmid, stamp);
    gid_mid(deliver->from, run->device, cmid, mid);
    if (deliver->class != HOT_EPHEMERAL && span_equal(deliver->mid, span_of(mid, sizeof mid)))
        run->counts.replayed++;
    else
        run->counts.doubled++;
}

static void on_deliver(void *ctx, uint32_t user, const struct hot_deliver *deliver)
{
    struct unicast *run = ctx;
    struct referee_stamp stamp;
    if (deliver->body.len == 0 && deliver->mid.len == 0)
        return; /* an empty delivery only moves dseq on */
    if (!referee_read(deliver->body, &stamp)) {
        run->counts.altered++;
        return;
    }
    if (stamp.run != run->run) {
        run->counts.foreign++;
        return;
    }
    if (stamp.sender >= run->options->users || deliver->class != run->options->message_class ||
        deliver->from != crowd_gid(run->crowd, stamp.sender)) {
        run->counts.altered++;
        return;
    }
    if (stamp.recipient != user) {
        run->counts.misrouted++;
        return;
    }
    struct slot *slot = slot_of(run, stamp.sender, stamp.number);
    if (!slot->busy || slot->number != stamp.number || slot->arrived) {
        came_again(run, &stamp, deliver);
        return;
    }
    slot->arrived = true;
    run->counts.delivered++;
    if (run->options->message_class == HOT_EPHEMERAL)
        complete(run, stamp.sender, slot);
}

/* The slot that an answer is about, or NULL. */
static struct slot *answered(struct unicast *run, uint32_t user, struct span cmid)
{
    uint32_t sender;
    uint64_t number;
    if (!referee_cmid_read(cmid, run->run, &sender, &number) || sender != user)
        return NULL;
    struct slot *slot = slot_of(run, user, number);
    return slot->busy && slot->number == number ? slot : NULL;
}

static void on_ack(void *ctx, uint32_t user, const struct hot_ack *ack)
{
    struct unicast *run = ctx;
    struct slot *slot = answered(run, user, ack->cmid);
    if (!slot)
        return;
    if (!slot->arrived)
        run->counts.lost++; /* acknowledged, and nobody has it */
    complete(run, user, slot);
}

static void on_nack(void *ctx, uint32_t user, const struct hot_nack *nack)
{
    struct unicast *run = ctx;
    struct slot *slot = answered(run, user, nack->cmid);
    if (!slot)
        return;
    switch (nack->reason) {
    case NACK_BUSY:
        run->counts.busy++;
        slot->due_ns = crowd_now_ns(run->crowd) + nack->retry_after_ms * NS_PER_MS;
        return;
    case NACK_SEQ_GAP:
        run->counts.gaps++;
        slot->due_ns = crowd_now_ns(run->crowd);
        return;
    default:
        break;
    }
    if (reasons_nack_outcome(nack->reason) == NACK_IS_UNKNOWN) {
        run->counts.unknown++;
        give_up(run, user, slot, false);
        return;
    }
    run->counts.refused[nack->reason]++;
    if (slot->arrived)
        run->counts.false_nacks++;
    give_up(run, user, slot, true);
}

/* --- time ------------------------------------------------------------------------------------- */

static void overdue(struct unicast *run, uint32_t user, struct slot *slot, uint64_t now)
{
    if (run->options->message_class == HOT_EPHEMERAL) {
        run->counts.lost++;
        give_up(run, user, slot, false);
    } else if (now - slot->sent_ns > GIVE_UP_NS) {
        run->counts.unknown++;
        give_up(run, user, slot, false);
    } else {
        run->counts.resent++;
        transmit(run, user, slot);
    }
}

static void sweep(struct unicast *run)
{
    uint64_t now = crowd_now_ns(run->crowd);
    if (now - run->swept_ns < SWEEP_NS)
        return;
    run->swept_ns = now;
    uint32_t in_flight = run->options->in_flight;
    size_t count = (size_t)run->options->users * in_flight;
    for (size_t i = 0; i < count; i++)
        if (run->slots[i].busy && run->slots[i].due_ns <= now)
            overdue(run, (uint32_t)(i / in_flight), &run->slots[i], now);
}

/* False when a connection was lost. */
static bool turns_until(struct unicast *run, uint64_t until)
{
    while (crowd_now_ns(run->crowd) < until && !*crowd_why(run->crowd) &&
           !(run->stopping && run->busy_slots == 0)) {
        crowd_turn(run->crowd, 20);
        sweep(run);
    }
    return !*crowd_why(run->crowd);
}

static bool play(struct unicast *run, struct report_unicast *report)
{
    const struct options *options = run->options;
    run->swept_ns = crowd_now_ns(run->crowd);
    for (uint32_t user = 0; user < options->users; user++)
        for (uint32_t i = 0; i < options->in_flight; i++)
            send_next(run, user, slot_of(run, user, i));
    if (!turns_until(run, crowd_now_ns(run->crowd) + options->warmup * NS_PER_S))
        return false;

    struct referee_counts before = run->counts;
    run->measuring = true;
    report_begin(options, &report->span, crowd_now_ns(run->crowd));
    bool whole = turns_until(run, crowd_now_ns(run->crowd) + options->seconds * NS_PER_S);
    report_end(options, &report->span, crowd_now_ns(run->crowd));
    run->measuring = false;
    report->within = referee_between(&before, &run->counts);

    run->stopping = true;
    return turns_until(run, crowd_now_ns(run->crowd) + DRAIN_NS) && whole;
}

/* What is still on its way when all time is up. */
static void settle(struct unicast *run)
{
    if (run->options->message_class == HOT_EPHEMERAL)
        run->counts.lost += run->busy_slots;
    else
        run->counts.unknown += run->busy_slots;
}

static struct unicast *unicast_new(const struct options *options)
{
    struct unicast *run = calloc(1, sizeof *run);
    assert(run != NULL);
    run->options = options;
    run->run = rand_u64();
    run->random = rand_u64() | 1;
    struct span device = span_text(options->device);
    run->device = gid_device_hash(device);
    run->slots = calloc((size_t)options->users * options->in_flight, sizeof *run->slots);
    run->seqs = calloc(options->users, sizeof *run->seqs);
    assert(run->slots != NULL && run->seqs != NULL);
    for (uint32_t user = 0; user < options->users; user++)
        for (uint32_t i = 0; i < options->in_flight; i++)
            slot_of(run, user, i)->number = i;
    map_init(&run->given_up);
    const struct crowd_options crowd_options = workload_crowd(options);
    const struct crowd_events events = {on_deliver, on_ack, on_nack};
    run->crowd = crowd_new(&crowd_options, &events, run);
    return run;
}

static void unicast_free(struct unicast *run)
{
    crowd_free(run->crowd);
    map_free(&run->given_up);
    free(run->givens);
    free(run->slots);
    free(run->seqs);
    free(run);
}

enum workload_end unicast_run(const struct options *options)
{
    struct unicast *run = unicast_new(options);
    struct report_unicast *report = calloc(1, sizeof *report);
    assert(report != NULL);
    enum workload_end end = WORKLOAD_FAILED;
    if (crowd_login(run->crowd, options->login_timeout * 1000u)) {
        bool whole = play(run, report);
        settle(run);
        report->whole = run->counts;
        report->crowd = crowd_counts(run->crowd);
        report->whole.out_of_order += report->crowd.skipped_dseq;
        report->latency = run->latency;
        report_unicast(options, report);
        /* A run that lost a connection is cut off in the middle: it is no ground for a verdict. */
        if (whole)
            end = referee_broken(&report->whole, options->message_class) > 0 ? WORKLOAD_BROKEN
                                                                             : WORKLOAD_DONE;
    }
    if (*crowd_why(run->crowd))
        fprintf(stderr, "lahar-bench: %s\n", crowd_why(run->crowd));
    free(report);
    unicast_free(run);
    return end;
}
