/* The HTTP proxy on the way to the server: --proxy, or the environment as curl reads it
 * (http_proxy for ws://, https_proxy or HTTPS_PROXY for wss://, no_proxy or NO_PROXY; HTTP_PROXY is
 * ignored, because a CGI program gets it from its client).
 *
 * Loopback is never reached through a proxy of the environment: that one lives elsewhere. */
#ifndef TIDEGATE_HTTP_PROXY_H
#define TIDEGATE_HTTP_PROXY_H

#include "url.h"

#define HTTP_PROXY_AUTHORIZATION_MAX 1024

struct http_proxy {
    bool is_set;
    struct address address;
    char authorization[HTTP_PROXY_AUTHORIZATION_MAX]; /* value of Proxy-Authorization, or "" */
};

/* "[http://][USER:PASSWORD@]HOST[:PORT][/]"; port 1080 if not written, as curl has it. 0, or
 * -EINVAL with `*why`, which does not repeat the password. */
int http_proxy_parse(const char *text, struct http_proxy *out, const char **why);

/* What the environment says for `url`: `out->is_set` tells. 0, or -EINVAL with `*name` the variable
 * that is wrong, and `*why`. */
int http_proxy_from_environment(const struct url *url, struct http_proxy *out, const char **name,
                                const char **why);

/* Whether `list` (no_proxy) names the host: names and their subdomains, numbers, CIDR blocks, "*",
 * each with ":PORT" or without. */
bool http_proxy_is_excepted(const char *list, const struct address *host);

#endif
