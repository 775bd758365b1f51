/* buf: what comes out is what went in, whatever the steps. */
#include "base/buf.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t random_state = 88172645463325252;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void what_comes_out_is_what_went_in(void **state)
{
    (void)state;
    struct buf buf = {0};
    uint8_t in = 0, out = 0; /* the stream counts up */
    uint8_t bytes[3000];
    for (uint32_t step = 0; step < 50000; step++) {
        size_t len = (size_t)(random_u64() % (1u << random_u64() % 12));
        switch (random_u64() % 3) {
        case 0:
            len = len < sizeof bytes ? len : sizeof bytes;
            for (size_t i = 0; i < len; i++)
                bytes[i] = in++;
            buf_append(&buf, span_of(bytes, len));
            break;
        case 1: {
            uint8_t *at = buf_reserve(&buf, len + 10);
            memset(at, 0xee, len + 10); /* all of it is ours */
            for (size_t i = 0; i < len; i++)
                at[i] = in++;
            buf_commit(&buf, len);
            break;
        }
        default:
            len = len * 2 < buf_len(&buf) ? len * 2 : buf_len(&buf);
            for (size_t i = 0; i < len; i++)
                assert_int_equal(buf_span(&buf).at[i], out++);
            buf_consume(&buf, len, step % 2 == 0 ? 0 : 1024);
            break;
        }
        assert_int_equal((uint8_t)(in - out), (uint8_t)buf_len(&buf));
    }
    buf_free(&buf);
}

static void empty_it_holds_no_memory_unless_asked_to(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_append(&buf, span_of("", 0));
    assert_null(buf.bytes);
    assert_int_equal(span_after(buf_span(&buf), 0).len, 0);
    buf_append(&buf, span_text("hello"));
    buf_consume(&buf, 2, 0);
    assert_non_null(buf.bytes);
    buf_consume(&buf, 3, 0);
    assert_null(buf.bytes);
    assert_int_equal(buf.room, 0);

    buf_append(&buf, span_text("hello"));
    buf_consume(&buf, 5, 1024);
    assert_non_null(buf.bytes);
    assert_int_equal(buf.begin, 0);
    buf_consume(&buf, 0, 0); /* and now */
    assert_null(buf.bytes);
}

static void a_queue_that_never_empties_stays_in_proportion(void **state)
{
    (void)state;
    struct buf buf = {0};
    uint8_t bytes[10] = {0};
    for (uint32_t i = 0; i < 100; i++)
        buf_append(&buf, span_of(bytes, 10));
    const uint8_t *last = buf.bytes;
    uint32_t moves = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        buf_append(&buf, span_of(bytes, 10));
        uint32_t begin = buf.begin;
        buf_consume(&buf, 10, 0);
        moves += buf.bytes != last || begin == 0;
        last = buf.bytes;
    }
    assert_int_equal(buf_len(&buf), 1000);
    assert_true(buf.room <= 4096);
    assert_true(moves <= 2000); /* at most one of 1,000 bytes for each 500 that pass */
    buf_free(&buf);
}

static void more_than_a_gibibyte_is_a_bug(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct buf buf = {0};
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        buf_append(&buf, span_text("x"));
        buf_reserve(&buf, 1u << 30);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void what_is_trimmed_was_at_the_end(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_append(&buf, span_text("one two"));
    buf_consume(&buf, 1, 0);
    buf_trim(&buf, 4);
    assert_true(span_equal(buf_span(&buf), span_text("ne")));
    buf_append(&buf, span_text("xt"));
    assert_true(span_equal(buf_span(&buf), span_text("next")));
    buf_trim(&buf, 4);
    assert_int_equal(buf_len(&buf), 0);
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_out_is_what_went_in),
        cmocka_unit_test(empty_it_holds_no_memory_unless_asked_to),
        cmocka_unit_test(a_queue_that_never_empties_stays_in_proportion),
        cmocka_unit_test(what_is_trimmed_was_at_the_end),
        cmocka_unit_test(more_than_a_gibibyte_is_a_bug),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
