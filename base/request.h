/* request: the head of an HTTP/1 request, as much of it as the ops listener needs. Pure. */
#ifndef BASE_REQUEST_H
#define BASE_REQUEST_H

#include "base/span.h"

struct request {
    bool head_only;   /* HEAD, not GET */
    struct span path; /* from its slash on, without the query; borrowed */
};

/* 0: the rest has yet to arrive. 200: `request` is filled. Else the status to refuse with: 400,
 * 405, or 431 when `bytes` are as many as there may be and no whole head. */
MUST_CHECK int request_read(struct span bytes, size_t bytes_max, struct request *request);

#endif
