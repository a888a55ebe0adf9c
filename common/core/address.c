#include "address.h"

#include "text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX    "unix:"
#define SYSTEMD_PREFIX "systemd:"
#define UNIX_PATH_MAX  (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

_Static_assert(UNIX_PATH_MAX <= ADDRESS_HOST_MAX, "a socket path must fit");

static int refuse(const char **why, const char *phrase)
{
    *why = phrase;
    return -EINVAL;
}

static int parse_unix(const char *path, struct address *out, const char **why)
{
    size_t len = strlen(path);
    if (len == 0)
        return refuse(why, "socket path is empty");
    if (len > UNIX_PATH_MAX)
        return refuse(why, "socket path is too long");
    out->kind = ADDRESS_UNIX;
    memcpy(out->host, path, len + 1);
    return 0;
}

static int parse_port(const char *s, struct address *out, const char **why)
{
    size_t len = strlen(s);
    uint64_t port;
    if (len == 0)
        return refuse(why, "port is missing");
    if (!text_parse_number(s, len, UINT64_MAX, &port))
        return refuse(why, "port is not a number");
    if (port > UINT16_MAX)
        return refuse(why, "port is above 65535");
    out->port = (uint16_t)port;
    return 0;
}

/* Numeric, with an optional zone: fe80::1%eth0. */
static bool is_ipv6(const char *host)
{
    char number[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%");
    if (len >= sizeof(number) || (host[len] == '%' && host[len + 1] == '\0'))
        return false;
    memcpy(number, host, len);
    number[len] = '\0';
    struct in6_addr ignored;
    return inet_pton(AF_INET6, number, &ignored) == 1;
}

static bool is_host_name(const char *host)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.-_";
    return host[strspn(host, allowed)] == '\0';
}

static int parse_tcp(const char *s, struct address *out, const char **why)
{
    bool is_bracketed = s[0] == '[';
    const char *host = is_bracketed ? s + 1 : s;
    const char *end = is_bracketed ? strchr(host, ']') : strrchr(host, ':');
    if (end == NULL)
        return refuse(why, is_bracketed ? "']' is missing" : "port is missing");
    if (is_bracketed && end[1] != ':')
        return refuse(why, end[1] == '\0' ? "port is missing" : "':' must follow ']'");

    size_t len = (size_t)(end - host);
    if (len > ADDRESS_HOST_MAX)
        return refuse(why, "host name is too long");
    memcpy(out->host, host, len);
    out->host[len] = '\0';

    if (is_bracketed) {
        if (!is_ipv6(out->host))
            return refuse(why, "not an IPv6 address between brackets");
    } else if (strchr(out->host, ':') != NULL) {
        return refuse(why, "an IPv6 address needs brackets: [::1]:80");
    } else if (!is_host_name(out->host)) {
        return refuse(why, "host name has a character that is not allowed");
    } else if (len == 0) {
        memcpy(out->host, "localhost", sizeof("localhost"));
    }
    return parse_port(is_bracketed ? end + 2 : end + 1, out, why);
}

int address_parse(const char *s, struct address *out, const char **why)
{
    *out = (struct address){.kind = ADDRESS_TCP};
    *why = "";
    if (strncmp(s, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(s + strlen(UNIX_PREFIX), out, why);
    return parse_tcp(s, out, why);
}

/* The name of a descriptor: no control characters, no ':' (sd_pid_notify_with_fds(3)). */
static int parse_systemd(const char *name, struct address *out, const char **why)
{
    size_t len = strlen(name);
    if (len == 0)
        return refuse(why, "name of the socket is missing");
    if (len > ADDRESS_HOST_MAX)
        return refuse(why, "name of the socket is too long");
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == ':')
            return refuse(why, "name of the socket has a character that is not allowed");
    *out = (struct address){.kind = ADDRESS_SYSTEMD};
    memcpy(out->host, name, len + 1);
    return 0;
}

int address_parse_listen(const char *s, struct address *out, const char **why)
{
    size_t len = strlen(SYSTEMD_PREFIX);
    return strncmp(s, SYSTEMD_PREFIX, len) == 0 ? parse_systemd(s + len, out, why)
                                                : address_parse(s, out, why);
}

char *address_format(const struct address *a, char *buffer, size_t size)
{
    struct text t;
    text_init(&t, buffer, size);
    if (a->kind != ADDRESS_TCP) {
        text_add(&t, a->kind == ADDRESS_UNIX ? UNIX_PREFIX : SYSTEMD_PREFIX);
        text_add(&t, a->host);
        return buffer;
    }
    bool is_bracketed = strchr(a->host, ':') != NULL;
    text_add(&t, is_bracketed ? "[" : "");
    text_add(&t, a->host);
    text_add(&t, is_bracketed ? "]:" : ":");
    text_add_number(&t, a->port);
    return buffer;
}
