/* target: how a kind of server is spoken to: what goes on the wire to log in, to send, to answer,
 * and what comes back. One row each, in a wire_*.c of its own; the workloads know no wire.
 *
 * Writers write whole frames and return their size, at most TARGET_OVERHEAD_MAX more than token and
 * body. Where a kind has no ids of its own, a user's address is the number he logs in with.
 */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "proto/frame.h"
#include "proto/hot.h"

#define TARGET_OVERHEAD_MAX 256u

struct target_login {
    uint64_t number; /* for those who take our word for it */
    struct span token, device;
    struct span ticket; /* not empty: instead of the token */
};

enum target_event {
    TARGET_IGNORED, /* nothing for the workloads in it; it may want an answer */
    TARGET_WELCOME,
    TARGET_DELIVER,
    TARGET_ACK,
    TARGET_NACK,
    TARGET_ENDED, /* the server says why it closes the connection */
};

struct target_frame {
    enum target_event event;
    uint32_t answer; /* not 0: hand the frame to the target's `answer` */
    /* TARGET_ACK, TARGET_NACK: of the send with this tag; 0: the cmid says which. */
    uint32_t tag;
    union {
        struct {
            uint64_t gid;          /* 0: the number he logged in with */
            uint32_t heartbeat_ms; /* 0: none */
            struct span ticket;    /* to come back with; empty: none */
        } welcome;
        struct hot_deliver deliver;
        struct hot_ack ack;
        struct hot_nack nack;
        struct {
            uint32_t reason;  /* proto/end_reasons.h; 0: see the text */
            struct span text; /* in the server's own words */
        } ended;
    } is;
};

struct target {
    const char *name;
    const char *help;         /* what it is, for --help */
    bool tokens;              /* logs in with a token */
    bool tickets;             /* and comes back with a ticket */
    bool names_sender;        /* a delivery's `from` is true; otherwise it is 0 */
    bool takes_resends;       /* knows a message that is sent again by its id */
    bool ack_is_delivery;     /* an acknowledgement says that the recipient has it */
    bool offers[HOT_CLASSES]; /* classes, or what comes nearest to them */
    size_t (*hello)(uint8_t *at, const struct target_login *login);
    /* `tag`: 1 to 65535, none twice at a time on a connection; comes back with the answer. */
    size_t (*send)(uint8_t *at, const struct hot_send *send, uint32_t tag);
    size_t (*received)(uint8_t *at, uint64_t dseq); /* NULL: there is no such thing */
    size_t (*answer)(uint8_t *at, const struct target_frame *frame); /* NULL: none wants one */
    size_t (*ping)(uint8_t *at);                                     /* NULL: not needed */
    /* Takes the first frame off `input`, as frame_take does; it borrows from the same bytes. */
    enum frame_status (*take)(struct span *input, struct target_frame *frame);
};

/* The rows. */
extern const struct target wire_lahar, wire_relay, wire_nats, wire_mqtt, wire_resp;

/* All of them, in order; NULL after the last one. */
const struct target *target_at(size_t index);
/* NULL: there is none of that name. */
const struct target *target_find(const char *name);

#endif
