/* lahar: the command for operators and for trying things out. */
#include "base/log.h"
#include "cli/admin.h"
#include "cli/chat.h"
#include "cli/mint.h"
#include "cli/talk.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static int keygen(const struct conf *conf, int argc, char **argv)
{
    (void)conf;
    char why[MINT_WHY_SIZE];
    bool made;
    if (argc == 3 && strcmp(argv[1], "link") == 0)
        made = mint_link_keys(argv[2], why);
    else if (argc == 4 && strcmp(argv[1], "site") == 0)
        made = mint_site_key(argv[2], argv[3], why);
    else if (argc >= 4 && strcmp(argv[1], "tls") == 0)
        made = mint_tls(argv[2], (const char *const *)argv + 3, (size_t)argc - 3, why);
    else {
        fprintf(stderr, "usage: lahar keygen link DIR | site DIR SITE | tls DIR NAME...\n");
        return CLI_USAGE;
    }
    if (!made)
        fprintf(stderr, "lahar: %s\n", why);
    return made ? CLI_OK : CLI_USAGE;
}

static const struct command {
    const char *name;
    cli_run_fn *run;
    const char *help;
} commands[] = {
    {"chat", chat_run, "chat [GID]            talk, in the whole terminal; /help there"},
    {"send", talk_send, "send GID TEXT         send one message and say how it ended"},
    {"listen", talk_listen, "listen                print what comes, one JSON object a line"},
    {"token", talk_token, "token                 make a site token and print it"},
    {"whereis", admin_whereis, "whereis GID           where a user is connected"},
    {"kick", admin_kick, "kick GID|--site SITE  end sessions, and what was issued before"},
    {"site", admin_site, "site add|list|remove  the tenants whose tokens are accepted"},
    {"keygen", keygen, "keygen link|site|tls  make keys and certificates"},
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: lahar [--config FILE] COMMAND ...\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %s\n", commands[i].help);
    fprintf(
        out,
        "\nWho logs in (chat, send, listen, token):\n"
        "  --site SITE --user USER   with the site's private key from sites.keys or --key FILE\n"
        "  --token FILE              with a token from a file, - for standard input\n"
        "  --device NAME             the device's name (default lahar-COMMAND)\n"
        "  --class CLASS             chat, send: confirmed (default), ephemeral or stored\n"
        "  --plain                   chat: by lines, also in a terminal\n"
        "  --count N, --seconds S    listen: stop after so many messages, or so long\n"
        "  --lifetime S, --kid KID   token: how long it is good, and its key's id\n"
        "site add ID --key [KID=]FILE.pub [--name NAME] [--origin URL]... [--closed]\n"
        "         [--sends-per-s N] [--logins-per-s N] [--connections N]\n"
        "kick GID [--device NAME] | kick --site SITE\n"
        "keygen link DIR | site DIR SITE | tls DIR NAME...\n\n"
        "  --config FILE     settings (YAML); or LAHAR_CLI_CONFIG, else defaults and "
        "LAHAR_CLI_...\n"
        "  --print-config    all settings with their defaults\n"
        "  --version, --help\n\n"
        "Exit codes: 0 done (delivered); 1 usage or configuration; 2 not connected or login "
        "refused;\n"
        "3 refused; 4 it is not known whether it arrived; 5 whereis: not connected anywhere.\n");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"print-config", no_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = getenv("LAHAR_CLI_CONFIG");
    int option;
    while ((option = getopt_long(argc, argv, "+c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'p':
            conf_print(CLI_CONF_PROGRAM, cli_conf_keys(), stdout);
            return CLI_OK;
        case 'v':
            printf("lahar " LAHAR_VERSION "\n");
            return CLI_OK;
        case 'h':
            print_help(stdout);
            return CLI_OK;
        default:
            fprintf(stderr, "lahar --help says what there is\n");
            return CLI_USAGE;
        }
    }
    const struct command *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (!command) {
        print_help(stderr);
        return CLI_USAGE;
    }
    log_open("lahar");
    log_set_level(LOG_ERROR);
    struct conf_error error;
    struct conf *conf = conf_load(CLI_CONF_PROGRAM, cli_conf_keys(), path, &error);
    if (!conf) {
        fprintf(stderr, "lahar: %s\n", error.text);
        return CLI_USAGE;
    }
    int rest = argc - optind;
    char **args = argv + optind;
    optind = 0; /* glibc: begin anew */
    int exit_code = command->run(conf, rest, args);
    conf_free(conf);
    return exit_code;
}
