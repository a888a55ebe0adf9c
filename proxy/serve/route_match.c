#include "route_match.h"

#include <string.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

static bool is_letter(char c)
{
    return c != '\0' && strchr(letters, c) != NULL;
}

/* ---- hosts ---- */

static bool is_name_byte(char c)
{
    return is_letter(c) || c == '-' || c == '.' || c == '_';
}

static bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
           c == '.';
}

/* The `len` bytes of `s` in lower case, if they are a name or "[V6]". */
static bool copy_host(const char *s, size_t len, char out[ADDRESS_HOST_MAX + 1])
{
    bool is_v6 = len > 2 && s[0] == '[' && s[len - 1] == ']';

    if (!is_v6 && len > 1 && s[len - 1] == '.')
        len--;
    if (len == 0 || len > ADDRESS_HOST_MAX || s[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        bool is_bracket = is_v6 && (i == 0 || i == len - 1);
        if (!is_bracket && !(is_v6 ? is_number_byte(s[i]) : is_name_byte(s[i])))
            return false;
        out[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] - 'A' + 'a' : s[i]);
    }
    out[len] = '\0';
    return true;
}

bool route_match_is_host(const char *text, char out[ADDRESS_HOST_MAX + 1], const char **why)
{
    size_t len = strlen(text);

    *why = "is no host (a name, a number, or *.SUFFIX; without a port)";
    if (strncmp(text, "*.", 2) != 0)
        return copy_host(text, len, out);
    if (len > ADDRESS_HOST_MAX || text[2] == '[' || !copy_host(text + 2, len - 2, out))
        return false;
    memmove(out + 2, out, strlen(out) + 1);
    memcpy(out, "*.", 2);
    return true;
}

bool route_match_host(const char *field, char out[ADDRESS_HOST_MAX + 1])
{
    size_t len = field[0] == '[' ? strcspn(field, "]") + 1 : strcspn(field, ":");

    if (len > strlen(field) ||
        (field[len] == ':' && field[len + 1 + strspn(field + len + 1, "0123456789")] != '\0') ||
        (field[len] != ':' && field[len] != '\0'))
        return false;
    return copy_host(field, len, out);
}

/* ---- paths ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What stands at `*i`, decoded, and moves `*i` behind it. -1: a bad escape. */
static int decode(const char *s, size_t len, size_t *i)
{
    if (s[*i] != '%')
        return (unsigned char)s[(*i)++];
    if (len - *i < 3 || hex_value(s[*i + 1]) < 0 || hex_value(s[*i + 2]) < 0)
        return -1;
    int byte = hex_value(s[*i + 1]) * 16 + hex_value(s[*i + 2]);
    *i += 3;
    return byte;
}

bool route_match_can_path(const char *path, size_t len, const char **why)
{
    size_t dots = 0, others = 0; /* of the segment so far */

    *why = "the path does not begin with a slash";
    if (len == 0 || path[0] != '/')
        return false;
    for (size_t i = 0; i < len;) {
        bool is_encoded = path[i] == '%';
        int byte = decode(path, len, &i);
        *why = "the path has a bad escape";
        if (byte < 0)
            return false;
        *why = "the path has an escaped slash, a backslash or a control character";
        if (byte < ' ' || byte == 127 || byte == '\\' || (is_encoded && byte == '/'))
            return false;
        if (byte == '.')
            dots++;
        else if (byte != '/')
            others++;
        *why = "the path has a dot segment";
        if ((byte == '/' || i == len) && others == 0 && (dots == 1 || dots == 2))
            return false;
        if (byte == '/')
            dots = others = 0;
    }
    return true;
}

bool route_match_is_path(const char *text, const char **why)
{
    size_t len = strlen(text);
    bool is_prefix = len >= 2 && strcmp(text + len - 2, "/*") == 0;

    *why = "is too long";
    if (len > ROUTE_PATH_MAX)
        return false;
    if (!route_match_can_path(text, is_prefix ? len - 1 : len, why))
        return false;
    *why = "has a '*' that is not its end behind a '/'";
    if (memchr(text, '*', is_prefix ? len - 1 : len) != NULL)
        return false;
    *why = "has a query or a fragment";
    return text[strcspn(text, "?#")] == '\0';
}

bool route_match_is_name(const char *text, const char **why)
{
    size_t len = strlen(text);

    *why = "must be 1 to 64 letters, digits, '-', '_' or '.'";
    if (len == 0 || len > ROUTE_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_name_byte(text[i]))
            return false;
    return true;
}

/* ---- together ---- */

/* 0: no; 1: any; more: the length of a suffix; most: the name. */
static unsigned rank_host(const char *pattern, const char *host)
{
    size_t len = strlen(host), suffix_len;

    if (pattern == NULL)
        return 1;
    if (pattern[0] != '*')
        return strcmp(pattern, host) == 0 ? ADDRESS_HOST_MAX + 1 : 0;
    suffix_len = strlen(pattern) - 1; /* with its dot */
    return len > suffix_len && strcmp(host + len - suffix_len, pattern + 1) == 0
               ? (unsigned)suffix_len
               : 0;
}

static unsigned rank_path(const char *pattern, const char *path, size_t path_len)
{
    size_t len;

    if (pattern == NULL)
        return 1;
    len = strlen(pattern);
    if (len < 2 || pattern[len - 1] != '*')
        return path_len == len && memcmp(path, pattern, len) == 0 ? ROUTE_PATH_MAX + 1 : 0;
    len -= 2; /* up to the slash */
    if (path_len < len || memcmp(path, pattern, len) != 0)
        return 0;
    return path_len == len || path[len] == '/' ? (unsigned)len + 2 : 0;
}

unsigned route_match_rank(const struct route_pattern *pattern, const char *host, const char *path,
                          size_t path_len)
{
    unsigned by_host = rank_host(pattern->host, host);
    unsigned by_path = rank_path(pattern->path, path, path_len);

    return by_host == 0 || by_path == 0 ? 0 : by_host * (ROUTE_PATH_MAX + 2) + by_path;
}
