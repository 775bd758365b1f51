#include "bench/team.h"

#include "base/log.h"
#include "base/rand.h"
#include "bench/cost.h"
#include "bench/member.h"
#include "bench/team_table.h"
#include "bench/workload.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SET_WAIT_MS 60000u
#define END_WAIT_MS 2000u
#define WATCH_EACH_MS 100u

/* --- the mapping ------------------------------------------------------------------------------ */

static size_t aligned(size_t len)
{
    return (len + 63) & ~(size_t)63;
}

struct team *team_new(const struct team_shape *shape, const struct options *options)
{
    struct team *team = calloc(1, sizeof *team);
    assert(team != NULL && shape->members > 0 && shape->members <= TEAM_MEMBERS_MAX);
    size_t people = (size_t)shape->users + shape->gone;
    size_t board = aligned(sizeof *team->board),
           desks = aligned(shape->members * sizeof *team->desks);
    size_t gids = aligned(people * sizeof *team->gids), where = aligned(shape->users);
    size_t slots = (size_t)shape->members * shape->member_slots * sizeof *team->slots;
    team->shape = *shape;
    team->options = options;
    team->run = rand_u64();
    team->mapping_len = board + desks + gids + where + slots;
    /* Most of it is never touched. */
    team->mapping = mmap(NULL, team->mapping_len, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (team->mapping == MAP_FAILED)
        log_die("no %zu MiB of memory to share: %s", team->mapping_len >> 20, strerror(errno));
    uint8_t *at = team->mapping;
    team->board = (void *)at;
    team->desks = (void *)(at + board);
    team->gids = (void *)(at + board + desks);
    team->where = (void *)(at + board + desks + gids);
    team->slots = (void *)(at + board + desks + gids + where);
    for (uint32_t i = 0; i < shape->users; i++)
        atomic_init(&team->where[i], TEAM_NOWHERE);
    for (uint32_t m = 0; m < shape->members; m++) {
        for (uint32_t i = 0; i < TEAM_MAIL_CELLS; i++)
            atomic_init(&team->desks[m].mail[i].turn, i);
        team->wake_fd[m] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (team->wake_fd[m] < 0)
            log_die("no event descriptor: %s", strerror(errno));
    }
    team->now.window = team->board->now.window = TEAM_NO_WINDOW;
    return team;
}

void team_free(struct team *team)
{
    if (team == NULL)
        return;
    for (uint32_t m = 0; m < team->shape.members; m++)
        close(team->wake_fd[m]);
    munmap(team->mapping, team->mapping_len);
    free(team->pending);
    free(team);
}

const struct team_shape *team_shape(const struct team *team)
{
    return &team->shape;
}

/* The first of `all` that is part `index` of `parts`. */
static uint32_t split(uint32_t all, uint32_t index, uint32_t parts)
{
    return (uint32_t)((uint64_t)all * index / parts);
}

/* --- the parent: processes -------------------------------------------------------------------- */

__attribute__((noreturn)) static void be_member(struct team *team, uint32_t index, pid_t parent,
                                                void (*run)(struct member *member))
{
    const struct team_shape *shape = &team->shape;
    sigset_t none;
    /* The parent ends us: also when it is interrupted, and when it dies. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(WORKLOAD_FAILED);
    prctl(PR_SET_TIMERSLACK, 1UL);
    struct member *member = calloc(1, sizeof *member);
    assert(member != NULL);
    member->team = team;
    member->options = team->options;
    member->index = index;
    member->first = split(shape->users, index, shape->members);
    member->users = split(shape->users, index + 1, shape->members) - member->first;
    member->gone_first = shape->users + split(shape->gone, index, shape->members);
    member->gone =
        shape->users + split(shape->gone, index + 1, shape->members) - member->gone_first;
    member->now = team->board->now;
    member->windows = team->desks[index].windows;
    member->hists = team->desks[index].hists;
    member->wake_fd = team->wake_fd[index];
    run(member);
    free(member);
    exit(WORKLOAD_DONE);
}

void team_start(struct team *team, void (*run)(struct member *member))
{
    sigset_t watched;
    pid_t parent = getpid();
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    fflush(NULL);
    for (uint32_t m = 0; m < team->shape.members; m++) {
        team->pids[m] = fork();
        if (team->pids[m] < 0) {
            int error = errno;
            team->pids[m] = 0;
            team_end(team);
            log_die("no process: %s", strerror(error));
        }
        if (team->pids[m] == 0)
            be_member(team, m, parent, run);
    }
}

__attribute__((format(printf, 2, 3))) static void broke(struct team *team, const char *format, ...)
{
    va_list args;
    if (team->broken)
        return;
    team->broken = true;
    va_start(args, format);
    vsnprintf(team->why, sizeof team->why, format, args);
    va_end(args);
}

/* Members that ended. None may before DONE. */
static void reap(struct team *team)
{
    for (uint32_t m = 0; m < team->shape.members; m++) {
        int status;
        if (team->pids[m] == 0 || waitpid(team->pids[m], &status, WNOHANG) != team->pids[m])
            continue;
        if (WIFSIGNALED(status))
            broke(team, "generator process %u (pid %d) was killed by signal %d", m,
                  (int)team->pids[m], WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0 || team->now.phase != TEAM_DONE)
            broke(team, "generator process %u (pid %d) ended with %d before the run was over", m,
                  (int)team->pids[m], WEXITSTATUS(status));
        team->pids[m] = 0;
    }
}

static bool all_at(struct team *team, enum team_stand stand)
{
    uint32_t there = 0;
    for (uint32_t m = 0; m < team->shape.members; m++) {
        uint32_t at = atomic_load_explicit(&team->desks[m].stand, memory_order_acquire);
        if (at == TEAM_FAILED)
            broke(team, "%.*s", (int)TEAM_WHY_SIZE - 1, team->desks[m].why);
        there += at == (uint32_t)stand;
    }
    return there == team->shape.members;
}

static uint64_t clock_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

/* Sleeps; true if SIGINT or SIGTERM came. */
static bool sleep_ms(uint64_t ms)
{
    sigset_t watched;
    struct timespec wait = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGCHLD);
    int got = sigtimedwait(&watched, NULL, &wait);
    return got == SIGINT || got == SIGTERM;
}

enum team_watched team_watch(struct team *team, enum team_stand stand, uint32_t wait_ms)
{
    uint64_t until = clock_ms() + wait_ms;
    for (;;) {
        uint64_t now = clock_ms();
        reap(team);
        bool all = all_at(team, stand);
        if (team->broken)
            return TEAM_BROKE;
        if (all && stand != TEAM_BUSY)
            return TEAM_ALL;
        if (now >= until)
            return TEAM_WAITING;
        if (sleep_ms(until - now < WATCH_EACH_MS ? until - now : WATCH_EACH_MS)) {
            broke(team, "interrupted");
            return TEAM_INTERRUPTED;
        }
    }
}

void team_wake(const struct team *team, uint32_t index)
{
    const uint64_t one = 1;
    /* It can only fail when the counter is full, and then the member is awake. */
    if (write(team->wake_fd[index], &one, sizeof one) < 0)
        assert(errno == EAGAIN);
}

const struct team_now *team_now(const struct team *team)
{
    return &team->now;
}

static bool all_have_seen(const struct team *team, uint64_t edition)
{
    for (uint32_t m = 0; m < team->shape.members; m++)
        if (team->pids[m] != 0 &&
            atomic_load_explicit(&team->desks[m].seen, memory_order_acquire) != edition)
            return false;
    return true;
}

bool team_set(struct team *team, const struct team_now *now)
{
    uint64_t until = clock_ms() + SET_WAIT_MS;
    team->now = *now;
    /* No member reads it: all have seen the edition before, or are lost. */
    team->board->now = *now;
    uint64_t edition = atomic_fetch_add_explicit(&team->board->edition, 1, memory_order_acq_rel);
    for (uint32_t m = 0; m < team->shape.members; m++)
        team_wake(team, m);
    while (!all_have_seen(team, edition + 1)) {
        reap(team);
        if (clock_ms() > until)
            broke(team, "a generator process hangs");
        if (team->broken)
            return false;
        if (sleep_ms(1)) {
            broke(team, "interrupted");
            return false;
        }
    }
    reap(team);
    (void)all_at(team, TEAM_BUSY);
    return !team->broken;
}

const char *team_why(const struct team *team)
{
    return team->why;
}

void team_end(struct team *team)
{
    uint64_t until = clock_ms() + END_WAIT_MS;
    struct team_now done = team->now;
    done.phase = TEAM_DONE;
    team->ended_cpu_ns = team_cpu_ns(team);
    if (!team->broken)
        team->broken = !team_set(team, &done);
    for (bool left = true; left;) {
        bool late = team->broken || clock_ms() > until;
        left = false;
        for (uint32_t m = 0; m < team->shape.members; m++) {
            if (team->pids[m] == 0)
                continue;
            if (late)
                kill(team->pids[m], SIGKILL);
            if (waitpid(team->pids[m], NULL, late ? 0 : WNOHANG) == team->pids[m])
                team->pids[m] = 0;
            else
                left = true;
        }
        if (left)
            (void)sleep_ms(10);
    }
}

/* --- the parent: numbers ---------------------------------------------------------------------- */

void team_sum(const struct team *team, struct team_counts *sum)
{
    uint64_t words[TEAM_COUNTS_WORDS] = {0};
    for (uint32_t m = 0; m < team->shape.members; m++)
        for (size_t i = 0; i < TEAM_COUNTS_WORDS; i++)
            words[i] += atomic_load_explicit(&team->desks[m].counts[i], memory_order_relaxed);
    memcpy(sum, words, sizeof words);
}

void team_merge_window(const struct team *team, uint32_t window, struct hist *into)
{
    assert(window < TEAM_WINDOWS_MAX);
    for (uint32_t m = 0; m < team->shape.members; m++)
        hist_merge(into, &team->desks[m].windows[window]);
}

void team_merge(const struct team *team, enum team_hist which, struct hist *into)
{
    for (uint32_t m = 0; m < team->shape.members; m++)
        hist_merge(into, &team->desks[m].hists[which]);
}

void team_clear_window(struct team *team, uint32_t window)
{
    assert(window < TEAM_WINDOWS_MAX);
    for (uint32_t m = 0; m < team->shape.members; m++)
        hist_clear(&team->desks[m].windows[window]);
}

uint64_t team_cpu_ns(const struct team *team)
{
    uint64_t sum = 0;
    for (uint32_t m = 0; m < team->shape.members; m++)
        if (team->pids[m] != 0)
            sum += cost_process_cpu_ns(team->pids[m]);
    return sum > team->ended_cpu_ns ? sum : team->ended_cpu_ns;
}

uint64_t team_resident(const struct team *team)
{
    uint64_t sum = 0;
    for (uint32_t m = 0; m < team->shape.members; m++)
        if (team->pids[m] != 0)
            sum += cost_process_share(team->pids[m]);
    return sum;
}

uint8_t team_where(const struct team *team, uint32_t user)
{
    assert(user < team->shape.users);
    return atomic_load_explicit(&team->where[user], memory_order_relaxed);
}
