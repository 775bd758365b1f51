#include "cli/chat_plain.h"

#include "cli/chat_body.h"
#include "cli/chat_text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE_MAX ((size_t)LAHAR_BODY_SIZE_MAX)

struct plain {
    struct who who; /* first: see who_log_in */
    lahar_gid peer; /* to whom lines go */
    bool done;
};

static uint64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

static void on_message(void *ctx, struct lahar *lahar, const struct lahar_message *message)
{
    (void)lahar;
    struct plain *plain = ctx;
    char from[LAHAR_GID_TEXT_SIZE];
    struct span body = span_of(message->body, message->body_size);
    if (chat_body_kind(message->message_class, body) != CHAT_BODY_TEXT)
        return;
    char *text = chat_text_clean(body, false, NULL);
    printf("%s: %s\n", lahar_gid_format(message->from, from), text);
    free(text);
    if (plain->peer == 0) {
        plain->peer = message->from;
        printf("-- lines go to %s now; /to GID changes that\n", from);
    }
    fflush(stdout);
}

static void on_outcome(void *ctx, struct lahar *lahar, const struct lahar_result_of_send *result)
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

static void on_state(void *ctx, struct lahar *lahar, enum lahar_state state)
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

static void on_line(struct plain *plain, char *line, size_t len)
{
    if (strncmp(line, "/to ", 4) == 0) {
        if (lahar_gid_parse(line + 4, &plain->peer))
            printf("-- lines go to %s now\n", line + 4);
        else
            printf("-- '%s' is no GID\n", line + 4);
    } else if (strcmp(line, "/quit") == 0) {
        plain->done = true;
    } else if (line[0] == '/') {
        printf("-- /to GID, /quit; any other line is sent\n");
    } else if (len > 0 && plain->peer == 0) {
        printf("-- to whom? /to GID\n");
    } else if (len > 0 && lahar_send(plain->who.lahar, plain->peer, plain->who.message_class, line,
                                     len, NULL) != LAHAR_OK) {
        printf("-- not sent: too much is waiting\n");
    }
    fflush(stdout);
}

/* Reads what is there and hands on whole lines; false at the end of the input. */
static bool read_lines(struct plain *plain, char *line, size_t *len)
{
    ssize_t got = read(STDIN_FILENO, line + *len, LINE_SIZE_MAX - *len);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    if (got > 0)
        *len += (size_t)got;
    char *begin = line, *end;
    while ((end = memchr(begin, '\n', *len - (size_t)(begin - line)))) {
        *end = 0;
        on_line(plain, begin, (size_t)(end - begin));
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

static int run_loop(struct plain *plain)
{
    static char line[LINE_SIZE_MAX + 1];
    size_t len = 0;
    bool more = true;
    uint64_t end_ms = 0; /* after the end of the input: wait for the outcomes, but not for ever */
    while (!plain->done) {
        struct pollfd fds[2] = {{lahar_fd(plain->who.lahar), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        int wait_ms = lahar_timeout_ms(plain->who.lahar);
        (void)poll(fds, more ? 2 : 1, wait_ms < 0 || wait_ms > 200 ? 200 : wait_ms);
        if (lahar_process(plain->who.lahar) != LAHAR_OK) {
            who_say_why_away(&plain->who);
            return CLI_UNREACHABLE;
        }
        if (more && fds[1].revents)
            more = read_lines(plain, line, &len);
        if (!more && end_ms == 0)
            end_ms = now_ms() + 30000u;
        if (!more && (lahar_waiting(plain->who.lahar) == 0 || now_ms() > end_ms))
            break;
    }
    return CLI_OK;
}

int chat_plain_run(const struct who *who, lahar_gid peer)
{
    struct plain plain = {.who = *who, .peer = peer};
    if (!who_log_in(&plain.who, "lahar-chat",
                    &(struct lahar_options){
                        .on_message = on_message, .on_outcome = on_outcome, .on_state = on_state}))
        return CLI_USAGE;
    int exit_code = run_loop(&plain);
    lahar_free(plain.who.lahar);
    return exit_code;
}
