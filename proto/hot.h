/* hot: the messages of the path that every message takes, read and written by hand.
 *
 * Byte for byte what protobuf-c would accept, and what it writes (fields in order of number, zero
 * and empty ones left out; tests/test_hot.c holds the two against each other). Reading borrows from
 * the input and allocates nothing; unknown fields are skipped, of a doubled field the last one
 * counts, a varint of more than ten bytes, a wrong wire type of a known field or a length past the
 * end is malformed. Sizes (cmid and mid of 16 bytes or none) are judged here, values are not.
 *
 * hot_X_write writes a whole delimited frame (length, oneof tag, message) and returns its size, at
 * most HOT_OVERHEAD_MAX + the body's (and 20 bytes for each session of a LinkDeliver): give it that
 * much room.
 */
#ifndef PROTO_HOT_H
#define PROTO_HOT_H

#include "base/span.h"

#define HOT_OVERHEAD_MAX 160u
#define HOT_SESSIONS_MAX 64u /* of one LinkDeliver */

enum hot_class { HOT_STORED, HOT_CONFIRMED, HOT_EPHEMERAL, HOT_CLASSES };
enum hot_level { HOT_LEVEL_NONE, HOT_LEVEL_STORED, HOT_LEVEL_DELIVERED };

struct hot_send {
    uint64_t to;
    uint64_t seq, settled;
    uint32_t class;
    struct span cmid; /* 16 bytes, or none */
    struct span body;
};

struct hot_link_send {
    uint64_t from, device, session;
    uint32_t hops;
    struct hot_send send;
};

struct hot_link_deliver {
    uint64_t to;
    uint32_t epoch;
    uint32_t class;
    uint32_t sessions; /* how many of the following are used */
    uint32_t dseqs;    /* 0, or equal to sessions */
    uint64_t session[HOT_SESSIONS_MAX];
    uint64_t dseq[HOT_SESSIONS_MAX];
    uint64_t from;
    uint64_t sent_at;
    struct span mid; /* 16 bytes, or none */
    struct span body;
};

struct hot_deliver {
    uint64_t dseq, mseq, from, group, sent_at;
    uint32_t class;
    struct span mid;
    struct span body;
};

struct hot_answer {
    uint64_t gid, session;
    struct span cmid;
    uint32_t level;
    uint32_t reason;
    struct span mid;
    uint32_t retry_after_ms;
    uint64_t expected_seq;
};

struct hot_received {
    uint64_t gid, session; /* on the link only */
    uint64_t dseq;
};

struct hot_ack {
    struct span cmid;
    uint32_t level;
    struct span mid;
};

struct hot_nack {
    struct span cmid;
    uint32_t reason, retry_after_ms;
    uint64_t expected_seq;
};

/* `content` is what frame_open gave. */
MUST_CHECK bool hot_send_read(struct span content, struct hot_send *send);
MUST_CHECK bool hot_link_send_read(struct span content, struct hot_link_send *send);
MUST_CHECK bool hot_link_deliver_read(struct span content, struct hot_link_deliver *deliver);
MUST_CHECK bool hot_deliver_read(struct span content, struct hot_deliver *deliver);
MUST_CHECK bool hot_answer_read(struct span content, struct hot_answer *answer);
MUST_CHECK bool hot_received_read(struct span content, struct hot_received *received);
MUST_CHECK bool hot_link_received_read(struct span content, struct hot_received *received);
MUST_CHECK bool hot_ack_read(struct span content, struct hot_ack *ack);
MUST_CHECK bool hot_nack_read(struct span content, struct hot_nack *nack);

/* Client's frames. */
size_t hot_send_write(uint8_t *at, const struct hot_send *send);
size_t hot_received_write(uint8_t *at, const struct hot_received *received);
/* The edge's frames to clients. */
size_t hot_deliver_write(uint8_t *at, const struct hot_deliver *deliver);
size_t hot_ack_write(uint8_t *at, const struct hot_ack *ack);
size_t hot_nack_write(uint8_t *at, const struct hot_nack *nack);
/* Frames of the link. */
size_t hot_link_send_write(uint8_t *at, const struct hot_link_send *send);
size_t hot_link_deliver_write(uint8_t *at, const struct hot_link_deliver *deliver);
size_t hot_answer_write(uint8_t *at, const struct hot_answer *answer);
size_t hot_link_received_write(uint8_t *at, const struct hot_received *received);

#endif
