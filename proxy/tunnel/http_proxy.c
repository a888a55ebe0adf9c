#include "http_proxy.h"

#include "crypto.h"
#include "text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define USER_INFO_MAX 512

/* ---- the address of the proxy ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX. False if it is malformed or too long. */
static bool decode_percent(const char *s, size_t len, char *out, size_t size, size_t *out_len)
{
    *out_len = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (*out_len == size)
            return false;
        if (c == '%') {
            int high = i + 2 < len ? hex_value(s[i + 1]) : -1;
            int low = i + 2 < len ? hex_value(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[(*out_len)++] = c;
    }
    return true;
}

/* RFC 7617: Basic, and base64 of "user:password". */
static bool set_authorization(const char *s, size_t len, struct http_proxy *out)
{
    char plain[USER_INFO_MAX];
    const char *scheme = "Basic ";
    size_t plain_len, scheme_len = strlen(scheme);

    if (!decode_percent(s, len, plain, sizeof(plain) - 1, &plain_len))
        return false;
    if (memchr(plain, ':', plain_len) == NULL)
        plain[plain_len++] = ':';
    memcpy(out->authorization, scheme, scheme_len);
    return crypto_base64_encode(plain, plain_len, out->authorization + scheme_len,
                                sizeof(out->authorization) - scheme_len) == 0;
}

static bool has_scheme(const char *text, const char *scheme)
{
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

static bool set_address(const char *s, size_t len, struct http_proxy *out, const char **why)
{
    char host[ADDRESS_TEXT_MAX];
    struct text t;

    text_init(&t, host, sizeof(host));
    text_add_bytes(&t, s, len);
    const char *bracket = strrchr(host, ']');
    if (strchr(bracket != NULL ? bracket : host, ':') == NULL)
        text_add(&t, ":1080");
    if (t.overflowed || host[0] == ':') {
        *why = t.overflowed ? "host name is too long" : "host is missing";
        return false;
    }
    if (address_parse(host, &out->address, why) != 0)
        return false;
    *why = "must be http://HOST:PORT";
    return out->address.kind == ADDRESS_TCP && out->address.port != 0;
}

int http_proxy_parse(const char *text, struct http_proxy *out, const char **why)
{
    *out = (struct http_proxy){0};
    if (has_scheme(text, "http://")) {
        text += strlen("http://");
    } else if (strstr(text, "://") != NULL) {
        *why = "only proxies that begin with http:// are known";
        return -EINVAL;
    }
    size_t len = strcspn(text, "/");
    if (text[len] != '\0' && text[len + 1] != '\0') {
        *why = "has a path (must be http://HOST:PORT)";
        return -EINVAL;
    }
    const char *at = memrchr(text, '@', len);
    if (at != NULL) {
        if (!set_authorization(text, (size_t)(at - text), out)) {
            *why = "user name or password is malformed or too long";
            return -EINVAL;
        }
        len -= (size_t)(at + 1 - text);
        text = at + 1;
    }
    if (!set_address(text, len, out, why))
        return -EINVAL;
    out->is_set = true;
    return 0;
}

/* ---- no_proxy ---- */

static bool parse_number(const char *s, uint8_t bytes[16], unsigned *bits)
{
    if (inet_pton(AF_INET, s, bytes) == 1)
        *bits = 32;
    else if (inet_pton(AF_INET6, s, bytes) == 1)
        *bits = 128;
    else
        return false;
    return true;
}

static bool is_same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) & (0xff << (8 - rest) & 0xff)) == 0;
}

/* `entry` is a number, or a block of them. */
static bool is_in_block(char *entry, const char *host)
{
    uint8_t block[16], number[16];
    unsigned block_bits, bits;
    uint64_t prefix;
    char *slash = strchr(entry, '/');

    if (slash != NULL)
        *slash = '\0';
    if (!parse_number(entry, block, &block_bits) || !parse_number(host, number, &bits) ||
        bits != block_bits)
        return false;
    prefix = bits;
    if (slash != NULL && !text_parse_number(slash + 1, strlen(slash + 1), bits, &prefix))
        return false;
    return is_same_prefix(block, number, (unsigned)prefix);
}

static bool is_in_domain(const char *domain, const char *host)
{
    size_t host_len = strlen(host), len;

    if (*domain == '.')
        domain++;
    len = strlen(domain);
    if (len == 0 || len > host_len || strcasecmp(host + host_len - len, domain) != 0)
        return false;
    return len == host_len || host[host_len - len - 1] == '.';
}

/* Cuts ":PORT" and brackets off `entry`. False if the port is another one. */
static bool cut_port(char **entry, uint16_t port)
{
    char *bracket = strchr(*entry, ']'), *colon = strchr(*entry, ':');
    uint64_t number;

    if (**entry == '[' && bracket != NULL) {
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
        *bracket = '\0';
        (*entry)++;
    } else if (colon != NULL && strchr(colon + 1, ':') != NULL) {
        return true; /* IPv6 without brackets */
    }
    if (colon == NULL)
        return true;
    *colon = '\0';
    return text_parse_number(colon + 1, strlen(colon + 1), 65535, &number) && number == port;
}

static bool is_entry_for(char *entry, const struct address *host)
{
    if (strcmp(entry, "*") == 0)
        return true;
    return cut_port(&entry, host->port) &&
           (is_in_domain(entry, host->host) || is_in_block(entry, host->host));
}

bool http_proxy_is_excepted(const char *list, const struct address *host)
{
    const char *separators = ", \t";
    char entry[ADDRESS_TEXT_MAX];

    for (list += strspn(list, separators); *list != '\0'; list += strspn(list, separators)) {
        size_t len = strcspn(list, separators);
        if (len < sizeof(entry)) {
            memcpy(entry, list, len);
            entry[len] = '\0';
            if (is_entry_for(entry, host))
                return true;
        }
        list += len;
    }
    return false;
}

/* ---- the environment ---- */

static bool is_loopback(const struct address *host)
{
    char loopback[] = "localhost,127.0.0.0/8,::1";

    return http_proxy_is_excepted(loopback, host);
}

/* The first of the two that is set and not empty. */
static const char *get(const char *first, const char *second, const char **name)
{
    const char *value = getenv(first);

    *name = first;
    if ((value == NULL || *value == '\0') && second != NULL) {
        value = getenv(second);
        *name = second;
    }
    return value != NULL && *value != '\0' ? value : NULL;
}

int http_proxy_from_environment(const struct url *url, struct http_proxy *out, const char **name,
                                const char **why)
{
    const char *ignored, *except = get("no_proxy", "NO_PROXY", &ignored);
    const char *value =
        url->is_tls ? get("https_proxy", "HTTPS_PROXY", name) : get("http_proxy", NULL, name);

    *out = (struct http_proxy){0};
    if (value == NULL || is_loopback(&url->address) ||
        (except != NULL && http_proxy_is_excepted(except, &url->address)))
        return 0;
    return http_proxy_parse(value, out, why);
}
