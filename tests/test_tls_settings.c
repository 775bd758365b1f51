/* tls: what is spoken is what RFC 9325 asks for, and each client is shown the certificate of the
 * name that it asks for. */
#include "tests/tls_world.h"

#include <signal.h>

/* Whether a client that is set so comes in. */
static bool comes_in(struct world *world, int version, const char *ciphers, const char *suites,
                     const char *groups)
{
    struct client client = dial_tls(world);
    SSL_set_security_level(client.ssl, 0);
    SSL_set_min_proto_version(client.ssl, version);
    SSL_set_max_proto_version(client.ssl, version);
    if (ciphers != NULL)
        assert_int_equal(SSL_set_cipher_list(client.ssl, ciphers), 1);
    if (suites != NULL)
        assert_int_equal(SSL_set_ciphersuites(client.ssl, suites), 1);
    if (groups != NULL)
        assert_int_equal(SSL_set1_groups_list(client.ssl, groups), 1);
    bool came = shake(world, &client);
    hang_up(&client);
    return came;
}

static void only_ephemeral_keys_and_aead_are_spoken(void **state)
{
    struct world *world = *state;
    static const char *const good[] = {"ECDHE-ECDSA-AES128-GCM-SHA256",
                                       "ECDHE-ECDSA-AES256-GCM-SHA384",
                                       "ECDHE-ECDSA-CHACHA20-POLY1305"};
    static const char *const bad[] = {"ECDHE-ECDSA-AES128-SHA",
                                      "ECDHE-ECDSA-AES128-SHA256",
                                      "ECDHE-ECDSA-AES256-SHA384",
                                      "ECDHE-ECDSA-AES128-CCM",
                                      "ECDHE-ECDSA-CAMELLIA128-SHA256",
                                      "AES128-GCM-SHA256",
                                      "DHE-RSA-AES128-GCM-SHA256",
                                      "aNULL",
                                      "eNULL",
                                      "PSK"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!comes_in(world, TLS1_2_VERSION, good[i], NULL, NULL))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (comes_in(world, TLS1_2_VERSION, bad[i], NULL, NULL))
            fail_msg("%s is taken", bad[i]);
    assert_true(comes_in(world, TLS1_3_VERSION, NULL, "TLS_AES_256_GCM_SHA384", NULL));
    assert_false(comes_in(world, TLS1_3_VERSION, NULL, "TLS_AES_128_CCM_SHA256", NULL));
}

static void the_groups_are_x25519_p256_and_p384(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *groups;
        bool good;
    } cases[] = {{"X25519", true}, {"P-256", true}, {"P-384", true},
                 {"P-521", false}, {"X448", false}, {"P-224", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (comes_in(world, TLS1_3_VERSION, NULL, NULL, cases[i].groups) != cases[i].good)
            fail_msg("%s", cases[i].groups);
}

static void the_order_is_ours(void **state)
{
    struct world *world = *state;
    struct client client = dial_tls(world);
    SSL_set_ciphersuites(client.ssl, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
                                     "TLS_AES_128_GCM_SHA256");
    SSL_set1_groups_list(client.ssl, "P-384:P-256:X25519");
    assert_true(shake(world, &client));
    assert_string_equal(SSL_get_cipher(client.ssl), "TLS_AES_128_GCM_SHA256");
    hang_up(&client);
}

static void no_session_is_kept_for_resumption(void **state)
{
    struct world *world = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    world->mode = ECHO;
    for (size_t i = 0; i < 2; i++) {
        struct client client = dial_tls(world);
        SSL_set_max_proto_version(client.ssl, versions[i]);
        assert_true(shake(world, &client));
        uint8_t got[2];
        assert_int_equal(SSL_write(client.ssl, "hi", 2), 2);
        hear_tls(world, &client, got, sizeof got);
        SSL_SESSION *session = SSL_get1_session(client.ssl);
        assert_false(SSL_SESSION_has_ticket(session));
        struct client again = dial_tls(world);
        SSL_set_max_proto_version(again.ssl, versions[i]);
        SSL_set_session(again.ssl, session);
        assert_true(shake(world, &again));
        assert_false(SSL_session_reused(again.ssl));
        SSL_SESSION_free(session);
        hang_up(&client);
        hang_up(&again);
    }
}

/* False: it did not come in. Otherwise `chosen` is what was agreed on. */
static bool offers(struct world *world, uint32_t listener, const char *offered, char chosen[16])
{
    struct client client = dial_listener(world, listener, 0);
    if (offered != NULL)
        SSL_set_alpn_protos(client.ssl, (const unsigned char *)offered, (unsigned)strlen(offered));
    bool came = shake(world, &client);
    const unsigned char *at;
    unsigned len;
    SSL_get0_alpn_selected(client.ssl, &at, &len);
    assert_true(len < 16);
    (void)snprintf(chosen, 16, "%.*s", (int)len, (const char *)at);
    hang_up(&client);
    return came;
}

static void protocols_that_are_offered_are_ignored_on_a_bare_listener(void **state)
{
    struct world *world = *state;
    char chosen[16];
    assert_true(offers(world, world->tls, "\x02h2\x08http/1.1", chosen));
    assert_string_equal(chosen, "");
}

static void who_offers_protocols_before_an_upgrade_must_offer_http(void **state)
{
    struct world *world = *state;
    uint32_t wss = conn_table_listen(world->table, "wss://127.0.0.1:0");
    char chosen[16];
    assert_true(offers(world, wss, "\x02h2\x08http/1.1", chosen));
    assert_string_equal(chosen, "http/1.1");
    assert_true(offers(world, wss, NULL, chosen));
    assert_string_equal(chosen, "");
    assert_false(offers(world, wss, "\x02h2\x04smtp", chosen));
    AWAIT(world, count(world, EDGE_METRIC_CLOSED_TLS_FAILED) == 1);
}

/* ---- names ---- */

static void shows(struct world *world, const char *name, const char *subject)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct client client = dial_tls(world);
        SSL_set_max_proto_version(client.ssl, versions[i]);
        if (name != NULL)
            SSL_set_tlsext_host_name(client.ssl, name);
        assert_true(shake(world, &client));
        char *found = subject_of(&client);
        assert_string_equal(found, subject);
        OPENSSL_free(found);
        hang_up(&client);
    }
}

static struct certs *load_with(struct world *world, const char *name, const char *certificate,
                               const char *key)
{
    char why[CERTS_WHY_SIZE], entry[400];
    (void)snprintf(entry, sizeof entry, "%s=%s:%s", name, certificate, key);
    const char *const sni[] = {entry};
    struct certs *certs = certs_load(
        &(struct certs_options){
            .certificate = world->certificate, .key = world->key, .sni = sni, .sni_count = 1},
        tls_context, why);
    if (certs == NULL)
        fail_msg("%s", why);
    return certs;
}

static void each_name_is_shown_its_certificate_and_others_the_default(void **state)
{
    struct world *world = *state;
    char certificate[128], key[128];
    (void)snprintf(certificate, sizeof certificate, "%s/other.pem", world->folder);
    (void)snprintf(key, sizeof key, "%s/other.key", world->folder);
    make_certificate(certificate, key,
                     &(struct certificate_made){.name = "chat.example.org", .rsa_bits = 2048});
    struct client early = dial_tls(world); /* its stream is made before the change */
    turns(world, 3);

    struct certs *certs = load_with(world, "chat.example.org", certificate, key);
    conn_table_set_certs(world->table, certs);
    certs_free(certs);
    SSL_set_tlsext_host_name(early.ssl, "chat.example.org");
    assert_true(shake(world, &early));
    char *found = subject_of(&early);
    assert_string_equal(found, "/CN=chat.example.org");
    OPENSSL_free(found);

    shows(world, "chat.example.org", "/CN=chat.example.org");
    shows(world, "CHAT.example.ORG", "/CN=chat.example.org");
    shows(world, "other.example.org", "/CN=first");
    shows(world, NULL, "/CN=first");

    /* Names may go while streams that were shown them stay. */
    certs = load(world);
    conn_table_set_certs(world->table, certs);
    certs_free(certs);
    shows(world, "chat.example.org", "/CN=first");
    world->mode = ECHO;
    uint8_t got[5];
    assert_int_equal(SSL_write(early.ssl, "hello", 5), 5);
    hear_tls(world, &early, got, sizeof got);
    assert_memory_equal(got, "hello", 5);
    hang_up(&early);
    unlink(certificate);
    unlink(key);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(only_ephemeral_keys_and_aead_are_spoken, set_up_tls),
        TEST(the_groups_are_x25519_p256_and_p384, set_up_tls),
        TEST(the_order_is_ours, set_up_tls),
        TEST(no_session_is_kept_for_resumption, set_up_tls),
        TEST(protocols_that_are_offered_are_ignored_on_a_bare_listener, set_up_tls),
        TEST(who_offers_protocols_before_an_upgrade_must_offer_http, set_up_tls),
        TEST(each_name_is_shown_its_certificate_and_others_the_default, set_up_tls),
    };
    return cmocka_run_group_tests_name("tls_settings", tests, NULL, NULL);
}
