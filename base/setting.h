/* setting: one value of conf, judged by its key and kept. For conf.c alone. */
#ifndef BASE_SETTING_H
#define BASE_SETTING_H

#include "base/conf.h"

/* What an error is about. */
struct setting_place {
    const char *file; /* or "environment" */
    int line;         /* 0: none */
    const char *name; /* of the key or variable; NULL: none */
};

struct setting {
    char *name; /* of the key; a copy, the table is only borrowed */
    enum conf_type type;
    bool set;
    int line;         /* where the file has the key; 0: nowhere */
    int section_line; /* where its section begins, kept with the section's first key */
    int64_t number;   /* also sizes and flags */
    char *text;
    char **list;
    size_t list_len;
};

/* A value as it may stand in an error: short, and without control characters. */
struct setting_shown {
    char text[72];
};

struct setting_shown setting_show(struct span value);
struct setting_shown setting_show_number(enum conf_type type, int64_t number);

/* Fills `error`. Always false, so that it can be returned. */
__attribute__((format(printf, 3, 4))) bool
setting_fail(struct conf_error *error, const struct setting_place *place, const char *format, ...);

void setting_init(struct setting *setting, const struct conf_key *key);
void setting_free(struct setting *setting);

/* Each of these is false, and fills `error`, if the key does not allow it. */
MUST_CHECK bool setting_set_scalar(struct setting *setting, const struct conf_key *key,
                                   struct span text, const struct setting_place *place,
                                   struct conf_error *error);
MUST_CHECK bool setting_add(struct setting *setting, const struct conf_key *key, struct span entry,
                            const struct setting_place *place, struct conf_error *error);
/* After the last setting_add. */
MUST_CHECK bool setting_end(const struct setting *setting, const struct conf_key *key,
                            const struct setting_place *place, struct conf_error *error);
/* As written in the environment or as a fallback; replaces what was set. */
MUST_CHECK bool setting_set_text(struct setting *setting, const struct conf_key *key,
                                 const char *text, const struct setting_place *place,
                                 struct conf_error *error);

/* One key with its help and limits, as lines of a YAML file; `variable` is its environment name. */
void setting_print(FILE *out, int indent, const struct conf_key *key, const char *variable);

#endif
