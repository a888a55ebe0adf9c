#include "option_print.h"

#include "option_find.h"
#include "option_value.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

/* In double quotes, which any YAML reader takes back to the same bytes. */
static void write_quoted(const char *s, FILE *out)
{
    fputc('"', out);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', out);
        if ((unsigned char)*s < ' ' || *s == 127)
            fprintf(out, "\\x%02x", (unsigned)*s);
        else
            fputc(*s, out);
    }
    fputc('"', out);
}

static void write_address(const char *scheme, const struct address *a, FILE *out)
{
    char address[ADDRESS_TEXT_MAX], whole[ADDRESS_TEXT_MAX + 16];
    struct text t;

    text_init(&t, whole, sizeof(whole));
    text_add(&t, scheme);
    text_add(&t, address_format(a, address, sizeof(address)));
    write_quoted(whole, out);
}

static void write_word(const char *words, unsigned index, FILE *out)
{
    for (; index > 0; index--)
        words += strcspn(words, "|") + 1;
    fprintf(out, "%.*s", (int)strcspn(words, "|"), words);
}

static void write_path(const char *path, FILE *out)
{
    if (path != NULL)
        write_quoted(path, out);
}

static void write_list(const struct option *o, const void *at, FILE *out)
{
    const struct listen_list *addresses = at;
    const struct backend_list *backends = at;
    const struct word_list *words = at;
    char address[LISTEN_ADDRESS_TEXT_MAX];
    size_t count = o->kind == OPTION_ADDRESSES  ? addresses->count
                   : o->kind == OPTION_BACKENDS ? backends->count
                                                : words->count;

    fputc('[', out);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            fputs(", ", out);
        if (o->kind == OPTION_ADDRESSES)
            write_quoted(listen_address_format(&addresses->items[i], address, sizeof(address)),
                         out);
        else if (o->kind == OPTION_BACKENDS)
            write_address(backends->items[i].is_tls ? "tls://" : "", &backends->items[i].address,
                          out);
        else
            write_quoted(words->items[i], out);
    }
    fputc(']', out);
}

static void write_value(const struct option *o, const void *base, FILE *out)
{
    const void *at = (const char *)base + o->offset;
    char buffer[32];

    switch (o->kind) {
    case OPTION_FLAG:
        fputs(*(const bool *)at ? "true" : "false", out);
        return;
    case OPTION_NUMBER:
        if (*(const uint64_t *)at != 0 || o->fallback != NULL) /* 0 without a default: not given */
            fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        return;
    case OPTION_DURATION:
        fputs(text_format_duration(*(const uint64_t *)at, buffer, sizeof(buffer)), out);
        return;
    case OPTION_ADDRESS:
        if (((const struct address *)at)->host[0] != '\0') /* empty: not given */
            write_address("", at, out);
        return;
    case OPTION_CHOICE:
        write_word(o->value, *(const unsigned *)at, out);
        return;
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_PIN:
        write_path(*(const char *const *)at, out);
        return;
    case OPTION_BACKENDS:
    case OPTION_ADDRESSES:
    case OPTION_PATHS:
    case OPTION_WORDS:
    case OPTION_ORIGINS:
    case OPTION_NETWORKS:
    case OPTION_TARGETS:
        write_list(o, at, out);
        return;
    case OPTION_URL:
    case OPTION_NAME:
    case OPTION_HEADER:
    case OPTION_PROXY:
    case OPTION_RETRY:
        return; /* of the tunnel, which has no file */
    }
}

/* The value as text; NULL when out of memory. */
static char *value_text(const struct option *o, const void *base)
{
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);

    if (memory == NULL)
        return NULL;
    write_value(o, base, memory);
    if (fclose(memory) == 0)
        return text;
    free(text);
    return NULL;
}

bool option_is_same(const struct option *o, const void *a, const void *b)
{
    char *text_a = value_text(o, a), *text_b = value_text(o, b);
    bool is_same = text_a != NULL && text_b != NULL && strcmp(text_a, text_b) == 0;

    free(text_a);
    free(text_b);
    return is_same;
}

/* ---- lines ---- */

static void write_origin(const struct option *o, const struct settings *s,
                         struct option_origin origin, FILE *out)
{
    char name[OPTION_VARIABLE_MAX];

    switch (origin.source) {
    case OPTION_DEFAULT:
        fputs("default", out);
        return;
    case OPTION_IN_FILE:
        fprintf(out, "%s:%u", s->config_file, origin.line);
        return;
    case OPTION_IN_ENVIRONMENT:
        fprintf(out, "environment %s", option_variable(o, name));
        return;
    case OPTION_ON_LINE:
        fprintf(out, "flag --%s", o->name);
        return;
    }
}

static void write_setting(const struct option *o, const char *indent, const void *base,
                          const struct settings *s, struct option_origin origin, FILE *out)
{
    char *value = value_text(o, base);
    bool is_default = origin.source == OPTION_DEFAULT;
    bool has_value = value != NULL && value[0] != '\0' && !(is_default && strcmp(value, "[]") == 0);

    if (has_value) {
        fprintf(out, "%s%s%s: %s  # ", indent, is_default ? "# " : "", o->name, value);
        write_origin(o, s, origin, out);
    } else {
        fprintf(out, "%s# %s:  not set", indent, o->name);
    }
    fputc('\n', out);
    free(value);
}

static void write_pattern(const char *key, const char *value, FILE *out)
{
    if (value == NULL)
        return;
    fprintf(out, "    %s: ", key);
    write_quoted(value, out);
    fputc('\n', out);
}

static void write_route(const struct route_entry *route, const struct settings *s, FILE *out)
{
    fputs("  - name: ", out);
    write_quoted(route->name, out);
    fprintf(out, "  # %s:%u\n", s->config_file, route->line);
    write_pattern("host", route->host, out);
    write_pattern("path", route->path, out);
    for (size_t i = 0; i < option_table_count; i++) {
        struct option_origin origin = {OPTION_IN_FILE, route->key_lines[i]};
        if (origin.line != 0)
            write_setting(&option_table[i], "    ", &route->settings, s, origin, out);
    }
}

void option_print(enum command command, const struct settings *s, FILE *out)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        const void *base = o->scope == OPTION_SCOPE_ROUTE ? (const void *)&s->server.defaults : s;
        if (option_is_flag(o, command) && o->scope != OPTION_SCOPE_LINE)
            write_setting(o, "", base, s, s->origins[i], out);
    }
    if (s->server.route_count > 0)
        fputs("routes:\n", out);
    for (size_t i = 0; i < s->server.route_count; i++)
        write_route(&s->server.routes[i], s, out);
}
