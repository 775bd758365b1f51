#include "edge/limits.h"

#include "base/map.h"
#include "base/pool.h"
#include "edge/edge_metrics.h"

#include <netinet/in.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SECOND_MS 1000u
#define RETRY_MIN_MS 1000u
#define RETRY_MAX_MS 60000u
/* Everyone whom the worker tells to come again stands in a line that moves as fast as people are
 * taken in, and is told his turn in it. Clients come after the time told or up to twice that, at
 * random: with so much of the true time told, a fifth more come than there is room for, and no room
 * stays empty.
 */
#define TOLD_PERCENT 58u
#define CROWD_MAX_US 120000000u
#define RATE_UNKNOWN 1000u
/* Of all addresses, so many are looked at in one tick: all of them in 1.6 s. */
#define SWEEP_PARTS 16u
#define SWEEP_MIN 256u

struct address {
    uint64_t hash; /* stands for the address: 64 bits under a secret seed; 0: free */
    struct bucket accepts, logins, sends;
    uint32_t conns;
};

struct limits {
    struct limits_options options;
    struct metrics *metrics;
    uint64_t now_ms;
    uint64_t second_ms; /* when this one began */
    enum limits_class class;
    uint32_t checks_left;
    struct bucket accepts, handshakes, logins, tickets;

    struct pool addresses; /* the index told is one more than the place here */
    struct map by_hash;
    uint32_t sweep_at;
    uint32_t most_conns, most_accepts, most_logins, most_sends; /* of this round of the sweep */

    uint32_t taken[LIMITS]; /* in this second, by the worker's own limits */
    uint64_t crowd_us;      /* when all who were told to come again will be in */
};

static const enum end_reason ends[LIMITS] = {
#define LIMIT(name, label, reason, end) [LIMIT_##name] = END_##end,
#include "edge/limit_rows.h"
};

enum end_reason limits_end(enum limit limit)
{
    assert(limit > LIMIT_NONE && limit < LIMITS);
    return ends[limit];
}

static void show(struct limits *limits, enum limit limit, uint64_t value)
{
    metrics_set(limits->metrics, EDGE_METRIC_LIMIT(limit), value);
}

static void show_all(struct limits *limits)
{
    const struct limits_options *options = &limits->options;
    show(limits, LIMIT_ACCEPTS, options->accepts.per_s);
    show(limits, LIMIT_HANDSHAKES, options->handshakes.per_s);
    show(limits, LIMIT_LOGINS, options->logins.per_s);
    show(limits, LIMIT_TICKETS, options->tickets.per_s);
    show(limits, LIMIT_ADDRESS_CONNECTIONS, options->address_connections);
    show(limits, LIMIT_ADDRESS_ACCEPTS, options->address_accepts.per_s);
    show(limits, LIMIT_ADDRESS_LOGINS, options->address_logins.per_s);
    show(limits, LIMIT_ADDRESS_SENDS, options->address_sends.per_s);
    show(limits, LIMIT_ADDRESSES, options->addresses_max);
}

static void check_rate(struct bucket_rate rate)
{
    assert(rate.per_s == 0 || (rate.burst > 0 && rate.burst <= BUCKET_BURST_MAX));
}

struct limits *limits_new(const struct limits_options *options, struct metrics *metrics)
{
    check_rate(options->accepts);
    check_rate(options->handshakes);
    check_rate(options->logins);
    check_rate(options->tickets);
    check_rate(options->address_accepts);
    check_rate(options->address_logins);
    check_rate(options->address_sends);
    struct limits *limits = calloc(1, sizeof *limits);
    assert(limits != NULL);
    limits->options = *options;
    limits->metrics = metrics;
    limits->checks_left = options->checks_a_turn;
    limits->accepts = bucket_full(options->accepts, 0);
    limits->handshakes = bucket_full(options->handshakes, 0);
    limits->logins = bucket_full(options->logins, 0);
    limits->tickets = bucket_full(options->tickets, 0);
    pool_init(&limits->addresses, sizeof(struct address), options->addresses_max);
    map_init(&limits->by_hash);
    show_all(limits);
    return limits;
}

void limits_free(struct limits *limits)
{
    if (limits == NULL)
        return;
    map_free(&limits->by_hash);
    pool_free(&limits->addresses);
    free(limits);
}

void limits_time(struct limits *limits, uint64_t now_ms)
{
    assert(now_ms >= limits->now_ms);
    if (now_ms == limits->now_ms)
        return;
    if (limits->now_ms == 0) {
        limits->second_ms = now_ms;
        limits->accepts.at_ms = limits->handshakes.at_ms = limits->logins.at_ms =
            limits->tickets.at_ms = (uint32_t)now_ms;
    }
    limits->now_ms = now_ms;
    limits->checks_left = limits->options.checks_a_turn;
}

static uint32_t now32(const struct limits *limits)
{
    return (uint32_t)limits->now_ms;
}

void limits_set_class(struct limits *limits, enum limits_class class)
{
    limits->class = class;
    metrics_set(limits->metrics, EDGE_METRIC_OVERLOAD_CLASS, class);
}

enum limits_class limits_class(const struct limits *limits)
{
    return limits->class;
}

/* --- refusing --------------------------------------------------------------------------------- */

/* How many a second it takes in when all come at once. What an overloaded worker will be able to
 * take nobody knows: half of what it may. */
static uint32_t rate_of(const struct limits *limits, enum limit limit)
{
    const struct limits_options *options = &limits->options;
    uint32_t per_s = limit == LIMIT_ACCEPTS      ? options->accepts.per_s
                     : limit == LIMIT_HANDSHAKES ? options->handshakes.per_s
                     : limit == LIMIT_LOGINS     ? options->logins.per_s
                     : limit == LIMIT_TICKETS    ? options->tickets.per_s
                                                 : options->logins.per_s / 2;
    return per_s != 0 ? per_s : RATE_UNKNOWN;
}

/* The line is of those whom the worker could not take; who asks too much for one address or one
 * site does not make the others wait. */
static bool stands_in_line(enum limit limit)
{
    return limit == LIMIT_OVERLOAD || limit == LIMIT_ACCEPTS || limit == LIMIT_HANDSHAKES ||
           limit == LIMIT_LOGINS || limit == LIMIT_TICKETS || limit == LIMIT_LOGINS_WAITING;
}

void limits_refused(struct limits *limits, enum limit limit)
{
    assert(limit > LIMIT_NONE && limit < LIMITS);
    metrics_add(limits->metrics, EDGE_METRIC_LIMIT_REJECTED(limit), 1);
    if (!stands_in_line(limit))
        return;
    uint64_t now_us = limits->now_ms * 1000;
    if (limits->crowd_us < now_us)
        limits->crowd_us = now_us;
    if (limits->crowd_us < now_us + CROWD_MAX_US)
        limits->crowd_us += 1000000 / rate_of(limits, limit);
}

static enum limit refuse(struct limits *limits, enum limit limit)
{
    limits_refused(limits, limit);
    return limit;
}

uint32_t limits_retry_ms(const struct limits *limits, uint64_t random)
{
    uint64_t now_us = limits->now_ms * 1000;
    uint64_t ahead_ms = limits->crowd_us > now_us ? (limits->crowd_us - now_us) / 1000 : 0;
    uint64_t ms = RETRY_MIN_MS + random % RETRY_MIN_MS + ahead_ms * TOLD_PERCENT / 100;
    return (uint32_t)(ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

/* One of the worker's own. */
static bool take(struct limits *limits, enum limit limit, struct bucket *bucket,
                 struct bucket_rate rate)
{
    if (bucket_take(bucket, rate, now32(limits)) != 0)
        return false;
    limits->taken[limit]++;
    return true;
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool same_hash(const void *ctx, uint32_t index, const void *key)
{
    const struct limits *limits = ctx;
    const struct address *address = pool_at(&limits->addresses, index);
    return address->hash == *(const uint64_t *)key;
}

/* 0: not told apart. What an IPv4 client is called does not depend on the kind of listener. */
static uint64_t hash_of(const struct limits *limits, const struct sockaddr *from)
{
    uint8_t text[9] = {0};
    if (from == NULL)
        return 0;
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        memcpy(text + 1, &in->sin_addr, 4);
        text[0] = 4;
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;
        const uint8_t *at = in6->sin6_addr.s6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        memcpy(text + 1, mapped ? at + 12 : at, mapped ? 4 : 8);
        text[0] = mapped ? 4 : 6;
    } else {
        return 0;
    }
    return XXH3_64bits_withSeed(text, sizeof text, limits->options.seed) | 1;
}

static struct address *address_at(struct limits *limits, uint32_t index)
{
    struct address *address = pool_at(&limits->addresses, index - 1);
    assert(address->hash != 0);
    return address;
}

/* The index, or LIMITS_NOBODY. */
static uint32_t address_of(struct limits *limits, const struct sockaddr *from)
{
    uint64_t hash = hash_of(limits, from);
    if (hash == 0)
        return LIMITS_NOBODY;
    uint32_t place = map_find(&limits->by_hash, hash, same_hash, limits, &hash);
    if (place != MAP_NONE)
        return place + 1;
    place = limits->options.addresses_max == 0 ? POOL_NONE : pool_take(&limits->addresses);
    if (place == POOL_NONE) {
        limits_refused(limits, LIMIT_ADDRESSES);
        return LIMITS_NOBODY;
    }
    struct address *address = pool_at(&limits->addresses, place);
    address->hash = hash;
    address->accepts = bucket_full(limits->options.address_accepts, now32(limits));
    address->logins = bucket_full(limits->options.address_logins, now32(limits));
    address->sends = bucket_full(limits->options.address_sends, now32(limits));
    map_add(&limits->by_hash, hash, place);
    return place + 1;
}

static void raise(uint32_t *most, uint32_t value)
{
    if (value > *most)
        *most = value;
}

static void look_at(struct limits *limits, uint32_t place)
{
    const struct limits_options *options = &limits->options;
    struct address *address = pool_at(&limits->addresses, place);
    uint32_t now_ms = now32(limits);
    if (address->hash == 0)
        return;
    raise(&limits->most_conns, address->conns);
    raise(&limits->most_accepts, bucket_used(address->accepts, options->address_accepts, now_ms));
    raise(&limits->most_logins, bucket_used(address->logins, options->address_logins, now_ms));
    raise(&limits->most_sends, bucket_used(address->sends, options->address_sends, now_ms));
    if (address->conns > 0 ||
        !bucket_is_full(&address->accepts, options->address_accepts, now_ms) ||
        !bucket_is_full(&address->logins, options->address_logins, now_ms) ||
        !bucket_is_full(&address->sends, options->address_sends, now_ms))
        return;
    map_remove(&limits->by_hash, address->hash, place);
    address->hash = 0;
    pool_give(&limits->addresses, place);
}

static void set_current(struct limits *limits, enum limit limit, uint64_t value)
{
    metrics_set(limits->metrics, EDGE_METRIC_LIMIT_NOW(limit), value);
}

static void end_round(struct limits *limits)
{
    set_current(limits, LIMIT_ADDRESS_CONNECTIONS, limits->most_conns);
    set_current(limits, LIMIT_ADDRESS_ACCEPTS, limits->most_accepts);
    set_current(limits, LIMIT_ADDRESS_LOGINS, limits->most_logins);
    set_current(limits, LIMIT_ADDRESS_SENDS, limits->most_sends);
    set_current(limits, LIMIT_ADDRESSES, limits->addresses.in_use);
    limits->most_conns = limits->most_accepts = limits->most_logins = limits->most_sends = 0;
    limits->sweep_at = 0;
}

static void sweep(struct limits *limits)
{
    uint32_t all = limits->addresses.used_high;
    uint32_t part = all / SWEEP_PARTS > SWEEP_MIN ? all / SWEEP_PARTS : SWEEP_MIN;
    for (uint32_t i = 0; i < part && limits->sweep_at < all; i++)
        look_at(limits, limits->sweep_at++);
    if (limits->sweep_at >= all)
        end_round(limits);
}

void limits_tick(struct limits *limits)
{
    static const enum limit rates[] = {LIMIT_ACCEPTS, LIMIT_HANDSHAKES, LIMIT_LOGINS,
                                       LIMIT_TICKETS};
    sweep(limits);
    if (limits->now_ms - limits->second_ms < SECOND_MS)
        return;
    limits->second_ms = limits->now_ms;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        set_current(limits, rates[i], limits->taken[rates[i]]);
        limits->taken[rates[i]] = 0;
    }
}

/* --- the course of a connection --------------------------------------------------------------- */

enum limit limits_accept(struct limits *limits)
{
    const struct limits_options *options = &limits->options;
    if (limits->class >= LIMITS_NO_ACCEPTS)
        return refuse(limits, LIMIT_OVERLOAD);
    if (!take(limits, LIMIT_ACCEPTS, &limits->accepts, options->accepts))
        return refuse(limits, LIMIT_ACCEPTS);
    return LIMIT_NONE;
}

enum limit limits_handshake(struct limits *limits)
{
    if (!take(limits, LIMIT_HANDSHAKES, &limits->handshakes, limits->options.handshakes))
        return refuse(limits, LIMIT_HANDSHAKES);
    return LIMIT_NONE;
}

enum limit limits_enter(struct limits *limits, const struct sockaddr *from, uint32_t *index)
{
    const struct limits_options *options = &limits->options;
    *index = address_of(limits, from);
    if (*index == LIMITS_NOBODY)
        return LIMIT_NONE;
    struct address *address = address_at(limits, *index);
    enum limit limit = LIMIT_NONE;
    if (options->address_connections != 0 && address->conns >= options->address_connections)
        limit = LIMIT_ADDRESS_CONNECTIONS;
    else if (bucket_take(&address->accepts, options->address_accepts, now32(limits)) != 0)
        limit = LIMIT_ADDRESS_ACCEPTS;
    if (limit != LIMIT_NONE) {
        *index = LIMITS_NOBODY;
        return refuse(limits, limit);
    }
    address->conns++;
    return LIMIT_NONE;
}

void limits_leave(struct limits *limits, uint32_t index)
{
    if (index == LIMITS_NOBODY)
        return;
    struct address *address = address_at(limits, index);
    assert(address->conns > 0);
    address->conns--;
}

enum limit limits_login(struct limits *limits, uint32_t index, enum limits_login how)
{
    const struct limits_options *options = &limits->options;
    if (limits->class >= LIMITS_NO_LOGINS)
        return refuse(limits, LIMIT_OVERLOAD);
    /* The address first: what one of them asks too much must not use up what is for all. */
    if (index != LIMITS_NOBODY && bucket_take(&address_at(limits, index)->logins,
                                              options->address_logins, now32(limits)) != 0)
        return refuse(limits, LIMIT_ADDRESS_LOGINS);
    bool by_ticket = how == LIMITS_BY_TICKET;
    enum limit limit = by_ticket ? LIMIT_TICKETS : LIMIT_LOGINS;
    if (!take(limits, limit, by_ticket ? &limits->tickets : &limits->logins,
              by_ticket ? options->tickets : options->logins))
        return refuse(limits, limit);
    return LIMIT_NONE;
}

bool limits_check(struct limits *limits)
{
    if (limits->options.checks_a_turn == 0)
        return true;
    if (limits->checks_left == 0)
        return false;
    limits->checks_left--;
    return true;
}

uint32_t limits_send(struct limits *limits, uint32_t index)
{
    if (index == LIMITS_NOBODY || limits->options.address_sends.per_s == 0)
        return 0;
    uint32_t wait_ms = bucket_take(&address_at(limits, index)->sends, limits->options.address_sends,
                                   now32(limits));
    if (wait_ms != 0)
        limits_refused(limits, LIMIT_ADDRESS_SENDS);
    return wait_ms;
}
