/* The flags of every subcommand. One table (option_table.c) says each flag's name, kind, default
 * and help; parsing, --help, the TIDEGATE_... environment variables and the keys of the
 * configuration file all come from it.
 *
 * A flag on the command line wins over the environment, which wins over the file, which wins over
 * the default. To add a flag: a member below, a line in the table. */
#ifndef TIDEGATE_OPTIONS_H
#define TIDEGATE_OPTIONS_H

#include "serve/config.h"
#include "token/config.h"
#include "tunnel/config.h"

#include <stdbool.h>
#include <stdio.h>

enum command { /* bits: a flag may belong to several */
               COMMAND_SERVE = 1,
               COMMAND_DEMO = 2,
               COMMAND_TUNNEL = 4,
               COMMAND_STDIO = 8,
               COMMAND_PROBE = 16,
               COMMAND_TOKEN = 32,
};

#define OPTION_MAX 128 /* rows of the table */

enum option_source { OPTION_DEFAULT, OPTION_IN_FILE, OPTION_IN_ENVIRONMENT, OPTION_ON_LINE };

/* Where the value of an option comes from. */
struct option_origin {
    enum option_source source;
    unsigned line; /* OPTION_IN_FILE */
};

struct settings {
    _Atomic unsigned references; /* options_new */
    int argc;                    /* what it was read from: the arguments behind the subcommand */
    char **argv;
    const char *config_file; /* NULL: none */
    bool prints_config;
    struct arena arena; /* what the rest points to, unless argv and the environment have it */
    struct option_origin origins[OPTION_MAX]; /* by row */
    struct service_config service;
    struct server_config server; /* serve, demo */
    struct word_list tls_certs, tls_keys;
    struct tunnel_config tunnel; /* tunnel, stdio, probe */
    struct token_config token;   /* token */
    unsigned log_level;          /* enum log_level */
    unsigned log_format;         /* enum log_format */
    bool is_once;
};

enum options_result {
    OPTIONS_OK,
    OPTIONS_HELP,
    OPTIONS_BAD,
    OPTIONS_BAD_FILE, /* the configuration file, or what it and the rest say together */
    OPTIONS_NO_FILE,  /* it cannot be read */
};

#define OPTIONS_PROBLEM_MAX 512

/* Reads the arguments behind the subcommand's name. OPTIONS_HELP if --help is among them;
 * OPTIONS_BAD and those behind it with one line for people in `problem` that says what is wrong
 * where, and what would be right. `out` holds pointers into itself and into `argv` and the
 * environment; options_forget gives back what it owns, whatever the result. */
enum options_result options_parse(enum command command, int argc, char **argv, struct settings *out,
                                  char problem[OPTIONS_PROBLEM_MAX]);

/* Settings on the heap, empty, held once: freed when nobody holds them any more. NULL when out of
 * memory. */
struct settings *options_new(void);
struct settings *options_hold(struct settings *s);
void options_release(struct settings *s);

/* Gives back what settings own, but not themselves. */
void options_forget(struct settings *s);

/* The flags of a subcommand, one or two lines each. */
void options_print(enum command command, FILE *out);

#endif
