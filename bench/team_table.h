/* team_table: what parent and members share, for team.c and member.c alone. */
#ifndef BENCH_TEAM_TABLE_H
#define BENCH_TEAM_TABLE_H

#include "bench/member.h"
#include "bench/team.h"

#define TEAM_MAIL_CELLS 4096u
#define TEAM_COUNTS_WORDS (sizeof(struct team_counts) / sizeof(uint64_t))

/* A bounded queue of many producers and one consumer (Vyukov): a cell's `turn` says whose it is. */
struct cell {
    _Atomic uint32_t turn;
    struct member_note note;
};

/* What one member shows to the others. */
struct desk {
    _Alignas(64) _Atomic uint64_t seen; /* the last `edition` that was read */
    _Atomic uint32_t stand;
    _Atomic uint32_t asleep; /* it waits, and wants to be woken for mail */
    _Atomic uint64_t counts[TEAM_COUNTS_WORDS];
    char why[TEAM_WHY_SIZE]; /* before `stand` says that it failed */
    _Alignas(64) _Atomic uint32_t mail_in;
    _Alignas(64) uint32_t mail_out; /* its own */
    struct cell mail[TEAM_MAIL_CELLS];
    struct hist hists[TEAM_HISTS], windows[TEAM_WINDOWS_MAX];
};

struct board {
    _Atomic uint64_t edition; /* grows with each change of `now`, after it */
    struct team_now now;
};

struct pending {
    struct member_note note;
    uint32_t to;
};

struct team {
    struct team_shape shape;
    const struct options *options;
    uint64_t run;
    void *mapping;
    size_t mapping_len;
    struct board *board;
    struct desk *desks;
    _Atomic uint64_t *gids;
    _Atomic uint8_t *where;
    _Atomic uint64_t *slots;
    int wake_fd[TEAM_MEMBERS_MAX];
    /* The parent's. */
    pid_t pids[TEAM_MEMBERS_MAX]; /* 0: ended */
    struct team_now now;
    uint64_t ended_cpu_ns;
    bool broken;
    char why[TEAM_WHY_SIZE];
    /* A member's. */
    bool post[TEAM_MEMBERS_MAX]; /* has got notes in this turn */
    struct pending *pending;
    uint32_t pending_count, pending_room;
};

/* Makes a member's wake_fd readable. */
void team_wake(const struct team *team, uint32_t index);

#endif
