#include "edge/token.h"

#include "proto/gid.h"

#include <jansson.h>
#include <sodium/crypto_sign.h>
#include <strings.h>

#define SIGNATURE_SIZE 64u
#define KID_MAX 64u
#define DECODED_MAX (TOKEN_SIZE_MAX / 4u * 3u)

/* JSON of 2 KiB can nest no deeper than this, so jansson's recursion is bounded by our size limit.
 */
static_assert(DECODED_MAX < 2048, "jansson's own limit of depth must not be what saves us");

struct parts {
    struct span header, claims, signature; /* as base64url */
    struct span covered;                   /* by the signature */
};

const char *token_verdict_label(enum token_verdict verdict)
{
    static const char *const labels[] = {
#define TOKEN_VERDICT(name, label) label,
#include "edge/token_verdicts.h"
    };
    assert(verdict < TOKEN_VERDICTS);
    return labels[verdict];
}

/* ---- the outside: three parts of base64url, two of them JSON ---- */

static bool split(struct span token, struct parts *parts)
{
    const uint8_t *first = memchr(token.at, '.', token.len);
    if (first == NULL)
        return false;
    struct span rest = span_after(token, (size_t)(first - token.at) + 1);
    const uint8_t *second = rest.len == 0 ? NULL : memchr(rest.at, '.', rest.len);
    if (second == NULL)
        return false;
    parts->header = span_upto(token, (size_t)(first - token.at));
    parts->claims = span_upto(rest, (size_t)(second - rest.at));
    parts->signature = span_after(rest, parts->claims.len + 1);
    parts->covered = span_upto(token, (size_t)(second - token.at));
    return true;
}

static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Strict: one text for one value, so no padding and no stray bits at the end. */
static bool decode(struct span text, uint8_t out[DECODED_MAX], size_t *len)
{
    if (text.len == 0 || text.len > TOKEN_SIZE_MAX || text.len % 4 == 1)
        return false;
    uint32_t bits = 0, held = 0;
    *len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.at[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[(*len)++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    return bits == 0;
}

/* A new reference to an object, or NULL. */
static json_t *parse(struct span text)
{
    uint8_t bytes[DECODED_MAX];
    size_t len;
    if (!decode(text, bytes, &len))
        return NULL;
    json_t *json = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
    if (json != NULL && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Empty if the member is absent or not a string; no string that counts here is empty. */
static struct span text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value))
        return (struct span){0};
    return span_of(json_string_value(value), json_string_length(value));
}

static bool read_header(struct span text, uint8_t kid[KID_MAX], size_t *kid_len)
{
    json_t *header = parse(text);
    if (header == NULL)
        return false;
    struct span id = text_of(header, "kid");
    const json_t *type = json_object_get(header, "typ");
    bool good =
        span_equal(text_of(header, "alg"), span_text("EdDSA")) &&
        json_object_get(header, "crit") == NULL && json_object_get(header, "b64") == NULL &&
        id.len >= 1 && id.len <= KID_MAX &&
        (type == NULL || (json_is_string(type) && strcasecmp(json_string_value(type), "JWT") == 0));
    if (good) {
        memcpy(kid, id.at, id.len);
        *kid_len = id.len;
    }
    json_decref(header);
    return good;
}

/* ---- the signature ---- */

static const struct sites_key *find_key(const struct site *site, struct span kid)
{
    for (uint32_t i = 0; i < site->key_count; i++)
        if (span_equal(span_of(site->keys[i].kid, site->keys[i].kid_len), kid))
            return &site->keys[i];
    return NULL;
}

/* libsodium takes 0.45 of the time that OpenSSL needs, and refuses keys of small order, under which
 * one signature holds for every text. Verifying needs no sodium_init. */
static bool signed_by(const struct sites_key *key, struct span covered, struct span signature)
{
    uint8_t bytes[DECODED_MAX];
    size_t len;
    static_assert(SIGNATURE_SIZE == crypto_sign_BYTES, "as libsodium has it");
    static_assert(sizeof key->ed25519 == crypto_sign_PUBLICKEYBYTES, "as libsodium has it");
    return decode(signature, bytes, &len) && len == SIGNATURE_SIZE &&
           crypto_sign_verify_detached(bytes, covered.at, covered.len, key->ed25519) == 0;
}

/* ---- the claims ---- */

static bool is_for(const json_t *claims, const char *audience)
{
    const json_t *value = json_object_get(claims, "aud");
    if (json_is_array(value) && json_array_size(value) == 1)
        value = json_array_get(value, 0);
    return json_is_string(value) &&
           span_equal(span_of(json_string_value(value), json_string_length(value)),
                      span_text(audience));
}

/* UTF-8 as jansson let it through, so a control character is below 0x20, 0x7f, or C2 80 to C2 9F.
 */
static bool has_controls(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.at[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < text.len && text.at[i + 1] < 0xa0))
            return true;
    }
    return false;
}

static bool read_seconds(const json_t *claims, const char *name, uint64_t *seconds)
{
    const json_t *value = json_object_get(claims, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *seconds = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_user(const json_t *json, struct token_claims *claims)
{
    struct span user = text_of(json, "sub");
    if (user.len == 0 || user.len > TOKEN_USER_MAX || has_controls(user))
        return false;
    claims->user_len = (uint8_t)user.len;
    memcpy(claims->user, user.at, user.len);

    if (json_object_get(json, "device") == NULL)
        return true;
    struct span device = text_of(json, "device");
    if (!gid_device_valid(device))
        return false;
    assert(device.len <= sizeof claims->device);
    claims->device_len = (uint8_t)device.len;
    memcpy(claims->device, device.at, device.len);
    return true;
}

static enum token_verdict read_claims(const json_t *json, const struct site *site,
                                      const char *audience, uint64_t now_s,
                                      struct token_claims *claims)
{
    uint64_t begins_at = 0;
    if (!is_for(json, audience) || !read_user(json, claims) ||
        !read_seconds(json, "iat", &claims->issued_at) ||
        !read_seconds(json, "exp", &claims->expires_at) ||
        claims->expires_at <= claims->issued_at ||
        claims->expires_at - claims->issued_at > TOKEN_LIFE_MAX_S ||
        (json_object_get(json, "nbf") != NULL && !read_seconds(json, "nbf", &begins_at)))
        return TOKEN_BAD_CLAIMS;
    if (claims->issued_at > now_s + TOKEN_SKEW_S || begins_at > now_s + TOKEN_SKEW_S)
        return TOKEN_TOO_EARLY;
    /* A token from before not_before is one to be fetched anew, just as one whose time is over. */
    if (now_s >= claims->expires_at + TOKEN_SKEW_S || claims->issued_at < site->not_before)
        return TOKEN_EXPIRED;
    return TOKEN_OK;
}

static enum token_verdict judge(const struct sites *sites, const char *audience,
                                const struct parts *parts, const json_t *json, struct span kid,
                                uint64_t now_s, struct token_claims *claims)
{
    struct span issuer = text_of(json, "iss");
    if (!sites_id_valid(issuer))
        return TOKEN_MALFORMED;
    claims->site_len = (uint8_t)issuer.len;
    memcpy(claims->site, issuer.at, issuer.len);

    const struct site *site = sites_find(sites, issuer);
    if (site == NULL)
        return TOKEN_UNKNOWN_SITE;
    const struct sites_key *key = find_key(site, kid);
    if (key == NULL)
        return TOKEN_UNKNOWN_KEY;
    if (!signed_by(key, parts->covered, parts->signature))
        return TOKEN_BAD_SIGNATURE;
    return read_claims(json, site, audience, now_s, claims);
}

enum token_verdict token_verify(const struct sites *sites, const char *audience, struct span token,
                                uint64_t now_s, struct token_claims *claims)
{
    *claims = (struct token_claims){0};
    struct parts parts;
    uint8_t kid[KID_MAX];
    size_t kid_len;
    if (token.len == 0 || token.len > TOKEN_SIZE_MAX || !split(token, &parts) ||
        !read_header(parts.header, kid, &kid_len))
        return TOKEN_MALFORMED;
    json_t *json = parse(parts.claims);
    if (json == NULL)
        return TOKEN_MALFORMED;
    enum token_verdict verdict =
        judge(sites, audience, &parts, json, span_of(kid, kid_len), now_s, claims);
    json_decref(json);
    /* What was read of a token that is refused is nobody's business, but where to ask for the site.
     */
    if (verdict != TOKEN_OK && verdict != TOKEN_UNKNOWN_SITE)
        *claims = (struct token_claims){0};
    return verdict;
}
