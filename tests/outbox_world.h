/* An outbox alone: what it transmits and how sends end is kept, and the test answers. */
#ifndef TESTS_OUTBOX_WORLD_H
#define TESTS_OUTBOX_WORLD_H

#include "client/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RETRY_MS 2000u
#define TIMEOUT_MS 30000u
#define LOG_MAX 4096u

struct sent {
    uint64_t to, seq, settled;
    uint32_t class, number;
};

struct ending {
    uint32_t number;
    enum lahar_outcome outcome;
    char reason[24];
    uint8_t mid;
};

struct world {
    struct outbox *outbox;
    struct sent sent[LOG_MAX];
    struct ending endings[LOG_MAX];
    uint32_t sent_count, endings_count;
    uint64_t now;
    bool no_room;
    uint32_t add_when_ended; /* from inside the callback, this number */
};

static inline void make_id(uint32_t number, uint8_t id[LAHAR_ID_SIZE])
{
    memset(id, 0, LAHAR_ID_SIZE);
    memcpy(id, &number, sizeof number);
}

static inline enum lahar_result add_class(struct world *world, uint64_t to, enum lahar_class class,
                                          uint32_t number)
{
    uint8_t id[LAHAR_ID_SIZE];
    char body[16];
    make_id(number, id);
    (void)snprintf(body, sizeof body, "body %u", number);
    return outbox_add(world->outbox, to, class, span_text(body), id, world->now);
}

static inline void add(struct world *world, uint64_t to, uint32_t number)
{
    assert_int_equal(add_class(world, to, LAHAR_CONFIRMED, number), LAHAR_OK);
}

static inline void on_transmit(void *ctx, const struct hot_send *send)
{
    struct world *world = ctx;
    assert_true(world->sent_count < LOG_MAX);
    struct sent *sent = &world->sent[world->sent_count++];
    *sent = (struct sent){send->to, send->seq, send->settled, send->class, 0};
    assert_int_equal(send->cmid.len, LAHAR_ID_SIZE);
    memcpy(&sent->number, send->cmid.at, sizeof sent->number);
    char body[16];
    (void)snprintf(body, sizeof body, "body %u", sent->number);
    assert_true(span_equal(send->body, span_text(body)));
}

static inline bool on_has_room(void *ctx)
{
    const struct world *world = ctx;
    return !world->no_room;
}

static inline void on_ended(void *ctx, const struct lahar_result_of_send *result)
{
    struct world *world = ctx;
    assert_true(world->endings_count < LOG_MAX);
    struct ending *ending = &world->endings[world->endings_count++];
    memcpy(&ending->number, result->id, sizeof ending->number);
    ending->outcome = result->outcome;
    ending->mid = result->message_id[0];
    (void)snprintf(ending->reason, sizeof ending->reason, "%s", result->reason);
    assert_non_null(result->reason_text);
    if (world->add_when_ended) {
        uint32_t number = world->add_when_ended;
        world->add_when_ended = 0;
        add(world, result->to, number);
    }
}

static inline int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    const struct outbox_options options = {
        .sends_max = 100, .retry_ms = RETRY_MS, .timeout_ms = TIMEOUT_MS};
    const struct outbox_actions actions = {on_transmit, on_has_room, on_ended};
    world->now = 1000;
    world->outbox = outbox_new(&options, &actions, world);
    assert_non_null(world->outbox);
    *state = world;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    outbox_free(world->outbox);
    free(world);
    return 0;
}

static inline void forget_sent(struct world *world)
{
    world->sent_count = 0;
}

/* Numbers `first` to `last` to one recipient, all transmitted. */
static inline void have_sent(struct world *world, uint64_t to, uint32_t first, uint32_t last)
{
    for (uint32_t number = first; number <= last; number++)
        add(world, to, number);
    outbox_pump(world->outbox, world->now);
    forget_sent(world);
}

static inline void ack(struct world *world, uint32_t number)
{
    uint8_t id[LAHAR_ID_SIZE];
    make_id(number, id);
    outbox_ack(world->outbox, &(struct hot_ack){span_of(id, sizeof id), HOT_LEVEL_DELIVERED, {0}});
}

static inline void nack(struct world *world, uint32_t number, uint32_t reason, uint64_t expected,
                        uint32_t retry_after_ms)
{
    uint8_t id[LAHAR_ID_SIZE];
    make_id(number, id);
    outbox_nack(world->outbox,
                &(struct hot_nack){span_of(id, sizeof id), reason, retry_after_ms, expected},
                world->now);
}

static inline void gap(struct world *world, uint32_t number, uint64_t expected)
{
    nack(world, number, NACK_SEQ_GAP, expected, 0);
    outbox_pump(world->outbox, world->now);
}

static inline void pass(struct world *world, uint64_t ms)
{
    world->now += ms;
    outbox_tick(world->outbox, world->now);
}

/* What was transmitted, in order, and nothing else: "1 2 3". */
static inline void assert_sent(struct world *world, const char *expected)
{
    char text[LOG_MAX * 6] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < world->sent_count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%u", i ? " " : "",
                                world->sent[i].number);
    assert_string_equal(text, expected);
    forget_sent(world);
}

static inline void assert_ended(struct world *world, uint32_t number, enum lahar_outcome outcome,
                                const char *reason)
{
    assert_true(world->endings_count > 0);
    const struct ending *ending = &world->endings[--world->endings_count];
    assert_int_equal(ending->number, number);
    assert_int_equal(ending->outcome, outcome);
    assert_string_equal(ending->reason, reason);
}

#endif
