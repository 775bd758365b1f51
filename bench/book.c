#include "bench/book.h"

#include "base/map.h"

#include <stdlib.h>

#define SLOT_MASK ((UINT64_C(1) << BOOK_SLOT_BITS) - 1)
#define DEVICE_BITS 8u
#define OPEN (UINT64_C(1) << DEVICE_BITS)
#define WORD_SHIFT 16u
#define GENERATION_MASK ((UINT64_C(1) << 40) - 1)
#define TAGS 65535u
#define FOLLOW_NS UINT64_C(10000000000)

/* What is remembered of a message whose slot is gone, if it has not arrived everywhere. */
struct past {
    uint64_t number;
    uint8_t arrived; /* devices */
    bool refused, counted_lost;
};

struct book {
    struct book_options options;
    struct referee_counts *counts;
    struct book_slot *slots;
    uint32_t *lists; /* by sender: the first of his */
    uint32_t first_free, used, swept;
    uint32_t flying, followed;
    bool told;
    uint64_t all; /* the bits of all devices */
    struct map past;
    struct past *pasts;
    uint32_t past_count, past_room;
};

struct book *book_new(const struct book_options *options, struct referee_counts *counts)
{
    struct book *book = calloc(1, sizeof *book);
    assert(book != NULL && options->slots <= BOOK_SLOTS_MAX);
    assert(options->devices >= 1 && options->devices <= BOOK_DEVICES_MAX);
    book->options = *options;
    book->counts = counts;
    book->slots = calloc(options->slots, sizeof *book->slots);
    assert(book->slots != NULL);
    if (options->keeps_lists) {
        book->lists = malloc(options->senders * sizeof *book->lists);
        assert(book->lists != NULL);
        memset(book->lists, 0xff, options->senders * sizeof *book->lists);
    }
    book->first_free = BOOK_NONE;
    book->told = true;
    book->all = (UINT64_C(1) << options->devices) - 1;
    map_init(&book->past);
    return book;
}

void book_free(struct book *book)
{
    if (book == NULL)
        return;
    map_free(&book->past);
    free(book->pasts);
    free(book->lists);
    free(book->slots);
    free(book);
}

void book_set_told(struct book *book, bool told)
{
    book->told = told;
}

static uint32_t place(const struct book *book, const struct book_slot *slot)
{
    return (uint32_t)(slot - book->slots);
}

static uint64_t word_of(uint64_t number)
{
    return (number >> BOOK_SLOT_BITS & GENERATION_MASK) << WORD_SHIFT;
}

/* --- lists of a sender's flying ones -----------------------------------------------------------
 */

static uint32_t *list_of(const struct book *book, uint32_t sender)
{
    assert(sender - book->options.first < book->options.senders);
    return &book->lists[sender - book->options.first];
}

static void unlist(struct book *book, const struct book_slot *slot)
{
    uint32_t *at = list_of(book, slot->sender);
    while (*at != place(book, slot))
        at = &book->slots[*at].next;
    *at = slot->next;
}

bool book_has(const struct book *book, uint32_t sender, uint32_t recipient)
{
    assert(book->lists != NULL);
    for (uint32_t at = *list_of(book, sender); at != BOOK_NONE; at = book->slots[at].next)
        if (book->slots[at].recipient == recipient)
            return true;
    return false;
}

uint32_t book_flying_of(const struct book *book, uint32_t sender)
{
    uint32_t count = 0;
    assert(book->lists != NULL);
    for (uint32_t at = *list_of(book, sender); at != BOOK_NONE; at = book->slots[at].next)
        count++;
    return count;
}

/* --- slots ------------------------------------------------------------------------------------ */

/* Another flying one of the same sender has the tag that this place would have. */
static bool tag_taken(struct book *book, uint32_t sender, uint32_t at)
{
    return book_find_tag(book, sender, 1 + at % TAGS) != NULL;
}

struct book_slot *book_open(struct book *book, uint32_t sender, uint32_t recipient)
{
    uint32_t at = book->first_free, before = BOOK_NONE;
    while (at != BOOK_NONE && book->used > TAGS && tag_taken(book, sender, at)) {
        before = at;
        at = book->slots[at].next;
    }
    if (at != BOOK_NONE && before == BOOK_NONE) {
        book->first_free = book->slots[at].next;
    } else if (at != BOOK_NONE) {
        book->slots[before].next = book->slots[at].next;
    } else {
        if (book->used == book->options.slots || tag_taken(book, sender, book->used))
            return NULL;
        at = book->used++;
        book->slots[at].number = at;
    }
    struct book_slot *slot = &book->slots[at];
    slot->number += SLOT_MASK + 1;
    slot->sender = sender;
    slot->recipient = recipient;
    slot->state = BOOK_FLYING;
    slot->due_ns = UINT64_MAX;
    if (book->lists) {
        uint32_t *list = list_of(book, sender);
        slot->next = *list;
        *list = at;
    }
    book->flying++;
    atomic_store_explicit(&book->options.words[at], word_of(slot->number) | OPEN,
                          memory_order_release);
    return slot;
}

struct book_slot *book_find(struct book *book, uint64_t number)
{
    uint64_t at = number & SLOT_MASK;
    if (at >= book->used)
        return NULL;
    struct book_slot *slot = &book->slots[at];
    return slot->state == BOOK_FLYING && slot->number == number ? slot : NULL;
}

struct book_slot *book_at(struct book *book, uint32_t at)
{
    if (at >= book->used || book->slots[at].state != BOOK_FLYING)
        return NULL;
    return &book->slots[at];
}

struct book_slot *book_find_tag(struct book *book, uint32_t sender, uint32_t tag)
{
    assert(tag >= 1);
    for (uint32_t at = tag - 1; at < book->used; at += TAGS)
        if (book->slots[at].state == BOOK_FLYING && book->slots[at].sender == sender)
            return &book->slots[at];
    return NULL;
}

uint32_t book_tag(const struct book *book, const struct book_slot *slot)
{
    return 1 + place(book, slot) % TAGS;
}

/* On which devices it is until now. */
static uint64_t arrived(const struct book *book, const struct book_slot *slot)
{
    return atomic_load_explicit(&book->options.words[place(book, slot)], memory_order_acquire) &
           book->all;
}

static void stop_flying(struct book *book, struct book_slot *slot)
{
    assert(slot->state == BOOK_FLYING);
    if (book->lists)
        unlist(book, slot);
    book->flying--;
}

/* Whoever marks an arrival later than this meets a closed word: a stray one. Returns the devices
 * that it has arrived on. */
static uint64_t shut(struct book *book, struct book_slot *slot)
{
    uint32_t at = place(book, slot);
    uint64_t word = atomic_exchange_explicit(&book->options.words[at], 0, memory_order_acq_rel);
    slot->state = BOOK_FREE;
    slot->next = book->first_free;
    book->first_free = at;
    return word & book->all;
}

static void follow(struct book *book, struct book_slot *slot, uint64_t now_ns)
{
    slot->state = BOOK_FOLLOWED;
    slot->due_ns = now_ns + FOLLOW_NS;
    book->followed++;
}

/* --- what is past ----------------------------------------------------------------------------- */

static uint64_t past_hash(uint64_t number)
{
    number *= UINT64_C(0x9e3779b97f4a7c15);
    number ^= number >> 32;
    return number * UINT64_C(0xd6e8feb86659fd93);
}

static bool same_past(const void *ctx, uint32_t index, const void *key)
{
    const struct book *book = ctx;
    const uint64_t *number = key;
    return book->pasts[index].number == *number;
}

static struct past *past_of(struct book *book, uint64_t number)
{
    uint32_t index = map_find(&book->past, past_hash(number), same_past, book, &number);
    return index == MAP_NONE ? NULL : &book->pasts[index];
}

static void remember(struct book *book, const struct past *past)
{
    if (past->arrived == book->all)
        return;
    if (book->past_count == book->past_room) {
        book->past_room = book->past_room ? book->past_room * 2 : 1024;
        book->pasts = realloc(book->pasts, book->past_room * sizeof *book->pasts);
        assert(book->pasts != NULL);
    }
    book->pasts[book->past_count] = *past;
    map_add(&book->past, past_hash(past->number), book->past_count++);
}

static uint32_t devices_in(uint64_t bits)
{
    return (uint32_t)__builtin_popcountll(bits);
}

/* --- how messages end ------------------------------------------------------------------------- */

void book_close_arrived(struct book *book, struct book_slot *slot, uint64_t now_ns)
{
    stop_flying(book, slot);
    if (arrived(book, slot) == book->all)
        (void)shut(book, slot);
    else
        follow(book, slot, now_ns);
}

void book_close_acked(struct book *book, struct book_slot *slot, uint64_t now_ns)
{
    uint64_t on = arrived(book, slot), number = slot->number;
    book->counts->acknowledged++;
    book->counts->completed++;
    stop_flying(book, slot);
    if (on == book->all) {
        (void)shut(book, slot);
    } else if (on == 0 && book->options.ack_is_delivery) {
        /* Acknowledged, and nobody has it. */
        on = shut(book, slot);
        if (on == 0)
            book->counts->lost++;
        remember(book, &(struct past){.number = number, .arrived = (uint8_t)on});
    } else {
        follow(book, slot, now_ns);
    }
}

void book_close_refused(struct book *book, struct book_slot *slot, uint32_t reason)
{
    uint64_t number = slot->number;
    stop_flying(book, slot);
    uint64_t on = shut(book, slot);
    book->counts->refused[reason < NACK_REASONS ? reason : NACK_NONE]++;
    if (on != 0)
        book->counts->false_nacks++;
    remember(book, &(struct past){.number = number, .arrived = (uint8_t)on, .refused = true});
}

void book_close_given_up(struct book *book, struct book_slot *slot)
{
    uint64_t number = slot->number;
    stop_flying(book, slot);
    uint64_t on = shut(book, slot);
    struct past past = {.number = number, .arrived = (uint8_t)on};
    if (book->options.message_class != HOT_EPHEMERAL) {
        book->counts->unknown++;
    } else if (on == 0) {
        book->counts->lost++;
        past.counted_lost = true;
    }
    remember(book, &past);
}

static void end_following(struct book *book, struct book_slot *slot)
{
    uint64_t number = slot->number;
    book->followed--;
    uint64_t on = shut(book, slot);
    struct past past = {.number = number, .arrived = (uint8_t)on};
    if (on == 0) {
        book->counts->lost++;
        past.counted_lost = true;
    } else {
        book->counts->missing += devices_in(book->all) - devices_in(on);
    }
    remember(book, &past);
}

void book_sweep(struct book *book, uint64_t now_ns, uint32_t count,
                void (*due)(void *ctx, struct book_slot *slot), void *ctx)
{
    bool looks_for_arrivals = book->options.message_class == HOT_EPHEMERAL && !book->told;
    if (count > book->used)
        count = book->used;
    while (count-- > 0) {
        struct book_slot *slot = &book->slots[book->swept];
        book->swept = book->swept + 1 < book->used ? book->swept + 1 : 0;
        if (slot->state == BOOK_FOLLOWED) {
            if (arrived(book, slot) == book->all || slot->due_ns <= now_ns)
                end_following(book, slot);
        } else if (slot->state == BOOK_FLYING) {
            if (looks_for_arrivals && arrived(book, slot) != 0)
                book_close_arrived(book, slot, now_ns);
            else if (slot->due_ns <= now_ns)
                due(ctx, slot);
        }
    }
}

uint32_t book_flying(const struct book *book)
{
    return book->flying;
}

uint32_t book_followed(const struct book *book)
{
    return book->followed;
}

uint32_t book_used(const struct book *book)
{
    return book->used;
}

/* --- arrivals --------------------------------------------------------------------------------- */

enum book_mark book_mark(_Atomic uint64_t *words, uint32_t slots, uint64_t number, uint32_t device)
{
    uint64_t at = number & SLOT_MASK, bit = UINT64_C(1) << device;
    assert(device < BOOK_DEVICES_MAX);
    if (at >= slots)
        return MARK_STRAY;
    uint64_t word = atomic_load_explicit(&words[at], memory_order_relaxed);
    do {
        if ((word & ~(OPEN - 1)) != (word_of(number) | OPEN) || (word & bit) != 0)
            return MARK_STRAY;
    } while (!atomic_compare_exchange_weak_explicit(&words[at], &word, word | bit,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return (word & (OPEN - 1)) == 0 ? MARK_FIRST : MARK_FURTHER;
}

void book_stray(struct book *book, uint64_t number, uint32_t device, bool replayed)
{
    struct past *past = past_of(book, number);
    uint8_t bit = (uint8_t)(1u << device);
    if (past && !(past->arrived & bit)) {
        book->counts->late++;
        if (past->arrived == 0) {
            book->counts->delivered++;
            if (past->refused)
                book->counts->false_nacks++;
            if (past->counted_lost)
                book->counts->lost--;
        }
        past->arrived |= bit;
    } else if (replayed) {
        book->counts->replayed++;
    } else {
        book->counts->doubled++;
    }
}
