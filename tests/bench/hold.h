/* Many connections on which nothing moves: what the process under test holds for each. */
#ifndef TIDEGATE_BENCH_HOLD_H
#define TIDEGATE_BENCH_HOLD_H

#include "options.h"

/* Opens all, and then only watches. Prints JSON members, without braces:
 * `bytes_each` resident, CPU time while idle, what stays when all are closed. */
void hold_idle(const struct options *o);

/* The sources send until nothing moves, while the sinks do not read; then the sources fall silent
 * and the sinks read it all. Prints JSON members, without braces. */
void hold_stalled(const struct options *o);

#endif
