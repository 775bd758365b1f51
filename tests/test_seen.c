/* seen: the last 1,024 and no others, in bounded memory. */
#include "client/seen.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* As a mid is: a hash of the number. Some share the half that the map looks at. */
static const uint8_t *mid_of(uint64_t number)
{
    static uint64_t mid[2];
    mid[0] = (number / 3 + 1) * 0x9e3779b97f4a7c15u;
    mid[1] = number;
    return (const uint8_t *)mid;
}

static void remembers_the_last_1024_and_forgets_the_others(void **state)
{
    struct seen seen;
    (void)state;
    seen_init(&seen);
    for (uint64_t i = 0; i < 5000; i++) {
        assert_false(seen_before(&seen, mid_of(i)));
        seen_add(&seen, mid_of(i));
        assert_true(seen_before(&seen, mid_of(i)));
        uint64_t oldest = i < SEEN_MAX ? 0 : i - SEEN_MAX + 1;
        assert_true(seen_before(&seen, mid_of(oldest)));
        if (oldest > 0)
            assert_false(seen_before(&seen, mid_of(oldest - 1)));
    }
    for (uint64_t i = 0; i < 5000; i++)
        assert_int_equal(seen_before(&seen, mid_of(i)), i >= 5000 - SEEN_MAX);
    assert_int_equal(seen.map.count, SEEN_MAX);
    seen_free(&seen);
}

static void takes_no_memory_before_the_first_and_little_for_few(void **state)
{
    struct seen seen;
    (void)state;
    seen_init(&seen);
    assert_null(seen.mids);
    assert_false(seen_before(&seen, mid_of(1)));
    seen_add(&seen, mid_of(1));
    assert_true(seen.room <= 16);
    seen_free(&seen);
    assert_false(seen_before(&seen, mid_of(1)));
    seen_free(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_the_last_1024_and_forgets_the_others),
        cmocka_unit_test(takes_no_memory_before_the_first_and_little_for_few),
    };
    return cmocka_run_group_tests_name("seen", tests, NULL, NULL);
}
