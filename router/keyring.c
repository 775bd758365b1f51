#include "router/keyring.h"

#include "base/log.h"
#include "proto/link.pb-c.h"
#include "proto/unpack.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE 80u
#define KEYS_MAX 2u
/* What others wrote must not become more than an edge takes. */
#define PACKED_MAX 256u
#define ARENA_BYTES (16u * 1024u)

enum tag_kind { TAG_READ, TAG_SWAP };

struct keyring {
    struct keyring_options options;
    char key[KEY_SIZE];
    struct keyring_actions actions;
    void *ctx;
    struct arena *arena;

    uint64_t revision, wall_ms;
    uint8_t packed[PACKED_MAX];
    size_t packed_len;
    bool asked;
    uint32_t empty_polls;
};

struct keyring *keyring_new(const struct keyring_options *options,
                            const struct keyring_actions *actions, void *ctx)
{
    struct keyring *keyring = calloc(1, sizeof *keyring);
    assert(keyring != NULL && options->rotate_s > KEYRING_GRACE_S);
    keyring->options = *options;
    int len = snprintf(keyring->key, KEY_SIZE, "%sticket_keys", options->prefix);
    assert(len > 0 && len < (int)KEY_SIZE);
    keyring->actions = *actions;
    keyring->ctx = ctx;
    keyring->arena = arena_new(ARENA_BYTES);
    return keyring;
}

void keyring_free(struct keyring *keyring)
{
    if (keyring == NULL)
        return;
    arena_free(keyring->arena);
    explicit_bzero(keyring, sizeof *keyring);
    free(keyring);
}

struct span keyring_packed(const struct keyring *keyring)
{
    return span_of(keyring->packed, keyring->packed_len);
}

uint64_t keyring_revision(const struct keyring *keyring)
{
    return keyring->revision;
}

/* --- what is in Redis ------------------------------------------------------------------------- */

/* NULL: they make no sense. */
static Lahar__Link__V1__TicketKeys *unpack(struct keyring *keyring, struct span packed)
{
    arena_reset(keyring->arena);
    Lahar__Link__V1__TicketKeys *keys =
        packed.len == 0 || packed.len > PACKED_MAX
            ? NULL
            : unpack_message(&lahar__link__v1__ticket_keys__descriptor, keyring->arena, packed);
    if (keys == NULL || keys->revision == 0 || keys->n_keys == 0 || keys->n_keys > KEYS_MAX)
        return NULL;
    for (size_t i = 0; i < keys->n_keys; i++)
        if (keys->keys[i]->secret.len != KEYRING_SECRET_SIZE ||
            (i > 0 && keys->keys[i]->id == keys->keys[0]->id))
            return NULL;
    return keys;
}

static void take(struct keyring *keyring, const Lahar__Link__V1__TicketKeys *keys,
                 struct span packed)
{
    if (span_equal(packed, keyring_packed(keyring)))
        return;
    assert(packed.len <= PACKED_MAX);
    memcpy(keyring->packed, packed.at, packed.len);
    keyring->packed_len = packed.len;
    keyring->revision = keys->revision;
    log_info("ticket_keys", LOG_UNSIGNED("revision", keys->revision),
             LOG_UNSIGNED("keys", keys->n_keys),
             LOG_HEX("newest", keys->keys[keys->n_keys - 1]->id));
    keyring->actions.changed(keyring->ctx);
}

static void swap(struct keyring *keyring, struct span found, struct span wanted)
{
    struct span args[] = {span_text("FCALL"),
                          span_text("lahar_swap"),
                          span_text("1"),
                          span_text(keyring->key),
                          found,
                          wanted};
    keyring->asked = keyring->actions.command(keyring->ctx, args, 6, TAG_SWAP);
}

/* The next key behind the newest of `keys`, or the first of all. */
static void make_next(struct keyring *keyring, struct span found,
                      const Lahar__Link__V1__TicketKeys *keys)
{
    uint8_t secret[KEYRING_SECRET_SIZE], packed[PACKED_MAX];
    Lahar__Link__V1__TicketKeys next = LAHAR__LINK__V1__TICKET_KEYS__INIT;
    Lahar__Link__V1__TicketKey new = LAHAR__LINK__V1__TICKET_KEY__INIT, *list[KEYS_MAX];
    keyring->actions.random(keyring->ctx, secret, sizeof secret);
    keyring->actions.random(keyring->ctx, &new.id, sizeof new.id);
    new.secret = unpack_data(span_of(secret, sizeof secret));
    new.seals_from = keyring->wall_ms / 1000;
    next.keys = list;
    next.revision = keyring->wall_ms;
    if (keys != NULL) {
        Lahar__Link__V1__TicketKey *newest = keys->keys[keys->n_keys - 1];
        list[next.n_keys++] = newest;
        new.seals_from += KEYRING_GRACE_S;
        new.id += new.id == newest->id;
        if (next.revision <= keys->revision)
            next.revision = keys->revision + 1;
    }
    list[next.n_keys++] = &new;
    size_t len = lahar__link__v1__ticket_keys__get_packed_size(&next);
    assert(len <= sizeof packed);
    lahar__link__v1__ticket_keys__pack(&next, packed);
    swap(keyring, found, span_of(packed, len));
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(packed, sizeof packed);
}

static bool is_due(const struct keyring *keyring, const Lahar__Link__V1__TicketKeys *keys)
{
    return keyring->wall_ms >= keys->revision + (uint64_t)keyring->options.rotate_s * 1000;
}

static void on_found(struct keyring *keyring, struct span found)
{
    const Lahar__Link__V1__TicketKeys *keys = unpack(keyring, found);
    bool lost = keys == NULL || keys->revision < keyring->revision;
    if (lost && keyring->revision != 0) {
        log_error("ticket_keys_lost", LOG_UNSIGNED("known", keyring->revision),
                  LOG_TEXT("change", "Redis has lost data; restore its backup"));
        swap(keyring, found, keyring_packed(keyring));
    } else if (lost) {
        if (found.len > 0)
            log_error("ticket_keys_unreadable");
        if (++keyring->empty_polls >= KEYRING_POLLS)
            make_next(keyring, found, NULL);
    } else {
        take(keyring, keys, found);
        if (is_due(keyring, keys))
            make_next(keyring, found, keys);
    }
}

static void on_swapped(struct keyring *keyring, struct span now)
{
    const Lahar__Link__V1__TicketKeys *keys = unpack(keyring, now);
    /* What is older than ours is seen to at the next poll. */
    if (keys != NULL && keys->revision >= keyring->revision)
        take(keyring, keys, now);
}

/* --- events ----------------------------------------------------------------------------------- */

void keyring_poll(struct keyring *keyring, uint64_t wall_ms)
{
    keyring->wall_ms = wall_ms;
    if (keyring->asked)
        return;
    struct span args[] = {span_text("GET"), span_text(keyring->key)};
    keyring->asked = keyring->actions.command(keyring->ctx, args, 2, TAG_READ);
}

void keyring_reply(struct keyring *keyring, uint64_t tag, const struct reply *reply)
{
    keyring->asked = false;
    bool nothing = reply != NULL && reply->kind == REPLY_NIL;
    if (reply == NULL || (reply->kind != REPLY_BULK && !nothing)) {
        if (reply != NULL && reply->kind == REPLY_ERROR)
            log_warn("ticket_keys_refused", LOG_SPAN("error", reply->text));
        return;
    }
    struct span text = nothing ? (struct span){0} : reply->text;
    if (tag == TAG_READ)
        on_found(keyring, text);
    else
        on_swapped(keyring, text);
}
