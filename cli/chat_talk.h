/* chat_talk: what one says and is told in the chat: messages through liblahar into the model,
 * commands, typing marks. Everything but the screen and the loop. */
#ifndef CLI_CHAT_TALK_H
#define CLI_CHAT_TALK_H

#include "cli/chat_input.h"
#include "cli/chat_model.h"
#include "cli/chat_names.h"
#include "cli/who.h"

#define CHAT_TALK_NOTICE_SIZE 256u
#define CHAT_TALK_STATUS_SIZE 512u

struct chat_talk {
    struct who who; /* first: see who_log_in */
    struct chat_model *model;
    struct chat_names *names;
    struct chat_input *input;
    char names_path[4096];
    char notice[CHAT_TALK_NOTICE_SIZE]; /* said for a moment; "": nothing */
    uint64_t notice_until_ms;
    lahar_gid typing_to; /* who was told that we type; 0: nobody */
    uint64_t typing_ms;  /* when */
    bool typing_off;     /* nobody is told */
    bool been_online, is_online, quit;
};

/* False: lahar_new failed and said why. */
MUST_CHECK bool chat_talk_begin(struct chat_talk *talk, const struct who *who, lahar_gid peer);
void chat_talk_end(struct chat_talk *talk);

uint64_t chat_talk_now_ms(void);
__attribute__((format(printf, 2, 3))) void chat_talk_notice(struct chat_talk *talk,
                                                            const char *format, ...);
/* The line is finished: sent, or done if it is a command. */
void chat_talk_enter(struct chat_talk *talk);
/* Tab: the rest of a command or of a nickname. */
void chat_talk_complete(struct chat_talk *talk);
void chat_talk_help(struct chat_talk *talk);
/* The input has changed: tells the other one that we type, or do no more. */
void chat_talk_typed(struct chat_talk *talk);
/* Before and after another conversation is opened: what was being written stays with its own. */
void chat_talk_leave(struct chat_talk *talk);
void chat_talk_arrive(struct chat_talk *talk);
/* Who I am and by which edge, or what is wrong and when it is tried again. */
void chat_talk_status(const struct chat_talk *talk, char out[CHAT_TALK_STATUS_SIZE]);

#endif
