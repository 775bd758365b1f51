/* talk: the commands that log in as a user: send, listen; and token, which makes what they
 * log in with. */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include "cli/cli_conf.h"

int talk_send(const struct conf *conf, int argc, char **argv);
int talk_listen(const struct conf *conf, int argc, char **argv);
int talk_token(const struct conf *conf, int argc, char **argv);

#endif
