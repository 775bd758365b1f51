/* token: one kind of token is accepted; whatever differs from it in any one thing is refused, and
 * for what it is. */
#include "edge/token.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1800000000u
#define CLUSTER "lahar.example"
#define HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"k1\"}"
#define AUD "\"aud\":\"" CLUSTER "\""
#define TIMES "\"iat\":1799999990,\"exp\":1800000600"
#define CLAIMS "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES "}"

struct keys {
    struct sites *sites;
    EVP_PKEY *first, *second, *other; /* k1 and k2 of "game"; a stranger's */
    uint8_t first_public[32];
};

static EVP_PKEY *make_key(uint8_t public_key[32])
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(key);
    size_t len = 32;
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, public_key, &len), 1);
    return key;
}

static void put_site(struct sites *sites, const char *id, uint64_t not_before,
                     uint8_t public_keys[2][32])
{
    char *kids[] = {strdup("k1"), strdup("k2")};
    Lahar__Link__V1__SiteKey keys[2], *list[] = {&keys[0], &keys[1]};
    for (int i = 0; i < 2; i++) {
        keys[i] = (Lahar__Link__V1__SiteKey)LAHAR__LINK__V1__SITE_KEY__INIT;
        keys[i].kid = (ProtobufCBinaryData){2, (uint8_t *)kids[i]};
        keys[i].ed25519 = (ProtobufCBinaryData){32, public_keys[i]};
    }
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    site.id = (ProtobufCBinaryData){strlen(id), (uint8_t *)(uintptr_t)id};
    site.revision = 1;
    site.not_before = not_before;
    site.n_keys = 2;
    site.keys = list;
    assert_true(sites_put(sites, &site));
    free(kids[0]);
    free(kids[1]);
}

static int set_up(void **state)
{
    struct keys *keys = calloc(1, sizeof *keys);
    uint8_t public_keys[2][32], other[32];
    keys->first = make_key(public_keys[0]);
    keys->second = make_key(public_keys[1]);
    keys->other = make_key(other);
    memcpy(keys->first_public, public_keys[0], 32);
    keys->sites = sites_new();
    put_site(keys->sites, "game", 0, public_keys);
    put_site(keys->sites, "late", NOW - 5, public_keys);
    uint8_t strangers[2][32];
    memcpy(strangers[0], other, 32);
    memcpy(strangers[1], other, 32);
    put_site(keys->sites, "social", 0, strangers);
    *state = keys;
    return 0;
}

static int tear_down(void **state)
{
    struct keys *keys = *state;
    assert_int_equal(ERR_peek_error(), 0); /* TLS in the same thread would take it for its own */
    EVP_PKEY_free(keys->first);
    EVP_PKEY_free(keys->second);
    EVP_PKEY_free(keys->other);
    sites_free(keys->sites);
    free(keys);
    return 0;
}

/* ---- making tokens ---- */

struct text {
    size_t len;
    char at[4096];
};

static void add(struct text *text, struct span bytes)
{
    assert_true(text->len + bytes.len < sizeof text->at);
    memcpy(text->at + text->len, bytes.at, bytes.len);
    text->len += bytes.len;
    text->at[text->len] = '\0';
}

static void add_base64url(struct text *text, struct span bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t bit = 0; bit < bytes.len * 8; bit += 6) {
        size_t i = bit / 8;
        uint32_t two = (uint32_t)bytes.at[i] << 8 | (i + 1 < bytes.len ? bytes.at[i + 1] : 0);
        char c = digits[two >> (10 - bit % 8) & 63];
        add(text, span_of(&c, 1));
    }
}

static void add_signature(struct text *text, EVP_PKEY *key)
{
    uint8_t signature[64];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)text->at, text->len), 1);
    EVP_MD_CTX_free(ctx);
    add(text, span_text("."));
    add_base64url(text, span_of(signature, len));
}

static struct text token_of_spans(struct span header, struct span claims, EVP_PKEY *key)
{
    struct text text = {0};
    add_base64url(&text, header);
    add(&text, span_text("."));
    add_base64url(&text, claims);
    add_signature(&text, key);
    return text;
}

static struct text token_of(const char *header, const char *claims, EVP_PKEY *key)
{
    return token_of_spans(span_text(header), span_text(claims), key);
}

static enum token_verdict verify_at(const struct keys *keys, const struct text *text,
                                    uint64_t now_s)
{
    struct token_claims claims;
    /* Of exactly its size, so that the sanitizer sees a read past the end. */
    uint8_t *copy = malloc(text->len + 1);
    memcpy(copy, text->at, text->len);
    enum token_verdict verdict =
        token_verify(keys->sites, CLUSTER, span_of(copy, text->len), now_s, &claims);
    free(copy);
    return verdict;
}

static enum token_verdict verify(const struct keys *keys, const struct text *text)
{
    return verify_at(keys, text, NOW);
}

static enum token_verdict verify_claims(const struct keys *keys, const char *claims)
{
    struct text text = token_of(HEADER, claims, keys->first);
    return verify(keys, &text);
}

static enum token_verdict verify_header(const struct keys *keys, const char *header)
{
    struct text text = token_of(header, CLAIMS, keys->first);
    return verify(keys, &text);
}

/* ---- what is accepted ---- */

static void a_good_token_says_who_it_is_for(void **state)
{
    struct keys *keys = *state;
    struct text text = token_of(HEADER,
                                "{\"iss\":\"game\"," AUD
                                ",\"sub\":\"\xc3\xa4nn\",\"device\":\"phone.1\"," TIMES "}",
                                keys->first);
    struct token_claims claims;
    assert_int_equal(token_verify(keys->sites, CLUSTER, span_of(text.at, text.len), NOW, &claims),
                     TOKEN_OK);
    assert_int_equal(claims.site_len, 4);
    assert_memory_equal(claims.site, "game", 4);
    assert_int_equal(claims.user_len, 4);
    assert_memory_equal(claims.user, "\xc3\xa4nn", 4);
    assert_int_equal(claims.device_len, 7);
    assert_memory_equal(claims.device, "phone.1", 7);
    assert_int_equal(claims.issued_at, 1799999990);
    assert_int_equal(claims.expires_at, 1800000600);
}

static void what_may_vary_may_vary(void **state)
{
    struct keys *keys = *state;
    const char *claims[] = {
        CLAIMS,
        "{\"iss\":\"game\",\"aud\":[\"" CLUSTER "\"],\"sub\":\"ann\"," TIMES "}",
        "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES ",\"nbf\":1800000000}",
        "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES ",\"jti\":\"x\",\"more\":{\"a\":[1.5]}}",
        " { \"iss\" : \"\\u0067ame\" ,\n" AUD ",\"sub\":\"ann\"," TIMES " } ",
        "{\"iss\":\"game\"," AUD ",\"sub\":\"a b/c\"," TIMES "}",
        /* exactly 15 minutes */
        "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1800000000,\"exp\":1800000900}",
        /* 60 s of skew, both ways */
        "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1800000060,\"exp\":1800000100}",
        "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1799999900,\"exp\":1799999941}",
        "{\"iss\":\"late\"," AUD ",\"sub\":\"ann\",\"iat\":1799999995,\"exp\":1800000600}",
    };
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++)
        if (verify_claims(keys, claims[i]) != TOKEN_OK)
            fail_msg("%s: %s", claims[i], token_verdict_label(verify_claims(keys, claims[i])));
    const char *headers[] = {"{\"alg\":\"EdDSA\",\"kid\":\"k1\"}",
                             "{\"kid\":\"k1\",\"typ\":\"jwt\",\"alg\":\"EdDSA\",\"x\":1}"};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(verify_header(keys, headers[i]), TOKEN_OK);
    struct text text = token_of("{\"alg\":\"EdDSA\",\"kid\":\"k2\"}", CLAIMS, keys->second);
    assert_int_equal(verify(keys, &text), TOKEN_OK);

    char longest[512];
    (void)snprintf(longest, sizeof longest,
                   "{\"iss\":\"game\"," AUD ",\"sub\":\"%0128d\"," TIMES "}", 1);
    assert_int_equal(verify_claims(keys, longest), TOKEN_OK);
}

/* ---- what is not ---- */

static void claims_that_are_not_right_are_refused_though_signed(void **state)
{
    struct keys *keys = *state;
    static const struct {
        const char *claims;
        enum token_verdict verdict;
    } bad[] = {
        {"{" AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":7," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"Game\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":[\"game\"]," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\\u0000\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"gamer\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_UNKNOWN_SITE},
        {"{\"iss\":\"gam\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_UNKNOWN_SITE},
        {"{\"iss\":\"social\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_SIGNATURE},
        {"{\"iss\":\"game\",\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":\"other\",\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":\"" CLUSTER "x\",\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":\"Lahar.example\",\"sub\":\"ann\"," TIMES "}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":\"\",\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":null,\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":[],\"sub\":\"ann\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":[\"" CLUSTER "\",\"x\"],\"sub\":\"ann\"," TIMES "}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":[[\"" CLUSTER "\"]],\"sub\":\"ann\"," TIMES "}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\",\"aud\":{\"a\":\"" CLUSTER "\"},\"sub\":\"ann\"," TIMES "}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD "," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":17," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\\nn\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\\u007fn\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\\u0085n\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\\u0000n\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\xff\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\xc0\x80\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"a\\ud800\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"device\":\"\"," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"device\":\"a b\"," TIMES "}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"device\":null," TIMES "}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD
         ",\"sub\":\"ann\",\"device\":\"0123456789012345678901234567890123\"," TIMES "}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1799999990}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"exp\":1800000600}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1799999990.0,\"exp\":1800000600}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1799999990,\"exp\":1.8000006e9}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1799999990,\"exp\":\"1800000600\"}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":-1,\"exp\":1800000600}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":-9223372036854775808,"
         "\"exp\":9223372036854775807}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD
         ",\"sub\":\"ann\",\"iat\":1799999990,\"exp\":99999999999999999999}",
         TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":9223372036854775000,"
         "\"exp\":9223372036854775807}",
         TOKEN_TOO_EARLY},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":true,\"exp\":1800000600}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1800000000,\"exp\":1800000901}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1800000010,\"exp\":1800000010}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1800000010,\"exp\":1800000000}",
         TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1799999900,\"exp\":1799999940}",
         TOKEN_EXPIRED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":0,\"exp\":1}", TOKEN_EXPIRED},
        {"{\"iss\":\"late\"," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_EXPIRED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"iat\":1800000061,\"exp\":1800000600}",
         TOKEN_TOO_EARLY},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES ",\"nbf\":1800000061}",
         TOKEN_TOO_EARLY},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES ",\"nbf\":\"0\"}", TOKEN_BAD_CLAIMS},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"sub\":\"bob\"," TIMES "}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"s\\u0075b\":\"bob\"," TIMES "}",
         TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES ",\"x\":{\"a\":1,\"a\":1}}",
         TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES "} {}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES ",}", TOKEN_MALFORMED},
        {"{\"iss\":\"game\"," AUD ",\"sub\":\"ann\"," TIMES, TOKEN_MALFORMED},
        {"{'iss':'game'," AUD ",\"sub\":\"ann\"," TIMES "}", TOKEN_MALFORMED},
        {"[" CLAIMS "]", TOKEN_MALFORMED},
        {"\"" CLUSTER "\"", TOKEN_MALFORMED},
        {"\xef\xbb\xbf" CLAIMS, TOKEN_MALFORMED},
        {"null", TOKEN_MALFORMED},
        {" ", TOKEN_MALFORMED},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (verify_claims(keys, bad[i].claims) != bad[i].verdict)
            fail_msg("%s: %s", bad[i].claims,
                     token_verdict_label(verify_claims(keys, bad[i].claims)));
    char longer[512];
    (void)snprintf(longer, sizeof longer, "{\"iss\":\"game\"," AUD ",\"sub\":\"%0129d\"," TIMES "}",
                   1);
    assert_int_equal(verify_claims(keys, longer), TOKEN_BAD_CLAIMS);
}

static void headers_that_are_not_right_are_refused_though_signed(void **state)
{
    struct keys *keys = *state;
    static const struct {
        const char *header;
        enum token_verdict verdict;
    } bad[] = {
        {"{\"alg\":\"none\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"RS256\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"ES256\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"eddsa\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"Ed25519\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA \",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":[\"EdDSA\"],\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":null,\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":1}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789012345678901234567890123456789012345678901234567"
         "8901234\"}",
         TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k3\"}", TOKEN_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k\"}", TOKEN_UNKNOWN_KEY},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k2\"}", TOKEN_BAD_SIGNATURE},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k1\",\"typ\":\"JWE\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k1\",\"typ\":7}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k1\",\"crit\":[\"b64\"],\"b64\":false}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k1\",\"crit\":null}", TOKEN_MALFORMED},
        {"{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k2\",\"kid\":\"k1\"}", TOKEN_MALFORMED},
        {"[\"alg\",\"EdDSA\",\"kid\",\"k1\"]", TOKEN_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"k1\"", TOKEN_MALFORMED},
        {"", TOKEN_MALFORMED},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (verify_header(keys, bad[i].header) != bad[i].verdict)
            fail_msg("%s: %s", bad[i].header,
                     token_verdict_label(verify_header(keys, bad[i].header)));
}

static void a_token_of_an_unknown_site_tells_the_site_and_nothing_else(void **state)
{
    struct keys *keys = *state;
    struct text text =
        token_of(HEADER, "{\"iss\":\"ghost\"," AUD ",\"sub\":\"ann\"," TIMES "}", keys->first);
    struct token_claims claims, expected = {.site_len = 5};
    memcpy(expected.site, "ghost", 5);
    assert_int_equal(token_verify(keys->sites, CLUSTER, span_of(text.at, text.len), NOW, &claims),
                     TOKEN_UNKNOWN_SITE);
    assert_memory_equal(&claims, &expected, sizeof claims);
}

static void a_refused_token_tells_nothing(void **state)
{
    struct keys *keys = *state;
    struct token_claims claims, nothing = {0};
    struct text text = token_of(HEADER, CLAIMS, keys->first);
    assert_int_equal(
        token_verify(keys->sites, CLUSTER, span_of(text.at, text.len), NOW + 10000, &claims),
        TOKEN_EXPIRED);
    assert_memory_equal(&claims, &nothing, sizeof claims);
    text = token_of(HEADER, CLAIMS, keys->other);
    assert_int_equal(token_verify(keys->sites, CLUSTER, span_of(text.at, text.len), NOW, &claims),
                     TOKEN_BAD_SIGNATURE);
    assert_memory_equal(&claims, &nothing, sizeof claims);
}

/* The public key is no secret: used as one, it must open nothing. */
static void a_mac_with_the_public_key_is_no_signature(void **state)
{
    struct keys *keys = *state;
    const char *headers[] = {"{\"alg\":\"HS256\",\"kid\":\"k1\"}", HEADER};
    const enum token_verdict verdicts[] = {TOKEN_MALFORMED, TOKEN_BAD_SIGNATURE};
    for (int i = 0; i < 2; i++) {
        struct text text = {0};
        add_base64url(&text, span_text(headers[i]));
        add(&text, span_text("."));
        add_base64url(&text, span_text(CLAIMS));
        uint8_t mac[64];
        size_t len;
        assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA512", NULL, keys->first_public, 32,
                                  (const unsigned char *)text.at, text.len, mac, sizeof mac, &len));
        add(&text, span_text("."));
        add_base64url(&text, span_of(mac, len));
        assert_int_equal(verify(keys, &text), verdicts[i]);
    }
}

static void signatures_of_another_size_or_value_are_refused(void **state)
{
    struct keys *keys = *state;
    struct text good = token_of(HEADER, CLAIMS, keys->first);
    size_t signature_at = good.len - 86;
    assert_int_equal(good.at[signature_at - 1], '.');

    struct text text = good;
    text.len = signature_at; /* none: "a.b." */
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
    text = good;
    text.len -= 2;
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
    text = good;
    add(&text, span_text("AA"));
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
    text = good;
    memset(text.at + signature_at, 'A', 86);
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);

    /* S + L instead of S is the same to a sloppy verifier. */
    const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                               0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                               0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    uint8_t signature[64];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, keys->first), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)good.at, signature_at - 1), 1);
    EVP_MD_CTX_free(ctx);
    uint32_t carry = 0;
    for (int i = 0; i < 32; i++) {
        carry += (uint32_t)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    text = good;
    text.len = signature_at;
    add_base64url(&text, span_of(signature, sizeof signature));
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
}

/* A site can only harm itself with one, but nobody needs to forge what anybody can write. */
static void a_key_under_which_one_signature_holds_for_every_text_opens_nothing(void **state)
{
    struct keys *keys = *state;
    uint8_t identity[2][32] = {{1}, {1}}, signature[64] = {1};
    put_site(keys->sites, "weak", 0, identity);
    struct text text = {0};
    add_base64url(&text, span_text(HEADER));
    add(&text, span_text("."));
    add_base64url(&text, span_text("{\"iss\":\"weak\"," AUD ",\"sub\":\"ann\"," TIMES "}"));
    add(&text, span_text("."));
    add_base64url(&text, span_of(signature, sizeof signature));
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
}

static void no_byte_of_a_token_can_be_changed(void **state)
{
    struct keys *keys = *state;
    struct text good = token_of(HEADER, CLAIMS, keys->first);
    assert_int_equal(verify(keys, &good), TOKEN_OK);
    for (size_t i = 0; i < good.len; i++) {
        for (int flip = 1; flip < 256; flip <<= 1) {
            struct text text = good;
            text.at[i] = (char)(text.at[i] ^ flip);
            assert_int_not_equal(verify(keys, &text), TOKEN_OK);
        }
        struct text text = good;
        text.len = i; /* cut */
        assert_int_not_equal(verify(keys, &text), TOKEN_OK);
    }
}

static void base64url_has_one_text_for_one_value(void **state)
{
    struct keys *keys = *state;
    struct text good = token_of(HEADER, CLAIMS, keys->first);
    size_t first = (size_t)(strchr(good.at, '.') - good.at);

    struct text text = good;
    add(&text, span_text("=="));
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
    text = good;
    add(&text, span_text("\n"));
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);
    /* The four bits that the last digit of 64 bytes has over must be 0. */
    text = good;
    char *last = &text.at[text.len - 1];
    *last = *last == 'A' ? 'B' : *last == 'Q' ? 'R' : *last == 'g' ? 'h' : 'x';
    assert_int_equal(verify(keys, &text), TOKEN_BAD_SIGNATURE);

    /* The same within what is signed: the signature is right, the text is not. */
    const char *wrongs[] = {"=", " ", "+", "/", "\n", "A\x80"};
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        text = (struct text){0};
        add(&text, span_of(good.at, first));
        add(&text, span_text(wrongs[i]));
        add(&text, span_text("."));
        add_base64url(&text, span_text(CLAIMS));
        add_signature(&text, keys->first);
        assert_int_equal(verify(keys, &text), TOKEN_MALFORMED);
    }
}

static void a_token_has_three_parts(void **state)
{
    struct keys *keys = *state;
    struct text good = token_of(HEADER, CLAIMS, keys->first);
    struct text text = good;
    add(&text, span_text("."));
    assert_int_not_equal(verify(keys, &text), TOKEN_OK);
    text = good;
    add(&text, span_text(".AAAA.AAAA")); /* an encrypted one has five */
    assert_int_not_equal(verify(keys, &text), TOKEN_OK);
    const char *others[] = {".", "..", "...", "a", "a.b", ".a.b", "a..b", "e30.e30.", "e30.e30.AA"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        text = (struct text){0};
        add(&text, span_text(others[i]));
        assert_int_equal(verify(keys, &text), TOKEN_MALFORMED);
    }
    text = (struct text){0};
    assert_int_equal(verify(keys, &text), TOKEN_MALFORMED);
}

static void two_kib_are_the_limit(void **state)
{
    struct keys *keys = *state;
    char claims[2048];
    size_t over = 0, under = 0;
    for (int pad = 1200; pad < 1400; pad++) {
        (void)snprintf(claims, sizeof claims,
                       "{\"iss\":\"game\"," AUD ",\"sub\":\"ann\",\"x\":\"%0*d\"," TIMES "}", pad,
                       1);
        struct text text = token_of(HEADER, claims, keys->first);
        if (text.len > TOKEN_SIZE_MAX) {
            assert_int_equal(verify(keys, &text), TOKEN_MALFORMED);
            over++;
        } else {
            assert_int_equal(verify(keys, &text), TOKEN_OK);
            under++;
        }
    }
    assert_true(over > 0 && under > 0);
}

static void a_token_lives_its_time_and_the_skew(void **state)
{
    struct keys *keys = *state;
    struct text text = token_of(HEADER, CLAIMS, keys->first);
    assert_int_equal(verify_at(keys, &text, 1799999929), TOKEN_TOO_EARLY);
    assert_int_equal(verify_at(keys, &text, 1799999930), TOKEN_OK);
    assert_int_equal(verify_at(keys, &text, 1800000659), TOKEN_OK);
    assert_int_equal(verify_at(keys, &text, 1800000660), TOKEN_EXPIRED);
    assert_int_equal(verify_at(keys, &text, 0), TOKEN_TOO_EARLY);
}

static void deep_nesting_is_no_danger(void **state)
{
    struct keys *keys = *state;
    char claims[1400] = {0};
    memset(claims, '[', 1300);
    assert_int_equal(verify_claims(keys, claims), TOKEN_MALFORMED);
    for (size_t i = 0; i + 5 < 1300; i += 5)
        memcpy(claims + i, "{\"a\":", 5);
    assert_int_equal(verify_claims(keys, claims), TOKEN_MALFORMED);
}

static void each_verdict_has_its_label(void **state)
{
    (void)state;
    assert_string_equal(token_verdict_label(TOKEN_OK), "ok");
    assert_string_equal(token_verdict_label(TOKEN_TOO_EARLY), "too_early");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_token_says_who_it_is_for),
        TEST(what_may_vary_may_vary),
        TEST(claims_that_are_not_right_are_refused_though_signed),
        TEST(headers_that_are_not_right_are_refused_though_signed),
        TEST(a_token_of_an_unknown_site_tells_the_site_and_nothing_else),
        TEST(a_refused_token_tells_nothing),
        TEST(a_mac_with_the_public_key_is_no_signature),
        TEST(signatures_of_another_size_or_value_are_refused),
        TEST(a_key_under_which_one_signature_holds_for_every_text_opens_nothing),
        TEST(no_byte_of_a_token_can_be_changed),
        TEST(base64url_has_one_text_for_one_value),
        TEST(a_token_has_three_parts),
        TEST(two_kib_are_the_limit),
        TEST(a_token_lives_its_time_and_the_skew),
        TEST(deep_nesting_is_no_danger),
        cmocka_unit_test(each_verdict_has_its_label),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
