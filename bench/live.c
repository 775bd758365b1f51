#include "bench/live.h"

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)
#define EACH_NS (NS_PER_S / 11) /* who calls ten times a second is not always exact */
#define SAMPLES 10u             /* rates are over as many drawings */
#define WIDTH_MIN 20u
#define WIDTH_MAX 200u
#define BAR_MAX 30u
#define BAR_MIN 6u
#define LINES_MAX 3u

#define HIDE_CURSOR "\033[?25l"
#define SHOW_CURSOR "\033[?25h"
#define CLEAR_REST_OF_LINE "\033[K"
#define CLEAR_REST_OF_SCREEN "\033[J"

/* --- numbers ---------------------------------------------------------------------------------- */

static double rate(uint64_t before, uint64_t now, uint64_t ns)
{
    return ns > 0 && now > before ? (double)(now - before) * 1e9 / (double)ns : 0;
}

/* Four digits tell enough of what changes ten times a second. */
static void put_count(char out[32], double count)
{
    if (count < 9999.5)
        snprintf(out, 32, "%.0f", count);
    else if (count < 999950)
        snprintf(out, 32, "%.1fk", count / 1e3);
    else
        snprintf(out, 32, "%.2fM", count / 1e6);
}

static void put_time(char out[32], uint64_t ns, bool utf8)
{
    double us = (double)ns / 1e3;
    if (us < 999.5)
        snprintf(out, 32, "%.0f %s", us, utf8 ? "\u00b5s" : "us");
    else if (us < 99950)
        snprintf(out, 32, "%.1f ms", us / 1e3);
    else if (us < 999500)
        snprintf(out, 32, "%.0f ms", us / 1e3);
    else
        snprintf(out, 32, "%.1f s", us / 1e6);
}

static void put_left(char out[32], uint64_t ns)
{
    uint64_t s = (ns + NS_PER_S - 1) / NS_PER_S;
    if (s < 120)
        snprintf(out, 32, "%u s left", (unsigned)s);
    else
        snprintf(out, 32, "%u:%02u min left", (unsigned)(s / 60), (unsigned)(s % 60));
}

/* --- the text --------------------------------------------------------------------------------- */

struct text {
    char *out;
    size_t len;
    uint32_t columns, lines; /* of the line that is being written; lines begun */
    const struct live_style *style;
};

enum look { LOOK_PLAIN, LOOK_STRONG, LOOK_DIM, LOOK_ALARM, LOOK_BAR };

static const char *const looks[] = {"", "\033[1m", "\033[2m", "\033[1;31m", "\033[36m"};

/* What is longer than the text may be is a mistake here: the width is bounded, and so is all. */
static void add(struct text *text, const char *part)
{
    size_t len = strlen(part);
    assert(text->len + len < LIVE_TEXT_MAX);
    memcpy(text->out + text->len, part, len + 1);
    text->len += len;
}

static uint32_t columns_of(const char *part)
{
    uint32_t columns = 0;
    for (; *part; part++)
        columns += ((unsigned char)*part & 0xc0) != 0x80;
    return columns;
}

static void put(struct text *text, enum look look, const char *part)
{
    bool colour = text->style->colour && look != LOOK_PLAIN;
    if (colour)
        add(text, looks[look]);
    add(text, part);
    if (colour)
        add(text, "\033[0m");
    text->columns += columns_of(part);
}

/* Two blanks and then the part, or on the next line; false if there is no place for it at all. */
static bool make_room(struct text *text, uint32_t columns)
{
    uint32_t gap = text->columns > 0 ? 2 : 0;
    if (columns > text->style->width)
        return false;
    if (text->columns + gap + columns <= text->style->width) {
        put(text, LOOK_PLAIN, gap ? "  " : "");
        return true;
    }
    if (text->lines == LINES_MAX)
        return false;
    add(text, "\n");
    text->columns = 0;
    text->lines++;
    return true;
}

static void put_item(struct text *text, enum look look, const char *label, const char *value)
{
    if (!make_room(text, columns_of(label) + 1 + columns_of(value)))
        return;
    put(text, look == LOOK_ALARM ? LOOK_ALARM : LOOK_DIM, label);
    put(text, LOOK_PLAIN, " ");
    put(text, look, value);
}

static void put_rate(struct text *text, const char *label, uint64_t before, uint64_t now,
                     uint64_t ns)
{
    char value[32];
    put_count(value, rate(before, now, ns));
    strcat(value, "/s");
    put_item(text, LOOK_STRONG, label, value);
}

static void put_total(struct text *text, const char *label, uint64_t count)
{
    char value[32];
    put_count(value, (double)count);
    put_item(text, count > 0 ? LOOK_ALARM : LOOK_PLAIN, label, value);
}

static void put_bar(struct text *text, double progress, uint32_t columns)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    char bar[BAR_MAX * 3 + 1] = "", rest[BAR_MAX * 3 + 1] = "";
    bool utf8 = text->style->utf8;
    uint32_t filled = (uint32_t)(progress * columns * 8 + 0.5), at = 0;
    for (; at < filled / 8; at++)
        strcat(bar, utf8 ? "█" : "#");
    if (utf8 && filled % 8 > 0) {
        strcat(bar, eighths[filled % 8]);
        at++;
    }
    for (; at < columns; at++)
        strcat(rest, utf8 ? "·" : "-");
    put(text, LOOK_PLAIN, "[");
    put(text, LOOK_BAR, bar);
    put(text, LOOK_DIM, rest);
    put(text, LOOK_PLAIN, "]");
}

/* The first line: what, which phase, how far. */
static void put_head(struct text *text, const struct live_numbers *now)
{
    char share[32] = "", left[32] = "";
    double progress = now->progress > 1 ? 1 : now->progress;
    uint32_t width = text->style->width;
    if (progress >= 0)
        snprintf(share, sizeof share, "%3.0f %%", progress * 100);
    if (now->left_ns > 0)
        put_left(left, now->left_ns);
    uint32_t needed = columns_of(now->phase) + 2 + columns_of(share) + 2 + columns_of(left);
    if (now->title && needed + columns_of(now->title) + 2 + BAR_MIN + 4 <= width) {
        put(text, LOOK_PLAIN, now->title);
        needed += columns_of(now->title) + 2;
    }
    if (make_room(text, columns_of(now->phase)))
        put(text, LOOK_STRONG, now->phase);
    if (progress >= 0 && needed + BAR_MIN + 4 <= width) {
        uint32_t bar = width - needed - 4;
        put(text, LOOK_PLAIN, "  ");
        put_bar(text, progress, bar < BAR_MAX ? bar : BAR_MAX);
    }
    /* Only what still fits in this line. */
    text->lines = LINES_MAX;
    if (*share && make_room(text, columns_of(share)))
        put(text, LOOK_PLAIN, share);
    if (*left && make_room(text, columns_of(left)))
        put(text, LOOK_DIM, left);
    text->lines = 1;
    text->columns = width;
}

static void put_cpu(struct text *text, const char *label, uint64_t before, uint64_t now,
                    uint64_t ns)
{
    char value[32];
    snprintf(value, sizeof value, "%.0f %%", rate(before, now, ns) / 1e7);
    put_item(text, LOOK_PLAIN, label, value);
}

static void put_latency(struct text *text, const struct hist *recent)
{
    char value[32];
    if (!recent || recent->count == 0)
        return;
    put_time(value, hist_at(recent, 0.5), text->style->utf8);
    put_item(text, LOOK_STRONG, "p50", value);
    put_time(value, hist_at(recent, 0.99), text->style->utf8);
    put_item(text, LOOK_STRONG, "p99", value);
}

/* What is wrong comes first, so that it is seen on any width. */
static void put_verdict(struct text *text, const struct live_numbers *now, bool wrong)
{
    const struct {
        const char *label;
        uint64_t count;
        bool always;
    } rows[] = {
        {"broken", now->broken, now->sent > 0},
        {"lost", now->lost, now->sent > 0},
        {"connections lost", now->connections_lost, false},
        {"unknown", now->unknown, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (wrong ? rows[i].count > 0 : rows[i].count == 0 && rows[i].always)
            put_total(text, rows[i].label, rows[i].count);
}

/* Exactly: of a million one may be missing. */
static void put_online(struct text *text, const struct live_numbers *now)
{
    char value[64];
    size_t len = (size_t)snprintf(value, sizeof value, "%llu", (unsigned long long)now->online);
    if (now->online < now->users)
        snprintf(value + len, sizeof value - len, " of %llu", (unsigned long long)now->users);
    if (now->users > 0)
        put_item(text, LOOK_PLAIN, "online", value);
}

/* What stands on it from now on does not jump about with the width of what is before. */
static void put_next_line(struct text *text)
{
    if (text->lines < LINES_MAX && text->columns < text->style->width)
        text->columns = text->style->width;
}

size_t live_text(char out[LIVE_TEXT_MAX], const struct live_numbers *before,
                 const struct live_numbers *now, const struct hist *recent,
                 const struct live_style *given)
{
    struct live_style style = *given;
    style.width = style.width < WIDTH_MIN   ? WIDTH_MIN
                  : style.width > WIDTH_MAX ? WIDTH_MAX
                                            : style.width;
    struct text text = {.out = out, .lines = 1, .style = &style};
    uint64_t ns = now->now_ns - before->now_ns;
    out[0] = 0;
    put_head(&text, now);
    put_verdict(&text, now, true);
    put_online(&text, now);
    if (now->logins > before->logins || (now->online < now->users && now->sent == 0))
        put_rate(&text, "logins", before->logins, now->logins, ns);
    /* Also when nothing moves any more. */
    if (now->sent > 0) {
        put_rate(&text, "sent", before->sent, now->sent, ns);
        put_rate(&text, "delivered", before->delivered, now->delivered, ns);
    }
    put_next_line(&text);
    put_latency(&text, recent);
    if (now->has_server_cpu)
        put_cpu(&text, "servers", before->server_cpu_ns, now->server_cpu_ns, ns);
    put_cpu(&text, "generator", before->own_cpu_ns, now->own_cpu_ns, ns);
    put_verdict(&text, now, false);
    return text.len;
}

/* --- the terminal ----------------------------------------------------------------------------- */

struct sample {
    struct live_numbers numbers;
    struct hist latency; /* as it was then */
};

struct live {
    struct live_style style;
    uint32_t lines; /* that stand on the screen */
    uint32_t count; /* samples taken */
    struct sample samples[SAMPLES];
    struct hist recent;
};

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT};
#define ENDING (sizeof ending / sizeof *ending)

/* Nothing is to be looked up here, so it needs no memory: the text is always the same. */
static void give_back(int signal_number)
{
    static const char text[] = "\n" SHOW_CURSOR;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    /* When it goes on the next drawing hides the cursor again. */
    raise(signal_number == SIGTSTP ? SIGSTOP : signal_number);
}

/* Only signals that nobody else waits for. */
static void watch_for(int number, int flags)
{
    struct sigaction old, new = {.sa_handler = give_back, .sa_flags = flags};
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        sigaction(number, &new, NULL);
}

static void leave(int number)
{
    struct sigaction old, new = {.sa_handler = SIG_DFL};
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == give_back)
        sigaction(number, &new, NULL);
}

struct live *live_open(bool wanted)
{
    const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    if (!wanted || !isatty(STDERR_FILENO) || !terminal || strcmp(terminal, "dumb") == 0)
        return NULL;
    struct live *live = calloc(1, sizeof *live);
    assert(live != NULL);
    setlocale(LC_CTYPE, "");
    live->style.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    live->style.colour = !no_colour || !*no_colour;
    for (size_t i = 0; i < ENDING; i++)
        watch_for(ending[i], (int)SA_RESETHAND);
    watch_for(SIGTSTP, SA_RESTART);
    return live;
}

static void draw(const char *text)
{
    /* One write, so that nothing is seen half done; a terminal that takes only a part of it is
     * drawn anew a tenth of a second later. */
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static uint32_t width_of_terminal(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    /* The last column stays free: some terminals go to the next line at once. */
    return size.ws_col - 1u;
}

/* To the first column of the first line of what was drawn. */
static void go_back(struct live *live, char out[32])
{
    if (live->lines > 1)
        snprintf(out, 32, "\r\033[%uA", live->lines - 1);
    else
        strcpy(out, "\r");
}

static void redraw(struct live *live, const struct sample *before, const struct sample *now)
{
    char text[LIVE_TEXT_MAX], screen[LIVE_TEXT_MAX + 128], back[32];
    live->style.width = width_of_terminal();
    live_text(text, &before->numbers, &now->numbers, &live->recent, &live->style);
    go_back(live, back);
    size_t len = (size_t)snprintf(screen, sizeof screen, HIDE_CURSOR "%s", back);
    live->lines = 1;
    for (const char *line = text; *line;) {
        size_t end = strcspn(line, "\n");
        bool more = line[end] == '\n';
        len += (size_t)snprintf(screen + len, sizeof screen - len, "%.*s" CLEAR_REST_OF_LINE "%s",
                                (int)end, line, more ? "\n" : "");
        live->lines += more;
        line += end + more;
    }
    snprintf(screen + len, sizeof screen - len, CLEAR_REST_OF_SCREEN);
    draw(screen);
}

/* What came between two looks at a histogram that may have been cleared. */
static void between(struct hist *out, const struct hist *before, const struct hist *now)
{
    bool anew = now->count < before->count;
    hist_clear(out);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        /* It may be read while others write it. */
        uint64_t was = anew || before->buckets[i] > now->buckets[i] ? 0 : before->buckets[i];
        out->buckets[i] = now->buckets[i] - was;
        out->count += out->buckets[i];
    }
    out->max = now->max;
}

void live_show(struct live *live, const struct live_numbers *now)
{
    if (!live)
        return;
    const struct sample *last = &live->samples[(live->count + SAMPLES - 1) % SAMPLES];
    if (live->count > 0 && now->now_ns - last->numbers.now_ns < EACH_NS)
        return;
    struct sample sample = {.numbers = *now};
    if (now->latency)
        sample.latency = *now->latency;
    /* The one that will be replaced is the oldest there is. */
    const struct sample *oldest = &live->samples[live->count < SAMPLES ? 0 : live->count % SAMPLES];
    if (live->count == 0)
        oldest = &sample;
    between(&live->recent, &oldest->latency, &sample.latency);
    redraw(live, oldest, &sample);
    live->samples[live->count++ % SAMPLES] = sample;
}

void live_close(struct live *live)
{
    if (!live)
        return;
    char back[32], text[64];
    go_back(live, back);
    snprintf(text, sizeof text, "%s" CLEAR_REST_OF_SCREEN SHOW_CURSOR, back);
    draw(text);
    for (size_t i = 0; i < ENDING; i++)
        leave(ending[i]);
    leave(SIGTSTP);
    free(live);
}
