/* session_hostile: every frame of either protocol, as it should be and spoilt in every way of
 * valid_messages.h, from a client and from a shard. Each ends as an oracle made of protobuf-c says;
 * another session of the same edge sees nothing of it; and afterwards memory, places and ledgers
 * are where they were. */
#define RIG_CONNS 64u
#include "tests/session_expect.h"
#include "tests/valid_messages.h"

#include <malloc.h>

#define BYSTANDER 1u
#define HOSTILE 0u

static struct valid_messages client_frames, server_frames, link_frames;

static int set_up(void **state)
{
    (void)state;
    client_frames = valid_messages_of(&lahar__v1__client_frame__descriptor);
    server_frames = valid_messages_of(&lahar__v1__server_frame__descriptor);
    link_frames = valid_messages_of(&lahar__link__v1__link_frame__descriptor);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    valid_messages_free(&client_frames);
    valid_messages_free(&server_frames);
    valid_messages_free(&link_frames);
    return 0;
}

/* ---- the oracle ---- */

#define UNPACK(type, content) lahar__v1__##type##__unpack(NULL, (content).len, (content).at)

static enum end_reason send_ends(struct span content)
{
    Lahar__V1__Send *send = UNPACK(send, content);
    bool good =
        send != NULL && (send->cmid.len == 16 ||
                         (send->cmid.len == 0 && send->class_ == LAHAR__V1__CLASS__EPHEMERAL));
    if (send != NULL)
        lahar__v1__send__free_unpacked(send, NULL);
    return good ? END_NONE : END_BAD_FRAME;
}

/* Nothing was delivered, so nothing can be acknowledged but 0. */
static enum end_reason received_ends(struct span content)
{
    Lahar__V1__Received *received = UNPACK(received, content);
    enum end_reason reason = received == NULL      ? END_BAD_FRAME
                             : received->dseq == 0 ? END_NONE
                                                   : END_BAD_SEQUENCE;
    if (received != NULL)
        lahar__v1__received__free_unpacked(received, NULL);
    return reason;
}

static enum end_reason ping_ends(struct span content)
{
    Lahar__V1__Ping *ping = UNPACK(ping, content);
    if (ping == NULL)
        return END_BAD_FRAME;
    lahar__v1__ping__free_unpacked(ping, NULL);
    return END_NONE;
}

static enum end_reason hello_ends(struct span content)
{
    Lahar__V1__Hello *hello = UNPACK(hello, content);
    if (hello == NULL)
        return END_BAD_FRAME;
    enum end_reason reason = hello->proto != 1                               ? END_BAD_VERSION
                             : hello->client.len > 64                        ? END_BAD_FRAME
                             : !gid_device_valid(unpack_span(hello->device)) ? END_BAD_DEVICE
                             : hello->resume != NULL
                                 ? hello->token.len > 0 ? END_BAD_FRAME : END_TOKEN_REQUIRED
                             : hello->token.len == 0             ? END_TOKEN_REQUIRED
                             : hello->token.len > TOKEN_SIZE_MAX ? END_TOKEN_REFUSED
                                                                 : END_NONE;
    lahar__v1__hello__free_unpacked(hello, NULL);
    return reason;
}

static enum end_reason expected(struct span body, bool bound)
{
    uint32_t number;
    struct span content;
    if (body.len == 0 || body.len > (bound ? FRAME_BODY_SIZE_MAX : FRAME_HELLO_SIZE_MAX) ||
        !frame_open(body, &number, &content, NULL))
        return END_BAD_FRAME;
    switch (number) {
    case LAHAR__V1__CLIENT_FRAME__FRAME_HELLO:
        return bound ? END_BAD_SEQUENCE : hello_ends(content);
    case LAHAR__V1__CLIENT_FRAME__FRAME_SEND:
        return bound ? send_ends(content) : END_BAD_SEQUENCE;
    case LAHAR__V1__CLIENT_FRAME__FRAME_RECEIVED:
        return bound ? received_ends(content) : END_BAD_SEQUENCE;
    case LAHAR__V1__CLIENT_FRAME__FRAME_PING:
        return bound ? ping_ends(content) : END_BAD_SEQUENCE;
    case LAHAR__V1__CLIENT_FRAME__FRAME_BYE:
        return END_BYE;
    default:
        return END_NONE; /* of a later version, or none at all: ignored */
    }
}

/* ---- the edge and its two clients ---- */

struct edge {
    struct rig *rig;
    struct conn_id bystander;
    uint32_t numbers;
    uint64_t cases;
};

static struct edge edge_new(void)
{
    struct edge edge = {0};
    struct session_options options = rig_options();
    options.conns_max = 4;
    edge.rig = rig_new(&options);
    edge.rig->table->ticket_keys = (struct ticket_keys){.revision = 1, .count = 1, .keys = {{1}}};
    rig_cluster(edge.rig, 1);
    edge.bystander = rig_login(edge.rig, BYSTANDER, RIG_GID + 1, rig_session(1, 1));
    edge.numbers = 1;
    return edge;
}

static void edge_free(struct edge *edge)
{
    assert_int_equal(edge->rig->closed[BYSTANDER], END_NONE);
    assert_int_equal(session_count(edge->rig->table), 1);
    rig_close(edge->rig, edge->bystander);
    assert_int_equal(edge->rig->table->opened, 0);
    assert_int_equal(edge->rig->table->sendings.in_use, 0);
    assert_int_equal(edge->rig->table->by_session.count, 0);
    rig_free(edge->rig);
}

static struct conn_id come(struct edge *edge, bool bound)
{
    return bound ? rig_login(edge->rig, HOSTILE, RIG_GID, rig_session(1, ++edge->numbers))
                 : rig_open(edge->rig, HOSTILE);
}

/* The hostile one has gone: nothing of it is left, and the other one saw nothing. */
static void go(struct edge *edge, struct conn_id id)
{
    struct rig *rig = edge->rig;
    rig_close(rig, id);
    rig_forget_told(rig);
    if (rig->closed[BYSTANDER] != END_NONE || session_count(rig->table) != 1 ||
        rig->to_client[BYSTANDER].begin != rig->to_client[BYSTANDER].end ||
        !rig_ledgers_hold(rig) || rig->table->sendings.in_use != 0)
        fail_msg("case %llu left something behind", (unsigned long long)edge->cases);
    edge->cases++;
}

static size_t head_of(uint8_t out[FRAME_HEAD_SIZE_MAX], size_t len)
{
    return valid_varint(out, len);
}

/* As a conn gives them: what is not used comes again with what follows. Of exactly its size. */
static void feed(struct edge *edge, struct conn_id id, struct span bytes, size_t split)
{
    uint8_t *exact = malloc(split + (split == 0));
    assert_non_null(exact);
    memcpy(exact, bytes.at, split);
    size_t used = session_bytes(edge->rig->table, id, span_of(exact, split));
    assert_true(used <= split);
    free(exact);
    exact = malloc(bytes.len - used + 1);
    assert_non_null(exact);
    memcpy(exact, bytes.at + used, bytes.len - used);
    if (bytes.len > split)
        (void)session_bytes(edge->rig->table, id, span_of(exact, bytes.len - used));
    free(exact);
}

static void expect_end(struct edge *edge, struct span body, bool bound, const char *what)
{
    enum end_reason right = expected(body, bound), is = edge->rig->closed[HOSTILE];
    if (is != right)
        fail_msg("%s, %zu bytes, %s: ended as %s, not as %s", what, body.len,
                 bound ? "bound" : "fresh", is == END_NONE ? "none" : reasons_end_label(is),
                 right == END_NONE ? "none" : reasons_end_label(right));
}

static void say_body(struct edge *edge, struct span body, bool bound, size_t times,
                     const char *what)
{
    uint8_t *bytes = malloc((body.len + FRAME_HEAD_SIZE_MAX) * times + 1);
    assert_non_null(bytes);
    size_t len = 0;
    for (size_t i = 0; i < times; i++) {
        len += head_of(bytes + len, body.len);
        memcpy(bytes + len, body.at, body.len);
        len += body.len;
    }
    struct conn_id id = come(edge, bound);
    feed(edge, id, span_of(bytes, len), len);
    if (times == 1)
        expect_end(edge, body, bound, what);
    go(edge, id);
    free(bytes);
}

static void spoil_all(struct edge *edge, const struct valid_messages *messages, bool bound)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct valid_message *message = &messages->list[i];
        uint8_t *out = malloc(message->len * 2 + 64);
        assert_non_null(out);
        say_body(edge, span_of(message->at, message->len), bound, 1, "as it should be");
        say_body(edge, span_of(message->at, message->len), bound, 5, "five times");
        for (enum valid_spoilt spoilt = 0; spoilt < VALID_SPOILTS; spoilt++)
            for (size_t at = 0; at < valid_places(spoilt, message->len); at++) {
                size_t len = valid_spoil(message, spoilt, at, out);
                say_body(edge, span_of(out, len), bound, 1, "spoilt");
            }
        free(out);
    }
}

/* ---- claims ---- */

static void there_are_300_valid_messages_and_more(void **state)
{
    (void)state;
    assert_true(client_frames.count + server_frames.count + link_frames.count >= 300);
}

static void whatever_a_client_says_ends_as_documented(void **state)
{
    (void)state;
    struct edge edge = edge_new();
    for (int bound = 0; bound < 2; bound++) {
        spoil_all(&edge, &client_frames, bound);
        spoil_all(&edge, &server_frames, bound); /* only a server says these */
    }
    assert_true(edge.cases > 50000);
    edge_free(&edge);
}

static void a_split_at_any_byte_changes_nothing(void **state)
{
    (void)state;
    struct edge edge = edge_new();
    for (int bound = 0; bound < 2; bound++)
        for (size_t i = 0; i < client_frames.count + server_frames.count; i++) {
            const struct valid_message *message =
                i < client_frames.count ? &client_frames.list[i]
                                        : &server_frames.list[i - client_frames.count];
            uint8_t bytes[VALID_LONG * 20];
            size_t len = head_of(bytes, message->len);
            assert_true(len + message->len <= sizeof bytes);
            memcpy(bytes + len, message->at, message->len);
            len += message->len;
            for (size_t split = 0; split < len; split++) {
                struct conn_id id = come(&edge, bound);
                feed(&edge, id, span_of(bytes, len), split);
                expect_end(&edge, span_of(message->at, message->len), bound, "split");
                go(&edge, id);
            }
        }
    edge_free(&edge);
}

/* The stream stops in the midst of a frame, and then the client leaves. */
static void a_stream_that_stops_anywhere_leaves_nothing_behind(void **state)
{
    (void)state;
    struct edge edge = edge_new();
    for (size_t i = 0; i < client_frames.count; i++) {
        const struct valid_message *message = &client_frames.list[i];
        uint8_t bytes[VALID_LONG * 20];
        size_t heads = head_of(bytes, message->len);
        memcpy(bytes + heads, message->at, message->len);
        for (size_t len = 0; len < heads + message->len; len++) {
            struct conn_id id = come(&edge, true);
            feed(&edge, id, span_of(bytes, len), len);
            assert_int_equal(edge.rig->closed[HOSTILE], END_NONE);
            go(&edge, id);
        }
    }
    edge_free(&edge);
}

static void a_length_over_the_limit_is_judged_from_the_head_alone(void **state)
{
    (void)state;
    struct edge edge = edge_new();
    static const struct {
        size_t len;
        bool bound;
        enum end_reason reason;
    } heads[] = {
        {FRAME_HELLO_SIZE_MAX, false, END_NONE},
        {FRAME_HELLO_SIZE_MAX + 1, false, END_BAD_FRAME},
        {FRAME_BODY_SIZE_MAX, true, END_NONE},
        {FRAME_BODY_SIZE_MAX + 1, true, END_BAD_FRAME},
        {SIZE_MAX, true, END_BAD_FRAME},
        {UINT32_MAX, true, END_BAD_FRAME},
        {UINT32_MAX, false, END_BAD_FRAME},
        {0, true, END_BAD_FRAME},
        {0, false, END_BAD_FRAME},
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        uint8_t head[10];
        size_t len = valid_varint(head, heads[i].len);
        struct conn_id id = come(&edge, heads[i].bound);
        feed(&edge, id, span_of(head, len), len);
        assert_int_equal(edge.rig->closed[HOSTILE], heads[i].reason);
        go(&edge, id);
    }
    edge_free(&edge);
}

/* A send as large as may be, and one byte more of body: refused, not the end. */
static void the_largest_message_passes_and_one_byte_more_is_refused(void **state)
{
    (void)state;
    struct edge edge = edge_new();
    struct conn_id id = come(&edge, true);
    rig_send(edge.rig, id, RIG_GID + 1, LAHAR__V1__CLASS__CONFIRMED, 1, FRAME_PAYLOAD_SIZE_MAX);
    assert_null(rig_heard(edge.rig, id));
    rig_send(edge.rig, id, RIG_GID + 1, LAHAR__V1__CLASS__CONFIRMED, 2, FRAME_PAYLOAD_SIZE_MAX + 1);
    rig_expect_nack(edge.rig, id, NACK_TOO_BIG, 0);
    go(&edge, id);
    edge_free(&edge);
}

static void nothing_that_a_shard_says_ends_those_whom_it_does_not_name(void **state)
{
    (void)state;
    uint64_t cases = 0;
    for (size_t i = 0; i < link_frames.count;) {
        uint32_t kind = link_frames.list[i].number;
        struct edge edge = edge_new(); /* one a kind: what it says of slots stays */
        for (; i < link_frames.count && link_frames.list[i].number == kind; i++) {
            const struct valid_message *message = &link_frames.list[i];
            uint8_t *out = malloc(message->len * 2 + 64);
            assert_non_null(out);
            for (enum valid_spoilt spoilt = 0; spoilt < VALID_SPOILTS; spoilt++)
                for (size_t at = 0; at < valid_places(spoilt, message->len); at++, cases++) {
                    size_t len = valid_spoil(message, spoilt, at, out);
                    uint8_t *exact = malloc(len + 1);
                    assert_non_null(exact);
                    memcpy(exact, out, len);
                    session_link_frame(edge.rig->table, (uint32_t)(cases % RIG_SHARDS),
                                       span_of(exact, len));
                    free(exact);
                    rig_forget_told(edge.rig);
                    if (edge.rig->closed[BYSTANDER] != END_NONE || !rig_ledgers_hold(edge.rig))
                        fail_msg("kind %u, spoilt %d at %zu", kind, (int)spoilt, at);
                }
            free(out);
        }
        edge_free(&edge);
    }
    assert_true(cases > 50000);
}

/* Twice the same crowd: the second time takes no memory that the first one did not. */
static void memory_comes_back_to_where_it_was(void **state)
{
    (void)state;
    struct edge edge = edge_new();
    size_t used[3];
    for (int round = 0; round < 3; round++) {
        for (int bound = 0; bound < 2; bound++)
            for (size_t i = 0; i < client_frames.count; i++)
                say_body(&edge, span_of(client_frames.list[i].at, client_frames.list[i].len), bound,
                         1, "again");
        used[round] = mallinfo2().uordblks;
    }
    assert_int_equal(used[1], used[2]);
    edge_free(&edge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_300_valid_messages_and_more),
        cmocka_unit_test(whatever_a_client_says_ends_as_documented),
        cmocka_unit_test(a_split_at_any_byte_changes_nothing),
        cmocka_unit_test(a_stream_that_stops_anywhere_leaves_nothing_behind),
        cmocka_unit_test(a_length_over_the_limit_is_judged_from_the_head_alone),
        cmocka_unit_test(the_largest_message_passes_and_one_byte_more_is_refused),
        cmocka_unit_test(nothing_that_a_shard_says_ends_those_whom_it_does_not_name),
        cmocka_unit_test(memory_comes_back_to_where_it_was),
    };
    return cmocka_run_group_tests_name("session_hostile", tests, set_up, tear_down);
}
