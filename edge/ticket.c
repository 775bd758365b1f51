#include "edge/ticket.h"

#include <endian.h>
#include <sodium/crypto_generichash.h>
#include <sodium/utils.h>

#define MAC_SIZE 32u
#define FIXED_SIZE 37u /* all before the site */

static_assert(FIXED_SIZE + SITES_ID_MAX + MAC_SIZE <= TICKET_SIZE_MAX, "it fits");
static_assert(TICKET_SECRET_SIZE >= crypto_generichash_KEYBYTES_MIN &&
                  TICKET_SECRET_SIZE <= crypto_generichash_KEYBYTES_MAX &&
                  MAC_SIZE <= crypto_generichash_BYTES_MAX,
              "as BLAKE2b takes them");

/* --- keys ------------------------------------------------------------------------------------- */

bool ticket_keys_take(struct ticket_keys *keys, const Lahar__Link__V1__TicketKeys *from)
{
    if (from->n_keys == 0 || from->n_keys > TICKET_KEYS_MAX || from->revision == 0)
        return false;
    for (size_t i = 0; i < from->n_keys; i++)
        if (from->keys[i]->secret.len != TICKET_SECRET_SIZE ||
            (i > 0 && from->keys[i]->id == from->keys[i - 1]->id))
            return false;
    if (from->revision <= keys->revision)
        return true;
    ticket_keys_forget(keys);
    keys->revision = from->revision;
    keys->count = (uint32_t)from->n_keys;
    for (size_t i = 0; i < from->n_keys; i++) {
        keys->keys[i].id = from->keys[i]->id;
        keys->keys[i].seals_from = from->keys[i]->seals_from;
        memcpy(keys->keys[i].secret, from->keys[i]->secret.data, TICKET_SECRET_SIZE);
    }
    return true;
}

void ticket_keys_forget(struct ticket_keys *keys)
{
    sodium_memzero(keys, sizeof *keys);
}

static const struct ticket_key *find_key(const struct ticket_keys *keys, uint32_t id)
{
    for (uint32_t i = 0; i < keys->count; i++)
        if (keys->keys[i].id == id)
            return &keys->keys[i];
    return NULL;
}

/* The newest whose time has come; by a clock that is late perhaps none, then the oldest. */
static const struct ticket_key *sealing_key(const struct ticket_keys *keys, uint64_t now_s)
{
    for (uint32_t i = keys->count; i-- > 1;)
        if (keys->keys[i].seals_from <= now_s)
            return &keys->keys[i];
    return keys->count > 0 ? &keys->keys[0] : NULL;
}

static void make_mac(const struct ticket_key *key, struct span covered, uint8_t mac[MAC_SIZE])
{
    int result =
        crypto_generichash(mac, MAC_SIZE, covered.at, covered.len, key->secret, sizeof key->secret);
    assert(result == 0);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static uint8_t *put32(uint8_t *at, uint32_t number)
{
    number = htole32(number);
    memcpy(at, &number, sizeof number);
    return at + sizeof number;
}

static uint8_t *put64(uint8_t *at, uint64_t number)
{
    number = htole64(number);
    memcpy(at, &number, sizeof number);
    return at + sizeof number;
}

static uint32_t take32(const uint8_t **at)
{
    uint32_t number;
    memcpy(&number, *at, sizeof number);
    *at += sizeof number;
    return le32toh(number);
}

static uint64_t take64(const uint8_t **at)
{
    uint64_t number;
    memcpy(&number, *at, sizeof number);
    *at += sizeof number;
    return le64toh(number);
}

/* --- sealing and opening ---------------------------------------------------------------------- */

size_t ticket_seal(const struct ticket_keys *keys, const struct ticket *ticket, uint64_t now_s,
                   uint8_t out[TICKET_SIZE_MAX])
{
    const struct ticket_key *key = sealing_key(keys, now_s);
    assert(ticket->site_len >= 1 && ticket->site_len <= SITES_ID_MAX);
    if (key == NULL)
        return 0;
    uint8_t *at = put32(out, key->id);
    at = put64(at, ticket->gid);
    at = put64(at, ticket->device);
    at = put64(at, ticket->session);
    at = put32(at, ticket->issued_at);
    at = put32(at, ticket->expires_at);
    *at++ = ticket->site_len;
    memcpy(at, ticket->site, ticket->site_len);
    at += ticket->site_len;
    make_mac(key, span_of(out, (size_t)(at - out)), at);
    return (size_t)(at - out) + MAC_SIZE;
}

enum ticket_verdict ticket_open(const struct ticket_keys *keys, struct span sealed, uint64_t device,
                                uint64_t now_s, struct ticket *ticket)
{
    *ticket = (struct ticket){0};
    if (sealed.len < FIXED_SIZE + 1 + MAC_SIZE || sealed.len > FIXED_SIZE + SITES_ID_MAX + MAC_SIZE)
        return TICKET_MALFORMED;
    if (keys->count == 0)
        return TICKET_NO_KEYS;
    const uint8_t *at = sealed.at;
    const struct ticket_key *key = find_key(keys, take32(&at));
    if (key == NULL)
        return TICKET_UNKNOWN_KEY;
    size_t covered = sealed.len - MAC_SIZE;
    uint8_t mac[MAC_SIZE];
    make_mac(key, span_of(sealed.at, covered), mac);
    bool same = sodium_memcmp(mac, sealed.at + covered, MAC_SIZE) == 0;
    sodium_memzero(mac, sizeof mac);
    if (!same)
        return TICKET_BAD_MAC;

    struct ticket found = {0};
    found.gid = take64(&at);
    found.device = take64(&at);
    found.session = take64(&at);
    found.issued_at = take32(&at);
    found.expires_at = take32(&at);
    found.site_len = *at++;
    /* An edge of ours has sealed it; one of another version may have said more. */
    if (FIXED_SIZE + found.site_len != covered || found.session == 0)
        return TICKET_MALFORMED;
    memcpy(found.site, at, found.site_len);
    if (now_s >= found.expires_at)
        return TICKET_EXPIRED;
    if (found.device != device)
        return TICKET_OTHER_DEVICE;
    *ticket = found;
    return TICKET_OK;
}
