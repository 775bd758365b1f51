/* rand: all bytes asked for are drawn, and no others touched. */
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void fills_all_that_is_asked_for_and_no_more(void **state)
{
    (void)state;
    enum { LEN = 1000 }; /* more than the kernel gives without looking for signals */
    uint8_t bytes[LEN + 1];
    bool changed[LEN] = {false};
    for (uint32_t round = 0; round < 20; round++) {
        memset(bytes, 0, sizeof bytes);
        rand_bytes(bytes, LEN);
        for (uint32_t i = 0; i < LEN; i++)
            changed[i] |= bytes[i] != 0;
        assert_int_equal(bytes[LEN], 0);
    }
    for (uint32_t i = 0; i < LEN; i++)
        assert_true(changed[i]);
    rand_bytes(bytes, 0);
}

static void numbers_differ_in_every_bit(void **state)
{
    (void)state;
    uint64_t ones = 0, zeros = 0;
    for (uint32_t i = 0; i < 200; i++) {
        uint64_t value = rand_u64();
        ones |= value;
        zeros |= ~value;
    }
    assert_true(ones == UINT64_MAX);
    assert_true(zeros == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_all_that_is_asked_for_and_no_more),
        cmocka_unit_test(numbers_differ_in_every_bit),
    };
    return cmocka_run_group_tests_name("rand", tests, NULL, NULL);
}
