#include "bench/writing.h"

#include "proto/gid.h"

#define LOST_AFTER_NS (5 * NS_PER_S)
#define RETRY_NS (2 * NS_PER_S)
/* Messages to nobody have no slot. */
#define NO_SLOT BOOK_SLOTS_MAX

static void write_message(struct traffic *traffic, const struct referee_stamp *stamp, uint64_t seq,
                          uint32_t tag)
{
    uint8_t cmid[GID_CMID_SIZE];
    referee_write(traffic->body, traffic->options->bytes, stamp);
    struct hot_send send = {
        .to = member_gid(traffic->member, stamp->recipient),
        .class = traffic->options->message_class,
        .body = span_of(traffic->body, traffic->options->bytes),
    };
    if (!traffic_is_ephemeral(traffic)) {
        referee_cmid(cmid, stamp);
        send.cmid = span_of(cmid, sizeof cmid);
        send.seq = send.settled = seq;
    }
    crowd_send(traffic->crowd, stamp->sender, judge_sending_device(&traffic->judge, stamp->number),
               &send, tag);
}

void writing_transmit(struct traffic *traffic, struct book_slot *slot)
{
    const struct referee_stamp stamp = {traffic->run, slot->number, slot->sent_ns, slot->sender,
                                        slot->recipient};
    write_message(traffic, &stamp, slot->seq, book_tag(traffic->book, slot));
    slot->due_ns =
        crowd_now_ns(traffic->crowd) + (traffic_is_ephemeral(traffic) ? LOST_AFTER_NS : RETRY_NS);
}

static bool pick_recipient(struct traffic *traffic, uint32_t sender, uint32_t *recipient)
{
    const struct team_shape *shape = team_shape(traffic->member->team);
    bool gone = shape->gone > 0 && dice_share(&traffic->dice) <= traffic->options->offline_share;
    for (uint32_t i = 0; i < TRIES; i++) {
        *recipient = gone ? shape->users + dice_below(&traffic->dice, shape->gone)
                          : dice_below(&traffic->dice, shape->users);
        if (*recipient != sender &&
            (traffic_is_ephemeral(traffic) || !book_has(traffic->book, sender, *recipient)))
            return true;
    }
    return false;
}

/* EPHEMERAL to one who is not there: nothing may come of it, so nothing is kept. */
static void send_to_nobody(struct traffic *traffic, uint32_t sender, uint32_t recipient,
                           uint64_t due_ns)
{
    traffic->gone_number += UINT64_C(1) << BOOK_SLOT_BITS;
    const struct referee_stamp stamp = {traffic->run, traffic->gone_number | NO_SLOT, due_ns,
                                        sender, recipient};
    traffic->counts->sent++;
    traffic->counts->to_offline++;
    write_message(traffic, &stamp, 0, 1);
}

enum sent writing_send(struct traffic *traffic, uint32_t sender, uint64_t due_ns)
{
    uint32_t recipient;
    if (!crowd_is_online(traffic->crowd, sender, 0) || !pick_recipient(traffic, sender, &recipient))
        return SENT_NOTHING;
    if (traffic_is_ephemeral(traffic) && recipient >= team_shape(traffic->member->team)->users) {
        send_to_nobody(traffic, sender, recipient, due_ns);
        return SENT_TO_NOBODY;
    }
    struct book_slot *slot = book_open(traffic->book, sender, recipient);
    if (!slot) {
        traffic->member->counts.starved++;
        return SENT_NOTHING;
    }
    slot->sent_ns = due_ns;
    slot->seq = ++traffic->seq;
    traffic->counts->sent++;
    writing_transmit(traffic, slot);
    return SENT;
}

void writing_next(struct traffic *traffic, uint32_t user)
{
    enum sent sent = SENT_TO_NOBODY;
    while (traffic->writing && sent == SENT_TO_NOBODY)
        sent = writing_send(traffic, user, crowd_now_ns(traffic->crowd));
    if (sent == SENT_NOTHING)
        agenda_add(&traffic->thinking, crowd_now_ns(traffic->crowd) + AWAY_NS, user);
}

void writing_think(struct traffic *traffic, uint32_t user)
{
    uint64_t mean_ns = traffic->options->think_ms * NS_PER_MS;
    if (!traffic->writing)
        return;
    if (mean_ns == 0) {
        writing_next(traffic, user);
        return;
    }
    double ns = (double)mean_ns;
    if (!traffic->options->even)
        ns = dice_exponential(&traffic->dice, ns);
    agenda_add(&traffic->thinking, crowd_now_ns(traffic->crowd) + (uint64_t)ns, user);
}
