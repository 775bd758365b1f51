/* What a broken Redis may answer, byte for byte, in pieces: replies come in the order of the
 * commands, within the arena's limit, and readable to their last byte; or the connection ends.
 * The first byte of each piece is its length. Of base/redis.c this is the part that reads replies;
 * tests/test_redis.c has its sockets.
 */
#include "base/redis.c" /* its reader has no other door */

#define COMMANDS 8u

struct told {
    uint64_t next;
    uint32_t sum;
    bool down;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(struct told *told, const struct reply *reply, unsigned depth)
{
    assert(depth < 16 && reply->kind <= REPLY_ARRAY);
    for (size_t i = 0; i < reply->text.len; i++)
        told->sum += reply->text.at[i];
    for (size_t i = 0; reply->kind == REPLY_ARRAY && i < reply->len; i++)
        look_at(told, reply->at[i], depth + 1);
}

static void on_reply(void *ctx, uint64_t tag, const struct reply *reply)
{
    struct told *told = ctx;
    assert(tag == told->next++);
    if (reply != NULL)
        look_at(told, reply, 0);
}

static void on_down(void *ctx, const char *why)
{
    struct told *told = ctx;
    assert(why[0] != '\0' && strlen(why) < 200);
    told->down = true;
}

static void on_up(void *ctx)
{
    (void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct loop *loop;
    if (loop == NULL)
        loop = loop_new();
    log_set_level(LOG_ERROR);
    struct told told = {0};
    struct redis redis = {
        .loop = loop,
        .events = {on_up, on_down},
        .ctx = &told,
        .address = strdup("unix:/nowhere"),
        .commands_max = COMMANDS,
        .fd = -1,
        .backoff_ms = BACKOFF_MIN_MS,
        .functions = {create_string, create_array, create_integer, create_nil, free_object},
        .arena = arena_new(1024u * 1024u),
        .state = STATE_UP,
    };
    reader_new(&redis);
    for (uint64_t i = 0; i < COMMANDS; i++) {
        struct span arg = span_text("PING");
        bool sent = redis_send(&redis, &arg, 1, on_reply, &told, i);
        assert(sent);
    }
    bool up = true;
    while (size > 0 && up) {
        size_t len = data[0] < size - 1 ? data[0] : size - 1;
        redisReaderFeed(redis.reader, (const char *)data + 1, len);
        up = take_replies(&redis);
        data += 1 + len;
        size -= 1 + len;
    }
    assert(up != told.down);
    assert(up ? told.next <= COMMANDS : told.next == COMMANDS);
    if (redis.reader != NULL)
        redisReaderFree(redis.reader);
    arena_free(redis.arena);
    buf_free(&redis.out);
    free(redis.queue);
    free(redis.address);
    return 0;
}
