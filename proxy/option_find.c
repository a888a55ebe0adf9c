#include "option_find.h"

#include "text.h"

#include <string.h>

static bool is_argument(const struct option *o)
{
    return o->kind == OPTION_URL || o->kind == OPTION_NAME;
}

bool option_is_flag(const struct option *o, enum command command)
{
    return (o->commands & command) && !is_argument(o);
}

const struct option *option_argument(enum command command)
{
    for (size_t i = 0; i < option_table_count; i++)
        if ((option_table[i].commands & command) && is_argument(&option_table[i]))
            return &option_table[i];
    return NULL;
}

const struct option *option_find(enum command command, const char *name, size_t len)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (option_is_flag(o, command) && strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

void option_offer(enum command command, enum option_scope least, struct nearest *n)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (option_is_flag(o, command) && o->scope >= least)
            nearest_offer(n, o->name);
    }
}

char *option_variable(const struct option *o, char out[OPTION_VARIABLE_MAX])
{
    struct text t;

    text_init(&t, out, OPTION_VARIABLE_MAX);
    text_add(&t, "TIDEGATE_");
    for (const char *c = o->name; *c != '\0'; c++)
        text_addf(&t, "%c", *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    return out;
}
