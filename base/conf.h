/* conf: settings from a YAML file, overridden by the environment, under one table of keys.
 *
 * A key "redis.address" of program "lahar-router" is
 *
 *     redis:
 *       address: unix:/run/redis.sock        in the file, and
 *     LAHAR_ROUTER_REDIS_ADDRESS=...         in the environment, which wins.
 *
 * Values are scalars; lists are YAML sequences of scalars, or comma-separated in the environment.
 * Sizes take KiB, MiB, GiB; numbers are decimal (010 is ten); flags are true or false. Unknown
 * keys, doubled keys, wrong types, values out of range, anchors, aliases, tags, and variables of
 * the program's prefix that no key has (but ..._CONFIG, the path, which is for main) are errors
 * that name file, line, key and what to change. No text may hold control characters.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include "base/span.h"

#include <stdio.h>

#define CONF_FILE_BYTES_MAX (256u * 1024u)
#define CONF_ENTRY_BYTES_MAX 1024u /* of a list */

enum conf_type { CONF_FLAG, CONF_NUMBER, CONF_SIZE, CONF_TEXT, CONF_LIST };

struct conf_key {
    const char *name; /* dotted, at most two levels; the unit last: "link.heartbeat_ms" */
    enum conf_type type;
    const char *fallback; /* as it would be written; a list is comma-separated; NULL: must be set */
    int64_t min, max;     /* the value; texts and lists: how many bytes / entries; max > 0 */
    const char *help;     /* a sentence or more; wrapped as comment by conf_print */
};

struct conf;

struct conf_error {
    char text[512]; /* "edge.yaml:12: workers: 900 is over the limit of 64; ..." */
};

/* `path` NULL: defaults and environment only. NULL, and `error` filled, if anything is wrong. Keys
 * end with one whose name is NULL. */
MUST_CHECK struct conf *conf_load(const char *program, const struct conf_key *keys,
                                  const char *path, struct conf_error *error);
/* The same from memory; `path` only names it in errors. */
MUST_CHECK struct conf *conf_load_text(const char *program, const struct conf_key *keys,
                                       const char *path, struct span text,
                                       struct conf_error *error);
void conf_free(struct conf *conf);

/* Asking for a key that is not in the table, or as another type, is a bug. Texts live as long as
 * conf. */
bool conf_flag(const struct conf *conf, const char *name);
int64_t conf_number(const struct conf *conf, const char *name); /* also sizes, in bytes */
const char *conf_text(const struct conf *conf, const char *name);
size_t conf_list_len(const struct conf *conf, const char *name);
const char *conf_list_at(const struct conf *conf, const char *name, size_t index);
/* All of it, conf_list_len entries. */
const char *const *conf_list(const struct conf *conf, const char *name);

/* All keys with help, limits, environment name and default, as a YAML file that conf_load takes:
 * keys with a default commented out, those that must be set with a stand-in that conf_load takes.
 * What
 * --print-config prints and deploy/ ships. */
void conf_print(const char *program, const struct conf_key *keys, FILE *out);

#endif
