/* chat_model: who one talks with, and what was said. Pure: times are given.
 *
 * What others wrote is cleaned when it comes in (chat_text.h). All is bounded: the oldest messages
 * of a conversation go when it has CHAT_MODEL_MESSAGES_MAX or CHAT_MODEL_BYTES_MAX, and the
 * conversation that was quiet for the longest when there are CHAT_MODEL_CONVERSATIONS_MAX (never
 * the one that is open). Nothing is kept on disk: the cluster is no archive, and neither is this.
 *
 * The conversation with GID 0 is always there: the console, where the program speaks.
 */
#ifndef CLI_CHAT_MODEL_H
#define CLI_CHAT_MODEL_H

#include "base/span.h"
#include "client/lahar.h"

#define CHAT_MODEL_CONVERSATIONS_MAX 200u /* without the console */
#define CHAT_MODEL_MESSAGES_MAX 500u
#define CHAT_MODEL_BYTES_MAX (512u * 1024u)
#define CHAT_MODEL_REASON_SIZE 128u

enum chat_mark {
    CHAT_MARK_THEIRS,
    CHAT_MARK_NOTE,    /* said by the program */
    CHAT_MARK_SENDING, /* no outcome yet */
    CHAT_MARK_SENT,    /* there will be none (EPHEMERAL) */
    CHAT_MARK_KEPT,
    CHAT_MARK_DELIVERED,
    CHAT_MARK_REFUSED,
    CHAT_MARK_UNKNOWN,
};

struct chat_message {
    uint64_t serial; /* grows from one message to the next, over all conversations */
    uint64_t at_ms;  /* since 1970 */
    lahar_gid from;  /* 0: the program */
    enum chat_mark mark;
    uint8_t id[LAHAR_ID_SIZE];           /* ours: to send it again */
    char reason[CHAT_MODEL_REASON_SIZE]; /* of REFUSED and UNKNOWN, for people */
    struct span text;                    /* cleaned; what we sent is sent as it stands here */
};

struct chat_conversation {
    lahar_gid gid;
    struct chat_message *messages; /* the oldest first */
    size_t count;
    uint32_t unread;
    uint64_t new_from; /* serial of the first that was unread when it was opened; 0: none */
    uint64_t typing_until_ms;
    /* For whoever shows it: the last message seen at the bottom, and how many of its rows are below
     * the bottom. 0: the end is followed. */
    uint64_t bottom_serial;
    size_t bottom_rows;
    char *draft;     /* NULL: none */
    uint64_t active; /* grows with each message */
    size_t room, bytes;
};

struct chat_model;

struct chat_model *chat_model_new(void);
void chat_model_free(struct chat_model *model);

/* The conversations, those with the newest message first, the console at the end. */
size_t chat_model_count(const struct chat_model *model);
struct chat_conversation *chat_model_at(const struct chat_model *model, size_t index);
/* NULL: there is none. */
struct chat_conversation *chat_model_find(const struct chat_model *model, lahar_gid gid);

/* Conversations live until another is made: hold their GID, not them. The one that is open has
 * nothing unread. */
struct chat_conversation *chat_model_open(struct chat_model *model, lahar_gid gid);
struct chat_conversation *chat_model_current(const struct chat_model *model);
/* `by` places further down in the list (negative: up), round its ends. */
void chat_model_step(struct chat_model *model, int by);
/* The first in the list with something unread; false: there is none. */
MUST_CHECK bool chat_model_open_unread(struct chat_model *model);
uint32_t chat_model_unread(const struct chat_model *model); /* of all */

void chat_model_received(struct chat_model *model, lahar_gid conversation, lahar_gid from,
                         struct span body, uint64_t at_ms);
void chat_model_typing(struct chat_model *model, lahar_gid gid, uint64_t until_ms);
/* Something of the program, in the console; cleaned, may have lines. */
void chat_model_note(struct chat_model *model, const char *text, uint64_t at_ms);
void chat_model_sent(struct chat_model *model, lahar_gid to, const uint8_t id[LAHAR_ID_SIZE],
                     enum chat_mark mark, struct span text, uint64_t at_ms);
void chat_model_refused(struct chat_message *message, const char *reason);
void chat_model_outcome(struct chat_model *model, const struct lahar_result_of_send *result);
/* The last of ours that was refused or ended unknown, before `serial` (0: of all); NULL: none. */
struct chat_message *chat_model_failed(struct chat_conversation *conversation, uint64_t serial);

#endif
