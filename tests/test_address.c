/* address: only what is plainly a host and a port is taken for one. */
#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void takes_names_and_both_families_apart(void **state)
{
    (void)state;
    static const char *const good[][3] = {{"127.0.0.1:9100", "127.0.0.1", "9100"},
                                          {"redis.example:1", "redis.example", "1"},
                                          {"[::1]:65535", "::1", "65535"},
                                          {"localhost:0", "localhost", "0"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct address address;
        assert_true(address_parse(good[i][0], &address));
        assert_string_equal(address.host, good[i][1]);
        assert_string_equal(address.port, good[i][2]);
    }
}

static void refuses_what_is_missing_or_unclear(void **state)
{
    (void)state;
    const char *bad[] = {"",       ":",      "host",   "host:",    ":9100",  "host:65536", "h:-1",
                         "h:+1",   "h: 1",   "h:0x10", "::1:9100", "[]:1",   "[::1]",      "[::1]9",
                         "[::1:9", "::1]:9", "h:1 ",   "h:000001", "[[a]]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct address address;
        if (address_parse(bad[i], &address))
            fail_msg("took '%s'", bad[i]);
    }
    char name[400];
    memset(name, 'a', sizeof name);
    strcpy(name + ADDRESS_HOST_BYTES_MAX, ":1");
    struct address address;
    assert_true(address_parse(name, &address));
    memset(name, 'a', sizeof name);
    strcpy(name + ADDRESS_HOST_BYTES_MAX + 1, ":1");
    assert_false(address_parse(name, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_names_and_both_families_apart),
        cmocka_unit_test(refuses_what_is_missing_or_unclear),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
