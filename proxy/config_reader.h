/* What a configuration file says, piece by piece: a thin layer over libyaml's parser that knows
 * where it is, bounds what it takes, and says what is wrong in one line. */
#ifndef TIDEGATE_CONFIG_READER_H
#define TIDEGATE_CONFIG_READER_H

#include "config_file.h"

#include <yaml.h>

#define CONFIG_KEY_MAX   63
#define CONFIG_WHERE_MAX 320
#define CONFIG_DEPTH_MAX 16

enum config_kind {
    CONFIG_VALUE, /* config_reader_value has it */
    CONFIG_LIST,  /* its elements follow, then CONFIG_END */
    CONFIG_KEYS,  /* keys and values follow: config_reader_next_key, until it says false */
    CONFIG_END
};

struct config_reader {
    const struct config_file *file;
    struct settings *settings;
    struct text *problem;
    yaml_parser_t parser;
    yaml_event_t event; /* the newest; YAML_NO_EVENT: none */
    enum config_kind kind;
    unsigned line, column;        /* of it, from 1 */
    char key[CONFIG_KEY_MAX + 1]; /* the newest; "" before the first */
    bool has_failed;              /* `problem` says how; everything says false from then on */
};

/* All of these return false when something is wrong, and `problem` then says what, once. */

/* Stands before the first key. To be closed in any case. */
bool config_reader_open(struct config_reader *r, const struct config_file *file, struct settings *s,
                        struct text *problem);
/* Also checks that nothing is behind the last key, if nothing has failed. */
bool config_reader_close(struct config_reader *r);

/* The next value, list, keys or end. */
bool config_reader_next(struct config_reader *r);

/* The next key of a mapping, into `key`. False also at its end. */
bool config_reader_next_key(struct config_reader *r);

/* Goes over a value and all that is in it. */
bool config_reader_skip(struct config_reader *r);

/* A copy, in the arena, of the value that it stands on; NULL if it is none, or out of memory. */
const char *config_reader_value(struct config_reader *r);

/* "FILE:LINE:COLUMN: KEY", which problems begin with. Returns `out`. */
char *config_reader_where(const struct config_reader *r, char out[CONFIG_WHERE_MAX]);

/* The same for something that is wrong with what began earlier. */
void config_reader_at(struct config_reader *r, const char *key, unsigned line);

/* Says what is wrong with what it stands on. Always false. */
bool config_reader_fail(struct config_reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
