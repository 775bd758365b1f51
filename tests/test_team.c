/* Real processes: what a member finds wrong it says by failing, and the parent judges. */
#include "bench/member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define MEMBERS 3u
#define USERS 1000u
#define GONE 7u
#define NOTES 20000u /* more than a mailbox holds */
#define LONG_MS 60000u

static const struct options options = {.workload = "test"};
static const struct team_shape shape = {
    .members = MEMBERS, .users = USERS, .gone = GONE, .member_slots = 8};

static struct team *start(void (*run)(struct member *member))
{
    struct team *team = team_new(&shape, &options);
    team_start(team, run);
    return team;
}

static void finish(struct team *team)
{
    team_end(team);
    team_free(team);
}

static void set(struct team *team, enum team_phase phase)
{
    struct team_now now = *team_now(team);
    now.phase = phase;
    assert_true(team_set(team, &now));
}

static void turns_until_done(struct member *member)
{
    while (member->now.phase != TEAM_DONE) {
        (void)member_turn(member);
        usleep(100);
    }
}

/* ---- members ---- */

static void claim_users(struct member *member)
{
    for (uint32_t user = member->first; user < member->first + member->users; user++) {
        if (member_of(member, user) != member->index)
            member_fail(member, "user %u is not mine", user);
        member_set_gid(member, user, member_gid(member, user) + 1);
    }
    for (uint32_t user = member->gone_first; user < member->gone_first + member->gone; user++)
        member_set_gid(member, user, member_gid(member, user) + 1);
    member_say(member, TEAM_LOGGED_IN);
    while (member->now.phase == TEAM_LOGIN)
        (void)member_turn(member);
    for (uint32_t user = 0; user < USERS + GONE; user++)
        if (member_gid(member, user) != 1)
            member_fail(member, "user %u was claimed %d times", user,
                        (int)member_gid(member, user));
    if (member->users < USERS / MEMBERS || member->users > USERS / MEMBERS + 1)
        member_fail(member, "%u users are not an even share", member->users);
    member_say(member, TEAM_DRAINED);
    turns_until_done(member);
}

static void count(struct member *member)
{
    member->counts.referee.sent = 1 + member->index;
    member->counts.starved = 10;
    hist_add(&member->windows[2], 100 * (1 + member->index));
    hist_add(&member->hists[TEAM_LATE], 7);
    member_say(member, TEAM_LOGGED_IN);
    turns_until_done(member);
}

/* Each sends to both others, and waits for what they send. */
static void write_notes(struct member *member)
{
    uint32_t came = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < NOTES; i++)
        for (uint32_t to = 0; to < MEMBERS; to++)
            if (to != member->index)
                member_post(member, to, &(struct member_note){.number = i, .kind = 1});
    while (came < NOTES * (MEMBERS - 1)) {
        struct member_note note;
        (void)member_turn(member);
        member_wake_others(member);
        while (member_take(member, &note)) {
            came++;
            sum += note.number;
        }
    }
    if (sum != (uint64_t)NOTES * (NOTES - 1) / 2 * (MEMBERS - 1))
        member_fail(member, "the wrong notes came");
    /* Others may still wait for notes of ours that did not fit at once. */
    while (member->now.phase == TEAM_LOGIN) {
        member_say(member, member_may_sleep(member) ? TEAM_LOGGED_IN : TEAM_BUSY);
        (void)member_turn(member);
        member_wake_others(member);
    }
    turns_until_done(member);
}

static void follow(struct member *member)
{
    while (member->now.phase != TEAM_DONE)
        if (member_turn(member) && member->now.phase == TEAM_MEASURE) {
            bool right = member_window(member, 99) == NULL &&
                         member_window(member, 100) == &member->windows[4] &&
                         member_window(member, 199) == &member->windows[4] &&
                         member_window(member, 200) == NULL &&
                         member_window(member, 300) == &member->windows[5];
            if (!right)
                member_fail(member, "not that window");
            member_say(member, TEAM_DRAINED);
        }
}

static void die_at_warmup(struct member *member)
{
    while (member->now.phase == TEAM_LOGIN)
        (void)member_turn(member);
    if (member->index == 1)
        abort();
    turns_until_done(member);
}

static void leave_early(struct member *member)
{
    if (member->index != 2)
        turns_until_done(member);
}

static void fail_twice(struct member *member)
{
    if (member->index == 0) {
        member_fail(member, "the %s reason", "first");
        member_fail(member, "the second");
    }
    turns_until_done(member);
}

/* ---- claims ---- */

static void users_are_split_evenly_and_belong_to_one_member_each(void **state)
{
    (void)state;
    struct team *team = start(claim_users);
    assert_int_equal(team_watch(team, TEAM_LOGGED_IN, LONG_MS), TEAM_ALL);
    set(team, TEAM_WARMUP);
    assert_int_equal(team_watch(team, TEAM_DRAINED, LONG_MS), TEAM_ALL);
    finish(team);
}

static void counts_and_histograms_are_those_of_all(void **state)
{
    (void)state;
    struct team *team = start(count);
    struct team_counts sum;
    struct hist *hist = calloc(1, sizeof *hist);
    assert_non_null(hist);
    assert_int_equal(team_watch(team, TEAM_LOGGED_IN, LONG_MS), TEAM_ALL);
    team_sum(team, &sum);
    assert_int_equal(sum.referee.sent, 1 + 2 + 3);
    assert_int_equal(sum.starved, 30);
    team_merge_window(team, 2, hist);
    assert_int_equal(hist->count, MEMBERS);
    assert_int_equal(hist->max, 300);
    hist_clear(hist);
    team_merge(team, TEAM_LATE, hist);
    assert_int_equal(hist->count, MEMBERS);
    team_clear_window(team, 2);
    hist_clear(hist);
    team_merge_window(team, 2, hist);
    assert_int_equal(hist->count, 0);
    free(hist);
    finish(team);
}

static void notes_beyond_what_a_mailbox_holds_all_arrive(void **state)
{
    (void)state;
    struct team *team = start(write_notes);
    assert_int_equal(team_watch(team, TEAM_LOGGED_IN, LONG_MS), TEAM_ALL);
    set(team, TEAM_WARMUP);
    finish(team);
}

static void a_message_counts_in_the_window_in_which_it_was_due(void **state)
{
    (void)state;
    struct team *team = start(follow);
    const struct team_now now = {
        .phase = TEAM_MEASURE, .window = 5, .began_ns = {300, 100}, .ended_ns = {UINT64_MAX, 200}};
    assert_true(team_set(team, &now));
    assert_int_equal(team_watch(team, TEAM_DRAINED, LONG_MS), TEAM_ALL);
    finish(team);
}

static void a_member_that_dies_breaks_the_run(void **state)
{
    (void)state;
    struct team *team = start(die_at_warmup);
    struct team_now now = *team_now(team);
    now.phase = TEAM_WARMUP;
    (void)!team_set(team, &now);
    assert_int_equal(team_watch(team, TEAM_BUSY, LONG_MS), TEAM_BROKE);
    assert_non_null(strstr(team_why(team), "signal 6"));
    finish(team);
}

static void so_does_one_that_leaves_before_it_is_over(void **state)
{
    (void)state;
    struct team *team = start(leave_early);
    assert_int_equal(team_watch(team, TEAM_LOGGED_IN, LONG_MS), TEAM_BROKE);
    assert_non_null(strstr(team_why(team), "before the run was over"));
    finish(team);
}

static void the_first_reason_of_a_failure_is_told(void **state)
{
    (void)state;
    struct team *team = start(fail_twice);
    assert_int_equal(team_watch(team, TEAM_LOGGED_IN, LONG_MS), TEAM_BROKE);
    assert_string_equal(team_why(team), "the first reason");
    finish(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_split_evenly_and_belong_to_one_member_each),
        cmocka_unit_test(counts_and_histograms_are_those_of_all),
        cmocka_unit_test(notes_beyond_what_a_mailbox_holds_all_arrive),
        cmocka_unit_test(a_message_counts_in_the_window_in_which_it_was_due),
        cmocka_unit_test(a_member_that_dies_breaks_the_run),
        cmocka_unit_test(so_does_one_that_leaves_before_it_is_over),
        cmocka_unit_test(the_first_reason_of_a_failure_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
