#include "cli/talk.h"

#include "base/log.h"
#include "cli/who.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct talk {
    struct who who;
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
    struct talk talk = {.exit = CLI_UNREACHABLE};
    lahar_gid to;
    static const char usage[] =
        "send --site SITE --user USER [--class confirmed|ephemeral|stored] GID TEXT";
    if (!who_read_options(&talk.who, conf, argc, argv, usage))
        return CLI_USAGE;
    if (optind + 2 != argc || !lahar_gid_parse(argv[optind], &to)) {
        fprintf(stderr, "usage: lahar %s\n", usage);
        return CLI_USAGE;
    }
    if (!who_log_in(&talk.who, "lahar-send", &(struct lahar_options){.on_outcome = on_sent}))
        return CLI_USAGE;
    bool sent = false;
    uint64_t end_ms =
        now_ms(CLOCK_BOOTTIME) + (talk.who.seconds ? (uint64_t)talk.who.seconds * 1000u : 30000u);
    while (!talk.done && now_ms(CLOCK_BOOTTIME) < end_ms) {
        if (lahar_run(talk.who.lahar, 20) != LAHAR_OK) {
            who_say_why_away(&talk.who);
            break;
        }
        if (sent || lahar_state(talk.who.lahar) != LAHAR_ONLINE)
            continue;
        talk.sent_us = now_us(CLOCK_BOOTTIME);
        if (lahar_send(talk.who.lahar, to, talk.who.message_class, argv[optind + 1],
                       strlen(argv[optind + 1]), NULL) != LAHAR_OK) {
            fprintf(stderr, "lahar: the text is over %d bytes\n", LAHAR_BODY_SIZE_MAX);
            talk.exit = CLI_USAGE;
            break;
        }
        sent = true;
        if (talk.who.message_class == LAHAR_EPHEMERAL) {
            (void)lahar_process(talk.who.lahar);
            talk.exit = CLI_OK;
            break;
        }
    }
    if (!talk.done && talk.exit == CLI_UNREACHABLE && lahar_state(talk.who.lahar) != LAHAR_AWAY)
        fprintf(stderr, "lahar: no answer in time (%s)\n", lahar_why(talk.who.lahar));
    lahar_free(talk.who.lahar);
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
    if (++talk->heard == talk->who.count)
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
    struct talk talk = {.exit = CLI_UNREACHABLE};
    if (!who_read_options(&talk.who, conf, argc, argv,
                          "listen --site SITE --user USER [--count N] [--seconds S]"))
        return CLI_USAGE;
    if (!who_log_in(&talk.who, "lahar-listen",
                    &(struct lahar_options){.on_message = on_heard, .on_state = on_listen_state}))
        return CLI_USAGE;
    uint64_t begun_ms = now_ms(CLOCK_BOOTTIME);
    talk.exit = CLI_OK;
    while (!talk.done) {
        if (lahar_run(talk.who.lahar, 100) != LAHAR_OK) {
            who_say_why_away(&talk.who);
            talk.exit = CLI_UNREACHABLE;
            break;
        }
        if (talk.who.seconds &&
            now_ms(CLOCK_BOOTTIME) - begun_ms >= (uint64_t)talk.who.seconds * 1000u)
            break;
    }
    (void)lahar_process(talk.who.lahar);
    lahar_free(talk.who.lahar);
    return talk.exit;
}

/* ---- token ---- */

int talk_token(const struct conf *conf, int argc, char **argv)
{
    struct who who;
    char token[MINT_TOKEN_SIZE];
    if (!who_read_options(&who, conf, argc, argv,
                          "token --site SITE --user USER [--lifetime S] [--kid KID]") ||
        who.token_file)
        return CLI_USAGE;
    size_t len = who_make_token(&who, token, sizeof token);
    if (len == 0) {
        fprintf(stderr, "lahar: %s\n", who.why);
        return CLI_USAGE;
    }
    printf("%.*s\n", (int)len, token);
    return CLI_OK;
}
