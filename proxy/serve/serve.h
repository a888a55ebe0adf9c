/* `tidegate serve`: the server as a program of its own. */
#ifndef TIDEGATE_SERVE_H
#define TIDEGATE_SERVE_H

#include "../options.h"

/* Runs until SIGTERM or SIGINT. The exit status. Fills in settings->server.max_connections. */
int serve_run(struct settings *settings);

#endif
