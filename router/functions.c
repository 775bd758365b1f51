#include "router/functions.h"

#include "base/log.h"

#include <stdlib.h>

#define LISTPACK_ENTRIES "hash-max-listpack-entries"
#define LISTPACK_ENTRIES_MIN 512

enum tag { TAG_LOAD, TAG_CONFIG_GET, TAG_CONFIG_SET };

static const char library[] =
    "#!lua name=lahar\n"
    "local function lease(keys, args)\n"
    "  local holder = redis.call('GET', keys[1])\n"
    "  if holder and holder ~= args[1] then return 0 end\n"
    "  if args[2] == '0' then redis.call('DEL', keys[1])\n"
    "  else redis.call('SET', keys[1], args[1], 'PX', args[2]) end\n"
    "  return holder and 1 or 2\n"
    "end\n"
    "local function held(keys, args) return redis.call('GET', keys[1]) == args[1] end\n"
    "local not_owner = 'NOTOWNER the lease is not held by who asks'\n"
    /* A fence that is gone begins with the quarters of a second since 2025: above all that it was,
     * as none is raised as often as that. */
    "local function raise(keys, args)\n"
    "  if not held(keys, args) then return redis.error_reply(not_owner) end\n"
    "  local time = redis.call('TIME')\n"
    "  local first = (tonumber(time[1]) - 1735689600) * 4 + math.floor(tonumber(time[2]) / "
    "250000)\n"
    "  local epochs = {}\n"
    "  for i = 2, #keys do\n"
    "    local fence = redis.call('GET', keys[i])\n"
    "    local epoch = fence and tonumber(fence) + 1 or first\n"
    "    epochs[i - 1] = math.max(epoch, tonumber(args[2]))\n"
    "    redis.call('SET', keys[i], string.format('%.0f', epochs[i - 1]))\n"
    "  end\n"
    "  return epochs\n"
    "end\n"
    "local function keep(keys, args)\n"
    "  if not held(keys, args) then return redis.error_reply(not_owner) end\n"
    "  local higher = 0\n"
    "  for i = 2, #keys do\n"
    "    local fence, epoch = tonumber(redis.call('GET', keys[i]) or '0'), tonumber(args[i])\n"
    "    if fence > epoch then higher = higher + 1\n"
    "    elseif fence < epoch then redis.call('SET', keys[i], args[i]) end\n"
    "  end\n"
    "  return higher\n"
    "end\n"
    "local function block(keys, args)\n"
    "  local first, floor = tonumber(redis.call('GET', keys[1]) or '0'), tonumber(args[1])\n"
    "  if first < floor then first = floor + tonumber(args[3]) end\n"
    "  redis.call('SET', keys[1], string.format('%.0f', first + tonumber(args[2])))\n"
    "  return first\n"
    "end\n"
    "local function gid(keys, args)\n"
    "  if redis.call('GET', keys[2]) ~= args[1] then\n"
    "    return redis.error_reply('FENCED the slot has another epoch')\n"
    "  end\n"
    "  redis.call('HSETNX', keys[1], args[2], args[3])\n"
    "  return redis.call('HGET', keys[1], args[2])\n"
    "end\n"
    "local function put(keys, args)\n"
    "  if redis.call('GET', keys[2]) ~= args[1] then\n"
    "    return redis.error_reply('FENCED the slot has another epoch')\n"
    "  end\n"
    "  if args[3] == '' then return redis.call('HDEL', keys[1], args[2]) end\n"
    "  return redis.call('HSET', keys[1], args[2], args[3])\n"
    "end\n"
    "local function varint(n)\n"
    "  local bytes = ''\n"
    "  while n >= 128 do\n"
    "    bytes = bytes .. string.char(n % 128 + 128)\n"
    "    n = math.floor(n / 128)\n"
    "  end\n"
    "  return bytes .. string.char(n)\n"
    "end\n"
    "local function lost(keys, floor)\n"
    "  return tonumber(redis.call('GET', keys[2]) or '0') < tonumber(floor)\n"
    "end\n"
    "local gone = 'LOST the sites that were known are gone'\n"
    /* What a record ends with, fields 7 and 5 of Site, lies beside it: the time, which outlives the
     * record, and how many bytes they are, so that they can be cut off. */
    "local function site_end(keys, id)\n"
    "  local known = redis.call('HGET', keys[3], id) or '0 0'\n"
    "  local not_before, len = string.match(known, '(%d+) (%d+)')\n"
    "  return tonumber(not_before), tonumber(len)\n"
    "end\n"
    "local function write_site(keys, id, packed, not_before, revision)\n"
    "  local last = '\\40' .. varint(revision)\n"
    "  if not_before > 0 then last = '\\56' .. varint(not_before) .. last end\n"
    "  redis.call('HSET', keys[1], id, packed .. last)\n"
    "  redis.call('HSET', keys[3], id, string.format('%.0f %d', not_before, #last))\n"
    "end\n"
    /* Of a removed site only the end is left. */
    "local function there(keys, id)\n"
    "  local packed, _, len = redis.call('HGET', keys[1], id), site_end(keys, id)\n"
    "  return packed and #packed > len and packed\n"
    "end\n"
    "local function site(keys, args)\n"
    "  if lost(keys, args[3]) then return redis.error_reply(gone) end\n"
    "  if args[2] == '' and not there(keys, args[1]) then return 0 end\n"
    "  local revision = redis.call('INCR', keys[2])\n"
    "  local not_before = math.max(tonumber(args[4]), site_end(keys, args[1]))\n"
    "  write_site(keys, args[1], args[2], not_before, revision)\n"
    "  return revision\n"
    "end\n"
    "local function site_kick(keys, args)\n"
    "  if lost(keys, args[2]) then return redis.error_reply(gone) end\n"
    "  local packed = there(keys, args[1])\n"
    "  if not packed then return 0 end\n"
    "  local revision = redis.call('INCR', keys[2])\n"
    "  local not_before, len = site_end(keys, args[1])\n"
    "  not_before = math.max(not_before, tonumber(args[3]))\n"
    "  write_site(keys, args[1], string.sub(packed, 1, #packed - len), not_before, revision)\n"
    "  return revision\n"
    "end\n"
    "local function sites(keys, args)\n"
    "  local all = redis.call('HGETALL', keys[1])\n"
    "  table.insert(all, tonumber(redis.call('GET', keys[2]) or '0'))\n"
    "  return all\n"
    "end\n"
    "local function sites_restore(keys, args)\n"
    "  if not lost(keys, args[1]) then return 0 end\n"
    "  for i = 3, #args, 4 do\n"
    "    write_site(keys, args[i], args[i + 1], tonumber(args[i + 2]), tonumber(args[i + 3]))\n"
    "  end\n"
    "  if args[2] == '1' then\n"
    "    redis.call('SET', keys[2], string.format('%.0f', tonumber(args[1]) + 1000))\n"
    "  end\n"
    "  return 1\n"
    "end\n"
    "local function swap(keys, args)\n"
    "  local found = redis.call('GET', keys[1]) or ''\n"
    "  if found ~= args[1] then return found end\n"
    "  redis.call('SET', keys[1], args[2])\n"
    "  return args[2]\n"
    "end\n"
    "redis.register_function('lahar_swap', swap)\n"
    "redis.register_function('lahar_lease', lease)\n"
    "redis.register_function('lahar_raise', raise)\n"
    "redis.register_function('lahar_keep', keep)\n"
    "redis.register_function('lahar_block', block)\n"
    "redis.register_function('lahar_gid', gid)\n"
    "redis.register_function('lahar_put', put)\n"
    "redis.register_function('lahar_site', site)\n"
    "redis.register_function('lahar_site_kick', site_kick)\n"
    "redis.register_function('lahar_sites', sites)\n"
    "redis.register_function('lahar_sites_restore', sites_restore)\n";

/* What cannot be sent now is sent on the next connection. */
static void send(functions_command_fn *command, void *ctx, const char *const *words, size_t count,
                 enum tag tag)
{
    struct span args[4];
    assert(count <= sizeof args / sizeof args[0]);
    for (size_t i = 0; i < count; i++)
        args[i] = span_text(words[i]);
    (void)!command(ctx, args, count, tag);
}

void functions_begin(functions_command_fn *command, void *ctx)
{
    send(command, ctx, (const char *const[]){"FUNCTION", "LOAD", "REPLACE", library}, 4, TAG_LOAD);
    send(command, ctx, (const char *const[]){"CONFIG", "GET", LISTPACK_ENTRIES}, 3, TAG_CONFIG_GET);
}

static int64_t to_number(struct span text)
{
    char digits[24] = "";
    memcpy(digits, text.at, text.len < sizeof digits - 1 ? text.len : sizeof digits - 1);
    return strtoll(digits, NULL, 10);
}

void functions_reply(functions_command_fn *command, void *ctx, uint64_t tag,
                     const struct reply *reply)
{
    if (reply == NULL)
        return;
    bool failed = reply->kind == REPLY_ERROR;
    struct span error = failed ? reply->text : span_text("the reply makes no sense");
    switch (tag) {
    case TAG_LOAD:
        if (failed)
            log_error(
                "redis_functions_refused", LOG_SPAN("error", error),
                LOG_TEXT("change", "the router needs Redis 7 and the right to FUNCTION LOAD"));
        break;
    case TAG_CONFIG_GET:
        if (reply->kind == REPLY_ARRAY && reply->len >= 2 &&
            to_number(reply->at[1]->text) >= LISTPACK_ENTRIES_MIN)
            break;
        if (!failed)
            send(command, ctx, (const char *const[]){"CONFIG", "SET", LISTPACK_ENTRIES, "512"}, 4,
                 TAG_CONFIG_SET);
        else
            log_warn("redis_setting_unknown", LOG_SPAN("error", error),
                     LOG_TEXT("change", LISTPACK_ENTRIES " should be 512 or more"));
        break;
    case TAG_CONFIG_SET:
        if (failed)
            log_warn("redis_setting_refused", LOG_SPAN("error", error),
                     LOG_TEXT("change", "set " LISTPACK_ENTRIES " to 512 in redis.conf"));
        else
            log_info("redis_setting_raised", LOG_TEXT("setting", LISTPACK_ENTRIES),
                     LOG_NUMBER("value", LISTPACK_ENTRIES_MIN));
        break;
    default:
        break;
    }
}
