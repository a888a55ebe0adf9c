/* JSON, as far as the status port needs it. */
#ifndef TIDEGATE_JSON_H
#define TIDEGATE_JSON_H

#include "text.h"

/* Appends `s` in quotes. If it is not UTF-8, U+FFFD stands for each byte that is not ASCII. Six
 * bytes for each of `s` always do. */
void json_add_string(struct text *t, const char *s);

#endif
