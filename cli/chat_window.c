#include "cli/chat_window.h"

#include "cli/chat_talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TICK_MS 1000 /* while something on the screen goes by the clock */
#define KEYS_PER_TURN 1000

struct window {
    struct chat_talk talk;
    struct chat_screen *screen;
    int signals;
    int ended_by;     /* a signal; 0: none */
    bool interrupted; /* Ctrl-C was the last key */
    bool overflowed;  /* what is being pasted has no room: the rest is left out too */
    lahar_gid before; /* the conversation to which Esc goes back from the console */
};

static struct chat_view view_of(struct window *window, char status[CHAT_TALK_STATUS_SIZE])
{
    struct chat_talk *talk = &window->talk;
    enum lahar_state state = lahar_state(talk->who.lahar);
    uint64_t now_ms = chat_talk_now_ms();
    chat_talk_status(talk, status);
    if (now_ms >= talk->notice_until_ms)
        talk->notice[0] = 0;
    return (struct chat_view){
        .model = talk->model,
        .names = talk->names,
        .input = talk->input,
        .self = lahar_self(talk->who.lahar),
        .light = state == LAHAR_ONLINE ? CHAT_LIGHT_GOOD
                 : state == LAHAR_AWAY ? CHAT_LIGHT_BAD
                                       : CHAT_LIGHT_WAITING,
        .status = status,
        .notice = talk->notice,
        .now_ms = now_ms,
    };
}

static void draw(struct window *window)
{
    char status[CHAT_TALK_STATUS_SIZE];
    struct chat_view view = view_of(window, status);
    chat_screen_draw(window->screen, &view);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void scroll(struct window *window, int pages)
{
    char status[CHAT_TALK_STATUS_SIZE];
    struct chat_pane pane;
    struct chat_view view = view_of(window, status);
    chat_screen_pane(window->screen, &view, &pane);
    if (pane.columns < CHAT_PANE_COLUMNS_MIN)
        return;
    long page = pane.height > 2 ? (long)pane.height - 1 : 1;
    chat_pane_scroll(&pane, chat_model_current(window->talk.model), pages * page);
}

static void open_nth(struct window *window, int number)
{
    struct chat_talk *talk = &window->talk;
    if ((size_t)number > chat_model_count(talk->model))
        return;
    chat_talk_leave(talk);
    (void)chat_model_open(talk->model, chat_model_at(talk->model, (size_t)number - 1)->gid);
    chat_talk_arrive(talk);
}

static void step(struct window *window, int by)
{
    chat_talk_leave(&window->talk);
    chat_model_step(window->talk.model, by);
    chat_talk_arrive(&window->talk);
}

static void open_unread(struct window *window)
{
    if (chat_model_unread(window->talk.model) == 0) {
        chat_talk_notice(&window->talk, "nothing is unread");
        return;
    }
    chat_talk_leave(&window->talk);
    if (chat_model_open_unread(window->talk.model))
        chat_talk_arrive(&window->talk);
}

/* To the end of the conversation; if it is the console, back to the one before it. */
static void escape(struct window *window)
{
    struct chat_talk *talk = &window->talk;
    struct chat_conversation *open = chat_model_current(talk->model);
    open->bottom_serial = 0;
    talk->notice[0] = 0;
    if (open->gid == 0 && window->before && chat_model_find(talk->model, window->before)) {
        chat_talk_leave(talk);
        (void)chat_model_open(talk->model, window->before);
        chat_talk_arrive(talk);
    }
}

static void interrupt(struct window *window)
{
    struct chat_talk *talk = &window->talk;
    if (chat_input_text(talk->input).len > 0) {
        chat_input_enter(talk->input); /* Up brings it back */
        chat_talk_typed(talk);
        return;
    }
    if (window->interrupted)
        talk->quit = true;
    else
        chat_talk_notice(talk, "Ctrl-C again ends the chat");
    window->interrupted = true;
}

static void tab(struct window *window)
{
    if (chat_input_text(window->talk.input).len > 0)
        chat_talk_complete(&window->talk);
    else
        open_unread(window);
}

static void end_of_input(struct window *window)
{
    if (chat_input_text(window->talk.input).len > 0)
        chat_input_edit(window->talk.input, CHAT_INPUT_DELETE);
    else
        window->talk.quit = true;
}

static void on_text(struct window *window, const struct chat_press *press)
{
    if (!window->overflowed && !chat_input_insert(window->talk.input, press->text)) {
        chat_talk_notice(&window->talk, "a message has at most %u KiB; the rest is left out",
                         CHAT_INPUT_BYTES_MAX / 1024);
        window->overflowed = true;
    }
    window->overflowed &= press->more;
    chat_talk_typed(&window->talk);
}

static void on_key(struct window *window, const struct chat_press *press)
{
    switch (press->key) {
    case CHAT_KEY_CHARACTER:
        on_text(window, press);
        break;
    case CHAT_KEY_EDIT:
        chat_input_edit(window->talk.input, press->edit);
        chat_talk_typed(&window->talk);
        break;
    case CHAT_KEY_ENTER:
        chat_talk_enter(&window->talk);
        break;
    case CHAT_KEY_TAB:
        tab(window);
        break;
    case CHAT_KEY_PAGE_UP:
        scroll(window, 1);
        break;
    case CHAT_KEY_PAGE_DOWN:
        scroll(window, -1);
        break;
    case CHAT_KEY_TO_END:
    case CHAT_KEY_ESCAPE:
        escape(window);
        break;
    case CHAT_KEY_NEXT:
        step(window, 1);
        break;
    case CHAT_KEY_PREVIOUS:
        step(window, -1);
        break;
    case CHAT_KEY_NTH:
        open_nth(window, press->number);
        break;
    case CHAT_KEY_UNREAD:
        open_unread(window);
        break;
    case CHAT_KEY_HELP:
        chat_talk_help(&window->talk);
        break;
    case CHAT_KEY_REDRAW:
        chat_screen_redraw(window->screen);
        break;
    case CHAT_KEY_INTERRUPT:
        interrupt(window);
        break;
    case CHAT_KEY_END_OF_INPUT:
        end_of_input(window);
        break;
    case CHAT_KEY_SUSPEND:
        chat_screen_suspend(window->screen);
        break;
    case CHAT_KEY_NONE:
    case CHAT_KEY_IGNORED:
        break;
    }
}

static void read_keys(struct window *window)
{
    /* Not for ever: what is pasted may be long, and the cluster wants an answer. */
    for (int i = 0; i < KEYS_PER_TURN && !window->talk.quit; i++) {
        struct chat_press press = chat_screen_key(window->screen);
        if (press.key == CHAT_KEY_NONE)
            return;
        if (press.key != CHAT_KEY_INTERRUPT)
            window->interrupted = false;
        if (press.key != CHAT_KEY_CHARACTER)
            window->overflowed = false;
        on_key(window, &press);
        lahar_gid open = chat_model_current(window->talk.model)->gid;
        window->before = open ? open : window->before;
    }
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static int take_signals(sigset_t *set)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};
    sigemptyset(set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(set, numbers[i]);
    if (sigprocmask(SIG_BLOCK, set, NULL) != 0)
        return -1;
    return signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void read_signals(struct window *window)
{
    struct signalfd_siginfo info;
    while (read(window->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGWINCH || info.ssi_signo == SIGCONT) {
            chat_screen_resize(window->screen);
        } else {
            window->ended_by = (int)info.ssi_signo;
            window->talk.quit = true;
        }
    }
}

static bool goes_by_the_clock(const struct chat_talk *talk)
{
    uint64_t now_ms = chat_talk_now_ms();
    bool typing = false;
    for (size_t i = 0; i < chat_model_count(talk->model); i++)
        typing |= chat_model_at(talk->model, i)->typing_until_ms > now_ms;
    return typing || talk->notice[0] || lahar_state(talk->who.lahar) == LAHAR_CONNECTING;
}

static void run_loop(struct window *window)
{
    struct chat_talk *talk = &window->talk;
    chat_screen_resize(window->screen); /* it may have changed before signals were taken */
    draw(window);
    while (!talk->quit) {
        struct pollfd fds[3] = {{lahar_fd(talk->who.lahar), POLLIN, 0},
                                {STDIN_FILENO, POLLIN, 0},
                                {window->signals, POLLIN, 0}};
        int wait_ms = lahar_timeout_ms(talk->who.lahar);
        if (goes_by_the_clock(talk) && (wait_ms < 0 || wait_ms > TICK_MS))
            wait_ms = TICK_MS;
        if (poll(fds, 3, wait_ms) < 0 && errno != EINTR)
            break;
        if (fds[2].revents)
            read_signals(window);
        if (lahar_process(talk->who.lahar) == LAHAR_ENDED && !talk->been_online)
            break; /* as with the other commands: said, and over */
        if (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL))
            break; /* the terminal is gone */
        if (fds[1].revents)
            read_keys(window);
        draw(window);
    }
}

int chat_window_run(const struct who *who, lahar_gid peer, struct chat_screen *screen)
{
    struct window window = {.screen = screen, .before = peer};
    sigset_t set;
    window.signals = take_signals(&set);
    if (window.signals < 0 || !chat_talk_begin(&window.talk, who, peer)) {
        chat_screen_free(screen);
        return CLI_USAGE;
    }
    run_loop(&window);
    chat_screen_free(screen);
    bool away = !window.talk.been_online && lahar_state(window.talk.who.lahar) == LAHAR_AWAY;
    if (away)
        who_say_why_away(&window.talk.who);
    chat_talk_end(&window.talk);
    close(window.signals);
    if (window.ended_by) { /* whoever waits for us sees of what we ended */
        signal(window.ended_by, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        raise(window.ended_by);
    }
    return away ? CLI_UNREACHABLE : CLI_OK;
}
