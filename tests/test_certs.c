/* certs: a set is taken whole or not at all, what is wrong is named, and names find theirs. */
#include "edge/certs.h"

#include "edge/tls.h"
#include "tests/certificates.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 16u
#define DAY_S 86400

struct files {
    char folder[64];
    char paths[FILES_MAX][128];
    size_t count;
};

static int set_up(void **state)
{
    struct files *files = calloc(1, sizeof *files);
    assert_non_null(files);
    strcpy(files->folder, "/tmp/test_certs.XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    *state = files;
    return 0;
}

static int tear_down(void **state)
{
    struct files *files = *state;
    for (size_t i = 0; i < files->count; i++)
        unlink(files->paths[i]);
    assert_int_equal(rmdir(files->folder), 0);
    free(files);
    return 0;
}

static const char *path(struct files *files, const char *name)
{
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, "%s/%s", files->folder, name);
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->paths[i], wanted) == 0)
            return files->paths[i];
    assert_true(files->count < FILES_MAX);
    memcpy(files->paths[files->count], wanted, sizeof wanted);
    return files->paths[files->count++];
}

static void put(struct files *files, const char *name, const char *text)
{
    FILE *file = fopen(path(files, name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct certs *load(struct files *files, const char *const *sni, size_t count, char *why)
{
    struct certs_options options = {.certificate = path(files, "cert.pem"),
                                    .key = path(files, "key.pem"),
                                    .sni = sni,
                                    .sni_count = count};
    return certs_load(&options, tls_context, why);
}

static void is_refused(struct files *files, const char *file, const char *because)
{
    char why[CERTS_WHY_SIZE] = "";
    assert_null(load(files, NULL, 0, why));
    if (strstr(why, file) == NULL || strstr(why, because) == NULL)
        fail_msg("'%s' names neither %s nor '%s'", why, file, because);
    assert_int_equal(ERR_peek_error(), 0);
}

static void make_pair(struct files *files, const struct certificate_made *made)
{
    make_certificate(path(files, "cert.pem"), path(files, "key.pem"), made);
}

static void says_which_file_is_wrong_and_why(void **state)
{
    struct files *files = *state;
    is_refused(files, "cert.pem", "No such file");
    put(files, "cert.pem", "no certificate\n");
    is_refused(files, "cert.pem", "no PEM certificate");
    make_pair(files, &(struct certificate_made){.name = "one"});
    unlink(path(files, "key.pem"));
    is_refused(files, "key.pem", "No such file");
    put(files, "key.pem", "no key\n");
    is_refused(files, "key.pem", "no private key");
    make_pair(files, &(struct certificate_made){.name = "one", .password = "word"});
    is_refused(files, "key.pem", "password");
    make_certificate(path(files, "other.pem"), path(files, "key.pem"),
                     &(struct certificate_made){.name = "other"});
    is_refused(files, "key.pem", "not the key");
    make_certificate(path(files, "other.pem"), path(files, "key.pem"),
                     &(struct certificate_made){.name = "other", .rsa_bits = 2048});
    is_refused(files, "key.pem", "not the key");
    make_pair(files, &(struct certificate_made){.name = "small", .rsa_bits = 1024});
    is_refused(files, "cert.pem", "key too small");
    make_pair(files, &(struct certificate_made){.name = "unusual", .curve = "P-521"});
    is_refused(files, "key.pem", "secp521r1");
}

static void takes_rsa_and_both_usual_curves(void **state)
{
    struct files *files = *state;
    static const struct certificate_made made[] = {
        {.name = "rsa", .rsa_bits = 2048}, {.name = "p256"}, {.name = "p384", .curve = "P-384"}};
    for (size_t i = 0; i < 3; i++) {
        char why[CERTS_WHY_SIZE];
        make_pair(files, &made[i]);
        struct certs *certs = load(files, NULL, 0, why);
        if (certs == NULL)
            fail_msg("%s", why);
        assert_int_equal(certs_count(certs), 1);
        certs_free(certs);
    }
}

static void counts_the_days_until_the_first_one_ends(void **state)
{
    struct files *files = *state;
    char why[CERTS_WHY_SIZE], entry[300];
    make_pair(files, &(struct certificate_made){.name = "long", .from_s = -5, .to_s = 90 * DAY_S});
    make_certificate(
        path(files, "b.pem"), path(files, "b.key"),
        &(struct certificate_made){.name = "b.example", .from_s = -5, .to_s = 10 * DAY_S + 600});
    (void)snprintf(entry, sizeof entry, "b.example=%s:%s", path(files, "b.pem"),
                   path(files, "b.key"));
    const char *sni[] = {entry};
    struct certs *certs = load(files, sni, 1, why);
    assert_non_null(certs);
    int64_t now_s = time(NULL);
    assert_int_equal(certs_count(certs), 2);
    assert_int_equal(certs_days_left(certs, now_s), 10);
    assert_int_equal(certs_days_left(certs, now_s + DAY_S), 9);
    assert_int_equal(certs_days_left(certs, now_s + 10 * DAY_S + 700), 0);
    assert_int_equal(certs_days_left(certs, now_s + 100 * DAY_S), 0);
    certs_free(certs);
}

/* What a client that asks for `name` is shown. */
static void shows(const struct certs *certs, const char *name, const char *expected)
{
    SSL_CTX *ctx = certs_context(certs, span_text(name));
    char got[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_CTX_get0_certificate(ctx)), NID_commonName,
                              got, sizeof got);
    if (strcmp(got, expected) != 0)
        fail_msg("'%s' gets %s, not %s", name, got, expected);
}

static void a_name_finds_its_own_then_its_star_then_the_default(void **state)
{
    struct files *files = *state;
    char why[CERTS_WHY_SIZE], entries[4][300];
    make_pair(files, &(struct certificate_made){.name = "default"});
    make_certificate(path(files, "a.pem"), path(files, "a.key"),
                     &(struct certificate_made){.name = "chat.a.example"});
    make_certificate(path(files, "s.pem"), path(files, "s.key"),
                     &(struct certificate_made){.name = "*.a.example"});
    static const char *const names[] = {"Chat.A.example", "*.a.example", "b.example",
                                        "*.c.a.example"};
    const char *sni[4];
    for (size_t i = 0; i < 4; i++) {
        bool own = i == 0 || i == 2;
        (void)snprintf(entries[i], sizeof entries[i], "%s=%s:%s", names[i],
                       path(files, own ? "a.pem" : "s.pem"), path(files, own ? "a.key" : "s.key"));
        sni[i] = entries[i];
    }
    struct certs *certs = load(files, sni, 4, why);
    if (certs == NULL)
        fail_msg("%s", why);
    assert_int_equal(certs_count(certs), 3); /* one a file, not one a name */
    shows(certs, "chat.a.example", "chat.a.example");
    shows(certs, "CHAT.a.EXAMPLE", "chat.a.example");
    shows(certs, "b.example", "chat.a.example");
    shows(certs, "other.a.example", "*.a.example");
    shows(certs, "x.c.a.example", "*.a.example");
    shows(certs, "a.b.a.example", "default"); /* a star is one label */
    static const char *const others[] = {"",           "a.example",     ".a.example", "*.a.example",
                                         "*",          "example",       "a.example.", "..",
                                         "b.example.", "x\n.a.example", "c.b.example"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        shows(certs, others[i], "default");
    char endless[1000];
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    shows(certs, endless, "default");
    certs_warn(certs, time(NULL));
    certs_free(certs);
}

static void the_same_name_twice_is_refused(void **state)
{
    struct files *files = *state;
    char why[CERTS_WHY_SIZE], entry[300], again[300];
    make_pair(files, &(struct certificate_made){.name = "default"});
    (void)snprintf(entry, sizeof entry, "a.example=%s:%s", path(files, "cert.pem"),
                   path(files, "key.pem"));
    (void)snprintf(again, sizeof again, "A.example=%s:%s", path(files, "cert.pem"),
                   path(files, "key.pem"));
    const char *sni[] = {entry, again};
    assert_null(load(files, sni, 2, why));
    assert_non_null(strstr(why, "a.example is there twice"));
}

static void entries_are_names_with_two_files(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        bool good;
    } cases[] = {
        {"a.example=c.pem:k.pem", true},
        {"*.example=c:k", true},
        {"a-b_c.d9.example=/x/c:/y/k", true},
        {"localhost=c:k", true},
        {"a.example", false},
        {"a.example=c", false},
        {"a.example=c:", false},
        {"a.example=:k", false},
        {"a.example=c:k:z", false},
        {"=c:k", false},
        {"*=c:k", false},
        {"*.=c:k", false},
        {"a..b=c:k", false},
        {".a=c:k", false},
        {"a.=c:k", false},
        {"a.*.b=c:k", false},
        {"a*.b=c:k", false},
        {"a b=c:k", false},
        {"", false},
        {"a23456789012345678901234567890123456789012345678901234567890123.b=c:k", true},
        {"a234567890123456789012345678901234567890123456789012345678901234.b=c:k", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct certs_sni sni;
        if (certs_parse(span_text(cases[i].entry), &sni) != cases[i].good)
            fail_msg("'%s' is %s", cases[i].entry, cases[i].good ? "refused" : "taken");
    }
}

static void lives_as_long_as_somebody_holds_it(void **state)
{
    struct files *files = *state;
    char why[CERTS_WHY_SIZE];
    make_pair(files, &(struct certificate_made){.name = "default"});
    struct certs *certs = load(files, NULL, 0, why);
    assert_non_null(certs);
    struct certs *held = certs_hold(certs);
    certs_free(certs);
    shows(held, "a.example", "default");
    certs_free(held);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(says_which_file_is_wrong_and_why),
        TEST(takes_rsa_and_both_usual_curves),
        TEST(counts_the_days_until_the_first_one_ends),
        TEST(a_name_finds_its_own_then_its_star_then_the_default),
        TEST(the_same_name_twice_is_refused),
        TEST(entries_are_names_with_two_files),
        TEST(lives_as_long_as_somebody_holds_it),
    };
    return cmocka_run_group_tests_name("certs", tests, NULL, NULL);
}
