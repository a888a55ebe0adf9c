/* /metrics: brings what is counted of open connections up to date, some of them a turn, then tells
 * all. */
#ifndef TIDEGATE_METRICS_BODY_H
#define TIDEGATE_METRICS_BODY_H

#include "exposition.h"
#include "status_http.h"

struct server;

/* `look`: exposition.h. `server` outlives it. NULL when out of memory. */
struct status_body *metrics_body_new(struct server *server,
                                     void (*look)(void *owner, struct exposition_state *out),
                                     void *owner);

#endif
