/* outbox: the sends that have no outcome yet, and the sender's half of the order rule (design,
 * section 4). Pure.
 *
 * A conversation is one recipient and class. Its sends wait in order; each gets its `seq` when it
 * first goes out in a session.
 *
 *     waiting --transmitted--> in flight --DELIVERED, STORED, final refusal--> ended
 *        ^                        | SEQ_GAP{expected}: back to there, once for each place
 *        |                        | BUSY: back to here after retry_after; what is behind waits too
 *        '------------------------' no answer for retry_ms: back to the oldest
 *
 * At most OUTBOX_IN_FLIGHT are in flight. Conversations take turns. A conversation without sends is
 * forgotten; one that begins later in the same session counts on from above every number used
 * before, so that no old number is met again.
 */
#ifndef CLIENT_OUTBOX_H
#define CLIENT_OUTBOX_H

#include "client/lahar.h"
#include "proto/hot.h"
#include "proto/reasons.h"

#define OUTBOX_IN_FLIGHT 32u

struct outbox;

struct outbox_options {
    uint32_t sends_max, retry_ms, timeout_ms;
};

struct outbox_actions {
    void (*transmit)(void *ctx, const struct hot_send *send);
    /* False: transmit nothing now, not again either; outbox_pump or outbox_tick goes on later. */
    bool (*has_room)(void *ctx);
    void (*ended)(void *ctx, const struct lahar_result_of_send *result);
};

struct outbox *outbox_new(const struct outbox_options *options,
                          const struct outbox_actions *actions, void *ctx);
/* Sends without an outcome get none. */
void outbox_free(struct outbox *outbox);

/* LAHAR_FULL, LAHAR_INVALID (the id is already on its way), LAHAR_NO_MEMORY. The body is copied.
 * Transmits nothing. */
enum lahar_result outbox_add(struct outbox *outbox, uint64_t to, enum lahar_class message_class,
                             struct span body, const uint8_t id[LAHAR_ID_SIZE], uint64_t now_ms);

/* A new session: everything goes out again, from seq 1. While closed nothing is transmitted. */
void outbox_open(struct outbox *outbox, uint64_t now_ms);
void outbox_close(struct outbox *outbox);

/* Transmits what may go out. */
void outbox_pump(struct outbox *outbox, uint64_t now_ms);
/* Answers to ids that are not waiting are ignored. */
void outbox_ack(struct outbox *outbox, const struct hot_ack *ack);
void outbox_nack(struct outbox *outbox, const struct hot_nack *nack, uint64_t now_ms);

/* Timers: resends and outcomes that are overdue. */
void outbox_tick(struct outbox *outbox, uint64_t now_ms);
uint64_t outbox_due_ms(const struct outbox *outbox);

size_t outbox_waiting(const struct outbox *outbox);

#endif
