/* Whether a request may go where it wants to: all that docs/security.md says is asked before a
 * backend is touched, in its order. Looks and compares; keeps and opens nothing. */
#ifndef TIDEGATE_GATE_H
#define TIDEGATE_GATE_H

#include "site.h"
#include "ws_handshake.h"

struct gate_request {
    struct ws_head *head; /* judged by ws_handshake_judge, which said 101 */
    const struct ws_offer *offer;
    const struct duplex *client; /* its TLS, if it has that; else anything that is no TLS: NULL */
    const struct client_address *from;
};

struct gate_verdict {
    int status;          /* 101: it may */
    const char *problem; /* else: one line for people. Static */
    struct cause cause;  /* else */
    struct route *route; /* NULL: none was found */
    const char *bearer;  /* whose token it has, in the route's table; or NULL */
    bool has_target;     /* the client has named one: */
    struct target target;
};

void gate_judge(const struct site *site, const struct gate_request *request,
                struct gate_verdict *out);

#endif
