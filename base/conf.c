#include "base/conf.h"
#include "base/setting.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

#define NAME_ROOM 96 /* a key's name, or its variable's, with the final NUL */

struct conf {
    size_t count;
    struct setting values[];
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    const struct conf_key *keys;
    const char *path;
    struct span text;
    struct conf *conf;
    struct conf_error *error;
};

/* --- the table -------------------------------------------------------------------------------- */

static size_t section_len(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static bool in_section(const char *name, const char *section)
{
    size_t len = strlen(section);
    return section_len(name) == len && len > 0 && memcmp(name, section, len) == 0;
}

/* PROGRAM_SECTION_KEY */
static void variable_name(char out[NAME_ROOM], const char *program, const char *key)
{
    int len = snprintf(out, NAME_ROOM, "%s_%s", program, key);
    assert(len > 0 && len < NAME_ROOM);
    for (char *c = out; *c; c++)
        *c = (*c == '-' || *c == '.') ? '_' : (char)toupper((unsigned char)*c);
}

static void check_key(const char *program, const struct conf_key *key)
{
    size_t len = strlen(key->name), section = section_len(key->name);
    assert(len > 0 && strspn(key->name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == len);
    assert(key->name[0] != '.' && key->name[len - 1] != '.');
    assert(strchr(key->name + section + 1, '.') == NULL);
    assert(strcmp(key->name, "config") != 0); /* that variable is the path's */
    assert(key->type == CONF_FLAG || (key->min <= key->max && key->max > 0));
    assert(key->help != NULL);
    char variable[NAME_ROOM];
    variable_name(variable, program, key->name);
}

/* The names must stay apart in the file and in the environment. */
static struct conf *conf_new(const char *program, const struct conf_key *keys)
{
    size_t count = 0;
    while (keys[count].name)
        check_key(program, &keys[count++]);
    struct conf *conf = calloc(1, sizeof *conf + count * sizeof conf->values[0]);
    assert(conf != NULL);
    conf->count = count;
    for (size_t i = 0; i < count; i++) {
        char mine[NAME_ROOM], other[NAME_ROOM];
        variable_name(mine, program, keys[i].name);
        for (size_t j = 0; j < i; j++) {
            variable_name(other, program, keys[j].name);
            assert(strcmp(mine, other) != 0);
        }
        for (size_t j = 0; j < count; j++)
            assert(!in_section(keys[j].name, keys[i].name));
        setting_init(&conf->values[i], &keys[i]);
    }
    return conf;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    for (size_t i = 0; i < conf->count; i++)
        setting_free(&conf->values[i]);
    free(conf);
}

/* --- the file --------------------------------------------------------------------------------- */

static struct setting_place place_at(const struct reader *reader, const yaml_mark_t *mark,
                                     const char *name)
{
    return (struct setting_place){reader->path, (int)mark->line + 1, name};
}

static struct setting_place here(const struct reader *reader, const char *name)
{
    return place_at(reader, &reader->event.start_mark, name);
}

static bool fail_syntax(const struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    struct setting_place place = place_at(reader, &parser->problem_mark, NULL);
    if (parser->error == YAML_READER_ERROR) { /* it gives an offset only */
        place.line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < reader->text.len; i++)
            place.line += reader->text.at[i] == '\n';
    }
    return setting_fail(reader->error, &place, "not YAML: %s%s%s; mend this line or one before it",
                        parser->problem ? parser->problem : "it cannot be read",
                        parser->context ? " " : "", parser->context ? parser->context : "");
}

/* The next event, none of those that are not for settings. */
static bool next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    yaml_event_t *event = &reader->event;
    if (!yaml_parser_parse(&reader->parser, event))
        return fail_syntax(reader);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        anchor = event->data.alias.anchor;
        break;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (!anchor && !tag)
        return true;
    const char *at = (const char *)(anchor ? anchor : tag);
    struct setting_place place = here(reader, NULL);
    return setting_fail(
        reader->error, &place,
        "%s '%s' is not for settings; write the value itself (in quotes if it is a text)",
        tag && !anchor ? "the tag" : "the anchor or alias", setting_show(span_text(at)).text);
}

static struct span scalar(const struct reader *reader)
{
    return span_of(reader->event.data.scalar.value, reader->event.data.scalar.length);
}

static bool is_plain(const struct reader *reader)
{
    return reader->event.type == YAML_SCALAR_EVENT &&
           reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_nothing(const struct reader *reader)
{
    return is_plain(reader) &&
           (scalar(reader).len == 0 || span_equal(scalar(reader), span_text("~")) ||
            span_equal(scalar(reader), span_text("null")));
}

static bool read_list(struct reader *reader, struct setting *setting, const struct conf_key *key,
                      const struct setting_place *start)
{
    while (next(reader)) {
        struct setting_place place = here(reader, key->name);
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            return setting_end(setting, key, start, reader->error);
        if (reader->event.type != YAML_SCALAR_EVENT)
            return setting_fail(reader->error, &place,
                                "an entry must be one value, not a list or section");
        if (!setting_add(setting, key, scalar(reader), &place, reader->error))
            return false;
    }
    return false;
}

static bool read_value(struct reader *reader, size_t index)
{
    const struct conf_key *key = &reader->keys[index];
    struct setting *setting = &reader->conf->values[index];
    if (!next(reader))
        return false;
    struct setting_place place = here(reader, key->name);
    setting->set = true;
    if (reader->event.type == YAML_MAPPING_START_EVENT)
        return setting_fail(reader->error, &place,
                            "is one value, not a section; write it behind the colon");
    if (reader->event.type == YAML_SEQUENCE_START_EVENT)
        return key->type == CONF_LIST ? read_list(reader, setting, key, &place)
                                      : setting_fail(reader->error, &place,
                                                     "is one value, not a list; write it alone");
    assert(reader->event.type == YAML_SCALAR_EVENT);
    place.line =
        setting->line; /* a value that is not there is marked where the next thing stands */
    if (is_nothing(reader))
        return setting_fail(reader->error, &place,
                            "has no value; write one, or take the line away%s",
                            key->type == CONF_TEXT ? " (\"\" is the empty text)" : "");
    place = here(reader, key->name);
    if (key->type != CONF_TEXT && key->type != CONF_LIST && !is_plain(reader))
        return setting_fail(reader->error, &place, "\"%s\" is a text; write it without quotes",
                            setting_show(scalar(reader)).text);
    return setting_set_scalar(setting, key, scalar(reader), &place, reader->error);
}

/* --- keys and sections ------------------------------------------------------------------------ */

static size_t find_key(const struct reader *reader, const char *name)
{
    size_t i = 0;
    while (i < reader->conf->count && strcmp(reader->keys[i].name, name) != 0)
        i++;
    return i;
}

static size_t find_section(const struct reader *reader, const char *name)
{
    size_t i = 0;
    while (i < reader->conf->count && !in_section(reader->keys[i].name, name))
        i++;
    return i;
}

/* How many of the shorter name's characters come in the longer one in this order: enough to guess
 * what a mistyped name was to be. */
static size_t likeness(const char *a, const char *b)
{
    size_t row[NAME_ROOM + 1] = {0}, b_len = strlen(b);
    assert(b_len < NAME_ROOM);
    for (; *a; a++) {
        size_t diagonal = 0;
        for (size_t j = 0; j < b_len; j++) {
            size_t above = row[j + 1];
            row[j + 1] = *a == b[j] ? diagonal + 1 : row[j] > above ? row[j] : above;
            diagonal = above;
        }
    }
    return row[b_len];
}

static bool fail_unknown(const struct conf *conf, const struct setting_place *place,
                         const char *name, struct conf_error *error)
{
    const char *best = NULL;
    size_t best_misses = 4; /* characters that the two do not share */
    for (size_t i = 0; i < conf->count && strlen(name) < NAME_ROOM; i++) {
        const char *other = conf->values[i].name;
        size_t misses = strlen(name) + strlen(other) - 2 * likeness(name, other);
        if (misses < best_misses) {
            best = other;
            best_misses = misses;
        }
    }
    return best ? setting_fail(error, place, "there is no such key; did you mean %s?", best)
                : setting_fail(error, place,
                               "there is no such key; take it away (--print-config "
                               "lists all keys)");
}

static bool read_mapping(struct reader *reader, const char *section);

static bool read_section(struct reader *reader, const char *name, size_t first)
{
    struct setting_place place = here(reader, name);
    struct setting *value = &reader->conf->values[first];
    if (value->section_line > 0)
        return setting_fail(reader->error, &place,
                            "is here a second time, first in line %d; merge the two",
                            value->section_line);
    value->section_line = place.line;
    if (!next(reader))
        return false;
    if (is_nothing(reader)) /* all its keys are commented out */
        return true;
    if (reader->event.type != YAML_MAPPING_START_EVENT)
        return setting_fail(reader->error, &place,
                            "is a section; write its keys in lines of their own, indented");
    return read_mapping(reader, name);
}

/* One key with what belongs to it; `section` NULL at the top level. */
static bool read_key(struct reader *reader, const char *section)
{
    char name[NAME_ROOM], what[NAME_ROOM];
    struct span key = scalar(reader);
    snprintf(what, sizeof what, "%s%s%s", section ? section : "", section ? "." : "",
             setting_show(key).text);
    struct setting_place place = here(reader, what);
    int len = snprintf(name, sizeof name, "%s%s%.*s", section ? section : "", section ? "." : "",
                       (int)key.len, (const char *)key.at);
    bool fits = len > 0 && len < NAME_ROOM && !memchr(key.at, '\0', key.len);
    if (!fits || (!section && memchr(key.at, '.', key.len)))
        return setting_fail(reader->error, &place,
                            "there is no such key; a key a.b is written as b, indented below a:");
    size_t first = section ? reader->conf->count : find_section(reader, name);
    if (first < reader->conf->count)
        return read_section(reader, name, first);
    size_t index = find_key(reader, name);
    if (index == reader->conf->count)
        return fail_unknown(reader->conf, &place, name, reader->error);
    struct setting *value = &reader->conf->values[index];
    if (value->line > 0)
        return setting_fail(reader->error, &place,
                            "is here a second time, first in line %d; take one away", value->line);
    value->line = place.line;
    return read_value(reader, index);
}

static bool read_mapping(struct reader *reader, const char *section)
{
    while (next(reader)) {
        if (reader->event.type == YAML_MAPPING_END_EVENT)
            return true;
        struct setting_place place = here(reader, section);
        if (reader->event.type != YAML_SCALAR_EVENT)
            return setting_fail(reader->error, &place,
                                "a key must be a plain word, not a list or section");
        if (!read_key(reader, section))
            return false;
    }
    return false;
}

/* An empty file is one without settings. */
static bool read_file(struct reader *reader)
{
    if (!next(reader)) /* the stream's start */
        return false;
    if (!next(reader))
        return false;
    if (reader->event.type == YAML_STREAM_END_EVENT)
        return true;
    if (!next(reader))
        return false;
    struct setting_place place = here(reader, NULL);
    if (reader->event.type != YAML_MAPPING_START_EVENT && !is_nothing(reader))
        return setting_fail(reader->error, &place, "write settings as lines of 'key: value'");
    if (reader->event.type == YAML_MAPPING_START_EVENT && !read_mapping(reader, NULL))
        return false;
    if (!next(reader)) /* the document's end */
        return false;
    if (!next(reader))
        return false;
    place = here(reader, NULL);
    return reader->event.type == YAML_STREAM_END_EVENT ||
           setting_fail(reader->error, &place, "a second document begins; keep one");
}

static bool read_text(struct conf *conf, const struct conf_key *keys, const char *path,
                      struct span text, struct conf_error *error)
{
    struct reader reader = {.keys = keys, .path = path, .text = text, .conf = conf, .error = error};
    bool started = yaml_parser_initialize(&reader.parser);
    assert(started);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, text.at, text.len);
    bool good = read_file(&reader);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    return good;
}

/* --- environment, fallbacks ------------------------------------------------------------------- */

/* Only the variables of this program's prefix are looked at, and every one of them must be known: a
 * mistyped one would be a setting silently not made. */
static bool read_environment(struct conf *conf, const char *program, const struct conf_key *keys,
                             struct conf_error *error)
{
    char prefix[NAME_ROOM], variable[NAME_ROOM];
    variable_name(prefix, program, "");
    size_t prefix_len = strlen(prefix);
    for (char **at = environ; at && *at; at++) {
        const char *equals = strchr(*at, '=');
        if (!equals || strncmp(*at, prefix, prefix_len) != 0)
            continue;
        struct span name = span_of(*at, (size_t)(equals - *at));
        struct setting_shown shown = setting_show(name);
        struct setting_place place = {"environment", 0, shown.text};
        size_t i = 0;
        for (; i < conf->count; i++) {
            variable_name(variable, program, keys[i].name);
            if (span_equal(name, span_text(variable)))
                break;
        }
        variable_name(variable, program, "config");
        if (i < conf->count) {
            if (!setting_set_text(&conf->values[i], &keys[i], equals + 1, &place, error))
                return false;
        } else if (!span_equal(name, span_text(variable))) {
            return setting_fail(error, &place,
                                "no key has this variable; unset it (--print-config lists all)");
        }
    }
    return true;
}

static bool fill_in(struct conf *conf, const char *program, const struct conf_key *keys,
                    const char *path, struct conf_error *error)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct conf_key *key = &keys[i];
        if (conf->values[i].set)
            continue;
        struct setting_place place = {path, 0, key->name};
        if (!key->fallback) {
            char variable[NAME_ROOM];
            variable_name(variable, program, key->name);
            return setting_fail(error, &place, "must be set, in the file or as %s", variable);
        }
        bool good = setting_set_text(&conf->values[i], key, key->fallback, &place, error);
        assert(good); /* the table breaks its own limits */
    }
    return true;
}

/* `text.at` NULL: there is no file. */
static struct conf *load(const char *program, const struct conf_key *keys, const char *path,
                         struct span text, struct conf_error *error)
{
    error->text[0] = '\0';
    struct conf *conf = conf_new(program, keys);
    if ((!text.at || read_text(conf, keys, path, text, error)) &&
        read_environment(conf, program, keys, error) && fill_in(conf, program, keys, path, error))
        return conf;
    conf_free(conf);
    return NULL;
}

struct conf *conf_load_text(const char *program, const struct conf_key *keys, const char *path,
                            struct span text, struct conf_error *error)
{
    struct setting_place place = {path, 0, NULL};
    if (text.len > CONF_FILE_BYTES_MAX) {
        setting_fail(error, &place, "is over the limit of %u KiB for a file of settings",
                     CONF_FILE_BYTES_MAX / 1024);
        return NULL;
    }
    return load(program, keys, path, text.at ? text : span_of("", 0), error);
}

struct conf *conf_load(const char *program, const struct conf_key *keys, const char *path,
                       struct conf_error *error)
{
    if (!path)
        return load(program, keys, "environment", (struct span){0}, error);
    struct setting_place place = {path, 0, NULL};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        setting_fail(error, &place, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    char *bytes = malloc(CONF_FILE_BYTES_MAX + 1); /* one more shows that it is too long */
    assert(bytes != NULL);
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len <= CONF_FILE_BYTES_MAX) {
        got = TEMP_FAILURE_RETRY(read(fd, bytes + len, CONF_FILE_BYTES_MAX + 1 - len));
        len += got > 0 ? (size_t)got : 0;
    }
    struct conf *conf = NULL;
    if (got < 0)
        setting_fail(error, &place, "cannot be read: %s", strerror(errno));
    else
        conf = conf_load_text(program, keys, path, span_of(bytes, len), error);
    free(bytes);
    close(fd);
    return conf;
}

/* --- asking ----------------------------------------------------------------------------------- */

static const struct setting *get(const struct conf *conf, const char *name, enum conf_type type,
                                 enum conf_type or_type)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct setting *value = &conf->values[i];
        if (strcmp(value->name, name) == 0) {
            assert(value->type == type || value->type == or_type);
            return value;
        }
    }
    assert(false); /* no such key in the table */
    return NULL;
}

bool conf_flag(const struct conf *conf, const char *name)
{
    return get(conf, name, CONF_FLAG, CONF_FLAG)->number != 0;
}

int64_t conf_number(const struct conf *conf, const char *name)
{
    return get(conf, name, CONF_NUMBER, CONF_SIZE)->number;
}

const char *conf_text(const struct conf *conf, const char *name)
{
    return get(conf, name, CONF_TEXT, CONF_TEXT)->text;
}

size_t conf_list_len(const struct conf *conf, const char *name)
{
    return get(conf, name, CONF_LIST, CONF_LIST)->list_len;
}

const char *conf_list_at(const struct conf *conf, const char *name, size_t index)
{
    const struct setting *value = get(conf, name, CONF_LIST, CONF_LIST);
    assert(index < value->list_len);
    return value->list[index];
}

const char *const *conf_list(const struct conf *conf, const char *name)
{
    return (const char *const *)get(conf, name, CONF_LIST, CONF_LIST)->list;
}

/* --- printing --------------------------------------------------------------------------------- */

static void print_key(FILE *out, int indent, const char *program, const struct conf_key *key)
{
    char variable[NAME_ROOM];
    variable_name(variable, program, key->name);
    setting_print(out, indent, key, variable);
}

void conf_print(const char *program, const struct conf_key *keys, FILE *out)
{
    conf_free(conf_new(program, keys)); /* checks the table */
    fprintf(out,
            "# Settings of %s, with their defaults. Variables of the environment, named below,\n"
            "# win over this file.\n",
            program);
    for (const struct conf_key *key = keys; key->name; key++) {
        if (section_len(key->name) > 0)
            continue;
        putc('\n', out);
        print_key(out, 0, program, key);
    }
    for (const struct conf_key *key = keys; key->name; key++) {
        size_t len = section_len(key->name);
        bool seen = len == 0;
        for (const struct conf_key *other = keys; other < key; other++)
            seen = seen ||
                   (section_len(other->name) == len && memcmp(other->name, key->name, len) == 0);
        if (seen)
            continue;
        fprintf(out, "\n%.*s:\n", (int)len, key->name);
        for (const struct conf_key *member = key; member->name; member++) {
            if (section_len(member->name) != len || memcmp(member->name, key->name, len) != 0)
                continue;
            if (member != key)
                putc('\n', out);
            print_key(out, 2, program, member);
        }
    }
}
