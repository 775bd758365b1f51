/* order: the order rule under loss, crashes, moves, BUSY and expiry, with the real flight between a
 * model of the sender and one of the recipient's edges and devices.
 *
 *     sender --to_owner--> flight --to_edge--> device
 *            <--answers--         <--from_edge--
 *
 * Links lose any stretch of frames; the owner crashes and forgets; the sender's edge dies and old
 * frames float on; BUSY happens; deliveries expire. In every second run sessions of the recipient's
 * two devices also end, return and are replaced, and a new owner knows them only as likely, or not
 * at all yet.
 *
 * In the end all that was acknowledged must have been handed out, nothing twice or out of order at
 * any device, nothing lost that was not said to be unknown, nothing handed out that was refused,
 * and no storm.
 *
 *     order [SEEDS [PART [FIRST]]]    PART leaves a part of the rule out, and then something wrong
 * must be found
 */
#include "proto/frame.h"
#include "proto/gid.h"
#include "proto/link.pb-c.h"
#include "router/flight.h"
#include "tests/sim/device.h"
#include "tests/sim/queue.h"
#include "tests/sim/sender.h"

#include <stdio.h>

#define FAULTY_STEPS 6000u
#define CALM_STEPS 8000u
#define ANNA UINT64_C(10001)
#define ANNAS_PHONE UINT64_C(501)
#define BERT UINT64_C(10002)
#define DEVICES_MAX 2u
#define CONFIRM_MS 200000u

enum left_out left_out;

struct run {
    uint64_t rng, now;
    bool faulty, rich;
    struct sender sender;
    uint64_t session; /* the sender's */
    struct device devices[DEVICES_MAX];
    size_t device_count;
    struct flight *flight;
    uint32_t epoch; /* the owner's */
    uint32_t sessions_made;
    struct flight_session
        records[DEVICES_MAX]; /* presence: of the devices, as far as they are here */
    bool recorded[DEVICES_MAX];
    bool sending;                           /* inside flight_send: there may be no credit */
    uint64_t given_ms[SENDER_MESSAGES + 1]; /* by this owner, first; 0: not yet */
    uint64_t step;
    uint64_t first_handed_out[SENDER_MESSAGES + 1]; /* at which step, by any device */
    uint64_t
        new_at[DEVICES_MAX]; /* at which step the owner last met the device as one that is new */
    uint64_t trouble_until;  /* step: trouble does not come alone */
    struct queue to_owner, answers, to_edge, from_edge;
    size_t longest;
};

static uint64_t any(struct run *run, uint64_t below)
{
    run->rng ^= run->rng << 13;
    run->rng ^= run->rng >> 7;
    run->rng ^= run->rng << 17;
    return (run->rng >> 11) % below;
}

/* In 100,000 of cases. */
static bool chance(struct run *run, uint64_t of_100000)
{
    return any(run, 100000) < of_100000;
}

static bool open_frame(struct span frame, struct span *content, uint32_t *number)
{
    struct span body;
    return frame_take(&frame, FRAME_LINK_SIZE_MAX, &body) == FRAME_READY &&
           frame_open(body, number, content, NULL);
}

/* ---- what flight does ---- */

static size_t on_sessions(void *ctx, uint64_t gid, struct flight_session *out, bool *unknown)
{
    struct run *run = ctx;
    assert(gid == BERT);
    size_t count = 0;
    *unknown = false;
    for (size_t i = 0; i < run->device_count; i++) {
        if (run->recorded[i])
            out[count++] = run->records[i];
        /* It is here, and this owner has not heard of it: others do not count as gone yet either.
         */
        *unknown |= run->devices[i].here && !run->recorded[i];
    }
    return count;
}

static bool on_deliver(void *ctx, uint32_t edge, struct hot_link_deliver *deliver)
{
    struct run *run = ctx;
    (void)edge;
    if (run->faulty && chance(run, run->sending ? 5000 : 1000))
        return false;
    uint8_t frame[HOT_OVERHEAD_MAX + 64];
    uint64_t number;
    deliver->epoch = run->epoch;
    queue_push(&run->to_edge, span_of(frame, hot_link_deliver_write(frame, deliver)));
    if (deliver->body.len == sizeof number) {
        memcpy(&number, deliver->body.at, sizeof number);
        if (run->given_ms[number] == 0)
            run->given_ms[number] = run->now;
    }
    return true;
}

static void on_answer(void *ctx, uint32_t edge, const struct hot_answer *answer)
{
    struct run *run = ctx;
    (void)edge;
    uint8_t frame[HOT_OVERHEAD_MAX];
    queue_push(&run->answers, span_of(frame, hot_answer_write(frame, answer)));
}

static void on_keep_dseq(void *ctx, uint64_t gid, uint64_t name, uint64_t session, uint32_t dseq)
{
    struct run *run = ctx;
    assert(gid == BERT);
    for (size_t i = 0; i < run->device_count; i++)
        if (run->recorded[i] && run->records[i].device == name &&
            run->records[i].session == session)
            run->records[i].dseq = dseq;
}

static struct flight *new_flight(struct run *run)
{
    static const struct flight_options options = {
        .confirm_ms = CONFIRM_MS,
        .outcome_ms = 10 * CONFIRM_MS,
        .retry_ms = 1, /* whenever nothing is on its way: see timers */
        .busy_retry_ms = 1,
        .lane_entries_max = 64,
        .lane_bytes_max = 4096,
        .pending_max = 64,
        .outcomes_max = 2048,
        .convs_max = 16,
        .pending_bytes_max = 65536,
    };
    const struct flight_actions actions = {on_sessions, on_deliver, on_answer, on_keep_dseq};
    return flight_new(&options, &actions, run);
}

/* ---- the links ---- */

static void owner_reads(struct run *run)
{
    struct span content;
    uint32_t number;
    struct hot_link_send send;
    bool whole = open_frame(queue_pop(&run->to_owner), &content, &number) &&
                 hot_link_send_read(content, &send);
    assert(whole);
    run->sending = true;
    flight_send(run->flight, 1, &send, run->now, run->now);
    run->sending = false;
}

static void say_received(struct run *run, const struct device *device, uint64_t dseq)
{
    uint8_t frame[HOT_OVERHEAD_MAX];
    const struct hot_received received = {BERT, device->session, dseq};
    queue_push(&run->from_edge, span_of(frame, hot_link_received_write(frame, &received)));
}

static void say_gap(struct run *run, const struct device *device, uint64_t expected)
{
    uint8_t frame[HOT_OVERHEAD_MAX];
    Lahar__Link__V1__DeliveryGap gap = LAHAR__LINK__V1__DELIVERY_GAP__INIT;
    gap.gid = BERT;
    gap.session = device->session;
    gap.expected = expected;
    gap.epoch = device->epoch;
    size_t len = lahar__link__v1__delivery_gap__get_packed_size(&gap);
    uint8_t *at = frame_prefix_write(frame, LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP, len);
    len = lahar__link__v1__delivery_gap__pack(&gap, at);
    queue_push(&run->from_edge, span_of(frame, (size_t)(at - frame) + len));
}

static void edge_reads(struct run *run)
{
    struct span content;
    uint32_t number;
    struct hot_link_deliver deliver;
    bool whole = open_frame(queue_pop(&run->to_edge), &content, &number) &&
                 hot_link_deliver_read(content, &deliver);
    assert(whole && deliver.sessions == deliver.dseqs);
    for (uint32_t i = 0; i < deliver.sessions; i++) {
        for (size_t j = 0; j < run->device_count; j++) {
            struct device *device = &run->devices[j];
            uint64_t dseq;
            if (!device->here || device->session != deliver.session[i])
                continue;
            size_t before = device->handed_out_count;
            enum device_reply reply = device_reads(device, &deliver, i, &dseq);
            if (device->handed_out_count > before) {
                uint64_t *first = &run->first_handed_out[device->handed_out[before]];
                *first = *first == 0 ? run->step : *first;
            }
            if (reply == DEVICE_RECEIVED)
                say_received(run, device, dseq);
            else if (reply == DEVICE_GAP)
                say_gap(run, device, dseq);
        }
    }
}

static uint32_t edge_of(const struct run *run, uint64_t session)
{
    for (size_t i = 0; i < run->device_count; i++)
        if (run->devices[i].session == session)
            return run->devices[i].edge;
    return 2; /* a session that is gone: flight has to know */
}

static void owner_hears_edge(struct run *run)
{
    struct span content;
    uint32_t number;
    bool whole = open_frame(queue_pop(&run->from_edge), &content, &number);
    assert(whole);
    if (number == LAHAR__LINK__V1__LINK_FRAME__FRAME_RECEIVED) {
        struct hot_received received;
        whole = hot_link_received_read(content, &received);
        assert(whole);
        (void)flight_received(run->flight, edge_of(run, received.session), BERT, received.session,
                              received.dseq, run->now);
        return;
    }
    Lahar__Link__V1__DeliveryGap *gap =
        lahar__link__v1__delivery_gap__unpack(NULL, content.len, content.at);
    assert(gap != NULL);
    if (gap->epoch == run->epoch)
        (void)flight_gap(run->flight, edge_of(run, gap->session), BERT, gap->session, gap->expected,
                         run->now);
    lahar__link__v1__delivery_gap__free_unpacked(gap, NULL);
}

/* The sender's edge passes answers on to the session that they are for. */
static void sender_reads(struct run *run)
{
    struct span content;
    uint32_t number;
    struct hot_answer answer;
    bool whole = open_frame(queue_pop(&run->answers), &content, &number) &&
                 hot_answer_read(content, &answer);
    assert(whole);
    if (answer.session == run->session)
        sender_hears(&run->sender, &answer);
}

/* And it stamps what the sender sends. */
static void on_transmit(void *ctx, struct span frame)
{
    struct run *run = ctx;
    struct span content;
    uint32_t number;
    uint8_t stamped[HOT_OVERHEAD_MAX + 64];
    struct hot_link_send send = {.from = ANNA, .device = ANNAS_PHONE, .session = run->session};
    bool whole = open_frame(frame, &content, &number) && hot_send_read(content, &send.send);
    assert(whole);
    queue_push(&run->to_owner, span_of(stamped, hot_link_send_write(stamped, &send)));
}

/* ---- faults ---- */

static void lose_stretch(struct run *run, struct queue *queue)
{
    if (queue->len > 0)
        queue_lose(queue, any(run, queue->len), 1 + any(run, 3));
}

static void announce(struct run *run, size_t i)
{
    struct device *device = &run->devices[i];
    if (!device->here)
        return;
    run->new_at[i] = run->step;
    device->epoch = run->epoch;
    run->recorded[i] = true;
    run->records[i] = (struct flight_session){device->name, device->session, device->edge, true,
                                              (uint32_t)device->let};
    flight_session_begun(run->flight, BERT, &run->records[i], 0, run->now);
}

/* Crash or move: what the old owner had on its way to the edge may still arrive. */
static void new_owner(struct run *run)
{
    if (any(run, 2))
        queue_clear(&run->to_edge);
    queue_clear(&run->answers);
    queue_clear(&run->from_edge);
    flight_free(run->flight);
    run->flight = new_flight(run);
    run->epoch++;
    memset(run->given_ms, 0, sizeof run->given_ms);
    for (size_t i = 0; i < run->device_count; i++) {
        uint64_t how = run->rich ? any(run, 3) : 0;
        run->recorded[i] = false;
        if (how == 0)
            announce(run, i);
        else if (how == 1 && run->devices[i].here) {
            run->recorded[i] = true;
            run->records[i] = (struct flight_session){run->devices[i].name, run->devices[i].session,
                                                      run->devices[i].edge, false, 0};
        }
    }
}

/* The sender's edge dies: what it had sent may still arrive, what is unsettled is sent in the new
 * session. */
static void new_session(struct run *run)
{
    if (any(run, 2))
        queue_clear(&run->to_owner);
    run->session++;
    queue_clear(&run->answers);
    sender_new_session(&run->sender);
}

/* Time passes until the oldest pending message has had its time, and those behind it have not. */
static void expire(struct run *run)
{
    for (size_t i = 0; i < run->sender.unsettled_count; i++) {
        uint64_t given = run->given_ms[run->sender.unsettled[i]];
        if (given == 0 || given + CONFIRM_MS <= run->now)
            continue;
        run->now = given + CONFIRM_MS;
        break;
    }
    flight_tick(run->flight, run->now);
    if (any(run, 2)) {
        queue_clear(&run->answers);
        run->trouble_until = run->step + 40;
    }
}

/* A device logs in anew, leaves, or is announced to an owner that does not know it. */
static void device_fault(struct run *run)
{
    size_t i = any(run, run->device_count);
    struct device *device = &run->devices[i];
    if (device->here && !(run->recorded[i] && run->records[i].live)) {
        announce(run, i);
    } else if (device->here && any(run, 2)) {
        device->here = run->recorded[i] = false;
        flight_session_ended(run->flight, BERT, device->session, run->now);
    } else {
        uint64_t replaced = device->here ? device->session : 0;
        device_rebind(device, (uint64_t)run->epoch << 32 | ++run->sessions_made,
                      2 + (uint32_t)any(run, 2));
        device->epoch = run->epoch;
        run->new_at[i] = run->step;
        run->recorded[i] = true;
        run->records[i] =
            (struct flight_session){device->name, device->session, device->edge, true, 0};
        flight_session_begun(run->flight, BERT, &run->records[i], replaced, run->now);
    }
}

static void fault(struct run *run)
{
    uint64_t dice = any(run, 1000);
    if (run->step < run->trouble_until && chance(run, 3000))
        new_owner(run);
    else if (dice < 10)
        lose_stretch(run, &run->to_owner);
    else if (dice < 14)
        new_owner(run);
    else if (dice < 20)
        new_session(run);
    else if (dice < 30)
        lose_stretch(run, &run->answers);
    else if (dice < 40)
        lose_stretch(run, &run->to_edge);
    else if (dice < 50)
        lose_stretch(run, &run->from_edge);
    else if (dice < 55)
        expire(run);
    else if (dice < 65 && run->rich)
        device_fault(run);
}

/* ---- one step after another ---- */

static void timers(struct run *run)
{
    if (run->to_owner.len == 0 && run->answers.len == 0)
        sender_timer(&run->sender);
    if (run->to_edge.len == 0 && run->from_edge.len == 0)
        flight_tick(run->flight, run->now);
}

static void step(struct run *run)
{
    run->now++;
    run->step++;
    if (run->faulty)
        fault(run);
    uint64_t dice = any(run, 100);
    if (dice < 25)
        sender_app_sends(&run->sender);
    else if (dice < 50 && run->to_owner.len > 0)
        owner_reads(run);
    else if (dice < 70 && run->to_edge.len > 0)
        edge_reads(run);
    else if (dice < 82 && run->from_edge.len > 0)
        owner_hears_edge(run);
    else if (dice < 95 && run->answers.len > 0)
        sender_reads(run);
    else
        timers(run);
    if (run->longest < run->to_owner.len)
        run->longest = run->to_owner.len;
    if (run->longest < run->to_edge.len)
        run->longest = run->to_edge.len;
}

static bool quiet(const struct run *run)
{
    return run->sender.sent == SENDER_MESSAGES && run->sender.unsettled_count == 0 &&
           run->to_owner.len + run->answers.len + run->to_edge.len + run->from_edge.len == 0;
}

static void calm_down(struct run *run)
{
    run->faulty = false;
    for (size_t i = 0; i < run->device_count; i++)
        while (!run->devices[i].here || !(run->recorded[i] && run->records[i].live))
            device_fault(run);
}

static const char *ledgers(const struct run *run)
{
    const struct flight_counts *c = flight_counts(run->flight);
    uint64_t made = c->acknowledged + c->superseded + c->expired + c->session_gone +
                    flight_deliveries_in_flight(run->flight);
    return made == c->made ? NULL : "the ledger of deliveries does not come out";
}

/* A device that joins after another one got a message does not get that one, but what is behind it;
 * if then the answer and the owner are lost, the sender sends it again, and a new owner gives it to
 * both. That is known, and not looked for. */
static bool may_be_late(const struct run *run, size_t device, uint64_t number)
{
    return run->device_count > 1 && run->first_handed_out[number] <= run->new_at[device];
}

static bool in_order(const struct run *run, size_t i)
{
    const struct device *device = &run->devices[i];
    uint64_t highest = 0;
    for (size_t j = 0; j < device->handed_out_count; j++) {
        uint64_t number = device->handed_out[j];
        if (number < highest && !may_be_late(run, i, number))
            return false;
        highest = number > highest ? number : highest;
    }
    return true;
}

static const char *verdict(const struct run *run)
{
    bool handed_out[SENDER_MESSAGES + 1] = {false};
    bool ordered = true;
    for (size_t i = 0; i < run->device_count; i++) {
        const struct device *device = &run->devices[i];
        if (device->garbled)
            return "garbled";
        ordered &= in_order(run, i);
        for (size_t j = 0; j < device->handed_out_count; j++)
            handed_out[device->handed_out[j]] = true;
    }
    bool lost = run->sender.unsettled_count > 0 || run->sender.sent < SENDER_MESSAGES;
    for (size_t n = 1; n <= SENDER_MESSAGES; n++) {
        const struct sender_message *message = &run->sender.messages[n - 1];
        if (message->acked && !handed_out[n])
            return "acknowledged but not handed out";
        if (message->refused && handed_out[n])
            return "refused but handed out";
        lost |= !handed_out[n] && !message->unknown && !message->refused;
    }
    if (!ordered)
        return "out of order";
    if (lost)
        return "lost or stuck";
    if (run->longest > (run->rich ? 40u : 10u) * SENDER_WINDOW)
        return "a storm of repeats";
    return ledgers(run);
}

static const char *run_seed(struct run *run, uint64_t seed)
{
    memset(run, 0, sizeof *run);
    run->rng = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    run->now = 1000;
    run->rich = seed % 2 == 1;
    run->session = 1;
    run->epoch = 1;
    run->device_count = run->rich ? DEVICES_MAX : 1;
    run->flight = new_flight(run);
    for (size_t i = 0; i < run->device_count; i++) {
        run->devices[i].name = 601 + i;
        device_rebind(&run->devices[i], UINT64_C(1) << 32 | ++run->sessions_made, 2);
        announce(run, i);
    }
    sender_init(&run->sender, BERT, on_transmit, run);
    run->faulty = true;
    for (uint32_t i = 0; i < FAULTY_STEPS; i++)
        step(run);
    calm_down(run);
    for (uint32_t i = 0; i < CALM_STEPS && !quiet(run); i++)
        step(run);
    const char *wrong = verdict(run);
    flight_free(run->flight);
    return wrong;
}

static enum left_out part_of(const char *name)
{
    static const char *const names[] = {"nothing", "dseq",    "seq",   "busy",   "epoch",
                                        "skip",    "cascade", "reset", "damping"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum left_out)i;
    fprintf(stderr, "order: there is no part %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 300;
    left_out = argc > 2 ? part_of(argv[2]) : LEFT_OUT_NOTHING;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    struct run *run = malloc(sizeof *run);
    assert(run != NULL);
    uint64_t wrong = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        const char *what = run_seed(run, seed);
        if (what == NULL)
            continue;
        printf("seed %llu: %s\n", (unsigned long long)seed, what);
        wrong++;
        if (left_out != LEFT_OUT_NOTHING)
            break;
    }
    free(run);
    printf("%llu of %llu seeds went wrong\n", (unsigned long long)wrong, (unsigned long long)seeds);
    return (left_out != LEFT_OUT_NOTHING) == (wrong > 0) ? 0 : 1;
}
