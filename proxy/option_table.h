/* The one table of flags. To add a flag: a member in struct settings (options.h) or in struct
 * route_settings (serve/config.h), a row in option_table.c.
 *
 * Each row is also a key of the configuration file of `serve`, and a variable of the environment,
 * as far as its scope says. */
#ifndef TIDEGATE_OPTION_TABLE_H
#define TIDEGATE_OPTION_TABLE_H

#include "options.h"

enum option_kind {
    OPTION_FLAG,      /* bool */
    OPTION_NUMBER,    /* uint64_t */
    OPTION_DURATION,  /* uint64_t, milliseconds */
    OPTION_ADDRESS,   /* struct address, to listen on */
    OPTION_BACKENDS,  /* struct backend_list, of struct address, or tls:// and one */
    OPTION_ADDRESSES, /* struct listen_list */
    OPTION_CHOICE,    /* unsigned: the index of the word */
    OPTION_URL,       /* struct url; an argument, not a flag */
    OPTION_NAME,      /* const char *, a name in a file of tokens; an argument */
    OPTION_TEXT,      /* const char *, not copied */
    OPTION_PATH,      /* the same, the name of a file; or credential:NAME (option_path.h) */
    OPTION_PATHS,     /* struct word_list: separated by commas */
    OPTION_WORDS,     /* struct word_list: separated by commas or blanks */
    OPTION_ORIGINS,   /* the same, of origins (access/origin.h) */
    OPTION_NETWORKS,  /* the same, of networks (cidr.h) */
    OPTION_TARGETS,   /* struct word_list, separated by blanks: rules (access/target_rule.h) */
    OPTION_PIN,       /* as OPTION_TEXT, and a SHA-256 in base64 */
    OPTION_HEADER,    /* struct request_fields */
    OPTION_PROXY,     /* struct http_proxy */
    OPTION_RETRY      /* struct redial_config: its retry_count, retry_ms */
};

/* Where it can be said, and what it is said of. */
enum option_scope {
    OPTION_SCOPE_LINE,  /* not in a file */
    OPTION_SCOPE_START, /* anywhere; read when the program starts, a reload does not change it */
    OPTION_SCOPE_TOP,   /* anywhere; of the whole program */
    OPTION_SCOPE_ROUTE, /* anywhere; in a file also of one route */
};

struct option {
    const char *name; /* "--name", and TIDEGATE_NAME in the environment */
    enum option_kind kind;
    unsigned commands; /* enum command, joined */
    enum option_scope scope;
    size_t offset;        /* of the value in struct settings; OPTION_SCOPE_ROUTE: route_settings */
    const char *value;    /* what help calls the value; OPTION_CHOICE: the words, joined with '|' */
    const char *fallback; /* the default, as a user would write it; NULL: none */
    uint64_t least;       /* OPTION_NUMBER, OPTION_DURATION */
    bool is_required;
    const char *help;
};

extern const struct option option_table[];
extern const size_t option_table_count;

#endif
