#include "bench/crowd.h"

#include "base/log.h"
#include "base/rand.h"
#include "bench/agenda.h"
#include "bench/dice.h"
#include "bench/net.h"
#include "cli/mint.h"
#include "proto/reasons.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOKEN_LIFETIME_S 600u
#define WHY_SIZE (MINT_WHY_SIZE + 128u)
#define NS_PER_MS UINT64_C(1000000)
#define PING_STRIDE 2654435769u /* 2^32 over the golden ratio: spreads what follows in a row */
/* More at once would be heard by nobody while their tokens are made. */
#define STARTS_PER_TURN 16u
#define BACK_FIRST_NS (1000 * NS_PER_MS)
#define BACK_DOUBLINGS 6u
#define BACK_MOST_NS (60000 * NS_PER_MS)
#define NO_PLACE UINT16_MAX

enum seat_state { SEAT_EMPTY, SEAT_LOGGING_IN, SEAT_ONLINE, SEAT_AWAY };

/* A connection's. */
struct seat {
    uint64_t dseq;  /* the last delivery that has one */
    uint16_t login; /* its place among the logins */
    uint8_t state;  /* enum seat_state */
    uint8_t server, failures;
};

struct ticket {
    uint8_t len;
    uint8_t bytes[];
};

/* One of those who are logging in. */
struct login {
    uint64_t began_ns;
    bool by_ticket;
    char *token;
    size_t token_len;
};

struct crowd {
    struct crowd_options options;
    struct crowd_events events;
    struct crowd_hists hists;
    void *ctx;
    struct net *net;
    struct mint_signer *signer;
    char devices[CROWD_DEVICES_MAX][48];
    struct seat *seats;      /* of the users, then of the gone ones */
    uint64_t *lost_ns;       /* by seat; NULL without comes_back */
    struct ticket **tickets; /* by seat; NULL: none are kept */
    uint32_t seat_count, own_seats;
    struct login *logins;
    uint16_t *free_logins;
    uint32_t free_count;
    bool begun, restless, again;
    uint32_t next_login;    /* the next seat to log in for the first time */
    uint32_t next_restless; /* the next one to leave, or to log in again */
    uint32_t next_again;    /* the next one to leave for a moment */
    uint32_t gone_left;
    struct agenda back; /* seats that will try again */
    struct dice dice;
    uint32_t heartbeat_ms; /* the least one told; 0: none */
    uint64_t pinged_ns;    /* up to when pings have gone out */
    uint32_t next_ping;
    struct crowd_counts counts;
    bool failed;
    char why[WHY_SIZE];
};

/* --- who is who ------------------------------------------------------------------------------- */

static bool is_gone(const struct crowd *crowd, uint32_t number)
{
    return number >= crowd->own_seats;
}

static uint32_t device_of(const struct crowd *crowd, uint32_t number)
{
    return crowd->options.devices == 1 || is_gone(crowd, number) ? 0
                                                                 : number % crowd->options.devices;
}

static uint32_t user_of(const struct crowd *crowd, uint32_t number)
{
    if (is_gone(crowd, number))
        return crowd->options.gone_first + number - crowd->own_seats;
    return crowd->options.first +
           (crowd->options.devices == 1 ? number : number / crowd->options.devices);
}

static uint32_t seat_of(const struct crowd *crowd, uint32_t user, uint32_t device)
{
    assert(user - crowd->options.first < crowd->options.users && device < crowd->options.devices);
    return (user - crowd->options.first) * crowd->options.devices + device;
}

static void fail(struct crowd *crowd, uint32_t number, const char *what, const char *more)
{
    if (!crowd->failed)
        snprintf(crowd->why, sizeof crowd->why, "user u%u: %s%s%s",
                 crowd->options.base + user_of(crowd, number), what, *more ? ": " : "", more);
    crowd->failed = true;
}

/* --- logging in ------------------------------------------------------------------------------- */

static bool make_token(struct crowd *crowd, uint32_t number, struct login *login)
{
    char token[MINT_TOKEN_SIZE], why[MINT_WHY_SIZE], name[16];
    login->token = NULL;
    login->token_len = 0;
    if (!crowd->signer)
        return true;
    snprintf(name, sizeof name, "u%u", crowd->options.base + user_of(crowd, number));
    const struct mint_claims claims = {
        .site = crowd->options.site,
        .user = name,
        .cluster = crowd->options.cluster,
        .issued_at = (uint64_t)time(NULL),
        .lifetime_s = TOKEN_LIFETIME_S,
    };
    if (!mint_sign(crowd->signer, &claims, token, &login->token_len, why)) {
        fail(crowd, number, "no token", why);
        return false;
    }
    login->token = malloc(login->token_len);
    assert(login->token != NULL);
    memcpy(login->token, token, login->token_len);
    return true;
}

static struct ticket *ticket_of(const struct crowd *crowd, uint32_t number)
{
    return crowd->tickets == NULL ? NULL : crowd->tickets[number];
}

static void keep_ticket(struct crowd *crowd, uint32_t number, struct span bytes)
{
    if (crowd->tickets == NULL)
        return;
    struct ticket *ticket = crowd->tickets[number];
    if (bytes.len == 0 || bytes.len > UINT8_MAX) {
        free(ticket);
        crowd->tickets[number] = NULL;
        return;
    }
    if (ticket == NULL || ticket->len != bytes.len) {
        free(ticket);
        ticket = malloc(sizeof *ticket + bytes.len);
        assert(ticket != NULL);
        ticket->len = (uint8_t)bytes.len;
        crowd->tickets[number] = ticket;
    }
    memcpy(ticket->bytes, bytes.at, bytes.len);
}

/* There must be a free place. */
static void start_login(struct crowd *crowd, uint32_t number)
{
    struct seat *seat = &crowd->seats[number];
    uint16_t place = crowd->free_logins[crowd->free_count - 1];
    assert(seat->state == SEAT_EMPTY || seat->state == SEAT_AWAY);
    crowd->logins[place].by_ticket = ticket_of(crowd, number) != NULL;
    if (!crowd->logins[place].by_ticket && !make_token(crowd, number, &crowd->logins[place]))
        return;
    crowd->free_count--;
    seat->login = place;
    seat->state = SEAT_LOGGING_IN;
    seat->dseq = 0;
    crowd->logins[place].began_ns = net_clock_ns(crowd->net);
    net_connect(crowd->net, number, seat->server);
}

static void free_login(struct crowd *crowd, struct seat *seat)
{
    assert(seat->login != NO_PLACE);
    free(crowd->logins[seat->login].token);
    crowd->logins[seat->login].token = NULL;
    crowd->free_logins[crowd->free_count++] = seat->login;
    seat->login = NO_PLACE;
}

static void say_hello(void *ctx, uint32_t number)
{
    struct crowd *crowd = ctx;
    const struct login *login = &crowd->logins[crowd->seats[number].login];
    const struct ticket *ticket = login->by_ticket ? ticket_of(crowd, number) : NULL;
    const struct target_login words = {
        .ticket = ticket == NULL ? (struct span){0} : span_of(ticket->bytes, ticket->len),
        .number = (uint64_t)crowd->options.base + user_of(crowd, number) + 1,
        .token = span_of(login->token, login->token_len),
        .device = span_text(crowd->devices[device_of(crowd, number)]),
    };
    size_t shown = ticket == NULL ? login->token_len : ticket->len;
    uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX + shown);
    net_commit(crowd->net, number, crowd->options.target->hello(at, &words));
}

static void leave(struct crowd *crowd, uint32_t number)
{
    net_close(crowd->net, number);
    crowd->seats[number].state = SEAT_EMPTY;
    crowd->counts.online--;
}

static void welcome(struct crowd *crowd, uint32_t number, const struct target_frame *frame)
{
    struct seat *seat = &crowd->seats[number];
    uint32_t heartbeat_ms = frame->is.welcome.heartbeat_ms, user = user_of(crowd, number);
    uint64_t gid = frame->is.welcome.gid, now = net_now_ns(crowd->net);
    if (seat->state != SEAT_LOGGING_IN)
        return;
    hist_add(crowd->hists.logins, now - crowd->logins[seat->login].began_ns);
    if (crowd->lost_ns && crowd->lost_ns[number] != 0) {
        hist_add(crowd->hists.back, now - crowd->lost_ns[number]);
        crowd->lost_ns[number] = 0;
        crowd->counts.back++;
    }
    crowd->counts.by_ticket += crowd->logins[seat->login].by_ticket;
    keep_ticket(crowd, number, frame->is.welcome.ticket);
    free_login(crowd, seat);
    seat->state = SEAT_ONLINE;
    seat->failures = 0;
    crowd->counts.online++;
    crowd->counts.logins++;
    if (heartbeat_ms > 0 && (crowd->heartbeat_ms == 0 || heartbeat_ms < crowd->heartbeat_ms))
        crowd->heartbeat_ms = heartbeat_ms;
    if (gid == 0)
        gid = (uint64_t)crowd->options.base + user + 1;
    crowd->events.on_online(crowd->ctx, user, device_of(crowd, number), gid, seat->server);
    if (is_gone(crowd, number)) {
        leave(crowd, number);
        crowd->gone_left++;
    } else if (crowd->restless) {
        leave(crowd, number);
    }
}

/* Full jitter, and another server than the one that failed. */
static void come_back(struct crowd *crowd, uint32_t number)
{
    struct seat *seat = &crowd->seats[number];
    uint32_t servers = net_servers(crowd->net);
    uint64_t most =
        BACK_FIRST_NS << (seat->failures < BACK_DOUBLINGS ? seat->failures : BACK_DOUBLINGS);
    if (most > BACK_MOST_NS)
        most = BACK_MOST_NS;
    if (seat->failures < UINT8_MAX)
        seat->failures++;
    if (servers > 1)
        seat->server =
            (uint8_t)((seat->server + 1 + dice_roll(&crowd->dice) % (servers - 1)) % servers);
    seat->state = SEAT_AWAY;
    agenda_add(&crowd->back, net_now_ns(crowd->net) + dice_roll(&crowd->dice) % most, number);
}

static void on_lost(void *ctx, uint32_t number, const char *why)
{
    struct crowd *crowd = ctx;
    struct seat *seat = &crowd->seats[number];
    bool was_online = seat->state == SEAT_ONLINE;
    if (was_online) {
        crowd->counts.online--;
        crowd->counts.lost++;
    } else if (seat->state == SEAT_LOGGING_IN) {
        free_login(crowd, seat);
    }
    seat->state = SEAT_EMPTY;
    if (!crowd->options.comes_back || is_gone(crowd, number)) {
        fail(crowd, number, "connection lost", why);
        return;
    }
    if (was_online) {
        crowd->lost_ns[number] = net_now_ns(crowd->net);
        crowd->events.on_lost(crowd->ctx, user_of(crowd, number), device_of(crowd, number));
    }
    come_back(crowd, number);
}

static void leave_for_a_moment(struct crowd *crowd, uint32_t number)
{
    if (crowd->seats[number].state != SEAT_ONLINE)
        return;
    leave(crowd, number);
    crowd->seats[number].state = SEAT_AWAY;
    agenda_add(&crowd->back, net_now_ns(crowd->net), number);
}

static void start_logins(struct crowd *crowd)
{
    uint32_t number, most = STARTS_PER_TURN;
    while (crowd->free_count > 0 && most > 0 &&
           agenda_take(&crowd->back, net_now_ns(crowd->net), &number)) {
        start_login(crowd, number);
        most--;
    }
    for (; crowd->begun && crowd->next_login < crowd->seat_count && crowd->free_count > 0 &&
           most > 0 && !crowd->failed;
         most--)
        start_login(crowd, crowd->next_login++);
    /* One who is still leaving, or on his way, is passed over. */
    for (; crowd->restless && crowd->free_count > 0 && most > 0 && !crowd->failed; most--) {
        crowd->next_restless = (crowd->next_restless + 1) % crowd->own_seats;
        if (crowd->seats[crowd->next_restless].state == SEAT_ONLINE)
            leave(crowd, crowd->next_restless);
        else if (crowd->seats[crowd->next_restless].state == SEAT_EMPTY)
            start_login(crowd, crowd->next_restless);
    }
    /* No more of them than have a place in the next turn. */
    uint32_t leave_most = most < crowd->free_count ? most : crowd->free_count;
    for (; crowd->again && crowd->next_again < crowd->own_seats && leave_most > 0; leave_most--)
        leave_for_a_moment(crowd, crowd->next_again++);
}

void crowd_login(struct crowd *crowd)
{
    crowd->begun = true;
}

bool crowd_is_in(const struct crowd *crowd)
{
    return crowd->begun && crowd->counts.online == crowd->own_seats &&
           crowd->gone_left == crowd->options.gone &&
           (!crowd->again || crowd->next_again == crowd->own_seats);
}

void crowd_again(struct crowd *crowd)
{
    crowd->again = true;
}

void crowd_come_and_go(struct crowd *crowd)
{
    crowd->restless = true;
}

void crowd_rest(struct crowd *crowd)
{
    crowd->restless = false;
}

const char *crowd_why(const struct crowd *crowd)
{
    return crowd->why;
}

/* --- hearing ---------------------------------------------------------------------------------- */

static void deliver(struct crowd *crowd, uint32_t number, const struct hot_deliver *deliver)
{
    struct seat *seat = &crowd->seats[number];
    if (deliver->dseq != 0) {
        if (deliver->dseq != seat->dseq + 1)
            crowd->counts.out_of_order++;
        seat->dseq = deliver->dseq;
    }
    crowd->events.on_deliver(crowd->ctx, user_of(crowd, number), device_of(crowd, number), deliver);
}

static void ended(struct crowd *crowd, uint32_t number, const struct target_frame *frame)
{
    char text[128];
    struct seat *seat = &crowd->seats[number];
    /* As a client does: it tries again, after a while. */
    if (seat->state == SEAT_LOGGING_IN && frame->is.ended.reason == END_BUSY) {
        crowd->counts.refused++;
        free_login(crowd, seat);
        net_close(crowd->net, number);
        come_back(crowd, number);
        return;
    }
    bool refused = seat->state == SEAT_LOGGING_IN && crowd->logins[seat->login].by_ticket &&
                   frame->is.ended.reason == END_TOKEN_REQUIRED;
    if (refused) {
        crowd->counts.no_ticket++;
        keep_ticket(crowd, number, (struct span){0});
        free_login(crowd, seat);
        net_close(crowd->net, number);
        seat->state = SEAT_AWAY;
        agenda_add(&crowd->back, net_now_ns(crowd->net), number);
        return;
    }
    if (crowd->options.comes_back)
        return; /* the connection's end follows */
    if (frame->is.ended.reason != 0)
        snprintf(text, sizeof text, "%s", reasons_end_text(frame->is.ended.reason));
    else
        snprintf(text, sizeof text, "%.*s", (int)frame->is.ended.text.len,
                 (const char *)frame->is.ended.text.at);
    fail(crowd, number, "the server ends the connection", text);
}

static void hear(struct crowd *crowd, uint32_t number, const struct target_frame *frame)
{
    switch (frame->event) {
    case TARGET_DELIVER:
        deliver(crowd, number, &frame->is.deliver);
        break;
    case TARGET_ACK:
        crowd->events.on_ack(crowd->ctx, user_of(crowd, number), frame->tag, &frame->is.ack);
        break;
    case TARGET_NACK:
        crowd->events.on_nack(crowd->ctx, user_of(crowd, number), frame->tag, &frame->is.nack);
        break;
    case TARGET_WELCOME:
        welcome(crowd, number, frame);
        break;
    case TARGET_ENDED:
        ended(crowd, number, frame);
        break;
    case TARGET_IGNORED:
        break;
    }
    if (frame->answer != 0) {
        uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX);
        net_commit(crowd->net, number, crowd->options.target->answer(at, frame));
    }
}

static size_t on_bytes(void *ctx, uint32_t number, struct span bytes)
{
    struct crowd *crowd = ctx;
    const struct target *target = crowd->options.target;
    uint64_t before = crowd->seats[number].dseq;
    struct span rest = bytes;
    struct target_frame frame;
    enum frame_status status;
    while ((status = target->take(&rest, &frame)) == FRAME_READY) {
        hear(crowd, number, &frame);
        if (crowd->seats[number].state == SEAT_EMPTY || crowd->seats[number].state == SEAT_AWAY)
            return bytes.len - rest.len; /* it has left */
    }
    if (status == FRAME_INVALID)
        return NET_BROKEN;
    uint64_t now = crowd->seats[number].dseq;
    if (now != before && target->received) {
        uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX);
        net_commit(crowd->net, number, target->received(at, now));
    }
    return bytes.len - rest.len;
}

/* --- turns ------------------------------------------------------------------------------------ */

/* The share of the connections whose turn came since the last call. */
static void ping(struct crowd *crowd)
{
    const struct target *target = crowd->options.target;
    uint64_t now = net_now_ns(crowd->net);
    if (crowd->heartbeat_ms == 0 || !target->ping)
        return;
    if (crowd->pinged_ns == 0) {
        crowd->pinged_ns = now;
        /* Elsewhere in each process: all begin with the same share of their users logged in. */
        crowd->next_ping =
            (uint32_t)((uint64_t)crowd->options.first * PING_STRIDE % crowd->own_seats);
    }
    uint64_t each_ns = crowd->heartbeat_ms * NS_PER_MS / crowd->own_seats;
    for (; now - crowd->pinged_ns >= each_ns; crowd->pinged_ns += each_ns) {
        uint32_t number = crowd->next_ping;
        crowd->next_ping = (number + 1) % crowd->own_seats;
        if (crowd->seats[number].state != SEAT_ONLINE)
            continue;
        uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX);
        net_commit(crowd->net, number, target->ping(at));
    }
}

void crowd_turn(struct crowd *crowd, uint64_t wait_ns)
{
    uint64_t now = net_now_ns(crowd->net), back = agenda_next_ns(&crowd->back);
    bool starts = crowd->restless || (crowd->begun && crowd->next_login < crowd->seat_count);
    if (starts && crowd->free_count > 0)
        wait_ns = 0;
    else if (back != UINT64_MAX && crowd->free_count > 0 && back < now + wait_ns)
        wait_ns = back > now ? back - now : 0;
    ping(crowd);
    net_turn(crowd->net, wait_ns);
    start_logins(crowd);
}

void crowd_send(struct crowd *crowd, uint32_t user, uint32_t device, const struct hot_send *send,
                uint32_t tag)
{
    uint32_t number = seat_of(crowd, user, device);
    uint8_t *at = net_reserve(crowd->net, number, TARGET_OVERHEAD_MAX + send->body.len);
    net_commit(crowd->net, number, crowd->options.target->send(at, send, tag));
}

bool crowd_is_online(const struct crowd *crowd, uint32_t user, uint32_t device)
{
    return crowd->seats[seat_of(crowd, user, device)].state == SEAT_ONLINE;
}

/* --- the rest --------------------------------------------------------------------------------- */

static void open_signer(struct crowd *crowd)
{
    const struct crowd_options *options = &crowd->options;
    char why[MINT_WHY_SIZE];
    if (!options->target->tokens)
        return;
    if (!options->site || !options->key || !options->cluster)
        log_die("%s wants tokens: give --site, --key and --cluster", options->target->name);
    crowd->signer = mint_signer_new(options->key, why);
    if (!crowd->signer)
        log_die("--key: %s", why);
}

/* `conn` is counted over all processes. */
static uint8_t home_of(const struct crowd *crowd, uint32_t conn)
{
    uint64_t servers = net_servers(crowd->net);
    if (crowd->options.in_blocks_of == 0)
        return (uint8_t)(conn % servers);
    return (uint8_t)(conn * servers / crowd->options.in_blocks_of % servers);
}

uint8_t crowd_home(const struct crowd *crowd, uint32_t user, uint32_t device)
{
    return home_of(crowd, user * crowd->options.devices + device);
}

static void make_seats(struct crowd *crowd)
{
    const struct crowd_options *options = &crowd->options;
    crowd->own_seats = options->users * options->devices;
    crowd->seat_count = crowd->own_seats + options->gone;
    crowd->seats = calloc(crowd->seat_count, sizeof *crowd->seats);
    crowd->logins = calloc(options->logins_at_once, sizeof *crowd->logins);
    crowd->free_logins = calloc(options->logins_at_once, sizeof *crowd->free_logins);
    assert(crowd->seats != NULL && crowd->logins != NULL && crowd->free_logins != NULL);
    for (uint32_t i = 0; i < crowd->seat_count; i++) {
        crowd->seats[i].login = NO_PLACE;
        crowd->seats[i].server = home_of(crowd, options->first * options->devices + i);
    }
    for (uint32_t i = 0; i < options->logins_at_once; i++)
        crowd->free_logins[crowd->free_count++] = (uint16_t)i;
    if (options->target->tickets && (options->comes_back || options->tickets)) {
        crowd->tickets = calloc(crowd->seat_count, sizeof(struct ticket *));
        assert(crowd->tickets != NULL);
    }
    if (options->comes_back) {
        crowd->lost_ns = calloc(crowd->seat_count, sizeof *crowd->lost_ns);
        assert(crowd->lost_ns != NULL);
    }
}

struct crowd *crowd_new(const struct crowd_options *options, const struct crowd_events *events,
                        const struct crowd_hists *hists, void *ctx)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    assert(crowd != NULL && options->users > 0);
    assert(options->logins_at_once > 0 && options->logins_at_once < NO_PLACE);
    assert(options->devices >= 1 && options->devices <= CROWD_DEVICES_MAX);
    crowd->options = *options;
    crowd->events = *events;
    crowd->hists = *hists;
    crowd->ctx = ctx;
    crowd->dice.state = rand_u64() | 1;
    for (uint32_t i = 0; i < options->devices; i++)
        snprintf(crowd->devices[i], sizeof crowd->devices[i], "%.32s%.0u", options->device,
                 i == 0 ? 0 : i + 1);
    open_signer(crowd);
    const struct net_options net_options = {
        .conns_max = options->users * options->devices + options->gone,
        .servers = options->servers,
        .ca = options->ca,
        .keep_bytes = options->keep_bytes,
        .sources = options->sources,
        .first = options->first * options->devices,
        .wake_fd = options->wake_fd,
    };
    const struct net_events net_events = {say_hello, on_bytes, on_lost};
    crowd->net = net_new(&net_options, &net_events, crowd);
    make_seats(crowd);
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    if (crowd == NULL)
        return;
    net_free(crowd->net);
    for (uint32_t i = 0; i < crowd->options.logins_at_once; i++)
        free(crowd->logins[i].token);
    for (uint32_t i = 0; crowd->tickets != NULL && i < crowd->seat_count; i++)
        free(crowd->tickets[i]);
    free(crowd->tickets);
    mint_signer_free(crowd->signer);
    agenda_free(&crowd->back);
    free(crowd->lost_ns);
    free(crowd->logins);
    free(crowd->free_logins);
    free(crowd->seats);
    free(crowd);
}

uint64_t crowd_now_ns(const struct crowd *crowd)
{
    return net_now_ns(crowd->net);
}

uint64_t crowd_clock_ns(struct crowd *crowd)
{
    return net_clock_ns(crowd->net);
}

struct crowd_counts crowd_counts(const struct crowd *crowd)
{
    return crowd->counts;
}
