#include "cli/chat_talk.h"

#include "cli/chat_body.h"
#include "cli/chat_pane.h"
#include "cli/chat_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOTICE_MS 5000u

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

uint64_t chat_talk_now_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

void chat_talk_notice(struct chat_talk *talk, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(talk->notice, sizeof talk->notice, format, arguments);
    va_end(arguments);
    talk->notice_until_ms = chat_talk_now_ms() + NOTICE_MS;
}

static void note(struct chat_talk *talk, const char *text)
{
    chat_model_note(talk->model, text, clock_ms(CLOCK_REALTIME));
}

/* ---- what liblahar tells -----------------------------------------------------------------------
 */

static void load_names(struct chat_talk *talk)
{
    if (!chat_names_path(conf_text(talk->who.conf, "cluster.name"), lahar_self(talk->who.lahar),
                         talk->names_path, sizeof talk->names_path))
        talk->names_path[0] = 0;
    else if (!chat_names_load(talk->names, talk->names_path))
        chat_talk_notice(talk, "%.150s: %s", talk->names_path, strerror(errno));
}

static void on_state(void *ctx, struct lahar *lahar, enum lahar_state state)
{
    struct chat_talk *talk = ctx;
    char text[512], gid[LAHAR_GID_TEXT_SIZE];
    bool was_online = talk->is_online;
    talk->is_online = state == LAHAR_ONLINE;
    if (talk->is_online) {
        if (!talk->been_online)
            load_names(talk);
        talk->been_online = true;
        snprintf(text, sizeof text, "online as %s, by edge %s",
                 lahar_gid_format(lahar_self(lahar), gid), lahar_edge(lahar));
        note(talk, text);
    } else if (was_online) {
        snprintf(text, sizeof text, "connection ended: %s", lahar_why_text(lahar));
        note(talk, text);
        talk->typing_to = 0;
    }
}

static void on_message(void *ctx, struct lahar *lahar, const struct lahar_message *message)
{
    struct chat_talk *talk = ctx;
    struct span body = span_of(message->body, message->body_size);
    lahar_gid with = message->group ? message->group : message->from;
    switch (chat_body_kind(message->message_class, body)) {
    case CHAT_BODY_IS_TYPING:
        chat_model_typing(talk->model, with, chat_talk_now_ms() + CHAT_BODY_TYPING_MS);
        return;
    case CHAT_BODY_HAS_STOPPED:
        chat_model_typing(talk->model, with, 0);
        return;
    case CHAT_BODY_IGNORED:
        return;
    case CHAT_BODY_TEXT:
        break;
    }
    bool first = chat_model_count(talk->model) == 1;
    chat_model_received(talk->model, with, message->from, body, message->sent_at_ms);
    /* Whoever has nobody to talk to yet sees who speaks; but nobody comes between a line that is
     * being written and whom it is for. */
    if (first && chat_input_text(talk->input).len == 0)
        (void)chat_model_open(talk->model, with);
    (void)lahar;
}

static void on_outcome(void *ctx, struct lahar *lahar, const struct lahar_result_of_send *result)
{
    struct chat_talk *talk = ctx;
    (void)lahar;
    chat_model_outcome(talk->model, result);
}

/* ---- life --------------------------------------------------------------------------------------
 */

bool chat_talk_begin(struct chat_talk *talk, const struct who *who, lahar_gid peer)
{
    *talk = (struct chat_talk){.who = *who};
    if (!who_log_in(&talk->who, "lahar-chat",
                    &(struct lahar_options){
                        .on_message = on_message, .on_outcome = on_outcome, .on_state = on_state}))
        return false;
    talk->model = chat_model_new();
    talk->names = chat_names_new();
    talk->input = chat_input_new();
    note(talk, "Welcome. /to GID begins a conversation, /help says what else there is.\n"
               "Nothing said here is kept: the cluster is no archive.");
    if (peer)
        (void)chat_model_open(talk->model, peer);
    return true;
}

void chat_talk_end(struct chat_talk *talk)
{
    lahar_free(talk->who.lahar);
    chat_input_free(talk->input);
    chat_names_free(talk->names);
    chat_model_free(talk->model);
}

void chat_talk_status(const struct chat_talk *talk, char out[CHAT_TALK_STATUS_SIZE])
{
    const struct lahar *lahar = talk->who.lahar;
    char gid[LAHAR_GID_TEXT_SIZE] = "", me[200];
    lahar_gid self = lahar_self(lahar);
    if (self)
        lahar_gid_format(self, gid);
    if (talk->who.user && talk->who.site && !talk->who.token_file) {
        char *user = chat_text_clean(span_text(talk->who.user), false, NULL);
        snprintf(me, sizeof me, "%.120s@%.32s%s%s", user, talk->who.site, self ? " " : "", gid);
        free(user);
    } else
        snprintf(me, sizeof me, "%s", self ? gid : "not logged in yet");
    const char *why = lahar_why_text(lahar);
    int retry_ms = lahar_retry_ms(lahar);
    if (lahar_state(lahar) == LAHAR_ONLINE)
        snprintf(out, CHAT_TALK_STATUS_SIZE, "%s · edge %s", me, lahar_edge(lahar));
    else if (lahar_state(lahar) == LAHAR_AWAY)
        snprintf(out, CHAT_TALK_STATUS_SIZE, "away: %s · /reconnect", why);
    else if (retry_ms > 0)
        snprintf(out, CHAT_TALK_STATUS_SIZE, "again in %d s: %s · %s", (retry_ms + 999) / 1000, why,
                 me);
    else
        snprintf(out, CHAT_TALK_STATUS_SIZE, "connecting …%s%s · %s", *why ? " " : "", why, me);
}

/* ---- typing ------------------------------------------------------------------------------------
 */

static void tell_typing(struct chat_talk *talk, lahar_gid to, const char *mark)
{
    if (lahar_send(talk->who.lahar, to, LAHAR_EPHEMERAL, mark, strlen(mark), NULL) != LAHAR_OK)
        return; /* a mark that is lost is soon out of date */
}

static void stop_typing(struct chat_talk *talk)
{
    if (talk->typing_to)
        tell_typing(talk, talk->typing_to, CHAT_BODY_STOPPED);
    talk->typing_to = 0;
}

void chat_talk_typed(struct chat_talk *talk)
{
    struct span text = chat_input_text(talk->input);
    lahar_gid to = chat_model_current(talk->model)->gid;
    uint64_t now_ms = chat_talk_now_ms();
    if (text.len == 0 || text.at[0] == '/') {
        stop_typing(talk);
        return;
    }
    bool told = talk->typing_to == to && now_ms - talk->typing_ms < CHAT_BODY_REPEAT_MS;
    if (to == 0 || told || talk->typing_off || !talk->is_online)
        return;
    tell_typing(talk, to, CHAT_BODY_TYPING);
    talk->typing_to = to;
    talk->typing_ms = now_ms;
}

void chat_talk_leave(struct chat_talk *talk)
{
    struct chat_conversation *open = chat_model_current(talk->model);
    struct span text = chat_input_text(talk->input);
    stop_typing(talk);
    free(open->draft);
    open->draft = strndup(text.len ? (const char *)text.at : "", text.len);
}

void chat_talk_arrive(struct chat_talk *talk)
{
    const struct chat_conversation *open = chat_model_current(talk->model);
    chat_input_set(talk->input, span_text(open->draft ? open->draft : ""));
}

static void go_to(struct chat_talk *talk, lahar_gid gid)
{
    chat_talk_leave(talk);
    (void)chat_model_open(talk->model, gid);
    chat_talk_arrive(talk);
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static const char *why_not_sent(enum lahar_result result)
{
    return result == LAHAR_FULL      ? "not sent: too much is waiting for an answer"
           : result == LAHAR_INVALID ? "not sent: it is too long, or is on its way already"
           : result == LAHAR_ENDED   ? "not sent: you are away; /reconnect"
                                     : "not sent: no memory";
}

static bool send_text(struct chat_talk *talk, struct span text)
{
    uint8_t id[LAHAR_ID_SIZE] = {0};
    lahar_gid to = chat_model_current(talk->model)->gid;
    enum lahar_class class = talk->who.message_class;
    if (to == 0) {
        chat_talk_notice(talk, "to whom? /to GID");
        return false;
    }
    if (class == LAHAR_EPHEMERAL && !talk->is_online) {
        chat_talk_notice(talk, "not sent: there is no connection, and EPHEMERAL does not wait");
        return false;
    }
    enum lahar_result result = lahar_send(talk->who.lahar, to, class, text.at, text.len, id);
    if (result != LAHAR_OK) {
        chat_talk_notice(talk, "%s", why_not_sent(result));
        return false;
    }
    chat_model_sent(talk->model, to, id,
                    class == LAHAR_EPHEMERAL ? CHAT_MARK_SENT : CHAT_MARK_SENDING, text,
                    clock_ms(CLOCK_REALTIME));
    talk->typing_to = 0; /* the message says it */
    return true;
}

/* What was refused goes out as a new message; what may have arrived with its old id, so that it is
 * not seen twice. */
static bool send_again(struct chat_talk *talk, lahar_gid to, struct chat_message *message)
{
    uint8_t id[LAHAR_ID_SIZE] = {0};
    if (message->mark == CHAT_MARK_UNKNOWN)
        memcpy(id, message->id, sizeof id);
    enum lahar_result result = lahar_send(talk->who.lahar, to, talk->who.message_class,
                                          message->text.at, message->text.len, id);
    if (result != LAHAR_OK) {
        chat_talk_notice(talk, "%s", why_not_sent(result));
        return false;
    }
    memcpy(message->id, id, sizeof id);
    message->mark = CHAT_MARK_SENDING;
    return true;
}

/* ---- commands ----------------------------------------------------------------------------------
 */

static lahar_gid find_gid(const struct chat_talk *talk, const char *text)
{
    lahar_gid gid;
    if (lahar_gid_parse(text, &gid))
        return gid;
    return chat_names_find(talk->names, span_text(text));
}

static void do_to(struct chat_talk *talk, char *rest)
{
    lahar_gid gid = find_gid(talk, rest);
    if (gid)
        go_to(talk, gid);
    else
        chat_talk_notice(talk, "'%.40s' is neither a GID nor a nickname", rest);
}

static void save_names(struct chat_talk *talk)
{
    if (!talk->names_path[0])
        chat_talk_notice(talk, "there is no file to keep nicknames in: HOME is not set");
    else if (!chat_names_save(talk->names, talk->names_path))
        chat_talk_notice(talk, "%.150s: %s", talk->names_path, strerror(errno));
}

static void do_nick(struct chat_talk *talk, char *rest)
{
    lahar_gid gid = chat_model_current(talk->model)->gid, given;
    char *name = rest, *space = strchr(rest, ' ');
    if (space)
        *space = 0;
    if (lahar_gid_parse(rest, &given)) {
        gid = given;
        name = space ? space + 1 : rest + strlen(rest);
    } else if (space) {
        *space = ' ';
    }
    if (!talk->been_online || gid == 0) {
        chat_talk_notice(talk, gid ? "log in first" : "/nick GID NAME, or open a conversation");
        return;
    }
    if (*name == 0) {
        chat_names_remove(talk->names, gid);
        save_names(talk);
        return;
    }
    switch (chat_names_set(talk->names, gid, span_text(name))) {
    case CHAT_NAMES_SET:
        save_names(talk);
        break;
    case CHAT_NAMES_INVALID:
        chat_talk_notice(talk, "a nickname has 1 to %d columns and is no number",
                         CHAT_NAMES_COLUMNS_MAX);
        break;
    case CHAT_NAMES_TAKEN:
        chat_talk_notice(talk, "somebody else has that nickname");
        break;
    case CHAT_NAMES_FULL:
        chat_talk_notice(talk, "there are %u nicknames, and no more may be", CHAT_NAMES_MAX);
        break;
    }
}

static void do_again(struct chat_talk *talk, char *rest)
{
    struct chat_conversation *open = chat_model_current(talk->model);
    struct chat_message *failed[64];
    size_t count = 0, most = strcmp(rest, "all") == 0 ? 64 : 1;
    uint64_t serial = 0;
    while (count < most && (failed[count] = chat_model_failed(open, serial)))
        serial = failed[count++]->serial;
    if (count == 0)
        chat_talk_notice(talk, "nothing here is to be sent again");
    while (count > 0 && send_again(talk, open->gid, failed[count - 1]))
        count--; /* the oldest first */
}

static void do_reconnect(struct chat_talk *talk, char *rest)
{
    (void)rest;
    if (talk->is_online)
        chat_talk_notice(talk, "you are online");
    else
        lahar_reconnect(talk->who.lahar);
}

static void do_typing(struct chat_talk *talk, char *rest)
{
    bool off = strcmp(rest, "off") == 0;
    if (off)
        stop_typing(talk);
    if (off || strcmp(rest, "on") == 0)
        talk->typing_off = off;
    chat_talk_notice(talk, "others %s when you type", talk->typing_off ? "do not see" : "see");
}

static void do_help(struct chat_talk *talk, char *rest)
{
    (void)rest;
    chat_talk_help(talk);
}

static void do_quit(struct chat_talk *talk, char *rest)
{
    (void)rest;
    talk->quit = true;
}

static const struct command {
    const char *name;
    bool with_rest; /* something must follow */
    void (*run)(struct chat_talk *talk, char *rest);
    const char *usage, *help;
} commands[] = {
    {"to", true, do_to, "/to GID|NAME", "talk with them"},
    {"nick", false, do_nick, "/nick [GID] [NAME]", "call them so; without NAME: no more"},
    {"again", false, do_again, "/again [all]", "send what failed again"},
    {"typing", false, do_typing, "/typing on|off", "whether others see that you type"},
    {"reconnect", false, do_reconnect, "/reconnect", "try now, or come back from away"},
    {"help", false, do_help, "/help", "this; Esc goes back"},
    {"quit", false, do_quit, "/quit", "so does Ctrl-D"},
};
#define COMMANDS_COUNT (sizeof commands / sizeof *commands)

void chat_talk_help(struct chat_talk *talk)
{
    static const char keys[] = "//text says /text.  Signs: … on its way, ✓ delivered, • kept,\n"
                               "✗ not delivered, ? unknown (/again finds out)\n"
                               "Alt-Enter, Ctrl-J   a new line within the message\n"
                               "PgUp, PgDn, Esc     read back, and to the end\n"
                               "Alt-Up, Alt-Down    the conversation above, below\n"
                               "Alt-1 … Alt-9       the first … ninth conversation\n"
                               "Alt-A, Tab          one with something unread\n"
                               "Up, Down            what you wrote before\n"
                               "Ctrl-A E K U W Y    as in a shell";
    char text[4096];
    size_t len = 0;
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%-19s %s\n", commands[i].usage,
                                commands[i].help);
    snprintf(text + len, sizeof text - len, "%s", keys);
    go_to(talk, 0);
    chat_model_current(talk->model)->bottom_serial = 0;
    note(talk, text);
}

static void do_command(struct chat_talk *talk, char *line)
{
    size_t len = strcspn(line, " ");
    char *rest = line + len + strspn(line + len, " ");
    for (size_t end = strlen(rest); end > 0 && rest[end - 1] == ' '; end--)
        rest[end - 1] = 0;
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strlen(commands[i].name) != len || strncmp(commands[i].name, line, len) != 0)
            continue;
        if (commands[i].with_rest && *rest == 0)
            chat_talk_notice(talk, "%s: %s", commands[i].usage, commands[i].help);
        else
            commands[i].run(talk, rest);
        return;
    }
    chat_talk_notice(talk, "no such command: /help; //… sends what begins with /");
}

void chat_talk_enter(struct chat_talk *talk)
{
    struct span text = chat_input_text(talk->input);
    size_t blank = 0;
    while (blank < text.len && (text.at[blank] == ' ' || text.at[blank] == '\n'))
        blank++;
    talk->notice[0] = 0;
    if (blank == text.len) {
        chat_input_set(talk->input, span_of("", 0));
        return;
    }
    bool slash = text.at[0] == '/', twice = slash && text.len > 1 && text.at[1] == '/';
    if (!slash || twice) {
        if (send_text(talk, twice ? span_after(text, 1) : text))
            chat_input_enter(talk->input);
        return;
    }
    char *line = strndup((const char *)text.at + 1, text.len - 1);
    assert(line);
    chat_input_enter(talk->input); /* first: the command may open another conversation */
    do_command(talk, line);
    free(line);
}

static void complete_with(struct chat_talk *talk, const char *begin, const char *word)
{
    char line[CHAT_NAMES_SIZE + 32];
    snprintf(line, sizeof line, "%s%s ", begin, word);
    chat_input_set(talk->input, span_text(line));
}

void chat_talk_complete(struct chat_talk *talk)
{
    struct span text = chat_input_text(talk->input);
    if (text.len == 0 || text.at[0] != '/' || text.len > CHAT_NAMES_SIZE)
        return;
    const char *line = (const char *)text.at;
    if (text.len >= 4 && memcmp(line, "/to ", 4) == 0) {
        lahar_gid gid = chat_names_complete(talk->names, span_after(text, 4), 0);
        if (gid)
            complete_with(talk, "/to ", chat_names_of(talk->names, gid));
        return;
    }
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strlen(commands[i].name) < text.len - 1 ||
            memcmp(commands[i].name, line + 1, text.len - 1) != 0)
            continue;
        complete_with(talk, "/", commands[i].name);
        return;
    }
}
