/* token: site tokens, JWT (RFC 7519) signed with Ed25519 (RFC 8037), checked.
 *
 *     header   {"alg":"EdDSA","kid":"...","typ":"JWT"}
 *     claims   {"iss":site,"aud":cluster,"sub":user,"iat":s,"exp":s, optional "device":name}
 *
 * The algorithm comes from the key, never from the token. Members may not be doubled; exp - iat is
 * at most 15 min; 60 s of skew; sub 1 to 128 bytes of UTF-8 without control characters; at most 2
 * KiB in all. Nothing of a token is believed before its signature is checked, but `iss` and `kid`
 * to find the key.
 */
#ifndef EDGE_TOKEN_H
#define EDGE_TOKEN_H

#include "edge/sites.h"

#define TOKEN_SIZE_MAX 2048u
#define TOKEN_USER_MAX 128u
#define TOKEN_LIFE_MAX_S 900u
#define TOKEN_SKEW_S 60u

struct token_claims {
    uint8_t site_len, user_len, device_len;
    uint8_t site[SITES_ID_MAX];
    uint8_t user[TOKEN_USER_MAX];
    uint8_t device[32];             /* none: any device */
    uint64_t issued_at, expires_at; /* s since 1970 */
};

/* Each verdict once: enum, label (for counter and log; clients learn only refused or expired). */
enum token_verdict {
#define TOKEN_VERDICT(name, label) TOKEN_##name,
#include "edge/token_verdicts.h"
    TOKEN_VERDICTS,
};

const char *token_verdict_label(enum token_verdict verdict);

/* TOKEN_OK: `claims` are filled. TOKEN_UNKNOWN_SITE: only claims->site is. `audience` is the
 * cluster's name. */
MUST_CHECK enum token_verdict token_verify(const struct sites *sites, const char *audience,
                                           struct span token, uint64_t now_s,
                                           struct token_claims *claims);

#endif
