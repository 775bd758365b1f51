/* proxy: a header is read at every point at which it can be cut, nothing behind it is touched, and
 * what is no header is known by its first wrong byte. */
#include "edge/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct header {
    const char *what;
    const char *bytes;
    size_t len;
    enum proxy_status status;
    const char *address;
    uint16_t port;
};

#define HEADER(what, text, status, address, port)                                                  \
    {                                                                                              \
        what, text, sizeof text - 1, status, address, port                                         \
    }
#define TCP4 "\xc0\x00\x02\x07\x0a\x00\x00\x01\x30\x39\x1e\x14"
#define V6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0"
#define TCP6 V6 "\x07" V6 "\x01\x30\x39\x1e\x14"

static const struct header good[] = {
    HEADER("tcp4", SIGNATURE "\x21\x11\x00\x0c" TCP4, PROXY_CLIENT, "192.0.2.7", 12345),
    HEADER("tcp6", SIGNATURE "\x21\x21\x00\x24" TCP6, PROXY_CLIENT, "2001:db8::7", 12345),
    HEADER("tcp4 with additions",
           SIGNATURE "\x21\x11\x00\x13" TCP4 "\x04\x00\x04"
                     "abcd",
           PROXY_CLIENT, "192.0.2.7", 12345),
    HEADER("local", SIGNATURE "\x20\x00\x00\x00", PROXY_OWN, NULL, 0),
    HEADER("local with addresses", SIGNATURE "\x20\x11\x00\x0c" TCP4, PROXY_OWN, NULL, 0),
    HEADER("unspecified", SIGNATURE "\x21\x00\x00\x00", PROXY_OWN, NULL, 0),
    HEADER("unspecified with additions",
           SIGNATURE "\x21\x00\x00\x03"
                     "abc",
           PROXY_OWN, NULL, 0),
    HEADER("udp4", SIGNATURE "\x21\x12\x00\x0c" TCP4, PROXY_OWN, NULL, 0),
    HEADER("a family to come",
           SIGNATURE "\x21\x41\x00\x02"
                     "xx",
           PROXY_OWN, NULL, 0),
};

static const struct header bad[] = {
    HEADER("version 1", "PROXY TCP4 192.0.2.7 10.0.0.1 12345 7700\r\n", PROXY_INVALID, NULL, 0),
    HEADER("a client's Hello", "\x0a\x0a\x08\x01", PROXY_INVALID, NULL, 0),
    HEADER("TLS", "\x16\x03\x01\x02\x00\x01", PROXY_INVALID, NULL, 0),
    HEADER("HTTP", "GET / HTTP/1.1\r\n", PROXY_INVALID, NULL, 0),
    HEADER("wrong version", SIGNATURE "\x11\x11\x00\x0c" TCP4, PROXY_INVALID, NULL, 0),
    HEADER("version 3", SIGNATURE "\x31\x11\x00\x0c" TCP4, PROXY_INVALID, NULL, 0),
    HEADER("unknown command", SIGNATURE "\x22\x11\x00\x0c" TCP4, PROXY_INVALID, NULL, 0),
    HEADER("tcp4 too short", SIGNATURE "\x21\x11\x00\x0b" TCP4, PROXY_INVALID, NULL, 0),
    HEADER("tcp6 too short", SIGNATURE "\x21\x21\x00\x23" TCP6, PROXY_INVALID, NULL, 0),
    HEADER("tcp6 with addresses of tcp4", SIGNATURE "\x21\x21\x00\x0c" TCP4, PROXY_INVALID, NULL,
           0),
    HEADER("one byte too long", SIGNATURE "\x21\x11\x03\xf1" TCP4, PROXY_INVALID, NULL, 0),
    HEADER("as long as can be", SIGNATURE "\x21\x11\xff\xff" TCP4, PROXY_INVALID, NULL, 0),
};

/* A copy that ends where its memory ends, so that a sanitizer sees a step too far. */
static enum proxy_status read_copy(const char *bytes, size_t len, size_t *needed,
                                   struct sockaddr_storage *from)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum proxy_status status = proxy_read(span_of(copy, len), needed, from);
    free(copy);
    return status;
}

static void a_header_cut_anywhere_says_how_much_is_needed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        for (size_t len = 0; len < good[i].len; len++) {
            size_t needed;
            struct sockaddr_storage from;
            enum proxy_status status = read_copy(good[i].bytes, len, &needed, &from);
            if (status != PROXY_PARTIAL)
                fail_msg("%s, %zu of %zu bytes: %d", good[i].what, len, good[i].len, (int)status);
            assert_int_equal(needed, len < 16 ? 16 : good[i].len);
        }
    }
}

static void a_whole_header_names_the_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t needed;
        struct sockaddr_storage from;
        char text[INET6_ADDRSTRLEN] = "", behind[512];
        memcpy(behind, good[i].bytes, good[i].len);
        memset(behind + good[i].len, '\n', sizeof behind - good[i].len);
        if (proxy_read(span_of(behind, sizeof behind), &needed, &from) != good[i].status)
            fail_msg("%s", good[i].what);
        assert_int_equal(needed, good[i].len);
        if (good[i].status != PROXY_CLIENT)
            continue;
        const struct sockaddr_in *in = (const struct sockaddr_in *)&from;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&from;
        bool v6 = from.ss_family == AF_INET6;
        assert_true(v6 || from.ss_family == AF_INET);
        assert_non_null(v6 ? inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text)
                           : inet_ntop(AF_INET, &in->sin_addr, text, sizeof text));
        assert_string_equal(text, good[i].address);
        assert_int_equal(ntohs(v6 ? in6->sin6_port : in->sin_port), good[i].port);
    }
}

static void what_is_no_header_is_refused_and_never_awaited(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t needed;
        struct sockaddr_storage from;
        if (read_copy(bad[i].bytes, bad[i].len, &needed, &from) != PROXY_INVALID)
            fail_msg("%s", bad[i].what);
    }
}

static void the_first_wrong_byte_of_the_signature_is_enough(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 12; len++) {
        char bytes[12];
        size_t needed;
        struct sockaddr_storage from;
        memcpy(bytes, SIGNATURE, 12);
        bytes[len - 1] ^= 1;
        assert_int_equal(read_copy(bytes, len, &needed, &from), PROXY_INVALID);
    }
}

static void the_longest_header_is_taken(void **state)
{
    (void)state;
    char bytes[PROXY_BYTES_MAX] = SIGNATURE "\x21\x11\x03\xf0" TCP4;
    size_t needed;
    struct sockaddr_storage from;
    assert_int_equal(read_copy(bytes, sizeof bytes, &needed, &from), PROXY_CLIENT);
    assert_int_equal(needed, PROXY_BYTES_MAX);
    assert_int_equal(read_copy(bytes, sizeof bytes - 1, &needed, &from), PROXY_PARTIAL);
}

/* ---- nets ---- */

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage at = {.ss_family = AF_INET};
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&at)->sin_addr) == 1)
        return at;
    at.ss_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&at)->sin6_addr), 1);
    return at;
}

static void a_net_has_the_addresses_that_begin_as_it_does(void **state)
{
    (void)state;
    static const struct {
        const char *net, *address;
        bool has;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "a00::1", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"192.0.2.6/31", "192.0.2.7", true},
        {"192.0.2.6/31", "192.0.2.8", false},
        {"172.16.0.0/12", "172.31.0.1", true},
        {"172.16.0.0/12", "172.32.0.1", false},
        {"0.0.0.0/0", "203.0.113.1", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"fc00::/7", "fd12::1", true},
        {"fc00::/7", "fe80::1", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"::/0", "2001:db8::1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proxy_net net;
        struct sockaddr_storage at = address(cases[i].address);
        if (!proxy_net_parse(cases[i].net, &net) ||
            proxy_net_has(&net, (const struct sockaddr *)&at) != cases[i].has)
            fail_msg("%s in %s", cases[i].address, cases[i].net);
    }
    struct sockaddr_storage none = {.ss_family = AF_UNIX};
    struct proxy_net all;
    assert_true(proxy_net_parse("::/0", &all));
    assert_false(proxy_net_has(&all, (const struct sockaddr *)&none));
}

static void knows_a_net_when_it_sees_one(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.1/8",
        "10.0.0/8",
        "10.0.0.0/8/8",
        "/8",
        "::/129",
        "::1/64",
        "[::1]",
        "10.0.0.0 ",
        "host",
        "10.0.0.0/8x",
        "::g",
        "10.0.0.0/1000",
        "1.2.3.4:80",
        "::ffff:1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct proxy_net net;
        if (proxy_net_parse(wrong[i], &net))
            fail_msg("taken for a net: '%s'", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_cut_anywhere_says_how_much_is_needed),
        cmocka_unit_test(a_whole_header_names_the_client),
        cmocka_unit_test(what_is_no_header_is_refused_and_never_awaited),
        cmocka_unit_test(the_first_wrong_byte_of_the_signature_is_enough),
        cmocka_unit_test(the_longest_header_is_taken),
        cmocka_unit_test(a_net_has_the_addresses_that_begin_as_it_does),
        cmocka_unit_test(knows_a_net_when_it_sees_one),
    };
    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
