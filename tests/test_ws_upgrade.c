/* ws_upgrade: what is not an upgrade is refused for one reason, from the line that shows it and at
 * every split; and both halves understand each other. */
#include "ws_upgrades.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(table) (sizeof table / sizeof table[0])

static void sha1(const void *bytes, size_t len, uint8_t digest[20])
{
    SHA1(bytes, len, digest);
}

/* In a block of its exact size. */
static enum ws_upgrade_outcome parse(const char *head, size_t len, struct ws_upgrade *request)
{
    static char *block;
    free(block);
    block = malloc(len > 0 ? len : 1);
    assert_non_null(block);
    memcpy(block, head, len);
    return ws_upgrade_parse(span_of(block, len), request);
}

/* What each prefix gives: nothing until some byte, from then on always the same. */
static void expect_at_every_split(const struct ws_upgrade_case *c, size_t earliest)
{
    struct ws_upgrade request;
    bool decided = false;
    for (size_t len = 0; len <= c->len; len++) {
        enum ws_upgrade_outcome got = parse(c->head, len, &request);
        if (got == WS_UPGRADE_PARTIAL && !decided)
            continue;
        if (got != c->outcome || len < earliest)
            fail_msg("%s: after %zu of %zu bytes: %s", c->what, len, c->len, ws_upgrade_label(got));
        decided = true;
    }
    if (!decided)
        fail_msg("%s: never refused", c->what);
}

static void what_is_malformed_is_refused_at_every_split(void **state)
{
    (void)state;
    assert_true(COUNT(ws_upgrades_bad) >= 80);
    for (size_t i = 0; i < COUNT(ws_upgrades_bad); i++)
        expect_at_every_split(&ws_upgrades_bad[i], 1);
}

static void what_is_odd_but_right_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ws_upgrades_good); i++) {
        const char *end = strstr(ws_upgrades_good[i].head, "\r\n\r\n");
        expect_at_every_split(&ws_upgrades_good[i], (size_t)(end + 4 - ws_upgrades_good[i].head));
    }
}

static void a_good_head_cut_off_anywhere_is_partial(void **state)
{
    (void)state;
    struct ws_upgrade request;
    const char head[] = GET_ FIELDS_ END_;
    for (size_t len = 0; len < sizeof head - 1; len++)
        assert_int_equal(parse(head, len, &request), WS_UPGRADE_PARTIAL);
}

static void a_fault_is_told_from_its_line(void **state)
{
    (void)state;
    struct ws_upgrade request;
    assert_int_equal(parse("POST / HTTP/1.1\r\n", 17, &request), WS_UPGRADE_BAD_METHOD);
    const char version[] = GET_ "Sec-WebSocket-Version: 12\r\n";
    assert_int_equal(parse(version, sizeof version - 1, &request), WS_UPGRADE_BAD_VERSION);
    assert_int_equal(parse(version, sizeof version - 2, &request), WS_UPGRADE_PARTIAL);
}

static void gives_what_the_edge_must_know(void **state)
{
    (void)state;
    struct ws_upgrade request;
    const char head[] = GET_ FIELDS_ "Origin: https://games.example\r\n" END_ "more";
    assert_int_equal(parse(head, sizeof head - 1, &request), WS_UPGRADE_OK);
    assert_true(span_equal(request.path, span_text("/lahar?x=1")));
    assert_true(span_equal(request.host, span_text("edge.example:7702")));
    assert_true(span_equal(request.origin, span_text("https://games.example")));
    assert_true(span_equal(request.key, span_text("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_int_equal(request.size, sizeof head - 1 - 4);

    const char without[] = GET_ FIELDS_ END_;
    assert_int_equal(parse(without, sizeof without - 1, &request), WS_UPGRADE_OK);
    assert_int_equal(request.origin.len, 0);
}

/* A head of `len` bytes, filled up by one long field. */
static char *head_of(size_t len)
{
    const char begin[] = GET_ FIELDS_ "X: ", end[] = "\r\n\r\n";
    char *head = malloc(len + 1);
    assert_non_null(head);
    memset(head, 'x', len);
    memcpy(head, begin, sizeof begin - 1);
    memcpy(head + len - 4, end, sizeof end);
    return head;
}

static void the_limit_of_a_head_is_exact(void **state)
{
    (void)state;
    struct ws_upgrade request;
    char *head = head_of(WS_UPGRADE_SIZE_MAX);
    for (size_t len = 0; len < WS_UPGRADE_SIZE_MAX; len++)
        assert_int_equal(ws_upgrade_parse(span_of(head, len), &request), WS_UPGRADE_PARTIAL);
    assert_int_equal(parse(head, WS_UPGRADE_SIZE_MAX, &request), WS_UPGRADE_OK);
    assert_int_equal(request.size, WS_UPGRADE_SIZE_MAX);
    free(head);

    head = head_of(WS_UPGRADE_SIZE_MAX + 1);
    assert_int_equal(parse(head, WS_UPGRADE_SIZE_MAX - 1, &request), WS_UPGRADE_PARTIAL);
    assert_int_equal(parse(head, WS_UPGRADE_SIZE_MAX, &request), WS_UPGRADE_TOO_LONG);
    assert_int_equal(parse(head, WS_UPGRADE_SIZE_MAX + 1, &request), WS_UPGRADE_TOO_LONG);
    free(head);

    char endless[WS_UPGRADE_SIZE_MAX];
    memset(endless, 'G', sizeof endless);
    assert_int_equal(parse(endless, sizeof endless - 1, &request), WS_UPGRADE_PARTIAL);
    assert_int_equal(parse(endless, sizeof endless, &request), WS_UPGRADE_TOO_LONG);
}

/* What one wrong byte can do: the outcome is some refusal or none, and never depends on the split.
 */
static void no_flipped_bit_makes_the_split_matter(void **state)
{
    (void)state;
    static const char head[] = GET_ FIELDS_ "Origin: https://a\r\n" END_;
    char flipped[sizeof head];
    struct ws_upgrade request;
    for (size_t at = 0; at < sizeof head - 1; at++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(flipped, head, sizeof head);
            flipped[at] = (char)(flipped[at] ^ 1 << bit);
            struct ws_upgrade_case c = {"flipped", flipped, sizeof head - 1, WS_UPGRADE_OK};
            c.outcome = parse(flipped, c.len, &request);
            if (c.outcome != WS_UPGRADE_PARTIAL)
                expect_at_every_split(&c, 1);
        }
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

#define ACCEPT_ "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* RFC 6455 section 1.3 */
#define STATUS_ "HTTP/1.1 101 Switching Protocols\r\n"
#define ACC_ "Sec-WebSocket-Accept: " ACCEPT_ "\r\n"

static void accepts_keys_as_the_rfc_does(void **state)
{
    (void)state;
    char accept[WS_UPGRADE_ACCEPT_SIZE], key[WS_UPGRADE_KEY_SIZE];
    ws_upgrade_key((const uint8_t *)"the sample nonce", key);
    assert_memory_equal(key, "dGhlIHNhbXBsZSBub25jZQ==", sizeof key);
    ws_upgrade_accept(span_of(key, sizeof key), sha1, accept);
    assert_memory_equal(accept, ACCEPT_, sizeof accept);
}

static void both_halves_understand_each_other(void **state)
{
    (void)state;
    uint8_t bytes[WS_UPGRADE_SIZE_MAX];
    char key[WS_UPGRADE_KEY_SIZE], accept[WS_UPGRADE_ACCEPT_SIZE];
    struct ws_upgrade request;
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t nonce[WS_UPGRADE_NONCE_SIZE];
        for (size_t j = 0; j < sizeof nonce; j++)
            nonce[j] = (uint8_t)(i * 167 + j * 41 + i * j);
        ws_upgrade_key(nonce, key);
        size_t len = ws_upgrade_request_write(bytes, "[::1]:7702", "/a?b=c", key);
        assert_in_range(len, 1, sizeof bytes - 1);
        assert_int_equal(ws_upgrade_parse(span_of(bytes, len), &request), WS_UPGRADE_OK);
        assert_int_equal(request.size, len);
        assert_true(span_equal(request.host, span_text("[::1]:7702")));
        assert_true(span_equal(request.path, span_text("/a?b=c")));
        assert_true(span_equal(request.key, span_of(key, sizeof key)));

        ws_upgrade_accept(request.key, sha1, accept);
        len = ws_upgrade_answer_write(bytes, accept);
        size_t size;
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(ws_upgrade_parse_answer(span_of(bytes, cut), accept, &size),
                             WS_UPGRADE_PARTIAL);
        assert_int_equal(ws_upgrade_parse_answer(span_of(bytes, len + 1), accept, &size),
                         WS_UPGRADE_OK);
        assert_int_equal(size, len);
    }
}

#define ANSWER(outcome, text)                                                                      \
    {                                                                                              \
        text, text, sizeof text - 1, WS_UPGRADE_##outcome                                          \
    }
static const struct ws_upgrade_case answers[] = {
    ANSWER(OK, STATUS_ UPG_ CON_ ACC_ PRO_ END_),
    ANSWER(OK, STATUS_ UPG_ CON_ ACC_ PRO_ END_ "\x82\x01x"),
    ANSWER(OK, "HTTP/1.1 101\r\nupgrade:WebSocket\r\nCONNECTION: keep-alive, upgrade\r\n" ACC_ PRO_
               "Date: today\r\nSec-WebSocket-Extensions:\r\n" END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 200 OK\r\n" END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 404 Not Found\r\n"),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 301 Moved\r\nLocation: /\r\n" END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 1011 Odd\r\n" END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.0 101 Switching Protocols\r\n" UPG_ CON_ ACC_ PRO_ END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 101 Switching Protocols\n" UPG_ CON_ ACC_ PRO_ END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 10\r\n" END_),
    ANSWER(NO_WEBSOCKET, "HTTP/1.1 101 \x01\r\n" END_),
    ANSWER(NO_WEBSOCKET, "\x0a\x08\x08\x01\r\n"),
    ANSWER(NO_WEBSOCKET, STATUS_ CON_ ACC_ PRO_ END_),
    ANSWER(NO_WEBSOCKET, STATUS_ UPG_ ACC_ PRO_ END_),
    ANSWER(NO_WEBSOCKET, STATUS_ "Upgrade: websocket, h2c\r\n" CON_ ACC_ PRO_ END_),
    ANSWER(FORBIDDEN, "HTTP/1.1 403 Forbidden\r\n"),
    ANSWER(FORBIDDEN, "HTTP/1.1 401\r\n"),
    ANSWER(UNAVAILABLE, "HTTP/1.1 503 Service Unavailable\r\n"),
    ANSWER(UNAVAILABLE, "HTTP/1.1 429 Too Many Requests\r\n"),
    ANSWER(UNAVAILABLE, "HTTP/1.1 502 Bad Gateway\r\n"),
    ANSWER(UNAVAILABLE, "HTTP/1.1 504 Gateway Timeout\r\n"),
    ANSWER(BAD_ACCEPT, STATUS_ UPG_ CON_ PRO_ END_),
    ANSWER(BAD_ACCEPT, STATUS_ UPG_ CON_ PRO_ "Sec-WebSocket-Accept:\r\n" END_),
    ANSWER(BAD_ACCEPT,
           STATUS_ UPG_ CON_ PRO_ "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n" END_),
    ANSWER(BAD_ACCEPT,
           STATUS_ UPG_ CON_ PRO_ "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" END_),
    ANSWER(BAD_CHOICE, STATUS_ UPG_ CON_ ACC_ END_),
    ANSWER(BAD_CHOICE, STATUS_ UPG_ CON_ ACC_ "Sec-WebSocket-Protocol: chat\r\n" END_),
    ANSWER(BAD_CHOICE, STATUS_ UPG_ CON_ ACC_ "Sec-WebSocket-Protocol: lahar.v1, chat\r\n" END_),
    ANSWER(BAD_CHOICE,
           STATUS_ UPG_ CON_ ACC_ PRO_ "Sec-WebSocket-Extensions: permessage-deflate\r\n" END_),
    ANSWER(DOUBLED, STATUS_ UPG_ CON_ ACC_ PRO_ ACC_ END_),
    ANSWER(DOUBLED, STATUS_ UPG_ CON_ ACC_ PRO_ PRO_ END_),
    ANSWER(BAD_HEADER, STATUS_ UPG_ CON_ " folded\r\n" ACC_ PRO_ END_),
    ANSWER(BAD_HEADER, STATUS_ UPG_ CON_ ACC_ PRO_ "X\r\n" END_),
};

static void only_a_right_answer_opens_a_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        bool decided = false;
        for (size_t len = 0; len <= answers[i].len; len++) {
            size_t size;
            char *block = malloc(len > 0 ? len : 1);
            assert_non_null(block);
            memcpy(block, answers[i].head, len);
            enum ws_upgrade_outcome got =
                ws_upgrade_parse_answer(span_of(block, len), ACCEPT_, &size);
            free(block);
            if (got == WS_UPGRADE_PARTIAL && !decided)
                continue;
            if (got != answers[i].outcome)
                fail_msg("%s: after %zu bytes: %s", answers[i].what, len, ws_upgrade_label(got));
            decided = true;
        }
        assert_true(decided);
    }
    char endless[WS_UPGRADE_SIZE_MAX + 1];
    size_t size;
    memset(endless, 'H', sizeof endless);
    assert_int_equal(ws_upgrade_parse_answer(span_of(endless, sizeof endless), ACCEPT_, &size),
                     WS_UPGRADE_TOO_LONG);
}

static void a_request_has_nothing_in_it_that_may_not_be(void **state)
{
    (void)state;
    uint8_t out[WS_UPGRADE_SIZE_MAX];
    char key[WS_UPGRADE_KEY_SIZE], path[WS_UPGRADE_SIZE_MAX + 2];
    ws_upgrade_key((const uint8_t *)"the sample nonce", key);
    assert_int_equal(ws_upgrade_request_write(out, "a\r\nX: y", "/", key), 0);
    assert_int_equal(ws_upgrade_request_write(out, "", "/", key), 0);
    assert_int_equal(ws_upgrade_request_write(out, "a", "", key), 0);
    assert_int_equal(ws_upgrade_request_write(out, "a", "b", key), 0);
    assert_int_equal(ws_upgrade_request_write(out, "a", "/ HTTP/1.1\r\n", key), 0);
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(ws_upgrade_request_write(out, "a", path, key), 0);
    path[100] = '\0';
    assert_true(ws_upgrade_request_write(out, "a", path, key) > 0);
}

static void each_refusal_with_a_status_is_an_answer(void **state)
{
    (void)state;
    char out[WS_UPGRADE_ANSWER_SIZE_MAX + 1], begin[32];
    uint32_t answered = 0;
    for (uint32_t i = 0; i < WS_UPGRADE_OUTCOMES; i++) {
        enum ws_upgrade_outcome outcome = (enum ws_upgrade_outcome)i;
        assert_int_equal(ws_upgrade_label(outcome)[0] == '\0', i <= WS_UPGRADE_OK);
        if (ws_upgrade_status(outcome) == 0)
            continue;
        size_t len = ws_upgrade_refusal_write((uint8_t *)out, outcome), size;
        out[len] = '\0';
        snprintf(begin, sizeof begin, "HTTP/1.1 %u ", ws_upgrade_status(outcome));
        assert_memory_equal(out, begin, strlen(begin));
        const char *body = strstr(out, "\r\n\r\n");
        assert_non_null(body);
        unsigned int said;
        assert_int_equal(sscanf(strstr(out, "Content-Length"), "Content-Length: %u", &said), 1);
        assert_int_equal(strlen(body + 4), said);
        assert_non_null(strstr(body, ws_upgrade_text(outcome)));
        enum ws_upgrade_outcome got = ws_upgrade_parse_answer(span_of(out, len), ACCEPT_, &size);
        assert_int_not_equal(got, WS_UPGRADE_OK);
        assert_int_not_equal(got, WS_UPGRADE_PARTIAL);
        answered++;
    }
    assert_true(answered >= 15);
    ws_upgrade_refusal_write((uint8_t *)out, WS_UPGRADE_BAD_VERSION);
    assert_non_null(strstr(out, "\r\nSec-WebSocket-Version: 13\r\n"));
    ws_upgrade_refusal_write((uint8_t *)out, WS_UPGRADE_BAD_METHOD);
    assert_non_null(strstr(out, "\r\nAllow: GET\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_malformed_is_refused_at_every_split),
        cmocka_unit_test(what_is_odd_but_right_is_taken),
        cmocka_unit_test(a_good_head_cut_off_anywhere_is_partial),
        cmocka_unit_test(a_fault_is_told_from_its_line),
        cmocka_unit_test(gives_what_the_edge_must_know),
        cmocka_unit_test(the_limit_of_a_head_is_exact),
        cmocka_unit_test(no_flipped_bit_makes_the_split_matter),
        cmocka_unit_test(accepts_keys_as_the_rfc_does),
        cmocka_unit_test(both_halves_understand_each_other),
        cmocka_unit_test(only_a_right_answer_opens_a_client),
        cmocka_unit_test(a_request_has_nothing_in_it_that_may_not_be),
        cmocka_unit_test(each_refusal_with_a_status_is_an_answer),
    };
    return cmocka_run_group_tests_name("ws_upgrade", tests, NULL, NULL);
}
