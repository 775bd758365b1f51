/* chat_input: the cursor goes by characters as they are seen, and nothing typed is lost by chance.
 */
#include "cli/chat_input.h"

#include "cli/chat_text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = chat_input_new();
    return 0;
}

static int tear_down(void **state)
{
    chat_input_free(*state);
    return 0;
}

static void type(struct chat_input *input, const char *text)
{
    assert_true(chat_input_insert(input, span_text(text)));
}

/* The text with | where the cursor is. */
static void assert_shows(const struct chat_input *input, const char *expected)
{
    char out[512];
    struct span text = chat_input_text(input);
    int before = (int)chat_input_cursor(input);
    snprintf(out, sizeof out, "%.*s|%.*s", before, (const char *)text.at, (int)text.len - before,
             (const char *)text.at + before);
    assert_string_equal(out, expected);
}

static void edits(struct chat_input *input, enum chat_input_edit edit, int times)
{
    while (times-- > 0)
        chat_input_edit(input, edit);
}

static void inserts_at_the_cursor(void **state)
{
    struct chat_input *input = *state;
    type(input, "helo");
    edits(input, CHAT_INPUT_LEFT, 1);
    type(input, "l");
    assert_shows(input, "hell|o");
    edits(input, CHAT_INPUT_LEFT, 99);
    assert_shows(input, "|hello");
    edits(input, CHAT_INPUT_RIGHT, 99);
    assert_shows(input, "hello|");
}

static void goes_by_whole_characters_with_their_marks(void **state)
{
    struct chat_input *input = *state;
    type(input, "ae\u0301漢b");
    edits(input, CHAT_INPUT_LEFT, 2);
    assert_shows(input, "ae\u0301|漢b");
    edits(input, CHAT_INPUT_LEFT, 1);
    assert_shows(input, "a|e\u0301漢b");
    edits(input, CHAT_INPUT_DELETE, 1);
    assert_shows(input, "a|漢b");
    edits(input, CHAT_INPUT_RIGHT, 1);
    edits(input, CHAT_INPUT_BACKSPACE, 1);
    assert_shows(input, "a|b");
}

static void a_mark_typed_by_itself_joins_the_character_before_it(void **state)
{
    struct chat_input *input = *state;
    type(input, "e");
    type(input, "\u0301");
    assert_int_equal(chat_text_columns(chat_input_text(input)), 1);
    edits(input, CHAT_INPUT_BACKSPACE, 1);
    assert_shows(input, "|");
}

static void words_are_jumped_over_and_cut(void **state)
{
    struct chat_input *input = *state;
    type(input, "one, größe three ");
    edits(input, CHAT_INPUT_WORD_LEFT, 1);
    assert_shows(input, "one, größe |three ");
    edits(input, CHAT_INPUT_WORD_LEFT, 1);
    assert_shows(input, "one, |größe three ");
    edits(input, CHAT_INPUT_WORD_RIGHT, 1);
    assert_shows(input, "one, größe| three ");
    edits(input, CHAT_INPUT_CUT_WORD, 1);
    assert_shows(input, "one, | three ");
    edits(input, CHAT_INPUT_END, 1);
    edits(input, CHAT_INPUT_YANK, 2);
    assert_shows(input, "one,  three größegröße|");
    edits(input, CHAT_INPUT_CUT_TO_HOME, 1);
    assert_shows(input, "|");
    edits(input, CHAT_INPUT_YANK, 1);
    edits(input, CHAT_INPUT_HOME, 1);
    edits(input, CHAT_INPUT_RIGHT, 3);
    edits(input, CHAT_INPUT_CUT_TO_END, 1);
    assert_shows(input, "one|");
}

static void what_is_pasted_is_made_clean(void **state)
{
    struct chat_input *input = *state;
    type(input, "\033[31mred\r\n\tend\x9d");
    assert_shows(input, "␛[31mred\n end�|");
}

static void up_and_down_go_by_lines_and_then_through_what_was_entered(void **state)
{
    struct chat_input *input = *state;
    type(input, "first");
    chat_input_enter(input);
    type(input, "second");
    chat_input_enter(input);
    assert_shows(input, "|");
    type(input, "long line\nx\nlast");
    edits(input, CHAT_INPUT_UP, 1);
    assert_shows(input, "long line\nx|\nlast");
    edits(input, CHAT_INPUT_UP, 1);
    assert_shows(input, "l|ong line\nx\nlast");
    edits(input, CHAT_INPUT_UP, 1);
    assert_shows(input, "second|");
    edits(input, CHAT_INPUT_UP, 5);
    assert_shows(input, "first|");
    edits(input, CHAT_INPUT_DOWN, 2);
    assert_shows(input, "long line\nx\nlast|");
    edits(input, CHAT_INPUT_DOWN, 2);
    assert_shows(input, "long line\nx\nlast|");
}

static void the_history_is_bounded_and_holds_nothing_twice_in_a_row(void **state)
{
    struct chat_input *input = *state;
    char line[16];
    for (unsigned i = 0; i < CHAT_INPUT_HISTORY_MAX + 10; i++) {
        for (int times = 0; times < 2; times++) {
            snprintf(line, sizeof line, "line %u", i);
            type(input, line);
            chat_input_enter(input);
        }
    }
    edits(input, CHAT_INPUT_UP, 1000);
    assert_shows(input, "line 10|");
}

static void refuses_what_has_no_room_and_keeps_the_rest(void **state)
{
    struct chat_input *input = *state;
    static char much[CHAT_INPUT_BYTES_MAX];
    memset(much, 'a', sizeof much);
    assert_true(chat_input_insert(input, span_of(much, sizeof much - 1)));
    assert_false(chat_input_insert(input, span_text("漢")));
    assert_true(chat_input_insert(input, span_text("b")));
    assert_false(chat_input_insert(input, span_text("c")));
    assert_int_equal(chat_input_text(input).len, CHAT_INPUT_BYTES_MAX);
}

/* ---- rows ---- */

static void assert_rows(const struct chat_input *input, int columns, size_t height,
                        const char *expected)
{
    char out[512] = "";
    struct span rows[16];
    size_t cursor_row = 99;
    int cursor_column = 99;
    size_t count = chat_input_rows(input, columns, height, rows, &cursor_row, &cursor_column);
    for (size_t i = 0; i < count; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s/", (int)rows[i].len,
                 (const char *)rows[i].at);
    snprintf(out + strlen(out), sizeof out - strlen(out), " %zu,%d", cursor_row, cursor_column);
    assert_string_equal(out, expected);
}

static void rows_show_the_cursor_where_the_next_character_will_be(void **state)
{
    struct chat_input *input = *state;
    assert_rows(input, 5, 3, "/ 0,0");
    type(input, "abc");
    assert_rows(input, 5, 3, "abc/ 0,3");
    type(input, "de");
    assert_rows(input, 5, 3, "abcde// 1,0");
    type(input, "漢");
    assert_rows(input, 5, 3, "abcde/漢/ 1,2");
    edits(input, CHAT_INPUT_LEFT, 1);
    assert_rows(input, 5, 3, "abcde/漢/ 1,0");
    edits(input, CHAT_INPUT_END, 1);
    type(input, "\n");
    assert_rows(input, 5, 3, "abcde/漢// 2,0");
    edits(input, CHAT_INPUT_LEFT, 1);
    assert_rows(input, 5, 3, "abcde/漢// 1,2");
}

static void a_wide_character_that_does_not_fit_goes_to_the_next_row(void **state)
{
    struct chat_input *input = *state;
    type(input, "abcd漢");
    assert_rows(input, 5, 3, "abcd/漢/ 1,2");
    assert_rows(input, 1, 9, "a/b/c/d/漢// 5,0");
}

static void with_too_many_rows_those_around_the_cursor_are_shown(void **state)
{
    struct chat_input *input = *state;
    type(input, "1\n2\n3\n4");
    assert_rows(input, 5, 2, "3/4/ 1,1");
    edits(input, CHAT_INPUT_UP, 2);
    assert_rows(input, 5, 2, "1/2/ 1,1");
    edits(input, CHAT_INPUT_UP, 1);
    assert_rows(input, 5, 2, "1/2/ 0,1");
}

static void the_cursor_is_found_wherever_it_is(void **state)
{
    struct chat_input *input = *state;
    type(input, "ab 漢字\n\ncd e\u0301\nend 😀");
    size_t steps = 0;
    for (edits(input, CHAT_INPUT_HOME, 2);; chat_input_edit(input, CHAT_INPUT_RIGHT)) {
        for (int columns = 2; columns < 12; columns++) {
            struct span rows[4];
            size_t row = 99;
            int column = 99;
            size_t count = chat_input_rows(input, columns, 4, rows, &row, &column);
            assert_true(row < count && column <= columns);
        }
        steps++;
        if (chat_input_cursor(input) == chat_input_text(input).len)
            break;
    }
    assert_int_equal(steps, 18);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(inserts_at_the_cursor),
        CLAIM(goes_by_whole_characters_with_their_marks),
        CLAIM(a_mark_typed_by_itself_joins_the_character_before_it),
        CLAIM(words_are_jumped_over_and_cut),
        CLAIM(what_is_pasted_is_made_clean),
        CLAIM(up_and_down_go_by_lines_and_then_through_what_was_entered),
        CLAIM(the_history_is_bounded_and_holds_nothing_twice_in_a_row),
        CLAIM(refuses_what_has_no_room_and_keeps_the_rest),
        CLAIM(rows_show_the_cursor_where_the_next_character_will_be),
        CLAIM(a_wide_character_that_does_not_fit_goes_to_the_next_row),
        CLAIM(with_too_many_rows_those_around_the_cursor_are_shown),
        CLAIM(the_cursor_is_found_wherever_it_is),
    };
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    return cmocka_run_group_tests_name("chat_input", tests, NULL, NULL);
}
