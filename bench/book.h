/* book: the messages that one generator process has on their way, and the verdict on each.
 *
 *            book_open            book_close_*                 all devices have it, or time is up
 *     free ------------> flying ----------------> followed? ------------------------------------>
 * free
 *
 * A slot is what is known of one message. Its place and a generation make the message's number, so
 * that whoever gets the message finds the slot: the sender's process owns it, but for one atomic
 * word in shared memory, in which the recipient's process marks the arrival, for each device
 * (book_mark).
 *
 * Closing says how the message ended for the sender; after that the slot is kept as long as an
 * arrival is still due: of an acknowledged one whose target does not promise by it that it has
 * arrived, or at further devices. What a slot does not expect (book_mark says MARK_STRAY) the
 * recipient's process tells the sender's, which judges it: late, replayed, doubled, or after a
 * refusal.
 *
 * Pure; counts into the referee_counts that it is given.
 */
#ifndef BENCH_BOOK_H
#define BENCH_BOOK_H

#include "bench/referee.h"

#include <stdatomic.h>

#define BOOK_NONE UINT32_MAX
#define BOOK_SLOT_BITS 24u
#define BOOK_SLOTS_MAX ((UINT32_C(1) << BOOK_SLOT_BITS) - 1)
#define BOOK_DEVICES_MAX 8u

struct book_options {
    _Atomic uint64_t *words; /* one for each slot, zeroed */
    uint32_t slots;
    uint32_t devices; /* of each recipient */
    enum hot_class message_class;
    bool ack_is_delivery;
    bool keeps_lists; /* of each sender's slots */
    uint32_t first, senders;
};

enum book_state { BOOK_FREE, BOOK_FLYING, BOOK_FOLLOWED };

struct book_slot {
    uint64_t number, seq;
    uint64_t sent_ns, due_ns; /* due: what the owner does next, or gives up */
    uint32_t sender, recipient;
    uint32_t next; /* in the list of free ones, or of the sender's */
    uint8_t state; /* enum book_state */
};

struct book;

struct book *book_new(const struct book_options *options, struct referee_counts *counts);
void book_free(struct book *book);
/* Told of arrivals (it is at first), it does not look for them when sweeping. */
void book_set_told(struct book *book, bool told);

/* A slot for a message, with a new number; NULL if all are taken. */
struct book_slot *book_open(struct book *book, uint32_t sender, uint32_t recipient);
/* The flying slot of a number, of a tag (of this sender); NULL: it is not, or no more. */
struct book_slot *book_find(struct book *book, uint64_t number);
struct book_slot *book_at(struct book *book, uint32_t place); /* number mod BOOK_SLOTS_MAX + 1 */
struct book_slot *book_find_tag(struct book *book, uint32_t sender, uint32_t tag);
/* 1 to 65535, no two flying ones of a sender have the same. */
uint32_t book_tag(const struct book *book, const struct book_slot *slot);
/* Has the sender one flying for this recipient? Wants keeps_lists. */
MUST_CHECK bool book_has(const struct book *book, uint32_t sender, uint32_t recipient);
uint32_t book_flying_of(const struct book *book, uint32_t sender);

/* Ends it for its sender: it has arrived somewhere (EPHEMERAL), was acknowledged, refused for good,
 * or was given up: with EPHEMERAL it is lost, else unknown. The slot may be free afterwards. */
void book_close_arrived(struct book *book, struct book_slot *slot, uint64_t now_ns);
void book_close_acked(struct book *book, struct book_slot *slot, uint64_t now_ns);
void book_close_refused(struct book *book, struct book_slot *slot, uint32_t reason);
void book_close_given_up(struct book *book, struct book_slot *slot);

/* Looks through the next `count` slots in turn: ends what was followed long enough, frees what has
 * arrived (EPHEMERAL, unless it is told), and hands those whose time has come to `due`. */
void book_sweep(struct book *book, uint64_t now_ns, uint32_t count,
                void (*due)(void *ctx, struct book_slot *slot), void *ctx);

uint32_t book_flying(const struct book *book);
uint32_t book_followed(const struct book *book);
/* Slots that were ever used. */
uint32_t book_used(const struct book *book);

/* --- arrivals --------------------------------------------------------------------------------- */

enum book_mark { MARK_FIRST, MARK_FURTHER, MARK_STRAY };
/* In the words of the sender's process. FIRST: on no device before. */
enum book_mark book_mark(_Atomic uint64_t *words, uint32_t slots, uint64_t number, uint32_t device);
/* In the sender's process: what became of a stray one. `replayed`: it came under the mid that its
 * sender's message has, so that a client library absorbs it. */
void book_stray(struct book *book, uint64_t number, uint32_t device, bool replayed);

#endif
