#include "cli/chat_model.h"

#include "cli/chat_text.h"

#include <stdio.h>
#include <stdlib.h>

struct chat_model {
    struct chat_conversation *list[CHAT_MODEL_CONVERSATIONS_MAX + 1]; /* as they are shown */
    size_t count;
    struct chat_conversation *current;
    uint64_t serial, active;
};

static struct chat_conversation *make(lahar_gid gid)
{
    struct chat_conversation *conversation = calloc(1, sizeof *conversation);
    assert(conversation);
    conversation->gid = gid;
    return conversation;
}

static void free_message(const struct chat_message *message)
{
    union {
        const uint8_t *at;
        char *text;
    } owned = {message->text.at}; /* chat_text_clean made it */
    free(owned.text);
}

static void free_conversation(struct chat_conversation *conversation)
{
    for (size_t i = 0; i < conversation->count; i++)
        free_message(&conversation->messages[i]);
    free(conversation->messages);
    free(conversation->draft);
    free(conversation);
}

struct chat_model *chat_model_new(void)
{
    struct chat_model *model = calloc(1, sizeof *model);
    assert(model);
    model->list[0] = model->current = make(0);
    model->count = 1;
    return model;
}

void chat_model_free(struct chat_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->count; i++)
        free_conversation(model->list[i]);
    free(model);
}

/* ---- the list ----------------------------------------------------------------------------------
 */

size_t chat_model_count(const struct chat_model *model)
{
    return model->count;
}

struct chat_conversation *chat_model_at(const struct chat_model *model, size_t index)
{
    assert(index < model->count);
    return model->list[index];
}

static size_t place_of(const struct chat_model *model, lahar_gid gid)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->list[i]->gid == gid)
            return i;
    return model->count;
}

struct chat_conversation *chat_model_find(const struct chat_model *model, lahar_gid gid)
{
    size_t place = place_of(model, gid);
    return place < model->count ? model->list[place] : NULL;
}

static void remove_at(struct chat_model *model, size_t place)
{
    model->count--;
    memmove(model->list + place, model->list + place + 1,
            (model->count - place) * sizeof(struct chat_conversation *));
}

static void insert_at(struct chat_model *model, size_t place,
                      struct chat_conversation *conversation)
{
    memmove(model->list + place + 1, model->list + place,
            (model->count - place) * sizeof(struct chat_conversation *));
    model->list[place] = conversation;
    model->count++;
}

/* The list is in the order of `active`: the one quiet for longest stands before the console. */
static void make_room(struct chat_model *model)
{
    if (model->count <= CHAT_MODEL_CONVERSATIONS_MAX)
        return;
    size_t place = model->count - 2;
    if (model->list[place] == model->current)
        place--;
    free_conversation(model->list[place]);
    remove_at(model, place);
}

static struct chat_conversation *find_or_make(struct chat_model *model, lahar_gid gid)
{
    struct chat_conversation *conversation = chat_model_find(model, gid);
    if (conversation)
        return conversation;
    make_room(model);
    conversation = make(gid);
    conversation->active = ++model->active;
    insert_at(model, 0, conversation);
    return conversation;
}

static void to_front(struct chat_model *model, struct chat_conversation *conversation)
{
    if (conversation->gid == 0)
        return;
    remove_at(model, place_of(model, conversation->gid));
    conversation->active = ++model->active;
    insert_at(model, 0, conversation);
}

struct chat_conversation *chat_model_current(const struct chat_model *model)
{
    return model->current;
}

static void show(struct chat_model *model, struct chat_conversation *conversation)
{
    if (model->current == conversation)
        return;
    model->current->new_from = 0;
    model->current = conversation;
    size_t unread =
        conversation->unread < conversation->count ? conversation->unread : conversation->count;
    bool between = unread > 0 && unread < conversation->count;
    conversation->new_from =
        between ? conversation->messages[conversation->count - unread].serial : 0;
    conversation->unread = 0;
    conversation->bottom_serial = 0;
}

struct chat_conversation *chat_model_open(struct chat_model *model, lahar_gid gid)
{
    show(model, find_or_make(model, gid));
    return model->current;
}

void chat_model_step(struct chat_model *model, int by)
{
    long count = (long)model->count;
    long place = ((long)place_of(model, model->current->gid) + by) % count;
    show(model, model->list[place < 0 ? place + count : place]);
}

bool chat_model_open_unread(struct chat_model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        if (model->list[i]->unread > 0) {
            show(model, model->list[i]);
            return true;
        }
    }
    return false;
}

uint32_t chat_model_unread(const struct chat_model *model)
{
    uint32_t unread = 0;
    for (size_t i = 0; i < model->count; i++)
        unread += model->list[i]->unread;
    return unread;
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static void forget_oldest(struct chat_conversation *conversation)
{
    size_t gone = 0;
    /* Some at once, so that a flood does not move all of them each time. */
    while (gone < conversation->count &&
           (gone < CHAT_MODEL_MESSAGES_MAX / 10 || conversation->bytes > CHAT_MODEL_BYTES_MAX)) {
        conversation->bytes -= conversation->messages[gone].text.len;
        free_message(&conversation->messages[gone]);
        gone++;
    }
    conversation->count -= gone;
    memmove(conversation->messages, conversation->messages + gone,
            conversation->count * sizeof *conversation->messages);
}

/* Takes ownership of `text`. */
static struct chat_message *add(struct chat_model *model, struct chat_conversation *conversation,
                                char *text, size_t len, uint64_t at_ms)
{
    if (conversation->count == CHAT_MODEL_MESSAGES_MAX ||
        (conversation->count > 0 && conversation->bytes + len > CHAT_MODEL_BYTES_MAX)) {
        conversation->bytes += len;
        forget_oldest(conversation);
        conversation->bytes -= len;
    }
    if (conversation->count == conversation->room) {
        conversation->room = conversation->room ? conversation->room * 2 : 8;
        conversation->messages =
            realloc(conversation->messages, conversation->room * sizeof *conversation->messages);
        assert(conversation->messages);
    }
    struct chat_message *message = &conversation->messages[conversation->count++];
    *message = (struct chat_message){
        .serial = ++model->serial, .at_ms = at_ms, .text = span_of(text, len)};
    conversation->bytes += len;
    to_front(model, conversation);
    return message;
}

void chat_model_received(struct chat_model *model, lahar_gid gid, lahar_gid from, struct span body,
                         uint64_t at_ms)
{
    struct chat_conversation *conversation = find_or_make(model, gid);
    size_t len;
    char *text = chat_text_clean(body, true, &len);
    struct chat_message *message = add(model, conversation, text, len, at_ms);
    message->from = from;
    message->mark = CHAT_MARK_THEIRS;
    conversation->typing_until_ms = 0;
    if (conversation != model->current)
        conversation->unread++;
}

void chat_model_typing(struct chat_model *model, lahar_gid gid, uint64_t until_ms)
{
    struct chat_conversation *conversation = chat_model_find(model, gid);
    if (conversation) /* a mark alone, of a stranger, opens nothing */
        conversation->typing_until_ms = until_ms;
}

void chat_model_note(struct chat_model *model, const char *text, uint64_t at_ms)
{
    struct chat_conversation *console = chat_model_find(model, 0);
    size_t len;
    char *clean = chat_text_clean(span_text(text), true, &len);
    add(model, console, clean, len, at_ms)->mark = CHAT_MARK_NOTE;
}

void chat_model_sent(struct chat_model *model, lahar_gid to, const uint8_t id[LAHAR_ID_SIZE],
                     enum chat_mark mark, struct span text, uint64_t at_ms)
{
    struct chat_conversation *conversation = find_or_make(model, to);
    char *copy = malloc(text.len + 1);
    assert(copy);
    memcpy(copy, text.at, text.len);
    struct chat_message *message = add(model, conversation, copy, text.len, at_ms);
    message->mark = mark;
    memcpy(message->id, id, LAHAR_ID_SIZE);
    conversation->new_from = 0;
    conversation->bottom_serial = 0;
}

void chat_model_refused(struct chat_message *message, const char *reason)
{
    message->mark = CHAT_MARK_REFUSED;
    snprintf(message->reason, sizeof message->reason, "%s", reason);
}

static bool is_ours(const struct chat_message *message)
{
    return message->mark != CHAT_MARK_THEIRS && message->mark != CHAT_MARK_NOTE;
}

void chat_model_outcome(struct chat_model *model, const struct lahar_result_of_send *result)
{
    static const enum chat_mark marks[] = {
        [LAHAR_KEPT] = CHAT_MARK_KEPT,
        [LAHAR_DELIVERED] = CHAT_MARK_DELIVERED,
        [LAHAR_REFUSED] = CHAT_MARK_REFUSED,
        [LAHAR_UNKNOWN] = CHAT_MARK_UNKNOWN,
    };
    struct chat_conversation *conversation = chat_model_find(model, result->to);
    for (size_t i = conversation ? conversation->count : 0; i > 0; i--) {
        struct chat_message *message = &conversation->messages[i - 1];
        if (!is_ours(message) || memcmp(message->id, result->id, LAHAR_ID_SIZE) != 0)
            continue;
        message->mark = marks[result->outcome];
        snprintf(message->reason, sizeof message->reason, "%s", result->reason_text);
        return;
    }
}

struct chat_message *chat_model_failed(struct chat_conversation *conversation, uint64_t serial)
{
    for (size_t i = conversation->count; i > 0; i--) {
        struct chat_message *message = &conversation->messages[i - 1];
        bool failed = message->mark == CHAT_MARK_REFUSED || message->mark == CHAT_MARK_UNKNOWN;
        if (failed && (serial == 0 || message->serial < serial))
            return message;
    }
    return NULL;
}
