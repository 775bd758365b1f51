#include "cli/talk.h"

#include "base/log.h"
#include "cli/mint.h"
#include "client/lahar.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_LIFETIME_S 600u
#define LINE_SIZE_MAX ((size_t)LAHAR_BODY_SIZE_MAX)

/* Who logs in, how, and what for: the options that these commands share. */
struct talk {
    const struct conf *conf;
    const char *site, *user, *key, *kid, *device, *token_file;
    enum lahar_class message_class;
    long count;   /* listen: stop after so many messages; 0: never */
    long seconds; /* stop after so long; 0: never */
    uint32_t lifetime_s;
    struct lahar *lahar;
    char why[MINT_WHY_SIZE];
    lahar_gid peer;   /* chat: to whom lines go */
    uint64_t sent_us; /* send: when */
    long heard;
    int exit;
    bool done;
};

static uint64_t now_us(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_nsec / 1000u;
}

static uint64_t now_ms(clockid_t clock)
{
    return now_us(clock) / 1000u;
}

/* ---- logging in --------------------------------------------------------------------------------
 */

static size_t token_from_file(struct talk *talk, char *out, size_t room)
{
    FILE *file = strcmp(talk->token_file, "-") == 0 ? stdin : fopen(talk->token_file, "re");
    size_t len = file ? fread(out, 1, room, file) : 0;
    if (len == 0)
        snprintf(talk->why, sizeof talk->why, "%s: no token in it", talk->token_file);
    if (file && file != stdin)
        fclose(file);
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == ' '))
        len--;
    return len;
}

static size_t make_token(struct talk *talk, char *out, size_t room)
{
    char path[4096], token[MINT_TOKEN_SIZE];
    size_t len;
    snprintf(path, sizeof path, "%s/%s.key", conf_text(talk->conf, "sites.keys"), talk->site);
    const struct mint_claims claims = {
        .site = talk->site,
        .user = talk->user,
        .cluster = conf_text(talk->conf, "cluster.name"),
        .kid = talk->kid,
        .issued_at = now_ms(CLOCK_REALTIME) / 1000u,
        .lifetime_s = talk->lifetime_s,
    };
    if (!mint_token(talk->key ? talk->key : path, &claims, token, &len, talk->why))
        return 0;
    if (len > room)
        return 0;
    memcpy(out, token, len);
    return len;
}

static size_t fetch_token(void *ctx, char *out, size_t room)
{
    struct talk *talk = ctx;
    return talk->token_file ? token_from_file(talk, out, room) : make_token(talk, out, room);
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

static bool take_option(struct talk *talk, int option)
{
    long number;
    switch (option) {
    case 's':
        talk->site = optarg;
        return true;
    case 'u':
        talk->user = optarg;
        return true;
    case 'k':
        talk->key = optarg;
        return true;
    case 'K':
        talk->kid = optarg;
        return true;
    case 'd':
        talk->device = optarg;
        return true;
    case 't':
        talk->token_file = optarg;
        return true;
    case 'c':
        return parse_class(optarg, &talk->message_class);
    case 'n':
        return parse_number(optarg, &talk->count);
    case 'x':
        return parse_number(optarg, &talk->seconds);
    case 'l':
        if (!parse_number(optarg, &number) || number > 86400)
            return false;
        talk->lifetime_s = (uint32_t)number;
        return true;
    default:
        return false;
    }
}

/* Fills `talk`; false, with a usage line, if the command line is wrong. */
static bool read_options(struct talk *talk, const struct conf *conf, int argc, char **argv,
                         const char *usage)
{
    static const struct option options[] = {
        {"site", required_argument, NULL, 's'},    {"user", required_argument, NULL, 'u'},
        {"key", required_argument, NULL, 'k'},     {"kid", required_argument, NULL, 'K'},
        {"device", required_argument, NULL, 'd'},  {"token", required_argument, NULL, 't'},
        {"class", required_argument, NULL, 'c'},   {"count", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 'x'}, {"lifetime", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    *talk = (struct talk){
        .conf = conf,
        .message_class = LAHAR_CONFIRMED,
        .lifetime_s = TOKEN_LIFETIME_S,
        .exit = CLI_UNREACHABLE,
    };
    int option;
    bool good = true;
    while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        good = take_option(talk, option);
    if (good && (talk->token_file || (talk->site && talk->user)))
        return true;
    fprintf(option == 'h' ? stdout : stderr,
            "usage: lahar %s\nsay who: --site SITE --user USER (with the site's key), or --token "
            "FILE\n",
            usage);
    if (option == 'h')
        exit(CLI_OK);
    return false;
}

static bool log_in(struct talk *talk, const char *default_device,
                   const struct lahar_options *handlers)
{
    struct lahar_options options = *handlers;
    const char *ca = conf_text(talk->conf, "tls.ca"), *why = "";
    options.servers = conf_text(talk->conf, "servers");
    options.device = talk->device ? talk->device : default_device;
    options.client = "lahar/" LAHAR_VERSION;
    options.ca_file = *ca ? ca : NULL;
    options.token = fetch_token;
    options.context = talk;
    talk->lahar = lahar_new(&options, &why);
    if (!talk->lahar)
        fprintf(stderr, "lahar: %s\n", why);
    return talk->lahar != NULL;
}

static void say_why_away(struct talk *talk)
{
    fprintf(stderr, "lahar: %s: %s\n", lahar_why(talk->lahar),
            *talk->why ? talk->why : lahar_why_text(talk->lahar));
}

/* ---- printing ---- */

static void hex(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void print_json_text(const char *name, const void *text, size_t len)
{
    char *quoted = malloc(len * 6 + 3);
    assert(quoted);
    size_t size = log_json_string(quoted, len * 6 + 3, span_of(text, len));
    printf(",\"%s\":%.*s", name, (int)size, quoted);
    free(quoted);
}

static const char *class_name(enum lahar_class class)
{
    return class == LAHAR_STORED ? "stored" : class == LAHAR_CONFIRMED ? "confirmed" : "ephemeral";
}

static const char *outcome_name(enum lahar_outcome outcome)
{
    static const char *const names[] = {"kept", "delivered", "refused", "unknown"};
    return names[outcome];
}

/* ---- send ---- */

static void on_sent(void *ctx, struct lahar *lahar, const struct lahar_result_of_send *result)
{
    struct talk *talk = ctx;
    uint64_t took_us = now_us(CLOCK_BOOTTIME) - talk->sent_us;
    char id[2 * LAHAR_ID_SIZE + 1], to[LAHAR_GID_TEXT_SIZE];
    hex(result->id, LAHAR_ID_SIZE, id);
    printf("{\"to\":\"%s\",\"id\":\"%s\",\"outcome\":\"%s\"", lahar_gid_format(result->to, to), id,
           outcome_name(result->outcome));
    if (*result->reason)
        printf(",\"reason\":\"%s\"", result->reason);
    printf(",\"edge\":\"%s\",\"took_us\":%llu}\n", lahar_edge(lahar), (unsigned long long)took_us);
    talk->done = true;
    talk->exit = result->outcome == LAHAR_REFUSED   ? CLI_REFUSED
                 : result->outcome == LAHAR_UNKNOWN ? CLI_UNKNOWN
                                                    : CLI_OK;
}

int talk_send(const struct conf *conf, int argc, char **argv)
{
    struct talk talk;
    lahar_gid to;
    static const char usage[] =
        "send --site SITE --user USER [--class confirmed|ephemeral|stored] GID TEXT";
    if (!read_options(&talk, conf, argc, argv, usage))
        return CLI_USAGE;
    if (optind + 2 != argc || !lahar_gid_parse(argv[optind], &to)) {
        fprintf(stderr, "usage: lahar %s\n", usage);
        return CLI_USAGE;
    }
    if (!log_in(&talk, "lahar-send", &(struct lahar_options){.on_outcome = on_sent}))
        return CLI_USAGE;
    bool sent = false;
    uint64_t end_ms =
        now_ms(CLOCK_BOOTTIME) + (talk.seconds ? (uint64_t)talk.seconds * 1000u : 30000u);
    while (!talk.done && now_ms(CLOCK_BOOTTIME) < end_ms) {
        if (lahar_run(talk.lahar, 20) != LAHAR_OK) {
            say_why_away(&talk);
            break;
        }
        if (sent || lahar_state(talk.lahar) != LAHAR_ONLINE)
            continue;
        talk.sent_us = now_us(CLOCK_BOOTTIME);
        if (lahar_send(talk.lahar, to, talk.message_class, argv[optind + 1],
                       strlen(argv[optind + 1]), NULL) != LAHAR_OK) {
            fprintf(stderr, "lahar: the text is over %d bytes\n", LAHAR_BODY_SIZE_MAX);
            talk.exit = CLI_USAGE;
            break;
        }
        sent = true;
        if (talk.message_class == LAHAR_EPHEMERAL) {
            (void)lahar_process(talk.lahar);
            talk.exit = CLI_OK;
            break;
        }
    }
    if (!talk.done && talk.exit == CLI_UNREACHABLE && lahar_state(talk.lahar) != LAHAR_AWAY)
        fprintf(stderr, "lahar: no answer in time (%s)\n", lahar_why(talk.lahar));
    lahar_free(talk.lahar);
    return talk.exit;
}

/* ---- listen ---- */

static void on_heard(void *ctx, struct lahar *lahar, const struct lahar_message *message)
{
    (void)lahar;
    struct talk *talk = ctx;
    char id[2 * LAHAR_ID_SIZE + 1], from[LAHAR_GID_TEXT_SIZE];
    hex(message->id, LAHAR_ID_SIZE, id);
    printf("{\"event\":\"message\",\"from\":\"%s\",\"class\":\"%s\",\"id\":\"%s\",\"sent_at\":%llu",
           lahar_gid_format(message->from, from), class_name(message->message_class), id,
           (unsigned long long)message->sent_at_ms);
    print_json_text("text", message->body, message->body_size);
    printf("}\n");
    fflush(stdout);
    if (++talk->heard == talk->count)
        talk->done = true;
}

static void on_listen_state(void *ctx, struct lahar *lahar, enum lahar_state state)
{
    (void)ctx;
    char gid[LAHAR_GID_TEXT_SIZE];
    if (state == LAHAR_ONLINE)
        printf("{\"event\":\"online\",\"gid\":\"%s\",\"edge\":\"%s\"}\n",
               lahar_gid_format(lahar_self(lahar), gid), lahar_edge(lahar));
    else
        printf("{\"event\":\"%s\",\"why\":\"%s\"}\n", state == LAHAR_AWAY ? "away" : "offline",
               lahar_why(lahar));
    fflush(stdout);
}

int talk_listen(const struct conf *conf, int argc, char **argv)
{
    struct talk talk;
    if (!read_options(&talk, conf, argc, argv,
                      "listen --site SITE --user USER [--count N] [--seconds S]"))
        return CLI_USAGE;
    if (!log_in(&talk, "lahar-listen",
                &(struct lahar_options){.on_message = on_heard, .on_state = on_listen_state}))
        return CLI_USAGE;
    uint64_t begun_ms = now_ms(CLOCK_BOOTTIME);
    talk.exit = CLI_OK;
    while (!talk.done) {
        if (lahar_run(talk.lahar, 100) != LAHAR_OK) {
            say_why_away(&talk);
            talk.exit = CLI_UNREACHABLE;
            break;
        }
        if (talk.seconds && now_ms(CLOCK_BOOTTIME) - begun_ms >= (uint64_t)talk.seconds * 1000u)
            break;
    }
    (void)lahar_process(talk.lahar);
    lahar_free(talk.lahar);
    return talk.exit;
}

/* ---- chat ---- */

static void print_clean(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        putchar(byte < 0x20 || byte == 0x7f ? ' ' : byte); /* nobody moves our cursor */
    }
}

static void on_chat_message(void *ctx, struct lahar *lahar, const struct lahar_message *message)
{
    (void)lahar;
    struct talk *talk = ctx;
    char from[LAHAR_GID_TEXT_SIZE];
    printf("%s: ", lahar_gid_format(message->from, from));
    print_clean(message->body, message->body_size);
    printf("\n");
    if (talk->peer == 0) {
        talk->peer = message->from;
        printf("-- lines go to %s now; /to GID changes that\n", from);
    }
    fflush(stdout);
}

static void on_chat_outcome(void *ctx, struct lahar *lahar,
                            const struct lahar_result_of_send *result)
{
    (void)ctx, (void)lahar;
    char to[LAHAR_GID_TEXT_SIZE];
    lahar_gid_format(result->to, to);
    if (result->outcome == LAHAR_DELIVERED)
        printf("-- delivered to %s\n", to);
    else if (result->outcome == LAHAR_KEPT)
        printf("-- kept for %s\n", to);
    else if (result->outcome == LAHAR_UNKNOWN)
        printf("-- to %s: it is not known whether it arrived (%s)\n", to, result->reason_text);
    else
        printf("-- not delivered to %s: %s\n", to, result->reason_text);
    fflush(stdout);
}

static void on_chat_state(void *ctx, struct lahar *lahar, enum lahar_state state)
{
    (void)ctx;
    char gid[LAHAR_GID_TEXT_SIZE];
    if (state == LAHAR_ONLINE)
        printf("-- online as %s, by edge %s\n", lahar_gid_format(lahar_self(lahar), gid),
               lahar_edge(lahar));
    else if (state == LAHAR_CONNECTING)
        printf("-- connection lost (%s), coming back\n", lahar_why_text(lahar));
    fflush(stdout);
}

static void on_line(struct talk *talk, char *line, size_t len)
{
    if (strncmp(line, "/to ", 4) == 0) {
        if (lahar_gid_parse(line + 4, &talk->peer))
            printf("-- lines go to %s now\n", line + 4);
        else
            printf("-- '%s' is no GID\n", line + 4);
    } else if (strcmp(line, "/quit") == 0) {
        talk->done = true;
    } else if (line[0] == '/') {
        printf("-- /to GID, /quit; any other line is sent\n");
    } else if (len > 0 && talk->peer == 0) {
        printf("-- to whom? /to GID\n");
    } else if (len > 0 && lahar_send(talk->lahar, talk->peer, talk->message_class, line, len,
                                     NULL) != LAHAR_OK) {
        printf("-- not sent: too much is waiting\n");
    }
    fflush(stdout);
}

/* Reads what is there and hands on whole lines; false at the end of the input. */
static bool read_lines(struct talk *talk, char *line, size_t *len)
{
    ssize_t got = read(STDIN_FILENO, line + *len, LINE_SIZE_MAX - *len);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    if (got > 0)
        *len += (size_t)got;
    char *begin = line, *end;
    while ((end = memchr(begin, '\n', *len - (size_t)(begin - line)))) {
        *end = 0;
        on_line(talk, begin, (size_t)(end - begin));
        begin = end + 1;
    }
    *len -= (size_t)(begin - line);
    memmove(line, begin, *len);
    if (*len == LINE_SIZE_MAX) {
        printf("-- that line is too long\n");
        *len = 0;
    }
    return true;
}

static int chat_loop(struct talk *talk)
{
    static char line[LINE_SIZE_MAX + 1];
    size_t len = 0;
    bool more = true;
    uint64_t end_ms = 0; /* after the end of the input: wait for the outcomes, but not for ever */
    while (!talk->done) {
        struct pollfd fds[2] = {{lahar_fd(talk->lahar), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        int wait_ms = lahar_timeout_ms(talk->lahar);
        (void)poll(fds, more ? 2 : 1, wait_ms < 0 || wait_ms > 200 ? 200 : wait_ms);
        if (lahar_process(talk->lahar) != LAHAR_OK) {
            say_why_away(talk);
            return CLI_UNREACHABLE;
        }
        if (more && fds[1].revents)
            more = read_lines(talk, line, &len);
        if (!more && end_ms == 0)
            end_ms = now_ms(CLOCK_BOOTTIME) + 30000u;
        if (!more && (lahar_waiting(talk->lahar) == 0 || now_ms(CLOCK_BOOTTIME) > end_ms))
            break;
    }
    return CLI_OK;
}

int talk_chat(const struct conf *conf, int argc, char **argv)
{
    struct talk talk;
    if (!read_options(&talk, conf, argc, argv, "chat --site SITE --user USER [GID]"))
        return CLI_USAGE;
    if (optind < argc && !lahar_gid_parse(argv[optind], &talk.peer)) {
        fprintf(stderr, "lahar: '%s' is no GID\n", argv[optind]);
        return CLI_USAGE;
    }
    if (!log_in(&talk, "lahar-chat",
                &(struct lahar_options){.on_message = on_chat_message,
                                        .on_outcome = on_chat_outcome,
                                        .on_state = on_chat_state}))
        return CLI_USAGE;
    int exit = chat_loop(&talk);
    lahar_free(talk.lahar);
    return exit;
}

/* ---- token ---- */

int talk_token(const struct conf *conf, int argc, char **argv)
{
    struct talk talk;
    char token[MINT_TOKEN_SIZE];
    if (!read_options(&talk, conf, argc, argv,
                      "token --site SITE --user USER [--lifetime S] [--kid KID]") ||
        talk.token_file)
        return CLI_USAGE;
    size_t len = make_token(&talk, token, sizeof token);
    if (len == 0) {
        fprintf(stderr, "lahar: %s\n", talk.why);
        return CLI_USAGE;
    }
    printf("%.*s\n", (int)len, token);
    return CLI_OK;
}
