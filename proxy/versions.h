/* The versions of tidegate and of the libraries in it. */
#ifndef TIDEGATE_VERSIONS_H
#define TIDEGATE_VERSIONS_H

#include <stdio.h>

void versions_print(FILE *out);

#endif
