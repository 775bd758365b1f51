/* reply: what Redis answered, as plain data, so that pure cores can be given replies by anyone. All
 * is borrowed until the call that hands it over returns. */
#ifndef BASE_REPLY_H
#define BASE_REPLY_H

#include "base/span.h"

enum reply_kind { REPLY_NIL, REPLY_STATUS, REPLY_ERROR, REPLY_INTEGER, REPLY_BULK, REPLY_ARRAY };

struct reply {
    enum reply_kind kind;
    int64_t integer;
    struct span text;              /* status, error, bulk */
    const struct reply *const *at; /* array */
    size_t len;
};

#endif
