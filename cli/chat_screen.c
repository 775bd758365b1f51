#include "cli/chat_screen.h"

#include "cli/chat_draw.h"
#include "cli/chat_text.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define ESC_WAIT_MS 30 /* so long the rest of a sequence may take */
#define PASTE_CHUNK 4096u

#define PASTE_ON "\033[?2004h"
#define PASTE_OFF "\033[?2004l"

struct chat_screen {
    SCREEN *terminal;
    int rows, columns;
    bool pasting;
    char paste[PASTE_CHUNK + 8];
    struct chat_row *lines; /* `rows` of them */
};

/* ---- giving the terminal back, whatever happens ------------------------------------------------
 */

/* What a signal handler needs; it can be given nothing else. */
static struct {
    struct termios termios;
    char sequences[256];
    int errors, kept_stderr; /* what is written to stderr meanwhile, and the stderr for later */
} rescue = {.errors = -1, .kept_stderr = -1};

static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSYS};
#define DEADLY_COUNT (sizeof deadly / sizeof *deadly)

static void tell_errors(void)
{
    char bytes[1024];
    ssize_t got;
    if (rescue.errors < 0)
        return;
    (void)lseek(rescue.errors, 0, SEEK_SET);
    while ((got = read(rescue.errors, bytes, sizeof bytes)) > 0)
        if (write(rescue.kept_stderr, bytes, (size_t)got) < got)
            return;
}

/* Only what may be called in a signal handler. */
static void on_deadly(int number)
{
    if (write(STDOUT_FILENO, rescue.sequences, strlen(rescue.sequences)) >= 0)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &rescue.termios);
    tell_errors();
    (void)raise(number); /* its action is the default again */
}

static void append_capability(const char *name)
{
    const char *sequence = tigetstr(name);
    size_t len = strlen(rescue.sequences);
    if (sequence && sequence != (const char *)-1 && /* padding ($<..>) is for terminals of old */
        !strchr(sequence, '$') && len + strlen(sequence) < sizeof rescue.sequences)
        memcpy(rescue.sequences + len, sequence, strlen(sequence) + 1);
}

static void prepare_rescue(void)
{
    snprintf(rescue.sequences, sizeof rescue.sequences, "%s", PASTE_OFF);
    append_capability("sgr0");
    append_capability("rmkx");
    append_capability("cnorm");
    append_capability("rmcup");
    for (size_t i = 0; i < DEADLY_COUNT; i++) {
        struct sigaction action = {.sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND};
        (void)sigaction(deadly[i], &action, NULL);
    }
    rescue.errors = memfd_create("stderr", MFD_CLOEXEC);
    rescue.kept_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (rescue.errors >= 0 && rescue.kept_stderr >= 0)
        (void)dup2(rescue.errors, STDERR_FILENO);
}

static void end_rescue(void)
{
    for (size_t i = 0; i < DEADLY_COUNT; i++)
        (void)signal(deadly[i], SIG_DFL);
    if (rescue.kept_stderr >= 0) {
        fflush(stderr);
        (void)dup2(rescue.kept_stderr, STDERR_FILENO);
        tell_errors();
        close(rescue.kept_stderr);
    }
    if (rescue.errors >= 0)
        close(rescue.errors);
    rescue.errors = rescue.kept_stderr = -1;
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* Keys of our own, beyond those of ncurses. */
enum { FIRST_KEY = 0x2000 };

static const struct sequence {
    const char *bytes; /* beyond what terminfo knows of most terminals */
    struct chat_press press;
} sequences[] = {
    {"\033[1;5D", {.key = CHAT_KEY_EDIT, .edit = CHAT_INPUT_WORD_LEFT}},
    {"\033[1;5C", {.key = CHAT_KEY_EDIT, .edit = CHAT_INPUT_WORD_RIGHT}},
    {"\033[1;3D", {.key = CHAT_KEY_EDIT, .edit = CHAT_INPUT_WORD_LEFT}},
    {"\033[1;3C", {.key = CHAT_KEY_EDIT, .edit = CHAT_INPUT_WORD_RIGHT}},
    {"\033Od", {.key = CHAT_KEY_EDIT, .edit = CHAT_INPUT_WORD_LEFT}},
    {"\033Oc", {.key = CHAT_KEY_EDIT, .edit = CHAT_INPUT_WORD_RIGHT}},
    {"\033[1;3A", {.key = CHAT_KEY_PREVIOUS}},
    {"\033[1;3B", {.key = CHAT_KEY_NEXT}},
    {"\033[1;5A", {.key = CHAT_KEY_PREVIOUS}},
    {"\033[1;5B", {.key = CHAT_KEY_NEXT}},
    {"\033[5;5~", {.key = CHAT_KEY_PREVIOUS}},
    {"\033[6;5~", {.key = CHAT_KEY_NEXT}},
    {"\033[1;5F", {.key = CHAT_KEY_TO_END}},
    {"\033[13;3u", {.key = CHAT_KEY_CHARACTER, .text = {(const uint8_t *)"\n", 1}}},
    {"\033[13;2u", {.key = CHAT_KEY_CHARACTER, .text = {(const uint8_t *)"\n", 1}}},
    {"\033[27;3;13~", {.key = CHAT_KEY_CHARACTER, .text = {(const uint8_t *)"\n", 1}}},
    {"\033[200~", {.key = CHAT_KEY_IGNORED}}, /* a paste begins */
    {"\033[201~", {.key = CHAT_KEY_IGNORED}}, /* and ends */
};
#define SEQUENCES_COUNT ((int)(sizeof sequences / sizeof *sequences))
#define PASTE_BEGINS (FIRST_KEY + SEQUENCES_COUNT - 2)
#define PASTE_ENDS (FIRST_KEY + SEQUENCES_COUNT - 1)

static void say(const char *sequence)
{
    fputs(sequence, stdout);
    fflush(stdout);
}

static void measure(struct chat_screen *screen)
{
    screen->rows = LINES;
    screen->columns = COLS;
    screen->lines = realloc(screen->lines, (size_t)(LINES > 0 ? LINES : 1) * sizeof *screen->lines);
    assert(screen->lines);
}

struct chat_screen *chat_screen_new(const char **why)
{
    *why = "this is no terminal";
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &rescue.termios) != 0)
        return NULL;
    *why = "this terminal cannot move its cursor";
    const char *term = getenv("TERM");
    if (!term || !*term || strcmp(term, "dumb") == 0)
        return NULL;
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    if (!terminal)
        return NULL;
    if (!tigetstr("cup") || tigetstr("cup") == (const char *)-1) {
        endwin();
        delscreen(terminal);
        return NULL;
    }
    struct chat_screen *screen = calloc(1, sizeof *screen);
    assert(screen);
    screen->terminal = terminal;
    prepare_rescue();
    raw();
    noecho();
    nonl(); /* Enter and Ctrl-J are two keys */
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(ESC_WAIT_MS);
    for (int i = 0; i < SEQUENCES_COUNT; i++)
        define_key(sequences[i].bytes, FIRST_KEY + i);
    chat_draw_colours();
    measure(screen);
    say(PASTE_ON);
    return screen;
}

void chat_screen_free(struct chat_screen *screen)
{
    if (!screen)
        return;
    say(PASTE_OFF);
    erase();
    refresh();
    endwin();
    delscreen(screen->terminal);
    end_rescue();
    free(screen->lines);
    free(screen);
}

void chat_screen_resize(struct chat_screen *screen)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
    clearok(curscr, TRUE);
    measure(screen);
}

void chat_screen_redraw(struct chat_screen *screen)
{
    (void)screen;
    clearok(curscr, TRUE);
}

void chat_screen_suspend(struct chat_screen *screen)
{
    say(PASTE_OFF);
    (void)kill(0, SIGTSTP); /* ncurses' own handler gives the terminal back and takes it again */
    say(PASTE_ON);
    chat_screen_resize(screen);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static struct chat_press simple(enum chat_key key)
{
    return (struct chat_press){.key = key};
}

static struct chat_press edit(enum chat_input_edit what)
{
    return (struct chat_press){.key = CHAT_KEY_EDIT, .edit = what};
}

static struct chat_press text(struct chat_screen *screen, size_t len)
{
    return (struct chat_press){.key = CHAT_KEY_CHARACTER, .text = span_of(screen->paste, len)};
}

static struct chat_press character(struct chat_screen *screen, wint_t point)
{
    return point > 0x10ffff ? simple(CHAT_KEY_IGNORED)
                            : text(screen, chat_text_encode((uint32_t)point, screen->paste));
}

/* Characters and line ends up to the end of the paste, or as much of it as is there. Keys within it
 * are only bytes that somebody put there. */
static struct chat_press paste(struct chat_screen *screen)
{
    size_t len = 0;
    wint_t got;
    while (len < PASTE_CHUNK) {
        int kind = get_wch(&got);
        if (kind == ERR)
            break;
        if (kind == KEY_CODE_YES && got == PASTE_ENDS) {
            screen->pasting = false;
            break;
        }
        if (kind == OK && got == 3) { /* a way out if its end never comes */
            screen->pasting = false;
            return simple(CHAT_KEY_INTERRUPT);
        }
        if (kind == OK && got <= 0x10ffff)
            len += chat_text_encode((uint32_t)got, screen->paste + len);
    }
    if (len == 0)
        return simple(screen->pasting ? CHAT_KEY_NONE : CHAT_KEY_IGNORED);
    struct chat_press press = text(screen, len);
    press.more = screen->pasting;
    return press;
}

static struct chat_press function_key(struct chat_screen *screen, wint_t key)
{
    if (key == PASTE_BEGINS) {
        screen->pasting = true;
        return paste(screen);
    }
    if (key >= FIRST_KEY && key < PASTE_BEGINS)
        return sequences[key - FIRST_KEY].press;
    switch (key) {
    case KEY_LEFT:
        return edit(CHAT_INPUT_LEFT);
    case KEY_RIGHT:
        return edit(CHAT_INPUT_RIGHT);
    case KEY_UP:
        return edit(CHAT_INPUT_UP);
    case KEY_DOWN:
        return edit(CHAT_INPUT_DOWN);
    case KEY_HOME:
        return edit(CHAT_INPUT_HOME);
    case KEY_END:
        return edit(CHAT_INPUT_END);
    case KEY_DC:
        return edit(CHAT_INPUT_DELETE);
    case KEY_BACKSPACE:
        return edit(CHAT_INPUT_BACKSPACE);
    case KEY_PPAGE:
        return simple(CHAT_KEY_PAGE_UP);
    case KEY_NPAGE:
        return simple(CHAT_KEY_PAGE_DOWN);
    case KEY_ENTER:
        return simple(CHAT_KEY_ENTER);
    case KEY_F(1):
        return simple(CHAT_KEY_HELP);
    default:
        return simple(CHAT_KEY_IGNORED);
    }
}

/* Esc and a key after it. */
static struct chat_press alt_key(struct chat_screen *screen)
{
    wint_t got;
    int kind = get_wch(&got);
    if (kind == ERR)
        return simple(CHAT_KEY_ESCAPE);
    if (kind == KEY_CODE_YES)
        return got == KEY_BACKSPACE ? edit(CHAT_INPUT_CUT_WORD)
               : got == KEY_UP      ? simple(CHAT_KEY_PREVIOUS)
               : got == KEY_DOWN    ? simple(CHAT_KEY_NEXT)
               : got == KEY_LEFT    ? edit(CHAT_INPUT_WORD_LEFT)
               : got == KEY_RIGHT   ? edit(CHAT_INPUT_WORD_RIGHT)
                                    : function_key(screen, got);
    if (got >= '1' && got <= '9')
        return (struct chat_press){.key = CHAT_KEY_NTH, .number = (int)(got - '0')};
    switch (got) {
    case '\r':
    case '\n':
        return character(screen, '\n');
    case 'b':
        return edit(CHAT_INPUT_WORD_LEFT);
    case 'f':
        return edit(CHAT_INPUT_WORD_RIGHT);
    case 8:
    case 127:
        return edit(CHAT_INPUT_CUT_WORD);
    case 'p':
        return simple(CHAT_KEY_PREVIOUS);
    case 'n':
        return simple(CHAT_KEY_NEXT);
    case 'a':
        return simple(CHAT_KEY_UNREAD);
    default:
        return simple(CHAT_KEY_IGNORED);
    }
}

static struct chat_press control_key(struct chat_screen *screen, wint_t key)
{
    static const struct {
        char key;
        enum chat_key what;
        enum chat_input_edit edit;
    } controls[] = {
        {'A', CHAT_KEY_EDIT, CHAT_INPUT_HOME},
        {'E', CHAT_KEY_EDIT, CHAT_INPUT_END},
        {'B', CHAT_KEY_EDIT, CHAT_INPUT_LEFT},
        {'F', CHAT_KEY_EDIT, CHAT_INPUT_RIGHT},
        {'P', CHAT_KEY_EDIT, CHAT_INPUT_UP},
        {'N', CHAT_KEY_EDIT, CHAT_INPUT_DOWN},
        {'H', CHAT_KEY_EDIT, CHAT_INPUT_BACKSPACE},
        {'K', CHAT_KEY_EDIT, CHAT_INPUT_CUT_TO_END},
        {'U', CHAT_KEY_EDIT, CHAT_INPUT_CUT_TO_HOME},
        {'W', CHAT_KEY_EDIT, CHAT_INPUT_CUT_WORD},
        {'Y', CHAT_KEY_EDIT, CHAT_INPUT_YANK},
        {'M', CHAT_KEY_ENTER, 0},
        {'I', CHAT_KEY_TAB, 0},
        {'L', CHAT_KEY_REDRAW, 0},
        {'C', CHAT_KEY_INTERRUPT, 0},
        {'D', CHAT_KEY_END_OF_INPUT, 0},
        {'Z', CHAT_KEY_SUSPEND, 0},
        {'G', CHAT_KEY_ESCAPE, 0},
    };
    if (key == '\n')
        return character(screen, key);
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        if ((wint_t)(controls[i].key & 0x1f) == key)
            return (struct chat_press){.key = controls[i].what, .edit = controls[i].edit};
    return simple(CHAT_KEY_IGNORED);
}

struct chat_press chat_screen_key(struct chat_screen *screen)
{
    wint_t got;
    if (screen->pasting)
        return paste(screen);
    int kind = get_wch(&got);
    if (kind == ERR)
        return simple(CHAT_KEY_NONE);
    if (kind == KEY_CODE_YES)
        return function_key(screen, got);
    if (got == 27)
        return alt_key(screen);
    if (got == 127)
        return edit(CHAT_INPUT_BACKSPACE);
    return got < 32 ? control_key(screen, got) : character(screen, got);
}

/* ---- drawing -----------------------------------------------------------------------------------
 */

void chat_screen_pane(const struct chat_screen *screen, const struct chat_view *view,
                      struct chat_pane *pane)
{
    struct chat_draw_layout layout;
    chat_draw_layout(&layout, view, screen->rows, screen->columns);
    *pane = (struct chat_pane){
        .conversation = chat_model_current(view->model),
        .names = view->names,
        .self = view->self,
        .columns = layout.columns,
        .height = (size_t)layout.height,
    };
}

void chat_screen_draw(struct chat_screen *screen, const struct chat_view *view)
{
    struct chat_pane pane;
    chat_screen_pane(screen, view, &pane);
    chat_draw_all(view, &pane, screen->lines, screen->rows, screen->columns);
}
