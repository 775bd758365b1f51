#include "tests/sim/sender.h"

#include "proto/gid.h"

static struct sender_message *message_of(struct sender *sender, uint64_t number)
{
    assert(number >= 1 && number <= SENDER_MESSAGES);
    return &sender->messages[number - 1];
}

void sender_init(struct sender *sender, uint64_t to, void (*transmit)(void *, struct span),
                 void *ctx)
{
    memset(sender, 0, sizeof *sender);
    sender->to = to;
    sender->next_seq = 1;
    sender->transmit = transmit;
    sender->ctx = ctx;
}

static void transmit(struct sender *sender, uint64_t number)
{
    uint8_t cmid[GID_CMID_SIZE] = {0};
    uint8_t frame[HOT_OVERHEAD_MAX + sizeof number];
    memcpy(cmid, &number, sizeof number);
    uint64_t settled = UINT64_MAX;
    for (size_t i = 0; i < sender->unsettled_count; i++) {
        uint64_t seq = message_of(sender, sender->unsettled[i])->seq;
        settled = seq < settled ? seq : settled;
    }
    const struct hot_send send = {.to = sender->to,
                                  .seq = message_of(sender, number)->seq,
                                  .settled = settled,
                                  .class = HOT_CONFIRMED,
                                  .cmid = span_of(cmid, sizeof cmid),
                                  .body = span_of(&number, sizeof number)};
    message_of(sender, number)->transmitted++;
    sender->transmit(sender->ctx, span_of(frame, hot_send_write(frame, &send)));
}

static void send_from(struct sender *sender, uint64_t seq)
{
    for (size_t i = 0; i < sender->unsettled_count; i++)
        if (message_of(sender, sender->unsettled[i])->seq >= seq)
            transmit(sender, sender->unsettled[i]);
}

void sender_app_sends(struct sender *sender)
{
    if (sender->sent == SENDER_MESSAGES || sender->unsettled_count == SENDER_WINDOW)
        return;
    uint64_t number = ++sender->sent;
    message_of(sender, number)->seq = sender->next_seq++;
    sender->unsettled[sender->unsettled_count++] = number;
    transmit(sender, number);
}

void sender_new_session(struct sender *sender)
{
    sender->next_seq = 1;
    sender->went_back_to = 0;
    for (size_t i = 0; i < sender->unsettled_count; i++)
        message_of(sender, sender->unsettled[i])->seq = sender->next_seq++;
    send_from(sender, 0);
}

static void take_out(struct sender *sender, size_t at)
{
    sender->unsettled_count--;
    for (size_t i = at; i < sender->unsettled_count; i++)
        sender->unsettled[i] = sender->unsettled[i + 1];
}

/* A gap is answered once: the notices for the same place that follow it tell nothing new until a
 * timer fires. */
static void go_back(struct sender *sender, uint64_t seq)
{
    if (sender->went_back_to == seq && !LEFT_OUT(DAMPING))
        return;
    sender->went_back_to = seq;
    send_from(sender, seq);
}

static void send_as_new(struct sender *sender, size_t at)
{
    uint64_t number = sender->unsettled[at];
    take_out(sender, at);
    message_of(sender, number)->seq = sender->next_seq++;
    sender->unsettled[sender->unsettled_count++] = number;
    transmit(sender, number);
}

void sender_hears(struct sender *sender, const struct hot_answer *answer)
{
    uint64_t number;
    memcpy(&number, answer->cmid.at, sizeof number);
    struct sender_message *message = message_of(sender, number);
    size_t at = 0;
    while (at < sender->unsettled_count && sender->unsettled[at] != number)
        at++;
    bool unsettled = at < sender->unsettled_count;
    if (answer->level == HOT_LEVEL_DELIVERED)
        message->acked = true;
    if (!unsettled)
        return;
    if (answer->reason == NACK_SEQ_GAP) {
        go_back(sender, answer->expected_seq);
    } else if (answer->reason == NACK_BUSY) {
        if (LEFT_OUT(BUSY))
            send_as_new(sender, at);
        else
            go_back(sender, message->seq);
    } else {
        /* What was transmitted more than once may have arrived before it was refused. */
        if (answer->reason == NACK_OFFLINE && message->transmitted == 1)
            message->refused = true;
        else if (answer->level != HOT_LEVEL_DELIVERED)
            message->unknown = true;
        take_out(sender, at);
    }
}

void sender_timer(struct sender *sender)
{
    if (sender->unsettled_count == 0)
        return;
    sender->went_back_to = 0;
    send_from(sender, 0);
}
