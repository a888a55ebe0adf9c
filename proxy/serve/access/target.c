#include "target.h"

#include "text.h"

#include <errno.h>
#include <string.h>

#define PREFIX    "/tcp/"
#define LABEL_MAX 63

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool is_label(const char *s, size_t len)
{
    if (len == 0 || len > LABEL_MAX || s[0] == '-' || s[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '-')
            return false;
    return true;
}

/* What inet_aton(3) takes for one: decimal, octal, hexadecimal; a bare "0x" too, to be sure. */
static bool is_number_label(const char *s, size_t len)
{
    bool is_hex = len >= 2 && s[0] == '0' && lower(s[1]) == 'x';

    for (size_t i = is_hex ? 2 : 0; i < len; i++)
        if (!is_digit(s[i]) && !(is_hex && lower(s[i]) >= 'a' && lower(s[i]) <= 'f'))
            return false;
    return true;
}

bool target_is_name(const char *s, size_t len)
{
    const char *end = s + len;

    if (len == 0 || len > TARGET_NAME_MAX)
        return false;
    for (;;) {
        const char *dot = memchr(s, '.', (size_t)(end - s));
        size_t label = (size_t)((dot != NULL ? dot : end) - s);
        if (!is_label(s, label))
            return false;
        if (dot == NULL)
            return !is_number_label(s, label);
        s = dot + 1;
    }
}

static bool parse_host(const char *s, size_t len, struct target *out)
{
    bool is_bracketed = len >= 2 && s[0] == '[' && s[len - 1] == ']';

    if (is_bracketed) {
        s++;
        len -= 2;
        if (memchr(s, ':', len) == NULL)
            return false;
    }
    out->is_number = ip_parse(s, len, &out->ip);
    if (out->is_number) {
        ip_format(&out->ip, out->address.host);
        return true;
    }
    if (is_bracketed || !target_is_name(s, len))
        return false;
    for (size_t i = 0; i < len; i++)
        out->address.host[i] = lower(s[i]);
    return true;
}

static int refuse(const char *why, const char **problem)
{
    *problem = why;
    return -EINVAL;
}

int target_parse(const char *path, size_t len, struct target *out, const char **problem)
{
    size_t prefix = strlen(PREFIX);
    const char *host = path + prefix, *end = path + len, *slash, *port;
    uint64_t number;

    *out = (struct target){.address = {.kind = ADDRESS_TCP}};
    *problem = "";
    if (len < prefix || memcmp(path, PREFIX, prefix) != 0)
        return -ENOENT;
    slash = memchr(host, '/', len - prefix);
    if (slash == NULL || memchr(slash + 1, '/', (size_t)(end - slash - 1)) != NULL)
        return refuse("the path must be /tcp/HOST/PORT", problem);
    port = slash + 1;
    if (!text_parse_number(port, (size_t)(end - port), UINT16_MAX, &number) || number == 0)
        return refuse("the port must be a number from 1 to 65535", problem);
    if (!parse_host(host, (size_t)(slash - host), out))
        return refuse("the host must be a name or an IP address in its usual form", problem);
    out->address.port = (uint16_t)number;
    return 0;
}
