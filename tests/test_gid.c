/* gid: the vectors are for ever: they were taken from the entry points of libxxhash itself, on
 * bytes put together by hand. Who changes one of them moves every user to another shard. */
#include "proto/gid.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void hash_and_slot_are_those_of_the_vectors(void **state)
{
    (void)state;
    static const struct {
        uint64_t gid, hash;
        uint32_t slot;
    } vectors[] = {
        {0x0000000000000001, 0x2fbc593564db792e, 14638},
        {0x0000000000002711, 0xa4388b0cd7193015, 12309},
        {0x0000000000002712, 0x3683ba4b884c60d7, 8407},
        {0x00007048860ddf79, 0x4430a23edb710eb6, 3766},
        {0x001fffffffffffff, 0x7c21423830c24a1b, 2587},
        {0x1000000000002711, 0xb61990916c780370, 880},
        {0x2000000000002711, 0x5c9d8dbb8240efc0, 12224},
        {0x3000000000002711, 0x5689b125b7f69075, 4213},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_int_equal(gid_hash(vectors[i].gid), vectors[i].hash);
        assert_int_equal(gid_slot(vectors[i].gid), vectors[i].slot);
    }
}

static void the_hash_of_a_user_is_that_of_the_vectors(void **state)
{
    (void)state;
    char site[32], user[220];
    memset(site, 's', sizeof site);
    memset(user, 'u', sizeof user);
    assert_int_equal(gid_user_hash(span_text("game"), span_text("alice")), 0x74eaded5335ba933);
    assert_int_equal(gid_user_hash(span_text("social"), span_text("bob")), 0x4deb2de5c9da668c);
    assert_int_equal(gid_user_hash(span_text("ab"), span_text("c")), 0x6e8e5ea3e8f78b4d);
    assert_int_equal(gid_user_hash(span_text("a"), span_text("bc")), 0xfb326f94d972279f);
    assert_int_equal(gid_user_hash(span_of(site, 32), span_of(user, 128)), 0x17c9d1f295032348);
    assert_int_equal(gid_user_hash(span_of(site, 32), span_of(user, 220)), 0x163c9283e9b976f7);
}

static void the_hash_of_a_device_is_that_of_the_vectors(void **state)
{
    (void)state;
    assert_int_equal(gid_device_hash(span_text("a")), 0xe6c632b61e964e1f);
    assert_int_equal(gid_device_hash(span_text("phone")), 0xa87521fef45a0e59);
    assert_int_equal(gid_device_hash(span_text("abcdefghijklmnopqrstuvwxyz._-012")),
                     0x149694718029deae);
}

static void the_mix_of_a_session_is_that_of_the_vector(void **state)
{
    (void)state;
    assert_int_equal(gid_session_mix(10001, 0x0123456789abcdef, UINT64_C(5) << 32 | 7),
                     0x454c287eaa359282);
}

static void a_mid_is_that_of_the_vectors(void **state)
{
    (void)state;
    static const uint8_t first[GID_MID_SIZE] = {0x1d, 0x85, 0x10, 0x9b, 0xde, 0x42, 0xf5, 0x9a,
                                                0xc6, 0xd0, 0xfb, 0x1d, 0x72, 0x5f, 0x40, 0xed};
    static const uint8_t second[GID_MID_SIZE] = {0x4c, 0x0d, 0x54, 0xf9, 0x46, 0x23, 0xb7, 0x06,
                                                 0x53, 0xa9, 0xca, 0x29, 0x37, 0x54, 0xed, 0x29};
    uint8_t cmid[GID_CMID_SIZE], mid[GID_MID_SIZE];
    memcpy(cmid, "0123456789abcdef", sizeof cmid);
    gid_mid(10001, 0x0123456789abcdef, cmid, mid);
    assert_memory_equal(mid, first, sizeof mid);
    memset(cmid, 0, sizeof cmid);
    gid_mid((UINT64_C(1) << 53) - 1, 0, cmid, mid);
    assert_memory_equal(mid, second, sizeof mid);
}

/* -------------------------------------------------------------------------------------------------
 */

static void valid_are_four_kinds_and_numbers_below_2_to_the_53(void **state)
{
    (void)state;
    const uint64_t last = (UINT64_C(1) << 53) - 1;
    for (uint64_t kind = 0; kind < 16; kind++) {
        assert_int_equal(gid_valid(kind << 60 | 1), kind < GID_KINDS);
        assert_int_equal(gid_valid(kind << 60 | last), kind < GID_KINDS);
        assert_int_equal(gid_kind(kind << 60 | last), kind);
        assert_false(gid_valid(kind << 60));
        assert_false(gid_valid(kind << 60 | (last + 1)));
        assert_false(gid_valid(kind << 60 | UINT64_C(1) << 59 | 1));
    }
}

static void text_and_number_are_each_others(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t gid;
    } pairs[] = {
        {"1", 1},
        {"10001", 10001},
        {"9007199254740991", (UINT64_C(1) << 53) - 1},
        {"g10001", UINT64_C(1) << 60 | 10001},
        {"s7", UINT64_C(2) << 60 | 7},
        {"x9007199254740991", UINT64_C(3) << 60 | ((UINT64_C(1) << 53) - 1)},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char text[GID_TEXT_SIZE];
        uint64_t gid;
        assert_string_equal(gid_format(pairs[i].gid, text), pairs[i].text);
        assert_true(gid_parse(span_text(pairs[i].text), &gid));
        assert_int_equal(gid, pairs[i].gid);
    }
}

static void text_that_is_not_exactly_a_gid_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "0",
                                        "01",
                                        "g",
                                        "g0",
                                        "g01",
                                        "u1",
                                        "G1",
                                        "gg1",
                                        "1g",
                                        " 1",
                                        "1 ",
                                        "+1",
                                        "-1",
                                        "1.0",
                                        "0x1",
                                        "1\n",
                                        "9007199254740992",
                                        "s9007199254740992",
                                        "18446744073709551617"};
    uint64_t gid = 42;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(gid_parse(span_text(texts[i]), &gid));
    assert_false(gid_parse(span_of("1\0", 2), &gid));
    assert_false(gid_parse(span_of(NULL, 0), &gid));
    assert_int_equal(gid, 42);
}

static void an_invalid_gid_is_written_as_such(void **state)
{
    (void)state;
    char text[GID_TEXT_SIZE];
    assert_string_equal(gid_format(0, text), "?0000000000000000");
    assert_string_equal(gid_format(UINT64_MAX, text), "?ffffffffffffffff");
    assert_string_equal(gid_format(UINT64_C(1) << 53 | 1, text), "?0020000000000001");
}

static void a_device_name_has_1_to_32_of_its_letters(void **state)
{
    (void)state;
    char name[33];
    memset(name, 'a', sizeof name);
    assert_false(gid_device_valid(span_of(name, 0)));
    assert_true(gid_device_valid(span_of(name, 1)));
    assert_true(gid_device_valid(span_of(name, 32)));
    assert_false(gid_device_valid(span_of(name, 33)));
    const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    for (unsigned c = 0; c < 256; c++) {
        name[1] = (char)c;
        assert_int_equal(gid_device_valid(span_of(name, 3)),
                         c != 0 && strchr(letters, (int)c) != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_and_slot_are_those_of_the_vectors),
        cmocka_unit_test(the_hash_of_a_user_is_that_of_the_vectors),
        cmocka_unit_test(the_hash_of_a_device_is_that_of_the_vectors),
        cmocka_unit_test(the_mix_of_a_session_is_that_of_the_vector),
        cmocka_unit_test(a_mid_is_that_of_the_vectors),
        cmocka_unit_test(valid_are_four_kinds_and_numbers_below_2_to_the_53),
        cmocka_unit_test(text_and_number_are_each_others),
        cmocka_unit_test(text_that_is_not_exactly_a_gid_is_refused),
        cmocka_unit_test(an_invalid_gid_is_written_as_such),
        cmocka_unit_test(a_device_name_has_1_to_32_of_its_letters),
    };
    return cmocka_run_group_tests_name("gid", tests, NULL, NULL);
}
