/* What is said of a delivery by itself: fine, altered, foreign, misrouted, a replay. */
#include "bench/judge.h"

#include "proto/gid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define USERS 4u
#define LEN 100u

struct stage {
    struct options options;
    struct team *team;
    struct member member;
    struct judge judge;
    struct referee_stamp stamp; /* user 1 writes to user 2 */
    uint8_t body[LEN];
    struct hot_deliver deliver;
};

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    stage->options.target = target_find("lahar");
    stage->options.device = "bench";
    stage->options.devices = 2;
    stage->options.message_class = HOT_CONFIRMED;
    const struct team_shape shape = {.members = 1, .users = USERS, .member_slots = 8};
    stage->team = team_new(&shape, &stage->options);
    stage->member.team = stage->team;
    stage->member.options = &stage->options;
    for (uint32_t user = 0; user < USERS; user++)
        member_set_gid(&stage->member, user, 1000 + user);
    judge_init(&stage->judge, &stage->member);
    stage->stamp = (struct referee_stamp){member_run(&stage->member), 7, 1, 1, 2};
    referee_write(stage->body, LEN, &stage->stamp);
    stage->deliver.from = 1001;
    stage->deliver.dseq = 1;
    stage->deliver.class = HOT_CONFIRMED;
    stage->deliver.body = span_of(stage->body, LEN);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    team_free(stage->team);
    free(stage);
    return 0;
}

static enum judge_verdict heard_by(const struct stage *stage, uint32_t user)
{
    struct referee_stamp stamp;
    return judge_deliver(&stage->judge, user, &stage->deliver, &stamp);
}

static void what_was_written_to_him_is_fine_and_to_another_misrouted(void **state)
{
    const struct stage *stage = *state;
    assert_int_equal(heard_by(stage, 2), JUDGE_FINE);
    assert_int_equal(heard_by(stage, 3), JUDGE_MISROUTED);
}

static void another_body_class_or_sender_is_an_alteration(void **state)
{
    struct stage *stage = *state;
    stage->body[LEN - 1] ^= 1;
    assert_int_equal(heard_by(stage, 2), JUDGE_ALTERED);
    stage->body[LEN - 1] ^= 1;
    stage->deliver.class = HOT_EPHEMERAL;
    assert_int_equal(heard_by(stage, 2), JUDGE_ALTERED);
    stage->deliver.class = HOT_CONFIRMED;
    stage->deliver.from = 1003;
    assert_int_equal(heard_by(stage, 2), JUDGE_ALTERED);
}

static void what_nobody_of_this_run_wrote_is_foreign_or_altered(void **state)
{
    struct stage *stage = *state;
    stage->stamp.run++;
    referee_write(stage->body, LEN, &stage->stamp);
    assert_int_equal(heard_by(stage, 2), JUDGE_FOREIGN);
    stage->stamp.run--;
    stage->stamp.sender = USERS;
    referee_write(stage->body, LEN, &stage->stamp);
    assert_int_equal(heard_by(stage, 2), JUDGE_ALTERED);
}

static void an_emptied_body_is_only_nothing_where_there_are_delivery_numbers(void **state)
{
    struct stage *stage = *state;
    stage->deliver.body = span_of(stage->body, 0);
    assert_int_equal(heard_by(stage, 2), JUDGE_NOTHING);
    stage->deliver.dseq = 0;
    assert_int_equal(heard_by(stage, 2), JUDGE_ALTERED);
}

static void only_the_mid_of_the_sending_device_makes_it_a_replay(void **state)
{
    struct stage *stage = *state;
    uint8_t cmid[GID_CMID_SIZE], mid[GID_MID_SIZE];
    stage->stamp.number += UINT64_C(1) << BOOK_SLOT_BITS; /* from the second device */
    referee_cmid(cmid, &stage->stamp);
    stage->deliver.mid = span_of(mid, sizeof mid);
    gid_mid(1001, gid_device_hash(span_text("bench")), cmid, mid);
    assert_false(judge_is_replay(&stage->judge, &stage->stamp, &stage->deliver));
    gid_mid(1001, gid_device_hash(span_text("bench2")), cmid, mid);
    assert_true(judge_is_replay(&stage->judge, &stage->stamp, &stage->deliver));
    stage->deliver.class = HOT_EPHEMERAL;
    assert_false(judge_is_replay(&stage->judge, &stage->stamp, &stage->deliver));
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(what_was_written_to_him_is_fine_and_to_another_misrouted),
        CLAIM(another_body_class_or_sender_is_an_alteration),
        CLAIM(what_nobody_of_this_run_wrote_is_foreign_or_altered),
        CLAIM(an_emptied_body_is_only_nothing_where_there_are_delivery_numbers),
        CLAIM(only_the_mid_of_the_sending_device_makes_it_a_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
