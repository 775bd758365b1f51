/* chat_plain: the chat by lines, for pipes and for terminals that can do no more: lines read are
 * sent, what comes is printed. */
#ifndef CLI_CHAT_PLAIN_H
#define CLI_CHAT_PLAIN_H

#include "cli/who.h"

/* `peer`: to whom lines go at first; 0: to nobody yet. Returns the exit code. */
int chat_plain_run(const struct who *who, lahar_gid peer);

#endif
