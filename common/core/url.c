#include "url.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Cuts the scheme off. NULL if it is neither of ours. */
static const char *skip_scheme(const char *s, bool *is_tls)
{
    *is_tls = strncasecmp(s, "wss://", 6) == 0;
    if (*is_tls)
        return s + 6;
    return strncasecmp(s, "ws://", 5) == 0 ? s + 5 : NULL;
}

static bool has_unprintable(const char *s)
{
    for (; *s != '\0'; s++)
        if (*s <= ' ' || *s > '~')
            return true;
    return false;
}

static bool has_port(const char *authority)
{
    const char *behind_host = strrchr(authority, ']');
    return strchr(behind_host != NULL ? behind_host : authority, ':') != NULL;
}

static int parse_authority(const char *authority, struct url *out, const char **why)
{
    uint16_t usual = out->is_tls ? 443 : 80;
    char with_port[ADDRESS_TEXT_MAX];
    int n = has_port(authority) ? snprintf(with_port, sizeof with_port, "%s", authority)
                                : snprintf(with_port, sizeof with_port, "%s:%u", authority, usual);
    if (n < 0 || (size_t)n >= sizeof with_port) {
        *why = "host name is too long";
        return -EINVAL;
    }
    if (with_port[0] == ':') {
        *why = "host is missing";
        return -EINVAL;
    }
    int error = address_parse(with_port, &out->address, why);
    if (error != 0)
        return error;
    if (out->address.kind != ADDRESS_TCP || out->address.port == 0) {
        *why = "port is not between 1 and 65535";
        return -EINVAL;
    }
    address_format(&out->address, out->host, sizeof out->host);
    if (out->address.port == usual)
        *strrchr(out->host, ':') = '\0';
    return 0;
}

char *url_format(const struct url *u, char *buffer, size_t size)
{
    struct text t;

    text_init(&t, buffer, size);
    text_addf(&t, "%s://%s", u->is_tls ? "wss" : "ws", u->host);
    text_add_bytes(&t, u->target, strcspn(u->target, "?"));
    return buffer;
}

int url_parse(const char *s, struct url *out, const char **why)
{
    memset(out, 0, sizeof *out);
    const char *authority = skip_scheme(s, &out->is_tls);
    if (authority == NULL) {
        *why = "it does not begin with ws:// or wss://";
        return -EINVAL;
    }
    if (has_unprintable(authority) || strchr(authority, '#') != NULL) {
        *why = "it has a space, a control character or a fragment (write them as %20 and the like)";
        return -EINVAL;
    }
    size_t len = strcspn(authority, "/?");
    const char *target = authority + len;
    char host[ADDRESS_TEXT_MAX];
    if (len >= sizeof host) {
        *why = "host name is too long";
        return -EINVAL;
    }
    memcpy(host, authority, len);
    host[len] = '\0';
    if (strchr(host, '@') != NULL) {
        *why = "it has a user name in it (give credentials with --header or --token-file)";
        return -EINVAL;
    }
    int n = snprintf(out->target, sizeof out->target, "%s%s", *target == '/' ? "" : "/", target);
    if (n < 0 || (size_t)n >= sizeof out->target) {
        *why = "path is too long";
        return -EINVAL;
    }
    return parse_authority(host, out, why);
}
