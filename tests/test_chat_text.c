/* chat_text: whatever bytes come, what reaches the screen is text and stays in its row. */
#include "cli/chat_text.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#include <cmocka.h>

static void assert_clean(const char *from, const char *to)
{
    char *clean = chat_text_clean(span_text(from), true, NULL);
    assert_string_equal(clean, to);
    free(clean);
}

static void plain_text_stays_as_it_is(void **state)
{
    (void)state;
    assert_clean("hello, world", "hello, world");
    assert_clean("naïve 漢字 кот 😀", "naïve 漢字 кот 😀");
    assert_clean("two\nlines\r\nthree\rfour", "two\nlines\nthree\nfour");
    assert_clean("e\xcc\x81", "e\xcc\x81");
    assert_clean("", "");
}

static void escape_sequences_and_controls_are_signs(void **state)
{
    (void)state;
    assert_clean("\033[2J\033]0;mine\007", "␛[2J␛]0;mine␇");
    assert_clean("a\bb\x7f", "a␈b␡");
    assert_clean("\xc2\x9b"
                 "2J", /* CSI as one C1 character */
                 "�2J");
    assert_clean("\x9b"
                 "2J", /* and as one byte */
                 "�2J");
    assert_clean("\x0e\x0f", "␎␏");
}

static void what_turns_the_direction_around_is_a_sign(void **state)
{
    (void)state;
    assert_clean("a\u202egpj.exe", "a�gpj.exe");
    assert_clean("\u2066\u2069\u200f\u061c", "����");
    assert_clean("שלום", "שלום"); /* the script itself is text */
}

static void what_is_no_utf8_is_a_sign_for_each_byte(void **state)
{
    (void)state;
    assert_clean("\xff\xfe", "��");
    assert_clean("\xc0\xaf", "��");           /* overlong */
    assert_clean("\xed\xa0\x80", "���");      /* surrogate */
    assert_clean("\xf4\x90\x80\x80", "����"); /* beyond Unicode */
    assert_clean("cut \xe6\xbc", "cut ��");
}

static void marks_do_not_pile_up_and_stand_on_something(void **state)
{
    (void)state;
    assert_clean("a\u0301\u0302\u0303\u0304\u0305", "a\u0301\u0302\u0303");
    assert_clean("\u0301x", "◌\u0301x");
    assert_clean("x\n\u0301", "x\n◌\u0301");
}

static void invisible_characters_are_left_out(void **state)
{
    (void)state;
    assert_clean("pay\u200bpal\ufeff \u00ad", "paypal ");
    assert_clean("❤\ufe0f👩\u200d💻👍🏽", "❤👩💻👍");
    assert_clean("می\u200cخواهم", "می\u200cخواهم"); /* where the joiner is part of the spelling */
}

static void newlines_are_limited_and_absent_where_a_line_is_wanted(void **state)
{
    (void)state;
    static char many[4000];
    memset(many, '\n', sizeof many - 1);
    size_t len, newlines = 0;
    char *clean = chat_text_clean(span_text(many), true, &len);
    for (size_t i = 0; i < len; i++)
        newlines += clean[i] == '\n';
    assert_int_equal(newlines, CHAT_TEXT_LINES_MAX);
    free(clean);
    clean = chat_text_clean(span_text("a\r\nb\u2028c"), false, NULL);
    assert_string_equal(clean, "a b c");
    free(clean);
}

/* Everything printed must be something that wcwidth gives a width, in UTF-8. */
static void random_bytes_become_text_with_a_width(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        size_t size = (size_t)rand() % sizeof bytes, len;
        for (size_t i = 0; i < size; i++) /* half of it almost right: code points, cut */
            bytes[i] = (uint8_t)rand();
        for (size_t i = 0; round % 2 && i + 4 < size; i += 3)
            (void)chat_text_encode((uint32_t)rand() % 0x110000, (char *)bytes + i);
        char *clean = chat_text_clean(span_of(bytes, size), true, &len);
        assert_int_equal(strlen(clean), len);
        struct span rest = span_of(clean, len);
        while (rest.len > 0) {
            uint32_t point;
            size_t used = chat_text_decode(rest, &point);
            assert_true(point == 0xfffd ? used == 3 : true);
            assert_true(point == '\n' || (point >= 0x20 && wcwidth((wchar_t)point) >= 0));
            assert_false(point >= 0x202a && point <= 0x202e);
            rest = span_after(rest, used);
        }
        free(clean);
    }
}

static void encode_and_decode_agree_on_every_character(void **state)
{
    (void)state;
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        char bytes[4];
        uint32_t back;
        if (point >= 0xd800 && point <= 0xdfff)
            continue;
        size_t len = chat_text_encode(point, bytes);
        assert_int_equal(chat_text_decode(span_of(bytes, len), &back), len);
        assert_int_equal(back, point);
    }
}

static void columns_are_those_of_the_screen(void **state)
{
    (void)state;
    assert_int_equal(chat_text_columns(span_text("abc")), 3);
    assert_int_equal(chat_text_columns(span_text("漢字")), 4);
    assert_int_equal(chat_text_columns(span_text("e\u0301a\u0302\u0303")), 2);
    assert_int_equal(chat_text_columns(span_text("😀!")), 3);
    assert_int_equal(chat_text_fit(span_text("漢字"), 3).len, 3);
    assert_int_equal(chat_text_fit(span_text("ae\u0301b"), 2).len, 4);
}

static void first_and_last_take_a_character_with_its_marks(void **state)
{
    (void)state;
    struct span text = span_text("ae\u0301");
    assert_int_equal(chat_text_first(text).bytes, 1);
    assert_int_equal(chat_text_last(text).bytes, 3);
    assert_int_equal(chat_text_last(text).columns, 1);
    assert_int_equal(chat_text_last(span_text("漢")).bytes, 3);
    assert_int_equal(chat_text_last(span_text("漢")).columns, 2);
    assert_int_equal(chat_text_last(span_text("a\n")).bytes, 1);
    assert_int_equal(chat_text_first(span_text("\nabc")).bytes, 1);
}

static void shortens_with_dots_and_never_through_a_character(void **state)
{
    char out[32], small[6];
    (void)state;
    chat_text_shorten(span_text("hello"), 5, out, sizeof out);
    assert_string_equal(out, "hello");
    chat_text_shorten(span_text("hello"), 4, out, sizeof out);
    assert_string_equal(out, "hel…");
    chat_text_shorten(span_text("漢字"), 3, out, sizeof out);
    assert_string_equal(out, "漢…");
    chat_text_shorten(span_text("漢字"), 2, out, sizeof out);
    assert_string_equal(out, "…");
    chat_text_shorten(span_text("漢字"), 0, out, sizeof out);
    assert_string_equal(out, "");
    chat_text_shorten(span_text("漢字漢字"), 40, small, sizeof small);
    assert_string_equal(small, "…");
}

/* ---- rows ---- */

static void assert_rows(const char *text, int columns, const char *expected)
{
    char out[512] = "";
    struct span rest = span_text(text);
    while (rest.len > 0) {
        struct span row = chat_text_row(&rest, columns);
        strncat(out, (const char *)row.at, row.len);
        strcat(out, "|");
    }
    assert_string_equal(out, expected);
}

static void breaks_behind_words(void **state)
{
    (void)state;
    assert_rows("the quick brown fox", 10, "the quick|brown fox|");
    assert_rows("the quick brown fox", 9, "the quick|brown fox|");
    assert_rows("one", 10, "one|");
    assert_rows("a b c", 1, "a|b|c|");
}

static void breaks_a_word_that_is_too_long_anywhere(void **state)
{
    (void)state;
    assert_rows("abcdefghij", 4, "abcd|efgh|ij|");
    assert_rows("x abcdefghij", 4, "x|abcd|efgh|ij|");
}

static void breaks_between_wide_characters_and_never_within_one(void **state)
{
    (void)state;
    assert_rows("漢字漢字", 5, "漢字|漢字|");
    assert_rows("a漢字", 2, "a|漢|字|");
    assert_rows("漢", 1, "漢|");
}

static void newlines_end_rows_and_empty_ones_stay(void **state)
{
    (void)state;
    assert_rows("a\n\nb", 5, "a||b|");
    assert_rows("abc\nd", 3, "abc|d|");
}

static void rows_lose_nothing_but_breaks_and_are_never_too_wide(void **state)
{
    (void)state;
    static const char text[] =
        "Lorem ipsum 漢字かな交じり文 dolor é sit 😀😀 amet, averyveryverylongword end";
    for (int columns = 2; columns < 90; columns++) {
        struct span rest = span_text(text);
        size_t bytes = 0, spaces = 0;
        while (rest.len > 0) {
            struct span row = chat_text_row(&rest, columns);
            assert_true(chat_text_columns(row) <= columns);
            bytes += row.len;
            if (rest.len > 0 && row.at + row.len < rest.at)
                spaces += (size_t)(rest.at - row.at) - row.len;
        }
        assert_int_equal(bytes + spaces, sizeof text - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_stays_as_it_is),
        cmocka_unit_test(escape_sequences_and_controls_are_signs),
        cmocka_unit_test(what_turns_the_direction_around_is_a_sign),
        cmocka_unit_test(what_is_no_utf8_is_a_sign_for_each_byte),
        cmocka_unit_test(marks_do_not_pile_up_and_stand_on_something),
        cmocka_unit_test(invisible_characters_are_left_out),
        cmocka_unit_test(newlines_are_limited_and_absent_where_a_line_is_wanted),
        cmocka_unit_test(random_bytes_become_text_with_a_width),
        cmocka_unit_test(encode_and_decode_agree_on_every_character),
        cmocka_unit_test(columns_are_those_of_the_screen),
        cmocka_unit_test(first_and_last_take_a_character_with_its_marks),
        cmocka_unit_test(shortens_with_dots_and_never_through_a_character),
        cmocka_unit_test(breaks_behind_words),
        cmocka_unit_test(breaks_a_word_that_is_too_long_anywhere),
        cmocka_unit_test(breaks_between_wide_characters_and_never_within_one),
        cmocka_unit_test(newlines_end_rows_and_empty_ones_stay),
        cmocka_unit_test(rows_lose_nothing_but_breaks_and_are_never_too_wide),
    };
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    return cmocka_run_group_tests_name("chat_text", tests, NULL, NULL);
}
