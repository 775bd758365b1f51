#include "base/setting.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HELP_WIDTH 78

static void *owned(void *memory)
{
    assert(memory != NULL);
    return memory;
}

bool setting_fail(struct conf_error *error, const struct setting_place *place, const char *format,
                  ...)
{
    size_t path_len = strlen(place->file);
    bool long_path = path_len > 160;
    char line[16] = "";
    if (place->line > 0)
        snprintf(line, sizeof line, "%d:", place->line);
    int used = snprintf(error->text, sizeof error->text, "%s%s:%s %.96s%s", long_path ? "..." : "",
                        place->file + (long_path ? path_len - 160 : 0), line,
                        place->name ? place->name : "", place->name ? ": " : "");
    assert(used > 0 && (size_t)used < sizeof error->text);
    va_list args;
    va_start(args, format);
    vsnprintf(error->text + used, sizeof error->text - (size_t)used, format, args);
    va_end(args);
    return false;
}

struct setting_shown setting_show(struct span value)
{
    struct setting_shown shown;
    size_t len = value.len < 60 ? value.len : 60;
    while (len < value.len && len > 0 && (value.at[len] & 0xc0) == 0x80)
        len--;
    for (size_t i = 0; i < len; i++)
        shown.text[i] = (value.at[i] < ' ' || value.at[i] == 0x7f) ? '?' : (char)value.at[i];
    strcpy(shown.text + len, len < value.len ? "..." : "");
    return shown;
}

static void clear(struct setting *setting)
{
    for (size_t i = 0; i < setting->list_len; i++)
        free(setting->list[i]);
    free(setting->list);
    free(setting->text);
    setting->list = NULL;
    setting->list_len = 0;
    setting->text = NULL;
}

void setting_init(struct setting *setting, const struct conf_key *key)
{
    *setting = (struct setting){.name = owned(strdup(key->name)), .type = key->type};
}

void setting_free(struct setting *setting)
{
    clear(setting);
    free(setting->name);
}

struct setting_shown setting_show_number(enum conf_type type, int64_t number)
{
    static const struct {
        const char *name;
        int shift;
    } units[] = {{"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"", 0}};
    size_t unit = type == CONF_SIZE && number != 0 ? 0 : 3;
    while (number % ((int64_t)1 << units[unit].shift) != 0)
        unit++;
    struct setting_shown shown;
    snprintf(shown.text, sizeof shown.text, "%lld%s", (long long)(number >> units[unit].shift),
             units[unit].name);
    return shown;
}

/* Decimal digits, a sign before a number, a unit after a size. */
static bool parse_number(enum conf_type type, struct span text, int64_t *number)
{
    bool negative = type == CONF_NUMBER && text.len > 0 && text.at[0] == '-';
    size_t i = negative;
    int64_t sum = 0; /* of negative numbers also kept negative: there is one more of them */
    if (i == text.len || !isdigit(text.at[i]))
        return false;
    for (; i < text.len && isdigit(text.at[i]); i++) {
        int digit = text.at[i] - '0';
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, negative ? -digit : digit, &sum))
            return false;
    }
    struct span unit = span_after(text, i);
    if (type == CONF_SIZE && unit.len > 0) {
        if (unit.at[0] == ' ')
            unit = span_after(unit, 1);
        int64_t factor = span_equal(unit, span_text("KiB"))   ? 1 << 10
                         : span_equal(unit, span_text("MiB")) ? 1 << 20
                         : span_equal(unit, span_text("GiB")) ? 1 << 30
                                                              : 0;
        if (factor == 0 || __builtin_mul_overflow(sum, factor, &sum))
            return false;
        unit.len = 0;
    }
    *number = sum;
    return unit.len == 0;
}

static bool set_number(struct setting *setting, const struct conf_key *key, struct span text,
                       const struct setting_place *place, struct conf_error *error)
{
    int64_t number = 0;
    if (!parse_number(key->type, text, &number))
        return setting_fail(error, place, "'%s' is not a %s; write %s, from %s to %s",
                            setting_show(text).text, key->type == CONF_SIZE ? "size" : "number",
                            key->type == CONF_SIZE ? "digits, then KiB, MiB, GiB or nothing"
                                                   : "decimal digits",
                            setting_show_number(key->type, key->min).text,
                            setting_show_number(key->type, key->max).text);
    if (number > key->max || number < key->min)
        return setting_fail(
            error, place, "%s is %s the limit of %s; it may be %s to %s", setting_show(text).text,
            number > key->max ? "over" : "under",
            setting_show_number(key->type, number > key->max ? key->max : key->min).text,
            setting_show_number(key->type, key->min).text,
            setting_show_number(key->type, key->max).text);
    setting->number = number;
    return true;
}

static bool clean(struct span text, int64_t bytes_min, int64_t bytes_max,
                  const struct setting_place *place, struct conf_error *error)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < ' ' || text.at[i] == 0x7f)
            return setting_fail(
                error, place,
                "byte %zu of '%s' is a control character; write it in one line, without "
                "tabs",
                i + 1, setting_show(text).text);
    if ((int64_t)text.len > bytes_max)
        return setting_fail(error, place,
                            "'%s' has %zu bytes, over the limit of %lld; make it shorter",
                            setting_show(text).text, text.len, (long long)bytes_max);
    if ((int64_t)text.len < bytes_min)
        return setting_fail(error, place, "'%s' has %zu bytes, it needs at least %lld",
                            setting_show(text).text, text.len, (long long)bytes_min);
    return true;
}

bool setting_set_scalar(struct setting *setting, const struct conf_key *key, struct span text,
                        const struct setting_place *place, struct conf_error *error)
{
    switch (key->type) {
    case CONF_FLAG:
        setting->number = span_equal(text, span_text("true"));
        return setting->number || span_equal(text, span_text("false")) ||
               setting_fail(error, place, "'%s' is not a flag; write true or false",
                            setting_show(text).text);
    case CONF_NUMBER:
    case CONF_SIZE:
        return set_number(setting, key, text, place, error);
    case CONF_TEXT:
        if (!clean(text, key->min, key->max, place, error))
            return false;
        free(setting->text);
        setting->text = owned(strndup((const char *)text.at, text.len));
        return true;
    case CONF_LIST:
        return setting_fail(error, place, "must be a list; write [a, b], or one '- a' a line");
    }
    assert(false);
    return false;
}

bool setting_add(struct setting *setting, const struct conf_key *key, struct span entry,
                 const struct setting_place *place, struct conf_error *error)
{
    if ((int64_t)setting->list_len == key->max)
        return setting_fail(error, place, "more than %lld entries; take some away",
                            (long long)key->max);
    if (!clean(entry, 1, CONF_ENTRY_BYTES_MAX, place, error))
        return false;
    setting->list =
        owned(reallocarray(setting->list, setting->list_len + 1, sizeof setting->list[0]));
    setting->list[setting->list_len++] = owned(strndup((const char *)entry.at, entry.len));
    return true;
}

bool setting_end(const struct setting *setting, const struct conf_key *key,
                 const struct setting_place *place, struct conf_error *error)
{
    return (int64_t)setting->list_len >= key->min ||
           setting_fail(error, place, "has %zu entries, it needs at least %lld", setting->list_len,
                        (long long)key->min);
}

static bool set_commas(struct setting *setting, const struct conf_key *key, const char *text,
                       const struct setting_place *place, struct conf_error *error)
{
    for (const char *at = text; *text;) {
        size_t len = strcspn(at, ",");
        struct span entry = span_of(at, len);
        while (entry.len > 0 && entry.at[0] == ' ')
            entry = span_after(entry, 1);
        while (entry.len > 0 && entry.at[entry.len - 1] == ' ')
            entry.len--;
        if (!setting_add(setting, key, entry, place, error))
            return false;
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    return setting_end(setting, key, place, error);
}

bool setting_set_text(struct setting *setting, const struct conf_key *key, const char *text,
                      const struct setting_place *place, struct conf_error *error)
{
    clear(setting);
    setting->set = true;
    return key->type == CONF_LIST ? set_commas(setting, key, text, place, error)
                                  : setting_set_scalar(setting, key, span_text(text), place, error);
}

static void print_wrapped(FILE *out, int indent, const char *text)
{
    while (*text) {
        size_t room = (size_t)(HELP_WIDTH - indent - 2), len = strcspn(text, "\n");
        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ')
                len--;
            if (len == 0) /* one word longer than a line */
                len = strcspn(text, " \n");
        }
        fprintf(out, "%*s# %.*s\n", indent, "", (int)len, text);
        text += len;
        text += strspn(text, " \n");
    }
}

/* In quotes whenever YAML could take it for anything but this text. */
static void print_text(FILE *out, const char *text, size_t len)
{
    bool plain = len > 0 && (isalnum((unsigned char)text[0]) || text[0] == '/') &&
                 text[len - 1] != ':' && !(len == 4 && memcmp(text, "null", 4) == 0);
    for (size_t i = 0; i < len; i++)
        plain = plain && (isalnum((unsigned char)text[i]) || strchr("_./:-", text[i]));
    if (!plain)
        putc('"', out);
    for (size_t i = 0; i < len; i++) {
        if (!plain && (text[i] == '"' || text[i] == '\\'))
            putc('\\', out);
        putc(text[i], out);
    }
    if (!plain)
        putc('"', out);
}

static void print_list(FILE *out, const char *text)
{
    putc('[', out);
    for (size_t len; *text; text += len + (text[len] == ',')) {
        len = strcspn(text, ",");
        size_t before = strspn(text, " ");
        print_text(out, text + before, len - before);
        fputs(text[len] ? ", " : "", out);
    }
    putc(']', out);
}

/* What stands for a value that must be set: taken by conf_load, and seen to be a stand-in. */
static void print_stand_in(FILE *out, const struct conf_key *key)
{
    static const char text[] = "change-me";
    size_t len = sizeof text - 1;
    switch (key->type) {
    case CONF_FLAG:
        fputs("false", out);
        return;
    case CONF_NUMBER:
    case CONF_SIZE:
        fputs(setting_show_number(key->type, key->min).text, out);
        return;
    case CONF_TEXT:
        for (; (int64_t)len < key->min; len++)
            putc('x', out);
        print_text(out, text,
                   key->max < (int64_t)(sizeof text - 1) ? (size_t)key->max : sizeof text - 1);
        return;
    case CONF_LIST:
        putc('[', out);
        for (int64_t i = 0; i < (key->min > 1 ? key->min : 1); i++)
            fprintf(out, "%s%s", i ? ", " : "", text);
        putc(']', out);
        return;
    }
}

static void print_limits(FILE *out, int indent, const struct conf_key *key, const char *variable)
{
    char line[400];
    const char *must = key->fallback ? "" : "Must be set. ";
    struct setting_shown min = setting_show_number(key->type, key->min);
    struct setting_shown max = setting_show_number(key->type, key->max);
    switch (key->type) {
    case CONF_FLAG:
        snprintf(line, sizeof line, "%strue or false. %s", must, variable);
        break;
    case CONF_NUMBER:
    case CONF_SIZE:
        snprintf(line, sizeof line, "%s%s to %s. %s", must, min.text, max.text, variable);
        break;
    case CONF_TEXT:
        snprintf(line, sizeof line, "%sA text of %s to %s bytes. %s", must, min.text, max.text,
                 variable);
        break;
    case CONF_LIST:
        snprintf(line, sizeof line, "%sA list of %s to %s. %s", must, min.text, max.text, variable);
        break;
    }
    print_wrapped(out, indent, line);
}

void setting_print(FILE *out, int indent, const struct conf_key *key, const char *variable)
{
    const char *dot = strchr(key->name, '.');
    print_wrapped(out, indent, key->help);
    print_limits(out, indent, key, variable);
    fprintf(out, "%*s%s%s: ", indent, "", key->fallback ? "#" : "", dot ? dot + 1 : key->name);
    if (!key->fallback)
        print_stand_in(out, key);
    else if (key->type == CONF_LIST)
        print_list(out, key->fallback);
    else if (key->type == CONF_TEXT)
        print_text(out, key->fallback, strlen(key->fallback));
    else
        fputs(key->fallback, out);
    putc('\n', out);
}
