/* The verdicts: what is counted when messages arrive, are acknowledged, refused and given up, in
 * any order. */
#include "bench/book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define SLOTS 16u
#define LONG UINT64_C(20000000000)

struct stage {
    _Atomic uint64_t words[SLOTS];
    struct referee_counts counts;
    struct book *book;
    uint32_t due;
};

static void open_stage(struct stage *stage, enum hot_class message_class, uint32_t devices,
                       bool ack_is_delivery)
{
    *stage = (struct stage){.due = 0};
    stage->book = book_new(&(struct book_options){.words = stage->words,
                                                  .slots = SLOTS,
                                                  .devices = devices,
                                                  .message_class = message_class,
                                                  .ack_is_delivery = ack_is_delivery,
                                                  .keeps_lists = true,
                                                  .senders = 4},
                           &stage->counts);
}

/* As the recipient's process does. */
static enum book_mark arrive(struct stage *stage, uint64_t number, uint32_t device)
{
    enum book_mark mark = book_mark(stage->words, SLOTS, number, device);
    if (mark == MARK_FIRST)
        stage->counts.delivered++;
    if (mark == MARK_STRAY)
        book_stray(stage->book, number, device, false);
    return mark;
}

static void on_due(void *ctx, struct book_slot *slot)
{
    struct stage *stage = ctx;
    stage->due++;
    book_close_given_up(stage->book, slot);
}

static void sweep(struct stage *stage, uint64_t now_ns)
{
    book_sweep(stage->book, now_ns, SLOTS, on_due, stage);
}

static uint64_t broken(const struct stage *stage)
{
    return referee_broken(&stage->counts, HOT_CONFIRMED, true);
}

static void an_acknowledged_message_that_arrived_is_clean(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    assert_int_equal(arrive(&stage, slot->number, 0), MARK_FIRST);
    book_close_acked(stage.book, slot, 0);
    assert_int_equal(stage.counts.completed, 1);
    assert_int_equal(broken(&stage), 0);
    assert_int_equal(book_flying(stage.book) + book_followed(stage.book), 0);
    book_free(stage.book);
}

static void an_ack_of_what_has_not_arrived_is_a_false_one_even_if_it_comes_later(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t number = slot->number;
    book_close_acked(stage.book, slot, 0);
    assert_int_equal(stage.counts.lost, 1);
    assert_int_equal(broken(&stage), 1);
    assert_int_equal(arrive(&stage, number, 0), MARK_STRAY);
    assert_int_equal(stage.counts.late, 1);
    assert_int_equal(broken(&stage), 1);
    book_free(stage.book);
}

static void a_refusal_of_what_has_arrived_is_a_false_one(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    (void)arrive(&stage, slot->number, 0);
    book_close_refused(stage.book, slot, NACK_OFFLINE);
    assert_int_equal(stage.counts.refused[NACK_OFFLINE], 1);
    assert_int_equal(stage.counts.false_nacks, 1);
    book_free(stage.book);
}

static void so_is_one_of_what_arrives_afterwards(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t number = slot->number;
    book_close_refused(stage.book, slot, NACK_OFFLINE);
    assert_int_equal(broken(&stage), 0);
    (void)arrive(&stage, number, 0);
    assert_int_equal(stage.counts.false_nacks, 1);
    assert_int_equal(broken(&stage), 1);
    book_free(stage.book);
}

static void an_unknown_outcome_breaks_nothing_whether_it_arrives_or_not(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t number = slot->number;
    book_close_given_up(stage.book, slot);
    assert_int_equal(stage.counts.unknown, 1);
    (void)arrive(&stage, number, 0);
    assert_int_equal(stage.counts.late, 1);
    assert_int_equal(broken(&stage), 0);
    book_free(stage.book);
}

static void a_second_arrival_is_doubled_and_under_its_own_mid_replayed(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t number = slot->number;
    (void)arrive(&stage, number, 0);
    (void)arrive(&stage, number, 0);
    assert_int_equal(stage.counts.doubled, 1);
    book_close_acked(stage.book, slot, 0);
    (void)arrive(&stage, number, 0);
    assert_int_equal(stage.counts.doubled, 2);
    book_stray(stage.book, number, 0, true);
    assert_int_equal(stage.counts.replayed, 1);
    assert_int_equal(stage.counts.delivered, 1);
    book_free(stage.book);
}

static void a_late_one_that_comes_twice_is_doubled(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_EPHEMERAL, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t number = slot->number;
    book_close_given_up(stage.book, slot);
    assert_int_equal(stage.counts.lost, 1);
    (void)arrive(&stage, number, 0);
    assert_int_equal(stage.counts.lost, 0);
    assert_int_equal(stage.counts.delivered, 1);
    (void)arrive(&stage, number, 0);
    assert_int_equal(stage.counts.doubled, 1);
    book_free(stage.book);
}

static void an_old_number_does_not_arrive_for_the_new_message_in_its_slot(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_EPHEMERAL, 1, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t old = slot->number;
    (void)arrive(&stage, old, 0);
    book_close_arrived(stage.book, slot, 0);
    slot = book_open(stage.book, 0, 2);
    assert_int_not_equal(slot->number, old);
    assert_int_equal(arrive(&stage, old, 0), MARK_STRAY);
    assert_int_equal(arrive(&stage, slot->number, 0), MARK_FIRST);
    assert_int_equal(stage.counts.doubled, 1);
    book_free(stage.book);
}

static void where_an_ack_says_nothing_of_arrival_it_is_awaited_apart(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, false);
    struct book_slot *one = book_open(stage.book, 0, 1), *other = book_open(stage.book, 0, 2);
    uint64_t number = one->number;
    book_close_acked(stage.book, one, 0);
    book_close_acked(stage.book, other, 0);
    assert_int_equal(stage.counts.completed, 2);
    assert_int_equal(stage.counts.lost, 0);
    assert_int_equal(arrive(&stage, number, 0), MARK_FIRST);
    sweep(&stage, 1);
    assert_int_equal(book_followed(stage.book), 1);
    sweep(&stage, LONG);
    assert_int_equal(stage.counts.lost, 1);
    assert_int_equal(stage.counts.delivered, 1);
    assert_int_equal(book_followed(stage.book), 0);
    book_free(stage.book);
}

static void each_device_is_judged_for_itself(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 3, true);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    uint64_t number = slot->number;
    assert_int_equal(arrive(&stage, number, 2), MARK_FIRST);
    book_close_acked(stage.book, slot, 0);
    assert_int_equal(book_followed(stage.book), 1);
    assert_int_equal(arrive(&stage, number, 0), MARK_FURTHER);
    assert_int_equal(arrive(&stage, number, 2), MARK_STRAY);
    assert_int_equal(stage.counts.doubled, 1);
    sweep(&stage, LONG);
    assert_int_equal(stage.counts.missing, 1);
    assert_int_equal(stage.counts.lost, 0);
    (void)arrive(&stage, number, 1);
    assert_int_equal(stage.counts.late, 1);
    assert_int_equal(stage.counts.doubled, 1);
    book_free(stage.book);
}

static void the_time_of_a_message_comes_once(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_EPHEMERAL, 1, true);
    book_open(stage.book, 0, 1)->due_ns = 100;
    sweep(&stage, 99);
    assert_int_equal(stage.due, 0);
    sweep(&stage, 100);
    sweep(&stage, 101);
    assert_int_equal(stage.due, 1);
    assert_int_equal(stage.counts.lost, 1);
    book_free(stage.book);
}

static void an_open_loop_finds_what_arrived_by_itself(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_EPHEMERAL, 1, true);
    book_set_told(stage.book, false);
    struct book_slot *slot = book_open(stage.book, 0, 1);
    (void)arrive(&stage, slot->number, 0);
    sweep(&stage, 1);
    assert_int_equal(book_flying(stage.book), 0);
    assert_int_equal(stage.counts.lost, 0);
    book_free(stage.book);
}

static void slots_are_used_again_and_no_more_are_given_than_there_are(void **state)
{
    (void)state;
    struct stage stage;
    open_stage(&stage, HOT_CONFIRMED, 1, true);
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_non_null(book_open(stage.book, i % 4, 100 + i));
    assert_null(book_open(stage.book, 0, 1));
    assert_true(book_has(stage.book, 1, 105));
    assert_int_equal(book_flying_of(stage.book, 1), SLOTS / 4);
    struct book_slot *slot = book_find_tag(stage.book, 1, 6);
    assert_non_null(slot);
    assert_int_equal(book_tag(stage.book, slot), 6);
    assert_null(book_find_tag(stage.book, 2, 6));
    uint64_t number = slot->number;
    book_close_given_up(stage.book, slot);
    assert_false(book_has(stage.book, 1, 105));
    assert_null(book_find(stage.book, number));
    assert_ptr_equal(book_open(stage.book, 3, 7), slot);
    book_free(stage.book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledged_message_that_arrived_is_clean),
        cmocka_unit_test(an_ack_of_what_has_not_arrived_is_a_false_one_even_if_it_comes_later),
        cmocka_unit_test(a_refusal_of_what_has_arrived_is_a_false_one),
        cmocka_unit_test(so_is_one_of_what_arrives_afterwards),
        cmocka_unit_test(an_unknown_outcome_breaks_nothing_whether_it_arrives_or_not),
        cmocka_unit_test(a_second_arrival_is_doubled_and_under_its_own_mid_replayed),
        cmocka_unit_test(a_late_one_that_comes_twice_is_doubled),
        cmocka_unit_test(an_old_number_does_not_arrive_for_the_new_message_in_its_slot),
        cmocka_unit_test(where_an_ack_says_nothing_of_arrival_it_is_awaited_apart),
        cmocka_unit_test(each_device_is_judged_for_itself),
        cmocka_unit_test(the_time_of_a_message_comes_once),
        cmocka_unit_test(an_open_loop_finds_what_arrived_by_itself),
        cmocka_unit_test(slots_are_used_again_and_no_more_are_given_than_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
