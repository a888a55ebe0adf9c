/* The access log: one record for each connection, at its end. docs/operations.md lists the fields.
 */
#ifndef TIDEGATE_ACCESS_LOG_H
#define TIDEGATE_ACCESS_LOG_H

#include "relay.h"
#include "ws_message.h"

struct access_entry {
    uint64_t conn;
    const char *client, *backend; /* addresses as text */
    uint64_t duration_ms;
};

/* A connection that had reached 101. */
void access_log_closed(const struct access_entry *e, enum ws_carrier carrier,
                       const struct relay_report *report);

/* One that had not. `status` is 0 if the client went before an answer could be sent. */
void access_log_refused(const struct access_entry *e, int status, struct cause cause,
                        const char *detail);

#endif
