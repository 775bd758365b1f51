/* token_bad: every kind of token that is not good, shown to a whole login. None is let in, no shard
 * hears of it, and the client is told the same to the last byte whatever is wrong and whether or
 * not there is such a user. */
#include "tests/session_expect.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define CLUSTER "test"
#define NOW 1800000000u
#define SEED_OURS 7
#define SEED_OTHER 8

#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"k\"}"
#define CLAIMS(sub, more)                                                                          \
    "{\"iss\":\"game\",\"aud\":\"test\",\"sub\":" sub                                              \
    ",\"iat\":1800000000,\"exp\":1800000600" more "}"
#define TIMED(iat, exp)                                                                            \
    "{\"iss\":\"game\",\"aud\":\"test\",\"sub\":\"ann\",\"iat\":" iat ",\"exp\":" exp "}"
#define GOOD CLAIMS("\"ann\"", "")

/* What is done to a token that is otherwise as its header and claims say. */
enum deed {
    SIGNED,
    BY_ANOTHER,
    NO_SIGNATURE,
    HMAC_256,
    HMAC_512,
    ZEROS,
    ONES,
    SHORT_BY_ONE,
    LONG_BY_ONE,
    PADDED,
    LAST_BITS,
    SPACE_BEFORE,
    SPACE_AFTER,
    NEWLINE_INSIDE,
    NUL_AFTER,
    FOUR_PARTS,
    FIVE_PARTS,
    TWO_PARTS,
    NO_DOT,
    EMPTY_CLAIMS,
    EMPTY_HEADER,
    PLUS_AND_SLASH,
    SWAPPED,
    BEARER,
    QUOTED,
    OF_OTHER_CLAIMS,
    PERCENT,
    UPPER_CASE,
};

static const struct kind {
    const char *what, *header, *claims;
    enum deed deed;
    bool expired; /* the one thing that a client is told apart */
} kinds[] = {
    /* the algorithm */
    {"none", "{\"alg\":\"none\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"none, unsigned", "{\"alg\":\"none\",\"kid\":\"k\"}", GOOD, NO_SIGNATURE, 0},
    {"None", "{\"alg\":\"None\",\"kid\":\"k\"}", GOOD, NO_SIGNATURE, 0},
    {"nOnE", "{\"alg\":\"nOnE\",\"kid\":\"k\"}", GOOD, NO_SIGNATURE, 0},
    {"HS256 with the public key", "{\"alg\":\"HS256\",\"kid\":\"k\"}", GOOD, HMAC_256, 0},
    {"HS512 with the public key", "{\"alg\":\"HS512\",\"kid\":\"k\"}", GOOD, HMAC_512, 0},
    {"a MAC said to be EdDSA", HEADER, GOOD, HMAC_512, 0},
    {"a short MAC said to be EdDSA", HEADER, GOOD, HMAC_256, 0},
    {"RS256", "{\"alg\":\"RS256\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"ES256", "{\"alg\":\"ES256\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"ES256K", "{\"alg\":\"ES256K\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"PS512", "{\"alg\":\"PS512\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"Ed448", "{\"alg\":\"Ed448\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"Ed25519", "{\"alg\":\"Ed25519\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"eddsa", "{\"alg\":\"eddsa\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"an empty algorithm", "{\"alg\":\"\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"no algorithm", "{\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"a number as algorithm", "{\"alg\":8,\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"a list of algorithms", "{\"alg\":[\"EdDSA\"],\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"algorithm and NUL", "{\"alg\":\"EdDSA\\u0000\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    /* the header */
    {"a doubled algorithm", "{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"none and EdDSA", "{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"a doubled kid", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    {"a doubled kid in disguise", "{\"alg\":\"EdDSA\",\"kid\":\"x\",\"\\u006bid\":\"k\"}", GOOD,
     SIGNED, 0},
    {"crit", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"crit\":[\"exp\"]}", GOOD, SIGNED, 0},
    {"an empty crit", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"crit\":[]}", GOOD, SIGNED, 0},
    {"b64 false and critical", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"b64\":false,\"crit\":[\"b64\"]}",
     GOOD, SIGNED, 0},
    {"b64 false", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"b64\":false}", GOOD, SIGNED, 0},
    {"typ JWE", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"JWE\"}", GOOD, SIGNED, 0},
    {"typ null", "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":null}", GOOD, SIGNED, 0},
    {"no kid", "{\"alg\":\"EdDSA\"}", GOOD, SIGNED, 0},
    {"an empty kid", "{\"alg\":\"EdDSA\",\"kid\":\"\"}", GOOD, SIGNED, 0},
    {"another kid", "{\"alg\":\"EdDSA\",\"kid\":\"k2\"}", GOOD, SIGNED, 0},
    {"a kid that goes on", "{\"alg\":\"EdDSA\",\"kid\":\"k\\u0000\"}", GOOD, SIGNED, 0},
    {"a kid that is a path", "{\"alg\":\"EdDSA\",\"kid\":\"../../dev/null\"}", GOOD, SIGNED, 0},
    {"a key of its own", "{\"alg\":\"EdDSA\",\"jwk\":{\"kty\":\"OKP\"},\"kid\":\"k\"}", GOOD,
     BY_ANOTHER, 0},
    {"a key elsewhere", "{\"alg\":\"EdDSA\",\"jku\":\"https://x/k\",\"kid\":\"k\"}", GOOD,
     BY_ANOTHER, 0},
    {"a header that is a list", "[\"alg\",\"EdDSA\",\"kid\",\"k\"]", GOOD, SIGNED, 0},
    {"a header cut off", "{\"alg\":\"EdDSA\",\"kid\":\"k\"", GOOD, SIGNED, 0},
    {"a header with more behind", HEADER "{}", GOOD, SIGNED, 0},
    {"a header with a comment", "{/**/\"alg\":\"EdDSA\",\"kid\":\"k\"}", GOOD, SIGNED, 0},
    /* the signature */
    {"another's signature", HEADER, GOOD, BY_ANOTHER, 0},
    {"no signature", HEADER, GOOD, NO_SIGNATURE, 0},
    {"zeros as signature", HEADER, GOOD, ZEROS, 0},
    {"ones as signature", HEADER, GOOD, ONES, 0},
    {"a signature short by one", HEADER, GOOD, SHORT_BY_ONE, 0},
    {"a signature long by one", HEADER, GOOD, LONG_BY_ONE, 0},
    {"the signature of other claims", HEADER, GOOD, OF_OTHER_CLAIMS, 0},
    /* the text */
    {"padding", HEADER, GOOD, PADDED, 0},
    {"stray last bits", HEADER, GOOD, LAST_BITS, 0},
    {"a space before", HEADER, GOOD, SPACE_BEFORE, 0},
    {"a space after", HEADER, GOOD, SPACE_AFTER, 0},
    {"a line end inside", HEADER, GOOD, NEWLINE_INSIDE, 0},
    {"a NUL after", HEADER, GOOD, NUL_AFTER, 0},
    {"plain base64", HEADER, GOOD, PLUS_AND_SLASH, 0},
    {"percent signs", HEADER, GOOD, PERCENT, 0},
    {"upper case", HEADER, GOOD, UPPER_CASE, 0},
    {"four parts", HEADER, GOOD, FOUR_PARTS, 0},
    {"five parts", HEADER, GOOD, FIVE_PARTS, 0},
    {"two parts", HEADER, GOOD, TWO_PARTS, 0},
    {"one part", HEADER, GOOD, NO_DOT, 0},
    {"no claims", HEADER, GOOD, EMPTY_CLAIMS, 0},
    {"no header", HEADER, GOOD, EMPTY_HEADER, 0},
    {"header and claims changed over", HEADER, GOOD, SWAPPED, 0},
    {"Bearer", HEADER, GOOD, BEARER, 0},
    {"quotes", HEADER, GOOD, QUOTED, 0},
    /* the claims */
    {"no issuer", HEADER,
     "{\"aud\":\"test\",\"sub\":\"ann\",\"iat\":1800000000,\"exp\":1800000600}", SIGNED, 0},
    {"another cluster", HEADER,
     "{\"iss\":\"game\",\"aud\":\"prod\",\"sub\":\"ann\",\"iat\":1800000000,\"exp\":1800000600}",
     SIGNED, 0},
    {"no cluster", HEADER,
     "{\"iss\":\"game\",\"sub\":\"ann\",\"iat\":1800000000,\"exp\":1800000600}", SIGNED, 0},
    {"several clusters", HEADER,
     "{\"iss\":\"game\",\"aud\":[\"test\",\"prod\"],\"sub\":\"ann\",\"iat\":1800000000,"
     "\"exp\":1800000600}",
     SIGNED, 0},
    {"a doubled issuer", HEADER, CLAIMS("\"ann\"", ",\"iss\":\"game\""), SIGNED, 0},
    {"a doubled cluster", HEADER, CLAIMS("\"ann\"", ",\"aud\":\"test\""), SIGNED, 0},
    {"a doubled user", HEADER, CLAIMS("\"ann\"", ",\"sub\":\"bob\""), SIGNED, 0},
    {"a doubled user in disguise", HEADER, CLAIMS("\"ann\"", ",\"s\\u0075b\":\"bob\""), SIGNED, 0},
    {"a doubled end", HEADER, CLAIMS("\"ann\"", ",\"exp\":1800000601"), SIGNED, 0},
    {"a doubled device", HEADER, CLAIMS("\"ann\"", ",\"device\":\"phone\",\"device\":\"phone\""),
     SIGNED, 0},
    {"no user", HEADER, "{\"iss\":\"game\",\"aud\":\"test\",\"iat\":1800000000,\"exp\":1800000600}",
     SIGNED, 0},
    {"an empty user", HEADER, CLAIMS("\"\"", ""), SIGNED, 0},
    {"a number as user", HEADER, CLAIMS("7", ""), SIGNED, 0},
    {"null as user", HEADER, CLAIMS("null", ""), SIGNED, 0},
    {"a user with a NUL", HEADER, CLAIMS("\"a\\u0000\"", ""), SIGNED, 0},
    {"a user with a line end", HEADER, CLAIMS("\"a\\n\"", ""), SIGNED, 0},
    {"a user of half a pair", HEADER, CLAIMS("\"\\udc00\"", ""), SIGNED, 0},
    {"a user of broken UTF-8", HEADER, CLAIMS("\"\xc3(\"", ""), SIGNED, 0},
    {"another device", HEADER, CLAIMS("\"ann\"", ",\"device\":\"desk\""), SIGNED, 0},
    {"a device that cannot be", HEADER, CLAIMS("\"ann\"", ",\"device\":\"a/b\""), SIGNED, 0},
    {"expired", HEADER, TIMED("1799999000", "1799999900"), SIGNED, 1},
    {"expired by the skew and a second", HEADER, TIMED("1799999100", "1799999939"), SIGNED, 1},
    {"from the future", HEADER, TIMED("1800000062", "1800000600"), SIGNED, 0},
    {"not yet", HEADER, CLAIMS("\"ann\"", ",\"nbf\":1800000100"), SIGNED, 0},
    {"too long", HEADER, TIMED("1800000000", "1800000901"), SIGNED, 0},
    {"for ever", HEADER, TIMED("1800000000", "9223372036854775807"), SIGNED, 0},
    {"the end before the begin", HEADER, TIMED("1800000050", "1800000040"), SIGNED, 0},
    {"no end", HEADER, "{\"iss\":\"game\",\"aud\":\"test\",\"sub\":\"ann\",\"iat\":1800000000}",
     SIGNED, 0},
    {"no begin", HEADER, "{\"iss\":\"game\",\"aud\":\"test\",\"sub\":\"ann\",\"exp\":1800000600}",
     SIGNED, 0},
    {"an end in text", HEADER, TIMED("1800000000", "\"1800000600\""), SIGNED, 0},
    {"an end with a fraction", HEADER, TIMED("1800000000", "1800000600.0"), SIGNED, 0},
    {"a begin below zero", HEADER, TIMED("-1", "1800000600"), SIGNED, 0},
    {"an end that overflows", HEADER, TIMED("1800000000", "18446744073709551616"), SIGNED, 0},
    {"claims that are a list", HEADER, "[" GOOD "]", SIGNED, 0},
    {"claims that are text", HEADER, "\"ann\"", SIGNED, 0},
    {"claims behind a mark of order", HEADER, "\xef\xbb\xbf" GOOD, SIGNED, 0},
    {"claims with more behind", HEADER, GOOD "x", SIGNED, 0},
    {"claims with a doubled member deep inside", HEADER,
     CLAIMS("\"ann\"", ",\"x\":[{\"a\":1,\"a\":2}]"), SIGNED, 0},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

struct text {
    size_t len;
    uint8_t at[8192];
};

static EVP_PKEY *key_of(uint8_t seed)
{
    uint8_t bytes[32] = {seed};
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, sizeof bytes);
    assert_non_null(key);
    return key;
}

static void public_of(EVP_PKEY *key, uint8_t bytes[32])
{
    size_t len = 32;
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, bytes, &len), 1);
}

static void add(struct text *text, const void *bytes, size_t len)
{
    assert_true(text->len + len <= sizeof text->at);
    memcpy(text->at + text->len, bytes, len);
    text->len += len;
}

static void add_base64url(struct text *text, struct span in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t bit = 0; bit < in.len * 8; bit += 6) {
        size_t i = bit / 8;
        uint32_t two = (uint32_t)in.at[i] << 8 | (i + 1 < in.len ? in.at[i + 1] : 0u);
        add(text, &digits[two >> (10 - bit % 8) & 63], 1);
    }
}

static void sign(EVP_PKEY *key, const struct text *text, uint8_t signature[64])
{
    size_t len = 64;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, text->at, text->len), 1);
    EVP_MD_CTX_free(ctx);
}

static void two_parts(struct text *text, const char *header, const char *claims)
{
    text->len = 0;
    add_base64url(text, span_text(header));
    add(text, ".", 1);
    add_base64url(text, span_text(claims));
}

/* The last part: what the deed makes of it. */
static void add_signature(struct text *text, enum deed deed)
{
    EVP_PKEY *ours = key_of(SEED_OURS), *other = key_of(SEED_OTHER);
    uint8_t signature[65] = {0}, public_key[32];
    unsigned len = 64;
    struct text others = {0};
    public_of(ours, public_key);
    sign(deed == BY_ANOTHER ? other : ours, text, signature);
    if (deed == HMAC_256)
        HMAC(EVP_sha256(), public_key, 32, text->at, text->len, signature, &len);
    if (deed == HMAC_512)
        HMAC(EVP_sha512(), public_key, 32, text->at, text->len, signature, &len);
    if (deed == ZEROS || deed == ONES)
        memset(signature, deed == ZEROS ? 0 : 0xff, 64);
    if (deed == OF_OTHER_CLAIMS) {
        two_parts(&others, HEADER, CLAIMS("\"bob\"", ""));
        sign(ours, &others, signature);
    }
    len += deed == LONG_BY_ONE ? 1u : 0u;
    len -= deed == SHORT_BY_ONE ? 1u : 0u;
    if (deed == NO_SIGNATURE)
        len = 0;
    add(text, ".", 1);
    add_base64url(text, span_of(signature, len));
    EVP_PKEY_free(ours);
    EVP_PKEY_free(other);
}

static void insert(struct text *text, size_t at, char c)
{
    memmove(text->at + at + 1, text->at + at, text->len - at);
    text->at[at] = (uint8_t)c;
    text->len++;
}

static size_t dot(const struct text *text, size_t from)
{
    const uint8_t *found = memchr(text->at + from, '.', text->len - from);
    assert_non_null(found);
    return (size_t)(found - text->at);
}

static void spoil(struct text *text, enum deed deed)
{
    size_t first = dot(text, 0), second = dot(text, first + 1);
    uint8_t *last = &text->at[text->len - 1];
    switch (deed) {
    case PADDED:
        add(text, "==", 2);
        break;
    case LAST_BITS:
        *last = *last == 'A' ? 'B' : *last == 'Q' ? 'R' : *last == 'g' ? 'h' : 'x';
        break;
    case SPACE_BEFORE:
        insert(text, 0, ' ');
        break;
    case SPACE_AFTER:
        add(text, " ", 1);
        break;
    case NEWLINE_INSIDE:
        insert(text, first + 5, '\n');
        break;
    case NUL_AFTER:
        add(text, "", 1);
        break;
    case FOUR_PARTS:
        add(text, ".AAAA", 5);
        break;
    case FIVE_PARTS:
        add(text, ".AAAA.AAAA", 10);
        break;
    case TWO_PARTS:
        text->len = second;
        break;
    case NO_DOT:
        text->len = first;
        break;
    case EMPTY_CLAIMS:
        memmove(text->at + first + 1, text->at + second, text->len - second);
        text->len -= second - first - 1;
        break;
    case EMPTY_HEADER:
        memmove(text->at, text->at + first, text->len - first);
        text->len -= first;
        break;
    case PLUS_AND_SLASH:
        text->at[second + 2] = '+';
        text->at[second + 3] = '/';
        break;
    case PERCENT:
        insert(text, second + 1, '%');
        break;
    case UPPER_CASE:
        for (size_t i = 0; i < text->len; i++)
            if (text->at[i] >= 'a' && text->at[i] <= 'z')
                text->at[i] = (uint8_t)(text->at[i] - 'a' + 'A');
        break;
    case BEARER:
        for (const char *c = "reraeB "; *c != '\0'; c++)
            insert(text, 0, *c);
        break;
    case QUOTED:
        insert(text, 0, '"');
        add(text, "\"", 1);
        break;
    default:
        break;
    }
}

static struct text make(const char *header, const char *claims, enum deed deed)
{
    struct text text;
    bool swapped = deed == SWAPPED;
    two_parts(&text, swapped ? claims : header, swapped ? header : claims);
    add_signature(&text, deed);
    spoil(&text, deed);
    return text;
}

/* ---- the edge ---- */

static enum token_verdict verify_really(void *ctx, const struct sites *sites, struct span token,
                                        uint64_t now_s, struct token_claims *claims)
{
    (void)ctx;
    (void)now_s;
    return token_verify(sites, CLUSTER, token, NOW, claims);
}

static struct rig *edge(void)
{
    static uint8_t kid[] = "k", id[] = "game";
    uint8_t public_key[32];
    EVP_PKEY *ours = key_of(SEED_OURS);
    public_of(ours, public_key);
    EVP_PKEY_free(ours);
    Lahar__Link__V1__SiteKey key = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&key};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    key.kid = unpack_data(span_of(kid, 1));
    key.ed25519 = unpack_data(span_of(public_key, 32));
    site.id = unpack_data(span_of(id, 4));
    site.revision = 1;
    site.n_keys = 1;
    site.keys = keys;
    struct rig *rig = rig_new(NULL);
    rig->table->actions.verify = verify_really;
    rig_cluster(rig, 1);
    assert_true(sites_put(rig->table->sites, &site));
    return rig;
}

static struct conn_id show(struct rig *rig, uint32_t place, struct span token)
{
    Lahar__V1__Hello hello = LAHAR__V1__HELLO__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    struct conn_id id = rig_open(rig, place);
    hello.proto = 1;
    hello.token = unpack_data(token);
    hello.device = unpack_data(span_text("phone"));
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_HELLO;
    frame.hello = &hello;
    rig_say(rig, id, &frame);
    return id;
}

/* All that the client was told, byte for byte. */
static struct span told(const struct rig *rig, struct conn_id id)
{
    const struct rig_frames *frames = &rig->to_client[id.slot];
    return span_of(frames->bytes + frames->begin, frames->end - frames->begin);
}

static void the_good_one_goes_on_to_the_owner_of_the_user(void **state)
{
    (void)state;
    struct rig *rig = edge();
    struct text good = make(HEADER, GOOD, SIGNED);
    struct conn_id id = show(rig, 0, span_of(good.at, good.len));
    assert_int_equal(rig->closed[0], END_NONE);
    assert_false(rig_nothing_told(rig));
    rig_close(rig, id);
    rig_free(rig);
}

static void all_kinds_of_bad_ones_are_told_the_same_and_no_shard_hears_of_them(void **state)
{
    (void)state;
    static_assert(KINDS >= 60, "as many as were asked for");
    struct rig *rig = edge();
    struct span refused = {0};
    for (uint32_t i = 0; i < KINDS; i++) {
        struct text bad = make(kinds[i].header, kinds[i].claims, kinds[i].deed);
        struct conn_id id = show(rig, i, span_of(bad.at, bad.len));
        if (rig->closed[i] != (kinds[i].expired ? END_TOKEN_EXPIRED : END_TOKEN_REFUSED))
            fail_msg("%s: %s", kinds[i].what, reasons_end_label(rig->closed[i]));
        if (!kinds[i].expired && refused.len == 0)
            refused = told(rig, id);
        if (!kinds[i].expired && !span_equal(refused, told(rig, id)))
            fail_msg("%s: was told something else", kinds[i].what);
        if (!rig_nothing_told(rig))
            fail_msg("%s: a shard was asked", kinds[i].what);
    }
    for (uint32_t i = 0; i < KINDS; i++)
        rig_close(rig, (struct conn_id){i, i + 1});
    assert_int_equal(rig->table->opened, 0);
    rig_free(rig);
}

/* Whoever has no good token cannot ask; and whoever has one for a user that there is not (where a
 * site makes none on first sight) is told what anybody with a bad one is told. */
static void no_answer_tells_whether_a_user_exists(void **state)
{
    (void)state;
    static const char *const users[] = {GOOD, CLAIMS("\"nobody\"", "")};
    struct rig *rig = edge();
    struct span answers[4];
    for (uint32_t i = 0; i < 4; i++) {
        struct text text = make(HEADER, users[i % 2], i < 2 ? BY_ANOTHER : SIGNED);
        struct conn_id id = show(rig, i, span_of(text.at, text.len));
        if (i >= 2)
            rig_resolved(rig, id, LAHAR__LINK__V1__RESOLVED__STATUS__NO_USER, 0);
        assert_int_equal(rig->closed[i], END_TOKEN_REFUSED);
        answers[i] = told(rig, id);
        assert_true(answers[i].len > 0 && span_equal(answers[0], answers[i]));
    }
    rig_free(rig);
}

static void no_beginning_of_a_good_token_is_one(void **state)
{
    (void)state;
    struct rig *rig = edge();
    struct text good = make(HEADER, GOOD, SIGNED);
    for (size_t len = 1; len < good.len; len++) {
        uint8_t *exact = malloc(len);
        assert_non_null(exact);
        memcpy(exact, good.at, len);
        struct conn_id id = show(rig, 0, span_of(exact, len));
        assert_int_equal(rig->closed[0], END_TOKEN_REFUSED);
        assert_true(rig_nothing_told(rig));
        rig_close(rig, id);
        free(exact);
    }
    rig_free(rig);
}

static void what_is_too_long_is_refused_however_right_it_is(void **state)
{
    (void)state;
    struct rig *rig = edge();
    char claims[3000], padding[2500];
    for (size_t len = 0; len < 2000; len += 100) {
        memset(padding, 'x', len);
        padding[len] = '\0';
        snprintf(claims, sizeof claims, CLAIMS("\"ann\"", ",\"x\":\"%s\""), padding);
        struct text text = make(HEADER, claims, SIGNED);
        struct conn_id id = show(rig, 0, span_of(text.at, text.len));
        assert_int_equal(rig->closed[0], text.len > TOKEN_SIZE_MAX ? END_TOKEN_REFUSED : END_NONE);
        rig_close(rig, id);
    }
    rig_free(rig);
}

static void depth_is_bounded_by_length(void **state)
{
    (void)state;
    struct rig *rig = edge();
    char claims[1500];
    const char *const opens[] = {"[", "{\"a\":", "[[", "{\"a\":["};
    for (uint32_t i = 0; i < 4; i++) {
        claims[0] = '\0';
        while (strlen(claims) + strlen(opens[i]) < sizeof claims - 100)
            strcat(claims, opens[i]);
        struct text text = make(HEADER, claims, SIGNED);
        struct conn_id id = show(rig, i, span_of(text.at, text.len));
        assert_int_equal(rig->closed[i], END_TOKEN_REFUSED);
        rig_close(rig, id);
    }
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_good_one_goes_on_to_the_owner_of_the_user),
        cmocka_unit_test(all_kinds_of_bad_ones_are_told_the_same_and_no_shard_hears_of_them),
        cmocka_unit_test(no_answer_tells_whether_a_user_exists),
        cmocka_unit_test(no_beginning_of_a_good_token_is_one),
        cmocka_unit_test(what_is_too_long_is_refused_however_right_it_is),
        cmocka_unit_test(depth_is_bounded_by_length),
    };
    return cmocka_run_group_tests_name("token_bad", tests, NULL, NULL);
}
