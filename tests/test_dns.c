/* dns: names are looked up beside the loop, also for Redis. getaddrinfo here is ours: one name is
 * answered when we say so. Threads: yes. */
#include "base/dns.h"
#include "base/redis.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 60
#define SLOW "slow.invalid"

static sem_t may_answer;
static atomic_uint asked, answered;
static atomic_bool late; /* nobody let it answer: whoever asked has waited */

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict all)
{
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    getaddrinfo_fn *real;
    memcpy(&real, &symbol, sizeof real);
    if (strcmp(name, SLOW) != 0 || (hints->ai_flags & AI_NUMERICHOST) != 0)
        return real(name, service, hints, all);
    atomic_fetch_add(&asked, 1);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    if (sem_timedwait(&may_answer, &until) != 0)
        atomic_store(&late, true);
    int error = real("127.0.0.1", service, hints, all);
    atomic_fetch_add(&answered, 1);
    return error;
}

static int setup(void **state)
{
    (void)state;
    atomic_store(&asked, 0);
    atomic_store(&answered, 0);
    return sem_init(&may_answer, 0, 0);
}

static void await(const atomic_uint *count, uint32_t value)
{
    for (uint32_t i = 0; atomic_load(count) != value; i++) {
        assert_true(i < PATIENCE_S * 1000);
        usleep(1000);
    }
}

static void an_address_is_answered_at_once(void **state)
{
    (void)state;
    struct sockaddr_storage at;
    socklen_t len;
    const char *why;
    struct dns *dns = dns_ask("127.0.0.2", "6379");
    assert_int_equal(dns_look(dns, 7, &at, &len, &why), DNS_FOUND);
    const struct sockaddr_in *in = (const struct sockaddr_in *)&at;
    assert_int_equal(len, sizeof *in);
    assert_int_equal(ntohl(in->sin_addr.s_addr), 0x7f000002);
    assert_int_equal(ntohs(in->sin_port), 6379);
    dns_free(dns);
    dns = dns_ask("::1", "1");
    assert_int_equal(dns_look(dns, 0, &at, &len, &why), DNS_FOUND);
    assert_int_equal(at.ss_family, AF_INET6);
    dns_free(dns);
    dns_free(NULL);
}

static void a_name_is_answered_when_it_is_known(void **state)
{
    (void)state;
    struct sockaddr_storage at;
    socklen_t len;
    const char *why;
    struct dns *dns = dns_ask(SLOW, "80");
    assert_int_equal(dns_look(dns, 0, &at, &len, &why), DNS_WAITING);
    await(&asked, 1);
    assert_int_equal(dns_look(dns, 0, &at, &len, &why), DNS_WAITING);
    sem_post(&may_answer);
    enum dns_answer answer = DNS_WAITING;
    for (uint32_t i = 0; answer == DNS_WAITING; i++) {
        assert_true(i < PATIENCE_S * 1000);
        usleep(1000);
        answer = dns_look(dns, 0, &at, &len, &why);
    }
    assert_int_equal(answer, DNS_FOUND);
    assert_int_equal(at.ss_family, AF_INET);
    dns_free(dns);
}

static void nobody_needs_to_wait_for_the_answer(void **state)
{
    (void)state;
    dns_free(dns_ask(SLOW, "80")); /* a sanitizer sees what is not freed, or used afterwards */
    await(&asked, 1);
    sem_post(&may_answer);
    await(&answered, 1);
}

static void on_up(void *ctx)
{
    (void)ctx;
}

static void on_down(void *ctx, const char *why)
{
    (void)ctx, (void)why;
}

static void the_loop_goes_on_while_redis_is_being_looked_up(void **state)
{
    (void)state;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), peer = -1;
    assert_int_equal(bind(listener, (struct sockaddr *)&name, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&name, &len), 0);
    char address[64];
    snprintf(address, sizeof address, "tcp:" SLOW ":%u", ntohs(name.sin_port));

    struct loop *loop = loop_new();
    const struct redis_events events = {on_up, on_down};
    const struct redis_options options = {
        .address = address, .timeout_ms = 1000, .commands_max = 100};
    struct redis *redis = redis_new(loop, &options, &events, NULL);
    for (uint32_t turn = 0; turn < 100; turn++)
        loop_turn(loop, 20);
    assert_int_equal(atomic_load(&asked), 1); /* and not anew for each attempt */
    assert_false(atomic_load(&late));
    sem_post(&may_answer);
    for (uint32_t turn = 0; peer < 0; turn++) {
        assert_true(turn < PATIENCE_S * 50);
        loop_turn(loop, 20);
        peer = accept(listener, NULL, NULL);
    }
    redis_free(redis);
    loop_free(loop);
    close(peer);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_address_is_answered_at_once, setup),
        cmocka_unit_test_setup(a_name_is_answered_when_it_is_known, setup),
        cmocka_unit_test_setup(nobody_needs_to_wait_for_the_answer, setup),
        cmocka_unit_test_setup(the_loop_goes_on_while_redis_is_being_looked_up, setup),
    };
    return cmocka_run_group_tests_name("dns", tests, NULL, NULL);
}
