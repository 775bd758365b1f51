/* outbox: the sender's half of the order rule, and that every send ends once. */
#include "tests/outbox_world.h"

/* ---- counting -------------------------------------------------------------------------------- */

static void counts_from_one_and_says_what_is_settled(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    for (uint32_t number = 1; number <= 3; number++)
        add(world, 7, number);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(world->sent_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(world->sent[i].seq, i + 1);
        assert_int_equal(world->sent[i].settled, 1);
        assert_int_equal(world->sent[i].class, HOT_CONFIRMED);
    }
    ack(world, 1);
    ack(world, 3);
    add(world, 7, 4);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(world->sent[3].seq, 4);
    assert_int_equal(world->sent[3].settled, 2);
}

static void recipients_and_classes_are_counted_apart(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    add(world, 7, 1);
    add(world, 8, 2);
    assert_int_equal(add_class(world, 7, LAHAR_STORED, 3), LAHAR_OK);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(world->sent_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(world->sent[i].seq, 1);
}

static void a_forgotten_conversation_counts_on_above_every_number_used(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 5);
    for (uint32_t number = 1; number <= 5; number++)
        ack(world, number);
    add(world, 7, 6);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(world->sent[0].seq, 6);
    assert_int_equal(world->sent[0].settled, 6);
}

static void a_new_session_sends_all_unsettled_again_in_order_from_one(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 4);
    have_sent(world, 8, 5, 6);
    ack(world, 2);
    outbox_close(world->outbox);
    add(world, 7, 9);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "");
    outbox_open(world->outbox, world->now);
    uint64_t next[2] = {1, 1};
    uint32_t last[2] = {0, 0};
    assert_int_equal(world->sent_count, 6);
    for (uint32_t i = 0; i < world->sent_count; i++) {
        const struct sent *sent = &world->sent[i];
        assert_int_equal(sent->seq, next[sent->to - 7]++);
        assert_int_equal(sent->settled, 1);
        assert_true(sent->number > last[sent->to - 7]);
        last[sent->to - 7] = sent->number;
    }
}

/* ---- the window ------------------------------------------------------------------------------ */

static void at_most_32_are_in_flight_and_an_outcome_makes_room(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    for (uint32_t number = 1; number <= 40; number++)
        add(world, 7, number);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(world->sent_count, 32);
    forget_sent(world);
    ack(world, 1);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "33");
    nack(world, 2, NACK_OFFLINE, 0, 0);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "34");
}

static void conversations_take_turns(void **state)
{
    struct world *world = *state;
    for (uint32_t number = 1; number <= 3; number++)
        add(world, 7, number);
    for (uint32_t number = 11; number <= 13; number++)
        add(world, 8, number);
    outbox_open(world->outbox, world->now);
    assert_sent(world, "1 11 2 12 3 13");
}

static void a_window_of_lost_sends_goes_out_again_although_more_wait(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    for (uint32_t number = 1; number <= 40; number++)
        add(world, 7, number);
    outbox_pump(world->outbox, world->now);
    add(world, 8, 50); /* waits for the window, and must not hold up the repeats */
    outbox_pump(world->outbox, world->now);
    forget_sent(world);
    pass(world, RETRY_MS);
    assert_int_equal(world->sent_count, 32);
    assert_int_equal(world->sent[0].number, 1);
    assert_int_equal(world->sent[31].number, 32);
    assert_true(outbox_due_ms(world->outbox) > world->now);
}

static void without_room_nothing_goes_out_and_nothing_is_due(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    world->no_room = true;
    add(world, 7, 3);
    outbox_pump(world->outbox, world->now);
    pass(world, RETRY_MS);
    assert_sent(world, "");
    assert_true(outbox_due_ms(world->outbox) > world->now);
    world->no_room = false;
    pass(world, 0);
    assert_sent(world, "1 2 3");
}

/* ---- gaps ------------------------------------------------------------------------------------ */

static void a_gap_sends_again_from_the_place_it_names(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 5);
    gap(world, 4, 3);
    assert_int_equal(world->sent[0].seq, 3);
    assert_sent(world, "3 4 5");
}

static void a_gap_is_answered_once_for_each_place_until_a_timer_fires(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 5);
    gap(world, 4, 3);
    forget_sent(world);
    gap(world, 5, 3);
    gap(world, 4, 3);
    assert_sent(world, "");
    gap(world, 5, 4);
    assert_sent(world, "4 5");
    pass(world, RETRY_MS);
    assert_sent(world, "1 2 3 4 5");
    gap(world, 5, 4);
    assert_sent(world, "4 5");
}

static void a_gap_does_not_disturb_other_conversations(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    have_sent(world, 8, 3, 4);
    gap(world, 2, 1);
    assert_sent(world, "1 2");
}

static void a_gap_after_a_new_owner_goes_back_to_the_oldest_unsettled(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 6);
    ack(world, 1);
    ack(world, 2);
    gap(world, 6, 3); /* what the new owner saw first was 6, which said that 3 is unsettled */
    assert_sent(world, "3 4 5 6");
}

/* ---- BUSY ------------------------------------------------------------------------------------ */

static void busy_waits_and_goes_on_from_there_with_what_is_behind_it(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 4);
    nack(world, 2, NACK_BUSY, 0, 500);
    gap(world, 3, 2);
    gap(world, 4, 2);
    add(world, 7, 5);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(outbox_due_ms(world->outbox), world->now + 500);
    pass(world, 499);
    assert_sent(world, "");
    pass(world, 1);
    assert_int_equal(world->sent[0].seq, 2);
    assert_sent(world, "2 3 4 5");
}

static void of_several_that_are_busy_the_first_one_counts(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 4);
    nack(world, 3, NACK_BUSY, 0, 500);
    nack(world, 2, NACK_BUSY, 0, 500);
    nack(world, 4, NACK_BUSY, 0, 9000);
    pass(world, 500);
    assert_sent(world, "2 3 4");
}

static void busy_stops_a_conversation_that_has_more_to_send(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 40);
    nack(world, 1, NACK_BUSY, 0, 500);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "");
}

static void an_old_gap_notice_does_not_skip_what_was_busy(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 8, 101, 101);
    have_sent(world, 7, 1, 31);
    nack(world, 2, NACK_BUSY, 0, 500);
    for (uint32_t number = 102; number <= 131; number++)
        add(world, 8, number);
    outbox_pump(world->outbox, world->now); /* the window is full now */
    forget_sent(world);
    pass(world, 500);
    gap(world, 5, 5);
    ack(world, 101);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "2");
}

static void busy_holds_up_nobody_else_and_gives_its_places_away(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    for (uint32_t number = 1; number <= 32; number++)
        add(world, 7, number);
    add(world, 8, 40);
    outbox_pump(world->outbox, world->now);
    assert_int_equal(world->sent_count, 32);
    ack(world, 1); /* 40 takes its turn */
    outbox_pump(world->outbox, world->now);
    forget_sent(world);
    add(world, 9, 50);
    nack(world, 2, NACK_BUSY, 0, 60000);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "50");
}

static void a_busy_that_asks_for_no_wait_gets_a_short_one(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 1);
    nack(world, 1, NACK_BUSY, 0, 0);
    pass(world, 1);
    assert_sent(world, "");
    pass(world, 49);
    assert_sent(world, "1");
}

static void sends_before_a_busy_one_are_not_due_while_it_waits(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    nack(world, 2, NACK_BUSY, 0, 5000);
    pass(world, RETRY_MS + 1);
    assert_sent(world, "");
    assert_true(outbox_due_ms(world->outbox) > world->now);
    pass(world, 5000 - RETRY_MS - 1);
    assert_sent(world, "1 2");
}

/* ---- timers and outcomes --------------------------------------------------------------------- */

static void without_an_answer_all_of_that_conversation_goes_out_again(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    pass(world, 1000);
    have_sent(world, 7, 3, 3);
    have_sent(world, 8, 4, 4);
    assert_int_equal(outbox_due_ms(world->outbox), world->now + 1000);
    ack(world, 1);
    assert_int_equal(outbox_due_ms(world->outbox), world->now + 1000);
    pass(world, 1000);
    assert_sent(world, "2 3");
    pass(world, 1000);
    assert_sent(world, "4");
}

static void answers_end_a_send_once_and_name_the_message(void **state)
{
    struct world *world = *state;
    uint8_t mid[LAHAR_ID_SIZE] = {0xab}, id[LAHAR_ID_SIZE];
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    make_id(1, id);
    struct hot_ack stored = {span_of(id, sizeof id), HOT_LEVEL_STORED, span_of(mid, sizeof mid)};
    outbox_ack(world->outbox, &stored);
    outbox_ack(world->outbox, &stored);
    nack(world, 1, NACK_OFFLINE, 0, 0);
    assert_int_equal(world->endings_count, 1);
    assert_int_equal(world->endings[0].mid, 0xab);
    assert_ended(world, 1, LAHAR_KEPT, "");
    ack(world, 2);
    assert_ended(world, 2, LAHAR_DELIVERED, "");
    assert_int_equal(outbox_waiting(world->outbox), 0);
    assert_true(outbox_due_ms(world->outbox) == UINT64_MAX);
}

static void a_refusal_is_definite_or_unknown_as_its_table_says(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 3);
    nack(world, 1, NACK_NO_USER, 0, 0);
    assert_ended(world, 1, LAHAR_REFUSED, "no_user");
    nack(world, 2, NACK_NO_ANSWER, 0, 0);
    assert_ended(world, 2, LAHAR_UNKNOWN, "no_answer");
    nack(world, 3, 4711, 0, 0);
    assert_ended(world, 3, LAHAR_UNKNOWN, "unknown");
}

static void a_refusal_is_not_definite_while_another_transmission_is_unanswered(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    nack(world, 2, NACK_SEQ_GAP, 1, 0); /* an answer to the first transmission of 2, of 1 none */
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "1 2");
    nack(world, 1, NACK_OFFLINE, 0, 0);
    assert_ended(world, 1, LAHAR_UNKNOWN, "offline");
    nack(world, 2, NACK_OFFLINE, 0, 0);
    assert_ended(world, 2, LAHAR_REFUSED, "offline");
}

static void overdue_sends_end_by_what_is_known_of_them(void **state)
{
    struct world *world = *state;
    add(world, 7, 1);
    pass(world, TIMEOUT_MS);
    assert_ended(world, 1, LAHAR_REFUSED, "not_sent");

    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 2, 2);
    have_sent(world, 8, 3, 4);
    nack(world, 3, NACK_BUSY, 0, 600000);
    nack(world, 4, NACK_SEQ_GAP, 1, 0);
    assert_int_equal(outbox_due_ms(world->outbox), world->now + RETRY_MS);
    world->now += TIMEOUT_MS;
    outbox_tick(world->outbox, world->now);
    assert_ended(world, 4, LAHAR_REFUSED, "busy");
    assert_ended(world, 3, LAHAR_REFUSED, "busy");
    assert_ended(world, 2, LAHAR_UNKNOWN, "timeout");
    assert_int_equal(outbox_waiting(world->outbox), 0);
}

static void busy_after_an_unanswered_transmission_ends_unknown(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 1);
    pass(world, RETRY_MS);
    nack(world, 1, NACK_BUSY, 0, 600000);
    pass(world, TIMEOUT_MS);
    assert_ended(world, 1, LAHAR_UNKNOWN, "timeout");
}

static void overdue_sends_end_while_there_is_no_session_too(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 1);
    outbox_close(world->outbox);
    assert_int_equal(outbox_due_ms(world->outbox), world->now + TIMEOUT_MS);
    pass(world, TIMEOUT_MS);
    assert_ended(world, 1, LAHAR_UNKNOWN, "timeout");
}

static void refuses_more_than_may_wait_and_an_id_on_its_way(void **state)
{
    struct world *world = *state;
    for (uint32_t number = 1; number <= 99; number++)
        add(world, 7, number);
    assert_int_equal(add_class(world, 8, LAHAR_STORED, 99), LAHAR_INVALID);
    add(world, 7, 100);
    assert_int_equal(add_class(world, 7, LAHAR_CONFIRMED, 101), LAHAR_FULL);
    outbox_open(world->outbox, world->now);
    ack(world, 1);
    add(world, 7, 1); /* the same id again, to learn more */
}

static void the_application_may_send_from_inside_an_outcome(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    world->add_when_ended = 3;
    ack(world, 1);
    world->add_when_ended = 4;
    nack(world, 2, NACK_OFFLINE, 0, 0);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "3 4");
    world->add_when_ended = 5;
    pass(world, TIMEOUT_MS);
    assert_int_equal(outbox_waiting(world->outbox), 1);
    assert_sent(world, "5");
}

static void strange_answers_change_nothing(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 2);
    outbox_ack(world->outbox, &(struct hot_ack){.level = HOT_LEVEL_STORED});
    ack(world, 99);
    gap(world, 2, 4711);
    gap(world, 99, 1);
    assert_sent(world, "");
    assert_int_equal(outbox_waiting(world->outbox), 2);
    gap(world, 2, 1);
    forget_sent(world);
    /* A refusal of what was never sent in this session. */
    outbox_close(world->outbox);
    nack(world, 1, NACK_BUSY, 0, 100);
    nack(world, 2, NACK_SEQ_GAP, 0, 0);
    outbox_open(world->outbox, world->now);
    assert_sent(world, "1 2");
    gap(world, 2, 1); /* the place named in the session before is news in this one */
    assert_sent(world, "1 2");
}

static void an_answer_to_what_waits_for_the_window_disturbs_no_queue(void **state)
{
    struct world *world = *state;
    outbox_open(world->outbox, world->now);
    have_sent(world, 7, 1, 32);
    for (uint32_t number = 41; number <= 44; number++)
        have_sent(world, number, number, number);
    ack(world, 43);
    ack(world, 42);
    for (uint32_t number = 1; number <= 3; number++)
        ack(world, number);
    outbox_pump(world->outbox, world->now);
    assert_sent(world, "41 44");
}

/* ---- the rule as a whole --------------------------------------------------------------------- */

/* The owner of the order rule, for two recipients: takes, refuses or forgets; links lose. */
struct owner {
    uint64_t last[2]; /* 0: it knows nothing */
    bool taken[1024];
    uint32_t taken_last[2];
};

struct play {
    struct world *world;
    struct owner owner;
    uint32_t read; /* of world->sent */
    uint32_t answers[64], answers_count;
    uint32_t seed;
};

static uint32_t chance(struct play *play, uint32_t limit)
{
    play->seed = play->seed * 1103515245u + 12345u;
    return (play->seed >> 8) % limit;
}

static void owner_reads(struct play *play, const struct sent *sent, bool calm)
{
    struct owner *owner = &play->owner;
    uint32_t which = (uint32_t)sent->to - 7;
    uint64_t *last = &owner->last[which];
    if (owner->taken[sent->number]) {
        ack(play->world, sent->number);
        return;
    }
    if (sent->seq != sent->settled && (*last == 0 || sent->seq != *last + 1)) {
        gap(play->world, sent->number, *last == 0 ? sent->settled : *last + 1);
        return;
    }
    if (!calm && chance(play, 20) == 0) {
        nack(play->world, sent->number, NACK_BUSY, 0, chance(play, 300));
        return;
    }
    *last = sent->seq;
    assert_true(sent->number > owner->taken_last[which]);
    owner->taken_last[which] = sent->number;
    owner->taken[sent->number] = true;
    if (calm || chance(play, 10) > 0)
        ack(play->world, sent->number); /* else the answer is lost */
}

static void play_a_step(struct play *play, bool calm)
{
    struct world *world = play->world;
    uint32_t what = chance(play, 1000);
    if (!calm && what < 15 && play->read < world->sent_count) {
        play->read++;
    } else if (!calm && what < 20) {
        memset(play->owner.last, 0, sizeof play->owner.last);
    } else if (!calm && what < 25) {
        play->read = world->sent_count;
        memset(play->owner.last, 0, sizeof play->owner.last);
        outbox_open(world->outbox, world->now);
    } else if (what < 600 && play->read < world->sent_count) {
        const struct sent sent = world->sent[play->read++];
        owner_reads(play, &sent, calm);
    } else {
        pass(world, 20);
        assert_true(outbox_due_ms(world->outbox) > world->now);
    }
    outbox_pump(world->outbox, world->now);
    assert_true(world->sent_count - play->read <= 10 * OUTBOX_IN_FLIGHT); /* no storm */
    if (world->sent_count > LOG_MAX / 2) {
        memmove(world->sent, world->sent + play->read,
                (world->sent_count - play->read) * sizeof world->sent[0]);
        world->sent_count -= play->read;
        play->read = 0;
    }
}

static void what_is_sent_is_taken_once_and_in_order_under_faults(void **state)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        void *mine = NULL;
        set_up(&mine);
        struct play play = {.world = mine, .seed = seed};
        outbox_open(play.world->outbox, play.world->now);
        uint32_t number = 1;
        for (uint32_t step = 0; step < 6000; step++) {
            if (number <= 600 && outbox_waiting(play.world->outbox) < 12 && chance(&play, 3) == 0 &&
                add_class(play.world, 7 + chance(&play, 2), LAHAR_CONFIRMED, number) == LAHAR_OK)
                number++;
            play_a_step(&play, step > 4000);
        }
        assert_true(number > 400);
        assert_int_equal(outbox_waiting(play.world->outbox), 0);
        for (uint32_t i = 0; i < play.world->endings_count; i++) {
            const struct ending *ending = &play.world->endings[i];
            if (ending->outcome == LAHAR_DELIVERED)
                assert_true(play.owner.taken[ending->number]);
            if (ending->outcome == LAHAR_REFUSED)
                assert_false(play.owner.taken[ending->number]);
        }
        assert_int_equal(play.world->endings_count, number - 1);
        tear_down(&mine);
    }
    (void)state;
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(counts_from_one_and_says_what_is_settled),
        CLAIM(recipients_and_classes_are_counted_apart),
        CLAIM(a_forgotten_conversation_counts_on_above_every_number_used),
        CLAIM(a_new_session_sends_all_unsettled_again_in_order_from_one),
        CLAIM(at_most_32_are_in_flight_and_an_outcome_makes_room),
        CLAIM(conversations_take_turns),
        CLAIM(a_window_of_lost_sends_goes_out_again_although_more_wait),
        CLAIM(without_room_nothing_goes_out_and_nothing_is_due),
        CLAIM(a_gap_sends_again_from_the_place_it_names),
        CLAIM(a_gap_is_answered_once_for_each_place_until_a_timer_fires),
        CLAIM(a_gap_does_not_disturb_other_conversations),
        CLAIM(a_gap_after_a_new_owner_goes_back_to_the_oldest_unsettled),
        CLAIM(busy_waits_and_goes_on_from_there_with_what_is_behind_it),
        CLAIM(of_several_that_are_busy_the_first_one_counts),
        CLAIM(busy_stops_a_conversation_that_has_more_to_send),
        CLAIM(an_old_gap_notice_does_not_skip_what_was_busy),
        CLAIM(busy_holds_up_nobody_else_and_gives_its_places_away),
        CLAIM(a_busy_that_asks_for_no_wait_gets_a_short_one),
        CLAIM(sends_before_a_busy_one_are_not_due_while_it_waits),
        CLAIM(without_an_answer_all_of_that_conversation_goes_out_again),
        CLAIM(answers_end_a_send_once_and_name_the_message),
        CLAIM(a_refusal_is_definite_or_unknown_as_its_table_says),
        CLAIM(a_refusal_is_not_definite_while_another_transmission_is_unanswered),
        CLAIM(overdue_sends_end_by_what_is_known_of_them),
        CLAIM(busy_after_an_unanswered_transmission_ends_unknown),
        CLAIM(overdue_sends_end_while_there_is_no_session_too),
        CLAIM(refuses_more_than_may_wait_and_an_id_on_its_way),
        CLAIM(the_application_may_send_from_inside_an_outcome),
        CLAIM(strange_answers_change_nothing),
        CLAIM(an_answer_to_what_waits_for_the_window_disturbs_no_queue),
        cmocka_unit_test(what_is_sent_is_taken_once_and_in_order_under_faults),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
