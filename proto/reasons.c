#include "proto/reasons.h"

struct nack {
    const char *label, *text;
    enum nack_outcome outcome;
};

static const struct nack nacks[NACK_REASONS] = {
#define NACK_REASON(name, number, label, outcome, text) [number] = {label, text, NACK_IS_##outcome},
    [0] = {"unknown", "unknown", NACK_IS_UNKNOWN},
#include "proto/nack_reasons.h"
};

struct end {
    const char *label, *text;
    enum end_next next;
};

static const struct end ends[END_REASONS] = {
#define END_REASON(name, number, label, fault, next, text)                                         \
    [number] = {label, text, END_NEXT_##next},
    [0] = {"unknown", "unknown", END_NEXT_BACK},
#include "proto/end_reasons.h"
};

/* Row 0 of each table stands for every number that is not in it. */
static const struct nack *nack_row(uint32_t reason)
{
    return &nacks[reason < NACK_REASONS ? reason : 0];
}

bool reasons_end_known(uint32_t reason)
{
    return reason > END_NONE && reason < END_REASONS && ends[reason].label != NULL;
}

static const struct end *end_row(uint32_t reason)
{
    return &ends[reasons_end_known(reason) ? reason : 0];
}

const char *reasons_nack_label(uint32_t reason)
{
    return nack_row(reason)->label;
}

const char *reasons_nack_text(uint32_t reason)
{
    return nack_row(reason)->text;
}

enum nack_outcome reasons_nack_outcome(uint32_t reason)
{
    return nack_row(reason)->outcome;
}

const char *reasons_end_label(uint32_t reason)
{
    return end_row(reason)->label;
}

const char *reasons_end_text(uint32_t reason)
{
    return end_row(reason)->text;
}

enum end_next reasons_end_next(uint32_t reason)
{
    return end_row(reason)->next;
}
