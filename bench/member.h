/* member: one generator process of a team (bench/team.h), seen from within. */
#ifndef BENCH_MEMBER_H
#define BENCH_MEMBER_H

#include "bench/team.h"

#include <stdatomic.h>

/* Plain fields, the member's own. */
struct member {
    struct team *team;
    const struct options *options;
    uint32_t index;               /* 0 to members - 1 */
    uint32_t first, users;        /* its users */
    uint32_t gone_first, gone;    /* its gone ones: numbers of all users and more */
    struct team_now now;          /* as of the last member_turn */
    struct team_counts counts;    /* its own */
    struct hist *windows, *hists; /* TEAM_WINDOWS_MAX; by enum team_hist */
    int wake_fd;                  /* readable when there is mail, or something was set */
};

/* At the beginning of each turn: reads what the parent has set (true if it is new) and publishes
 * the counts. */
bool member_turn(struct member *member);
/* What tells the bodies of this run from those of others. */
uint64_t member_run(const struct member *member);
void member_say(struct member *member, enum team_stand stand);
/* The first reason stays. */
__attribute__((format(printf, 2, 3))) void member_fail(struct member *member, const char *format,
                                                       ...);
/* The histogram of the window in which a message was due; NULL: of none. */
struct hist *member_window(struct member *member, uint64_t due_ns);

/* By the number of a user or gone one, of any member; 0: not yet known. */
uint64_t member_gid(const struct member *member, uint32_t user);
void member_set_gid(struct member *member, uint32_t user, uint64_t gid);
void member_set_where(struct member *member, uint32_t user, uint8_t server);
/* The member that a user belongs to. */
uint32_t member_of(const struct member *member, uint32_t user);

/* The slots of messages in flight of member `index`: see bench/book.h. */
_Atomic uint64_t *member_slots(const struct member *member, uint32_t index);

/* A note to another member. Goes at once if there is room, else at one of the next turns; the other
 * one is woken at the end of the turn, once for all notes to it. */
struct member_note {
    uint64_t number;
    uint32_t kind, device;
};
void member_post(struct member *member, uint32_t to, const struct member_note *note);
/* False when there is none left. */
MUST_CHECK bool member_take(struct member *member, struct member_note *note);
/* At the end of a turn: wakes those who sleep and have got notes. */
void member_wake_others(struct member *member);
/* Before a wait: false if it must not be one, for there is mail. */
MUST_CHECK bool member_may_sleep(struct member *member);

#endif
