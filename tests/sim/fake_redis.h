/* fake_redis: as much of Redis as the routers use, in memory, for the simulator: strings, hashes,
 * expiry, and the functions of router/functions.h by name. Time is given. A command that it does
 * not know is a bug. */
#ifndef SIM_FAKE_REDIS_H
#define SIM_FAKE_REDIS_H

#include "base/reply.h"

struct fake_redis;

struct fake_redis *fake_redis_new(void);
void fake_redis_free(struct fake_redis *redis);

/* Carries out one command. The reply is for fake_redis_reply_free. */
struct reply *fake_redis_do(struct fake_redis *redis, const struct span *args, size_t count,
                            uint64_t now_ms);
void fake_redis_reply_free(struct reply *reply);

/* The command of these words, its reply thrown away. */
void fake_redis_say(struct fake_redis *redis, const char *const *words, size_t count,
                    uint64_t now_ms);

/* All keys whose name contains `part` are gone. */
void fake_redis_lose(struct fake_redis *redis, const char *part);
/* The value of a field of a hash, empty if there is none; borrowed until the next command. */
struct span fake_redis_field(const struct fake_redis *redis, struct span key, struct span field);
/* How many fields the hashes have whose names contain `part`. */
size_t fake_redis_fields(const struct fake_redis *redis, const char *part);

#endif
