/* Rows of the option table by name. */
#ifndef TIDEGATE_OPTION_FIND_H
#define TIDEGATE_OPTION_FIND_H

#include "nearest.h"
#include "option_table.h"

/* A flag of `command`, and not an argument. */
bool option_is_flag(const struct option *o, enum command command);

/* What stands behind the flags, once; NULL: nothing does. */
const struct option *option_argument(enum command command);

/* NULL: `command` has no such flag. `name` has `len` bytes. */
const struct option *option_find(enum command command, const char *name, size_t len);

/* Offers the flags of `command` that can be said in `least` or a narrower scope. */
void option_offer(enum command command, enum option_scope least, struct nearest *n);

/* TIDEGATE_NAME. Returns `out`. */
#define OPTION_VARIABLE_MAX 64
char *option_variable(const struct option *o, char out[OPTION_VARIABLE_MAX]);

#endif
