/* `tidegate demo`: a backend, the proxy and a client in one loop, and a timeline of what passes. */
#ifndef TIDEGATE_DEMO_H
#define TIDEGATE_DEMO_H

#include "../options.h"

/* Runs the show; stays up afterwards unless settings->is_once. The exit status: 0 if the
 * half-closed exchange brought the right answer. */
int demo_run(struct settings *settings);

#endif
