/* `tidegate tunnel`: a service whose sessions are local TCP or unix connections, each bridged to
 * the server through a WebSocket of its own. */
#ifndef TIDEGATE_TUNNEL_H
#define TIDEGATE_TUNNEL_H

#include "../options.h"

/* Runs until SIGTERM or SIGINT. The exit status. Fills in settings->service.max_connections. */
int tunnel_run(struct settings *settings);

#endif
