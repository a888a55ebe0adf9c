/* The configuration file of `tidegate serve`: YAML, whose keys are the names of the flags, and
 * `routes`, a list of items that have a name, a host, a path, and the keys that can differ from
 * route to route. docs/config.md.
 *
 * Of YAML it takes what a configuration needs: one document of mappings, lists and single values.
 * Anchors, aliases and tags are refused, so that no small file becomes a large one. */
#ifndef TIDEGATE_CONFIG_FILE_H
#define TIDEGATE_CONFIG_FILE_H

#include "options.h"
#include "text.h"

#define CONFIG_FILE_MAX   (1024 * 1024) /* bytes */
#define CONFIG_ROUTES_MAX 1000

struct config_file {
    const char *path;
    const char *text; /* in the arena */
    size_t len;
};

/* Reads it into memory. 0, or a negative errno and one line for people. `path` outlives `out`. */
int config_file_open(const char *path, struct arena *arena, struct config_file *out,
                     struct text *problem);

/* The keys of the top level: over the defaults, under environment and flags. Both of these return
 * false with "FILE:LINE:COLUMN: KEY: what is wrong" at the first thing that is. */
bool config_file_read_top(const struct config_file *file, struct settings *s, struct text *problem);

/* The routes, each of which starts from what the top level of `s` says by now. */
bool config_file_read_routes(const struct config_file *file, struct settings *s,
                             struct text *problem);

#endif
