/* swarm: many users of one site in one process, through liblahar, and a referee over what they say
 * to each other.
 *
 *     swarm --servers S[;S...] --key FILE --site SITE --cluster NAME [--ca FILE] --users N
 * [--devices D] [--prefix P]
 *
 * Server lists are given to the users in turn (";" between them); with --devices D every fifth user
 * has D devices. Commands come on standard input, one a line; each is answered by one JSON object
 * on standard output:
 *
 *     online SECONDS           waits until all are online (or the time is over):
 * {"online":n,"of":n,"away":n} messages N CLASS WINDOW  N messages between random pairs, WINDOW
 * without an outcome at once flow RATE SECONDS CLASS  messages at a fixed rate settle SECONDS waits
 * until every send has its outcome verdict                  everything since the start, see
 * print_verdict gids                     {"gids":["10001",...]} storm                    every
 * connection is dropped without a word, nobody comes back quit
 *
 * While it waits for a command it goes on: callbacks, heartbeats, reconnects.
 *
 * Verdict: with each body goes the number of its message; all users live here, so the referee sees
 * both ends. LOST: told delivered, and no device of the recipient got it. FALSE_NACK: told refused,
 * and one got it. DOUBLED: one device got it twice. MISROUTED, ALTERED, DISORDERED (of one device
 * of the sender and class, at one device of the recipient).
 */
#include "base/rand.h"
#include "cli/mint.h"
#include "client/lahar.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_MAX 2000000u
#define BODY_SIZE 100u

struct user {
    lahar_gid gid;
    uint32_t first_device, devices;
    char name[48];
};

struct device {
    struct swarm *swarm;
    struct lahar *lahar;
    uint32_t user, number;
    uint64_t due_ms;
    uint32_t times_online, replaced;
};

enum outcome { OPEN, DELIVERED, REFUSED, UNKNOWN, NONE_PROMISED };

struct message {
    uint32_t from_device, to_user;
    uint8_t class, outcome;
    uint16_t got; /* one bit a device of the recipient */
};

struct swarm {
    const char *servers[16], *key, *site, *cluster, *ca, *prefix;
    uint32_t server_count, user_count, devices_each, device_count;
    struct user *users;
    struct device *devices;
    struct message *messages;
    uint32_t message_count, open;
    int epoll;
    uint64_t doubled, misrouted, altered, disordered, received;
    uint64_t refused_by[16];
    char refused_names[16][24];
    uint32_t refused_kinds;
    bool same_device;
    uint64_t filled_ms; /* a duel's messages, the last time */
};

struct body {
    uint32_t magic, number, from_device, class;
    uint64_t to;
    uint8_t padding[BODY_SIZE - 28];
    uint32_t check;
} __attribute__((packed));

static uint64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

static uint32_t check_of(const struct body *body)
{
    const uint8_t *at = (const uint8_t *)body;
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < offsetof(struct body, check); i++)
        sum = (sum ^ at[i]) * 16777619u;
    return sum;
}

static uint32_t cheap_random(uint32_t below)
{
    static uint64_t state;
    if (state == 0)
        state = rand_u64() | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 33) % below);
}

/* ---- callbacks of the library ---- */

static size_t make_token(void *ctx, char *out, size_t room)
{
    struct device *device = ctx;
    struct swarm *swarm = device->swarm;
    char token[MINT_TOKEN_SIZE], why[MINT_WHY_SIZE];
    size_t len;
    const struct mint_claims claims = {
        .site = swarm->site,
        .user = swarm->users[device->user].name,
        .cluster = swarm->cluster,
        .issued_at = (uint64_t)time(NULL),
        .lifetime_s = 600,
    };
    if (!mint_token(swarm->key, &claims, token, &len, why) || len > room) {
        fprintf(stderr, "swarm: %s\n", why);
        return 0;
    }
    memcpy(out, token, len);
    return len;
}

static void on_state(void *ctx, struct lahar *lahar, enum lahar_state state)
{
    struct device *device = ctx;
    if (state == LAHAR_ONLINE) {
        device->times_online++;
        device->swarm->users[device->user].gid = lahar_self(lahar);
    } else if (strcmp(lahar_why(lahar), "replaced") == 0) {
        device->replaced++;
    }
}

/* Order is judged between one sending and one receiving device and class, by the number of the
 * message: numbers grow. The table is direct-mapped; a pair that shares a place with another is
 * simply not compared. */
#define ORDER_PLACES (1u << 20)
static struct {
    uint32_t pair[2];
    uint32_t last;
} * order_table;

static void judge_order(struct swarm *swarm, uint32_t to_device, const struct body *body)
{
    uint64_t key = ((uint64_t)body->from_device << 34 | (uint64_t)to_device << 2 | body->class) *
                   0x9e3779b97f4a7c15u;
    uint32_t place = (uint32_t)(key >> 44);
    uint32_t low = to_device << 2 | body->class;
    if (order_table[place].pair[0] == body->from_device && order_table[place].pair[1] == low &&
        order_table[place].last >= body->number + 1)
        swarm->disordered++;
    order_table[place].pair[0] = body->from_device;
    order_table[place].pair[1] = low;
    order_table[place].last = body->number + 1;
}

static void on_message(void *ctx, struct lahar *lahar, const struct lahar_message *received)
{
    (void)lahar;
    struct device *device = ctx;
    struct swarm *swarm = device->swarm;
    struct body body;
    swarm->received++;
    if (received->body_size != sizeof body) {
        swarm->altered++;
        return;
    }
    memcpy(&body, received->body, sizeof body);
    if (body.check != check_of(&body) || body.number >= swarm->message_count) {
        swarm->altered++;
        return;
    }
    struct message *message = &swarm->messages[body.number];
    if (message->to_user != device->user || message->from_device != body.from_device ||
        received->from != swarm->users[swarm->devices[body.from_device].user].gid) {
        swarm->misrouted++;
        return;
    }
    uint16_t bit = (uint16_t)(1u << device->number);
    if (message->got & bit) {
        swarm->doubled++;
        return;
    }
    message->got |= bit;
    if (message->class != LAHAR_EPHEMERAL)
        judge_order(swarm, (uint32_t)(device - swarm->devices), &body);
}

static void on_outcome(void *ctx, struct lahar *lahar, const struct lahar_result_of_send *result)
{
    (void)lahar;
    struct device *device = ctx;
    struct swarm *swarm = device->swarm;
    uint32_t number;
    memcpy(&number, result->id, sizeof number);
    struct message *message = &swarm->messages[number];
    message->outcome = result->outcome == LAHAR_DELIVERED ? DELIVERED
                       : result->outcome == LAHAR_UNKNOWN ? UNKNOWN
                                                          : REFUSED;
    swarm->open--;
    if (message->outcome == DELIVERED)
        return;
    uint32_t kind = 0;
    while (kind < swarm->refused_kinds && strcmp(swarm->refused_names[kind], result->reason) != 0)
        kind++;
    if (kind == 16)
        return;
    if (kind == swarm->refused_kinds) {
        snprintf(swarm->refused_names[kind], sizeof swarm->refused_names[kind], "%s",
                 result->reason);
        swarm->refused_kinds++;
    }
    swarm->refused_by[kind]++;
}

/* ---- the loop ---- */

static void schedule(struct device *device)
{
    int wait_ms = lahar_timeout_ms(device->lahar);
    device->due_ms = wait_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)wait_ms;
}

static void process(struct device *device)
{
    (void)lahar_process(device->lahar);
    schedule(device);
}

/* One turn: what is ready, and now and then what is due. Returns true if a command waits on
 * standard input. */
static bool turn(struct swarm *swarm, int wait_ms)
{
    static uint64_t last_sweep_ms;
    struct epoll_event events[512];
    bool command = false;
    int n = epoll_wait(swarm->epoll, events, 512, wait_ms);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == UINT32_MAX)
            command = true;
        else
            process(&swarm->devices[events[i].data.u32]);
    }
    uint64_t now = now_ms();
    if (now - last_sweep_ms >= 20) {
        last_sweep_ms = now;
        for (uint32_t i = 0; i < swarm->device_count; i++)
            if (swarm->devices[i].due_ms <= now)
                process(&swarm->devices[i]);
    }
    return command;
}

static bool send_to(struct swarm *swarm, uint32_t to, enum lahar_class class)
{
    uint32_t from = cheap_random(swarm->device_count);
    struct device *device = &swarm->devices[from];
    if (device->user == to || swarm->users[to].gid == 0 || swarm->message_count == MESSAGES_MAX)
        return false;
    uint32_t number = swarm->message_count;
    struct body body = {
        .magic = 0x4c414841,
        .number = number,
        .from_device = from,
        .class = (uint32_t) class,
        .to = swarm->users[to].gid,
    };
    memset(body.padding, (int)(number & 0xff), sizeof body.padding);
    body.check = check_of(&body);
    uint8_t id[LAHAR_ID_SIZE] = {0};
    memcpy(id, &number, sizeof number);
    memcpy(id + 4, "swarm", 5);
    memcpy(id + 10, &from, 4);
    swarm->messages[number] = (struct message){
        .from_device = from,
        .to_user = to,
        .class = (uint8_t) class,
        .outcome = class == LAHAR_EPHEMERAL ? NONE_PROMISED : OPEN,
    };
    swarm->message_count++;
    if (lahar_send(device->lahar, body.to, class, &body, sizeof body, id) != LAHAR_OK) {
        swarm->message_count--;
        return false;
    }
    if (class != LAHAR_EPHEMERAL)
        swarm->open++;
    device->due_ms = 0;
    return true;
}

static bool send_one(struct swarm *swarm, enum lahar_class class)
{
    return send_to(swarm, cheap_random(swarm->user_count), class);
}

/* ---- commands ---- */

static uint32_t count_state(const struct swarm *swarm, enum lahar_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < swarm->device_count; i++)
        count += lahar_state(swarm->devices[i].lahar) == state;
    return count;
}

static void do_online(struct swarm *swarm, double seconds)
{
    uint64_t end = now_ms() + (uint64_t)(seconds * 1000);
    while (count_state(swarm, LAHAR_ONLINE) < swarm->device_count && now_ms() < end)
        turn(swarm, 20);
    printf("{\"online\":%u,\"of\":%u,\"away\":%u}\n", count_state(swarm, LAHAR_ONLINE),
           swarm->device_count, count_state(swarm, LAHAR_AWAY));
}

static void do_settle(struct swarm *swarm, double seconds)
{
    uint64_t end = now_ms() + (uint64_t)(seconds * 1000), quiet = now_ms();
    uint64_t received = swarm->received;
    while (now_ms() < end && (swarm->open > 0 || now_ms() - quiet < 500)) {
        turn(swarm, 20);
        if (swarm->received != received)
            quiet = now_ms();
        received = swarm->received;
    }
    printf("{\"open\":%u}\n", swarm->open);
}

static void do_messages(struct swarm *swarm, uint32_t count, enum lahar_class class,
                        uint32_t window)
{
    uint64_t begun = now_ms();
    uint32_t sent = 0;
    uint64_t before = swarm->received;
    while (sent < count && now_ms() - begun < 600000) {
        for (uint32_t i = 0; i < 64 && sent < count; i++) {
            uint64_t waiting =
                class == LAHAR_EPHEMERAL
                    ? (sent > swarm->received - before ? sent - (swarm->received - before) : 0)
                    : swarm->open;
            if (waiting >= window)
                break;
            sent += send_one(swarm, class);
        }
        turn(swarm, sent < count && swarm->open < window ? 0 : 5);
    }
    printf("{\"sent\":%u,\"ms\":%llu}\n", sent, (unsigned long long)(now_ms() - begun));
}

static void do_flow(struct swarm *swarm, double rate, double seconds, enum lahar_class class)
{
    uint64_t begun = now_ms(), end = begun + (uint64_t)(seconds * 1000);
    uint32_t sent = 0;
    while (now_ms() < end) {
        double due = (double)(now_ms() - begun) * rate / 1000;
        for (uint32_t tries = 0; sent < due && tries < 1000; tries++)
            sent += send_one(swarm, class);
        turn(swarm, 2);
    }
    printf("{\"sent\":%u}\n", sent);
}

/* Others write to the user whose devices fight: at any moment some messages are on their way. */
static void turn_amid_messages(struct swarm *swarm)
{
    if (now_ms() - swarm->filled_ms >= 4) {
        swarm->filled_ms = now_ms();
        for (uint32_t tries = 0; swarm->open < 16 && tries < 64; tries++)
            (void)send_to(swarm, 0, LAHAR_CONFIRMED);
    }
    turn(swarm, 1);
}

/* Waits until exactly one device of user 0 is online and the others stay away. */
static bool one_survives(struct swarm *swarm, uint32_t devices)
{
    uint64_t end = now_ms() + 2000;
    while (now_ms() < end) {
        uint32_t online = 0, away = 0;
        for (uint32_t i = 0; i < devices; i++) {
            online += lahar_state(swarm->devices[i].lahar) == LAHAR_ONLINE;
            away += lahar_state(swarm->devices[i].lahar) == LAHAR_AWAY;
        }
        if (online == 1 && away == devices - 1)
            return true;
        turn_amid_messages(swarm);
    }
    return false;
}

static void do_duel(struct swarm *swarm, uint32_t rounds)
{
    uint32_t late = 0, devices = swarm->users[0].devices;
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < devices; i++) {
            uint64_t until = now_ms() + (i == 0 ? 0 : cheap_random(51));
            while (now_ms() < until)
                turn_amid_messages(swarm);
            lahar_reconnect(swarm->devices[i].lahar);
            process(&swarm->devices[i]);
        }
        if (one_survives(swarm, devices))
            continue;
        late++;
        for (uint32_t i = 0; i < devices; i++)
            fprintf(stderr, "round %u: device %u: state %d, %s\n", round, i,
                    (int)lahar_state(swarm->devices[i].lahar), lahar_why(swarm->devices[i].lahar));
    }
    printf("{\"rounds\":%u,\"late\":%u}\n", rounds, late);
}

static void print_verdict(const struct swarm *swarm)
{
    uint64_t by_outcome[5] = {0}, lost = 0, false_nack = 0, ephemeral_lost = 0;
    for (uint32_t i = 0; i < swarm->message_count; i++) {
        const struct message *message = &swarm->messages[i];
        by_outcome[message->outcome]++;
        lost += message->outcome == DELIVERED && !message->got;
        false_nack += message->outcome == REFUSED && message->got;
        ephemeral_lost += message->outcome == NONE_PROMISED && !message->got;
    }
    uint64_t logins = 0, replaced = 0;
    for (uint32_t i = 0; i < swarm->device_count; i++) {
        logins += swarm->devices[i].times_online;
        replaced += swarm->devices[i].replaced;
    }
    printf("{\"sent\":%u,\"delivered\":%llu,\"refused\":%llu,\"unknown\":%llu,\"open\":%llu,"
           "\"ephemeral\":%llu,"
           "\"received\":%llu,\"lost\":%llu,\"false_nack\":%llu,\"ephemeral_lost\":%llu,"
           "\"doubled\":%llu,"
           "\"misrouted\":%llu,\"altered\":%llu,\"disordered\":%llu,\"logins\":%llu,\"replaced\":%"
           "llu,\"reasons\":{",
           swarm->message_count, (unsigned long long)by_outcome[DELIVERED],
           (unsigned long long)by_outcome[REFUSED], (unsigned long long)by_outcome[UNKNOWN],
           (unsigned long long)by_outcome[OPEN], (unsigned long long)by_outcome[NONE_PROMISED],
           (unsigned long long)swarm->received, (unsigned long long)lost,
           (unsigned long long)false_nack, (unsigned long long)ephemeral_lost,
           (unsigned long long)swarm->doubled, (unsigned long long)swarm->misrouted,
           (unsigned long long)swarm->altered, (unsigned long long)swarm->disordered,
           (unsigned long long)logins, (unsigned long long)replaced);
    for (uint32_t i = 0; i < swarm->refused_kinds; i++)
        printf("%s\"%s\":%llu", i ? "," : "", swarm->refused_names[i],
               (unsigned long long)swarm->refused_by[i]);
    printf("}}\n");
}

static void print_gids(const struct swarm *swarm)
{
    char text[LAHAR_GID_TEXT_SIZE];
    printf("{\"gids\":[");
    for (uint32_t i = 0; i < swarm->user_count; i++)
        printf("%s\"%s\"", i ? "," : "", lahar_gid_format(swarm->users[i].gid, text));
    printf("]}\n");
}

static enum lahar_class class_of(const char *name)
{
    return *name == 'e' ? LAHAR_EPHEMERAL : *name == 's' ? LAHAR_STORED : LAHAR_CONFIRMED;
}

/* Returns false when it is time to go. */
static bool command(struct swarm *swarm, const char *line)
{
    uint32_t count, window;
    double rate, seconds;
    char class[16];
    if (sscanf(line, "online %lf", &seconds) == 1)
        do_online(swarm, seconds);
    else if (sscanf(line, "settle %lf", &seconds) == 1)
        do_settle(swarm, seconds);
    else if (sscanf(line, "messages %u %15s %u", &count, class, &window) == 3)
        do_messages(swarm, count, class_of(class), window);
    else if (sscanf(line, "flow %lf %lf %15s", &rate, &seconds, class) == 3)
        do_flow(swarm, rate, seconds, class_of(class));
    else if (strcmp(line, "verdict") == 0)
        print_verdict(swarm);
    else if (strcmp(line, "gids") == 0)
        print_gids(swarm);
    else if (sscanf(line, "duel %u", &count) == 1)
        do_duel(swarm, count);
    else if (strcmp(line, "quit") == 0)
        return false;
    else
        printf("{\"error\":\"what?\"}\n");
    fflush(stdout);
    return true;
}

static void serve(struct swarm *swarm)
{
    static char input[4096];
    size_t len = 0;
    for (;;) {
        if (!turn(swarm, 10))
            continue;
        ssize_t got = read(STDIN_FILENO, input + len, sizeof input - 1 - len);
        if (got == 0)
            return;
        if (got < 0)
            continue;
        len += (size_t)got;
        char *end;
        while ((end = memchr(input, '\n', len))) {
            *end = 0;
            if (!command(swarm, input))
                return;
            len -= (size_t)(end + 1 - input);
            memmove(input, end + 1, len);
        }
    }
}

/* ---- start ---- */

static void add_device(struct swarm *swarm, uint32_t user, uint32_t number)
{
    uint32_t index = swarm->device_count++;
    struct device *device = &swarm->devices[index];
    char name[16];
    *device = (struct device){.swarm = swarm, .user = user, .number = number};
    snprintf(name, sizeof name, "d%u", swarm->same_device && user == 0 ? 0 : number);
    const char *why = "";
    device->lahar =
        lahar_new(&(struct lahar_options){.servers = swarm->servers[index % swarm->server_count],
                                          .device = name,
                                          .client = "swarm",
                                          .ca_file = swarm->ca,
                                          .token = make_token,
                                          .on_state = on_state,
                                          .on_message = on_message,
                                          .on_outcome = on_outcome,
                                          .context = device},
                  &why);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    if (!device->lahar ||
        epoll_ctl(swarm->epoll, EPOLL_CTL_ADD, lahar_fd(device->lahar), &event) != 0) {
        fprintf(stderr, "swarm: device %u: %s %s\n", index, why, strerror(errno));
        exit(1);
    }
    schedule(device);
}

static void populate(struct swarm *swarm)
{
    swarm->users = calloc(swarm->user_count, sizeof *swarm->users);
    swarm->devices =
        calloc((size_t)swarm->user_count * swarm->devices_each, sizeof *swarm->devices);
    swarm->messages = calloc(MESSAGES_MAX, sizeof *swarm->messages);
    order_table = calloc(ORDER_PLACES, sizeof *order_table);
    swarm->epoll = epoll_create1(EPOLL_CLOEXEC);
    assert(swarm->users && swarm->devices && swarm->messages && order_table && swarm->epoll >= 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    epoll_ctl(swarm->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (uint32_t u = 0; u < swarm->user_count; u++) {
        struct user *user = &swarm->users[u];
        snprintf(user->name, sizeof user->name, "%s%u", swarm->prefix, u);
        user->devices = u % 5 == 0 ? swarm->devices_each : 1;
        user->first_device = swarm->device_count;
        for (uint32_t d = 0; d < user->devices; d++)
            add_device(swarm, u, d);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"servers", required_argument, NULL, 's'}, {"key", required_argument, NULL, 'k'},
        {"site", required_argument, NULL, 'i'},    {"cluster", required_argument, NULL, 'c'},
        {"ca", required_argument, NULL, 'a'},      {"users", required_argument, NULL, 'u'},
        {"devices", required_argument, NULL, 'd'}, {"prefix", required_argument, NULL, 'p'},
        {"same-device", no_argument, NULL, 'S'},   {NULL, 0, NULL, 0},
    };
    static struct swarm swarm = {.devices_each = 1, .user_count = 1, .prefix = "user"};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            for (char *list = strtok(optarg, ";"); list && swarm.server_count < 16;
                 list = strtok(NULL, ";"))
                swarm.servers[swarm.server_count++] = list;
            break;
        case 'S':
            swarm.same_device = true;
            break;
        case 'k':
            swarm.key = optarg;
            break;
        case 'i':
            swarm.site = optarg;
            break;
        case 'c':
            swarm.cluster = optarg;
            break;
        case 'a':
            swarm.ca = optarg;
            break;
        case 'u':
            swarm.user_count = (uint32_t)atoi(optarg);
            break;
        case 'd':
            swarm.devices_each = (uint32_t)atoi(optarg);
            break;
        case 'p':
            swarm.prefix = optarg;
            break;
        default:
            return 1;
        }
    }
    if (!swarm.server_count || !swarm.key || !swarm.site || !swarm.cluster)
        return 1;
    populate(&swarm);
    serve(&swarm);
    for (uint32_t i = 0; i < swarm.device_count; i++)
        lahar_free(swarm.devices[i].lahar);
    return 0;
}
