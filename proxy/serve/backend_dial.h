/* A connection to a backend of a route, TLS included where that is asked for: to the first of them,
 * in the order of balancer.h, that can be connected to; or to the target that the client named. */
#ifndef TIDEGATE_BACKEND_DIAL_H
#define TIDEGATE_BACKEND_DIAL_H

#include "connect.h"
#include "route.h"
#include "status/counters.h"
#include "tls_duplex.h"

struct backend_dial;

/* What came of it. On failure `backend` and `stream` are NULL. */
struct backend_dial_result {
    struct duplex *backend; /* paused, owned by the callee */
    struct duplex *stream;  /* it, or what is under its TLS: for stream_on_release only */
    /* Which it is, or the last that was tried: the callee counts one of its connections, until
     * backend_dial_over. NULL for a target. */
    struct backend_state *state;
    struct cause cause; /* as connect_start has it, or TLS, LOST, RESET... in the handshake */
};

/* Takes the connect timeout of the route at most; each backend gets its share of what is left of
 * it. `route` and `options` outlive the connection; `target` (NULL: a backend) is copied. `counts`
 * is told of each attempt. `on_done` comes once, from the loop, never from this call. NULL when out
 * of memory: on_done does not come.
 */
struct backend_dial *
backend_dial_start(struct loop *l, struct route *route, const struct target *target,
                   const struct stream_options *options, struct route_counts *counts,
                   void (*on_done)(void *owner, const struct backend_dial_result *result),
                   void *owner);

/* What each backend that is connected to hears first, ahead of any TLS: to be called right after
 * backend_dial_start. `bytes` are copied. False when out of memory. */
bool backend_dial_preface(struct backend_dial *b, struct span bytes);

/* Gives up; no on_done. */
void backend_dial_cancel(struct backend_dial *b);

/* The connection that on_done told of is over, or has never been. NULL is fine. */
void backend_dial_over(struct backend_state *state);

#endif
