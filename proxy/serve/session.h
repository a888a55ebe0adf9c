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

#include "config.h"
#include "loop.h"
#include "relay.h"

struct session;
struct opening;

/* What a session needs of its server, and tells it. */
struct session_host {
    struct loop *loop;
    const struct server_config *config;
    const char *backend_name; /* for the log */

    /* The backend has accepted; the client is about to get 101. */
    void (*on_connected)(struct session_host *h, struct session *s, struct duplex *backend);
    /* The relay is over; before on_over. */
    void (*on_closed)(struct session_host *h, const struct relay_report *report);
    /* The session is about to be freed. */
    void (*on_over)(struct session_host *h, struct session *s);
};

struct session {
    struct session *next, *previous; /* the server's list */
    struct session_host *host;
    struct duplex *client;   /* NULL once the relay has it, or it is gone */
    struct opening *opening; /* NULL once the relay has started */
    struct relay relay;
    uint64_t id, started_ms;
    enum ws_carrier carrier;
    bool has_backend; /* on_connected has been told */
    char client_name[];
};

/* Takes over a new, paused stream and sets it going. `client_name` is copied. NULL when out of
 * memory: `client` is untouched. */
struct session *session_new(struct session_host *host, uint64_t id, struct duplex *client,
                            const char *client_name);

/* The server is going away: refuses with 503 what is not open yet, leaves the rest. May free `s`.
 */
void session_drain(struct session *s);

/* The server's patience is over: breaks what is open, refuses the rest. */
void session_abort(struct session *s);

#endif
