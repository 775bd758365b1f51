#include "client/lahar.h"

#include "client/core.h"
#include "client/transport.h"
#include "proto/frame.h"
#include "proto/gid.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define CLIENT_NAME_MAX 64u
#define RETRY_MS 2000u

static_assert(LAHAR_GID_TEXT_SIZE == GID_TEXT_SIZE && LAHAR_ID_SIZE == GID_MID_SIZE &&
                  LAHAR_BODY_SIZE_MAX == FRAME_PAYLOAD_SIZE_MAX,
              "lahar.h says it again, because it stands alone");

struct lahar {
    struct core *core;
    struct transport *transport;
    size_t (*token)(void *context, char *out, size_t room);
    void (*on_ticket)(void *context, struct lahar *lahar, const void *ticket, size_t size);
    void (*on_state)(void *context, struct lahar *lahar, enum lahar_state state);
    void (*on_message)(void *context, struct lahar *lahar, const struct lahar_message *message);
    void (*on_outcome)(void *context, struct lahar *lahar,
                       const struct lahar_result_of_send *result);
    void *context;
    bool processing;
    uint32_t random_left;
    uint64_t random[32]; /* the kernel is asked for many at once */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_BOOTTIME, &now);
    assert(result == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- between core and transport -------------------------------------------------------------- */

static uint64_t next_random(void *ctx)
{
    struct lahar *lahar = ctx;
    if (lahar->random_left == 0) {
        /* Up to 256 bytes come whole, once the kernel has any. */
        ssize_t got;
        do
            got = getrandom(lahar->random, sizeof lahar->random, 0);
        while (got < 0 && errno == EINTR);
        assert(got == sizeof lahar->random);
        lahar->random_left = sizeof lahar->random / sizeof lahar->random[0];
    }
    return lahar->random[--lahar->random_left];
}

static void do_connect(void *ctx)
{
    struct lahar *lahar = ctx;
    transport_connect(lahar->transport);
}

static void do_disconnect(void *ctx)
{
    struct lahar *lahar = ctx;
    transport_disconnect(lahar->transport);
}

static void do_hint(void *ctx, struct span server)
{
    struct lahar *lahar = ctx;
    transport_hint(lahar->transport, server);
}

static void do_send(void *ctx, struct span bytes)
{
    struct lahar *lahar = ctx;
    transport_send(lahar->transport, bytes);
}

static bool has_room(void *ctx)
{
    struct lahar *lahar = ctx;
    return transport_has_room(lahar->transport);
}

static size_t ask_token(void *ctx, char *out, size_t room)
{
    struct lahar *lahar = ctx;
    return lahar->token(lahar->context, out, room);
}

static void tell_ticket(void *ctx, struct span ticket)
{
    struct lahar *lahar = ctx;
    if (lahar->on_ticket)
        lahar->on_ticket(lahar->context, lahar, ticket.at, ticket.len);
}

static void tell_state(void *ctx, enum lahar_state state)
{
    struct lahar *lahar = ctx;
    if (lahar->on_state)
        lahar->on_state(lahar->context, lahar, state);
}

static void tell_message(void *ctx, const struct lahar_message *message)
{
    struct lahar *lahar = ctx;
    if (lahar->on_message)
        lahar->on_message(lahar->context, lahar, message);
}

static void tell_outcome(void *ctx, const struct lahar_result_of_send *result)
{
    struct lahar *lahar = ctx;
    if (lahar->on_outcome)
        lahar->on_outcome(lahar->context, lahar, result);
}

static void on_opened(void *ctx)
{
    struct lahar *lahar = ctx;
    core_opened(lahar->core, now_ms());
}

static size_t on_bytes(void *ctx, struct span bytes)
{
    struct lahar *lahar = ctx;
    return core_bytes(lahar->core, bytes, now_ms());
}

static void on_lost(void *ctx, const char *why, const char *why_text)
{
    struct lahar *lahar = ctx;
    core_lost(lahar->core, why, why_text, now_ms());
}

/* ---- life ------------------------------------------------------------------------------------ */

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static const char *what_is_wrong(const struct lahar_options *options)
{
    if (!options->device || !gid_device_valid(span_text(options->device)))
        return "device: give 1 to 32 of A-Z a-z 0-9 . _ -";
    if (options->client && strlen(options->client) > CLIENT_NAME_MAX)
        return "client: at most 64 bytes";
    if (!options->token)
        return "token: a function is needed that fetches one";
    if (options->reconnect_max_ms && options->reconnect_min_ms > options->reconnect_max_ms)
        return "reconnect_min_ms is over reconnect_max_ms";
    return NULL;
}

static struct core *make_core(struct lahar *lahar, const struct lahar_options *options)
{
    const struct core_options core_options = {
        .device = options->device,
        .client = options->client,
        .ticket = span_of(options->ticket, options->ticket_size),
        .sends_max = or_default(options->sends_max, 1024),
        .send_timeout_ms = or_default(options->send_timeout_ms, 30000),
        .connect_timeout_ms = or_default(options->connect_timeout_ms, 10000),
        .reconnect_min_ms = or_default(options->reconnect_min_ms, 1000),
        .reconnect_max_ms = or_default(options->reconnect_max_ms, 60000),
        .retry_ms = RETRY_MS,
    };
    const struct core_actions actions = {
        .connect = do_connect,
        .disconnect = do_disconnect,
        .hint = do_hint,
        .send = do_send,
        .has_room = has_room,
        .token = ask_token,
        .random = next_random,
        .on_state = tell_state,
        .on_message = tell_message,
        .on_outcome = tell_outcome,
        .on_ticket = tell_ticket,
    };
    return core_new(&core_options, &actions, lahar, now_ms());
}

static struct transport *make_transport(struct lahar *lahar, const struct lahar_options *options,
                                        const char **why)
{
    const struct transport_options transport_options = {
        .servers = options->servers,
        .ca_file = options->ca_file,
        .insecure = options->tls_insecure,
        /* So that one address that does not answer leaves time for others. */
        .try_ms = or_default(options->connect_timeout_ms, 10000) / 3 + 1,
    };
    const struct transport_events events = {
        .opened = on_opened, .bytes = on_bytes, .lost = on_lost, .random = next_random};
    return transport_new(&transport_options, &events, lahar, why);
}

struct lahar *lahar_new(const struct lahar_options *options, const char **why)
{
    const char *unused;
    why = why ? why : &unused;
    *why = what_is_wrong(options);
    if (*why)
        return NULL;
    *why = "out of memory";
    struct lahar *lahar = calloc(1, sizeof *lahar);
    if (!lahar)
        return NULL;
    lahar->token = options->token;
    lahar->on_ticket = options->on_ticket;
    lahar->on_state = options->on_state;
    lahar->on_message = options->on_message;
    lahar->on_outcome = options->on_outcome;
    lahar->context = options->context;
    lahar->core = make_core(lahar, options);
    lahar->transport = lahar->core ? make_transport(lahar, options, why) : NULL;
    if (lahar->transport) {
        *why = "";
        return lahar;
    }
    core_free(lahar->core);
    free(lahar);
    return NULL;
}

void lahar_free(struct lahar *lahar)
{
    if (!lahar)
        return;
    assert(!lahar->processing);
    core_bye(lahar->core);
    transport_free(lahar->transport);
    core_free(lahar->core);
    free(lahar);
}

/* ---- turns ----------------------------------------------------------------------------------- */

int lahar_fd(const struct lahar *lahar)
{
    return transport_fd(lahar->transport);
}

static int until(uint64_t due_ms)
{
    if (due_ms == UINT64_MAX)
        return -1;
    uint64_t now = now_ms();
    uint64_t wait = due_ms > now ? due_ms - now : 0;
    return wait < INT32_MAX ? (int)wait : INT32_MAX;
}

int lahar_timeout_ms(const struct lahar *lahar)
{
    uint64_t due = core_due_ms(lahar->core), transport_due = transport_due_ms(lahar->transport);
    return until(transport_due < due ? transport_due : due);
}

enum lahar_result lahar_process(struct lahar *lahar)
{
    if (lahar->processing)
        return LAHAR_INVALID;
    lahar->processing = true;
    transport_process(lahar->transport, now_ms());
    core_tick(lahar->core, now_ms());
    transport_flush(lahar->transport);
    lahar->processing = false;
    return core_state(lahar->core) == LAHAR_AWAY ? LAHAR_ENDED : LAHAR_OK;
}

enum lahar_result lahar_run(struct lahar *lahar, int ms)
{
    uint64_t end = ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)ms;
    while (true) {
        enum lahar_result result = lahar_process(lahar);
        int left = until(end);
        if (result != LAHAR_OK || left == 0)
            return result;
        int timeout = lahar_timeout_ms(lahar);
        if (timeout < 0 || (left >= 0 && left < timeout))
            timeout = left;
        struct pollfd ready = {.fd = lahar_fd(lahar), .events = POLLIN};
        if (poll(&ready, 1, timeout) < 0 && errno == EINTR)
            return LAHAR_OK;
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

enum lahar_result lahar_send(struct lahar *lahar, lahar_gid to, enum lahar_class message_class,
                             const void *body, size_t size, uint8_t id[LAHAR_ID_SIZE])
{
    enum lahar_result result =
        core_send(lahar->core, to, message_class, span_of(body, size), id, now_ms());
    if (result == LAHAR_OK && !lahar->processing)
        transport_flush_later(lahar->transport);
    return result;
}

size_t lahar_waiting(const struct lahar *lahar)
{
    return core_waiting(lahar->core);
}

enum lahar_state lahar_state(const struct lahar *lahar)
{
    return core_state(lahar->core);
}

const char *lahar_why(const struct lahar *lahar)
{
    return core_why(lahar->core);
}

const char *lahar_why_text(const struct lahar *lahar)
{
    return core_why_text(lahar->core);
}

lahar_gid lahar_self(const struct lahar *lahar)
{
    return core_self(lahar->core);
}

const char *lahar_edge(const struct lahar *lahar)
{
    return core_edge(lahar->core);
}

int lahar_retry_ms(const struct lahar *lahar)
{
    if (core_state(lahar->core) != LAHAR_CONNECTING)
        return -1;
    uint64_t due_ms = core_retry_due_ms(lahar->core);
    return due_ms == UINT64_MAX ? 0 : until(due_ms);
}

void lahar_reconnect(struct lahar *lahar)
{
    core_reconnect(lahar->core, now_ms());
}

const char *lahar_gid_format(lahar_gid gid, char out[LAHAR_GID_TEXT_SIZE])
{
    return gid_format(gid, out);
}

bool lahar_gid_parse(const char *text, lahar_gid *gid)
{
    return gid_parse(span_text(text), gid);
}

const char *lahar_version(void)
{
    return LAHAR_VERSION;
}
