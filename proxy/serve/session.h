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

#include "client_limits.h"
#include "openings.h"
#include "server.h"
#include "status/session_count.h"

struct session;
struct opening;
struct access_identity;
struct site;
struct route;
struct backend_state;
struct route_slots;
struct route_slots_table;
struct page_set;

/* What all sessions of one loop share, with those of others behind the pointers to what says so. */
struct session_host {
    struct loop *loop;
    struct service *service; /* NULL before it listens */
    const struct service_config *config;
    struct server_observer observer;
    struct site *site;         /* for those to come */
    struct openings *openings; /* those that have no answer yet */
    struct counters *counters;
    struct client_limits *clients;
    struct route_slots_table *route_slots;
    const struct page_set *pages; /* for who wants no WebSocket; or NULL */
};

struct session {
    struct service_session base;
    struct session_host *host;
    struct site *site;             /* held: that of when it came */
    struct route *route;           /* of the site; NULL until it is found */
    struct backend_state *backend; /* counts it as one of its connections; or NULL */
    struct opening *opening;       /* NULL once the relay has started */
    struct relay relay;
    struct session_counted counted;
    struct client_slot client_slot; /* counts it as one of its client's */
    struct route_slots *route_slot; /* ... and of its route's; or NULL */
    struct session_notes *notes;    /* or NULL: nothing noted */
    enum ws_carrier carrier : 6;
    bool has_tls : 1;   /* is to come with it ... */
    bool is_secure : 1; /* ... and has shaken hands */
    char peer_name[];   /* who is connected to us */
};

/* What not every session has. All of it may be NULL. */
struct session_notes {
    char *target_name;                /* where the client wanted to be connected to */
    char *bearer;                     /* the name of its token */
    struct access_identity *identity; /* of the client's certificate */
    char *trace_id;                   /* of its request */
    const char *client_doubt;         /* of its address: client_address.h */
    char *client_name;                /* its address, where a front has told that */
    char *unique_id;                  /* that fronts and backends know it by */
};

/* Takes over a new, paused stream and sets it going. `client_slot` counts it already, or is all
 * zero. NULL when out of memory: `client` and the slot are untouched. */
struct session *session_new(struct session_host *host, struct duplex *client,
                            const struct service_arrival *arrival,
                            const struct client_slot *client_slot);

/* Its address: of what is connected to us, or as a front has told. */
const char *session_client_name(const struct session *s);

/* Where it goes, or wants to go; NULL before that is known. */
const char *session_backend_name(const struct session *s);

/* Whether it is beyond its opening handshake: on its way to the backend, or there. */
bool session_has_asked(const struct session *s);

/* The server is going away: refuses with 503 what is not open yet, leaves the rest. May free
 * it. */
void session_drain(struct service_session *base);

/* The server's patience is over: breaks what is open, refuses the rest. */
void session_abort(struct service_session *base);

#endif
