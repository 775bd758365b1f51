#include "edge/stream.h"

#include <errno.h>
#include <sys/socket.h>

static enum end_reason reason_of_errno(int error)
{
    return error == ECONNRESET || error == EPIPE ? END_PEER_LEFT : END_IO_ERROR;
}

static enum end_reason reason_of_tls(enum tls_status status)
{
    switch (status) {
    case TLS_ENDED:
        return END_PEER_LEFT;
    case TLS_BROKEN:
    case TLS_FAILED:
        return END_IO_ERROR;
    default:
        return END_NONE;
    }
}

static enum end_reason read_clear(const struct stream *stream, uint8_t *at, size_t *got,
                                  bool *drained)
{
    ssize_t n = recv(stream->fd, at, STREAM_READ_MAX, 0);
    *got = n > 0 ? (size_t)n : 0;
    *drained = n < STREAM_READ_MAX && (n >= 0 || errno == EAGAIN);
    if (n == 0)
        return END_PEER_LEFT;
    return n > 0 || errno == EAGAIN || errno == EINTR ? END_NONE : reason_of_errno(errno);
}

enum end_reason stream_read(struct stream *stream, struct tls *tls, uint8_t *at, size_t *got,
                            bool *drained)
{
    if (stream->tls == NULL)
        return read_clear(stream, at, got, drained);
    enum tls_status status = tls_read(tls, stream->tls, stream->fd, at, got, drained);
    stream->reading_writes = status == TLS_WANT_WRITE;
    return reason_of_tls(status);
}

static enum end_reason write_clear(const struct stream *stream, struct span bytes, size_t *taken,
                                   bool *moved)
{
    ssize_t sent = send(stream->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
    *taken = sent > 0 ? (size_t)sent : 0;
    *moved = sent > 0;
    return sent >= 0 || errno == EAGAIN || errno == EINTR || errno == ENOBUFS
               ? END_NONE
               : reason_of_errno(errno);
}

enum end_reason stream_write(struct stream *stream, struct tls *tls, struct span bytes,
                             size_t *taken, bool *moved)
{
    if (stream->tls == NULL)
        return write_clear(stream, bytes, taken, moved);
    enum tls_status status = tls_write(tls, stream->tls, stream->fd, bytes, taken, moved);
    stream->writing_reads = status == TLS_WANT_READ;
    return reason_of_tls(status);
}
