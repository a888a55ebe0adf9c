/* `tidegate serve`: the server as a program of its own; and `tidegate check`: all of it but
 * serving.
 */
#ifndef TIDEGATE_SERVE_H
#define TIDEGATE_SERVE_H

#include "../options.h"

/* Runs until SIGTERM or SIGINT. The exit status. Fills in settings->server.max_connections. */
int serve_run(struct settings *settings);

/* Reads all files that the settings name. Prints one line, and says what is wrong on stderr. The
 * exit status. */
int serve_check(struct settings *settings);

#endif
