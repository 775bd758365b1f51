/* conf: any bytes are a file of settings, or an error that says something. What stands behind a
 * line "env" is the environment, a line a variable.
 *
 * Covers: base/conf.c.
 */
#include "base/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct conf_key keys[] = {
    {"workers", CONF_NUMBER, "4", 1, 64, "How many."},
    {"queue_bytes_max", CONF_SIZE, "256KiB", 1024, 1 << 30, "The most that waits."},
    {"verbose", CONF_FLAG, "false", 0, 0, "Says more."},
    {"name", CONF_TEXT, "e1", 1, 16, "The name."},
    {"listen", CONF_LIST, "a, b", 1, 3, "Where."},
    {"link.heartbeat_ms", CONF_NUMBER, "500", 100, 60000, "How often."},
    {"link.routers", CONF_LIST, "", 0, 4, "The routers."},
    {0},
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define VARIABLES_MAX 16u

static struct conf *load(struct span text, struct conf_error *error)
{
    char *lines = calloc(1, text.len + 1), *variables[VARIABLES_MAX + 1], **before = environ;
    assert(lines != NULL);
    if (text.len > 0)
        memcpy(lines, text.at, text.len);
    size_t count = 0, file_len = text.len;
    char *env = text.len == 0 ? NULL : memmem(lines, text.len, "\nenv\n", 5);
    if (env != NULL) {
        file_len = (size_t)(env - lines);
        char *rest = env + 5;
        for (char *line; count < VARIABLES_MAX && (line = strsep(&rest, "\n")) != NULL;)
            variables[count++] = line;
    }
    variables[count] = NULL;
    environ = variables;
    struct conf *conf = conf_load_text("lahar-fuzz", keys, "x", span_upto(text, file_len), error);
    environ = before;
    free(lines);
    return conf;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct conf_error error;
    struct conf *conf = load(span_of(bytes, len), &error);
    if (!conf) {
        size_t text_len = strnlen(error.text, sizeof error.text);
        assert(text_len > 0 && text_len < sizeof error.text);
        for (size_t i = 0; i < text_len; i++)
            assert((unsigned char)error.text[i] >= ' ' && error.text[i] != 0x7f);
        return 0;
    }
    int64_t workers = conf_number(conf, "workers");
    assert(workers >= 1 && workers <= 64);
    size_t name_len = strlen(conf_text(conf, "name")), entries = conf_list_len(conf, "listen");
    assert(name_len >= 1 && name_len <= 16);
    assert(entries >= 1 && entries <= 3);
    for (size_t i = 0; i < entries; i++)
        assert(conf_list_at(conf, "listen", i)[0] != '\0');
    (void)conf_flag(conf, "verbose");
    (void)conf_list(conf, "link.routers");
    static FILE *nowhere;
    if (nowhere == NULL) {
        nowhere = fopen("/dev/null", "w");
        assert(nowhere != NULL);
        conf_print("lahar-fuzz", keys, nowhere);
    }
    conf_free(conf);
    return 0;
}
