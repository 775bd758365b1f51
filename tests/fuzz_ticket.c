/* Tickets: whatever anybody shows, only what was sealed under one of our keys opens, and it opens
 * as what was sealed; keys as a router pushes them are taken or refused.
 *
 * The first byte: 0: the rest is a ticket; 1: a ticket whose MAC is made right here; 2: TicketKeys;
 * else: sealed from the rest, then one byte of it is changed.
 *
 * Covers: edge/ticket.c. Longest input: 300.
 */
#include "edge/ticket.h"

#include "proto/gid.h"

#include <sodium/crypto_generichash.h>
#include <stdlib.h>

#define NOW 1800000000u
#define MAC_SIZE 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ticket_keys ours = {
    .revision = 5, .count = 2, .keys = {{7, 0, {1, 2, 3}}, {9, NOW + 10, {4, 5, 6}}}};

static enum ticket_verdict open_it(struct span sealed, uint64_t device, struct ticket *ticket)
{
    static const struct ticket nothing;
    memset(ticket, 0xa5, sizeof *ticket);
    enum ticket_verdict verdict = ticket_open(&ours, sealed, device, NOW, ticket);
    assert(verdict < TICKET_VERDICTS);
    assert(verdict == TICKET_OK || memcmp(ticket, &nothing, sizeof nothing) == 0);
    assert(verdict != TICKET_OK || (ticket->expires_at > NOW - 1 && ticket->device == device &&
                                    ticket->site_len <= SITES_ID_MAX));
    return verdict;
}

static void open_any(struct span bytes)
{
    struct ticket ticket;
    enum ticket_verdict verdict = open_it(bytes, 1, &ticket);
    assert(verdict != TICKET_OK);
}

/* What is inside is believed now, as from a router that went mad. */
static void open_made(struct span bytes)
{
    uint8_t sealed[TICKET_SIZE_MAX];
    struct ticket ticket;
    uint64_t device = 0;
    if (bytes.len < 4 || bytes.len > TICKET_SIZE_MAX - MAC_SIZE)
        return;
    memcpy(sealed, bytes.at, bytes.len);
    sealed[0] = 7;
    memset(sealed + 1, 0, 3);
    int made = crypto_generichash_blake2b(sealed + bytes.len, MAC_SIZE, sealed, bytes.len,
                                          ours.keys[0].secret, TICKET_SECRET_SIZE);
    assert(made == 0);
    if (bytes.len >= 20)
        memcpy(&device, sealed + 12, sizeof device);
    (void)open_it(span_of(sealed, bytes.len + MAC_SIZE), device, &ticket);
}

static void take_keys(struct span bytes)
{
    Lahar__Link__V1__TicketKeys *said =
        lahar__link__v1__ticket_keys__unpack(NULL, bytes.len, bytes.at);
    if (said == NULL)
        return;
    struct ticket_keys keys = {0};
    if (ticket_keys_take(&keys, said) && keys.revision != 0) {
        assert(keys.count >= 1 && keys.count <= TICKET_KEYS_MAX);
        struct ticket ticket = {.gid = 10001, .expires_at = NOW + 5, .site_len = 1, .site = "a"};
        uint8_t sealed[TICKET_SIZE_MAX];
        size_t len = ticket_seal(&keys, &ticket, NOW, sealed);
        assert(len > 0 && len <= TICKET_SIZE_MAX);
    }
    ticket_keys_forget(&keys);
    assert(keys.count == 0);
    lahar__link__v1__ticket_keys__free_unpacked(said, NULL);
}

static void seal_and_change(struct span bytes)
{
    struct ticket ticket = {.gid = GID_FIRST_USER, .issued_at = NOW - 5, .expires_at = NOW + 5}, is;
    uint8_t sealed[TICKET_SIZE_MAX];
    if (bytes.len < 19)
        return;
    memcpy(&ticket.device, bytes.at, 8);
    memcpy(&ticket.session, bytes.at + 8, 8);
    ticket.session |= 1; /* no session has number 0 */
    ticket.site_len = (uint8_t)(1 + bytes.at[16] % SITES_ID_MAX);
    memset(ticket.site, 'a' + bytes.at[16] % 26, ticket.site_len);
    size_t len = ticket_seal(&ours, &ticket, NOW, sealed);
    assert(len > 0 && len <= TICKET_SIZE_MAX);
    enum ticket_verdict verdict = open_it(span_of(sealed, len), ticket.device, &is);
    assert(verdict == TICKET_OK && is.gid == ticket.gid && is.session == ticket.session);
    assert(is.issued_at == ticket.issued_at && is.expires_at == ticket.expires_at);
    assert(is.site_len == ticket.site_len && memcmp(is.site, ticket.site, is.site_len) == 0);
    if (bytes.at[18] == 0)
        return;
    sealed[bytes.at[17] % len] ^= bytes.at[18];
    verdict = open_it(span_of(sealed, len), ticket.device, &is);
    assert(verdict != TICKET_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct span rest = span_of(data + 1, size - 1);
    if (data[0] == 0)
        open_any(rest);
    else if (data[0] == 1)
        open_made(rest);
    else if (data[0] == 2)
        take_keys(rest);
    else
        seal_and_change(rest);
    return 0;
}
