#include "config_file.h"

#include "config_reader.h"
#include "option_find.h"
#include "option_value.h"
#include "serve/route_match.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMAND COMMAND_SERVE

/* ---- into memory ---- */

static int cannot(const char *path, int error, struct text *problem)
{
    text_addf(problem, "%.200s: cannot be read: %s", path, strerror(error));
    return -error;
}

static int read_all(int fd, struct arena *arena, struct config_file *out)
{
    size_t size = CONFIG_FILE_MAX + 1;
    char *buffer = malloc(size), *copy;
    ssize_t n = 1;

    out->len = 0;
    if (buffer == NULL)
        return -ENOMEM;
    while (n > 0 && out->len < size) {
        n = read(fd, buffer + out->len, size - out->len);
        if (n > 0)
            out->len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int status = n < 0 ? -errno : 0;
    copy = status == 0 ? arena_copy(arena, buffer, out->len) : NULL;
    if (status == 0 && copy == NULL)
        status = -ENOMEM;
    out->text = copy;
    free(buffer);
    return status;
}

static int check_text(const struct config_file *file, struct text *problem)
{
    struct utf8 utf8 = {0};
    unsigned line = 1;

    if (file->len > CONFIG_FILE_MAX) {
        text_addf(problem, "%.200s: is larger than %d bytes", file->path, CONFIG_FILE_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < file->len; i++) {
        uint8_t byte = (uint8_t)file->text[i];
        if (!utf8_feed(&utf8, &byte, 1) || (i + 1 == file->len && !utf8_is_complete(&utf8))) {
            text_addf(problem, "%.200s:%u: is not UTF-8", file->path, line);
            return -EINVAL;
        }
        line += byte == '\n';
    }
    return 0;
}

int config_file_open(const char *path, struct arena *arena, struct config_file *out,
                     struct text *problem)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *out = (struct config_file){.path = path};
    if (fd < 0)
        return cannot(path, errno, problem);
    if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        close(fd);
        return cannot(path, EISDIR, problem);
    }
    /* A pipe is waited for only if somebody writes to it. */
    if (fcntl(fd, F_SETFL, 0) < 0) {
        int error = errno;
        close(fd);
        return cannot(path, error, problem);
    }
    int status = read_all(fd, arena, out);
    close(fd);
    return status != 0 ? cannot(path, -status, problem) : check_text(out, problem);
}

/* ---- values ---- */

/* The value that the reader stands on. */
static bool set_value(struct config_reader *r, const struct option *o, void *base)
{
    const char *why = NULL, *text = config_reader_value(r);
    char where[CONFIG_WHERE_MAX];

    if (text == NULL)
        return false;
    if (option_value_set(o, text, base, &r->settings->arena, &why))
        return true;
    r->has_failed = true;
    option_value_describe(o, config_reader_where(r, where), text, why, r->problem);
    return false;
}

/* A value, or several where a list is taken. */
static bool read_option(struct config_reader *r, const struct option *o, void *base)
{
    option_value_forget(o, base);
    if (!config_reader_next(r))
        return false;
    if (r->kind == CONFIG_VALUE)
        return set_value(r, o, base);
    if (r->kind != CONFIG_LIST)
        return config_reader_fail(r, "takes a value, not keys");
    if (!option_is_list(o))
        return config_reader_fail(r, "takes one value, not a list");
    while (config_reader_next(r)) {
        if (r->kind == CONFIG_END)
            return true;
        if (r->kind != CONFIG_VALUE)
            return config_reader_fail(r, "takes a list of values");
        if (!set_value(r, o, base))
            return false;
    }
    return false;
}

static const struct option *find_option(struct config_reader *r, enum option_scope least,
                                        const char *const *more)
{
    const struct option *o = option_find(COMMAND, r->key, strlen(r->key));
    struct nearest n;

    if (o != NULL && o->scope >= least)
        return o;
    if (o != NULL) {
        config_reader_fail(r, o->scope == OPTION_SCOPE_LINE ? "cannot be set in a file"
                                                            : "cannot be set for one route");
        return NULL;
    }
    nearest_begin(&n, r->key, strlen(r->key));
    for (; *more != NULL; more++)
        nearest_offer(&n, *more);
    option_offer(COMMAND, least, &n);
    if (nearest_found(&n) == NULL)
        config_reader_fail(r, "unknown key");
    else
        config_reader_fail(r, "unknown key (did you mean %s?)", nearest_found(&n));
    return NULL;
}

/* ---- the top level ---- */

static bool read_top_key(struct config_reader *r)
{
    static const char *const more[] = {"routes", NULL};
    struct settings *s = r->settings;

    if (strcmp(r->key, "routes") == 0) {
        if (s->server.routes_line != 0)
            return config_reader_fail(r, "is here for a second time");
        s->server.routes_line = r->line;
        return config_reader_skip(r);
    }
    const struct option *o = find_option(r, OPTION_SCOPE_START, more);
    if (o == NULL)
        return false;
    struct option_origin *origin = &s->origins[o - option_table];
    if (origin->source == OPTION_IN_FILE)
        return config_reader_fail(r, "is here for a second time: it is in line %u", origin->line);
    *origin = (struct option_origin){OPTION_IN_FILE, r->line};
    return read_option(r, o, option_base(o, s));
}

bool config_file_read_top(const struct config_file *file, struct settings *s, struct text *problem)
{
    struct config_reader r;
    bool is_good = config_reader_open(&r, file, s, problem);

    while (is_good && config_reader_next_key(&r))
        is_good = read_top_key(&r);
    return config_reader_close(&r) && is_good;
}

/* ---- routes ---- */

static bool read_pattern(struct config_reader *r, const char **out)
{
    const char *why = NULL, *text;
    char host[ADDRESS_HOST_MAX + 1];

    if (*out != NULL)
        return config_reader_fail(r, "is here for a second time");
    if (!config_reader_next(r))
        return false;
    if (r->kind != CONFIG_VALUE)
        return config_reader_fail(r, "takes one value");
    text = config_reader_value(r);
    if (text == NULL)
        return false;
    bool is_good = strcmp(r->key, "host") == 0   ? route_match_is_host(text, host, &why)
                   : strcmp(r->key, "path") == 0 ? route_match_is_path(text, &why)
                                                 : route_match_is_name(text, &why);
    if (!is_good)
        return config_reader_fail(r, "\"%.100s\": %s", text, why);
    if (strcmp(r->key, "host") == 0)
        text = arena_copy(&r->settings->arena, host, strlen(host));
    *out = text;
    return text != NULL || config_reader_fail(r, "out of memory");
}

static bool read_route_key(struct config_reader *r, struct route_entry *route)
{
    static const char *const more[] = {"name", "host", "path", NULL};

    if (strcmp(r->key, "name") == 0)
        return read_pattern(r, &route->name);
    if (strcmp(r->key, "host") == 0)
        return read_pattern(r, &route->host);
    if (strcmp(r->key, "path") == 0)
        return read_pattern(r, &route->path);
    const struct option *o = find_option(r, OPTION_SCOPE_ROUTE, more);
    if (o == NULL)
        return false;
    unsigned *line = &route->key_lines[o - option_table];
    if (*line != 0)
        return config_reader_fail(r, "is here for a second time: it is in line %u", *line);
    *line = r->line;
    return read_option(r, o, &route->settings);
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Compares the newest with those before it. */
static bool check_route(struct config_reader *r, const struct route_entry *route, unsigned line)
{
    const struct server_config *server = &r->settings->server;

    config_reader_at(r, "routes", line);
    if (route->name == NULL)
        return config_reader_fail(r, "this one has no name");
    for (const struct route_entry *other = server->routes; other != route; other++) {
        if (strcmp(other->name, route->name) == 0)
            return config_reader_fail(r, "\"%s\": the route in line %u has the same name",
                                      route->name, other->line);
        if (is_same(other->host, route->host) && is_same(other->path, route->path))
            return config_reader_fail(r, "\"%s\": \"%s\" in line %u has the same host and path",
                                      route->name, other->name, other->line);
    }
    return true;
}

static bool read_route(struct config_reader *r)
{
    struct server_config *server = &r->settings->server;
    struct arena *arena = &r->settings->arena;
    void *items = server->routes;
    unsigned line = r->line;

    if (server->route_count == CONFIG_ROUTES_MAX)
        return config_reader_fail(r, "more than %d", CONFIG_ROUTES_MAX);
    if (!arena_grow(arena, &items, server->route_count, sizeof(*server->routes)))
        return config_reader_fail(r, "out of memory");
    server->routes = items;
    struct route_entry *route = &server->routes[server->route_count];
    *route = (struct route_entry){.line = line, .settings = server->defaults};
    route->key_lines = arena_alloc(arena, option_table_count * sizeof(*route->key_lines));
    if (route->key_lines == NULL)
        return config_reader_fail(r, "out of memory");
    while (config_reader_next_key(r))
        if (!read_route_key(r, route))
            return false;
    if (r->has_failed || !check_route(r, route, line))
        return false;
    server->route_count++;
    return true;
}

static bool read_routes(struct config_reader *r)
{
    if (!config_reader_next(r))
        return false;
    if (r->kind != CONFIG_LIST)
        return config_reader_fail(r, "takes a list, each with a name and other keys");
    while (config_reader_next(r)) {
        if (r->kind == CONFIG_END)
            return r->settings->server.route_count > 0 ||
                   config_reader_fail(r, "the list is empty");
        if (r->kind != CONFIG_KEYS)
            return config_reader_fail(r, "takes a list, each with a name and other keys");
        if (!read_route(r))
            return false;
    }
    return false;
}

bool config_file_read_routes(const struct config_file *file, struct settings *s,
                             struct text *problem)
{
    struct config_reader r;
    bool is_good = config_reader_open(&r, file, s, problem);

    while (is_good && config_reader_next_key(&r))
        is_good = strcmp(r.key, "routes") == 0 ? read_routes(&r) : config_reader_skip(&r);
    return config_reader_close(&r) && is_good;
}
