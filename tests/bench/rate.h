/* Whole connections, one after the other in several places at once: connect, handshake, a message
 * that the backend echoes, an end by both. */
#ifndef TIDEGATE_BENCH_RATE_H
#define TIDEGATE_BENCH_RATE_H

#include "options.h"

/* Runs, with half a second before that does not count, and prints JSON members, without braces.
 * `on_done` hears how long each took. */
void rate_run(const struct options *o, void (*on_done)(uint64_t ns));

#endif
