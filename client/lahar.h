/* liblahar: talk through a Lahar cluster from a C program.
 *
 *     struct lahar_options options = {
 *         .servers = "tls://edge1.example:7701,tls://edge2.example:7701",
 *         .device = "desk", .ca_file = "/etc/ssl/certs/ca-certificates.crt",
 *         .token = fetch_token, .on_message = show, .on_outcome = mark, .context = app,
 *     };
 *     struct lahar *lahar = lahar_new(&options, NULL);
 *     lahar_send(lahar, gid, LAHAR_CONFIRMED, "hello", 5, NULL);
 *     while (lahar_run(lahar, 1000) == LAHAR_OK) ...
 *
 * The library has no thread, no globals and no log of its own. It lives in the caller's loop: wait
 * until lahar_fd is readable or lahar_timeout_ms (asked anew before each wait) has passed, then
 * call lahar_process; all callbacks come from there, or from lahar_run. One `struct lahar` belongs
 * to one thread at a time. Only lahar_run waits; but while it connects, lahar_process may block for
 * as long as it takes to look a server's name up (numeric addresses need no look-up).
 *
 * What it promises
 *
 * Connection: it connects to one of the servers, logs in, keeps the heartbeat, and comes back after
 * any loss with full jitter (1 s to 60 s, or as the server says). It stays away, and says why,
 * after REPLACED, KICKED, a refused token and what else the server marks so: lahar_reconnect begins
 * anew.
 *
 * Sends: each send ends in exactly one outcome, unless lahar_free comes first. Until then the
 * library sends it again, with the same id, after losses, new sessions and BUSY: it is kept or
 * delivered at most once. Sends to one recipient of one class arrive in the order sent. Without an
 * answer for send_timeout_ms the outcome is unknown.
 *
 * Messages: each message is handed to the application once, in order for each sender and class, and
 * is acknowledged to the cluster when the callback has returned.
 */
#ifndef LAHAR_H
#define LAHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LAHAR_API __attribute__((visibility("default")))
#else
#define LAHAR_API
#endif

struct lahar;

/* 64 bits: the kind in the top four, then the number. As text: digits for users, g, s or x before
 * the digits for groups, services and contacts on other networks. */
typedef uint64_t lahar_gid;

#define LAHAR_GID_TEXT_SIZE 20 /* with the NUL */
#define LAHAR_ID_SIZE 16
#define LAHAR_BODY_SIZE_MAX (60 * 1024)

enum lahar_class {
    LAHAR_STORED,    /* kept until every device of the recipient has it */
    LAHAR_CONFIRMED, /* acknowledged by a device of the recipient, or not sent */
    LAHAR_EPHEMERAL, /* at most once, no outcome: typing marks, signalling */
};

enum lahar_result {
    LAHAR_OK = 0,
    LAHAR_FULL = -1, /* as many sends wait as may: try again after an outcome; with LAHAR_EPHEMERAL:
                        the line is slow, and this one was not sent */
    LAHAR_INVALID = -2, /* an argument is out of its limits */
    LAHAR_ENDED = -3,   /* staying away: see lahar_state and lahar_why */
    LAHAR_NO_MEMORY = -4,
};

enum lahar_state {
    LAHAR_CONNECTING, /* or waiting before the next try */
    LAHAR_ONLINE,
    LAHAR_AWAY, /* stays away: lahar_why says why; lahar_reconnect begins anew */
};

enum lahar_outcome {
    LAHAR_KEPT,      /* in the recipient's mailbox (LAHAR_STORED) */
    LAHAR_DELIVERED, /* a device of the recipient acknowledged it */
    LAHAR_REFUSED,   /* neither kept nor delivered: `reason` */
    LAHAR_UNKNOWN,   /* it may have arrived: send it again with the same id to learn more */
};

struct lahar_message {
    lahar_gid from;
    lahar_gid group; /* 0: to you */
    enum lahar_class message_class;
    uint64_t sent_at_ms;       /* since 1970, by the cluster's clock */
    uint8_t id[LAHAR_ID_SIZE]; /* the same wherever and however often it arrives; zero with
                                  LAHAR_EPHEMERAL */
    const void *body;          /* borrowed until the callback returns */
    size_t body_size;
};

struct lahar_result_of_send {
    uint8_t id[LAHAR_ID_SIZE]; /* as lahar_send gave it */
    lahar_gid to;
    enum lahar_outcome outcome;
    const char *reason;      /* "offline", "no_user", "busy", ...; "" with KEPT and DELIVERED */
    const char *reason_text; /* the same for people */
    uint8_t
        message_id[LAHAR_ID_SIZE]; /* with KEPT and DELIVERED: what the recipient sees as `id` */
};

struct lahar_options {
    /* "tcp://host:port", "tls://host:port", or over WebSocket "ws://host:port/path" and
     * "wss://host:port/path" (path and port may be left out); comma-separated, one is taken at
     * random. A server that leaves may name others, which are tried first then. */
    const char *servers;
    const char *device; /* 1 to 32 of [A-Za-z0-9._-]: stays the same for this installation */
    const char *client; /* name and version of your program, for the operator; may be NULL */

    /* tls:// and wss://: certificates to trust (PEM); NULL: the system's. The server's name must be
     * in its certificate. */
    const char *ca_file;
    bool tls_insecure; /* do not check the certificate: for trials only */

    /* Asked at each login without a ticket: writes a fresh token of at most `room` bytes and
     * returns its length; 0: none can be had, stay away. */
    size_t (*token)(void *context, char *out, size_t room);

    /* A ticket lets the library come back without a token, on any server of the cluster, for about
     * a day after the last login by token. It keeps the last one itself; a program that wants to
     * come back so after its own restart stores what on_ticket (may be NULL) tells last, and gives
     * it here then (size 0: none). It is as secret as a token, and good for this user and device
     * only; size 0 tells that the last one is no longer good. */
    void (*on_ticket)(void *context, struct lahar *lahar, const void *ticket, size_t size);
    const void *ticket;
    size_t ticket_size;

    /* All may be NULL. None may call lahar_free, lahar_process or lahar_run. */
    void (*on_state)(void *context, struct lahar *lahar, enum lahar_state state);
    void (*on_message)(void *context, struct lahar *lahar, const struct lahar_message *message);
    void (*on_outcome)(void *context, struct lahar *lahar,
                       const struct lahar_result_of_send *result);
    void *context;

    /* 0: the default. */
    uint32_t sends_max;          /* sends without an outcome that may wait: 1024 */
    uint32_t send_timeout_ms;    /* 30000 */
    uint32_t connect_timeout_ms; /* 10000, handshakes and login included */
    uint32_t reconnect_min_ms;   /* 1000 */
    uint32_t reconnect_max_ms;   /* 60000 */
};

/* NULL if an option is wrong or memory or descriptors are short; `why` (may be NULL) then says so.
 * Options are copied. Nothing happens before the first lahar_process. */
LAHAR_API struct lahar *lahar_new(const struct lahar_options *options, const char **why);
/* Says goodbye if it can without waiting. Sends without an outcome get none any more. */
LAHAR_API void lahar_free(struct lahar *lahar);

/* To wait on: readable when lahar_process has something to do. Stays the same. */
LAHAR_API int lahar_fd(const struct lahar *lahar);
/* How long to wait at most, in ms; -1: no limit. */
LAHAR_API int lahar_timeout_ms(const struct lahar *lahar);
/* Does what is due, without blocking, and calls the callbacks. LAHAR_ENDED when it stays away. */
LAHAR_API enum lahar_result lahar_process(struct lahar *lahar);
/* Waits and processes for `ms` (-1: until it stays away). A signal that is handled ends it early.
 */
LAHAR_API enum lahar_result lahar_run(struct lahar *lahar, int ms);

/* Queues a message; its outcome comes by on_outcome (none with LAHAR_EPHEMERAL). `id` (may be
 * NULL): if all zero, a random one is made and written there; else it is taken: to send again what
 * ended UNKNOWN. `body` is copied. EPHEMERAL while not online is dropped, as its class allows. */
LAHAR_API enum lahar_result lahar_send(struct lahar *lahar, lahar_gid to,
                                       enum lahar_class message_class, const void *body,
                                       size_t size, uint8_t id[LAHAR_ID_SIZE]);
/* Sends without an outcome. */
LAHAR_API size_t lahar_waiting(const struct lahar *lahar);

LAHAR_API enum lahar_state lahar_state(const struct lahar *lahar);
/* Why it is away, or why the last connection ended: "replaced", "token_refused", "connect", ...; ""
 * if nothing ended yet. */
LAHAR_API const char *lahar_why(const struct lahar *lahar);
LAHAR_API const char *lahar_why_text(const struct lahar *lahar);
LAHAR_API lahar_gid lahar_self(const struct lahar *lahar);   /* 0 before the first login */
LAHAR_API const char *lahar_edge(const struct lahar *lahar); /* the edge's name, "" if not online */
/* In how many ms it tries to connect again; 0 while it tries, -1 while online or away. */
LAHAR_API int lahar_retry_ms(const struct lahar *lahar);
/* After LAHAR_AWAY: begin anew. Otherwise: do not wait any longer before the next try. */
LAHAR_API void lahar_reconnect(struct lahar *lahar);

LAHAR_API const char *lahar_gid_format(lahar_gid gid, char out[LAHAR_GID_TEXT_SIZE]);
LAHAR_API bool lahar_gid_parse(const char *text, lahar_gid *gid);
LAHAR_API const char *lahar_version(void);

#ifdef __cplusplus
}
#endif
#endif
