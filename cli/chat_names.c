#include "cli/chat_names.h"

#include "cli/chat_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)CHAT_NAMES_MAX * (CHAT_NAMES_SIZE + LAHAR_GID_TEXT_SIZE))

struct name {
    lahar_gid gid;
    char text[CHAT_NAMES_SIZE];
};

struct chat_names {
    struct name *list; /* by GID */
    size_t count, room;
};

struct chat_names *chat_names_new(void)
{
    struct chat_names *names = calloc(1, sizeof *names);
    assert(names);
    return names;
}

void chat_names_free(struct chat_names *names)
{
    if (!names)
        return;
    free(names->list);
    free(names);
}

/* Where it is, or would be. */
static size_t place_of(const struct chat_names *names, lahar_gid gid)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (names->list[middle].gid < gid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct chat_names *names, size_t place, lahar_gid gid)
{
    return place < names->count && names->list[place].gid == gid;
}

const char *chat_names_of(const struct chat_names *names, lahar_gid gid)
{
    size_t place = place_of(names, gid);
    return is_at(names, place, gid) ? names->list[place].text : "";
}

lahar_gid chat_names_find(const struct chat_names *names, struct span name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strlen(names->list[i].text) == name.len &&
            strncasecmp(names->list[i].text, (const char *)name.at, name.len) == 0)
            return names->list[i].gid;
    return 0;
}

lahar_gid chat_names_complete(const struct chat_names *names, struct span begin, lahar_gid after)
{
    for (size_t i = place_of(names, after + 1); i < names->count; i++)
        if (strncasecmp(names->list[i].text, (const char *)begin.at, begin.len) == 0)
            return names->list[i].gid;
    return 0;
}

/* Clean, trimmed, and short enough; false if nothing or too much is left. */
static bool make_name(struct span from, char out[CHAT_NAMES_SIZE])
{
    size_t len;
    char *clean = chat_text_clean(from, false, &len), *begin = clean;
    while (len > 0 && begin[len - 1] == ' ')
        len--;
    while (len > 0 && *begin == ' ')
        begin++, len--;
    bool good = len > 0 && len < CHAT_NAMES_SIZE &&
                chat_text_columns(span_of(begin, len)) <= CHAT_NAMES_COLUMNS_MAX;
    if (good) {
        memcpy(out, begin, len);
        out[len] = 0;
    }
    free(clean);
    lahar_gid gid;
    return good && !lahar_gid_parse(out, &gid);
}

enum chat_names_set chat_names_set(struct chat_names *names, lahar_gid gid, struct span name)
{
    char text[CHAT_NAMES_SIZE];
    if (gid == 0 || !make_name(name, text))
        return CHAT_NAMES_INVALID;
    lahar_gid has = chat_names_find(names, span_text(text));
    if (has != 0 && has != gid)
        return CHAT_NAMES_TAKEN;
    size_t place = place_of(names, gid);
    if (!is_at(names, place, gid)) {
        if (names->count == CHAT_NAMES_MAX)
            return CHAT_NAMES_FULL;
        if (names->count == names->room) {
            names->room = names->room ? names->room * 2 : 16;
            names->list = realloc(names->list, names->room * sizeof *names->list);
            assert(names->list);
        }
        memmove(names->list + place + 1, names->list + place,
                (names->count - place) * sizeof *names->list);
        names->count++;
    }
    names->list[place].gid = gid;
    memcpy(names->list[place].text, text, sizeof text);
    return CHAT_NAMES_SET;
}

void chat_names_remove(struct chat_names *names, lahar_gid gid)
{
    size_t place = place_of(names, gid);
    if (!is_at(names, place, gid))
        return;
    names->count--;
    memmove(names->list + place, names->list + place + 1,
            (names->count - place) * sizeof *names->list);
}

/* ---- the file ----------------------------------------------------------------------------------
 */

bool chat_names_path(const char *cluster, lahar_gid self, char *path, size_t room)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char gid[LAHAR_GID_TEXT_SIZE];
    int len;
    if (config && *config == '/') /* the standard has relative ones ignored */
        len = snprintf(path, room, "%s/lahar/nicknames/", config);
    else if (home && *home == '/')
        len = snprintf(path, room, "%s/.config/lahar/nicknames/", home);
    else
        return false;
    if (len < 0 || (size_t)len >= room)
        return false;
    size_t at = (size_t)len;
    for (; *cluster && at + 1 < room; cluster++) {
        bool plain = (*cluster >= '0' && *cluster <= '9') || (*cluster >= 'a' && *cluster <= 'z') ||
                     (*cluster >= 'A' && *cluster <= 'Z') || *cluster == '-';
        path[at++] = plain ? *cluster : '_';
    }
    len = snprintf(path + at, room - at, "-%s", lahar_gid_format(self, gid));
    return len > 0 && (size_t)len < room - at;
}

static void take_line(struct chat_names *names, char *line)
{
    lahar_gid gid;
    char *space = strchr(line, ' ');
    if (*line == '#' || !space)
        return;
    *space = 0;
    if (lahar_gid_parse(line, &gid) &&
        chat_names_set(names, gid, span_text(space + 1)) != CHAT_NAMES_SET)
        return; /* written by hand, and wrong: this one is left out */
}

bool chat_names_load(struct chat_names *names, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT;
    char *line = NULL;
    size_t room = 0, total = 0;
    ssize_t len;
    while ((len = getline(&line, &room, file)) > 0 && total < FILE_BYTES_MAX) {
        total += (size_t)len;
        line[strcspn(line, "\n")] = 0;
        take_line(names, line);
    }
    free(line);
    bool good = !ferror(file);
    fclose(file);
    return good;
}

static bool make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

static bool write_all(const struct chat_names *names, FILE *file)
{
    char gid[LAHAR_GID_TEXT_SIZE];
    fprintf(file, "# Nicknames of lahar chat: GID NAME\n");
    for (size_t i = 0; i < names->count; i++)
        fprintf(file, "%s %s\n", lahar_gid_format(names->list[i].gid, gid), names->list[i].text);
    return fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
}

bool chat_names_save(const struct chat_names *names, const char *path)
{
    char fresh[4096 + 8];
    int len = snprintf(fresh, sizeof fresh, "%s.XXXXXX", path);
    if (len < 0 || (size_t)len >= sizeof fresh) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (!make_folders(fresh))
        return false;
    int fd = mkostemp(fresh, O_CLOEXEC); /* 0600 */
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        return false;
    bool good = write_all(names, file);
    int error = errno;
    good = fclose(file) == 0 && good;
    if (good && rename(fresh, path) == 0)
        return true;
    if (!good)
        errno = error;
    error = errno;
    unlink(fresh);
    errno = error;
    return false;
}
