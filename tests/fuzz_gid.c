/* GIDs as text: one text for one GID, and names of devices.
 *
 * Covers: proto/gid.c.
 */
#include "proto/gid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[GID_TEXT_SIZE];
    uint64_t gid = 0, again = 0;
    if (gid_parse(span_of(data, size), &gid)) {
        assert(gid_valid(gid) && gid_kind(gid) < GID_KINDS && gid_slot(gid) < GID_SLOTS);
        struct span formatted = span_text(gid_format(gid, text));
        assert(span_equal(formatted, span_of(data, size)));
    }
    if (size >= sizeof gid) {
        memcpy(&gid, data, sizeof gid);
        bool good = gid_parse(span_text(gid_format(gid, text)), &again);
        assert(good == gid_valid(gid) && (!good || again == gid));
        uint8_t mid[GID_MID_SIZE], cmid[GID_CMID_SIZE] = {0};
        memcpy(cmid, data, sizeof gid);
        gid_mid(gid, gid_session_mix(gid, gid, gid), cmid, mid);
    }
    if (gid_device_valid(span_of(data, size)))
        assert(size >= 1 && size <= 32 && memchr(data, 0, size) == NULL);
    (void)gid_device_hash(span_of(data, size));
    (void)gid_user_hash(span_of(data, size / 2), span_of(data, size));
    return 0;
}
