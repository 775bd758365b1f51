/* edge_conf: the defaults are right, and what the table cannot say is refused with the key that is
 * wrong. */
#include "edge/edge_conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct conf *load(const char *text)
{
    struct conf_error error;
    struct conf *conf =
        conf_load_text("lahar-edge", edge_conf_keys(), "edge.yaml", span_text(text), &error);
    if (conf == NULL)
        fail_msg("%s", error.text);
    return conf;
}

static void the_defaults_are_right(void **state)
{
    (void)state;
    struct conf_error error;
    struct conf *conf = load("");
    assert_true(edge_conf_check(conf, &error));
    struct session_options sessions = edge_conf_sessions(conf);
    assert_int_equal(sessions.heartbeat_ms, 30000);
    assert_int_equal(sessions.hello_ms, 10000);
    assert_int_equal(sessions.sends_in_flight, 32);
    assert_int_equal(sessions.sends_per_s, 20);
    assert_int_equal(sessions.sends_burst, 60);
    assert_int_equal(sessions.cut_off_ms, 15000);
    struct conn_options conns = edge_conf_conns(conf);
    assert_int_equal(conns.conns_max, sessions.conns_max);
    assert_int_equal(conns.out_bytes_max, 256 * 1024);
    assert_int_equal(conns.progress_ms, 10000);
    assert_int_equal(conns.handshake_ms, 5000);
    assert_int_equal(conns.hello_ms, sessions.hello_ms);
    assert_int_equal(conns.out_bytes_total, 1024 * 1024 * 1024);
    assert_int_equal(conns.in_bytes_total, 256 * 1024 * 1024);
    struct certs_options certs;
    assert_false(edge_conf_certs(conf, &certs));
    struct limits_options limits = edge_conf_limits(conf);
    assert_int_equal(limits.accepts.per_s, 20000);
    assert_int_equal(limits.address_connections, 10000);
    assert_int_equal(limits.address_sends.burst, 200000);
    struct overload overload = edge_conf_overload(conf);
    assert_int_equal(overload.thresholds[0], 70);
    struct link_options link = edge_conf_link(conf);
    assert_int_equal(link.window_bytes, 4 * 1024 * 1024);
    conf_free(conf);
}

static void what_it_prints_it_takes(void **state)
{
    (void)state;
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    conf_print("lahar-edge", edge_conf_keys(), out);
    fclose(out);
    struct conf_error error;
    struct conf *conf = load(text);
    assert_true(edge_conf_check(conf, &error));
    conf_free(conf);
    free(text);
}

static void refuses_what_cannot_be_and_names_the_key(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"name: e/1", "name"},
        {"name: \"my edge\"", "name"},
        {"cluster: {shards: [r1=tcp://a:1]}", "cluster.shards"},
        {"cluster: {shards: [r1/0=a:1]}", "cluster.shards"},
        {"cluster: {shards: [\"r1/0=tcp://a:1\", \"r1/0=tcp://b:1\"]}", "cluster.shards"},
        {"listen: [\"udp://1.2.3.4:5\"]", "listen"},
        {"listen: [\"tcp://1.2.3.4\"]", "listen"},
        {"listen: [\"tcp://1.2.3.4:70000\"]", "listen"},
        {"listen: [\"tcp://1.2.3.4:7\", \"tcp://1.2.3.4:7\"]", "listen"},
        {"listen: [\"tls://1.2.3.4:7\"]", "tls.certificate"},
        {"listen: [\"tls://1.2.3.4:7\"]\ntls: {key: a}", "tls.certificate"},
        {"tls: {sni: [\"chat.example.org\"]}", "tls.sni"},
        {"tls: {sni: [\"chat.example.org=a.pem\"]}", "tls.sni"},
        {"tls: {sni: [\"=a.pem:b.pem\"]}", "tls.sni"},
        {"tls: {sni: [\"a.*.org=a.pem:b.pem\"]}", "tls.sni"},
        {"listen: [\"wss://1.2.3.4:7\"]\ntls: {certificate: a}", "tls.certificate"},
        {"listen: [\"tcp://1.2.3.4:7\", \"ws://1.2.3.4:7\"]", "listen"},
        {"listen: [\"ws://chat.example.org:7\"]", "listen"},
        {"listen: [\"ws://1.2.3.4:7/chat\"]", "listen"},
        {"listen: [\"proxy://1.2.3.4:7\"]", "listen"},
        {"listen: [\"tcp+proxy://1.2.3.4:7\"]", "proxy.from"},
        {"proxy: {from: [10.0.0.0/33]}", "proxy.from"},
        {"proxy: {from: [10.0.0.1/8]}", "proxy.from"},
        {"proxy: {from: [10.0.0.0/8, balancer]}", "proxy.from"},
        {"ops: {listen: nowhere}", "ops.listen"},
        {"limits: {sends_burst: 10}", "limits.sends_burst"},
        {"overload: {logins: 60}", "overload.logins"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conf_error error = {""};
        struct conf *conf = load(cases[i][0]);
        if (edge_conf_check(conf, &error))
            fail_msg("taken: %s", cases[i][0]);
        size_t len = strlen(cases[i][1]);
        assert_memory_equal(error.text, cases[i][1], len);
        assert_int_equal(error.text[len], ':');
        conf_free(conf);
    }
}

static void takes_listeners_behind_proxies_that_are_listed(void **state)
{
    (void)state;
    struct conf_error error;
    struct conf *conf = load("listen: [\"ws+proxy://0.0.0.0:7700\", \"tcp+proxy://[::]:7701\"]\n"
                             "proxy: {from: [10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\"]}\n");
    assert_true(edge_conf_check(conf, &error));
    struct proxy_net nets[EDGE_CONF_PROXIES_MAX];
    assert_int_equal(edge_conf_proxies(conf, nets), 3);
    assert_int_equal(nets[0].bits, 96 + 8);
    assert_int_equal(nets[2].bits, 32);
    conf_free(conf);
}

static void takes_several_listeners_of_both_kinds(void **state)
{
    (void)state;
    struct conf_error error;
    struct conf *conf =
        load("listen: [\"tcp://0.0.0.0:7700\", \"tls://[::]:7701\"]\n"
             "tls: {certificate: a.pem, key: b.pem, sni: [\"chat.example.com=c.pem:d.pem\", "
             "\"*.example.org=e.pem:f.pem\"]}\n"
             "limits: {sends_per_s: 0, sends_burst: 1}\n");
    assert_true(edge_conf_check(conf, &error));
    struct certs_options certs;
    assert_true(edge_conf_certs(conf, &certs));
    assert_string_equal(certs.certificate, "a.pem");
    assert_string_equal(certs.key, "b.pem");
    assert_int_equal(certs.sni_count, 2);
    assert_string_equal(certs.sni[1], "*.example.org=e.pem:f.pem");
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_right),
        cmocka_unit_test(what_it_prints_it_takes),
        cmocka_unit_test(refuses_what_cannot_be_and_names_the_key),
        cmocka_unit_test(takes_listeners_behind_proxies_that_are_listed),
        cmocka_unit_test(takes_several_listeners_of_both_kinds),
    };
    return cmocka_run_group_tests_name("edge_conf", tests, NULL, NULL);
}
