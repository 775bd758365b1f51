/* reasons: the enums of the two tables, and their texts. */
#ifndef PROTO_REASONS_H
#define PROTO_REASONS_H

#include "base/span.h"

enum nack_reason {
    NACK_NONE,
#define NACK_REASON(name, number, label, outcome, text) NACK_##name = number,
#include "proto/nack_reasons.h"
    NACK_REASONS,
};

enum nack_outcome { NACK_IS_DEFINITE, NACK_IS_UNKNOWN };

enum end_reason {
    END_NONE,
#define END_REASON(name, number, label, fault, next, text) END_##name = number,
#include "proto/end_reasons.h"
    END_REASONS,
};

enum end_next { END_NEXT_BACK, END_NEXT_FRESH, END_NEXT_AWAY };

/* Numbers come from peers: one that is not in the table gives "unknown", NACK_IS_UNKNOWN,
 * END_NEXT_BACK. */
const char *reasons_nack_label(uint32_t reason);
const char *reasons_nack_text(uint32_t reason);
enum nack_outcome reasons_nack_outcome(uint32_t reason);
bool reasons_end_known(uint32_t reason);
const char *reasons_end_label(uint32_t reason);
const char *reasons_end_text(uint32_t reason);
enum end_next reasons_end_next(uint32_t reason);

#endif
