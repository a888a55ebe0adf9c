#include "request_fields.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The handshake's own, those that would change where the request ends, and those of the HTTP proxy.
 */
static const char *const own_names[] = {
    "connection", "content-length",      "expect", "host",
    "keep-alive", "proxy-authorization", "te",     "trailer",
    "upgrade",    "transfer-encoding",
};

static bool is_own(const char *name, size_t len)
{
    const char *prefix = "sec-websocket-";

    if (len >= strlen(prefix) && strncasecmp(name, prefix, strlen(prefix)) == 0)
        return true;
    for (size_t i = 0; i < array_count(own_names); i++)
        if (text_equals_nocase(name, len, own_names[i]))
            return true;
    return false;
}

static bool has_control(const char *s)
{
    for (; *s != '\0'; s++)
        if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
            return true;
    return false;
}

int request_fields_add(struct request_fields *f, const char *field, const char **why)
{
    size_t name_len = text_token_length(field);
    struct text t;

    if (name_len == 0 || field[name_len] != ':') {
        *why = "must be 'Name: value'";
        return -EINVAL;
    }
    if (has_control(field)) {
        *why = "has a line break or another control character in it";
        return -EINVAL;
    }
    if (is_own(field, name_len)) {
        *why = "is set by tidegate itself";
        return -EINVAL;
    }
    const char *value = field + name_len + 1;
    value += strspn(value, " \t");
    text_init(&t, f->text + f->len, sizeof(f->text) - f->len);
    text_add_bytes(&t, field, name_len);
    text_addf(&t, ": %s\r\n", value);
    if (t.overflowed) {
        f->text[f->len] = '\0';
        *why = "is more than fits: 4 KiB for all of them";
        return -EINVAL;
    }
    f->len += t.len;
    return 0;
}

bool request_fields_have(const struct request_fields *f, const char *name)
{
    for (const char *line = f->text; *line != '\0'; line = strchr(line, '\n') + 1)
        if (text_equals_nocase(line, strcspn(line, ":"), name))
            return true;
    return false;
}

/* RFC 6750 section 2.1 has fewer, but what a server takes is its own business. */
static bool is_token(const char *s)
{
    for (; *s != '\0'; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

int request_token_read(const char *path, char token[REQUEST_TOKEN_MAX + 1], const char **why)
{
    size_t len = 0;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        int error = errno;
        *why = strerror(error);
        return -error;
    }
    while (len < REQUEST_TOKEN_MAX && (n = read(fd, token + len, REQUEST_TOKEN_MAX - len)) > 0)
        len += (size_t)n;
    int error = n < 0 ? errno : 0;
    close(fd);
    if (error != 0) {
        *why = strerror(error);
        return -error;
    }
    token[len] = '\0';
    bool has_nul = strlen(token) != len;
    token[strcspn(token, "\r\n")] = '\0';
    *why = *token == '\0' ? "its first line is empty" : "its first line is not a token";
    if (len == REQUEST_TOKEN_MAX)
        *why = "is too long";
    return *token == '\0' || has_nul || !is_token(token) || len == REQUEST_TOKEN_MAX ? -EINVAL : 0;
}
