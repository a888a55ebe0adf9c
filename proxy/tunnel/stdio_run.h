/* `tidegate stdio`: standard input and output as one connection through the server. */
#ifndef TIDEGATE_STDIO_RUN_H
#define TIDEGATE_STDIO_RUN_H

#include "../options.h"

/* Runs until both directions are complete, or one is broken, or a signal. The exit status. */
int stdio_run(struct settings *settings);

#endif
