/* chat: the command lahar chat. In a terminal it takes the whole screen (chat_screen.h); when
 * standard input or output is none, with --plain, or if the terminal is too simple, it goes by
 * lines (chat_plain.h). */
#ifndef CLI_CHAT_H
#define CLI_CHAT_H

#include "cli/cli_conf.h"

int chat_run(const struct conf *conf, int argc, char **argv);

#endif
