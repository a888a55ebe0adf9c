#include "token_issue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define TOKEN_BYTES 32

int token_issue_make(const char *name, char token[TOKEN_TEXT_SIZE], char line[TOKEN_LINE_SIZE])
{
    uint8_t bytes[TOKEN_BYTES], digest[CRYPTO_SHA256_SIZE];
    char hex[2 * CRYPTO_SHA256_SIZE + 1];
    struct crypto_sha256 *h = crypto_sha256_new();
    struct text t;

    if (h == NULL || crypto_random(bytes, sizeof(bytes)) != 0) {
        crypto_sha256_free(h);
        return -EIO;
    }
    crypto_base64url_encode(bytes, sizeof(bytes), token, TOKEN_TEXT_SIZE);
    crypto_sha256_update(h, token, strlen(token));
    crypto_sha256_finish(h, digest);
    crypto_hex(digest, sizeof(digest), hex);
    text_init(&t, line, TOKEN_LINE_SIZE);
    text_addf(&t, "%s %s", name, hex);
    assert(!t.overflowed);
    return 0;
}

/* All of an open file. 0 or a negative errno. */
static int read_open(int fd, char *data, size_t size, size_t *len)
{
    *len = 0;
    for (;;) {
        ssize_t n = pread(fd, data + *len, size - *len, (off_t)*len);
        if (n == 0 || (n > 0 && *len + (size_t)n == size)) {
            *len += (size_t)n;
            return 0;
        }
        if (n < 0 && errno != EINTR)
            return -errno;
        *len += n > 0 ? (size_t)n : 0;
    }
}

/* 0, or a negative errno, and then the file ends where it did. */
static int write_end(int fd, size_t at, const struct text *bytes)
{
    ssize_t n = write(fd, bytes->data, bytes->len);
    int error = n < 0 ? -errno : 0;

    if (error == 0 && (size_t)n == bytes->len && fsync(fd) == 0)
        return 0;
    if (error == 0)
        error = (size_t)n == bytes->len ? -errno : -ENOSPC;
    return ftruncate(fd, (off_t)at) == 0 ? error : -errno;
}

static int append_open(int fd, const char *path, const char *name, const char *line, char *data,
                       struct text *problem)
{
    char tail[TOKEN_LINE_SIZE + 2];
    struct token_file *f;
    struct text t;
    size_t len;
    int error = read_open(fd, data, TOKEN_FILE_MAX, &len);

    text_init(&t, tail, sizeof(tail));
    if (error == 0 && len > 0 && data[len - 1] != '\n')
        text_add(&t, "\n");
    text_addf(&t, "%s\n", line);
    if (error == 0 && len + t.len > TOKEN_FILE_MAX)
        error = -EFBIG;
    if (error != 0) {
        text_addf(problem, "%.200s: %s", path, strerror(-error));
        return error;
    }
    error = token_file_parse(path, data, len, &f, problem);
    if (error != 0)
        return error;
    if (token_file_has_name(f, name)) {
        text_addf(problem, "%.200s: has a token for %s: take its line out first", path, name);
        error = -EEXIST;
    } else if (token_file_count(f) == TOKEN_FILE_ENTRIES_MAX) {
        text_addf(problem, "%.200s: has %u tokens, which is all it may", path,
                  TOKEN_FILE_ENTRIES_MAX);
        error = -E2BIG;
    } else {
        error = write_end(fd, len, &t);
        if (error != 0)
            text_addf(problem, "%.200s: %s", path, strerror(-error));
    }
    token_file_free(f);
    return error;
}

int token_issue_append(const char *path, const char *name, const char *line, struct text *problem)
{
    char *data = malloc(TOKEN_FILE_MAX);
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int error = data == NULL ? -ENOMEM : 0;

    while (error == 0 && (fd < 0 || flock(fd, LOCK_EX) != 0))
        error = fd >= 0 && errno == EINTR ? 0 : -errno;
    if (error != 0)
        text_addf(problem, "%.200s: %s", path, strerror(-error));
    else
        error = append_open(fd, path, name, line, data, problem);
    if (fd >= 0)
        close(fd);
    free(data);
    return error;
}
