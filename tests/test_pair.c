/* pair: two ends without a network. What travels is taken along, lost or kept back as each test
 * likes. */
#include "proto/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define WINDOW 1000u
#define SIZE_ALL SIZE_MAX

struct side {
    struct pair pair;
    uint64_t mine;
    struct link_counts counts;
};

static void open_side(struct side *side, uint64_t mine)
{
    *side = (struct side){.mine = mine};
    pair_init(&side->pair, WINDOW);
}

/* A head of `from` as it would say it now, of all that waits. */
static struct batch_head say(struct side *from, struct pair_batch *batch)
{
    *batch = pair_next(&from->pair, SIZE_ALL);
    return (struct batch_head){.from = from->mine,
                               .to = from->pair.theirs,
                               .first_byte = batch->first_byte,
                               .first_frame = batch->first_frame,
                               .credit = credit_in_grant(&from->pair.in),
                               .name = span_text("someone")};
}

static struct pair_heard carry(struct side *from, struct side *to)
{
    struct pair_batch batch;
    struct batch_head head = say(from, &batch);
    struct pair_heard heard =
        pair_hear(&to->pair, to->mine, &head, batch.frames.len, batch.count, &to->counts);
    from->counts.frames_sent += batch.count;
    pair_sent(&from->pair, &batch, 0);
    if (heard.up)
        pair_rise(&to->pair);
    return heard;
}

static void lose(struct side *from)
{
    struct pair_batch batch;
    (void)say(from, &batch);
    from->counts.frames_sent += batch.count;
    pair_sent(&from->pair, &batch, 0);
}

static void queue(struct side *side, int frames)
{
    for (int i = 0; i < frames; i++)
        pair_queue(&side->pair, span_text("\x03xyz"), SIZE_ALL, &side->counts);
}

static void meet(struct side *edge, struct side *router)
{
    struct pair_heard heard = carry(edge, router);
    assert_true(heard.answer && !heard.up && !heard.take);
    heard = carry(router, edge);
    assert_true(heard.up && heard.answer);
    heard = carry(edge, router);
    assert_true(heard.up && !heard.down);
    assert_int_equal(edge->pair.state, PAIR_UP);
    assert_int_equal(router->pair.state, PAIR_UP);
}

static void free_sides(struct side *a, struct side *b)
{
    pair_free(&a->pair);
    pair_free(&b->pair);
}

static void both_are_up_after_question_answer_and_first_batch(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    assert_int_equal(edge.pair.theirs, 2);
    assert_int_equal(router.pair.theirs, 1);
    (void)carry(&router, &edge);
    assert_true(credit_out_allows(&edge.pair.out, WINDOW));
    assert_false(credit_out_allows(&edge.pair.out, WINDOW + 1));
    free_sides(&edge, &router);
}

static void a_lost_batch_is_counted_once(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    queue(&edge, 5);
    lose(&edge);
    queue(&edge, 2);
    struct pair_heard heard = carry(&edge, &router);
    assert_true(heard.take && !heard.down && !heard.up);
    assert_int_equal(router.counts.frames_lost, 5);
    assert_int_equal(router.counts.frames_received, 2);
    (void)carry(&edge, &router); /* a head alone */
    assert_int_equal(router.counts.frames_lost, 5);
    free_sides(&edge, &router);
}

static void frames_for_another_incarnation_are_stale(void **state)
{
    (void)state;
    struct side edge, router, successor;
    open_side(&edge, 1);
    open_side(&router, 2);
    open_side(&successor, 3);
    meet(&edge, &router);
    queue(&edge, 4);
    struct pair_heard heard = carry(&edge, &successor);
    assert_true(heard.answer && !heard.take && !heard.up);
    assert_int_equal(successor.counts.frames_stale, 4);
    queue(&edge, 3);
    heard = carry(&successor, &edge);
    assert_true(heard.down && heard.up && heard.answer);
    assert_int_equal(edge.counts.frames_unsent, 3);
    assert_int_equal(edge.pair.out.bytes, 0);
    heard = carry(&edge, &successor);
    assert_true(heard.up);
    assert_int_equal(successor.counts.frames_lost, 0);
    free_sides(&edge, &router);
    pair_free(&successor.pair);
}

static void one_that_fell_silent_goes_on_where_it_was(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    queue(&edge, 3);
    (void)carry(&edge, &router);
    pair_fall(&router.pair, &router.counts);
    queue(&edge, 2);
    lose(&edge);
    queue(&edge, 1);
    struct pair_heard heard = carry(&edge, &router);
    assert_true(heard.up && heard.take && !heard.down);
    assert_int_equal(router.counts.frames_received, 4);
    assert_int_equal(router.counts.frames_lost, 2);
    free_sides(&edge, &router);
}

static void what_waited_when_it_fell_is_missed_when_it_returns(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    queue(&edge, 7);
    pair_fall(&edge.pair, &edge.counts);
    assert_int_equal(edge.counts.frames_dropped, 7);
    assert_true(carry(&router, &edge).up);
    (void)carry(&edge, &router);
    assert_int_equal(router.counts.frames_lost, 7);
    free_sides(&edge, &router);
}

static void one_that_was_forgotten_is_told_and_loses_nothing(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    queue(&edge, 7);
    queue(&router, 7);
    (void)carry(&edge, &router);
    (void)carry(&router, &edge);
    pair_free(&router.pair);
    open_side(&router, 2); /* the same incarnation, without memory */
    queue(&edge, 2);
    struct pair_heard heard = carry(&edge, &router);
    assert_true(heard.up && heard.take);
    assert_int_equal(router.counts.frames_received, 2);
    assert_int_equal(router.counts.frames_lost, 0);
    heard = carry(&router, &edge);
    assert_true(heard.down && heard.up);
    queue(&router, 1);
    heard = carry(&router, &edge);
    assert_true(heard.take && !heard.down);
    assert_int_equal(edge.counts.frames_lost, 0);
    free_sides(&edge, &router);
}

static void past_the_limit_frames_are_dropped_until_the_queue_is_empty(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    for (int i = 0; i < 10; i++)
        pair_queue(&edge.pair, span_text("\x03xyz"), 16, &edge.counts);
    assert_int_equal(edge.counts.frames_dropped, 6);
    struct pair_batch part = pair_next(&edge.pair, 8);
    assert_int_equal(part.count, 2);
    pair_sent(&edge.pair, &part, 0);
    queue(&edge, 1); /* there is room, but it would come before its turn */
    assert_int_equal(edge.counts.frames_dropped, 7);
    (void)carry(&edge, &router);
    queue(&edge, 1);
    (void)carry(&edge, &router);
    assert_int_equal(edge.counts.frames_dropped, 7);
    assert_int_equal(router.counts.frames_received, 3);
    assert_int_equal(router.counts.frames_lost, 2 + 7);
    free_sides(&edge, &router);
}

static void a_renewed_end_begins_anew_and_keeps_the_name(void **state)
{
    (void)state;
    struct side edge, router;
    open_side(&edge, 1);
    open_side(&router, 2);
    meet(&edge, &router);
    queue(&router, 3);
    (void)carry(&router, &edge);
    queue(&router, 3);
    router.mine = 22;
    pair_end(&router.pair, &router.counts);
    assert_int_equal(router.counts.frames_unsent, 3);
    struct pair_heard heard = carry(&router, &edge);
    assert_true(heard.down && heard.up);
    assert_true(carry(&edge, &router).up);
    assert_int_equal(router.pair.name_len, 7);
    assert_int_equal(edge.counts.frames_lost + router.counts.frames_lost, 0);
    free_sides(&edge, &router);
}

/* Both talk, lose, fall and are renewed at random; what ends well is all counted. */
static void whatever_happens_every_frame_is_counted(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 200; seed++) {
        struct side ends[2];
        open_side(&ends[0], 1);
        open_side(&ends[1], 2);
        uint64_t dice = seed * UINT64_C(0x9e3779b97f4a7c15);
        for (int step = 0; step < 500; step++) {
            dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
            struct side *one = &ends[dice >> 63], *other = &ends[!(dice >> 63)];
            unsigned what = (unsigned)(dice >> 40) % 100;
            if (what < 50 && one->pair.state == PAIR_UP)
                queue(one, 1 + (int)what % 5);
            else if (what < 90)
                (void)carry(one, other);
            else if (what < 97)
                lose(one);
            else
                pair_fall(&one->pair, &one->counts);
        }
        for (int i = 0; i < 4; i++)
            (void)carry(&ends[i & 1], &ends[!(i & 1)]);
        const struct link_counts *a = &ends[0].counts, *b = &ends[1].counts;
        assert_int_equal(a->frames_sent + a->frames_dropped,
                         b->frames_received + b->frames_lost + b->frames_stale);
        assert_int_equal(b->frames_sent + b->frames_dropped,
                         a->frames_received + a->frames_lost + a->frames_stale);
        assert_true(a->frames_received > 50 && b->frames_received > 50);
        free_sides(&ends[0], &ends[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_are_up_after_question_answer_and_first_batch),
        cmocka_unit_test(a_lost_batch_is_counted_once),
        cmocka_unit_test(frames_for_another_incarnation_are_stale),
        cmocka_unit_test(one_that_fell_silent_goes_on_where_it_was),
        cmocka_unit_test(what_waited_when_it_fell_is_missed_when_it_returns),
        cmocka_unit_test(one_that_was_forgotten_is_told_and_loses_nothing),
        cmocka_unit_test(past_the_limit_frames_are_dropped_until_the_queue_is_empty),
        cmocka_unit_test(a_renewed_end_begins_anew_and_keeps_the_name),
        cmocka_unit_test(whatever_happens_every_frame_is_counted),
    };
    return cmocka_run_group_tests_name("pair", tests, NULL, NULL);
}
