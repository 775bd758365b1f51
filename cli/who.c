#include "cli/who.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_LIFETIME_S 600u

static size_t token_from_file(struct who *who, char *out, size_t room)
{
    FILE *file = strcmp(who->token_file, "-") == 0 ? stdin : fopen(who->token_file, "re");
    size_t len = file ? fread(out, 1, room, file) : 0;
    if (len == 0)
        snprintf(who->why, sizeof who->why, "%s: no token in it", who->token_file);
    if (file && file != stdin)
        fclose(file);
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == ' '))
        len--;
    return len;
}

size_t who_make_token(struct who *who, char *out, size_t room)
{
    char path[4096], token[MINT_TOKEN_SIZE];
    size_t len;
    snprintf(path, sizeof path, "%s/%s.key", conf_text(who->conf, "sites.keys"), who->site);
    if (!who->key && access(path, F_OK) != 0) {
        snprintf(who->why, sizeof who->why, "%.200s: %s; give --key FILE, or set sites.keys", path,
                 strerror(errno));
        return 0;
    }
    const struct mint_claims claims = {
        .site = who->site,
        .user = who->user,
        .cluster = conf_text(who->conf, "cluster.name"),
        .kid = who->kid,
        .issued_at = (uint64_t)time(NULL),
        .lifetime_s = who->lifetime_s,
    };
    if (!mint_token(who->key ? who->key : path, &claims, token, &len, who->why))
        return 0;
    if (len > room)
        return 0;
    memcpy(out, token, len);
    return len;
}

static size_t fetch_token(void *ctx, char *out, size_t room)
{
    struct who *who = ctx;
    return who->token_file ? token_from_file(who, out, room) : who_make_token(who, out, room);
}

static bool parse_class(const char *text, enum lahar_class *class)
{
    static const char *const names[] = {"stored", "confirmed", "ephemeral"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *class = (enum lahar_class)i;
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, long *number)
{
    char *end;
    errno = 0;
    *number = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *number >= 0;
}

static bool take_option(struct who *who, int option)
{
    long number;
    switch (option) {
    case 's':
        who->site = optarg;
        return true;
    case 'u':
        who->user = optarg;
        return true;
    case 'k':
        who->key = optarg;
        return true;
    case 'K':
        who->kid = optarg;
        return true;
    case 'd':
        who->device = optarg;
        return true;
    case 't':
        who->token_file = optarg;
        return true;
    case 'c':
        return parse_class(optarg, &who->message_class);
    case 'n':
        return parse_number(optarg, &who->count);
    case 'x':
        return parse_number(optarg, &who->seconds);
    case 'p':
        who->plain = true;
        return true;
    case 'l':
        if (!parse_number(optarg, &number) || number > 86400)
            return false;
        who->lifetime_s = (uint32_t)number;
        return true;
    default:
        return false;
    }
}

bool who_read_options(struct who *who, const struct conf *conf, int argc, char **argv,
                      const char *usage)
{
    static const struct option options[] = {
        {"site", required_argument, NULL, 's'},
        {"user", required_argument, NULL, 'u'},
        {"key", required_argument, NULL, 'k'},
        {"kid", required_argument, NULL, 'K'},
        {"device", required_argument, NULL, 'd'},
        {"token", required_argument, NULL, 't'},
        {"class", required_argument, NULL, 'c'},
        {"count", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 'x'},
        {"lifetime", required_argument, NULL, 'l'},
        {"plain", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *who = (struct who){
        .conf = conf,
        .message_class = LAHAR_CONFIRMED,
        .lifetime_s = TOKEN_LIFETIME_S,
    };
    int option;
    bool good = true;
    while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        good = take_option(who, option);
    if (good && (who->token_file || (who->site && who->user)))
        return true;
    fprintf(option == 'h' ? stdout : stderr,
            "usage: lahar %s\nsay who: --site SITE --user USER (with the site's key), or --token "
            "FILE\n",
            usage);
    if (option == 'h')
        exit(CLI_OK);
    return false;
}

bool who_log_in(struct who *who, const char *default_device, const struct lahar_options *handlers)
{
    struct lahar_options options = *handlers;
    const char *ca = conf_text(who->conf, "tls.ca"), *why = "";
    options.servers = conf_text(who->conf, "servers");
    options.device = who->device ? who->device : default_device;
    options.client = "lahar/" LAHAR_VERSION;
    options.ca_file = *ca ? ca : NULL;
    options.token = fetch_token;
    options.context = who;
    who->lahar = lahar_new(&options, &why);
    if (!who->lahar)
        fprintf(stderr, "lahar: %s\n", why);
    return who->lahar != NULL;
}

void who_say_why_away(const struct who *who)
{
    fprintf(stderr, "lahar: %s: %s\n", lahar_why(who->lahar),
            *who->why ? who->why : lahar_why_text(who->lahar));
}
