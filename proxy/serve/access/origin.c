#include "origin.h"

#include "text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const char digits[] = "0123456789";

static int refuse(const char **why, const char *phrase)
{
    *why = phrase;
    return -EINVAL;
}

static void lower(char *s)
{
    for (; *s != '\0'; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
}

/* ---- HOST[:PORT] ---- */

/* "[V6]" at the front of `s`; moves behind it. */
static bool take_ipv6(const char **s, char host[ADDRESS_HOST_MAX + 1])
{
    char number[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t len = strcspn(*s, "]");

    if ((*s)[len] != ']' || len > sizeof(number))
        return false;
    memcpy(number, *s + 1, len - 1);
    number[len - 1] = '\0';
    *s += len + 1;
    return inet_pton(AF_INET6, number, &address) == 1 &&
           inet_ntop(AF_INET6, &address, host, ADDRESS_HOST_MAX + 1) != NULL;
}

/* Letters, digits, '-', '.', '_': neither '@' nor '/' nor '%' hides in a name. */
static bool take_name(const char **s, char host[ADDRESS_HOST_MAX + 1])
{
    size_t len = strspn(*s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

    if (len == 0 || len > ADDRESS_HOST_MAX)
        return false;
    memcpy(host, *s, len);
    host[len] = '\0';
    lower(host);
    *s += len;
    return true;
}

/* All of `s`; `*port` is 0 if it has none. */
static bool parse_authority(const char *s, char host[ADDRESS_HOST_MAX + 1], uint16_t *port)
{
    uint64_t number;

    *port = 0;
    if (!(*s == '[' ? take_ipv6(&s, host) : take_name(&s, host)))
        return false;
    if (*s == '\0')
        return true;
    if (*s != ':' || s[1 + strspn(s + 1, digits)] != '\0' ||
        !text_parse_number(s + 1, strlen(s + 1), UINT16_MAX, &number) || number == 0)
        return false;
    *port = (uint16_t)number;
    return true;
}

/* ---- SCHEME://HOST[:PORT] ---- */

static const char *skip_scheme(const char *s, char scheme[ORIGIN_SCHEME_MAX + 1])
{
    size_t len = strcspn(s, ":");

    if (len == 0 || len > ORIGIN_SCHEME_MAX || strncmp(s + len, "://", 3) != 0)
        return NULL;
    memcpy(scheme, s, len);
    scheme[len] = '\0';
    lower(scheme);
    if (strspn(scheme, "abcdefghijklmnopqrstuvwxyz") == 0 ||
        scheme[strspn(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.")] != '\0')
        return NULL;
    return s + len + 3;
}

static uint16_t usual_port(const char *scheme)
{
    if (strcmp(scheme, "https") == 0 || strcmp(scheme, "wss") == 0)
        return 443;
    return strcmp(scheme, "http") == 0 || strcmp(scheme, "ws") == 0 ? 80 : 0;
}

int origin_parse(const char *text, struct origin *out, const char **why)
{
    const char *authority;

    *out = (struct origin){.kind = ORIGIN_EXACT};
    *why = "";
    if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0) {
        out->kind = text[0] == '*' ? ORIGIN_ANY : ORIGIN_NULL;
        return 0;
    }
    authority = skip_scheme(text, out->scheme);
    if (authority == NULL)
        return refuse(why, "an origin is SCHEME://HOST[:PORT], \"null\" or \"*\"");
    if (strchr(authority, '/') != NULL)
        return refuse(why, "an origin has no path, nor a '/' at its end");
    if (strchr(authority, '*') != NULL)
        return refuse(why, "an origin is exact: no '*' in it");
    if (!parse_authority(authority, out->host, &out->port))
        return refuse(why, "no host and port of an origin (other letters in punycode: xn--...)");
    if (out->port == usual_port(out->scheme))
        out->port = 0;
    return 0;
}

/* ---- the check ---- */

static bool is_same(const struct origin *a, const struct origin *b)
{
    return a->kind == b->kind && a->port == b->port && strcmp(a->scheme, b->scheme) == 0 &&
           strcmp(a->host, b->host) == 0;
}

static uint16_t port_without_scheme(uint16_t port)
{
    return port == 80 || port == 443 ? 0 : port;
}

static bool is_same_host(const struct origin *page, const char *host)
{
    char name[ADDRESS_HOST_MAX + 1];
    uint16_t port;

    if (page->kind != ORIGIN_EXACT ||
        (strcmp(page->scheme, "https") != 0 && strcmp(page->scheme, "http") != 0))
        return false;
    return parse_authority(host, name, &port) && strcmp(page->host, name) == 0 &&
           port_without_scheme(page->port) == port_without_scheme(port);
}

bool origin_is_allowed(const struct origin *list, size_t count, const char *value, unsigned fields,
                       const char *host)
{
    struct origin page;
    const char *why;
    bool is_origin;

    if (fields == 0)
        return true;
    if (fields > 1)
        return false;
    is_origin = origin_parse(value, &page, &why) == 0 && page.kind != ORIGIN_ANY;
    if (count == 0)
        return is_origin && is_same_host(&page, host);
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind == ORIGIN_ANY || (is_origin && is_same(&list[i], &page)))
            return true;
    }
    return false;
}
