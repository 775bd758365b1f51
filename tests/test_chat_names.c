/* chat_names: names are one's own, nobody looks like somebody else, and the file is never half one.
 */
#include "cli/chat_names.h"

#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = chat_names_new();
    return 0;
}

static int tear_down(void **state)
{
    chat_names_free(*state);
    return 0;
}

static enum chat_names_set name(struct chat_names *names, lahar_gid gid, const char *text)
{
    return chat_names_set(names, gid, span_text(text));
}

static void names_are_found_both_ways(void **state)
{
    struct chat_names *names = *state;
    assert_int_equal(name(names, 10002, "Bob"), CHAT_NAMES_SET);
    assert_int_equal(name(names, 10001, "  alice of the game "), CHAT_NAMES_SET);
    assert_string_equal(chat_names_of(names, 10001), "alice of the game");
    assert_string_equal(chat_names_of(names, 10002), "Bob");
    assert_string_equal(chat_names_of(names, 10003), "");
    assert_int_equal(chat_names_find(names, span_text("bob")), 10002);
    assert_int_equal(chat_names_find(names, span_text("bo")), 0);
    assert_int_equal(chat_names_complete(names, span_text("bo"), 0), 10002);
    assert_int_equal(chat_names_complete(names, span_text(""), 10001), 10002);
    assert_int_equal(name(names, 10002, "robert"), CHAT_NAMES_SET);
    assert_int_equal(chat_names_find(names, span_text("Bob")), 0);
    chat_names_remove(names, 10002);
    assert_string_equal(chat_names_of(names, 10002), "");
    assert_string_equal(chat_names_of(names, 10001), "alice of the game");
}

static void nobody_gets_to_look_like_somebody_else(void **state)
{
    struct chat_names *names = *state;
    assert_int_equal(name(names, 10001, "alice"), CHAT_NAMES_SET);
    assert_int_equal(name(names, 10002, "ALICE"), CHAT_NAMES_TAKEN);
    assert_int_equal(name(names, 10001, "Alice"), CHAT_NAMES_SET);
    assert_int_equal(name(names, 10002, "10001"), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 10002, "g17"), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 10002, ""), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 10002, "   "), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 0, "console"), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 10002, "123456789012345678901234567890123"), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 10002, "漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢"), CHAT_NAMES_SET);
    assert_int_equal(name(names, 10002, "漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢漢"), CHAT_NAMES_INVALID);
    assert_int_equal(name(names, 10003, "a\033[2J\nb"), CHAT_NAMES_SET);
    assert_string_equal(chat_names_of(names, 10003), "a␛[2J b");
}

static void make_folder(char folder[64])
{
    snprintf(folder, 64, "/tmp/test_chat_names.XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CONFIG_HOME", folder, 1);
}

static void remove_folder(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void the_file_is_of_one_user_and_comes_back_as_it_was(void **state)
{
    struct chat_names *names = *state;
    char folder[64], path[256], other[256];
    struct stat info;
    make_folder(folder);
    assert_true(chat_names_path("quick/start", 10007, path, sizeof path));
    assert_non_null(strstr(path, "/lahar/nicknames/quick_start-10007"));
    assert_true(chat_names_path("quick/start", 10008, other, sizeof other));
    assert_string_not_equal(path, other);
    assert_true(chat_names_load(names, path)); /* none yet */
    for (lahar_gid gid = 10001; gid < 10301; gid++) {
        char text[32];
        snprintf(text, sizeof text, "friend %u ü漢", (unsigned)gid * 7919 % 1000);
        assert_int_equal(name(names, gid, text), CHAT_NAMES_SET);
    }
    assert_true(chat_names_save(names, path));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    struct chat_names *again = chat_names_new();
    assert_true(chat_names_load(again, path));
    for (lahar_gid gid = 10001; gid < 10301; gid++)
        assert_string_equal(chat_names_of(again, gid), chat_names_of(names, gid));
    chat_names_free(again);
    remove_folder(folder);
}

static void a_save_that_fails_leaves_the_old_file_and_nothing_else(void **state)
{
    struct chat_names *names = *state;
    char folder[64], path[256], command[1024];
    make_folder(folder);
    assert_true(chat_names_path("c", 1, path, sizeof path));
    assert_int_equal(name(names, 10001, "alice"), CHAT_NAMES_SET);
    assert_true(chat_names_save(names, path));
    /* A folder in the file's place cannot be replaced by rename. */
    snprintf(command, sizeof command, "mv '%s' '%s.old' && mkdir -p '%s/x'", path, path, path);
    assert_int_equal(system(command), 0);
    assert_false(chat_names_save(names, path));
    assert_true(errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST);
    snprintf(command, sizeof command, "test \"$(ls '%s'/lahar/nicknames | wc -l)\" = 2", folder);
    assert_int_equal(system(command), 0);
    assert_false(chat_names_load(names, path));
    remove_folder(folder);
}

static void lines_that_cannot_be_read_are_left_out(void **state)
{
    struct chat_names *names = *state;
    char folder[64], path[256];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("# 10001 comment\n10002 bob\n\nnobody\nx y z\n10003 \033]0;x\007\n10004 bob\n10005 carol",
          file);
    fclose(file);
    assert_true(chat_names_load(names, path));
    assert_string_equal(chat_names_of(names, 10001), "");
    assert_string_equal(chat_names_of(names, 10002), "bob");
    assert_string_equal(chat_names_of(names, 10003), "␛]0;x␇");
    assert_string_equal(chat_names_of(names, 10004), "");
    assert_string_equal(chat_names_of(names, 10005), "carol");
    remove_folder(folder);
}

static void without_a_home_there_is_no_path(void **state)
{
    char path[256];
    (void)state;
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", "/home/u", 1);
    assert_true(chat_names_path("c", 10001, path, sizeof path));
    assert_string_equal(path, "/home/u/.config/lahar/nicknames/c-10001");
    assert_false(chat_names_path("c", 10001, path, 20));
    assert_false(
        chat_names_path("c", 10001, path, strlen("/home/u/.config/lahar/nicknames/c-10001")));
    unsetenv("HOME");
    assert_false(chat_names_path("c", 10001, path, sizeof path));
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(names_are_found_both_ways),
        CLAIM(nobody_gets_to_look_like_somebody_else),
        CLAIM(the_file_is_of_one_user_and_comes_back_as_it_was),
        CLAIM(a_save_that_fails_leaves_the_old_file_and_nothing_else),
        CLAIM(lines_that_cannot_be_read_are_left_out),
        CLAIM(without_a_home_there_is_no_path),
    };
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    return cmocka_run_group_tests_name("chat_names", tests, NULL, NULL);
}
