/* keys: the files that say who may take part in the links.
 *
 *     DIR/edge.key  router.key  admin.key       a secret key of CURVE in Z85 (40 characters); each
 * process needs only the one of its role DIR/edges.allow  routers.allow  admins.allow    public
 * keys, one a line; normally one, two while keys are being replaced
 *
 * Lines that begin with # and empty lines are skipped. A secret key's file must not be readable by
 * others. The lahar command makes them (lahar keygen). Reread on SIGHUP.
 */
#ifndef PROTO_KEYS_H
#define PROTO_KEYS_H

#include "base/span.h"

#define KEYS_Z85_SIZE 41u /* with the NUL */
#define KEYS_ALLOWED_MAX 64u

enum keys_role { KEYS_EDGE, KEYS_ROUTER, KEYS_ADMIN, KEYS_ROLES };

struct keys {
    char secret[KEYS_Z85_SIZE]; /* of our own role */
    char allowed[KEYS_ROLES][KEYS_ALLOWED_MAX][KEYS_Z85_SIZE];
    uint32_t allowed_count[KEYS_ROLES];
};

struct keys_error {
    char text[512]; /* file, line, and what to do */
};

/* Reads DIR for a process of `role`: its secret key and the lists it needs (a router all three, the
 * others routers.allow). */
MUST_CHECK bool keys_load(const char *directory, enum keys_role role, struct keys *keys,
                          struct keys_error *error);
/* "edge", "router", "admin". */
const char *keys_role_name(enum keys_role role);

/* For tests and fuzzing: one file's text. A list if `list`, else exactly one key. */
MUST_CHECK bool keys_parse(struct span text, bool list, char keys[][KEYS_Z85_SIZE], uint32_t *count,
                           struct keys_error *error);

#endif
