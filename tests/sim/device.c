#include "tests/sim/device.h"

#include "proto/gid.h"

static void hand_out(struct device *device, const struct hot_link_deliver *deliver)
{
    uint64_t number = 0;
    uint8_t cmid[GID_CMID_SIZE] = {0}, mid[GID_MID_SIZE];
    if (deliver->body.len == sizeof number)
        memcpy(&number, deliver->body.at, sizeof number);
    memcpy(cmid, &number, sizeof number);
    gid_mid(deliver->from, 501, cmid, mid);
    if (number < 1 || number > SENDER_MESSAGES ||
        !span_equal(deliver->mid, span_of(mid, sizeof mid))) {
        device->garbled = true;
        return;
    }
    if (device->known[number])
        return;
    device->known[number] = true;
    device->handed_out[device->handed_out_count++] = number;
}

enum device_reply device_reads(struct device *device, const struct hot_link_deliver *deliver,
                               uint32_t i, uint64_t *dseq)
{
    if (deliver->epoch != device->epoch && !LEFT_OUT(EPOCH))
        return DEVICE_SILENT;
    if (deliver->dseq[i] > device->let + 1 && !LEFT_OUT(DSEQ)) {
        *dseq = device->let + 1;
        return DEVICE_GAP;
    }
    if (deliver->dseq[i] > device->let) {
        device->let = deliver->dseq[i];
        if (deliver->mid.len > 0)
            hand_out(device, deliver);
    }
    *dseq = device->let;
    return DEVICE_RECEIVED;
}

void device_rebind(struct device *device, uint64_t session, uint32_t edge)
{
    device->session = session;
    device->edge = edge;
    device->let = 0;
    device->here = true;
}
