/* admin: what an operator asks of the cluster, over a link with the key of role admin. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "cli/cli_conf.h"

int admin_site(const struct conf *conf, int argc, char **argv);
int admin_kick(const struct conf *conf, int argc, char **argv);
int admin_whereis(const struct conf *conf, int argc, char **argv);

#endif
