/* chat_pane: rows are never wider than their field, scrolling meets every row once. */
#include "cli/chat_pane.h"

#include "cli/chat_text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define SELF 10001u
#define BOB 10002u
#define NOON 1767268800000u /* 1 January 2026, 12:00 UTC */

struct world {
    struct chat_model *model;
    struct chat_names *names;
    struct chat_pane pane;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->model = chat_model_new();
    world->names = chat_names_new();
    world->pane =
        (struct chat_pane){.names = world->names, .self = SELF, .columns = 60, .height = 10};
    world->pane.conversation = chat_model_open(world->model, BOB);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    chat_model_free(world->model);
    chat_names_free(world->names);
    free(world);
    return 0;
}

static void hear(struct world *world, const char *text, uint64_t minutes)
{
    chat_model_received(world->model, BOB, BOB, span_text(text), NOON + minutes * 60000);
}

static void say(struct world *world, const char *text)
{
    static const uint8_t id[LAHAR_ID_SIZE] = {1};
    chat_model_sent(world->model, BOB, id, CHAT_MARK_SENDING, span_text(text), NOON);
}

/* All rows as one text: when, label and text by columns, a sign for the mark. */
static void assert_rows(struct world *world, const char *expected)
{
    struct chat_row rows[64];
    char out[4096] = "";
    size_t count = chat_pane_rows(&world->pane, rows), len = 0;
    for (size_t i = 0; i < count; i++) {
        const struct chat_row *row = &rows[i];
        if (row->kind == CHAT_ROW_DIVIDER) {
            len += (size_t)snprintf(out + len, sizeof out - len, "-- %s\n", row->label);
            continue;
        }
        int at = snprintf(out + len, sizeof out - len, "%-*s%s", *row->when ? 6 : 0, row->when,
                          row->label);
        len += (size_t)at;
        while (at++ < row->indent)
            out[len++] = ' ';
        len += (size_t)snprintf(out + len, sizeof out - len, "%.*s%s\n", (int)row->text.len,
                                (const char *)row->text.at,
                                row->mark == CHAT_MARK_THEIRS      ? ""
                                : row->mark == CHAT_MARK_SENDING   ? " .."
                                : row->mark == CHAT_MARK_DELIVERED ? " ok"
                                                                   : " !");
    }
    assert_string_equal(out, expected);
}

static void shows_time_name_text_and_mark(void **state)
{
    struct world *world = *state;
    assert_int_equal(chat_names_set(world->names, BOB, span_text("bob")), CHAT_NAMES_SET);
    hear(world, "hello", 0);
    say(world, "hi");
    assert_rows(world, "-- Thursday,  1 January 2026\n"
                       "12:00 bob        hello\n"
                       "12:00 you        hi ..\n");
}

static void continues_where_the_text_began_or_further_left_if_it_is_narrow(void **state)
{
    struct world *world = *state;
    say(world, "one two three four five six seven eight nine ten eleven");
    assert_rows(world, "-- Thursday,  1 January 2026\n"
                       "12:00 you        one two three four five six seven eight\n"
                       "                 nine ten eleven ..\n");
    world->pane.columns = 30;
    assert_rows(world, "-- Thursday,  1 January 2026\n"
                       "12:00 you one two three four\n"
                       "  five six seven eight nine\n"
                       "  ten eleven ..\n");
}

static void says_below_it_why_a_message_was_refused(void **state)
{
    struct world *world = *state;
    say(world, "hi");
    chat_model_refused(&chat_model_find(world->model, BOB)->messages[0], "nobody there");
    assert_rows(world, "-- Thursday,  1 January 2026\n"
                       "12:00 you        hi !\n"
                       "                 nobody there\n");
}

static void a_new_day_and_what_is_new_are_divided_off(void **state)
{
    struct world *world = *state;
    hear(world, "old", 0);
    (void)chat_model_open(world->model, 0);
    hear(world, "next day", 24 * 60);
    (void)chat_model_open(world->model, BOB);
    assert_rows(world, "-- Thursday,  1 January 2026\n"
                       "12:00 10002      old\n"
                       "-- Friday,  2 January 2026\n"
                       "-- new\n"
                       "12:00 10002      next day\n");
}

static void scrolling_stops_at_both_ends_and_follows_at_the_lower(void **state)
{
    struct world *world = *state;
    struct chat_conversation *bob = chat_model_find(world->model, BOB);
    world->pane.height = 2;
    hear(world, "1", 0);
    hear(world, "2", 0);
    hear(world, "3\n4", 0);
    assert_rows(world, "12:00 10002      3\n"
                       "                 4\n");
    chat_pane_scroll(&world->pane, bob, 1);
    assert_rows(world, "12:00 10002      2\n"
                       "12:00 10002      3\n");
    hear(world, "5", 0); /* what one reads stays where it is */
    assert_rows(world, "12:00 10002      2\n"
                       "12:00 10002      3\n");
    chat_pane_scroll(&world->pane, bob, 100);
    assert_rows(world, "-- Thursday,  1 January 2026\n"
                       "12:00 10002      1\n");
    chat_pane_scroll(&world->pane, bob, -100);
    assert_int_equal(bob->bottom_serial, 0);
    assert_rows(world, "                 4\n"
                       "12:00 10002      5\n");
}

static void scrolling_by_one_meets_every_row_in_its_order(void **state)
{
    struct world *world = *state;
    struct chat_conversation *bob = chat_model_find(world->model, BOB);
    struct chat_row all[128], row[1];
    for (int i = 0; i < 12; i++)
        hear(world, i % 3 ? "short" : "a long one that needs some rows of its own\nand\n\nmore",
             (uint64_t)i * 300);
    for (int columns = CHAT_PANE_COLUMNS_MIN; columns < 70; columns += 7) {
        world->pane.columns = columns;
        world->pane.height = 128;
        bob->bottom_serial = 0;
        size_t count = chat_pane_rows(&world->pane, all);
        assert_true(count > 20 && count < 128);
        world->pane.height = 1;
        for (size_t i = count; i > 0; i--) {
            assert_int_equal(chat_pane_rows(&world->pane, row), 1);
            assert_int_equal(row[0].kind, all[i - 1].kind);
            assert_ptr_equal(row[0].text.at, all[i - 1].text.at);
            assert_string_equal(row[0].label, all[i - 1].label);
            chat_pane_scroll(&world->pane, bob, 1);
        }
    }
}

static void no_row_is_wider_than_its_field(void **state)
{
    struct world *world = *state;
    static struct chat_row rows[4000];
    assert_int_equal(
        chat_names_set(world->names, BOB, span_text("漢字漢字漢字漢字漢字漢字漢字漢字")),
        CHAT_NAMES_SET);
    static char huge[60 * 1024];
    memset(huge, 'x', sizeof huge - 1);
    hear(world, huge, 0);
    hear(world, "漢字かな交じり文で長い一行を書くとこうなる e\u0301e\u0301e\u0301 \033[2J", 0);
    say(world, "漢");
    world->pane.height = 4000;
    for (int columns = CHAT_PANE_COLUMNS_MIN; columns < 300; columns++) {
        world->pane.columns = columns;
        size_t count = chat_pane_rows(&world->pane, rows);
        for (size_t i = 0; i < count; i++) {
            int mark = rows[i].mark == CHAT_MARK_THEIRS ? 0 : 2;
            assert_true(rows[i].indent + chat_text_columns(rows[i].text) + mark <= columns);
            if (rows[i].kind == CHAT_ROW_TEXT && rows[i].label[0])
                assert_true(6 + chat_text_columns(span_text(rows[i].label)) < rows[i].indent);
        }
    }
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(shows_time_name_text_and_mark),
        CLAIM(continues_where_the_text_began_or_further_left_if_it_is_narrow),
        CLAIM(says_below_it_why_a_message_was_refused),
        CLAIM(a_new_day_and_what_is_new_are_divided_off),
        CLAIM(scrolling_stops_at_both_ends_and_follows_at_the_lower),
        CLAIM(scrolling_by_one_meets_every_row_in_its_order),
        CLAIM(no_row_is_wider_than_its_field),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    return cmocka_run_group_tests_name("chat_pane", tests, NULL, NULL);
}
