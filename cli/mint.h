/* mint: makes what people and programs show to be let in: keys for links and sites, certificates
 * for trials, site tokens.
 *
 * All functions say on failure what went wrong and what to do, in `why` (of MINT_WHY_SIZE bytes),
 * and never overwrite a file that exists: keys that are in use are not replaced by mistake. Secret
 * files are made readable for their owner alone.
 */
#ifndef CLI_MINT_H
#define CLI_MINT_H

#include "base/span.h"

#define MINT_WHY_SIZE 512u
#define MINT_KID_SIZE 17u /* with the NUL */
#define MINT_TOKEN_SIZE 2049u

/* DIR/edge.key, router.key, admin.key and edges.allow, routers.allow, admins.allow: see
 * proto/keys.h. */
MUST_CHECK bool mint_link_keys(const char *directory, char *why);
/* DIR/SITE.key (private, PEM) and DIR/SITE.pub. */
MUST_CHECK bool mint_site_key(const char *directory, const char *site, char *why);
/* DIR/ca.pem, and DIR/edge.pem with DIR/edge-tls.key for these DNS names and addresses, good for 90
 * days. */
MUST_CHECK bool mint_tls(const char *directory, const char *const *names, size_t count, char *why);

/* A site's public key from a PEM file (public or private), and its key id: 16 hex digits of its
 * SHA-256. */
MUST_CHECK bool mint_public(const char *file, uint8_t ed25519[32], char kid[MINT_KID_SIZE],
                            char *why);

struct mint_claims {
    const char *site, *user, *cluster;
    const char *device;  /* NULL: any */
    const char *kid;     /* NULL: that of mint_public */
    uint64_t issued_at;  /* s since 1970 */
    uint32_t lifetime_s; /* at most 900 are accepted */
};
/* Holds a site's private key, for who makes many tokens. */
struct mint_signer;
MUST_CHECK struct mint_signer *mint_signer_new(const char *file, char *why);
void mint_signer_free(struct mint_signer *signer);
/* A signed JWT; its length is set. */
MUST_CHECK bool mint_sign(const struct mint_signer *signer, const struct mint_claims *claims,
                          char token[MINT_TOKEN_SIZE], size_t *len, char *why);
/* The same with the private key in `file`. */
MUST_CHECK bool mint_token(const char *file, const struct mint_claims *claims,
                           char token[MINT_TOKEN_SIZE], size_t *len, char *why);

#endif
