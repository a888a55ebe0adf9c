/* /connections: all sessions as one JSON array, the newest first. */
#ifndef TIDEGATE_CONNECTIONS_BODY_H
#define TIDEGATE_CONNECTIONS_BODY_H

#include "status_http.h"

struct service;

/* `service` is that of a server, and outlives it. NULL when out of memory. */
struct status_body *connections_body_new(struct loop *l, struct service *service);

#endif
