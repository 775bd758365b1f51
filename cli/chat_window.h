/* chat_window: the chat in a whole terminal: the screen, the model and liblahar in one loop. */
#ifndef CLI_CHAT_WINDOW_H
#define CLI_CHAT_WINDOW_H

#include "cli/chat_screen.h"
#include "cli/who.h"

/* `peer`: the conversation to begin with; 0: none. Ends the screen. Returns the exit code; after a
 * signal that ends programs it ends of that signal. */
int chat_window_run(const struct who *who, lahar_gid peer, struct chat_screen *screen);

#endif
