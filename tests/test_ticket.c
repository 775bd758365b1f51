/* ticket: what is sealed is opened as it was, by all who have the key, and nothing else is. */
#include "edge/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_S UINT64_C(1700000000)
#define DAY_S 86400u

static const uint8_t zero[sizeof(struct ticket)];

/* Keys as a router pushes them. */
struct push {
    Lahar__Link__V1__TicketKeys all;
    Lahar__Link__V1__TicketKey keys[4], *list[4];
    uint8_t secrets[4][33];
};

static void prepare(struct push *push, uint64_t revision, size_t count, uint32_t first_id)
{
    *push = (struct push){.all = LAHAR__LINK__V1__TICKET_KEYS__INIT};
    push->all.revision = revision;
    push->all.n_keys = count;
    push->all.keys = push->list;
    for (size_t i = 0; i < 4; i++) {
        lahar__link__v1__ticket_key__init(&push->keys[i]);
        push->keys[i].id = first_id + (uint32_t)i;
        push->keys[i].seals_from = NOW_S - 1000 + i * 1000;
        memset(push->secrets[i], (int)(first_id + i) * 7 + 1, sizeof push->secrets[i]);
        push->keys[i].secret = (ProtobufCBinaryData){TICKET_SECRET_SIZE, push->secrets[i]};
        push->list[i] = &push->keys[i];
    }
}

static struct ticket_keys keys_of(uint64_t revision, size_t count, uint32_t first_id)
{
    struct push push;
    struct ticket_keys keys = {0};
    prepare(&push, revision, count, first_id);
    assert_true(ticket_keys_take(&keys, &push.all));
    assert_int_equal(keys.count, count);
    return keys;
}

static struct ticket sample(const char *site)
{
    struct ticket ticket = {.gid = 10001,
                            .device = UINT64_C(0x1122334455667788),
                            .session = UINT64_C(0x0000000700000009),
                            .issued_at = (uint32_t)NOW_S,
                            .expires_at = (uint32_t)NOW_S + DAY_S,
                            .site_len = (uint8_t)strlen(site)};
    memcpy(ticket.site, site, ticket.site_len);
    return ticket;
}

static size_t seal(const struct ticket_keys *keys, uint8_t out[TICKET_SIZE_MAX])
{
    struct ticket ticket = sample("game");
    size_t len = ticket_seal(keys, &ticket, NOW_S, out);
    assert_true(len > 0 && len <= TICKET_SIZE_MAX);
    return len;
}

/* The verdict; a ticket that is not good tells nothing. */
static enum ticket_verdict try_open(const struct ticket_keys *keys, const uint8_t *bytes,
                                    size_t len, uint64_t now_s)
{
    struct ticket ticket = sample("game");
    enum ticket_verdict verdict =
        ticket_open(keys, span_of(bytes, len), sample("game").device, now_s, &ticket);
    if (verdict != TICKET_OK)
        assert_memory_equal(&ticket, zero, sizeof ticket);
    return verdict;
}

static void what_was_sealed_is_opened_as_it_was(void **state)
{
    (void)state;
    static const char *const sites[] = {"g", "game", "abcdefghijklmnopqrstuvwxyz012345"};
    struct ticket_keys keys = keys_of(1, 1, 5);
    for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++) {
        struct ticket ticket = sample(sites[i]), opened;
        uint8_t sealed[TICKET_SIZE_MAX];
        size_t len = ticket_seal(&keys, &ticket, NOW_S, sealed);
        assert_int_equal(len, 37 + strlen(sites[i]) + 32);
        assert_int_equal(
            ticket_open(&keys, span_of(sealed, len), ticket.device, NOW_S + 60, &opened),
            TICKET_OK);
        assert_memory_equal(&opened, &ticket, sizeof opened);
    }
}

static void with_any_bit_flipped_it_is_refused(void **state)
{
    (void)state;
    struct ticket_keys keys = keys_of(1, 2, 5);
    uint8_t sealed[TICKET_SIZE_MAX];
    size_t len = seal(&keys, sealed);
    assert_int_equal(try_open(&keys, sealed, len, NOW_S), TICKET_OK);
    for (size_t bit = 0; bit < len * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum ticket_verdict verdict = try_open(&keys, sealed, len, NOW_S);
        /* In the key's id it may become the id of the other key. */
        assert_true(verdict == TICKET_BAD_MAC || (bit < 32 && verdict == TICKET_UNKNOWN_KEY));
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(try_open(&keys, sealed, len, NOW_S), TICKET_OK);
}

static void at_any_other_length_it_is_refused(void **state)
{
    (void)state;
    struct ticket_keys keys = keys_of(1, 1, 5);
    uint8_t sealed[TICKET_SIZE_MAX], longer[TICKET_SIZE_MAX + 64] = {0};
    size_t len = seal(&keys, sealed);
    memcpy(longer, sealed, len);
    for (size_t cut = 0; cut < sizeof longer; cut++) {
        enum ticket_verdict verdict = try_open(&keys, longer, cut, NOW_S);
        if (cut == len)
            assert_int_equal(verdict, TICKET_OK);
        else if (cut < 70 || cut > 101)
            assert_int_equal(verdict, TICKET_MALFORMED);
        else
            assert_int_equal(verdict, TICKET_BAD_MAC);
    }
}

static void it_ends_with_its_time(void **state)
{
    (void)state;
    struct ticket_keys keys = keys_of(1, 1, 5);
    uint8_t sealed[TICKET_SIZE_MAX];
    size_t len = seal(&keys, sealed);
    assert_int_equal(try_open(&keys, sealed, len, NOW_S + DAY_S - 1), TICKET_OK);
    assert_int_equal(try_open(&keys, sealed, len, NOW_S + DAY_S), TICKET_EXPIRED);
    assert_int_equal(try_open(&keys, sealed, len, NOW_S + 10 * DAY_S), TICKET_EXPIRED);
}

static void another_devices_is_refused(void **state)
{
    (void)state;
    struct ticket_keys keys = keys_of(1, 1, 5);
    uint8_t sealed[TICKET_SIZE_MAX];
    size_t len = seal(&keys, sealed);
    struct ticket ticket;
    uint64_t device = sample("game").device;
    assert_int_equal(ticket_open(&keys, span_of(sealed, len), device ^ 1, NOW_S, &ticket),
                     TICKET_OTHER_DEVICE);
    assert_memory_equal(&ticket, zero, sizeof ticket);
    assert_int_equal(ticket_open(&keys, span_of(sealed, len), 0, NOW_S, &ticket),
                     TICKET_OTHER_DEVICE);
}

static void one_under_another_secret_is_refused(void **state)
{
    (void)state;
    struct ticket_keys keys = keys_of(1, 1, 5), other = keys, none = {0};
    uint8_t sealed[TICKET_SIZE_MAX];
    size_t len = seal(&keys, sealed);
    other.keys[0].secret[31] ^= 1;
    assert_int_equal(try_open(&other, sealed, len, NOW_S), TICKET_BAD_MAC);
    other = keys_of(1, 2, 9);
    assert_int_equal(try_open(&other, sealed, len, NOW_S), TICKET_UNKNOWN_KEY);
    assert_int_equal(try_open(&none, sealed, len, NOW_S), TICKET_NO_KEYS);
    struct ticket ticket = sample("game");
    assert_int_equal(ticket_seal(&none, &ticket, NOW_S, sealed), 0);
}

/* Key 5 seals; 6 is pushed, and seals when its time has come; 7 comes, and 5 goes. */
static void keys_follow_one_another_without_a_ticket_lost(void **state)
{
    (void)state;
    struct ticket_keys one = keys_of(1, 1, 5), two = keys_of(2, 2, 5), three = keys_of(3, 2, 6);
    struct ticket ticket = sample("game");
    uint8_t early[TICKET_SIZE_MAX], late[TICKET_SIZE_MAX];
    ticket.expires_at += DAY_S;

    size_t early_len = ticket_seal(&two, &ticket, NOW_S - 1, early);
    assert_int_equal(early[0], 5);
    assert_int_equal(try_open(&one, early, early_len, NOW_S), TICKET_OK);

    size_t late_len = ticket_seal(&two, &ticket, NOW_S, late);
    assert_int_equal(late[0], 6);
    assert_int_equal(try_open(&two, early, early_len, NOW_S), TICKET_OK);
    assert_int_equal(try_open(&two, late, late_len, NOW_S), TICKET_OK);
    assert_int_equal(try_open(&three, late, late_len, NOW_S), TICKET_OK);
    assert_int_equal(try_open(&three, early, early_len, NOW_S), TICKET_UNKNOWN_KEY);
    /* A clock that is behind seals with the oldest, never with none. */
    assert_true(ticket_seal(&three, &ticket, 0, early) > 0);
    assert_int_equal(early[0], 6);
}

static void only_newer_keys_are_taken(void **state)
{
    (void)state;
    struct push push;
    struct ticket_keys keys = keys_of(10, 2, 5);
    prepare(&push, 10, 2, 8);
    assert_true(ticket_keys_take(&keys, &push.all));
    assert_int_equal(keys.keys[0].id, 5);
    prepare(&push, 9, 1, 8);
    assert_true(ticket_keys_take(&keys, &push.all));
    assert_int_equal(keys.count, 2);
    prepare(&push, 11, 1, 8);
    assert_true(ticket_keys_take(&keys, &push.all));
    assert_int_equal(keys.count, 1);
    assert_int_equal(keys.keys[0].id, 8);
    assert_int_equal(keys.keys[1].id, 0); /* nothing of the old ones is left */
    assert_int_equal(keys.keys[1].secret[0], 0);
}

static void what_are_no_keys_is_refused_and_ours_stay(void **state)
{
    (void)state;
    struct push push;
    struct ticket_keys keys = keys_of(10, 1, 5), before = keys;
    prepare(&push, 11, 0, 1);
    assert_false(ticket_keys_take(&keys, &push.all));
    prepare(&push, 11, 3, 1);
    assert_false(ticket_keys_take(&keys, &push.all));
    prepare(&push, 0, 1, 1);
    assert_false(ticket_keys_take(&keys, &push.all));
    for (size_t len = 31; len <= 33; len += 2) {
        prepare(&push, 11, 2, 1);
        push.keys[1].secret.len = len;
        assert_false(ticket_keys_take(&keys, &push.all));
    }
    prepare(&push, 11, 2, 1);
    push.keys[1].id = push.keys[0].id;
    assert_false(ticket_keys_take(&keys, &push.all));
    assert_memory_equal(&keys, &before, sizeof keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_is_opened_as_it_was),
        cmocka_unit_test(with_any_bit_flipped_it_is_refused),
        cmocka_unit_test(at_any_other_length_it_is_refused),
        cmocka_unit_test(it_ends_with_its_time),
        cmocka_unit_test(another_devices_is_refused),
        cmocka_unit_test(one_under_another_secret_is_refused),
        cmocka_unit_test(keys_follow_one_another_without_a_ticket_lost),
        cmocka_unit_test(only_newer_keys_are_taken),
        cmocka_unit_test(what_are_no_keys_is_refused_and_ours_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
