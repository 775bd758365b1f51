/* chat_names: nicknames for GIDs, for one user's eyes, kept in a file.
 *
 * The file has a line "GID NAME" for each, in no order; lines that begin with # or cannot be read
 * are left out. It is replaced as a whole: written beside itself, synced, renamed; so it is never
 * half a file. A name is a cleaned line (chat_text.h) of 1 to CHAT_NAMES_COLUMNS_MAX columns
 * without spaces around it; no two GIDs have the same (letters A-Z and a-z count as the same), and
 * a name that reads as a GID is refused: nobody gets to look like somebody else.
 */
#ifndef CLI_CHAT_NAMES_H
#define CLI_CHAT_NAMES_H

#include "base/span.h"
#include "client/lahar.h"

#define CHAT_NAMES_MAX 10000u
#define CHAT_NAMES_COLUMNS_MAX 32
#define CHAT_NAMES_SIZE 132u /* bytes of a name, with the NUL */

struct chat_names;

enum chat_names_set {
    CHAT_NAMES_SET,
    CHAT_NAMES_INVALID, /* empty, too long, or reads as a GID */
    CHAT_NAMES_TAKEN,   /* another GID has it */
    CHAT_NAMES_FULL,
};

struct chat_names *chat_names_new(void);
void chat_names_free(struct chat_names *names);

/* "" if it has none. Borrowed until the next change. */
const char *chat_names_of(const struct chat_names *names, lahar_gid gid);
/* 0: nobody has it. */
lahar_gid chat_names_find(const struct chat_names *names, struct span name);
/* The first GID behind `after` in the order of numbers whose name begins so; 0: none. */
lahar_gid chat_names_complete(const struct chat_names *names, struct span begin, lahar_gid after);
MUST_CHECK enum chat_names_set chat_names_set(struct chat_names *names, lahar_gid gid,
                                              struct span name);
void chat_names_remove(struct chat_names *names, lahar_gid gid);

/* $XDG_CONFIG_HOME/lahar/nicknames/CLUSTER-GID, where GID is who has logged in (one for each user
 * of each site); false: no home, or the path is too long. */
MUST_CHECK bool chat_names_path(const char *cluster, lahar_gid self, char *path, size_t room);
/* A file that is not there is an empty one. False: it cannot be read, see errno. */
MUST_CHECK bool chat_names_load(struct chat_names *names, const char *path);
/* Makes folders that are missing, for the user alone. False: see errno; the old file is as it was.
 */
MUST_CHECK bool chat_names_save(const struct chat_names *names, const char *path);

#endif
