#include "cli/mint.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static bool fail(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, MINT_WHY_SIZE, format, args);
    va_end(args);
    return false;
}

/* ---- files --------------------------------------------------------------------------------------
 */

static bool make_directory(const char *directory, char *why)
{
    if (mkdir(directory, 0700) == 0 || errno == EEXIST)
        return true;
    return fail(why, "%s: cannot be made: %s", directory, strerror(errno));
}

static FILE *create(const char *directory, const char *name, const char *ending, mode_t mode,
                    char *why)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s%s", directory, name, ending) >= sizeof path) {
        (void)fail(why, "the path %s/%s is too long", directory, name);
        return NULL;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file)
        return file;
    int error = errno;
    if (fd >= 0)
        close(fd);
    (void)fail(why, "%s: %s%s", path, strerror(error),
               error == EEXIST ? "; remove it if it is not in use" : "");
    return NULL;
}

static bool finish(FILE *file, bool written, const char *name, char *why)
{
    bool closed = fclose(file) == 0;
    return (written && closed) || fail(why, "%s: could not be written: %s", name, strerror(errno));
}

static bool write_text(const char *directory, const char *name, mode_t mode, const char *comment,
                       const char *text, char *why)
{
    FILE *file = create(directory, name, "", mode, why);
    return file && finish(file, fprintf(file, "# %s\n%s\n", comment, text) > 0, name, why);
}

/* ---- keys of links: CURVE is X25519, its text form Z85 (ZeroMQ RFC 32) ---- */

static void z85(const uint8_t bytes[32], char text[41])
{
    static const char digits[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/"
        "*?&<>()[]{}@%$#";
    for (size_t word = 0; word < 8; word++) {
        uint32_t value = 0;
        for (size_t i = 0; i < 4; i++)
            value = value << 8 | bytes[word * 4 + i];
        for (size_t i = 5; i-- > 0; value /= 85)
            text[word * 5 + i] = digits[value % 85];
    }
    text[40] = 0;
}

static bool curve_pair(char public_text[41], char secret_text[41], char *why)
{
    uint8_t public_key[32], secret_key[32];
    size_t public_size = sizeof public_key, secret_size = sizeof secret_key;
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    bool made = pair && EVP_PKEY_get_raw_public_key(pair, public_key, &public_size) == 1 &&
                EVP_PKEY_get_raw_private_key(pair, secret_key, &secret_size) == 1;
    EVP_PKEY_free(pair);
    if (!made)
        return fail(why, "OpenSSL could not make an X25519 key");
    z85(public_key, public_text);
    z85(secret_key, secret_text);
    OPENSSL_cleanse(secret_key, sizeof secret_key);
    return true;
}

bool mint_link_keys(const char *directory, char *why)
{
    static const struct {
        const char *role, *secret_file, *allow_file;
    } roles[] = {
        {"edge", "edge.key", "edges.allow"},
        {"router", "router.key", "routers.allow"},
        {"admin", "admin.key", "admins.allow"},
    };
    if (!make_directory(directory, why))
        return false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        char public_text[41], secret_text[41], comment[128];
        if (!curve_pair(public_text, secret_text, why))
            return false;
        snprintf(comment, sizeof comment, "Secret CURVE key of the role %s.", roles[i].role);
        if (!write_text(directory, roles[i].secret_file, 0600, comment, secret_text, why))
            return false;
        snprintf(comment, sizeof comment, "Public keys of those who may come as %s, one a line.",
                 roles[i].role);
        if (!write_text(directory, roles[i].allow_file, 0644, comment, public_text, why))
            return false;
    }
    return true;
}

/* ---- keys of sites ---- */

bool mint_site_key(const char *directory, const char *site, char *why)
{
    if (!make_directory(directory, why))
        return false;
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!pair)
        return fail(why, "OpenSSL could not make an Ed25519 key");
    FILE *file = create(directory, site, ".key", 0600, why);
    bool done =
        file &&
        finish(file, PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL) == 1, site, why);
    if (done) {
        file = create(directory, site, ".pub", 0644, why);
        done = file && finish(file, PEM_write_PUBKEY(file, pair) == 1, site, why);
    }
    EVP_PKEY_free(pair);
    return done;
}

static EVP_PKEY *read_key(const char *path, bool secret, char *why)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        (void)fail(why, "%s: %s", path, strerror(errno));
        return NULL;
    }
    EVP_PKEY *key = NULL;
    if (!secret)
        key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
    if (!key) {
        rewind(file);
        key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    }
    fclose(file);
    if (key && EVP_PKEY_is_a(key, "ED25519"))
        return key;
    EVP_PKEY_free(key);
    (void)fail(why, "%s: no %sEd25519 key in PEM form; make one with 'lahar keygen site'", path,
               secret ? "private " : "");
    return NULL;
}

static bool key_id(EVP_PKEY *key, uint8_t ed25519[32], char kid[MINT_KID_SIZE], char *why)
{
    size_t size = 32;
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_PKEY_get_raw_public_key(key, ed25519, &size) != 1 || size != 32 ||
        EVP_Q_digest(NULL, "SHA256", NULL, ed25519, 32, digest, NULL) != 1)
        return fail(why, "OpenSSL could not read the public key");
    for (size_t i = 0; i < 8; i++)
        snprintf(kid + 2 * i, 3, "%02x", digest[i]);
    return true;
}

bool mint_public(const char *file, uint8_t ed25519[32], char kid[MINT_KID_SIZE], char *why)
{
    EVP_PKEY *key = read_key(file, false, why);
    bool read = key && key_id(key, ed25519, kid, why);
    EVP_PKEY_free(key);
    return read;
}

/* ---- tokens ---- */

/* Appends the base64url form (RFC 4648, no padding); false when there is no room. */
static bool append_base64(char *out, size_t *len, struct span bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (*len + (bytes.len * 4 + 2) / 3 >= MINT_TOKEN_SIZE)
        return false;
    uint32_t bits = 0, count = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        bits = bits << 8 | bytes.at[i];
        for (count += 8; count >= 6; count -= 6)
            out[(*len)++] = digits[bits >> (count - 6) & 63];
    }
    if (count > 0)
        out[(*len)++] = digits[bits << (6 - count) & 63];
    out[*len] = 0;
    return true;
}

/* {"name":"text", ...} under construction. */
struct json {
    char text[1536];
    size_t len;
    bool full;
};

static void json_text(struct json *json, const char *name, const char *text)
{
    char quoted[1024];
    size_t size = log_json_string(quoted, sizeof quoted, span_text(text));
    size_t room = sizeof json->text - json->len;
    int wrote = snprintf(json->text + json->len, room, "%c\"%s\":%.*s", json->len ? ',' : '{', name,
                         (int)size, quoted);
    if (size == 0 || wrote < 0 || (size_t)wrote >= room)
        json->full = true;
    else
        json->len += (size_t)wrote;
}

static void json_end(struct json *json, uint64_t issued_at, uint64_t expires_at)
{
    size_t room = sizeof json->text - json->len;
    int wrote = issued_at ? snprintf(json->text + json->len, room, ",\"iat\":%llu,\"exp\":%llu}",
                                     (unsigned long long)issued_at, (unsigned long long)expires_at)
                          : snprintf(json->text + json->len, room, "}");
    if (wrote < 0 || (size_t)wrote >= room)
        json->full = true;
    else
        json->len += (size_t)wrote;
}

static bool append_signature(EVP_PKEY *key, char *token, size_t *len)
{
    uint8_t signature[64];
    size_t size = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool made = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(context, signature, &size, (const uint8_t *)token, *len) == 1;
    EVP_MD_CTX_free(context);
    if (!made || *len + 1 >= MINT_TOKEN_SIZE)
        return false;
    token[(*len)++] = '.';
    return append_base64(token, len, span_of(signature, size));
}

struct mint_signer {
    EVP_PKEY *key;
    char kid[MINT_KID_SIZE];
};

struct mint_signer *mint_signer_new(const char *file, char *why)
{
    uint8_t ed25519[32];
    struct mint_signer *signer = calloc(1, sizeof *signer);
    assert(signer != NULL);
    signer->key = read_key(file, true, why);
    if (signer->key && key_id(signer->key, ed25519, signer->kid, why))
        return signer;
    mint_signer_free(signer);
    return NULL;
}

void mint_signer_free(struct mint_signer *signer)
{
    if (signer == NULL)
        return;
    EVP_PKEY_free(signer->key);
    free(signer);
}

bool mint_sign(const struct mint_signer *signer, const struct mint_claims *claims,
               char token[MINT_TOKEN_SIZE], size_t *len, char *why)
{
    struct json header = {.len = 0}, body = {.len = 0};
    json_text(&header, "alg", "EdDSA");
    json_text(&header, "kid", claims->kid ? claims->kid : signer->kid);
    json_text(&header, "typ", "JWT");
    json_end(&header, 0, 0);
    json_text(&body, "iss", claims->site);
    json_text(&body, "aud", claims->cluster);
    json_text(&body, "sub", claims->user);
    if (claims->device)
        json_text(&body, "device", claims->device);
    json_end(&body, claims->issued_at, claims->issued_at + claims->lifetime_s);

    *len = 0;
    bool made = !header.full && !body.full && append_base64(token, len, span_text(header.text));
    if (made) {
        token[(*len)++] = '.';
        made = append_base64(token, len, span_text(body.text)) &&
               append_signature(signer->key, token, len);
    }
    return made || fail(why, "the token would be over 2 KiB: shorten site, user or device");
}

bool mint_token(const char *file, const struct mint_claims *claims, char token[MINT_TOKEN_SIZE],
                size_t *len, char *why)
{
    struct mint_signer *signer = mint_signer_new(file, why);
    bool made = signer && mint_sign(signer, claims, token, len, why);
    mint_signer_free(signer);
    return made;
}

/* ---- certificates for trials ---- */

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* Signed by `issuer` with `issuer_key`; by itself if these are NULL. */
static X509 *make_certificate(EVP_PKEY *key, const char *name, const char *alt_names, X509 *issuer,
                              EVP_PKEY *issuer_key)
{
    X509 *certificate = X509_new();
    uint64_t serial = 0;
    if (!certificate || RAND_bytes((uint8_t *)&serial, sizeof serial) != 1) {
        X509_free(certificate);
        return NULL;
    }
    X509 *parent = issuer ? issuer : certificate;
    X509_NAME *subject = X509_get_subject_name(certificate);
    bool made =
        X509_set_version(certificate, 2) == 1 &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), 90L * 24 * 3600) &&
        X509_set_pubkey(certificate, key) == 1 &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1,
                                   0) == 1 &&
        X509_set_issuer_name(certificate, X509_get_subject_name(parent)) == 1 &&
        add_extension(certificate, parent, NID_subject_key_identifier, "hash") &&
        add_extension(certificate, parent, NID_authority_key_identifier, "keyid") &&
        add_extension(certificate, parent, NID_basic_constraints,
                      issuer ? "critical,CA:FALSE" : "critical,CA:TRUE") &&
        add_extension(certificate, parent, NID_key_usage,
                      issuer ? "critical,digitalSignature" : "critical,keyCertSign") &&
        (!alt_names || add_extension(certificate, parent, NID_subject_alt_name, alt_names)) &&
        X509_sign(certificate, issuer_key ? issuer_key : key, EVP_sha256()) > 0;
    if (made)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static bool join_names(char *out, size_t room, const char *const *names, size_t count, char *why)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        struct in6_addr address;
        bool is_address = inet_pton(AF_INET, names[i], &address) == 1 ||
                          inet_pton(AF_INET6, names[i], &address) == 1;
        if (strpbrk(names[i], ",: ") && !is_address)
            return fail(why, "'%s' is neither a DNS name nor an address", names[i]);
        int wrote = snprintf(out + len, room - len, "%s%s:%s", i ? "," : "",
                             is_address ? "IP" : "DNS", names[i]);
        if (wrote < 0 || (size_t)wrote >= room - len)
            return fail(why, "too many names for one certificate");
        len += (size_t)wrote;
    }
    return true;
}

bool mint_tls(const char *directory, const char *const *names, size_t count, char *why)
{
    char alt_names[2048];
    if (!make_directory(directory, why) ||
        !join_names(alt_names, sizeof alt_names, names, count, why))
        return false;
    EVP_PKEY *ca_key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *ca = ca_key ? make_certificate(ca_key, "Lahar trial CA", NULL, NULL, NULL) : NULL;
    X509 *edge = ca && key ? make_certificate(key, names[0], alt_names, ca, ca_key) : NULL;
    bool done = edge || fail(why, "OpenSSL could not make a certificate");
    FILE *file;
    if (done) {
        file = create(directory, "ca", ".pem", 0644, why);
        done = file && finish(file, PEM_write_X509(file, ca) == 1, "ca.pem", why);
    }
    if (done) {
        file = create(directory, "edge", ".pem", 0644, why);
        done = file && finish(file, PEM_write_X509(file, edge) == 1, "edge.pem", why);
    }
    if (done) {
        file = create(directory, "edge-tls", ".key", 0600, why);
        done = file && finish(file, PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1,
                              "edge-tls.key", why);
    }
    X509_free(edge);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key); /* thrown away: this CA signs nothing else */
    return done;
}
