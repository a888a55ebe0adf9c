/* The value of one option: from text into struct settings. */
#ifndef TIDEGATE_OPTION_VALUE_H
#define TIDEGATE_OPTION_VALUE_H

#include "option_table.h"
#include "text.h"

/* What the option's offset counts from: `s` itself, or its defaults for all routes. */
void *option_base(const struct option *o, struct settings *s);

/* Whether it takes several values. */
bool option_is_list(const struct option *o);

/* Stores the value of `text` in what `base` points to (option_base, or the struct route_settings of
 * one route); adds it, if the option is a list. `text` is not copied and outlives it; lists grow in
 * `arena`. False with `*why`, a phrase for people, if it is none. */
bool option_value_set(const struct option *o, const char *text, void *base, struct arena *arena,
                      const char **why);

/* Empties a list, so that what is given replaces what a weaker source said. */
void option_value_forget(const struct option *o, void *base);

/* Appends "where: "text": why" for people; secrets are not repeated. */
void option_value_describe(const struct option *o, const char *where, const char *text,
                           const char *why, struct text *problem);

#endif
