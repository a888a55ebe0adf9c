#include "options.h"

#include "config_file.h"
#include "option_find.h"
#include "option_value.h"
#include "options_settle.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the four sources ---- */

static bool set(const struct option *o, const char *text, struct settings *s, const char **why)
{
    return option_value_set(o, text, option_base(o, s), &s->arena, why);
}

static struct option_origin *origin_of(const struct option *o, struct settings *s)
{
    return &s->origins[o - option_table];
}

static void set_defaults(enum command command, struct settings *s)
{
    const char *why;

    for (size_t i = 0; i < option_table_count; i++) {
        if (!(option_table[i].commands & command) || option_table[i].fallback == NULL)
            continue;
        bool is_good = set(&option_table[i], option_table[i].fallback, s, &why);
        assert(is_good);
        (void)is_good;
    }
}

static bool set_from_environment(enum command command, struct settings *s, struct text *problem)
{
    char name[OPTION_VARIABLE_MAX];
    const char *why = NULL;

    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->commands & command))
            continue;
        const char *value = getenv(option_variable(o, name));
        if (value == NULL || *value == '\0')
            continue;
        option_value_forget(o, option_base(o, s));
        if (!set(o, value, s, &why)) {
            option_value_describe(o, name, value, why, problem);
            return false;
        }
        origin_of(o, s)->source = OPTION_IN_ENVIRONMENT;
    }
    return true;
}

/* One flag at argv[*i]; moves *i behind what it used up. */
static enum options_result set_flag(enum command command, int argc, char **argv, int *i,
                                    struct settings *s, struct text *problem)
{
    char where[64];
    const char *why = NULL, *name = argv[*i] + 2, *value;
    size_t len = strcspn(name, "=");
    const struct option *o = option_find(command, name, len);
    bool has_value = name[len] == '=';

    if (o == NULL) {
        struct nearest n;
        nearest_begin(&n, name, len);
        option_offer(command, OPTION_SCOPE_LINE, &n);
        text_addf(problem, "--%.*s: unknown flag", (int)(len < 100 ? len : 100), name);
        if (nearest_found(&n) != NULL)
            text_addf(problem, " (did you mean --%s?)", nearest_found(&n));
        else
            text_add(problem, " (--help lists them)");
        return OPTIONS_BAD;
    }
    if (origin_of(o, s)->source != OPTION_ON_LINE)
        option_value_forget(o, option_base(o, s));
    origin_of(o, s)->source = OPTION_ON_LINE;
    (*i)++;
    if (o->kind == OPTION_FLAG) {
        (void)set(o, "true", s, &why);
        if (has_value)
            text_addf(problem, "--%s: takes no value", o->name);
        return has_value ? OPTIONS_BAD : OPTIONS_OK;
    }
    if (!has_value && *i == argc) {
        text_addf(problem, "--%s: needs a value (%s)", o->name, o->value);
        return OPTIONS_BAD;
    }
    value = has_value ? name + len + 1 : argv[(*i)++];
    struct text t;
    text_init(&t, where, sizeof(where));
    text_addf(&t, "--%s", o->name);
    for (;;) {
        if (!set(o, value, s, &why)) {
            option_value_describe(o, where, value, why, problem);
            return OPTIONS_BAD;
        }
        /* A list goes on to the next flag, or to the URL. */
        if (o->kind != OPTION_ADDRESSES || *i == argc || argv[*i][0] == '-' ||
            (option_argument(command) != NULL && strstr(argv[*i], "://") != NULL))
            return OPTIONS_OK;
        value = argv[(*i)++];
    }
}

/* What stands where a flag would, once: the URL, the name. */
static enum options_result set_argument(enum command command, const char *text, struct settings *s,
                                        struct text *problem)
{
    const struct option *o = option_argument(command);
    const char *why = NULL;

    if (o == NULL || origin_of(o, s)->source == OPTION_ON_LINE) {
        text_addf(problem, "\"%.100s\": unexpected argument (flags begin with --)", text);
        return OPTIONS_BAD;
    }
    origin_of(o, s)->source = OPTION_ON_LINE;
    if (!set(o, text, s, &why)) {
        option_value_describe(o, o->value, text, why, problem);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

/* ---- all of it ---- */

static enum options_result set_from_line(enum command command, int argc, char **argv,
                                         struct settings *s, struct text *problem)
{
    enum options_result result = OPTIONS_OK;

    for (int i = 0; i < argc && result == OPTIONS_OK;) {
        bool is_flag = strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0';
        result = is_flag ? set_flag(command, argc, argv, &i, s, problem)
                         : set_argument(command, argv[i++], s, problem);
    }
    return result;
}

/* Everything but the file, each over the weaker one. */
static enum options_result read_all(enum command command, const struct config_file *file,
                                    struct settings *s, struct text *problem)
{
    set_defaults(command, s);
    if (file != NULL && !config_file_read_top(file, s, problem))
        return OPTIONS_BAD_FILE;
    if (!set_from_environment(command, s, problem))
        return OPTIONS_BAD;
    return set_from_line(command, s->argc, s->argv, s, problem);
}

static enum options_result read_again(enum command command, const char *path, struct settings *s,
                                      struct text *problem)
{
    struct config_file file;
    int status = config_file_open(path, &s->arena, &file, problem);

    if (status != 0)
        return status == -EINVAL ? OPTIONS_BAD_FILE : OPTIONS_NO_FILE;
    enum options_result result = read_all(command, &file, s, problem);
    if (result == OPTIONS_OK && s->server.routes_line != 0 &&
        !config_file_read_routes(&file, s, problem))
        return OPTIONS_BAD_FILE;
    if (result == OPTIONS_OK)
        result = options_settle(command, s, problem) == OPTIONS_OK ? OPTIONS_OK : OPTIONS_BAD_FILE;
    return result;
}

/* Reads all again, with the file that a flag or the environment names. */
static enum options_result read_with_file(enum command command, struct settings *s,
                                          struct text *problem)
{
    struct arena first = s->arena; /* the name of the file may lie there */
    const char *path = s->config_file;

    *s = (struct settings){.references = s->references, .argc = s->argc, .argv = s->argv};
    enum options_result result = read_again(command, path, s, problem);
    arena_clear(&first);
    return result;
}

enum options_result options_parse(enum command command, int argc, char **argv, struct settings *out,
                                  char problem[OPTIONS_PROBLEM_MAX])
{
    struct text text;

    text_init(&text, problem, OPTIONS_PROBLEM_MAX);
    *out = (struct settings){.references = out->references, .argc = argc, .argv = argv};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
    }
    enum options_result result = read_all(command, NULL, out, &text);
    if (result != OPTIONS_OK)
        return result;
    return out->config_file == NULL ? options_settle(command, out, &text)
                                    : read_with_file(command, out, &text);
}

struct settings *options_new(void)
{
    struct settings *s = calloc(1, sizeof(*s));

    if (s != NULL)
        s->references = 1;
    return s;
}

struct settings *options_hold(struct settings *s)
{
    s->references++;
    return s;
}

void options_release(struct settings *s)
{
    if (s == NULL || --s->references > 0)
        return;
    options_forget(s);
    free(s);
}

void options_forget(struct settings *s)
{
    arena_clear(&s->arena);
}

void options_print(enum command command, FILE *out)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        char left[64];
        struct text t;
        if (!option_is_flag(o, command))
            continue;
        text_init(&t, left, sizeof(left));
        text_addf(&t, "--%s", o->name);
        if (o->value != NULL)
            text_addf(&t, " %s", o->value);
        if (t.len <= 27)
            fprintf(out, "  %-27s %s", left, o->help);
        else
            fprintf(out, "  %s\n  %-27s %s", left, "", o->help);
        if (o->fallback != NULL)
            fprintf(out, " (default %s)", o->fallback);
        fputs("\n", out);
    }
    fputs("  --help                      show this\n", out);
}
