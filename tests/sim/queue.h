/* queue: one direction of a link in the simulator: packed frames, of which stretches get lost. */
#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#include "proto/hot.h"

#include <stdlib.h>

#define QUEUE_FRAME_MAX (HOT_OVERHEAD_MAX + 64u)
#define QUEUE_FRAMES_MAX 4096u /* far past any storm that a verdict waits for */

struct queue {
    struct queue_frame {
        uint8_t bytes[QUEUE_FRAME_MAX];
        size_t len;
    } frames[QUEUE_FRAMES_MAX];
    size_t head, len;
};

static inline struct queue_frame *queue_at(struct queue *queue, size_t i)
{
    return &queue->frames[(queue->head + i) % QUEUE_FRAMES_MAX];
}

static inline void queue_push(struct queue *queue, struct span frame)
{
    assert(frame.len <= QUEUE_FRAME_MAX);
    if (queue->len == QUEUE_FRAMES_MAX)
        return;
    struct queue_frame *last = queue_at(queue, queue->len++);
    memcpy(last->bytes, frame.at, frame.len);
    last->len = frame.len;
}

/* Borrowed until the next push. */
static inline struct span queue_pop(struct queue *queue)
{
    assert(queue->len > 0);
    struct queue_frame *first = queue_at(queue, 0);
    queue->head = (queue->head + 1) % QUEUE_FRAMES_MAX;
    queue->len--;
    return span_of(first->bytes, first->len);
}

static inline void queue_clear(struct queue *queue)
{
    queue->len = 0;
}

/* Takes `count` frames out at `at`, or as many as there are. */
static inline void queue_lose(struct queue *queue, size_t at, size_t count)
{
    if (count > queue->len - at)
        count = queue->len - at;
    queue->len -= count;
    for (size_t i = at; i < queue->len; i++)
        *queue_at(queue, i) = *queue_at(queue, i + count);
}

#endif
