/* The value of one option: from text into struct settings. */
#ifndef TIDEGATE_OPTION_VALUE_H
#define TIDEGATE_OPTION_VALUE_H

#include "option_table.h"
#include "text.h"

/* Stores the value of `text` in `s`; adds it, if the option is a list. False with `*why`, a phrase
 * for people, if it is none. */
bool option_value_set(const struct option *o, const char *text, struct settings *s,
                      const char **why);

/* Empties a list, so that what is given replaces what a weaker source said. */
void option_value_forget(const struct option *o, struct settings *s);

/* Appends "where: "text": why" for people; secrets are not repeated. */
void option_value_describe(const struct option *o, const char *where, const char *text,
                           const char *why, struct text *problem);

#endif
