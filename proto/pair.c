#include "proto/pair.h"

static void begin(struct pair *pair, uint64_t theirs)
{
    pair->state = PAIR_AWAY;
    pair->theirs = theirs;
    credit_in_init(&pair->in, pair->window);
    credit_out_init(&pair->out);
    pair->load = 0;
    pair->map_epoch = 0;
}

static uint32_t drop_queue(struct pair *pair)
{
    uint32_t frames = pair->queue_frames;
    pair->queue_frames = 0;
    buf_free(&pair->queue);
    return frames;
}

void pair_init(struct pair *pair, uint64_t window)
{
    *pair = (struct pair){.window = window};
    begin(pair, 0);
}

void pair_free(struct pair *pair)
{
    buf_free(&pair->queue);
}

void pair_rise(struct pair *pair)
{
    assert(pair->state == PAIR_AWAY);
    pair->state = PAIR_UP;
}

void pair_fall(struct pair *pair, struct link_counts *counts)
{
    pair->state = PAIR_AWAY;
    counts->frames_dropped += drop_queue(pair);
}

void pair_end(struct pair *pair, struct link_counts *counts)
{
    counts->frames_unsent += drop_queue(pair);
    begin(pair, pair->theirs);
}

static void note(struct pair *pair, const struct batch_head *head)
{
    if (head->name.len > 0) {
        memcpy(pair->name, head->name.at, head->name.len);
        pair->name_len = (uint8_t)head->name.len;
    }
    pair->load = head->load;
    pair->map_epoch = head->map_epoch;
}

struct pair_heard pair_hear(struct pair *pair, uint64_t mine, const struct batch_head *head,
                            size_t bytes, uint32_t frames, struct link_counts *counts)
{
    struct pair_heard heard = {0};
    bool is_new = pair->theirs != head->from;
    if (is_new) {
        heard.down = pair->state == PAIR_UP;
        counts->frames_unsent += drop_queue(pair);
        begin(pair, head->from);
        pair->name_len = 0;
    }
    note(pair, head);
    if (head->to != mine) {
        counts->frames_stale += frames;
        heard.answer = true;
        return heard;
    }

    /* They know us of old and we have forgotten them: go on where they are. */
    bool joins = is_new;
    if (!joins) {
        uint64_t lost = pair->in.frames_lost;
        if (credit_in_batch(&pair->in, head->first_byte, head->first_frame) == CREDIT_RESTARTED) {
            heard.down = pair->state == PAIR_UP;
            pair_fall(pair, counts);
            joins = true;
        }
        counts->frames_lost += pair->in.frames_lost - lost;
    }
    if (joins) {
        credit_in_init(&pair->in, pair->window);
        pair->in.bytes = head->first_byte;
        pair->in.frames = head->first_frame;
    }
    credit_in_took(&pair->in, bytes, frames);
    credit_out_granted(&pair->out, head->credit);
    counts->frames_received += frames;
    heard.take = true;
    heard.up = pair->state == PAIR_AWAY;
    heard.answer = heard.up;
    return heard;
}

void pair_queue(struct pair *pair, struct span frame, size_t queue_bytes_max,
                struct link_counts *counts)
{
    size_t waiting = buf_len(&pair->queue);
    bool after_gap = waiting > 0 && pair->queue_byte + waiting != pair->out.bytes;
    if (after_gap || waiting + frame.len > queue_bytes_max) {
        counts->frames_dropped++;
    } else {
        if (waiting == 0) {
            pair->queue_byte = pair->out.bytes;
            pair->queue_frame = pair->out.frames;
        }
        buf_append(&pair->queue, frame);
        pair->queue_frames++;
    }
    credit_out_sent(&pair->out, frame.len, 1);
}

struct pair_batch pair_next(const struct pair *pair, size_t size_max)
{
    struct span waiting = buf_span(&pair->queue);
    if (waiting.len == 0)
        return (struct pair_batch){.first_byte = pair->out.bytes, .first_frame = pair->out.frames};
    struct pair_batch batch = {.frames = waiting,
                               .count = pair->queue_frames,
                               .first_byte = pair->queue_byte,
                               .first_frame = pair->queue_frame};
    if (waiting.len > size_max)
        batch.frames = batch_fit(waiting, size_max, &batch.count);
    return batch;
}

void pair_sent(struct pair *pair, const struct pair_batch *batch, size_t keep)
{
    pair->queue_byte += batch->frames.len;
    pair->queue_frame += batch->count;
    pair->queue_frames -= batch->count;
    buf_consume(&pair->queue, batch->frames.len, keep);
}
