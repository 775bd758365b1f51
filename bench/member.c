#include "bench/member.h"

#include "bench/team_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void publish(struct member *member)
{
    struct desk *desk = &member->team->desks[member->index];
    uint64_t words[TEAM_COUNTS_WORDS];
    memcpy(words, &member->counts, sizeof words);
    for (size_t i = 0; i < TEAM_COUNTS_WORDS; i++)
        atomic_store_explicit(&desk->counts[i], words[i], memory_order_relaxed);
}

bool member_turn(struct member *member)
{
    struct team *team = member->team;
    struct desk *desk = &team->desks[member->index];
    atomic_store_explicit(&desk->asleep, 0, memory_order_relaxed);
    publish(member);
    uint64_t edition = atomic_load_explicit(&team->board->edition, memory_order_acquire);
    if (edition == atomic_load_explicit(&desk->seen, memory_order_relaxed))
        return false;
    member->now = team->board->now;
    atomic_store_explicit(&desk->seen, edition, memory_order_release);
    return true;
}

void member_say(struct member *member, enum team_stand stand)
{
    struct desk *desk = &member->team->desks[member->index];
    publish(member);
    if (atomic_load_explicit(&desk->stand, memory_order_relaxed) != TEAM_FAILED)
        atomic_store_explicit(&desk->stand, stand, memory_order_release);
}

void member_fail(struct member *member, const char *format, ...)
{
    struct desk *desk = &member->team->desks[member->index];
    va_list args;
    if (atomic_load_explicit(&desk->stand, memory_order_relaxed) == TEAM_FAILED)
        return;
    va_start(args, format);
    vsnprintf(desk->why, sizeof desk->why, format, args);
    va_end(args);
    member_say(member, TEAM_FAILED);
}

uint64_t member_run(const struct member *member)
{
    return member->team->run;
}

struct hist *member_window(struct member *member, uint64_t due_ns)
{
    const struct team_now *now = &member->now;
    if (now->window == TEAM_NO_WINDOW)
        return NULL;
    for (uint32_t back = 0; back < 2 && back <= now->window; back++)
        if (due_ns >= now->began_ns[back])
            return due_ns < now->ended_ns[back] ? &member->windows[now->window - back] : NULL;
    return NULL;
}

uint64_t member_gid(const struct member *member, uint32_t user)
{
    return atomic_load_explicit(&member->team->gids[user], memory_order_relaxed);
}

void member_set_gid(struct member *member, uint32_t user, uint64_t gid)
{
    assert(user < member->team->shape.users + member->team->shape.gone);
    atomic_store_explicit(&member->team->gids[user], gid, memory_order_relaxed);
}

void member_set_where(struct member *member, uint32_t user, uint8_t server)
{
    assert(user < member->team->shape.users);
    atomic_store_explicit(&member->team->where[user], server, memory_order_relaxed);
}

uint32_t member_of(const struct member *member, uint32_t user)
{
    const struct team_shape *shape = &member->team->shape;
    assert(user < shape->users);
    if (shape->members == 1)
        return 0;
    return (uint32_t)((((uint64_t)user + 1) * shape->members - 1) / shape->users);
}

_Atomic uint64_t *member_slots(const struct member *member, uint32_t index)
{
    assert(index < member->team->shape.members);
    return &member->team->slots[(size_t)index * member->team->shape.member_slots];
}

/* --- mail ------------------------------------------------------------------------------------- */

static bool put(struct desk *desk, const struct member_note *note)
{
    uint32_t at = atomic_load_explicit(&desk->mail_in, memory_order_relaxed);
    for (;;) {
        struct cell *cell = &desk->mail[at % TEAM_MAIL_CELLS];
        uint32_t turn = atomic_load_explicit(&cell->turn, memory_order_acquire);
        if (turn == at) {
            if (!atomic_compare_exchange_weak_explicit(&desk->mail_in, &at, at + 1,
                                                       memory_order_relaxed, memory_order_relaxed))
                continue;
            cell->note = *note;
            atomic_store_explicit(&cell->turn, at + 1, memory_order_release);
            return true;
        }
        if ((int32_t)(turn - at) < 0)
            return false; /* full */
        at = atomic_load_explicit(&desk->mail_in, memory_order_relaxed);
    }
}

void member_post(struct member *member, uint32_t to, const struct member_note *note)
{
    struct team *team = member->team;
    team->post[to] = true;
    if (team->pending_count == 0 && put(&team->desks[to], note))
        return;
    if (team->pending_count == team->pending_room) {
        team->pending_room = team->pending_room ? team->pending_room * 2 : 256;
        team->pending = realloc(team->pending, team->pending_room * sizeof *team->pending);
        assert(team->pending != NULL);
    }
    team->pending[team->pending_count++] = (struct pending){*note, to};
}

bool member_take(struct member *member, struct member_note *note)
{
    struct desk *desk = &member->team->desks[member->index];
    struct cell *cell = &desk->mail[desk->mail_out % TEAM_MAIL_CELLS];
    if (atomic_load_explicit(&cell->turn, memory_order_acquire) != desk->mail_out + 1)
        return false;
    *note = cell->note;
    atomic_store_explicit(&cell->turn, desk->mail_out + TEAM_MAIL_CELLS, memory_order_release);
    desk->mail_out++;
    return true;
}

void member_wake_others(struct member *member)
{
    struct team *team = member->team;
    uint32_t left = 0;
    for (uint32_t i = 0; i < team->pending_count; i++) {
        struct pending pending = team->pending[i];
        if (!put(&team->desks[pending.to], &pending.note))
            team->pending[left++] = pending;
        team->post[pending.to] = true;
    }
    team->pending_count = left;
    /* What was put is seen by whoever says afterwards that he goes to sleep. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t m = 0; m < team->shape.members; m++) {
        if (!team->post[m])
            continue;
        team->post[m] = false;
        if (atomic_exchange_explicit(&team->desks[m].asleep, 0, memory_order_acq_rel))
            team_wake(team, m);
    }
}

bool member_may_sleep(struct member *member)
{
    struct desk *desk = &member->team->desks[member->index];
    const struct cell *cell = &desk->mail[desk->mail_out % TEAM_MAIL_CELLS];
    atomic_store_explicit(&desk->asleep, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return member->team->pending_count == 0 &&
           atomic_load_explicit(&cell->turn, memory_order_acquire) != desk->mail_out + 1;
}
