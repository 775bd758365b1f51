/* A file of keys, as a list and as a secret: what is read is keys, and reads the same once written
 * out.
 *
 * Covers: proto/keys.c.
 */
#include "proto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct span text, bool list)
{
    char keys[KEYS_ALLOWED_MAX][KEYS_Z85_SIZE], again[KEYS_ALLOWED_MAX][KEYS_Z85_SIZE];
    char plain[KEYS_ALLOWED_MAX * KEYS_Z85_SIZE];
    uint32_t count, count_again;
    struct keys_error error;
    if (!keys_parse(text, list, keys, &count, &error)) {
        assert(memchr(error.text, 0, sizeof error.text) != NULL && error.text[0] != 0);
        return;
    }
    assert(count <= KEYS_ALLOWED_MAX && (list || count == 1));
    for (uint32_t i = 0; i < count; i++) {
        assert(strlen(keys[i]) == KEYS_Z85_SIZE - 1);
        memcpy(plain + i * KEYS_Z85_SIZE, keys[i], KEYS_Z85_SIZE - 1);
        plain[(i + 1) * KEYS_Z85_SIZE - 1] = '\n';
    }
    bool good =
        keys_parse(span_of(plain, count * KEYS_Z85_SIZE), list, again, &count_again, &error);
    assert(good && count_again == count);
    assert(memcmp(keys, again, count * KEYS_Z85_SIZE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(span_of(data, size), true);
    check(span_of(data, size), false);
    return 0;
}
