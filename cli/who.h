/* who: who logs in, how, and what for: the options that the commands which talk share. */
#ifndef CLI_WHO_H
#define CLI_WHO_H

#include "cli/cli_conf.h"
#include "cli/mint.h"
#include "client/lahar.h"

struct who {
    const struct conf *conf;
    const char *site, *user, *key, *kid, *device, *token_file;
    enum lahar_class message_class;
    long count;   /* listen: stop after so many messages; 0: never */
    long seconds; /* stop after so long; 0: never */
    uint32_t lifetime_s;
    bool plain; /* chat: lines, even in a terminal */
    struct lahar *lahar;
    char why[MINT_WHY_SIZE]; /* why there is no token; "": there is one */
};

/* Fills `who`; false, with a usage line, if the command line is wrong. */
MUST_CHECK bool who_read_options(struct who *who, const struct conf *conf, int argc, char **argv,
                                 const char *usage);
/* Makes who->lahar, with these handlers. Their context is `who`: let it come first in a struct of
 * your own. False: says why on stderr. */
MUST_CHECK bool who_log_in(struct who *who, const char *default_device,
                           const struct lahar_options *handlers);
/* Signs one with the site's key; 0: who->why says why not. */
MUST_CHECK size_t who_make_token(struct who *who, char *out, size_t room);
void who_say_why_away(const struct who *who);

#endif
