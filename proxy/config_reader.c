#include "config_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what is wrong ---- */

char *config_reader_where(const struct config_reader *r, char out[CONFIG_WHERE_MAX])
{
    struct text t;

    text_init(&t, out, CONFIG_WHERE_MAX);
    text_addf(&t, "%.200s:%u:%u", r->file->path, r->line, r->column);
    if (r->key[0] != '\0')
        text_addf(&t, ": %s", r->key);
    return out;
}

void config_reader_at(struct config_reader *r, const char *key, unsigned line)
{
    struct text t;

    r->line = line;
    r->column = 1;
    text_init(&t, r->key, sizeof(r->key));
    text_add(&t, key);
}

bool config_reader_fail(struct config_reader *r, const char *format, ...)
{
    char where[CONFIG_WHERE_MAX], what[256];
    va_list args;

    if (r->has_failed)
        return false;
    r->has_failed = true;
    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    text_addf(r->problem, "%s: %s", config_reader_where(r, where), what);
    return false;
}

static void stand_at(struct config_reader *r, yaml_mark_t mark)
{
    r->line = (unsigned)mark.line + 1;
    r->column = (unsigned)mark.column + 1;
}

/* The character at line and column, of those that are one byte. */
static char character_at(const struct config_reader *r)
{
    const char *at = r->file->text, *end = at + r->file->len;

    for (unsigned line = 1; line < r->line && at != NULL; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at == NULL ? NULL : at + 1;
    }
    return at == NULL || (size_t)(end - at) < r->column ? '\0' : at[r->column - 1];
}

static bool fail_syntax(struct config_reader *r)
{
    const yaml_parser_t *p = &r->parser;

    r->key[0] = '\0';
    if (p->error == YAML_MEMORY_ERROR)
        return config_reader_fail(r, "out of memory");
    if (p->error == YAML_READER_ERROR) {
        r->line = 1;
        r->column = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->file->len; i++) {
            r->column = r->file->text[i] == '\n' ? 1 : r->column + 1;
            r->line += r->file->text[i] == '\n';
        }
        return config_reader_fail(r, "not YAML: %s", p->problem);
    }
    stand_at(r, p->problem_mark);
    return config_reader_fail(r, "not YAML: %s%s%s%s", p->problem != NULL ? p->problem : "?",
                              p->context != NULL ? " " : "", p->context != NULL ? p->context : "",
                              character_at(r) == '\t' ? " (a tab is no indentation)" : "");
}

/* ---- events ---- */

static bool is_tagged(const yaml_event_t *e)
{
    return (e->type == YAML_SCALAR_EVENT && e->data.scalar.tag != NULL) ||
           (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.tag != NULL) ||
           (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.tag != NULL);
}

static bool is_anchored(const yaml_event_t *e)
{
    return e->type == YAML_ALIAS_EVENT ||
           (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor != NULL) ||
           (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor != NULL) ||
           (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor != NULL);
}

static bool next_event(struct config_reader *r)
{
    if (r->has_failed)
        return false;
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r);
    stand_at(r, r->event.start_mark);
    if (is_anchored(&r->event))
        return config_reader_fail(r, "anchors and aliases (&, *) are not taken");
    if (is_tagged(&r->event))
        return config_reader_fail(r, "tags (!) are not taken");
    return true;
}

bool config_reader_next(struct config_reader *r)
{
    if (!next_event(r))
        return false;
    r->kind = r->event.type == YAML_SCALAR_EVENT           ? CONFIG_VALUE
              : r->event.type == YAML_SEQUENCE_START_EVENT ? CONFIG_LIST
              : r->event.type == YAML_MAPPING_START_EVENT  ? CONFIG_KEYS
                                                           : CONFIG_END;
    return true;
}

bool config_reader_next_key(struct config_reader *r)
{
    struct text t;

    r->key[0] = '\0';
    if (!config_reader_next(r) || r->kind == CONFIG_END)
        return false;
    if (r->kind != CONFIG_VALUE)
        return config_reader_fail(r, "a key is a word");
    size_t len = r->event.data.scalar.length;
    const char *key = (const char *)r->event.data.scalar.value;
    if (len == 0 || len > CONFIG_KEY_MAX || strlen(key) != len)
        return config_reader_fail(r, "\"%.40s\": unknown key", key);
    text_init(&t, r->key, sizeof(r->key));
    for (size_t i = 0; i < len; i++)
        text_addf(&t, "%c", (unsigned char)key[i] < ' ' || key[i] == 127 ? '?' : key[i]);
    return true;
}

bool config_reader_skip(struct config_reader *r)
{
    unsigned depth = 0;

    do {
        if (!config_reader_next(r))
            return false;
        if (r->kind == CONFIG_LIST || r->kind == CONFIG_KEYS)
            depth++;
        else if (r->kind == CONFIG_END)
            depth--;
        if (depth > CONFIG_DEPTH_MAX)
            return config_reader_fail(r, "too deep");
    } while (depth > 0);
    return true;
}

const char *config_reader_value(struct config_reader *r)
{
    size_t len = r->event.data.scalar.length;
    const char *text = (const char *)r->event.data.scalar.value;
    bool is_plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (is_plain && (len == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)) {
        config_reader_fail(r, "has no value");
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 127) {
            config_reader_fail(r, "has a control character or a line break");
            return NULL;
        }
    }
    char *copy = arena_copy(&r->settings->arena, text, len);
    if (copy == NULL)
        config_reader_fail(r, "out of memory");
    return copy;
}

/* ---- from the beginning to the end ---- */

bool config_reader_open(struct config_reader *r, const struct config_file *file, struct settings *s,
                        struct text *problem)
{
    *r = (struct config_reader){.file = file, .settings = s, .problem = problem, .line = 1};
    r->column = 1;
    if (!yaml_parser_initialize(&r->parser))
        return config_reader_fail(r, "out of memory");
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)file->text, file->len);
    if (!next_event(r)) /* the stream begins */
        return false;
    if (!next_event(r))
        return false;
    if (r->event.type != YAML_DOCUMENT_START_EVENT)
        return config_reader_fail(r, "the file is empty");
    if (!config_reader_next(r))
        return false;
    return r->kind == CONFIG_KEYS || config_reader_fail(r, "must be keys and values (KEY: VALUE)");
}

bool config_reader_close(struct config_reader *r)
{
    bool has_end = next_event(r); /* of the document */

    if (has_end && next_event(r) && r->event.type != YAML_STREAM_END_EVENT)
        config_reader_fail(r, "a second document");
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
    return !r->has_failed;
}
