/* Which route a request belongs to: by its host, then by its path. Text only.
 *
 * A pattern for hosts is a name or a number ("db.example.org", "[::1]"), "*.SUFFIX" (any name that
 * ends in .SUFFIX, but not SUFFIX itself), or NULL: any. Ports are not looked at, nor is case.
 *
 * A pattern for paths is a path ("/db"), "PATH/" followed by "*" ("/db/" and "*": PATH and all that
 * is below it), or NULL: any. Nothing is decoded: what could be read in two ways by two programs
 * (dot segments, an encoded '/', '\', NUL) is no path, and refused.
 *
 * A named host goes before a suffix, a longer suffix before a shorter one, any suffix before any
 * host; in one host, an exact path before "/ *", a longer one before a shorter one. */
#ifndef TIDEGATE_ROUTE_MATCH_H
#define TIDEGATE_ROUTE_MATCH_H

#include "address.h"

#include <stdbool.h>

#define ROUTE_NAME_MAX 64
#define ROUTE_PATH_MAX 1024

struct route_pattern {
    const char *host, *path; /* NULL: any */
};

/* Checks a pattern as written by people. For hosts, `out` gets what is to be compared with: lower
 * case, no dot at the end. False with `*why`, a phrase for people. */
bool route_match_is_host(const char *text, char out[ADDRESS_HOST_MAX + 1], const char **why);
bool route_match_is_path(const char *text, const char **why);
bool route_match_is_name(const char *text, const char **why);

/* The host of a field Host: without port and final dot, in lower case. False if it is none. */
bool route_match_host(const char *field, char out[ADDRESS_HOST_MAX + 1]);

/* Whether the path of a request can be compared: `len` bytes, no query. False with `*why`. */
bool route_match_can_path(const char *path, size_t len, const char **why);

/* How well `pattern` fits to a request that has been checked so: 0 not at all, more is better. */
unsigned route_match_rank(const struct route_pattern *pattern, const char *host, const char *path,
                          size_t path_len);

#endif
