/* Settings as text: for people, and to be read again as a configuration file. */
#ifndef TIDEGATE_OPTION_PRINT_H
#define TIDEGATE_OPTION_PRINT_H

#include "option_table.h"

/* Every setting of `command`, with where it comes from as a comment; what nobody has set stands in
 * a comment as a whole, so that what is read again has not set it either. Names of files are
 * printed, not what is in them: nothing is secret. */
void option_print(enum command command, const struct settings *s, FILE *out);

/* Whether a setting has the same value in both. `a` and `b` are as option_base gives them. */
bool option_is_same(const struct option *o, const void *a, const void *b);

#endif
