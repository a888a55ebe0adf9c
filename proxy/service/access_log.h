/* The access log: one record for each connection, at its end. docs/operations.md lists the fields.
 */
#ifndef TIDEGATE_ACCESS_LOG_H
#define TIDEGATE_ACCESS_LOG_H

#include "log.h"
#include "relay.h"
#include "ws_message.h"

/* What a subcommand calls the two sides of its connections: those that connected to us, and those
 * that we connected to (enum relay_side). */
struct access_names {
    const char *client, *backend;
    const char *bytes_to_backend, *bytes_to_client;
    const char *lost_half_close; /* key: that a plain server could not be told of an end; or NULL */
    const char *refused;         /* msg of a connection that did not come about */
    enum log_level refused_level;
};

extern const struct access_names access_log_serve, access_log_tunnel;

/* Who a client has proved to be, as text: tls_identity.h. */
struct access_identity {
    char subject[256], names[512];
};

/* Of the client of an open TLS duplex: to be freed with free(), NULL if nobody is known. 0, or
 * -ENOMEM. */
int access_log_identify(const struct duplex *client, struct access_identity **out);

struct access_entry {
    const struct access_names *names;
    uint64_t conn;
    const char *client, *backend; /* addresses as text; NULL: left out */
    const char *peer;             /* who is connected to us, if that is not the client; or NULL */
    const char *client_doubt;     /* why it may be another one; NULL: it is not in doubt */
    const char *unique_id;        /* by which other proxies know the connection; or NULL */
    const struct access_identity *identity; /* or NULL */
    const char *route, *bearer; /* the names of its route and of its token; NULL: left out */
    const char *trace_id;       /* of the request (traceparent.h); or NULL */
    uint64_t duration_ms;
};

/* The cause in words, with what TLS knows of it. Returns `buffer`, or something static. */
#define ACCESS_LOG_DETAIL_MAX 160
const char *access_log_detail(struct cause cause, char buffer[ACCESS_LOG_DETAIL_MAX]);

/* A connection whose WebSocket was open. */
void access_log_closed(const struct access_entry *e, enum ws_carrier carrier,
                       const struct relay_report *report);

/* One that had none. `status` is 0 if there was no answer in HTTP. */
void access_log_refused(const struct access_entry *e, int status, struct cause cause,
                        const char *detail);

#endif
