/* certificates: PEM files of self-signed certificates and their keys, for tests of TLS. */
#ifndef TESTS_CERTIFICATES_H
#define TESTS_CERTIFICATES_H

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct certificate_made {
    const char *name;     /* common name and, if it has a dot, DNS name */
    const char *curve;    /* NULL: P-256 */
    unsigned rsa_bits;    /* 0: a curve */
    long from_s, to_s;    /* from now; both 0: an hour before and after */
    const char *password; /* of the key; NULL: none */
};

static inline void write_pem_key(const char *path, EVP_PKEY *key, const char *password)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, key,
                                               password != NULL ? EVP_aes_128_cbc() : NULL,
                                               password, password != NULL ? 4 : 0, NULL, NULL),
                     1);
    fclose(file);
}

static inline void make_certificate(const char *certificate, const char *key_path,
                                    const struct certificate_made *made)
{
    EVP_PKEY *key = made->rsa_bits != 0 ? EVP_RSA_gen(made->rsa_bits)
                                        : EVP_EC_gen(made->curve != NULL ? made->curve : "P-256");
    X509 *cert = X509_new();
    assert_non_null(key);
    assert_non_null(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    bool usual = made->from_s == 0 && made->to_s == 0;
    X509_gmtime_adj(X509_getm_notBefore(cert), usual ? -3600 : made->from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), usual ? 3600 : made->to_s);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)made->name, -1,
                               -1, 0);
    X509_set_issuer_name(cert, subject);
    if (strchr(made->name, '.') != NULL) {
        char text[300];
        (void)snprintf(text, sizeof text, "DNS:%s", made->name);
        X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
        assert_non_null(names);
        X509_add_ext(cert, names, -1);
        X509_EXTENSION_free(names);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(certificate, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    write_pem_key(key_path, key, made->password);
    X509_free(cert);
    EVP_PKEY_free(key);
}

#endif
