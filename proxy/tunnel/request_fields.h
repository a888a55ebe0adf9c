/* What a user adds to the handshake: --header fields, and the token of --token-file. */
#ifndef TIDEGATE_REQUEST_FIELDS_H
#define TIDEGATE_REQUEST_FIELDS_H

#include "text.h"

#define REQUEST_FIELDS_MAX 4096
#define REQUEST_TOKEN_MAX  4096

struct request_fields {
    char text[REQUEST_FIELDS_MAX]; /* "Name: value" CR LF, each */
    size_t len;
}; /* all zero: none */

/* Adds "Name: value". 0, or -EINVAL with `*why` (which does not repeat the value): malformed,
 * control characters, or a name that the handshake needs for itself. */
int request_fields_add(struct request_fields *f, const char *field, const char **why);

/* Whether there is one of that name. */
bool request_fields_have(const struct request_fields *f, const char *name);

/* Reads the first line of `path`. 0, or a negative errno with `*why` (static, without the token).
 */
int request_token_read(const char *path, char token[REQUEST_TOKEN_MAX + 1], const char **why);

#endif
