#include "bench/referee.h"

#include <endian.h>

#define CMID_BYTES 16u

/* As it travels: little-endian. */
struct head {
    uint64_t check, run, number, sent_ns;
    uint32_t sender, recipient;
    uint64_t len;
};
_Static_assert(sizeof(struct head) == REFEREE_BODY_MIN, "no holes");

static uint64_t mix(uint64_t a, uint64_t b)
{
    a ^= b * UINT64_C(0x9e3779b97f4a7c15);
    a ^= a >> 29;
    a *= UINT64_C(0xbf58476d1ce4e5b9);
    return a ^ a >> 32;
}

static uint64_t check_of(const struct head *head)
{
    uint64_t sum = mix(UINT64_C(0x6c61686172), head->run);
    sum = mix(sum, head->number);
    sum = mix(sum, head->sent_ns);
    sum = mix(sum, (uint64_t)head->sender << 32 | head->recipient);
    return mix(sum, head->len);
}

/* Each message's filling starts from its check: eight bytes at a time, cheap to make and to
 * compare. */
static uint64_t fill_word(uint64_t check, size_t word)
{
    return (check + word) * UINT64_C(0xd6e8feb86659fd93);
}

static struct head head_of(size_t len, const struct referee_stamp *stamp)
{
    struct head head = {
        .run = htole64(stamp->run),
        .number = htole64(stamp->number),
        .sent_ns = htole64(stamp->sent_ns),
        .sender = htole32(stamp->sender),
        .recipient = htole32(stamp->recipient),
        .len = htole64(len),
    };
    head.check = check_of(&head);
    return head;
}

void referee_write(uint8_t *body, size_t len, const struct referee_stamp *stamp)
{
    assert(len >= REFEREE_BODY_MIN);
    struct head head = head_of(len, stamp);
    memcpy(body, &head, sizeof head);
    size_t at = sizeof head;
    for (; at + 8 <= len; at += 8) {
        uint64_t word = fill_word(head.check, at);
        memcpy(body + at, &word, 8);
    }
    uint64_t last = fill_word(head.check, at);
    memcpy(body + at, &last, len - at);
}

bool referee_read(struct span body, struct referee_stamp *stamp)
{
    struct head head;
    if (body.len < sizeof head)
        return false;
    memcpy(&head, body.at, sizeof head);
    if (le64toh(head.len) != body.len || head.check != check_of(&head))
        return false;
    uint64_t wrong = 0, word;
    size_t at = sizeof head;
    for (; at + 8 <= body.len; at += 8) {
        memcpy(&word, body.at + at, 8);
        wrong |= word ^ fill_word(head.check, at);
    }
    word = fill_word(head.check, at);
    if (wrong != 0 || memcmp(body.at + at, &word, body.len - at) != 0)
        return false;
    *stamp = (struct referee_stamp){
        .run = le64toh(head.run),
        .number = le64toh(head.number),
        .sent_ns = le64toh(head.sent_ns),
        .sender = le32toh(head.sender),
        .recipient = le32toh(head.recipient),
    };
    return true;
}

void referee_cmid(uint8_t cmid[16], const struct referee_stamp *stamp)
{
    uint32_t run = htole32((uint32_t)stamp->run), sender = htole32(stamp->sender);
    uint64_t number = htole64(stamp->number);
    memcpy(cmid, &run, 4);
    memcpy(cmid + 4, &sender, 4);
    memcpy(cmid + 8, &number, 8);
}

bool referee_cmid_read(struct span cmid, uint64_t run, uint32_t *sender, uint64_t *number)
{
    uint32_t its_run;
    if (cmid.len != CMID_BYTES)
        return false;
    memcpy(&its_run, cmid.at, 4);
    memcpy(sender, cmid.at + 4, 4);
    memcpy(number, cmid.at + 8, 8);
    *sender = le32toh(*sender);
    *number = le64toh(*number);
    return le32toh(its_run) == (uint32_t)run;
}

uint64_t referee_broken(const struct referee_counts *counts, enum hot_class message_class,
                        bool ack_is_delivery)
{
    uint64_t broken = counts->doubled + counts->misrouted + counts->altered + counts->out_of_order +
                      counts->false_nacks;
    /* EPHEMERAL is at most once: what is lost breaks nothing. */
    bool kept = message_class != HOT_EPHEMERAL && ack_is_delivery;
    return kept ? broken + counts->lost : broken;
}
