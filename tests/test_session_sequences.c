/* session_sequences: what is allowed one by one and not in this order. A table: the steps, and how
 * it ends. The steps are letters:
 *
 *     h  a good Hello           r  its shard resolves        b  and binds            L  all three
 *     s  a CONFIRMED send       e  an EPHEMERAL one          p  Ping                 y  Bye
 *     d  the next delivery      g  one that leaves a gap     a  Received of all that came
 *     A  Received of one more than came     Z  Received of the highest number    0  Received of 0
 *     D  the same delivery again            G  one of an epoch that is over
 *     o  a second Bound of the same         x  a Bound for another GID     w  one of another device
 *     n  NO_USER   m  BUSY on the look-up   M  BUSY on the bind   T  TOO_MANY_DEVICES
 *     u  the owner unbinds: REPLACED        k  KICKED             U  of a reason that nobody knows
 *     1 to 8  a frame that only a server says, in the order of ServerFrame
 *     t  a second passes        i  the time of two heartbeats     l  the time a Hello may take
 *     v  version 2   c  a client's name too long   f  a device's name with a space   F  without
 *     q  no token    Q  a token over the limit     R  an empty ticket   B  a ticket of rubbish
 *     X  the token is refused   E  it has expired
 *     I  a good ticket   J  another device's   P  a forged one   W  one that is over   9  half of
 * one Y  a ticket and a token besides          -  of a key that nobody has             !  TOO_OLD
 *     j  no protobuf  z  a frame of length 0       O  a head over the limit   K  one of 5 KiB
 *     N  a frame of a later version                S  a send without cmid     C  one with a short
 * one H  the shards of the cluster go away         V  this edge leaves
 */
#define RIG_CONNS 64u
#include "tests/session_expect.h"

#define TOO_LONG "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct sequence {
    const char *steps;
    enum end_reason end; /* END_NONE: it goes on */
} sequences[] = {
    /* before Hello */
    {"s", END_BAD_SEQUENCE},
    {"e", END_BAD_SEQUENCE},
    {"p", END_BAD_SEQUENCE},
    {"a", END_BAD_SEQUENCE},
    {"A", END_BAD_SEQUENCE},
    {"0", END_BAD_SEQUENCE},
    {"y", END_BYE},
    {"j", END_BAD_FRAME},
    {"z", END_BAD_FRAME},
    {"O", END_BAD_FRAME},
    {"K", END_BAD_FRAME},
    {"N", END_NONE},
    {"NNNs", END_BAD_SEQUENCE},
    {"l", END_HELLO_TIMEOUT},
    {"Nl", END_HELLO_TIMEOUT},
    {"V", END_EDGE_LEAVING},
    {"Hh", END_BUSY},
    /* Hello that is not good */
    {"v", END_BAD_VERSION},
    {"c", END_BAD_FRAME},
    {"f", END_BAD_DEVICE},
    {"F", END_BAD_DEVICE},
    {"q", END_TOKEN_REQUIRED},
    {"Q", END_TOKEN_REFUSED},
    {"R", END_TOKEN_REQUIRED},
    {"B", END_TOKEN_REQUIRED},
    {"X", END_TOKEN_REFUSED},
    {"E", END_TOKEN_EXPIRED},
    /* tickets */
    {"I", END_NONE},
    {"Ib", END_NONE},
    {"IbA", END_BAD_SEQUENCE},
    {"J", END_TOKEN_REQUIRED},
    {"P", END_TOKEN_REQUIRED},
    {"W", END_TOKEN_REQUIRED},
    {"9", END_TOKEN_REQUIRED},
    {"-", END_TOKEN_REQUIRED},
    {"Y", END_BAD_FRAME},
    {"I!", END_TOKEN_REQUIRED},
    {"IM", END_BUSY},
    {"IT", END_TOO_MANY_DEVICES},
    {"Ix", END_BUSY},
    {"Ir", END_NONE}, /* nobody asked who it is */
    {"II", END_BAD_SEQUENCE},
    {"Ih", END_BAD_SEQUENCE},
    {"IJ", END_BAD_SEQUENCE},
    {"Is", END_BAD_SEQUENCE},
    {"Itttt", END_BUSY},
    {"HI", END_BUSY},
    {"LI", END_BAD_SEQUENCE},
    /* during the login */
    {"hh", END_BAD_SEQUENCE},
    {"hs", END_BAD_SEQUENCE},
    {"he", END_BAD_SEQUENCE},
    {"hp", END_BAD_SEQUENCE},
    {"ha", END_BAD_SEQUENCE},
    {"hy", END_BYE},
    {"hj", END_BAD_FRAME},
    {"hK", END_BAD_FRAME},
    {"hn", END_TOKEN_REFUSED},
    {"hm", END_BUSY},
    {"hrh", END_BAD_SEQUENCE},
    {"hrs", END_BAD_SEQUENCE},
    {"hry", END_BYE},
    {"hrK", END_BAD_FRAME},
    {"hrM", END_BUSY},
    {"hrT", END_TOO_MANY_DEVICES},
    {"hrx", END_BUSY},
    {"hrw", END_BUSY},
    {"hb", END_NONE}, /* a Bound that nobody asked for is sent back */
    {"hrtttt", END_BUSY},
    {"htttt", END_BUSY},
    {"hV", END_EDGE_LEAVING},
    {"hrV", END_EDGE_LEAVING},
    /* bound */
    {"L", END_NONE},
    {"Lh", END_BAD_SEQUENCE},
    {"LsSh", END_BAD_FRAME},
    {"Lsh", END_BAD_SEQUENCE},
    {"Lv", END_BAD_SEQUENCE},
    {"LR", END_BAD_SEQUENCE},
    {"LB", END_BAD_SEQUENCE},
    {"LA", END_BAD_SEQUENCE},
    {"LZ", END_BAD_SEQUENCE},
    {"L0", END_NONE},
    {"Ld0", END_NONE},
    {"Lda", END_NONE},
    {"LdaA", END_BAD_SEQUENCE},
    {"LdA", END_BAD_SEQUENCE},
    {"LgA", END_BAD_SEQUENCE}, /* what was not let through cannot be acknowledged */
    {"Ldda0a", END_NONE},      /* older ones are ignored */
    {"LdDDa", END_NONE},
    {"LGA", END_BAD_SEQUENCE},
    {"LS", END_BAD_FRAME},
    {"LC", END_BAD_FRAME},
    {"Lss", END_NONE},
    {"Lj", END_BAD_FRAME},
    {"Lz", END_BAD_FRAME},
    {"LO", END_BAD_FRAME},
    {"LK", END_NONE}, /* within 64 KiB: it may still come */
    {"LN", END_NONE},
    {"LspNdap", END_NONE},
    {"Ly", END_BYE},
    {"Lsy", END_BYE},
    {"Lyh", END_BYE},
    {"LyA", END_BYE},
    {"LAy", END_BAD_SEQUENCE}, /* the first reason stays */
    {"Lo", END_NONE},
    {"Lu", END_REPLACED},
    {"Luh", END_REPLACED},
    {"Lk", END_KICKED},
    {"LU", END_NO_SESSION},
    {"LdU", END_NO_SESSION},
    {"Li", END_IDLE},
    {"Lsi", END_IDLE},
    {"Ldi", END_IDLE},
    /* what only a server says: a client's frame of that number is meant */
    {"L1", END_BAD_SEQUENCE}, /* Welcome: Hello */
    {"L2", END_BAD_FRAME},    /* SendAck: Send */
    {"L3", END_BAD_FRAME},    /* SendNack: Received */
    {"L4", END_NONE},         /* Deliver: Ping, its dseq the nonce */
    {"L5", END_BYE},          /* Resumed: Bye */
    {"L6", END_NONE},         /* Pong, Goaway, Error: none, ignored and counted */
    {"L7", END_NONE},
    {"L8", END_NONE},
    {"1", END_BAD_DEVICE},
    {"2", END_BAD_SEQUENCE},
    {"4", END_BAD_SEQUENCE},
    {"6", END_NONE},
    {"h8", END_NONE},
    {"h1", END_BAD_SEQUENCE},
};
#define SEQUENCES (sizeof sequences / sizeof sequences[0])

/* One edge, the client that plays (place 0), and one who must see nothing of it (place 1). */
struct play {
    struct rig *rig;
    struct conn_id id, bystander;
    uint64_t dseq;
    uint32_t sends;
};

static void say_raw(struct play *play, const void *bytes, size_t len)
{
    (void)session_bytes(play->rig->table, play->id, span_of(bytes, len));
}

static void hello(struct play *play, uint32_t version, const char *client, const char *device,
                  struct span token, const struct span *ticket)
{
    Lahar__V1__Hello hello = LAHAR__V1__HELLO__INIT;
    Lahar__V1__Resume resume = LAHAR__V1__RESUME__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    hello.proto = version;
    hello.client = unpack_data(span_text(client));
    hello.device = unpack_data(span_text(device));
    hello.token = unpack_data(token);
    if (ticket != NULL) {
        resume.ticket = unpack_data(*ticket);
        hello.resume = &resume;
    }
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_HELLO;
    frame.hello = &hello;
    rig_say(play->rig, play->id, &frame);
}

static void say_send(struct play *play, const char *cmid, Lahar__V1__Class class)
{
    Lahar__V1__Send send = LAHAR__V1__SEND__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    send.to = RIG_GID + 1;
    send.cmid = unpack_data(span_text(cmid));
    send.class_ = class;
    send.seq = ++play->sends;
    frame.frame_case = LAHAR__V1__CLIENT_FRAME__FRAME_SEND;
    frame.send = &send;
    rig_say(play->rig, play->id, &frame);
}

static void empty_frame(struct play *play, Lahar__V1__ClientFrame__FrameCase which)
{
    Lahar__V1__Ping ping = LAHAR__V1__PING__INIT;
    Lahar__V1__Bye bye = LAHAR__V1__BYE__INIT;
    Lahar__V1__ClientFrame frame = LAHAR__V1__CLIENT_FRAME__INIT;
    frame.frame_case = which;
    if (which == LAHAR__V1__CLIENT_FRAME__FRAME_PING)
        frame.ping = &ping;
    else
        frame.bye = &bye;
    rig_say(play->rig, play->id, &frame);
}

static void unbind(struct play *play, uint32_t reason)
{
    Lahar__Link__V1__Unbind unbind = LAHAR__LINK__V1__UNBIND__INIT;
    unbind.gid = RIG_GID;
    unbind.device = gid_device_hash(span_text("phone"));
    unbind.session = rig_session(1, 1);
    unbind.reason = reason;
    RIG_ANSWER(play->rig, rig_owner(RIG_GID), unbind, UNBIND, &unbind);
}

static void server_frame(struct play *play, char which)
{
    static uint8_t id[] = "0123456789abcdef";
    ProtobufCBinaryData data = {16, id};
    Lahar__V1__ServerFrame frame = LAHAR__V1__SERVER_FRAME__INIT;
    Lahar__V1__Welcome welcome = LAHAR__V1__WELCOME__INIT;
    Lahar__V1__SendAck ack = LAHAR__V1__SEND_ACK__INIT;
    Lahar__V1__SendNack nack = LAHAR__V1__SEND_NACK__INIT;
    Lahar__V1__Deliver deliver = LAHAR__V1__DELIVER__INIT;
    Lahar__V1__Resumed resumed = LAHAR__V1__RESUMED__INIT;
    Lahar__V1__Pong pong = LAHAR__V1__PONG__INIT;
    Lahar__V1__Goaway goaway = LAHAR__V1__GOAWAY__INIT;
    Lahar__V1__Error error = LAHAR__V1__ERROR__INIT;
    void *const contents[] = {&welcome, &ack, &nack, &deliver, &resumed, &pong, &goaway, &error};
    welcome.proto = 1;
    ack.cmid = ack.mid = data;
    ack.level = LAHAR__V1__LEVEL__LEVEL_DELIVERED;
    nack.cmid = data;
    nack.reason = 1;
    deliver.dseq = 1;
    deliver.mid = data;
    deliver.body = data;
    /* As wire types have it: where Send has a fixed64 these have bytes, and so on. */
    frame.frame_case = (Lahar__V1__ServerFrame__FrameCase)(which - '0');
    frame.welcome = contents[which - '1'];
    struct rig_frames out = {0};
    rig_delimit(&out, &frame.base);
    say_raw(play, out.bytes, out.end);
    free(out.bytes);
}

static void links(struct play *play, bool up)
{
    for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
        if (play->rig->table->uplinks[shard].up != up)
            session_link_down(play->rig->table, shard);
}

static void shard_step(struct play *play, char step)
{
    struct rig *rig = play->rig;
    uint64_t bound = rig_session(1, 1);
    switch (step) {
    case 'r':
        rig_resolved(rig, play->id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
        break;
    case 'n':
        rig_resolved(rig, play->id, LAHAR__LINK__V1__RESOLVED__STATUS__NO_USER, 0);
        break;
    case 'm':
        rig_resolved(rig, play->id, LAHAR__LINK__V1__RESOLVED__STATUS__BUSY, 0);
        break;
    case 'b':
    case 'o':
        rig_bound(rig, play->id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone", bound);
        break;
    case '!':
        rig_bound(rig, play->id, LAHAR__LINK__V1__BOUND__STATUS__TOO_OLD, RIG_GID, "phone", 0);
        break;
    case 'M':
        rig_bound(rig, play->id, LAHAR__LINK__V1__BOUND__STATUS__BUSY, RIG_GID, "phone", 0);
        break;
    case 'T':
        rig_bound(rig, play->id, LAHAR__LINK__V1__BOUND__STATUS__TOO_MANY_DEVICES, RIG_GID, "phone",
                  0);
        break;
    case 'x':
        rig_bound(rig, play->id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID + 5, "phone", bound);
        break;
    case 'w':
        rig_bound(rig, play->id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "desk", bound);
        break;
    case 'd':
        rig_deliver(rig, RIG_GID, bound, 1, ++play->dseq, false);
        break;
    case 'D':
        rig_deliver(rig, RIG_GID, bound, 1, play->dseq, false);
        break;
    case 'g':
        rig_deliver(rig, RIG_GID, bound, 1, play->dseq + 2, false);
        break;
    case 'G':
        rig_deliver(rig, RIG_GID, bound, 9, play->dseq + 1, false);
        break;
    case 'u':
        unbind(play, END_REPLACED);
        break;
    case 'k':
        unbind(play, END_KICKED);
        break;
    case 'U':
        unbind(play, 9999);
        break;
    default:
        fail_msg("no such step: %c", step);
    }
}

static void hello_step(struct play *play, char step)
{
    static uint8_t big[TOKEN_SIZE_MAX + 1];
    struct span token = span_text("a.b.c"), none = {0}, rubbish = span_text(TOO_LONG);
    switch (step) {
    case 'v':
        hello(play, 2, "test", "phone", token, NULL);
        break;
    case 'c':
        hello(play, 1, TOO_LONG, "phone", token, NULL);
        break;
    case 'f':
        hello(play, 1, "test", "my phone", token, NULL);
        break;
    case 'F':
        hello(play, 1, "test", "", token, NULL);
        break;
    case 'q':
        hello(play, 1, "test", "phone", none, NULL);
        break;
    case 'Q':
        hello(play, 1, "test", "phone", span_of(big, sizeof big), NULL);
        break;
    case 'R':
        hello(play, 1, "test", "phone", none, &none);
        break;
    case 'B':
        hello(play, 1, "test", "phone", none, &rubbish);
        break;
    default:
        play->rig->verdict = step == 'X'   ? TOKEN_BAD_SIGNATURE
                             : step == 'E' ? TOKEN_EXPIRED
                                           : TOKEN_OK;
        hello(play, 1, "test", "phone", token, NULL);
        play->rig->verdict = TOKEN_OK;
    }
}

static void ticket_step(struct play *play, char step)
{
    static uint8_t id[] = "game", kid[] = "k", key[32] = {1};
    struct session_table *table = play->rig->table;
    Lahar__Link__V1__SiteKey site_key = LAHAR__LINK__V1__SITE_KEY__INIT, *keys[] = {&site_key};
    Lahar__Link__V1__Site site = LAHAR__LINK__V1__SITE__INIT;
    site_key.kid = unpack_data(span_of(kid, 1));
    site_key.ed25519 = unpack_data(span_of(key, sizeof key));
    site.id = unpack_data(span_of(id, 4));
    site.revision = 1;
    site.n_keys = 1;
    site.keys = keys;
    assert_true(sites_put(table->sites, &site));

    uint32_t now_s = (uint32_t)(play->rig->now_ms / 1000);
    struct ticket ticket = {.gid = RIG_GID,
                            .device = gid_device_hash(span_text(step == 'J' ? "desk" : "phone")),
                            .session = rig_session(1, 1),
                            .issued_at = now_s - 100,
                            .expires_at = step == 'W' ? now_s - 1 : now_s + 1000,
                            .site_len = 4};
    memcpy(ticket.site, "game", 4);
    struct ticket_keys sealing = table->ticket_keys;
    sealing.keys[0].id += step == '-';
    uint8_t sealed[TICKET_SIZE_MAX];
    size_t len = ticket_seal(&sealing, &ticket, now_s, sealed);
    assert_true(len > 0);
    sealed[len - 1] ^= step == 'P';
    struct span shown = span_of(sealed, step == '9' ? len / 2 : len), none = {0};
    hello(play, 1, "test", "phone", step == 'Y' ? span_text("a.b.c") : none, &shown);
}

static void client_step(struct play *play, char step)
{
    static const uint8_t no_protobuf[] = {3, 0x0b, 0xff, 0xff}, nothing[] = {0},
                         over[] = {0x81, 0x80, 0x04}, five_kib[] = {0x80, 0x28},
                         later[] = {4, 0xfa, 0x3f, 1, 'x'};
    switch (step) {
    case 's':
        say_send(play, "0123456789abcdef", LAHAR__V1__CLASS__CONFIRMED);
        break;
    case 'e':
        say_send(play, "", LAHAR__V1__CLASS__EPHEMERAL);
        break;
    case 'S':
        say_send(play, "", LAHAR__V1__CLASS__CONFIRMED);
        break;
    case 'C':
        say_send(play, "0123456789abcde", LAHAR__V1__CLASS__CONFIRMED);
        break;
    case 'p':
        empty_frame(play, LAHAR__V1__CLIENT_FRAME__FRAME_PING);
        break;
    case 'y':
        empty_frame(play, LAHAR__V1__CLIENT_FRAME__FRAME_BYE);
        break;
    case 'a':
        rig_received(play->rig, play->id, play->dseq);
        break;
    case 'A':
        rig_received(play->rig, play->id, play->dseq + 1);
        break;
    case 'Z':
        rig_received(play->rig, play->id, UINT64_MAX);
        break;
    case '0':
        rig_received(play->rig, play->id, 0);
        break;
    case 'j':
        say_raw(play, no_protobuf, sizeof no_protobuf);
        break;
    case 'z':
        say_raw(play, nothing, sizeof nothing);
        break;
    case 'O':
        say_raw(play, over, sizeof over);
        break;
    case 'K':
        say_raw(play, five_kib, sizeof five_kib);
        break;
    default:
        say_raw(play, later, sizeof later);
    }
}

/* The one who must see nothing stays awake. */
static void pass(struct play *play, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 1000) {
        rig_pass(play->rig, 1000);
        if (play->rig->closed[play->bystander.slot] == END_NONE)
            rig_received(play->rig, play->bystander, 0);
    }
}

static void step(struct play *play, char step)
{
    if (step >= '1' && step <= '8') {
        server_frame(play, step);
    } else if (step == 'L') {
        hello_step(play, 'h');
        shard_step(play, 'r');
        shard_step(play, 'b');
    } else if (step == 't') {
        pass(play, 1000);
    } else if (step == 'i') {
        pass(play, 2 * 30000 + 6000);
    } else if (step == 'l') {
        pass(play, 11000);
    } else if (step == 'H') {
        links(play, false);
    } else if (step == 'V') {
        session_leave(play->rig->table);
    } else if (strchr("hvcfFqQRBXE", step) != NULL) {
        hello_step(play, step);
    } else if (strchr("IJPW9Y-", step) != NULL) {
        ticket_step(play, step);
    } else if (strchr("seSCpyaAZ0jzOKN", step) != NULL) {
        client_step(play, step);
    } else {
        shard_step(play, step);
    }
}

static void each_sequence_ends_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SEQUENCES; i++) {
        struct play play = {.rig = rig_new(NULL)};
        struct rig *rig = play.rig;
        rig->table->ticket_keys = (struct ticket_keys){1, 1, {{.id = 5, .secret = {7}}}};
        rig_cluster(rig, 1);
        play.bystander = rig_login(rig, 1, RIG_GID + 1, rig_session(1, 100));
        play.id = rig_open(rig, 0);
        for (const char *at = sequences[i].steps; *at != '\0'; at++) {
            step(&play, *at);
            if (!rig_ledgers_hold(rig))
                fail_msg("%s: the ledgers do not hold after %c", sequences[i].steps, *at);
        }
        if (rig->closed[0] != sequences[i].end)
            fail_msg("%s: ended as %s, not as %s", sequences[i].steps,
                     rig->closed[0] == END_NONE ? "none" : reasons_end_label(rig->closed[0]),
                     sequences[i].end == END_NONE ? "none" : reasons_end_label(sequences[i].end));
        rig_close(rig, play.id);
        bool left = strchr(sequences[i].steps, 'V') != NULL;
        assert_int_equal(session_count(rig->table), 1);
        assert_int_equal(rig->table->opened, 1);
        assert_int_equal(rig->table->sendings.in_use, 0);
        assert_int_equal(rig->closed[1], END_NONE);
        assert_true(left || rig->to_client[1].begin == rig->to_client[1].end);
        assert_true(rig_ledgers_hold(rig));
        rig_free(rig);
    }
}

static void there_are_60_illegal_ones_and_more(void **state)
{
    (void)state;
    size_t illegal = 0;
    for (size_t i = 0; i < SEQUENCES; i++)
        illegal += sequences[i].end != END_NONE && sequences[i].end != END_BYE;
    assert_true(illegal >= 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sequence_ends_as_the_table_says),
        cmocka_unit_test(there_are_60_illegal_ones_and_more),
    };
    return cmocka_run_group_tests_name("session_sequences", tests, NULL, NULL);
}
