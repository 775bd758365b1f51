#include "edge/certs.h"

#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define NAME_MAX_LEN 253u
#define LABEL_MAX_LEN 63u
#define DAY_S 86400

struct cert {
    SSL_CTX *ctx;
    char *certificate, *key;       /* paths */
    int64_t not_before, not_after; /* the narrowest of it and its chain */
};

struct name {
    char text[NAME_MAX_LEN + 1]; /* in lower case */
    uint32_t cert;
};

struct certs {
    atomic_uint holders;
    size_t count, names_count;
    struct cert *certs; /* the first one is the default */
    struct name *names; /* sorted */
};

/* ---- names ---- */

static bool is_name_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
}

static bool name_valid(struct span name)
{
    if (name.len > NAME_MAX_LEN)
        return false;
    size_t from = name.len >= 2 && name.at[0] == '*' && name.at[1] == '.' ? 2 : 0, label = 0;
    for (size_t i = from; i < name.len; i++) {
        if (name.at[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!is_name_byte(name.at[i]) || ++label > LABEL_MAX_LEN) {
            return false;
        }
    }
    return label > 0;
}

static bool cut(struct span text, char at, struct span *before, struct span *after)
{
    const uint8_t *found = text.len == 0 ? NULL : memchr(text.at, at, text.len);
    if (found == NULL)
        return false;
    *before = span_upto(text, (size_t)(found - text.at));
    *after = span_after(text, before->len + 1);
    return true;
}

bool certs_parse(struct span entry, struct certs_sni *sni)
{
    struct span files, unused;
    return cut(entry, '=', &sni->name, &files) && name_valid(sni->name) &&
           cut(files, ':', &sni->certificate, &sni->key) && sni->certificate.len > 0 &&
           sni->key.len > 0 && !cut(sni->key, ':', &unused, &unused);
}

static void lower(char *out, struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.at[i];
        out[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
    }
    out[name.len] = '\0';
}

static int compare_names(const void *a, const void *b)
{
    const struct name *first = a, *second = b;
    return strcmp(first->text, second->text);
}

static const struct name *find_name(const struct certs *certs, const char *text)
{
    size_t from = 0, to = certs->names_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(text, certs->names[middle].text);
        if (order == 0)
            return &certs->names[middle];
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

struct ssl_ctx_st *certs_context(const struct certs *certs, struct span name)
{
    char text[NAME_MAX_LEN + 1];
    const struct name *found = NULL;
    /* A star in it is not for the client to write. */
    if (certs->names_count > 0 && name_valid(name) && name.at[0] != '*') {
        lower(text, name);
        found = find_name(certs, text);
        char *dot = strchr(text, '.');
        if (found == NULL && dot != NULL && dot > text) {
            dot[-1] = '*';
            found = find_name(certs, dot - 1);
        }
    }
    return certs->certs[found != NULL ? found->cert : 0].ctx;
}

/* ---- loading ---- */

__attribute__((format(printf, 2, 3))) static bool refuse(char why[CERTS_WHY_SIZE],
                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, CERTS_WHY_SIZE, format, args);
    va_end(args);
    ERR_clear_error();
    return false;
}

/* Of what OpenSSL has just refused. */
static const char *reason(void)
{
    unsigned long error = ERR_peek_error();
    if (ERR_SYSTEM_ERROR(error))
        return strerror((int)ERR_GET_REASON(error));
    if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
        return "there is no PEM certificate in it";
    const char *text = ERR_reason_error_string(error);
    return text != NULL ? text : "it cannot be read";
}

/* A key that is encrypted must not make a daemon ask on the terminal. */
static int no_password(char *at, int room, int writing, void *ctx)
{
    (void)at;
    (void)room;
    (void)writing;
    (void)ctx;
    return -1;
}

/* Others are in no client's list of groups that we share (see tls_context). */
static bool curve_usable(const EVP_PKEY *key, char curve[64])
{
    curve[0] = '\0';
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, curve, 64, NULL) != 1)
        return true;
    return strcmp(curve, "prime256v1") == 0 || strcmp(curve, "secp384r1") == 0;
}

static bool use_key(const struct cert *cert, char why[CERTS_WHY_SIZE])
{
    FILE *file = fopen(cert->key, "re");
    if (file == NULL)
        return refuse(why, "%s: %s", cert->key, strerror(errno));
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    fclose(file);
    if (key == NULL)
        return refuse(why, "%s: there is no private key in it in PEM without a password",
                      cert->key);
    char curve[64];
    bool ok = false;
    if (X509_check_private_key(SSL_CTX_get0_certificate(cert->ctx), key) != 1)
        (void)refuse(why, "%s: is not the key of the first certificate in %s", cert->key,
                     cert->certificate);
    else if (!curve_usable(key, curve))
        (void)refuse(why, "%s: its curve %s is not usual in TLS; take P-256 or P-384, or RSA",
                     cert->key, curve);
    else if (SSL_CTX_use_PrivateKey(cert->ctx, key) != 1)
        (void)refuse(why, "%s: %s", cert->key, reason());
    else
        ok = true;
    EVP_PKEY_free(key);
    return ok;
}

static int64_t seconds_of(const ASN1_TIME *time, int64_t otherwise)
{
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : otherwise;
}

static void narrow(struct cert *cert, const X509 *certificate)
{
    int64_t begin = seconds_of(X509_get0_notBefore(certificate), INT64_MAX);
    int64_t end = seconds_of(X509_get0_notAfter(certificate), 0);
    if (begin > cert->not_before)
        cert->not_before = begin;
    if (end < cert->not_after)
        cert->not_after = end;
}

static bool load_cert(struct cert *cert, struct span certificate, struct span key,
                      certs_context_fn *make, char why[CERTS_WHY_SIZE])
{
    *cert = (struct cert){.ctx = make(), .not_before = INT64_MIN, .not_after = INT64_MAX};
    cert->certificate = strndup((const char *)certificate.at, certificate.len);
    cert->key = strndup((const char *)key.at, key.len);
    assert(cert->ctx != NULL && cert->certificate != NULL && cert->key != NULL);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(cert->ctx, cert->certificate) != 1)
        return refuse(why, "%s: %s", cert->certificate, reason());
    if (!use_key(cert, why))
        return false;
    STACK_OF(X509) *chain = NULL;
    narrow(cert, SSL_CTX_get0_certificate(cert->ctx));
    if (SSL_CTX_get0_chain_certs(cert->ctx, &chain) == 1)
        for (int i = 0; i < sk_X509_num(chain); i++)
            narrow(cert, sk_X509_value(chain, i));
    return true;
}

/* Many names may have one certificate. */
static bool take_cert(struct certs *certs, struct span certificate, struct span key,
                      certs_context_fn *make, uint32_t *index, char why[CERTS_WHY_SIZE])
{
    for (*index = 0; *index < certs->count; (*index)++)
        if (span_equal(certificate, span_text(certs->certs[*index].certificate)) &&
            span_equal(key, span_text(certs->certs[*index].key)))
            return true;
    return load_cert(&certs->certs[certs->count++], certificate, key, make, why);
}

static bool load_all(struct certs *certs, const struct certs_options *options,
                     certs_context_fn *make, char why[CERTS_WHY_SIZE])
{
    uint32_t index;
    if (!take_cert(certs, span_text(options->certificate), span_text(options->key), make, &index,
                   why))
        return false;
    for (size_t i = 0; i < options->sni_count; i++) {
        struct certs_sni sni;
        struct name *name = &certs->names[certs->names_count];
        if (!certs_parse(span_text(options->sni[i]), &sni))
            return refuse(why, "%s: write NAME=CERTIFICATE.pem:KEY.pem", options->sni[i]);
        if (!take_cert(certs, sni.certificate, sni.key, make, &name->cert, why))
            return false;
        lower(name->text, sni.name);
        certs->names_count++;
    }
    qsort(certs->names, certs->names_count, sizeof *certs->names, compare_names);
    for (size_t i = 1; i < certs->names_count; i++)
        if (compare_names(&certs->names[i - 1], &certs->names[i]) == 0)
            return refuse(why, "the name %s is there twice; take one of them away",
                          certs->names[i].text);
    return true;
}

struct certs *certs_load(const struct certs_options *options, certs_context_fn *make,
                         char why[CERTS_WHY_SIZE])
{
    struct certs *certs = calloc(1, sizeof *certs);
    assert(certs != NULL);
    atomic_init(&certs->holders, 1);
    certs->certs = calloc(options->sni_count + 1, sizeof *certs->certs);
    certs->names = calloc(options->sni_count + 1, sizeof *certs->names);
    assert(certs->certs != NULL && certs->names != NULL);
    if (load_all(certs, options, make, why))
        return certs;
    certs_free(certs);
    return NULL;
}

struct certs *certs_hold(struct certs *certs)
{
    atomic_fetch_add(&certs->holders, 1);
    return certs;
}

void certs_free(struct certs *certs)
{
    if (certs == NULL || atomic_fetch_sub(&certs->holders, 1) > 1)
        return;
    for (size_t i = 0; i < certs->count; i++) {
        SSL_CTX_free(certs->certs[i].ctx); /* streams hold it as long as they need it */
        free(certs->certs[i].certificate);
        free(certs->certs[i].key);
    }
    free(certs->certs);
    free(certs->names);
    free(certs);
}

/* ---- what becomes of them ---- */

size_t certs_count(const struct certs *certs)
{
    return certs->count;
}

static int64_t days_until(int64_t end_s, int64_t now_s)
{
    return end_s <= now_s ? 0 : (end_s - now_s) / DAY_S;
}

uint32_t certs_days_left(const struct certs *certs, int64_t now_s)
{
    int64_t least = UINT32_MAX;
    for (size_t i = 0; i < certs->count; i++) {
        int64_t days = days_until(certs->certs[i].not_after, now_s);
        least = days < least ? days : least;
    }
    return (uint32_t)least;
}

static void warn_of_name(const struct certs *certs, const struct name *name)
{
    const struct cert *cert = &certs->certs[name->cert];
    char host[NAME_MAX_LEN + 1];
    memcpy(host, name->text, sizeof host);
    if (host[0] == '*')
        host[0] = 'a';
    if (X509_check_host(SSL_CTX_get0_certificate(cert->ctx), host, 0, 0, NULL) != 1)
        log_warn("tls_certificate_not_for_name", LOG_TEXT("name", name->text),
                 LOG_TEXT("file", cert->certificate));
}

void certs_warn(const struct certs *certs, int64_t now_s)
{
    for (size_t i = 0; i < certs->count; i++) {
        const struct cert *cert = &certs->certs[i];
        int64_t days = days_until(cert->not_after, now_s);
        if (now_s < cert->not_before)
            log_warn("tls_certificate_not_valid_yet", LOG_TEXT("file", cert->certificate));
        if (now_s >= cert->not_after)
            log_error("tls_certificate_ended", LOG_TEXT("file", cert->certificate));
        else if (days < CERTS_DAYS_SOON)
            log_warn("tls_certificate_ends_soon", LOG_TEXT("file", cert->certificate),
                     LOG_NUMBER("days", days));
    }
    for (size_t i = 0; i < certs->names_count; i++)
        warn_of_name(certs, &certs->names[i]);
    ERR_clear_error();
}
