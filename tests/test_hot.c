/* hot: protobuf-c is the judge of what is read and written (hot_oracle.h), on messages with every
 * field set and on random ones, good and bad. */
#include "proto/wire.h"
#include "tests/hot_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#define ROOM 4096u

/* The same numbers in every run; a failure must come again. */
static uint64_t random_u64(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_below(uint64_t *seed, uint32_t end)
{
    return (uint32_t)(random_u64(seed) % end);
}

static const struct hot_kind *kind_named(const char *name)
{
    for (size_t i = 0; i < HOT_KINDS; i++)
        if (strcmp(hot_kinds[i].name, name) == 0)
            return &hot_kinds[i];
    fail_msg("no kind %s", name);
    return NULL;
}

static uint8_t cmid_bytes[] = "a client message", mid_bytes[] = "mid of a message",
               text[] = "hello";
#define SPAN(bytes) span_of(bytes, sizeof bytes - 1)
#define DATA(bytes)                                                                                \
    {                                                                                              \
        .len = sizeof bytes - 1, .data = bytes                                                     \
    }

static void a_send_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.send = {.to = 0x0102030405060708,
                                  .cmid = SPAN(cmid_bytes),
                                  .class = HOT_EPHEMERAL,
                                  .seq = 300,
                                  .settled = UINT64_MAX,
                                  .body = SPAN(text)}};
    Lahar__V1__Send message = LAHAR__V1__SEND__INIT;
    message.to = 0x0102030405060708;
    message.cmid = (ProtobufCBinaryData)DATA(cmid_bytes);
    message.class_ = LAHAR__V1__CLASS__EPHEMERAL;
    message.seq = 300;
    message.settled = UINT64_MAX;
    message.body = (ProtobufCBinaryData)DATA(text);
    hot_check_write(kind_named("send"), &hot, &message.base);
}

static void a_received_has_its_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.received = {.gid = 1, .session = 2, .dseq = 128}};
    Lahar__V1__Received message = LAHAR__V1__RECEIVED__INIT;
    message.dseq = 128;
    hot_check_write(kind_named("received"), &hot, &message.base);
}

static void a_deliver_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.deliver = {.dseq = 7,
                                     .mid = SPAN(mid_bytes),
                                     .mseq = 1u << 31,
                                     .from = 10001,
                                     .group = UINT64_C(1) << 60 | 10002,
                                     .class = HOT_CONFIRMED,
                                     .sent_at = 1700000000000,
                                     .body = SPAN(text)}};
    Lahar__V1__Deliver message = LAHAR__V1__DELIVER__INIT;
    message.dseq = 7;
    message.mid = (ProtobufCBinaryData)DATA(mid_bytes);
    message.mseq = 1u << 31;
    message.from = 10001;
    message.group = UINT64_C(1) << 60 | 10002;
    message.class_ = LAHAR__V1__CLASS__CONFIRMED;
    message.sent_at = 1700000000000;
    message.body = (ProtobufCBinaryData)DATA(text);
    hot_check_write(kind_named("deliver"), &hot, &message.base);
}

static void an_ack_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {
        .ack = {.cmid = SPAN(cmid_bytes), .level = HOT_LEVEL_DELIVERED, .mid = SPAN(mid_bytes)}};
    Lahar__V1__SendAck message = LAHAR__V1__SEND_ACK__INIT;
    message.cmid = (ProtobufCBinaryData)DATA(cmid_bytes);
    message.level = LAHAR__V1__LEVEL__LEVEL_DELIVERED;
    message.mid = (ProtobufCBinaryData)DATA(mid_bytes);
    hot_check_write(kind_named("ack"), &hot, &message.base);
}

static void a_nack_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.nack = {.cmid = SPAN(cmid_bytes),
                                  .reason = 2,
                                  .retry_after_ms = UINT32_MAX,
                                  .expected_seq = 44}};
    Lahar__V1__SendNack message = LAHAR__V1__SEND_NACK__INIT;
    message.cmid = (ProtobufCBinaryData)DATA(cmid_bytes);
    message.reason = 2;
    message.retry_after_ms = UINT32_MAX;
    message.expected_seq = 44;
    hot_check_write(kind_named("nack"), &hot, &message.base);
}

static void a_link_send_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.link_send = {.from = 10001,
                                       .device = UINT64_MAX,
                                       .session = UINT64_C(3) << 32 | 9,
                                       .hops = 2,
                                       .send = {.to = 10002,
                                                .class = HOT_CONFIRMED,
                                                .cmid = SPAN(cmid_bytes),
                                                .seq = 300,
                                                .settled = 299,
                                                .body = SPAN(text)}}};
    Lahar__Link__V1__LinkSend message = LAHAR__LINK__V1__LINK_SEND__INIT;
    message.from = 10001;
    message.device = UINT64_MAX;
    message.session = UINT64_C(3) << 32 | 9;
    message.hops = 2;
    message.to = 10002;
    message.class_ = LAHAR__V1__CLASS__CONFIRMED;
    message.cmid = (ProtobufCBinaryData)DATA(cmid_bytes);
    message.seq = 300;
    message.settled = 299;
    message.body = (ProtobufCBinaryData)DATA(text);
    hot_check_write(kind_named("link_send"), &hot, &message.base);
}

static void a_link_deliver_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.link_deliver = {.to = 10002,
                                          .epoch = 5,
                                          .sessions = 2,
                                          .dseqs = 2,
                                          .session = {11, 0},
                                          .dseq = {0, 1u << 20},
                                          .mid = SPAN(mid_bytes),
                                          .from = 10001,
                                          .class = HOT_EPHEMERAL,
                                          .sent_at = 1700000000000,
                                          .body = SPAN(text)}};
    uint64_t sessions[] = {11, 0}, dseqs[] = {0, 1u << 20};
    Lahar__Link__V1__LinkDeliver message = LAHAR__LINK__V1__LINK_DELIVER__INIT;
    message.to = 10002;
    message.epoch = 5;
    message.n_session = message.n_dseq = 2;
    message.session = sessions;
    message.dseq = dseqs;
    message.mid = (ProtobufCBinaryData)DATA(mid_bytes);
    message.from = 10001;
    message.class_ = LAHAR__V1__CLASS__EPHEMERAL;
    message.sent_at = 1700000000000;
    message.body = (ProtobufCBinaryData)DATA(text);
    hot_check_write(kind_named("link_deliver"), &hot, &message.base);
}

static void an_answer_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.answer = {.gid = 10001,
                                    .session = 8,
                                    .cmid = SPAN(cmid_bytes),
                                    .level = HOT_LEVEL_STORED,
                                    .reason = 9,
                                    .mid = SPAN(mid_bytes),
                                    .retry_after_ms = 250,
                                    .expected_seq = 77}};
    Lahar__Link__V1__Answer message = LAHAR__LINK__V1__ANSWER__INIT;
    message.gid = 10001;
    message.session = 8;
    message.cmid = (ProtobufCBinaryData)DATA(cmid_bytes);
    message.level = LAHAR__V1__LEVEL__LEVEL_STORED;
    message.reason = 9;
    message.mid = (ProtobufCBinaryData)DATA(mid_bytes);
    message.retry_after_ms = 250;
    message.expected_seq = 77;
    hot_check_write(kind_named("answer"), &hot, &message.base);
}

static void a_link_received_has_each_field_in_its_place(void **state)
{
    (void)state;
    union hot_any hot = {.received = {.gid = 10001, .session = 8, .dseq = UINT64_C(1) << 63}};
    Lahar__Link__V1__LinkReceived message = LAHAR__LINK__V1__LINK_RECEIVED__INIT;
    message.gid = 10001;
    message.session = 8;
    message.dseq = UINT64_C(1) << 63;
    hot_check_write(kind_named("link_received"), &hot, &message.base);
}

/* -------------------------------------------------------------------------------------------------
 */

static uint8_t *random_bytes(uint64_t *seed, uint8_t *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        *at++ = (uint8_t)random_u64(seed);
    return at;
}

/* Now and then longer than needed, and rarely longer than allowed. */
static uint8_t *random_varint(uint64_t *seed, uint8_t *at, uint64_t value)
{
    at = wire_write_varint(at, value);
    if (random_below(seed, 16) == 0) {
        at[-1] |= 0x80;
        for (uint32_t more = random_below(seed, 3); more > 0; more--)
            *at++ = 0x80;
        *at++ = 0;
    }
    return at;
}

static uint8_t *random_value(uint64_t *seed, uint8_t *at, unsigned type, bool id)
{
    size_t len = id && random_below(seed, 32) > 0 ? 16 : random_below(seed, 200);
    switch (type) {
    case WIRE_VARINT:
        return random_varint(seed, at, random_u64(seed) >> random_below(seed, 64));
    case WIRE_FIXED64:
        return random_bytes(seed, at, 8);
    case WIRE_BYTES:
        return random_bytes(seed, random_varint(seed, at, len), len);
    case WIRE_FIXED32:
        return random_bytes(seed, at, 4);
    default:
        return at;
    }
}

static uint8_t *random_column(uint64_t *seed, uint8_t *at, uint32_t number, unsigned type,
                              uint32_t count)
{
    uint8_t run[80 * 16], *end = run;
    bool packed = random_below(seed, 2) == 0;
    for (uint32_t i = 0; i < count; i++) {
        if (packed) {
            end = random_value(seed, end, type, false);
        } else {
            at = random_varint(seed, at, WIRE_TAG(number, type));
            at = random_value(seed, at, type, false);
        }
    }
    if (!packed)
        return at;
    at = random_varint(seed, at, WIRE_TAG(number, WIRE_BYTES));
    at = random_varint(seed, at, (uint64_t)(end - run));
    memcpy(at, run, (size_t)(end - run));
    return at + (end - run);
}

static unsigned type_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_FIXED64:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_BYTES:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* Fields of `type` in any order, some twice, some unknown, rarely one of a wrong type. */
static size_t random_message(uint64_t *seed, const ProtobufCMessageDescriptor *type,
                             uint8_t bytes[ROOM])
{
    uint8_t *at = bytes;
    uint32_t fields = random_below(seed, type->n_fields + 3);
    uint32_t count = random_below(seed, 4) == 0 ? random_below(seed, 67) : random_below(seed, 4);
    for (uint32_t i = 0; i < fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[random_below(seed, type->n_fields)];
        unsigned wire = type_of(field);
        uint32_t number = field->id;
        bool id = strcmp(field->name, "body") != 0;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            if (i == 0) {
                at = random_column(seed, at, 3, WIRE_FIXED64, count);
                at = random_column(seed, at, 4, WIRE_VARINT, count);
            }
            continue;
        }
        if (random_below(seed, 64) == 0)
            wire = random_below(seed, 8);
        if (random_below(seed, 8) == 0)
            number = random_below(seed, 3) == 0 ? (uint32_t)random_u64(seed) : 20;
        at = random_varint(seed, at, WIRE_TAG(number, wire));
        at = random_value(seed, at, wire, id);
    }
    return (size_t)(at - bytes);
}

static void random_messages_are_read_and_written_as_protobuf_c_does(void **state)
{
    (void)state;
    uint64_t seed = 1;
    uint8_t bytes[ROOM];
    for (size_t k = 0; k < HOT_KINDS; k++) {
        unsigned good = 0, all = 5000;
        for (unsigned i = 0; i < all; i++) {
            size_t len = random_message(&seed, hot_kinds[k].type, bytes);
            good += hot_check_read(&hot_kinds[k], span_of(bytes, len));
        }
        /* Both sorts, or half of the claim was not tested. */
        assert_in_range(good, all / 4, all - all / 50);
    }
}

static void random_bytes_are_read_as_protobuf_c_does(void **state)
{
    (void)state;
    uint64_t seed = 2;
    uint8_t bytes[24];
    for (unsigned i = 0; i < 50000; i++) {
        size_t len = random_below(&seed, sizeof bytes);
        random_bytes(&seed, bytes, len);
        /* Mostly tags that mean something. */
        if (len > 0)
            bytes[0] &= 0x5f;
        hot_check_read(&hot_kinds[i % HOT_KINDS], span_of(bytes, len));
    }
}

/* Each beginning of a message ends where readable memory ends. */
static void a_truncated_message_is_never_read_past_its_end(void **state)
{
    (void)state;
    uint64_t seed = 3;
    uint8_t bytes[ROOM];
    uint8_t *pages =
        mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + ROOM, ROOM, PROT_NONE), 0);
    for (unsigned i = 0; i < 20 * HOT_KINDS; i++) {
        const struct hot_kind *kind = &hot_kinds[i % HOT_KINDS];
        size_t whole = random_message(&seed, kind->type, bytes);
        for (size_t len = 0; len <= whole; len++) {
            uint8_t *at = pages + ROOM - len;
            memcpy(at, bytes, len);
            hot_check_read(kind, span_of(at, len));
        }
    }
    munmap(pages, 2 * ROOM);
}

/* -------------------------------------------------------------------------------------------------
 */

static void the_longest_message_fits_the_room_that_the_contract_names(void **state)
{
    (void)state;
    static uint8_t body[FRAME_PAYLOAD_SIZE_MAX];
    static uint8_t out[HOT_OVERHEAD_MAX + sizeof body + 20 * HOT_SESSIONS_MAX];
    struct hot_link_deliver deliver = {.to = UINT64_MAX,
                                       .epoch = UINT32_MAX,
                                       .class = UINT32_MAX,
                                       .sessions = HOT_SESSIONS_MAX,
                                       .dseqs = HOT_SESSIONS_MAX,
                                       .from = UINT64_MAX,
                                       .sent_at = UINT64_MAX,
                                       .mid = SPAN(mid_bytes),
                                       .body = span_of(body, sizeof body)};
    memset(deliver.session, 0xff, sizeof deliver.session);
    memset(deliver.dseq, 0xff, sizeof deliver.dseq);
    size_t size = hot_link_deliver_write(out, &deliver);
    assert_in_range(size, sizeof body, sizeof out);

    struct span frame = span_of(out, size), opened, content;
    uint32_t number;
    assert_int_equal(frame_take(&frame, FRAME_LINK_SIZE_MAX, &opened), FRAME_READY);
    assert_true(frame_open(opened, &number, &content, NULL));
    struct hot_link_deliver again;
    assert_true(hot_link_deliver_read(content, &again));
    assert_int_equal(again.dseq[HOT_SESSIONS_MAX - 1], UINT64_MAX);
    assert_int_equal(again.body.len, sizeof body);
}

static bool reads(const uint8_t *from, const uint8_t *to, struct hot_link_deliver *deliver)
{
    return hot_link_deliver_read(span_of(from, (size_t)(to - from)), deliver);
}

static void sessions_are_read_packed_and_unpacked_alike(void **state)
{
    (void)state;
    uint8_t packed[64], unpacked[64], *p = packed, *u = unpacked;
    p = wire_write_varint(p, WIRE_TAG(3, WIRE_BYTES));
    p = wire_write_varint(p, 16);
    p = wire_write_fixed64(wire_write_fixed64(p, 5), 6);
    p = wire_write_varint(p, WIRE_TAG(4, WIRE_BYTES));
    p = wire_write_varint(p, 3);
    p = wire_write_varint(wire_write_varint(p, 300), 7);
    u = wire_put_varint(wire_put_fixed64(u, 3, 5), 4, 300);
    u = wire_put_varint(wire_put_fixed64(u, 3, 6), 4, 7);

    struct hot_link_deliver a, b;
    assert_true(reads(packed, p, &a));
    assert_true(reads(unpacked, u, &b));
    assert_int_equal(a.sessions, 2);
    assert_int_equal(b.sessions, 2);
    assert_int_equal(a.dseqs, 2);
    assert_int_equal(b.dseqs, 2);
    assert_memory_equal(a.session, b.session, 16);
    assert_memory_equal(a.dseq, b.dseq, 16);
    assert_int_equal(a.session[1], 6);
    assert_int_equal(a.dseq[0], 300);
}

static void more_sessions_than_allowed_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[9 * (HOT_SESSIONS_MAX + 1)], *at = bytes;
    struct hot_link_deliver deliver;
    for (unsigned i = 0; i < HOT_SESSIONS_MAX; i++)
        at = wire_put_fixed64(at, 3, 1 + i);
    assert_true(reads(bytes, at, &deliver));
    at = wire_put_fixed64(at, 3, 99);
    assert_false(reads(bytes, at, &deliver));
}

static void columns_of_different_length_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[32], *at = wire_put_fixed64(wire_put_fixed64(bytes, 3, 5), 3, 6);
    struct hot_link_deliver deliver;
    assert_true(reads(bytes, at, &deliver));
    at = wire_put_varint(at, 4, 1);
    assert_false(reads(bytes, at, &deliver));
    at = wire_put_varint(at, 4, 1);
    assert_true(reads(bytes, at, &deliver));
}

static void an_id_of_another_size_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 20; len++) {
        uint8_t bytes[32], id[32] = {0};
        uint8_t *end = wire_put_bytes(bytes, 2, span_of(id, len));
        struct hot_send send;
        assert_int_equal(hot_send_read(span_of(bytes, (size_t)(end - bytes)), &send),
                         len == 0 || len == 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_has_each_field_in_its_place),
        cmocka_unit_test(a_received_has_its_field_in_its_place),
        cmocka_unit_test(a_deliver_has_each_field_in_its_place),
        cmocka_unit_test(an_ack_has_each_field_in_its_place),
        cmocka_unit_test(a_nack_has_each_field_in_its_place),
        cmocka_unit_test(a_link_send_has_each_field_in_its_place),
        cmocka_unit_test(a_link_deliver_has_each_field_in_its_place),
        cmocka_unit_test(an_answer_has_each_field_in_its_place),
        cmocka_unit_test(a_link_received_has_each_field_in_its_place),
        cmocka_unit_test(random_messages_are_read_and_written_as_protobuf_c_does),
        cmocka_unit_test(random_bytes_are_read_as_protobuf_c_does),
        cmocka_unit_test(a_truncated_message_is_never_read_past_its_end),
        cmocka_unit_test(the_longest_message_fits_the_room_that_the_contract_names),
        cmocka_unit_test(sessions_are_read_packed_and_unpacked_alike),
        cmocka_unit_test(more_sessions_than_allowed_are_refused),
        cmocka_unit_test(columns_of_different_length_are_refused),
        cmocka_unit_test(an_id_of_another_size_is_refused),
    };
    return cmocka_run_group_tests_name("hot", tests, NULL, NULL);
}
