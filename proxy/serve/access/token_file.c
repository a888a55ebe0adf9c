#include "token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
    char name[TOKEN_NAME_MAX + 1];
    unsigned line;
    uint8_t digest[CRYPTO_SHA256_SIZE];
};

struct token_file {
    size_t count, room;
    struct entry *entries;
};

/* ---- one line ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The word at the front of a line; takes it off, and the blanks around it. */
static struct span take_word(const char **line, const char *end)
{
    const char *p = *line;
    struct span word = {.len = 0};

    while (p < end && is_blank(*p))
        p++;
    word.data = (uint8_t *)(uintptr_t)p;
    while (p < end && !is_blank(*p))
        p++;
    word.len = (size_t)(p - (const char *)word.data);
    while (p < end && is_blank(*p))
        p++;
    *line = p;
    return word;
}

bool token_file_is_name(const char *name, size_t len)
{
    if (len == 0 || len > TOKEN_NAME_MAX || name[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '.' && c != '_' && c != '-' && c != '@')
            return false;
    }
    return true;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_hex(struct span hex, uint8_t out[CRYPTO_SHA256_SIZE])
{
    if (hex.len != 2 * CRYPTO_SHA256_SIZE)
        return false;
    for (size_t i = 0; i < CRYPTO_SHA256_SIZE; i++) {
        int high = hex_value(hex.data[2 * i]), low = hex_value(hex.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* What `printf '' | sha256sum` says: anybody could present nothing. */
static bool is_of_nothing(const uint8_t digest[CRYPTO_SHA256_SIZE])
{
    static const uint8_t of_nothing[CRYPTO_SHA256_SIZE] = {
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
        0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
        0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};

    return memcmp(digest, of_nothing, sizeof(of_nothing)) == 0;
}

/* What is wrong with a line, or NULL. */
static const char *parse_line(const char *line, const char *end, struct entry *out)
{
    struct span name = take_word(&line, end), hex = take_word(&line, end);

    if (hex.len == 0 || line != end)
        return "a line is NAME SHA256HEX";
    if (!token_file_is_name((const char *)name.data, name.len))
        return "a name is 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first";
    if (!parse_hex(hex, out->digest))
        return "no SHA-256 in 64 hex digits (tidegate token NAME makes a line)";
    if (is_of_nothing(out->digest))
        return "this is the hash of an empty token";
    memcpy(out->name, name.data, name.len);
    out->name[name.len] = '\0';
    return NULL;
}

/* ---- the table ---- */

static struct entry *add_entry(struct token_file *f)
{
    if (f->count == f->room) {
        size_t room = f->room == 0 ? 8 : 2 * f->room;
        struct entry *entries = realloc(f->entries, room * sizeof(*entries));
        if (entries == NULL)
            return NULL;
        f->entries = entries;
        f->room = room;
    }
    f->entries[f->count] = (struct entry){.line = 0};
    return &f->entries[f->count++];
}

/* The last entry against those before it. */
static bool is_unique(const struct token_file *f, const char *path, struct text *problem)
{
    const struct entry *last = &f->entries[f->count - 1];

    for (const struct entry *e = f->entries; e < last; e++) {
        bool is_same_name = strcmp(e->name, last->name) == 0;
        if (is_same_name || memcmp(e->digest, last->digest, sizeof(e->digest)) == 0) {
            text_addf(problem, "%.200s:%u: the same %s as in line %u", path, last->line,
                      is_same_name ? "name" : "token", e->line);
            return false;
        }
    }
    return true;
}

static int take_line(struct token_file *f, const char *path, unsigned number, const char *line,
                     const char *end, struct text *problem)
{
    struct entry *e;
    const char *why, *p = line;

    if (line == end || line[0] == '#' || take_word(&p, end).len == 0)
        return 0;
    if (f->count == TOKEN_FILE_ENTRIES_MAX) {
        text_addf(problem, "%.200s:%u: more than %u tokens", path, number, TOKEN_FILE_ENTRIES_MAX);
        return -E2BIG;
    }
    e = add_entry(f);
    if (e == NULL) {
        text_addf(problem, "%.200s: out of memory", path);
        return -ENOMEM;
    }
    e->line = number;
    why = parse_line(line, end, e);
    if (why != NULL) {
        text_addf(problem, "%.200s:%u: %s", path, number, why);
        return -EINVAL;
    }
    return is_unique(f, path, problem) ? 0 : -EINVAL;
}

int token_file_parse(const char *path, const char *data, size_t len, struct token_file **out,
                     struct text *problem)
{
    struct token_file *f = calloc(1, sizeof(*f));
    const char *line = data, *end = data + len;
    int error = 0;

    *out = NULL;
    if (f == NULL) {
        text_addf(problem, "%.200s: out of memory", path);
        return -ENOMEM;
    }
    for (unsigned number = 1; line < end && error == 0; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = newline != NULL ? newline : end;
        error = take_line(f, path, number, line, line_end, problem);
        line = newline != NULL ? newline + 1 : end;
    }
    if (error != 0) {
        token_file_free(f);
        return error;
    }
    *out = f;
    return 0;
}

/* 0 or a negative errno. */
static int read_all(const char *path, char *data, size_t size, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    ssize_t n = 1;

    *len = 0;
    if (fd < 0)
        return -errno;
    while (n > 0 && *len < size) {
        n = read(fd, data + *len, size - *len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            error = -errno;
        else
            *len += (size_t)n;
    }
    close(fd);
    return error;
}

int token_file_read(const char *path, struct token_file **out, struct text *problem)
{
    char *data = malloc(TOKEN_FILE_MAX + 1);
    size_t len = 0;
    int error = data == NULL ? -ENOMEM : read_all(path, data, TOKEN_FILE_MAX + 1, &len);

    *out = NULL;
    if (error == 0 && len > TOKEN_FILE_MAX)
        error = -EFBIG;
    if (error != 0)
        text_addf(problem, "%.200s: %s", path, strerror(-error));
    else
        error = token_file_parse(path, data, len, out, problem);
    free(data);
    if (error == 0 && (*out)->count == 0) {
        text_addf(problem, "%.200s: no token in it: nobody could connect", path);
        token_file_free(*out);
        *out = NULL;
        error = -EINVAL;
    }
    return error;
}

void token_file_free(struct token_file *f)
{
    if (f == NULL)
        return;
    free(f->entries);
    free(f);
}

size_t token_file_count(const struct token_file *f)
{
    return f->count;
}

bool token_file_has_name(const struct token_file *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->entries[i].name, name) == 0)
            return true;
    return false;
}

const char *token_file_find(const struct token_file *f, const uint8_t digest[CRYPTO_SHA256_SIZE])
{
    size_t found = f->count;

    for (size_t i = 0; i < f->count; i++) { /* no way out of it, and no branch in it */
        size_t is = crypto_equal(f->entries[i].digest, digest, CRYPTO_SHA256_SIZE);
        found = is * i + (1 - is) * found;
    }
    return found < f->count ? f->entries[found].name : NULL;
}
