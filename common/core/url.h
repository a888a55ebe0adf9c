/* The address of a WebSocket server as people write it: ws://HOST[:PORT][/PATH][?QUERY] (RFC 6455
 * section 3), wss:// likewise. Text only. */
#ifndef TIDEGATE_URL_H
#define TIDEGATE_URL_H

#include "address.h"

#include <stdbool.h>

#define URL_TARGET_MAX 2048

struct url {
    bool is_tls;                 /* wss */
    struct address address;      /* where to connect; port 80 or 443 if not written */
    char host[ADDRESS_TEXT_MAX]; /* the Host field: brackets, and the port unless it is the default
                                  */
    char target[URL_TARGET_MAX + 1]; /* "/path?query"; "/" if none */
};

/* "ws://host/path", without the query, which may hold a secret: for logs and people. Returns
 * `buffer`; URL_TEXT_MAX bytes always do. */
#define URL_TEXT_MAX (6 + ADDRESS_TEXT_MAX + URL_TARGET_MAX + 1)
char *url_format(const struct url *u, char *buffer, size_t size);

/* 0, or -EINVAL with `*why` a static phrase for people. Refuses user info, fragments, control
 * characters, spaces, and schemes other than ws and wss. */
int url_parse(const char *s, struct url *out, const char **why);

#endif
