/* One connection to the server, from accept to its record in the access log: the request, the
 * backend, then a relay between the two.
 *
 *   reading the request --> connecting to the backend --> relaying
 *          |                         |                       |
 *          +------ refused in HTTP --+                       +--> on_done
 *
 * What only the opening needs lies in a block of its own (struct opening) that is gone before the
 * relay starts: an open connection is this structure, a WebSocket duplex and two streams. */
#ifndef TIDEGATE_SESSION_H
#define TIDEGATE_SESSION_H

#include "openings.h"
#include "server.h"
#include "tls_config.h"

struct session;
struct opening;
struct access_identity;

/* What all sessions of a server share. */
struct session_host {
    struct loop *loop;
    const struct server_config *config;
    struct server_observer observer;
    const char *backend_name;       /* for the log */
    struct tls_config *tls;         /* NULL: clients come without TLS */
    struct tls_config *backend_tls; /* NULL: nor has the backend */
    struct openings *openings;      /* those that have no answer yet */
};

struct session {
    struct service_session base;
    const struct session_host *host;
    struct duplex *client; /* its TLS, if it has that. NULL once the relay has it, or it is gone */
    struct opening *opening; /* NULL once the relay has started */
    struct relay relay;
    enum ws_carrier carrier;
    struct access_identity *identity; /* of the client; or NULL */
    char client_name[];
};

/* Takes over a new, paused stream and sets it going. `client_name` is copied. NULL when out of
 * memory: `client` is untouched. */
struct session *session_new(const struct session_host *host, struct duplex *client,
                            const char *client_name);

/* The server is going away: refuses with 503 what is not open yet, leaves the rest. May free
 * it. */
void session_drain(struct service_session *base);

/* The server's patience is over: breaks what is open, refuses the rest. */
void session_abort(struct service_session *base);

#endif
