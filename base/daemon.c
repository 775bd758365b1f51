#include "base/daemon.h"

#include "base/log.h"

#include <ctype.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static void print_help(const struct daemon_program *program)
{
    printf(
        "usage: %s [--config FILE] [--check-config | --print-config]\n\n%s\n\n"
        "  --config FILE     settings (YAML); without it those of the environment and the "
        "defaults\n"
        "  --check-config    says whether the settings are right, and what to change; exit code 0 "
        "or 1\n"
        "  --print-config    all settings with their meaning and default, as a file for --config\n"
        "  --version, --help\n\n"
        "Each setting can be given by the environment instead; --print-config names the "
        "variables.\n"
        "SIGTERM: leaves in good order, exit code 0. SIGHUP: reads keys, certificates and log "
        "level again.\n",
        program->name, program->about);
}

static const char *path_from_environment(const char *name)
{
    char variable[64];
    size_t len = 0;
    for (; name[len] && len < sizeof variable - sizeof "_CONFIG"; len++)
        variable[len] = name[len] == '-' ? '_' : (char)toupper((unsigned char)name[len]);
    memcpy(variable + len, "_CONFIG", sizeof "_CONFIG");
    return getenv(variable);
}

static struct conf *load(const struct daemon_program *program, const char *path)
{
    struct conf_error error;
    enum log_level level;
    struct conf *conf = conf_load(program->name, program->keys, path, &error);
    if (!conf || !program->check(conf, &error)) {
        fprintf(stderr, "%s: %s\n", program->name, error.text);
        exit(1);
    }
    if (!log_parse_level(conf_text(conf, "log.level"), &level)) {
        fprintf(stderr, "%s: log.level: '%s' is none of debug, info, warn, error\n", program->name,
                conf_text(conf, "log.level"));
        exit(1);
    }
    log_open(program->name);
    log_set_level(level);
    return conf;
}

struct conf *daemon_begin(const struct daemon_program *program, int argc, char **argv,
                          const char **path)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
        {"print-config", no_argument, NULL, 'p'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    *path = path_from_environment(program->name);
    bool check_only = false;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            *path = optarg;
            break;
        case 'k':
            check_only = true;
            break;
        case 'p':
            conf_print(program->name, program->keys, stdout);
            exit(0);
        case 'v':
            printf("%s " LAHAR_VERSION "\n", program->name);
            exit(0);
        case 'h':
            print_help(program);
            exit(0);
        default:
            fprintf(stderr, "%s --help says what there is\n", program->name);
            exit(1);
        }
    }
    if (optind != argc) {
        fprintf(stderr, "%s: '%s' is no option; --help says what there is\n", program->name,
                argv[optind]);
        exit(1);
    }
    struct conf *conf = load(program, *path);
    if (check_only) {
        conf_free(conf);
        printf("%s: the settings are right\n", program->name);
        exit(0);
    }
    return conf;
}

struct conf *daemon_reload(const struct daemon_program *program, const char *path)
{
    struct conf_error error;
    enum log_level level;
    struct conf *conf = conf_load(program->name, program->keys, path, &error);
    bool good = conf != NULL && program->check(conf, &error);
    if (good && !log_parse_level(conf_text(conf, "log.level"), &level)) {
        (void)snprintf(error.text, sizeof error.text,
                       "log.level is none of debug, info, warn, error");
        good = false;
    }
    if (!good) {
        log_error("reload_failed", LOG_TEXT("why", error.text));
        conf_free(conf);
        return NULL;
    }
    log_set_level(level);
    return conf;
}

static void signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void daemon_block_signals(void)
{
    sigset_t set;
    signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

enum daemon_signal daemon_wait(int ms)
{
    sigset_t set;
    signals(&set);
    const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    int number = sigtimedwait(&set, NULL, ms < 0 ? NULL : &time);
    if (number == SIGHUP)
        return DAEMON_RELOAD;
    return number > 0 ? DAEMON_LEAVE : DAEMON_NONE;
}
