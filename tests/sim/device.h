/* device: a model of one recipient's session on its edge and of the library behind it: the gate
 * that lets only the next delivery through, and the memory that hands each message out once. */
#ifndef SIM_DEVICE_H
#define SIM_DEVICE_H

#include "base/left_out.h"
#include "proto/hot.h"
#include "tests/sim/sender.h"

struct device {
    uint64_t name, session;
    uint64_t let; /* the last delivery let through in this session */
    uint32_t edge;
    uint32_t epoch; /* of the owner to whom it was last announced */
    bool here;
    bool known[SENDER_MESSAGES + 1];
    uint64_t handed_out[SENDER_MESSAGES];
    size_t handed_out_count;
    bool garbled; /* got what nobody sent */
};

enum device_reply { DEVICE_SILENT, DEVICE_RECEIVED, DEVICE_GAP };

/* A LinkDeliver, of which the entry for this device is the i-th. `dseq` is what to say: received up
 * to it, or expected. */
enum device_reply device_reads(struct device *device, const struct hot_link_deliver *deliver,
                               uint32_t i, uint64_t *dseq);
/* A new session of the same library. */
void device_rebind(struct device *device, uint64_t session, uint32_t edge);

#endif
