/* A token from anybody is refused; one with any header and claims under a good signature is judged
 * within bounds.
 *
 * Input: 'r' and a token as it is, or anything else: header, a newline, claims, which are signed
 * here.
 *
 * Covers: edge/token.c.
 */
#include "edge/token.h"

#include <openssl/evp.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CLUSTER "lahar"
#define NOW 1800000000u

static EVP_PKEY *signing_key(void)
{
    static const uint8_t seed[32] = {7};
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    assert(key != NULL);
    return key;
}

static struct sites *one_site(EVP_PKEY *signer)
{
    uint8_t public_key[32], kid[] = "k", id[] = "game";
    size_t len = sizeof public_key;
    int ok = EVP_PKEY_get_raw_public_key(signer, public_key, &len);
    assert(ok == 1);
    Lahar__Link__V1__SiteKey key = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&key};
    key.kid = (ProtobufCBinaryData){1, kid};
    key.ed25519 = (ProtobufCBinaryData){len, public_key};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    site.id = (ProtobufCBinaryData){4, id};
    site.n_keys = 1;
    site.keys = keys;
    struct sites *sites = sites_new();
    bool put = sites_put(sites, &site);
    assert(put);
    return sites;
}

static size_t encode(struct span in, uint8_t *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = 0;
    for (size_t bit = 0; bit < in.len * 8; bit += 6) {
        size_t i = bit / 8;
        uint32_t two = (uint32_t)in.at[i] << 8 | (i + 1 < in.len ? in.at[i + 1] : 0);
        out[n++] = (uint8_t)digits[two >> (10 - bit % 8) & 63];
    }
    return n;
}

static size_t sign(EVP_PKEY *key, struct span input, uint8_t *out)
{
    const uint8_t *newline = input.len == 0 ? NULL : memchr(input.at, '\n', input.len);
    size_t header = newline == NULL ? 0 : (size_t)(newline - input.at);
    size_t n = encode(span_upto(input, header), out);
    out[n++] = '.';
    n += encode(span_after(input, newline == NULL ? 0 : header + 1), out + n);
    uint8_t signature[64];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
             EVP_DigestSign(ctx, signature, &len, out, n) == 1;
    assert(ok);
    EVP_MD_CTX_free(ctx);
    out[n++] = '.';
    return n + encode(span_of(signature, len), out + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0 || len > 4096)
        return 0;
    EVP_PKEY *key = signing_key();
    struct sites *sites = one_site(key);
    bool raw = bytes[0] == 'r';
    uint8_t *token = malloc(len * 2 + 256);
    assert(token != NULL);
    size_t n = raw ? len - 1 : sign(key, span_of(bytes, len), token);
    if (raw)
        memcpy(token, bytes + 1, n);

    struct token_claims claims;
    enum token_verdict verdict = token_verify(sites, CLUSTER, span_of(token, n), NOW, &claims);
    assert(verdict < TOKEN_VERDICTS && !(raw && verdict == TOKEN_OK));
    assert(token_verdict_label(verdict)[0] != 0);
    if (verdict == TOKEN_OK) {
        assert(n <= TOKEN_SIZE_MAX && claims.site_len == 4);
        assert(claims.user_len >= 1 && claims.user_len <= TOKEN_USER_MAX);
        assert(claims.device_len <= sizeof claims.device);
        assert(claims.issued_at < claims.expires_at);
        assert(claims.expires_at - claims.issued_at <= TOKEN_LIFE_MAX_S);
        assert(claims.issued_at <= NOW + TOKEN_SKEW_S && claims.expires_at + TOKEN_SKEW_S > NOW);
    }
    free(token);
    sites_free(sites);
    EVP_PKEY_free(key);
    return 0;
}
