/* cli_conf: the settings of the lahar command, and what every command needs of them. */
#ifndef CLI_CLI_CONF_H
#define CLI_CLI_CONF_H

#include "base/conf.h"

/* Exit codes, the same for all commands. */
enum cli_exit {
    CLI_OK = 0,
    CLI_USAGE = 1,       /* the command line or the configuration is wrong */
    CLI_UNREACHABLE = 2, /* no connection, or the login was refused */
    CLI_REFUSED = 3,     /* a message was refused; an administrative request failed */
    CLI_UNKNOWN = 4,     /* it is not known whether a message arrived */
    CLI_NOT_FOUND = 5,   /* whereis: no such session */
};

#define CLI_CONF_PROGRAM "lahar-cli"

const struct conf_key *cli_conf_keys(void);

/* A command: its part of the command line begins at argv[0], its name. */
typedef int cli_run_fn(const struct conf *conf, int argc, char **argv);

#endif
