/* daemon: what the mains of our daemons share: the command line, and signals. Main thread only. */
#ifndef BASE_DAEMON_H
#define BASE_DAEMON_H

#include "base/conf.h"

struct daemon_program {
    const char *name;  /* "lahar-edge": also the prefix of the environment */
    const char *about; /* what it is, a line or two for --help */
    const struct conf_key *keys;
    /* What the table cannot say (addresses, lists that must agree): false, and `error` filled. */
    bool (*check)(const struct conf *conf, struct conf_error *error);
};

/* Takes --config FILE (else <NAME>_CONFIG from the environment, else defaults), --check-config,
 * --print-config, --version and
 * --help. Returns the checked settings, or exits: 0 when all is said, 1 with what to change. Names
 * the log and sets its level from "log.level". `path` is the file that was read, or NULL. */
struct conf *daemon_begin(const struct daemon_program *program, int argc, char **argv,
                          const char **path);

/* Reads the settings again, for those that may change while running: sets the log level, and
 * returns them for the rest. NULL if anything in them is wrong: that is logged, and all stays. */
MUST_CHECK struct conf *daemon_reload(const struct daemon_program *program, const char *path);

/* Blocks the signals below in this thread and those that it starts. Before any thread. */
void daemon_block_signals(void);

enum daemon_signal {
    DAEMON_NONE,   /* the time is over */
    DAEMON_LEAVE,  /* SIGTERM or SIGINT */
    DAEMON_RELOAD, /* SIGHUP */
};
/* Waits for one of them, at most `ms` (-1: for ever). */
enum daemon_signal daemon_wait(int ms);

#endif
