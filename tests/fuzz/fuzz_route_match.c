/* Hosts and paths of requests: what is taken can be read in one way only. The input is a field
 * Host, a newline, and a path. */
#include "fuzz.h"
#include "route_match.h"

#include <string.h>

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at;

    if (c >= 'A' && c <= 'F')
        c = (char)(c - 'A' + 'a');
    at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* As a careless program does it: all escapes, once. */
static size_t decode(const char *path, size_t len, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (path[i] == '%' && len - i > 2 && hex(path[i + 1]) >= 0 && hex(path[i + 2]) >= 0) {
            out[n++] = (char)(hex(path[i + 1]) * 16 + hex(path[i + 2]));
            i += 2;
        } else {
            out[n++] = path[i];
        }
    }
    return n;
}

static void check_path(const char *path, size_t len)
{
    const char *why = NULL;
    char *plain = malloc(len + 1);
    size_t slashes = 0, plain_slashes = 0, begin = 0;

    if (plain == NULL)
        return;
    if (!route_match_can_path(path, len, &why)) {
        FUZZ_CHECK(why != NULL && why[0] != '\0');
        free(plain);
        return;
    }
    size_t n = decode(path, len, plain);
    plain[n] = '\0';
    FUZZ_CHECK(path[0] == '/');
    for (size_t i = 0; i < len; i++)
        slashes += path[i] == '/';
    for (size_t i = 0; i <= n; i++) {
        unsigned char c = (unsigned char)plain[i];
        FUZZ_CHECK(i == n || (c >= ' ' && c != 127 && c != '\\'));
        plain_slashes += c == '/';
        if (c != '/' && i < n)
            continue;
        FUZZ_CHECK(!(i - begin == 1 && plain[begin] == '.'));
        FUZZ_CHECK(!(i - begin == 2 && plain[begin] == '.' && plain[begin + 1] == '.'));
        begin = i + 1;
    }
    FUZZ_CHECK(slashes == plain_slashes);
    free(plain);
}

static void check_host(const char *field)
{
    char host[ADDRESS_HOST_MAX + 1], again[ADDRESS_HOST_MAX + 1], wild[ADDRESS_HOST_MAX + 3] = "*.";
    const char *why;
    struct route_pattern exact = {.host = host}, below = {.host = wild}, any = {0};

    if (!route_match_host(field, host))
        return;
    FUZZ_CHECK(strlen(host) > 0 && strpbrk(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZ/\\@ %*,") == NULL);
    unsigned rank = route_match_rank(&exact, host, "/", 1);
    FUZZ_CHECK(rank > route_match_rank(&any, host, "/", 1));
    memcpy(wild + 2, host, strlen(host) + 1);
    FUZZ_CHECK(route_match_rank(&below, host, "/", 1) == 0); /* not itself */
    if (host[strlen(host) - 1] == '.')
        return; /* two dots at the end: one is left */
    FUZZ_CHECK(route_match_is_host(host, again, &why));
    FUZZ_CHECK(strcmp(host, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *path;
    size_t host_len;

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    path = memchr(text, '\n', size);
    host_len = path == NULL ? size : (size_t)(path - text);
    text[host_len] = '\0';
    check_host(text);
    if (path != NULL)
        check_path(path + 1, size - host_len - 1);
    free(text);
    return 0;
}
