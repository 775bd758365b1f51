#include "bench/page.h"

#include "bench/page_html.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#define FORMAT 1
#define SLOT "@RESULTS@"

enum line { LINE_TAKEN, LINE_EMPTY, LINE_BAD };

struct reading {
    const char *file;
    unsigned long line;
    FILE *errors;
};

__attribute__((format(printf, 2, 3))) static enum line complain(const struct reading *reading,
                                                                const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(reading->errors, "%s:%lu: ", reading->file, reading->line);
    vfprintf(reading->errors, format, list);
    fprintf(reading->errors, "\n");
    va_end(list);
    return LINE_BAD;
}

static bool is_text(const json_t *object, const char *name)
{
    return json_is_string(json_object_get(object, name));
}

/* What the page relies on; all else it leaves out if it is not there. */
static enum line check(const struct reading *reading, const json_t *object)
{
    static const char *const objects[] = {"messages", "latency_us", "logins", "memory",
                                          "storm",    "presence",   NULL};
    if (json_object_get(object, "lahar_bench_about"))
        return LINE_TAKEN;
    const json_t *format = json_object_get(object, "lahar_bench");
    if (!format)
        return complain(reading, "no result of lahar-bench --json: \"lahar_bench\" is missing");
    if (!json_is_integer(format) || json_integer_value(format) != FORMAT)
        return complain(reading, "a result of another version of lahar-bench; this one reads %d",
                        FORMAT);
    if (!is_text(object, "workload") || !is_text(object, "target"))
        return complain(reading, "no result: \"workload\" and \"target\" have to be texts");
    for (size_t i = 0; objects[i]; i++) {
        const json_t *member = json_object_get(object, objects[i]);
        if (member && !json_is_object(member))
            return complain(reading, "no result: \"%s\" has to be an object", objects[i]);
    }
    return LINE_TAKEN;
}

static enum line take_line(const struct reading *reading, const char *text, size_t len,
                           json_t *results)
{
    json_error_t error;
    if (strspn(text, " \t\r\n") == len)
        return LINE_EMPTY;
    json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        return complain(reading, "no JSON: %s (column %d)", error.text, error.column);
    enum line line =
        json_is_object(object) ? check(reading, object) : complain(reading, "no JSON object");
    if (line == LINE_TAKEN) {
        int added = json_array_append(results, object);
        assert(added == 0);
    }
    json_decref(object);
    return line;
}

static bool take_file(struct reading *reading, json_t *results)
{
    FILE *file = fopen(reading->file, "re");
    char *text = NULL;
    size_t room = 0;
    bool good = true;
    if (!file) {
        fprintf(reading->errors, "%s: %s\n", reading->file, strerror(errno));
        return false;
    }
    errno = 0;
    for (ssize_t len; (len = getline(&text, &room, file)) >= 0;) {
        reading->line++;
        /* All that is bad is told, not only the first. */
        if (take_line(reading, text, (size_t)len, results) == LINE_BAD)
            good = false;
    }
    if (ferror(file)) {
        fprintf(reading->errors, "%s: %s\n", reading->file, strerror(errno));
        good = false;
    }
    free(text);
    fclose(file);
    return good;
}

/* The template with the results in it. In JSON '<' stands in texts only, and there it can be
 * written so that nothing ends the element or begins a comment. */
static char *insert(const char *data)
{
    struct span page = {page_html, sizeof page_html};
    const char *slot = memmem(page.at, page.len, SLOT, strlen(SLOT));
    assert(slot != NULL);
    size_t before = (size_t)((const uint8_t *)slot - page.at), room = page.len + 1;
    for (const char *at = data; *at; at++)
        room += *at == '<' ? strlen("\\u003c") : 1;
    char *out = malloc(room), *end = out;
    assert(out != NULL);
    end = mempcpy(end, page.at, before);
    for (const char *at = data; *at; at++)
        end = *at == '<' ? mempcpy(end, "\\u003c", strlen("\\u003c")) : mempcpy(end, at, 1);
    page = span_after(page, before + strlen(SLOT));
    end = mempcpy(end, page.at, page.len);
    *end = 0;
    return out;
}

char *page_make(const char *const *files, size_t count, FILE *errors)
{
    json_t *results = json_array();
    bool good = true;
    char *page = NULL;
    assert(results != NULL);
    for (size_t i = 0; i < count; i++) {
        struct reading reading = {.file = files[i], .errors = errors};
        good = take_file(&reading, results) && good;
    }
    if (good && json_array_size(results) == 0) {
        fprintf(errors, "no results in any of the files\n");
        good = false;
    }
    if (good) {
        char *data = json_dumps(results, JSON_COMPACT | JSON_ENSURE_ASCII);
        assert(data != NULL);
        page = insert(data);
        free(data);
    }
    json_decref(results);
    return page;
}

/* --- the command ------------------------------------------------------------------------------ */

/* Beside it and then in its place, so that nobody finds half a page. */
static bool write_page(const char *path, const char *page)
{
    char *beside;
    int made = asprintf(&beside, "%s.new", path);
    assert(made > 0);
    FILE *file = fopen(beside, "we");
    bool good = file && fwrite(page, 1, strlen(page), file) == strlen(page);
    if (file && fclose(file) != 0)
        good = false;
    if (good && rename(beside, path) != 0)
        good = false;
    if (!good) {
        fprintf(stderr, "lahar-bench: cannot write %s: %s\n", path, strerror(errno));
        remove(beside);
    }
    free(beside);
    return good;
}

/* A result file that is named first would else be written over. */
static bool is_page(const char *path)
{
    size_t len = strlen(path);
    return len > 5 && path[0] != '-' && strcmp(path + len - 5, ".html") == 0;
}

int page_run(int count, char **arguments)
{
    if (count < 2 || !is_page(arguments[0])) {
        fprintf(stderr, "usage: lahar-bench report OUT.html RESULT.jsonl...\n");
        return 1;
    }
    const char **files = calloc((size_t)count, sizeof *files);
    assert(files != NULL);
    for (int i = 1; i < count; i++)
        files[i - 1] = arguments[i];
    char *page = page_make(files, (size_t)count - 1, stderr);
    bool good = page && write_page(arguments[0], page);
    free(page);
    free(files);
    return good ? 0 : 2;
}
