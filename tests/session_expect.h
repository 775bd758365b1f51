/* session_expect: what the tests of the session core expect a client or a shard to have been told.
 */
#ifndef TESTS_SESSION_EXPECT_H
#define TESTS_SESSION_EXPECT_H

#include "tests/session_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The client was told this Error (and nothing before it), and is closed for it. */
static inline void rig_expect_error(struct rig *rig, struct conn_id id, enum end_reason reason)
{
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_ERROR);
    assert_int_equal(frame->error->reason, reason);
    assert_int_equal(frame->error->text.len, strlen(reasons_end_text(reason)));
    assert_memory_equal(frame->error->text.data, reasons_end_text(reason), frame->error->text.len);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_null(rig_heard(rig, id));
    assert_int_equal(rig->closed[id.slot], reason);
    assert_true(rig_ledgers_hold(rig));
}

static inline void rig_expect_nack(struct rig *rig, struct conn_id id, enum nack_reason reason,
                                   uint32_t retry_after_ms)
{
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_SEND_NACK);
    assert_int_equal(frame->send_nack->reason, reason);
    assert_int_equal(frame->send_nack->retry_after_ms, retry_after_ms);
    assert_int_equal(frame->send_nack->cmid.len, GID_CMID_SIZE);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
    assert_true(rig_ledgers_hold(rig));
}

static inline void rig_expect_deliver(struct rig *rig, struct conn_id id, uint64_t dseq,
                                      size_t mid_len)
{
    Lahar__V1__ServerFrame *frame = rig_heard(rig, id);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, LAHAR__V1__SERVER_FRAME__FRAME_DELIVER);
    assert_int_equal(frame->deliver->dseq, dseq);
    assert_int_equal(frame->deliver->mid.len, mid_len);
    lahar__v1__server_frame__free_unpacked(frame, NULL);
}

/* The next frame, which is of this type. */
static inline Lahar__Link__V1__LinkFrame *rig_expect(struct rig *rig, uint32_t shard,
                                                     Lahar__Link__V1__LinkFrame__FrameCase type)
{
    Lahar__Link__V1__LinkFrame *frame = rig_told(rig, shard);
    assert_non_null(frame);
    assert_int_equal(frame->frame_case, type);
    return frame;
}

#endif
