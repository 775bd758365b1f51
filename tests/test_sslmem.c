/* sslmem: OpenSSL's SSL objects lie packed, whatever is done with them. */
#include "edge/sslmem.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 300u /* more than one block holds */

static void objects_lie_closer_than_8_kib_and_do_not_overlap(void **state)
{
    (void)state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    static SSL *streams[COUNT];
    uint32_t close = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        streams[i] = SSL_new(ctx);
        assert_non_null(streams[i]);
        ptrdiff_t gap = i == 0 ? 0 : (const char *)streams[i] - (const char *)streams[i - 1];
        close += gap > 7168 && gap < 8192;
    }
    assert_true(close >= COUNT - 5);
    for (uint32_t i = 0; i < COUNT; i++)
        SSL_free(streams[i]);
    SSL_CTX_free(ctx);
}

static void what_was_freed_is_used_again_first(void **state)
{
    (void)state;
    void *first = OPENSSL_malloc(7600), *second = OPENSSL_malloc(7600);
    assert_true(first != NULL && second != NULL && first != second);
    OPENSSL_free(first);
    assert_ptr_equal(OPENSSL_malloc(7600), first);
    OPENSSL_free(first);
    OPENSSL_free(second);
}

static void an_object_that_grows_or_shrinks_keeps_its_bytes(void **state)
{
    (void)state;
    char *at = OPENSSL_malloc(7600);
    memset(at, 'a', 7600);
    at = OPENSSL_realloc(at, 20000); /* out of the block */
    assert_non_null(at);
    for (int i = 0; i < 7600; i++)
        assert_int_equal(at[i], 'a');
    at = OPENSSL_realloc(at, 100);
    at = OPENSSL_realloc(at, 7500); /* by malloc still: it was never packed */
    assert_non_null(at);
    assert_int_equal(at[99], 'a');
    OPENSSL_free(at);
    at = OPENSSL_malloc(7600);
    memset(at, 'b', 7600);
    at = OPENSSL_realloc(at, 50);
    assert_non_null(at);
    assert_memory_equal(at, "bbbbbbbbbb", 10);
    OPENSSL_free(at);
}

static void sizes_that_no_object_has_come_from_malloc(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 7168, 8192, 8193, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *at = OPENSSL_malloc(sizes[i]);
        assert_non_null(at);
        memset(at, 1, sizes[i]); /* a sanitizer sees what does not fit */
        OPENSSL_free(at);
    }
    OPENSSL_free(NULL);
}

int main(void)
{
    sslmem_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_lie_closer_than_8_kib_and_do_not_overlap),
        cmocka_unit_test(what_was_freed_is_used_again_first),
        cmocka_unit_test(an_object_that_grows_or_shrinks_keeps_its_bytes),
        cmocka_unit_test(sizes_that_no_object_has_come_from_malloc),
    };
    return cmocka_run_group_tests_name("sslmem", tests, NULL, NULL);
}
