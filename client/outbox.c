#include "client/outbox.h"

#include "base/left_out.h"
#include "base/map.h"

#include <stdlib.h>

#define NO_SEQ 0u
#define BUSY_MS_MIN 50u /* a server that asks for less would be asked without end */

struct letter {
    struct letter *next, *prev;         /* in its conversation */
    struct letter *next_old, *prev_old; /* in all, by age */
    struct talk *talk;
    uint64_t seq;     /* NO_SEQ: not yet transmitted in this session */
    uint64_t sent_ms; /* last transmission */
    uint64_t expires_ms;
    uint32_t index;      /* in by_index */
    uint32_t flight;     /* place in `flying`, OUTBOX_IN_FLIGHT: not in flight */
    uint32_t unanswered; /* transmissions, of all sessions, that may have been taken */
    bool transmitted;    /* ever */
    uint8_t id[LAHAR_ID_SIZE];
    uint32_t size;
    uint8_t body[];
};

/* A conversation. */
struct talk {
    struct queue *queue; /* NULL: nothing to transmit, or it waits */
    struct talk *queue_next, *queue_prev;
    struct letter *first, *last;
    struct letter *next; /* the first to be transmitted (again); NULL: all are */
    uint64_t to;
    uint64_t next_seq;
    uint64_t went_back_to;  /* the place that the last notice of a gap named */
    uint64_t wait_until_ms; /* BUSY */
    uint32_t index;
    enum lahar_class class;
    bool waits;
};

struct queue {
    struct talk *first, *last;
};

struct table {
    struct map map;
    void **by_index;
    uint32_t room, used_high, *free_list, free_count;
};

struct outbox {
    struct outbox_options options;
    struct outbox_actions actions;
    void *ctx;
    struct table letters, talks;
    struct letter *oldest, *youngest;
    struct letter *flying[OUTBOX_IN_FLIGHT];
    uint32_t flying_count;
    /* Conversations that go back to what is in flight, and those that have something new. Only what
     * is new needs a place in the window, and may not hold up the others. */
    struct queue again, ready;
    uint64_t seq_floor;
    uint32_t waiting_talks;
    size_t count;
    bool open;
};

/* ---- two small tables: by id, by recipient ---- */

static bool table_add(struct table *table, uint64_t hash, void *object, uint32_t *index)
{
    if (table->free_count > 0) {
        *index = table->free_list[--table->free_count];
    } else {
        if (table->used_high == table->room) {
            uint32_t room = table->room ? table->room * 2 : 8;
            void **grown = realloc(table->by_index, room * sizeof *grown);
            if (grown)
                table->by_index = grown;
            uint32_t *list = realloc(table->free_list, room * sizeof *list);
            if (list)
                table->free_list = list;
            if (!grown || !list)
                return false;
            table->room = room;
        }
        *index = table->used_high++;
    }
    table->by_index[*index] = object;
    map_add(&table->map, hash, *index);
    return true;
}

static void table_remove(struct table *table, uint64_t hash, uint32_t index)
{
    map_remove(&table->map, hash, index);
    table->by_index[index] = NULL;
    table->free_list[table->free_count++] = index;
}

static void table_free(struct table *table)
{
    map_free(&table->map);
    free(table->by_index);
    free(table->free_list);
}

static uint64_t id_hash(const uint8_t id[LAHAR_ID_SIZE])
{
    uint64_t half[2];
    memcpy(half, id, sizeof half);
    /* Ids are the application's choice: mix them, or a counter would pile up in one place. */
    uint64_t hash = (half[0] ^ (half[1] * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
    return hash * 0xc4ceb9fe1a85ec53u;
}

static uint64_t talk_hash(uint64_t to, enum lahar_class class)
{
    uint64_t hash = (to + (uint64_t) class) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
    return hash * 0xc4ceb9fe1a85ec53u;
}

static bool same_id(const void *ctx, uint32_t index, const void *key)
{
    const struct outbox *outbox = ctx;
    const struct letter *letter = outbox->letters.by_index[index];
    return memcmp(letter->id, key, LAHAR_ID_SIZE) == 0;
}

struct talk_key {
    uint64_t to;
    enum lahar_class class;
};

static bool same_talk(const void *ctx, uint32_t index, const void *key)
{
    const struct outbox *outbox = ctx;
    const struct talk *talk = outbox->talks.by_index[index];
    const struct talk_key *wanted = key;
    return talk->to == wanted->to && talk->class == wanted->class;
}

static struct letter *find_letter(const struct outbox *outbox, struct span id)
{
    if (id.len != LAHAR_ID_SIZE)
        return NULL;
    uint32_t index = map_find(&outbox->letters.map, id_hash(id.at), same_id, outbox, id.at);
    return index == MAP_NONE ? NULL : outbox->letters.by_index[index];
}

static struct talk *find_talk(struct outbox *outbox, uint64_t to, enum lahar_class class)
{
    const struct talk_key key = {to, class};
    uint64_t hash = talk_hash(to, class);
    uint32_t index = map_find(&outbox->talks.map, hash, same_talk, outbox, &key);
    if (index != MAP_NONE)
        return outbox->talks.by_index[index];
    struct talk *talk = calloc(1, sizeof *talk);
    if (!talk)
        return NULL;
    talk->to = to;
    talk->class = class;
    talk->next_seq = outbox->seq_floor;
    if (!table_add(&outbox->talks, hash, talk, &talk->index)) {
        free(talk);
        return NULL;
    }
    return talk;
}

/* ---- conversations ---- */

static void leave_queue(struct talk *talk)
{
    struct queue *queue = talk->queue;
    if (!queue)
        return;
    *(talk->queue_prev ? &talk->queue_prev->queue_next : &queue->first) = talk->queue_next;
    *(talk->queue_next ? &talk->queue_next->queue_prev : &queue->last) = talk->queue_prev;
    talk->queue = NULL;
}

/* At the end of the queue that its next letter belongs to. */
static void enter_queue(struct outbox *outbox, struct talk *talk)
{
    leave_queue(talk);
    if (talk->waits || !talk->next)
        return;
    struct queue *queue = talk->next->flight == OUTBOX_IN_FLIGHT ? &outbox->ready : &outbox->again;
    talk->queue = queue;
    talk->queue_next = NULL;
    talk->queue_prev = queue->last;
    *(queue->last ? &queue->last->queue_next : &queue->first) = talk;
    queue->last = talk;
}

static void stop_waiting(struct outbox *outbox, struct talk *talk)
{
    if (!talk->waits)
        return;
    talk->waits = false;
    outbox->waiting_talks--;
}

static void land(struct outbox *outbox, struct letter *letter)
{
    if (letter->flight == OUTBOX_IN_FLIGHT)
        return;
    struct letter *moved = outbox->flying[--outbox->flying_count];
    outbox->flying[letter->flight] = moved;
    moved->flight = letter->flight;
    letter->flight = OUTBOX_IN_FLIGHT;
}

/* Takes a letter out of everything and frees it; forgets a conversation that has none left. */
static void forget(struct outbox *outbox, struct letter *letter)
{
    struct talk *talk = letter->talk;
    land(outbox, letter);
    if (talk->next == letter)
        talk->next = letter->next;
    *(letter->prev ? &letter->prev->next : &talk->first) = letter->next;
    *(letter->next ? &letter->next->prev : &talk->last) = letter->prev;
    *(letter->prev_old ? &letter->prev_old->next_old : &outbox->oldest) = letter->next_old;
    *(letter->next_old ? &letter->next_old->prev_old : &outbox->youngest) = letter->prev_old;
    table_remove(&outbox->letters, id_hash(letter->id), letter->index);
    outbox->count--;
    free(letter);
    if (!talk->next)
        leave_queue(talk);
    if (talk->first)
        return;
    stop_waiting(outbox, talk);
    if (talk->next_seq > outbox->seq_floor)
        outbox->seq_floor = talk->next_seq;
    table_remove(&outbox->talks, talk_hash(talk->to, talk->class), talk->index);
    free(talk);
}

static void end(struct outbox *outbox, struct letter *letter, enum lahar_outcome outcome,
                const char *reason, const char *text, struct span mid)
{
    struct lahar_result_of_send result = {
        .to = letter->talk->to,
        .outcome = outcome,
        .reason = reason,
        .reason_text = text,
    };
    memcpy(result.id, letter->id, LAHAR_ID_SIZE);
    if (mid.len == LAHAR_ID_SIZE)
        memcpy(result.message_id, mid.at, LAHAR_ID_SIZE);
    forget(outbox, letter);
    outbox->actions.ended(outbox->ctx, &result);
}

/* ---- adding and transmitting ------------------------------------------------------------------
 */

struct outbox *outbox_new(const struct outbox_options *options,
                          const struct outbox_actions *actions, void *ctx)
{
    struct outbox *outbox = calloc(1, sizeof *outbox);
    if (!outbox)
        return NULL;
    outbox->options = *options;
    outbox->actions = *actions;
    outbox->ctx = ctx;
    outbox->seq_floor = 1;
    map_init(&outbox->letters.map);
    map_init(&outbox->talks.map);
    return outbox;
}

void outbox_free(struct outbox *outbox)
{
    if (!outbox)
        return;
    while (outbox->oldest)
        forget(outbox, outbox->oldest);
    for (uint32_t i = 0; i < outbox->talks.used_high; i++)
        free(outbox->talks.by_index[i]);
    table_free(&outbox->letters);
    table_free(&outbox->talks);
    free(outbox);
}

static void append(struct outbox *outbox, struct talk *talk, struct letter *letter)
{
    letter->talk = talk;
    letter->prev = talk->last;
    *(talk->last ? &talk->last->next : &talk->first) = letter;
    talk->last = letter;
    letter->prev_old = outbox->youngest;
    *(outbox->youngest ? &outbox->youngest->next_old : &outbox->oldest) = letter;
    outbox->youngest = letter;
    outbox->count++;
    if (!talk->next) {
        talk->next = letter;
        enter_queue(outbox, talk);
    }
}

enum lahar_result outbox_add(struct outbox *outbox, uint64_t to, enum lahar_class message_class,
                             struct span body, const uint8_t id[LAHAR_ID_SIZE], uint64_t now_ms)
{
    if (outbox->count >= outbox->options.sends_max)
        return LAHAR_FULL;
    if (find_letter(outbox, span_of(id, LAHAR_ID_SIZE)))
        return LAHAR_INVALID;
    struct letter *letter = malloc(sizeof *letter + body.len);
    if (!letter)
        return LAHAR_NO_MEMORY;
    *letter = (struct letter){
        .expires_ms = now_ms + outbox->options.timeout_ms,
        .flight = OUTBOX_IN_FLIGHT,
        .size = (uint32_t)body.len,
    };
    memcpy(letter->id, id, LAHAR_ID_SIZE);
    if (body.len)
        memcpy(letter->body, body.at, body.len);
    struct talk *talk = find_talk(outbox, to, message_class);
    if (!talk || !table_add(&outbox->letters, id_hash(id), letter, &letter->index)) {
        free(letter);
        /* A conversation without sends is harmless: it is forgotten with its next one. */
        return LAHAR_NO_MEMORY;
    }
    append(outbox, talk, letter);
    return LAHAR_OK;
}

static void transmit(struct outbox *outbox, struct letter *letter, uint64_t now_ms)
{
    struct talk *talk = letter->talk;
    if (letter->seq == NO_SEQ)
        letter->seq = talk->next_seq++;
    if (letter->flight == OUTBOX_IN_FLIGHT) {
        letter->flight = outbox->flying_count;
        outbox->flying[outbox->flying_count++] = letter;
    }
    letter->sent_ms = now_ms;
    letter->transmitted = true;
    letter->unanswered++;
    const struct hot_send send = {
        .to = talk->to,
        .seq = letter->seq,
        .settled = talk->first->seq,
        .class = (uint32_t)talk->class,
        .cmid = span_of(letter->id, LAHAR_ID_SIZE),
        .body = span_of(letter->body, letter->size),
    };
    outbox->actions.transmit(outbox->ctx, &send);
}

static void transmit_next(struct outbox *outbox, struct talk *talk, uint64_t now_ms)
{
    struct letter *letter = talk->next;
    talk->next = letter->next;
    transmit(outbox, letter, now_ms);
    enter_queue(outbox, talk);
}

void outbox_pump(struct outbox *outbox, uint64_t now_ms)
{
    if (!outbox->open)
        return;
    while (outbox->again.first && outbox->actions.has_room(outbox->ctx)) {
        struct talk *talk = outbox->again.first;
        if (talk->next->flight == OUTBOX_IN_FLIGHT)
            enter_queue(outbox, talk); /* what it went back to was answered meanwhile */
        else
            transmit_next(outbox, talk, now_ms);
    }
    while (outbox->ready.first && outbox->flying_count < OUTBOX_IN_FLIGHT &&
           outbox->actions.has_room(outbox->ctx))
        transmit_next(outbox, outbox->ready.first, now_ms);
}

void outbox_open(struct outbox *outbox, uint64_t now_ms)
{
    outbox_close(outbox);
    outbox->open = true;
    outbox->seq_floor = 1;
    for (struct letter *letter = outbox->oldest; letter; letter = letter->next_old) {
        struct talk *talk = letter->talk;
        letter->seq = NO_SEQ;
        if (talk->first != letter)
            continue;
        talk->next_seq = 1;
        talk->went_back_to = 0;
        talk->next = letter;
        stop_waiting(outbox, talk);
        enter_queue(outbox, talk);
    }
    outbox_pump(outbox, now_ms);
}

void outbox_close(struct outbox *outbox)
{
    outbox->open = false;
    while (outbox->flying_count > 0)
        land(outbox, outbox->flying[0]);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

/* Going back never goes forward: what was refused as BUSY must go out before what is behind it. */
static bool is_there_already(const struct talk *talk, uint64_t seq)
{
    return talk->next && talk->next->seq != NO_SEQ && talk->next->seq <= seq;
}

/* What was transmitted from `seq` on goes out again. */
static void go_back(struct outbox *outbox, struct talk *talk, uint64_t seq)
{
    if (is_there_already(talk, seq))
        return;
    for (struct letter *letter = talk->first; letter; letter = letter->next) {
        if (letter->seq == NO_SEQ || letter->seq >= seq) {
            talk->next = letter;
            enter_queue(outbox, talk);
            return;
        }
    }
}

void outbox_ack(struct outbox *outbox, const struct hot_ack *ack)
{
    struct letter *letter = find_letter(outbox, ack->cmid);
    if (letter)
        end(outbox, letter, ack->level == HOT_LEVEL_STORED ? LAHAR_KEPT : LAHAR_DELIVERED, "", "",
            ack->mid);
}

static void on_busy(struct outbox *outbox, struct letter *letter, uint32_t retry_after_ms,
                    uint64_t now_ms)
{
    struct talk *talk = letter->talk;
    if (LEFT_OUT(BUSY)) {
        land(outbox, letter);
        letter->seq = NO_SEQ;
        go_back(outbox, talk, talk->next_seq);
        return;
    }
    leave_queue(talk);
    if (!is_there_already(talk, letter->seq))
        talk->next = letter;
    for (struct letter *behind = talk->next; behind; behind = behind->next)
        land(outbox, behind);
    talk->went_back_to = talk->next->seq;
    talk->wait_until_ms = now_ms + (retry_after_ms > BUSY_MS_MIN ? retry_after_ms : BUSY_MS_MIN);
    if (!talk->waits) {
        talk->waits = true;
        outbox->waiting_talks++;
    }
}

/* A refusal speaks for one transmission. Another one that nobody answered may have been taken, by
 * an owner that has died since. */
static enum lahar_outcome outcome_of(const struct letter *letter, uint32_t reason)
{
    bool definite = reasons_nack_outcome(reason) == NACK_IS_DEFINITE && letter->unanswered == 0;
    return definite ? LAHAR_REFUSED : LAHAR_UNKNOWN;
}

void outbox_nack(struct outbox *outbox, const struct hot_nack *nack, uint64_t now_ms)
{
    struct letter *letter = find_letter(outbox, nack->cmid);
    if (!letter)
        return;
    struct talk *talk = letter->talk;
    if (letter->unanswered > 0)
        letter->unanswered--;
    switch (nack->reason) {
    case NACK_SEQ_GAP:
        /* It stays in flight: either it goes out again now, or it did already and this notice is
         * old. */
        if (talk->waits || (talk->went_back_to == nack->expected_seq && !LEFT_OUT(DAMPING)))
            return;
        talk->went_back_to = nack->expected_seq;
        go_back(outbox, talk, nack->expected_seq);
        return;
    case NACK_BUSY:
        /* Of several that wait the first one counts: what follows it must not overtake it. */
        if (!talk->waits || letter->seq < talk->went_back_to)
            on_busy(outbox, letter, nack->retry_after_ms, now_ms);
        return;
    default:
        end(outbox, letter, outcome_of(letter, nack->reason), reasons_nack_label(nack->reason),
            reasons_nack_text(nack->reason), (struct span){0});
    }
}

/* ---- timers -----------------------------------------------------------------------------------
 */

static void expire(struct outbox *outbox, uint64_t now_ms)
{
    while (outbox->oldest && outbox->oldest->expires_ms <= now_ms) {
        struct letter *letter = outbox->oldest;
        if (!letter->transmitted)
            end(outbox, letter, LAHAR_REFUSED, "not_sent", "there was no connection in time",
                (struct span){0});
        else if (letter->unanswered == 0)
            end(outbox, letter, LAHAR_REFUSED, reasons_nack_label(NACK_BUSY),
                reasons_nack_text(NACK_BUSY), (struct span){0});
        else
            end(outbox, letter, LAHAR_UNKNOWN, "timeout", "no answer came in time",
                (struct span){0});
    }
}

static void end_waits(struct outbox *outbox, uint64_t now_ms)
{
    for (uint32_t i = 0; i < outbox->talks.used_high && outbox->waiting_talks > 0; i++) {
        struct talk *talk = outbox->talks.by_index[i];
        if (!talk || !talk->waits || talk->wait_until_ms > now_ms)
            continue;
        stop_waiting(outbox, talk);
        talk->went_back_to = 0;
        enter_queue(outbox, talk);
    }
}

void outbox_tick(struct outbox *outbox, uint64_t now_ms)
{
    expire(outbox, now_ms);
    end_waits(outbox, now_ms);
    /* What still waits to be written was not answered for that reason. */
    bool has_room = outbox->open && outbox->actions.has_room(outbox->ctx);
    for (uint32_t i = 0; i < outbox->flying_count && has_room; i++) {
        const struct letter *letter = outbox->flying[i];
        struct talk *talk = letter->talk;
        if (letter->sent_ms + outbox->options.retry_ms > now_ms || talk->waits ||
            talk->next == talk->first)
            continue;
        talk->went_back_to = 0;
        talk->next = talk->first;
        enter_queue(outbox, talk);
    }
    outbox_pump(outbox, now_ms);
}

uint64_t outbox_due_ms(const struct outbox *outbox)
{
    uint64_t due = outbox->oldest ? outbox->oldest->expires_ms : UINT64_MAX;
    bool has_room = outbox->open && outbox->actions.has_room(outbox->ctx);
    for (uint32_t i = 0; i < outbox->flying_count && has_room; i++) {
        const struct letter *letter = outbox->flying[i];
        uint64_t retry = letter->sent_ms + outbox->options.retry_ms;
        if (retry < due && !letter->talk->waits)
            due = retry;
    }
    if (outbox->waiting_talks > 0) {
        for (uint32_t i = 0; i < outbox->talks.used_high; i++) {
            const struct talk *talk = outbox->talks.by_index[i];
            if (talk && talk->waits && talk->wait_until_ms < due)
                due = talk->wait_until_ms;
        }
    }
    return due;
}

size_t outbox_waiting(const struct outbox *outbox)
{
    return outbox->count;
}
