/* The subcommands, and what is said about them: --help, the manual and the completions come from
 * this table and that of the options. main.c has what they run. */
#ifndef TIDEGATE_SUBCOMMAND_H
#define TIDEGATE_SUBCOMMAND_H

#include "options.h"

enum subcommand_id {
    SUBCOMMAND_SERVE,
    SUBCOMMAND_CHECK,
    SUBCOMMAND_TUNNEL,
    SUBCOMMAND_STDIO,
    SUBCOMMAND_PROBE,
    SUBCOMMAND_DEMO,
    SUBCOMMAND_TOKEN,
    SUBCOMMAND_COUNT
};

struct subcommand {
    const char *name;
    enum command command; /* whose flags it takes */
    const char *usage;    /* what follows the name */
    const char *summary;
    const char *about;
};

extern const struct subcommand subcommand_table[SUBCOMMAND_COUNT];

#endif
