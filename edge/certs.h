/* certs: the certificates that an edge shows, each with its key, found by the name that a client
 * asks for (SNI, RFC 6066).
 *
 * A set is loaded once, whole or not at all, never changes, and is shared by the threads that hold
 * it. Names are in the form that DNS carries (IDNA A-labels), in either case; "*.example.org" means
 * any one label before example.org. What no name covers gets the default.
 */
#ifndef EDGE_CERTS_H
#define EDGE_CERTS_H

#include "base/span.h"

struct certs;
struct ssl_ctx_st; /* OpenSSL's */

#define CERTS_WHY_SIZE 512u
/* A certificate that ends sooner is warned of. */
#define CERTS_DAYS_SOON 14

struct certs_options {
    const char *certificate,
        *key;               /* PEM files of the default: with its chain; without a password */
    const char *const *sni; /* "NAME=CERTIFICATE.pem:KEY.pem" */
    size_t sni_count;
};

/* One of `sni`. False if it is not of that form, or NAME is no name. */
struct certs_sni {
    struct span name, certificate, key;
};
MUST_CHECK bool certs_parse(struct span entry, struct certs_sni *sni);

/* A new context that has all but certificate and key. */
typedef struct ssl_ctx_st *certs_context_fn(void);

/* NULL: one of them cannot be used; `why` says which file, and what to change. */
MUST_CHECK struct certs *certs_load(const struct certs_options *options, certs_context_fn *make,
                                    char why[CERTS_WHY_SIZE]);
/* One more holder; from any thread. Returns `certs`. */
struct certs *certs_hold(struct certs *certs);
/* One holder less; the last one frees. NULL is fine. */
void certs_free(struct certs *certs);

/* The context for a client that asked for `name` (any bytes; empty: for none). Borrowed. */
struct ssl_ctx_st *certs_context(const struct certs *certs, struct span name);

size_t certs_count(const struct certs *certs);
/* Whole days until the first of them, or of their chains, ends; 0 if one has. `now_s`: Unix time.
 */
uint32_t certs_days_left(const struct certs *certs, int64_t now_s);
/* Logs each one that has ended, ends soon, is not valid yet, or is not for the name it is shown
 * for. */
void certs_warn(const struct certs *certs, int64_t now_s);

#endif
