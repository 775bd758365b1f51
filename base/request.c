#include "base/request.h"

/* "GET /path?query HTTP/1.1", without its end. */
static int read_line(struct span line, struct request *request)
{
    const uint8_t *space = memchr(line.at, ' ', line.len);
    size_t method_len = space ? (size_t)(space - line.at) : line.len;
    struct span method = span_upto(line, method_len);
    struct span rest = span_after(line, method_len + (space ? 1 : 0));
    const uint8_t *end = memchr(rest.at, ' ', rest.len);
    if (!end || rest.at[0] != '/')
        return 400;
    struct span path = span_upto(rest, (size_t)(end - rest.at));
    struct span version = span_after(rest, path.len + 1);
    if (version.len != 8 || memcmp(version.at, "HTTP/1.", 7) != 0)
        return 400;
    request->head_only = span_equal(method, span_text("HEAD"));
    if (!request->head_only && !span_equal(method, span_text("GET")))
        return 405;
    const uint8_t *query = memchr(path.at, '?', path.len);
    request->path = query ? span_upto(path, (size_t)(query - path.at)) : path;
    return 200;
}

int request_read(struct span bytes, size_t bytes_max, struct request *request)
{
    if (bytes.len == 0)
        return 0;
    if (memmem(bytes.at, bytes.len, "\r\n\r\n", 4) == NULL)
        return bytes.len >= bytes_max ? 431 : 0;
    const uint8_t *line_end = memmem(bytes.at, bytes.len, "\r\n", 2);
    return read_line(span_upto(bytes, (size_t)(line_end - bytes.at)), request);
}
