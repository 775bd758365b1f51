/* team: the processes of a run, and the memory they share: one mapping, made before they are
 * forked.
 *
 *     parent    team_new, team_start, then team_set and team_watch ..., team_end
 *     member    reads what the parent has set once a turn (member_now), writes its own numbers, and
 *               says where it stands (member_say; bench/member.h)
 *
 * Users are numbered over all members, split evenly: member m has those from first to first + users
 * - 1. Behind the users come the gone ones (--offline-share): each logs in once, leaves, and is
 * written to afterwards; they are split in the same way.
 *
 * Whatever is in the mapping has one writer: the parent, or one member. The exceptions are atomic:
 * slots of messages in flight (bench/book.h) and the members' mail.
 */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include "bench/hist.h"
#include "bench/options.h"
#include "bench/referee.h"

#define TEAM_MEMBERS_MAX 256u
/* Measuring windows of a run; each has a histogram of its own in each member. */
#define TEAM_WINDOWS_MAX 64u
#define TEAM_NO_WINDOW UINT32_MAX
#define TEAM_WHY_SIZE 640u
#define TEAM_NOWHERE UINT8_MAX

/* LOGIN: all users log in, the gone ones leave. WARMUP, MEASURE: messages are sent, if the workload
 * sends any. DRAIN: none are sent any more, those on their way come to their end. AGAIN: each
 * leaves and logs in again, once. DONE: leave. */
enum team_phase { TEAM_LOGIN, TEAM_WARMUP, TEAM_MEASURE, TEAM_DRAIN, TEAM_AGAIN, TEAM_DONE };

/* Where a member stands: what the phase asks for is done (all logged in; nothing on its way; all
 * in again), or it can go no further and says why. */
enum team_stand { TEAM_BUSY, TEAM_LOGGED_IN, TEAM_DRAINED, TEAM_IN_AGAIN, TEAM_FAILED };

struct team;
struct member;

/* --- the parent ------------------------------------------------------------------------------- */

struct team_shape {
    uint32_t members;
    uint32_t users, gone;  /* of all members */
    uint32_t member_slots; /* messages that a member can have in flight */
};

/* What the parent sets for all: written by it alone, seen by each member at its next turn. */
struct team_now {
    enum team_phase phase;
    uint32_t window;      /* TEAM_NO_WINDOW: none is open */
    double rate;          /* messages a second of all members together; 0: closed loop */
    uint64_t began_ns[2]; /* of this window and the one before it: a message counts in the window */
    uint64_t ended_ns[2]; /* in which it was due */
};

/* The sums over all members. */
struct team_counts {
    struct referee_counts referee;
    uint64_t online, lost, logins; /* connections; lost: ended after their login */
    uint64_t by_ticket, no_ticket; /* of the logins; and tickets that were refused */
    uint64_t refused;              /* logins, as BUSY: tried again */
    uint64_t back;                 /* came back after having been lost */
    uint64_t starved;              /* sends that were put off since all slots were taken */
    uint64_t not_sent;             /* due when the open loop ended, and dropped */
};

/* Dies if there is not enough memory. */
struct team *team_new(const struct team_shape *shape, const struct options *options);
void team_free(struct team *team);
/* Forks; in each member `run` is called, and the process ends when it returns. */
void team_start(struct team *team, void (*run)(struct member *member));

const struct team_shape *team_shape(const struct team *team);
const struct team_now *team_now(const struct team *team);
/* Changes what is set, and waits until all members have seen it. False if one is gone or failed. */
MUST_CHECK bool team_set(struct team *team, const struct team_now *now);

enum team_watched {
    TEAM_WAITING,     /* the time is over */
    TEAM_ALL,         /* all members stand at `stand` */
    TEAM_BROKE,       /* one failed or died: team_why says how */
    TEAM_INTERRUPTED, /* SIGINT or SIGTERM */
};
/* Until all stand there, at most so long. TEAM_BUSY for `stand`: for just that long. */
MUST_CHECK enum team_watched team_watch(struct team *team, enum team_stand stand, uint32_t wait_ms);
const char *team_why(const struct team *team);

void team_sum(const struct team *team, struct team_counts *sum);
/* Adds a window's histograms, or those of how late the generators were, of logins, of coming back,
 * and, if users come back, of messages between those who never had to. */
enum team_hist { TEAM_LATE, TEAM_LOGINS, TEAM_BACK, TEAM_STAYED, TEAM_HISTS };
void team_merge_window(const struct team *team, uint32_t window, struct hist *into);
void team_merge(const struct team *team, enum team_hist which, struct hist *into);
void team_clear_window(struct team *team, uint32_t window);

/* CPU time and memory (shared pages counted once) of all members. */
uint64_t team_cpu_ns(const struct team *team);
uint64_t team_resident(const struct team *team);
/* The server that a user's first connection is on: its number in --servers, or TEAM_NOWHERE. */
uint8_t team_where(const struct team *team, uint32_t user);

/* Ends all members that are left, and waits for them. */
void team_end(struct team *team);

#endif
