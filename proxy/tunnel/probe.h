/* `tidegate probe`: whether the server, and the backend behind it, can be had with half-close. */
#ifndef TIDEGATE_PROBE_H
#define TIDEGATE_PROBE_H

#include "../options.h"

/* One connection, without a byte of data. Prints one line; the exit status. */
int probe_run(struct settings *settings);

#endif
