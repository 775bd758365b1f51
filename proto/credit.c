#include "proto/credit.h"

void credit_out_init(struct credit_out *out)
{
    *out = (struct credit_out){0};
}

void credit_in_init(struct credit_in *in, uint64_t window)
{
    *in = (struct credit_in){.window = window};
}

void credit_out_sent(struct credit_out *out, uint64_t bytes, uint64_t frames)
{
    out->bytes += bytes;
    out->frames += frames;
}

void credit_out_granted(struct credit_out *out, uint64_t limit)
{
    if (limit > out->limit)
        out->limit = limit;
}

enum credit_verdict credit_in_batch(struct credit_in *in, uint64_t first_byte, uint64_t first_frame)
{
    if (first_byte < in->bytes || first_frame < in->frames)
        return CREDIT_RESTARTED;
    if (first_byte == in->bytes && first_frame == in->frames)
        return CREDIT_IN_ORDER;
    in->bytes_lost += first_byte - in->bytes;
    in->frames_lost += first_frame - in->frames;
    in->bytes = first_byte;
    in->frames = first_frame;
    return CREDIT_LOST;
}

void credit_in_took(struct credit_in *in, uint64_t bytes, uint64_t frames)
{
    in->bytes += bytes;
    in->frames += frames;
}

uint64_t credit_in_grant(struct credit_in *in)
{
    in->granted = in->bytes + in->window;
    return in->granted;
}

bool credit_in_grant_due(const struct credit_in *in)
{
    return in->bytes + in->window - in->granted >= in->window - in->window / 2;
}
