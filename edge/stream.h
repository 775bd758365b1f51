/* stream: one client socket that is read and written as clear bytes, be it clear or TLS. A part of
 * conn; nothing else uses it. */
#ifndef EDGE_STREAM_H
#define EDGE_STREAM_H

#include "edge/tls.h"
#include "proto/reasons.h"

#define STREAM_READ_MAX TLS_READ_MAX

/* Small, and inside of a conn: its owner makes and ends it. */
struct stream {
    struct ssl_st *tls; /* NULL: clear */
    int fd;
    bool reading_writes; /* TLS wants to write before it reads on */
    bool writing_reads;  /* TLS wants to read before it writes on */
};

/* Both return why the stream must end, or END_NONE; `tls` is that of the streams that are not
 * clear. */

/* Reads into `at`, which has room for STREAM_READ_MAX, and sets `got`, whatever is returned.
 * `drained`: nothing more is there just now, but perhaps the peer's end. */
MUST_CHECK enum end_reason stream_read(struct stream *stream, struct tls *tls, uint8_t *at,
                                       size_t *got, bool *drained);
/* Writes what the socket takes: `taken` of `bytes`, whatever is returned. What was not taken must
 * be offered again, first and unchanged. `moved`: the socket took something, be it of an earlier
 * call.
 */
MUST_CHECK enum end_reason stream_write(struct stream *stream, struct tls *tls, struct span bytes,
                                        size_t *taken, bool *moved);

#endif
