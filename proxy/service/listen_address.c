#include "listen_address.h"

#include "text.h"

#include <string.h>

#define HEADER_PREFIX "proxy+"

static const char *const prefixes[] = {
    [LISTEN_ANY] = "",
    [LISTEN_WS] = "ws://",
    [LISTEN_WSS] = "wss://",
};

/* Steps over `prefix`, if it is there. */
static bool skip(const char **s, const char *prefix)
{
    size_t len = strlen(prefix);

    if (strncmp(*s, prefix, len) != 0)
        return false;
    *s += len;
    return true;
}

int listen_address_parse(const char *s, struct listen_address *out, const char **why)
{
    out->has_header = skip(&s, HEADER_PREFIX);
    out->scheme = skip(&s, prefixes[LISTEN_WS])    ? LISTEN_WS
                  : skip(&s, prefixes[LISTEN_WSS]) ? LISTEN_WSS
                                                   : LISTEN_ANY;
    return address_parse_listen(s, &out->address, why);
}

bool listen_address_has_tls(const struct listen_address *a, bool has_certificate)
{
    return a->scheme == LISTEN_WSS || (a->scheme == LISTEN_ANY && has_certificate);
}

char *listen_address_format(const struct listen_address *a, char *buffer, size_t size)
{
    char address[ADDRESS_TEXT_MAX];
    struct text t;

    text_init(&t, buffer, size);
    text_addf(&t, "%s%s%s", a->has_header ? HEADER_PREFIX : "", prefixes[a->scheme],
              address_format(&a->address, address, sizeof(address)));
    return buffer;
}
