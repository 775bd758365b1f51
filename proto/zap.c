#include "proto/zap.h"

#include "base/log.h"
#include "base/rand.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#define ADDRESS "inproc://zeromq.zap.01"
#define SELF_TEST_MS 2000
#define SOCKETS_MAX 60000
#define BATCHES_QUEUED_MAX 64
#define MESSAGE_SIZE_MAX (260 * 1024)

/* Lists are never changed, only followed by newer ones, so that any thread may read the newest
 * without a lock. The older ones are kept: a reload is a person's deed, and costs 8 KiB. */
struct lists {
    struct keys keys;
    char public[KEYS_Z85_SIZE];
    uint32_t generation;
    struct lists *older;
};

struct zap {
    void *context;
    enum keys_role role;
    bool curve;
    bool has_thread;
    pthread_t thread;
    void *replier;
    _Atomic(struct lists *) lists;
    atomic_uint monitors;
};

static void set_int(void *socket, int option, int value)
{
    int result = zmq_setsockopt(socket, option, &value, sizeof value);
    assert(result == 0);
}

static void set_text(void *socket, int option, const char *text)
{
    int result = zmq_setsockopt(socket, option, text, strlen(text));
    assert(result == 0);
}

static const struct lists *newest(const struct zap *zap)
{
    return atomic_load_explicit(&zap->lists, memory_order_acquire);
}

/* --- the handler's thread ---------------------------------------------------- */

enum { VERSION, REQUEST, DOMAIN, PEER_ADDRESS, IDENTITY, MECHANISM, CREDENTIAL, PARTS };
#define PART_SIZE_MAX 256

struct request {
    uint8_t part[PARTS][PART_SIZE_MAX];
    size_t len[PARTS];
    uint32_t parts;
};

/* False when the context ends. */
static bool receive_request(void *replier, struct request *request)
{
    request->parts = 0;
    for (int more = 1; more;) {
        uint8_t spare[PART_SIZE_MAX];
        bool kept = request->parts < PARTS;
        int len = zmq_recv(replier, kept ? request->part[request->parts] : spare, PART_SIZE_MAX, 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return false;
        if (kept)
            request->len[request->parts] =
                (size_t)len < PART_SIZE_MAX ? (size_t)len : PART_SIZE_MAX;
        request->parts++;
        size_t size = sizeof more;
        if (zmq_getsockopt(replier, ZMQ_RCVMORE, &more, &size) != 0)
            return false;
    }
    return true;
}

/* The key that asks, an empty text if it may not come in. */
static void judge(const struct zap *zap, const struct request *request, char key[KEYS_Z85_SIZE])
{
    key[0] = '\0';
    if (request->parts != PARTS || request->len[CREDENTIAL] != 32 ||
        !span_equal(span_of(request->part[MECHANISM], request->len[MECHANISM]),
                    span_text("CURVE")) ||
        zmq_z85_encode(key, request->part[CREDENTIAL], 32) == NULL)
        return;
    for (enum keys_role role = 0; role < KEYS_ROLES; role++)
        if (zap_allowed(zap, role, key))
            return;
    key[0] = '\0';
}

static void *answer_handshakes(void *argument)
{
    struct zap *zap = argument;
    struct request request;
    while (receive_request(zap->replier, &request)) {
        char key[KEYS_Z85_SIZE];
        judge(zap, &request, key);
        bool allowed = key[0] != '\0';
        const char *status = allowed ? "200" : "400";
        const char *text = allowed ? "OK" : "key not allowed";
        size_t id_len = request.parts > REQUEST ? request.len[REQUEST] : 0;
        (void)(zmq_send(zap->replier, "1.0", 3, ZMQ_SNDMORE) >= 0 &&
               zmq_send(zap->replier, request.part[REQUEST], id_len, ZMQ_SNDMORE) >= 0 &&
               zmq_send(zap->replier, status, 3, ZMQ_SNDMORE) >= 0 &&
               zmq_send(zap->replier, text, strlen(text), ZMQ_SNDMORE) >= 0 &&
               zmq_send(zap->replier, key, strlen(key), ZMQ_SNDMORE) >= 0 &&
               zmq_send(zap->replier, "", 0, 0) >= 0);
    }
    zmq_close(zap->replier);
    return NULL;
}

static void start_thread(struct zap *zap)
{
    zap->replier = zmq_socket(zap->context, ZMQ_REP);
    assert(zap->replier != NULL);
    set_int(zap->replier, ZMQ_LINGER, 0);
    int result = zmq_bind(zap->replier, ADDRESS);
    assert(result == 0);

    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&zap->thread, NULL, answer_handshakes, zap);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        log_die("cannot start a thread: %s; raise the limit of tasks (ulimit -u)",
                strerror(result));
    zap->has_thread = true;
}

/* --- life -------------------------------------------------------------------- */

static void take_lists(struct zap *zap, const struct keys *keys, const char *public)
{
    struct lists *older = atomic_load(&zap->lists);
    struct lists *lists = calloc(1, sizeof *lists);
    assert(lists != NULL);
    lists->keys = *keys;
    memcpy(lists->public, public, KEYS_Z85_SIZE);
    lists->generation = older == NULL ? 1 : older->generation + 1;
    lists->older = older;
    atomic_store_explicit(&zap->lists, lists, memory_order_release);
}

/* Does a stranger who knows our public key get in? Without a working handler libzmq would let it.
 */
static void self_test(struct zap *zap)
{
    char stranger[KEYS_Z85_SIZE], secret[KEYS_Z85_SIZE], endpoint[128];
    size_t size = sizeof endpoint;
    int result = zmq_curve_keypair(stranger, secret);
    assert(result == 0);
    void *router = zap_router(zap);
    void *dealer = zmq_socket(zap->context, ZMQ_DEALER);
    assert(dealer != NULL);
    set_int(dealer, ZMQ_LINGER, 0);
    set_text(dealer, ZMQ_CURVE_SERVERKEY, newest(zap)->public);
    set_text(dealer, ZMQ_CURVE_PUBLICKEY, stranger);
    set_text(dealer, ZMQ_CURVE_SECRETKEY, secret);
    void *monitor = zap_monitor(zap, dealer);
    if (monitor == NULL)
        log_die("no ZeroMQ socket: %s; raise the limit of open files (ulimit -n)",
                zmq_strerror(errno));
    if (zmq_bind(router, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0 ||
        zmq_connect(dealer, endpoint) != 0)
        log_die(
            "the self-test of the links cannot use 127.0.0.1: %s; is the loopback interface up?",
            zmq_strerror(errno));

    enum zap_event event = ZAP_NONE;
    zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
    for (int waited = 0; waited < SELF_TEST_MS && event != ZAP_REFUSED && event != ZAP_JOINED;
         waited += 50) {
        (void)zmq_poll(&item, 1, 50);
        event = zap_monitor_next(monitor);
    }
    zap_close(dealer, monitor);
    zmq_close(router);
    if (event == ZAP_JOINED)
        log_die("the self-test of the links failed: a stranger's key was let in; "
                "this libzmq does not ask our ZAP handler, install one that does");
    if (event != ZAP_REFUSED)
        log_die(
            "the self-test of the links failed: no answer within %d ms to a stranger's handshake; "
            "is the machine overloaded, or 127.0.0.1 filtered?",
            SELF_TEST_MS);
}

struct zap *zap_new(enum keys_role role, bool curve, const struct keys *keys, uint32_t io_threads)
{
    struct zap *zap = calloc(1, sizeof *zap);
    assert(zap != NULL);
    zap->role = role;
    zap->curve = curve;
    zap->context = zmq_ctx_new();
    assert(zap->context != NULL);
    zmq_ctx_set(zap->context, ZMQ_IO_THREADS, (int)io_threads);
    zmq_ctx_set(zap->context, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    if (!curve)
        return zap;

    char public[KEYS_Z85_SIZE];
    if (!zmq_has("curve"))
        log_die(
            "this libzmq was built without CURVE; install one with it, or set link.curve: false");
    if (strlen(keys->secret) != KEYS_Z85_SIZE - 1 || zmq_curve_public(public, keys->secret) != 0)
        log_die("the secret key of this %s is no CURVE key; make new ones with: lahar keygen",
                keys_role_name(role));
    take_lists(zap, keys, public);
    if (role == KEYS_ROUTER) {
        start_thread(zap);
        self_test(zap);
    }
    return zap;
}

void zap_reload(struct zap *zap, const struct keys *keys)
{
    char public[KEYS_Z85_SIZE];
    if (!zap->curve || memcmp(&newest(zap)->keys, keys, sizeof *keys) == 0)
        return;
    if (strlen(keys->secret) != KEYS_Z85_SIZE - 1 || zmq_curve_public(public, keys->secret) != 0) {
        log_error("link_keys_not_taken",
                  LOG_TEXT("why", "the new secret key is no CURVE key; the old ones stay in use"));
        return;
    }
    take_lists(zap, keys, public);
}

void zap_free(struct zap *zap)
{
    if (zap == NULL)
        return;
    zmq_ctx_shutdown(zap->context);
    if (zap->has_thread)
        pthread_join(zap->thread, NULL);
    while (zmq_ctx_term(zap->context) != 0 && errno == EINTR)
        ;
    for (struct lists *lists = atomic_load(&zap->lists); lists != NULL;) {
        struct lists *older = lists->older;
        explicit_bzero(lists, sizeof *lists);
        free(lists);
        lists = older;
    }
    free(zap);
}

enum keys_role zap_role(const struct zap *zap)
{
    return zap->role;
}

bool zap_curve(const struct zap *zap)
{
    return zap->curve;
}

uint32_t zap_generation(const struct zap *zap)
{
    const struct lists *lists = newest(zap);
    return lists == NULL ? 0 : lists->generation;
}

bool zap_allowed(const struct zap *zap, enum keys_role role, const char *key)
{
    if (!zap->curve)
        return true;
    const struct keys *keys = &newest(zap)->keys;
    for (uint32_t i = 0; i < keys->allowed_count[role]; i++)
        if (strcmp(keys->allowed[role][i], key) == 0)
            return true;
    return false;
}

const char *zap_public(const struct zap *zap)
{
    static const char none[KEYS_Z85_SIZE];
    const struct lists *lists = newest(zap);
    return lists == NULL ? none : lists->public;
}

/* --- sockets ----------------------------------------------------------------- */

/* What both kinds need. Short queues: what does not fit is kept, or refused, where it can be
 * counted. */
static void *open_socket(struct zap *zap, int type)
{
    void *socket = zmq_socket(zap->context, type);
    if (socket == NULL)
        log_die("no ZeroMQ socket: %s; raise the limit of open files (ulimit -n)",
                zmq_strerror(errno));
    set_int(socket, ZMQ_LINGER, 0);
    set_int(socket, ZMQ_IPV6, 1);
    set_int(socket, ZMQ_SNDHWM, BATCHES_QUEUED_MAX);
    set_int(socket, ZMQ_RCVHWM, BATCHES_QUEUED_MAX);
    set_int(socket, ZMQ_HEARTBEAT_IVL, 500);
    set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, 1500);
    set_int(socket, ZMQ_HEARTBEAT_TTL, 1500);
    set_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
    int64_t size_max = MESSAGE_SIZE_MAX;
    int result = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &size_max, sizeof size_max);
    assert(result == 0);
    return socket;
}

void *zap_router(struct zap *zap)
{
    void *router = open_socket(zap, ZMQ_ROUTER);
    if (router == NULL)
        log_die("no ZeroMQ socket: %s; raise the limit of open files (ulimit -n)",
                zmq_strerror(errno));
    set_int(router, ZMQ_ROUTER_MANDATORY, 1);
    set_int(router, ZMQ_ROUTER_HANDOVER, 1);
    zap_renew_router(zap, router);
    return router;
}

void zap_renew_router(struct zap *zap, void *router)
{
    if (!zap->curve)
        return;
    set_text(router, ZMQ_ZAP_DOMAIN, "lahar");
    set_int(router, ZMQ_CURVE_SERVER, 1);
    set_text(router, ZMQ_CURVE_SECRETKEY, newest(zap)->keys.secret);
}

void *zap_dealer(struct zap *zap, const uint8_t id[ZAP_ID_SIZE], uint32_t turn,
                 char server_key[KEYS_Z85_SIZE])
{
    server_key[0] = '\0';
    const struct lists *lists = newest(zap);
    uint32_t servers = zap->curve ? lists->keys.allowed_count[KEYS_ROUTER] : 0;
    if (zap->curve && servers == 0)
        return NULL;
    void *dealer = open_socket(zap, ZMQ_DEALER);
    if (dealer == NULL)
        return NULL;
    int result = zmq_setsockopt(dealer, ZMQ_ROUTING_ID, id, ZAP_ID_SIZE);
    assert(result == 0);
    set_int(dealer, ZMQ_IMMEDIATE, 1);
    set_int(dealer, ZMQ_RECONNECT_IVL, 100);
    set_int(dealer, ZMQ_RECONNECT_IVL_MAX, 1000);
    set_int(dealer, ZMQ_CONNECT_TIMEOUT, 2000);
    if (zap->curve) {
        memcpy(server_key, lists->keys.allowed[KEYS_ROUTER][turn % servers], KEYS_Z85_SIZE);
        set_text(dealer, ZMQ_CURVE_SERVERKEY, server_key);
        set_text(dealer, ZMQ_CURVE_PUBLICKEY, lists->public);
        set_text(dealer, ZMQ_CURVE_SECRETKEY, lists->keys.secret);
    }
    return dealer;
}

int zap_fd(void *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    int result = zmq_getsockopt(socket, ZMQ_FD, &fd, &size);
    assert(result == 0);
    return fd;
}

/* --- monitors ---------------------------------------------------------------- */

void *zap_monitor(struct zap *zap, void *socket)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://monitor-%u", atomic_fetch_add(&zap->monitors, 1));
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(socket, address, events) != 0)
        return NULL;
    void *monitor = zmq_socket(zap->context, ZMQ_PAIR);
    if (monitor == NULL) {
        zmq_socket_monitor(socket, NULL, 0);
        return NULL;
    }
    set_int(monitor, ZMQ_LINGER, 0);
    set_int(monitor, ZMQ_RCVHWM, 0); /* at the limit ZeroMQ's own threads would wait for us */
    int result = zmq_connect(monitor, address);
    assert(result == 0);
    /* Only one who has found nothing is told of more: without this look ZMQ_FD would stay still. */
    int ready;
    size_t size = sizeof ready;
    result = zmq_getsockopt(monitor, ZMQ_EVENTS, &ready, &size);
    assert(result == 0);
    return monitor;
}

void zap_close(void *socket, void *monitor)
{
    /* First no more is told, then nobody listens: ZeroMQ's own threads tell, and wait for a
     * listener. */
    if (monitor != NULL)
        zmq_socket_monitor(socket, NULL, 0);
    zmq_close(socket);
    if (monitor != NULL)
        zmq_close(monitor);
}

static enum zap_event event_of(uint16_t event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        return ZAP_JOINED;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return ZAP_REFUSED;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return ZAP_BROKEN;
    default:
        return ZAP_LEFT;
    }
}

enum zap_event zap_monitor_next(void *monitor)
{
    uint8_t bytes[6], address[1];
    int len = zmq_recv(monitor, bytes, sizeof bytes, ZMQ_DONTWAIT);
    if (len < 0)
        return ZAP_NONE;
    /* The address follows; both parts of a message come together. */
    (void)zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT);
    uint16_t event = 0;
    if (len >= (int)sizeof event)
        memcpy(&event, bytes, sizeof event);
    return event_of(event);
}
