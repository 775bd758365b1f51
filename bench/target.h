/* target: how a kind of server is spoken to: what goes on the wire to log in, to send, to answer,
 * and what comes back. One row each; the workloads know no wire.
 *
 * Writers write whole frames and return their size, at most TARGET_OVERHEAD_MAX more than token and
 * body.
 */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "proto/frame.h"
#include "proto/hot.h"

#define TARGET_OVERHEAD_MAX 256u

struct target_login {
    uint64_t number; /* for those who take our word for it */
    struct span token, device;
};

enum target_event {
    TARGET_IGNORED, /* nothing for us in it */
    TARGET_WELCOME,
    TARGET_DELIVER,
    TARGET_ACK,
    TARGET_NACK,
    TARGET_ENDED, /* the server says why it closes the connection */
};

struct target_frame {
    enum target_event event;
    union {
        struct {
            uint64_t gid;
            uint32_t heartbeat_ms; /* 0: none */
        } welcome;
        struct hot_deliver deliver;
        struct hot_ack ack;
        struct hot_nack nack;
        struct {
            uint32_t reason; /* proto/end_reasons.h */
        } ended;
    } is;
};

struct target {
    const char *name;
    bool tokens;              /* logs in with a token */
    bool offers[HOT_CLASSES]; /* classes */
    size_t (*hello)(uint8_t *at, const struct target_login *login);
    size_t (*send)(uint8_t *at, const struct hot_send *send);
    size_t (*received)(uint8_t *at, uint64_t dseq); /* NULL: there is no such thing */
    size_t (*ping)(uint8_t *at);                    /* NULL: not needed */
    /* Takes the first frame off `input`, as frame_take does; it borrows from the same bytes. */
    enum frame_status (*take)(struct span *input, struct target_frame *frame);
};

/* NULL: there is none of that name. */
const struct target *target_find(const char *name);

#endif
