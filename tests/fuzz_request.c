/* The head of an HTTP request to the ops listener: what is read lies within it, and a shorter head
 * is never judged otherwise but as not there yet.
 *
 * Covers: base/request.c. Longest input: 512.
 */
#include "base/request.h"

#define BYTES_MAX 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request request, sooner;
    size_t len = size < BYTES_MAX ? size : BYTES_MAX;
    int status = request_read(span_of(data, len), BYTES_MAX, &request);
    assert(status == 0 || status == 200 || status == 400 || status == 405 || status == 431);
    assert(status != 431 || len == BYTES_MAX);
    if (status == 200) {
        assert(request.path.len > 0 && request.path.at[0] == '/');
        assert(request.path.at > data && request.path.at + request.path.len < data + len);
        assert(memchr(request.path.at, '?', request.path.len) == NULL);
    }
    for (size_t i = 0; i < len; i++) {
        int before = request_read(span_of(data, i), BYTES_MAX, &sooner);
        assert(before == 0 || before == status);
    }
    return 0;
}
