#include "cli/chat.h"

#include "cli/chat_body.h"
#include "cli/chat_plain.h"
#include "cli/chat_screen.h"
#include "cli/chat_text.h"
#include "cli/chat_window.h"

#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Text is UTF-8; where the locale says nothing else, the terminal's is taken to be that. */
static bool set_utf8(void)
{
    if (setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        return true;
    bool says_nothing = strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968") == 0;
    return setlocale(LC_CTYPE, "C.UTF-8") && says_nothing;
}

int chat_run(const struct conf *conf, int argc, char **argv)
{
    struct who who;
    lahar_gid peer = 0;
    if (!who_read_options(&who, conf, argc, argv, "chat --site SITE --user USER [--plain] [GID]"))
        return CLI_USAGE;
    if (optind < argc && !lahar_gid_parse(argv[optind], &peer)) {
        fprintf(stderr, "lahar: '%s' is no GID\n", argv[optind]);
        return CLI_USAGE;
    }
    if (who.token_file && strcmp(who.token_file, "-") == 0 && isatty(STDIN_FILENO)) {
        fprintf(stderr, "lahar: --token - takes the token from a pipe, not from a terminal\n");
        return CLI_USAGE;
    }
    bool utf8 = set_utf8();
    if (who.plain || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return chat_plain_run(&who, peer);
    const char *why = "this terminal's locale is not UTF-8";
    struct chat_screen *screen = utf8 ? chat_screen_new(&why) : NULL;
    if (!screen) {
        printf("-- %s: lines, as with --plain\n", why);
        return chat_plain_run(&who, peer);
    }
    return chat_window_run(&who, peer, screen);
}
