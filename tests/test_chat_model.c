/* chat_model: what was said is where one looks for it, and strangers cannot fill the memory. */
#include "cli/chat_model.h"

#include "cli/chat_body.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALICE 10001u
#define BOB 10002u

static int set_up(void **state)
{
    *state = chat_model_new();
    return 0;
}

static int tear_down(void **state)
{
    chat_model_free(*state);
    return 0;
}

static void hear(struct chat_model *model, lahar_gid from, const char *text)
{
    chat_model_received(model, from, from, span_text(text), 1000);
}

static const uint8_t *id_of(uint8_t number)
{
    static uint8_t id[LAHAR_ID_SIZE];
    memset(id, number, sizeof id);
    return id;
}

static void say(struct chat_model *model, lahar_gid to, uint8_t id, const char *text)
{
    chat_model_sent(model, to, id_of(id), CHAT_MARK_SENDING, span_text(text), 1000);
}

static void end(struct chat_model *model, lahar_gid to, uint8_t id, enum lahar_outcome outcome,
                const char *reason)
{
    struct lahar_result_of_send result = {
        .to = to, .outcome = outcome, .reason = "x", .reason_text = reason};
    memcpy(result.id, id_of(id), sizeof result.id);
    chat_model_outcome(model, &result);
}

static struct chat_message *last(struct chat_model *model, lahar_gid gid)
{
    struct chat_conversation *conversation = chat_model_find(model, gid);
    assert_non_null(conversation);
    assert_true(conversation->count > 0);
    return &conversation->messages[conversation->count - 1];
}

static void assert_text(const struct chat_message *message, const char *text)
{
    assert_int_equal(message->text.len, strlen(text));
    assert_memory_equal(message->text.at, text, strlen(text));
}

static void the_conversation_spoken_in_last_stands_first_and_the_console_last(void **state)
{
    struct chat_model *model = *state;
    assert_int_equal(chat_model_count(model), 1);
    hear(model, ALICE, "one");
    hear(model, BOB, "two");
    assert_int_equal(chat_model_at(model, 0)->gid, BOB);
    say(model, ALICE, 1, "three");
    chat_model_note(model, "a note", 1000);
    assert_int_equal(chat_model_at(model, 0)->gid, ALICE);
    assert_int_equal(chat_model_at(model, 1)->gid, BOB);
    assert_int_equal(chat_model_at(model, 2)->gid, 0);
}

static void what_comes_in_is_cleaned(void **state)
{
    struct chat_model *model = *state;
    hear(model, ALICE, "\033[2Jhi\r\nthere");
    assert_text(last(model, ALICE), "␛[2Jhi\nthere");
}

static void only_what_is_not_open_is_unread(void **state)
{
    struct chat_model *model = *state;
    (void)chat_model_open(model, BOB);
    hear(model, BOB, "seen");
    hear(model, ALICE, "old");
    (void)chat_model_open(model, ALICE);
    (void)chat_model_open(model, BOB);
    hear(model, ALICE, "new 1");
    hear(model, ALICE, "new 2");
    assert_int_equal(chat_model_unread(model), 2);
    assert_int_equal(chat_model_find(model, BOB)->unread, 0);
    assert_true(chat_model_open_unread(model));
    assert_int_equal(chat_model_current(model)->gid, ALICE);
    assert_int_equal(chat_model_unread(model), 0);
    assert_int_equal(chat_model_current(model)->new_from,
                     chat_model_current(model)->messages[1].serial);
    assert_false(chat_model_open_unread(model));
    (void)chat_model_open(model, BOB);
    assert_int_equal(chat_model_find(model, ALICE)->new_from, 0);
}

static void an_outcome_marks_the_message_with_its_id(void **state)
{
    struct chat_model *model = *state;
    say(model, BOB, 1, "one");
    say(model, BOB, 2, "two");
    say(model, BOB, 3, "three");
    say(model, BOB, 4, "four");
    end(model, BOB, 2, LAHAR_REFUSED, "nobody there");
    end(model, BOB, 1, LAHAR_DELIVERED, "");
    end(model, BOB, 3, LAHAR_UNKNOWN, "no answer");
    end(model, BOB, 99, LAHAR_DELIVERED, "");
    end(model, ALICE, 4, LAHAR_DELIVERED, "");
    const struct chat_message *messages = chat_model_find(model, BOB)->messages;
    assert_int_equal(messages[0].mark, CHAT_MARK_DELIVERED);
    assert_int_equal(messages[1].mark, CHAT_MARK_REFUSED);
    assert_string_equal(messages[1].reason, "nobody there");
    assert_int_equal(messages[2].mark, CHAT_MARK_UNKNOWN);
    assert_int_equal(messages[3].mark, CHAT_MARK_SENDING);
}

static void what_failed_is_found_the_latest_first(void **state)
{
    struct chat_model *model = *state;
    say(model, BOB, 1, "one");
    say(model, BOB, 2, "two");
    say(model, BOB, 3, "three");
    end(model, BOB, 1, LAHAR_UNKNOWN, "");
    end(model, BOB, 2, LAHAR_DELIVERED, "");
    end(model, BOB, 3, LAHAR_REFUSED, "");
    struct chat_conversation *bob = chat_model_find(model, BOB);
    struct chat_message *failed = chat_model_failed(bob, 0);
    assert_text(failed, "three");
    failed = chat_model_failed(bob, failed->serial);
    assert_text(failed, "one");
    assert_null(chat_model_failed(bob, failed->serial));
}

static void a_stranger_cannot_put_words_into_our_mouth(void **state)
{
    struct chat_model *model = *state;
    uint8_t zero[LAHAR_ID_SIZE] = {0};
    hear(model, BOB, "mine");
    struct lahar_result_of_send result = {
        .to = BOB, .outcome = LAHAR_DELIVERED, .reason = "", .reason_text = ""};
    memcpy(result.id, zero, sizeof zero);
    chat_model_outcome(model, &result);
    assert_int_equal(last(model, BOB)->mark, CHAT_MARK_THEIRS);
}

static void typing_ends_with_the_message_and_opens_nothing(void **state)
{
    struct chat_model *model = *state;
    chat_model_typing(model, BOB, 5000);
    assert_null(chat_model_find(model, BOB));
    hear(model, BOB, "hello");
    chat_model_typing(model, BOB, 5000);
    assert_int_equal(chat_model_find(model, BOB)->typing_until_ms, 5000);
    hear(model, BOB, "world");
    assert_int_equal(chat_model_find(model, BOB)->typing_until_ms, 0);
}

static void steps_go_round(void **state)
{
    struct chat_model *model = *state;
    hear(model, ALICE, "one");
    hear(model, BOB, "two");
    (void)chat_model_open(model, BOB);
    chat_model_step(model, 1);
    assert_int_equal(chat_model_current(model)->gid, ALICE);
    chat_model_step(model, 2);
    assert_int_equal(chat_model_current(model)->gid, BOB);
    chat_model_step(model, -1);
    assert_int_equal(chat_model_current(model)->gid, 0);
}

static void a_flood_from_one_keeps_the_newest_within_the_limits(void **state)
{
    struct chat_model *model = *state;
    char text[32];
    for (unsigned i = 0; i < 5 * CHAT_MODEL_MESSAGES_MAX; i++) {
        snprintf(text, sizeof text, "message %u", i);
        hear(model, BOB, text);
        assert_true(chat_model_find(model, BOB)->count <= CHAT_MODEL_MESSAGES_MAX);
        assert_text(last(model, BOB), text);
    }
    assert_true(chat_model_find(model, BOB)->count > CHAT_MODEL_MESSAGES_MAX / 2);
    static char big[60 * 1024];
    memset(big, '\033', sizeof big - 1); /* cleaned it has three times its size */
    for (unsigned i = 0; i < 50; i++) {
        hear(model, BOB, big);
        assert_true(chat_model_find(model, BOB)->bytes <= CHAT_MODEL_BYTES_MAX);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < chat_model_find(model, BOB)->count; i++)
        bytes += chat_model_find(model, BOB)->messages[i].text.len;
    assert_int_equal(bytes, chat_model_find(model, BOB)->bytes);
}

static void a_flood_from_many_keeps_the_one_that_is_open(void **state)
{
    struct chat_model *model = *state;
    hear(model, ALICE, "first");
    (void)chat_model_open(model, ALICE);
    for (lahar_gid gid = 20000; gid < 20000 + 3 * CHAT_MODEL_CONVERSATIONS_MAX; gid++)
        hear(model, gid, "buy this");
    assert_int_equal(chat_model_count(model), CHAT_MODEL_CONVERSATIONS_MAX + 1);
    assert_int_equal(chat_model_current(model)->gid, ALICE);
    assert_non_null(chat_model_find(model, ALICE));
    assert_non_null(chat_model_find(model, 0));
    assert_null(chat_model_find(model, 20000));
}

static void marks_are_told_from_text_by_class_and_first_byte(void **state)
{
    (void)state;
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_text("\001t")), CHAT_BODY_IS_TYPING);
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_text("\001s")), CHAT_BODY_HAS_STOPPED);
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_text("\001t later")),
                     CHAT_BODY_IS_TYPING);
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_text("\001z")), CHAT_BODY_IGNORED);
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_text("\001")), CHAT_BODY_IGNORED);
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_text("t")), CHAT_BODY_TEXT);
    assert_int_equal(chat_body_kind(LAHAR_EPHEMERAL, span_of(NULL, 0)), CHAT_BODY_TEXT);
    assert_int_equal(chat_body_kind(LAHAR_CONFIRMED, span_text("\001t")), CHAT_BODY_TEXT);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(the_conversation_spoken_in_last_stands_first_and_the_console_last),
        CLAIM(what_comes_in_is_cleaned),
        CLAIM(only_what_is_not_open_is_unread),
        CLAIM(an_outcome_marks_the_message_with_its_id),
        CLAIM(what_failed_is_found_the_latest_first),
        CLAIM(a_stranger_cannot_put_words_into_our_mouth),
        CLAIM(typing_ends_with_the_message_and_opens_nothing),
        CLAIM(steps_go_round),
        CLAIM(a_flood_from_one_keeps_the_newest_within_the_limits),
        CLAIM(a_flood_from_many_keeps_the_one_that_is_open),
        CLAIM(marks_are_told_from_text_by_class_and_first_byte),
    };
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    return cmocka_run_group_tests_name("chat_model", tests, NULL, NULL);
}
