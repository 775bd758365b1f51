#include "proto/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lists have at most 64 lines with a key; the rest is for comments. */
#define FILE_BYTES_MAX (64u * 1024u)
#define Z85_LEN (KEYS_Z85_SIZE - 1)

static const char *const role_names[KEYS_ROLES] = {"edge", "router", "admin"};

const char *keys_role_name(enum keys_role role)
{
    assert(role < KEYS_ROLES);
    return role_names[role];
}

/* Sets the error's text; false, so that it can be returned. */
__attribute__((format(printf, 2, 3))) static bool fail(struct keys_error *error, const char *format,
                                                       ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

/* 40 characters, each five of them a number below 2^32 in base 85. So no key begins with a #, which
 * is digit 84, and a comment is never a key. */
static bool z85_valid(struct span text)
{
    static const char digits[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    uint64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = memchr(digits, text.at[i], sizeof digits - 1);
        if (digit == NULL)
            return false;
        number = (i % 5 == 0 ? 0 : number * 85) + (uint64_t)(digit - digits);
        if (number > UINT32_MAX)
            return false;
    }
    return text.len == Z85_LEN;
}

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next line without the blanks around it. */
static struct span take_line(struct span *text)
{
    const uint8_t *newline = memchr(text->at, '\n', text->len);
    size_t len = newline == NULL ? text->len : (size_t)(newline - text->at);
    struct span line = span_upto(*text, len);
    *text = span_after(*text, newline == NULL ? len : len + 1);
    while (line.len > 0 && blank(line.at[0]))
        line = span_after(line, 1);
    while (line.len > 0 && blank(line.at[line.len - 1]))
        line = span_upto(line, line.len - 1);
    return line;
}

bool keys_parse(struct span text, bool list, char keys[][KEYS_Z85_SIZE], uint32_t *count,
                struct keys_error *error)
{
    uint32_t keys_max = list ? KEYS_ALLOWED_MAX : 1;
    *count = 0;
    for (unsigned number = 1; text.len > 0; number++) {
        struct span line = take_line(&text);
        if (line.len == 0 || line.at[0] == '#')
            continue;
        if (!z85_valid(line))
            return fail(error,
                        "line %u: not a key, which has %u characters of Z85; make keys with "
                        "`lahar keygen`",
                        number, Z85_LEN);
        if (*count == keys_max)
            return fail(error, "line %u: more than %u key%s; remove what is no longer used", number,
                        keys_max, list ? "s" : "");
        memcpy(keys[*count], line.at, Z85_LEN);
        keys[(*count)++][Z85_LEN] = 0;
    }
    if (!list && *count == 0)
        return fail(error, "there is no key in it; make one with `lahar keygen`");
    return true;
}

/* -------------------------------------------------------------------------------------------------
 */

/* The open file's bytes; nothing that could wait for a writer, and no secret that everybody may
 * read. */
static bool read_whole(int fd, bool secret, uint8_t bytes[FILE_BYTES_MAX], size_t *len,
                       struct keys_error *error)
{
    struct stat about;
    *len = 0;
    if (fstat(fd, &about) != 0)
        return fail(error, "%s", strerror(errno));
    if (!S_ISREG(about.st_mode))
        return fail(error, "not a regular file");
    if (secret && (about.st_mode & S_IRWXO) != 0)
        return fail(error,
                    "everybody may read this secret key or change it; chmod o= it, and make a "
                    "new key if others have been on this machine");
    for (;;) {
        ssize_t got = read(fd, bytes + *len, FILE_BYTES_MAX - *len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(error, "%s", strerror(errno));
        if (got == 0)
            return true;
        *len += (size_t)got;
        if (*len == FILE_BYTES_MAX)
            return fail(error, "over %u bytes: this is no file of keys", FILE_BYTES_MAX - 1);
    }
}

static bool load_open_file(int fd, bool list, char keys[][KEYS_Z85_SIZE], uint32_t *count,
                           struct keys_error *error)
{
    uint8_t bytes[FILE_BYTES_MAX];
    size_t len;
    bool good = read_whole(fd, !list, bytes, &len, error) &&
                keys_parse(span_of(bytes, len), list, keys, count, error);
    explicit_bzero(bytes, sizeof bytes);
    return good;
}

/* DIRECTORY/ROLE.key or, as a list, DIRECTORY/ROLEs.allow. */
static bool load_file(const char *directory, enum keys_role role, bool list,
                      char keys[][KEYS_Z85_SIZE], uint32_t *count, struct keys_error *error)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s%s", directory, keys_role_name(role),
                       list ? "s.allow" : ".key");
    if (len < 0 || (size_t)len >= sizeof path)
        return fail(error, "the name of the folder of keys is too long");

    struct keys_error cause;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(error, "%s: %s; `lahar keygen` makes it", path, strerror(errno));
    bool good = load_open_file(fd, list, keys, count, &cause);
    close(fd);
    return good || fail(error, "%s: %s", path, cause.text);
}

bool keys_load(const char *directory, enum keys_role role, struct keys *keys,
               struct keys_error *error)
{
    assert(role < KEYS_ROLES);
    memset(keys, 0, sizeof *keys);

    uint32_t one;
    if (!load_file(directory, role, false, &keys->secret, &one, error))
        return false;
    for (unsigned other = 0; other < KEYS_ROLES; other++)
        if (role == KEYS_ROUTER || other == KEYS_ROUTER)
            if (!load_file(directory, other, true, keys->allowed[other],
                           &keys->allowed_count[other], error))
                return false;
    /* Who connects must know whom he will find there; a router may well wait for its first edge. */
    if (role != KEYS_ROUTER && keys->allowed_count[KEYS_ROUTER] == 0)
        return fail(error, "%s/routers.allow: there is no key in it; add the routers' public key",
                    directory);
    return true;
}
