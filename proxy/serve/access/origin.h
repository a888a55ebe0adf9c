/* Which pages may open a WebSocket. A browser lets every page connect anywhere and only says, in
 * the field Origin, which page it was (RFC 6454, RFC 6455 10.2); whoever does not look lets foreign
 * pages act with a visitor's network position and cookies. What is not a browser can say anything
 * here: this keeps out pages, not programs.
 *
 * Text only, nothing is resolved, nothing allocated. An origin is compared whole: scheme, host and
 * port, never a part of the host. */
#ifndef TIDEGATE_ORIGIN_H
#define TIDEGATE_ORIGIN_H

#include "address.h"

#include <stdbool.h>

#define ORIGIN_SCHEME_MAX 31

enum origin_kind {
    ORIGIN_ANY,  /* "*": whatever is said, "null" included */
    ORIGIN_NULL, /* "null": pages without an origin (sandboxed frames, file:) share this one */
    ORIGIN_EXACT
};

struct origin {
    enum origin_kind kind;
    uint16_t port; /* 0: the scheme's own (80 for http and ws, 443 for https and wss), or none */
    char scheme[ORIGIN_SCHEME_MAX + 1]; /* lower case */
    char host[ADDRESS_HOST_MAX + 1];    /* lower case; an IPv6 address in its shortest form */
};

/* Parses one of the allow list: "*", "null" or SCHEME://HOST[:PORT]. Any scheme (an application may
 * have its own); HOST is a name, in punycode where it has other letters, or an address, IPv6 in
 * brackets. A dot at the end of a name is part of it, as it is to a browser. 0, or -EINVAL with
 * `*why` a static phrase for people. */
int origin_parse(const char *text, struct origin *out, const char **why);

/* Whether the page that a request comes from may connect.
 *
 * `value` and `fields` are ws_head_field and ws_head_field_count of "origin": NULL and 0 without
 * one, which is allowed: it is no browser. Two are refused, and so is what is no origin.
 *
 * With a list (`count` > 0): one of it must be the same. Without: the page must be http or https
 * and have the same host and port as the request, whose field Host is `host`. The ports 80 and 443
 * both count as none here: behind a front that ends TLS nobody knows which of the two the client
 * used. */
bool origin_is_allowed(const struct origin *list, size_t count, const char *value, unsigned fields,
                       const char *host);

#endif
