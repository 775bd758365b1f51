/* The HTTP before WebSocket, both sides: any head gives the same outcome at every split, and what
 * is read of a good one lies within it. The first byte says whose side: a server's, a client's, or
 * a client's request with this path and host, which a server then must understand.
 *
 * Covers: proto/ws_upgrade.c. Longest input: 1024.
 */
#include "proto/ws_upgrade.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fake_sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    memset(digest, 7, 20);
    for (size_t i = 0; i < len; i++)
        digest[i % 20] ^= ((const uint8_t *)bytes)[i];
}

static bool within(struct span part, struct span whole)
{
    return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void check_server(struct span head)
{
    struct ws_upgrade request = {0}, sooner;
    enum ws_upgrade_outcome outcome = ws_upgrade_parse(head, &request);
    assert(outcome < WS_UPGRADE_OUTCOMES);
    for (size_t i = 0; i < head.len; i++) {
        enum ws_upgrade_outcome before = ws_upgrade_parse(span_upto(head, i), &sooner);
        assert(before == WS_UPGRADE_PARTIAL || before == outcome);
    }
    if (outcome == WS_UPGRADE_OK) {
        assert(request.size <= head.len && request.size <= WS_UPGRADE_SIZE_MAX);
        struct span used = span_upto(head, request.size);
        assert(within(request.path, used) && within(request.host, used));
        assert(within(request.origin, used) && within(request.key, used));
        assert(request.key.len == WS_UPGRADE_KEY_SIZE && request.path.at[0] == '/');
        char accept[WS_UPGRADE_ACCEPT_SIZE];
        uint8_t answer[WS_UPGRADE_ANSWER_SIZE_MAX];
        size_t size;
        ws_upgrade_accept(request.key, fake_sha1, accept);
        size_t len = ws_upgrade_answer_write(answer, accept);
        enum ws_upgrade_outcome heard =
            ws_upgrade_parse_answer(span_of(answer, len), accept, &size);
        assert(heard == WS_UPGRADE_OK && size == len);
    } else if (ws_upgrade_status(outcome) != 0) {
        uint8_t answer[WS_UPGRADE_ANSWER_SIZE_MAX];
        size_t len = ws_upgrade_refusal_write(answer, outcome);
        assert(len > 0 && len <= sizeof answer && memcmp(answer, "HTTP/1.1 ", 9) == 0);
        assert(ws_upgrade_label(outcome)[0] != '\0' && ws_upgrade_text(outcome)[0] != '\0');
    }
}

static void check_client(struct span head)
{
    char accept[WS_UPGRADE_ACCEPT_SIZE];
    size_t size = 0;
    ws_upgrade_accept(span_text("AAAAAAAAAAAAAAAAAAAAAA=="), fake_sha1, accept);
    enum ws_upgrade_outcome outcome = ws_upgrade_parse_answer(head, accept, &size);
    assert(outcome < WS_UPGRADE_OUTCOMES && (outcome != WS_UPGRADE_OK || size <= head.len));
    for (size_t i = 0; i < head.len; i++) {
        enum ws_upgrade_outcome before = ws_upgrade_parse_answer(span_upto(head, i), accept, &size);
        assert(before == WS_UPGRADE_PARTIAL || before == outcome);
    }
}

/* "host\npath" */
static void check_request(struct span text)
{
    uint8_t out[WS_UPGRADE_SIZE_MAX], nonce[WS_UPGRADE_NONCE_SIZE] = {3};
    char key[WS_UPGRADE_KEY_SIZE], *both = calloc(1, text.len + 1);
    assert(both != NULL);
    if (text.len > 0)
        memcpy(both, text.at, text.len);
    char *path = strchr(both, '\n');
    if (path != NULL)
        *path++ = '\0';
    ws_upgrade_key(nonce, key);
    size_t len = ws_upgrade_request_write(out, both, path == NULL ? "/" : path, key);
    struct ws_upgrade request;
    if (len > 0) {
        enum ws_upgrade_outcome outcome = ws_upgrade_parse(span_of(out, len), &request);
        assert(outcome == WS_UPGRADE_OK && request.size == len);
        assert(span_equal(request.path, span_text(path == NULL ? "/" : path)));
        assert(ws_upgrade_path_valid(request.path));
    }
    free(both);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    /* Of exactly its size. */
    uint8_t *copy = malloc(size);
    assert(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct span rest = span_of(copy, size - 1);
    if (data[0] % 3 == 0)
        check_server(rest);
    else if (data[0] % 3 == 1)
        check_client(rest);
    else
        check_request(rest);
    free(copy);
    return 0;
}
