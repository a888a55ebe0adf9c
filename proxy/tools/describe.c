/* Prints what the option table and the table of subcommands say, as JSON. Runs while tidegate is
 * built: scripts/make_manual.py and scripts/make_completions.py write the manual and the
 * completions from it. */
#include "option_find.h"
#include "subcommand.h"

#include <stdio.h>

static void write_string(const char *s)
{
    if (s == NULL) {
        fputs("null", stdout);
        return;
    }
    putchar('"');
    for (; *s != '\0'; s++) {
        if (*s == '\n') {
            fputs("\\n", stdout);
            continue;
        }
        if (*s == '"' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
    putchar('"');
}

static void write_member(const char *name, const char *value)
{
    printf("\"%s\": ", name);
    write_string(value);
    fputs(", ", stdout);
}

static const char *kind_name(enum option_kind kind)
{
    switch (kind) {
    case OPTION_FLAG:
        return "flag";
    case OPTION_NUMBER:
        return "number";
    case OPTION_DURATION:
        return "duration";
    case OPTION_CHOICE:
        return "choice";
    case OPTION_ADDRESSES:
    case OPTION_BACKENDS:
    case OPTION_PATHS:
    case OPTION_WORDS:
    case OPTION_ORIGINS:
    case OPTION_NETWORKS:
    case OPTION_TARGETS:
    case OPTION_HEADER:
        return "list";
    case OPTION_ADDRESS:
    case OPTION_URL:
    case OPTION_NAME:
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_PIN:
    case OPTION_PROXY:
    case OPTION_RETRY:
        return "text";
    }
    return NULL;
}

static const char *scope_name(enum option_scope scope)
{
    switch (scope) {
    case OPTION_SCOPE_LINE:
        return "line";
    case OPTION_SCOPE_START:
        return "start";
    case OPTION_SCOPE_TOP:
        return "top";
    case OPTION_SCOPE_ROUTE:
        return "route";
    }
    return NULL;
}

static void write_option(const struct option *o)
{
    char variable[OPTION_VARIABLE_MAX];

    fputs("{", stdout);
    write_member("name", o->name);
    write_member("variable", option_variable(o, variable));
    write_member("kind", kind_name(o->kind));
    write_member("scope", scope_name(o->scope));
    write_member("value", o->value);
    write_member("default", o->fallback);
    write_member("help", o->help);
    printf("\"is_required\": %s}", o->is_required ? "true" : "false");
}

static void write_subcommand(const struct subcommand *s)
{
    const struct option *argument = option_argument(s->command);
    const char *comma = "";

    fputs("{", stdout);
    write_member("name", s->name);
    write_member("usage", s->usage);
    write_member("summary", s->summary);
    write_member("about", s->about);
    fputs("\"argument\": ", stdout);
    if (argument != NULL)
        write_option(argument);
    else
        fputs("null", stdout);
    fputs(", \"flags\": [", stdout);
    for (size_t i = 0; i < option_table_count; i++) {
        if (!option_is_flag(&option_table[i], s->command))
            continue;
        printf("%s\n  ", comma);
        write_option(&option_table[i]);
        comma = ",";
    }
    fputs("]}", stdout);
}

int main(void)
{
    fputs("[", stdout);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        fputs(i == 0 ? "\n" : ",\n", stdout);
        write_subcommand(&subcommand_table[i]);
    }
    fputs("\n]\n", stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
