#include "bench/judge.h"

#include "proto/gid.h"

#include <stdio.h>

void judge_init(struct judge *judge, const struct member *member)
{
    const struct options *options = member->options;
    *judge = (struct judge){.member = member};
    for (uint32_t i = 0; i < options->devices; i++) {
        char name[48];
        snprintf(name, sizeof name, "%.32s%.0u", options->device, i == 0 ? 0 : i + 1);
        judge->devices[i] = gid_device_hash(span_text(name));
    }
}

enum judge_verdict judge_deliver(const struct judge *judge, uint32_t user,
                                 const struct hot_deliver *deliver, struct referee_stamp *stamp)
{
    const struct member *member = judge->member;
    const struct options *options = member->options;
    if (deliver->dseq != 0 && deliver->body.len == 0 && deliver->mid.len == 0)
        return JUDGE_NOTHING;
    if (!referee_read(deliver->body, stamp))
        return JUDGE_ALTERED;
    if (stamp->run != member_run(member))
        return JUDGE_FOREIGN;
    if (stamp->sender >= team_shape(member->team)->users ||
        deliver->class != options->message_class ||
        (options->target->names_sender && deliver->from != member_gid(member, stamp->sender)))
        return JUDGE_ALTERED;
    return stamp->recipient == user ? JUDGE_FINE : JUDGE_MISROUTED;
}

bool judge_is_replay(const struct judge *judge, const struct referee_stamp *stamp,
                     const struct hot_deliver *deliver)
{
    uint8_t cmid[GID_CMID_SIZE], mid[GID_MID_SIZE];
    referee_cmid(cmid, stamp);
    gid_mid(member_gid(judge->member, stamp->sender),
            judge->devices[judge_sending_device(judge, stamp->number)], cmid, mid);
    return deliver->class != HOT_EPHEMERAL && span_equal(deliver->mid, span_of(mid, sizeof mid));
}

uint32_t judge_sending_device(const struct judge *judge, uint64_t number)
{
    return (uint32_t)((number >> BOOK_SLOT_BITS) % judge->member->options->devices);
}
