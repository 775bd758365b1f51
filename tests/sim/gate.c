/* gate: the edge's part of the order rule: the real session core between a model of the owner and
 * one of the client's library.
 *
 *     owner --to_edge--> session core --> library
 *           <--from_edge--           <--
 *
 * Links lose any stretch of frames; the owner crashes or moves, and what it had on its way may
 * still arrive. The owner answers each gap notice by going back there: not to be asked too often is
 * the edge's part. At the end all was handed out, in order, once, and there was no storm.
 *
 *     gate [SEEDS [PART]]      PART (dseq, epoch, damping) is left out, and then something wrong
 * must be found */
#define LAHAR_LEAVE_OUT
#include "edge/deliver.c"

#include "tests/session_rig.h"

#define MESSAGES 700u
#define WINDOW 8u
#define FAULTY_STEPS 6000u
#define CALM_STEPS 8000u
#define QUEUE_MAX 65536u
#define STEP_MS 10u

enum left_out left_out;

struct delivery {
    uint32_t epoch;
    uint64_t dseq, message;
};

struct notice {
    bool gap;
    uint32_t epoch;
    uint64_t dseq;
};

struct run {
    struct rig *rig;
    struct conn_id id;
    uint64_t session;
    /* The owner: the first that is pending has the number first_dseq. */
    uint32_t epoch;
    uint64_t first_dseq, sent;
    uint64_t pending[WINDOW];
    size_t pending_len;
    bool acked[MESSAGES + 1];
    struct delivery *to_edge;
    struct notice *from_edge;
    size_t to_edge_len, from_edge_len, longest;
    bool known[MESSAGES + 1];
    uint64_t handed_out[MESSAGES * 2];
    size_t handed_out_count;
};

static uint64_t any(struct run *run, uint64_t below)
{
    return rig_on_random(run->rig) % below;
}

/* --- links -------------------------------------------------------------------------------------
 */

static void lose(void *queue, size_t size, size_t *len, size_t at, size_t count)
{
    uint8_t *bytes = queue;
    if (count > *len - at)
        count = *len - at;
    memmove(bytes + at * size, bytes + (at + count) * size, (*len - at - count) * size);
    *len -= count;
}

static void lose_to_edge(struct run *run, size_t at, size_t count)
{
    lose(run->to_edge, sizeof *run->to_edge, &run->to_edge_len, at, count);
}

static void lose_from_edge(struct run *run, size_t at, size_t count)
{
    lose(run->from_edge, sizeof *run->from_edge, &run->from_edge_len, at, count);
}

/* What the core has said to the owner goes on its way. */
static void collect(struct run *run)
{
    Lahar__Link__V1__LinkFrame *frame;
    while ((frame = rig_told(run->rig, rig_owner(RIG_GID))) != NULL) {
        assert(run->from_edge_len < QUEUE_MAX);
        if (frame->frame_case == LAHAR__LINK__V1__LINK_FRAME__FRAME_RECEIVED)
            run->from_edge[run->from_edge_len++] =
                (struct notice){false, run->epoch, frame->received->dseq};
        else if (frame->frame_case == LAHAR__LINK__V1__LINK_FRAME__FRAME_DELIVERY_GAP)
            run->from_edge[run->from_edge_len++] =
                (struct notice){true, frame->delivery_gap->epoch, frame->delivery_gap->expected};
        rig_drop(frame);
    }
    rig_forget_told(run->rig);
}

/* --- the owner ---------------------------------------------------------------------------------
 */

static void deliver_again(struct run *run, uint64_t from)
{
    for (size_t i = 0; i < run->pending_len; i++)
        if (run->first_dseq + i >= from && run->to_edge_len < QUEUE_MAX)
            run->to_edge[run->to_edge_len++] =
                (struct delivery){run->epoch, run->first_dseq + i, run->pending[i]};
}

static void owner_sends(struct run *run)
{
    if (run->sent == MESSAGES || run->pending_len == WINDOW)
        return;
    run->pending[run->pending_len++] = ++run->sent;
    deliver_again(run, run->first_dseq + run->pending_len - 1);
}

static void owner_hears(struct run *run)
{
    struct notice notice = run->from_edge[0];
    lose_from_edge(run, 0, 1);
    if (notice.gap) {
        if (notice.epoch == run->epoch)
            deliver_again(run, notice.dseq);
        return;
    }
    while (run->pending_len > 0 && run->first_dseq <= notice.dseq) {
        run->acked[run->pending[0]] = true;
        memmove(run->pending, run->pending + 1, --run->pending_len * sizeof *run->pending);
        run->first_dseq++;
    }
}

/* In the order of each sender; between them as it happens. */
static void shuffle(struct run *run)
{
    for (size_t i = 1; i < run->pending_len; i++) {
        uint64_t *pair = &run->pending[i - 1];
        if ((pair[0] ^ pair[1]) & 1 && any(run, 2)) {
            uint64_t first = pair[0];
            pair[0] = pair[1];
            pair[1] = first;
        }
    }
}

/* Soft state only: it begins with what the edge announces, and the senders repeat what has no
 * outcome. */
static void new_owner(struct run *run)
{
    if (any(run, 2))
        run->to_edge_len = 0;
    run->from_edge_len = 0;
    run->epoch++;
    rig_forget_told(run->rig);
    rig_owned(run->rig, rig_owner(RIG_GID), run->epoch, 0, GID_SLOTS, run->epoch);
    Lahar__Link__V1__LinkFrame *frame = rig_told(run->rig, rig_owner(RIG_GID));
    assert(frame != NULL && frame->frame_case == LAHAR__LINK__V1__LINK_FRAME__FRAME_ANNOUNCE);
    assert(frame->announce->n_session == 1 && frame->announce->session[0] == run->session);
    run->first_dseq = frame->announce->dseq[0] + 1;
    rig_drop(frame);
    rig_forget_told(run->rig);
    shuffle(run);
    deliver_again(run, 0);
}

/* --- the edge and the library ------------------------------------------------------------------
 */

static void edge_reads(struct run *run)
{
    struct delivery delivery = run->to_edge[0];
    lose_to_edge(run, 0, 1);
    uint8_t mid[GID_MID_SIZE] = {0}, frame[HOT_OVERHEAD_MAX + 20];
    memcpy(mid, &delivery.message, sizeof delivery.message);
    struct hot_link_deliver deliver = {.to = RIG_GID,
                                       .epoch = delivery.epoch,
                                       .class = HOT_CONFIRMED,
                                       .sessions = 1,
                                       .dseqs = 1,
                                       .session = {run->session},
                                       .dseq = {delivery.dseq},
                                       .mid = span_of(mid, sizeof mid)};
    struct span input = {frame, hot_link_deliver_write(frame, &deliver)}, body;
    enum frame_status status = frame_take(&input, FRAME_LINK_SIZE_MAX, &body);
    assert(status == FRAME_READY);
    session_link_frame(run->rig->table, rig_owner(RIG_GID), body);
}

static void library_reads(struct run *run)
{
    Lahar__V1__ServerFrame *frame;
    while ((frame = rig_heard(run->rig, run->id)) != NULL) {
        assert(frame->frame_case == LAHAR__V1__SERVER_FRAME__FRAME_DELIVER);
        uint64_t message;
        memcpy(&message, frame->deliver->mid.data, sizeof message);
        assert(message <= MESSAGES);
        if (!run->known[message])
            run->handed_out[run->handed_out_count++] = message;
        run->known[message] = true;
        uint64_t dseq = frame->deliver->dseq;
        lahar__v1__server_frame__free_unpacked(frame, NULL);
        rig_received(run->rig, run->id, dseq);
    }
}

/* --- a run -------------------------------------------------------------------------------------
 */

static void fault(struct run *run)
{
    uint64_t chance = any(run, 1000);
    if (chance < 4)
        new_owner(run);
    else if (chance < 14 && run->to_edge_len > 0)
        lose_to_edge(run, any(run, run->to_edge_len), 1 + any(run, 3));
    else if (chance < 24 && run->from_edge_len > 0)
        lose_from_edge(run, any(run, run->from_edge_len), 1 + any(run, 3));
}

static void step(struct run *run, bool faulty)
{
    run->rig->now_ms += STEP_MS;
    session_time(run->rig->table, run->rig->now_ms, run->rig->now_ms);
    if (faulty)
        fault(run);
    uint64_t chance = any(run, 100);
    if (chance < 30)
        owner_sends(run);
    else if (chance < 70 && run->to_edge_len > 0)
        edge_reads(run);
    else if (chance < 90 && run->from_edge_len > 0)
        owner_hears(run);
    else if (chance >= 95 && run->pending_len > 0 && run->to_edge_len == 0 &&
             run->from_edge_len == 0)
        deliver_again(run, 0);
    library_reads(run);
    collect(run);
    if (run->to_edge_len > run->longest)
        run->longest = run->to_edge_len;
}

static const char *verdict(const struct run *run)
{
    uint64_t last[2] = {0};
    for (size_t i = 0; i < run->handed_out_count; i++) {
        uint64_t message = run->handed_out[i];
        if (message <= last[message & 1])
            return "out of order";
        last[message & 1] = message;
    }
    for (uint64_t message = 1; message <= MESSAGES; message++)
        if (run->acked[message] && !run->known[message])
            return "acknowledged but not handed out";
    if (run->handed_out_count != MESSAGES)
        return "lost or stuck";
    if (run->longest > 10u * WINDOW)
        return "a storm of repeats";
    if (left_out == LEFT_OUT_NOTHING && !rig_ledgers_hold(run->rig))
        return "the ledgers do not hold";
    return NULL;
}

static const char *one_run(uint64_t seed)
{
    struct run run = {.rig = rig_new(NULL), .epoch = 1, .first_dseq = 1};
    run.to_edge = calloc(QUEUE_MAX, sizeof *run.to_edge);
    run.from_edge = calloc(QUEUE_MAX, sizeof *run.from_edge);
    assert(run.to_edge != NULL && run.from_edge != NULL);
    run.rig->random = seed * 7919;
    run.session = rig_session(1, 1);
    rig_cluster(run.rig, 1);
    run.id = rig_login(run.rig, 0, RIG_GID, run.session);
    for (uint32_t i = 0; i < FAULTY_STEPS + CALM_STEPS; i++) {
        step(&run, i < FAULTY_STEPS);
        if (run.longest > 100u * WINDOW)
            break; /* it only grows */
    }
    const char *wrong = verdict(&run);
    rig_free(run.rig);
    free(run.to_edge);
    free(run.from_edge);
    return wrong;
}

static enum left_out part_of(const char *name)
{
    if (strcmp(name, "dseq") == 0)
        return LEFT_OUT_DSEQ;
    if (strcmp(name, "epoch") == 0)
        return LEFT_OUT_EPOCH;
    assert(strcmp(name, "damping") == 0);
    return LEFT_OUT_DAMPING;
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100, wrong = 0;
    left_out = argc > 2 ? part_of(argv[2]) : LEFT_OUT_NOTHING;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        const char *what = one_run(seed);
        if (what == NULL)
            continue;
        if (wrong++ == 0)
            printf("seed %lu: %s\n", (unsigned long)seed, what);
        if (left_out != LEFT_OUT_NOTHING)
            break;
    }
    printf("%s: %lu of %lu seeds wrong\n", argc > 2 ? argv[2] : "whole", (unsigned long)wrong,
           (unsigned long)seeds);
    return (left_out != LEFT_OUT_NOTHING) == (wrong > 0) ? 0 : 1;
}
