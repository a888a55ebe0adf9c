/* /connections: all sessions as one JSON array: of each worker the newest first. */
#ifndef TIDEGATE_CONNECTIONS_BODY_H
#define TIDEGATE_CONNECTIONS_BODY_H

#include "status_http.h"

struct server;

/* `server` outlives it. NULL when out of memory. */
struct status_body *connections_body_new(struct server *server);

#endif
