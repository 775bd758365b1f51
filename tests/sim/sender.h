/* sender: a model of the sending half of the client library: what it says for each rule of the
 * order, and nothing else. Frames of the client protocol out, answers in. */
#ifndef SIM_SENDER_H
#define SIM_SENDER_H

#include "base/left_out.h"
#include "proto/hot.h"
#include "proto/reasons.h"

#define SENDER_MESSAGES 700u
#define SENDER_WINDOW 8u

struct sender_message {
    uint64_t seq;
    uint32_t transmitted;
    bool acked, unknown, refused;
};

struct sender {
    struct sender_message messages[SENDER_MESSAGES]; /* message n is at n - 1 */
    uint64_t unsettled[SENDER_WINDOW];               /* in their order */
    size_t unsettled_count;
    uint64_t sent, to, next_seq, went_back_to;
    void (*transmit)(void *ctx, struct span frame);
    void *ctx;
};

void sender_init(struct sender *sender, uint64_t to, void (*transmit)(void *, struct span),
                 void *ctx);
/* The application sends one more, if the window allows. */
void sender_app_sends(struct sender *sender);
/* A new session: what is unsettled is numbered and sent anew. */
void sender_new_session(struct sender *sender);
/* An answer to a send of this session. */
void sender_hears(struct sender *sender, const struct hot_answer *answer);
/* No answer for long. */
void sender_timer(struct sender *sender);

#endif
